package consent

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestJoin_TheLastWordCountsAndAReasonStays(t *testing.T) {
	at := func(n int) time.Time { return time.Date(2026, 11, n, 0, 0, 0, 0, time.UTC) }
	a := Summary{Levels: map[Level]Standing{Marketing: {State: Granted, Since: at(1), Entry: "a"}}, Seen: []string{"1"},
		Suppressed: []Suppression{{Reason: "complaint", Scope: ScopeAll, Lifted: true, Since: at(3)}}}
	b := Summary{Levels: map[Level]Standing{Marketing: {State: Withdrawn, Since: at(2), Entry: "b"}}, Seen: []string{"1", "2"},
		Suppressed: []Suppression{{Reason: "complaint", Scope: ScopeAll, Since: at(1)}}}
	for _, got := range []Summary{a.Join(b), b.Join(a)} {
		if got.State(Marketing) != Withdrawn || len(got.Live()) != 1 || len(got.Seen) != 2 {
			t.Errorf("got %+v", got)
		}
	}
	if a.State(Marketing) != Granted || len(a.Live()) != 0 {
		t.Errorf("the argument became %+v", a)
	}
}

// entriesOf draws entries about one person, in the order in which they are said.
func entriesOf(who string, from int) *rapid.Generator[[]Entry] {
	return rapid.Custom(func(t *rapid.T) []Entry {
		n := rapid.IntRange(0, 5).Draw(t, "entries")
		out := make([]Entry, n)
		for i := range out {
			e := Entry{ID: fmt.Sprint(who, i), At: time.Date(2026, 11, 1, from, i, 0, 0, time.UTC), Source: API}
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				e.Level, e.State = Marketing, rapid.SampledFrom([]State{Asked, Granted, Withdrawn}).Draw(t, "state")
			case 1:
				e.Level, e.State, e.Source = Marketing, rapid.SampledFrom([]State{Granted, Withdrawn}).Draw(t, "state"), Meta
			default:
				e.Reason, e.Scope = rapid.SampledFrom([]Reason{Stop, Complaint}).Draw(t, "reason"), rapid.SampledFrom([]string{ScopeAll, ScopeMarketing}).Draw(t, "scope")
				e.Lifted = rapid.Bool().Draw(t, "lifted")
			}
			out[i] = e
		}
		return out
	})
}

func summed(entries ...Entry) Summary {
	var s Summary
	for _, e := range entries {
		s.Apply(e)
	}
	return s
}

// Whatever two said before they were taken for one, and meanwhile: taken apart,
// nobody may be sent what they forbade, nor what was forbidden meanwhile.
func TestPart_AllowsNothingThatWasForbidden(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := summed(entriesOf("a", 1).Draw(t, "a")...), summed(entriesOf("b", 1).Draw(t, "b")...)
		joined := a.Join(b)
		if got := a.Part(joined, joined); !reflect.DeepEqual(tidied(got), tidied(a)) {
			t.Fatalf("nothing was said meanwhile, and %+v became %+v", a, got)
		}
		now := a.Join(b)
		meanwhile := entriesOf("m", 2).Draw(t, "meanwhile")
		for _, e := range meanwhile {
			now.Apply(e)
		}
		for _, was := range []Summary{a, b} {
			got := was.Part(joined, now)
			if was.State(Marketing) != Granted && got.State(Marketing) == Granted {
				t.Fatalf("marketing became allowed: %+v, %+v", was, got)
			}
			for _, p := range was.Live() {
				if !slices.ContainsFunc(got.Live(), p.same) {
					t.Fatalf("the reason %+v is gone", p)
				}
			}
			for _, e := range meanwhile {
				last := !slices.ContainsFunc(meanwhile, func(o Entry) bool {
					return o.At.After(e.At) && o.Level == e.Level && o.Reason == e.Reason && o.Scope == e.Scope && (o.Source == Meta) == (e.Source == Meta)
				})
				p := Suppression{Reason: e.Reason, Scope: e.Scope}
				switch {
				case !last:
				case e.State == Withdrawn && got.State(Marketing) != Withdrawn:
					t.Fatalf("what was taken back meanwhile is allowed: %+v", got)
				case e.Reason != "" && !e.Lifted && !slices.ContainsFunc(got.Live(), p.same):
					t.Fatalf("the reason %+v of meanwhile is gone", p)
				}
			}
		}
	})
}

// tidied makes summaries that are the same look the same.
func tidied(s Summary) Summary {
	if len(s.Levels) == 0 {
		s.Levels = nil
	}
	if len(s.Suppressed) == 0 {
		s.Suppressed = nil
	}
	if len(s.Seen) == 0 {
		s.Seen = nil
	}
	return s
}
