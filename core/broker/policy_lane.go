package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// staleAfter is how old a send may be without being looked at again. A lane that
// was down has sends of hours ago, and of people who wrote STOP since.
const staleAfter = 2 * time.Second

// stillAllowed takes out of a batch what suppression and consent forbid by now,
// and ends it like what the policy refuses when it decides.
func (l *lane) stillAllowed(ctx context.Context, ds []store.Delivery) []store.Delivery {
	now := time.Now().UTC()
	ds = l.heldByCampaign(ctx, ds, now)
	var keys []store.Key
	var of []int
	for i, d := range ds {
		e := eventOf(d)
		if now.Sub(d.Added) < staleAfter || len(d.Mark) > 0 || e.Contact == nil || e.Contact.ID == "" || e.Message == nil ||
			e.Message.Type == core.TypeRead || e.Source == sourcePolicy {
			continue
		}
		keys, of = append(keys, contactKey(l.t.ID, e.Contact.ID)), append(of, i)
	}
	if len(keys) == 0 {
		return ds
	}
	values, err := l.b.o.Store.Get(ctx, keys...)
	if err != nil {
		l.t.giveBack(ctx, ds)
		return nil
	}
	lastIn, _, err := l.windows(ctx, ds, l)
	if err != nil {
		l.t.giveBack(ctx, ds)
		return nil
	}
	var s store.Settlement
	refused := 0
	for j, v := range values {
		d := ds[of[j]]
		e := eventOf(d)
		p, err := l.t.standsFor(ctx, v)
		if err != nil {
			l.t.giveBack(ctx, ds)
			return nil
		}
		why := l.t.notAllowed(p, e.Number, e.Message, now)
		if why == "" {
			why = windowClosed(lastIn[of[j]], e.Message, true, now)
			step := l.step(d, e, now)
			if why != "" && l.goesInstead(&s, d, e, now, &step) {
				s.Record = append(s.Record, record(&step, e))
				continue
			}
		}
		if why == "" {
			continue
		}
		refused++
		no := core.Errorf(core.CodeUndeliverable, "policy", "%s", why)
		step := l.step(d, e, now)
		step.Step, step.Error, step.Notes = "dead", no, []string{"refused while it waited to be sent: " + why}
		s.Ack, s.Record = append(s.Ack, d), append(s.Record, record(&step, e))
		l.t.failed(&s, e, no)
	}
	if len(s.Ack) == 0 {
		return ds
	}
	if _, err := l.b.settle(ctx, s); err != nil {
		l.t.giveBack(ctx, ds)
		return nil
	}
	l.b.m.refused.WithLabelValues(l.t.ID).Add(float64(refused))
	return slices.DeleteFunc(ds, func(d store.Delivery) bool {
		return slices.ContainsFunc(s.Ack, func(a store.Delivery) bool { return a.Seq == d.Seq })
	})
}

// vendorStopped is WhatsApp's error for marketing to somebody who stopped it.
const vendorStopped = "131050"

// stopped has it decided that the person stopped marketing: WhatsApp said so when
// it refused the send. It reports whether it did.
func (l *lane) stopped(s *store.Settlement, send *core.Event, err *core.Error, now time.Time) bool {
	if err == nil || err.Vendor != vendorStopped {
		return false
	}
	e := &core.Event{
		ID: core.FollowID(send.ID, codeStopped), Kind: core.KindConsentChanged, Tenant: send.Tenant, Number: send.Number, Conversation: send.Conversation,
		Time: now, Accepted: send.Accepted, Source: "whatsapp", Cause: send.ID, Contact: send.Contact, Consent: stoppedAtMeta(),
	}
	s.Add = append(s.Add, store.Item{Queue: l.t.queue, ID: e.ID, Once: true, Order: e.Conversation, Class: classOf(e), Data: mustJSON(e), Value: e})
	return true
}

const codeStopped = 131050

func stoppedAtMeta() *core.Consent {
	return &core.Consent{Level: "marketing", State: "withdrawn", Source: "meta", Evidence: "WhatsApp refused a marketing message: error " + vendorStopped}
}

// standsFor returns the person of a stored contact: of one that was merged since,
// the survivor, whose word counts.
func (t *tenant) standsFor(ctx context.Context, data []byte) (*person, error) {
	p, _ := decode[person](data)
	if p.MergedInto == "" {
		return p, nil
	}
	id, err := contactIDOf(ctx, t.b.o.Store, t.ID, p.MergedInto)
	if errors.Is(err, store.ErrNotFound) { // erased since
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	return personAt(ctx, t.b.o.Store, t.ID, id)
}
