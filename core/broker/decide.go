package broker

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store"
)

const (
	decideBatch = 64
	maxAsk      = 5 // how often a script is asked that cannot be
	decideLease = 2 * time.Minute
)

// decideLoop decides the tenant's events, a batch at a time. Several loops run
// at once, so that one decides while the other's commit is under way; the queue
// hands out one event of a conversation at a time, and the locks one of a
// contact.
func (t *tenant) decideLoop(ctx context.Context) {
	for ctx.Err() == nil {
		ds, err := t.b.o.Store.Fetch(ctx, t.queue, decideBatch, decideLease)
		if err != nil {
			return // ctx ended or the store gave up
		}
		for i := range ds {
			ds[i].Value = eventOf(ds[i]) // parsed once, whoever looks
		}
		for len(ds) > 0 {
			free, busy, err := t.locks.take(ctx, ds)
			if err != nil {
				return // the leases run out with the process
			}
			if err := t.decide(ctx, free); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrStale) {
				t.b.log.Error("decide", "tenant", t.ID, "error", err)
			}
			t.locks.release(contactsOf(free)...)
			ds = busy
		}
	}
}

// turn is one event while it is decided.
type turn struct {
	d       store.Delivery
	e       *core.Event // shared: never changed
	person  *person
	contact *core.Contact // the person's
	conv    *conversation
	isNew   bool // the conversation's first event

	contactChanged bool
	convChanged    bool
	step           Step
	next           int // number of the next event that follows
	call           int // index of the script call, -1 for none
	fields         map[string]any
	sent           *sentMessage // of a status: what is known of its message
}

func (u *turn) note(s string) { u.step.Notes = append(u.step.Notes, s) }

// follow starts an event that follows from the turn's.
func (u *turn) follow(kind core.Kind) *core.Event {
	u.next++
	id := core.FollowID(u.e.ID, u.next)
	u.step.Follows = append(u.step.Follows, id)
	return &core.Event{
		ID: id, Kind: kind, Tenant: u.e.Tenant, Number: u.e.Number, Conversation: u.e.Conversation,
		Time: u.step.Time, Accepted: u.e.Accepted, Source: "script", Cause: u.e.ID, Contact: u.contact,
	}
}

// decide decides a batch: one look at the state, one call to the script, one
// settlement with everything that follows.
func (t *tenant) decide(ctx context.Context, ds []store.Delivery) error {
	now := time.Now().UTC()
	turns := make([]turn, len(ds))
	for i, d := range ds {
		turns[i] = turn{d: d, e: eventOf(d), call: -1}
		turns[i].step = Step{Time: now, Event: d.ID, Tenant: t.ID, Step: "decided"}
	}
	if err := t.load(ctx, turns); err != nil {
		return err
	}
	s := store.Settlement{}
	calls := t.before(turns, now)
	var decisions []script.Decision
	if len(calls) > 0 {
		decisions = t.b.o.Scripts.Decide(ctx, t.ID, calls)
		if ctx.Err() != nil {
			return ctx.Err() // stopping is not the script's fault
		}
	}
	done := 0
	for i := range turns {
		u := &turns[i]
		u.step.Kind, u.step.Conversation = u.e.Kind, u.e.Conversation
		var dec *script.Decision
		if u.call >= 0 && u.call < len(decisions) {
			dec = &decisions[u.call]
			if core.CodeOf(errOf(dec.Err)) == core.CodeUnavailable && u.d.Attempt < maxAsk {
				// No worker to ask: not the script's fault, and soon over.
				s.Nak = append(s.Nak, store.Nak{Delivery: u.d, Due: now.Add(time.Second), Counts: true})
				continue
			}
		}
		if t.turn(ctx, &s, u, dec) {
			done++
			s.Ack = append(s.Ack, u.d)
			t.save(&s, u)
		}
	}
	t.b.failpoint("decide-before-commit")
	if _, err := t.b.settle(ctx, s); err != nil {
		t.giveBack(ctx, ds)
		return err
	}
	t.b.failpoint("decide-after-commit")
	t.depth.Add(-int64(done))
	t.b.totals.decided.Add(uint64(done))
	t.b.m.decided.WithLabelValues(t.ID).Add(float64(done))
	return nil
}

// errOf is for an *Error that may be nil.
func errOf(e *core.Error) error {
	if e == nil {
		return nil
	}
	return e
}

// giveBack returns the deliveries of a batch that could not be settled, to be
// decided again in a second.
func (t *tenant) giveBack(ctx context.Context, ds []store.Delivery) {
	due := time.Now().Add(time.Second)
	for _, d := range ds {
		_, _ = t.b.o.Store.Settle(ctx, store.Settlement{Lazy: true, Nak: []store.Nak{{Delivery: d, Due: due}}})
	}
}

func eventOf(d store.Delivery) *core.Event {
	if e, ok := d.Value.(*core.Event); ok {
		return e
	}
	e := new(core.Event)
	if err := json.Unmarshal(d.Data, e); err != nil {
		// A record of ours that cannot be read: kept raw and passed on.
		return &core.Event{ID: d.ID, Kind: core.KindUnknown, Tenant: d.Queue.Tenant, Raw: json.RawMessage(`{}`)}
	}
	return e
}

// load reads the contacts and conversations of a batch at once.
func (t *tenant) load(ctx context.Context, turns []turn) error {
	keys := make([]store.Key, 0, 2*len(turns))
	for i := range turns {
		e := turns[i].e
		if e.Contact == nil || e.Contact.ID == "" {
			continue
		}
		keys = append(keys, contactKey(t.ID, e.Contact.ID), conversationKey(t.ID, e.Contact.ID, e.Number))
	}
	n := len(keys)
	for i := range turns {
		if u := &turns[i]; u.e.Kind == core.KindMessageStatus && u.e.Status != nil {
			u.sent = t.sentMessage(u.e.Status)
			keys = append(keys, intentKey(t.ID, u.sent.hash), statusKey(t.ID, u.sent.hash))
		}
	}
	values, err := t.b.o.Store.Get(ctx, keys...)
	if err != nil {
		return err
	}
	statuses := values[n:]
	for i := range turns {
		u := &turns[i]
		if u.sent != nil {
			u.sent.take(t, statuses[0], statuses[1])
			statuses = statuses[2:]
		}
		if u.e.Contact == nil || u.e.Contact.ID == "" {
			u.person, u.conv = &person{}, &conversation{}
			u.contact = &u.person.Contact
			continue
		}
		var found bool
		u.person, _ = decode[person](values[0])
		u.contact = &u.person.Contact
		u.conv, found = decode[conversation](values[1])
		u.isNew = !found
		values = values[2:]
		u.contactChanged = learn(u.contact, u.e.Contact)
	}
	return nil
}

// save stores the turn's state and trace with the settlement.
func (t *tenant) save(s *store.Settlement, u *turn) {
	if u.contact.ID != "" {
		if u.contactChanged {
			s.Put = append(s.Put, store.Put{Key: contactKey(t.ID, u.contact.ID), Value: mustJSON(u.person)})
		}
		if u.convChanged {
			s.Put = append(s.Put, store.Put{Key: conversationKey(t.ID, u.contact.ID, u.e.Number), Value: mustJSON(u.conv)})
		}
	}
	s.Record = append(s.Record, record(&u.step, u.e))
}

// before applies what the policy decides before the script is asked, and
// collects the calls to make.
func (t *tenant) before(turns []turn, now time.Time) []script.Call {
	var version script.Version
	has := false
	if t.b.o.Scripts != nil {
		version, has = t.b.o.Scripts.Version(t.ID)
	}
	var calls []script.Call
	for i := range turns {
		u := &turns[i]
		if u.e.Kind != core.KindMessageReceived {
			continue
		}
		if u.isNew {
			u.conv.Started = u.e.Time
		}
		u.conv.In++
		if u.e.Time.After(u.conv.LastIn) {
			u.conv.LastIn = u.e.Time
		}
		u.convChanged = true
		if !has {
			continue
		}
		u.call = len(calls)
		u.step.Script = version.Hash
		calls = append(calls, script.Call{
			Event: u.d.Data, Context: t.scriptContext(u, now), OnMessage: true, MapToCRM: len(t.crm) > 0,
			Now: now, Seed: seed(u.e.ID),
		})
	}
	return calls
}

func seed(id string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return int64(h.Sum64())
}

// scriptContext is what a hook is given beside the event.
func (t *tenant) scriptContext(u *turn, now time.Time) []byte {
	mode := "bot"
	if u.conv.human(now) {
		mode = "human"
	}
	c := struct {
		Contact      *core.Contact `json:"contact"`
		Conversation struct {
			ID       string    `json:"id"`
			New      bool      `json:"new"`
			Mode     string    `json:"mode"`
			Started  time.Time `json:"started"`
			Messages int       `json:"messages"`
			Replies  int       `json:"replies"`
		} `json:"conversation"`
		Tenant struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		} `json:"tenant"`
		Settings map[string]any `json:"settings"`
	}{Contact: u.contact, Settings: t.Settings}
	c.Conversation.ID, c.Conversation.New, c.Conversation.Mode = u.e.Conversation, u.isNew, mode
	c.Conversation.Started, c.Conversation.Messages, c.Conversation.Replies = u.conv.Started, u.conv.In, u.conv.Out
	c.Tenant.ID, c.Tenant.Name = t.ID, t.Name
	if c.Settings == nil {
		c.Settings = map[string]any{} // scripts need not ask whether there are any
	}
	return mustJSON(c)
}

// turn decides one event. It reports false when the event is to be decided
// again later; the settlement then says when.
func (t *tenant) turn(ctx context.Context, s *store.Settlement, u *turn, dec *script.Decision) bool {
	switch u.e.Kind {
	case core.KindMessageReceived:
		t.received(s, u, dec)
	case core.KindMessageSend:
		t.send(s, u)
	case core.KindMessageStatus:
		return t.status(ctx, s, u)
	default:
		t.toCRM(s, u.e, u.d.Data)
	}
	return true
}

// received decides a message from a contact.
func (t *tenant) received(s *store.Settlement, u *turn, dec *script.Decision) {
	if dec != nil {
		u.fields = dec.Fields
		u.step.Script, u.step.Line = dec.Version, dec.Line
		u.step.Notes = append(u.step.Notes, dec.Log...)
		u.step.Took = float64(dec.Ran.Microseconds()) / 1000
	}
	// The message goes to the CRMs first, but with the tags and fields that the
	// script gave the contact while it looked at it.
	after := &store.Settlement{}
	switch {
	case dec == nil:
	case dec.Err != nil:
		t.b.totals.scriptErrs.Add(1)
		t.b.m.scriptErrors.WithLabelValues(t.ID).Inc()
		u.step.Error = dec.Err
		u.note("the script failed: handed to a person")
		t.escalate(after, u, script.Action{Reason: "script failed", Note: dec.Err.Error()})
	default:
		if len(dec.Actions) > 0 {
			u.step.Line = dec.Actions[0].Line
		}
		t.act(after, u, dec.Actions)
	}
	e := *u.e
	e.Contact, e.Fields = u.contact, u.fields
	t.toCRM(s, &e, nil)
	s.Add = append(s.Add, after.Add...)
}

// send decides a message that the API or a CRM asked for.
func (t *tenant) send(s *store.Settlement, u *turn) {
	if why := refuseSend(u, u.step.Time); why != "" {
		err := core.Errorf(core.CodeUndeliverable, "policy", "%s", why)
		u.step.Error, u.step.Step = err, "dead"
		// Refused for good, but not silently: the CRM is told.
		t.failed(s, u.e, err)
		u.note("refused: " + why)
		return
	}
	u.conv.Out++
	u.conv.LastOut, u.convChanged = u.step.Time, true
	t.toNumber(s, u.e, u.d.Data)
}

// toCRM adds the event to every CRM lane that wants it. data may be nil.
func (t *tenant) toCRM(s *store.Settlement, e *core.Event, data []byte) {
	for _, l := range t.crm {
		if !l.wants(e.Kind) {
			continue
		}
		if data == nil {
			data = mustJSON(e)
		}
		s.Add = append(s.Add, store.Item{Queue: l.queue, ID: e.ID, Order: e.Conversation, Data: data, Value: e})
	}
}

// toNumber adds a send to its number's lane. data may be nil.
func (t *tenant) toNumber(s *store.Settlement, e *core.Event, data []byte) {
	if data == nil {
		data = mustJSON(e)
	}
	s.Add = append(s.Add, store.Item{
		Queue: queueOf(t.ID, numberQueue(e.Number)), ID: e.ID, Order: e.Conversation, Data: data, Value: e,
	})
}

// failed tells the CRMs that a send ended without reaching WhatsApp. It has no
// wamid, so the send's own ID names the message.
func (t *tenant) failed(s *store.Settlement, send *core.Event, why *core.Error) {
	m := *send.Message
	e := &core.Event{
		ID: core.FollowID(send.ID, 1), Kind: core.KindMessageStatus, Tenant: send.Tenant, Number: send.Number,
		Conversation: send.Conversation, Time: time.Now().UTC(), Accepted: send.Accepted, Source: send.Source,
		Cause: send.ID, Contact: send.Contact, Message: &m,
		Status: &core.Status{MessageID: send.ID, Value: core.StatusFailed, Intent: send.ID,
			Errors: []core.StatusError{{Title: why.Message, Details: why.Hint}}},
	}
	t.toCRM(s, e, nil)
}

// mustJSON encodes values of our own types, which always can be.
func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("broker: encode: " + err.Error())
	}
	return data
}
