package script

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
)

// Decide runs the tenant's hooks for each call, in order, each in a fresh
// virtual machine, and returns one Decision per call. A call that fails has Err
// and costs only itself: when it takes its worker along, the others of its frame
// are made again, one by one, in a new worker.
//
// Decide returns early when ctx ends; the calls that were not made then have
// CodeUnavailable. It does not keep calls.
func (e *Engine) Decide(ctx context.Context, tenantID string, calls []Call) []Decision {
	out := make([]Decision, len(calls))
	if len(calls) == 0 {
		return out
	}
	began := time.Now()
	ctx, cancel, err := e.wait(ctx)
	if err != nil {
		return fill(out, err)
	}
	defer cancel()
	t, err := e.take(ctx, tenantID)
	if err != nil {
		return fill(out, err)
	}
	d := &deciding{e: e, t: t, calls: calls, out: out, began: began}
	d.all(ctx)
	e.give(t, d.w)
	e.observe(tenantID, out)
	return out
}

// deciding is one Decide at work.
type deciding struct {
	e     *Engine
	t     *tenant
	w     *worker // nil until one is needed, and after it died
	calls []Call
	out   []Decision
	began time.Time
	next  int // the first call without a decision
	// single makes one call a frame, since a worker died; blamed says that a
	// call was found that did it.
	single, blamed bool
}

func (d *deciding) all(ctx context.Context) {
	for d.next < len(d.calls) {
		if err := d.frame(ctx); err != nil {
			fill(d.out[d.next:], err)
			break
		}
	}
	if d.single && !d.blamed {
		d.e.strike(d.t, "its worker died, which did not repeat")
	}
}

// frame makes the next few calls. An error is the end of all calls to come.
func (d *deciding) frame(ctx context.Context) error {
	n := d.size()
	if n == 0 {
		d.out[d.next].Err = core.Errorf(core.CodeInvalid, "script",
			"the event and its context are larger than %d KiB", MaxInput>>10)
		d.next++
		return nil
	}
	p, err := d.e.usable(d.t, d.calls[d.next].Version)
	if err != nil {
		return err
	}
	if d.w != nil && d.w.program != p {
		d.w.kill()
		d.w = nil
	}
	if d.w == nil {
		if d.w = d.e.idleWorker(d.t, p); d.w == nil {
			if d.w, err = d.start(ctx, p); err != nil {
				return err
			}
		}
	}
	first, waited, tooLong := d.next, time.Since(d.began), false
	_, err = d.w.decide(ctx, &d.e.o, d.calls[first:first+n], func(i int, r result) {
		d.out[first+i] = decision(p, d.calls[first+i].Hooks, r)
		d.out[first+i].Waited = waited
		d.next++
		tooLong = tooLong || r.failure != failureNone && r.ran >= d.e.o.Soft
	})
	if tooLong || err != nil && ctx.Err() == nil {
		d.e.trouble(d.t.id)
	}
	if err == nil {
		return nil
	}
	d.w = nil
	var died *workerError
	if !errors.As(err, &died) {
		return core.Errorf(core.CodeUnavailable, "script", "decide: %w", err)
	}
	d.e.m.kills.WithLabelValues(d.t.id, died.reason).Inc()
	if !d.single {
		d.single = true
		return nil
	}
	d.blamed = true
	d.out[d.next] = Decision{
		Version: p.version.Hash, Waited: waited, Ran: d.e.o.Hard,
		Err: core.Errorf(core.CodeInternal, "script", "%s: the script %s", p.Name, died.text),
	}
	d.next++
	d.e.strike(d.t, died.text)
	return nil
}

// start starts a worker for a program that was in use before.
func (d *deciding) start(ctx context.Context, p *program) (*worker, error) {
	w, _, err := d.e.spawn(ctx, d.t.id, p)
	if core.CodeOf(err) == core.CodeInvalid {
		// It could be read before. What is different now is its own doing.
		d.blamed = true
		d.e.strike(d.t, "it could not be read again")
		return nil, core.Errorf(core.CodeInternal, "script", "%w", err)
	}
	return w, err
}

// size is how many calls go into the next frame; 0 when the next call is too
// large for any.
func (d *deciding) size() int {
	n, bytes, version := 0, 0, d.calls[d.next].Version
	for _, c := range d.calls[d.next:] {
		size := len(c.Event) + len(c.Context)
		if c.Version != version || size > MaxInput || n == maxFrameCalls || n > 0 && (d.single || bytes+size > frameFill) {
			break
		}
		n++
		bytes += size
	}
	return n
}

// take waits for the tenant's turn.
func (e *Engine) take(ctx context.Context, tenantID string) (*tenant, error) {
	e.mu.Lock()
	t := e.tenants[tenantID]
	e.mu.Unlock()
	if t == nil {
		return nil, errNoScript()
	}
	select {
	case t.turn <- struct{}{}:
		return t, nil
	case <-ctx.Done():
		return nil, core.Errorf(core.CodeUnavailable, "script", "wait for a worker: %w", ctx.Err())
	}
}

func errNoScript() error {
	return core.Errorf(core.CodeUnavailable, "script", "the tenant has no script")
}

// usable returns the program to use now: the one wanted, if it is that of before.
func (e *Engine) usable(t *tenant, wanted string) (*program, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case t.program != nil && t.before != nil && wanted == t.before.version.Hash && wanted != t.program.version.Hash:
		return t.before, nil
	case t.program == nil:
		return nil, errNoScript()
	case t.off:
		err := core.Errorf(core.CodeInternal, "script", "script switched off after three kills: %s", t.reason)
		err.Hint = "change the script, or save it again to try once more"
		return nil, err
	}
	return t.program, nil
}

// idleWorker returns a worker of a program that nobody uses, or nil.
func (e *Engine) idleWorker(t *tenant, p *program) *worker {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(t.idle)
	if n == 0 || t.program != p { // those that are idle have the program of now
		return nil
	}
	w := t.idle[n-1]
	t.idle = t.idle[:n-1]
	return w
}

// give ends a turn. The worker, unless nil, is kept for the next.
func (e *Engine) give(t *tenant, w *worker) {
	e.mu.Lock()
	if w != nil && w.program == t.program && w.last == (e.o.Last || t.last()) && e.ctx.Err() == nil {
		t.idle = append(t.idle, w)
		w = nil
	}
	<-t.turn
	e.mu.Unlock()
	if w != nil {
		w.kill()
	}
}

// strike counts a kill against the tenant's script, and switches it off when
// there were too many.
func (e *Engine) strike(t *tenant, why string) {
	now := time.Now()
	e.mu.Lock()
	t.forget(now)
	t.strikes = append(t.strikes, now)
	off := len(t.strikes) >= strikes && !t.off && !e.o.NeverOff
	if off {
		t.off, t.reason = true, why
	}
	e.mu.Unlock()
	if off {
		e.o.Log.Error("script switched off until it is changed", "tenant", t.id, "reason", why)
	} else {
		e.o.Log.Warn("script worker ended", "tenant", t.id, "reason", why)
	}
}

// trouble takes note that a tenant's script had to be stopped.
func (e *Engine) trouble(tenantID string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.tenants[tenantID]; t != nil {
		t.trouble = time.Now()
	}
}

// forget drops strikes that are too old to count.
func (t *tenant) forget(now time.Time) {
	t.strikes = slices.DeleteFunc(t.strikes, func(at time.Time) bool { return now.Sub(at) > strikeWindow })
}

// decision makes a Decision of what a worker says, believing nothing.
func decision(p *program, hooks Hooks, r result) Decision {
	d := Decision{Version: p.version.Hash, Ran: r.ran}
	for _, l := range r.log {
		d.Log = append(d.Log, clip(strings.ToValidUTF8(l, "�"), MaxLogLine))
	}
	var err error
	if d.Fields, err = decodeFields(r.fields); err != nil {
		r.failure, r.message, r.line = failureScript, err.Error(), ""
	}
	switch r.failure {
	case failureNone:
		if err := d.take(hooks, r.answer); err != nil {
			if wrong, ok := errors.AsType[*actionError](err); ok {
				d.Line = lineOf(p, wrong.line)
			}
			d.Err = core.Errorf(core.CodeInvalid, "script", "%s: %w", cmp.Or(d.Line, p.Name), err)
		}
	case failureScript:
		d.Line = lineOf(p, r.line)
		d.Err = core.Errorf(core.CodeInvalid, "script", "%s: %s", cmp.Or(d.Line, p.Name), mask(r.message))
	default:
		d.Err = core.Errorf(core.CodeInternal, "script", "%s: %s", p.Name, mask(r.message))
	}
	return d
}

// take reads what the hook that was asked for returned. The error is a sentence
// for the script's author.
func (d *Decision) take(hooks Hooks, answer string) (err error) {
	switch {
	case answer == "":
	case hooks.Has(MapFromCRM):
		d.Changes, err = decodeChanges(answer)
	case hooks.Has(Route):
		d.Route, err = decodeRoute(answer)
	case hooks.Has(BeforeSend):
		d.Veto, err = decodeVeto(answer)
	default:
		d.Actions, err = decodeActions((hooks & actionHooks).String(), answer)
	}
	if err == nil {
		d.Answer = answer
	}
	return err
}

// ReadActions reads the Answer of a decision that was kept.
func ReadActions(answer []byte) ([]Action, error) { return decodeActions("the script", string(answer)) }

// lineOf accepts a place in one of the program's files, and nothing else.
func lineOf(p *program, line string) string {
	i := strings.LastIndexByte(line, ':')
	if i < 0 || i == len(line)-1 || len(line)-i > 10 || strings.Trim(line[i+1:], "0123456789") != "" {
		return ""
	}
	if _, ok := p.Files[line[:i]]; ok || line[:i] == p.Name {
		return line
	}
	return ""
}

var longNumber = regexp.MustCompile(`\+?[0-9]{7,}`)

// mask hides what may be a phone number in a script's message, which may be
// made of anything that the script has seen.
func mask(s string) string {
	s = clip(strings.ToValidUTF8(s, "�"), 300)
	return longNumber.ReplaceAllStringFunc(s, core.MaskAddress)
}

// fill gives the same error to all decisions.
func fill(out []Decision, err error) []Decision {
	e := core.AsError(err)
	for i := range out {
		out[i] = Decision{Err: e}
	}
	return out
}

// observe counts what was decided.
func (e *Engine) observe(tenantID string, out []Decision) {
	ok, failed := 0, map[core.Code]int{}
	for i := range out {
		if out[i].Err == nil {
			ok++
		} else {
			failed[out[i].Err.Code]++
		}
		e.m.runSeconds.Observe(out[i].Ran.Seconds())
	}
	e.m.waitSeconds.Observe(out[0].Waited.Seconds())
	e.m.calls.WithLabelValues(tenantID, "ok").Add(float64(ok))
	for code, n := range failed {
		e.m.calls.WithLabelValues(tenantID, string(code)).Add(float64(n))
	}
}

// String says in one line what an action is, for traces.
func (a Action) String() string {
	switch a.Type {
	case ActionTag, ActionUntag:
		return fmt.Sprintf("%s %s", a.Type, quote(a.Tag))
	case ActionSetField:
		return fmt.Sprintf("%s %s", a.Type, quote(a.Name))
	case ActionEscalate:
		return fmt.Sprintf("%s %s", a.Type, quote(a.Reason))
	}
	return a.Type
}
