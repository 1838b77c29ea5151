package hubspot_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

const ticketing = `{"escalations":"tickets","ticket_due_property":"due_at"}`

// desk is an account with tickets that have a deadline.
func desk(t *testing.T, o hubspotsim.Options) *bench {
	t.Helper()
	b := start(t, o, ticketing, nil)
	b.sim.AddProperty("tickets", hubspotsim.Property{Name: "due_at", Type: "datetime", FieldType: "date"})
	return b.mustCheck()
}

// escalated is a step in the life of person n's escalation.
func escalated(n int, kind core.Kind, change func(*core.Escalation)) *core.Event {
	e := received(n)
	e.ID, e.Kind, e.Message = e.ID+"#"+string(kind), kind, nil
	e.Escalation = &core.Escalation{
		ID: "e" + person(n).ID, Topic: "complaint", Reason: "it broke", Team: "support", Priority: "high", Opened: noon, Deadline: noon.Add(5 * time.Minute),
		Assignee: &core.Assignee{ID: "mia", CRMOwner: "77"},
	}
	if change != nil {
		change(e.Escalation)
	}
	return e
}

func (b *bench) tickets() map[string]hubspotsim.Record {
	b.t.Helper()
	return b.records("tickets", "wabridge_escalation_id")
}

func (b *bench) allDone(t *testing.T, events ...*core.Event) {
	t.Helper()
	for id, r := range b.deliver(events...) {
		if r.Err != nil {
			t.Fatalf("%s: %v", id, r.Err)
		}
	}
}

func TestTickets_FollowTheirEscalations(t *testing.T) {
	for _, version := range []string{"2026-09", "v3"} {
		t.Run(version, func(t *testing.T) {
			b := start(t, hubspotsim.Options{}, `{"escalations":"tickets","ticket_due_property":"due_at","api_version":"`+version+`"}`, nil)
			b.sim.AddProperty("tickets", hubspotsim.Property{Name: "due_at", Type: "datetime", FieldType: "date"})
			b.mustCheck()
			opened := escalated(1, core.KindEscalation, nil)
			b.allDone(t, opened, escalated(2, core.KindEscalation, nil))
			b.allDone(t, opened) // once more: the answer was lost
			got := b.tickets()["e"+person(1).ID]
			for name, want := range map[string]string{
				"subject": "complaint: it broke", "hs_ticket_priority": "HIGH", "hubspot_owner_id": "77", "hs_pipeline": "0", "hs_pipeline_stage": "1",
				"due_at": "1793621100000",
			} {
				if got.Properties[name] != want {
					t.Errorf("%s is %q, want %q", name, got.Properties[name], want)
				}
			}
			contact := b.contacts()[person(1).ID]
			if tied := got.Associated["contacts"]; len(tied) != 1 || tied[0] != contact.ID {
				t.Errorf("the ticket belongs to %v, want %s", tied, contact.ID)
			}
			if len(b.tickets()) != 2 || contact.Properties["wabridge_escalation"] != "it broke" {
				t.Errorf("%d tickets; the contact is %v", len(b.tickets()), contact.Properties)
			}

			b.allDone(t, escalated(1, core.KindEscalationMoved, func(x *core.Escalation) { x.Team, x.Assignee.CRMOwner, x.Note = "boss", "78", "nobody answered" }))
			got = b.tickets()["e"+person(1).ID]
			if got.Properties["hubspot_owner_id"] != "78" || !strings.Contains(got.Properties["content"], "for boss\nnobody answered") || got.Properties["hs_pipeline_stage"] != "1" {
				t.Errorf("moved it is %v", got.Properties)
			}
			b.allDone(t, escalated(1, core.KindEscalationClosed, func(x *core.Escalation) { x.Outcome = "closed" }))
			got = b.tickets()["e"+person(1).ID]
			if got.Properties["hs_pipeline_stage"] != "4" || len(b.tickets()) != 2 {
				t.Errorf("closed it is %v, of %d tickets", got.Properties, len(b.tickets()))
			}
		})
	}
}

func TestTickets_BelongToTheTeamsOwner(t *testing.T) {
	b := start(t, hubspotsim.Options{}, `{"escalations":"tickets","owners":{"boss":"99"}}`, nil)
	b.mustCheck()
	owner := func() string { return b.tickets()["e"+person(1).ID].Properties["hubspot_owner_id"] }
	b.allDone(t, escalated(1, core.KindEscalation, nil))
	if owner() != "77" {
		t.Errorf("the assignee's ticket is %q's", owner())
	}
	b.allDone(t, escalated(1, core.KindEscalationMoved, func(x *core.Escalation) { x.Team, x.Assignee = "boss", nil }))
	if owner() != "99" {
		t.Errorf("the other team's ticket is %q's", owner())
	}
	b.allDone(t, escalated(1, core.KindEscalationMoved, func(x *core.Escalation) { x.Team, x.Assignee = "nobody's", nil }))
	if owner() != "99" {
		t.Errorf("the ticket of a team without owner is %q's", owner())
	}
}

// People move tickets: what comes later does not move them back.
func TestTickets_LeaveTheStageToPeople(t *testing.T) {
	b := desk(t, hubspotsim.Options{})
	b.allDone(t, escalated(1, core.KindEscalation, nil))
	if _, err := b.sim.Edit("tickets", b.tickets()["e"+person(1).ID].ID, map[string]string{"hs_pipeline_stage": "3"}); err != nil {
		t.Fatal(err)
	}
	b.allDone(t, escalated(1, core.KindEscalationMoved, nil), escalated(2, core.KindEscalationMoved, nil))
	if got := b.tickets()["e"+person(1).ID].Properties["hs_pipeline_stage"]; got != "3" {
		t.Errorf("the stage is %s, a person set it to 3", got)
	}
	if got := b.tickets()["e"+person(2).ID].Properties["hs_pipeline_stage"]; got != "1" {
		t.Errorf("one whose opening was never told begins in stage %q, want 1", got)
	}
	b.allDone(t, escalated(3, core.KindEscalation, nil), escalated(4, core.KindEscalationClosed, nil))
	if got := b.tickets()["e"+person(4).ID].Properties["hs_pipeline_stage"]; got != "4" {
		t.Errorf("one that is closed at once is in stage %q", got)
	}
}

func TestTickets_FailAlone(t *testing.T) {
	b := desk(t, hubspotsim.Options{})
	b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultRefuse, Row: "e" + person(1).ID})
	got := b.deliver(escalated(1, core.KindEscalation, nil), escalated(2, core.KindEscalation, nil), received(3))
	bad := got[escalated(1, core.KindEscalation, nil).ID]
	if bad.Err == nil || bad.Err.Code != core.CodeInvalid {
		t.Errorf("the one that is refused ends in %v", bad.Err)
	}
	for id, r := range got {
		if id != bad.ID && r.Err != nil {
			t.Errorf("%s: %v", id, r.Err)
		}
	}
	none := escalated(5, core.KindEscalation, nil)
	none.Contact = nil
	if r := b.deliver(none)[none.ID]; r.Err == nil || r.Err.Code != core.CodeInvalid {
		t.Errorf("without a contact: %v", r.Err)
	}
}

func TestTickets_GoWithAPersonWhoIsErased(t *testing.T) {
	b := desk(t, hubspotsim.Options{})
	b.allDone(t, escalated(1, core.KindEscalation, nil), escalated(2, core.KindEscalation, nil))
	if r := b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Event: erased("erase-1", person(1).ID)}})[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	for _, r := range b.sim.Records("tickets") {
		if mine := r.Properties["wabridge_escalation_id"] == "e"+person(1).ID; r.Archived != mine {
			t.Errorf("ticket %v is archived: %v", r.Properties, r.Archived)
		}
	}
}

func TestTimeline_SaysNothingOfWhatFollows(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
	for _, kind := range []core.Kind{core.KindEscalationMoved, core.KindEscalationClosed} {
		if r := b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Event: escalated(1, kind, nil)}})[0]; r.Err != nil {
			t.Error(r.Err)
		}
	}
	if calls := b.calls(); len(calls) > 0 {
		t.Errorf("HubSpot was asked %v", calls)
	}
}

func TestCheck_WantsADateForDeadlines(t *testing.T) {
	for kind, ok := range map[string]bool{"": false, "string": false, "datetime": true} {
		b := start(t, hubspotsim.Options{}, ticketing, nil)
		if kind != "" {
			b.sim.AddProperty("tickets", hubspotsim.Property{Name: "due_at", Type: kind, FieldType: "text"})
		}
		err := b.check()
		if ok && err != nil || !ok && (core.CodeOf(err) != core.CodeForbidden || !strings.Contains(err.Error(), "due_at")) {
			t.Errorf("a property of type %q: %v", kind, err)
		}
	}
}

func TestCheck_NamesWhatIsWrongWithTickets(t *testing.T) {
	for settings, want := range map[string]string{
		`{"escalations":"cases"}`:                                  "escalations",
		`{"escalations":"tickets","ticket_key":"Ticket"}`:          "ticket_key",
		`{"escalations":"tickets","ticket_stage":""}`:              "ticket_stage",
		`{"escalations":"tickets","ticket_closed_stage":"a b"}`:    "ticket_closed_stage",
		`{"escalations":"tickets","ticket_due_property":"Due at"}`: "ticket_due_property",
	} {
		err := start(t, hubspotsim.Options{}, settings, nil).check()
		if core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", settings, err)
		}
	}
}
