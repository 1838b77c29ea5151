package redecide

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/script"
)

// past is one decision of a contact, with the contact as it was before.
type past struct {
	version, contact string
	tags             []string
	fields           map[string]string
	answer           string
	crm              map[string]any
	// instead is what the right version decides: a list of actions, or "fails".
	instead    string
	insteadCRM map[string]any
}

func fix(t *testing.T, all ...past) *Fixes {
	t.Helper()
	var tr traffic
	for i, p := range all {
		at := noon.Add(time.Duration(i) * time.Second)
		event, err := json.Marshal(core.Event{ID: fmt.Sprint(i), Number: "100", Kind: core.KindMessageReceived, Message: &core.Message{Text: fmt.Sprint(i)}})
		if err != nil {
			t.Fatal(err)
		}
		given, err := json.Marshal(map[string]any{"contact": core.Contact{ID: p.contact, Phone: "+14155550100", Tags: p.tags, Fields: p.fields}})
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(broker.Step{Time: at, Event: fmt.Sprint(i), Kind: core.KindMessageReceived, Script: p.version, Recorded: &broker.Recorded{
			Event: event, Context: given, Now: at, Answer: json.RawMessage(p.answer), Fields: p.crm}})
		if err != nil {
			t.Fatal(err)
		}
		tr = append(tr, data)
	}
	asked := 0
	f, err := FindFixes(t.Context(), Options{Traffic: tr, By: "x", New: func(_ context.Context, calls []script.Call) []script.Decision {
		out := make([]script.Decision, len(calls))
		for i, c := range calls {
			var e core.Event
			var n int
			if err := json.Unmarshal(c.Event, &e); err != nil {
				panic(err)
			}
			if _, err := fmt.Sscan(e.Message.Text, &n); err != nil || all[n].version != "x" {
				panic("asked about another version's decision")
			}
			asked++
			out[i].Fields = all[n].insteadCRM
			if all[n].instead == "fails" {
				out[i].Err = core.Errorf(core.CodeInvalid, "script", "broke")
			} else if all[n].instead != "" {
				var err error
				if out[i].Actions, err = script.ReadActions([]byte(all[n].instead)); err != nil {
					panic(err)
				}
			}
		}
		return out
	}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const (
	tagVIP   = `[{"type":"tag","tag":"vip"}]`
	untagVIP = `[{"type":"untag","tag":"vip"}]`
	porto    = `[{"type":"setField","name":"city","value":"Porto"}]`
	lisbon   = `[{"type":"setField","name":"city","value":"Lisbon"}]`
	handOver = `[{"type":"escalate","reason":"angry"}]`
)

func TestFixes_AreWhatIsLeftOfWrongDecisions(t *testing.T) {
	vip := func(was, want bool) core.Change {
		return core.Change{What: core.CorrectTag, Name: "vip", Was: was, Want: want}
	}
	for _, tc := range []struct {
		name      string
		past      []past
		want      []core.Change
		overtaken int
	}{
		{name: "a tag too many", past: []past{{version: "x", answer: tagVIP}}, want: []core.Change{vip(true, false)}},
		{name: "a tag that was there before", past: []past{{version: "x", tags: []string{"vip"}, answer: tagVIP}}},
		{name: "a tag too few", past: []past{{version: "x", instead: tagVIP}}, want: []core.Change{vip(false, true)}},
		{name: "a tag taken off", past: []past{{version: "x", tags: []string{"vip"}, answer: untagVIP}}, want: []core.Change{vip(false, true)}},
		{name: "the same in the end", past: []past{{version: "x", answer: tagVIP}, {version: "x", tags: []string{"vip"}, answer: tagVIP, instead: tagVIP}}},
		{name: "twice", past: []past{{version: "x", answer: tagVIP}, {version: "x", tags: []string{"vip"}, answer: tagVIP}}, want: []core.Change{vip(true, false)}},
		{name: "taken off by somebody", past: []past{{version: "x", answer: tagVIP}, {version: "z"}}, overtaken: 1},
		{name: "decided anew by another version", past: []past{{version: "x", answer: tagVIP}, {version: "z", tags: []string{"vip"}, answer: tagVIP}}, overtaken: 1},
		{name: "of other versions only", past: []past{{version: "z", answer: tagVIP, instead: untagVIP}}},
		{name: "another value", past: []past{{version: "x", fields: map[string]string{"city": "Faro"}, answer: porto, instead: lisbon}},
			want: []core.Change{{What: core.CorrectField, Name: "city", Was: "Porto", Want: "Lisbon"}}},
		{name: "back to the value before", past: []past{{version: "x", fields: map[string]string{"city": "Faro"}, answer: porto}},
			want: []core.Change{{What: core.CorrectField, Name: "city", Was: "Porto", Want: "Faro"}}},
		{name: "changed by a person since", past: []past{{version: "x", answer: porto, instead: lisbon}, {version: "z", fields: map[string]string{"city": "Faro"}}}, overtaken: 1},
		{name: "a property", past: []past{{version: "x", crm: map[string]any{"lead": "hot", "n": 1.0}, insteadCRM: map[string]any{"lead": "cold", "n": 1.0}}},
			want: []core.Change{{What: core.CorrectCRM, Name: "lead", Was: "hot", Want: "cold"}}},
		{name: "a property too many", past: []past{{version: "x", crm: map[string]any{"lead": "hot"}}},
			want: []core.Change{{What: core.CorrectCRM, Name: "lead", Was: "hot", Want: nil}}},
		{name: "a property written again", past: []past{{version: "x", crm: map[string]any{"lead": "hot"}}, {version: "z", crm: map[string]any{"lead": "hot"}}}, overtaken: 1},
		{name: "a property right again", past: []past{{version: "x", crm: map[string]any{"lead": "hot"}},
			{version: "x", crm: map[string]any{"lead": "new"}, insteadCRM: map[string]any{"lead": "new"}}}},
		{name: "a hand-over too many", past: []past{{version: "x", answer: handOver}},
			want: []core.Change{{What: core.CorrectEscalation, Was: "angry", Want: ""}}},
		{name: "a hand-over too few", past: []past{{version: "x", instead: handOver}},
			want: []core.Change{{What: core.CorrectEscalation, Was: "", Want: "angry"}}},
		{name: "the other fails", past: []past{{version: "x", answer: tagVIP, instead: "fails"}}},
		{name: "messages", past: []past{{version: "x", answer: `[{"type":"reply","text":"a"}]`, instead: `[{"type":"reply","text":"b"}]`}}},
	} {
		for i := range tc.past {
			tc.past[i].contact = "c1"
		}
		f := fix(t, tc.past...)
		var got []core.Change
		for _, c := range f.Contacts {
			for _, ch := range c.Changes {
				if ch.At.IsZero() {
					t.Errorf("%s: when was it written?", tc.name)
				}
				ch.At = time.Time{}
				got = append(got, ch)
			}
			if c.Contact != "c1" || c.Number != "100" || c.Who == "" || len(c.Events) != len(c.Changes) {
				t.Errorf("%s: %+v", tc.name, c)
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" || f.Overtaken != tc.overtaken {
			t.Errorf("%s: %d overtaken, want %d; changes (-want +got)\n%s", tc.name, f.Overtaken, tc.overtaken, diff)
		}
	}
}

func TestFixes_AreCountedAndApartByContact(t *testing.T) {
	f := fix(t, past{version: "x", contact: "c2", answer: tagVIP}, past{version: "x", contact: "c1", answer: porto, instead: lisbon},
		past{version: "x", contact: "c3", answer: porto, instead: porto}, past{version: "x", contact: "c1", fields: map[string]string{"city": "Porto"}, instead: "fails"},
		past{version: "x", contact: "c4", answer: `[{"type":"reply","text":"a"}]`})
	if f.Decisions != 5 || f.Changed != 4 || f.Failed != 1 || f.Messages != 1 || len(f.Contacts) != 2 || f.Contacts[0].Contact != "c1" || f.Contacts[1].Contact != "c2" {
		t.Errorf("%+v", f)
	}
}
