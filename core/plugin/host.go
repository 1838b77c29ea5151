package plugin

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wabridge/wabridge/core"
)

// HostOptions are the options of a Host. The zero value of a duration or number
// is its default.
type HostOptions struct {
	// Name is the plugin's, as configured: for logs and metrics.
	Name string
	// Tenant and Lane name the lane that the process is for.
	Tenant, Lane string
	// Launch says how to start the process.
	Launch Launcher
	// Account returns the account as it is now. It is called for each call to
	// the plugin, concurrently, and must be quick. Its Tenant and Lane are
	// replaced by the Host's.
	Account func() core.Account
	// Tokens keeps the account's token over restarts, for connectors that need
	// one. Nil: another is asked for after each start.
	Tokens TokenStore
	// Log gets the Host's own records and what the plugin logs. Nil discards.
	Log *slog.Logger
	// Registerer gets the metrics. Several Hosts share one. Nil: none.
	Registerer prometheus.Registerer

	// CallTimeout is the deadline of a call; default 60 s. A caller's context
	// can be shorter.
	CallTimeout time.Duration
	// StartWait is how long a call waits for a process that is being started;
	// default 10 s.
	StartWait time.Duration
	// DrainTimeout is how long calls in flight may take to finish when the
	// process is replaced or the Host stops; default 5 s. Then the process gets
	// SIGTERM, and 2 s later SIGKILL.
	DrainTimeout time.Duration
	// HealthInterval is how often the process is asked whether it is well, and
	// HealthTimeout how long it may take to answer before it is killed; default
	// 10 s each.
	HealthInterval, HealthTimeout time.Duration
	// CrashBudget crashes within CrashWindow put the plugin into quarantine for
	// Quarantine; default 5 within 5 min, for 10 min. After that one crash is
	// enough, until it has run for CrashWindow.
	CrashBudget             int
	CrashWindow, Quarantine time.Duration
}

func (o *HostOptions) setDefaults() {
	for _, d := range []struct {
		value *time.Duration
		std   time.Duration
	}{
		{&o.CallTimeout, time.Minute}, {&o.StartWait, 10 * time.Second}, {&o.DrainTimeout, 5 * time.Second},
		{&o.HealthInterval, 10 * time.Second}, {&o.HealthTimeout, 10 * time.Second},
		{&o.CrashWindow, 5 * time.Minute}, {&o.Quarantine, 10 * time.Minute},
	} {
		if *d.value <= 0 {
			*d.value = d.std
		}
	}
	if o.CrashBudget <= 0 {
		o.CrashBudget = 5
	}
	if o.Account == nil {
		o.Account = func() core.Account { return core.Account{} }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Phase is what a Host is doing.
type Phase string

// The phases.
const (
	PhaseStarting    Phase = "starting"    // a process is being started, or Run has not begun
	PhaseRunning     Phase = "running"     // a process is ready for calls
	PhaseBackoff     Phase = "backoff"     // it died, and is started again soon
	PhaseQuarantined Phase = "quarantined" // it died too often, and is left alone for long
	PhaseDisabled    Phase = "disabled"    // somebody does not want it to run
	PhaseStopped     Phase = "stopped"     // Run returns, or has returned
)

// State is what a Host is doing, for people.
type State struct {
	Phase Phase     `json:"phase"`
	Since time.Time `json:"since"`
	// PID and Version are those of the process that is ready, else zero. SHA256 is the
	// Launcher's that started it; empty for one that is built in.
	PID     int    `json:"pid,omitempty"`
	Version string `json:"version,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	// Starts counts the processes that became ready, Crashes those that died,
	// hung or could not be started.
	Starts  int `json:"starts"`
	Crashes int `json:"crashes"`
	// LastError is why the last of Crashes happened.
	LastError string `json:"last_error,omitempty"`
	// Retry is when the next process is started, in backoff and quarantine.
	Retry time.Time `json:"retry,omitzero"`
	// Wanted is the SHA256 of the Launcher that the next process is started by.
	Wanted string `json:"wanted,omitempty"`
	// Refused is why the process was not replaced when that was asked for last: the old
	// one goes on. Empty when it was.
	Refused string `json:"refused,omitempty"`
}

// Host keeps one plugin process alive for one lane, and is that lane's sink. Its
// methods may be called concurrently, before Run too: calls then wait.
//
// There is a process of its own for each lane, so that one tenant's trouble and
// secrets are its own.
type Host struct {
	o       HostOptions
	log     *slog.Logger
	redact  redactor
	metrics *metrics
	keeper  *keeper
	restart chan struct{} // has one when a restart was asked for

	mu      sync.Mutex
	launch  Launcher
	state   State
	current *instance           // ready for calls, or nil
	info    *core.ConnectorInfo // of the latest instance
	changed chan struct{}       // closed when state changes
}

var _ core.Sink = (*Host)(nil)

// NewHost returns a Host that does nothing yet: see [Host.Run].
func NewHost(o HostOptions) *Host {
	o.setDefaults()
	h := &Host{
		o:       o,
		log:     o.Log.With("plugin", o.Name, "tenant", o.Tenant, "lane", o.Lane),
		metrics: newMetrics(o.Registerer, o.Name, o.Tenant, o.Lane),
		restart: make(chan struct{}, 1), launch: o.Launch,
		changed: make(chan struct{}),
		state:   State{Phase: PhaseStarting, Since: time.Now(), Wanted: o.Launch.SHA256},
	}
	h.keeper = newKeeper(h)
	return h
}

// State says what the Host is doing.
func (h *Host) State() State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}

// Restart replaces the process by a new one: the new one is started first, and
// the old one finishes the calls it has. When there is none, in backoff and
// quarantine, one is started now, with a clean record. It returns at once.
func (h *Host) Restart() {
	select {
	case h.restart <- struct{}{}:
	default: // asked for already
	}
}

// Use has the next process started by another Launcher, and asks for it now: see
// [Host.Restart]. When the new one does not start, the old process goes on (see
// State.Refused), and what is started later is tried by the new Launcher. One that is
// Disabled ends the process.
func (h *Host) Use(l Launcher) {
	h.mu.Lock()
	h.launch = l
	h.state.Wanted, h.state.Refused = l.SHA256, ""
	h.mu.Unlock()
	h.Restart()
}

func (h *Host) launcher() Launcher {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.launch
}

// account is the account of a call now.
func (h *Host) account() core.Account {
	a := h.o.Account()
	a.Tenant, a.Lane = h.o.Tenant, h.o.Lane
	return a
}

// update changes the state and wakes who waits for it.
func (h *Host) update(change func(*State)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.updateLocked(change)
}

func (h *Host) updateLocked(change func(*State)) {
	before := h.state.Phase
	change(&h.state)
	if h.state.Phase != before {
		h.state.Since = time.Now()
	}
	close(h.changed)
	h.changed = make(chan struct{})
}

// acquire returns an instance that is ready, waiting for one that is being
// started. The caller calls calls.Done when it has made its call.
func (h *Host) acquire(ctx context.Context) (*instance, *core.Error) {
	var timeout <-chan time.Time
	for {
		h.mu.Lock()
		if in := h.current; in != nil {
			if !in.gone() {
				in.calls.Add(1)
				h.mu.Unlock()
				return in, nil
			}
			h.withoutLocked(PhaseBackoff) // Run is about to see it too
		}
		state, changed := h.state, h.changed
		h.mu.Unlock()

		if state.Phase == PhaseQuarantined || state.Phase == PhaseStopped || state.Phase == PhaseDisabled {
			return nil, h.notReady(state)
		}
		if timeout == nil {
			t := time.NewTimer(h.o.StartWait)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-changed:
		case <-timeout:
			return nil, h.notReady(state)
		case <-ctx.Done():
			return nil, h.notReady(state)
		}
	}
}

// notReady is the error of a call that could not be made: nothing happened.
func (h *Host) notReady(s State) *core.Error {
	e := core.Errorf(core.CodeUnavailable, "plugin", "%s is not ready (%s)", h.o.Name, s.Phase)
	e.Source, e.Scope = core.SourceBridge, core.ScopeLane
	if s.Phase == PhaseDisabled {
		e.Hint = "wabridge plugin enable " + h.o.Name + " lets it run again"
		return e
	}
	if s.LastError != "" {
		e.Message = clean(e.Message+": "+s.LastError, maxMessageText)
	}
	if s.Phase == PhaseQuarantined {
		// Without RetryAfter: somebody may mend it long before the pause is over.
		e.Hint = "it died too often: mend what its last error says, then restart the plugin"
	}
	return e
}
