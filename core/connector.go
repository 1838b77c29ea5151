package core

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"
)

// Connector is the code for one CRM: what a plugin author writes. It keeps no
// state between calls: queues, retries, tokens and rates are the bridge's, and
// the process may be killed at any moment; the same deliveries then go to the
// next one.
//
// All methods may be called concurrently.
type Connector interface {
	// Info describes the connector. It does no I/O and always answers the same.
	Info() ConnectorInfo
	// Check proves that the account's settings and secrets work, by asking the
	// CRM something cheap. It prepares what Deliver needs (such as a unique
	// property) when it can. It is called when a lane starts, after the lane
	// was paused for its credentials, and to learn whether an event that fails
	// does so because the CRM is away: CodeUnavailable (or CodeRateLimited) says
	// that it is. It should answer within seconds. The error names the setting
	// to change.
	Check(ctx context.Context, account Account) error
	// Deliver writes a batch of at most Info().MaxBatch events, never two of
	// the same conversation, and returns one result per event. It returns when
	// ctx ends. The same event may come again; see [ConnectorInfo.Idempotency].
	// A kind of event that means nothing to the CRM is done at once.
	Deliver(ctx context.Context, account Account, batch []Delivery) []Result
}

// Authorizer is a Connector whose CRM wants tokens that expire. The bridge asks
// for a token when it has none, shortly before it expires and once when the CRM
// refuses it, never twice at a time; it keeps it, encrypted, over restarts, and
// hands it to every call as [Account.Token].
type Authorizer interface {
	Connector
	// Authorize gets a token with the account's lasting secrets. Account.Token is
	// the one before, if there was one: where refreshing gives a new refresh
	// token, it is in there. CodeUnauthenticated means that a person must sign in
	// again or mend a secret, CodeRateLimited with RetryAfter that it was asked
	// too often.
	Authorize(ctx context.Context, account Account) (Token, error)
}

// Token is what a CRM gave an account to work with for a while.
type Token struct {
	// Secrets are by name: "access", "refresh". Never log them.
	Secrets map[string]Secret
	// Values came with it and are no secrets: the address of the API.
	Values map[string]string
	// Expires is when it must be renewed; zero when nobody knows. It is then used
	// until it is refused.
	Expires time.Time
}

// Poller is a Connector that can tell what happened at the CRM.
type Poller interface {
	Connector
	// Poll returns what happened at the CRM after cursor: each as an event of kind
	//
	//   - contact.changed: Contact says who it is, by Phone or BSUID, and holds the
	//     tags and fields that the CRM gives them; Fields holds the CRM's own
	//     properties, for the lane's mapping ([Account].Properties) and the tenant's
	//     script, and Changed when each of them was changed, where the CRM knows,
	//   - contact.gone: the record ContactRef of a contact was deleted, or merged into
	//     another. The bridge knows whose it was where a [Result] or another event
	//     named it as ContactRef; a connector does so when it made or found the record,
	//     and need not each time,
	//   - consent.changed: Contact says who, Consent what,
	//   - message.send: somebody at the CRM asks for a message: Message.To says who
	//     gets it, Author and By who wrote it, Number from which number (empty
	//     where the tenant has one only), Class how urgent it is (empty is a reply where a
	//     person wrote it, else a transaction), MessageRef what the CRM calls it, where
	//     what becomes of it is to be written there.
	//
	// ContactRef names the contact's record, in events of each kind, where the CRM says
	// which it is: what is written of them then goes there ([Delivery].ToldRef).
	//
	// An event's ID is the same whenever the same change is told, so that it
	// counts once. Number, phone and time are untrusted and checked by the bridge.
	// What the account itself wrote is left out, where the CRM tells.
	//
	// It is called for an account every quarter of an hour, unless the owner says
	// otherwise, and never twice at a time. The cursor is the connector's own, a
	// JSON value of at most 64 KiB that begins as nil; it is stored with the events
	// or not at all, so that a process may die at any time and nothing is skipped.
	Poll(ctx context.Context, account Account, cursor json.RawMessage) (Polled, error)
}

// Polled is what a Poll found: at most [MaxPolled] events.
type Polled struct {
	Events []Event
	// Cursor is where the next Poll begins.
	Cursor json.RawMessage
	// More says that there is more to fetch at once.
	More bool
	// Watching says that the connector listens to the CRM while it is asked: the next
	// Poll comes at once, and may wait for up to 45 s for what happens. It returns as
	// soon as there is something to tell, and when ctx ends.
	Watching bool
}

// MaxPolled is how many events a Poll may return.
const MaxPolled = 2000

// Receiver is a Connector whose CRM calls the bridge when something happens, at
// <web.public_url>/webhooks/crm/<tenant>/<lane>.
type Receiver interface {
	Connector
	// Webhook reads a request of the CRM's. It verifies, as the CRM prescribes and
	// in constant time, that it comes from there and is not an old one, and returns
	// CodeUnauthenticated where it does not; CodeInvalid is for what the CRM need
	// not send again. The events are as [Poller].Poll returns them. They are stored
	// before the CRM gets the answer.
	Webhook(ctx context.Context, account Account, r WebhookRequest) (WebhookAnswer, error)
}

// WebhookRequest is a request that came for a lane. Everything in it is
// untrusted.
type WebhookRequest struct {
	Method string
	// URL is what the CRM called, as the owner says that the bridge is reached:
	// some CRMs sign it.
	URL string
	// Header are the header fields, by their canonical names; cookies are left out.
	Header map[string][]string
	// Remote is the IP address of who called; behind proxies that the owner trusts
	// (web.trusted_proxies), what these say. Empty where that is not known.
	Remote string
	// Body is as it came, at most [MaxWebhookBody].
	Body []byte
}

// Get returns the first value of a header field; name is canonical.
func (r *WebhookRequest) Get(name string) string {
	if v := r.Header[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// WebhookAnswer is what comes of a request.
type WebhookAnswer struct {
	Events []Event
	// Status, ContentType and Body are what the CRM gets, once the events are
	// stored; the zero Status is 200. Body has at most 64 KiB.
	Status      int
	ContentType string
	Body        []byte
}

// MaxWebhookBody is how large a CRM's request may be.
const MaxWebhookBody = 2 << 20

// ConnectorInfo describes a connector.
type ConnectorInfo struct {
	// Name is the connector's, in the form of [TenantPattern].
	Name string `json:"name"`
	// Version is the connector's own, for people.
	Version string `json:"version"`
	// MaxBatch is how many events Deliver takes at once; at least 1.
	MaxBatch int `json:"max_batch"`
	// Idempotency is what Deliver promises about an event that comes twice.
	Idempotency Idempotency `json:"idempotency"`
	// SearchDelay is after what time the CRM's search sees what was made, for
	// [IdempotencySearch]; 0 is 30 s, the most is an hour.
	SearchDelay time.Duration `json:"search_delay,omitempty"`
	// Kinds are the events the connector wants; empty means every kind a CRM
	// gets: message.received, message.sent, message.status, contact.changed,
	// escalation.opened and unknown. A connector is asked to erase people only when
	// it names contact.erased, and to make one record of two only when it names
	// contact.merged; for others a person is.
	Kinds []Kind `json:"kinds,omitempty"`
	// CallsPerSecond is how often Deliver may be called for one account; 0 is
	// no limit. The owner can set it lower.
	CallsPerSecond float64 `json:"calls_per_second,omitempty"`
	// Budgets are how many calls of a kind the CRM bears, as far as that is the same
	// for all accounts; the owner can say otherwise. See [Budget].
	Budgets []Budget `json:"budgets,omitempty"`
	// Secrets names the secrets that an account must have.
	Secrets []string `json:"secrets,omitempty"`
	// Authorizes says that the connector is an [Authorizer]. It is filled in by
	// the plugin's Serve.
	Authorizes bool `json:"authorizes,omitempty"`
	// Polls says that the connector is a [Poller]; filled in likewise.
	Polls bool `json:"polls,omitempty"`
	// Receives says that the connector is a [Receiver]; filled in likewise.
	Receives bool `json:"receives,omitempty"`
	// Describes says that the connector is a [Describer]; filled in likewise.
	Describes bool `json:"describes,omitempty"`
	// Segments says that the connector is a [Segmenter]; filled in likewise.
	Segments bool `json:"segments,omitempty"`
}

// Account is one tenant's account at a CRM, as the owner configured it.
type Account struct {
	// Tenant and Lane name it on the bridge, for logs.
	Tenant string `json:"tenant"`
	Lane   string `json:"lane"`
	// Settings is a JSON object: the lane's settings table.
	Settings json.RawMessage `json:"settings,omitempty"`
	// Secrets are by name: "token", "password". Never log them.
	Secrets map[string]Secret `json:"-"`
	// Properties are the CRM's own properties that the lane's mapping reads: a
	// connector that tells of changes watches them, and has them in Event.Fields. A
	// connector leaves out those that it does not know.
	Properties []string `json:"properties,omitempty"`
	// Token is what [Authorizer].Authorize last returned; nil for connectors that
	// are none.
	Token *Token `json:"-"`
	// WebhookURL is where the CRM may call for this lane, for a [Receiver] that tells
	// its CRM so; empty when the owner has not said how the world reaches the bridge
	// (web.public_url).
	WebhookURL string `json:"webhook_url,omitempty"`
	// Idempotency is what the owner says of the lane, in place of [ConnectorInfo].Idempotency;
	// empty when they say nothing. A connector whose settings decide about it refuses what
	// promises more than they do: the bridge repeats by it.
	Idempotency Idempotency `json:"idempotency,omitempty"`
}

// Secret is a text that must not be seen: it prints, logs and marshals as
// "[secret]". The zero Secret is no secret at all.
type Secret string

// Reveal returns the text.
func (s Secret) Reveal() string { return string(s) }

// String implements fmt.Stringer.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[secret]"
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return s.String() }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON implements json.Marshaler.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MaskAddress hides most of a phone number or BSUID, in either text form, for
// logs: the last two characters stay.
func MaskAddress(s string) string {
	if len(s) <= 4 {
		return "…"
	}
	return "…" + s[len(s)-2:]
}
