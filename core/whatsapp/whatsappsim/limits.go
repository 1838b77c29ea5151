package whatsappsim

import (
	"strconv"
	"strings"
	"sync"
	"time"
)

// limits is what Meta bounds of sends, where Options.EnforceLimits asks for it.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/throughput
// https://developers.facebook.com/documentation/business-messaging/whatsapp/about-the-platform
// https://developers.facebook.com/documentation/business-messaging/whatsapp/messaging-limits
type limits struct {
	mu      sync.Mutex
	seconds map[string]window    // by number
	pairs   map[string]time.Time // by number and person: when the last of what was borrowed is paid back
	reached map[string]time.Time // by person: when the business last began with them
}

// window counts what was sent in a second.
type window struct {
	second int64
	n      int
}

const (
	pairEvery = 6 * time.Second
	pairBurst = 45
	aDay      = 24 * time.Hour
)

func (l *limits) init() {
	l.seconds, l.pairs, l.reached = map[string]window{}, map[string]time.Time{}, map[string]time.Time{}
}

// limited says which limit a send meets, or takes it into account. Somebody new beyond
// the day's is accepted, and fails: that is what Meta does.
func (s *Sim) limited(n *Number, m *message) *graphError {
	if !s.o.EnforceLimits {
		return nil
	}
	now := s.clock.now()
	s.lines.mu.Lock()
	most, people := 80, peopleOf(s.lines.of[n.ID].Limit)
	if s.lines.of[n.ID].Throughput == "HIGH" {
		most = 1000
	}
	s.lines.mu.Unlock()
	begins := m.Type == "template" && !s.people.windowOpen(n.ID, m.person, now)
	s.limits.mu.Lock()
	defer s.limits.mu.Unlock()
	w := s.limits.seconds[n.ID]
	if w.second != now.Unix() {
		w = window{second: now.Unix()}
	}
	if w.n >= most {
		return errorOf(130429, "")
	}
	pair := n.ID + ":" + m.person.BSUID
	paid := s.limits.pairs[pair]
	if paid.Before(now) {
		paid = now
	}
	if paid.Sub(now) > (pairBurst-1)*pairEvery {
		return errorOf(131056, "")
	}
	w.n++
	s.limits.seconds[n.ID], s.limits.pairs[pair] = w, paid.Add(pairEvery)
	if !begins || people < 0 {
		return nil
	}
	for who, at := range s.limits.reached {
		if now.Sub(at) >= aDay {
			delete(s.limits.reached, who)
		}
	}
	if _, known := s.limits.reached[m.person.BSUID]; !known && len(s.limits.reached) >= people {
		m.failing = 131048
		return nil
	}
	s.limits.reached[m.person.BSUID] = now
	return nil
}

// peopleOf is how many people a tier means, -1 for any number.
func peopleOf(tier string) int {
	digits, thousands := strings.CutSuffix(strings.TrimPrefix(tier, "TIER_"), "K")
	n, err := strconv.Atoi(digits)
	switch {
	case err != nil:
		return -1
	case thousands:
		n *= 1000
	}
	return n
}
