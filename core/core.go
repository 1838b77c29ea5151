// Package core holds the words of wabridge: what moves (Event), between whom
// (Tenant, Contact, Conversation), where to (Sink, Connector), and how an
// attempt to deliver ends (Result, Error, Code). Every other package, the
// stored records, the plugin protocol, the scripts, the HTTP API and the pages
// use these words with these meanings, and no other words for the same things.
//
// The package depends on the standard library only, so that a plugin author
// can import it without importing the bridge.
//
// # Glossary
//
//   - Tenant: one business on the bridge, named by a short lower-case id.
//   - Contact: a person, by our own id. Identities (phone, BSUID) point to it;
//     the phone may be absent.
//   - Conversation: one business number × one contact. What is ordered is
//     ordered within a conversation.
//   - Event: the one thing that moves.
//   - Sink: where an event is delivered: a WhatsApp number or a CRM account.
//   - Lane: one tenant's deliveries to one sink, with its own order, limiter
//     and pause.
//   - Delivery: an event on its way; an Attempt ends with ack, nak or term.
//   - Dead letter: an event given up on, kept whole until a person settles it.
//   - Trace: why: each step of one event.
package core

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Kind says what an event is about. New kinds may appear: whoever receives a
// kind it does not know passes it on or ignores it, and never fails on it.
type Kind string

// The kinds of events.
const (
	// KindMessageReceived is a message from a contact (Message is set).
	KindMessageReceived Kind = "message.received"
	// KindMessageSend is the intent to send a message to a contact (Message is
	// set, without an ID). It is delivered to a WhatsApp number.
	KindMessageSend Kind = "message.send"
	// KindMessageSent says that WhatsApp accepted a message of ours (Message is
	// set, ID is the wamid). It is what a CRM logs.
	KindMessageSent Kind = "message.sent"
	// KindMessageStatus is a step forward in the life of a message of ours
	// (Status is set).
	KindMessageStatus Kind = "message.status"
	// KindContactChanged says that tags or fields of a contact changed.
	KindContactChanged Kind = "contact.changed"
	// KindConsentChanged says that a person agreed to something or took it back, or
	// that nothing may be sent to them any more, or again (Consent is set).
	KindConsentChanged Kind = "consent.changed"
	// KindTemplateChanged is what WhatsApp says of a template: its category or its
	// status (TemplateChange is set).
	KindTemplateChanged Kind = "template.changed"
	// KindLimitChanged is what WhatsApp says of what a business may send (LimitChange is
	// set).
	KindLimitChanged Kind = "limit.changed"
	// KindEscalation hands a conversation to a person or team (Escalation is
	// set).
	KindEscalation Kind = "escalation.opened"
	// KindEscalationMoved says that an escalation has another team, assignee,
	// priority or deadline now, that it is overdue, or that somebody took or answered it.
	KindEscalationMoved Kind = "escalation.moved"
	// KindEscalationClosed ends it.
	KindEscalationClosed Kind = "escalation.closed"
	// KindUnknown is anything a vendor sent that we do not understand; Raw
	// holds it as received.
	KindUnknown Kind = "unknown"
)

// Event is the one thing that moves. Events are values: once stored they are
// not changed, what follows from one is a new event.
type Event struct {
	// ID is derived from the source (wamid; wamid + status; a caller's
	// Idempotency-Key), so the same thing reported twice has the same ID.
	// What follows from an event is named <id>#<n>.
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`
	// Tenant owns the event.
	Tenant string `json:"tenant"`
	// Number is the business phone number's id (phone_number_id) that the
	// conversation runs on.
	Number string `json:"number,omitempty"`
	// Conversation orders events: those of one conversation are handled one at
	// a time. See [ConversationID].
	Conversation string `json:"conversation,omitempty"`
	// Time is when it happened, as its source says.
	Time time.Time `json:"time"`
	// Accepted is when the bridge took responsibility for the root event.
	Accepted time.Time `json:"accepted"`
	// Source says where the root event came from: "whatsapp", "phone" (the
	// business's own app), "api", "script", "campaign" or a connector's name.
	Source string `json:"source"`
	// Cause is the ID of the event that this one follows from, if any.
	Cause string `json:"cause,omitempty"`

	Contact    *Contact    `json:"contact,omitempty"`
	Message    *Message    `json:"message,omitempty"`
	Status     *Status     `json:"status,omitempty"`
	Escalation *Escalation `json:"escalation,omitempty"`
	Timer      *Timer      `json:"timer,omitempty"`
	// Change is set with a system message that tells of new addresses.
	Change  *IdentityChange `json:"identity_change,omitempty"`
	Consent *Consent        `json:"consent,omitempty"`
	// Merge is set on KindContactMerged.
	Merge *ContactMerge `json:"merge,omitempty"`
	// LimitChange is set on KindLimitChanged.
	LimitChange *LimitChange `json:"limit_change,omitempty"`
	// TemplateChange is set on KindTemplateChanged.
	TemplateChange *TemplateChange `json:"template_change,omitempty"`
	// AccountChange is set on KindAccountChanged.
	AccountChange *AccountChange `json:"account_change,omitempty"`
	// Group is WhatsApp's id of the group that the event happened in; empty between the
	// business and one person. See [GroupConversationID].
	Group string `json:"group,omitempty"`
	// GroupChange is set on KindGroupChanged.
	GroupChange *GroupChange `json:"group_change,omitempty"`
	// Standby says that another app has the conversation: the event is told, not handed
	// over.
	Standby    bool        `json:"standby,omitempty"`
	Correction *Correction `json:"correction,omitempty"`
	// Campaign is the campaign that a message of ours, or a status of one, is part of.
	Campaign string `json:"campaign,omitempty"`
	// Author is AuthorHuman on a message of ours that a person wrote: the bot keeps
	// silent then. By says who, if known.
	Author string `json:"author,omitempty"`
	By     string `json:"by,omitempty"`
	// Class is how urgent a message is, on KindMessageSend and on the KindMessageSent
	// that follows.
	Class Class `json:"class,omitempty"`

	// Fields are CRM properties: towards a CRM as the lane's mapping and the tenant's
	// mapToCRM hook made them; of what a CRM tells, its own.
	Fields map[string]any `json:"fields,omitempty"`
	// Changed says when each of Fields was changed at the CRM that tells, where it
	// knows; Time is when the contact was.
	Changed map[string]time.Time `json:"changed,omitempty"`
	// ContactRef is what the CRM that tells calls its record of the contact.
	ContactRef string `json:"contact_ref,omitempty"`
	// MessageRef is what the CRM that Source names calls the message, which somebody wrote
	// there: on KindMessageSend, and on what follows from it.
	MessageRef string `json:"message_ref,omitempty"`
	// Raw is the vendor's own JSON where we do not model it whole.
	Raw json.RawMessage `json:"raw,omitempty"`
}

// Root returns the ID of the event from which this one descends (itself, when
// it descends from none): the part before the first '#'.
func (e *Event) Root() string { return RootID(e.ID) }

// RootID returns the part of an event ID before the first '#'.
func RootID(id string) string {
	root, _, _ := strings.Cut(id, "#")
	return root
}

// FollowID returns the ID of the n-th event that follows from the event id.
func FollowID(id string, n int) string { return fmt.Sprintf("%s#%d", id, n) }

// ConversationID names the conversation of a contact on a business number.
func ConversationID(number, contactID string) string { return number + ":" + contactID }

// GroupConversationID names the conversation of a group on a business number. It is
// none of any person's.
func GroupConversationID(number, group string) string { return number + ":group/" + group }

// AddressKind tells the forms of a person's address on WhatsApp apart.
type AddressKind string

// The kinds of addresses.
const (
	AddressPhone AddressKind = "phone" // E.164 with a leading +
	AddressBSUID AddressKind = "bsuid" // business-scoped user id, such as US.1349…
)

// Address is where a person is reached. It is typed so that the digits of a
// BSUID can never be taken for a phone number. Its text form is "phone:+1…" or
// "bsuid:US.…".
type Address struct {
	Kind  AddressKind
	Value string
}

var (
	phonePattern = regexp.MustCompile(`^\+[1-9][0-9]{5,14}$`)
	bsuidPattern = regexp.MustCompile(`^[A-Z]{2}(\.ENT)?\.[A-Za-z0-9]{1,128}$`)
)

// ParseAddress reads the text form of an address. A bare "+1…" is taken as a
// phone number and a bare "US.…" as a BSUID; anything else is an error.
func ParseAddress(s string) (Address, error) {
	kind, value, ok := strings.Cut(s, ":")
	a := Address{AddressKind(kind), value}
	if !ok {
		switch {
		case strings.HasPrefix(s, "+"):
			a = Address{AddressPhone, s}
		default:
			a = Address{AddressBSUID, s}
		}
	}
	if err := a.Validate(); err != nil {
		return Address{}, err
	}
	return a, nil
}

// Validate reports whether the address has the form that its kind requires.
func (a Address) Validate() error {
	switch {
	case a.Kind == AddressPhone && phonePattern.MatchString(a.Value):
		return nil
	case a.Kind == AddressBSUID && bsuidPattern.MatchString(a.Value):
		return nil
	case a.Kind == AddressPhone:
		return Errorf(CodeInvalid, "address", "a phone number is written +<country><number>, 6 to 15 digits")
	case a.Kind == AddressBSUID:
		return Errorf(CodeInvalid, "address", "want phone:+<digits> or bsuid:<CC>.<id>")
	}
	return Errorf(CodeInvalid, "address", "unknown kind %q: want phone:… or bsuid:…", a.Kind)
}

// String returns the text form. It identifies a person: mask it in logs with
// [MaskAddress].
func (a Address) String() string {
	if a.Kind == "" {
		return ""
	}
	return string(a.Kind) + ":" + a.Value
}

// MarshalText implements [encoding.TextMarshaler].
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. The empty text is the
// zero Address.
func (a *Address) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*a = Address{}
		return nil
	}
	p, err := ParseAddress(string(b))
	if err != nil {
		return err
	}
	*a = p
	return nil
}

// Contact is a person as the bridge knows them when the event was made.
type Contact struct {
	// ID is the bridge's own.
	ID string `json:"id,omitempty"`
	// Name is what the business calls the person, by a list, a CRM or a script; else what they
	// call themselves on WhatsApp: untrusted text.
	Name string `json:"name,omitempty"`
	// Username is the WhatsApp username, if the person has one.
	Username string `json:"username,omitempty"`
	// Phone is E.164 with a leading +, or empty: some people have none.
	Phone string `json:"phone,omitempty"`
	// BSUID is the business-scoped user id, ParentBSUID the one across a group
	// of portfolios (a hint for matching, never an address).
	BSUID       string `json:"bsuid,omitempty"`
	ParentBSUID string `json:"parent_bsuid,omitempty"`
	// Tags are the tenant's labels, sorted.
	Tags []string `json:"tags,omitempty"`
	// Fields are set by scripts (setField).
	Fields map[string]string `json:"fields,omitempty"`
}

// Address returns where to reach the contact: the phone number if known, else
// the BSUID, else the zero Address.
func (c *Contact) Address() Address {
	switch {
	case c == nil:
		return Address{}
	case c.Phone != "":
		return Address{AddressPhone, c.Phone}
	case c.BSUID != "":
		return Address{AddressBSUID, c.BSUID}
	}
	return Address{}
}

// StatusValue is a step in the life of a message of ours.
type StatusValue string

// The statuses. See [StatusValue.Advances] for their order.
const (
	StatusAccepted  StatusValue = "accepted" // WhatsApp answered the send with an id
	StatusSent      StatusValue = "sent"
	StatusDelivered StatusValue = "delivered"
	StatusRead      StatusValue = "read"
	StatusPlayed    StatusValue = "played"
	StatusFailed    StatusValue = "failed"
)

func (s StatusValue) rank() int {
	switch s {
	case StatusAccepted:
		return 1
	case StatusSent:
		return 2
	case StatusFailed:
		return 3 // ends a message that was not delivered
	case StatusDelivered:
		return 4
	case StatusRead:
		return 5
	case StatusPlayed:
		return 6
	}
	return 0
}

// Advances reports whether a message whose status is from moves forward by
// next. Statuses come doubled and in any order; only a step forward counts.
// A failure ends a message that is not yet delivered; what was delivered has
// not failed. Unknown values never advance a known one.
func (s StatusValue) Advances(next StatusValue) bool { return next.rank() > s.rank() }

// Status is one step in the life of a message of ours.
type Status struct {
	// MessageID is WhatsApp's id (wamid) of the message.
	MessageID string      `json:"message_id"`
	Value     StatusValue `json:"value"`
	// Intent is the ID of the message.send event, when known.
	Intent string `json:"intent,omitempty"`
	// Opaque is biz_opaque_callback_data as it came back; untrusted.
	Opaque string `json:"opaque,omitempty"`
	// Errors explain a failure, in the vendor's codes.
	Errors []StatusError `json:"errors,omitempty"`
	// Pricing is the Cloud API's pricing object.
	Pricing json.RawMessage `json:"pricing,omitempty"`
}

// StatusError is a reason that WhatsApp gave.
type StatusError struct {
	Code    int    `json:"code"`
	Title   string `json:"title,omitempty"`
	Details string `json:"details,omitempty"`
}

// Escalation hands a conversation to a person or team.
type Escalation struct {
	// Topic is what rules match on: "complaint", "request" (for a person),
	// "keyword", "messages" (many without a person), "low_confidence", "loop" (a
	// machine answers) or a script's own word.
	Topic    string `json:"topic,omitempty"`
	Reason   string `json:"reason"`
	Team     string `json:"team,omitempty"`
	Note     string `json:"note,omitempty"`
	Priority string `json:"priority,omitempty"` // "low", "normal" (the default) or "high"

	// ID names it for people, from its opening to its end.
	ID string `json:"id,omitempty"`
	// Assignee is who of the team it is given to, if anybody.
	Assignee *Assignee `json:"assignee,omitempty"`
	// Level is 0 for the first team, and one more for each that got it because
	// the one before did not answer.
	Level int `json:"level,omitempty"`
	// Opened is when it was, Deadline by when a person should have answered.
	Opened   time.Time `json:"opened,omitzero"`
	Deadline time.Time `json:"deadline,omitzero"`
	// Overdue says that nobody answered, and that there is no further level.
	Overdue bool `json:"overdue,omitempty"`
	// Taken is when somebody said that they will answer, Answered when a person
	// first wrote to the contact.
	Taken    time.Time `json:"taken,omitzero"`
	Answered time.Time `json:"answered,omitzero"`
	// Outcome is how it ended: "closed" by a person, "released" to the bot,
	// "expired", or "merged" with another that its conversation has now; empty while
	// it is open. By says who ended it.
	Outcome string `json:"outcome,omitempty"`
	By      string `json:"by,omitempty"`
}

// AuthorHuman is the [Event.Author] of what a person wrote.
const AuthorHuman = "human"

// LimitChange is what WhatsApp says of what a business may send.
type LimitChange struct {
	// Display is the number that it is about, as people write it; empty for the whole
	// business.
	Display string `json:"display,omitempty"`
	// MessagesPerSecond is the number's throughput now, 0 when it was not told.
	MessagesPerSecond float64 `json:"messages_per_second,omitempty"`
	// PeoplePerDay is how many different people may be written to in a moving day
	// outside of their service windows, -1 for any number, 0 when it was not told.
	PeoplePerDay int `json:"people_per_day,omitempty"`
	// Event is WhatsApp's own word, such as THROUGHPUT_UPGRADE.
	Event string `json:"event,omitempty"`
}

// TemplateChange is what WhatsApp says of a template.
type TemplateChange struct {
	Name     string `json:"name"`
	Language string `json:"language,omitempty"`
	// Category is the current one, "" when it was not told: "marketing", "utility"
	// or "authentication". Next replaces it at NextAt.
	Category string    `json:"category,omitempty"`
	Next     string    `json:"next,omitempty"`
	NextAt   time.Time `json:"next_at,omitzero"`
	// Status is WhatsApp's own word, such as APPROVED or PAUSED.
	Status string `json:"status,omitempty"`
	// Quality is WhatsApp's own word: GREEN, YELLOW, RED or UNKNOWN.
	Quality string `json:"quality,omitempty"`
	// Reason is why, in WhatsApp's words: it was rejected, paused, disabled.
	Reason string `json:"reason,omitempty"`
	// ID is WhatsApp's own for the template, Account that of the business account
	// (WABA) that has it.
	ID      string `json:"id,omitempty"`
	Account string `json:"account,omitempty"`
}

// Delivery is one event on its way to a sink.
type Delivery struct {
	// Event is what to deliver. It must not be changed.
	Event *Event
	// Data is Event as stored: its JSON form.
	Data []byte
	// Attempt is 1 for the first try.
	Attempt int
	// ContactRef is the contact's record in the CRM, as a [Result] said.
	ContactRef string
	// ToldRef is, while there is no ContactRef, the record that the CRM told of as this
	// person's (in a Poll, a webhook, or as a segment's member): where it is there still,
	// is theirs, and no other contact's, the connector writes to it rather than look for one
	// or make one. It comes as well when the record was written while the contact had no
	// name, and there is one now.
	ToldRef string
	// MessageRef is what the CRM calls the message that the event is about, where a
	// [Result] said so in the last 30 days, or the message was written there.
	MessageRef string
}

// Result ends one delivery: the attempt's outcome.
type Result struct {
	// ID is the ID of the event that this is the result of.
	ID string
	// Err is nil when the sink has the event for good; otherwise its code says
	// what happens next.
	Err *Error
	// Ref is what the sink calls what it made: a wamid, a CRM record id.
	Ref string
	// ContactRef is what the CRM calls the contact's record, where the connector is to be
	// told of it with the next event ([Delivery].ContactRef), or will itself tell when the
	// record is gone ([KindContactGone]): it is enough to say so when the delivery had none.
	ContactRef string
	// MessageRef is what the CRM calls the message, where no key of ours finds it again: the
	// connector is told of it with what becomes of the message ([Delivery].MessageRef).
	MessageRef string
}

// Idempotency is what a sink does with the same event delivered twice.
type Idempotency string

// The idempotency classes.
const (
	// IdempotencyUpsert: writes are keyed by an id of ours; twice is harmless.
	IdempotencyUpsert Idempotency = "upsert"
	// IdempotencyKey: the sink drops a repeated key; twice is harmless.
	IdempotencyKey Idempotency = "key"
	// IdempotencySearch: before it makes something the connector looks whether it is
	// there, and the CRM's search sees what was made only after
	// [ConnectorInfo].SearchDelay. The bridge makes one call at a time, hands back what
	// it was told of the contact's record ([Delivery].ContactRef), and repeats what may
	// have been done no sooner than a search sees it.
	IdempotencySearch Idempotency = "search"
	// IdempotencyNone: twice is twice. The bridge records an attempt before it
	// makes it and never repeats one whose outcome is unknown.
	IdempotencyNone Idempotency = "none"
)

// Safe reports whether a delivery with unknown outcome may be repeated at once.
func (i Idempotency) Safe() bool { return i == IdempotencyUpsert || i == IdempotencyKey }

// Sink is where events are delivered. Deliver is called concurrently, never
// with two events of the same conversation at once, and returns exactly one
// result for each delivery, in any order, matched by ID. A delivery for which
// no result comes back counts as one with an unknown outcome.
//
// Deliver must return when ctx ends.
type Sink interface {
	Deliver(ctx context.Context, batch []Delivery) []Result
}

// TenantPattern is the form of a tenant id, a lane's name and a connector's
// name.
var TenantPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)
