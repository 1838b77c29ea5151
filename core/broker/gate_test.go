package broker

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
)

func outcome(id string, code core.Code) []core.Result {
	r := core.Result{ID: id}
	if code != "" {
		r.Err = &core.Error{Code: code, Message: string(code)}
	}
	return []core.Result{r}
}

func openGate(start, most int) *gate {
	g := newGate(start, most)
	g.open()
	return g
}

func TestGate_OneEventsTroubleDoesNotStopTheLane(t *testing.T) {
	g := openGate(4, 16)
	for range 20 {
		if v := g.learn(outcome("poison", core.CodeUnavailable), true)[0]; v != verdictCounts {
			t.Fatalf("verdict = %v, want it to count: the event is alone with its trouble", v)
		}
	}
	if state, paused := g.paused(); paused {
		t.Errorf("state = %s after one event failed again and again", state)
	}
}

func TestGate_PausesAndBurnsNoAttemptsWhenDifferentEventsFailInARow(t *testing.T) {
	g := openGate(4, 16)
	for i := range downAfter {
		v := g.learn(outcome(fmt.Sprint(i), core.CodeUnavailable), true)[0]
		if want := verdictCounts; i < downAfter-1 && v != want {
			t.Errorf("failure %d: verdict = %v, want %v", i+1, v, want)
		} else if want := verdictWaits; i == downAfter-1 && v != want {
			t.Errorf("failure %d: verdict = %v, want %v: the lane is down", i+1, v, want)
		}
	}
	if state, _ := g.paused(); state != LaneDown {
		t.Fatalf("state = %s, want %s", state, LaneDown)
	}
	if v := g.learn(outcome("probe", core.CodeUnavailable), true)[0]; v != verdictWaits {
		t.Errorf("a failed probe: verdict = %v, want that it does not count", v)
	}
	g.learn(outcome("probe", ""), true)
	if state, _ := g.paused(); state != LaneRunning {
		t.Errorf("state = %s after a success, want %s", state, LaneRunning)
	}
}

func TestGate_ASuccessBetweenFailuresKeepsTheLaneOpen(t *testing.T) {
	g := openGate(4, 16)
	for i := range 50 {
		g.learn(outcome(fmt.Sprint(i), core.CodeUnavailable), true)
		if i%3 == 2 {
			g.learn(outcome("ok", ""), true)
		}
	}
	if state, paused := g.paused(); paused {
		t.Errorf("state = %s", state)
	}
}

func TestGate_ProbesOneAtATimeAndEverMoreSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(4, 16)
		down := []core.Result{{ID: "x", Err: &core.Error{Code: core.CodeUnavailable, Message: "refused", Scope: core.ScopeLane}}}
		g.learn(down, true)
		start := time.Now()
		var waits []time.Duration
		for time.Since(start) < 20*time.Minute {
			before := time.Now()
			n, err := g.enter(t.Context(), 64)
			if err != nil || n != 1 {
				t.Fatalf("enter = %d, %v; want one probe", n, err)
			}
			waits = append(waits, time.Since(before))
			g.learn(down, true)
			g.leave(1)
		}
		if first := waits[0]; first != 200*time.Millisecond {
			t.Errorf("first probe after %v, want 200ms", first)
		}
		for i, w := range waits {
			if w > 30*time.Second {
				t.Errorf("probe %d after %v, want at most 30s", i, w)
			}
		}
		if last := waits[len(waits)-1]; last != 30*time.Second {
			t.Errorf("after 20 minutes the probes come every %v, want 30s", last)
		}
	})
}

func TestGate_NoticesTheEndOfAShortOutageWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(4, 16)
		down := []core.Result{{ID: "x", Err: &core.Error{Code: core.CodeUnavailable, Message: "503", Scope: core.ScopeLane}}}
		g.learn(down, true)
		end := time.Now().Add(5 * time.Second)
		for {
			if _, err := g.enter(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			if time.Now().After(end) {
				break
			}
			g.learn(down, true)
			g.leave(1)
		}
		if late := time.Since(end); late >= time.Second {
			t.Errorf("the first probe after the outage came %v late", late)
		}
	})
}

func TestGate_WaitsAsLongAsTheSinkAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(4, 16)
		limited := []core.Result{{ID: "x", Err: &core.Error{Code: core.CodeRateLimited, Message: "slow down", RetryAfter: 10 * time.Second}}}
		if v := g.learn(limited, true)[0]; v != verdictWaits {
			t.Errorf("verdict = %v: a rate limit is no attempt", v)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second-1)
		defer cancel()
		if n, err := g.enter(ctx, 1); err == nil {
			t.Errorf("entered %d one tick early", n)
		}
		if n, err := g.enter(t.Context(), 1); err != nil || n != 1 {
			t.Errorf("enter = %d, %v", n, err)
		}
	})
}

func TestGate_KeepsTheQueueWhenCredentialsAreRefused(t *testing.T) {
	g := openGate(4, 16)
	v := g.learn(outcome("x", core.CodeUnauthenticated), true)[0]
	state, paused := g.paused()
	if v != verdictWaits || state != LaneSignIn || !paused {
		t.Errorf("verdict = %v, state = %s", v, state)
	}
}

func TestGate_NeverRepeatsAnUnknownOutcomeUnlessThatIsHarmless(t *testing.T) {
	if v := verdictOf(&core.Error{Code: core.CodeUnknownOutcome}, false); v != verdictUnknown {
		t.Errorf("verdict = %v, want %v", v, verdictUnknown)
	}
	if v := verdictOf(&core.Error{Code: core.CodeUnknownOutcome}, true); v != verdictCounts {
		t.Errorf("verdict = %v, want %v", v, verdictCounts)
	}
}

func TestGate_AdaptsHowManyCallsRunAtOnce(t *testing.T) {
	g := openGate(4, 16)
	for range 100 {
		g.learn(outcome("x", ""), true)
	}
	var s LaneStatus
	if g.status(&s); s.Limit != 16 {
		t.Errorf("limit = %d after 100 successes, want the most, 16", s.Limit)
	}
	g.learn(outcome("x", core.CodeRateLimited), true)
	if g.status(&s); s.Limit != 8 {
		t.Errorf("limit = %d after a refusal, want half", s.Limit)
	}
}

func TestGate_DoesNotGrowOnABusyMachine(t *testing.T) {
	g := openGate(4, 16)
	busy := true
	g.strained = func() bool { return busy }
	grow := func() int {
		for i := range 40 {
			g.learn(outcome(fmt.Sprint(i), ""), true)
		}
		var s LaneStatus
		g.status(&s)
		return s.Limit
	}
	if n := grow(); n != 4 {
		t.Errorf("%d calls at once on a busy machine, want the 4 that it starts with", n)
	}
	g.learn(outcome("slow", core.CodeRateLimited), true)
	if n := grow(); n != 4 {
		t.Errorf("after a trouble %d calls at once, want 4 again", n)
	}
	if busy = false; grow() != 16 {
		t.Error("it does not grow when the machine has time")
	}
	if busy = true; grow() != 4 {
		t.Error("it goes on with as many when the machine is busy again")
	}
}

func TestGate_EveryCodeHasAVerdict(t *testing.T) {
	want := map[core.Code]verdict{
		core.CodeInvalid: verdictGivenUp, core.CodeUndeliverable: verdictGivenUp,
		core.CodeRateLimited: verdictWaits, core.CodeUnauthenticated: verdictWaits, core.CodeForbidden: verdictWaits,
		core.CodeUnavailable: verdictCounts, core.CodeInternal: verdictCounts, core.CodeUnknownOutcome: verdictUnknown,
	}
	for _, c := range core.Codes() {
		if got := verdictOf(&core.Error{Code: c}, false); got != want[c] {
			t.Errorf("%s: verdict = %v, want %v", c, got, want[c])
		}
	}
}
