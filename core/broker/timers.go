package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// What is to happen later waits in the tenant's queue of timers: an item for
// each event, with its due time, in no conversation's order, so that it holds
// nothing back. A loop moves what is due to the decide queue, the ack and the
// adding in one settlement: each fires once, whenever the process dies, and in
// the order in which they are due.
//
// A timer cannot be taken out of the queue again. What a conversation still
// waits for is in its state, by name and generation; a timer that comes and is
// not there was cancelled or replaced, and nothing happens.

const (
	queueTimers = "timers"
	timersBatch = 256
	timersLease = time.Minute

	maxTimers       = 20                   // of one conversation at once
	maxRings        = 1000                 // of one conversation while nobody writes
	minTimerAhead   = time.Second          // of what a timer sets
	maxTenantTimers = 200_000              // waiting of one tenant
	maxTimerAhead   = 366 * 24 * time.Hour // how far ahead
	maxTimerName    = 100                  // bytes
	maxTimerData    = 4 << 10              // bytes
	timerOwn        = "wabridge/"          // names of the bridge's own timers begin so
)

// timer is one that a conversation waits for.
type timer struct {
	Generation int       `json:"generation"`
	Due        time.Time `json:"due"`
}

// later adds an event to be decided when it is due: a timer, or a message that
// may not be sent yet, which the policy then looks at again.
func (t *tenant) later(s *store.Settlement, e *core.Event, due time.Time) {
	s.Add = append(s.Add, store.Item{Queue: queueOf(t.ID, queueTimers), ID: e.ID, Due: due.UTC(), Data: mustJSON(e), Value: e})
}

// setTimer sets a timer of the turn's conversation; one of the same name is
// replaced. The error says which bound it would break.
func (t *tenant) setTimer(u *turn, name string, due time.Time, data json.RawMessage) error {
	now := u.step.Time
	if earliest := now.Add(minTimerAhead); u.e.Kind == core.KindTimer && due.Before(earliest) {
		due = earliest // a timer that sets a timer goes round slowly
	}
	_, replaces := u.conv.Timers[name]
	switch {
	case name == "" || len(name) > maxTimerName:
		return fmt.Errorf("a timer's name has 1 to %d bytes", maxTimerName)
	case len(data) > maxTimerData:
		return fmt.Errorf("timer %q: its data has %d bytes, %d at most", name, len(data), maxTimerData)
	case due.After(now.Add(maxTimerAhead)):
		return fmt.Errorf("timer %q: %s is more than a year ahead", name, due.Format(time.DateOnly))
	case !replaces && len(u.conv.Timers) >= maxTimers && !strings.HasPrefix(name, timerOwn):
		return fmt.Errorf("timer %q: the conversation has %d timers already, as many as there may be", name, len(u.conv.Timers))
	case u.conv.Rings >= maxRings && !strings.HasPrefix(name, timerOwn):
		return fmt.Errorf("timer %q: timers rang %d times since the person last wrote, as often as they may", name, maxRings)
	case t.waiting.Load() >= maxTenantTimers && !strings.HasPrefix(name, timerOwn):
		return fmt.Errorf("timer %q: the tenant has %d timers already, as many as there may be", name, maxTenantTimers)
	}
	u.conv.LastTimer++
	if u.conv.Timers == nil {
		u.conv.Timers = map[string]timer{}
	}
	u.conv.Timers[name] = timer{Generation: u.conv.LastTimer, Due: due.UTC()}
	u.convChanged = true
	e := u.follow(core.KindTimer)
	if u.e.Kind == core.KindTimer {
		// Of timers that set timers no id grows with each of them.
		e.ID = fmt.Sprintf("%s#t%d", core.RootID(u.e.ID), u.conv.LastTimer)
		u.step.Follows[len(u.step.Follows)-1] = e.ID
	}
	e.Time, e.Contact = due.UTC(), &core.Contact{ID: u.contact.ID}
	e.Timer = &core.Timer{Name: name, Data: data, Generation: u.conv.LastTimer}
	t.later(&u.s, e, due)
	return nil
}

// cancelTimer forgets a timer of the turn's conversation, and reports whether
// there was one.
func (t *tenant) cancelTimer(u *turn, name string) bool {
	if _, ok := u.conv.Timers[name]; !ok {
		return false
	}
	delete(u.conv.Timers, name)
	u.convChanged = true
	return true
}

// rings reports whether a timer that came is still waited for, and from here on
// it is not.
func (t *tenant) rings(u *turn) bool {
	tm := u.e.Timer
	if tm == nil {
		return false
	}
	if w, ok := u.conv.Timers[tm.Name]; !ok || w.Generation != tm.Generation {
		u.note("the timer " + tm.Name + " was cancelled or set anew")
		return false
	}
	u.note("the timer " + tm.Name + " is due")
	if !isOwnTimer(u.e) {
		u.conv.Rings++
	}
	u.rang = t.cancelTimer(u, tm.Name)
	return u.rang
}

// timersLoop moves what is due to the decide queue.
func (t *tenant) timersLoop(ctx context.Context) {
	for ctx.Err() == nil {
		ds, err := t.b.o.Store.Fetch(ctx, queueOf(t.ID, queueTimers), timersBatch, timersLease)
		if err != nil {
			return // ctx ended or the store gave up
		}
		s := store.Settlement{Ack: ds}
		for _, d := range ds {
			e := eventOf(d)
			s.Add = append(s.Add, store.Item{Queue: t.queue, ID: d.ID, Order: e.Conversation, Class: classOf(e), Data: d.Data, Value: e})
		}
		t.b.failpoint("timers-before-commit")
		if _, err := t.b.settle(ctx, s); err != nil {
			if !errors.Is(err, store.ErrStale) {
				t.giveBack(ctx, ds)
			}
			continue
		}
		t.b.failpoint("timers-after-commit")
		t.depth.Add(int64(len(ds)))
		t.waiting.Add(-int64(len(ds)))
	}
}
