package devserver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/temporal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/grouse-rl/grouse"
)

// dynamicConfig is where an embedded server must differ from the defaults,
// which are made for clusters.
var dynamicConfig = dynamicconfig.StaticClient{
	// 20 by default: at most 20 steps a second in a workflow.
	dynamicconfig.TransferProcessorMaxPollRPS.Key():   2000,
	dynamicconfig.TimerProcessorMaxPollRPS.Key():      2000,
	dynamicconfig.VisibilityProcessorMaxPollRPS.Key(): 2000,
	// 1 s by default: continue-as-new would wait for it.
	dynamicconfig.WorkflowIdReuseMinimalInterval.Key(): time.Duration(0),
	// A task queue's tasks need not travel between partitions.
	dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
	dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,
	// No call to the outside.
	dynamicconfig.EnableServerVersionCheck.Key(): false,
	// A search attribute can be set as soon as it is registered.
	dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): true,
}

// startTemporal starts the server on the database of dir and returns when its
// frontend answers.
func startTemporal(ctx context.Context, dir string, mark schemaMark, port int, inner []int, namespace string) (temporal.Server, error) {
	services := map[string]config.Service{}
	hosts := map[primitives.ServiceName]static.Hosts{}
	for i, name := range []primitives.ServiceName{primitives.FrontendService, primitives.HistoryService, primitives.MatchingService, primitives.WorkerService} {
		p := port
		if i > 0 {
			p = inner[i-1]
		}
		services[string(name)] = config.Service{RPC: config.RPC{GRPCPort: p, BindOnLocalHost: true}}
		hosts[name] = static.SingleLocalHost(fmt.Sprintf("%s:%d", loopback, p))
	}
	address := fmt.Sprintf("%s:%d", loopback, port)
	cfg := &config.Config{
		Services: services,
		Persistence: config.Persistence{
			DefaultStore: sqliteplugin.PluginName, VisibilityStore: sqliteplugin.PluginName, NumHistoryShards: 1,
			DataStores: map[string]config.DataStore{sqliteplugin.PluginName: {SQL: sqlConfig(filepath.Join(dir, databaseFile))}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10, MasterClusterName: clusterName, CurrentClusterName: clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: address, ClusterID: mark.ClusterID},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Archival: config.Archival{
			History: config.HistoryArchival{State: "disabled"}, Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History: config.HistoryArchivalNamespaceDefaults{State: "disabled"}, Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
		PublicClient: config.PublicClient{HostPort: address},
	}
	logPath := filepath.Join(dir, "logs", "temporal.log")
	logger := log.NewZapLogger(log.BuildZapLogger(log.Config{Level: "warn", OutputFile: logPath}).WithOptions(zap.WithFatalHook(giveUp{logPath})))
	s, err := temporal.NewServer(
		temporal.WithConfig(cfg),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(hosts),
		temporal.WithLogger(logger),
		temporal.WithDynamicConfigClient(dynamicConfig),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
	)
	if err != nil {
		return nil, fmt.Errorf("start Temporal: %w", err)
	}
	if err := s.Start(); err != nil {
		return nil, grouse.Errorf(grouse.Unavailable, "start Temporal on %s: %w", address, err).
			WithFix("try again; if it stays so, see %s", filepath.Join(dir, "logs", "temporal.log"))
	}
	if err := awaitTemporal(ctx, address, namespace); err != nil {
		return nil, stopAfter(s, grouse.Errorf(grouse.Unavailable, "Temporal on %s does not answer: %w", address, err).
			WithFix("see %s", filepath.Join(dir, "logs", "temporal.log")))
	}
	return s, nil
}

// giveUp is what happens when the server's own code ends the process: it writes
// its last words to its log only, so the person is told here.
type giveUp struct{ log string }

// OnWrite ends the process with the exit code of "something that is needed is
// not there".
func (g giveUp) OnWrite(entry *zapcore.CheckedEntry, _ []zapcore.Field) {
	fmt.Fprintf(os.Stderr, "grouse: Temporal gave up: %s\n  → try again; nothing that was committed is lost. %s says more\n", entry.Message, g.log)
	os.Exit(4)
}

func stopAfter(s temporal.Server, err error) error {
	if stopErr := s.Stop(); stopErr != nil {
		return fmt.Errorf("%w (and stopping it: %v)", err, stopErr)
	}
	return err
}

// awaitTemporal waits until the frontend knows the namespace and its search
// attributes are registered.
func awaitTemporal(ctx context.Context, address, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	wf := workflowservice.NewWorkflowServiceClient(conn)
	for {
		try, cancelTry := context.WithTimeout(ctx, 2*time.Second)
		_, err = wf.DescribeNamespace(try, &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
		if err == nil {
			err = EnsureSearchAttributes(try, operatorservice.NewOperatorServiceClient(conn), namespace)
		}
		cancelTry()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
