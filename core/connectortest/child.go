package connectortest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin"
)

// childArgument is what the test program is started with to be a plugin.
const childArgument = "connectortest-plugin"

// ServeIfChild makes the test program a plugin when [Plugin] started it, and
// does not return then. TestMain calls it first.
func ServeIfChild(connectors map[string]core.Connector) {
	if len(os.Args) != 3 || os.Args[1] != childArgument {
		return
	}
	c, ok := connectors[os.Args[2]]
	if !ok {
		fmt.Fprintf(os.Stderr, "connectortest.ServeIfChild was not given a connector %q\n", os.Args[2])
		os.Exit(2)
	}
	plugin.Serve(c)
}

// Plugin returns the connector that TestMain gave to [ServeIfChild] under that
// name, running in a real plugin process of its own until the test ends. The
// plugin's log goes to the test's.
func Plugin(t TB, name string) core.Connector {
	t.Helper()
	launch := plugin.Self(childArgument, name)
	launch.Memory = -1 // the race detector needs more than any plugin
	c, stop, err := Start(context.Background(), name, launch, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatalf("plugin %s does not start (does TestMain call connectortest.ServeIfChild?): %v", name, err)
		return nil
	}
	t.Cleanup(stop)
	return c
}

// Start runs a plugin's program until stop is called, and returns it as a
// connector.
func Start(ctx context.Context, name string, launch plugin.Launcher, log *slog.Logger) (c core.Connector, stop func(), err error) {
	h := plugin.NewHost(plugin.HostOptions{
		Name: name, Tenant: "test", Lane: "test", Launch: launch, CrashBudget: 2, Log: log,
	})
	ctx, cancel := context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = h.Run(ctx) // returns nil
	}()
	stop = func() {
		cancel()
		<-stopped
	}
	ready, done := context.WithTimeout(ctx, 15*time.Second)
	defer done()
	if _, err := h.Info(ready); err != nil {
		stop()
		return nil, nil, err
	}
	return h.Connector(), stop, nil
}
