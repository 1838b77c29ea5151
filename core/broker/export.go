package broker

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/roster"
	"github.com/wabridge/wabridge/core/store"
)

// ContactExport is all that is held of one person.
type ContactExport struct {
	Tenant   string    `json:"tenant"`
	Exported time.Time `json:"exported"`
	// Contact is the person; Contacts are the stored records, those that were merged
	// into one included.
	Contact       ContactView       `json:"contact"`
	Contacts      []json.RawMessage `json:"contacts"`
	Conversations []ExportedEntry   `json:"conversations"`
	Merges        []json.RawMessage `json:"merges"`
	Escalations   []json.RawMessage `json:"escalations"`
	// Rows are those of campaigns.
	Rows []ExportedEntry `json:"campaign_rows"`
	// Consent are the entries about the person in the ledgers.
	Consent     []ProofEntry    `json:"consent"`
	Messages    []ExportedEvent `json:"messages"`
	Waiting     []ExportedEvent `json:"waiting"`
	DeadLetters []DeadLetter    `json:"dead_letters"`
	// Media are the files that came with messages: GET /media fetches one by its message.
	Media []MediaFile `json:"media"`
	// Records are what CRMs hold, as they call it.
	Records []CRMRecord `json:"crm_records"`
	// History is every step, with the decisions that were recorded.
	History []json.RawMessage `json:"history"`
	// Truncated says that there is more history than is shown.
	Truncated bool `json:"truncated,omitempty"`
}

// ExportedEntry is a stored value with its key.
type ExportedEntry struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// ExportedEvent is an event, and where it is.
type ExportedEvent struct {
	ID    string          `json:"id"`
	Queue string          `json:"queue,omitempty"`
	Time  time.Time       `json:"time"`
	Event json.RawMessage `json:"event,omitempty"`
	// Ref is WhatsApp's id of a message that was sent. Its text is not kept.
	Ref string `json:"ref,omitempty"`
}

// CRMRecord is what a CRM made of the person's events.
type CRMRecord struct {
	Lane  string    `json:"lane"`
	Ref   string    `json:"ref"`
	Event string    `json:"event"` // the first
	Kind  core.Kind `json:"kind"`
	Time  time.Time `json:"time"`
}

// maxExported bounds the history of one export.
const maxExported = 50_000

// ExportContact returns all that is held of a person.
func (b *Broker) ExportContact(ctx context.Context, tenant, who string) (ContactExport, error) {
	t := b.tenants[tenant]
	if t == nil {
		return ContactExport{}, noTenant("export", tenant)
	}
	return ExportOf(ctx, b.o.Store, b.o.OpaqueKey, tenant, who, t.Region)
}

// ExportOf exports from the store alone. key is Options.OpaqueKey.
func ExportOf(ctx context.Context, s store.Store, key []byte, tenant, who, region string) (ContactExport, error) {
	p, _, err := whom(ctx, s, tenant, who, region)
	if err != nil {
		return ContactExport{}, err
	}
	out := ContactExport{
		Tenant: tenant, Exported: time.Now().UTC(), Contacts: []json.RawMessage{}, Conversations: []ExportedEntry{}, Merges: []json.RawMessage{},
		Escalations: []json.RawMessage{}, Rows: []ExportedEntry{}, Messages: []ExportedEvent{}, Waiting: []ExportedEvent{}, DeadLetters: []DeadLetter{},
		Records: []CRMRecord{}, History: []json.RawMessage{},
	}
	if out.Contact, err = ContactOf(ctx, s, tenant, p.ID, region); err != nil {
		return out, err
	}
	h, err := hold(ctx, s, tenant, p.ID)
	if err != nil {
		return out, err
	}
	for _, e := range h.people {
		out.Contacts = append(out.Contacts, e.Value)
	}
	for _, e := range h.conversations {
		out.Conversations = append(out.Conversations, ExportedEntry{e.Key, e.Value})
	}
	for _, e := range h.merges {
		out.Merges = append(out.Merges, e.Value)
	}
	for _, e := range slices.Concat(h.open, h.closed) {
		out.Escalations = append(out.Escalations, e.Value)
	}
	for _, e := range h.rows {
		out.Rows = append(out.Rows, ExportedEntry{e.Key, e.Value})
	}
	for _, d := range h.items {
		out.Waiting = append(out.Waiting, ExportedEvent{ID: d.ID, Queue: d.Queue.Name, Time: d.Added, Event: d.Data})
	}
	out.Media = h.media
	for _, d := range h.dead {
		out.DeadLetters = append(out.DeadLetters, deadLetter(d))
	}
	proof, err := ConsentProofOf(ctx, s, key, tenant, p.ID)
	if err != nil {
		return out, err
	}
	out.Consent = proof.Entries
	return out, out.past(ctx, s, h)
}

// past adds the history.
func (x *ContactExport) past(ctx context.Context, s store.Store, h *holding) error {
	seen, refs := map[string]bool{}, map[string]bool{}
	err := eachRecord(ctx, s, x.Tenant, h.ids, func(recs []store.Record) error {
		for _, r := range recs {
			var step Step
			if seen[string(r.Data)] || json.Unmarshal(r.Data, &step) != nil {
				continue
			}
			if len(x.History) >= maxExported {
				x.Truncated = true
				return nil
			}
			if len(h.ids) > 1 { // a record about two of them comes twice
				seen[string(r.Data)] = true
			}
			x.History = append(x.History, r.Data)
			switch {
			case step.Recorded != nil && step.Kind == core.KindMessageReceived:
				x.Messages = append(x.Messages, ExportedEvent{ID: step.Event, Time: step.Time, Event: step.Recorded.Event})
			case step.Kind == core.KindMessageSend && step.Ref != "":
				x.Messages = append(x.Messages, ExportedEvent{ID: step.Event, Time: step.Time, Ref: step.Ref})
			}
			if k := step.Lane + "\x00" + step.Ref; strings.HasPrefix(step.Lane, "crm/") && step.Ref != "" && !refs[k] {
				refs[k] = true
				x.Records = append(x.Records, CRMRecord{Lane: step.Lane, Ref: step.Ref, Event: step.Event, Kind: step.Kind, Time: step.Time})
			}
		}
		return nil
	})
	slices.SortStableFunc(x.Messages, func(a, b ExportedEvent) int { return a.Time.Compare(b.Time) })
	return err
}

// ContactRecord is a contact as lists have it.
type ContactRecord struct {
	core.Contact
	// Phones are all the person's numbers, the one that is written to first.
	Phones []string `json:"phones,omitempty"`
	// Consent is where marketing stands, nil when it was never spoken of.
	Consent *roster.Consent `json:"consent,omitempty"`
	// Suppressed are the reasons for which nothing may be sent.
	Suppressed []string `json:"suppressed,omitempty"`
	// Undeliverable is when WhatsApp last said that the number cannot get messages.
	Undeliverable time.Time `json:"undeliverable,omitzero"`
}

// ContactRecords is a page of them, in the order of their IDs.
type ContactRecords struct {
	Contacts []ContactRecord `json:"contacts"`
	Next     string          `json:"next,omitempty"` // where to go on; "" at the end
}

// ContactRecords returns a page of a tenant's contacts.
func (b *Broker) ContactRecords(ctx context.Context, tenant, after string, limit int) (ContactRecords, error) {
	if b.tenants[tenant] == nil {
		return ContactRecords{}, noTenant("contacts", tenant)
	}
	return RecordsOf(ctx, b.o.Store, tenant, after, limit)
}

// RecordsOf reads them from the store alone.
func RecordsOf(ctx context.Context, s store.Store, tenant, after string, limit int) (ContactRecords, error) {
	out := ContactRecords{Contacts: []ContactRecord{}}
	var people []*person
	err := eachEntry(ctx, s, tenant, bucketPeople, after, func(e store.Entry) bool {
		if strings.Contains(e.Key, "/") {
			return true // a conversation
		}
		if len(people) == limit {
			out.Next = people[limit-1].ID
			return false
		}
		if p := personOf(e.Value); p.MergedInto == "" {
			p.ID = e.Key
			people = append(people, p)
		}
		return true
	})
	if err != nil {
		return out, err
	}
	for _, p := range people {
		r := ContactRecord{Contact: p.Contact, Undeliverable: p.Undeliverable}
		for _, i := range p.Identities {
			if i.Key.IsPhone() && i.Value == p.Phone {
				r.Phones = slices.Insert(r.Phones, 0, i.Value)
			} else if i.Key.IsPhone() {
				r.Phones = append(r.Phones, i.Value)
			}
		}
		for _, sup := range p.Consent.Live() {
			r.Suppressed = append(r.Suppressed, string(sup.Reason))
		}
		if r.Consent, err = consentRecord(ctx, s, tenant, p); err != nil {
			return out, err
		}
		out.Contacts = append(out.Contacts, r)
	}
	return out, nil
}

// consentRecord is what a list says of a person's consent, with what shows it.
func consentRecord(ctx context.Context, s store.Store, tenant string, p *person) (*roster.Consent, error) {
	state := p.Consent.State(consent.Marketing)
	if state != consent.Granted && state != consent.Withdrawn {
		return nil, nil
	}
	st := p.Consent.Levels[consent.Marketing]
	c := &roster.Consent{State: string(state), Source: string(st.Source), At: st.Since}
	values, err := s.Get(ctx, detailsKey(tenant, p.ID, or(st.Entry, "-")))
	if err != nil {
		return nil, err
	}
	if d, ok := decode[consent.Details](values[0]); ok {
		c.Evidence = d.Evidence
	}
	return c, nil
}
