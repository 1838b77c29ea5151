package broker

import (
	"context"
	"errors"
	"slices"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/store"
)

// Accepting puts an event into a conversation by what it knows at that moment.
// Whether the event's keys are really those of its contact is found out here,
// when it is decided and the contact cannot change under it. Nearly always they
// are. When they are not, the contacts concerned are locked, and one settlement
// puts things right: two contacts turn out to be one, or a number has a new
// owner. Then the event is decided, in the conversation that it belongs to.

// meeting is an event about to be decided, and the contact that it is about.
type meeting struct {
	d     store.Delivery
	claim claim
	// person is as stored; nil for an event about nobody.
	person *person
	// attach are the event's keys that are new, and the person's; claims are
	// those of them that were nobody's.
	attach, claims []contact.Key
}

// looks is how the events of a batch have been looked at so far.
type looks struct {
	rounds map[uint64]int // by their places in the queue
	// undone is tenant.undone when the batch was taken.
	undone uint64
}

// maxRounds is how often an event is led to another contact before it is decided
// where it is: merges that go on for ever would be a mistake of ours.
const maxRounds = 8

// decideFree decides a batch whose contacts wait for nobody, and returns those of
// it that belong elsewhere, to be decided anew.
func (t *tenant) decideFree(ctx context.Context, free []store.Delivery, l looks) (again []store.Delivery, err error) {
	defer t.locks.release(contactsOf(free)...)
	if t.undone.Load() != l.undone {
		free = t.anew(ctx, free, l)
	}
	meetings, again, gone, err := t.recognise(ctx, free, l.rounds)
	if err == nil {
		err = t.dropErased(ctx, gone)
	}
	if err != nil {
		t.giveBack(ctx, free)
		return nil, err
	}
	if len(meetings) > 0 {
		err = t.decide(ctx, meetings)
	}
	return again, err
}

// anew gives back those events that were led to another contact, because a merge
// that they may have been led by was undone since. They come again as they were.
func (t *tenant) anew(ctx context.Context, ds []store.Delivery, l looks) []store.Delivery {
	var led, stay []store.Delivery
	for _, d := range ds {
		if l.rounds[d.Seq] > 0 {
			led = append(led, d)
		} else {
			stay = append(stay, d)
		}
	}
	t.giveBack(ctx, led)
	return stay
}

// recognise finds the contacts of a batch. It returns those events that may be
// decided; those that must be looked at again, of a contact that was merged into
// another or erased since, or whose keys are several contacts'; and what is left
// of people who were erased.
func (t *tenant) recognise(ctx context.Context, ds []store.Delivery, rounds map[uint64]int) (ok []meeting, again, gone []store.Delivery, err error) {
	var ask []store.Key
	for _, d := range ds {
		if id := contactOf(d); id != "" {
			ask = append(ask, contactKey(t.ID, id))
		}
	}
	people, err := t.b.o.Store.Get(ctx, ask...)
	if err != nil {
		return nil, nil, nil, err
	}
	erased, err := t.erasedAmong(ctx, ask, people)
	if err != nil {
		return nil, nil, nil, err
	}
	ok = make([]meeting, 0, len(ds))
	for _, d := range ds {
		if contactOf(d) == "" {
			ok = append(ok, meeting{d: d})
			continue
		}
		m := meeting{d: d, person: personOf(people[0])}
		people = people[1:]
		if at, is := erased[contactOf(d)]; is {
			if rounds[d.Seq] < maxRounds && isAnew(eventOf(d), at) {
				rounds[d.Seq]++
				again = append(again, d)
			} else {
				gone = append(gone, d)
			}
			continue
		}
		verdict, err := t.belongs(ctx, &m, rounds[d.Seq] > 0)
		if err != nil {
			return nil, nil, nil, err
		}
		if verdict || rounds[d.Seq] >= maxRounds {
			ok = append(ok, m)
			continue
		}
		rounds[d.Seq]++
		again = append(again, d)
	}
	return ok, again, gone, nil
}

// belongs reports whether an event is the person's that it names, and finds the
// keys that are new to them. One that was settled before is: what it has of
// others' keys stays theirs.
func (t *tenant) belongs(ctx context.Context, m *meeting, settled bool) (bool, error) {
	e := eventOf(m.d)
	if m.person.MergedInto != "" {
		return false, nil
	}
	m.claim = claimOf(e)
	c, keys := &m.claim, m.claim.keys
	if m.person.hasAll(keys) {
		return true, nil
	}
	owners, err := t.owners(ctx, keys)
	if err != nil {
		return false, err
	}
	id := e.Contact.ID
	for _, k := range keys {
		switch owner := owners[k]; {
		case m.person.has(k) != nil:
		case owner == "" || owner == id:
			m.attach = append(m.attach, k)
			if owner == "" {
				m.claims = append(m.claims, k)
			}
		case !settled && e.Kind != core.KindMessageStatus:
			return false, nil
		}
	}
	if len(m.attach) > 0 {
		if err := t.inherit(ctx, m.person, m.attach); err != nil {
			return false, err
		}
	}
	if another := m.person.hasUserID() || m.person.lacked(c.phone, e.Time); !settled && another && slices.ContainsFunc(m.attach, contact.Key.IsBSUID) && !c.linked(m.person) {
		return false, nil // a second user id beside a known number: whose is it?
	}
	return true, nil
}

// linked reports whether the claim says by itself that its user ids are the
// person's: one of them is already.
func (c *claim) linked(p *person) bool {
	return slices.ContainsFunc(c.strong, func(k contact.Key) bool { return p.has(k) != nil })
}

// owners returns whose the keys are, those of merged contacts being their
// survivors'.
func (t *tenant) owners(ctx context.Context, keys []contact.Key) (map[contact.Key]string, error) {
	var ask []store.Key
	var of []contact.Key
	for _, k := range keys {
		for _, way := range waysOf(k) {
			ask, of = append(ask, aliasKey(t.ID, way)), append(of, k)
		}
	}
	values, err := t.b.o.Store.Get(ctx, ask...)
	if err != nil {
		return nil, err
	}
	out := map[contact.Key]string{}
	for i, v := range values {
		if v == nil || out[of[i]] != "" {
			continue
		}
		if out[of[i]], _, err = t.survivor(ctx, string(v)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// survivor returns the contact that stands for one, and what the generations of
// its timers became there.
func (t *tenant) survivor(ctx context.Context, id string) (string, int, error) {
	offset := 0
	for range maxRounds {
		v, err := t.b.o.Store.Get(ctx, mergeKey(t.ID, id))
		if err != nil || v[0] == nil {
			return id, offset, err
		}
		m, ok := decode[struct {
			Survivor string `json:"survivor"`
			Offset   int    `json:"offset"`
		}](v[0])
		if !ok || m.Survivor == "" {
			return id, offset, nil
		}
		id, offset = m.Survivor, offset+m.Offset
	}
	return id, offset, nil
}

// settleIdentities settles whose the events are, one after the other; those for
// which that fails are given back.
func (t *tenant) settleIdentities(ctx context.Context, ds []store.Delivery) []store.Delivery {
	var out []store.Delivery
	for _, d := range ds {
		settled, err := t.settleIdentity(ctx, d)
		if err != nil {
			if ctx.Err() == nil {
				t.b.log.Error("settle whose an event is", "tenant", t.ID, "event", d.ID, "error", err)
			}
			t.giveBack(ctx, []store.Delivery{d})
			continue
		}
		out = append(out, settled)
	}
	return out
}

// own adds to a settlement that keys are a contact's.
func (t *tenant) own(s *store.Settlement, id string, keys []contact.Key) {
	for _, k := range keys {
		s.Put = append(s.Put, store.Put{Key: aliasKey(t.ID, k.String()), Value: []byte(id)})
	}
}

// settleIdentity finds out whose an event is, merges contacts or moves numbers
// if need be, and returns the event as that contact's. It must be called without
// any contact held.
func (t *tenant) settleIdentity(ctx context.Context, d store.Delivery) (store.Delivery, error) {
	e := eventOf(d)
	c := claimOf(e)
	keys := c.keys
	for range maxRounds {
		home, offset, err := t.survivor(ctx, e.Contact.ID)
		if err != nil {
			return d, err
		}
		anew, err := t.leaveErased(ctx, home, keys)
		if err != nil {
			return d, err
		}
		if anew != home {
			d = redirect(d, anew, 0)
			e, home, offset = eventOf(d), anew, 0
		}
		if e.Kind == core.KindMessageStatus || len(keys) == 0 {
			return redirect(d, home, offset), nil
		}
		owners, err := t.owners(ctx, keys)
		if err != nil {
			return d, err
		}
		ids := []string{home}
		for _, id := range owners {
			if id != "" {
				ids = append(ids, id)
			}
		}
		fresh := home
		if bsuid := slices.IndexFunc(keys, contact.Key.IsBSUID); bsuid >= 0 {
			if fresh, err = t.freshContactID(ctx, keys[bsuid]); err != nil {
				return d, err
			}
			ids = append(ids, fresh)
		} else if !c.was.IsZero() {
			if fresh, err = t.freshContactID(ctx, founding(keys)); err != nil {
				return d, err
			}
			ids = append(ids, fresh)
		}
		target, err := t.settleUnder(ctx, e, c, ids, owners, fresh)
		if errors.Is(err, errMoved) {
			continue
		}
		if err != nil {
			return d, err
		}
		if target != home {
			offset = 0
		}
		return redirect(d, target, offset), nil
	}
	return d, nil // it goes on for ever: decided where it is
}

// errMoved says that contacts changed before they were locked.
var errMoved = errors.New("the contacts changed meanwhile")

// settleUnder settles whose an event is while nobody else changes the contacts.
func (t *tenant) settleUnder(ctx context.Context, e *core.Event, c claim, ids []string, was map[contact.Key]string, fresh string) (string, error) {
	if err := t.locks.takeAll(ctx, ids...); err != nil {
		return "", err
	}
	defer t.locks.release(ids...)
	owners, err := t.owners(ctx, c.keys)
	if err != nil {
		return "", err
	}
	for k, id := range owners {
		if was[k] != id {
			return "", errMoved
		}
	}
	r := newReunion(t, "webhook", e.ID)
	target, err := r.rule(ctx, e, c, owners, fresh)
	if err != nil {
		return "", err
	}
	return target, r.settle(ctx)
}

// redirect returns a delivery as one of another contact.
func redirect(d store.Delivery, id string, offset int) store.Delivery {
	e := *eventOf(d)
	if e.Contact.ID == id {
		return d
	}
	person := *e.Contact
	person.ID = id
	e.Contact = &person
	if e.Number != "" {
		e.Conversation = conversationOf(&e, id)
	}
	if e.Timer != nil && offset != 0 {
		timer := *e.Timer
		timer.Generation += offset
		e.Timer = &timer
	}
	d.Value, d.Data = &e, mustJSON(&e)
	return d
}
