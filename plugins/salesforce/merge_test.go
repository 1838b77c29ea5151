package salesforce_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

// became says that person 2 is person 1; of those that are not ours the bridge came to
// know after their record was there.
func became(keptOurs, goneOurs bool) *core.Event {
	since := map[bool]time.Time{true: time.Now().Add(-30 * time.Second), false: time.Now().Add(time.Hour)}
	return &core.Event{ID: "merge-1#identity#1", Kind: core.KindContactMerged, Tenant: "acme", Time: noon, Source: "bridge", Contact: person(1),
		Merge: &core.ContactMerge{Contact: *person(2), KeptSince: since[keptOurs], Since: since[goneOurs]}}
}

func TestMerge_LeavesOneRecordAndLosesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		setting            string
		keptOurs, goneOurs bool
		code               core.Code
		stays              int // whose record, 0 is both
	}{
		"both are ours":                {"ours", true, true, "", 1},
		"the one that stays was there": {"ours", false, true, "", 1},
		"the one that went was there":  {"ours", true, false, "", 2},
		"both were there":              {"ours", false, false, core.CodeUndeliverable, 0},
		"both, and the owner says so":  {"merge", false, false, "", 1},
		"the owner keeps both":         {"keep", true, true, "", 0},
	} {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", an answer lost: ", lost), func(t *testing.T) {
				b := start(t, salesforcesim.Options{}, `{"on_merge":"`+c.setting+`"}`)
				b.account.Token.Values["user"] = salesforcesim.Integration
				for _, r := range b.deliver(received(1), received(2)) {
					if r.Err != nil {
						t.Fatal(r.Err)
					}
				}
				e := became(c.keptOurs, c.goneOurs)
				if lost && c.code == "" && c.setting != "keep" {
					b.sim.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultLost, Match: "DELETE /services/data/v66.0/composite/sobjects", Count: 1})
					if r := b.merges(e); r.Err != nil && r.Err.Code != core.CodeUnknownOutcome && r.Err.Code != core.CodeUnavailable {
						t.Fatalf("the answer was lost: %v", r.Err)
					}
					b.sim.Heal()
				}
				for range 2 { // twice is once
					r := b.merges(e)
					if core.CodeOf(asError(r.Err)) != c.code {
						t.Fatalf("got %v, want %q", r.Err, c.code)
					}
					if r.Err != nil && !strings.Contains(r.Err.Hint, "by hand") {
						t.Errorf("it says %+v", r.Err)
					}
					if c.stays > 0 && (r.ContactRef == "" || r.ContactRef != r.Ref) {
						t.Errorf("the record is %+v", r)
					}
				}
				names, messages := b.people()
				want := map[string]string{"c001": "Person 1", "c002": "Person 2"}
				of := map[string]string{"wamid.IN001": "c001", "wamid.IN002": "c002"}
				if c.stays > 0 {
					want = map[string]string{"c001": fmt.Sprint("Person ", c.stays)}
					of["wamid.IN002"] = "c001"
				}
				if fmt.Sprint(names) != fmt.Sprint(want) || fmt.Sprint(messages) != fmt.Sprint(of) {
					t.Errorf("there are %v with %v, want %v with %v", names, messages, want, of)
				}
			})
		}
	}
}

func asError(e *core.Error) error {
	if e == nil {
		return nil
	}
	return e
}

// merges delivers a merge.
func (b *bench) merges(e *core.Event) core.Result {
	b.t.Helper()
	return b.connector.Deliver(b.t.Context(), b.account, []core.Delivery{{Event: e, Attempt: 1}})[0]
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
	if r := b.merges(became(true, true)); r.Err != nil {
		t.Fatal(r.Err)
	}
	left := b.record("Contact", "WA_Contact_Id__c", "c001")
	want(t, left, map[string]any{"City__c": "Lyon", "Order__c": "77", "LastName": "Person 1"})
	want(t, b.record("Case", "WA_Escalation_Id__c", "esc-2"), map[string]any{"ContactId": left["Id"]})
	b.mustDeliver(received(3))
	three := b.record("Contact", "WA_Contact_Id__c", "c003")["Id"]
	b.sim.Edit("Contact", fmt.Sprint(three), map[string]any{"City__c": "Olot"})
	b.sim.Edit("Contact", fmt.Sprint(left["Id"]), map[string]any{"City__c": "Roda"})
	e := became(true, true)
	e.Merge.Contact = *person(3)
	if r := b.merges(e); r.Err == nil || r.Err.Code != core.CodeUndeliverable {
		t.Errorf("somebody changed both, and %+v", r)
	}
}
