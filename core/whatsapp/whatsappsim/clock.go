package whatsappsim

import (
	"fmt"
	"sync"
	"time"
)

// clock is the sim's own time: it runs along with the machine's from where it was
// set, unless it is stopped. Everything of the sim that has a time is on it: when
// statuses and webhooks are due, windows, limits, codes. How long an answer takes
// ([Options].Latency, DoSlow) is the machine's time: somebody waits for it.
type clock struct {
	mu      sync.Mutex
	ahead   time.Duration
	stopped bool
	at      time.Time // while it is stopped
	wake    func()    // called when it was changed
}

// Clock is where the sim's time stands.
type Clock struct {
	Now     time.Time `json:"now"`
	Stopped bool      `json:"stopped"`
}

func (c *clock) init(start time.Time, wake func()) {
	c.wake = wake
	if !start.IsZero() {
		c.ahead = time.Until(start)
	}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read()
}

func (c *clock) read() time.Time {
	if c.stopped {
		return c.at
	}
	return time.Now().Add(c.ahead)
}

// until returns how long the machine has to wait for a time; false when it never
// comes by itself, since the clock is stopped.
func (c *clock) until(t time.Time) (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := t.Sub(c.read())
	return d, d <= 0 || !c.stopped
}

// Now is the sim's time.
func (s *Sim) Now() time.Time { return s.clock.now() }

// Advance moves the sim's time on: what becomes due happens now.
func (s *Sim) Advance(d time.Duration) {
	s.clock.mu.Lock()
	if d > 0 {
		s.clock.ahead += d
		s.clock.at = s.clock.at.Add(d)
	}
	s.clock.mu.Unlock()
	s.clock.wake()
}

// StopClock has the time stand still, but for Advance; StartClock has it run.
func (s *Sim) StopClock() {
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	s.clock.at, s.clock.stopped = s.clock.read(), true
}

// StartClock has the time run, from where it stands.
func (s *Sim) StartClock() {
	s.clock.mu.Lock()
	if s.clock.stopped {
		s.clock.ahead, s.clock.stopped = time.Until(s.clock.at), false
	}
	s.clock.mu.Unlock()
	s.clock.wake()
}

// maxAdvance bounds one step of the clock.
const maxAdvance = 366 * 24 * time.Hour

func (s *Sim) controlClock(body []byte) (any, error) {
	var in struct {
		Advance string `json:"advance"`
		Stop    *bool  `json:"stop"`
	}
	if err := strictly(body, &in); err != nil {
		return nil, err
	}
	var d time.Duration
	if in.Advance != "" {
		var err error
		if d, err = time.ParseDuration(in.Advance); err != nil {
			return nil, fmt.Errorf("advance: %w", err)
		}
		if d < 0 || d > maxAdvance {
			return nil, fmt.Errorf("advance: want 0 to %v: time does not go back", maxAdvance)
		}
	}
	switch {
	case in.Stop != nil && *in.Stop:
		s.StopClock()
	case in.Stop != nil:
		s.StartClock()
	}
	s.Advance(d)
	return s.clockNow(), nil
}

func (s *Sim) clockNow() Clock {
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	return Clock{s.clock.read(), s.clock.stopped}
}
