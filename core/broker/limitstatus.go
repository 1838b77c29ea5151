package broker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// The names of limits.
const (
	LimitThroughput = "throughput" // a number's messages a second
	LimitPerson     = "person"     // messages from a number to one person
	LimitPeople     = "people"     // different people a day, of a portfolio
	LimitPlan       = "plan"       // a tenant's messages a minute
	LimitMarketing  = "marketing"  // WhatsApp keeps marketing from a person
	LimitAlarm      = "alarm"      // WhatsApp does not let the number send it: see the alarms
	LimitTemplate   = "template"   // WhatsApp does not send with its template now
	LimitPause      = "pause"      // WhatsApp asked the number to wait, or cannot be reached
)

// LimitStatus is a limit at one moment.
type LimitStatus struct {
	Tenant string `json:"tenant"`
	// Limit is "throughput", "person", "people", "plan", "alarm" or "pause".
	Limit string `json:"limit"`
	// Of is what it limits: a number's id, a portfolio's or the tenant's name.
	Of string `json:"of"`
	// Most is how many in so many seconds; 0 is any number.
	Most       float64 `json:"most,omitempty"`
	PerSeconds float64 `json:"per_seconds,omitempty"`
	// AtOnce is how many of them may go at once after a rest, where that is less.
	AtOnce int `json:"at_once,omitempty"`
	// By says whose word it is: "settings", "whatsapp" or "default".
	By string `json:"by,omitempty"`
	// Used is how much of it is, of people.
	Used int `json:"used,omitempty"`
	// Waiting is how many wait for it: messages of a number by class, or people to whom
	// too much was sent.
	Waiting ClassCount `json:"waiting,omitzero"`
	// Until is when something may go that may not now.
	Until time.Time `json:"until,omitzero"`
	Why   string    `json:"why,omitempty"`
}

// ClassCount counts messages by class.
type ClassCount struct {
	Reply       int `json:"reply,omitempty"`
	Transaction int `json:"transaction,omitempty"`
	Campaign    int `json:"campaign,omitempty"`
}

// Sum is how many there are of all classes.
func (c ClassCount) Sum() int { return c.Reply + c.Transaction + c.Campaign }

// LimitReport is what limits are there, and what one event waits for.
type LimitReport struct {
	Limits []LimitStatus `json:"limits"`
	// Event is set when it was asked for.
	Event *EventWait `json:"event,omitempty"`
}

// EventWait says why a message waits, and until when.
type EventWait struct {
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	// State is "waits"; "sending", of which what comes of it is not known yet; or "over".
	State string `json:"state"`
	// Limit is the one that it waits for, as far as it is one.
	Limit string `json:"limit,omitempty"`
	// Why is in words. Until is when it is due or, behind others, when it will go if they
	// all do.
	Why   string    `json:"why"`
	Until time.Time `json:"until,omitzero"`
	// Ahead is how many go before it.
	Ahead int `json:"ahead,omitempty"`
}

// Limits tells of the limits of a tenant ("" is all), and, unless event is empty, what
// that one waits for. An unknown event is CodeInvalid.
func (b *Broker) Limits(ctx context.Context, tenant, event string) (LimitReport, error) {
	now := time.Now().UTC()
	queues := map[store.QueueID]store.QueueStats{}
	for _, q := range b.o.Store.Stats().Queues {
		queues[q.Queue] = q
	}
	out := LimitReport{Limits: []LimitStatus{}}
	known := false
	for _, t := range b.sorted() {
		if tenant == "" || t.ID == tenant {
			known = true
			out.Limits = append(out.Limits, t.limits(queues, now)...)
		}
	}
	if tenant != "" && !known {
		return out, noTenant("limits", tenant)
	}
	if event == "" {
		return out, nil
	}
	w, err := b.waitOf(ctx, tenant, event, now)
	out.Event = w
	return out, err
}

func (b *Broker) sorted() []*tenant {
	out := make([]*tenant, 0, len(b.tenants))
	for _, t := range b.tenants {
		out = append(out, t)
	}
	slices.SortFunc(out, func(x, y *tenant) int { return cmp.Compare(x.ID, y.ID) })
	return out
}

func (t *tenant) limits(queues map[store.QueueID]store.QueueStats, now time.Time) []LimitStatus {
	var out []LimitStatus
	for _, n := range t.Numbers {
		l := t.numbers[n.ID]
		q := queues[l.queue]
		by := "settings"
		if rate := l.limiter.Rate(); rate != l.rate {
			by = "whatsapp"
		} else if l.rate == defaultRate {
			by = "default"
		}
		s := LimitStatus{
			Tenant: t.ID, Limit: LimitThroughput, Of: n.ID, Most: l.limiter.Rate(), PerSeconds: 1, By: by,
			Waiting: ClassCount{q.ByClass[0], q.ByClass[1], q.ByClass[2]},
		}
		if next := l.limiter.Next(now); next.After(now) && q.Depth > 0 {
			s.Until = next.UTC()
		}
		p := LimitStatus{Tenant: t.ID, Limit: LimitPerson, Of: n.ID, Most: 1, PerSeconds: pairPeriod.Seconds(), AtOnce: pairBurst, By: "default"}
		p.Used, p.Until = l.pairs.Waiting(now)
		if out = append(out, s, p); p.Used > 0 {
			out[len(out)-1].Why = fmt.Sprintf("%d people got as many as WhatsApp takes at once", p.Used)
		}
		for _, what := range []string{core.StopBegins, core.StopReplies} {
			if b, is, _ := t.bars(l, what, now); is {
				out = append(out, LimitStatus{Tenant: t.ID, Limit: LimitAlarm, Of: n.ID, By: "whatsapp", Until: b.until, Why: what + ": " + b.why})
			}
		}
		var lane LaneStatus
		if l.gate.status(&lane); lane.State != LaneRunning {
			out = append(out, LimitStatus{Tenant: t.ID, Limit: LimitPause, Of: n.ID, Until: lane.Until, Why: lane.Why, Waiting: s.Waiting})
		}
	}
	all, own, next := t.pace.people.Count(now, t.ID)
	s := LimitStatus{Tenant: t.ID, Limit: LimitPeople, Of: cmp.Or(t.Limits.Portfolio, t.ID), Most: float64(t.pace.people.Most()), PerSeconds: aDay.Seconds(), Used: all, By: "whatsapp"}
	if t.b.limitsPeople(t.pace.people) {
		s.By = "settings"
	}
	if all > own {
		s.Why = fmt.Sprintf("%d of them are this tenant's", own)
	}
	if s.Most > 0 && all >= int(s.Most) {
		s.Until = next.UTC()
	}
	out = append(out, s)
	if t.Limits.MessagesPerMinute > 0 {
		s := LimitStatus{Tenant: t.ID, Limit: LimitPlan, Of: t.ID, Most: float64(t.Limits.MessagesPerMinute), PerSeconds: time.Minute.Seconds(), By: "settings"}
		if next := t.pace.plan.Next(now); next.After(now) {
			s.Until = next.UTC()
		}
		out = append(out, s)
	}
	return out
}

// maxScan is how many items of a queue are looked through for one.
const maxScan = 200_000

// waitOf finds what an event, or what followed from it, waits for.
func (b *Broker) waitOf(ctx context.Context, tenant, id string, now time.Time) (*EventWait, error) {
	for _, t := range b.sorted() {
		if tenant != "" && t.ID != tenant {
			continue
		}
		story, err := History(ctx, b.o.Store, t.ID, id)
		if err != nil {
			return nil, err
		}
		w := &EventWait{ID: id, Tenant: t.ID}
		for _, l := range t.numbers {
			if found, err := t.behind(ctx, w, l, story, now); err != nil || found {
				return w, err
			}
		}
		if d, _, err := t.find(ctx, queueOf(t.ID, queueTimers), story.Root, id); err != nil {
			return nil, err
		} else if d != nil {
			w.ID, w.State, w.Why = d.ID, "waits", "it is put off"
			w.lastWait(story, now)
			return w, nil
		}
		if d, ahead, err := t.find(ctx, t.queue, story.Root, id); err != nil {
			return nil, err
		} else if d != nil {
			w.ID, w.State, w.Why, w.Ahead = d.ID, "waits", "it is not decided yet", ahead
			return w, nil
		}
		if len(story.Steps) > 0 {
			last := story.Steps[len(story.Steps)-1]
			w.State, w.Why = "over", fmt.Sprintf("nothing of it waits for a limit: the last step was %q, of %s", last.Step, last.Event)
			return w, nil
		}
	}
	return nil, core.Errorf(core.CodeInvalid, "limits", "nothing is remembered of %q: %w", clip(id, 80), store.ErrNotFound)
}

// find looks for an event in a queue, and counts those before it that are as urgent.
func (t *tenant) find(ctx context.Context, q store.QueueID, root, id string) (found *store.Delivery, ahead int, err error) {
	const page = 1000
	var after uint64
	classes := [store.Classes]int{}
	for seen := 0; seen < maxScan; {
		ds, err := t.b.o.Store.Peek(ctx, q, after, page)
		if err != nil || len(ds) == 0 {
			return nil, 0, err
		}
		for i := range ds {
			d := &ds[i]
			class := classOf(eventOf(*d))
			if d.ID == id || core.RootID(d.ID) == root {
				for c := 0; c <= class; c++ {
					ahead += classes[c]
				}
				return d, ahead, nil
			}
			classes[class]++
		}
		seen, after = seen+len(ds), ds[len(ds)-1].Seq
	}
	return nil, 0, nil
}

// behind says what an event in a number's queue waits for, if it is there.
func (t *tenant) behind(ctx context.Context, w *EventWait, l *lane, story Story, now time.Time) (bool, error) {
	d, ahead, err := t.find(ctx, l.queue, story.Root, w.ID)
	if err != nil || d == nil {
		return false, err
	}
	w.ID = d.ID
	if len(d.Mark) > 0 {
		w.State, w.Why = "sending", "it was handed to WhatsApp; whether it was taken is not known yet"
		return true, nil
	}
	w.State = "waits"
	if w.lastWait(story, now); w.Until.After(now) {
		return true, nil
	}
	w.Ahead = ahead
	var lane LaneStatus
	if l.gate.status(&lane); lane.State != LaneRunning {
		w.Limit, w.Why, w.Until = LimitPause, fmt.Sprintf("the number is %s: %s", lane.State, lane.Why), lane.Until
		return true, nil
	}
	rate, next := l.limiter.Rate(), l.limiter.Next(now)
	w.Limit, w.Why = LimitThroughput, fmt.Sprintf("the number sends %v a second, and %d are before it", rate, ahead)
	if plan := t.pace.plan.Rate(); plan > 0 && plan < rate {
		rate, next = plan, t.pace.plan.Next(now)
		w.Limit, w.Why = LimitPlan, fmt.Sprintf("the tenant's plan is %d a minute, and %d are before it", t.Limits.MessagesPerMinute, ahead)
	}
	turns := float64(ahead) * store.Share / float64(store.Share-t.lessUrgent(l, classOf(eventOf(*d))))
	w.Until = next.Add(time.Duration(turns / rate * float64(time.Second))).UTC().Truncate(time.Millisecond)
	return true, nil
}

// lessUrgent is in how many classes something waits that is less urgent: they get a part
// of the turns.
func (t *tenant) lessUrgent(l *lane, class int) (n int) {
	for _, q := range t.b.o.Store.Stats().Queues {
		if q.Queue == l.queue {
			for _, waiting := range q.ByClass[class+1:] {
				n += min(1, waiting)
			}
		}
	}
	return n
}

// lastWait takes the reason from the event's trace, if it says of a time to come.
func (w *EventWait) lastWait(story Story, now time.Time) {
	for _, s := range slices.Backward(story.Steps) {
		if s.Event != w.ID {
			continue
		}
		if s.Until.After(now) {
			w.Until, w.Limit = s.Until, s.Limit
		}
		if len(s.Notes) > 0 && (s.Until.After(now) || s.Until.IsZero() && w.Why != "") {
			w.Why = s.Notes[len(s.Notes)-1]
		}
		return
	}
}
