package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
)

// decisions are the recorded ones, read in small pages.
func (b *bridge) decisions() []Step {
	b.Helper()
	var steps []Step
	q := DecisionQuery{Tenant: "acme", Limit: 2}
	for {
		page, err := b.Decisions(context.Background(), q)
		if err != nil {
			b.Fatal(err)
		}
		if len(page.Steps) == 0 {
			return steps
		}
		for _, raw := range page.Steps {
			var s Step
			if err := json.Unmarshal(raw, &s); err != nil {
				b.Fatal(err)
			}
			steps = append(steps, s)
		}
		q.After = page.Next
	}
}

func answer(text string) script.Decision {
	return script.Decision{
		Actions: []script.Action{{Type: script.ActionReply, Text: text, Line: "script.js:2"}},
		Answer:  fmt.Sprintf(`[{"type":"reply","text":%q,"line":"script.js:2"}]`, text),
		Fields:  map[string]any{"city": "Porto"}, Log: []string{"looked"},
	}
}

func TestRecorded_IsEnoughToAskAgain(t *testing.T) {
	run(t, func(b *bridge) {
		var calls []script.Call
		brain, change := think(map[script.Hooks]func(*core.Event, *core.Contact) script.Decision{
			script.OnMessage: func(e *core.Event, _ *core.Contact) script.Decision { return answer("re: " + e.Message.Text) },
		})
		b.change = func(o *Options) { change(o); o.Scripts = spy{brain, &calls} }
		b.start()
		for i := range 5 {
			b.accept(received(fmt.Sprintf("wamid.%d", i), "+14155550100", fmt.Sprintf("hi %d", i)))
			settled(2 * time.Second)
		}
		steps := b.decisions()
		if len(steps) != 5 || len(calls) != 5 {
			t.Fatalf("%d decisions of %d calls are recorded", len(steps), len(calls))
		}
		for i, s := range steps {
			r, want := s.Recorded, calls[i]
			got := r.Call()
			if !sameJSON(t, got.Event, want.Event) || !sameJSON(t, got.Context, want.Context) ||
				!got.Now.Equal(want.Now) || got.Seed != want.Seed || got.Hooks != want.Hooks {
				t.Errorf("%d: recorded %+v\nasked %+v", i, got, want)
			}
			actions, err := script.ReadActions(r.Answer)
			if err != nil || len(actions) != 1 || actions[0].Text != fmt.Sprintf("re: hi %d", i) || actions[0].Line != "script.js:2" {
				t.Errorf("%d: actions %+v, %v", i, actions, err)
			}
			if s.Script != "v1" || r.Fields["city"] != "Porto" || len(r.Log) != 1 {
				t.Errorf("%d: version %s, recorded %+v", i, s.Script, r)
			}
		}
		// What all of them share is nobody's story.
		if story, err := b.Why(context.Background(), "acme", RecordedID); err == nil {
			t.Errorf("why %s tells %d steps", RecordedID, len(story.Steps))
		}
	})
}

func TestRecorded_TellsHowAScriptFailed(t *testing.T) {
	run(t, func(b *bridge) {
		_, b.change = think(map[script.Hooks]func(*core.Event, *core.Contact) script.Decision{
			script.OnMessage: func(*core.Event, *core.Contact) script.Decision {
				// A worker gone mad: what it says is no JSON.
				return script.Decision{Answer: "[{", Line: "script.js:7", Err: core.Errorf(core.CodeInvalid, "script", "script.js:7: broke")}
			},
		})
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(time.Second)
		steps := b.decisions()
		if len(steps) != 1 || steps[0].Recorded.Error == nil || steps[0].Recorded.Line != "script.js:7" || steps[0].Recorded.Answer != nil {
			t.Errorf("recorded %+v", steps)
		}
	})
}

func TestRecorded_CanBeSwitchedOff(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = reply("hello")
		b.change = func(o *Options) { o.Tenants[0].NoRecord = true }
		b.start()
		b.accept(received("wamid.1", "+14155550100", "a secret"))
		settled(time.Second)
		if steps := b.decisions(); len(steps) != 0 {
			t.Errorf("recorded %+v", steps)
		}
		recs, err := b.store.Find(context.Background(), "acme", "wamid.1")
		if err != nil || len(recs) == 0 {
			t.Fatalf("%d records, %v", len(recs), err)
		}
		for _, r := range recs {
			if strings.Contains(string(r.Data), "a secret") {
				t.Errorf("the history has the text: %s", r.Data)
			}
		}
	})
}

// spy keeps the calls that it passes on.
type spy struct {
	*brain
	calls *[]script.Call
}

func (s spy) Decide(ctx context.Context, tenant string, calls []script.Call) []script.Decision {
	*s.calls = append(*s.calls, calls...)
	return s.brain.Decide(ctx, tenant, calls)
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatal(err)
	}
	return string(mustJSON(x)) == string(mustJSON(y))
}
