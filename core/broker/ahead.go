package broker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wabridge/wabridge/core/limit"
	"github.com/wabridge/wabridge/core/store"
)

// A send is marked, and that is durable, before it is tried. On a slow disk that takes
// longer than a number's turn: so the next ones are marked while those that are marked go,
// as many as go meanwhile. No more than that, since what is marked and not sent when the
// process dies is a case for a person, and what is urgent goes after what is marked.

const (
	sendGather = time.Second / 50 // what goes in so long is marked at once, in any case
	slowest    = 2 * time.Second  // no disk is waited for longer than that
)

// ahead is what a number's lane has marked and not sent, and how long marking takes. But
// for n and went it is the lane's loop's alone.
type ahead struct {
	n       atomic.Int64
	went    chan struct{} // something did
	marking time.Duration
	last    chan struct{} // closed when the batch that was marked last has gone
}

func newAhead() *ahead {
	a := &ahead{went: make(chan struct{}, 1), last: make(chan struct{})}
	close(a.last)
	return a
}

// took takes note of how long it took to mark a batch: the longest of late, as what comes
// too late is never made up for.
func (a *ahead) took(d time.Duration) {
	a.marking = min(slowest, max(d, a.marking-(a.marking-d)/16))
}

// ready returns when so little of what is marked is left that more must be.
func (a *ahead) ready(ctx context.Context, l *limit.Limiter) error {
	return l.Ready(ctx, a.marking, func() int { return int(a.n.Load()) + 1 }, a.went)
}

// less takes note that so many go, or are marked no longer.
func (a *ahead) less(n int) {
	a.n.Add(int64(-n))
	select {
	case a.went <- struct{}{}:
	default:
	}
}

// queue puts a batch in line: it may go when before is closed, and closes gone.
func (a *ahead) queue(n int) (before <-chan struct{}, gone chan<- struct{}) {
	done := make(chan struct{})
	before, a.last = a.last, done
	a.n.Add(int64(n))
	return before, done
}

// together is how many sends are marked at once.
func (l *lane) together() int {
	rate := l.limiter.Rate()
	if plan := l.t.pace.plan.Rate(); plan > 0 {
		rate = min(rate, plan)
	}
	return min(sendFetch, max(1, int(rate*(l.ahead.marking+sendGather).Seconds())))
}

// sendInTurn sends what was marked, each by its own call. When the bridge stops, or the
// lane does, what has not gone is marked no longer.
func (l *lane) sendInTurn(ctx context.Context, ds []store.Delivery, calls *sync.WaitGroup) {
	for i, d := range ds {
		if l.t.pace.plan.Wait(ctx, 1) != nil || l.limiter.Wait(ctx, 1) != nil || l.gate.shut() {
			l.unmark(ctx, ds[i:])
			return
		}
		l.ahead.less(1)
		calls.Go(func() { l.sendOne(ctx, d, calls) })
	}
}

// unmark gives back sends that were marked and not tried.
func (l *lane) unmark(ctx context.Context, ds []store.Delivery) {
	ctx = context.WithoutCancel(ctx)
	var s store.Settlement
	for _, d := range ds {
		s.Nak = append(s.Nak, store.Nak{Delivery: d, Mark: []byte{}})
	}
	if _, err := l.b.settle(ctx, s); err == nil {
		for _, d := range ds {
			l.end(d)
		}
	}
	l.ahead.less(len(ds))
	l.gate.leave(len(ds))
}
