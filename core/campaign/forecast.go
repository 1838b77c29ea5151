package campaign

import (
	"fmt"
	"slices"
	"time"
)

// Crowd are the people of a plan, as far as it matters when their rows can go: how many of
// which kind, roughly in the order of the list.
type Crowd struct {
	Kinds []Kind `json:"kinds,omitempty"`
	// Parts of the list have Each rows, the last one fewer; of each kind so many.
	Parts [][]int `json:"parts,omitempty"`
	Each  int     `json:"each,omitempty"`
	last  int     // rows in the last part, when known
}

// Kind is what people have in common.
type Kind struct {
	// Zones are the time zones whose quiet hours hold for them, by name and comma.
	Zones string `json:"zones,omitempty"`
	// New are people with whom the business begins.
	New bool `json:"new,omitempty"`
	// After is when they may be written to, if not now.
	After time.Time `json:"after,omitzero"`
}

const (
	maxKinds = 200 // others count as the last one
	maxParts = 64
)

// Clone returns a copy.
func (c *Crowd) Clone() *Crowd {
	if c == nil {
		return nil
	}
	out := &Crowd{Kinds: slices.Clone(c.Kinds), Each: c.Each, last: c.last, Parts: make([][]int, len(c.Parts))}
	for i, p := range c.Parts {
		out.Parts[i] = slices.Clone(p)
	}
	return out
}

// Add adds the next row of the list.
func (c *Crowd) Add(k Kind) {
	i := slices.Index(c.Kinds, k)
	if i < 0 {
		if len(c.Kinds) < maxKinds {
			c.Kinds = append(c.Kinds, k)
		}
		i = len(c.Kinds) - 1
	}
	c.Each = max(c.Each, 1)
	if c.last == 0 && len(c.Parts) > 0 {
		c.last = sum(c.Parts[len(c.Parts)-1])
	}
	if len(c.Parts) == 0 || c.last >= c.Each {
		c.room()
		c.Parts, c.last = append(c.Parts, nil), 0
	}
	p := &c.Parts[len(c.Parts)-1]
	for len(*p) <= i {
		*p = append(*p, 0)
	}
	(*p)[i]++
	c.last++
}

// room makes room for one more part: of two parts it makes one.
func (c *Crowd) room() {
	if len(c.Parts) < maxParts {
		return
	}
	for i := range len(c.Parts) / 2 {
		c.Parts[i] = add(c.Parts[2*i], c.Parts[2*i+1])
	}
	c.Parts, c.Each = c.Parts[:len(c.Parts)/2], 2*c.Each
}

func add(a, b []int) []int {
	out := make([]int, max(len(a), len(b)))
	for i := range out {
		if i < len(a) {
			out[i] += a[i]
		}
		if i < len(b) {
			out[i] += b[i]
		}
	}
	return out
}

func sum(p []int) (n int) {
	for _, m := range p {
		n += m
	}
	return n
}

// apart takes apart those that go first of so many, spread over the list as GoesFirst has
// it, and the others.
func (c *Crowd) apart(first int) (before, after [][]int) {
	all := 0
	for _, p := range c.Parts {
		all += sum(p)
	}
	seen := 0
	for _, p := range c.Parts {
		head, tail := make([]int, len(p)), slices.Clone(p)
		for k, n := range p {
			m := (seen+n)*first/max(all, 1) - seen*first/max(all, 1)
			head[k], tail[k], seen = m, n-m, seen+n
		}
		before, after = append(before, head), append(after, tail)
	}
	return before, after
}

// Pace is what bounds how fast a campaign goes: the same that bounds its messages.
type Pace struct {
	// PerSecond is the number's rate; Plan the tenant's, after a Burst, 0 is none.
	PerSecond, Plan float64
	Burst           int
	// PeoplePerDay bounds with how many people the business may begin within a day, and
	// Campaigns with how many of those campaigns may; 0 is no bound. Reached are those of
	// the last day, the longest ago first.
	PeoplePerDay, Campaigns int
	Reached                 []Reached
	// Out is how many rows may be on their way, those that wait for a day's limit among them.
	Out int
	// First go first, and what becomes of them is waited for.
	First int
	Wait  time.Duration
	// Quiet says until when it is quiet in zones; the zero time when it is not.
	Quiet func(at time.Time, zones string) time.Time
}

// Reached are people whom the business began with.
type Reached struct {
	At       time.Time
	N        int
	Campaign bool
}

const (
	aDay     = 24 * time.Hour
	grain    = 5 * time.Minute // quiet hours are looked at so often
	maxSteps = 200_000
	longest  = 10 * 365 * aDay // nobody plans for longer
)

// Finish returns when a campaign to a crowd would be done that begins now, and what bounds
// it, in words. What else the number has to send is not in it.
func (p Pace) Finish(c *Crowd, now time.Time) (time.Time, []string) {
	f := &forecast{Pace: p, kinds: c.Kinds, began: now, now: now, tokens: float64(p.Burst)}
	for _, r := range p.Reached {
		f.reach(r)
	}
	left := f.free()
	rest := c.Parts
	if p.First > 0 {
		var first [][]int
		first, rest = c.apart(p.First)
		f.send(first)
		f.now, f.tokens = f.now.Add(p.Wait), float64(p.Burst)
	}
	f.send(rest)
	rate := p.PerSecond
	if p.Plan > 0 && p.Plan < rate {
		rate = p.Plan
	}
	bounds := []string{fmt.Sprintf("%.4g messages a second", rate)}
	if f.short {
		bounds = append(bounds, fmt.Sprintf("%d new people a day, of whom campaigns begin with %d (%d left now)", p.PeoplePerDay, p.Campaigns, left))
	}
	if f.quiet {
		bounds = append(bounds, "quiet hours")
	}
	if p.First > 0 {
		bounds = append(bounds, fmt.Sprintf("%v after the first ones", p.Wait))
	}
	if f.steps >= maxSteps || f.now.Sub(f.began) >= longest {
		bounds = append(bounds, "or later: it is too long to say")
	}
	return f.now.UTC().Add(time.Second - 1).Truncate(time.Second), bounds
}

// forecast is a campaign as it would go.
type forecast struct {
	Pace
	kinds        []Kind
	began, now   time.Time
	tokens       float64 // of the plan's burst
	window       []Reached
	begun, ours  int    // in the window: all, and campaigns'
	parked       []some // on their way, and waiting for a day's limit, in their order
	steps        int
	rested       bool // nothing went of late: the next goes at once
	short, quiet bool // people ran out; it was quiet for some
}

// some are so many of a kind.
type some struct{ kind, n int }

func (f *forecast) reach(r Reached) {
	f.window = append(f.window, r)
	f.begun += r.N
	if r.Campaign {
		f.ours += r.N
	}
}

// free is how many people a campaign may begin with now.
func (f *forecast) free() int {
	for len(f.window) > 0 && !f.window[0].At.Add(aDay).After(f.now) {
		f.begun -= f.window[0].N
		if f.window[0].Campaign {
			f.ours -= f.window[0].N
		}
		f.window = f.window[1:]
	}
	return max(0, min(f.PeoplePerDay-f.begun, f.Campaigns-f.ours))
}

// send goes on until nothing of the parts is left.
func (f *forecast) send(parts [][]int) {
	left := 0
	f.rested = true
	for i, p := range parts {
		parts[i] = slices.Clone(p)
		left += sum(p)
	}
	for ; left > 0 && f.steps < maxSteps && f.now.Sub(f.began) < longest; f.steps++ {
		for len(parts) > 0 && sum(parts[0]) == 0 {
			parts = parts[1:]
		}
		end := f.now.Truncate(grain).Add(grain)
		most := f.can(end.Sub(f.now))
		began := 0
		n := f.pick(parts, most, &began)
		left -= n
		took := f.takes(n)
		f.rested = n == 0
		f.tokens = min(float64(f.Burst), f.tokens+f.Plan*took.Seconds()-float64(n))
		f.now = f.now.Add(took)
		if began > 0 {
			f.reach(Reached{f.now, began, true})
		}
		if n == 0 { // until somebody may be begun with, or it may be quiet no more
			if next := f.now.Truncate(grain).Add(grain); len(f.window) == 0 || f.window[0].At.Add(aDay).After(next) {
				f.now = next
			} else {
				f.now = f.window[0].At.Add(aDay)
			}
		}
	}
}

// can is how many go in a time, takes how long so many take.
func (f *forecast) can(d time.Duration) int {
	n := f.PerSecond * d.Seconds()
	if f.Plan > 0 {
		n = min(n, f.tokens+f.Plan*d.Seconds())
	}
	return max(1, int(n+0.5))
}

func (f *forecast) takes(n int) time.Duration {
	s := float64(n) / max(f.PerSecond, 1e-6)
	if f.rested && n > 0 {
		s -= 1 / max(f.PerSecond, 1e-6)
	}
	if f.Plan > 0 {
		s = max(s, (float64(n)-f.tokens)/f.Plan)
	}
	return time.Duration(min(s, longest.Seconds()) * float64(time.Second))
}

// pick takes those that go next out of the parts, most at most, and counts with whom the
// business begins.
func (f *forecast) pick(parts [][]int, most int, began *int) (n int) {
	free := f.free()
	goes := func(k, want int) int {
		m := min(want, most-n)
		if f.kinds[k].New && f.PeoplePerDay > 0 {
			if m > free {
				m, f.short = free, true
			}
			free -= m
			*began += m
		}
		n += m
		return m
	}
	awake := make([]bool, len(f.kinds))
	waiting := 0
	for k, kind := range f.kinds {
		awake[k] = !kind.After.After(f.now) && (kind.Zones == "" || f.Quiet(f.now, kind.Zones).IsZero())
	}
	for i := range f.parked {
		if p := &f.parked[i]; awake[p.kind] {
			p.n -= goes(p.kind, p.n)
		}
		waiting += f.parked[i].n
	}
	f.parked = slices.DeleteFunc(f.parked, func(p some) bool { return p.n == 0 })
	for _, p := range parts {
		for k := range p {
			switch {
			case p[k] == 0:
				continue
			case !awake[k]:
				f.quiet = f.quiet || f.kinds[k].Zones != ""
				continue
			case n == most:
				return n
			}
			p[k] -= goes(k, p[k])
			if p[k] > 0 && n < most { // it is on its way, and waits there
				m := min(p[k], f.Out-waiting)
				p[k] -= m
				if m > 0 {
					f.parked = append(f.parked, some{k, m})
				}
				if waiting += m; p[k] > 0 {
					return n
				}
			}
		}
	}
	return n
}
