package limit

import (
	"container/list"
	"sync"
	"time"
)

// People lets so many different people through in a moving window, whichever of several
// tenants writes to them; who was let through, may again. Its methods may be called
// concurrently; a nil one limits nothing.
//
// A campaign leaves a [Spare] part of them to others. While one tenant has less than its
// part and waits, those that have more get no more. So nobody waits for ever, and as long
// as only one wants them it gets all.
type People struct {
	mu        sync.Mutex
	most      int // 0 is no limit
	window    time.Duration
	byKey     map[Person]*list.Element
	byAge     list.List // of reached, the longest ago first
	campaigns int       // how many of them are campaigns'
	sharers   map[string]*sharer
}

// Person is somebody of a tenant.
type Person struct{ Tenant, Key string }

// Spare is the part of the people that campaigns leave to others: one of so many.
const Spare = 10

// ForCampaigns is with how many of so many people campaigns may begin.
func ForCampaigns(most int) int { return most - most/Spare }

// late is how late one that waited may ask again without losing its turn.
const late = time.Minute

type reached struct {
	who      Person
	last     time.Time
	campaign bool
}

// sharer is a tenant.
type sharer struct {
	count int
	// ticket is whose end the next one that is refused waits for, so that not all who wait
	// come back at once; nil is the one that ends first.
	ticket *list.Element
	until  time.Time // somebody of it waits until then
}

// NewPeople lets most different people through in a window; 0 is all.
func NewPeople(most int, window time.Duration) *People {
	return &People{most: most, window: window, byKey: map[Person]*list.Element{}, sharers: map[string]*sharer{}}
}

// Join says that a tenant has a part in it.
func (p *People) Join(tenant string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sharer(tenant)
}

func (p *People) sharer(tenant string) *sharer {
	s := p.sharers[tenant]
	if s == nil {
		s = &sharer{}
		p.sharers[tenant] = s
	}
	return s
}

// SetMost changes how many.
func (p *People) SetMost(most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most = most
}

// Most is how many, 0 for any number.
func (p *People) Most() int {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.most
}

// Count returns how many different ones were let through within the window before now:
// of all, and of a tenant. next is when the first of them ends.
func (p *People) Count(now time.Time, tenant string) (all, own int, next time.Time) {
	if p == nil {
		return 0, 0, next
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(now)
	if e := p.byAge.Front(); e != nil {
		next = e.Value.(reached).last.Add(p.window)
	}
	return p.byAge.Len(), p.sharer(tenant).count, next
}

// Has reports whether a person was let through within the window.
func (p *People) Has(now time.Time, who Person) bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(now)
	return p.byKey[who] != nil
}

// Each calls f for those who were let through within the window, the longest ago first,
// with when that was, and whether by a campaign.
func (p *People) Each(now time.Time, f func(at time.Time, campaign bool)) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(now)
	for e := p.byAge.Front(); e != nil; e = e.Next() {
		one := e.Value.(reached)
		f(one.last, one.campaign)
	}
}

// forget drops those whose window is over. The caller holds mu.
func (p *People) forget(now time.Time) {
	for e := p.byAge.Front(); e != nil; e = p.byAge.Front() {
		if now.Sub(e.Value.(reached).last) < p.window {
			return
		}
		p.remove(e)
	}
}

// remove takes one out. The caller holds mu.
func (p *People) remove(e *list.Element) {
	one := e.Value.(reached)
	for _, s := range p.sharers {
		if s.ticket == e {
			s.ticket = e.Next()
		}
	}
	delete(p.byKey, one.who)
	p.byAge.Remove(e)
	p.sharer(one.who.Tenant).count--
	if one.campaign {
		p.campaigns--
	}
}

// add puts one in, after those that were let through before. The caller holds mu.
func (p *People) add(one reached) {
	after := p.byAge.Back()
	for after != nil && after.Value.(reached).last.After(one.last) {
		after = after.Prev()
	}
	if after == nil {
		p.byKey[one.who] = p.byAge.PushFront(one)
	} else {
		p.byKey[one.who] = p.byAge.InsertAfter(one, after)
	}
	p.sharer(one.who.Tenant).count++
	if one.campaign {
		p.campaigns++
	}
}

// Take lets a person through at now, or says how long to wait before asking again.
func (p *People) Take(now time.Time, who Person, campaign bool) (wait time.Duration) {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(now)
	s := p.sharer(who.Tenant)
	known := p.byKey[who]
	switch {
	case known != nil:
		campaign = campaign && known.Value.(reached).campaign
		p.remove(known)
	case p.most <= 0:
	case p.byAge.Len() >= p.most, campaign && p.campaigns >= ForCampaigns(p.most), p.yields(now, s):
		if s.ticket == nil {
			s.ticket = p.byAge.Front()
		}
		due := s.ticket.Value.(reached).last.Add(p.window)
		s.ticket = s.ticket.Next()
		if due.After(s.until) {
			s.until = due
		}
		return due.Sub(now)
	}
	p.add(reached{who, now, campaign})
	return 0
}

// yields reports whether a tenant has its part, and another waits that does not. The
// caller holds mu.
func (p *People) yields(now time.Time, s *sharer) bool {
	part := max(1, p.most/len(p.sharers))
	if s.count < part {
		return false
	}
	for _, o := range p.sharers {
		if o != s && o.count < part && now.Before(o.until.Add(late)) {
			return true
		}
	}
	return false
}

// Waits says that somebody of a tenant may wait until a time, for all that is known after a
// restart.
func (p *People) Waits(tenant string, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sharer(tenant).until = until
}

// Restore says that a person was let through at a time. It is quickest in the order of
// the times.
func (p *People) Restore(at time.Time, who Person, campaign bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.byKey[who]; e != nil {
		p.remove(e)
	}
	p.add(reached{who, at, campaign})
}
