package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/roster"
	"github.com/wabridge/wabridge/core/store"
)

const (
	// MaxImport is how many people of a list are taken at once: one settlement.
	MaxImport = 500
	// importBacklog is how many events may wait for a CRM while more are imported:
	// what people write must not stand behind a whole list.
	importBacklog = 2000
	sourceFile    = "file" // of identities
)

// What becomes of a person of a list.
const (
	ImportNew      = "new"
	ImportChanged  = "changed"
	ImportSame     = "same"
	ImportConflict = "conflict" // not taken: who is meant, a person has to say
)

// ImportRequest asks for people of a list to be taken over.
type ImportRequest struct {
	Tenant string `json:"tenant"`
	// Run names the list: the same list again changes nothing. File and By are for
	// the trace.
	Run  string `json:"run"`
	File string `json:"file,omitempty"`
	By   string `json:"by"`
	// Apply makes it so; without it the answer says what would be.
	Apply bool `json:"apply,omitempty"`
	// Quiet tells no CRM.
	Quiet  bool            `json:"quiet,omitempty"`
	People []roster.Person `json:"people"`
}

// ImportResult is what became of one person, or would.
type ImportResult struct {
	Line    int    `json:"line"`
	Outcome string `json:"outcome"`
	Contact string `json:"contact,omitempty"`
	// Notes say in words what changes, or why nothing can.
	Notes []string `json:"notes,omitempty"`
}

// ImportReport is the answer to an ImportRequest.
type ImportReport struct {
	People []ImportResult `json:"people"`
	// Wait says why nothing was done yet: ask again in a second or so.
	Wait string `json:"wait,omitempty"`
}

// ImportContacts takes people over from a list, all of them in one settlement: who
// is known by a number or a user id gets what is new, others are made. Nothing is
// merged, and nobody's opt-out is weakened.
func (b *Broker) ImportContacts(ctx context.Context, r ImportRequest) (ImportReport, error) {
	t := b.tenants[r.Tenant]
	switch {
	case t == nil:
		return ImportReport{}, noTenant("import", r.Tenant)
	case len(r.People) > MaxImport || !core.TenantPattern.MatchString(r.Run) || r.By == "" || len(r.By) > 120 || len(r.File) > 250:
		return ImportReport{}, core.Errorf(core.CodeInvalid, "import", "run (in the form of a tenant's id) and by are needed; at most %d people at once", MaxImport)
	}
	for i := range r.People {
		if err := checkImported(&r.People[i]); err != nil {
			return ImportReport{}, err
		}
	}
	if r.Apply {
		if why := t.backlog(); why != "" && !r.Quiet {
			return ImportReport{People: []ImportResult{}, Wait: why}, nil
		}
	}
	for range maxRounds {
		rep, err := t.imports(ctx, r)
		if !errors.Is(err, errMoved) {
			return rep, err
		}
	}
	return ImportReport{People: []ImportResult{}, Wait: "the contacts change all the time"}, nil
}

// checkImported refuses what no list that was read with package roster has.
func checkImported(p *roster.Person) error {
	if len(p.Phones)+len(p.Tags)+len(p.Fields) > 200 || len(p.Name) > 1000 || len(p.Phones) == 0 && p.BSUID == "" {
		return core.Errorf(core.CodeInvalid, "import", "line %d: too much, or nobody", p.Line)
	}
	for _, n := range p.Phones {
		if err := (core.Address{Kind: core.AddressPhone, Value: n.Number}).Validate(); err != nil {
			return err
		}
	}
	if p.BSUID != "" {
		if err := (core.Address{Kind: core.AddressBSUID, Value: p.BSUID}).Validate(); err != nil {
			return err
		}
	}
	if c := p.Consent; c != nil {
		return consent.CheckChange(string(consent.Marketing), c.State)
	}
	return nil
}

// backlog says which CRM has too much to do to be told of many more.
func (t *tenant) backlog() string {
	for _, q := range t.b.o.Store.Stats().Queues {
		if q.Queue.Tenant == t.ID && strings.HasPrefix(q.Queue.Name, "crm/") && q.Depth > importBacklog {
			return fmt.Sprintf("%d events wait for %s", q.Depth, q.Queue.Name)
		}
	}
	return ""
}

// importing is one batch of a list.
type importing struct {
	t      *tenant
	r      *ImportRequest
	at     time.Time
	owners map[contact.Key]string
	turns  map[string]*turn // by contact
	order  []string         // of contacts that changed
	s      store.Settlement
	fresh  map[contact.Key]string
}

func (t *tenant) imports(ctx context.Context, r ImportRequest) (ImportReport, error) {
	var keys []contact.Key
	for i := range r.People {
		keys = append(keys, r.People[i].Keys()...)
	}
	owners, err := t.owners(ctx, keys)
	if err != nil {
		return ImportReport{}, err
	}
	var ids []string
	for _, id := range owners {
		if id != "" {
			ids = append(ids, id)
		}
	}
	if r.Apply {
		if err := t.locks.takeAll(ctx, ids...); err != nil {
			return ImportReport{}, err
		}
		defer t.locks.release(ids...)
		again, err := t.owners(ctx, keys)
		if err != nil {
			return ImportReport{}, err
		}
		for k, id := range again {
			if owners[k] != id {
				return ImportReport{}, errMoved
			}
		}
	}
	im := &importing{t: t, r: &r, at: time.Now().UTC(), owners: owners, turns: map[string]*turn{}, fresh: map[contact.Key]string{}}
	out := ImportReport{People: make([]ImportResult, 0, len(r.People))}
	for i := range r.People {
		res, err := im.person(ctx, &r.People[i])
		if err != nil {
			return ImportReport{}, err
		}
		out.People = append(out.People, res)
	}
	if !r.Apply || len(im.order) == 0 {
		return out, nil
	}
	return out, im.settle(ctx)
}

// person takes one person over, or says why not.
func (im *importing) person(ctx context.Context, p *roster.Person) (ImportResult, error) {
	res := ImportResult{Line: p.Line}
	keys := p.Keys()
	found := map[string]contact.Key{}
	for _, k := range keys {
		if id := im.owners[k]; id != "" {
			found[id] = k
			res.Contact = id
		}
	}
	if len(found) > 1 {
		res.Outcome, res.Contact = ImportConflict, ""
		var ids, whose []string
		for id, k := range found {
			ids = append(ids, id)
			whose = append(whose, core.MaskAddress(k.String())+" is "+id+"'s")
		}
		slices.Sort(ids)
		slices.Sort(whose)
		res.Notes = []string{strings.Join(whose, ", ") + ": if they are one person, wabridge contact merge " + strings.Join(ids[:2], " ")}
		return res, nil
	}
	u, err := im.turn(ctx, res.Contact, keys, p.Line)
	if err != nil {
		return res, err
	}
	if p.BSUID != "" && u.person.hasUserID() && u.person.has(keys[0]) == nil {
		res.Outcome, res.Notes = ImportConflict, []string{"the number is " + u.person.ID + "'s, who has another user id"}
		return res, nil
	}
	isNew, before := u.isNew, string(mustJSON(u.person))
	res.Notes = im.take(u, p, keys)
	switch {
	case isNew:
		res.Outcome, u.isNew = ImportNew, false
	case string(mustJSON(u.person)) == before:
		res.Outcome = ImportSame
		return res, nil
	default:
		res.Outcome = ImportChanged
	}
	res.Contact = u.person.ID
	if len(u.step.Notes) == 0 {
		im.order = append(im.order, u.person.ID)
	}
	u.note(fmt.Sprintf("line %d of %s, by %s: %s", p.Line, im.r.File, im.r.By, strings.Join(res.Notes, "; ")))
	return res, nil
}

// turn returns the turn of a contact, "" for somebody new.
func (im *importing) turn(ctx context.Context, id string, keys []contact.Key, line int) (*turn, error) {
	if u := im.turns[id]; id != "" && u != nil {
		return u, nil
	}
	t := im.t
	if id == "" {
		var err error
		if id, err = t.freshContactID(ctx, founding(keys)); err != nil {
			return nil, err
		}
		for n := 1; im.turns[id] != nil; n++ { // of the same list
			id = contactID(t.ID, founding(keys), n)
		}
	}
	v, err := t.b.o.Store.Get(ctx, contactKey(t.ID, id))
	if err != nil {
		return nil, err
	}
	e := &core.Event{
		ID: fmt.Sprintf("import-%s-%d", im.r.Run, line), Kind: core.KindContactChanged, Tenant: t.ID, Time: im.at, Accepted: im.at,
		Source: sourceFile, Contact: &core.Contact{ID: id},
	}
	u := &turn{e: e, isNew: v[0] == nil, person: personOf(v[0])}
	u.contact = &u.person.Contact
	u.person.ID = id
	u.step = Step{Time: im.at, Event: e.ID, Kind: e.Kind, Tenant: t.ID, Step: "imported"}
	if u.isNew {
		if err := t.inherit(ctx, u.person, keys); err != nil {
			return nil, err
		}
	}
	im.turns[id] = u
	return u, nil
}

// take gives a contact what a list says of it, and returns what that is in words.
func (im *importing) take(u *turn, p *roster.Person, keys []contact.Key) (notes []string) {
	raw := map[contact.Key]roster.Phone{}
	for _, n := range p.Phones {
		raw[contact.KeyOf(core.Address{Kind: core.AddressPhone, Value: n.Number})] = n
	}
	for _, k := range keys {
		if u.person.has(k) == nil {
			i := identity{Key: k, Value: p.BSUID, Source: sourceFile, First: im.at, Last: im.at}
			if k.IsPhone() {
				i.Value, i.Raw = raw[k].Number, raw[k].Raw
			}
			u.person.Identities = append(u.person.Identities, i)
			notes = append(notes, "new: "+core.MaskAddress(k.String()))
		}
		if im.owners[k] == "" {
			im.owners[k], im.fresh[k] = u.person.ID, u.person.ID
		}
	}
	slices.SortFunc(u.person.Identities, func(a, b identity) int { return strings.Compare(a.Key.String(), b.Key.String()) })
	u.person.face()
	// The business's first name for a person stays: who is in a list twice is not renamed to and fro.
	if u.person.NamedBy == "" && (!im.r.Quiet || u.person.mayBeCalled(p.Name)) && u.person.isCalled(p.Name, or(im.r.File, sourceFile)) {
		notes = append(notes, "the name")
	}
	for _, tag := range p.Tags {
		if addTag(u.contact, tag) {
			notes = append(notes, "tagged "+tag)
		}
	}
	for name, value := range p.Fields {
		if t := im.t; t.heldByCRM(u.person, name, nil) {
			notes = append(notes, "not the field "+name+": a CRM has the say on it")
		} else if setField(u.contact, name, value) {
			t.mark(u.person, name, sourceFile, im.at)
			notes = append(notes, "the field "+name)
		}
	}
	if at := u.person.Undeliverable; !at.IsZero() {
		notes = append(notes, "WhatsApp could not deliver to this number on "+at.Format(time.DateOnly))
		if addTag(u.contact, roster.DisabledTag) {
			notes = append(notes, "tagged "+roster.DisabledTag)
		}
	}
	if p.Consent != nil {
		notes = append(notes, im.consent(u, p)...)
	}
	slices.Sort(notes)
	return notes
}

// consent enters what a list says of consent. Whoever ended it, in whatever way and
// at whatever time, has not granted it by being in a list.
func (im *importing) consent(u *turn, p *roster.Person) []string {
	c := p.Consent
	sum := &u.person.Consent
	state := consent.State(c.State)
	stopped := sum.Suppresses(consent.Outgoing{Marketing: true})
	switch {
	case sum.Levels[consent.Marketing].State == state:
		return nil
	case state == consent.Granted && (c.Source == "" || c.Evidence == ""):
		return []string{"the consent is not taken: it needs a source and evidence"}
	case state == consent.Granted && stopped != "":
		return []string{"the consent is not taken: " + stopped}
	case state == consent.Granted && sum.State(consent.Marketing) == consent.Withdrawn:
		return []string{"the consent is not taken: " + sum.Refuses(consent.Marketing)}
	case state == consent.Granted && im.t.Policy.DoubleOptIn:
		return []string{"the consent is not taken: with policy.double_opt_in the person has to say so themselves"}
	}
	was := u.e.Time
	if !c.At.IsZero() {
		u.e.Time = c.At
	}
	notes := u.step.Notes
	im.t.enter(u, consent.Entry{Source: consent.File, Level: consent.Marketing, State: state}, consent.Details{
		Evidence: strings.TrimPrefix(c.Source+": "+c.Evidence, ": "), By: im.r.By,
	})
	u.e.Time, u.step.Notes = was, notes
	return []string{"marketing consent " + c.State}
}

// settle stores the batch, and tells the CRMs of whoever changed.
func (im *importing) settle(ctx context.Context) error {
	t := im.t
	for _, id := range im.order {
		u := im.turns[id]
		c := u.person.Contact
		u.contact = &c
		if !im.r.Quiet {
			t.toLanes(&u.s, u, u.follow(core.KindContactChanged), nil)
			t.tellConsent(u)
		}
		im.s.Add = append(im.s.Add, u.s.Add...)
		im.s.Append = append(im.s.Append, u.s.Append...)
		im.s.Put = append(im.s.Put, u.s.Put...)
		im.s.Put = append(im.s.Put, store.Put{Key: contactKey(t.ID, id), Value: mustJSON(u.person)})
		im.s.Record = append(im.s.Record, record(&u.step, u.e))
	}
	for k, id := range im.fresh {
		im.s.Put = append(im.s.Put, store.Put{Key: aliasKey(t.ID, k.String()), Value: []byte(id)})
	}
	t.b.failpoint("import-before-commit")
	_, err := t.b.settle(ctx, im.s)
	if t.b.dropAppends(&im.s, err) {
		_, err = t.b.settle(ctx, im.s)
	}
	if err == nil {
		t.b.failpoint("import-after-commit")
		t.aliases.set(im.fresh)
	}
	return err
}
