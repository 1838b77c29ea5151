package broker

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"maps"
	"sort"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/store"
)

// aliases knows which contact an address belongs to. What it hands out is
// stored with the event that brought it; the cache only saves the look-up, and
// covers the time between the handing out and the commit.
type aliases struct {
	mu       sync.Mutex
	now, old map[core.Address]string // two generations: bounded without a list
}

const aliasGeneration = 50_000

func (a *aliases) get(k core.Address) (string, bool) {
	if id, ok := a.now[k]; ok {
		return id, true
	}
	id, ok := a.old[k]
	if ok {
		a.put(k, id)
	}
	return id, ok
}

func (a *aliases) put(k core.Address, id string) {
	if a.now == nil || len(a.now) >= aliasGeneration {
		a.now, a.old = make(map[core.Address]string, 1024), a.now
	}
	a.now[k] = id
}

// forget drops the cached addresses of a contact whose aliases were not stored.
func (a *aliases) forget(c *core.Contact) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range identities(c) {
		delete(a.now, k)
		delete(a.old, k)
	}
}

// identities are the addresses that a contact is known by, the phone first.
func identities(c *core.Contact) []core.Address {
	var out []core.Address
	if c.Phone != "" {
		out = append(out, core.Address{Kind: core.AddressPhone, Value: c.Phone})
	}
	if c.BSUID != "" {
		out = append(out, core.Address{Kind: core.AddressBSUID, Value: c.BSUID})
	}
	return out
}

// resolve sets the contact's ID from what is known of its addresses, and
// returns the aliases that must be stored for it to stay so. A new person's ID
// is derived from the first address, so that two bridges, or one after a crash,
// give the same.
func (a *aliases) resolve(ctx context.Context, t *tenant, c *core.Contact) ([]store.Put, error) {
	ids := identities(c)
	if len(ids) == 0 {
		return nil, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	known := make([]string, len(ids))
	var ask []store.Key
	var asked []int
	for i, k := range ids {
		if id, ok := a.get(k); ok {
			known[i] = id
			continue
		}
		ask = append(ask, aliasKey(t.ID, k))
		asked = append(asked, i)
	}
	if len(ask) > 0 {
		values, err := t.b.o.Store.Get(ctx, ask...)
		if err != nil {
			return nil, err
		}
		for j, v := range values {
			known[asked[j]] = string(v)
		}
	}
	for _, id := range known {
		if id != "" {
			c.ID = id
			break
		}
	}
	if c.ID == "" {
		c.ID = newContactID(t.ID, ids[0])
	}
	var puts []store.Put
	for i, k := range ids {
		if known[i] != c.ID {
			puts = append(puts, store.Put{Key: aliasKey(t.ID, k), Value: []byte(c.ID)})
		}
		a.put(k, c.ID)
	}
	return puts, nil
}

var contactEncoding = base32.NewEncoding("abcdefghijkmnpqrstuvwxyz23456789").WithPadding(base32.NoPadding)

func newContactID(tenant string, a core.Address) string {
	sum := sha256.Sum256([]byte(tenant + "\x00" + a.String()))
	return "c" + contactEncoding.EncodeToString(sum[:10])
}

func aliasKey(tenant string, a core.Address) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketAlias, Key: a.String()}
}

// A contact and its conversations are neighbours in one bucket, so that the
// page that holds one holds the other.
func contactKey(tenant, contact string) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketPeople, Key: contact}
}

func conversationKey(tenant, contact, number string) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketPeople, Key: contact + "/" + number}
}

// person is a contact as it is stored: what everybody may know of it, and what
// the bridge keeps beside that.
type person struct {
	core.Contact
	// Identities are the addresses that the person was met by.
	Identities []identity `json:"identities,omitempty"`
	// MergedInto is the contact that this one was found to be; empty for one
	// that stands for itself.
	MergedInto string `json:"merged_into,omitempty"`
	// Consent is what the ledger's entries add up to, and why nothing may be sent.
	Consent consent.Summary `json:"consent,omitzero"`
	// Replies are the times of the latest automatic replies, from all numbers, the
	// oldest first.
	Replies []time.Time `json:"replies,omitempty"`
}

// identity is an address of a person, and how the bridge came to know it.
type identity struct {
	Address core.Address `json:"address"`
	Source  string       `json:"source"`
	First   time.Time    `json:"first"`
	Last    time.Time    `json:"last"`
}

// conversation is the state of one number × one contact.
type conversation struct {
	Started time.Time `json:"started"`
	LastIn  time.Time `json:"last_in,omitzero"`
	LastOut time.Time `json:"last_out,omitzero"`
	In      int       `json:"in"`
	Out     int       `json:"out"`
	// HumanUntil is when the bot may speak again; zero when it may.
	HumanUntil time.Time `json:"human_until,omitzero"`
	// LastReply is when the bot last answered, Answered which of its replies the
	// latest of the Exchanges came after: see consent.Loop.
	LastReply time.Time          `json:"last_reply,omitzero"`
	Answered  time.Time          `json:"answered,omitzero"`
	Exchanges []consent.Exchange `json:"exchanges,omitempty"`
	// Unattended counts the messages since a person last wrote.
	Unattended int `json:"unattended,omitempty"`
	// Timers are what the conversation waits for, by name; LastTimer is the
	// generation given out last.
	Timers    map[string]timer `json:"timers,omitempty"`
	LastTimer int              `json:"last_timer,omitempty"`
}

func (c *conversation) human(now time.Time) bool { return now.Before(c.HumanUntil) }

// repliesSince counts automatic replies after t, and forgets older ones.
func (p *person) repliesSince(t time.Time) int {
	i := sort.Search(len(p.Replies), func(i int) bool { return p.Replies[i].After(t) })
	p.Replies = p.Replies[i:]
	return len(p.Replies)
}

// window is how long after the person's last message free text may be sent.
const window = 24 * time.Hour

// learn takes over what an event says about its contact, and reports whether
// the record changed.
func learn(have *core.Contact, e *core.Contact) bool {
	changed := false
	set := func(dst *string, v string) {
		if v != "" && v != *dst {
			*dst, changed = v, true
		}
	}
	set(&have.ID, e.ID)
	set(&have.Name, e.Name)
	set(&have.Username, e.Username)
	set(&have.Phone, e.Phone)
	set(&have.BSUID, e.BSUID)
	set(&have.ParentBSUID, e.ParentBSUID)
	return changed
}

func addTag(c *core.Contact, tag string) bool {
	i := sort.SearchStrings(c.Tags, tag)
	if i < len(c.Tags) && c.Tags[i] == tag {
		return false
	}
	tags := make([]string, 0, len(c.Tags)+1)
	tags = append(append(append(tags, c.Tags[:i]...), tag), c.Tags[i:]...)
	c.Tags = tags
	return true
}

func removeTag(c *core.Contact, tag string) bool {
	i := sort.SearchStrings(c.Tags, tag)
	if i == len(c.Tags) || c.Tags[i] != tag {
		return false
	}
	c.Tags = append(append(make([]string, 0, len(c.Tags)), c.Tags[:i]...), c.Tags[i+1:]...)
	return true
}

func setField(c *core.Contact, name, value string) bool {
	if c.Fields[name] == value {
		return false
	}
	fields := make(map[string]string, len(c.Fields)+1)
	maps.Copy(fields, c.Fields)
	if fields[name] = value; value == "" {
		delete(fields, name)
	}
	c.Fields = fields
	return true
}

func decode[T any](data []byte) (*T, bool) {
	v := new(T)
	if data == nil {
		return v, false
	}
	if json.Unmarshal(data, v) != nil {
		return new(T), false
	}
	return v, true
}
