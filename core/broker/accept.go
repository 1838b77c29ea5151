package broker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// maxQuarantine bounds the events of unknown numbers that are kept.
const maxQuarantine = 100_000

// Accept stores events and returns nil once they are durable. Events that were
// accepted before are dropped. An event without a Tenant belongs to the tenant
// of its Number; one of a number that nobody has goes to the quarantine. The
// error, if any, is for all of them: none was accepted. Accept takes over the
// events: the caller must not use them afterwards.
func (b *Broker) Accept(ctx context.Context, events []core.Event) error {
	_, err := b.accept(ctx, events, store.Settlement{})
	return err
}

// accept is Accept, with what else is to be stored in the same settlement.
func (b *Broker) accept(ctx context.Context, events []core.Event, with store.Settlement) (store.Outcome, error) {
	now := time.Now().UTC()
	s := store.Settlement{Ingest: true, Add: make([]store.Item, 0, len(events)), Record: with.Record}
	placed := make([]placing, 0, len(events))
	for i := range events {
		e := &events[i]
		if e.Accepted.IsZero() {
			e.Accepted = now
		}
		if e.Time.IsZero() {
			e.Time = e.Accepted
		}
		t := b.tenants[e.Tenant]
		if t == nil {
			t = b.numbers[e.Number]
		}
		if t == nil {
			data, err := json.Marshal(e)
			if err != nil {
				return store.Outcome{}, core.Errorf(core.CodeInvalid, "accept", "event: %w", err)
			}
			s.Add = append(s.Add, store.Item{Queue: queueOf("", queueQuarantine), ID: e.ID, Once: true, Data: data})
			b.totals.quarantine.Add(1)
			continue
		}
		if t.depth.Load() > int64(b.o.MaxQueue) {
			return store.Outcome{}, core.Errorf(core.CodeUnavailable, "accept", "tenant %s has %d undecided events", t.ID, t.depth.Load())
		}
		e.Tenant = t.ID
		if e.Source == "" {
			e.Source = "whatsapp"
		}
		placed = append(placed, placing{t: t, e: e})
	}
	if n := len(events) - len(placed); n > 0 && b.quarantined() > maxQuarantine {
		return store.Outcome{}, core.Errorf(core.CodeUnavailable, "accept", "the quarantine of unknown numbers is full")
	}
	placed, puts, undo, err := b.place(ctx, placed)
	if err != nil {
		return store.Outcome{}, err
	}
	s.Put = append(puts, with.Put...)
	for _, p := range placed {
		data, err := json.Marshal(p.e)
		if err != nil {
			undo()
			return store.Outcome{}, core.Errorf(core.CodeInvalid, "accept", "event: %w", err)
		}
		s.Add = append(s.Add, store.Item{Queue: p.t.queue, ID: p.e.ID, Once: true, Order: p.e.Conversation, Class: classOf(p.e), Data: data, Value: p.e})
	}
	b.failpoint("accept-before-commit")
	out, err := b.settle(ctx, s)
	if err != nil {
		undo()
		return out, err
	}
	b.failpoint("accept-after-commit")
	b.countAccepted(out, s.Add, placed)
	b.tellStrange(events, now)
	return out, nil
}

// strangeEvery is how often the log tells of numbers that no tenant has.
const strangeEvery = time.Minute

// strangeHint says what to do about a number that no tenant has.
const strangeHint = "compare it with id in [[numbers]] of tenant.toml, and start the bridge again; wabridge queue show \"\" quarantine"

// tellStrange tells the log of a number that no tenant has: where the owner mistook its
// id, everything else looks well.
func (b *Broker) tellStrange(events []core.Event, now time.Time) {
	for i := range events {
		e := &events[i]
		if b.tenants[e.Tenant] != nil || b.numbers[e.Number] != nil {
			continue
		}
		last := b.strange.Load()
		if (last == 0 || now.UnixNano()-last >= int64(strangeEvery)) && b.strange.CompareAndSwap(last, now.UnixNano()) {
			b.log.Warn("what comes for a number that no tenant has is kept until one has it", "phone_number_id", fmt.Sprintf("%.40s", e.Number),
				"hint", strangeHint)
		}
		return
	}
}

func (b *Broker) countAccepted(out store.Outcome, items []store.Item, placed []placing) {
	first := len(items) - len(placed)
	now := time.Now()
	for i, p := range placed {
		if !out.Added[first+i] {
			b.totals.duplicates.Add(1)
			continue
		}
		b.totals.accepted.Add(1)
		p.t.depth.Add(1)
		if p.e.Kind == core.KindMessageReceived {
			b.totals.messages.Add(1)
			b.rate.add(now)
		}
	}
}

func (b *Broker) quarantined() int {
	for _, q := range b.o.Store.Stats().Queues {
		if q.Queue == queueOf("", queueQuarantine) {
			return q.Depth
		}
	}
	return 0
}

// requeueQuarantine accepts what was quarantined for numbers that by now
// somebody has.
func (b *Broker) requeueQuarantine(ctx context.Context) error {
	const page = 256
	q := queueOf("", queueQuarantine)
	for n := b.quarantined(); n > 0; {
		ds, err := b.o.Store.Fetch(ctx, q, min(page, n), time.Minute)
		if err != nil {
			return err
		}
		n -= len(ds)
		for _, d := range ds {
			var e core.Event
			if json.Unmarshal(d.Data, &e) == nil && b.numbers[e.Number] != nil {
				if err := b.Accept(ctx, []core.Event{e}); err != nil {
					return err
				}
				if _, err := b.settle(ctx, store.Settlement{Ack: []store.Delivery{d}}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Send accepts a message to be sent. It returns once the request is durable.
func (b *Broker) Send(ctx context.Context, r SendRequest) (SendReceipt, error) {
	t := b.tenants[r.Tenant]
	if t == nil {
		return SendReceipt{}, noTenant("send", r.Tenant)
	}
	if r.Number == "" && len(t.Numbers) == 1 {
		r.Number = t.Numbers[0].ID
	}
	if t.numbers[r.Number] == nil {
		return SendReceipt{}, core.Errorf(core.CodeInvalid, "send", "tenant %s has no number %q: say which of its numbers writes", t.ID, r.Number)
	}
	if r.Key == "" {
		return SendReceipt{}, core.Errorf(core.CodeInvalid, "send", "an Idempotency-Key is required")
	}
	if r.Message.Type != core.TypeRead {
		if err := r.Message.To.Validate(); err != nil {
			return SendReceipt{}, err
		}
	}
	if r.Author != "" && r.Author != core.AuthorHuman && r.Author != "bot" || len(r.By) > 120 {
		return SendReceipt{}, core.Errorf(core.CodeInvalid, "send", `author is "human" or "bot", and by has at most 120 bytes`)
	}
	class, err := classAsked(r.Class, r.Author)
	if err != nil {
		return SendReceipt{}, err
	}
	m := r.Message
	m.ID, m.Direction = "", core.Outbound
	if m.Template != nil {
		own := *m.Template
		if err := own.Expand(); err != nil {
			return SendReceipt{}, core.Errorf(core.CodeInvalid, "send", "%w", err)
		}
		m.Template = &own
	}
	if m.Fallback != nil {
		own := *m.Fallback
		if err := own.Expand(); err != nil {
			return SendReceipt{}, core.Errorf(core.CodeInvalid, "send", "fallback: %w", err)
		}
		m.Fallback = &own
		instead := core.Message{Direction: core.Outbound, Type: core.TypeTemplate, To: m.To, Template: &own}
		if err := whatsapp.Validate(&instead); err != nil {
			return SendReceipt{}, err
		}
		if err := t.ownFiles(ctx, &instead); err != nil {
			return SendReceipt{}, err
		}
		if err := t.misfit(r.Number, &instead); err != nil {
			return SendReceipt{}, err
		}
	}
	if err := whatsapp.Validate(&m); err != nil {
		return SendReceipt{}, err
	}
	if err := t.ownFiles(ctx, &m); err != nil {
		return SendReceipt{}, err
	}
	if err := t.misfit(r.Number, &m); err != nil {
		return SendReceipt{}, err
	}
	if why := t.templates.ended(r.Number, &m); why != "" {
		return SendReceipt{}, &core.Error{Code: core.CodeUndeliverable, Op: "send", Message: why, Hint: "see the template in WhatsApp Manager; send another one meanwhile"}
	}
	sum := sha256.Sum256([]byte(t.ID + "\x00" + r.Key))
	e := core.Event{
		ID: "api-" + hex.EncodeToString(sum[:16]), Kind: core.KindMessageSend, Tenant: t.ID, Number: r.Number,
		Time: time.Now().UTC(), Source: "api", Author: r.Author, By: r.By, Class: class, Contact: contactAt(m.To), Message: &m,
	}
	asked, err := b.askedBefore(ctx, e.ID, r)
	if err != nil {
		return SendReceipt{}, err
	}
	out, err := b.accept(ctx, []core.Event{e}, asked)
	if err != nil {
		return SendReceipt{}, err
	}
	return SendReceipt{ID: e.ID, Duplicate: !out.Added[0]}, nil
}

const (
	bucketAsked = "asked" // <a send's id> → what was asked for, as a hash
	// askedFor is how long a key is known to be another message's.
	askedFor = 24 * time.Hour
)

// askedBefore refuses a message whose key was used for another one, which would be taken for
// sent; else it returns what to store of it.
func (b *Broker) askedBefore(ctx context.Context, id string, r SendRequest) (with store.Settlement, _ error) {
	data := mustJSON(r)
	sum := sha256.Sum256(data)
	key := store.Key{Tenant: r.Tenant, Bucket: bucketAsked, Key: id}
	have, err := b.o.Store.Get(ctx, key)
	switch {
	case err != nil:
		return with, err
	case have[0] == nil:
		with.Put = []store.Put{{Key: key, Value: sum[:8], Expires: time.Now().UTC().Add(askedFor)}}
	case !bytes.Equal(have[0], sum[:8]):
		e := core.Errorf(core.CodeUndeliverable, "send", "another message was sent with this Idempotency-Key")
		e.Hint = "take a key of its own for each message; the same message may be asked for again with the same key"
		return with, e
	}
	return with, nil
}

func contactAt(a core.Address) *core.Contact {
	switch a.Kind {
	case core.AddressPhone:
		return &core.Contact{Phone: a.Value}
	case core.AddressBSUID:
		return &core.Contact{BSUID: a.Value}
	}
	return nil
}

// placing is an event on its way to its conversation.
type placing struct {
	t *tenant
	e *core.Event
}

// place gives each event its contact and conversation. It returns the events
// without those that nobody may see again, the aliases to store with them, and a
// function that forgets the aliases if that fails.
func (b *Broker) place(ctx context.Context, events []placing) ([]placing, []store.Put, func(), error) {
	if err := b.placeStatuses(ctx, events); err != nil {
		return nil, nil, nil, err
	}
	var puts []store.Put
	var fresh []placing
	placed := events[:0]
	for _, p := range events {
		if p.e.Conversation != "" || p.e.Contact == nil {
			placeGroup(p.e)
			placed = append(placed, p)
			continue
		}
		more, ok, err := p.t.aliases.resolve(ctx, p.t, p.e)
		if err != nil {
			return nil, nil, nil, err
		}
		if !ok {
			p.t.b.totals.duplicates.Add(1)
			continue
		}
		placed = append(placed, p)
		if len(more) > 0 {
			puts = append(puts, more...)
			fresh = append(fresh, p)
		}
		if p.e.Contact.ID != "" && p.e.Number != "" {
			p.e.Conversation = conversationOf(p.e, p.e.Contact.ID)
		}
	}
	undo := func() {
		for _, p := range fresh {
			p.t.aliases.forget(p.e)
		}
	}
	return placed, puts, undo, nil
}

// placeStatuses puts the statuses of our own sends into the conversation that
// they were sent in, whatever address WhatsApp names: it may have rewritten the
// number.
func (b *Broker) placeStatuses(ctx context.Context, events []placing) error {
	return b.eachIntent(ctx, events, func(p placing, hash [16]byte, in *intent) {
		p.t.overhear(hash, in, p.e.Status.MessageID)
		e := p.e
		e.Status.Intent, e.Conversation = in.ID, in.Conversation
		if _, id, ok := strings.Cut(in.Conversation, ":"); ok {
			if e.Contact == nil {
				e.Contact = &core.Contact{}
			}
			e.Contact.ID = id
		}
	})
}

// eachIntent calls f for the statuses among events that are of a send of ours, and
// authentic.
func (b *Broker) eachIntent(ctx context.Context, events []placing, f func(p placing, hash [16]byte, in *intent)) error {
	var keys []store.Key
	var of []placing
	var hashes [][16]byte
	for _, p := range events {
		if p.e.Kind != core.KindMessageStatus || p.e.Status == nil || p.e.Status.Opaque == "" {
			continue
		}
		in, ok := whatsapp.ParseOpaque(b.o.OpaqueKey, p.e.Status.Opaque)
		if !ok {
			continue
		}
		keys = append(keys, intentKey(p.t.ID, in.Hash))
		of, hashes = append(of, p), append(hashes, in.Hash)
	}
	if len(keys) == 0 {
		return nil
	}
	values, err := b.o.Store.Get(ctx, keys...)
	if err != nil {
		return err
	}
	for i, v := range values {
		in, ok := decode[intent](v)
		if begun := of[i].t.begun(hashes[i]); begun != nil {
			in, ok = begun, true
		}
		if ok {
			f(of[i], hashes[i], in)
		}
	}
	return nil
}
