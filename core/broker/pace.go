package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/limit"
	"github.com/wabridge/wabridge/core/store"
)

// What WhatsApp lets a business send, beside a number's messages per second: so many
// to one person, and so many people a day who have not written. What would be too much
// waits, with the reason in its trace, and is no failed attempt.
//
// https://developers.facebook.com/documentation/business-messaging/whatsapp/about-the-platform
// https://developers.facebook.com/documentation/business-messaging/whatsapp/messaging-limits

const (
	pairPeriod = 6 * time.Second
	pairBurst  = 45
	aDay       = 24 * time.Hour

	bucketReached = "reached" // contact → when the business last began with them
	bucketLimits  = "limits"  // "people" or a number's id → what WhatsApp said
	keyPeople     = "people"

	// A number's throughput, messages a second, unless it was upgraded; and that of one
	// which is used with the phone app as well.
	// https://developers.facebook.com/documentation/business-messaging/whatsapp/throughput
	defaultRate     = 80
	coexistenceRate = 20
)

// burstOf is how many may go at once at a rate: a few milliseconds' worth, so that the
// rate is kept although timers are late.
func burstOf(rate float64) int { return max(1, int(rate/200)) }

// Limits bound what a tenant sends, all its numbers together; 0 is no limit.
type Limits struct {
	// PeoplePerDay is how many different people may be written to in a moving day
	// outside of their service windows: WhatsApp's messaging limit of the portfolio.
	PeoplePerDay int
	// MessagesPerMinute is the tenant's plan.
	MessagesPerMinute int
}

// pace is a tenant's side of the limits; what is a number's own is in its lane.
type pace struct {
	people *limit.People
	plan   *limit.Limiter
}

func newPace(l Limits) pace {
	p := pace{people: limit.NewPeople(l.PeoplePerDay, aDay)}
	if n := l.MessagesPerMinute; n > 0 {
		burst := max(1, n/10)
		p.plan = limit.New(float64(max(1, n-burst))/60, burst)
	}
	return p
}

// limitChanged takes over what WhatsApp says that the business may send. What the
// owner has set counts all the same.
func (t *tenant) limitChanged(u *turn) {
	u.tell = nil
	c := u.e.LimitChange
	if c == nil {
		u.note("the event says of no limit")
		return
	}
	keep := func(key string, n float64) {
		u.s.Put = append(u.s.Put, store.Put{Key: store.Key{Tenant: t.ID, Bucket: bucketLimits, Key: key}, Value: mustJSON(n)})
	}
	if n := c.PeoplePerDay; n != 0 {
		keep(keyPeople, float64(n))
		u.note(fmt.Sprintf("WhatsApp lets the business write to %s people a day who have not written", inWords(n)))
		u.afterwards(func(stored bool) {
			if stored {
				t.told(keyPeople, float64(n))
			}
		})
	}
	for id, l := range t.numbers {
		if why := inTrouble[c.Event]; why != "" && c.Display != "" && digits(l.display) == digits(c.Display) {
			t.numberInTrouble(&u.s, u.e.ID, id, why)
			u.note(why + ": campaigns from the number stop")
		}
		if c.MessagesPerSecond > 0 && c.Display != "" && digits(l.display) == digits(c.Display) {
			keep(id, c.MessagesPerSecond)
			u.note(fmt.Sprintf("WhatsApp takes %v messages a second from %s", c.MessagesPerSecond, c.Display))
			u.afterwards(func(stored bool) {
				if stored {
					t.told(id, c.MessagesPerSecond)
				}
			})
		}
	}
}

// onThePhone takes note that a number is used with the phone app, too, as what somebody
// wrote there shows: WhatsApp takes less from it then.
func (t *tenant) onThePhone(u *turn) {
	l := t.numbers[u.e.Number]
	if u.e.Source != "phone" || l == nil || l.rate != defaultRate || l.limiter.Rate() == coexistenceRate {
		return
	}
	u.s.Put = append(u.s.Put, store.Put{Key: store.Key{Tenant: t.ID, Bucket: bucketLimits, Key: u.e.Number}, Value: mustJSON(coexistenceRate)})
	u.note(fmt.Sprintf("the number is used with the phone app, too: WhatsApp takes %d messages a second from it", coexistenceRate))
	u.afterwards(func(stored bool) {
		if stored {
			t.told(u.e.Number, coexistenceRate)
		}
	})
}

// inTrouble are WhatsApp's words for a number that people complain about.
var inTrouble = map[string]string{
	"FLAGGED":    "WhatsApp has flagged the number for its quality",
	"DOWNGRADE":  "WhatsApp has lowered the number's limit for its quality",
	"RESTRICTED": "WhatsApp has restricted the number",
}

func inWords(n int) string {
	if n < 0 {
		return "any number of"
	}
	return fmt.Sprint(n)
}

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

// told takes up what WhatsApp said, where the owner says nothing.
func (t *tenant) told(key string, n float64) {
	switch l := t.numbers[key]; {
	case key == keyPeople && t.Limits.PeoplePerDay == 0:
		t.pace.people.SetMost(max(0, int(n)))
	case l != nil && l.rate == defaultRate:
		l.limiter.SetRate(time.Now(), n, burstOf(n))
	}
}

// restoreLimits remembers what WhatsApp said, and who was written to within the last
// day.
func (t *tenant) restoreLimits(ctx context.Context) error {
	entries, err := t.b.o.Store.Range(ctx, t.ID, bucketLimits, "", 1000)
	if err != nil {
		return err
	}
	for _, e := range entries {
		var n float64
		if json.Unmarshal(e.Value, &n) == nil {
			t.told(e.Key, n)
		}
	}
	type one struct {
		contact string
		at      time.Time
	}
	var all []one
	const page = 1000
	for after := ""; ; {
		entries, err := t.b.o.Store.Range(ctx, t.ID, bucketReached, after, page)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if at, err := time.Parse(time.RFC3339Nano, string(e.Value)); err == nil {
				all = append(all, one{e.Key, at})
			}
			after = e.Key
		}
		if len(entries) < page {
			break
		}
	}
	slices.SortFunc(all, func(a, b one) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.contact, b.contact)) })
	for _, o := range all {
		t.pace.people.Restore(o.at, o.contact)
	}
	return nil
}

// paced takes out of a batch of sends what must wait for a limit of the person's or
// of the day's, and puts it off until then.
func (l *lane) paced(ctx context.Context, ds []store.Delivery) []store.Delivery {
	now := time.Now().UTC()
	begins, err := l.begins(ctx, ds, now)
	if err != nil {
		l.t.giveBack(ctx, ds)
		return nil
	}
	var s store.Settlement
	may := ds[:0:0]
	for i, d := range ds {
		e := eventOf(d)
		if len(d.Mark) > 0 || repeatable(e) || e.Contact == nil || e.Contact.ID == "" {
			may = append(may, d)
			continue
		}
		var wait time.Duration
		var why string
		if begins[i] {
			if wait = l.t.pace.people.Take(now, e.Contact.ID); wait > 0 {
				why = fmt.Sprintf("%d people were written to within a day who had not written: as many as WhatsApp allows", l.t.pace.people.Most())
			} else {
				s.Put = append(s.Put, store.Put{
					Key:   store.Key{Tenant: l.t.ID, Bucket: bucketReached, Key: e.Contact.ID},
					Value: []byte(now.Format(time.RFC3339Nano)), Expires: now.Add(aDay),
				})
			}
		}
		if wait == 0 {
			if wait = l.pairs.Take(now, e.Contact.ID); wait > 0 {
				why = fmt.Sprintf("WhatsApp takes a message in %v to one person, and %d at once", pairPeriod, pairBurst)
			}
		}
		if wait == 0 {
			may = append(may, d)
			continue
		}
		due := now.Add(wait)
		step := l.step(d, e, now)
		step.Step, step.Notes = "waits", []string{why + ": until " + due.Format(time.RFC3339)}
		s.Nak = append(s.Nak, store.Nak{Delivery: d, Due: due})
		s.Record = append(s.Record, record(&step, e))
	}
	if len(s.Nak)+len(s.Put) == 0 {
		return ds
	}
	if _, err := l.b.settle(ctx, s); err != nil {
		l.t.giveBack(ctx, ds)
		return nil
	}
	l.b.m.paced.WithLabelValues(l.t.ID, l.name).Add(float64(len(s.Nak)))
	return may
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
