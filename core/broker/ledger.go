package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/store"
)

// Who agreed to what, and why somebody is not written to, is in two append-only
// logs of the tenant. What they add up to for one person is in the person's
// record, written in the same settlement. The part of an entry that might name
// somebody is a value beside the log, by contact, so that it can be erased.
const (
	logConsent     = "consent"
	logSuppression = "suppression"
	bucketConsent  = "consent" // <contact>/<entry> → consent.Details
)

func (t *tenant) consentKey() consent.Key { return consent.NewKey(t.b.o.OpaqueKey, t.ID) }

func detailsKey(tenant, contact, entry string) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketConsent, Key: contact + "/" + entry}
}

// enter adds an entry to the ledger, unless the event made it before. It reports
// whether the person stands otherwise after it. Entries are about the turn's
// contact; those of a contact that nobody knows are dropped.
func (t *tenant) enter(u *turn, e consent.Entry, d consent.Details) bool {
	if u.contact.ID == "" {
		return false
	}
	key := t.consentKey()
	d.Event, d.Number = u.e.ID, u.e.Number
	if len(d.Evidence) > consent.MaxEvidence {
		d.Evidence = clip(d.Evidence, consent.MaxEvidence)
	}
	e.At = u.e.Time.UTC()
	if now := u.step.Time; e.At.After(now) {
		e.At = now // a clock that is ahead must not outlast what comes later
	}
	if less := e.State == consent.Withdrawn || e.Reason != "" && !e.Lifted; less && e.Source != consent.API && e.Source != consent.Person {
		// WhatsApp's times are in seconds: what allows less is taken for the later.
		e.At = e.At.Truncate(time.Second).Add(time.Second - 1)
	}
	e.ID, e.Subject = key.EntryID(d.Event, &e), key.Subject(u.contact.ID)
	e.Details = key.DetailsHash(e.ID, d)
	isNew, changed := u.person.Consent.Apply(e)
	if !isNew {
		return false
	}
	u.contactChanged = true
	log := logConsent
	if e.Reason != "" {
		log = logSuppression
	}
	u.s.Append = append(u.s.Append, store.Append{Log: store.LogID{Tenant: t.ID, Name: log}, Data: mustJSON(e)})
	u.s.Put = append(u.s.Put, store.Put{Key: detailsKey(t.ID, u.contact.ID, e.ID), Value: mustJSON(d)})
	if !changed {
		u.note("recorded, and changes nothing: " + said(e))
		return false
	}
	u.note("recorded: " + said(e))
	if e.Source != consent.FirstContact { // of everybody who ever wrote: no news
		u.consents = append(u.consents, &core.Consent{
			Level: string(e.Level), State: string(e.State), Suppression: string(e.Reason), Scope: e.Scope, Lifted: e.Lifted,
			Source: string(e.Source), Evidence: d.Evidence, By: d.By,
		})
	}
	return true
}

// clip cuts a text to at most n bytes, at a character's end.
func clip(s string, n int) string {
	for n > 0 && n < len(s) && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:min(n, len(s))]
}

// said is an entry in words.
func said(e consent.Entry) string {
	from := " (" + string(e.Source) + ")"
	switch {
	case e.Reason != "" && e.Lifted:
		return "suppression " + string(e.Reason) + " lifted" + from
	case e.Reason != "":
		return "suppressed, " + string(e.Reason) + from
	}
	return string(e.Level) + " consent " + string(e.State) + from
}

// tellConsent tells the CRMs what changed, and where the person stands now.
func (t *tenant) tellConsent(u *turn) {
	for _, c := range u.consents {
		c.Marketing = string(u.person.Consent.State(consent.Marketing))
		for _, s := range u.person.Consent.Live() {
			c.Suppressed = append(c.Suppressed, string(s.Reason))
		}
		e := u.follow(core.KindConsentChanged)
		e.Source, e.Consent = u.e.Source, c
		t.toLanes(&u.s, u, e, nil)
	}
}

// consentReported takes over what WhatsApp, or a CRM, says about consent.
func (t *tenant) consentReported(u *turn) {
	u.tell = nil
	c := u.e.Consent
	if c == nil {
		u.note("the event has no consent")
		return
	}
	source := consent.CRM
	if u.e.Source == "whatsapp" {
		source = consent.Meta
	}
	if err := t.changeConsent(u, *c, source); err != nil {
		u.note("refused: " + err.Error())
	}
}

// changeConsent enters a change that somebody asked for, once it is checked.
func (t *tenant) changeConsent(u *turn, c core.Consent, source consent.Source) error {
	d := consent.Details{Evidence: c.Evidence, By: c.By}
	if c.Suppression != "" {
		if err := consent.CheckSuppression(c.Suppression, c.Scope); err != nil {
			return err
		}
		t.enter(u, consent.Entry{Source: source, Reason: consent.Reason(c.Suppression), Scope: or(c.Scope, consent.ScopeAll), Lifted: c.Lifted}, d)
		return nil
	}
	if err := consent.CheckChange(c.Level, c.State); err != nil {
		return err
	}
	e := consent.Entry{Source: source, Level: consent.Level(c.Level), State: consent.State(c.State)}
	if e.Level == consent.Marketing && e.State == consent.Granted && source != consent.Meta {
		if c.Evidence == "" {
			return &core.Error{Code: core.CodeInvalid, Op: "consent", Message: "marketing consent needs evidence of the person's own word",
				Hint: "say where and how they agreed: the form's address, the date of the call"}
		}
		if t.Policy.DoubleOptIn && u.person.Consent.Levels[consent.Marketing].State != consent.Granted {
			e.State = consent.Asked
			u.note("policy.double_opt_in: the person has to confirm")
		}
	}
	if e.State != consent.Asked {
		t.enter(u, e, d)
	} else if t.isAsked(u, func() bool { return t.enter(u, e, d) }) {
		t.question(u, consent.TextsFor(t.Policy.Texts, t.languageOf(u, "")))
	}
	return nil
}

// scriptConsent is the script's action consent(…). A script may take down that a
// person agreed, but not take back what they ended themselves: for that, there
// are their own words, or somebody of the business who answers for it.
func (t *tenant) scriptConsent(u *turn, c core.Consent) {
	if c.State == string(consent.Granted) && u.person.Consent.EndedThemselves() {
		u.note("consent refused: the person ended marketing themselves: only their own word takes that back, such as START or SUBSCRIBE")
		return
	}
	if err := t.changeConsent(u, c, consent.Script); err != nil {
		u.note("consent refused: " + err.Error())
	}
}

// dropAppends takes the entries out of a settlement whose ledger is damaged. What
// the person asked for holds all the same: their record is written. What is
// missing in the ledger is in the log and in the trace.
func (b *Broker) dropAppends(s *store.Settlement, err error) bool {
	if !errors.Is(err, store.ErrLogDamaged) || len(s.Append) == 0 {
		return false
	}
	b.log.Error("the consent ledger is damaged and takes no more entries; consent itself is kept and obeyed. See `wabridge consent prove`, "+
		"and restore the ledger from a backup", "tenant", s.Append[0].Log.Tenant, "entries", len(s.Append), "error", err)
	s.Append = nil
	return true
}

// ConsentRequest asks for a change of what a person agreed to, or of why nothing
// may be sent to them.
type ConsentRequest struct {
	Tenant string `json:"tenant"`
	// Contact is the contact's ID or an address, "+34600111222".
	Contact string `json:"contact"`
	// Key makes the request idempotent: the same key changes once. Required.
	Key string `json:"-"`
	// At is when it happened; zero is now.
	At time.Time `json:"at,omitzero"`
	core.Consent
}

// ConsentStatus is where a person stands.
type ConsentStatus struct {
	Tenant  string `json:"tenant"`
	Contact string `json:"contact"`
	Address string `json:"address,omitempty"` // masked
	// MayMarket says whether a marketing message may be sent now, Why why not.
	MayMarket bool                               `json:"may_market"`
	Why       string                             `json:"why,omitempty"`
	Levels    map[consent.Level]consent.Standing `json:"levels,omitempty"`
	MetaStop  *consent.Standing                  `json:"meta_stop,omitempty"`
	// Suppressed are the reasons that hold.
	Suppressed []consent.Suppression `json:"suppressed,omitempty"`
}

// ChangeConsent changes what is known of a person's consent, and returns how they
// stand once that is durable. The person need not have written before.
func (b *Broker) ChangeConsent(ctx context.Context, r ConsentRequest) (ConsentStatus, error) {
	t := b.tenants[r.Tenant]
	if t == nil {
		return ConsentStatus{}, noTenant("consent", r.Tenant)
	}
	if r.Key == "" {
		return ConsentStatus{}, core.Errorf(core.CodeInvalid, "consent", "an Idempotency-Key is required")
	}
	now := time.Now().UTC()
	if r.At.After(now) {
		return ConsentStatus{}, core.Errorf(core.CodeInvalid, "consent", "at is in the future")
	}
	source := consent.API
	switch s := consent.Source(r.Source); s {
	case "", consent.API:
	case consent.Person, consent.CRM:
		source = s
	default:
		return ConsentStatus{}, core.Errorf(core.CodeInvalid, "consent", "source is api, crm or person, not %.40q", r.Source)
	}
	var out ConsentStatus
	sum := sha256.Sum256([]byte(t.ID + "\x00" + r.Key))
	number := ""
	if len(t.Numbers) == 1 {
		number = t.Numbers[0].ID
	}
	err := t.onContact(ctx, r.Contact, number, "consent-"+hex.EncodeToString(sum[:16]), func(u *turn) error {
		if !r.At.IsZero() {
			u.e.Time = r.At.UTC()
		}
		u.e.Consent = &r.Consent
		if err := t.changeConsent(u, r.Consent, source); err != nil {
			return err
		}
		out = consentStatus(t.ID, u.person)
		return nil
	})
	return out, err
}

// onContact makes a turn about a contact that no event of a queue brought: a
// person of the business, or a program, changes something about it. What f and
// the turn's policy make is settled at once; nothing else is about the contact
// meanwhile.
func (t *tenant) onContact(ctx context.Context, who, number, id string, f func(*turn) error) error {
	undone := t.undone.Load()
	c, puts, err := t.identify(ctx, who)
	if err != nil {
		return err
	}
	if err := t.locks.takeAll(ctx, c.ID); err != nil {
		return err
	}
	defer t.locks.release(c.ID)
	now := time.Now().UTC()
	e := &core.Event{ID: id, Kind: core.KindConsentChanged, Tenant: t.ID, Time: now, Accepted: now, Source: "api", Number: number, Contact: c}
	if number != "" {
		e.Conversation = core.ConversationID(number, c.ID)
	}
	ms, moved, gone, err := t.recognise(ctx, []store.Delivery{{ID: id, Value: e}}, map[uint64]int{0: 1})
	if err != nil {
		return err
	}
	if len(gone) > 0 {
		return noContact(c.ID)
	}
	if len(moved) > 0 || t.undone.Load() != undone {
		return core.Errorf(core.CodeUnavailable, "contact", "%s is being merged with another, or taken apart: try again", c.ID)
	}
	turns := []turn{{e: e, person: ms[0].person}}
	u := &turns[0]
	u.step = Step{Time: now, Event: id, Kind: e.Kind, Tenant: t.ID, Step: "decided"}
	if err := t.load(ctx, turns); err != nil {
		return err
	}
	u.s.Put, u.human = puts, u.conv.human(now)
	u.contactChanged = u.person.meet(e, ms[0].claim, ms[0].attach)
	if err := f(u); err != nil {
		return err
	}
	t.policy(u)
	t.close(u)
	t.save(u)
	_, err = t.b.settle(ctx, u.s)
	if t.b.dropAppends(&u.s, err) {
		_, err = t.b.settle(ctx, u.s)
	}
	u.finish(err == nil)
	return err
}

// identify finds the contact that is meant by an ID or an address. A new address
// is a new contact: the puts must be stored for it to stay.
func (t *tenant) identify(ctx context.Context, who string) (*core.Contact, []store.Put, error) {
	a, err := core.ParseAddress(who)
	if err != nil {
		id, err := contactIDOf(ctx, t.b.o.Store, t.ID, who)
		return &core.Contact{ID: id}, nil, err
	}
	e := &core.Event{Time: time.Now(), Contact: contactAt(a)}
	puts, _, err := t.aliases.resolve(ctx, t, e)
	if err == nil {
		e.Contact.ID, _, err = t.survivor(ctx, e.Contact.ID)
	}
	return e.Contact, puts, err
}

// contactIDOf finds a contact by ID or address in the store.
func contactIDOf(ctx context.Context, s store.Store, tenant, who string) (string, error) {
	id := who
	if a, err := core.ParseAddress(who); err == nil {
		var ways []store.Key
		for _, way := range waysOf(contact.KeyOf(a)) {
			ways = append(ways, aliasKey(tenant, way))
		}
		values, err := s.Get(ctx, ways...)
		if err != nil {
			return "", err
		}
		id = ""
		for _, v := range values {
			id = or(id, string(v))
		}
	}
	for range 8 { // merged into one that was merged
		if id == "" {
			break
		}
		values, err := s.Get(ctx, contactKey(tenant, id))
		if err != nil {
			return "", err
		}
		p, found := decode[person](values[0])
		if !found {
			break
		}
		if p.MergedInto == "" {
			return id, nil
		}
		id = p.MergedInto
	}
	return "", noContact(who)
}

func noContact(who string) error {
	return core.Errorf(core.CodeInvalid, "contact", "no contact %q: %w", core.MaskAddress(who), store.ErrNotFound)
}

func consentStatus(tenant string, p *person) ConsentStatus {
	why := p.Consent.Suppresses(consent.Outgoing{Marketing: true})
	if why == "" {
		why = p.Consent.Refuses(consent.Marketing)
	}
	return ConsentStatus{
		Tenant: tenant, Contact: p.ID, Address: core.MaskAddress(p.Address().Value), MayMarket: why == "", Why: why,
		Levels: p.Consent.Levels, MetaStop: p.Consent.MetaStop, Suppressed: p.Consent.Live(),
	}
}

// Consent tells where a person stands, by contact ID or address.
func (b *Broker) Consent(ctx context.Context, tenant, who string) (ConsentStatus, error) {
	return ConsentOf(ctx, b.o.Store, tenant, who)
}

// ConsentOf tells it from the store alone.
func ConsentOf(ctx context.Context, s store.Store, tenant, who string) (ConsentStatus, error) {
	id, err := contactIDOf(ctx, s, tenant, who)
	if err != nil {
		return ConsentStatus{}, err
	}
	values, err := s.Get(ctx, contactKey(tenant, id))
	if err != nil {
		return ConsentStatus{}, err
	}
	p, _ := decode[person](values[0])
	return consentStatus(tenant, p), nil
}
