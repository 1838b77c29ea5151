package limit_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core/limit"
)

const tick = time.Nanosecond

func TestReserve_LetsTheBurstThroughThenTheRate(t *testing.T) {
	now := time.Now()
	l := limit.New(80, 3)
	for i, want := range []time.Duration{0, 0, 0, 12500 * time.Microsecond, 25 * time.Millisecond} {
		if got := l.Reserve(now, 1); got != want {
			t.Errorf("reservation %d waits %v, want %v", i, got, want)
		}
	}
}

func TestReserve_CountsEachOfSeveral(t *testing.T) {
	now := time.Now()
	l := limit.New(10, 5)
	if got := l.Reserve(now, 4); got != 0 {
		t.Errorf("four of a burst of five wait %v", got)
	}
	if got, want := l.Reserve(now, 3), 200*time.Millisecond; got != want {
		t.Errorf("two too many wait %v, want %v", got, want)
	}
	l = limit.New(10, 5)
	if got, want := l.Reserve(now, 20), 1500*time.Millisecond; got != want {
		t.Errorf("fifteen more than the burst wait %v, want %v", got, want)
	}
}

func TestNext_IsExactToTheTick(t *testing.T) {
	now := time.Now()
	l := limit.New(1.0/6, 1) // as WhatsApp's pair rate
	l.Reserve(now, 1)
	next := l.Next(now)
	if want := now.Add(6 * time.Second); !next.Equal(want) {
		t.Fatalf("next is in %v, want 6s", next.Sub(now))
	}
	if got := l.Next(next.Add(-tick)); !got.Equal(next) {
		t.Errorf("one tick before, next is %v later", got.Sub(next))
	}
	for _, at := range []time.Time{next, next.Add(tick)} {
		if got := l.Next(at); !got.Equal(at) {
			t.Errorf("%v after it was due, one more must still wait %v", at.Sub(next), got.Sub(at))
		}
	}
}

func TestReserve_ForgivesLatenessUpToTheSlackAndNoMore(t *testing.T) {
	const period = 100 * time.Millisecond
	for late, want := range map[time.Duration]time.Duration{
		0:                  period,
		limit.Slack - tick: period - limit.Slack + tick,
		limit.Slack:        period - limit.Slack,
		limit.Slack + tick: period, // a rest, not a late timer
		100 * period:       period,
	} {
		now := time.Now()
		l := limit.New(10, 1)
		l.Reserve(now, 1)
		at := now.Add(period + late)
		if wait := l.Reserve(at, 1); wait != 0 {
			t.Errorf("%v late: waits %v", late, wait)
		}
		if got := l.Next(at).Sub(at); got != want {
			t.Errorf("%v late: the one after waits %v, want %v", late, got, want)
		}
	}
}

// upTo returns a time from 0 to most.
func upTo(rnd *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(rnd.Int64N(int64(most) + 1))
}

// letThrough runs callers that each wait as often as asked, and returns when
// each call went. A caller may rest before a call, for up to idle, and works
// for up to busy after one.
func letThrough(t *testing.T, l *limit.Limiter, rnd *rand.Rand, callers, each int, busy, idle time.Duration) (went []time.Time) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range callers {
		seed := rnd.Uint64()
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 1))
			for range each {
				if idle > 0 && rnd.IntN(4) == 0 {
					<-time.After(upTo(rnd, idle))
				}
				if err := l.Wait(t.Context(), 1); err != nil {
					t.Errorf("wait: %v", err)
					return
				}
				mu.Lock()
				went = append(went, time.Now())
				mu.Unlock()
				if busy > 0 {
					<-time.After(upTo(rnd, busy))
				}
			}
		})
	}
	wg.Wait()
	return went
}

func TestWait_NeverExceedsTheBoundInAnySpan(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 0))
				rate, burst := []float64{0.5, 3, 80, 999, 4000}[rnd.IntN(5)], 1+rnd.IntN(20)
				l := limit.New(rate, burst)
				idle := time.Duration(float64(time.Second) * 10 / rate)
				went := letThrough(t, l, rnd, 1+rnd.IntN(8), 60, time.Duration(rnd.IntN(3))*time.Millisecond, idle)
				for i := range went {
					for j := i; j < len(went); j++ {
						span := (went[j].Sub(went[i]) + limit.Slack).Seconds()
						if n, bound := float64(j-i+1), float64(burst)+rate*span; n > bound+1e-6 {
							t.Fatalf("rate %v, burst %d: %v went within %v, want at most %v", rate, burst, n, went[j].Sub(went[i]), bound)
						}
					}
				}
			})
		})
	}
}

func TestWait_LosesNoRateWhileSomethingWaits(t *testing.T) {
	for _, rate := range []float64{7, 80, 1000, 20000} {
		synctest.Test(t, func(t *testing.T) {
			const n = 2000
			start := time.Now()
			l := limit.New(rate, 1)
			went := letThrough(t, l, rand.New(rand.NewPCG(1, 1)), 4, n/4, 0, 0)
			took := went[len(went)-1].Sub(start)
			if want := time.Duration(float64(n-1) / rate * float64(time.Second)); took < want || took > want+n {
				t.Errorf("%d calls at %v a second took %v, want %v", n, rate, took, want)
			}
		})
	}
}

// TestReserve_LosesNoRateToLateTimers takes the place of a machine whose timers
// are always late: one that comes up to Slack after its turn still keeps pace.
func TestReserve_LosesNoRateToLateTimers(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	start := time.Now()
	l := limit.New(80, 1)
	at := start
	const n = 80 * 60
	for range n {
		wake := l.Next(at).Add(upTo(rnd, limit.Slack))
		if wait := l.Reserve(wake, 1); wait != 0 {
			t.Fatalf("came after its turn, and must wait %v", wait)
		}
		at = wake
	}
	if took := at.Sub(start); took > time.Minute+limit.Slack {
		t.Errorf("a minute's calls took %v", took)
	}
}

func TestWait_ServesInTheOrderOfComing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(10, 1)
		const n = 10
		got := make(chan int, n)
		for i := range n {
			go func() {
				if err := l.Wait(t.Context(), 1); err != nil {
					t.Error(err)
				}
				got <- i // they go 100 ms apart
			}()
			synctest.Wait()
		}
		for want := range n {
			if i := <-got; i != want {
				t.Fatalf("caller %d went before caller %d", i, want)
			}
		}
	})
}

func TestWait_TakesNothingWhenGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(1, 1)
		l.Reserve(time.Now(), 1)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second-tick)
		defer cancel()
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if err := l.Wait(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("wait: %v, want the deadline", err)
				}
			})
		}
		wg.Wait()
		if err := l.Wait(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start); got != time.Second {
			t.Errorf("after five gave up, the next went after %v, want 1s", got)
		}
	})
}

func TestWait_RefusesAnEndedContextEvenWhenFree(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := limit.New(1, 1)
	if err := l.Wait(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v", err)
	}
	if now := time.Now(); !l.Next(now).Equal(now) {
		t.Error("it took one all the same")
	}
}

func TestWait_TakesMoreThanTheBurstABurstAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		l := limit.New(10, 5)
		if err := l.Wait(t.Context(), 20); err != nil {
			t.Fatal(err)
		}
		if got, want := time.Since(start), 1500*time.Millisecond; got != want {
			t.Errorf("went after %v, want %v", got, want)
		}
	})
}

func TestSetRate_ReachesThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		l := limit.New(0.1, 1)
		l.Reserve(start, 1)
		done := make(chan time.Duration, 1)
		go func() {
			if err := l.Wait(t.Context(), 1); err != nil {
				t.Error(err)
			}
			done <- time.Since(start)
		}()
		<-time.After(5 * time.Second) // half of it is paid
		l.SetRate(time.Now(), 1, 1)
		if got, want := <-done, 5500*time.Millisecond; got != want {
			t.Errorf("went after %v, want %v", got, want)
		}
	})
}

func TestSetRate_SlowerHoldsBackThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		l := limit.New(1, 1)
		l.Reserve(start, 1)
		l.SetRate(start, 0.5, 1)
		if got, want := l.Next(start), start.Add(2*time.Second); !got.Equal(want) {
			t.Errorf("next in %v, want 2s", got.Sub(start))
		}
		l.SetRate(start, 0, 1)
		if got := l.Next(start); !got.Equal(start) {
			t.Errorf("without a limit, next in %v", got.Sub(start))
		}
		if got := l.Rate(); got != 0 {
			t.Errorf("rate %v", got)
		}
	})
}

func TestNew_TakesWhatIsNoRateAsNoLimit(t *testing.T) {
	now := time.Now()
	limiters := map[string]*limit.Limiter{"nil": nil}
	for _, rate := range []float64{0, -1, math.NaN(), math.Inf(1), math.Inf(-1)} {
		limiters[fmt.Sprint(rate)] = limit.New(rate, 0)
	}
	for name, l := range limiters {
		for range 3 {
			if wait := l.Reserve(now, 1e6); wait != 0 {
				t.Errorf("%s: waits %v", name, wait)
			}
		}
		if err := l.Wait(t.Context(), 1000); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := l.Next(now); !got.Equal(now) || l.Rate() != 0 {
			t.Errorf("%s: next in %v, rate %v", name, got.Sub(now), l.Rate())
		}
	}
}

func TestReserve_SurvivesAbsurdNumbers(t *testing.T) {
	now := time.Now()
	l := limit.New(1e-12, math.MaxInt)
	for range 20 {
		l.Reserve(now, math.MaxInt)
	}
	if wait := l.Reserve(now, 1); wait < 0 {
		t.Errorf("waits %v", wait)
	}
	l = limit.New(1e-12, 1)
	l.Reserve(now, 1)
	if wait := l.Reserve(now, 1); wait < 24*time.Hour {
		t.Errorf("one in thirty thousand years waits %v", wait)
	}
}

func BenchmarkWait(b *testing.B) {
	l := limit.New(1e9, 1e9)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := l.Wait(b.Context(), 1); err != nil {
				b.Fatal(err)
			}
		}
	})
}
