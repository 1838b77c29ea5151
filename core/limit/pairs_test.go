package limit_test

import (
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

// Over restarts at any time, with what was to be kept, no more goes to one than without.
func TestPairs_NeverExceedOverRestarts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const period, burst = time.Second, 20
		p := limit.NewPairs(period, burst)
		now, stored := budgetDay, map[string]time.Time{}
		went := map[string][]time.Time{}
		for range rapid.IntRange(1, 200).Draw(t, "times") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(period)/2).Draw(t, "after")))
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				p = limit.NewPairs(period, burst)
				p.Restart(now)
				for k, at := range stored {
					p.Restore(k, at)
				}
			}
			key := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key")
			if p.Take(now, key) > 0 {
				continue
			}
			went[key] = append(went[key], now)
			if keep := p.Kept(now, key); !keep.IsZero() {
				stored[key] = keep
			}
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
