package broker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/store"
)

// reunion is a change of who is who: contacts are merged, and keys change hands,
// in one settlement. The contacts concerned are held by the caller.
type reunion struct {
	t     *tenant
	by    string
	cause string // the event that shows it
	at    time.Time

	people map[string]*person
	talks  map[string]map[string]*conversation // by contact and number, of those that are merged
	dirty  map[string]bool
	owners map[contact.Key]string // keys that change hands
	s      store.Settlement
	follow int
	parts  bool     // it takes contacts apart
	words  []string // what changes, for people
	after  []func() // called once it is stored
}

func newReunion(t *tenant, by, cause string) *reunion {
	return &reunion{
		t: t, by: by, cause: cause, at: time.Now().UTC(), people: map[string]*person{},
		talks: map[string]map[string]*conversation{}, dirty: map[string]bool{}, owners: map[contact.Key]string{},
	}
}

// person returns a contact as it is by now, nil when there is none.
func (r *reunion) person(ctx context.Context, id string) (*person, error) {
	if p, ok := r.people[id]; ok {
		return p, nil
	}
	v, err := r.t.b.o.Store.Get(ctx, contactKey(r.t.ID, id))
	if err != nil {
		return nil, err
	}
	var p *person
	if v[0] != nil {
		p = personOf(v[0])
	}
	r.people[id] = p
	return p, nil
}

// rule decides whose an event is, and what of its keys changes hands:
//
//   - user ids of one event are one person's, and so is the number that it says
//     has changed: their contacts are merged;
//   - a number and a user id in one event are one person's, unless the number's
//     contact has another user id, or did not have the number then: then it is
//     another person, and the number is theirs who was named beside it last.
//     Numbers are given to new people; user ids are not;
//   - contacts that a person has taken apart are not merged again.
//
// Nothing of this depends on the order in which the events come. fresh is the ID
// of a person yet unknown.
func (r *reunion) rule(ctx context.Context, e *core.Event, c claim, owners map[contact.Key]string, fresh string) (string, error) {
	// A key is somebody's when it is in their record. An alias alone is what
	// accepting guessed.
	owner := func(k contact.Key) (*person, error) {
		id := owners[k]
		if k.IsZero() || id == "" {
			return nil, nil
		}
		p, err := r.person(ctx, id)
		if p == nil || err != nil || p.has(k) == nil {
			return nil, err
		}
		return p, nil
	}
	var target *person
	one := func(k contact.Key, why string) error {
		p, err := owner(k)
		switch {
		case err != nil || p == nil || p == target:
		case target == nil:
			target = p
		case !apart(target, p):
			target, err = r.merge(ctx, target, p, why)
		}
		return err
	}
	for _, k := range c.keys {
		if rank(k) < 2 {
			if err := one(k, "one webhook has user ids of both"); err != nil {
				return "", err
			}
		}
	}
	names := slices.ContainsFunc(c.strong, contact.Key.IsBSUID)
	old, err := owner(c.was)
	if err != nil {
		return "", err
	}
	// Who had another user id than it says was the previous is another person, and
	// had the number before.
	notOld := old != nil && old != target && old.hasUserID() && e.Change.PreviousBSUID != ""
	switch {
	case old == nil || old == target || notOld:
	case !e.Time.Before(old.has(c.was).Claimed):
		if err := one(c.was, "WhatsApp says that the number changed"); err != nil {
			return "", err
		}
	}
	holder, err := owner(c.phone)
	if err != nil {
		return "", err
	}
	if holder != nil && holder.MergedInto != "" {
		holder = target // merged just now
	}
	known := target != nil // by more than the number
	another := holder != nil && holder.isAnother(target, c, e.Time)
	switch {
	case holder == target && holder != nil:
	case holder == nil && known:
	case holder == nil:
		home, err := r.person(ctx, e.Contact.ID)
		if err != nil {
			return "", err
		}
		if home == nil || names && home.hasUserID() || home.has(c.was) != nil {
			if home != nil { // it is somebody else
				home = &person{Contact: core.Contact{ID: fresh}}
			} else {
				home = &person{Contact: core.Contact{ID: e.Contact.ID}}
			}
			r.people[home.ID] = home
		}
		target = home
	case !known && (!another || !names && c.was.IsZero()):
		target = holder
	case !known:
		target = &person{Contact: core.Contact{ID: fresh}}
		r.people[fresh] = target
		r.move(c.phone, holder, target, e, c)
	case c.firm && !another && !apart(target, holder):
		if target, err = r.merge(ctx, target, holder, "one webhook has a user id of one and the number of the other"); err != nil {
			return "", err
		}
	case c.firm:
		r.move(c.phone, holder, target, e, c)
	}
	if notOld && old != target && old.MergedInto == "" {
		r.move(c.was, old, target, e, c)
	}
	for _, k := range c.keys {
		if p, err := owner(k); err != nil {
			return "", err
		} else if p != nil && p != target && p.MergedInto == "" && p.has(k) != nil {
			continue // stays theirs
		}
		if target.has(k) == nil {
			if err := r.t.inherit(ctx, target, []contact.Key{k}); err != nil {
				return "", err
			}
		}
		if target.take(k, c, e) {
			r.dirty[target.ID] = true
		}
		r.owners[k] = target.ID
	}
	if r.dirty[target.ID] {
		target.face()
	}
	return target.ID, nil
}

func apart(a, b *person) bool {
	return slices.Contains(a.Apart, b.ID) || slices.Contains(b.Apart, a.ID)
}

// move gives a number to whom a webhook names beside it, if nobody was named
// later.
func (r *reunion) move(k contact.Key, from, to *person, e *core.Event, c claim) {
	if !c.firm || !e.Time.After(from.has(k).Claimed) {
		return
	}
	from.Identities = slices.DeleteFunc(from.Identities, func(i identity) bool { return i.Key == k })
	from.face()
	to.take(k, c, e)
	r.dirty[from.ID], r.dirty[to.ID], r.owners[k] = true, true, to.ID
	r.record("moved", fmt.Sprintf("the number of %s is %s's now: WhatsApp names another user id with it", from.ID, to.ID), from.ID, to.ID)
}

// merge makes one contact of two, the older, and returns it.
func (r *reunion) merge(ctx context.Context, a, b *person, why string) (*person, error) {
	if b.older(a) {
		a, b = b, a
	}
	return r.mergeInto(ctx, a, b, why)
}

// mergeInto merges b into a, and returns a.
func (r *reunion) mergeInto(ctx context.Context, a, b *person, why string) (*person, error) {
	for _, p := range []*person{a, b} {
		if r.talks[p.ID] == nil {
			talks, err := r.t.conversationsOf(ctx, p.ID)
			if err != nil {
				return nil, err
			}
			r.talks[p.ID] = talks
		}
	}
	m := &merged{ID: b.ID, Survivor: a.ID, At: r.at, By: r.by, Cause: r.cause, Why: why}
	m.Was.Survivor = dossier{clone(a), r.talks[a.ID]}
	m.Was.ID = dossier{clone(b), r.talks[b.ID]}
	one := join(m.Was.Survivor, m.Was.ID)
	m.Offset = one.offset
	r.sayMerged(m, one)
	r.s.Put = append(r.s.Put, store.Put{Key: mergeKey(r.t.ID, b.ID), Value: mustJSON(m)})
	for n := range r.talks[b.ID] {
		r.s.Put = append(r.s.Put, store.Put{Key: conversationKey(r.t.ID, b.ID, n)})
	}
	for n, c := range one.Conversations {
		r.s.Put = append(r.s.Put, store.Put{Key: conversationKey(r.t.ID, a.ID, n), Value: mustJSON(c)})
	}
	for _, i := range b.Identities {
		r.owners[i.Key] = a.ID
	}
	*a = *one.Person
	*b = person{Contact: core.Contact{ID: b.ID}, MergedInto: a.ID}
	r.talks[a.ID], r.talks[b.ID] = one.Conversations, nil
	r.dirty[a.ID], r.dirty[b.ID] = true, true
	r.joinDesk(m, one, a)
	into, from := a.ID, b.ID
	r.after = append(r.after, func() { r.t.awaitsOf(into, from) })
	r.record("merged", fmt.Sprintf("%s is %s: %s", b.ID, a.ID, why), a.ID, b.ID)
	if err := r.tellMerged(ctx, m, a, one.Conversations); err != nil {
		return nil, err
	}
	r.tell(a, m.Was.Survivor.Person.Consent, one.Conversations)
	return a, nil
}

// part takes the contacts of a merge apart again. They are in people.
func (r *reunion) part(ctx context.Context, m *merged) error {
	a, b := r.people[m.Survivor], r.people[m.ID]
	r.parts = true
	talks, err := r.t.conversationsOf(ctx, a.ID)
	if err != nil {
		return err
	}
	if err := r.findEnded(ctx, m); err != nil {
		return err
	}
	p := split(dossier{clone(a), talks}, m, r.at)
	if err := r.sayParted(ctx, m, talks, p); err != nil {
		return err
	}
	if err := r.partLater(ctx, m); err != nil {
		return err
	}
	together := a.Consent
	r.carry(p.s.Person, p.l.Person, m.Was.ID.Person.Consent, p.one.Consent, together)
	r.s.Put = append(r.s.Put, store.Put{Key: mergeKey(r.t.ID, b.ID)})
	for n := range talks {
		put := store.Put{Key: conversationKey(r.t.ID, a.ID, n)}
		if c := p.s.Conversations[n]; c != nil {
			put.Value = mustJSON(c)
		}
		r.s.Put = append(r.s.Put, put)
	}
	for n, c := range p.l.Conversations {
		r.s.Put = append(r.s.Put, store.Put{Key: conversationKey(r.t.ID, b.ID, n), Value: mustJSON(c)})
	}
	*a, *b = *p.s.Person, *p.l.Person
	a.keepApart(b.ID)
	b.keepApart(a.ID)
	for _, q := range []*person{a, b} {
		for _, i := range q.Identities {
			r.owners[i.Key] = q.ID
		}
		r.dirty[q.ID] = true
	}
	r.partDesk(p)
	for _, again := range p.again {
		r.setTimer(again)
	}
	r.record("unmerged", fmt.Sprintf("%s is a contact of its own again, and not %s%s", b.ID, a.ID, because(m.Undone)), a.ID, b.ID)
	r.tell(a, together, p.s.Conversations)
	r.tell(b, m.Was.ID.Person.Consent, p.l.Conversations)
	return nil
}

// findEnded fills in which escalations a merge has ended.
func (r *reunion) findEnded(ctx context.Context, m *merged) error {
	m.Ended = map[string]bool{}
	for _, c := range m.Was.ID.Conversations {
		if c.Escalation == nil {
			continue
		}
		v, err := r.t.b.o.Store.Get(ctx, store.Key{Tenant: r.t.ID, Bucket: bucketClosed, Key: c.Escalation.ID})
		if err != nil {
			return err
		}
		if e, ok := decode[Escalation](v[0]); ok && e.Outcome == outcomeMerged {
			m.Ended[e.ID] = true
		}
	}
	return nil
}

// hasSome reports whether the person has keys of another.
func (p *person) hasSome(o *person) bool {
	return slices.ContainsFunc(o.Identities, func(i identity) bool { return p.has(i.Key) != nil })
}

// partLater takes the other out of what later merges remember of the survivor.
func (r *reunion) partLater(ctx context.Context, m *merged) error {
	all, err := mergesInto(ctx, r.t.b.o.Store, r.t.ID, m.Survivor)
	if err != nil {
		return err
	}
	for _, later := range all {
		if was := later.Was.Survivor.Person; later.Survivor == m.Survivor && later.ID != m.ID && was != nil && (later.At.After(m.At) || was.hasSome(m.Was.ID.Person)) {
			later.Was.Survivor = split(later.Was.Survivor, m, r.at).s
			r.s.Put = append(r.s.Put, store.Put{Key: mergeKey(r.t.ID, later.ID), Value: mustJSON(later)})
		}
	}
	return nil
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// keepApart sees to it that webhooks never merge the person with another.
func (p *person) keepApart(id string) {
	if !slices.Contains(p.Apart, id) {
		p.Apart = append(p.Apart, id)
	}
}

// setTimer sets a timer anew for another contact's conversation.
func (r *reunion) setTimer(a setAgain) {
	r.follow++
	e := &core.Event{
		ID: core.FollowID(r.cause+"#identity", r.follow), Kind: core.KindTimer, Tenant: r.t.ID, Number: a.number,
		Conversation: core.ConversationID(a.number, a.person.ID), Time: a.timer.Due, Accepted: r.at, Source: "bridge", Cause: r.cause,
		Contact: &core.Contact{ID: a.person.ID}, Timer: &core.Timer{Name: a.name, Generation: a.timer.Generation},
	}
	r.t.later(&r.s, e, a.timer.Due)
}

// tell tells the CRMs of a contact that changed, and of its consent if they know
// another. It is ordered with what was said in the latest of the conversations, so
// that what is newer is not overwritten.
func (r *reunion) tell(p *person, knew consent.Summary, talks map[string]*conversation) {
	say := func(kind core.Kind, c *core.Consent) {
		e := r.event(kind, p, talks)
		e.Consent = c
		r.t.toCRM(&r.s, e)
	}
	say(core.KindContactChanged, nil)
	if c := r.consentOf(p, knew); c != nil {
		say(core.KindConsentChanged, c)
	}
}

// event starts one about a person, in the latest of their conversations.
func (r *reunion) event(kind core.Kind, p *person, talks map[string]*conversation) *core.Event {
	number := ""
	for _, n := range slices.Sorted(maps.Keys(talks)) {
		if number == "" || talks[n].LastIn.After(talks[number].LastIn) {
			number = n
		}
	}
	who := p.Contact
	r.follow++
	e := &core.Event{
		ID: core.FollowID(r.cause+"#identity", r.follow), Kind: kind, Tenant: r.t.ID, Number: number, Time: r.at, Accepted: r.at,
		Source: "bridge", Cause: r.cause, Contact: &who,
	}
	if number != "" {
		e.Conversation = core.ConversationID(number, p.ID)
	}
	return e
}

// record writes into the trace what was done, where it is found by the event
// that caused it and by the contacts.
func (r *reunion) record(what, note string, ids ...string) {
	step := Step{Time: r.at, Event: r.cause, Kind: core.KindContactChanged, Tenant: r.t.ID, Step: what, Notes: []string{note}}
	if r.by != "webhook" {
		step.Notes = append(step.Notes, "by "+r.by)
	}
	rec := record(&step, &core.Event{})
	rec.IDs = append(rec.IDs, ids...)
	r.s.Record = append(r.s.Record, rec)
}

// settle stores what was decided.
func (r *reunion) settle(ctx context.Context) error {
	for id := range r.dirty {
		if p := r.people[id]; p != nil {
			r.s.Put = append(r.s.Put, store.Put{Key: contactKey(r.t.ID, id), Value: mustJSON(p)})
		}
	}
	for k, id := range r.owners {
		r.s.Put = append(r.s.Put, store.Put{Key: aliasKey(r.t.ID, k.String()), Value: []byte(id)})
	}
	if len(r.s.Put) == 0 {
		return nil
	}
	r.t.b.failpoint("identity-before-commit")
	_, err := r.t.b.settle(ctx, r.s)
	if r.t.b.dropAppends(&r.s, err) {
		_, err = r.t.b.settle(ctx, r.s)
	}
	if err != nil {
		return err
	}
	r.t.b.failpoint("identity-after-commit")
	r.t.aliases.set(r.owners)
	for _, f := range r.after {
		f()
	}
	return nil
}
