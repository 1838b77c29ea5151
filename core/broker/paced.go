package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/limit"
	"github.com/wabridge/wabridge/core/store"
)

// What would be too much for a limit of WhatsApp's waits, with the reason in its trace,
// and is no failed attempt. What waits for seconds waits in its conversation's order. What
// waits for hours leaves the lane, so that nothing waits for it, and is decided anew when
// it is due.

// paced takes out of a batch of sends what must wait for a limit of the person's or
// of the day's, and puts it off until then: in a settlement that the caller makes.
func (l *lane) paced(ctx context.Context, ds []store.Delivery, s *store.Settlement) []store.Delivery {
	now := time.Now().UTC()
	begins, err := l.begins(ctx, ds, now)
	if err == nil {
		ds, begins, err = l.withheld(ctx, ds, begins, s, now)
	}
	if err != nil {
		l.t.giveBack(ctx, ds)
		return nil
	}
	may := ds[:0:0]
	for i, d := range ds {
		e := eventOf(d)
		if len(d.Mark) > 0 || repeatable(e) || e.Contact == nil || e.Contact.ID == "" {
			may = append(may, d)
			continue
		}
		if due, why := l.awaited(e.Conversation, now); !due.IsZero() {
			if l.health.notice(d.ID + " await") {
				l.waits(s, d, e, now, due, LimitPerson, why)
			}
			s.Nak = append(s.Nak, store.Nak{Delivery: d, Due: due})
			continue
		}
		if begins[i] {
			who, campaign := limit.Person{Tenant: l.t.ID, Key: e.Contact.ID}, e.Class == core.ClassCampaign
			if wait := l.t.pace.people.Take(now, who, campaign); wait > 0 {
				l.putOff(s, d, e, now, now.Add(wait), LimitPeople, l.t.whyPeople(campaign))
				continue
			}
			at := now.Format(time.RFC3339Nano)
			if campaign {
				at += byCampaign
			}
			s.Put = append(s.Put, store.Put{Key: store.Key{Tenant: l.t.ID, Bucket: bucketReached, Key: e.Contact.ID}, Value: []byte(at), Expires: now.Add(aDay)})
		}
		if wait := l.pairs.Take(now, e.Contact.ID); wait > 0 {
			due := now.Add(wait)
			l.waits(s, d, e, now, due, LimitPerson, fmt.Sprintf("WhatsApp takes a message in %v to one person, and %d at once", pairPeriod, pairBurst))
			s.Nak = append(s.Nak, store.Nak{Delivery: d, Due: due})
			continue
		}
		if keep := l.pairs.Kept(now, e.Contact.ID); !keep.IsZero() {
			s.Put = append(s.Put, store.Put{
				Key:   store.Key{Tenant: l.t.ID, Bucket: bucketPairs, Key: l.number() + ":" + e.Contact.ID},
				Value: []byte(keep.UTC().Format(time.RFC3339Nano)), Expires: keep,
			})
		}
		may = append(may, d)
	}
	l.b.m.paced.WithLabelValues(l.t.ID, l.name).Add(float64(len(s.Nak) + len(s.Ack)))
	return may
}

// number is the id of the lane's number.
func (l *lane) number() string { return l.name[len(numberQueue("")):] }

// waits writes down why something waits, and until when.
func (l *lane) waits(s *store.Settlement, d store.Delivery, e *core.Event, now, due time.Time, of, why string) {
	step := l.step(d, e, now)
	step.Step, step.Until, step.Limit, step.Notes = "waits", due, of, []string{why + ": until " + due.Format(time.RFC3339)}
	s.Record = append(s.Record, record(&step, e))
}

// limitOf names the limit that a refusal is about.
func (l *lane) limitOf(err *core.Error) string {
	if holdsLane(err) {
		return LimitPause
	}
	return LimitPerson
}

// putOff takes a send out of the lane until it is due.
func (l *lane) putOff(s *store.Settlement, d store.Delivery, e *core.Event, now, due time.Time, of, why string) {
	l.waits(s, d, e, now, due, of, why)
	s.Ack = append(s.Ack, d)
	l.t.later(s, e, due)
}

// whyPeople says why somebody new must wait.
func (t *tenant) whyPeople(campaign bool) string {
	most, of := t.pace.people.Most(), ""
	if campaign {
		of = fmt.Sprintf(" (campaigns leave one of %d to others)", limit.Spare)
	}
	if t.Limits.Portfolio != "" {
		of += " for the portfolio " + t.Limits.Portfolio
	}
	return fmt.Sprintf("%d people were written to within a day who had not written: as many as WhatsApp allows%s", most, of)
}

// pauseAccount has the other numbers of a number's business account pause as it does, when
// WhatsApp's answer is about all of them.
func (b *Broker) pauseAccount(from *lane, err *core.Error) {
	if err == nil || err.Holds() != core.ScopeAccount || from.account == "" {
		return
	}
	for _, t := range b.tenants {
		for _, l := range t.numbers {
			if l != from && l.account == from.account {
				l.gate.refuse(err)
			}
		}
	}
}

// begins says of each send whether the business begins with it: it goes to somebody
// whose service window is closed. Only a template can.
func (l *lane) begins(ctx context.Context, ds []store.Delivery, now time.Time) ([]bool, error) {
	out := make([]bool, len(ds))
	var keys []store.Key
	var of []int
	for i, d := range ds {
		if e := eventOf(d); e.Message != nil && e.Message.Type == core.TypeTemplate && e.Contact != nil && e.Contact.ID != "" {
			keys, of = append(keys, conversationKey(l.t.ID, e.Contact.ID, e.Number)), append(of, i)
		}
	}
	if len(keys) == 0 {
		return out, nil
	}
	values, err := l.b.o.Store.Get(ctx, keys...)
	if err != nil {
		return nil, err
	}
	for j, v := range values {
		conv, known := decode[conversation](v)
		out[of[j]] = !known || now.Sub(conv.LastIn) >= window
	}
	return out, nil
}

// WhatsApp may choose not to deliver marketing to somebody who gets much of it, from
// whomever. It is not to be repeated within a day; the bridge sends this person none for as
// long, and then tries once more.
//
// https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/marketing-templates/per-user-limits
const (
	codeWithheld    = 131049
	withheldFor     = aDay
	whyWithheld     = "WhatsApp keeps marketing from this person for a day, who gets much of it"
	bucketWithheld  = "withheld" // contact → withholding
	withheldAgainIn = time.Hour  // how long an event is remembered beyond that
)

// withholding says until when a person gets no marketing.
type withholding struct {
	Until time.Time `json:"until"`
	// Event is the send that WhatsApp refused, if it did so at once: it is tried once more.
	Event string `json:"event,omitempty"`
}

func (t *tenant) withheldKey(contact string) store.Key {
	return store.Key{Tenant: t.ID, Bucket: bucketWithheld, Key: contact}
}

func (t *tenant) withholds(s *store.Settlement, contact, event string, now time.Time) (until time.Time) {
	until = now.Add(withheldFor)
	s.Put = append(s.Put, store.Put{Key: t.withheldKey(contact), Value: mustJSON(withholding{until, event}), Expires: until.Add(withheldAgainIn)})
	return until
}

// isMarketing reports whether a send is a template of marketing.
func (t *tenant) isMarketing(e *core.Event, now time.Time) bool {
	if e.Message == nil || e.Message.Type != core.TypeTemplate || e.Message.Template == nil || e.Contact == nil || e.Contact.ID == "" {
		return false
	}
	category, _ := t.category(e.Number, e.Message.Template, now)
	return category == consent.CategoryMarketing
}

// withheld puts off marketing to those whom WhatsApp keeps it from.
func (l *lane) withheld(ctx context.Context, ds []store.Delivery, begins []bool, s *store.Settlement, now time.Time) ([]store.Delivery, []bool, error) {
	var keys []store.Key
	var of []int
	for i, d := range ds {
		if e := eventOf(d); len(d.Mark) == 0 && l.t.isMarketing(e, now) {
			keys, of = append(keys, l.t.withheldKey(e.Contact.ID)), append(of, i)
		}
	}
	if len(keys) == 0 {
		return ds, begins, nil
	}
	values, err := l.b.o.Store.Get(ctx, keys...)
	if err != nil {
		return ds, begins, err
	}
	out := make(map[int]bool)
	for j, v := range values {
		if w, ok := decode[withholding](v); ok && now.Before(w.Until) {
			d := ds[of[j]]
			l.putOff(s, d, eventOf(d), now, w.Until, LimitMarketing, whyWithheld)
			out[of[j]] = true
		}
	}
	if len(out) == 0 {
		return ds, begins, nil
	}
	may, mayBegin := ds[:0:0], begins[:0:0]
	for i, d := range ds {
		if !out[i] {
			may, mayBegin = append(may, d), append(mayBegin, begins[i])
		}
	}
	return may, mayBegin, nil
}

// marketingRefused takes note that WhatsApp keeps marketing from a person, and puts the
// send off, once. It reports whether it did.
func (l *lane) marketingRefused(ctx context.Context, s *store.Settlement, d store.Delivery, e *core.Event, err *core.Error, now time.Time) bool {
	if err == nil || err.Vendor != fmt.Sprint(codeWithheld) || e.Contact == nil || e.Contact.ID == "" {
		return false
	}
	values, failed := l.b.o.Store.Get(ctx, l.t.withheldKey(e.Contact.ID))
	if failed != nil {
		return false
	}
	before, _ := decode[withholding](values[0])
	if e.Campaign != "" { // its row says so, and is not tried again: a day's rows would stand in the way
		l.t.withholds(s, e.Contact.ID, "", now)
		return false
	}
	until := l.t.withholds(s, e.Contact.ID, e.ID, now)
	if before != nil && before.Event == e.ID {
		return false
	}
	l.putOff(s, d, e, now, until, LimitMarketing, whyWithheld)
	return true
}
