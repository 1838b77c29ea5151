package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/wabridge/wabridge/core"
)

// MergeRequest asks for two contacts to become one.
type MergeRequest struct {
	Tenant string `json:"tenant,omitempty"`
	// Contact stays, With becomes it. Each is an ID, a phone number or a user id.
	Contact string `json:"contact,omitempty"`
	With    string `json:"with"`
	// By is who asks, Reason why. Both are needed.
	By     string `json:"by"`
	Reason string `json:"reason"`
	// Preview changes nothing: it says what would change.
	Preview bool `json:"preview,omitempty"`
}

// UnmergeRequest asks for a merge to be taken back.
type UnmergeRequest struct {
	Tenant string `json:"tenant,omitempty"`
	// Contact is the ID of the contact that went.
	Contact string `json:"contact,omitempty"`
	By      string `json:"by"`
	Reason  string `json:"reason"`
	Preview bool   `json:"preview,omitempty"`
}

// MergeReport is what a merge, or taking one back, changes.
type MergeReport struct {
	Tenant string `json:"tenant"`
	// Survivor is the contact that stays, ID the one that goes or comes back.
	Survivor string `json:"survivor"`
	ID       string `json:"id"`
	// Changes says it in words.
	Changes []string `json:"changes"`
	// Done says that it is so now; false for a preview. Event is what `wabridge
	// why` has it under.
	Done  bool   `json:"done"`
	Event string `json:"event,omitempty"`
}

// MergeContacts makes one contact of two. Neither can be one that was merged
// already.
func (b *Broker) MergeContacts(ctx context.Context, q MergeRequest) (MergeReport, error) {
	t := b.tenants[q.Tenant]
	if t == nil {
		return MergeReport{}, noTenant("merge", q.Tenant)
	}
	if err := accountable("merge", q.By, q.Reason); err != nil {
		return MergeReport{}, err
	}
	var ids [2]string
	for i, who := range []string{q.Contact, q.With} {
		v, err := theContact(ctx, b.o.Store, t.ID, who, t.Region)
		if err != nil {
			return MergeReport{}, err
		}
		if v.MergedInto != "" {
			return MergeReport{}, &core.Error{
				Code: core.CodeUndeliverable, Op: "merge", Message: v.ID + " was merged into " + v.MergedInto + " already",
				Hint: "name " + v.MergedInto + ", or take that merge back: wabridge contact unmerge " + v.ID,
			}
		}
		ids[i] = v.ID
	}
	if ids[0] == ids[1] {
		return MergeReport{}, core.Errorf(core.CodeUndeliverable, "merge", "both are the contact %s already", ids[0])
	}
	r := newReunion(t, q.By, "merge-"+strings.ToLower(rand.Text()))
	return r.alone(ctx, ids[0], ids[1], q.Preview, func() error {
		keep, goes := r.people[ids[0]], r.people[ids[1]]
		if keep == nil || goes == nil || keep.MergedInto != "" || goes.MergedInto != "" {
			return errMoved
		}
		if apart(keep, goes) {
			r.say("they were taken apart before: that no longer holds")
		}
		keep, err := r.mergeInto(ctx, keep, goes, q.Reason)
		if err == nil {
			keep.Apart = without(keep.Apart, []string{ids[0], ids[1]})
		}
		return err
	})
}

// UnmergeContact takes a merge back: both contacts are what they were, and what
// came since stays with the survivor.
func (b *Broker) UnmergeContact(ctx context.Context, q UnmergeRequest) (MergeReport, error) {
	t := b.tenants[q.Tenant]
	if t == nil {
		return MergeReport{}, noTenant("unmerge", q.Tenant)
	}
	if err := accountable("unmerge", q.By, q.Reason); err != nil {
		return MergeReport{}, err
	}
	m, err := t.mergeToUndo(ctx, q.Contact)
	if err != nil {
		return MergeReport{}, err
	}
	r := newReunion(t, q.By, "unmerge-"+strings.ToLower(rand.Text()))
	rep, err := r.alone(ctx, m.Survivor, m.ID, q.Preview, func() error {
		again, err := t.mergeToUndo(ctx, m.ID)
		if err != nil {
			return err
		}
		a := r.people[m.Survivor]
		if again.Survivor != m.Survivor || a == nil || a.MergedInto != "" {
			return errMoved
		}
		if r.people[m.ID] == nil {
			r.people[m.ID] = &person{}
		}
		again.Undone = q.Reason
		return r.part(ctx, again)
	})
	return rep, err
}

// alone makes a change while nobody else changes the two contacts, and settles
// it unless it is a preview.
func (r *reunion) alone(ctx context.Context, survivor, id string, preview bool, change func() error) (MergeReport, error) {
	t := r.t
	out := MergeReport{Tenant: t.ID, Survivor: survivor, ID: id, Event: r.cause}
	if err := t.locks.takeAll(ctx, survivor, id); err != nil {
		return out, err
	}
	defer t.locks.release(survivor, id)
	for _, who := range []string{survivor, id} {
		if _, err := r.person(ctx, who); err != nil {
			return out, err
		}
	}
	err := change()
	if errors.Is(err, errMoved) {
		err = core.Errorf(core.CodeUnavailable, "contact", "%s and %s were just changed by somebody else: look at them again", survivor, id)
	}
	if err != nil {
		return out, err
	}
	out.Changes = r.words
	if preview {
		out.Event = ""
		return out, nil
	}
	if r.parts {
		t.undone.Add(1) // before the contacts are given free
	}
	if err := r.settle(ctx); err != nil {
		return out, err
	}
	out.Done = true
	return out, nil
}

// mergeToUndo returns the merge by which a contact went, if it can be undone.
func (t *tenant) mergeToUndo(ctx context.Context, id string) (*merged, error) {
	v, err := t.b.o.Store.Get(ctx, mergeKey(t.ID, id))
	if err != nil {
		return nil, err
	}
	m, ok := decode[merged](v[0])
	if !ok {
		return nil, t.notMerged(ctx, id)
	}
	if m.Was.Survivor.Person == nil || m.Was.ID.Person == nil {
		return nil, core.Errorf(core.CodeUndeliverable, "unmerge", "nothing is known any more of how %s and %s were before", m.ID, m.Survivor)
	}
	if v, err = t.b.o.Store.Get(ctx, mergeKey(t.ID, m.Survivor)); err != nil {
		return nil, err
	}
	if next, ok := decode[merged](v[0]); ok {
		return nil, &core.Error{
			Code: core.CodeUndeliverable, Op: "unmerge",
			Message: fmt.Sprintf("%s was merged into %s, which was merged into %s later", m.ID, m.Survivor, next.Survivor),
			Hint:    "take the later merge back first: wabridge contact unmerge " + m.Survivor,
		}
	}
	return m, nil
}

// notMerged is the error of a contact that was not merged.
func (t *tenant) notMerged(ctx context.Context, who string) error {
	v, err := theContact(ctx, t.b.o.Store, t.ID, who, t.Region)
	if err != nil {
		return err
	}
	merges, err := mergesOf(ctx, t.b.o.Store, t.ID, v.ID)
	if err != nil {
		return err
	}
	e := &core.Error{Code: core.CodeUndeliverable, Op: "unmerge", Message: v.ID + " was not merged into another contact"}
	if len(merges) > 0 {
		e.Hint = "into it was: wabridge contact unmerge " + merges[0].ID
	}
	return e
}

// accountable says whether it is known who does something, and why.
func accountable(op, by, reason string) error {
	const most = 120
	switch {
	case by == "" || reason == "":
		return core.Errorf(core.CodeInvalid, op, "by, who does it, and reason are needed")
	case len(by) > most || len(reason) > 4*most:
		return core.Errorf(core.CodeInvalid, op, "by has at most %d bytes, reason %d", most, 4*most)
	case by == "webhook":
		return core.Errorf(core.CodeInvalid, op, `by is a person, and not "webhook"`)
	}
	return nil
}
