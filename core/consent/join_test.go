package consent

import (
	"testing"
	"time"
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
