package broker

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

const (
	decideBatch = 64
	decideLease = 2 * time.Minute
)

// decideLoop decides the tenant's events, a batch at a time. Several loops run
// at once, so that one decides while the other's commit is under way; the queue
// hands out one event of a conversation at a time, and the locks one of a
// contact.
func (t *tenant) decideLoop(ctx context.Context) {
	for ctx.Err() == nil {
		ds, err := t.b.o.Store.Fetch(ctx, t.queue, decideBatch, decideLease)
		if err != nil {
			return // ctx ended or the store gave up
		}
		for i := range ds {
			ds[i].Value = eventOf(ds[i]) // parsed once, whoever looks
		}
		for l := (looks{rounds: map[uint64]int{}, undone: t.undone.Load()}); len(ds) > 0; {
			free, busy, err := t.locks.take(ctx, ds)
			if err != nil {
				return // the leases run out with the process
			}
			again, err := t.decideFree(ctx, free, l)
			if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrStale) {
				t.b.log.Error("decide", "tenant", t.ID, "error", err)
			}
			ds = append(busy, t.settleIdentities(ctx, again)...)
		}
	}
}

// decide decides a batch: one look at the state, one call to the script for each
// round of questions, one settlement with everything that follows.
//
// What the script answers to the first round are proposals. The policy refuses
// some and adds others. Of what is left, a script that has hooks for it is asked
// once more: beforeSend may veto a message, route says where a hand-over goes.
func (t *tenant) decide(ctx context.Context, ms []meeting) error {
	now := time.Now().UTC()
	turns := make([]turn, len(ms))
	for i, m := range ms {
		d, e := m.d, eventOf(m.d)
		turns[i] = turn{d: d, e: e, tell: e, data: d.Data, person: m.person}
		turns[i].step = Step{Time: now, Event: d.ID, Kind: e.Kind, Tenant: t.ID, Conversation: e.Conversation, Step: "decided"}
		if e.Cause == "" {
			turns[i].step.Written, turns[i].step.Accepted, turns[i].step.Source = e.Time, e.Accepted, e.Source
			if e.Kind != core.KindMessageStatus { // its message's step says so
				turns[i].step.Who = m.who()
			}
		}
	}
	if err := t.load(ctx, turns); err != nil {
		return err
	}
	for i, m := range ms {
		if u := &turns[i]; m.person != nil && !u.ofNobody() {
			was, known := u.person.Contact, len(u.person.Identities) > 0
			u.contactChanged = u.person.meet(u.e, m.claim, m.attach)
			// A message takes along what the person is called now; a status does not.
			u.changed = known && u.e.Kind == core.KindMessageStatus && !u.person.calledAs(&was)
			t.own(&u.s, u.contact.ID, m.claims)
		}
	}
	for i := range turns {
		t.open(ctx, &turns[i])
	}
	hooks := t.hooks()
	if err := t.askAboutEvents(ctx, hooks, turns); err != nil {
		return err
	}
	for i := range turns {
		t.keywords(&turns[i])
		t.policy(&turns[i])
		turns[i].merge()
	}
	if err := t.askAboutProposals(ctx, hooks, turns); err != nil {
		return err
	}
	s, done := store.Settlement{}, 0
	for i := range turns {
		u := &turns[i]
		if u.again != nil {
			s.Nak = append(s.Nak, *u.again)
			continue
		}
		t.close(u)
		t.save(u)
		u.addTo(&s)
		done++
	}
	t.b.failpoint("decide-before-commit")
	_, err := t.b.settle(ctx, s)
	if t.b.dropAppends(&s, err) {
		_, err = t.b.settle(ctx, s)
	}
	for i := range turns {
		turns[i].finish(err == nil)
	}
	if err != nil {
		for _, m := range ms {
			t.giveBack(ctx, []store.Delivery{m.d})
		}
		return err
	}
	t.b.failpoint("decide-after-commit")
	t.depth.Add(-int64(done))
	t.b.totals.decided.Add(uint64(done))
	t.b.m.decided.WithLabelValues(t.ID).Add(float64(done))
	return nil
}

// giveBack returns the deliveries of a batch that could not be settled, to be
// decided again in a second; when the bridge stops, at its next start.
func (t *tenant) giveBack(ctx context.Context, ds []store.Delivery) {
	if ctx.Err() != nil {
		return
	}
	due := time.Now().Add(time.Second)
	for _, d := range ds {
		_, _ = t.b.o.Store.Settle(ctx, store.Settlement{Lazy: true, Nak: []store.Nak{{Delivery: d, Due: due}}})
	}
}

func eventOf(d store.Delivery) *core.Event {
	if e, ok := d.Value.(*core.Event); ok {
		return e
	}
	e := new(core.Event)
	if err := json.Unmarshal(d.Data, e); err != nil {
		// A record of ours that cannot be read: kept raw and passed on.
		return &core.Event{ID: d.ID, Kind: core.KindUnknown, Tenant: d.Queue.Tenant, Raw: json.RawMessage(`{}`)}
	}
	return e
}

// load reads the conversations of a batch at once.
func (t *tenant) load(ctx context.Context, turns []turn) error {
	keys := make([]store.Key, 0, 2*len(turns))
	for i := range turns {
		e := turns[i].e
		if e.Contact == nil || e.Contact.ID == "" {
			continue
		}
		keys = append(keys, conversationKey(t.ID, e.Contact.ID, e.Number))
	}
	n := len(keys)
	for i := range turns {
		if u := &turns[i]; u.e.Kind == core.KindMessageStatus && u.e.Status != nil {
			u.sent = t.sentMessage(u.e.Status)
			keys = append(keys, intentKey(t.ID, u.sent.hash), statusKey(t.ID, u.sent.hash))
		}
	}
	values, err := t.b.o.Store.Get(ctx, keys...)
	if err != nil {
		return err
	}
	statuses := values[n:]
	for i := range turns {
		u := &turns[i]
		if u.sent != nil {
			u.sent.take(t, statuses[0], statuses[1])
			statuses = statuses[2:]
		}
		if u.person == nil {
			u.person, u.conv = &person{}, &conversation{}
			u.contact = &u.person.Contact
			continue
		}
		var found bool
		u.contact = &u.person.Contact
		u.conv, found = decode[conversation](values[0])
		u.isNew = !found
		values = values[1:]
	}
	return nil
}

// save stores the turn's state and trace with its settlement.
func (t *tenant) save(u *turn) {
	if u.contact.ID != "" {
		if u.contactChanged {
			u.s.Put = append(u.s.Put, store.Put{Key: contactKey(t.ID, u.contact.ID), Value: mustJSON(u.person)})
		}
		if u.convChanged {
			u.s.Put = append(u.s.Put, store.Put{Key: conversationKey(t.ID, u.contact.ID, u.e.Number), Value: mustJSON(u.conv)})
		}
	}
	u.s.Record = append(u.s.Record, record(&u.step, u.e))
}

// mustJSON encodes values of our own types, which always can be.
func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("broker: encode: " + err.Error())
	}
	return data
}
