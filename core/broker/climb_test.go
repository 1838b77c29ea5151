package broker

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// measured is a sink whose calls take as long as its func says, given how many are at
// work, and how many it answered in the last minute of so many.
func measured(t *testing.T, minutes int, takes func(atWork int, since time.Duration) time.Duration) (perSecond float64, limit int) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(4, 64)
		g.climb = newClimb(64)
		var mu sync.Mutex
		var calls sync.WaitGroup
		atWork, answered := 0, 0
		began := time.Now()
		end := began.Add(time.Duration(minutes) * time.Minute)
		for n := 0; time.Now().Before(end); n++ {
			if _, err := g.enter(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			atWork++
			// No two calls take the same: those that end in one moment would seem to be few.
			wait := takes(atWork, time.Since(began)) + time.Duration(n%7)*500*time.Microsecond
			mu.Unlock()
			calls.Go(func() {
				<-time.After(wait) // in virtual time
				mu.Lock()
				atWork--
				if now := time.Now(); now.After(end.Add(-time.Minute)) && !now.After(end) {
					answered++
				}
				mu.Unlock()
				g.learn(outcome(fmt.Sprint(n), ""), true)
				g.leave(1)
			})
		}
		calls.Wait()
		perSecond, limit = float64(answered)/60, g.roof()
	})
	return perSecond, limit
}

const callTakes = 100 * time.Millisecond

// A CRM with eight hands has as many calls as they can do, not the 64 that there may be.
func TestClimb_GivesASinkWhatItsHandsCanDo(t *testing.T) {
	var free [8]time.Duration // when each hand is
	speed, limit := measured(t, 5, func(_ int, now time.Duration) time.Duration {
		hand := 0
		for i := range free {
			if free[i] < free[hand] {
				hand = i
			}
		}
		free[hand] = max(free[hand], now) + callTakes
		return free[hand] - now
	})
	if speed < 0.93*80 || limit > 16 {
		t.Errorf("%.1f a second with %d calls at once, want 80 with about 8", speed, limit)
	}
}

// One that does less and less the more it has at once does most with few.
func TestClimb_SparesASinkThatGetsSlower(t *testing.T) {
	crowded := func(atWork int, _ time.Duration) time.Duration {
		over := max(1, float64(atWork)/8)
		return time.Duration(float64(callTakes) * over * over)
	}
	if speed, limit := measured(t, 10, crowded); speed < 0.85*80 || limit > 16 {
		t.Errorf("%.1f a second with %d calls at once, want nearly 80 with about 8", speed, limit)
	}
}

// One that bears as many as may be has them, also when it is slow by itself for a while:
// fewer would bring less.
func TestClimb_KeepsWhatBringsMore(t *testing.T) {
	for name, takes := range map[string]func(int, time.Duration) time.Duration{
		"always quick": func(int, time.Duration) time.Duration { return callTakes },
		"slow from the third minute": func(_ int, now time.Duration) time.Duration {
			if now > 3*time.Minute {
				return 10 * callTakes
			}
			return callTakes
		},
		"slow until the third minute": func(_ int, now time.Duration) time.Duration {
			if now < 3*time.Minute {
				return 10 * callTakes
			}
			return callTakes
		},
	} {
		speed, limit := measured(t, 8, takes)
		want := 64 / takes(1, 8*time.Minute).Seconds()
		if speed < 0.93*want || limit < 60 {
			t.Errorf("%s: %.1f a second with %d calls at once, want %.1f with 64", name, speed, limit, want)
		}
	}
}

// Where there is less to do than it could, nothing is learned.
func TestClimb_LearnsNothingFromAQuietLane(t *testing.T) {
	c := newClimb(8)
	now := time.Now()
	for range 1000 {
		now = now.Add(callTakes)
		if c.took(now, 3, 1) {
			t.Fatal("it changed")
		}
	}
}
