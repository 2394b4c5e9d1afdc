package devserver_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/devserver"
	"github.com/grouse-rl/grouse/internal/natsbus"
)

// child is the environment variable that makes the test binary a server.
const child = "GROUSE_DEVSERVER_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(child); dir != "" {
		s, err := devserver.Start(context.Background(), devserver.Options{Dir: dir, NATSListen: true})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		io.Copy(io.Discard, os.Stdin) // until the parent closes it
		if err := s.Stop(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func add(ctx workflow.Context, n int) (int, error) {
	err := workflow.UpsertTypedSearchAttributes(ctx,
		temporal.NewSearchAttributeKeyKeyword("GrouseRecipe").ValueSet("quickstart"),
		temporal.NewSearchAttributeKeyInt64("GrouseStep").ValueSet(int64(n)),
		temporal.NewSearchAttributeKeyFloat64("GrouseReward").ValueSet(0.25),
		temporal.NewSearchAttributeKeyKeyword("GrouseState").ValueSet("running"),
		temporal.NewSearchAttributeKeyKeyword("GrouseStage").ValueSet("rl"))
	return n + 1, err
}

func start(t *testing.T, opts devserver.Options) *devserver.Server {
	t.Helper()
	s, err := devserver.Start(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func dial(t *testing.T, info devserver.Info) client.Client {
	t.Helper()
	c, err := client.Dial(client.Options{HostPort: info.Temporal, Namespace: info.Namespace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestWhole starts everything, runs a workflow, publishes a batch, reads the
// page, stops, starts again on the same folder and finds the workflow.
func TestWhole(t *testing.T) {
	dir := t.TempDir()
	begin := time.Now()
	s := start(t, devserver.Options{Dir: dir})
	t.Logf("first start %v: %+v", time.Since(begin).Round(time.Millisecond), s.Info())
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	c := dial(t, s.Info())
	w := worker.New(c, "q", worker.Options{})
	w.RegisterWorkflow(add)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "w", TaskQueue: "q"}, add, 41)
	if err != nil {
		t.Fatal(err)
	}
	var got int
	if err := run.Get(ctx, &got); err != nil || got != 42 {
		t.Fatalf("workflow gave %d, %v", got, err)
	}
	w.Stop()

	bus, err := natsbus.Open(ctx, natsbus.Options{InProcess: s})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := bus.Publish(ctx, natsbus.Key("r", natsbus.Rollouts, "0-000001", "w0-0000"), 1, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	bus.Close()

	page, err := http.Get(s.Info().UI)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(page.Body)
	page.Body.Close()
	if page.StatusCode != 200 || !strings.Contains(string(body), "<html") {
		t.Errorf("Web UI: %s, %d bytes", page.Status, len(body))
	}
	if info, err := devserver.Running(dir); err != nil || info != s.Info() {
		t.Errorf("Running: %+v, %v; want %+v", info, err, s.Info())
	}
	_, err = devserver.Start(ctx, devserver.Options{Dir: dir})
	if grouse.KindOf(err) != grouse.Unavailable || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) {
		t.Errorf("second server on the folder: %v, want unavailable naming our pid", err)
	}
	for _, addr := range []string{s.Info().Temporal, strings.TrimPrefix(s.Info().UI, "http://")} {
		if host, _, _ := net.SplitHostPort(addr); host != "127.0.0.1" {
			t.Errorf("listens on %s", addr)
		}
	}
	c.Close()
	begin = time.Now()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Logf("stop %v", time.Since(begin).Round(time.Millisecond))
	if _, err := devserver.Running(dir); grouse.KindOf(err) != grouse.NotFound {
		t.Errorf("Running after Stop: %v, want not_found", err)
	}

	begin = time.Now()
	s = start(t, devserver.Options{Dir: dir, NoUI: true})
	t.Logf("second start %v", time.Since(begin).Round(time.Millisecond))
	c = dial(t, s.Info())
	if err := c.GetWorkflow(ctx, "w", "").Get(ctx, &got); err != nil || got != 42 {
		t.Errorf("workflow of before: %d, %v", got, err)
	}
	if bus, err = natsbus.Open(ctx, natsbus.Options{InProcess: s}); err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	if data, err := bus.Fetch(ctx, ref); err != nil || string(data) != "x" {
		t.Errorf("batch of before: %q, %v", data, err)
	}
}

// TestAnotherProcess runs the server in a process of its own, kills it, and
// starts it again: it prints nothing, its ports step over taken ones, and what
// it acknowledged is there.
func TestAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	launch := func() (*exec.Cmd, *strings.Builder, devserver.Info) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), child+"="+dir)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if _, err := cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			info, err := devserver.Running(dir)
			if err == nil && info.PID == cmd.Process.Pid {
				return cmd, &out, info
			}
			if time.Now().After(deadline) {
				t.Fatalf("no server: %v, %s", err, out.String())
			}
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:7233") // if it is taken already, so much the better
	if err == nil {
		defer taken.Close()
	}
	cmd, out, info := launch()
	if info.Temporal == "127.0.0.1:7233" || info.NATS == "" {
		t.Errorf("addresses %+v", info)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := dial(t, info)
	if _, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "w", TaskQueue: "nobody"}, add, 1); err != nil {
		t.Fatal(err)
	}
	bus, err := natsbus.Open(ctx, natsbus.Options{URL: info.NATS})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := bus.Publish(ctx, natsbus.Key("r", natsbus.Rollouts, "0-000001", "w0-0000"), 1, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	bus.Close()
	c.Close()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if out.String() != "" {
		t.Errorf("the server printed %q", out)
	}
	_, _, info = launch()
	c = dial(t, info)
	if d, err := c.DescribeWorkflowExecution(ctx, "w", ""); err != nil || d.WorkflowExecutionInfo.GetStatus().String() != "Running" {
		t.Errorf("workflow after kill -9: %v, %v", d, err)
	}
	if bus, err = natsbus.Open(ctx, natsbus.Options{URL: info.NATS}); err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	if data, err := bus.Fetch(ctx, ref); err != nil || string(data) != "x" {
		t.Errorf("batch after kill -9: %q, %v", data, err)
	}
}

func TestOtherSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"temporal.db":          "not looked at",
		"temporal.schema.json": `{"sqlite":"0.1","visibility":"0.1"}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err := devserver.Start(context.Background(), devserver.Options{Dir: dir})
	if grouse.KindOf(err) != grouse.Invalid || !strings.Contains(grouse.FixOf(err), "mv ") {
		t.Errorf("another schema: %v, fix %q; want invalid with the command", err, grouse.FixOf(err))
	}
	if data, _ := os.ReadFile(filepath.Join(dir, "temporal.db")); string(data) != "not looked at" {
		t.Error("the database was changed")
	}
	if _, err := devserver.Running(dir); grouse.KindOf(err) != grouse.NotFound {
		t.Errorf("the folder stayed locked: %v", err)
	}
}

// TestInterruptedFirstStart finds what a crash left of a database being made.
func TestInterruptedFirstStart(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		".temporal.db.new":     "half a database",
		"temporal.schema.json": `{"sqlite":"0.1","visibility":"0.1","cluster_id":"old"}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, devserver.Options{Dir: dir, NoUI: true})
	if s.Info().UI != "" {
		t.Errorf("a Web UI at %s, asked for none", s.Info().UI)
	}
	left, _ := filepath.Glob(filepath.Join(dir, ".*"))
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestBadOptions(t *testing.T) {
	if _, err := devserver.Start(context.Background(), devserver.Options{}); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("no folder: %v, want invalid", err)
	}
	if _, err := devserver.Start(context.Background(), devserver.Options{Dir: t.TempDir(), UIPort: 70000}); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("port 70000: %v, want invalid", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := devserver.Start(context.Background(), devserver.Options{Dir: file}); err == nil {
		t.Error("a file was taken for a folder")
	}
}
