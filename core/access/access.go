// Package access says who may ask the API for what: tokens, each with scopes, for
// one tenant or for all. Those of the configuration may do everything; others are
// made while the bridge runs, kept as a hash, and end when they expire or are
// revoked.
package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// Scope is something that a token may do.
type Scope string

// The scopes.
const (
	// SendMessages is to send messages to people.
	SendMessages Scope = "messages:send"
	// ReadContacts is to find, see and export people.
	ReadContacts Scope = "contacts:read"
	// WriteContacts is to merge, take apart, import and correct people.
	WriteContacts Scope = "contacts:write"
	// EraseContacts is to erase people for good.
	EraseContacts Scope = "contacts:erase"
	// ReadConsent is to see and prove what people agreed to.
	ReadConsent Scope = "consent:read"
	// WriteConsent is to change it.
	WriteConsent Scope = "consent:write"
	// ReadEscalations is to see who waits for a person.
	ReadEscalations Scope = "escalations:read"
	// WriteEscalations is to take, close and release, and to give conversations back
	// to the bot.
	WriteEscalations Scope = "escalations:write"
	// ReadEvents is to see what happened and why: messages' texts, too.
	ReadEvents Scope = "events:read"
	// ReadDeliveries is to see queues, dead letters and alarms: messages' texts, too.
	ReadDeliveries Scope = "deliveries:read"
	// WriteDeliveries is to replay and resolve dead letters, and to settle alarms.
	WriteDeliveries Scope = "deliveries:write"
	// ReadTemplates is to see WhatsApp's templates, and what became of them.
	ReadTemplates Scope = "templates:read"
	// WriteTemplates is to make, edit and delete them.
	WriteTemplates Scope = "templates:write"
	// ReadSubscriptions is to see who is told of what, and to look into mailboxes:
	// messages' texts, too.
	ReadSubscriptions Scope = "subscriptions:read"
	// WriteSubscriptions is to say who is told of what: who may that, gets to see
	// everything that happens.
	WriteSubscriptions Scope = "subscriptions:write"
	// ReadCampaigns is to see campaigns and who is in them, WriteCampaigns to make, start
	// and stop them: its bearer can write to everybody.
	ReadCampaigns  Scope = "campaigns:read"
	WriteCampaigns Scope = "campaigns:write"
	// ReadCosts is to see what messages cost.
	ReadCosts Scope = "costs:read"
	// ReadMedia is to see the files of messages, WriteMedia to put files here to be sent.
	ReadMedia  Scope = "media:read"
	WriteMedia Scope = "media:write"
	// ReadNumbers is to see how the business numbers are, and to have WhatsApp asked.
	ReadNumbers Scope = "numbers:read"
	// ReadStatus is to see how the bridge is, all tenants included.
	ReadStatus Scope = "status:read"
	// Admin is all of these, and to make and revoke tokens.
	Admin Scope = "admin"
)

// Scopes are all of them.
func Scopes() []Scope {
	return []Scope{
		SendMessages, ReadContacts, WriteContacts, EraseContacts, ReadConsent, WriteConsent, ReadEscalations, WriteEscalations, ReadEvents,
		ReadDeliveries, WriteDeliveries, ReadTemplates, WriteTemplates, ReadSubscriptions, WriteSubscriptions,
		ReadCampaigns, WriteCampaigns, ReadCosts, ReadMedia, WriteMedia, ReadNumbers, ReadStatus, Admin,
	}
}

// Token says what its bearer may do. It is not what the bearer shows.
type Token struct {
	// ID names it; empty for one of the configuration.
	ID string `json:"id,omitempty"`
	// Name is for people, and for what is logged.
	Name string `json:"name"`
	// Tenant is the one that it is for; empty is all of them.
	Tenant string  `json:"tenant,omitempty"`
	Scopes []Scope `json:"scopes"`
	// By is the name of the token that made it.
	By      string    `json:"by,omitempty"`
	Created time.Time `json:"created,omitzero"`
	// Expires is when it ends; zero is never.
	Expires time.Time `json:"expires,omitzero"`
	// LastUsed is when it was last shown, to the minute.
	LastUsed time.Time `json:"last_used,omitzero"`
}

// May reports whether a token's bearer may do something.
func (t *Token) May(s Scope) bool {
	return slices.Contains(t.Scopes, s) || slices.Contains(t.Scopes, Admin)
}

// Configured is a token of the configuration: it may do everything, within its
// tenant if it has one.
type Configured struct {
	Name   string
	Tenant string
	Secret core.Secret
}

// Store is what is asked of the store.
type Store interface {
	Settle(ctx context.Context, s store.Settlement) (store.Outcome, error)
	Range(ctx context.Context, tenant, bucket, after string, limit int) ([]store.Entry, error)
}

const (
	bucket    = "api-tokens"
	prefix    = "wab_"
	maxTokens = 1000
	maxName   = 100
	// usedEvery is how often it is stored when a token was last used.
	usedEvery = time.Minute
)

// Tokens are those that there are. All methods may be called concurrently.
type Tokens struct {
	store      Store
	configured []hashed

	mu   sync.Mutex
	made map[string]*hashed
}

// hashed is a token as it is stored.
type hashed struct {
	Token
	// Hash is the SHA-256 of what the bearer shows: it is random, and long enough
	// that nobody finds it by trying.
	Hash []byte `json:"hash"`
}

// New reads the tokens that were made before. With a nil Store there are those of
// the configuration only.
func New(ctx context.Context, st Store, configured []Configured) (*Tokens, error) {
	a := &Tokens{store: st, made: map[string]*hashed{}}
	for _, c := range configured {
		if c.Secret != "" {
			a.configured = append(a.configured, hashed{Token{Name: c.Name, Tenant: c.Tenant, Scopes: []Scope{Admin}}, hash(c.Secret.Reveal())})
		}
	}
	if st == nil {
		return a, nil
	}
	const page = 500
	for after := ""; ; {
		entries, err := st.Range(ctx, "", bucket, after, page)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			h := new(hashed)
			if after = e.Key; json.Unmarshal(e.Value, h) == nil {
				a.made[h.ID] = h
			}
		}
		if len(entries) < page {
			return a, nil
		}
	}
}

func hash(shown string) []byte {
	sum := sha256.Sum256([]byte(shown))
	return sum[:]
}

// Find returns the token that a bearer shows. Hashes are compared in constant time.
func (a *Tokens) Find(ctx context.Context, shown string) (Token, bool) {
	sum := hash(shown)
	var found Token
	hit := 0
	for _, c := range a.configured {
		if subtle.ConstantTimeCompare(sum, c.Hash) == 1 {
			found, hit = c.Token, 1
		}
	}
	if hit == 1 {
		return found, true
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(shown, prefix), "_")
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.made[id]
	if h == nil || subtle.ConstantTimeCompare(sum, h.Hash) != 1 {
		return Token{}, false
	}
	now := time.Now().UTC().Truncate(time.Minute)
	if !h.Expires.IsZero() && !time.Now().Before(h.Expires) {
		return Token{}, false
	}
	if now.Sub(h.LastUsed) >= usedEvery {
		h.LastUsed = now
		if p, err := put(h); err == nil {
			_, _ = a.store.Settle(ctx, store.Settlement{Lazy: true, Put: []store.Put{p}}) // for people only
		}
	}
	return h.Token, true
}

func put(h *hashed) (store.Put, error) {
	value, err := json.Marshal(h)
	return store.Put{Key: store.Key{Bucket: bucket, Key: h.ID}, Value: value, Expires: h.Expires}, err
}

// Request asks for a token.
type Request struct {
	Name string `json:"name"`
	// Tenant is the one that it is to be for; empty is all of them.
	Tenant string  `json:"tenant,omitempty"`
	Scopes []Scope `json:"scopes"`
	// Expires is when it is to end; absent is never.
	Expires time.Time `json:"expires,omitzero"`
	// By is who asks.
	By string `json:"-"`
}

// NewToken is a token with what its bearer shows, which nobody is told again.
type NewToken struct {
	Token
	// Secret is what the bearer shows: Authorization: Bearer <secret>.
	Secret string `json:"secret"`
}

// Make makes a token.
func (a *Tokens) Make(ctx context.Context, r Request) (NewToken, error) {
	wrong := func(format string, args ...any) (NewToken, error) {
		return NewToken{}, core.Errorf(core.CodeInvalid, "token", format, args...)
	}
	if r.Name == "" || len(r.Name) > maxName || strings.ContainsFunc(r.Name, func(c rune) bool { return c < ' ' }) {
		return wrong("name: want 1 to %d bytes on one line, to know it by", maxName)
	}
	if len(r.Scopes) == 0 {
		return wrong("scopes: want at least one of %v", Scopes())
	}
	for _, s := range r.Scopes {
		if !slices.Contains(Scopes(), s) {
			return wrong("scopes: there is no %.40q: want some of %v", s, Scopes())
		}
	}
	if !r.Expires.IsZero() && !r.Expires.After(time.Now()) {
		return wrong("expires: that is over already")
	}
	id := strings.ToLower(rand.Text()[:12])
	out := NewToken{
		Token: Token{
			ID: id, Name: r.Name, Tenant: r.Tenant, Scopes: slices.Clone(r.Scopes), By: r.By, Created: time.Now().UTC(), Expires: r.Expires.UTC(),
		},
		Secret: prefix + id + "_" + rand.Text() + rand.Text()[:6],
	}
	h := &hashed{out.Token, hash(out.Secret)}
	p, err := put(h)
	if err != nil {
		return wrong("expires: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.made) >= maxTokens {
		return NewToken{}, core.Errorf(core.CodeUndeliverable, "token", "there are %d, as many as there may be: revoke some", maxTokens)
	}
	if a.store == nil {
		return NewToken{}, core.Errorf(core.CodeInternal, "token", "this bridge makes no tokens")
	}
	if _, err := a.store.Settle(ctx, store.Settlement{Put: []store.Put{p}}); err != nil {
		return NewToken{}, err
	}
	a.made[id] = h
	return out, nil
}

// List lists the tokens of a tenant ("" for all, those for all tenants included)
// that were made and did not end, the oldest first.
func (a *Tokens) List(tenant string) []Token {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := []Token{}
	for _, h := range slices.Collect(maps.Values(a.made)) {
		switch {
		case !h.Expires.IsZero() && !time.Now().Before(h.Expires):
			delete(a.made, h.ID) // the store drops it by itself
		case tenant == "" || h.Tenant == tenant:
			out = append(out, h.Token)
		}
	}
	slices.SortFunc(out, func(a, b Token) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// Revoke ends a token at once. With a tenant, another's is not found.
func (a *Tokens) Revoke(ctx context.Context, tenant, id string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.made[id]
	if h == nil || tenant != "" && h.Tenant != tenant {
		return core.Errorf(core.CodeInvalid, "token", "there is no token %.60q: %w", id, store.ErrNotFound)
	}
	if _, err := a.store.Settle(ctx, store.Settlement{Put: []store.Put{{Key: store.Key{Bucket: bucket, Key: id}}}}); err != nil {
		return err
	}
	delete(a.made, id)
	return nil
}
