package hubspot_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
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
				b := start(t, hubspotsim.Options{}, `{"on_merge":"`+c.setting+`"}`, nil).mustCheck()
				for _, r := range b.deliver(received(1), received(2)) {
					if r.Err != nil {
						t.Fatal(r.Err)
					}
				}
				e := became(c.keptOurs, c.goneOurs)
				if lost && c.code == "" && c.setting != "keep" {
					b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultLost, Match: "contacts/merge", Count: 1})
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
	for _, r := range b.sim.Records("contacts") {
		if !r.Archived {
			key[r.ID] = r.Properties["wabridge_contact_id"]
			names[key[r.ID]] = r.Properties["firstname"]
		}
	}
	for _, r := range b.sim.Records("communications") {
		var of []string
		for _, id := range r.Associated["contacts"] {
			of = append(of, key[id])
		}
		messages[r.Properties["wa_message_id"]] = strings.Join(of, " ")
	}
	return names, messages
}
