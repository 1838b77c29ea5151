package customhttp

import (
	"cmp"
	"context"
	"encoding/json"
	"sync"

	"github.com/wabridge/wabridge/core"
)

// Deliver implements [core.Connector].
func (c *Connector) Deliver(ctx context.Context, account core.Account, deliveries []core.Delivery) []core.Result {
	items := make([]*item, len(deliveries))
	for i := range deliveries {
		items[i] = newItem(&deliveries[i])
	}
	if x, err := c.open(account); err == nil {
		x.deliver(ctx, items)
	} else {
		if err.Code == core.CodeInvalid {
			// The events are as good as before: the lane pauses until the
			// settings are corrected.
			err.Code = core.CodeForbidden
		}
		failAll(items, err)
	}
	results := make([]core.Result, len(items))
	for i, it := range items {
		results[i] = it.result
	}
	return results
}

// newItem reads what decides where an event goes. The event may have crossed a
// process boundary as JSON only.
func newItem(d *core.Delivery) *item {
	it := &item{data: d.Data, contactRef: cmp.Or(d.ContactRef, d.ToldRef), attempt: d.Attempt}
	if d.Event != nil {
		it.id, it.kind = d.Event.ID, d.Event.Kind
	} else {
		var head struct {
			ID   string    `json:"id"`
			Kind core.Kind `json:"kind"`
		}
		if err := json.Unmarshal(d.Data, &head); err != nil {
			return it.refuse("the event is not JSON: %w", err)
		}
		it.id, it.kind = head.ID, head.Kind
	}
	if len(it.data) == 0 {
		data, err := json.Marshal(d.Event)
		if err != nil {
			return it.refuse("event: %w", err)
		}
		it.data = data
	}
	it.result = core.Result{ID: it.id, Err: &core.Error{
		Code: core.CodeUnavailable, Op: "deliver", Source: core.SourcePlugin, Message: "not sent: the time for the batch ran out",
	}}
	return it
}

// refuse leaves an item out that cannot be delivered.
func (it *item) refuse(format string, err error) *item {
	it.data = nil
	it.settle(verdict{err: core.Errorf(core.CodeInvalid, "deliver", format, err)})
	return it
}

// deliver settles the items: those of one operation with a batch together, the
// others each by itself, several requests at once.
func (x *session) deliver(ctx context.Context, items []*item) {
	var looks []func()
	for _, who := range x.strangers(items) {
		looks = append(looks, func() { x.findFor(ctx, who) })
	}
	x.run(looks)
	x.settleWhatIsThere(ctx, items)
	var jobs []func()
	batches := make(map[*operation][]*item)
	for _, it := range items {
		if it.data == nil {
			continue
		}
		op := x.operationFor(it.kind)
		why := x.forPerson(it.kind)
		switch {
		case why != nil:
			it.settle(verdict{err: why})
		case op == nil:
			it.settle(verdict{})
		case op.batch != nil:
			batches[op] = append(batches[op], it)
		default:
			jobs = append(jobs, func() { x.deliverOne(ctx, op, it) })
		}
	}
	for op, all := range batches {
		all = rendered(op, all)
		for len(all) > 0 {
			n := op.batch.fit(all)
			part := all[:n]
			jobs = append(jobs, func() { x.deliverBatch(ctx, op, part) })
			all = all[n:]
		}
	}
	x.run(jobs)
}

// run does jobs, so many at once as the settings allow.
func (x *session) run(jobs []func()) {
	if len(jobs) == 1 {
		jobs[0]()
		return
	}
	next := make(chan func())
	var wg sync.WaitGroup
	for range min(x.parallel, len(jobs)) {
		wg.Go(func() {
			for job := range next {
				job()
			}
		})
	}
	for _, job := range jobs {
		next <- job
	}
	close(next)
	wg.Wait()
}

// rendered makes the items' bodies and returns those that have one.
func rendered(op *operation, items []*item) []*item {
	good := make([]*item, 0, len(items))
	for _, it := range items {
		if err := it.render(op); err != nil {
			it.settle(verdict{err: err})
		} else {
			good = append(good, it)
		}
	}
	return good
}

func (x *session) deliverOne(ctx context.Context, op *operation, it *item) {
	if ctx.Err() != nil {
		return
	}
	if op.upload != nil {
		if err := x.upload(ctx, op.upload, it); err != nil {
			it.settle(verdict{err: err})
			return
		}
	}
	if err := it.render(op); err != nil {
		it.settle(verdict{err: err})
		return
	}
	r, err := x.request(op, it, 1, it.body, x.cred)
	if err != nil {
		it.settle(verdict{err: err})
		return
	}
	a, err := x.do(ctx, op, r)
	if err != nil {
		it.settle(verdict{err: err})
		return
	}
	it.settle(x.judge(op, a))
}

// deliverBatch settles items that go into one request.
func (x *session) deliverBatch(ctx context.Context, op *operation, items []*item) {
	if ctx.Err() != nil {
		return
	}
	body, err := op.batch.assemble(items)
	if err != nil {
		failAll(items, err)
		return
	}
	r, err := x.request(op, nil, len(items), body, x.cred)
	if err != nil {
		failAll(items, err)
		return
	}
	a, err := x.do(ctx, op, r)
	if err != nil {
		failAll(items, err)
		return
	}
	v := x.judge(op, a)
	switch {
	case v.rows:
		x.judgeRows(op, a, items)
	case v.split && len(items) > 1:
		half := len(items) / 2
		x.deliverBatch(ctx, op, items[:half])
		x.deliverBatch(ctx, op, items[half:])
	default:
		for _, it := range items {
			it.settle(v)
		}
	}
}
