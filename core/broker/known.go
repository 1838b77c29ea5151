package broker

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// The bridge keeps which record a CRM has of somebody, as the connector said of what it
// wrote, or the CRM of whom it told; with the next event the connector is told, so that it
// looks for nobody whom it knows, and makes nobody whom the CRM has.
//
// Where a connector can but look for what is there before it makes it
// (core.IdempotencySearch), and the CRM's search sees it late, the bridge helps. It
// makes one call at a time, with no two events of a contact. It remembers the
// contact's record, and until it knows of one, that the connector may have made one:
// for as long as a search would not see it, nothing of the contact's is delivered. What
// may have been done is tried again when a search sees it.

const (
	bucketRecords = "crm-records" // <lane> <contact's id> → the contact's record there

	// searchDelay is after what time a CRM's search sees what was made, unless the
	// connector says otherwise.
	searchDelay = 30 * time.Second
)

// crmRecord is what is known of a contact's record in a CRM.
type crmRecord struct {
	Ref string `json:"ref,omitempty"`
	// Told says that the CRM told of it, and no result has confirmed it.
	Told bool `json:"told,omitempty"`
	// Nameless says that the contact had no name when the connector said so, or that it is
	// the record of one who had none, as may be after a merge.
	Nameless bool `json:"nameless,omitempty"`
	// Tried is when the connector last had an event of the contact's without Ref.
	Tried time.Time `json:"tried,omitzero"`
}

func (l *lane) recordKey(contact string) store.Key {
	return store.Key{Tenant: l.t.ID, Bucket: bucketRecords, Key: l.name + " " + contact}
}

// searching makes the lane one whose connector looks before it writes.
func (l *lane) searching(delay time.Duration) {
	if delay <= 0 {
		delay = searchDelay
	}
	l.looks = min(delay, time.Hour)
	l.gate.oneAtATime()
}

// apart splits a batch so that no part has two events of a contact.
func (l *lane) apart(ds []store.Delivery) (parts [][]store.Delivery) {
	if l.looks == 0 {
		return [][]store.Delivery{ds}
	}
	nth := map[string]int{}
	for _, d := range ds {
		n := 0
		if c := eventOf(d).Contact; c != nil && c.ID != "" {
			n = nth[c.ID]
			nth[c.ID]++
		}
		if n == len(parts) {
			parts = append(parts, nil)
		}
		parts[n] = append(parts[n], d)
	}
	return parts
}

// records returns what is known of the events' contacts; those without a contact have
// an empty one.
func (l *lane) records(ctx context.Context, n int, event func(int) *core.Event) ([]crmRecord, error) {
	out := make([]crmRecord, n)
	var keys []store.Key
	var of []int
	for i := range n {
		if c := event(i).Contact; c != nil && c.ID != "" {
			keys, of = append(keys, l.recordKey(c.ID)), append(of, i)
		}
	}
	values, err := l.b.o.Store.Get(ctx, keys...)
	for k, i := range of {
		if err == nil {
			r, _ := decode[crmRecord](values[k])
			out[i] = *r
		}
	}
	return out, err
}

// mayGo leaves out the deliveries whose contact may have a record that no search sees
// yet: they wait until one does. Of the others of whom no result told one it stores that
// they may get one now.
func (l *lane) mayGo(ctx context.Context, s *store.Settlement, ds []store.Delivery) ([]store.Delivery, error) {
	if l.looks == 0 {
		return ds, nil
	}
	known, err := l.records(ctx, len(ds), func(i int) *core.Event { return eventOf(ds[i]) })
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	keep := ds[:0:0]
	for i, d := range ds {
		seen := known[i].Tried.Add(l.looks)
		c := eventOf(d).Contact
		switch {
		case len(d.Mark) > 0, known[i].Ref != "" && !known[i].Told, c == nil || c.ID == "":
		case !known[i].Tried.IsZero() && seen.After(now):
			s.Nak = append(s.Nak, store.Nak{Delivery: d, Due: seen})
			continue
		default:
			known[i].Tried = now
			s.Put = append(s.Put, store.Put{Key: l.recordKey(c.ID), Value: mustJSON(known[i])})
		}
		keep = append(keep, d)
	}
	return keep, nil
}

// know fills in the contacts' records, as far as they are known.
func (l *lane) know(ctx context.Context, ds []core.Delivery) *core.Error {
	if !l.ofCRM() {
		return nil
	}
	known, err := l.records(ctx, len(ds), func(i int) *core.Event { return ds[i].Event })
	if err != nil {
		e := core.Errorf(core.CodeUnavailable, "deliver", "the contacts' records could not be read: %w", err)
		e.Scope = core.ScopeLane
		return e
	}
	for i := range ds {
		r := known[i]
		if r.Told || r.Nameless && l.looks == 0 && ds[i].Event.Contact.Name != "" {
			ds[i].ToldRef = r.Ref
		} else {
			ds[i].ContactRef = r.Ref
		}
	}
	return nil
}

// ofCRM reports whether the lane is a CRM's.
func (l *lane) ofCRM() bool { return l.t.crmLane(l.crmName()) == l }

func failed(batch []core.Delivery, err *core.Error) []core.Result {
	out := make([]core.Result, len(batch))
	for i, d := range batch {
		out[i] = core.Result{ID: d.Event.ID, Err: err}
	}
	return out
}

// remember keeps, with what else becomes of an event, the record of its contact and
// what the CRM calls its message, where the connector tells of them; one who was erased
// has none.
func (l *lane) remember(s *store.Settlement, e *core.Event, r core.Result) {
	l.rememberMessage(s, e, r)
	if e.Contact == nil || e.Contact.ID == "" {
		return
	}
	l.mergeEnds(s, e)
	switch {
	case e.Kind == core.KindContactErased:
		s.Put = append(s.Put, store.Put{Key: l.recordKey(e.Contact.ID)})
	case r.ContactRef != "":
		s.Put = append(s.Put, store.Put{Key: l.recordKey(e.Contact.ID), Value: mustJSON(crmRecord{Ref: r.ContactRef, Nameless: e.Contact.Name == "" || e.Kind == core.KindContactMerged})})
	}
}

// toldOf keeps which records the CRM told of, by contact. What a result said, nothing else
// replaces.
func (l *lane) toldOf(ctx context.Context, s *store.Settlement, refs map[string]string) error {
	ids := slices.Sorted(maps.Keys(refs))
	keys := make([]store.Key, len(ids))
	for i, id := range ids {
		keys[i] = l.recordKey(id)
	}
	values, err := l.b.o.Store.Get(ctx, keys...)
	if err != nil {
		return err
	}
	for i, id := range ids {
		r, _ := decode[crmRecord](values[i])
		if r.Ref == refs[id] || r.Ref != "" && !r.Told {
			continue
		}
		r.Ref, r.Told = refs[id], true
		s.Put = append(s.Put, store.Put{Key: keys[i], Value: mustJSON(r)})
	}
	return nil
}

// unsure tries again what was tried at a time and may have been done, when a search
// would see it. It reports false where nobody looks, or it was the last of the attempts
// that count.
func (l *lane) unsure(s *store.Settlement, d store.Delivery, tried time.Time, counts bool) bool {
	if l.looks == 0 {
		return false
	}
	due, ok := l.again(d.Attempt, tried)
	switch {
	case !ok && counts:
		return false
	case !ok:
		due = alone(d, tried)
	}
	if seen := tried.Add(l.looks); seen.After(due) {
		due = seen
	}
	s.Nak = append(s.Nak, store.Nak{Delivery: d, Due: due, Counts: counts, Mark: l.cleared()})
	return true
}
