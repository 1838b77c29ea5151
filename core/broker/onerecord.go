package broker

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// Two contacts that were merged may have a record each at a CRM, which is to end with
// one: its lane is told (core.KindContactMerged). What was on its way of the one that
// went is delivered before, to its own record; what comes later is the other's. So no
// connector ever writes to a record that is no more, or makes it anew.

const (
	bucketMerging = "crm-merging" // <lane> <contact's id>: a merge that the CRM is yet to be told of
	// mergingFor is how long a lane may take until it no longer matters which was first.
	mergingFor = 30 * 24 * time.Hour
	// mergeLooks is how soon it is looked again whether all is delivered of the contact
	// that went.
	mergeLooks = time.Second
	// peeked is how many events of a queue are looked at in one read.
	peeked = 500
)

func (l *lane) mergingKey(contact string) store.Key {
	return store.Key{Tenant: l.t.ID, Bucket: bucketMerging, Key: l.name + " " + contact}
}

// tellMerged tells the CRMs, and who asked for it, that b became a.
func (r *reunion) tellMerged(ctx context.Context, m *merged, a *person, talks map[string]*conversation) error {
	was := m.Was.ID.Person
	e := r.event(core.KindContactMerged, a, talks)
	merge := core.ContactMerge{Contact: was.Contact, Since: was.since(), KeptSince: m.Was.Survivor.Person.since()}
	e.Merge = &merge
	for _, l := range r.t.crm {
		values, err := r.t.b.o.Store.Get(ctx, l.recordKey(m.ID))
		if err != nil {
			return err
		}
		own, its := *e, merge
		known, _ := decode[crmRecord](values[0])
		its.Ref, own.Merge = known.Ref, &its
		r.s.Add = append(r.s.Add, store.Item{Queue: l.queue, ID: e.ID, Order: e.Conversation, Data: mustJSON(&own), Value: &own})
		r.s.Put = append(r.s.Put, store.Put{Key: l.mergingKey(m.ID), Value: mustJSON(r.at), Expires: r.at.Add(mergingFor)})
	}
	for _, sub := range r.t.subscribersOf(e) {
		r.s.Add = append(r.s.Add, store.Item{Queue: sub.queue(), ID: e.ID, Order: e.Conversation, Data: mustJSON(e), Value: e})
	}
	return nil
}

// afterMerges leaves out of a batch what must wait or is another's by now: a merge
// waits until all is delivered of the contact that went, and what came after it goes
// to the one that stays.
func (l *lane) afterMerges(ctx context.Context, ds []store.Delivery) []store.Delivery {
	if !l.ofCRM() || len(ds) == 0 {
		return ds
	}
	merges, err := l.mergesOf(ctx, ds)
	if err == nil && len(merges) == 0 && !slices.ContainsFunc(ds, isMerge) {
		return ds
	}
	var s store.Settlement
	keep := ds[:0:0]
	for _, d := range ds {
		if err != nil {
			break
		}
		e := eventOf(d)
		var whole bool
		if isMerge(d) {
			whole, err = l.mergeWaits(ctx, &s, d, e, merges)
		} else {
			whole, err = l.anothers(ctx, &s, d, e, merges)
		}
		if !whole {
			keep = append(keep, d)
		}
	}
	if err == nil && len(keep) < len(ds) {
		_, err = l.b.settle(ctx, s)
	}
	if err != nil {
		l.t.giveBack(ctx, ds)
		return nil
	}
	return keep
}

// mergesOf returns the merges by which contacts of the events went.
func (l *lane) mergesOf(ctx context.Context, ds []store.Delivery) (map[string]*merged, error) {
	keys := make([]store.Key, 0, len(ds))
	for _, d := range ds {
		e := eventOf(d)
		if e.Contact != nil && e.Contact.ID != "" && e.Kind != core.KindContactErased {
			keys = append(keys, mergeKey(l.t.ID, e.Contact.ID))
		}
		if isMerge(d) {
			keys = append(keys, mergeKey(l.t.ID, e.Merge.Contact.ID))
		}
	}
	values, err := l.b.o.Store.Get(ctx, keys...)
	if err != nil {
		return nil, err
	}
	out := map[string]*merged{}
	for i, v := range values {
		if m, ok := decode[merged](v); ok {
			out[keys[i].Key] = m
		}
	}
	return out, nil
}

func isMerge(d store.Delivery) bool {
	e := eventOf(d)
	return e.Kind == core.KindContactMerged && e.Merge != nil
}

// mergeWaits settles a merge that was taken back, or must wait, and reports whether it
// did.
func (l *lane) mergeWaits(ctx context.Context, s *store.Settlement, d store.Delivery, e *core.Event, merges map[string]*merged) (bool, error) {
	gone := e.Merge.Contact.ID
	if merges[gone] == nil {
		step := l.step(d, e, time.Now().UTC())
		step.Step, step.Notes = "dropped", []string{"the contacts are two again, or were erased"}
		s.Ack = append(s.Ack, d)
		s.Record = append(s.Record, record(&step, e))
		l.mergeEnds(s, e)
		return true, nil
	}
	for after := uint64(0); ; {
		page, err := l.b.o.Store.Peek(ctx, l.queue, after, peeked)
		if err != nil {
			return false, err
		}
		for _, other := range page {
			if after = other.Seq; other.Seq >= d.Seq {
				return l.anothers(ctx, s, d, e, merges)
			}
			if o := eventOf(other); o.Contact != nil && o.Contact.ID == gone {
				s.Nak = append(s.Nak, store.Nak{Delivery: d, Due: time.Now().Add(mergeLooks)})
				return true, nil
			}
		}
		if len(page) < peeked {
			return l.anothers(ctx, s, d, e, merges)
		}
	}
}

// anothers gives an event to whom its contact was merged into, if it is not of before,
// and reports whether it did.
func (l *lane) anothers(ctx context.Context, s *store.Settlement, d store.Delivery, e *core.Event, merges map[string]*merged) (bool, error) {
	if e.Contact == nil || merges[e.Contact.ID] == nil {
		return false, nil
	}
	was := e.Contact.ID
	values, err := l.b.o.Store.Get(ctx, l.mergingKey(was))
	if err != nil || values[0] != nil && d.Added.Before(merges[was].At) {
		return false, err
	}
	p, err := l.t.personNow(ctx, was)
	if err != nil || p == nil {
		return false, err
	}
	own := *e
	own.Contact = &p.Contact
	if number, whose, ok := strings.Cut(e.Conversation, ":"); ok && whose == was {
		own.Conversation = core.ConversationID(number, p.ID)
	}
	s.Ack = append(s.Ack, d)
	s.Add = append(s.Add, store.Item{Queue: d.Queue, ID: d.ID, Order: own.Conversation, Data: mustJSON(&own), Value: &own})
	return true, nil
}

// mergeEnds takes note that a lane was told of a merge, or that a person has to see
// to it: the record of the contact that went is nobody's.
func (l *lane) mergeEnds(s *store.Settlement, e *core.Event) {
	if e.Kind != core.KindContactMerged || e.Merge == nil {
		return
	}
	s.Put = append(s.Put, store.Put{Key: l.recordKey(e.Merge.Contact.ID)}, store.Put{Key: l.mergingKey(e.Merge.Contact.ID)})
}

// partedMeanwhile has a contact written anew that was taken apart while the CRM made
// one record of two.
func (l *lane) partedMeanwhile(ctx context.Context, s *store.Settlement, e *core.Event) {
	if e.Kind != core.KindContactMerged || e.Merge == nil {
		return
	}
	id := e.Merge.Contact.ID
	values, err := l.b.o.Store.Get(ctx, mergeKey(l.t.ID, id), contactKey(l.t.ID, id))
	if err != nil || values[0] != nil || values[1] == nil {
		return
	}
	p := personOf(values[1])
	if p.MergedInto != "" {
		return
	}
	now := time.Now().UTC()
	again := &core.Event{
		ID: core.FollowID(e.ID, 1), Kind: core.KindContactChanged, Tenant: l.t.ID, Time: now, Accepted: now, Source: "bridge", Cause: e.ID, Contact: &p.Contact,
	}
	s.Add = append(s.Add, store.Item{Queue: l.queue, ID: again.ID, Data: mustJSON(again), Value: again})
}

// cannotMerge gives a merge that the lane's connector knows nothing of to a person.
func (l *lane) cannotMerge(s *store.Settlement, d store.Delivery, e *core.Event) {
	err := &core.Error{
		Code: core.CodeUndeliverable, Op: "merge", Source: core.SourceBridge,
		Message: "the connector " + l.sinkName + " cannot make one record of two",
		Hint:    "in the CRM, look for the records of both contacts (the event has their ids and addresses), merge them by hand if there are two, then resolve this dead letter",
	}
	step := l.step(d, e, time.Now().UTC())
	step.Error = err
	l.giveUp(s, d, err, false, &step)
	s.Record = append(s.Record, record(&step, e))
}
