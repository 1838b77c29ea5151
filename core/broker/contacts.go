package broker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/mapping"
	"github.com/wabridge/wabridge/core/store"
)

// ContactQuery asks for contacts, a page at a time. With neither Text nor Tag it
// asks for all of them.
type ContactQuery struct {
	Tenant string
	// Text is a phone number in any spelling, a user id, a contact's ID, a CRM's
	// record or a message's id; or a part of a name or username.
	Text string
	// Tag is one that the contacts have.
	Tag string
	// After is where to go on: "", or a page's Next.
	After string
	Limit int
	// Region is the country of numbers written without their country's code. A
	// Broker knows its tenants'.
	Region string
}

// ContactPage is a page of contacts, in the order of their IDs.
type ContactPage struct {
	Contacts []FoundContact `json:"contacts"`
	// Next is set when there may be more, even if the page has none.
	Next string `json:"next,omitempty"`
}

// FoundContact is a contact, and by what it was found.
type FoundContact struct {
	Tenant string `json:"tenant"`
	By     string `json:"by,omitempty"`
	core.Contact
}

// ContactView is all that the bridge knows of a contact.
type ContactView struct {
	Tenant string `json:"tenant"`
	core.Contact
	// NamedBy says from where the business has the name: a list's file, a CRM's lane, "script". Without,
	// it is what the person calls themselves on WhatsApp; else that is Profile.
	NamedBy string `json:"named_by,omitempty"`
	Profile string `json:"profile,omitempty"`
	// Since is when the bridge came to know the person.
	Since      time.Time  `json:"since,omitzero"`
	Identities []Identity `json:"identities"`
	// MergedInto is the contact that this one was found to be.
	MergedInto string `json:"merged_into,omitempty"`
	// Merges are those that made the contact what it is, and of one that was
	// merged, its own.
	Merges []Merge `json:"merges,omitempty"`
	// Apart are contacts that a person said this one is not.
	Apart         []string           `json:"apart,omitempty"`
	Consent       ConsentStatus      `json:"consent"`
	Conversations []ConversationView `json:"conversations"`
	// Set says when fields were last set, and by whom; Agreed, by lane and property,
	// what the bridge and the CRM both had last.
	Set    map[string]mapping.Mark              `json:"set,omitempty"`
	Agreed map[string]map[string]mapping.Agreed `json:"agreed,omitempty"`
}

// Identity is one way in which a person is known.
type Identity struct {
	Kind string `json:"kind"` // "phone", "bsuid", "parent_bsuid", "username", or "record" of a CRM
	// Value is how it is written to, Raw how it was given where that differs.
	Value string `json:"value"`
	Raw   string `json:"raw,omitempty"`
	// Source is where the bridge has it from: of a record, the lane.
	Source string    `json:"source,omitempty"`
	First  time.Time `json:"first,omitzero"`
	Last   time.Time `json:"last,omitzero"`
}

// Merge says that a contact was found to be another.
type Merge struct {
	ID       string    `json:"id"` // the contact that went
	Survivor string    `json:"survivor"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Event    string    `json:"event,omitempty"` // that showed it
	Reason   string    `json:"reason,omitempty"`
}

// ConversationView is what a contact and a number have said to each other.
type ConversationView struct {
	ID         string    `json:"id"`
	Number     string    `json:"number"`
	Started    time.Time `json:"started,omitzero"`
	LastIn     time.Time `json:"last_in,omitzero"`
	LastOut    time.Time `json:"last_out,omitzero"`
	In         int       `json:"in"`
	Out        int       `json:"out"`
	Language   string    `json:"language,omitempty"`
	HumanUntil time.Time `json:"human_until,omitzero"`
	Escalation string    `json:"escalation,omitempty"`
	// Reason is why, and Assignee who has it.
	Reason   string   `json:"reason,omitempty"`
	Assignee string   `json:"assignee,omitempty"`
	Timers   []string `json:"timers,omitempty"`
}

// FindContacts returns a page of contacts. What names one exactly, a number say,
// finds that one alone.
func (b *Broker) FindContacts(ctx context.Context, q ContactQuery) (ContactPage, error) {
	t := b.tenants[q.Tenant]
	if t == nil {
		return ContactPage{}, noTenant("contacts", q.Tenant)
	}
	q.Region = t.Region
	return FindContacts(ctx, b.o.Store, q)
}

// Contact returns a contact by its ID, or by a phone number or user id. One that
// was merged is returned by its ID alone.
func (b *Broker) Contact(ctx context.Context, tenant, who string) (ContactView, error) {
	t := b.tenants[tenant]
	if t == nil {
		return ContactView{}, noTenant("contact", tenant)
	}
	return ContactOf(ctx, b.o.Store, tenant, who, t.Region)
}

const (
	maxFound   = 500    // contacts of a page
	maxScanned = 20_000 // stored values looked at for one
	maxMerges  = 100    // shown of one contact
)

// FindContacts finds them in the store alone: for a bridge that does not run.
func FindContacts(ctx context.Context, s store.Store, q ContactQuery) (ContactPage, error) {
	q.Text = strings.TrimSpace(q.Text)
	if q.Limit < 1 || q.Limit > maxFound {
		q.Limit = maxFound
	}
	out := ContactPage{Contacts: []FoundContact{}}
	if q.Text != "" && q.After == "" {
		found, by, err := named(ctx, s, q)
		if err != nil {
			return out, err
		}
		for _, p := range found {
			if q.Tag == "" || slices.Contains(p.Tags, q.Tag) {
				out.Contacts = append(out.Contacts, FoundContact{Tenant: q.Tenant, By: by, Contact: p.Contact})
			}
		}
		if len(found) > 0 {
			return out, nil
		}
	}
	text := strings.ToLower(strings.TrimPrefix(q.Text, "@"))
	after := q.After
	for scanned := 0; scanned < maxScanned; {
		const page = 500
		entries, err := s.Range(ctx, q.Tenant, bucketPeople, after, page)
		if err != nil {
			return out, err
		}
		for _, e := range entries {
			after = e.Key
			if strings.Contains(e.Key, "/") {
				continue // a conversation
			}
			p := personOf(e.Value)
			by, ok := p.matches(text, q.Tag)
			if !ok {
				continue
			}
			out.Contacts = append(out.Contacts, FoundContact{Tenant: q.Tenant, By: by, Contact: p.Contact})
			if len(out.Contacts) == q.Limit {
				out.Next = after
				return out, nil
			}
		}
		if scanned += len(entries); len(entries) < page {
			return out, nil
		}
	}
	out.Next = after
	return out, nil
}

// matches reports whether a contact that stands for itself has a tag, and the
// text in its names; and which.
func (p *person) matches(text, tag string) (by string, ok bool) {
	switch {
	case p.MergedInto != "" || tag != "" && !slices.Contains(p.Tags, tag):
		return "", false
	case text == "" && tag == "":
		return "", true
	case text == "":
		return "tag", true
	case strings.ToLower(p.Username) == text:
		return "username", true
	case strings.Contains(strings.ToLower(p.Name), text), strings.Contains(strings.ToLower(p.Profile), text):
		return "name", true
	case strings.Contains(strings.ToLower(p.Username), text):
		return "username", true
	}
	return "", false
}

// named returns the contacts that a text names exactly, and as what.
func named(ctx context.Context, s store.Store, q ContactQuery) ([]*person, string, error) {
	p, by, err := whom(ctx, s, q.Tenant, q.Text, q.Region)
	if err == nil || !errors.Is(err, store.ErrNotFound) {
		return []*person{p}, by, err
	}
	if strings.ContainsAny(q.Text, " \t@") || len(q.Text) < 3 {
		return nil, "", nil
	}
	recs, err := s.Find(ctx, q.Tenant, q.Text)
	if err != nil {
		return nil, "", err
	}
	var ids []string
	for _, r := range recs {
		for _, id := range r.IDs {
			if isContactID(id) && !slices.Contains(ids, id) && len(ids) < maxFound {
				ids = append(ids, id)
			}
		}
	}
	var found []*person
	for _, id := range ids {
		id, err := contactIDOf(ctx, s, q.Tenant, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		if slices.ContainsFunc(found, func(p *person) bool { return p.ID == id }) {
			continue
		}
		p, err := personAt(ctx, s, q.Tenant, id)
		if err != nil {
			return nil, "", err
		}
		found = append(found, p)
	}
	slices.SortFunc(found, func(a, b *person) int { return strings.Compare(a.ID, b.ID) })
	return found, "record", nil
}

// isContactID reports whether a text has the form of contactID.
func isContactID(id string) bool {
	return len(id) == 17 && id[0] == 'c' && strings.Trim(id[1:], contactLetters) == ""
}

// whom returns the contact that a text is the ID, a phone number or a user id
// of, and as what. There being none is ErrNotFound.
func whom(ctx context.Context, s store.Store, tenant, text, region string) (*person, string, error) {
	by := "id"
	if a, err := core.ParseAddress(text); err == nil && a.Kind == core.AddressBSUID {
		by = "bsuid"
	} else if n, err := contact.ParsePhone(text, region); err == nil {
		text, by = n.Address().String(), "phone"
	}
	id, err := contactIDOf(ctx, s, tenant, text)
	if err != nil {
		return nil, "", err
	}
	p, err := personAt(ctx, s, tenant, id)
	return p, by, err
}

// personAt reads a contact that exists.
func personAt(ctx context.Context, s store.Store, tenant, id string) (*person, error) {
	v, err := s.Get(ctx, contactKey(tenant, id))
	if err != nil {
		return nil, err
	}
	if v[0] == nil || strings.Contains(id, "/") {
		return nil, core.Errorf(core.CodeInvalid, "contact", "no contact %q: %w", core.MaskAddress(id), store.ErrNotFound)
	}
	return personOf(v[0]), nil
}

// theContact returns the contact that an ID names, even one that was merged, or to
// which a phone number or user id leads.
func theContact(ctx context.Context, s store.Store, tenant, who, region string) (*person, error) {
	p, err := personAt(ctx, s, tenant, who)
	if errors.Is(err, store.ErrNotFound) {
		p, _, err = whom(ctx, s, tenant, who, region)
	}
	return p, err
}

// ContactOf returns a contact from the store alone.
func ContactOf(ctx context.Context, s store.Store, tenant, who, region string) (ContactView, error) {
	p, err := theContact(ctx, s, tenant, who, region)
	if err != nil {
		return ContactView{}, err
	}
	v := ContactView{
		Tenant: tenant, Contact: p.Contact, NamedBy: p.NamedBy, Profile: p.Profile, Since: p.since(), Identities: p.identities(), MergedInto: p.MergedInto, Apart: p.Apart,
		Consent: consentStatus(tenant, p), Conversations: []ConversationView{}, Set: p.Set, Agreed: p.Agreed,
	}
	if v.Merges, err = mergesOf(ctx, s, tenant, p.ID); err != nil {
		return v, err
	}
	records, err := recordsOf(ctx, s, tenant, p.ID)
	if err != nil {
		return v, err
	}
	v.Identities = append(v.Identities, records...)
	talks, err := conversationsOf(ctx, s, tenant, p.ID)
	if err != nil {
		return v, err
	}
	for n, c := range talks {
		v.Conversations = append(v.Conversations, c.view(n, p.ID))
	}
	slices.SortFunc(v.Conversations, func(a, b ConversationView) int { return strings.Compare(a.Number, b.Number) })
	return v, nil
}

func (p *person) identities() []Identity {
	out := []Identity{}
	for _, i := range p.Identities {
		kind := [...]string{"bsuid", "parent_bsuid", "phone"}[rank(i.Key)]
		out = append(out, Identity{Kind: kind, Value: i.Value, Raw: i.Raw, Source: i.Source, First: i.First, Last: i.Last})
	}
	if p.Username != "" {
		out = append(out, Identity{Kind: "username", Value: p.Username, Source: sourceWhatsApp})
	}
	return out
}

// recordsOf returns what CRMs call a contact, as far as the history knows: it is
// what they answered to an event about the contact alone.
func recordsOf(ctx context.Context, s store.Store, tenant, id string) ([]Identity, error) {
	const pages, page = 8, 500
	var out []Identity
	q := store.HistoryQuery{Tenant: tenant, ID: id, Limit: page}
	for range pages {
		recs, next, err := s.History(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range recs {
			step, _ := decode[Step](r.Data)
			about := step.Kind == core.KindContactChanged || step.Kind == core.KindConsentChanged
			if !about || step.Ref == "" || step.Error != nil || !strings.HasPrefix(step.Lane, "crm/") {
				continue
			}
			i := slices.IndexFunc(out, func(i Identity) bool { return i.Value == step.Ref && i.Source == step.Lane })
			if i < 0 {
				i, out = len(out), append(out, Identity{Kind: "record", Value: step.Ref, Source: step.Lane, First: step.Time})
			}
			out[i].Last = step.Time
		}
		if len(recs) == 0 || len(out) >= maxFound {
			break
		}
		q.After = next
	}
	return out, nil
}

func (c *conversation) view(number, contact string) ConversationView {
	v := ConversationView{
		ID: core.ConversationID(number, contact), Number: number, Started: c.Started, LastIn: c.LastIn, LastOut: c.LastOut,
		In: c.In, Out: c.Out, Language: c.Language, HumanUntil: c.HumanUntil,
	}
	if e := c.Escalation; e != nil {
		v.Escalation, v.Reason, v.Assignee = e.ID, e.Reason, whoHas(e)
	}
	for name := range c.Timers {
		v.Timers = append(v.Timers, name)
	}
	slices.Sort(v.Timers)
	return v
}

// mergesOf returns the merges into a contact, and its own, the latest first.
func mergesOf(ctx context.Context, s store.Store, tenant, id string) ([]Merge, error) {
	all, err := mergesInto(ctx, s, tenant, id)
	if err != nil {
		return nil, err
	}
	var out []Merge
	for _, m := range all {
		out = append(out, Merge{ID: m.ID, Survivor: m.Survivor, At: m.At, By: m.By, Event: m.Cause, Reason: m.Why})
	}
	slices.SortStableFunc(out, func(a, b Merge) int { return b.At.Compare(a.At) })
	return out[:min(len(out), maxMerges)], nil
}

// mergesInto returns the merges into a contact, and its own.
func mergesInto(ctx context.Context, s store.Store, tenant, id string) ([]*merged, error) {
	var out []*merged
	for after := ""; ; {
		const page = 200
		entries, err := s.Range(ctx, tenant, bucketMerges, after, page)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			after = e.Key
			if m, ok := decode[merged](e.Value); ok && (m.Survivor == id || m.ID == id) {
				out = append(out, m)
			}
		}
		if len(entries) < page {
			return out, nil
		}
	}
}
