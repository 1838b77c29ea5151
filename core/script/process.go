package script

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wabridge/wabridge/core"
)

const (
	// loadTimeout bounds starting a worker and compiling the script in it. It
	// takes 10 to 30 ms; a machine that is busy starting takes longer.
	loadTimeout = 10 * time.Second
	// writeTimeout bounds handing a frame to a worker, which reads at once.
	writeTimeout = 2 * time.Second
	// starved is how many times over a worker may take the time for an event
	// when it did not get the CPU for it.
	starved = 4
)

// program is a script as the engine keeps it, to start workers with.
type program struct {
	Source
	version Version
}

// worker is a process that has loaded one program. One goroutine at a time may
// use it.
type worker struct {
	program *program
	last    bool // everybody else gets the CPU first
	conn    net.Conn
	proc    *os.Process
	stderr  *head
	// exited is closed when the process is gone; how is set then.
	exited chan struct{}
	how    *os.ProcessState

	in       frameReader
	out      []byte
	lastUsed time.Time
}

// startWorker starts a process and loads the program in it, behind everybody else
// if last. done is called once
// when the process is gone, also when startWorker fails. The error is an
// *core.Error: CodeInvalid when the script is to blame.
func (o *Options) startWorker(ctx context.Context, p *program, last bool, done func()) (*worker, loadReply, error) {
	w := &worker{program: p, last: last, exited: make(chan struct{}), stderr: &head{}}
	fail := func(err error) (*worker, loadReply, error) {
		return nil, loadReply{}, core.Errorf(core.CodeUnavailable, "script", "start a worker: %w", err)
	}
	ours, theirs, err := socketPair()
	if err != nil {
		done()
		return fail(err)
	}
	started := make(chan error, 1)
	go func() {
		defer done()
		// The kernel kills the worker when the thread that started it ends, so
		// this thread lives as long as the worker does.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		cmd := exec.Command(o.Command[0], o.Command[1:]...) //nolint:gosec,noctx // our own executable; it ends by kill
		cmd.Env = []string{}
		cmd.Dir = "/"
		cmd.Stderr = w.stderr
		cmd.ExtraFiles = []*os.File{theirs}
		cmd.SysProcAttr = workerAttr()
		cmd.WaitDelay = time.Second
		err := cmd.Start()
		_ = theirs.Close()
		w.proc = cmd.Process
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // how it ended is in the state
		w.how = cmd.ProcessState
		if o.ended != nil {
			o.ended(w.how)
		}
		close(w.exited)
	}()
	err = <-started
	if err != nil {
		_ = ours.Close()
		return fail(err)
	}
	if w.conn, err = fileConn(ours); err != nil {
		_ = w.proc.Kill()
		return fail(err)
	}
	w.in.r = w.conn
	if last {
		putLast(w.proc.Pid) // before it has anything to do
	}
	reply, err := w.load(ctx, o)
	if err != nil {
		w.kill()
		return nil, reply, err
	}
	return w, reply, nil
}

// load sends the program and waits until it is ready.
func (w *worker) load(ctx context.Context, o *Options) (reply loadReply, err error) {
	data, err := json.Marshal(loadRequest{
		Source: w.program.Source, Soft: o.Soft, Hard: o.Hard, Memory: o.MemoryLimit,
		Tests: o.tests,
	})
	if err != nil {
		return reply, core.Errorf(core.CodeInternal, "script", "load: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = w.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = w.conn.SetDeadline(time.Now().Add(loadTimeout))
	if ctx.Err() != nil {
		return reply, core.Errorf(core.CodeUnavailable, "script", "load: %w", ctx.Err())
	}
	w.out = append(beginFrame(w.out, frameLoad), data...)
	var kind byte
	var payload []byte
	if _, err = w.conn.Write(endFrame(w.out)); err == nil {
		kind, payload, err = w.in.next()
	}
	step := "reading it"
	if err == nil && kind == frameRead {
		step = "its top level"
		limit := o.Hard
		if o.tests != nil {
			step, limit = "its tests", testTimeout
		}
		kind, payload, err = w.await(ctx, limit)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return reply, core.Errorf(core.CodeUnavailable, "script", "load: %w", ctx.Err())
	case errors.Is(err, os.ErrDeadlineExceeded):
		return reply, core.Errorf(core.CodeInvalid, "script", "%s: %s %w", w.program.Name, step, &workerError{"loop", "did not end in time"})
	case err != nil:
		why := w.death()
		if why == "" {
			return reply, core.Errorf(core.CodeUnavailable, "script", "start a worker: %w", err)
		}
		return reply, core.Errorf(core.CodeInvalid, "script", "%s: %s %w", w.program.Name, step, &workerError{"crash", why})
	case kind != frameLoad || json.Unmarshal(payload, &reply) != nil:
		return reply, core.Errorf(core.CodeInternal, "script", "load: %w", errFrame)
	case reply.Error != "":
		return reply, core.Errorf(core.CodeInvalid, "script", "%s", clip(strings.ToValidUTF8(reply.Error, "�"), 4096))
	}
	w.out = nil // it held the source
	return reply, nil
}

// kill ends the process at once, and waits for its end.
func (w *worker) kill() {
	_ = w.proc.Kill()
	_ = w.conn.Close()
	<-w.exited
}

// decide makes the calls and passes on each result as it comes, in order. It
// returns how many came, and, when not all did, why. Then the worker is dead.
func (w *worker) decide(ctx context.Context, o *Options, calls []Call, each func(i int, r result)) (n int, err error) {
	w.lastUsed = time.Now()
	w.out = beginFrame(w.out, frameCalls)
	for i := range calls {
		w.out = appendCall(w.out, &calls[i])
	}
	// Ended by ctx, the worker is in the middle of something: it must go.
	stop := context.AfterFunc(ctx, func() { _ = w.conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			w.kill()
		}
	}()
	_ = w.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := w.conn.Write(endFrame(w.out)); err != nil {
		return 0, w.failure(ctx, err)
	}
	for n < len(calls) {
		kind, payload, err := w.await(ctx, o.Hard+flushAfter)
		if err == nil && kind != frameResult {
			err = errFrame
		}
		if err != nil {
			return n, w.failure(ctx, err)
		}
		for len(payload) > 0 {
			var r result
			if r, payload, err = cutResult(payload); err == nil && n == len(calls) {
				err = errFrame
			}
			if err != nil {
				return n, w.failure(ctx, err)
			}
			each(n, r)
			n++
		}
	}
	return n, nil
}

// await reads the next frame. A worker that did not get the CPU is given more
// time: a script is not to blame for a busy machine.
func (w *worker) await(ctx context.Context, limit time.Duration) (kind byte, payload []byte, err error) {
	before, known := cpuTimeOf(w.proc.Pid)
	wait := limit
	for try := 1; ; try++ {
		_ = w.conn.SetReadDeadline(time.Now().Add(wait))
		if ctx.Err() != nil {
			return 0, nil, ctx.Err()
		}
		kind, payload, err = w.in.next()
		if !errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil || !known || try == starved {
			return kind, payload, err
		}
		now, ok := cpuTimeOf(w.proc.Pid)
		if wait = limit - (now - before); !ok || wait < limit/4 {
			return 0, nil, err
		}
	}
}

// failure says why the worker gave no answer.
func (w *worker) failure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &workerError{reason: "loop", text: "did not end in time and its worker was killed"}
	}
	if errors.Is(err, errFrame) {
		return &workerError{reason: "protocol", text: "made its worker answer nonsense"}
	}
	switch why := w.death(); {
	case strings.Contains(why, "memory"):
		return &workerError{reason: "memory", text: why}
	case why != "":
		return &workerError{reason: "crash", text: why}
	}
	return &workerError{reason: "crash", text: "ended its worker"}
}

// workerError is the end of a worker.
type workerError struct{ reason, text string }

func (e *workerError) Error() string { return e.text }

// death says how a worker ended by itself, for people, or "".
func (w *worker) death() string {
	select {
	case <-w.exited:
	case <-time.After(time.Second):
		return ""
	}
	last := w.stderr.String()
	switch {
	case strings.Contains(last, "stack exceeds"):
		return "nested so deeply that its worker ran out of stack"
	case strings.Contains(last, "out of memory"), strings.Contains(last, "cannot allocate memory"):
		return "used more memory than it may, and its worker ended"
	}
	if status, ok := w.how.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		if status.Signal() == syscall.SIGSEGV { // Go's last word when there is no room even to say so
			return "ran out of stack or memory, and its worker ended"
		}
		return "ended its worker: " + status.Signal().String()
	}
	if line, _, _ := strings.Cut(last, "\n"); line != "" {
		return "ended its worker: " + clip(strings.ToValidUTF8(line, "�"), 200)
	}
	return fmt.Sprintf("ended its worker: %v", w.how)
}

// head keeps the beginning of what is written to it.
type head struct {
	mu sync.Mutex
	b  []byte
}

const headSize = 2048

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.b = append(h.b, p[:min(len(p), headSize-len(h.b))]...)
	return len(p), nil
}

func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.b)
}

// socketPair returns two connected sockets that no other child inherits.
func socketPair() (ours, theirs *os.File, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	for _, fd := range fds {
		syscall.CloseOnExec(fd)
	}
	return os.NewFile(uintptr(fds[0]), "worker"), os.NewFile(uintptr(fds[1]), "engine"), nil
}

// fileConn makes a connection of a socket; the file is closed.
func fileConn(f *os.File) (net.Conn, error) {
	conn, err := net.FileConn(f) // a copy
	return conn, errors.Join(err, f.Close())
}
