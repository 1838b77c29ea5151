package plugin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/wabridge/wabridge/core"
)

// For development a plugin can be started by its author, in a debugger, instead of
// by the bridge. The bridge then starts [Attach], which leaves in a file what the
// bridge gives a plugin, and stands in for the process that picks it up there.
const (
	// AttachVariable names the file, in the environment of the author's process.
	AttachVariable = "WABRIDGE_PLUGIN_ATTACH"
	// handshakeVariable, in the file, names another: the author's process writes its
	// handshake there instead of to its standard output.
	handshakeVariable = "WABRIDGE_PLUGIN_HANDSHAKE"

	attachEvery = 100 * time.Millisecond
	// attachTimeout is how long a breakpoint may take.
	attachTimeout = time.Hour
)

// ForDebugger changes the options of a Host whose process is [Attach]: nobody's time
// is over while its author thinks, and it may end as often as they like.
func (o *HostOptions) ForDebugger() {
	o.Launch.StartTimeout = attachTimeout
	o.CallTimeout, o.HealthTimeout = attachTimeout, attachTimeout
	o.CrashBudget = 1 << 20
}

// Attach is the process of a plugin that its author starts. It never returns: it
// ends when the author's process does, when the bridge does, or on SIGTERM.
func Attach(file string) {
	if os.Getenv(handshake.MagicCookieKey) != handshake.MagicCookieValue {
		fmt.Fprintln(os.Stderr, "attach: the bridge starts this, it does nothing by itself")
		os.Exit(2)
	}
	go exitWithParent(os.Getppid())
	log := logger()
	offered, err := offer(file)
	var line []byte
	if err == nil {
		go func() {
			term := make(chan os.Signal, 1)
			signal.Notify(term, syscall.SIGTERM)
			<-term
			withdraw(file, offered)
			os.Exit(0)
		}()
		line = accepted()
	}
	if err != nil {
		log.Error("attach: " + err.Error()) //nolint:sloglint // it is all there is to say
		os.Exit(1)
	}
	gone, err := watchSocket(line)
	if err != nil {
		log.Error("attach: " + err.Error()) //nolint:sloglint // likewise
		os.Exit(1)
	}
	log.Warn("attached to a plugin that was started by hand: for development only")
	_, _ = os.Stdout.Write(line)
	gone()
	log.Warn("the plugin that was started by hand has ended")
	withdraw(file, offered)
	os.Exit(0)
}

// answerFile is where the author's process writes its handshake.
func answerFile() string { return filepath.Join(os.Getenv(goplugin.EnvUnixSocketDir), "handshake") }

// withdraw removes the file, unless the process that takes over has written it anew.
func withdraw(file string, offered []byte) {
	if now, err := readBounded(file, maxNoise); err == nil && bytes.Equal(now, offered) {
		_ = os.Remove(file) //nolint:gosec // the owner names it
	}
}

// accepted waits until somebody answers with a handshake, and returns it.
func accepted() []byte {
	for {
		line, err := readBounded(answerFile(), maxNoise)
		if err == nil && bytes.HasSuffix(line, []byte("\n")) {
			return line
		}
		<-time.After(attachEvery)
	}
}

// offer writes the file, and returns what is in it.
func offer(file string) ([]byte, error) {
	env := map[string]string{handshake.MagicCookieKey: handshake.MagicCookieValue, handshakeVariable: answerFile()}
	for _, name := range []string{"PLUGIN_PROTOCOL_VERSIONS", "PLUGIN_CLIENT_CERT", goplugin.EnvUnixSocketDir} {
		env[name] = os.Getenv(name)
	}
	data, err := json.MarshalIndent(env, "", "  ")
	if err != nil {
		return nil, err
	}
	half := file + ".part"
	if err := os.WriteFile(half, data, 0o600); err != nil { //nolint:gosec // the owner names it
		return nil, err
	}
	if err := os.Rename(half, file); err != nil { //nolint:gosec // the owner names it
		return nil, err
	}
	logger().Warn("waiting for a plugin that is started by hand, with "+AttachVariable, slog.String("file", file))
	return data, nil
}

// attached makes this process one that was started by its author, if it is one: it
// waits for a bridge, and takes from the file what that would have given.
func attached() (*os.File, error) {
	file := os.Getenv(AttachVariable)
	if file == "" {
		return nil, nil //nolint:nilnil // it is not
	}
	fmt.Fprintf(os.Stderr, "waiting for a bridge with attach = %q\n", file)
	for {
		env := map[string]string{}
		data, err := readBounded(file, maxNoise)
		if err == nil {
			err = json.Unmarshal(data, &env)
		}
		if err == nil { // of a bridge that is gone, the folder is gone too
			_, err = os.Stat(env[goplugin.EnvUnixSocketDir])
		}
		if err != nil {
			<-time.After(attachEvery)
			continue
		}
		for name, value := range env {
			if err := os.Setenv(name, value); err != nil {
				return nil, err
			}
		}
		return os.Create(env[handshakeVariable])
	}
}

// errAttach is a handshake that leads nowhere.
func errAttach(format string, args ...any) error {
	return core.Errorf(core.CodeInvalid, "attach", format, args...)
}
