package broker

import (
	"context"
	"maps"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// A mapping adds properties to events that matter more than they do. What a CRM
// refuses as invalid is tried once more without them, at once: a value that it does
// not take, or a property that is gone, costs nobody a message.

// unmapped returns the event without what the lane's mapping is about, or nil when
// it has nothing of it.
func (l *lane) unmapped(e *core.Event) *core.Event {
	var own *core.Event
	for _, name := range l.mapping.Writes() {
		if _, ok := e.Fields[name]; !ok {
			continue
		}
		if own == nil {
			c := *e
			c.Fields = maps.Clone(e.Fields)
			own = &c
		}
		delete(own.Fields, name)
	}
	return own
}

// withoutMapping tries again what was refused with properties of the mapping, and
// returns why, by event, where it is done without them. results are changed.
func (l *lane) withoutMapping(ctx context.Context, ds []store.Delivery, results []core.Result) map[string]*core.Error {
	if l.mapping == nil {
		return nil
	}
	var again []store.Delivery
	var of []int
	for i, d := range ds {
		if err := results[i].Err; err == nil || err.Code != core.CodeInvalid {
			continue
		}
		if own := l.unmapped(eventOf(d)); own != nil {
			d.Value, d.Data = own, mustJSON(own)
			again, of = append(again, d), append(of, i)
		}
	}
	if len(again) == 0 {
		return nil
	}
	l.lookAgain()
	left := map[string]*core.Error{}
	for j, r := range l.attempt(ctx, again) {
		if r.Err != nil && r.Err.Code == core.CodeInvalid {
			continue // it is not the mapping's fault: the first answer says more
		}
		i := of[j]
		if why := results[i].Err; r.Err == nil {
			left[ds[i].ID] = why
			l.sawError(ds[i].ID, why)
			l.b.log.Warn("written without the properties of the mapping, which the CRM refuses: see `wabridge mapping preview`",
				"tenant", l.t.ID, "lane", l.name, "event", ds[i].ID, "error", why.Error())
		}
		results[i] = r
	}
	return left
}

// lookAgain has the CRM asked soon what it has.
func (l *lane) lookAgain() {
	select {
	case l.refit <- struct{}{}:
	default:
	}
}
