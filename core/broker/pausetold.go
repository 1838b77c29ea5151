package broker

import (
	"context"
	"time"
)

// pauseTold is how long a lane delivers nothing before the log says so: what is over
// in a moment needs nobody.
const pauseTold = 5 * time.Second

// tellPauses writes into the log that the lane is paused, and when that is over, until
// ctx ends.
func (l *lane) tellPauses(ctx context.Context) {
	log := l.b.log.With("tenant", l.t.ID, "lane", l.name)
	told := LaneRunning
	var since time.Time // of the pause that was told of
	for {
		g := l.gate.look()
		var wake <-chan time.Time
		switch {
		case g.state == LaneRunning && told != LaneRunning:
			log.Info("a lane delivers again", "paused_for", time.Since(since).Round(time.Second))
			told, since = LaneRunning, time.Time{}
		case (g.state == LaneDown || g.state == LaneSignIn) && g.state != told:
			if wait := pauseTold - time.Since(g.since); wait > 0 {
				wake = time.After(wait)
				break
			}
			if since.IsZero() {
				since = g.since
			}
			told = g.state
			if told == LaneSignIn {
				log.Error("a lane is paused until its credentials work; its queue is kept", "why", g.why)
			} else {
				log.Warn("a lane is paused: there is no getting through; its queue is kept", "why", g.why)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-g.changed:
		case <-wake:
		}
	}
}
