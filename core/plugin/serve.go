package plugin

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/wabridge/wabridge/core"
)

// drainTime is how long a plugin that was told to stop goes on with the calls it
// has. The bridge kills it [killAfter] after SIGTERM, so this is for others who
// stop it.
const drainTime = 30 * time.Second

// Serve runs a connector as a plugin: it is all that the main function of a
// plugin does. It never returns.
//
// Serve makes a JSON logger on standard error the default of log/slog and sends
// what is printed to standard output there too. On SIGTERM it finishes the calls
// it has, and exits; when the bridge is gone, it exits at once. A panic in a
// method of c becomes an error of that call; one in a goroutine that c started
// ends the process.
//
// With [AttachVariable] in its environment the process was started by its author, not
// by the bridge: it waits for a bridge that is told to use it, and ends with that.
func Serve(c core.Connector) {
	byHand, err := attached()
	if err != nil {
		fmt.Fprintln(os.Stderr, "plugin: attach:", err)
		os.Exit(1)
	}
	if os.Getenv(handshake.MagicCookieKey) != handshake.MagicCookieValue {
		fmt.Fprintf(os.Stderr, "%s: this is a plugin of wabridge (connector %q): the bridge starts it, it does nothing by itself.\n",
			os.Args[0], c.Info().Name)
		os.Exit(2)
	}
	if byHand != nil {
		os.Stdout = byHand // go-plugin prints the handshake there
		go exitWithFolder(filepath.Dir(byHand.Name()))
	} else {
		go exitWithParent(os.Getppid())
		if err := grabStdout(); err != nil {
			fmt.Fprintln(os.Stderr, "plugin: standard output:", err)
			os.Exit(1)
		}
	}
	slog.SetDefault(logger())

	calls := newGate()
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  handshake,
		VersionedPlugins: versions(&service{connector: c}),
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			s := grpc.NewServer(append(serverOptions(o), grpc.UnaryInterceptor(calls.intercept))...)
			go stopOnSIGTERM(calls, s)
			return s
		},
		Logger: hclog.NewNullLogger(),
	})
	os.Exit(0)
}

// processLog is on the standard error that the process was started with:
// go-plugin replaces os.Stderr by a stream of its own, which is slower and ends
// before the process does.
var processLog = slog.New(slog.NewJSONHandler(os.Stderr, nil))

func logger() *slog.Logger { return processLog }

// grabStdout keeps standard output for the handshake alone: whatever else is
// written to it, by C code too, goes to standard error.
func grabStdout() error {
	fd, err := syscall.Dup(syscall.Stdout)
	if err != nil {
		return err
	}
	syscall.CloseOnExec(fd)
	if err := unix.Dup2(syscall.Stderr, syscall.Stdout); err != nil {
		return err
	}
	os.Stdout = os.NewFile(uintptr(fd), "handshake") // go-plugin prints there, then replaces it
	return nil
}

// exitWithParent ends the process when its parent is gone. On Linux the kernel
// does that first, as long as the bridge started it.
func exitWithParent(parent int) {
	seconds := time.Tick(time.Second)
	for os.Getppid() == parent {
		<-seconds
	}
	os.Exit(1)
}

// exitWithFolder ends a process that was started by hand when the folder of its socket
// is gone: the bridge is, or the next one has cleaned up after it.
func exitWithFolder(dir string) {
	seconds := time.Tick(time.Second)
	for _, err := os.Stat(dir); err == nil; _, err = os.Stat(dir) {
		<-seconds
	}
	os.Exit(1)
}

func stopOnSIGTERM(calls *gate, s *grpc.Server) {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
	select {
	case <-calls.close():
	case <-time.After(drainTime):
	}
	// The handlers are done but their answers may still be on the way out:
	// GracefulStop sends them. It also waits for go-plugin's endless streams,
	// hence the limit.
	sent := make(chan struct{})
	go func() { s.GracefulStop(); close(sent) }()
	select {
	case <-sent:
	case <-time.After(200 * time.Millisecond):
	}
	s.Stop()
}
