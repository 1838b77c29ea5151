package broker

import (
	"cmp"
	"context"
	"slices"
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
	t         *tenant
	b         *Broker
	name      string // of the queue: "crm/<name>" or "wa/<number>"
	queue     store.QueueID
	sinkName  string
	sink      core.Sink
	gate      *gate
	retry     []time.Duration
	linger    time.Duration
	batch     int
	rate      float64
	limiter   *limit.Limiter
	ahead     *ahead        // of a number
	health    *numberHealth // what is known of a number
	display   string        // of a number, as people write it
	account   string        // of a number: the business account that it is in, "" when it is not known
	pairs     *limit.Pairs  // of a number, by contact
	purse     *purse        // of which the budgets are
	budgets   *budgets      // set when the lane has started
	safe      bool          // a repeated delivery is harmless
	looks     time.Duration // or is after this, since the connector looks first; 0 when it does not
	ownIdem   core.Idempotency
	ownDelay  time.Duration // of a search
	kinds     atomic.Pointer[map[core.Kind]bool]
	delivered atomic.Uint64
	retried   atomic.Uint64
	dead      atomic.Uint64
	calling   atomic.Int64 // deliveries at the sink now
	pull      time.Duration
	polls     bool          // the connector can be asked what happened at the CRM
	receives  atomic.Bool   // and takes the CRM's requests
	hooks     chan struct{} // places for those being read
	mapping   *mapping.Table
	describes bool          // the connector can say what the CRM has
	segments  atomic.Bool   // and which segments
	reading   chan struct{} // taken by whoever reads the members of one
	names     atomic.Bool   // and says what it calls messages
	refit     chan struct{} // asks to have it say so soon
	fitted    chan struct{} // closed once the mapping is what is to be read by
	fitOnce   sync.Once

	mu        sync.Mutex
	lastError *LaneError
	pulledAt  time.Time                // when the CRM last said what happened there
	suspects  map[string]int           // how often events were in a call that failed as one
	held      map[[16]byte]chan string // sends with unknown outcome, by intent
	started   map[[16]byte]*intent     // sends that were begun and not settled
	uploading map[string]bool          // files that are on their way to WhatsApp, by hash
	uploads   chan struct{}            // has a place for whoever changes what is known of uploads
	awaiting  map[string][]*await      // what the next message of a conversation waits for
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
		batch: c.MaxBatch, rate: c.Rate, ownIdem: c.Idempotency, ownDelay: c.SearchDelay, suspects: map[string]int{}, pull: c.Pull, hooks: make(chan struct{}, maxHooks),
		mapping: c.Mapping, refit: make(chan struct{}, 1), fitted: make(chan struct{}), reading: make(chan struct{}, 1),
	}
	l.purse = &purse{of: l, own: c.Budgets}
	l.gate.strained = t.b.o.Busy
	l.gate.climb = newClimb(c.MaxInFlight)
	l.queue = queueOf(t.ID, l.name)
	return l
}

func newNumberLane(t *tenant, n Number) *lane {
	setDefault(&n.MaxInFlight, 512)
	setDefault(&n.Rate, defaultRate)
	if n.Retry == nil {
		n.Retry = defaultRetry()
	}
	l := &lane{
		t: t, b: t.b, name: numberQueue(n.ID), sinkName: "whatsapp", sink: n.Sink,
		gate: newGate(64, n.MaxInFlight), retry: n.Retry, batch: 1, rate: n.Rate,
		limiter: limit.NewExact(n.Rate, burstOf(n.Rate)), ahead: newAhead(),
		display: n.Display, account: n.Account, pairs: limit.NewPairs(pairPeriod, pairBurst),
		suspects: map[string]int{}, held: map[[16]byte]chan string{}, started: map[[16]byte]*intent{}, uploading: map[string]bool{}, uploads: make(chan struct{}, 1),
	}
	l.purse = &purse{of: l}
	l.queue = queueOf(t.ID, l.name)
	l.health = newNumberHealth(l, n)
	return l
}

func crmQueue(name string) string      { return "crm/" + name }
func targetQueue(name string) string   { return "notify/" + name }
func numberQueue(number string) string { return "wa/" + number }

// wants reports whether the connector wants events of a kind. Until it has said
// so, they are all queued for it. To erase, and to make one record of two, is wanted by
// those only that say so.
func (l *lane) wants(k core.Kind) bool {
	kinds := l.kinds.Load()
	return kinds == nil || (*kinds)[k] || len(*kinds) == 0 && k != core.KindContactErased && k != core.KindContactMerged
}

// run runs the lane until ctx ends and its last call has been settled.
func (l *lane) run(ctx context.Context) {
	var calls sync.WaitGroup
	defer calls.Wait()
	calls.Go(func() { l.tellPauses(ctx) })
	if l.start(ctx) != nil {
		return
	}
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
		l.isFitted()
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
	if idem == core.IdempotencySearch {
		l.searching(cmp.Or(l.ownDelay, info.SearchDelay))
	}
	l.polls, l.describes = info.Polls, info.Describes
	_, tells := l.sink.(Segmenter)
	l.segments.Store(tells && info.Segments)
	_, takes := l.sink.(Receiver)
	l.receives.Store(takes && info.Receives)
	kinds := make(map[core.Kind]bool, len(info.Kinds))
	for _, k := range info.Kinds {
		kinds[k] = true
	}
	l.kinds.Store(&kinds)
	l.gate.open()
}

// call delivers a batch and settles it. Events that are suspected of what a call failed
// of go alone, so that only the one that does it is blamed; what is left when the lane
// pauses, or when the leases would run out, is given back. The caller has a place
// in the gate, which is given back when the sink has answered; where it looks before
// it writes, when what came of the last call is stored.
func (l *lane) call(ctx context.Context, ds []store.Delivery, c charge) {
	ds = l.afterMerges(ctx, l.wanted(ctx, ds))
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
		calls = append(calls, l.apart(together)...)
	}
	begun, fetched := false, time.Now()
	for i, ds := range calls {
		if begun && (l.gate.shut() || time.Since(fetched) > laneLease-callDeadline-askFor) {
			l.release(ctx, slices.Concat(calls[i:]...))
			break
		}
		if !l.safe {
			ds = l.markAll(ctx, ds)
		}
		if len(ds) == 0 {
			continue
		}
		if begun && l.looks == 0 {
			l.gate.again()
		}
		begun = true
		l.deliver(ctx, ds, c)
		c = nil // the next is paid for all the same
	}
	if !begun || l.looks > 0 {
		l.gate.leave(1)
	}
	l.budgets.giveBack(c)
}

// release returns what was not tried, to go before what was.
func (l *lane) release(ctx context.Context, ds []store.Delivery) {
	s := store.Settlement{Lazy: true}
	for _, d := range ds {
		s.Nak = append(s.Nak, store.Nak{Delivery: d})
	}
	_, _ = l.b.settle(ctx, s) // else the leases bring them back
}

// wanted drops the deliveries that were queued before the connector said that it
// does not want their kind: for it they are done, but for erasures and merges, which
// then are a person's to do.
func (l *lane) wanted(ctx context.Context, ds []store.Delivery) []store.Delivery {
	var s store.Settlement
	keep := ds[:0:0]
	for _, d := range ds {
		switch e := eventOf(d); {
		case l.wants(e.Kind):
			keep = append(keep, d)
		case e.Kind == core.KindContactErased:
			l.cannotErase(&s, d, e)
		case e.Kind == core.KindContactMerged:
			l.cannotMerge(&s, d, e)
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
	may, err := l.mayGo(ctx, &s, ds)
	if err != nil {
		l.t.giveBack(ctx, ds)
		return nil
	}
	for _, d := range may {
		if len(d.Mark) == 0 {
			fresh = append(fresh, d)
			s.Mark = append(s.Mark, store.Mark{Delivery: d, Mark: mark})
			continue
		}
		e := eventOf(d)
		err := core.Errorf(core.CodeUnknownOutcome, "deliver", "the bridge stopped while this was being delivered")
		step := l.step(d, e, time.Now().UTC())
		step.Error = err
		if m, _ := decode[marked](d.Mark); l.unsure(&s, d, m.At, true) {
			step.Step = "retry"
		} else {
			l.giveUp(&s, d, err, true, &step)
		}
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
	left := l.withoutMapping(cctx, ds, results)
	l.budgets.end(time.Now(), c, meter)
	verdicts := l.blame(ctx, ds, results, l.gate.learn(results, l.safe), began)
	if l.looks == 0 {
		l.gate.leave(1)
	}
	l.b.failpoint("deliver-after-call")
	l.b.m.calls.WithLabelValues(l.t.ID, l.name).Observe(time.Since(began).Seconds())
	sctx, done := outlive(ctx) // the call may have taken all of its time
	defer done()
	l.settle(sctx, ds, results, verdicts, left, began)
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
	batch := deliveries(ds)
	if err := l.know(ctx, batch); err != nil {
		return failed(batch, err)
	}
	if err := l.recall(ctx, batch); err != nil {
		return failed(batch, err)
	}
	return match(ds, l.sink.Deliver(ctx, batch))
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

func (l *lane) status(q store.QueueStats) LaneStatus {
	s := LaneStatus{
		Tenant: l.t.ID, Lane: l.name, Sink: l.sinkName, Depth: q.Depth, Oldest: q.Oldest,
		Delivered: l.delivered.Load(), Retried: l.retried.Load(), Dead: l.dead.Load(),
	}
	l.gate.status(&s)
	if b, is, _ := l.t.bars(l, core.StopAll, time.Now()); is {
		s.State, s.Why, s.Until = LaneStopped, b.why, b.until
	}
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
