package broker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// While a number is in trouble, what it should send goes by another number of the tenant,
// its fallback: what waits, too. It moves from one lane's queue to the other's in one
// settlement, so that it is in one of them, whatever happens. What was begun here and is
// not known to have failed stays: it may have been sent.
//
// The person has no window with the other number unless they wrote to it: so templates go,
// and other messages only then. What cannot go stays in its place, and what comes after it
// in its conversation waits for it; it is tried here if the number sends at all, and given
// up when its window has closed.

// maxNoticed bounds the sends of which is remembered that they stay.
const maxNoticed = 10_000

// sendElsewhere is one round of a number's lane while its messages go by the fallback.
func (l *lane) sendElsewhere(ctx context.Context, calls *sync.WaitGroup) {
	ds, err := l.b.o.Store.Fetch(l.health.stay(ctx), l.queue, sendFetch, l.sendLease())
	if err != nil {
		return // it is over, or the bridge stops
	}
	known, away := l.health.now()
	if !away {
		l.t.giveBack(ctx, ds)
		return
	}
	left, err := l.move(ctx, ds, known)
	if err != nil {
		return
	}
	begun, left := apartBegun(left)
	l.mark(ctx, begun, store.Settlement{}, calls) // holds them: their status may tell
	if len(left) == 0 {
		return
	}
	now := time.Now().UTC()
	if cannotSend(known.Trouble) {
		l.stayUntil(ctx, left, now.Add(time.Minute))
		return
	}
	n := l.gate.tryEnter(len(left))
	if n > 0 {
		if state, paused := l.gate.paused(); paused && !l.probe(ctx, state) {
			l.gate.leave(n)
			n = 0
		}
	}
	if n == 0 {
		l.stayUntil(ctx, left, later(l.gate.retryAt(now), now.Add(time.Second)))
		return
	}
	l.stayUntil(ctx, left[n:], now.Add(time.Second))
	l.sendBatch(ctx, left[:n], n, calls)
}

// apartBegun takes apart what was begun by a process that died.
func apartBegun(ds []store.Delivery) (begun, rest []store.Delivery) {
	for _, d := range ds {
		if len(d.Mark) > 0 {
			begun = append(begun, d)
		} else {
			rest = append(rest, d)
		}
	}
	return begun, rest
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// cannotSend reports whether a number in this trouble sends nothing at all.
func cannotSend(t whatsapp.Trouble) bool {
	return t == whatsapp.TroubleBanned || t == whatsapp.TroubleUnregistered
}

func (l *lane) stayUntil(ctx context.Context, ds []store.Delivery, due time.Time) {
	if len(ds) == 0 {
		return
	}
	s := store.Settlement{Lazy: true}
	for _, d := range ds {
		s.Nak = append(s.Nak, store.Nak{Delivery: d, Due: due})
	}
	_, _ = l.b.settle(ctx, s) // else the leases bring them back
}

// move lets what can go by the fallback go there, and returns what stays and may be tried
// here.
func (l *lane) move(ctx context.Context, ds []store.Delivery, known knownNumber) ([]store.Delivery, error) {
	other := l.t.numbers[l.health.fallback.Number]
	here, there, err := l.windows(ctx, ds, other)
	if err != nil {
		l.t.giveBack(ctx, ds)
		return nil, err
	}
	now := time.Now().UTC()
	closed := other.takesNone(known.Trouble)
	var s store.Settlement
	var left []store.Delivery
	moved := 0
	for i, d := range ds {
		e := eventOf(d)
		step := l.step(d, e, now)
		stays := closed
		if stays == "" {
			stays = staysBecause(d, e, now, there[i])
		}
		switch {
		case stays == "":
			to := *e
			to.Number, to.Conversation = other.number(), core.ConversationID(other.number(), e.Contact.ID)
			if to.Message.Context != nil { // of a message that the other number does not know
				m := *to.Message
				m.Context = nil
				to.Message = &m
			}
			s.Ack = append(s.Ack, d)
			l.t.toNumber(&s, &to, nil)
			step.Step, step.Notes = "moved", []string{fmt.Sprintf("number %s is %s since %s: goes by number %s (fallback)",
				l.number(), known.Trouble, known.Since.Format(time.RFC3339), other.number())}
			s.Record = append(s.Record, record(&step, e))
			moved++
		case len(d.Mark) == 0 && repeatable(e) && cannotSend(known.Trouble):
			step.Step, step.Notes = "dropped", []string{fmt.Sprintf("number %s is %s: nothing can be marked as read", l.number(), known.Trouble)}
			s.Ack, s.Record = append(s.Ack, d), append(s.Record, record(&step, e))
		case len(d.Mark) == 0 && cannotSend(known.Trouble) && e.Message.Type != core.TypeTemplate && now.Sub(here[i]) >= window:
			why := core.Errorf(core.CodeUndeliverable, "fallback", "number %s is %s, and the 24-hour window closed at %s: %s", l.number(), known.Trouble,
				here[i].Add(window).Format(time.RFC3339), stays)
			why.Hint = "send a template: it goes by the fallback"
			l.giveUp(&s, d, why, false, &step)
			s.Record = append(s.Record, record(&step, e))
			l.t.failed(&s, e, why)
		default:
			if l.health.notice(d.ID) {
				step.Step, step.Notes = "waits", []string{fmt.Sprintf("number %s is %s, and it stays there: %s", l.number(), known.Trouble, stays)}
				s.Record = append(s.Record, record(&step, e))
			}
			left = append(left, d)
		}
	}
	if len(s.Ack)+len(s.Term)+len(s.Record) == 0 {
		return left, nil
	}
	if _, err := l.b.settle(ctx, s); err != nil {
		l.t.giveBack(ctx, ds)
		return nil, err
	}
	l.b.m.byFallback.WithLabelValues(l.t.ID, l.name).Add(float64(moved))
	return left, nil
}

// takesNone says why a fallback takes nothing from a number in trouble; "" when it does.
// One whose quality is low is better than one that cannot send.
func (l *lane) takesNone(trouble whatsapp.Trouble) string {
	k, _ := l.health.now()
	switch state, _ := l.gate.paused(); {
	case k.Trouble != "" && (k.Trouble != whatsapp.TroubleFlagged || trouble == whatsapp.TroubleFlagged):
		return fmt.Sprintf("number %s, its fallback, is %s, too", l.number(), k.Trouble)
	case state == LaneSignIn:
		return fmt.Sprintf("number %s, its fallback, is not allowed to send", l.number())
	}
	for _, what := range []string{core.StopAll, core.StopBegins} {
		if b, is, _ := l.t.bars(l, what, time.Now()); is {
			return fmt.Sprintf("number %s, its fallback, is stopped, too: %s", l.number(), b.why)
		}
	}
	return ""
}

// staysBecause says why a send cannot go by another number with which the person last
// wrote at lastIn; "" when it can.
func staysBecause(d store.Delivery, e *core.Event, now, lastIn time.Time) string {
	switch {
	case len(d.Mark) > 0:
		return "it was begun here, and it is not known whether it was sent"
	case e.Message == nil || e.Contact == nil || e.Contact.ID == "":
		return "it is to nobody whom the bridge knows"
	case e.Message.Type == core.TypeRead || e.Message.Type == core.TypeReaction:
		return "it is about a message that was written to this number"
	case e.Message.Type != core.TypeTemplate && now.Sub(lastIn) >= window:
		return "it is no template, and the person has no open window with the fallback"
	}
	return ""
}

// windows returns when each send's person last wrote to this number, and to the other.
func (l *lane) windows(ctx context.Context, ds []store.Delivery, other *lane) (here, there []time.Time, err error) {
	here, there = make([]time.Time, len(ds)), make([]time.Time, len(ds))
	var keys []store.Key
	var of []*time.Time
	for i, d := range ds {
		if e := eventOf(d); e.Contact != nil && e.Contact.ID != "" {
			keys = append(keys, conversationKey(l.t.ID, e.Contact.ID, l.number()), conversationKey(l.t.ID, e.Contact.ID, other.number()))
			of = append(of, &here[i], &there[i])
		}
	}
	if len(keys) == 0 {
		return here, there, nil
	}
	values, err := l.b.o.Store.Get(ctx, keys...)
	if err != nil {
		return nil, nil, err
	}
	for i, v := range values {
		if c, ok := decode[conversation](v); ok {
			*of[i] = c.LastIn
		}
	}
	return here, there, nil
}

// notice reports whether it was not yet noted that a send stays.
func (h *numberHealth) notice(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.noticed[id] {
		return false
	}
	if len(h.noticed) >= maxNoticed {
		clear(h.noticed)
	}
	h.noticed[id] = true
	return true
}
