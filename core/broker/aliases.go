package broker

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"strconv"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/store"
)

// aliases knows which contact a key belongs to, as far as accepting must know:
// enough to put an event into a conversation. Whether that was right is found
// out when it is decided, see settleIdentity. What aliases hands out is stored
// with the event that brought it; the cache only saves the look-up, and covers
// the time between the handing out and the commit.
type aliases struct {
	mu       sync.Mutex
	now, old map[contact.Key]string // two generations: bounded without a list
}

const aliasGeneration = 50_000

func (a *aliases) get(k contact.Key) (string, bool) {
	if id, ok := a.now[k]; ok {
		return id, true
	}
	id, ok := a.old[k]
	if ok {
		a.put(k, id)
	}
	return id, ok
}

func (a *aliases) put(k contact.Key, id string) {
	if a.now == nil || len(a.now) >= aliasGeneration {
		a.now, a.old = make(map[contact.Key]string, 1024), a.now
	}
	a.now[k] = id
}

// set takes over what was stored.
func (a *aliases) set(owners map[contact.Key]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k, id := range owners {
		if id == "" {
			delete(a.now, k)
			delete(a.old, k)
		} else {
			a.put(k, id)
		}
	}
}

// forget drops the cached keys of an event whose aliases were not stored.
func (a *aliases) forget(e *core.Event) {
	gone := map[contact.Key]string{}
	for _, k := range claimOf(e).keys {
		gone[k] = ""
	}
	a.set(gone)
}

// resolve sets the ID of the event's contact from what is known of its keys, and
// returns the aliases that must be stored for it to stay so. A new person's ID
// is derived from the first key, so that two bridges, or one after a crash, give
// the same. It reports false for what is left of somebody who was erased: that
// must not bring them back.
func (a *aliases) resolve(ctx context.Context, t *tenant, e *core.Event) ([]store.Put, bool, error) {
	keys := claimOf(e).keys
	if len(keys) == 0 {
		return nil, true, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	known := make([]string, len(keys))
	erased, err := a.look(ctx, t, keys, known)
	if err != nil {
		return nil, false, err
	}
	for _, id := range known {
		if id != "" {
			e.Contact.ID = id
			break
		}
	}
	if e.Contact.ID == "" {
		if !erased.IsZero() && leftOver(e, erased) {
			return nil, false, nil
		}
		if e.Contact.ID, err = t.freshContactID(ctx, founding(keys)); err != nil {
			return nil, false, err
		}
	}
	var puts []store.Put
	for i, k := range keys {
		if known[i] == "" {
			puts = append(puts, store.Put{Key: aliasKey(t.ID, k.String()), Value: []byte(e.Contact.ID)})
			a.put(k, e.Contact.ID)
		}
	}
	return puts, true, nil
}

// look fills in whose the keys are, and returns when one that is nobody's was
// erased. Callers hold mu.
func (a *aliases) look(ctx context.Context, t *tenant, keys []contact.Key, known []string) (erased time.Time, err error) {
	var ask []store.Key
	var of []int
	for i, k := range keys {
		id, ok := a.get(k)
		if known[i] = id; ok {
			continue
		}
		for _, way := range waysOf(k) {
			ask, of = append(ask, aliasKey(t.ID, way)), append(of, i)
		}
		ask, of = append(ask, t.erasedKey(k)), append(of, -1)
	}
	if len(ask) == 0 {
		return erased, nil
	}
	values, err := t.b.o.Store.Get(ctx, ask...)
	if err != nil {
		return erased, err
	}
	for j, v := range values {
		switch {
		case v == nil:
		case of[j] < 0:
			if gone, ok := decode[tombstone](v); ok && gone.At.After(erased) {
				erased = gone.At
			}
		case known[of[j]] == "":
			known[of[j]] = string(v)
			a.put(keys[of[j]], string(v))
		}
	}
	return erased, nil
}

// waysOf returns the texts under which a key may be stored: its own, and for
// phone numbers every way to write it.
func waysOf(k contact.Key) []string {
	if !k.IsPhone() {
		return []string{k.String()}
	}
	var out []string
	for _, a := range contact.MatchSet(phoneAddress(k)) {
		out = append(out, a.String())
	}
	return out
}

// founding returns the key that a new person's ID is derived from: the phone
// number, which is there the longest, or else the first.
func founding(keys []contact.Key) contact.Key {
	for _, k := range keys {
		if k.IsPhone() {
			return k
		}
	}
	return keys[0]
}

// freshContactID derives an ID that no contact has, or had before it was erased: a
// key may outlive the contact that was named after it.
func (t *tenant) freshContactID(ctx context.Context, k contact.Key) (string, error) {
	for n := 0; ; n++ {
		id := contactID(t.ID, k, n)
		v, err := t.b.o.Store.Get(ctx, contactKey(t.ID, id), t.erasedID(id))
		if err != nil || v[0] == nil && v[1] == nil {
			return id, err
		}
	}
}

const contactLetters = "abcdefghijkmnpqrstuvwxyz23456789"

var contactEncoding = base32.NewEncoding(contactLetters).WithPadding(base32.NoPadding)

func contactID(tenant string, k contact.Key, n int) string {
	text := tenant + "\x00" + k.String()
	if n > 0 {
		text += "\x00" + strconv.Itoa(n)
	}
	sum := sha256.Sum256([]byte(text))
	return "c" + contactEncoding.EncodeToString(sum[:10])
}

func aliasKey(tenant, key string) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketAlias, Key: key}
}
