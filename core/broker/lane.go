package broker

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/limit"
	"github.com/wabridge/wabridge/core/mapping"
	"github.com/wabridge/wabridge/core/store"
)

// callDeadline bounds one call of a sink; leases outlive it.
const (
	callDeadline = 60 * time.Second
	laneLease    = 2 * callDeadline
	// stopGrace is how long calls in flight may go on when the bridge stops.
	stopGrace = 20 * time.Second
)

func defaultRetry() []time.Duration { return []time.Duration{time.Second, 30 * time.Second} }

// lane delivers one tenant's events to one sink: it takes what is due, a batch
// at a time, as many calls at once as the sink bears, and settles each outcome.
type lane struct {
	t          *tenant
	b          *Broker
	name       string // of the queue: "crm/<name>" or "wa/<number>"
	queue      store.QueueID
	sinkName   string
	sink       core.Sink
	gate       *gate
	retry      []time.Duration
	linger     time.Duration
	batch      int
	rate       float64
	limiter    *limit.Limiter
	ownBudgets []core.Budget
	budgets    *budgets // set when the lane has started
	safe       bool     // a repeated delivery is harmless
	ownIdem    core.Idempotency
	kinds      atomic.Pointer[map[core.Kind]bool]
	delivered  atomic.Uint64
	retried    atomic.Uint64
	dead       atomic.Uint64
	calling    atomic.Int64 // deliveries at the sink now
	pull       time.Duration
	polls      bool          // the connector can be asked what happened at the CRM
	receives   atomic.Bool   // and takes the CRM's requests
	hooks      chan struct{} // places for those being read
	mapping    *mapping.Table
	describes  bool // the connector can say what the CRM has

	mu        sync.Mutex
	lastError *LaneError
	pulledAt  time.Time                // when the CRM last said what happened there
	alone     map[string]bool          // events to deliver alone: a batch with them killed the plugin
	held      map[[16]byte]chan string // sends with unknown outcome, by intent
	started   map[[16]byte]*intent     // sends that were begun and not settled
}

func newCRMLane(t *tenant, c Lane) *lane {
	setDefault(&c.MaxInFlight, 64)
	setDefault(&c.Linger, 20*time.Millisecond)
	if c.Retry == nil {
		c.Retry = defaultRetry()
	}
	l := &lane{
		t: t, b: t.b, name: crmQueue(c.Name), sinkName: c.Connector, sink: c.Sink,
		gate: newGate(4, c.MaxInFlight), retry: c.Retry, linger: c.Linger,
		batch: c.MaxBatch, rate: c.Rate, ownIdem: c.Idempotency, ownBudgets: c.Budgets, alone: map[string]bool{}, pull: c.Pull, hooks: make(chan struct{}, maxHooks),
		mapping: c.Mapping,
	}
	l.queue = queueOf(t.ID, l.name)
	return l
}

func newNumberLane(t *tenant, n Number) *lane {
	setDefault(&n.MaxInFlight, 512)
	setDefault(&n.Rate, 80)
	if n.Retry == nil {
		n.Retry = defaultRetry()
	}
	l := &lane{
		t: t, b: t.b, name: numberQueue(n.ID), sinkName: "whatsapp", sink: n.Sink,
		gate: newGate(64, n.MaxInFlight), retry: n.Retry, batch: 1, rate: n.Rate,
		// A few milliseconds' worth may go at once, so that the rate is kept
		// although timers are late.
		limiter: limit.New(n.Rate, max(1, int(n.Rate/200))),
		alone:   map[string]bool{}, held: map[[16]byte]chan string{}, started: map[[16]byte]*intent{},
	}
	l.queue = queueOf(t.ID, l.name)
	return l
}

func crmQueue(name string) string      { return "crm/" + name }
func targetQueue(name string) string   { return "notify/" + name }
func numberQueue(number string) string { return "wa/" + number }

// wants reports whether the connector wants events of a kind. Until it has said
// so, they are all queued for it. To erase is wanted by those only that say so.
func (l *lane) wants(k core.Kind) bool {
	kinds := l.kinds.Load()
	return kinds == nil || (*kinds)[k] || len(*kinds) == 0 && k != core.KindContactErased
}

// run runs the lane until ctx ends and its last call has been settled.
func (l *lane) run(ctx context.Context) {
	if l.start(ctx) != nil {
		return
	}
	var calls sync.WaitGroup
	defer calls.Wait()
	if l.held != nil {
		l.runSends(ctx, &calls)
		return
	}
	if p, ok := l.sink.(Poller); ok && l.polls && l.pull > 0 {
		calls.Go(func() { l.pullLoop(ctx, p) })
	}
	if d, ok := l.sink.(Describer); ok && l.describes && l.mapping != nil {
		calls.Go(func() { l.describeLoop(ctx, d) })
	} else {
		l.mapping.Learn(nil)
	}
	for ctx.Err() == nil {
		if _, err := l.gate.enter(ctx, 1); err != nil {
			return
		}
		ds, c, ok := l.next(ctx)
		if !ok {
			l.gate.leave(1)
			continue
		}
		calls.Go(func() { l.call(ctx, ds, c) })
	}
}

// next takes the next batch: what is there, at once, when nothing is in flight;
// else it gathers until that is so, or the batch is full, or the linger is over.
// A busy lane makes full batches and a quiet one does not wait.
func (l *lane) next(ctx context.Context) ([]store.Delivery, charge, bool) {
	if state, paused := l.gate.paused(); paused && !l.probe(ctx, state) {
		return nil, nil, false
	}
	c, ok := l.afford()
	if !ok {
		return nil, nil, false
	}
	l.budgets.giveBack(c) // until there is something to deliver
	ds, err := l.b.o.Store.Fetch(ctx, l.queue, l.batch, laneLease)
	if err != nil {
		return nil, nil, false
	}
	if len(ds) < l.batch && l.gate.busy(1) {
		gather, cancel := context.WithTimeout(ctx, l.linger)
		go l.gate.whenFree(gather, 1, cancel)
		for len(ds) < l.batch {
			more, err := l.b.o.Store.Fetch(gather, l.queue, l.batch-len(ds), laneLease)
			if err != nil {
				break
			}
			ds = append(ds, more...)
		}
		cancel()
	}
	if l.limiter != nil && l.limiter.Wait(ctx, 1) != nil {
		return nil, nil, false // the leases run out, or the process ends
	}
	if c, ok = l.afford(); !ok {
		l.t.giveBack(ctx, ds)
		return nil, nil, false
	}
	return ds, c, true
}

// afford reserves what a call is expected to cost. Where no budget pays for it, the
// lane waits.
func (l *lane) afford() (charge, bool) {
	c, why, until := l.budgets.begin(time.Now())
	if !until.IsZero() {
		l.gate.hold(why, until)
		return nil, false
	}
	return c, true
}

// probe asks a paused lane's sink whether it is back, where it can be asked
// without writing. It reports whether to go on with a delivery.
func (l *lane) probe(ctx context.Context, state LaneState) bool {
	c, ok := l.sink.(Checker)
	if !ok || (state == LaneDown && l.safe) {
		return true // a real delivery is the best probe
	}
	cctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	if err := c.Check(cctx); err != nil {
		if ctx.Err() == nil {
			l.sawError("", core.AsError(err))
			l.gate.refuse(core.AsError(err))
		}
		return false
	}
	return true
}

// start learns the sink's limits and opens the gate.
func (l *lane) start(ctx context.Context) error {
	in, ok := l.sink.(Informer)
	if !ok {
		if l.held == nil && l.batch == 0 {
			l.batch = 1
		}
		l.safe = l.held == nil && (l.ownIdem == "" || l.ownIdem.Safe())
		l.gate.open()
		return nil
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		info, err := in.Info(ctx)
		if err == nil {
			err = l.setBudgets(ctx, info.Budgets)
		}
		if err == nil {
			l.informed(info)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.gate.starting(err.Error())
		l.sawError("", core.AsError(err))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *lane) informed(info core.ConnectorInfo) {
	if l.batch == 0 || l.batch > info.MaxBatch {
		l.batch = info.MaxBatch
	}
	if l.rate == 0 {
		l.rate = info.CallsPerSecond
	}
	if l.rate > 0 {
		l.limiter = limit.New(l.rate, max(1, int(l.rate)))
	}
	idem := info.Idempotency
	if l.ownIdem != "" {
		idem = l.ownIdem
	}
	l.safe = idem.Safe()
	l.polls, l.describes = info.Polls, info.Describes
	_, takes := l.sink.(Receiver)
	l.receives.Store(takes && info.Receives)
	kinds := make(map[core.Kind]bool, len(info.Kinds))
	for _, k := range info.Kinds {
		kinds[k] = true
	}
	l.kinds.Store(&kinds)
	l.gate.open()
}

// call delivers a batch and settles it. Events that may have killed the plugin
// go alone, so that only the one that does it is blamed. The caller has a place
// in the gate, which is given back when the sink has answered.
func (l *lane) call(ctx context.Context, ds []store.Delivery, c charge) {
	ds = l.wanted(ctx, ds)
	if !l.safe {
		ds = l.markAll(ctx, ds)
	}
	var calls [][]store.Delivery
	var together []store.Delivery
	for _, d := range ds {
		if len(ds) > 1 && l.isAlone(d.ID) {
			calls = append(calls, []store.Delivery{d})
		} else {
			together = append(together, d)
		}
	}
	if len(together) > 0 {
		calls = append(calls, together)
	}
	if len(calls) == 0 {
		l.gate.leave(1)
		l.budgets.giveBack(c)
	}
	for i, ds := range calls {
		if i > 0 {
			l.gate.again()
			c = nil // it is paid for all the same
		}
		l.deliver(ctx, ds, c)
	}
}

// wanted drops the deliveries that were queued before the connector said that it
// does not want their kind: for it they are done, but for erasures, which then are
// a person's to do.
func (l *lane) wanted(ctx context.Context, ds []store.Delivery) []store.Delivery {
	var s store.Settlement
	keep := ds[:0:0]
	for _, d := range ds {
		switch e := eventOf(d); {
		case l.wants(e.Kind):
			keep = append(keep, d)
		case e.Kind == core.KindContactErased:
			l.cannotErase(&s, d, e)
		default:
			s.Ack = append(s.Ack, d)
		}
	}
	if len(keep) < len(ds) {
		_, _ = l.b.settle(ctx, s) // else the leases bring them back
	}
	return keep
}

// markAll writes down that deliveries are about to be tried, where trying twice
// is not harmless. One that was marked before has an unknown outcome: the
// process died while it was tried. A person decides.
func (l *lane) markAll(ctx context.Context, ds []store.Delivery) []store.Delivery {
	var s store.Settlement
	fresh := ds[:0:0]
	mark := mustJSON(marked{At: time.Now().UTC()})
	for _, d := range ds {
		if len(d.Mark) == 0 {
			fresh = append(fresh, d)
			s.Mark = append(s.Mark, store.Mark{Delivery: d, Mark: mark})
			continue
		}
		e := eventOf(d)
		err := core.Errorf(core.CodeUnknownOutcome, "deliver", "the bridge stopped while this was being delivered")
		step := l.step(d, e, time.Now().UTC())
		step.Error = err
		l.giveUp(&s, d, err, true, &step)
		s.Record = append(s.Record, record(&step, e))
	}
	if _, err := l.b.settle(ctx, s); err != nil {
		l.t.giveBack(ctx, ds)
		return nil
	}
	return fresh
}

func (l *lane) deliver(ctx context.Context, ds []store.Delivery, c charge) {
	cctx, cancel := outlive(ctx)
	defer cancel()
	cctx, meter := core.WithMeter(cctx)
	began := time.Now()
	l.b.failpoint("deliver-before-call")
	results := l.attempt(cctx, ds)
	l.budgets.end(time.Now(), c, meter)
	verdicts := l.gate.learn(results, l.safe)
	l.gate.leave(1)
	l.b.failpoint("deliver-after-call")
	l.b.m.calls.WithLabelValues(l.t.ID, l.name).Observe(time.Since(began).Seconds())
	l.settle(cctx, ds, results, verdicts, began)
}

// outlive returns a context for one call of a sink. A call in flight may end
// although the bridge stops, since its outcome is worth knowing, but not for
// long.
func outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callDeadline)
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(stopGrace, cancel)
		context.AfterFunc(cctx, func() { t.Stop() })
	})
	return cctx, func() { stop(); cancel() }
}

func deliveries(ds []store.Delivery) []core.Delivery {
	out := make([]core.Delivery, len(ds))
	for i, d := range ds {
		e := eventOf(d)
		ds[i].Value = e
		out[i] = core.Delivery{Event: e, Data: d.Data, Attempt: d.Attempt}
	}
	return out
}

// attempt makes one call of the sink.
func (l *lane) attempt(ctx context.Context, ds []store.Delivery) []core.Result {
	l.calling.Add(int64(len(ds)))
	defer l.calling.Add(-int64(len(ds)))
	return match(ds, l.sink.Deliver(ctx, deliveries(ds)))
}

// match puts the results in the order of the deliveries. A delivery without one
// has an unknown outcome.
func match(ds []store.Delivery, results []core.Result) []core.Result {
	out := make([]core.Result, len(ds))
	inOrder := len(results) == len(ds)
	for i, d := range ds {
		if inOrder && results[i].ID == d.ID {
			out[i] = results[i]
			continue
		}
		out[i] = core.Result{ID: d.ID, Err: core.Errorf(core.CodeUnknownOutcome, "deliver", "the sink gave no result for this event")}
		for _, r := range results {
			if r.ID == d.ID {
				out[i] = r
				break
			}
		}
	}
	return out
}

// settle ends each delivery of a batch in exactly one way.
func (l *lane) settle(ctx context.Context, ds []store.Delivery, results []core.Result, verdicts []verdict, began time.Time) {
	// Acks are waited for: the next event of a conversation is not delivered
	// before this one's ack is durable. So what a crash repeats is at most the
	// last event of each conversation, and a status never goes back, not even
	// for a moment.
	var s store.Settlement
	now := time.Now()
	took := float64(now.Sub(began).Microseconds()) / 1000
	done := 0
	for i, d := range ds {
		r := results[i]
		e := eventOf(d)
		step := l.step(d, e, now.UTC())
		step.Ref, step.Error, step.Took = r.Ref, r.Err, took
		v := verdicts[i]
		if (v == verdictCounts || v == verdictWaits) && r.Err.Vendor == vendorCrashed && len(ds) > 1 {
			// Not known whose fault it was: each goes alone now, all the more
			// when so many have made the lane count as down.
			v = verdictWaits
			l.setAlone(d.ID, true)
		}
		switch v {
		case verdictDone:
			done++
			s.Ack = append(s.Ack, d)
			l.setAlone(d.ID, false)
			l.b.m.latency.WithLabelValues(l.t.ID, l.name).Observe(now.Sub(e.Accepted).Seconds())
			l.tookOver(&s, e, now)
		case verdictWaits:
			l.sawError(d.ID, r.Err)
			s.Nak = append(s.Nak, store.Nak{Delivery: d, Due: l.dueAfter(r.Err, now), Mark: l.cleared()})
			continue // nothing happened: not a step of the event's story
		case verdictCounts:
			l.sawError(d.ID, r.Err)
			if due, ok := l.again(d.Attempt, now); ok {
				step.Step = "retry"
				l.retried.Add(1)
				s.Nak = append(s.Nak, store.Nak{Delivery: d, Due: due, Counts: true, Mark: l.cleared()})
				break
			}
			l.giveUp(&s, d, r.Err, false, &step)
		default: // given up, or unknown at a sink where repeating is not harmless
			l.sawError(d.ID, r.Err)
			l.giveUp(&s, d, r.Err, v == verdictUnknown, &step)
		}
		s.Record = append(s.Record, record(&step, e))
	}
	l.keepBudgets(&s, now)
	if _, err := l.b.settle(ctx, s); err != nil {
		return // the leases bring them back
	}
	l.delivered.Add(uint64(done))
	l.b.totals.written.Add(uint64(done))
	l.b.m.delivered.WithLabelValues(l.t.ID, l.name).Add(float64(done))
	l.b.failpoint("deliver-after-settle")
}

// cleared is the mark of a delivery that is to be tried again.
func (l *lane) cleared() []byte {
	if l.safe {
		return nil // there was none
	}
	return []byte{}
}

// vendorCrashed marks the results of a call during which the plugin died.
const vendorCrashed = "crashed"

// again returns when the next attempt is due, if there is to be one. The waits
// of the schedule are upper bounds: up to a tenth less spreads a burst.
func (l *lane) again(attempt int, now time.Time) (time.Time, bool) {
	if attempt < 1 || attempt > len(l.retry) {
		return time.Time{}, false
	}
	wait := l.retry[attempt-1]
	if tenth := int64(wait) / 10; tenth > 0 {
		wait -= time.Duration(rand.Int64N(tenth)) //nolint:gosec // spreads retries, guards nothing
	}
	return now.Add(wait), true
}

// dueAfter is when a delivery that waits without counting is due: when the lane
// is expected back, or when the error says so for the one conversation.
func (l *lane) dueAfter(err *core.Error, now time.Time) time.Time {
	if err.Holds() != core.ScopeLane && err.RetryAfter > 0 {
		return now.Add(err.RetryAfter)
	}
	if err.Code == core.CodeRateLimited && err.Holds() != core.ScopeLane {
		return now.Add(6 * time.Second) // the pair rate: one message in six seconds
	}
	return l.gate.retryAt(now)
}

// giveUp makes a delivery a dead letter: kept whole, with its reason, until a
// person settles it.
func (l *lane) giveUp(s *store.Settlement, d store.Delivery, err *core.Error, held bool, step *Step) {
	step.Step = "dead"
	if held {
		step.Step = "held"
	}
	s.Term = append(s.Term, store.Term{
		Delivery: d, Reason: mustJSON(reason{Error: *err, Held: held}), Deadline: time.Now().Add(l.t.DeadAfter),
	})
	l.dead.Add(1)
	l.b.totals.dead.Add(1)
	l.b.m.dead.WithLabelValues(l.t.ID, l.name, string(err.Code)).Inc()
	l.setAlone(d.ID, false)
	l.b.log.Error("given up: see `wabridge dead`", "tenant", l.t.ID, "lane", l.name, "event", d.ID,
		"attempts", d.Attempt, "code", err.Code, "error", err.Error(), "held", held)
}

// reason is what is stored with a dead letter.
type reason struct {
	Error core.Error `json:"error"`
	Held  bool       `json:"held,omitempty"`
}

func reasonOf(data []byte) reason {
	var r reason
	if err := json.Unmarshal(data, &r); err != nil {
		r.Error = core.Error{Code: core.CodeInternal, Message: "the reason could not be read"}
	}
	return r
}

func (l *lane) sawError(event string, err *core.Error) {
	if err == nil {
		return
	}
	e := *err
	e.Err = nil
	l.mu.Lock()
	l.lastError = &LaneError{Time: time.Now().UTC(), Event: event, Error: e}
	l.mu.Unlock()
	l.b.m.errors.WithLabelValues(l.t.ID, l.name, string(err.Code)).Inc()
}

func (l *lane) isAlone(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.alone[id]
}

func (l *lane) setAlone(id string, on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if on {
		l.alone[id] = true
	} else if len(l.alone) > 0 {
		delete(l.alone, id)
	}
}

func (l *lane) status(q store.QueueStats) LaneStatus {
	s := LaneStatus{
		Tenant: l.t.ID, Lane: l.name, Sink: l.sinkName, Depth: q.Depth, Oldest: q.Oldest,
		Delivered: l.delivered.Load(), Retried: l.retried.Load(), Dead: l.dead.Load(),
	}
	l.gate.status(&s)
	s.Mapping = l.mapping.String()
	if s.State != LaneStarting {
		s.Budgets = l.budgets.left(time.Now())
	}
	s.InFlight = int(l.calling.Load())
	l.mu.Lock()
	defer l.mu.Unlock()
	s.LastError, s.Held, s.Pulled = l.lastError, len(l.held), l.pulledAt
	return s
}
