package hubspotsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The inbox: custom channels, their accounts, and the messages that go over them, as
// https://developers.hubspot.com/docs/api-reference/2026-03/conversations/custom-channels/guide
// and HubSpot's published specification of these paths have them.

// The scopes of custom channels and of the list of inboxes.
const (
	ScopeChannelRead  = "conversations.custom_channels.read"
	ScopeChannelWrite = "conversations.custom_channels.write"
	ScopeInboxRead    = "conversations.read"
	ScopeInboxWrite   = "conversations.write"
)

// The ways in which the messages of a channel make threads.
const (
	ThreadsByIntegration = "INTEGRATION_THREAD_ID"
	ThreadsByIdentifier  = "DELIVERY_IDENTIFIER"
)

// The types of a delivery identifier.
const (
	IdentifierPhone  = "HS_PHONE_NUMBER"
	IdentifierEmail  = "HS_EMAIL_ADDRESS"
	IdentifierShort  = "HS_SHORT_CODE"
	IdentifierOpaque = "CHANNEL_SPECIFIC_OPAQUE_ID"
)

var identifierTypes = []string{IdentifierPhone, IdentifierEmail, IdentifierShort, IdentifierOpaque}

// Identifier is where somebody is reached on a channel.
type Identifier struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// Capabilities are what a channel can do; only what is looked at here.
type Capabilities struct {
	DeliveryIdentifierTypes []string `json:"deliveryIdentifierTypes"`
	// ThreadingModel is ThreadsByIntegration unless it says otherwise.
	ThreadingModel        string `json:"threadingModel,omitempty"`
	AllowOutgoingMessages bool   `json:"allowOutgoingMessages"`
}

// Channel is a custom channel.
type Channel struct {
	ID           string       `json:"id"`
	Name         string       `json:"name"`
	WebhookURL   string       `json:"webhookUrl,omitempty"`
	Capabilities Capabilities `json:"capabilities"`
	CreatedAt    string       `json:"createdAt"`
}

// ChannelAccount connects a channel to an inbox.
type ChannelAccount struct {
	ID         string      `json:"id"`
	ChannelID  string      `json:"channelId"`
	InboxID    string      `json:"inboxId"`
	Name       string      `json:"name"`
	Active     bool        `json:"active"`
	Authorized bool        `json:"authorized"`
	Archived   bool        `json:"archived"`
	Identifier *Identifier `json:"deliveryIdentifier,omitempty"`
	CreatedAt  string      `json:"createdAt"`
}

// InboxMessage is a message of a thread, as the ledger tells it.
type InboxMessage struct {
	ID                string `json:"id"`
	Idempotency       string `json:"integrationIdempotencyId,omitempty"`
	Thread            string `json:"conversationsThreadId"`
	IntegrationThread string `json:"integrationThreadId,omitempty"`
	ChannelID         string `json:"channelId"`
	AccountID         string `json:"channelAccountId"`
	Direction         string `json:"direction"`
	Text              string `json:"text"`
	Time              string `json:"timestamp"`
	// Contact is the record that it was associated with.
	Contact string `json:"contact,omitempty"`
	// Agent is the user at HubSpot who wrote it, "" when the API published it.
	Agent      string        `json:"agent,omitempty"`
	Senders    []Participant `json:"senders"`
	Recipients []Participant `json:"recipients"`
	Status     string        `json:"status,omitempty"`
	Failure    string        `json:"failure,omitempty"`
	// Statuses are those that were written, in order; Published is how often it was.
	Statuses  []string `json:"statuses,omitempty"`
	Published int      `json:"published"`
	// Archived says that its thread was put into the recycle bin.
	Archived bool `json:"archived,omitempty"`

	attachments []json.RawMessage
	created     time.Time
}

// Participant is a sender or a recipient.
type Participant struct {
	Name       string      `json:"name,omitempty"`
	ActorID    string      `json:"actorId,omitempty"`
	Identifier *Identifier `json:"deliveryIdentifier,omitempty"`
}

// inbox is the account's inboxes and what came in over custom channels.
type inbox struct {
	mu       sync.Mutex
	ids      int
	channels map[string]*Channel
	accounts []*ChannelAccount
	messages []*InboxMessage
	byID     map[string]*InboxMessage
	byKey    map[string]*InboxMessage // channel and idempotency id
	threads  map[string]string        // account, and what makes a thread
	closed   map[string]bool          // threads that agents closed
}

// inboxes are those of the account.
var inboxes = []map[string]any{
	{"id": "71", "name": "Inbox", "type": "INBOX", "archived": false, "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z"},
	{"id": "72", "name": "Help desk", "type": "HELP_DESK", "archived": false, "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z"},
}

func (b *inbox) next() string {
	b.ids++
	return strconv.Itoa(5_000_000 + b.ids)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// AddChannel registers a channel, as an app's developer does, and returns its id.
func (s *Sim) AddChannel(c Channel) string {
	b := &s.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.ID == "" {
		c.ID = b.next()
	}
	if c.Capabilities.ThreadingModel == "" {
		c.Capabilities.ThreadingModel = ThreadsByIntegration
	}
	c.CreatedAt = stamp(time.Now())
	if b.channels == nil {
		b.channels, b.byID, b.byKey, b.threads = map[string]*Channel{}, map[string]*InboxMessage{}, map[string]*InboxMessage{}, map[string]string{}
	}
	b.channels[c.ID] = &c
	return c.ID
}

// SetWebhook changes what a channel calls.
func (s *Sim) SetWebhook(channel, url string) {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	if c := s.inbox.channels[channel]; c != nil {
		c.WebhookURL = url
	}
}

// ChannelAccounts returns the accounts of all channels.
func (s *Sim) ChannelAccounts() (all []ChannelAccount) {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	for _, a := range s.inbox.accounts {
		all = append(all, *a)
	}
	return all
}

// Disconnect has somebody at HubSpot disconnect a channel account, or connect it again.
func (s *Sim) Disconnect(id string, off bool) {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	for _, a := range s.inbox.accounts {
		if a.ID == id {
			a.Authorized, a.Active = !off, !off
		}
	}
}

// InboxMessages returns the messages of all threads, in the order in which they were
// made.
func (s *Sim) InboxMessages() []InboxMessage {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	all := make([]InboxMessage, len(s.inbox.messages))
	for i, m := range s.inbox.messages {
		all[i] = *m
		all[i].Statuses = slices.Clone(m.Statuses)
	}
	return all
}

// conversations finds the endpoint of a path under /conversations; false: it is none.
func (s *Sim) conversations(c *call, parts []string) bool {
	var area string
	switch {
	case len(parts) < 3 || parts[0] != "conversations":
		return false
	case parts[1] == "v3":
		c.version, area, c.rest = "v3", parts[2], parts[3:]
	case slices.Contains(versions, parts[2]) && (parts[1] != "conversations" || parts[2] != "2026-03"): // which has no inboxes and threads
		area, c.version, c.rest = parts[1], parts[2], parts[3:]
	}
	if len(c.body) > 0 && !strings.HasPrefix(c.r.Header.Get("Content-Type"), "application/json") {
		c.fail(http.StatusUnsupportedMediaType, vendorError{Category: "VALIDATION_ERROR", Message: "Unsupported Media Type"})
		return true
	}
	switch {
	case area == "conversations" && c.r.Method == http.MethodGet && len(c.rest) == 1 && c.rest[0] == "inboxes":
		if s.may(c, ScopeInboxRead) {
			c.answer(http.StatusOK, map[string]any{"results": inboxes, "total": len(inboxes)})
		}
	case area == "conversations" && len(c.rest) > 0 && c.rest[0] == "threads":
		s.threads(c)
	case area == "custom-channels" && len(c.rest) > 1:
		s.channel(c)
	case area == "custom-channels" && len(c.rest) == 1 && c.r.Method == http.MethodGet:
		s.inbox.mu.Lock()
		defer s.inbox.mu.Unlock()
		if ch := s.inbox.channels[c.rest[0]]; ch != nil {
			c.answer(http.StatusOK, ch)
			return true
		}
		c.noChannel()
	default:
		c.notFound()
	}
	return true
}

func (c *call) noChannel() {
	c.fail(http.StatusNotFound, vendorError{Category: "OBJECT_NOT_FOUND", Message: "No channel with id " + c.rest[0] + " is registered for this app"})
}

// channel serves what is below a channel.
func (s *Sim) channel(c *call) {
	b := &s.inbox
	scope := ScopeChannelWrite
	if c.r.Method == http.MethodGet {
		scope = ScopeChannelRead
	}
	if !s.may(c, scope) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	ch := b.channels[c.rest[0]]
	if ch == nil {
		c.noChannel()
		return
	}
	switch what := strings.Join(c.rest[1:min(len(c.rest), 2)], ""); fmt.Sprint(c.r.Method, " ", what, " ", len(c.rest)) {
	case "GET channel-accounts 2":
		b.listAccounts(c, ch)
	case "POST channel-accounts 2":
		b.createAccount(c, ch)
	case "GET channel-accounts 3":
		if a := b.account(ch, c.rest[2]); a != nil {
			c.answer(http.StatusOK, a)
			return
		}
		c.notFound()
	case "POST messages 2":
		s.publish(c, ch)
	case "GET messages 3", "PATCH messages 3":
		m := b.byID[c.rest[2]]
		switch {
		case m == nil || m.ChannelID != ch.ID:
			c.fail(http.StatusNotFound, vendorError{Category: "OBJECT_NOT_FOUND", Message: "No message with id " + c.rest[2]})
		case c.r.Method == http.MethodGet:
			c.answer(http.StatusOK, m.public())
		default:
			m.update(c)
		}
	default:
		c.notFound()
	}
}

// account returns a channel's account, nil when there is none. The caller holds the lock.
func (b *inbox) account(ch *Channel, id string) *ChannelAccount {
	for _, a := range b.accounts {
		if a.ID == id && a.ChannelID == ch.ID {
			return a
		}
	}
	return nil
}

func (b *inbox) listAccounts(c *call, ch *Channel) {
	q := c.r.URL.Query()
	found := []*ChannelAccount{}
	for _, a := range b.accounts {
		wanted := a.ChannelID == ch.ID && a.Archived == (q.Get("archived") == "true")
		for name, have := range map[string]string{"deliveryIdentifierType": a.Identifier.typ(), "deliveryIdentifierValue": a.Identifier.value()} {
			if list := q[name]; len(list) > 0 && !slices.Contains(list, have) {
				wanted = false
			}
		}
		if wanted {
			found = append(found, a)
		}
	}
	c.answer(http.StatusOK, map[string]any{"results": found, "total": len(found)})
}

func (i *Identifier) typ() string {
	if i == nil {
		return ""
	}
	return i.Type
}

func (i *Identifier) value() string {
	if i == nil {
		return ""
	}
	return i.Value
}

var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// wrong says what is wrong with an identifier on a channel, "" when nothing is.
func (i *Identifier) wrong(ch *Channel) string {
	switch {
	case i == nil || i.Value == "":
		return "deliveryIdentifier must have a type and a value"
	case !slices.Contains(identifierTypes, i.Type):
		return "deliveryIdentifier.type " + i.Type + " does not exist"
	case !slices.Contains(ch.Capabilities.DeliveryIdentifierTypes, i.Type):
		return "the channel's capabilities do not include deliveryIdentifier.type " + i.Type
	case i.Type == IdentifierPhone && !e164.MatchString(i.Value):
		return "deliveryIdentifier.value must be a phone number in E.164 format"
	}
	return ""
}

func (b *inbox) createAccount(c *call, ch *Channel) {
	var egg struct {
		Authorized *bool       `json:"authorized"`
		InboxID    string      `json:"inboxId"`
		Name       string      `json:"name"`
		Identifier *Identifier `json:"deliveryIdentifier"`
	}
	if !c.read(&egg) {
		return
	}
	switch {
	case egg.Authorized == nil || egg.InboxID == "" || egg.Name == "":
		c.invalid("Some required fields were not set: [authorized, inboxId, name]")
		return
	case !slices.ContainsFunc(inboxes, func(i map[string]any) bool { return i["id"] == egg.InboxID }):
		c.invalid("No inbox with id " + egg.InboxID)
		return
	}
	if egg.Identifier != nil {
		if wrong := egg.Identifier.wrong(ch); wrong != "" {
			c.invalid(wrong)
			return
		}
	}
	a := &ChannelAccount{ID: b.next(), ChannelID: ch.ID, InboxID: egg.InboxID, Name: egg.Name, Active: *egg.Authorized, Authorized: *egg.Authorized,
		Identifier: egg.Identifier, CreatedAt: stamp(time.Now())}
	b.accounts = append(b.accounts, a)
	c.answer(http.StatusCreated, a)
}

// read reads a body strictly; it has answered when it returns false.
func (c *call) read(into any) bool {
	d := json.NewDecoder(bytes.NewReader(c.body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		c.badJSON(err)
		return false
	}
	return true
}

// update writes a message's status.
func (m *InboxMessage) update(c *call) {
	var u struct {
		Status string `json:"statusType"`
		Error  string `json:"errorMessage"`
	}
	if !c.read(&u) {
		return
	}
	switch {
	case !slices.Contains([]string{"SENT", "FAILED", "READ"}, u.Status):
		c.invalid("statusType must be one of [FAILED, READ, SENT]")
		return
	case m.Direction != "OUTGOING":
		c.invalid("the status of an incoming message cannot be set")
		return
	}
	m.Status, m.Failure = u.Status, u.Error
	m.Statuses = append(m.Statuses, u.Status)
	c.answer(http.StatusOK, m.public())
}

// public is a message as the API shows it.
func (m *InboxMessage) public() map[string]any {
	client := map[string]any{"clientType": "INTEGRATION", "integrationAppId": 54321}
	by := "I-54321"
	if m.Agent != "" {
		client, by = map[string]any{"clientType": "HUBSPOT"}, m.Agent
	}
	out := map[string]any{
		"id": m.ID, "type": "MESSAGE", "channelId": m.ChannelID, "channelAccountId": m.AccountID, "conversationsThreadId": m.Thread,
		"createdAt": stamp(m.created), "createdBy": by, "client": client, "direction": m.Direction, "text": m.Text, "richText": m.Text,
		"senders": m.Senders, "recipients": m.Recipients, "attachments": m.attachments, "truncationStatus": "NOT_TRUNCATED", "archived": false,
	}
	if m.attachments == nil {
		out["attachments"] = []any{}
	}
	if m.Status != "" {
		status := map[string]any{"statusType": m.Status}
		if m.Failure != "" {
			status["failureDetails"] = map[string]any{"errorMessage": m.Failure}
		}
		out["status"] = status
	}
	return out
}
