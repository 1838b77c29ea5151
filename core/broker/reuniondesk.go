package broker

import (
	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// What a merge, or taking one back, means for escalations that are open: a
// conversation has one at a time.

// outcomeMerged is that of an escalation whose conversation became one with
// another that has one, too.
const outcomeMerged = "merged"

// joinDesk ends those that there is no room for any more, and keeps the others
// as the survivor's.
func (r *reunion) joinDesk(m *merged, u union, survivor *person) {
	for _, e := range u.ended {
		from := *e
		e.Closed, e.Outcome, e.By = r.at, outcomeMerged, r.by
		r.tellDesk(core.KindEscalationClosed, e, survivor)
		r.keep(e)
		r.free(&from)
	}
	for n, c := range u.Conversations {
		e := c.Escalation
		was := m.Was.Survivor.Conversations[n]
		if e == nil || was != nil && was.Escalation != nil && was.Escalation.same(e) {
			continue
		}
		r.tellDesk(core.KindEscalationMoved, e, survivor)
		r.keep(e)
	}
}

// partDesk gives the open ones back to whose they were, and opens again those
// that the merge had ended.
func (r *reunion) partDesk(p parted) {
	of := func(e *Escalation) *person { return r.people[e.ContactID] }
	for _, e := range p.moved {
		r.tellDesk(core.KindEscalationMoved, e, of(e))
		r.keep(e)
	}
	for _, e := range p.reopened {
		closed := store.Key{Tenant: r.t.ID, Bucket: bucketClosed, Key: e.ID}
		r.s.Put = append(r.s.Put, store.Put{Key: closed})
		r.tellDesk(core.KindEscalation, e, of(e))
		r.keep(e)
		if a := e.Assignee; a != nil {
			team := e.Team
			r.after = append(r.after, func() { r.t.desk.again(team, a.ID) })
		}
	}
	for _, c := range p.s.Conversations {
		// Kept by the survivor, and as it was before.
		if e := c.Escalation; e != nil && !isAmong(p.reopened, e) {
			r.keep(e)
		}
	}
}

func isAmong(es []*Escalation, e *Escalation) bool {
	for _, o := range es {
		if o.ID == e.ID {
			return true
		}
	}
	return false
}

// keep stores an escalation where it is found, as it is.
func (r *reunion) keep(e *Escalation) {
	stored := *e
	stored.State = stored.state()
	key := store.Key{Tenant: r.t.ID, Bucket: bucketEscalations, Key: e.ID}
	if stored.State == StateClosed {
		closed := key
		closed.Bucket = bucketClosed
		r.s.Put = append(r.s.Put, store.Put{Key: key}, store.Put{Key: closed, Value: mustJSON(stored), Expires: stored.Closed.Add(closedFor)})
	} else {
		r.s.Put = append(r.s.Put, store.Put{Key: key, Value: mustJSON(stored)})
	}
	r.after = append(r.after, func() { r.t.desk.keep(stored) })
}

// free takes an escalation from what its assignee has.
func (r *reunion) free(e *Escalation) {
	if a := e.Assignee; a != nil {
		team := e.Team
		r.after = append(r.after, func() { r.t.desk.free(team, a.ID) })
	}
}

// tellDesk tells the CRMs and the team's targets.
func (r *reunion) tellDesk(k core.Kind, e *Escalation, p *person) {
	r.follow++
	state, c := e.Escalation, core.Contact{ID: e.ContactID}
	if p != nil {
		c = p.Contact
	}
	r.t.tellTargets(&r.s, nil, &core.Event{
		ID: core.FollowID(r.cause+"#identity", r.follow), Kind: k, Tenant: r.t.ID, Number: e.Number, Conversation: e.Conversation,
		Time: r.at, Accepted: r.at, Source: "bridge", Cause: r.cause, Contact: &c, Escalation: &state,
	}, e)
}
