package broker

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/store"
)

// What stays of a person who was erased are values under keyed hashes, which say
// nothing to those who do not have what was hashed already: that somebody with
// this address was erased, and when, so that a webhook that comes again does not
// bring them back; what keeps messages from being sent to them; and that an event
// or a contact of this id was erased, for whoever asks.

const (
	bucketErased = "erased"
	// rememberErased is for how long it is known that an event was.
	rememberErased = 400 * 24 * time.Hour
)

// tombstone is what is stored under such a hash.
type tombstone struct {
	At      time.Time `json:"at"`
	Erasure string    `json:"erasure,omitempty"`
	// Stops is what of the person's consent keeps messages from being sent.
	Stops consent.Summary `json:"stops,omitzero"`
}

func (t *tenant) erased(kind, what string) store.Key {
	return erasedKey(t.b.o.OpaqueKey, t.ID, kind, what)
}

func erasedKey(secret []byte, tenant, kind, what string) store.Key {
	h := hmac.New(sha256.New, secret)
	_, _ = h.Write([]byte("erased\x00" + tenant + "\x00" + kind + "\x00" + what))
	return store.Key{Tenant: tenant, Bucket: bucketErased, Key: base64.RawURLEncoding.EncodeToString(h.Sum(nil))}
}

// The three kinds of tombstones: of a key of the person, of the contact's ID, and
// of an event's.
func (t *tenant) erasedKey(k contact.Key) store.Key  { return t.erased("key", k.String()) }
func (t *tenant) erasedID(id string) store.Key       { return t.erased("contact", id) }
func (t *tenant) erasedEvent(event string) store.Key { return t.erased("event", event) }

// erasedAmong returns those contacts that are not there any more because they
// were erased, and when. keys and values are those of their records.
func (t *tenant) erasedAmong(ctx context.Context, keys []store.Key, values [][]byte) (map[string]time.Time, error) {
	var ask []store.Key
	var ids []string
	for i, v := range values {
		if v == nil {
			ask, ids = append(ask, t.erasedID(keys[i].Key)), append(ids, keys[i].Key)
		}
	}
	if len(ask) == 0 {
		return nil, nil
	}
	found, err := t.b.o.Store.Get(ctx, ask...)
	if err != nil {
		return nil, err
	}
	var out map[string]time.Time
	for i, v := range found {
		if gone, ok := decode[tombstone](v); ok {
			if out == nil {
				out = map[string]time.Time{}
			}
			out[ids[i]] = gone.At
		}
	}
	return out, nil
}

// leftOver reports whether an event is what is left of somebody who was erased, and
// must not bring them back: it is older, a status, or what a CRM tells of them
// whose record may be about to go.
func leftOver(e *core.Event, erased time.Time) bool {
	switch e.Kind {
	case core.KindMessageStatus, core.KindMessageEdited, core.KindMessageRevoked, core.KindThreadMoved:
		return true
	case core.KindContactChanged, core.KindConsentChanged:
		if !slices.Contains([]string{sourceWhatsApp, "api", sourceFile}, e.Source) {
			return true
		}
	}
	return !e.Time.After(erased)
}

// isAnew reports whether an event is of somebody who came back after they were
// erased.
func isAnew(e *core.Event, erased time.Time) bool {
	return !leftOver(e, erased) && len(claimOf(e).keys) > 0
}

// dropErased ends events that are about people who were erased.
func (t *tenant) dropErased(ctx context.Context, gone []store.Delivery) error {
	if len(gone) == 0 {
		return nil
	}
	if _, err := t.b.settle(ctx, store.Settlement{Ack: gone}); err != nil {
		return err
	}
	t.depth.Add(-int64(len(gone)))
	return nil
}

// leaveErased returns the contact that an event belongs to whose contact was
// erased: the one that has its keys now, or a new one. Otherwise it is home.
func (t *tenant) leaveErased(ctx context.Context, home string, keys []contact.Key) (string, error) {
	values, err := t.b.o.Store.Get(ctx, contactKey(t.ID, home), t.erasedID(home))
	if err != nil || values[0] != nil || values[1] == nil || len(keys) == 0 {
		return home, err
	}
	owners, err := t.owners(ctx, keys)
	if err != nil {
		return home, err
	}
	for _, k := range keys {
		if id := owners[k]; id != "" && id != home {
			return id, nil
		}
	}
	return t.freshContactID(ctx, founding(keys))
}

// inherit gives a person what keeps messages from being sent to somebody who had
// one of the keys before, and was erased.
func (t *tenant) inherit(ctx context.Context, p *person, keys []contact.Key) error {
	ask := make([]store.Key, len(keys))
	for i, k := range keys {
		ask[i] = t.erasedKey(k)
	}
	values, err := t.b.o.Store.Get(ctx, ask...)
	if err != nil {
		return err
	}
	for _, v := range values {
		if gone, ok := decode[tombstone](v); ok && !gone.Stops.Silent() {
			p.Consent = p.Consent.Join(gone.Stops)
		}
	}
	return nil
}

// toldErased tells of an event, or a contact, whose story was erased.
func (t *tenant) toldErased(ctx context.Context, story *Story) error {
	return ToldErased(ctx, t.b.o.Store, t.b.o.OpaqueKey, t.ID, story)
}

// ToldErased adds to an empty story that it was erased, if it was. key is
// Options.OpaqueKey.
func ToldErased(ctx context.Context, s store.Store, key []byte, tenant string, story *Story) error {
	values, err := s.Get(ctx, erasedKey(key, tenant, "event", story.ID), erasedKey(key, tenant, "event", story.Root),
		erasedKey(key, tenant, "contact", story.ID))
	if err != nil {
		return err
	}
	for _, v := range values {
		if gone, ok := decode[tombstone](v); ok {
			story.Steps = append(story.Steps, Step{
				Time: gone.At, Event: story.Root, Kind: core.KindContactErased, Tenant: tenant, Step: "erased",
				Notes: []string{"erased on " + gone.At.Format(time.DateOnly) + ": what was known of it is gone. See wabridge why " + gone.Erasure},
			})
			return nil
		}
	}
	return nil
}
