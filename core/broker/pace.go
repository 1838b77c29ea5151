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
// to one person, and so many people a day who have not written. What of it an account has
// used is kept over restarts.
//
// https://developers.facebook.com/documentation/business-messaging/whatsapp/about-the-platform
// https://developers.facebook.com/documentation/business-messaging/whatsapp/messaging-limits

const (
	pairPeriod = 6 * time.Second
	pairBurst  = 45
	aDay       = 24 * time.Hour

	bucketReached = "reached" // contact → when the business last began with them, and by a campaign if it did
	bucketPairs   = "pairs"   // <number>:<contact> → until when too much was borrowed: see limit.Pairs
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

// burstOfPlan is how many of a minute's messages may go at once.
func burstOfPlan(n int) int { return max(1, n/10) }

// Limits bound what a tenant sends, all its numbers together; 0 is no limit.
type Limits struct {
	// PeoplePerDay is how many different people may be written to in a moving day
	// outside of their service windows: WhatsApp's messaging limit of the portfolio.
	PeoplePerDay int
	// Portfolio names the portfolio at Meta, for tenants that share one: they share its
	// people a day, too. Empty is one of the tenant's own.
	Portfolio string
	// MessagesPerMinute is the tenant's plan.
	MessagesPerMinute int
}

// pace is a tenant's side of the limits; what is a number's own is in its lane.
type pace struct {
	people *limit.People // the portfolio's
	plan   *limit.Limiter
}

// newPace makes a tenant's side of the limits. Tenants of the same portfolio share its
// people: the least that one of their owners says.
func (b *Broker) newPace(tenant string, l Limits) pace {
	p := pace{people: b.portfolios[l.Portfolio]}
	if p.people == nil {
		p.people = limit.NewPeople(0, aDay)
		if l.Portfolio != "" {
			b.portfolios[l.Portfolio] = p.people
		}
	}
	p.people.Join(tenant)
	if n, most := l.PeoplePerDay, p.people.Most(); n > 0 && (most == 0 || n < most) {
		p.people.SetMost(n)
	}
	if n := l.MessagesPerMinute; n > 0 {
		burst := burstOfPlan(n)
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
		if why := inTrouble[c.Event]; why != "" && c.Display != "" && digits(l.displayed()) == digits(c.Display) {
			t.numberInTrouble(&u.s, u.e.ID, id, why)
			u.note(why + ": campaigns from the number stop")
		}
		if c.MessagesPerSecond > 0 && c.Display != "" && digits(l.displayed()) == digits(c.Display) {
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
	case key == keyPeople && !t.b.limitsPeople(t.pace.people):
		t.pace.people.SetMost(max(0, int(n)))
	case l != nil && l.rate == defaultRate:
		l.limiter.SetRate(time.Now(), n, burstOf(n))
	}
}

// limitsPeople reports whether an owner has set how many.
func (b *Broker) limitsPeople(people *limit.People) bool {
	for _, t := range b.tenants {
		if t.pace.people == people && t.Limits.PeoplePerDay > 0 {
			return true
		}
	}
	return false
}

// restoreLimits remembers what WhatsApp said, and to whom much was sent.
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
	if sent, err := t.b.o.Store.Range(ctx, t.ID, bucketIntents, "", 1); err != nil || len(sent) == 0 {
		return err // nothing was ever sent
	}
	now := time.Now()
	for _, l := range t.numbers {
		l.pairs.Restart(now)
	}
	return t.eachEntry(ctx, bucketPairs, func(e store.Entry) {
		number, contact, _ := strings.Cut(e.Key, ":")
		if at, err := time.Parse(time.RFC3339Nano, string(e.Value)); err == nil && t.numbers[number] != nil {
			t.numbers[number].pairs.Restore(contact, at)
		}
	})
}

// eachEntry calls f with every value of a bucket.
func (t *tenant) eachEntry(ctx context.Context, bucket string, f func(store.Entry)) error {
	const page = 1000
	for after := ""; ; {
		entries, err := t.b.o.Store.Range(ctx, t.ID, bucket, after, page)
		if err != nil {
			return err
		}
		for _, e := range entries {
			f(e)
			after = e.Key
		}
		if len(entries) < page {
			return nil
		}
	}
}

// restorePeople remembers who was written to within the last day.
func (b *Broker) restorePeople(ctx context.Context) error {
	type one struct {
		t        *tenant
		contact  string
		at       time.Time
		campaign bool
	}
	var all []one
	for _, t := range b.tenants {
		err := t.eachEntry(ctx, bucketReached, func(e store.Entry) {
			text, campaign := strings.CutSuffix(string(e.Value), byCampaign)
			if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
				all = append(all, one{t, e.Key, at, campaign})
			}
		})
		if err == nil && t.Limits.Portfolio != "" {
			err = t.restoreWaiting(ctx)
		}
		if err != nil {
			return err
		}
	}
	slices.SortFunc(all, func(a, b one) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.contact, b.contact)) })
	for _, o := range all {
		o.t.pace.people.Restore(o.at, limit.Person{Tenant: o.t.ID, Key: o.contact}, o.campaign)
	}
	return nil
}

// restoreWaiting says so when there is a template that was put off: whether it waits for a
// part of the portfolio's people is known when it is due.
func (t *tenant) restoreWaiting(ctx context.Context) error {
	const page, most = 1000, 20_000
	q := queueOf(t.ID, queueTimers)
	var after uint64
	for seen := 0; seen < most; seen += page {
		ds, err := t.b.o.Store.Peek(ctx, q, after, page)
		if err != nil || len(ds) == 0 {
			return err
		}
		for _, d := range ds {
			if e := eventOf(d); e.Message != nil && e.Message.Type == core.TypeTemplate {
				t.pace.people.Waits(t.ID, time.Now().Add(aDay))
				return nil
			}
		}
		after = ds[len(ds)-1].Seq
	}
	return nil
}

// byCampaign follows the time at which a campaign began with somebody.
const byCampaign = " campaign"
