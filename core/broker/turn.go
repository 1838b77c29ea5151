package broker

import (
	"context"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/phrase"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store"
)

// turn is one event while it is decided.
type turn struct {
	d       store.Delivery
	e       *core.Event // shared: never changed
	person  *person
	contact *core.Contact // the person's
	conv    *conversation
	isNew   bool         // the conversation's first event
	human   bool         // a person had the conversation when the event came
	sent    *sentMessage // of a status: what is known of its message

	// hooks are the script's to be asked about the event.
	hooks script.Hooks
	// tell is the event as the CRMs get it, data its JSON or nil; nil when they
	// do not.
	tell *core.Event
	data []byte

	// Proposals: what is to follow, unless the policy or the script's second
	// look say otherwise.
	sends     []*send
	handOvers []*handOver
	timers    []script.Action
	changed   bool        // tags or fields of the contact: the CRMs are told
	quiet     bool        // of the event itself the CRMs are not told, subscriptions are
	corrected *core.Event // what the CRMs are told of a correction
	rang      bool        // the timer is due

	back map[*lane]map[string]any // what the CRMs that told of the contact are to have instead

	consents  []*core.Consent // what changed of them, for the CRMs
	request   bool            // the person asked for a person
	loop      string          // why it looks as if a machine answers, or ""
	silentFor time.Duration   // since the person's message before

	contactChanged bool
	convChanged    bool
	step           Step
	next           int // number of the next event that follows

	// s is what the turn stores, once it is decided.
	s store.Settlement
	// after is called when it is known whether that was stored.
	after []func(stored bool)
	// again, unless nil, says when the event is to be decided anew; nothing of
	// this turn then counts.
	again *store.Nak
}

func (u *turn) note(s string) { u.step.Notes = append(u.step.Notes, s) }

// wait puts the turn off.
func (u *turn) wait(d time.Duration, counts bool) {
	u.again = &store.Nak{Delivery: u.d, Due: time.Now().Add(d), Counts: counts}
}

// afterwards has something done once it is known whether the turn was stored.
func (u *turn) afterwards(f func(stored bool)) { u.after = append(u.after, f) }

// finish does so.
func (u *turn) finish(stored bool) {
	for _, f := range u.after {
		f(stored)
	}
}

// follow starts an event that follows from the turn's.
func (u *turn) follow(kind core.Kind) *core.Event {
	u.next++
	id := core.FollowID(u.e.ID, u.next)
	u.step.Follows = append(u.step.Follows, id)
	conversation := u.e.Conversation
	if u.e.Group != "" && u.contact.ID != "" { // what follows is between the business and the person
		conversation = core.ConversationID(u.e.Number, u.contact.ID)
	}
	return &core.Event{
		ID: id, Kind: kind, Tenant: u.e.Tenant, Number: u.e.Number, Conversation: conversation,
		Time: u.step.Time, Accepted: u.e.Accepted, Source: "script", Cause: u.e.ID, Contact: u.contact,
	}
}

// addTo adds what the turn stores to the settlement of its batch.
func (u *turn) addTo(s *store.Settlement) {
	s.Ack = append(s.Ack, u.d)
	s.Add = append(s.Add, u.s.Add...)
	s.Put = append(s.Put, u.s.Put...)
	s.Append = append(s.Append, u.s.Append...)
	s.Record = append(s.Record, u.s.Record...)
	s.Resolve = append(s.Resolve, u.s.Resolve...)
}

// open does what comes before the script: it takes note of the event, and says
// which hooks are to be asked about it.
func (t *tenant) open(ctx context.Context, u *turn) {
	u.human = u.conv.human(u.step.Time)
	switch u.e.Kind {
	case core.KindMessageReceived:
		// The CRMs get the message with the tags and fields that the script gives
		// the contact while it looks at it.
		e := *u.e
		e.Contact = u.contact
		u.tell, u.data = &e, nil
		t.heard(u)
		t.fillsPlaceholder(ctx, u)
	case core.KindMessageSent:
		t.echoed(u)
		t.fillsPlaceholder(ctx, u)
	case core.KindMessageEdited:
		if !t.fillsPlaceholder(ctx, u) {
			t.amended(u)
		}
	case core.KindMessageRevoked:
		t.amended(u)
		t.mediaTakenBack(ctx, u)
	case core.KindMessageMedia:
		t.mediaCame(ctx, u)
	case core.KindThreadMoved:
		t.thread(u)
	case core.KindConsentChanged:
		t.learns(ctx, u)
		t.consentReported(u)
	case core.KindLimitChanged:
		t.limitChanged(u)
	case core.KindAccountChanged:
		t.accountChanged(u)
	case core.KindTemplateChanged:
		t.templateChanged(u)
	case core.KindMessageSend:
		u.tell = nil
		t.learns(ctx, u)
		t.asked(u)
	case core.KindMessageStatus:
		if t.status(ctx, u) {
			u.hooks = script.OnStatus
		}
	case core.KindContactChanged:
		u.toldByCRM()
		t.learns(ctx, u)
		t.takeOver(u)
		u.hooks = script.OnContactChange
	case core.KindContactGone:
		t.forgets(u)
	case core.KindTimer:
		u.tell = nil
		if t.rings(u) && !isOwnTimer(u.e) {
			u.hooks = script.OnTimer
		}
	case core.KindEscalationHanded:
		u.tell = nil
	case core.KindCorrection:
		u.tell = nil
		t.corrects(u)
	}
}

// received takes note of a message from a contact.
func (t *tenant) received(u *turn) {
	if u.isNew {
		u.conv.Started = u.e.Time
	}
	u.conv.In++
	u.conv.Rings = 0
	if u.e.Message != nil {
		if l := phrase.Language(u.e.Message.Text); l != "" {
			u.conv.Language = l
		}
	}
	u.reachable()
	u.silentFor = u.e.Time.Sub(u.conv.LastIn)
	if u.e.Time.After(u.conv.LastIn) {
		u.conv.LastIn = u.e.Time
	}
	u.convChanged = true
}

// close makes the turn's events: first the event itself for the CRMs, then what
// follows from it.
func (t *tenant) close(u *turn) {
	if u.tell != nil {
		if e := u.called(u.tell); e != u.tell {
			u.tell, u.data = e, nil
		}
		t.toLanes(&u.s, u, u.tell, u.data)
	}
	t.writesBack(u)
	t.tellConsent(u)
	for _, p := range u.sends {
		switch {
		case p.refused != "":
		case !p.until.IsZero():
			u.draft(p)
			t.later(&u.s, p.event, p.until)
		default:
			t.goes(u, p)
		}
	}
	switch {
	case isOwnTimer(u.e) && u.rang:
		t.alarm(u)
	case u.e.Kind == core.KindEscalationHanded:
		t.reached(u)
	}
	u.merge() // there may be more now than there were for route
	for _, p := range u.handOvers {
		t.handsOver(u, p)
	}
	for _, a := range u.timers {
		t.sets(u, a)
	}
	if u.corrected != nil {
		t.toLanes(&u.s, u, u.corrected, nil)
	}
	if u.changed {
		u.contactChanged = true
		t.toLanes(&u.s, u, u.follow(core.KindContactChanged), nil)
	}
	t.wantsMedia(u)
}

// toCRM adds the event to every CRM lane and subscription that wants it, as it is.
func (t *tenant) toCRM(s *store.Settlement, e *core.Event) { t.toLanes(s, nil, e, nil) }

// toLanes adds the event to every subscription that wants it, and to every CRM lane
// that does, with what the lane's mapping makes of the person whom u, unless it is
// nil, is about; a CRM does not get its own change of a contact. data may be nil.
func (t *tenant) toLanes(s *store.Settlement, u *turn, e *core.Event, data []byte) {
	for _, l := range t.crm {
		if !l.wants(e.Kind) || u != nil && u.quiet && e == u.tell || e.Kind == core.KindContactChanged && e.Source == l.crmName() {
			continue
		}
		if own := l.mapped(u, e); own != e {
			s.Add = append(s.Add, store.Item{Queue: l.queue, ID: e.ID, Order: e.Conversation, Class: classOf(e), Data: mustJSON(own), Value: own})
			continue
		}
		if data == nil {
			data = mustJSON(e)
		}
		s.Add = append(s.Add, store.Item{Queue: l.queue, ID: e.ID, Order: e.Conversation, Class: classOf(e), Data: data, Value: e})
	}
	t.toSubscribers(s, e, data)
}

// toSubscribers adds the event to every subscription that wants it. data may be nil.
func (t *tenant) toSubscribers(s *store.Settlement, e *core.Event, data []byte) {
	for _, sub := range t.subscribersOf(e) {
		if data == nil {
			data = mustJSON(e)
		}
		s.Add = append(s.Add, store.Item{Queue: sub.queue(), ID: e.ID, Order: e.Conversation, Class: classOf(e), Data: data, Value: e})
	}
}

// toNumber adds a send to its number's lane. data may be nil.
func (t *tenant) toNumber(s *store.Settlement, e *core.Event, data []byte) {
	if data == nil {
		data = mustJSON(e)
	}
	s.Add = append(s.Add, store.Item{
		Queue: queueOf(t.ID, numberQueue(e.Number)), ID: e.ID, Order: e.Conversation, Class: classOf(e), Data: data, Value: e,
	})
}

// failed tells the CRMs that a send ended without reaching WhatsApp. It has no
// wamid, so the send's own ID names the message.
func (t *tenant) failed(s *store.Settlement, send *core.Event, why *core.Error) {
	m := *send.Message
	e := &core.Event{
		ID: core.FollowID(send.ID, 1), Kind: core.KindMessageStatus, Tenant: send.Tenant, Number: send.Number,
		Conversation: send.Conversation, Time: time.Now().UTC(), Accepted: send.Accepted, Source: send.Source,
		Cause: send.ID, Contact: send.Contact, Message: &m, Campaign: send.Campaign, MessageRef: send.MessageRef,
		Status: &core.Status{MessageID: send.ID, Value: core.StatusFailed, Intent: send.ID,
			Errors: []core.StatusError{{Title: why.Message, Details: why.Hint}}},
	}
	t.rowFailed(s, send, why)
	t.toCRM(s, e)
}
