package broker

import (
	"context"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// A CRM may say that its record of a contact is gone (core.KindContactGone). Whose it
// was the bridge knows where it was told of the record (core.Result.ContactRef,
// core.Event.ContactRef). It then forgets the record, and what both sides had of it:
// what is next written of the contact is written whole, to a new record or to the one
// that was kept.

// maxContactRef is how long the name of a record may be.
const maxContactRef = 512

// recordsPage is how many records are looked at in one read.
const recordsPage = 1000

// whose returns the contacts whose records the events say are gone, by record. That
// looks through all records of the lane: they are asked for seldom, and many at once.
func (l *lane) whose(ctx context.Context, events []core.Event) (map[string]*core.Contact, error) {
	var refs []string
	for i := range events {
		if e := &events[i]; e.Kind == core.KindContactGone && e.ContactRef != "" && !slices.Contains(refs, e.ContactRef) {
			refs = append(refs, e.ContactRef)
		}
	}
	if len(refs) == 0 {
		return nil, nil
	}
	slices.Sort(refs)
	out := map[string]*core.Contact{}
	prefix := l.name + " "
	for after := prefix; ; {
		entries, err := l.b.o.Store.Range(ctx, l.t.ID, bucketRecords, after, recordsPage)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			id, ours := strings.CutPrefix(e.Key, prefix)
			if !ours {
				return out, nil
			}
			after = e.Key
			r, _ := decode[crmRecord](e.Value)
			if _, asked := slices.BinarySearch(refs, r.Ref); r.Ref == "" || !asked {
				continue
			}
			c, err := l.t.contactNow(ctx, id)
			if err != nil {
				return nil, err
			}
			if c != nil && c.ID == id { // that of one who was merged is gone, as it should be
				out[r.Ref] = c
			}
		}
		if len(entries) < recordsPage {
			return out, nil
		}
	}
}

// contactNow returns by what a contact is known now, or the one that it was merged
// into; nil when there is none.
func (t *tenant) contactNow(ctx context.Context, id string) (*core.Contact, error) {
	p, err := t.personNow(ctx, id)
	if p == nil || err != nil {
		return nil, err
	}
	return &core.Contact{ID: p.ID, Phone: p.Phone, BSUID: p.BSUID}, nil
}

// maxMerged is how often in a row a contact may have been merged into another.
const maxMerged = 20

// personNow is contactNow with all that is known.
func (t *tenant) personNow(ctx context.Context, id string) (*person, error) {
	for range maxMerged {
		values, err := t.b.o.Store.Get(ctx, contactKey(t.ID, id))
		if err != nil || values[0] == nil {
			return nil, err
		}
		p := personOf(values[0])
		if p.MergedInto == "" {
			return p, nil
		}
		id = p.MergedInto
	}
	return nil, nil
}

// forgets takes note that a CRM no longer has its record of the contact.
func (t *tenant) forgets(u *turn) {
	u.tell = nil
	l := t.crmLane(u.e.Source)
	if l == nil || u.person == nil || u.contact == nil || u.contact.ID == "" {
		return
	}
	if _, had := u.person.Agreed[l.crmName()]; had {
		delete(u.person.Agreed, l.crmName())
		u.contactChanged = true
	}
	u.s.Put = append(u.s.Put, store.Put{Key: l.recordKey(u.contact.ID)})
	u.note(l.crmName() + " has no record " + clip(u.e.ContactRef, 60) + " any more: it was deleted, or merged into another; what is next written of the contact is written whole")
}

// learns keeps which record of a CRM an event that it told of is about.
func (t *tenant) learns(ctx context.Context, u *turn) {
	l := t.crmLane(u.e.Source)
	if l == nil || u.e.ContactRef == "" || u.contact == nil || u.contact.ID == "" {
		return
	}
	if err := l.toldOf(ctx, &u.s, map[string]string{u.contact.ID: u.e.ContactRef}); err != nil {
		u.note("which record it is about could not be kept: " + err.Error())
	}
}
