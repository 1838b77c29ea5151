package broker

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

const bucketSubscriptions = "subscriptions"

// Bounds of subscriptions.
const (
	maxSubscriptions   = 100 // of one tenant
	maxSubscribedBatch = 100
	maxFilter          = 100 // values of one filter
	// suspendAfter is how old the oldest event may get that an endpoint does not
	// take, and suspendAt how many may wait. Then the subscription is suspended, so
	// that an endpoint that nobody looks after does not fill the disk.
	suspendAfter = 3 * 24 * time.Hour
	suspendAt    = 100_000
	// refusedAll is how many events in a row an endpoint may refuse for good: more
	// would be a heap of dead letters.
	refusedAll = 50
	// endedFor is how long a subscription is still listed that its endpoint ended.
	endedFor = 30 * 24 * time.Hour
	// defaultOverlap is how long the old secret signs beside a new one, maxOverlap
	// how long it may.
	defaultOverlap = 24 * time.Hour
	maxOverlap     = 7 * 24 * time.Hour
)

// The states of a subscription.
const (
	SubscriptionActive    = "active"
	SubscriptionPaused    = "paused"    // a person said so
	SubscriptionSuspended = "suspended" // the bridge did: its events were not taken
	SubscriptionEnded     = "ended"     // its endpoint answered 410 Gone
)

// Subscription is somebody's wish to be told of a tenant's events: by calls to an
// endpoint, or, without one, in a mailbox that they look into. Only while it is
// active are events kept for it.
type Subscription struct {
	// ID is the bridge's own: "sub-" and twelve characters.
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	// Name is for people.
	Name string `json:"name,omitempty"`
	// URL is the endpoint: https. Empty makes a mailbox.
	URL string `json:"url,omitempty"`
	// Kinds are the events it wants; empty is all of SubscribedKinds but
	// contact.erased, which is told to who names it only.
	Kinds  []core.Kind        `json:"kinds"`
	Filter SubscriptionFilter `json:"filter,omitzero"`
	// Batch is how many events one call may tell of, 1 to 100: with 1 a call is one
	// event, else a list.
	Batch int `json:"batch"`
	// State is "active", "paused", "suspended" or "ended", Since from when on, and
	// Why says why in words; of an active one, why what it is to be told of waits.
	State string    `json:"state"`
	Why   string    `json:"why,omitempty"`
	Since time.Time `json:"since"`
	// Created is when, and By who made it.
	Created time.Time `json:"created"`
	By      string    `json:"by,omitempty"`
	// OldSecretUntil is until when the secret before signs, too.
	OldSecretUntil time.Time `json:"old_secret_until,omitzero"`
}

// SubscriptionFilter narrows the events down. Each that is not empty must hold.
type SubscriptionFilter struct {
	// Numbers are business phone numbers' ids (phone_number_id).
	Numbers []string `json:"numbers,omitempty"`
	// Types are messages' types: of events without a message none is left.
	Types []core.MessageType `json:"types,omitempty"`
	// Statuses are those of message.status; other kinds are not touched.
	Statuses []core.StatusValue `json:"statuses,omitempty"`
}

// SubscribedKinds are the kinds that subscriptions are about.
func SubscribedKinds() []core.Kind {
	return []core.Kind{
		core.KindMessageReceived, core.KindMessageSent, core.KindMessageStatus, core.KindMessageEdited, core.KindMessageRevoked, core.KindMessageMedia,
		core.KindThreadMoved, core.KindGroupChanged, core.KindAccountChanged, core.KindContactChanged, core.KindContactMerged,
		core.KindContactErased,
		core.KindConsentChanged, core.KindEscalation, core.KindEscalationMoved, core.KindEscalationClosed, core.KindUnknown,
	}
}

// SubscriptionRequest asks for a subscription.
type SubscriptionRequest struct {
	Tenant string             `json:"tenant,omitempty"`
	Name   string             `json:"name,omitempty"`
	URL    string             `json:"url,omitempty"`
	Kinds  []core.Kind        `json:"kinds,omitempty"`
	Filter SubscriptionFilter `json:"filter,omitzero"`
	// Batch is 1 unless given.
	Batch int `json:"batch,omitempty"`
	// Key, if given, makes the request idempotent: the same key subscribes once.
	Key string `json:"-"`
	// By is who asks.
	By string `json:"-"`
}

// SubscriptionChange changes a subscription: what is nil stays.
type SubscriptionChange struct {
	Name   *string             `json:"name,omitempty"`
	URL    *string             `json:"url,omitempty"`
	Kinds  *[]core.Kind        `json:"kinds,omitempty"`
	Filter *SubscriptionFilter `json:"filter,omitempty"`
	Batch  *int                `json:"batch,omitempty"`
	// State is "active" or "paused".
	State *string `json:"state,omitempty"`
}

// NewSubscription is a subscription with its secret, which nobody is shown again.
type NewSubscription struct {
	Subscription
	// Secret signs the calls: "whsec_" and base64, as Standard Webhooks has it. It is
	// empty for a mailbox, and when the subscription was there already.
	Secret string `json:"secret,omitempty"`
	// Duplicate says that a request with this key had made it before.
	Duplicate bool `json:"duplicate,omitempty"`
}

// SubscriptionTest is what came of a call that tells of nothing.
type SubscriptionTest struct {
	Delivered bool `json:"delivered"`
	// Status is the HTTP status that the endpoint answered, 0 without an answer.
	Status int `json:"status"`
	// Took is in milliseconds.
	Took  float64     `json:"took_ms"`
	Error *core.Error `json:"error,omitempty"`
}

// Subscriber is the sink of a subscription's lane.
type Subscriber interface {
	core.Sink
	// Test makes a call that tells of nothing, and returns the HTTP status.
	Test(ctx context.Context, subscription string) (status int, err error)
	// Close is called when the Subscriber is not used any more.
	Close()
}

// SubscriberOptions are what a Subscriber is made of.
type SubscriberOptions struct {
	URL string
	// Secret signs; Old does as well until OldUntil, while the secret is changed.
	Secret, Old core.Secret
	OldUntil    time.Time
	Batch       bool // a call tells of several events
}

// Sealer keeps secrets from those who have a copy of the store. belong is what a
// secret belongs to: it opens with the same only.
type Sealer interface {
	Seal(plain, belong []byte) ([]byte, error)
	Open(sealed, belong []byte) ([]byte, error)
}

// subscription is one as it is stored.
type subscription struct {
	Subscription
	// Sealed are its secrets.
	Sealed []byte `json:"sealed,omitempty"`
}

// signing are the secrets of a subscription, before they are sealed.
type signing struct {
	Secret string `json:"secret"`
	Old    string `json:"old,omitempty"`
}

func (s *Subscription) active() bool  { return s.State == SubscriptionActive }
func (s *Subscription) mailbox() bool { return s.URL == "" }
func (s *Subscription) belong() []byte {
	return []byte("subscription " + s.Tenant + " " + s.ID)
}

func (s *Subscription) queue() store.QueueID { return queueOf(s.Tenant, subscriptionQueue(s.ID)) }

const subscriptionQueues = "subscription/"

func subscriptionQueue(id string) string { return subscriptionQueues + id }

// wants reports whether a subscription is about an event.
func (s *Subscription) wants(e *core.Event) bool {
	if len(s.Kinds) > 0 && !slices.Contains(s.Kinds, e.Kind) || len(s.Kinds) == 0 && e.Kind == core.KindContactErased {
		return false
	}
	f := &s.Filter
	switch {
	case e.Kind == core.KindContactErased:
		return true // of whom is not known any more
	case len(f.Numbers) > 0 && !slices.Contains(f.Numbers, e.Number):
		return false
	case len(f.Types) > 0 && (e.Message == nil || !slices.Contains(f.Types, e.Message.Type)):
		return false
	case len(f.Statuses) > 0 && e.Status != nil && !slices.Contains(f.Statuses, e.Status.Value):
		return false
	}
	return true
}

// check says what is wrong with a subscription, but for its URL.
func (t *tenant) check(s *Subscription) error {
	wrong := func(format string, args ...any) error {
		return core.Errorf(core.CodeInvalid, "subscription", format, args...)
	}
	if len(s.Name) > 100 || strings.ContainsFunc(s.Name, func(r rune) bool { return r < ' ' }) {
		return wrong("name: at most 100 bytes, on one line")
	}
	if s.Batch < 1 || s.Batch > maxSubscribedBatch {
		return wrong("batch: want 1 to %d events per call", maxSubscribedBatch)
	}
	known := SubscribedKinds()
	for i, k := range s.Kinds {
		if !slices.Contains(known, k) {
			return wrong("kinds: there is no %.40q to be told of", k)
		}
		if slices.Contains(s.Kinds[:i], k) {
			return wrong("kinds: %s is there twice", k)
		}
	}
	if len(s.Filter.Numbers) > maxFilter || len(s.Filter.Types) > maxFilter || len(s.Filter.Statuses) > maxFilter {
		return wrong("filter: at most %d values each", maxFilter)
	}
	for _, n := range s.Filter.Numbers {
		if t.numbers[n] == nil {
			return wrong("filter.numbers: %.40q is no phone_number_id of the tenant", n)
		}
	}
	for _, ty := range s.Filter.Types {
		if ty == "" || len(ty) > 40 {
			return wrong("filter.types: want messages' types, such as text")
		}
	}
	for _, v := range s.Filter.Statuses {
		if v == "" || len(v) > 40 {
			return wrong("filter.statuses: want statuses, such as failed")
		}
	}
	return nil
}

// newSecret makes a secret as Standard Webhooks wants it: "whsec_" and the base64
// of 32 random bytes.
func newSecret() core.Secret {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails
	return core.Secret("whsec_" + base64.StdEncoding.EncodeToString(b))
}

func newSubscriptionID() string { return "sub-" + strings.ToLower(rand.Text()[:12]) }

// errNoSubscription is the error for one that is not there, or another tenant's.
func errNoSubscription(id string) error {
	return core.Errorf(core.CodeInvalid, "subscription", "there is no subscription %.60q: %w", id, store.ErrNotFound)
}

func (t *tenant) subscriptionKey(id string) store.Key {
	return store.Key{Tenant: t.ID, Bucket: bucketSubscriptions, Key: id}
}

// seal returns the stored form of a subscription with other secrets.
func (t *tenant) seal(s *subscription, keys signing) error {
	if t.b.o.Sealer == nil {
		return core.Errorf(core.CodeInternal, "subscription", "this bridge keeps no secrets")
	}
	var err error
	s.Sealed, err = t.b.o.Sealer.Seal(mustJSON(keys), s.belong())
	return err
}

// subscriber makes the sink of a subscription.
func (t *tenant) subscriber(s *subscription) (Subscriber, error) {
	if t.b.o.Subscriber == nil || t.b.o.Sealer == nil {
		return nil, core.Errorf(core.CodeInternal, "subscription", "this bridge calls no endpoints")
	}
	plain, err := t.b.o.Sealer.Open(s.Sealed, s.belong())
	keys, ok := decode[signing](plain)
	if err != nil || !ok {
		return nil, &core.Error{
			Code: core.CodeInvalid, Op: "subscription", Message: "its secret cannot be read: the bridge's key is another", Hint: "rotate the secret, then set the state to active",
			Err: errSealed,
		}
	}
	return t.b.o.Subscriber(SubscriberOptions{
		URL: s.URL, Secret: core.Secret(keys.Secret), Old: core.Secret(keys.Old), OldUntil: s.OldSecretUntil, Batch: s.Batch > 1,
	})
}

var errSealed = errors.New("sealed with another key")
