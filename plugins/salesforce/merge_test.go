package salesforce_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/connectortest"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

func TestMerge_LeavesOneRecordAndLosesNothing(t *testing.T) {
	for _, c := range connectortest.MergeCases() {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprint(c.Name, ", an answer lost: ", lost), func(t *testing.T) {
				b := start(t, salesforcesim.Options{}, `{"on_merge":"`+c.OnMerge+`"}`)
				b.account.Token.Values["user"] = salesforcesim.Integration
				b.deliver(received(1), received(2))
				connectortest.CheckMerge(t, c, lost, connectortest.MergeBench{
					Deliver: b.merges, People: b.people, Heal: b.sim.Heal,
					Lose: func() {
						b.sim.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultLost, Match: "DELETE /services/data/v66.0/composite/sobjects", Count: 1})
					},
				})
			})
		}
	}
}

// merges delivers a merge.
func (b *bench) merges(e *core.Event) core.Result {
	b.t.Helper()
	return b.connector.Deliver(b.t.Context(), b.account, []core.Delivery{{Event: e, Attempt: 1}})[0]
}

// became says that somebody is person 1; the bridge made both of their records.
func became(who int) *core.Event {
	since := time.Now().Add(-30 * time.Second)
	return &core.Event{ID: "merge-1#identity#1", Kind: core.KindContactMerged, Tenant: "acme", Time: noon, Source: "bridge", Contact: person(1),
		Merge: &core.ContactMerge{Contact: *person(who), KeptSince: since, Since: since}}
}

// people are the names by contact, and the contacts by message.
func (b *bench) people() (names, messages map[string]string) {
	names, messages = map[string]string{}, map[string]string{}
	key := map[any]string{}
	for _, r := range b.sim.Records("Contact") {
		if r.Fields["IsDeleted"] != true {
			key[r.ID] = fmt.Sprint(r.Fields["WA_Contact_Id__c"])
			names[key[r.ID]] = fmt.Sprint(r.Fields["LastName"])
		}
	}
	for _, r := range b.sim.Records("WhatsApp_Message__c") {
		messages[fmt.Sprint(r.Fields["WA_Id__c"])] = key[r.Fields["Contact__c"]]
	}
	return names, messages
}

// What somebody else changed is not ours to delete. What only the one that goes has is
// not lost, and its cases do not hold it.
func TestMerge_CarriesOverWhatTheOtherLacks(t *testing.T) {
	b := start(t, salesforcesim.Options{}, `{"contact_fields":{"city":"City__c","order":"Order__c"}}`)
	for _, name := range []string{"City__c", "Order__c"} {
		b.sim.AddField("Contact", salesforcesim.Text(name, 80))
	}
	b.account.Token.Values["user"] = salesforcesim.Integration
	one, two := received(1), received(2)
	one.Contact.Fields, two.Contact.Fields = map[string]string{"city": "Lyon"}, map[string]string{"city": "Vic", "order": "77"}
	b.mustDeliver(one, two)
	b.mustDeliver(escalated(2, core.KindEscalation, core.Escalation{ID: "esc-2", Reason: "help"}))
	if r := b.merges(became(2)); r.Err != nil {
		t.Fatal(r.Err)
	}
	left := b.record("Contact", "WA_Contact_Id__c", "c001")
	want(t, left, map[string]any{"City__c": "Lyon", "Order__c": "77", "LastName": "Person 1"})
	want(t, b.record("Case", "WA_Escalation_Id__c", "esc-2"), map[string]any{"ContactId": left["Id"]})
	b.mustDeliver(received(3))
	three := b.record("Contact", "WA_Contact_Id__c", "c003")["Id"]
	b.sim.Edit("Contact", fmt.Sprint(three), map[string]any{"City__c": "Olot"})
	b.sim.Edit("Contact", fmt.Sprint(left["Id"]), map[string]any{"City__c": "Roda"})
	if r := b.merges(became(3)); r.Err == nil || r.Err.Code != core.CodeUndeliverable {
		t.Errorf("somebody changed both, and %+v", r)
	}
}
