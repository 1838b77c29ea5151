package script

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wabridge/wabridge/core"
)

// Options make an Engine.
type Options struct {
	// Command starts a worker: the bridge's own executable with the arguments
	// that make it call [WorkerMain], such as {"/proc/self/exe", "script-worker"}.
	Command []string
	// Soft is when a hook is interrupted; 0 is 50 ms. Hard is when its worker is
	// killed, which is for what cannot be interrupted; 0 is 250 ms. Both are for
	// one event.
	Soft, Hard time.Duration
	// MemoryLimit is how large a worker's heap may become, in bytes, in steps of 64
	// MiB; 0 is 128 MiB. The process has up to 90 MiB beside it: the program, and
	// what the runtime keeps.
	MemoryLimit uint64
	// Workers is how many processes a tenant may have, and so how many of its
	// frames run at once; 0 is 1.
	Workers int
	// MaxWorkers is how many processes all tenants together may have before
	// those that have been idle longest are ended; 0 is 64. Idle is after what
	// time they end anyhow; 0 is 10 minutes. The next event starts a new one.
	MaxWorkers int
	Idle       time.Duration

	// NeverOff goes on asking a script that has its workers killed: to ask again
	// what was recorded, each question by itself.
	NeverOff bool
	// Last has all workers come last for the CPU: for what nobody waits for.
	Last bool

	Log        *slog.Logger
	Registerer prometheus.Registerer

	tests *testRequest           // for the workers of Engine.Test
	ended func(*os.ProcessState) // told of each worker's end; nil but in tests
}

const (
	// A script that had its worker killed strikes times within strikeWindow is
	// switched off until a new version is loaded.
	strikes      = 3
	strikeWindow = 10 * time.Minute
	// A tenant whose script had to be stopped gets the CPU only when nobody else
	// wants it, for this long: whatever its next version does, the neighbours do
	// not feel it.
	lastAfterTrouble = 10 * time.Minute
)

// Engine runs the scripts of all tenants. All methods may be called
// concurrently.
type Engine struct {
	o       Options
	m       *metrics
	running chan struct{} // closed when Run runs
	spawns  chan struct{} // bounds how many workers start at once
	logged  sync.Once     // how workers are confined

	mu      sync.Mutex
	ctx     context.Context // Run's; set before running is closed
	tenants map[string]*tenant
	workers int // processes, starting and ending ones included
	gone    sync.Cond
}

// tenant is what the engine knows of one tenant.
type tenant struct {
	id   string
	turn chan struct{} // a token per worker in use

	// The engine's mutex guards the rest.
	program *program // nil when unloaded
	before  *program // that it replaced: what began with it is finished with it
	idle    []*worker
	strikes []time.Time // of the program, within the window
	off     bool
	reason  string
	// trouble is when a script of the tenant's, of whatever version, was last
	// interrupted or had its worker killed.
	trouble time.Time
}

// last reports whether the tenant's workers come last. The caller holds the
// engine's mutex.
func (t *tenant) last() bool {
	return !t.trouble.IsZero() && time.Since(t.trouble) < lastAfterTrouble
}

// State is what people see of a tenant's script.
type State struct {
	Version Version
	// Off says that the script was switched off, Reason why.
	Off    bool
	Reason string
	// Kills is how often its worker had to be ended within the last ten minutes.
	Kills int
}

// New makes an Engine; it starts nothing.
func New(o Options) *Engine {
	o.Soft = cmp.Or(o.Soft, 50*time.Millisecond)
	o.Hard = cmp.Or(o.Hard, 250*time.Millisecond)
	o.MemoryLimit = cmp.Or(o.MemoryLimit, 128<<20)
	o.Workers = cmp.Or(o.Workers, 1)
	o.MaxWorkers = cmp.Or(o.MaxWorkers, 64)
	o.Idle = cmp.Or(o.Idle, 10*time.Minute)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	if len(o.Command) == 0 {
		o.Command = []string{"/proc/self/exe", "script-worker"}
	}
	e := &Engine{
		o: o, tenants: map[string]*tenant{},
		running: make(chan struct{}), spawns: make(chan struct{}, max(2, runtime.NumCPU())),
	}
	e.gone.L = &e.mu
	e.m = newMetrics(o.Registerer, e)
	return e
}

// Run owns the workers. It returns when ctx has ended and all of them are gone.
// Load and Decide wait until it runs. It may be called once.
func (e *Engine) Run(ctx context.Context) error {
	e.mu.Lock()
	if e.ctx != nil {
		e.mu.Unlock()
		return errors.New("script: Run: called twice")
	}
	e.ctx = ctx
	close(e.running)
	e.mu.Unlock()

	sweep := time.NewTicker(e.o.Idle / 4)
	defer sweep.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-sweep.C:
			e.endIdle(time.Now().Add(-e.o.Idle))
		}
	}
	e.endIdle(time.Now().Add(time.Hour))
	// Workers in use end with the calls that use them, which ctx ends.
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.workers > 0 {
		e.gone.Wait()
	}
	return nil
}

// wait returns when Run runs, with a context that ends with it or with ctx.
func (e *Engine) wait(ctx context.Context) (context.Context, context.CancelFunc, error) {
	select {
	case <-e.running:
	case <-ctx.Done():
		return nil, nil, core.Errorf(core.CodeUnavailable, "script", "the engine does not run: %w", ctx.Err())
	}
	if e.ctx.Err() != nil {
		return nil, nil, core.Errorf(core.CodeUnavailable, "script", "the engine is stopping: %w", e.ctx.Err())
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(e.ctx, cancel)
	return ctx, func() { stop(); cancel() }, nil
}

// Load compiles and checks a script in a worker, and puts it in the place of
// the tenant's last one, at once for all calls to come. On an error the last one
// goes on. The error is an *core.Error with CodeInvalid when it is the script's
// fault; its message then names the line.
func (e *Engine) Load(ctx context.Context, tenantID string, src Source) (Version, error) {
	p, err := newProgram(src)
	if err != nil {
		return Version{}, err
	}
	ctx, cancel, err := e.wait(ctx)
	if err != nil {
		return Version{}, err
	}
	defer cancel()
	w, reply, err := e.spawn(ctx, tenantID, p)
	if err != nil {
		e.m.loads.WithLabelValues(tenantID, "refused").Inc()
		if died := (*workerError)(nil); errors.As(err, &died) {
			e.trouble(tenantID)
		}
		return Version{}, err
	}
	e.m.loads.WithLabelValues(tenantID, "ok").Inc()
	p.version.Hooks = reply.Hooks & allHooks
	p.version.LoadedAt = time.Now()

	e.mu.Lock()
	t := e.tenants[tenantID]
	if t == nil {
		t = &tenant{id: tenantID, turn: make(chan struct{}, e.o.Workers)}
		e.tenants[tenantID] = t
	}
	if t.program != nil && !t.off && t.program.version.Hash != p.version.Hash {
		t.before = t.program
	}
	t.program, t.strikes, t.off, t.reason = p, nil, false, ""
	stale := t.idle
	t.idle = []*worker{w}
	if e.ctx.Err() != nil { // Run may have looked for idle workers already
		stale, t.idle = append(stale, w), nil
	}
	e.mu.Unlock()
	for _, w := range stale {
		w.kill()
	}
	return p.version, nil
}

// Check reads a script in a worker, as Load does, and changes nothing. It needs
// no Run.
func (e *Engine) Check(ctx context.Context, src Source) error {
	p, err := newProgram(src)
	if err != nil {
		return err
	}
	gone := make(chan struct{})
	w, reply, err := e.o.startWorker(ctx, p, false, func() { close(gone) })
	if err == nil {
		e.report(reply)
		w.kill()
	}
	<-gone
	return err
}

// Version returns what is loaded for a tenant.
func (e *Engine) Version(tenantID string) (Version, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tenants[tenantID]
	if t == nil || t.program == nil {
		return Version{}, false
	}
	return t.program.version, true
}

// State returns how a tenant's script is doing; false when it has none.
func (e *Engine) State(tenantID string) (State, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tenants[tenantID]
	if t == nil || t.program == nil {
		return State{}, false
	}
	t.forget(time.Now())
	return State{Version: t.program.version, Off: t.off, Reason: t.reason, Kills: len(t.strikes)}, true
}

// Unload takes a tenant's script out of use.
func (e *Engine) Unload(tenantID string) {
	e.mu.Lock()
	var stale []*worker
	if t := e.tenants[tenantID]; t != nil {
		stale, t.idle, t.program, t.before = t.idle, nil, nil, nil
	}
	e.mu.Unlock()
	for _, w := range stale {
		w.kill()
	}
}

// spawn starts a worker with a program, ending idle ones where there are too
// many.
func (e *Engine) spawn(ctx context.Context, tenantID string, p *program) (*worker, loadReply, error) {
	select {
	case e.spawns <- struct{}{}:
		defer func() { <-e.spawns }()
	case <-ctx.Done():
		return nil, loadReply{}, core.Errorf(core.CodeUnavailable, "script", "start a worker: %w", ctx.Err())
	}
	e.mu.Lock()
	if e.ctx.Err() != nil {
		e.mu.Unlock()
		return nil, loadReply{}, core.Errorf(core.CodeUnavailable, "script", "start a worker: %w", e.ctx.Err())
	}
	e.workers++
	t := e.tenants[tenantID]
	last := e.o.Last || t != nil && t.last()
	excess := e.workers - e.o.MaxWorkers
	e.mu.Unlock()
	if excess > 0 {
		e.endLongestIdle(excess)
	}
	start := time.Now()
	w, reply, err := e.o.startWorker(ctx, p, last, func() {
		e.mu.Lock()
		e.workers--
		e.gone.Broadcast()
		e.mu.Unlock()
	})
	if err != nil {
		return nil, reply, err
	}
	e.m.starts.WithLabelValues(tenantID).Inc()
	e.m.startSeconds.Observe(time.Since(start).Seconds())
	e.report(reply)
	w.lastUsed = time.Now()
	return w, reply, nil
}

// report logs, once, which walls stand around workers.
func (e *Engine) report(reply loadReply) {
	e.logged.Do(func() {
		c := reply.Confined
		level := slog.LevelInfo
		if !c.whole() {
			level = slog.LevelWarn
		}
		e.o.Log.Log(context.Background(), level, "how script workers are confined",
			"memory", clip(c.Memory, 200), "landlock", clip(c.Landlock, 200), "seccomp", clip(c.Seccomp, 200))
	})
}

// endIdle ends the workers that were not used since a time.
func (e *Engine) endIdle(since time.Time) {
	var stale []*worker
	e.mu.Lock()
	for _, t := range e.tenants {
		t.idle = slices.DeleteFunc(t.idle, func(w *worker) bool {
			if !w.lastUsed.Before(since) {
				return false
			}
			stale = append(stale, w)
			return true
		})
	}
	e.mu.Unlock()
	for _, w := range stale {
		w.kill()
	}
}

// endLongestIdle ends up to n idle workers.
func (e *Engine) endLongestIdle(n int) {
	var all []time.Time
	e.mu.Lock()
	for _, t := range e.tenants {
		for _, w := range t.idle {
			all = append(all, w.lastUsed)
		}
	}
	e.mu.Unlock()
	if len(all) == 0 {
		return
	}
	slices.SortFunc(all, time.Time.Compare)
	e.endIdle(all[min(n, len(all))-1].Add(1))
}
