package limit

import (
	"sync"
	"time"
)

// Shared lets one through in a period, with a burst that borrows from the time to come, for
// all who share it. Each has an equal part that is theirs, whatever others take: of the
// time, and of half of the burst. What nobody wants anybody may have. Its methods may be
// called concurrently.
type Shared struct {
	period time.Duration
	burst  int
	all    *Pairs

	mu  sync.Mutex
	own map[string]*Pairs // what is theirs
}

// NewShared lets one through in a period, and burst at once after a rest.
func NewShared(period time.Duration, burst int) *Shared {
	burst = max(1, burst)
	return &Shared{period: period, burst: burst, all: NewPairs(period, burst), own: map[string]*Pairs{}}
}

// Join has one more share it. All should have joined before the first takes: what is theirs
// begins anew.
func (s *Shared) Join(who string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own[who] != nil {
		return
	}
	s.own[who] = nil
	for name := range s.own {
		s.own[name] = NewPairs(s.period*time.Duration(len(s.own)), s.part())
	}
}

// part is how many of the burst are each one's. Callers hold mu.
func (s *Shared) part() int { return max(1, s.burst/2/len(s.own)) }

// Take takes one for somebody who has joined, if it may go at now; otherwise it says how
// long that lasts.
func (s *Shared) Take(now time.Time, who string) (wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.own) <= 1 {
		return s.all.Take(now, "")
	}
	wait = s.own[who].Take(now, "")
	if wait <= 0 {
		return s.all.Take(now, "") // the others have left it
	}
	return min(wait, s.all.takeLeaving(now, "", min(s.part()*(len(s.own)-1), s.burst-1)))
}
