package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin/internal/connectorpb"
)

// instance is one process that is ready for calls, with its connection. There is
// a new one, with a new go-plugin client, for each start.
type instance struct {
	info    core.ConnectorInfo
	sha256  string // of what it was started from, if that was pinned
	process *process
	client  connectorpb.Client
	health  grpc_health_v1.HealthClient
	discard func()         // frees what is left when the process has ended
	ending  atomic.Bool    // we end it: it did not crash
	refuses chan struct{}  // has one when it refused a call
	calls   sync.WaitGroup // in flight; grows only while the Host's lock is held and the instance is current
}

// start starts a process and returns it when it has described itself. It gives
// up after the Launcher's StartTimeout or when ctx ends; then nothing is left of the process.
func start(ctx context.Context, l *Launcher, logs *logs) (_ *instance, err error) {
	program, err := l.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = program.Close() }()
	dir, err := makeDir(l.Dir)
	if err != nil {
		return nil, err
	}
	if program.folder != nil {
		if err := program.unpack(dir.path); err != nil {
			dir.remove()
			return nil, err
		}
	}
	timeout := l.StartTimeout
	if timeout <= 0 {
		timeout = defaultStartTimeout
	}
	memory := l.Memory
	if memory == 0 {
		memory = DefaultMemory
	}

	secure, certificate, err := clientTLS()
	if err != nil {
		dir.remove()
		return nil, err
	}
	var proc *process
	made := make(chan *process, 1)
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  handshake,
		VersionedPlugins: versions(nil),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, dir string) (runner.Runner, error) {
			p := newProcess(program, memory, dir, append(cmd.Env, "PLUGIN_CLIENT_CERT="+string(certificate)), logs)
			made <- p
			return p, nil
		},
		SkipHostEnv:      true,
		TLSConfig:        secure,
		StartTimeout:     timeout,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: dir.path},
		GRPCDialOptions:  dialOptions(),
		SyncStdout:       logs.writer("stdout"),
		SyncStderr:       logs.writer("stderr"),
		Logger:           pluginLogger(logs.log),
	})
	discard := func() {
		discardClient(client, logs.log)
		dir.remove()
	}
	defer func() {
		if err != nil {
			if proc != nil {
				proc.kill()
			}
			discard()
		}
	}()

	// Client takes no context and can hang while it connects. It is ended by
	// ending the process.
	ctx, cancel := context.WithTimeout(ctx, timeout+time.Second)
	defer cancel()
	var protocol goplugin.ClientProtocol
	connected := make(chan error, 1)
	go func() {
		var err error
		protocol, err = client.Client()
		connected <- err
	}()
	for waiting := true; waiting; {
		select {
		case proc = <-made:
			defer context.AfterFunc(ctx, proc.kill)()
			made = nil
		case err = <-connected:
			waiting = false
		}
	}
	if proc == nil { // both were ready
		select {
		case proc = <-made:
		default:
		}
	}
	if err != nil {
		return nil, explainHandshake(ctx, err, proc)
	}

	conn := protocol.(*goplugin.GRPCClient).Conn
	in := &instance{
		process: proc, client: connectorpb.Client{Conn: conn}, health: grpc_health_v1.NewHealthClient(conn),
		discard: discard, refuses: make(chan struct{}, 1),
	}
	res, err := in.client.Info(ctx, &connectorpb.InfoRequest{})
	if err != nil {
		return nil, explainHandshake(ctx, err, proc)
	}
	in.info = infoFromWire(res)
	if err := ValidateInfo(in.info); err != nil {
		return nil, err
	}
	return in, nil
}

// ping asks the process whether it is well.
func (in *instance) ping(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	res, err := in.health.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: goplugin.GRPCServiceName})
	if err == nil && res.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		err = fmt.Errorf("it says %v", res.GetStatus())
	}
	return err
}

// gone reports whether the process has ended.
func (in *instance) gone() bool {
	select {
	case <-in.process.ended:
		return true
	default:
		return false
	}
}

// end stops the process when the calls in flight are done, or when drain has
// passed, and frees everything.
func (in *instance) end(drain time.Duration) {
	if drain > 0 { // otherwise it has failed already
		in.ending.Store(true)
	}
	done := make(chan struct{})
	go func() { in.calls.Wait(); close(done) }() // ends at the latest when the process does
	select {
	case <-done:
	case <-time.After(drain):
	case <-in.process.ended:
	}
	in.process.stop()
	in.discard()
	<-done
}

// discardClient makes go-plugin let go of a process that has ended. Its Kill can
// block for reasons of its own, so nobody waits for it for long.
func discardClient(client *goplugin.Client, log *slog.Logger) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		client.Kill()
	}()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		log.Warn("plugin: go-plugin does not let go of an ended process")
	}
}

var versionMismatch = regexp.MustCompile(`Plugin version: (\d+), Client versions: \[([\d ]+)\]`)

// explainHandshake turns go-plugin's error of a start into one that says what to
// do. The process may be nil.
func explainHandshake(ctx context.Context, err error, proc *process) error {
	if known, ok := errors.AsType[*core.Error](err); ok {
		return known
	}
	unavailable := func(hint, format string, args ...any) error {
		e := core.Errorf(core.CodeUnavailable, "start plugin", format, args...)
		e.Hint, e.Source = hint, core.SourcePlugin
		return e
	}
	if proc == nil {
		return unavailable("", "%w", err)
	}
	proc.kill()
	name := proc.program.path
	said := ""
	if printed := proc.printed(); printed != "" {
		said += fmt.Sprintf("; it printed %q", printed)
	}
	if last := proc.logs.lastWords(); last != "" {
		said += fmt.Sprintf("; it last said %q", last)
	}
	if m := versionMismatch.FindStringSubmatch(err.Error()); m != nil {
		return refuse("rebuild the plugin against this wabridge, or install its version for it",
			"%s: speaks version %s of the plugin contract, this wabridge speaks %s", name, m[1], m[2])
	}
	switch text := err.Error(); {
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return unavailable("", "%s: given up: %w", name, ctx.Err())
	case errors.Is(err, errAddress):
		return refuse("this is for the plugin's author to mend", "%s: %w", name, errAddress)
	case ctx.Err() != nil, strings.Contains(text, "timeout while waiting"):
		return unavailable("a plugin in Go must call plugin.Serve before anything that takes long",
			"%s: not ready in time%s", name, said)
	case proc.endedItself():
		return unavailable("see the plugin's log lines before this one",
			"%s: ended before it was ready: %s%s", name, proc.status, said)
	case strings.Contains(text, "Unrecognized remote plugin message"):
		return refuse("is this a plugin of wabridge?", "%s: no handshake on its standard output%s", name, said)
	default:
		return unavailable("", "%s: %w%s", name, err, said)
	}
}

// pluginLogger lets go-plugin's own log lines through for those who debug.
func pluginLogger(log *slog.Logger) hclog.Logger {
	if !log.Enabled(context.Background(), slog.LevelDebug) {
		return hclog.NewNullLogger()
	}
	return hclog.New(&hclog.LoggerOptions{
		Level: hclog.Debug, DisableTime: true,
		Output: &lineWriter{line: func(line []byte, _ bool) { log.Debug("go-plugin", "line", string(line)) }},
	})
}
