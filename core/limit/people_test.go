package limit_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wabridge/wabridge/core/limit"
)

func someone(key string) limit.Person { return limit.Person{Tenant: "acme", Key: key} }

func TestPeople_CountDifferentOnesInAMovingDay(t *testing.T) {
	const day = 24 * time.Hour
	p := limit.NewPeople(250, day)
	for i := range 250 {
		if wait := p.Take(budgetDay.Add(time.Duration(i)*time.Second), someone(fmt.Sprint(i)), false); wait != 0 {
			t.Fatalf("the %dth waits %v", i+1, wait)
		}
	}
	later := budgetDay.Add(time.Hour)
	if p.Take(later, someone("7"), false) != 0 {
		t.Error("who was written to waits")
	}
	wait := p.Take(later, someone("new"), false)
	if want := budgetDay.Add(day).Sub(later); wait != want {
		t.Errorf("the 251st waits %v, want %v", wait, want)
	}
	if p.Take(later.Add(wait-tick), someone("new"), false) == 0 {
		t.Error("it went a tick too early")
	}
	if p.Take(later.Add(wait), someone("new"), false) != 0 {
		t.Error("it did not go in time")
	}
	if p.SetMost(0); p.Take(later, someone("another"), false) != 0 {
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
			if wait := p.Take(now, someone(key), false); wait > 0 {
				if wait > window {
					t.Fatalf("waits %v, the window is %v", wait, window)
				}
				if now = now.Add(wait); p.Take(now, someone(key), false) != 0 {
					t.Fatal("it may not go after the wait it was told")
				}
			}
			log = append(log, sent{now, key})
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				p = limit.NewPeople(most, window)
				for _, s := range log {
					p.Restore(s.at, someone(s.key), false)
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

// Several tenants ask at random, with campaigns and without, and come again when they were
// told to: no more people than may be within any window, campaigns leave some to others,
// and everybody who waits gets their turn.
func TestPeople_AreSharedFairly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const window = time.Hour
		most := rapid.IntRange(4, 40).Draw(t, "most")
		tenants := []string{"a", "b", "c"}[:rapid.IntRange(1, 3).Draw(t, "tenants")]
		p := limit.NewPeople(most, window)
		for _, n := range tenants {
			p.Join(n)
		}
		type ask struct {
			due, since time.Time
			who        limit.Person
			campaign   bool
		}
		var waiting []ask
		var log []ask // that went, due is when
		now, n := budgetDay, 0
		turn := func(a ask) {
			if wait := p.Take(now, a.who, a.campaign); wait > 0 {
				if wait > window {
					t.Fatalf("waits %v, the window is %v", wait, window)
				}
				a.due = now.Add(wait)
				waiting = append(waiting, a)
				return
			}
			a.due = now
			log = append(log, a)
		}
		pass := func(until time.Time) {
			for {
				slices.SortStableFunc(waiting, func(x, y ask) int { return x.due.Compare(y.due) })
				if len(waiting) == 0 || waiting[0].due.After(until) {
					break
				}
				a := waiting[0]
				waiting = waiting[1:]
				if a.due.After(now) {
					now = a.due
				}
				turn(a)
			}
			now = until
		}
		for range rapid.IntRange(1, 60).Draw(t, "bursts") {
			who, campaign := rapid.SampledFrom(tenants).Draw(t, "tenant"), rapid.Bool().Draw(t, "campaign")
			for range rapid.IntRange(1, 10).Draw(t, "people") {
				n++
				turn(ask{since: now, who: limit.Person{Tenant: who, Key: fmt.Sprint(n)}, campaign: campaign})
			}
			pass(now.Add(time.Duration(rapid.Int64Range(0, int64(window)/8).Draw(t, "after"))))
		}
		pass(now.Add(time.Duration(n/max(1, most/2)+4) * window))
		if len(waiting) > 0 {
			t.Fatalf("%d of %d still wait", len(waiting), n)
		}
		for i := range log {
			all, campaigns := 0, 0
			for j := i; j >= 0 && log[i].due.Sub(log[j].due) < window; j-- {
				if all++; log[j].campaign {
					campaigns++
				}
			}
			if all > most || campaigns > most-most/limit.Spare {
				t.Fatalf("%d people, %d of them by campaigns, within a window of %d", all, campaigns, most)
			}
		}
	})
}

// One tenant has used everything up and wants more; another that comes later gets what gets free
// until it has its part.
func TestPeople_ATenantThatComesLaterGetsItsPart(t *testing.T) {
	p := limit.NewPeople(10, time.Hour)
	p.Join("big")
	p.Join("small")
	for i := range 10 {
		p.Take(budgetDay.Add(time.Duration(i)*time.Minute), limit.Person{Tenant: "big", Key: fmt.Sprint(i)}, false)
	}
	now := budgetDay.Add(30 * time.Minute)
	for i := range 50 {
		if p.Take(now, limit.Person{Tenant: "big", Key: fmt.Sprint("more", i)}, false) == 0 {
			t.Fatal("more than may be")
		}
	}
	small := limit.Person{Tenant: "small", Key: "first"}
	if wait := p.Take(now, small, false); wait != 30*time.Minute {
		t.Errorf("the other's first waits %v, want until the first one ends", wait)
	}
	now = budgetDay.Add(time.Hour)
	if p.Take(now, limit.Person{Tenant: "big", Key: "more0"}, false) == 0 {
		t.Error("who has more than its part took what another waits for")
	}
	if p.Take(now, small, false) != 0 {
		t.Error("who waits did not get it")
	}
}
