package rig

import (
	"fmt"
	"slices"
	"time"
)

// Latencies are durations to be summed up.
type Latencies []time.Duration

// P returns the duration that a share p (0 to 1) does not exceed.
func (l Latencies) P(p float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	slices.Sort(l)
	return l[min(len(l)-1, int(p*float64(len(l))))]
}

// String tells the p50, the p99 and the longest.
func (l Latencies) String() string {
	return fmt.Sprintf("p50 %s, p99 %s, max %s", round(l.P(.5)), round(l.P(.99)), round(l.P(1)))
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
