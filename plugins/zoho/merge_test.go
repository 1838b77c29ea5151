package zoho_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/connectortest"
	"github.com/wabridge/wabridge/plugins/zoho"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

func TestMerge_LeavesOneRecordAndLosesNothing(t *testing.T) {
	for _, c := range connectortest.MergeCases() {
		for mode, lost := range map[string]bool{"module": false, "notes": true} {
			t.Run(fmt.Sprint(c.Name, ", ", mode, ", an answer lost: ", lost), func(t *testing.T) {
				b := start(t, zohosim.Options{}, `{"on_merge":"`+c.OnMerge+`","mode":"`+mode+`"}`, nil).mustCheck()
				b.deliver(received(1), received(2))
				connectortest.CheckMerge(t, c, lost, connectortest.MergeBench{
					Deliver: b.merges, People: b.people, Heal: b.sim.Heal,
					Lose: func() {
						b.sim.Inject(zohosim.Fault{Kind: zohosim.FaultLost, Match: "DELETE /crm/v8/Contacts", Count: 1})
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
	key := map[string]string{}
	for _, r := range b.sim.Records("Contacts") {
		if !r.Deleted {
			key[r.ID] = r.Values["WA_Contact_ID"]
			names[key[r.ID]] = r.Values["Last_Name"]
		}
	}
	for _, r := range b.sim.Records("WhatsApp_Messages") {
		messages[r.Values["WA_Message_ID"]] = key[r.Values["Contact"]]
	}
	for _, r := range b.sim.Records("Notes") {
		if _, id, ok := strings.Cut(r.Values["Note_Title"], " · "); ok && !r.Deleted {
			messages[id] += key[r.Values["Parent_Id"]]
		}
	}
	return names, messages
}

// What only the one that goes has is not lost. What somebody else changed is not ours to
// delete.
func TestMerge_CarriesOverWhatTheOtherLacks(t *testing.T) {
	b := start(t, zohosim.Options{}, `{"contact_fields":{"city":"Mailing_City"},"escalations":"tasks"}`, nil).mustCheck()
	two := received(2)
	two.Contact.Fields = map[string]string{"city": "Vic"}
	b.done(received(1), two, escalated(2, core.KindEscalation))
	if r := b.merges(became(2)); r.Err != nil {
		t.Fatal(r.Err)
	}
	left := b.contacts()
	if len(left) != 1 || left["c001"].Values["Mailing_City"] != "Vic" || left["c001"].Values["Last_Name"] != "Person 1" {
		t.Errorf("left is %+v", left)
	}
	for _, task := range b.sim.Records("Tasks") {
		if task.Values["Who_Id"] != left["c001"].ID {
			t.Errorf("the task is %+v", task)
		}
	}
	b.done(received(3))
	for _, who := range []string{"c001", "c003"} {
		if _, err := b.sim.Edit(zohosim.Person, "Contacts", b.contacts()[who].ID, map[string]any{"Mailing_City": "Olot"}); err != nil {
			t.Fatal(err)
		}
	}
	if r := b.merges(became(3)); r.Err == nil || r.Err.Code != core.CodeUndeliverable {
		t.Errorf("somebody changed both, and %+v", r)
	}
}

// Whose token it is shows in the answers to what it writes: the scope to read users is not
// needed for it, in a process that wrote before and in one that did not.
func TestMerge_NeedsNoScopeToReadUsers(t *testing.T) {
	scopes := []string{zohosim.ScopeCOQL, zohosim.ScopeContacts, zohosim.ScopeCustom, zohosim.ScopeFields, zohosim.ScopeTasks, zohosim.ScopeNotes}
	for name, fresh := range map[string]bool{"a process that wrote before": false, "a new process": true} {
		t.Run(name, func(t *testing.T) {
			b := start(t, zohosim.Options{Scopes: scopes}, `{"escalations":"tasks"}`, nil).mustCheck()
			b.done(received(1), received(2), received(3))
			edited := b.contacts()["c003"].ID
			if _, err := b.sim.Edit(zohosim.Person, "Contacts", edited, map[string]any{"Mailing_City": "Olot"}); err != nil {
				t.Fatal(err)
			}
			if fresh {
				b.connector = &zoho.Connector{DialContext: b.served.DialContext}
				t.Cleanup(b.connector.CloseIdleConnections)
			}
			if r := b.merges(became(2)); r.Err != nil {
				t.Fatal(r.Err)
			}
			if left := b.contacts(); len(left) != 2 || left["c001"].ID == "" {
				t.Errorf("left is %+v", left)
			}
			// The record that stays is the bridge's own: it goes into the one that somebody changed.
			if r := b.merges(became(3)); r.Err != nil || r.Ref != edited {
				t.Errorf("%+v, want the record %s", r, edited)
			}
		})
	}
}
