package zoho

import (
	"context"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// Deliver implements [core.Connector]. First the contacts, then the messages of
// those whose contact is written, then escalations. A row that fails ends only the
// events that share it.
func (c *Connector) Deliver(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
	if len(batch) == 0 {
		return nil
	}
	x, err := c.open(a)
	if err == nil {
		err = x.reserved()
	}
	if err != nil {
		return crm.FailAll(batch, err)
	}
	p := x.plan(batch)
	if x.Mode == "notes" {
		x.deliverNotes(ctx, p)
	} else {
		x.readMessages(ctx, p)
		x.writeContacts(ctx, p)
		x.writeMessages(ctx, p)
	}
	x.writeEscalations(ctx, p)
	x.writeRequests(ctx, p)
	for _, st := range p.steps {
		switch {
		case st.err != nil:
		case st.event.Kind == core.KindContactErased:
			st.err = x.erase(ctx, st.event)
		case st.event.Kind == core.KindContactMerged:
			st.merged, st.err = x.merging().Do(ctx, x.OnMerge, st.event)
		}
	}
	results := make([]core.Result, len(p.steps))
	for i, st := range p.steps {
		results[i] = core.Result{ID: st.event.ID, Err: st.err}
		if r := st.contact; st.err == nil && r != nil && r.id != "" && (!st.known || r.have == nil || r.adopted || st.repeated) {
			results[i].ContactRef = r.id // so that it is known, and means something when it is gone
		}
		if st.err == nil && st.event.Kind == core.KindMessageSent {
			results[i].MessageRef = st.asked // so that statuses come with it
		}
		if st.err == nil && st.merged != "" {
			results[i].Ref, results[i].ContactRef = st.merged, st.merged
		}
		for _, r := range []*row{st.contact, st.message, st.escalation} {
			if st.err == nil && r != nil && r.id != "" {
				results[i].Ref = r.id
			}
		}
	}
	return results
}
