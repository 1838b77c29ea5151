package plugin

import (
	"testing"
	"time"
)

func TestBudget_WaitsLongerWithEachCrashAndThenForLong(t *testing.T) {
	b := budget{crashes: 5, window: 5 * time.Minute, pause: 10 * time.Minute}
	now := time.Unix(0, 0)
	for i, most := range []time.Duration{200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond, 1600 * time.Millisecond} {
		wait, quarantined := b.failed(now, 0, false)
		if quarantined || wait < most/2 || wait > most {
			t.Errorf("crash %d: wait %v, quarantined %v; want %v to %v", i+1, wait, quarantined, most/2, most)
		}
		now = now.Add(wait)
	}
	if wait, quarantined := b.failed(now, 0, false); !quarantined || wait != 10*time.Minute {
		t.Errorf("crash 5: wait %v, quarantined %v; want quarantine for 10 minutes", wait, quarantined)
	}
}

func TestBudget_ForgetsCrashesOfLongAgo(t *testing.T) {
	b := budget{crashes: 3, window: time.Minute, pause: time.Hour}
	now := time.Unix(0, 0)
	for i := range 10 {
		if _, quarantined := b.failed(now, 0, false); quarantined {
			t.Fatalf("crash %d, one every 31 seconds, went into quarantine", i+1)
		}
		now = now.Add(31 * time.Second)
	}
	now = now.Add(-2 * time.Second) // the last three within a minute
	if _, quarantined := b.failed(now, 0, false); quarantined {
		t.Error("the crash 60 s ago counts")
	}
	if _, quarantined := b.failed(now, 0, false); !quarantined {
		t.Error("three crashes within the window do not count")
	}
}

func TestBudget_GivesOneTrialAfterQuarantine(t *testing.T) {
	now := time.Unix(0, 0)
	for _, tc := range []struct {
		ran  time.Duration
		want bool
	}{{0, true}, {59 * time.Second, true}, {time.Minute, false}} {
		b := budget{crashes: 2, window: time.Minute, pause: time.Hour}
		b.failed(now, 0, false)
		b.failed(now, 0, false)
		if _, got := b.failed(now.Add(time.Hour), tc.ran, false); got != tc.want {
			t.Errorf("a crash after the trial ran for %v: quarantined %v, want %v", tc.ran, got, tc.want)
		}
	}
}

func TestBudget_DoesNotTryTheHopelessAgainSoon(t *testing.T) {
	b := budget{crashes: 5, window: time.Minute, pause: time.Hour}
	if wait, quarantined := b.failed(time.Unix(0, 0), 0, true); !quarantined || wait != time.Hour {
		t.Errorf("got %v, %v", wait, quarantined)
	}
	b.reset()
	if _, quarantined := b.failed(time.Unix(0, 0), 0, false); quarantined {
		t.Error("a reset does not clear the record")
	}
}

func TestBudget_CapsTheBackoff(t *testing.T) {
	b := budget{crashes: 1000, window: time.Hour, pause: time.Hour}
	for range 100 {
		if wait, _ := b.failed(time.Unix(0, 0), 0, false); wait > maxBackoff || wait <= 0 {
			t.Fatalf("wait is %v", wait)
		}
	}
}
