package hubspot

import (
	"context"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// Deliver implements [core.Connector]. First the contacts, then the communications
// of those whose contact is written, then the associations between them. A row that
// fails ends only the events that share it. Erasures and merges are done last, one by
// one.
func (c *Connector) Deliver(ctx context.Context, account core.Account, batch []core.Delivery) []core.Result {
	x, err := c.open(account)
	if err != nil {
		return crm.FailAll(batch, err)
	}
	p := x.plan(batch)
	x.writeContacts(ctx, p)
	x.writeMessages(ctx, p)
	x.link(ctx, p)
	x.post(ctx, p)
	x.writeTickets(ctx, p)
	for i := range p.steps {
		switch st := &p.steps[i]; {
		case st.err != nil:
		case st.event.Kind == core.KindContactErased:
			x.erase(ctx, st)
		case st.event.Kind == core.KindContactMerged:
			st.merged, st.err = x.merging().Do(ctx, x.OnMerge, st.event)
		}
	}

	results := make([]core.Result, len(batch))
	for i := range p.steps {
		results[i] = p.steps[i].result()
	}
	return results
}

func (x *session) writeContacts(ctx context.Context, p *plan) {
	if len(p.contacts.list) == 0 {
		return
	}
	x.putContacts(ctx, p.contacts.list)
	for i := range p.steps {
		if st := &p.steps[i]; st.err == nil && st.contact != nil {
			st.err = st.contact.err
		}
	}
}

// writeMessages writes the communications of the steps that are still good. A row
// shared with a step that is not is written all the same if one good step needs it.
func (x *session) writeMessages(ctx context.Context, p *plan) {
	x.keepFurther(ctx, p)
	wanted := make(map[*row]bool, len(p.messages.list))
	for i := range p.steps {
		if st := &p.steps[i]; st.err == nil && st.message != nil {
			wanted[st.message] = true
		}
	}
	if len(wanted) == 0 {
		return
	}
	x.write(ctx, x.communications(), pick(p.messages.list, func(r *row) bool { return wanted[r] }))
	var stubs []*step
	for i := range p.steps {
		st := &p.steps[i]
		if st.err != nil || st.message == nil {
			continue
		}
		st.err = st.message.err
		if st.err == nil && !st.link && (st.message.isNew || st.message.unlinked) && st.event.Contact != nil && st.event.Contact.ID != "" {
			stubs = append(stubs, st)
		}
	}
	x.adoptStubs(ctx, p, stubs)
}

// adoptStubs sees to it that the messages which a status made belong on a timeline
// like any other: their contacts are written too.
func (x *session) adoptStubs(ctx context.Context, p *plan, stubs []*step) {
	var late rows
	for _, st := range stubs {
		st.link = true
		if st.contact == nil {
			st.contact = p.contacts.byKey[st.event.Contact.ID]
		}
		if st.contact == nil {
			x.layContact(&late, st)
		}
	}
	if len(late.list) > 0 {
		x.putContacts(ctx, late.list)
	}
	for _, st := range stubs {
		st.err = st.contact.err
	}
}

// link associates each communication with its contact.
func (x *session) link(ctx context.Context, p *plan) {
	type ends struct{ message, contact *row }
	made := make(map[ends]*pair, len(p.steps))
	var pairs []*pair
	for i := range p.steps {
		st := &p.steps[i]
		if st.err != nil || !st.link || st.message == nil || st.contact == nil {
			continue
		}
		k := ends{st.message, st.contact}
		if made[k] == nil {
			made[k] = &pair{from: st.message.id, to: st.contact.id}
			pairs = append(pairs, made[k])
		}
	}
	if len(pairs) == 0 {
		return
	}
	x.associate(ctx, "communications", pairs)
	for i := range p.steps {
		st := &p.steps[i]
		if q := made[ends{st.message, st.contact}]; q != nil && st.err == nil && st.link {
			st.err = q.err
		}
	}
}

// result ends a step. What went well is proven by the record's id.
func (st *step) result() core.Result {
	r := core.Result{ID: st.event.ID, Err: st.err}
	if st.err != nil {
		if st.err.Code == core.CodeRateLimited && st.event.Kind == core.KindMessageStatus && st.message != nil && st.message.isNew {
			// The message that the status made is nobody's yet, which only a later attempt
			// sees: this one has to count.
			counts := *st.err
			counts.Code = core.CodeUnavailable
			r.Err = &counts
		}
		return r
	}
	if c := st.contact; c != nil && (!c.known || c.isNew || c.existing != "") {
		r.ContactRef = c.id
	}
	switch {
	case st.merged != "":
		r.Ref, r.ContactRef = st.merged, st.merged
	case st.ticket != nil:
		r.Ref = st.ticket.id
	case st.post != nil:
		st.posted(&r)
	case st.message != nil:
		r.Ref = st.message.id
	case st.contact != nil:
		r.Ref = st.contact.id
	}
	return r
}
