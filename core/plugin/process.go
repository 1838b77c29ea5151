package plugin

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

// killAfter is how long a process has between SIGTERM and SIGKILL.
const killAfter = 2 * time.Second

// killedStatus is the status of a process that SIGKILL ended.
const killedStatus = "signal: killed"

// process is one process of a plugin, in a process group of its own. It is what
// go-plugin calls a runner: go-plugin makes the handshake and the connection,
// start, signals and end are ours.
type process struct {
	program *program
	memory  int64
	dir     string // private, the socket is in it
	cmd     *exec.Cmd
	stdout  *handshakeReader
	logs    *logs
	ended   chan struct{} // closed when the process is gone and its last words are read
	status  string        // how it ended; read after ended

	mu      sync.Mutex
	started bool
	killed  bool // by us; true before the start, it prevents it
	reaped  bool // its id may belong to another process
}

var _ runner.Runner = (*process)(nil)

// newProcess returns a process that is not started. It is given go-plugin's
// command for the environment in it.
func newProcess(p *program, memory int64, dir string, env []string, logs *logs) *process {
	cmd := p.command()
	cmd.Env = env
	if cmd.Dir = dir; p.dir != "" {
		cmd.Dir = p.dir
	}
	cmd.SysProcAttr = processAttributes()
	return &process{program: p, memory: memory, dir: dir, cmd: cmd, logs: logs, ended: make(chan struct{})}
}

// Start implements runner.Runner.
func (p *process) Start(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return context.Canceled
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		outR.Close()
		outW.Close()
		return err
	}
	p.cmd.Stdout, p.cmd.Stderr = outW, errW
	err = startOnStarter(p.cmd)
	outW.Close()
	errW.Close()
	if err == nil {
		err = limitProcess(p.cmd.Process.Pid, p.memory)
		if err == nil && p.program.changed() {
			err = refuse("see who writes to it", "%s: changed while it was started", p.program.path)
		}
		if err != nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	} else {
		err = explainStart(p.program.path, err)
	}
	if err != nil {
		outR.Close()
		errR.Close()
		return err
	}
	p.started = true
	p.stdout = &handshakeReader{from: outR, noise: p.logs.writer("stdout")}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		p.logs.read(errR)
	}()
	go p.wait(outR, errR, heard)
	return nil
}

// wait sees the process off: the rest of its group goes with it, and what it
// said last is read, but not for longer than a process that got away can hold
// the pipes open.
func (p *process) wait(stdout, stderr *os.File, heard <-chan struct{}) {
	sweep := waitUnreaped(p.cmd.Process.Pid)
	p.mu.Lock()
	if sweep {
		killGroup(p.cmd.Process.Pid)
		p.reaped = true
	}
	p.mu.Unlock()
	err := p.cmd.Wait()
	p.mu.Lock()
	p.reaped = true
	p.mu.Unlock()
	select {
	case <-heard:
	case <-time.After(time.Second):
	}
	stdout.Close()
	stderr.Close()
	<-heard
	p.status = "exit status 0"
	if err != nil {
		p.status = err.Error()
	}
	close(p.ended)
}

// signal sends sig to the process, SIGKILL to its whole group.
func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if sig == syscall.SIGKILL && !p.reaped {
		p.killed = true
	}
	switch {
	case p.reaped || !p.started:
	case sig == syscall.SIGKILL:
		killGroup(p.cmd.Process.Pid)
	default:
		_ = p.cmd.Process.Signal(sig)
	}
}

// stop ends the process: by SIGTERM and, two seconds later, by SIGKILL. It
// returns when the process is gone.
func (p *process) stop() {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(killAfter):
		p.kill()
	}
}

// kill ends the process and all of its group at once, and returns when it is
// gone. A process in the middle of a system call that cannot be interrupted (a
// disk that hangs) is left to the kernel after a while.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	p.mu.Lock()
	started := p.started
	p.mu.Unlock()
	if !started {
		return
	}
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
	}
}

// obituary says how the process ended. It waits until it has.
func (p *process) obituary() string {
	<-p.ended
	if last := p.logs.lastWords(); last != "" {
		return p.status + ": " + last
	}
	return p.status
}

// endedItself reports whether the process is gone, and not because we killed it.
func (p *process) endedItself() bool {
	select {
	case <-p.ended:
		return p.status != killedStatus
	default:
		return false
	}
}

// printed is the beginning of what it printed instead of a handshake.
func (p *process) printed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stdout == nil {
		return ""
	}
	return p.stdout.printed()
}

// Kill implements runner.Runner.
func (p *process) Kill(context.Context) error {
	p.kill()
	return nil
}

// Wait implements runner.Runner.
func (p *process) Wait(context.Context) error {
	<-p.ended
	return nil
}

// Stdout implements runner.Runner.
func (p *process) Stdout() io.ReadCloser { return p.stdout }

// Stderr implements runner.Runner. Standard error is read by us, so go-plugin
// gets none.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements runner.Runner.
func (p *process) Name() string { return p.program.path }

// ID implements runner.Runner. It is empty before the start.
func (p *process) ID() string {
	if p.cmd.Process == nil {
		return ""
	}
	return strconv.Itoa(p.pid())
}

// Diagnose implements runner.Runner.
func (p *process) Diagnose(context.Context) string { return "" }

var errAddress = errors.New("the plugin must listen on a Unix socket in PLUGIN_UNIX_SOCKET_DIR")

// PluginToHost implements runner.AddrTranslator: a plugin cannot send the bridge
// to any other place than a socket in its own directory.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || filepath.Dir(filepath.Clean(address)) != p.dir {
		return "", "", errAddress
	}
	return network, address, nil
}

// HostToPlugin implements runner.AddrTranslator.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }
