package broker

import "time"

// climb looks for how many calls at once a sink does most with: the fewest that bring as
// much as any number does. A CRM that gets slower with each further call at once gets
// fewer of them; one that is slow by itself does not, since fewer would bring less.
//
// It compares what is delivered in a second, with as many calls in flight as there may
// be, before and after a change of their number: first it goes down as long as that
// costs nothing, then it rests, then it looks whether more would bring more, and down
// again. What the lane's rate or budget holds back counts likewise: fewer calls then
// bring as much.
type climb struct {
	roof  int // calls at once
	most  int
	phase climbPhase
	from  int       // what roof was before the change that is being measured
	best  float64   // deliveries a second, of what was measured since the last rest
	rest  time.Time // until when it stays

	skip  int // calls that began before the change
	calls int
	full  int // of them, those that ended while as many as may be were in flight
	rows  int
	began time.Time
}

type climbPhase int

const (
	climbRests climbPhase = iota
	climbDown
	climbUp
)

const (
	// climbCalls is how many calls are measured, at least: twice as many as are in flight.
	climbCalls = 16
	// climbRest is how long the number of calls stays when it was found.
	climbRest = 30 * time.Second
	// climbLoss is how much less than the best counts as nothing lost, climbGain how much
	// more as something won.
	climbLoss, climbGain = 0.05, 0.05
	// climbFull is the share of calls that must have ended with all places in use.
	climbFull = 0.9
)

func newClimb(most int) *climb { return &climb{roof: most, most: most} }

// reset forgets the measurement under way: something else has held calls back.
func (c *climb) reset() { c.calls, c.full, c.rows, c.began = 0, 0, 0, time.Time{} }

// took takes note of a call that was well: with how many others it was in flight when it
// ended, itself included, and how many deliveries it had. It reports whether roof changed.
func (c *climb) took(now time.Time, inflight, rows int) bool {
	if c.most < 2 {
		return false
	}
	if c.skip > 0 {
		c.skip--
		return false
	}
	if c.began.IsZero() {
		c.began = now
		return false
	}
	c.calls++
	c.rows += rows
	if inflight >= c.roof {
		c.full++
	}
	if c.calls < max(climbCalls, 2*c.roof) || !now.After(c.began) {
		return false
	}
	speed, measured := float64(c.rows)/now.Sub(c.began).Seconds(), float64(c.full) >= climbFull*float64(c.calls)
	c.reset()
	return measured && c.judge(now, speed, inflight)
}

// judge decides what follows from what was measured.
func (c *climb) judge(now time.Time, speed float64, inflight int) bool {
	before := c.roof
	switch c.phase {
	case climbRests:
		if now.Before(c.rest) {
			return false
		}
		c.best = speed
		c.try(climbUp)
	case climbUp:
		if speed > c.best*(1+climbGain) {
			c.best = speed
			c.try(climbUp)
			break
		}
		c.roof = c.from
		c.try(climbDown)
	case climbDown:
		if speed < c.best*(1-climbLoss) {
			c.roof = c.from
			c.settle(now)
			break
		}
		c.best = max(c.best, speed)
		c.try(climbDown)
	}
	if c.phase == climbDown && c.roof == before && before == 1 {
		c.settle(now)
	}
	if c.roof != before {
		c.skip = inflight
	}
	return c.roof != before
}

// try changes the number of calls by a quarter or a third; where there can be no more it
// tries fewer.
func (c *climb) try(phase climbPhase) {
	c.phase, c.from = phase, c.roof
	if phase == climbUp {
		if c.roof = min(c.most, c.roof+max(1, c.roof/3)); c.roof > c.from {
			return
		}
		c.phase = climbDown
	}
	c.roof = max(1, c.roof-max(1, c.roof/4))
}

func (c *climb) settle(now time.Time) { c.phase, c.rest = climbRests, now.Add(climbRest) }
