package hubspotsim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// egg is a message to publish: ChannelIntegrationMessageEgg of the specification.
type egg struct {
	Text        *string           `json:"text"`
	RichText    string            `json:"richText"`
	Timestamp   string            `json:"timestamp"`
	Direction   string            `json:"messageDirection"`
	AccountID   string            `json:"channelAccountId"`
	Senders     []eggParticipant  `json:"senders"`
	Recipients  []eggParticipant  `json:"recipients"`
	Attachments []json.RawMessage `json:"attachments"`
	Thread      *string           `json:"integrationThreadId"`
	Idempotency string            `json:"integrationIdempotencyId"`
	InReplyTo   string            `json:"inReplyToId"`
	Contact     *int64            `json:"associateWithContactId"`
	Resolved    *struct {
		Contacts []json.RawMessage `json:"contacts"`
	} `json:"preResolvedContacts"`
}

type eggParticipant struct {
	Name       string      `json:"name"`
	ActorID    string      `json:"senderActorId"`
	Identifier *Identifier `json:"deliveryIdentifier"`
}

// wrong says why a message cannot be published, "" when it can.
func (e *egg) wrong(ch *Channel, a *ChannelAccount) string {
	switch {
	case e.Text == nil || e.Timestamp == "" || e.AccountID == "" || e.Direction == "" || e.Attachments == nil || len(e.Senders) == 0 || len(e.Recipients) == 0:
		return "Some required fields were not set: [attachments, channelAccountId, messageDirection, recipients, senders, text, timestamp]"
	case e.Direction != "INCOMING" && e.Direction != "OUTGOING":
		return "messageDirection must be one of [INCOMING, OUTGOING]"
	case *e.Text == "" && len(e.Attachments) == 0:
		return "a message must have a text or an attachment"
	case a == nil:
		return "No channel account with id " + e.AccountID + " belongs to the channel"
	case a.Archived || !a.Authorized:
		return "The channel account " + e.AccountID + " is not authorized"
	}
	if _, err := time.Parse(time.RFC3339, e.Timestamp); err != nil {
		return "timestamp must be in ISO 8601 format"
	}
	for _, p := range append(append([]eggParticipant{}, e.Senders...), e.Recipients...) {
		if wrong := p.Identifier.wrong(ch); wrong != "" {
			return wrong
		}
	}
	// The business is the channel account, whoever writes.
	ours := e.Recipients
	if e.Direction == "OUTGOING" {
		ours = e.Senders
	}
	if a.Identifier != nil && *ours[0].Identifier != *a.Identifier {
		return "the channel account has another deliveryIdentifier"
	}
	switch own := ch.Capabilities.ThreadingModel == ThreadsByIntegration; {
	case own && (e.Thread == nil || *e.Thread == ""):
		return "integrationThreadId is required with threadingModel " + ThreadsByIntegration
	case !own && e.Thread != nil:
		return "integrationThreadId must not be set with threadingModel " + ThreadsByIdentifier
	}
	return ""
}

// publish publishes a message; one with an idempotency id that was there before is that
// message, as it was. The caller holds the inbox's lock.
func (s *Sim) publish(c *call, ch *Channel) {
	b := &s.inbox
	var e egg
	if !c.read(&e) {
		return
	}
	a := b.account(ch, e.AccountID)
	if wrong := e.wrong(ch, a); wrong != "" {
		c.invalid(wrong)
		return
	}
	contact := ""
	if e.Contact != nil {
		contact = strconv.FormatInt(*e.Contact, 10)
		s.state.mu.Lock()
		known := s.state.tables["contacts"].live(contact) != nil
		s.state.mu.Unlock()
		if !known {
			c.fail(http.StatusNotFound, vendorError{Category: "OBJECT_NOT_FOUND", Message: "No contact with id " + contact})
			return
		}
	}
	key := ch.ID + " " + e.Idempotency
	if m := b.byKey[key]; m != nil && e.Idempotency != "" {
		m.Published++
		c.answer(http.StatusCreated, m.public())
		return
	}
	m := &InboxMessage{
		ID: b.next(), Idempotency: e.Idempotency, ChannelID: ch.ID, AccountID: a.ID, Direction: e.Direction, Text: *e.Text, Time: e.Timestamp,
		Contact: contact, Published: 1, attachments: e.Attachments, created: time.Now(),
	}
	for _, p := range e.Senders {
		m.Senders = append(m.Senders, Participant(p))
	}
	for _, p := range e.Recipients {
		m.Recipients = append(m.Recipients, Participant(p))
	}
	by := m.person().Identifier.Value
	if e.Thread != nil {
		m.IntegrationThread, by = *e.Thread, "thread "+*e.Thread
	}
	if contact != "" {
		m.person().ActorID = "V-" + contact
	}
	m.Thread = b.thread(a.ID + " " + by)
	if m.Direction == "OUTGOING" {
		m.Status = "SENT"
	}
	b.add(m)
	if e.Idempotency != "" {
		b.byKey[key] = m
	}
	c.answer(http.StatusCreated, m.public())
}

// person is the participant who is not the business.
func (m *InboxMessage) person() *Participant {
	if m.Direction == "OUTGOING" {
		return &m.Recipients[0]
	}
	return &m.Senders[0]
}

func (b *inbox) thread(key string) string {
	id := b.threads[key]
	if id == "" {
		id = b.next()
		b.threads[key] = id
	}
	return id
}

func (b *inbox) add(m *InboxMessage) {
	b.messages = append(b.messages, m)
	b.byID[m.ID] = m
}

// moved gives the messages of contacts to the one that they were merged into.
func (b *inbox) moved(to string, from ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.messages {
		if slices.Contains(from, m.Contact) {
			m.Contact = to
		}
	}
}
