package broker

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/store"
)

// holding is everything that the bridge has of one person, but for the history,
// which may be long: see eachRecord. It is what is exported, and what is erased.
type holding struct {
	// ids are the contact and all that were merged into it, the contact first.
	ids           []string
	people        []store.Entry
	conversations []store.Entry
	merges        []store.Entry
	open, closed  []store.Entry // escalations
	details       []store.Entry // of entries in the consent ledgers
	rows          []store.Entry // of campaigns
	items         []store.Delivery
	dead          []store.DeadLetter
	media         []MediaFile
}

// Held counts what the bridge has of one person.
type Held struct {
	Contacts      int `json:"contacts"` // those merged into one included
	Identities    int `json:"identities"`
	Conversations int `json:"conversations"`
	Merges        int `json:"merges,omitempty"`
	Escalations   int `json:"escalations,omitempty"`
	Consents      int `json:"consents,omitempty"` // entries' details; the entries name nobody
	Rows          int `json:"rows,omitempty"`     // of campaigns
	Media         int `json:"media,omitempty"`    // messages' files
	Waiting       int `json:"waiting,omitempty"`  // events in queues
	DeadLetters   int `json:"dead_letters,omitempty"`
	Records       int `json:"records"` // of the history
}

// eachEntry calls f for all entries of a bucket whose keys are after one.
func eachEntry(ctx context.Context, s store.Store, tenant, bucket, after string, f func(store.Entry) (more bool)) error {
	const page = 500
	for {
		entries, err := s.Range(ctx, tenant, bucket, after, page)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !f(e) {
				return nil
			}
		}
		if len(entries) < page {
			return nil
		}
		after = entries[len(entries)-1].Key
	}
}

// eachOf calls f for the entries below a contact's key, such as its conversations.
func eachOf(ctx context.Context, s store.Store, tenant, bucket, contact string, f func(store.Entry)) error {
	return eachEntry(ctx, s, tenant, bucket, contact+"/", func(e store.Entry) bool {
		if !strings.HasPrefix(e.Key, contact+"/") {
			return false
		}
		f(e)
		return true
	})
}

// hold finds what there is of a contact.
func hold(ctx context.Context, s store.Store, tenant, id string) (*holding, error) {
	h := &holding{ids: []string{id}}
	into := map[string][]string{}
	merges := map[string]store.Entry{}
	err := eachEntry(ctx, s, tenant, bucketMerges, "", func(e store.Entry) bool {
		m, _ := decode[struct {
			Survivor string `json:"survivor"`
		}](e.Value)
		into[m.Survivor], merges[e.Key] = append(into[m.Survivor], e.Key), e
		return true
	})
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(h.ids); i++ {
		for _, gone := range into[h.ids[i]] {
			if !slices.Contains(h.ids, gone) {
				h.ids, h.merges = append(h.ids, gone), append(h.merges, merges[gone])
			}
		}
	}
	for _, id := range h.ids {
		v, err := s.Get(ctx, contactKey(tenant, id))
		if err != nil {
			return nil, err
		}
		if v[0] != nil {
			h.people = append(h.people, store.Entry{Key: id, Value: v[0]})
		}
		err = eachOf(ctx, s, tenant, bucketPeople, id, func(e store.Entry) { h.conversations = append(h.conversations, e) })
		if err == nil {
			err = eachOf(ctx, s, tenant, bucketConsent, id, func(e store.Entry) { h.details = append(h.details, e) })
		}
		if err == nil {
			err = h.campaigns(ctx, s, tenant, id)
		}
		if err != nil {
			return nil, err
		}
	}
	for bucket, list := range map[string]*[]store.Entry{bucketEscalations: &h.open, bucketClosed: &h.closed} {
		err := eachEntry(ctx, s, tenant, bucket, "", func(e store.Entry) bool {
			if esc, ok := decode[Escalation](e.Value); ok && slices.Contains(h.ids, esc.ContactID) {
				*list = append(*list, e)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	if h.media, err = mediaOfContacts(ctx, s, tenant, h.ids); err != nil {
		return nil, err
	}
	return h, h.underWay(ctx, s, tenant)
}

// campaigns finds a contact's rows of campaigns.
func (h *holding) campaigns(ctx context.Context, s store.Store, tenant, id string) error {
	var keys []store.Key
	err := eachOf(ctx, s, tenant, bucketRowOf, id, func(e store.Entry) {
		name, n := namedRow(id, e)
		keys = append(keys, rowKey(tenant, name, n))
	})
	if err != nil || len(keys) == 0 {
		return err
	}
	values, err := s.Get(ctx, keys...)
	for i, v := range values {
		if v != nil {
			h.rows = append(h.rows, store.Entry{Key: keys[i].Key, Value: v})
		}
	}
	return err
}

// underWay finds what is in queues and what was given up on.
func (h *holding) underWay(ctx context.Context, s store.Store, tenant string) error {
	const page = 500
	h.items, h.dead = nil, nil
	for _, q := range s.Stats().Queues {
		if q.Queue.Tenant != tenant || q.Depth == 0 {
			continue
		}
		for after := uint64(0); ; {
			ds, err := s.Peek(ctx, q.Queue, after, page)
			if err != nil {
				return err
			}
			for _, d := range ds {
				if h.owns(d.Data) {
					h.items = append(h.items, d)
				}
				after = d.Seq
			}
			if len(ds) < page {
				break
			}
		}
	}
	for after := ""; ; {
		dead, err := s.Dead(ctx, tenant, after, page)
		if err != nil {
			return err
		}
		for _, d := range dead {
			if after = d.ID; h.owns(d.Data) {
				h.dead = append(h.dead, d)
			}
		}
		if len(dead) < page {
			return nil
		}
	}
}

// owns reports whether an event, as stored, is about the person. Erasures are not
// theirs any more.
func (h *holding) owns(data []byte) bool {
	if !slices.ContainsFunc(h.ids, func(id string) bool { return bytes.Contains(data, []byte(id)) }) {
		return false
	}
	e := eventOf(store.Delivery{Data: data})
	if e.Kind == core.KindContactErased {
		return false
	}
	_, in, _ := strings.Cut(e.Conversation, ":")
	return e.Contact != nil && slices.Contains(h.ids, e.Contact.ID) || in != "" && slices.Contains(h.ids, in)
}

// identities are all that the person is, or was before a merge, known by.
func (h *holding) identities() []identity {
	var out []identity
	add := func(p *person) {
		if p == nil {
			return
		}
		for _, i := range p.Identities {
			if !slices.ContainsFunc(out, func(o identity) bool { return o.Key == i.Key }) {
				out = append(out, i)
			}
		}
	}
	for _, e := range h.people {
		add(personOf(e.Value))
	}
	for _, e := range h.merges {
		if m, ok := decode[merged](e.Value); ok {
			add(m.Was.Survivor.Person)
			add(m.Was.ID.Person)
		}
	}
	return out
}

func (h *holding) counts() Held {
	return Held{
		Contacts: len(h.ids), Identities: len(h.identities()), Conversations: len(h.conversations), Merges: len(h.merges),
		Escalations: len(h.open) + len(h.closed), Consents: len(h.details), Rows: len(h.rows), Media: len(h.media), Waiting: len(h.items), DeadLetters: len(h.dead),
	}
}

// eachRecord calls f for each page of the history about contacts; a record about
// two of them comes twice.
func eachRecord(ctx context.Context, s store.Store, tenant string, ids []string, f func([]store.Record) error) error {
	const page = 200
	for _, id := range ids {
		for q := (store.HistoryQuery{Tenant: tenant, ID: id, Limit: page}); ; {
			recs, next, err := s.History(ctx, q)
			if err != nil {
				return err
			}
			if len(recs) == 0 {
				break
			}
			if err := f(recs); err != nil {
				return err
			}
			q.After = next
		}
	}
	return nil
}

// mine are the keys that still lead to the person, in every way to write them: a
// number that has a new owner is not theirs any more.
func (h *holding) mine(ctx context.Context, s store.Store, tenant string) (keys []contact.Key, aliases []store.Key, err error) {
	for _, i := range h.identities() {
		ways := waysOf(i.Key)
		if own := i.Key.String(); !slices.Contains(ways, own) {
			ways = append(ways, own)
		}
		theirs := false
		for _, way := range ways {
			k := aliasKey(tenant, way)
			v, err := s.Get(ctx, k)
			if err != nil {
				return nil, nil, err
			}
			if v[0] != nil && slices.Contains(h.ids, string(v[0])) {
				aliases, theirs = append(aliases, k), true
			}
		}
		if theirs {
			keys = append(keys, i.Key)
		}
	}
	return keys, aliases, nil
}
