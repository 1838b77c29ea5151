package limit_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wabridge/wabridge/core/limit"
)

// A message in six seconds to one person, forty-five at once: Meta's pair rate.
func TestPairs_LetOneThroughInAPeriodAndABurst(t *testing.T) {
	p := limit.NewPairs(6*time.Second, 45)
	now := budgetDay
	for i := range 45 {
		if wait := p.Take(now, "ana"); wait != 0 {
			t.Fatalf("the %dth of a burst waits %v", i+1, wait)
		}
	}
	wait := p.Take(now, "ana")
	if wait != 6*time.Second {
		t.Errorf("the 46th waits %v, want 6s", wait)
	}
	if p.Take(now.Add(wait-tick), "ana") == 0 {
		t.Error("it went a tick too early")
	}
	if p.Take(now, "bo") != 0 {
		t.Error("another waits for her")
	}
	if p.Take(now.Add(wait), "ana") != 0 || p.Take(now.Add(wait), "ana") == 0 {
		t.Error("when it was over, not just one may go")
	}
}

// Whatever is asked when: in no span of time goes more to one than the burst and what
// the time pays for, and who waits as long as told may go.
func TestPairs_NeverExceedAndNeverStarve(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		period := time.Duration(rapid.IntRange(1, 10).Draw(t, "period")) * time.Second
		burst := rapid.IntRange(1, 50).Draw(t, "burst")
		p := limit.NewPairs(period, burst)
		now := budgetDay
		went := map[string][]time.Time{}
		for range rapid.IntRange(1, 300).Draw(t, "times") {
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(2*period)).Draw(t, "after")))
			wait := p.Take(now, key)
			if wait > 0 {
				if wait > period {
					t.Fatalf("waits %v, a period is %v", wait, period)
				}
				if now = now.Add(wait); p.Take(now, key) != 0 {
					t.Fatal("it may not go after the wait it was told")
				}
			}
			went[key] = append(went[key], now)
		}
		for key, at := range went {
			for i := range at {
				for j := i; j < len(at); j++ {
					if span := at[j].Sub(at[i]); j-i+1 > burst+int(span/period) {
						t.Fatalf("%s: %d within %v", key, j-i+1, span)
					}
				}
			}
		}
	})
}

func TestPeople_CountDifferentOnesInAMovingDay(t *testing.T) {
	const day = 24 * time.Hour
	p := limit.NewPeople(250, day)
	for i := range 250 {
		if wait := p.Take(budgetDay.Add(time.Duration(i)*time.Second), fmt.Sprint(i)); wait != 0 {
			t.Fatalf("the %dth waits %v", i+1, wait)
		}
	}
	later := budgetDay.Add(time.Hour)
	if p.Take(later, "7") != 0 {
		t.Error("who was written to waits")
	}
	wait := p.Take(later, "new")
	if want := budgetDay.Add(day).Sub(later); wait != want {
		t.Errorf("the 251st waits %v, want %v", wait, want)
	}
	if p.Take(later.Add(wait-tick), "new") == 0 {
		t.Error("it went a tick too early")
	}
	if p.Take(later.Add(wait), "new") != 0 {
		t.Error("it did not go in time")
	}
	if p.SetMost(0); p.Take(later, "another") != 0 {
		t.Error("without a limit one waits")
	}
}

func TestPeople_NeverExceed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 8).Draw(t, "most")
		window := time.Minute
		p := limit.NewPeople(most, window)
		now := budgetDay
		type sent struct {
			at  time.Time
			key string
		}
		var log []sent
		for range rapid.IntRange(1, 200).Draw(t, "times") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(window)/4).Draw(t, "after")))
			key := fmt.Sprint(rapid.IntRange(0, 15).Draw(t, "key"))
			if wait := p.Take(now, key); wait > 0 {
				if wait > window {
					t.Fatalf("waits %v, the window is %v", wait, window)
				}
				if now = now.Add(wait); p.Take(now, key) != 0 {
					t.Fatal("it may not go after the wait it was told")
				}
			}
			log = append(log, sent{now, key})
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				p = limit.NewPeople(most, window)
				for _, s := range log {
					p.Restore(s.at, s.key)
				}
			}
		}
		for i := range log {
			var different []string
			for j := i; j >= 0 && log[i].at.Sub(log[j].at) < window; j-- {
				if !slices.Contains(different, log[j].key) {
					different = append(different, log[j].key)
				}
			}
			if len(different) > most {
				t.Fatalf("%d different ones within %v, of %d", len(different), window, most)
			}
		}
	})
}
