package hubspot

import (
	"context"
	"regexp"
	"strconv"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// With settings.escalations = "tickets" an escalation is a ticket, keyed by the
// escalation's id: opened, moved on and closed on the same record, however often
// each is told.

// ticketPriorities are HubSpot's, by ours.
var ticketPriorities = map[string]string{"low": "LOW", "": "MEDIUM", "normal": "MEDIUM", "high": "HIGH"}

var stageID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,60}$`)

func (s *settings) checkTickets() *core.Error {
	switch {
	case s.Escalations != "timeline" && s.Escalations != "tickets":
		return crm.BadSetting(settingsOp, "escalations", `want "timeline" or "tickets"`)
	case !propertyName.MatchString(s.TicketKey):
		return crm.BadSetting(settingsOp, "ticket_key", "want a property's internal name: a lower-case letter, then letters, digits and _")
	case s.TicketDueProperty != "" && !propertyName.MatchString(s.TicketDueProperty):
		return crm.BadSetting(settingsOp, "ticket_due_property", "want a property's internal name: a lower-case letter, then letters, digits and _")
	}
	for name, id := range map[string]string{
		"ticket_pipeline": s.TicketPipeline, "ticket_stage": s.TicketStage, "ticket_closed_stage": s.TicketClosedStage,
	} {
		if !stageID.MatchString(id) {
			return crm.BadSetting(settingsOp, name, "want the id of a pipeline or of a stage of it, as HubSpot's settings for tickets show it")
		}
	}
	return nil
}

func (s *settings) tickets() object {
	return object{"tickets", "ticket", s.TicketKey, present(
		ownProperty{s.TicketKey, "ticket_key", "WhatsApp escalation (bridge id)", true},
	)}
}

// layTicket adds what an event says of an escalation's ticket.
func (s *settings) layTicket(p *plan, st *step) {
	e := st.event
	x := e.Escalation
	if x == nil || !s.layContact(&p.contacts, st) {
		return
	}
	key := x.ID
	if key == "" {
		key = e.ID
	}
	r := p.tickets.of(key, e.ID)
	st.ticket = r
	subject := x.Topic
	if subject == "" || x.Reason != "" && x.Reason != x.Topic {
		subject = strings.TrimPrefix(subject+": "+x.Reason, ": ")
	}
	if subject == "" {
		subject = "escalated"
	}
	r.set("subject", crm.Clip(subject, 250))
	var text strings.Builder
	for _, part := range []struct{ label, value string }{{"", x.Reason}, {"for ", x.Team}, {"", x.Note}, {"ended: ", x.Outcome}} {
		if part.value != "" {
			text.WriteString(part.label + part.value + "\n")
		}
	}
	r.set("content", clip(strings.TrimSpace(text.String())))
	priority := ticketPriorities[x.Priority]
	if priority == "" {
		priority = "MEDIUM"
	}
	r.set("hs_ticket_priority", priority)
	owner := s.Owners[x.Team]
	if a := x.Assignee; a != nil && a.CRMOwner != "" && ownerID.MatchString(a.CRMOwner) {
		owner = a.CRMOwner
	}
	if owner != "" { // else it stays whoever's it is: people assign tickets, too
		r.set("hubspot_owner_id", owner)
	}
	if !x.Deadline.IsZero() {
		r.set(s.TicketDueProperty, strconv.FormatInt(x.Deadline.UnixMilli(), 10))
	}
	if e.Kind == core.KindEscalationClosed {
		r.onCreate = nil
		r.set("hs_pipeline", s.TicketPipeline)
		r.set("hs_pipeline_stage", s.TicketClosedStage)
		return
	}
	// People move a ticket through its stages: only a new one gets one from us.
	if r.get("hs_pipeline_stage") == "" {
		r.onCreate = []property{{"hs_pipeline", s.TicketPipeline}, {"hs_pipeline_stage", s.TicketStage}}
	}
	if e.Kind == core.KindEscalation {
		st.contact.set(s.EscalationProperty, clip(x.Reason))
	}
}

// writeTickets writes the tickets of the steps that are still good, and ties them
// to their contacts.
func (x *session) writeTickets(ctx context.Context, p *plan) {
	wanted := map[*row]bool{}
	for i := range p.steps {
		if st := &p.steps[i]; st.err == nil && st.ticket != nil {
			wanted[st.ticket] = true
		}
	}
	if len(wanted) == 0 {
		return
	}
	x.write(ctx, x.tickets(), pick(p.tickets.list, func(r *row) bool { return wanted[r] }))
	type ends struct{ ticket, contact *row }
	made := map[ends]*pair{}
	var pairs []*pair
	for i := range p.steps {
		st := &p.steps[i]
		if st.err != nil || st.ticket == nil {
			continue
		}
		if st.err = st.ticket.err; st.err != nil {
			continue
		}
		if k := (ends{st.ticket, st.contact}); made[k] == nil {
			made[k] = &pair{from: st.ticket.id, to: st.contact.id}
			pairs = append(pairs, made[k])
		}
	}
	x.associate(ctx, "tickets", pairs)
	for i := range p.steps {
		if st := &p.steps[i]; st.err == nil && st.ticket != nil {
			st.err = made[ends{st.ticket, st.contact}].err
		}
	}
}
