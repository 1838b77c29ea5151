package plugin

import (
	"context"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
)

// Run keeps a process alive until ctx ends, and returns nil when it and all else
// that was started is gone. It is called once.
func (h *Host) Run(ctx context.Context) error {
	var retiring sync.WaitGroup
	defer func() {
		retiring.Wait()
		h.update(func(s *State) { s.Phase, s.Retry = PhaseStopped, time.Time{} })
	}()
	b := budget{crashes: h.o.CrashBudget, window: h.o.CrashWindow, pause: h.o.Quarantine}
	for {
		if h.launcher().Disabled {
			h.update(func(s *State) { s.Phase, s.Retry = PhaseDisabled, time.Time{} })
			select {
			case <-h.restart:
				b.reset()
				continue
			case <-ctx.Done():
				return nil
			}
		}
		h.update(func(s *State) { s.Phase, s.Retry = PhaseStarting, time.Time{} })
		var ran time.Duration
		in, err := h.start(ctx)
		if err == nil {
			ready := time.Now()
			err = h.supervise(ctx, in, &retiring)
			ran = time.Since(ready)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err == nil { // it was disabled
			continue
		}
		wait, quarantined := b.failed(time.Now(), ran, core.CodeOf(err) == core.CodeInvalid)
		h.failed(err, wait, quarantined)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-h.restart:
			b.reset()
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

func (h *Host) start(ctx context.Context) (*instance, error) {
	h.redact.learn(h.o.Account().Secrets)
	began := time.Now()
	l := h.launcher()
	in, err := start(ctx, &l, newLogs(h.log, &h.redact, h.metrics.dropped.Inc))
	if err != nil {
		return nil, err
	}
	in.sha256 = l.SHA256
	h.metrics.starts.Inc()
	h.log.Info("plugin ready", "connector", in.info.Name, "version", in.info.Version, "pid", in.process.pid(), "took", time.Since(began))
	return in, nil
}

// failed notes why there is no process now, and what comes next.
func (h *Host) failed(err error, wait time.Duration, quarantined bool) {
	h.metrics.crashes.Inc()
	e := core.AsError(err)
	text := h.redact.words(clean(e.Error(), maxMessageText))
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	phase := PhaseBackoff
	if quarantined {
		phase = PhaseQuarantined
		h.log.Error("plugin quarantined: it is not started again before the pause is over, or someone restarts it", "error", text, "pause", wait)
	} else {
		h.log.Warn("plugin down, starting it again", "error", text, "wait", wait)
	}
	h.update(func(s *State) {
		s.Phase, s.LastError, s.Retry = phase, text, time.Now().Add(wait)
		s.Crashes++
	})
}

// without says that no instance gets calls any more.
func (h *Host) without(phase Phase) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.withoutLocked(phase)
}

func (h *Host) withoutLocked(phase Phase) {
	h.current = nil
	h.metrics.up.Set(0)
	h.updateLocked(func(s *State) { s.Phase, s.PID, s.Version, s.SHA256 = phase, 0, "", "" })
}

// use makes in the instance that gets the calls.
func (h *Host) use(in *instance) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.current = in
	h.metrics.up.Set(1)
	h.info = &in.info
	h.updateLocked(func(s *State) {
		s.Phase, s.PID, s.Version, s.SHA256, s.Refused = PhaseRunning, in.process.pid(), in.info.Version, in.sha256, ""
		s.Starts++
	})
}

// supervise watches over an instance, and those that replace it on request,
// until it fails, ctx ends, or it is disabled; then it is gone. It returns why it
// failed.
func (h *Host) supervise(ctx context.Context, in *instance, retiring *sync.WaitGroup) error {
	h.use(in)
	health := time.NewTicker(h.o.HealthInterval)
	defer health.Stop()
	for {
		select {
		case <-ctx.Done():
			h.without(PhaseStopped)
			in.end(h.o.DrainTimeout)
			return nil
		case <-in.process.ended:
			h.without(PhaseBackoff)
			in.end(0)
			return died(in)
		case <-in.refuses:
			h.without(PhaseBackoff)
			retiring.Go(func() { in.end(h.o.DrainTimeout) })
			return core.Errorf(core.CodeUnavailable, "plugin", "the process takes no more calls: someone else told it to stop")
		case <-health.C:
			if err := h.unwell(ctx, in); err != nil {
				h.without(PhaseBackoff)
				in.process.kill()
				in.end(0)
				return err
			}
		case <-h.restart:
			if h.launcher().Disabled {
				h.without(PhaseDisabled)
				in.end(h.o.DrainTimeout)
				return nil
			}
			next, err := h.start(ctx)
			if err != nil {
				if ctx.Err() == nil {
					h.log.Error("plugin not replaced, the old process goes on", "error", h.redact.words(err.Error()))
					h.update(func(s *State) {
						s.LastError = h.redact.words(clean(err.Error(), maxMessageText))
						s.Refused = s.LastError
					})
				}
				continue
			}
			old := in
			in = next
			h.use(in)
			retiring.Go(func() { old.end(h.o.DrainTimeout) })
		}
	}
}

// unwell returns why the process must be killed, or nil.
func (h *Host) unwell(ctx context.Context, in *instance) error {
	err := in.ping(ctx, h.o.HealthTimeout)
	if err == nil || ctx.Err() != nil {
		return nil //nolint:nilerr // we are told to stop: the process is not to blame
	}
	select {
	case <-in.process.ended:
		return died(in)
	case <-time.After(time.Second): // a process that died takes a moment to be seen off
	}
	return core.Errorf(core.CodeUnavailable, "plugin", "it does not answer (%v)", err)
}

func died(in *instance) error {
	return core.Errorf(core.CodeUnavailable, "plugin", "the process ended: %s", in.process.obituary())
}
