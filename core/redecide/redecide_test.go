package redecide

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/script"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// traffic is recorded decisions in memory.
type traffic []json.RawMessage

func (t traffic) Decisions(_ context.Context, q broker.DecisionQuery) (broker.DecisionPage, error) {
	rest := t[min(int(q.After), len(t)):]
	n := min(q.Limit, len(rest))
	return broker.DecisionPage{Steps: rest[:n], Next: q.After + uint64(n)}, nil
}

func record(t *testing.T, i int, text, mode, answer string, fields map[string]any) json.RawMessage {
	t.Helper()
	at := noon.Add(time.Duration(i) * time.Second)
	id := fmt.Sprintf("wamid.%d", i)
	event, err := json.Marshal(core.Event{ID: id, Kind: core.KindMessageReceived, Contact: &core.Contact{Phone: "+14155550100"},
		Message: &core.Message{Type: core.TypeText, Text: text}})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(broker.Step{Time: at, Event: id, Kind: core.KindMessageReceived, Script: "v1", Recorded: &broker.Recorded{
		Event: event, Context: fmt.Appendf(nil, `{"conversation":{"mode":%q}}`, mode), Now: at, Answer: json.RawMessage(answer), Fields: fields,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// decide answers with the text of the message, after a while of its own.
func decide(f func(text string) script.Decision) Decider {
	return func(_ context.Context, calls []script.Call) []script.Decision {
		out := make([]script.Decision, len(calls))
		for i, c := range calls {
			var e core.Event
			if err := json.Unmarshal(c.Event, &e); err != nil {
				panic(err)
			}
			out[i] = f(e.Message.Text)
		}
		for range rand.IntN(50_000) { // batches end in any order
			_ = out
		}
		return out
	}
}

func TestDiff_SaysWhatChangesAndWhatFollows(t *testing.T) {
	tr := traffic{
		record(t, 1, "order 11", "bot", `[{"type":"reply","text":"noted 11","line":"s.js:1"}]`, map[string]any{"city": "Porto"}),
		record(t, 2, "order 12", "bot", `[{"type":"reply","text":"noted 12","line":"s.js:1"}]`, nil),
		record(t, 3, "same", "bot", `[{"type":"tag","tag":"x","line":"s.js:9"}]`, nil),
		record(t, 4, "while a person has it", "human", `[{"type":"reply","text":"hm"}]`, nil),
		record(t, 5, "call +14155550199", "bot", ``, nil),
	}
	r, err := Diff(t.Context(), Options{Traffic: tr, New: decide(func(text string) script.Decision {
		switch {
		case strings.HasPrefix(text, "order"):
			return script.Decision{Actions: []script.Action{{Type: script.ActionReply, Text: "thanks, " + text[6:], Line: "s.js:2"}}}
		case text == "same":
			return script.Decision{Actions: []script.Action{{Type: script.ActionTag, Tag: "x", Line: "s.js:3"}}}
		case strings.HasPrefix(text, "call"):
			return script.Decision{Err: core.Errorf(core.CodeInvalid, "script", "s.js:4: broke")}
		}
		return script.Decision{Actions: []script.Action{{Type: script.ActionReply, Text: "hm"}}}
	})})
	if err != nil {
		t.Fatal(err)
	}
	type group struct {
		n        int
		old, new string
	}
	var got []group
	for _, g := range r.Groups {
		got = append(got, group{g.Count, g.Old, g.New})
	}
	want := []group{
		{1, "nothing", "fails: s.js:#: broke"},
		{1, `reply "noted #"`, `reply "thanks, #"`},
		{1, `reply "noted #" + CRM fields city`, `reply "thanks, #" + CRM fields city`},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(group{})); diff != "" {
		t.Errorf("groups (-want +got)\n%s", diff)
	}
	if x := r.Groups[0].Examples[0]; strings.Contains(x.Who+x.Text, "4155550") {
		t.Errorf("a number is shown whole: %+v", x)
	}
	if diff := cmp.Diff(Forecast{Messages: 5, Automatic: 2, Sends: 2}, r.Old); diff != "" {
		t.Errorf("as it was (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(Forecast{Messages: 5, Automatic: 2, Human: 1, Failed: 1, Sends: 2}, r.New); diff != "" {
		t.Errorf("as it would be (-want +got)\n%s", diff)
	}
	if r.Decisions != 5 || r.Changed != 3 || !r.First.Equal(noon.Add(time.Second)) {
		t.Errorf("report %+v", r)
	}
}

func TestDiff_IsTheSameWithAnyNumberOfWorkersAndBounded(t *testing.T) {
	var tr traffic
	for i := range 3000 {
		tr = append(tr, record(t, i, fmt.Sprintf("kind %c%c of %d", 'a'+i%26, 'a'+i/26%26, i), "bot", "", nil))
	}
	var first string
	for workers := 1; workers <= 4; workers++ {
		r, err := Diff(t.Context(), Options{Traffic: tr, Workers: workers, New: decide(func(text string) script.Decision {
			return script.Decision{Actions: []script.Action{{Type: script.ActionReply, Text: text}}}
		})})
		if err != nil {
			t.Fatal(err)
		}
		total := r.Ungrouped
		for _, g := range r.Groups {
			if total += g.Count; len(g.Examples) > maxExamples {
				t.Errorf("%d examples", len(g.Examples))
			}
		}
		if r.Changed != 3000 || total != 3000 || len(r.Groups) != maxGroups {
			t.Errorf("%d changed, %d counted in %d groups", r.Changed, total, len(r.Groups))
		}
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(data)
		}
		if string(data) != first {
			t.Errorf("with %d workers the report is another", workers)
		}
	}
}

func TestEach_EndsWhenNobodyDecides(t *testing.T) {
	tr := traffic{record(t, 1, "x", "bot", "", nil)}
	_, err := Diff(t.Context(), Options{Traffic: tr, New: decide(func(string) script.Decision {
		return script.Decision{Err: core.Errorf(core.CodeUnavailable, "script", "no worker")}
	})})
	if core.CodeOf(err) != core.CodeUnavailable {
		t.Errorf("got %v: what nobody decided was counted", err)
	}
}
