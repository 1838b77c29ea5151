package limit_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wabridge/wabridge/core/limit"
)

var budgetDay = time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)

// Work of any steady cost, begun whenever it may be, never costs more in any window
// than there is, and the budget does not lie idle.
func TestBudget_HoldsInAnyWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		calls := rapid.IntRange(1, 500).Draw(t, "calls")
		per := rapid.SampledFrom([]time.Duration{time.Second, 10 * time.Second, 24 * time.Hour}).Draw(t, "per")
		cost := rapid.IntRange(1, max(1, calls/20)).Draw(t, "cost")
		b := limit.NewBudget(budgetDay, calls, per)
		// It learns what the work costs.
		r, _ := b.Begin(budgetDay)
		b.End(budgetDay, r, cost)
		now := budgetDay.Add(2 * per)
		begin := now
		var spent []time.Time
		for now.Before(begin.Add(3 * per)) {
			if rapid.IntRange(0, 9).Draw(t, "rest") == 0 {
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(per)).Draw(t, "for")))
			}
			r, wait := b.Begin(now)
			if wait > 0 {
				now = now.Add(wait)
				continue
			}
			for range cost {
				spent = append(spent, now)
			}
			b.End(now, r, cost)
		}
		for i := range spent {
			if j := i + calls; j < len(spent) && spent[j].Sub(spent[i]) < per {
				t.Fatalf("%d calls within %v, of %d in %v", calls+1, spent[j].Sub(spent[i]), calls, per)
			}
		}
	})
}

func TestBudget_IsUsedUpByAGreedyOne(t *testing.T) {
	const calls, cost = 100, 7
	b := limit.NewBudget(budgetDay, calls, 10*time.Second)
	now, spent := budgetDay, 0
	for now.Before(budgetDay.Add(100 * time.Second)) {
		r, wait := b.Begin(now)
		if wait > 0 {
			now = now.Add(wait)
			continue
		}
		spent += cost
		b.End(now, r, cost)
	}
	if spent < 900 || spent > 1000 {
		t.Errorf("%d calls in ten windows of %d: too many, or much is left unused", spent, calls)
	}
}

// However much was begun at once, and expected to cost fractions of a call: when all of it
// is paid for, the next may begin, also where a single call is all the room there is.
func TestBudget_NeverStopsForGood(t *testing.T) {
	for cheap := range 40 {
		b, now := limit.NewBudget(budgetDay, 5, time.Second), budgetDay
		for range cheap { // less and less is expected
			r, _ := b.Begin(now)
			b.End(now, r, 0)
		}
		var begun []float64
		for len(begun) < 20 {
			r, wait := b.Begin(now)
			if wait > 0 {
				break
			}
			begun = append(begun, r)
		}
		for _, r := range begun {
			b.End(now, r, 1)
		}
		if _, wait := b.Begin(now.Add(time.Minute)); wait > 0 {
			t.Errorf("%d begun at once after %d cheap ones: a minute later it waits %v more", len(begun), cheap, wait)
		}
	}
}

// Who rested may begin at once, and pays for that during one window; who works on has
// nearly all calls then, and never waits long.
func TestBudget_IsEvenForWhoWorksOn(t *testing.T) {
	const calls, cost = 190, 3
	b := limit.NewBudget(budgetDay, calls, 10*time.Second)
	r, _ := b.Begin(budgetDay)
	b.End(budgetDay, r, cost)
	rested := budgetDay.Add(time.Minute)
	burst := 0
	var longest [3]time.Duration // of the waits in each window
	for now := rested; now.Before(rested.Add(30 * time.Second)); {
		r, wait := b.Begin(now)
		window := int(now.Sub(rested) / (10 * time.Second))
		longest[window] = max(longest[window], wait)
		if wait > 0 {
			now = now.Add(wait)
			continue
		}
		if now.Equal(rested) {
			burst++
		}
		b.End(now, r, cost)
	}
	if burst != 6 || longest[0] > 176*time.Millisecond || longest[2] > 163*time.Millisecond {
		t.Errorf("%d at once, then at most %v apart, and %v later; want 6, 175ms and 162ms", burst, longest[0], longest[2])
	}
}

func TestBudget_CountsWhatIsNotDone(t *testing.T) {
	b := limit.NewBudget(budgetDay, 100, 10*time.Second) // 10 at once
	r, _ := b.Begin(budgetDay)
	b.End(budgetDay, r, 5)
	now := budgetDay.Add(time.Minute)
	begun := 0
	for range 20 {
		if _, wait := b.Begin(now); wait == 0 {
			begun++
		}
	}
	if begun != 2 {
		t.Errorf("%d pieces of work of 5 calls began at once, 10 calls may be made", begun)
	}
}

func TestBudget_PaysOffWhatWasDearer(t *testing.T) {
	b := limit.NewBudget(budgetDay, 100, 10*time.Second) // 9 a second
	r, _ := b.Begin(budgetDay)
	b.End(budgetDay, r, 100) // 90 are owed, and the next is not expected to be as dear
	_, wait := b.Begin(budgetDay)
	if want := 91 * time.Second / 9; wait < want || wait > want+time.Millisecond {
		t.Errorf("it waits %v, want %v", wait, want)
	}
	if _, again := b.Begin(budgetDay.Add(wait - time.Microsecond)); again == 0 {
		t.Error("it began a tick too early")
	}
	if _, again := b.Begin(budgetDay.Add(wait)); again != 0 {
		t.Errorf("it did not begin in time: %v more", again)
	}
}

func TestBudget_TakesUpWhatWasKept(t *testing.T) {
	b := limit.NewBudget(budgetDay, 24_000, 24*time.Hour)
	r, _ := b.Begin(budgetDay)
	b.End(budgetDay, r, 12_000)
	if left := b.Level(budgetDay.Add(time.Hour)); left < 499 || left > 501 {
		t.Errorf("%v are left after an hour, want 500", left)
	}
	again := limit.NewBudget(budgetDay, 24_000, 24*time.Hour)
	again.Restore(budgetDay.Add(time.Hour), 500)
	if left := again.Level(budgetDay.Add(2 * time.Hour)); left < 999 || left > 1001 {
		t.Errorf("%v are left an hour later, want 1000", left)
	}
	again.Correct(budgetDay.Add(2*time.Hour), 3)
	if left := again.Level(budgetDay.Add(2 * time.Hour)); left != 3 {
		t.Errorf("%v are left, and somebody who knows says 3", left)
	}
}

// A lane asks every budget of its connector, also those that its calls never touch.
func TestBudget_DoesNotHoldUpWhoNeverSpends(t *testing.T) {
	b := limit.NewBudget(budgetDay, 5, time.Second) // one at once
	for range 20 {
		r, _ := b.Begin(budgetDay)
		b.End(budgetDay, r, 0)
	}
	for i := range 5 {
		if _, wait := b.Begin(budgetDay); wait > 0 {
			t.Errorf("of five at once that spend nothing, number %d waits %v", i+1, wait)
		}
	}
}
