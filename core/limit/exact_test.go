package limit_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/wabridge/wabridge/core/limit"
)

// However late its callers come, and whatever the rate is changed to: no more than the rate
// in any second; and whoever always waits gets it.
func TestExact_NeverExceedsAndNeverStarves(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rates := []float64{20, 80, 250}
		rate := rapid.SampledFrom(rates).Draw(rt, "rate")
		late := rapid.Int64Range(0, int64(limit.Slack)).Draw(rt, "late")
		idle := rapid.Int64Range(0, int64(3*time.Second)).Draw(rt, "idle")
		then := rapid.SampledFrom(rates).Draw(rt, "then")
		type send struct {
			at   time.Time
			rate float64
		}
		var log []send
		bad := ""
		synctest.Test(t, func(t *testing.T) {
			l := limit.NewExact(rate, max(1, int(rate/200)))
			busy := func(span time.Duration, rate float64) {
				began, n := time.Now(), 0
				for time.Since(began) < span {
					if err := l.Wait(t.Context(), 1); err != nil {
						t.Error(err)
					}
					log = append(log, send{time.Now(), rate})
					if n++; n%7 == 0 {
						time.Sleep(time.Duration(late)) // the caller was busy with something else
					}
				}
				if least := rate * (span - 11*time.Second/10).Seconds() * 0.98; float64(n) < least {
					bad = "it starves"
				}
			}
			busy(3*time.Second, rate)
			time.Sleep(time.Duration(idle))
			busy(1500*time.Millisecond, rate)
			l.SetRate(time.Now(), then, max(1, int(then/200)))
			busy(3*time.Second, then)
		})
		for i, j := 0, 0; i < len(log); i++ {
			for log[i].at.Sub(log[j].at) >= time.Second {
				j++
			}
			if n := i - j + 1; float64(n) > max(log[j].rate, log[i].rate) {
				rt.Fatalf("%d within a second, of %v and then %v", n, rate, then)
			}
		}
		if bad != "" {
			rt.Fatal(bad)
		}
	})
}

func TestExact_WaitsForTheSecondToBeOver(t *testing.T) {
	l := limit.NewExact(2, 5)
	for range 2 {
		if wait := l.Reserve(budgetDay, 1); wait != 0 {
			t.Fatalf("waits %v", wait)
		}
	}
	if wait := l.Reserve(budgetDay, 1); wait != time.Second {
		t.Errorf("the third of a second waits %v, want until it is over", wait)
	}
}

// Who prepares what goes next comes as much earlier as that takes, counts what is prepared
// already, and hears of a new rate as the one does who waits to go.
func TestReady_ComesEarlyAndHearsOfARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.NewExact(10, 1)
		began := time.Now()
		ready := func(within time.Duration, n int) time.Duration {
			if err := l.Ready(t.Context(), within, func() int { return n }, nil); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		if at := ready(0, 1); at != 0 {
			t.Errorf("the first is ready after %v", at)
		}
		l.Reserve(time.Now(), 1)
		if at := ready(60*time.Millisecond, 1); at != 40*time.Millisecond {
			t.Errorf("the second, which takes 60 ms to prepare, after %v, want 40 ms", at)
		}
		if at := ready(160*time.Millisecond, 2); at != 40*time.Millisecond {
			t.Errorf("the third, which takes 160 ms, after %v, want 40 ms", at)
		}
		var left atomic.Int64
		left.Store(5)
		again := make(chan struct{}, 1)
		time.AfterFunc(70*time.Millisecond, func() { left.Store(1); again <- struct{}{} })
		if err := l.Ready(t.Context(), 0, func() int { return int(left.Load()) }, again); err != nil || time.Since(began) != 110*time.Millisecond {
			t.Errorf("when less is prepared than was, it is ready after %v (%v), want at once", time.Since(began), err)
		}
		l.SetRate(time.Now(), 0.001, 1)
		l.Reserve(time.Now(), 1)
		time.AfterFunc(time.Second, func() { l.SetRate(time.Now(), 1000, 1) })
		both := make(chan time.Duration, 2)
		go func() { _ = l.Wait(t.Context(), 1); both <- time.Since(began) }()
		go func() { both <- ready(0, 1) }()
		for range 2 {
			if at := <-both; at > 1300*time.Millisecond {
				t.Errorf("one of two did not hear of the new rate until %v", at)
			}
		}
	})
}
