package broker

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// An erasure goes in steps, each harmless to repeat, and which one is next is in
// the store with it: one that was begun is finished, whenever the process dies.
//
//	erasing   nothing happened yet: what there is of the person goes in one
//	          settlement, tombstones are put where it was
//	draining  what was under way meanwhile is waited for, the history forgotten,
//	          then the CRMs are asked to erase
//	telling   CRMs have answered, or people who did it by hand; deleted bytes are
//	          written over

const (
	bucketErasing  = "erasing"  // erasures that are not done yet
	bucketErasures = "erasures" // and those that are: who asked, when, and how much there was

	eraseEvery  = 2 * time.Second  // an erasure that waits is looked at
	eraseWithin = 15 * time.Second // a caller waits
	tellWithin  = 5 * time.Second  // CRMs have, before bytes are written over without them
	maxRefs     = 1000             // records that an erasure names to one CRM
)

// The states of an erasure.
const (
	ErasureErasing  = "erasing"
	ErasureDraining = "draining"
	ErasureTelling  = "telling"
	ErasureDone     = "done"
)

// EraseRequest asks for everything about a person to be erased.
type EraseRequest struct {
	Tenant string `json:"tenant"`
	// Contact is the contact's ID or an address, "+34600111222".
	Contact string `json:"contact"`
	// Reason and By are kept with the erasure: they should not name the person.
	Reason string `json:"reason"`
	By     string `json:"by"`
	// Preview only counts.
	Preview bool `json:"preview,omitempty"`
}

// Erasure is one that was asked for. It names nobody.
type Erasure struct {
	ID     string    `json:"id,omitempty"`
	Tenant string    `json:"tenant"`
	State  string    `json:"state,omitempty"`
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by,omitempty"`
	Asked  time.Time `json:"asked,omitzero"`
	Done   time.Time `json:"done,omitzero"`
	// Held is what there was.
	Held Held `json:"held"`
	// Lanes are the CRMs that are asked to erase, too.
	Lanes []string `json:"lanes"`
	// Related are contacts that had one of the numbers before, or have one now: they
	// are taken for other people, and stay. Told by a preview.
	Related []string `json:"related,omitempty"`
	// Waiting says what is not done yet, and for whom it waits.
	Waiting []string `json:"waiting,omitempty"`
}

// erasure is one as it is stored while it is worked on.
type erasure struct {
	Erasure
	// Contacts are whose it is, the survivor first; Faces what CRMs may know them
	// by, Records what each lane called what it wrote.
	Contacts []string            `json:"contacts,omitempty"`
	Faces    []core.Contact      `json:"faces,omitempty"`
	Records  map[string][]string `json:"records,omitempty"`
	// Told is when the CRMs were asked, Scrubbed that bytes were written over since
	// everything but that was gone.
	Told     time.Time `json:"told,omitzero"`
	Scrubbed bool      `json:"scrubbed,omitempty"`
}

func erasingKey(tenant, id string) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketErasing, Key: id}
}

// EraseContact erases a person, and returns how far that is by now: an erasure
// goes on by itself. Asking again for one that goes on returns it.
func (b *Broker) EraseContact(ctx context.Context, r EraseRequest) (Erasure, error) {
	t := b.tenants[r.Tenant]
	if t == nil {
		return Erasure{}, noTenant("erase", r.Tenant)
	}
	if (r.Reason == "" || r.By == "") && !r.Preview || len(r.Reason) > 500 || len(r.By) > 120 {
		return Erasure{}, core.Errorf(core.CodeInvalid, "erase", "reason (at most 500 bytes) and by (at most 120) are needed: they are kept with the erasure")
	}
	p, _, err := whom(ctx, b.o.Store, t.ID, r.Contact, t.Region)
	if err != nil {
		return Erasure{}, err
	}
	id := p.ID
	if r.Preview {
		return t.previewErase(ctx, id)
	}
	e, err := t.beginErase(ctx, id, r)
	if err != nil {
		return e, err
	}
	wait, cancel := context.WithTimeout(ctx, eraseWithin)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if e, err = t.workErase(wait, e.ID); wait.Err() != nil {
			return b.Erasure(ctx, t.ID, e.ID) // it goes on
		}
		if err != nil || e.State == ErasureDone {
			return e, err
		}
		select {
		case <-tick.C:
		case <-wait.Done():
		}
	}
}

// erasures sees to it that a person is erased once, and that one erasure at a time
// is worked on.
type erasures struct {
	begin, work sync.Mutex
	begun       chan struct{} // wakes the loop; one waits in it
}

// Erasure returns one that was asked for.
func (b *Broker) Erasure(ctx context.Context, tenant, id string) (Erasure, error) {
	for _, t := range b.tenants {
		if tenant != "" && t.ID != tenant {
			continue
		}
		values, err := b.o.Store.Get(ctx, erasingKey(t.ID, id), store.Key{Tenant: t.ID, Bucket: bucketErasures, Key: id})
		if err != nil {
			return Erasure{}, err
		}
		for _, v := range values {
			if e, ok := decode[Erasure](v); ok {
				return *e, nil
			}
		}
	}
	return Erasure{}, core.Errorf(core.CodeInvalid, "erase", "there is no erasure %.60q: %w", id, store.ErrNotFound)
}

func (t *tenant) previewErase(ctx context.Context, id string) (Erasure, error) {
	h, err := hold(ctx, t.b.o.Store, t.ID, id)
	if err != nil {
		return Erasure{}, err
	}
	e := Erasure{Tenant: t.ID, Held: h.counts(), Lanes: t.eraserNames()}
	seen := map[string]bool{}
	err = eachRecord(ctx, t.b.o.Store, t.ID, h.ids, func(recs []store.Record) error {
		for _, r := range recs {
			k := r.IDs[0] + r.Time.String()
			if !seen[k] {
				e.Held.Records++
				e.relate(h, r)
			}
			seen[k] = true
		}
		return nil
	})
	return e, err
}

// relate takes note of whom a record tells that a number went from or to.
func (e *Erasure) relate(h *holding, r store.Record) {
	if step, ok := decode[Step](r.Data); !ok || step.Step != "moved" {
		return
	}
	for _, id := range r.IDs {
		if isContactID(id) && !slices.Contains(h.ids, id) && !slices.Contains(e.Related, id) {
			e.Related = append(e.Related, id)
		}
	}
}

func (t *tenant) eraserNames() []string {
	all := t.erasers()
	out := make([]string, len(all))
	for i, l := range all {
		out[i] = l.name
	}
	return out
}

// beginErase writes down that a contact is to be erased.
func (t *tenant) beginErase(ctx context.Context, id string, r EraseRequest) (Erasure, error) {
	t.erasures.begin.Lock()
	defer t.erasures.begin.Unlock()
	var open *erasure
	err := eachEntry(ctx, t.b.o.Store, t.ID, bucketErasing, "", func(en store.Entry) bool {
		e, ok := decode[erasure](en.Value)
		if ok && slices.Contains(e.Contacts, id) {
			open = e
		}
		return open == nil
	})
	if open != nil || err != nil {
		if open == nil {
			open = &erasure{}
		}
		return open.Erasure, err
	}
	e := erasure{Erasure: Erasure{
		ID: "erasure-" + strings.ToLower(rand.Text()[:12]), Tenant: t.ID, State: ErasureErasing, Reason: r.Reason, By: r.By,
		Asked: time.Now().UTC(), Lanes: t.eraserNames(),
	}, Contacts: []string{id}}
	_, err = t.b.settle(ctx, store.Settlement{Put: []store.Put{e.put()}})
	t.b.failpoint("erase-begun")
	select {
	case t.erasures.begun <- struct{}{}:
	default:
	}
	return e.Erasure, err
}

func (e *erasure) put() store.Put {
	return store.Put{Key: erasingKey(e.Tenant, e.ID), Value: mustJSON(e)}
}

// eraseLoop goes on with what was begun.
func (t *tenant) eraseLoop(ctx context.Context) {
	tick := time.NewTicker(eraseEvery)
	defer tick.Stop()
	for {
		var ids []string
		wake := tick.C
		err := eachEntry(ctx, t.b.o.Store, t.ID, bucketErasing, "", func(e store.Entry) bool {
			ids = append(ids, e.Key)
			return true
		})
		for _, id := range ids {
			if _, e := t.workErase(ctx, id); e != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", id, e))
			}
		}
		if err != nil && ctx.Err() == nil {
			t.b.log.Error("erasures do not go on for now", "tenant", t.ID, "error", err)
		}
		if len(ids) == 0 && err == nil {
			wake = nil
		}
		select {
		case <-wake:
		case <-t.erasures.begun:
		case <-ctx.Done():
			return
		}
	}
}

// workErase goes on with an erasure as far as that is possible now, unless somebody
// else does.
func (t *tenant) workErase(ctx context.Context, id string) (Erasure, error) {
	if !t.erasures.work.TryLock() {
		e, err := t.b.Erasure(ctx, t.ID, id)
		e.ID = id
		return e, err
	}
	defer t.erasures.work.Unlock()
	values, err := t.b.o.Store.Get(ctx, erasingKey(t.ID, id))
	if err != nil {
		return Erasure{ID: id}, err
	}
	e, ok := decode[erasure](values[0])
	if !ok {
		return t.b.Erasure(ctx, t.ID, id)
	}
	before := string(mustJSON(e))
	e.Waiting = nil
	steps := map[string]func(context.Context, *erasure) error{
		ErasureErasing: t.removePerson, ErasureDraining: t.drainPerson, ErasureTelling: t.awaitErased,
	}
	for state := ""; state != e.State && err == nil && steps[e.State] != nil; {
		state = e.State
		err = steps[state](ctx, e)
	}
	if err == nil && e.State != ErasureDone && string(mustJSON(e)) != before {
		_, err = t.b.settle(ctx, store.Settlement{Put: []store.Put{e.put()}})
	}
	return e.Erasure, err
}

// removePerson takes what there is of the person out of the store. Nothing else
// is about them meanwhile.
func (t *tenant) removePerson(ctx context.Context, e *erasure) error {
	h, err := hold(ctx, t.b.o.Store, t.ID, e.Contacts[0])
	if err != nil {
		return err
	}
	for {
		ids := h.ids
		if err := t.locks.takeAll(ctx, ids...); err != nil {
			return err
		}
		if h, err = hold(ctx, t.b.o.Store, t.ID, e.Contacts[0]); err == nil && slices.Equal(ids, h.ids) {
			break
		}
		t.locks.release(ids...) // merged meanwhile
		if err != nil {
			return err
		}
	}
	defer t.locks.release(h.ids...)
	e.Contacts, e.Held = h.ids, h.counts()
	if err := t.buryEvents(ctx, e); err != nil {
		return err
	}
	keys, aliases, err := h.mine(ctx, t.b.o.Store, t.ID)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	var s store.Settlement
	drop := func(bucket string, entries []store.Entry) {
		for _, en := range entries {
			s.Put = append(s.Put, store.Put{Key: store.Key{Tenant: t.ID, Bucket: bucket, Key: en.Key}})
		}
	}
	drop(bucketPeople, h.people)
	drop(bucketPeople, h.conversations)
	drop(bucketMerges, h.merges)
	drop(bucketEscalations, h.open)
	drop(bucketClosed, h.closed)
	drop(bucketConsent, h.details)
	for _, k := range aliases {
		s.Put = append(s.Put, store.Put{Key: k})
	}
	gone := tombstone{At: now, Erasure: e.ID}
	for _, id := range h.ids {
		s.Put = append(s.Put, store.Put{Key: t.erasedID(id), Value: mustJSON(gone)},
			store.Put{Key: store.Key{Tenant: t.ID, Bucket: bucketReached, Key: id}}, store.Put{Key: t.withheldKey(id)})
		for number := range t.numbers {
			s.Put = append(s.Put, store.Put{Key: store.Key{Tenant: t.ID, Bucket: bucketPairs, Key: number + ":" + id}}, store.Put{Key: awaitKey(t.ID, core.ConversationID(number, id))})
		}
	}
	for _, en := range h.people {
		p := personOf(en.Value)
		stops := p.Consent.Stops()
		gone.Stops = gone.Stops.Join(stops)
		e.Faces = append(e.Faces, core.Contact{ID: p.ID, Phone: p.Phone, BSUID: p.BSUID, ParentBSUID: p.ParentBSUID})
	}
	owners := map[contact.Key]string{}
	for _, k := range keys {
		s.Put = append(s.Put, store.Put{Key: t.erasedKey(k), Value: mustJSON(gone)})
		owners[k] = ""
	}
	for i := range e.Faces { // the merged have none of their own any more
		f, first := &e.Faces[i], e.Faces[0]
		f.Phone, f.BSUID, f.ParentBSUID = or(f.Phone, first.Phone), or(f.BSUID, first.BSUID), or(f.ParentBSUID, first.ParentBSUID)
	}
	e.State = ErasureDraining
	s.Put = append(s.Put, e.put())
	t.b.failpoint("erase-before-commit")
	if _, err := t.b.settle(ctx, s); err != nil {
		return err
	}
	t.b.failpoint("erase-after-commit")
	t.aliases.set(owners)
	for number, l := range t.numbers {
		for _, id := range h.ids {
			l.awaitsNothing(core.ConversationID(number, id))
		}
	}
	for _, en := range h.open {
		if esc, ok := decode[Escalation](en.Value); ok {
			if esc.Assignee != nil {
				t.desk.free(esc.Team, esc.Assignee.ID)
			}
			esc.State = StateClosed
			t.desk.keep(*esc)
		}
	}
	return nil
}

// buryEvents puts a tombstone for each event of the person's history, forgets
// what is known of their sends, and takes note of what CRMs have.
func (t *tenant) buryEvents(ctx context.Context, e *erasure) error {
	now := time.Now().UTC()
	gone := mustJSON(tombstone{At: now, Erasure: e.ID})
	e.Records = map[string][]string{}
	done := map[string]bool{}
	return eachRecord(ctx, t.b.o.Store, t.ID, e.Contacts, func(recs []store.Record) error {
		var s store.Settlement
		for _, r := range recs {
			for _, id := range r.IDs {
				if done[id] || id == RecordedID || slices.Contains(e.Contacts, id) {
					continue
				}
				done[id] = true
				s.Put = append(s.Put, store.Put{Key: t.erasedEvent(id), Value: gone, Expires: now.Add(rememberErased)})
			}
			var step Step
			if json.Unmarshal(r.Data, &step) != nil {
				continue
			}
			if step.Kind == core.KindMessageSend {
				hash := whatsapp.IntentHash(step.Event)
				s.Put = append(s.Put, store.Put{Key: intentKey(t.ID, hash)}, store.Put{Key: statusKey(t.ID, hash)}, store.Put{Key: insteadKey(t.ID, hash)})
			}
			if refs := e.Records[step.Lane]; strings.HasPrefix(step.Lane, "crm/") && step.Ref != "" && len(refs) < maxRefs && !slices.Contains(refs, step.Ref) {
				e.Records[step.Lane] = append(refs, step.Ref)
			}
		}
		if len(s.Put) == 0 {
			return nil
		}
		_, err := t.b.settle(ctx, s)
		return err
	})
}

// drainPerson takes away what was under way while the person was erased. What a
// sink has in hand just now is waited for. Then the history is forgotten, and the
// CRMs are asked to erase what they have.
func (t *tenant) drainPerson(ctx context.Context, e *erasure) error {
	h := &holding{ids: e.Contacts}
	if err := h.underWay(ctx, t.b.o.Store, t.ID); err != nil {
		return err
	}
	busy := 0
	for _, d := range h.items {
		_, err := t.b.o.Store.Settle(ctx, store.Settlement{Drop: []store.Delivery{d}})
		switch {
		case errors.Is(err, store.ErrStale):
			busy++
		case err != nil:
			return err
		case d.Queue == t.queue:
			t.depth.Add(-1)
		case d.Queue.Name == queueTimers:
			t.waiting.Add(-1)
		}
	}
	for _, d := range h.dead {
		if _, err := t.b.o.Store.Settle(ctx, store.Settlement{Resolve: []string{d.ID}}); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	if err := t.forgetRows(ctx, e.Contacts); err != nil {
		return err
	}
	n, err := t.b.o.Store.Forget(ctx, t.ID, e.Contacts...)
	if e.Held.Records += n; err != nil {
		return err
	}
	t.b.failpoint("erase-forgotten")
	if busy > 0 {
		e.Waiting = append(e.Waiting, fmt.Sprintf("%d events that are being delivered just now", busy))
		return nil
	}
	if err := t.eraseMedia(ctx, e.Contacts); err != nil {
		return err
	}
	var s store.Settlement
	e.State, e.Told = ErasureTelling, time.Now().UTC()
	for _, l := range t.erasers() {
		for i, face := range e.Faces {
			erased := &core.Event{
				ID: core.FollowID(e.ID, i+1), Kind: core.KindContactErased, Tenant: t.ID, Time: e.Asked, Accepted: e.Asked,
				Source: "bridge", Contact: &face,
			}
			if refs := e.Records[l.name]; i == 0 && len(refs) > 0 {
				erased.Fields = map[string]any{"records": refs}
			}
			s.Add = append(s.Add, store.Item{Queue: l.queue, ID: erased.ID, Order: e.ID, Data: mustJSON(erased), Value: erased})
		}
	}
	step := Step{Time: e.Told, Event: e.ID, Kind: core.KindContactErased, Tenant: t.ID, Step: "erased", Notes: []string{
		"by " + e.By + ": " + e.Reason, e.Held.String(),
	}}
	s.Record = []store.Record{record(&step, &core.Event{})}
	e.Contacts, e.Faces, e.Records = nil, nil, nil
	s.Put = []store.Put{e.put()}
	if _, err := t.b.settle(ctx, s); err != nil {
		return err
	}
	t.b.failpoint("erase-told")
	return nil
}

// awaitErased waits for the CRMs, and for people where those cannot, and writes
// over what was deleted.
func (t *tenant) awaitErased(ctx context.Context, e *erasure) error {
	const page = 500
	mine := func(id string) bool { return core.RootID(id) == e.ID }
	e.Lanes = e.Lanes[:0:0]
	for _, l := range t.erasers() {
		e.Lanes = append(e.Lanes, l.name)
		for after := uint64(0); ; {
			ds, err := t.b.o.Store.Peek(ctx, l.queue, after, page)
			if err != nil {
				return err
			}
			for _, d := range ds {
				if after = d.Seq; mine(d.ID) {
					e.Waiting = append(e.Waiting, l.name+" has not erased "+d.ID+" yet")
				}
			}
			if len(ds) < page {
				break
			}
		}
	}
	for after := ""; ; {
		dead, err := t.b.o.Store.Dead(ctx, t.ID, after, page)
		if err != nil {
			return err
		}
		for _, d := range dead {
			if after = d.ID; mine(d.Item) {
				e.Waiting = append(e.Waiting, forPerson+d.Queue.Name+" could not erase, see wabridge dead show "+d.ID)
			}
		}
		if len(dead) < page {
			break
		}
	}
	if len(e.Waiting) > 0 && (e.Scrubbed || time.Since(e.Told) < tellWithin) {
		return nil
	}
	if err := t.b.o.Store.Scrub(ctx); err != nil {
		if errors.Is(err, store.ErrFull) {
			e.Waiting = append(e.Waiting, "room on the disk, to write over what was deleted")
			return nil
		}
		return err
	}
	t.b.failpoint("erase-scrubbed")
	if e.Scrubbed = true; len(e.Waiting) > 0 {
		return nil
	}
	e.State, e.Done = ErasureDone, time.Now().UTC()
	_, err := t.b.settle(ctx, store.Settlement{Put: []store.Put{
		{Key: erasingKey(t.ID, e.ID)}, {Key: store.Key{Tenant: t.ID, Bucket: bucketErasures, Key: e.ID}, Value: mustJSON(e.Erasure)},
	}})
	return err
}

// ForPeople reports whether an erasure waits for people, and for nothing else.
func (e *Erasure) ForPeople() bool {
	return len(e.Waiting) > 0 && !slices.ContainsFunc(e.Waiting, func(w string) bool { return !strings.HasPrefix(w, forPerson) })
}

// forPerson begins what an erasure waits for a person to do.
const forPerson = "a person: "

// String counts in words.
func (h Held) String() string {
	return fmt.Sprintf("%d contacts, %d identities, %d conversations, %d merges, %d escalations, %d consents' details, %d rows of campaigns, %d files, %d waiting events, "+
		"%d dead letters, %d records of the history", h.Contacts, h.Identities, h.Conversations, h.Merges, h.Escalations, h.Consents,
		h.Rows, h.Media, h.Waiting, h.DeadLetters, h.Records)
}

// cannotErase gives an erasure that the lane's connector knows nothing of to a
// person.
func (l *lane) cannotErase(s *store.Settlement, d store.Delivery, e *core.Event) {
	err := &core.Error{
		Code: core.CodeUndeliverable, Op: "erase", Source: core.SourceBridge,
		Message: "the connector " + l.sinkName + " cannot erase",
		Hint:    "erase by hand, in the CRM, what is kept under the contact's id and addresses (see the event), then resolve this dead letter",
	}
	step := l.step(d, e, time.Now().UTC())
	step.Error = err
	l.giveUp(s, d, err, false, &step)
	s.Record = append(s.Record, record(&step, e))
	if e.Contact != nil {
		s.Put = append(s.Put, store.Put{Key: l.recordKey(e.Contact.ID)})
	}
}
