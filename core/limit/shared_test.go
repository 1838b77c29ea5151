package limit

import (
	"testing"
	"time"
)

// Two want all they can get, and one little: that one never waits, the two get the same, and
// all together no more than there is, and no less.
func TestShared_GivesEachTheirPart(t *testing.T) {
	const hours = 10
	s := NewShared(36*time.Second, 100) // 200 in an hour
	for _, who := range []string{"greedy", "greedier", "modest"} {
		s.Join(who)
		s.Join(who)
	}
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	took := map[string]int{}
	for at := time.Duration(0); at < hours*time.Hour; at += time.Second {
		now := begin.Add(at)
		for s.Take(now, "greedier") <= 0 {
			took["greedier"]++
		}
		if s.Take(now, "greedy") <= 0 {
			took["greedy"]++
		}
		if at%(2*time.Minute) == 0 {
			if wait := s.Take(now, "modest"); wait > 0 {
				t.Fatalf("after %v, one that takes little waits for %v", at, wait)
			}
			took["modest"]++
		}
	}
	if sum := took["greedy"] + took["greedier"] + took["modest"]; sum > 100+hours*100 || sum < hours*100+50 {
		t.Errorf("%d were let through: %v", sum, took)
	}
	if took["greedy"] < hours*33 {
		t.Errorf("one has less than a third: %v", took)
	}
}

func TestShared_IsAllOfOneWhoIsAlone(t *testing.T) {
	s := NewShared(time.Second, 10)
	s.Join("alone")
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 10 {
		if wait := s.Take(now, "alone"); wait > 0 {
			t.Fatalf("the %d. waits for %v", i+1, wait)
		}
	}
	if wait := s.Take(now, "alone"); wait != time.Second {
		t.Errorf("the next waits for %v", wait)
	}
}

// What others let lie one may have, but for what is theirs of the burst.
func TestShared_LeavesToOthersOfTheBurst(t *testing.T) {
	s := NewShared(time.Second, 100)
	s.Join("a")
	s.Join("b")
	now, took := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), 0
	for s.Take(now, "a") <= 0 {
		took++
	}
	if took != 75 {
		t.Errorf("one took %d at once", took)
	}
	for i := range 25 {
		if wait := s.Take(now, "b"); wait > 0 {
			t.Fatalf("the other's %d. waits for %v", i+1, wait)
		}
	}
}
