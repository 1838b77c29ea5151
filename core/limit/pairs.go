package limit

import (
	"sync"
	"time"
)

// Pairs paces what goes to each of many: one in a period, with a burst that borrows
// from the time to come. It forgets those that have paid it back. Its methods may be
// called concurrently; a nil one limits nothing.
//
// Only of those that have borrowed much must something be kept over a restart: see
// [Pairs.Kept] and [Pairs.Restart].
type Pairs struct {
	mu     sync.Mutex
	period time.Duration
	burst  int
	full   map[string]time.Time // when the whole burst is free again: GCRA's TAT
	others time.Time            // of those that are not in full, after a restart
	sweep  int                  // size at which those are looked for that may be forgotten
}

// little is what share of a burst is little: so much is not kept.
const little = 4

func (p *Pairs) little() time.Duration { return time.Duration(max(1, p.burst/little)) * p.period }

// NewPairs lets one through for each key in a period, and burst at once after a rest.
func NewPairs(period time.Duration, burst int) *Pairs {
	return &Pairs{period: period, burst: max(1, burst), full: map[string]time.Time{}, sweep: 1024}
}

// Take takes one of a key's if it may go at now; otherwise it says how long that lasts.
func (p *Pairs) Take(now time.Time, key string) (wait time.Duration) {
	return p.takeLeaving(now, key, 0)
}

// takeLeaving is Take of one that leaves so many of the burst to others.
func (p *Pairs) takeLeaving(now time.Time, key string, others int) (wait time.Duration) {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	full, known := p.full[key]
	if !known {
		full = p.others
	}
	if full.Before(now) {
		full = now
	}
	full = full.Add(p.period)
	if wait = full.Sub(now) - time.Duration(p.burst-others)*p.period; wait > 0 {
		return wait
	}
	p.full[key] = full
	if len(p.full) >= p.sweep {
		for k, at := range p.full {
			if !at.After(now) {
				delete(p.full, k)
			}
		}
		p.sweep = max(1024, 2*len(p.full))
	}
	return 0
}

// Kept returns what is to be handed to Restore after a restart; zero when the key has
// borrowed but a little.
func (p *Pairs) Kept(now time.Time, key string) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if full := p.full[key]; full.Sub(now) > p.little() {
		return full
	}
	return time.Time{}
}

// Restart says that there was another before: whoever is not handed to Restore may have
// borrowed a little.
func (p *Pairs) Restart(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.others = now.Add(p.little())
}

// Restore takes up what was kept of a key.
func (p *Pairs) Restore(key string, kept time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if kept.After(p.full[key]) {
		p.full[key] = kept
	}
}

// Waiting returns how many have to wait at now, and until when the first of them.
func (p *Pairs) Waiting(now time.Time) (n int, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, full := range p.full {
		at := full.Add(time.Duration(1-p.burst) * p.period)
		if !at.After(now) {
			continue
		}
		if n++; until.IsZero() || at.Before(until) {
			until = at
		}
	}
	return n, until
}
