package salesforce_test

import (
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

// The org's rules say whose a new case or lead is where the settings do not, and take it
// from nobody afterwards.
func TestDeliver_LeavesRecordsToWhoHasThem(t *testing.T) {
	const ann, queue = "005000000000007AAA", "00G000000000001AAA"
	b := start(t, salesforcesim.Options{}, `{"owners":{"support":"`+queue+`","ann":"`+ann+`"}}`)
	owner := func(id string) any { return b.record("Case", "WA_Escalation_Id__c", id)["OwnerId"] }
	step := func(n int, kind core.Kind, x core.Escalation, want string) {
		t.Helper()
		b.mustDeliver(escalated(n, kind, x))
		if got := owner(x.ID); got != want {
			t.Errorf("after %s of %s it is %v's, want %s's", kind, x.ID, got, want)
		}
	}
	b.mustDeliver(
		escalated(1, core.KindEscalation, core.Escalation{ID: "e1", Reason: "complaint", Team: "support"}),
		escalated(2, core.KindEscalation, core.Escalation{ID: "e2", Reason: "complaint", Team: "nobody's"}))
	b.mustDeliver(
		escalated(3, core.KindEscalation, core.Escalation{ID: "e3", Reason: "complaint"}),
		escalated(3, core.KindEscalationMoved, core.Escalation{ID: "e3", Reason: "complaint", Overdue: true}),
		escalated(4, core.KindEscalation, core.Escalation{ID: "e4", Reason: "complaint"}),
		escalated(4, core.KindEscalationMoved, core.Escalation{ID: "e4", Reason: "complaint", Assignee: &core.Assignee{ID: "ann"}}))
	if owner("e3") != salesforcesim.Assigned || owner("e4") != ann {
		t.Errorf("those that came with what became of them are %v's and %v's", owner("e3"), owner("e4"))
	}
	if owner("e1") != queue || owner("e2") != salesforcesim.Assigned {
		t.Errorf("they are %v's and %v's", owner("e1"), owner("e2"))
	}
	b.sim.Edit("Case", b.record("Case", "WA_Escalation_Id__c", "e2")["Id"].(string), map[string]any{"OwnerId": salesforcesim.Person})
	step(2, core.KindEscalationMoved, core.Escalation{ID: "e2", Reason: "complaint", Overdue: true}, salesforcesim.Person)
	step(2, core.KindEscalationClosed, core.Escalation{ID: "e2", Reason: "complaint"}, salesforcesim.Person)
	step(1, core.KindEscalationMoved, core.Escalation{ID: "e1", Reason: "complaint", Assignee: &core.Assignee{ID: "ann"}}, ann)
	step(1, core.KindEscalationClosed, core.Escalation{ID: "e1", Reason: "complaint"}, ann)
}

// A case whose first attempt was written, though nobody learned of it, may be somebody's by
// the time of the next.
func TestDeliver_LeavesACaseThatIsThereToWhoHasIt(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	opened := func(n int, id string) *core.Event {
		e := escalated(n, core.KindEscalation, core.Escalation{ID: id, Reason: "complaint"})
		e.ID, e.Accepted = "open-"+id, time.Now().Add(-time.Hour)
		return e
	}
	b.mustDeliver(opened(1, "e1"))
	b.sim.Edit("Case", b.record("Case", "WA_Escalation_Id__c", "e1")["Id"].(string), map[string]any{"OwnerId": salesforcesim.Person})
	b.sim.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultStatus, Match: "v66.0/composite", Status: 503, Skip: 1, Count: 1})
	if err := b.deliver(opened(1, "e1"))["open-e1"].Err; err == nil || err.Code != core.CodeUnavailable {
		t.Errorf("got %v while nobody can say whether it is there, want unavailable", err)
	}
	b.sim.Heal()
	b.mustDeliver(opened(1, "e1"), opened(2, "e2"))
	want(t, b.record("Case", "WA_Escalation_Id__c", "e1"), map[string]any{"OwnerId": salesforcesim.Person})
	want(t, b.record("Case", "WA_Escalation_Id__c", "e2"), map[string]any{"OwnerId": salesforcesim.Assigned})
}

func TestDeliver_LeavesLeadsToWhoHasThem(t *testing.T) {
	b := start(t, salesforcesim.Options{}, `{"contact_object":"Lead","mode":"none","on_create":{"Company":"unknown"},"escalations":"none"}`)
	known := b.sim.Create("Lead", map[string]any{"LastName": "Known", "Company": "Acme", "MobilePhone": "+34600000002", "OwnerId": salesforcesim.Person})
	b.mustDeliver(received(1), received(2))
	made := b.record("Lead", "WA_Contact_Id__c", "c001")
	want(t, made, map[string]any{"OwnerId": salesforcesim.Assigned})
	want(t, b.record("Lead", "Id", known), map[string]any{"OwnerId": salesforcesim.Person, "WA_Contact_Id__c": "c002"})
	b.sim.Edit("Lead", made["Id"].(string), map[string]any{"OwnerId": salesforcesim.Person})
	named := received(1)
	named.Fields = map[string]any{"LastName": "Mapped"}
	b.mustDeliver(named)
	want(t, b.record("Lead", "WA_Contact_Id__c", "c001"), map[string]any{"OwnerId": salesforcesim.Person, "LastName": "Mapped"})
}
