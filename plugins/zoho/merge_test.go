package zoho_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
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
		for mode, lost := range map[string]bool{"module": false, "notes": true} {
			t.Run(fmt.Sprint(name, ", ", mode, ", an answer lost: ", lost), func(t *testing.T) {
				b := start(t, zohosim.Options{}, `{"on_merge":"`+c.setting+`","mode":"`+mode+`"}`, nil).mustCheck()
				for _, r := range b.deliver(received(1), received(2)) {
					if r.Err != nil {
						t.Fatal(r.Err)
					}
				}
				e := became(c.keptOurs, c.goneOurs)
				if lost && c.code == "" && c.setting != "keep" {
					b.sim.Inject(zohosim.Fault{Kind: zohosim.FaultLost, Match: "DELETE /crm/v8/Contacts", Count: 1})
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
	if r := b.merges(became(true, true)); r.Err != nil {
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
	e := became(true, true)
	e.Merge.Contact = *person(3)
	if r := b.merges(e); r.Err == nil || r.Err.Code != core.CodeUndeliverable {
		t.Errorf("somebody changed both, and %+v", r)
	}
}
