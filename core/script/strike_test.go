package script

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestEngine_CountsThreeKillsWithinTenMinutes(t *testing.T) {
	for _, c := range []struct {
		at  []time.Duration
		off bool
	}{
		{[]time.Duration{0, 5 * time.Minute, 10 * time.Minute}, true},
		{[]time.Duration{0, 5 * time.Minute, 10*time.Minute + 1}, false},
		{[]time.Duration{0, 1, 11 * time.Minute, 11*time.Minute + 1}, false},
		{[]time.Duration{0, 9 * time.Minute, 11 * time.Minute, 12 * time.Minute}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			e, began := New(Options{}), time.Now()
			tn := &tenant{id: "shop"}
			for _, at := range c.at {
				time.Sleep(time.Until(began.Add(at)))
				e.strike(tn, "killed")
			}
			if tn.off != c.off {
				t.Errorf("kills at %v: off is %v, want %v", c.at, tn.off, c.off)
			}
		})
	}
}
