package devserver

import (
	"context"
	"fmt"
	"net"
	"time"

	uiserver "github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	uioptions "github.com/temporalio/ui-server/v2/server/server_options"

	"github.com/grouse-rl/grouse"
)

// ui is the running Web UI.
type ui struct {
	server *uiserver.Server
	done   chan error // its end
}

// startUI starts the Web UI of the Temporal server at address, and returns when
// its port is open.
func startUI(ctx context.Context, address, namespace string, port int) (*ui, error) {
	cfg := &uiconfig.Config{
		TemporalGRPCAddress: address, Host: loopback, Port: port, EnableUI: true, DefaultNamespace: namespace,
		DisableNewsFetch: true, // no call to the outside
		HideLogs:         true,
		CORS:             uiconfig.CORS{CookieInsecure: true}, // plain http on loopback
	}
	u := &ui{server: uiserver.NewServer(uioptions.WithConfigProvider(cfg)), done: make(chan error, 1)}
	go func() { u.done <- u.server.Start() }()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("%s:%d", loopback, port))
		if err == nil {
			return u, c.Close()
		}
		select {
		case err := <-u.done:
			return nil, grouse.Errorf(grouse.Unavailable, "start the Web UI on port %d: %v", port, err).WithFix("choose another port, or go without")
		case <-ctx.Done():
			u.stop()
			return nil, grouse.Errorf(grouse.Unavailable, "the Web UI on port %d does not answer: %w", port, ctx.Err()).WithFix("choose another port, or go without")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (u *ui) stop() {
	u.server.Stop()
	<-u.done
}
