package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sort"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/mapping"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store"
)

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
	// NamedBy says from where the business has Contact.Name: a list's file, a CRM's lane, "script".
	// Empty where it is what the person calls themselves; then Profile, which is that, is, too.
	NamedBy string `json:"named_by,omitempty"`
	Profile string `json:"profile,omitempty"`
	// Identities are what the person is known by, sorted by key. No two contacts
	// share one.
	Identities []identity `json:"identities,omitempty"`
	// MergedInto is the contact that this one was found to be; empty for one
	// that stands for itself.
	MergedInto string `json:"merged_into,omitempty"`
	// Apart are the contacts that a person said this one is not, whatever
	// webhooks suggest.
	Apart []string `json:"apart,omitempty"`
	// Consent is what the ledger's entries add up to, and why nothing may be sent.
	Consent consent.Summary `json:"consent,omitzero"`
	// Undeliverable is when WhatsApp last said that nothing can be delivered to the
	// person; zero since it could, or they wrote.
	Undeliverable time.Time `json:"undeliverable,omitzero"`
	// AtCRM are properties that were changed at a CRM, by name.
	AtCRM map[string]crmChange `json:"at_crm,omitempty"`
	// Set says when each of the contact's fields was last set, and by whom; Agreed,
	// by lane and property, what the bridge and the CRM both had last. Both are kept
	// for tenants with a mapping.
	Set    map[string]mapping.Mark              `json:"set,omitempty"`
	Agreed map[string]map[string]mapping.Agreed `json:"agreed,omitempty"`
	// Question is when the person was last asked whether they agree to marketing.
	Question time.Time `json:"question,omitzero"`
	// Replies are the times of the latest automatic replies, from all numbers, the
	// oldest first.
	Replies []time.Time `json:"replies,omitempty"`
}

// personOf reads a stored contact; the zero person when there is none.
func personOf(data []byte) *person {
	p, _ := decode[person](data)
	if len(p.Identities) == 0 && p.MergedInto == "" {
		// Written before identities were kept.
		c := claimOf(&core.Event{Contact: &p.Contact})
		for _, k := range c.keys {
			p.Identities = append(p.Identities, identity{Key: k, Value: c.value(k), Source: sourceWhatsApp})
		}
	}
	return p
}

// maxNumbers bounds the conversations of one contact that are looked at.
const maxNumbers = 1000

// conversationsOf returns the contact's conversations, by number.
func (t *tenant) conversationsOf(ctx context.Context, contact string) (map[string]*conversation, error) {
	return conversationsOf(ctx, t.b.o.Store, t.ID, contact)
}

func conversationsOf(ctx context.Context, s store.Store, tenant, contact string) (map[string]*conversation, error) {
	entries, err := s.Range(ctx, tenant, bucketPeople, contact+"/", maxNumbers)
	if err != nil {
		return nil, err
	}
	out := map[string]*conversation{}
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Key, contact+"/")
		if !ok {
			break
		}
		if c, ok := decode[conversation](e.Value); ok {
			out[number] = c
		}
	}
	return out, nil
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
	// Standby says that another app has the conversation, ThreadAt when it was last told
	// whose it is.
	Standby  bool      `json:"standby,omitempty"`
	ThreadAt time.Time `json:"thread_at,omitzero"`
	// Language is what the latest message was in whose language could be told.
	Language string `json:"language,omitempty"`
	// Unattended counts the messages since a person last wrote.
	Unattended int `json:"unattended,omitempty"`
	// Escalation is the open one.
	Escalation *Escalation `json:"escalation,omitempty"`
	// Timers are what the conversation waits for, by name; LastTimer is the
	// generation given out last.
	Timers    map[string]timer `json:"timers,omitempty"`
	LastTimer int              `json:"last_timer,omitempty"`
	// Rings is how often a script's timers rang since a person last wrote.
	Rings int `json:"rings,omitempty"`
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

// Bounds of what a contact carries: it goes along with each of its events.
const (
	maxContactTags   = 200
	maxContactFields = 200
	maxContactBytes  = 64 << 10 // names and values of the fields
)

// overfull says why a contact takes no further tag or field, or "".
func overfull(c *core.Contact, a *script.Action) string {
	switch a.Type {
	case script.ActionTag:
		if len(c.Tags) >= maxContactTags {
			return fmt.Sprintf("the contact has %d tags, as many as there may be", len(c.Tags))
		}
	case script.ActionSetField:
		return overfullField(c, a.Name, a.Value)
	}
	return ""
}

func overfullField(c *core.Contact, name, value string) string {
	if value == "" {
		return ""
	}
	now, known := c.Fields[name]
	if !known && len(c.Fields) >= maxContactFields {
		return fmt.Sprintf("the contact has %d fields, as many as there may be", len(c.Fields))
	}
	bytes := len(value) - len(now)
	for name, value := range c.Fields {
		bytes += len(name) + len(value)
	}
	if len(value) > len(now) && bytes > maxContactBytes {
		return fmt.Sprintf("the contact's fields would have %d bytes, at most %d are allowed", bytes, maxContactBytes)
	}
	return ""
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
