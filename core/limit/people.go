package limit

import (
	"container/list"
	"sync"
	"time"
)

// Pairs paces what goes to each of many: one in a period, with a burst that borrows
// from the time to come. It forgets those that have paid it back. Its methods may be
// called concurrently; a nil one limits nothing.
type Pairs struct {
	mu     sync.Mutex
	period time.Duration
	burst  int
	full   map[string]time.Time // when the whole burst is free again: GCRA's TAT
	sweep  int                  // size at which those are looked for that may be forgotten
}

// NewPairs lets one through for each key in a period, and burst at once after a rest.
func NewPairs(period time.Duration, burst int) *Pairs {
	return &Pairs{period: period, burst: max(1, burst), full: map[string]time.Time{}, sweep: 1024}
}

// Take takes one of a key's if it may go at now; otherwise it says how long that
// lasts.
func (p *Pairs) Take(now time.Time, key string) (wait time.Duration) {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	full := p.full[key]
	if full.Before(now) {
		full = now
	}
	full = full.Add(p.period)
	if wait = full.Sub(now) - time.Duration(p.burst)*p.period; wait > 0 {
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

// People lets so many different ones through in a moving window; who was, may again.
// Its methods may be called concurrently; a nil one limits nothing.
type People struct {
	mu     sync.Mutex
	most   int // 0 is no limit
	window time.Duration
	byKey  map[string]*list.Element
	byAge  list.List // of person, the longest ago first
}

type person struct {
	key  string
	last time.Time
}

// NewPeople lets most different keys through in a window; 0 is all.
func NewPeople(most int, window time.Duration) *People {
	return &People{most: most, window: window, byKey: map[string]*list.Element{}}
}

// SetMost changes how many.
func (p *People) SetMost(most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most = most
}

// Most is how many, and Count how many were within the window before now.
func (p *People) Most() int {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.most
}

// Count returns how many different ones were let through within the window.
func (p *People) Count(now time.Time) int {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(now)
	return p.byAge.Len()
}

// forget drops those whose window is over. The caller holds mu.
func (p *People) forget(now time.Time) {
	for e := p.byAge.Front(); e != nil; e = p.byAge.Front() {
		one := e.Value.(person)
		if now.Sub(one.last) < p.window {
			return
		}
		delete(p.byKey, one.key)
		p.byAge.Remove(e)
	}
}

// Take lets a key through at now, or says how long until one may that is new.
func (p *People) Take(now time.Time, key string) (wait time.Duration) {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(now)
	if e := p.byKey[key]; e != nil {
		e.Value = person{key, now}
		p.byAge.MoveToBack(e)
		return 0
	}
	if p.most > 0 && p.byAge.Len() >= p.most {
		return p.byAge.Front().Value.(person).last.Add(p.window).Sub(now)
	}
	p.byKey[key] = p.byAge.PushBack(person{key, now})
	return 0
}

// Restore says, oldest first, that a key was let through at a time.
func (p *People) Restore(at time.Time, key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.byKey[key]; e != nil {
		p.byAge.Remove(e)
	}
	p.byKey[key] = p.byAge.PushBack(person{key, at})
}
