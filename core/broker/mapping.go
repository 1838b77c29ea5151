package broker

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/mapping"
	"github.com/wabridge/wabridge/core/store"
)

// A lane's mapping is evaluated while an event is decided, and what it makes is
// stored with the event: each attempt writes the same, and what both sides have
// agreed on (person.Agreed) is true in the settlement that makes it so.

// Describer is what a sink has when it can say what the CRM has: see
// [core.Describer].
type Describer interface {
	Describe(ctx context.Context) (core.Schema, error)
}

const (
	sourceMapping = "mapping" // of what is written back

	// describeEvery is how often a CRM is asked what it has, describeRetry how soon
	// after it could not be, at first.
	describeEvery = time.Hour
	describeRetry = time.Minute

	maxMarks  = 2 * maxContactFields
	maxAgreed = 2 * mapping.MaxRules // of a lane
)

// mapped kinds are those that CRMs write to their contacts with.
var mappedKinds = map[core.Kind]bool{
	core.KindMessageReceived: true, core.KindMessageSent: true, core.KindContactChanged: true, core.KindConsentChanged: true,
	core.KindEscalation: true, core.KindEscalationMoved: true, core.KindEscalationClosed: true,
}

// mapped returns the event with what the lane's mapping makes of the turn's contact,
// or the event itself.
func (l *lane) mapped(u *turn, e *core.Event) *core.Event {
	if l.mapping == nil || u == nil || !mappedKinds[e.Kind] || e.Contact == nil || u.contact == nil || u.contact.ID == "" || e.Source == sourceMapping {
		return e
	}
	k := u.known()
	if e.Message != nil {
		k.Referral = e.Message.Referral
	}
	w := l.mapping.To(k, l.agreed(u.person), e.Fields)
	u.contactChanged = u.contactChanged || w.Changed
	for _, note := range w.Notes {
		u.note(l.crmName() + ": " + note)
	}
	return withFields(e, w.Properties)
}

// withFields returns the event with further CRM properties; what it has already
// stays.
func withFields(e *core.Event, more map[string]any) *core.Event {
	if len(more) == 0 {
		return e
	}
	own := *e
	maps.Copy(more, e.Fields)
	own.Fields = more
	return &own
}

// agreed is what the lane and the bridge agreed on about a person.
func (l *lane) agreed(p *person) map[string]mapping.Agreed {
	name := l.crmName()
	if p.Agreed == nil {
		p.Agreed = map[string]map[string]mapping.Agreed{}
	}
	all := p.Agreed[name]
	if all == nil {
		for other := range p.Agreed { // lanes that are no more
			if l.t.crmLane(other) == nil {
				delete(p.Agreed, other)
			}
		}
		all = map[string]mapping.Agreed{}
		p.Agreed[name] = all
	}
	if len(all) > maxAgreed {
		reads := l.mapping.Reads()
		maps.DeleteFunc(all, func(property string, _ mapping.Agreed) bool { return !slices.Contains(reads, property) })
	}
	return all
}

// known is what the bridge knows of the turn's contact by now.
func (u *turn) known() *mapping.Known {
	return knownOf(u.person, u.contact, u.conv, u.e.Number, u.step.Time)
}

func knownOf(p *person, c *core.Contact, conv *conversation, number string, now time.Time) *mapping.Known {
	k := &mapping.Known{Contact: c, Since: p.since(), Set: p.Set, Now: now}
	k.Marketing, k.MarketingSince = string(p.Consent.State(consent.Marketing)), p.Consent.Levels[consent.Marketing].Since
	if p.Consent.StoppedAtMeta() {
		k.MarketingSince = p.Consent.MetaStop.Since
	}
	for _, s := range p.Consent.Live() {
		k.Suppressed = append(k.Suppressed, string(s.Reason))
	}
	if conv == nil || number == "" {
		return k
	}
	k.Number, k.LastIn, k.LastOut, k.In, k.Out = number, conv.LastIn, conv.LastOut, conv.In, conv.Out
	k.Human, k.Language = conv.human(now), conv.Language
	if e := conv.Escalation; e != nil && e.Closed.IsZero() {
		k.Escalation, k.Assignee = e.Reason, whoHas(e)
	}
	return k
}

// whoHas names the person who has an escalation, or the team.
func whoHas(e *Escalation) string {
	if a := e.Assignee; a != nil {
		return or(a.Name, a.ID)
	}
	return e.Team
}

// Known is what a mapping reads of the contact, in the conversation of the latest
// message.
func (v *ContactView) Known() *mapping.Known {
	k := &mapping.Known{Contact: &v.Contact, Since: v.Since, Set: v.Set, Now: time.Now().UTC()}
	marketing := v.Consent.Levels[consent.Marketing]
	if v.Consent.MetaStop != nil && v.Consent.MetaStop.State == consent.Withdrawn {
		marketing = *v.Consent.MetaStop
	}
	k.Marketing, k.MarketingSince = string(marketing.State), marketing.Since
	for _, s := range v.Consent.Suppressed {
		k.Suppressed = append(k.Suppressed, string(s.Reason))
	}
	for _, c := range v.Conversations {
		if k.Number != "" && !c.LastIn.After(k.LastIn) {
			continue
		}
		k.Number, k.LastIn, k.LastOut, k.In, k.Out, k.Language = c.Number, c.LastIn, c.LastOut, c.In, c.Out, c.Language
		k.Human, k.Escalation, k.Assignee = k.Now.Before(c.HumanUntil), c.Reason, c.Assignee
	}
	return k
}

// tellSent tells the CRMs and the subscriptions of a message that WhatsApp took. Nobody holds the contact
// then: what both sides may change waits for the next event.
func (t *tenant) tellSent(s *store.Settlement, e *core.Event) {
	if e.Contact == nil || e.Contact.ID == "" {
		t.toCRM(s, e)
		return
	}
	values, err := t.b.o.Store.Get(context.Background(), contactKey(t.ID, e.Contact.ID), conversationKey(t.ID, e.Contact.ID, e.Number))
	if err != nil || values[0] == nil {
		t.toCRM(s, e)
		return
	}
	p, err := t.standsFor(context.Background(), values[0])
	if err != nil {
		t.toCRM(s, e)
		return
	}
	e.Contact = reachedNow(e.Contact, &p.Contact)
	if !t.maps {
		t.toCRM(s, e)
		return
	}
	conv, _ := decode[conversation](values[1])
	k := knownOf(p, &p.Contact, conv, e.Number, e.Time)
	for _, l := range t.crm {
		if !l.wants(e.Kind) {
			continue
		}
		own := withFields(e, l.mapping.To(k, nil, nil).Properties)
		s.Add = append(s.Add, store.Item{Queue: l.queue, ID: e.ID, Order: e.Conversation, Class: classOf(e), Data: mustJSON(own), Value: own})
	}
	t.toSubscribers(s, e, nil)
}

// tellReached tells who was told of a message that was sent how to reach its person, if that
// changed after it was read for them and before it was stored.
func (t *tenant) tellReached(ctx context.Context, told *core.Event) {
	if told == nil || told.Contact == nil || told.Contact.ID == "" {
		return
	}
	values, err := t.b.o.Store.Get(ctx, contactKey(t.ID, told.Contact.ID))
	if err != nil || values[0] == nil {
		return
	}
	p := personOf(values[0])
	now := &p.Contact
	if p.MergedInto != "" || reachedNow(told.Contact, now) == told.Contact {
		return
	}
	e := &core.Event{
		ID: core.FollowID(told.ID, 1), Kind: core.KindContactChanged, Tenant: told.Tenant, Number: told.Number, Conversation: told.Conversation,
		Time: told.Time, Accepted: told.Accepted, Source: told.Source, Cause: told.ID, Contact: now,
	}
	var s store.Settlement
	t.tellSent(&s, e)
	if _, err := t.b.settle(ctx, s); err != nil {
		t.b.log.Warn("CRMs have the address of before of somebody, until the next message", "tenant", t.ID, "contact", now.ID, "error", err)
	}
}

// reachedNow returns the contact of an event of before with the addresses and the name that
// the person has now: a CRM would take those of before for newer ones.
func reachedNow(c, now *core.Contact) *core.Contact {
	name := c.Name
	if name != "" {
		name = or(now.Name, name)
	}
	if c.ID != now.ID || c.Phone == now.Phone && c.BSUID == now.BSUID && c.Username == now.Username && c.Name == name {
		return c
	}
	own := *c
	own.Phone, own.BSUID, own.Username, own.Name = now.Phone, now.BSUID, now.Username, name
	return &own
}

// takeMapped takes over what the lane's CRM told of properties that its mapping
// reads, and returns how much of it is new.
func (t *tenant) takeMapped(u *turn, l *lane) (news int) {
	if l.mapping == nil || len(u.e.Fields) == 0 {
		return 0
	}
	held := func(field string) bool { return t.heldByCRM(u.person, field, l) }
	told := mapping.Told{Lane: l.crmName(), Properties: u.e.Fields, At: u.e.Time, Changed: u.e.Changed}
	taken := l.mapping.From(u.known(), told, l.agreed(u.person), held)
	u.contactChanged = u.contactChanged || taken.Changed
	for _, note := range taken.Notes {
		u.note(l.crmName() + ": " + note)
	}
	for _, name := range slices.Sorted(maps.Keys(taken.Fields)) {
		if why := overfullField(u.contact, name, taken.Fields[name]); why != "" {
			u.note(l.crmName() + ": " + name + " refused: " + why)
		} else if setField(u.contact, name, taken.Fields[name]) {
			t.mark(u.person, name, l.crmName(), taken.At[name])
			news++
		}
	}
	for _, tag := range taken.Untags {
		if removeTag(u.contact, tag) {
			news++
		}
	}
	for _, tag := range taken.Tags {
		if len(u.contact.Tags) < maxContactTags && addTag(u.contact, tag) {
			news++
		}
	}
	t.mappedConsent(u, &taken)
	if len(taken.Back) > 0 {
		if u.back == nil {
			u.back = map[*lane]map[string]any{}
		}
		u.back[l] = taken.Back
	}
	return news
}

// mappedConsent takes what a CRM's property says of consent, by the rules of
// consent: a person who ended marketing themselves is not overruled.
func (t *tenant) mappedConsent(u *turn, taken *mapping.Taken) {
	switch {
	case taken.Consent == "":
		return
	case taken.Consent == string(consent.Granted) && u.person.Consent.EndedThemselves():
		u.note("consent refused: the person ended marketing themselves: only their own word takes that back")
		return
	}
	c := core.Consent{Level: string(consent.Marketing), State: taken.Consent, Evidence: taken.Evidence}
	if err := t.changeConsent(u, c, consent.CRM); err != nil {
		u.note("consent refused: " + err.Error())
	}
}

// writesBack has CRMs told that the bridge's value counts, by an event that no other
// CRM gets.
func (t *tenant) writesBack(u *turn) {
	for _, l := range t.crm {
		back := u.back[l]
		if len(back) == 0 || !l.wants(core.KindContactChanged) {
			continue
		}
		e := u.follow(core.KindContactChanged)
		e.Source, e.Fields = sourceMapping, back
		s := store.Item{Queue: l.queue, ID: e.ID, Order: e.Conversation, Class: classOf(e), Data: mustJSON(e), Value: e}
		u.s.Add = append(u.s.Add, s)
	}
}

// heldByCRM reports whether a CRM, other than that of a lane, has the say on a field.
func (t *tenant) heldByCRM(p *person, field string, but *lane) bool {
	if !t.maps {
		return false
	}
	return slices.ContainsFunc(t.crm, func(l *lane) bool { return l != but && l.mapping.Says(field, p.Agreed[l.crmName()]) })
}

// mark takes note of when a field was set, and by whom.
func (t *tenant) mark(p *person, field, by string, at time.Time) {
	if !t.maps {
		return
	}
	if p.Set == nil {
		p.Set = map[string]mapping.Mark{}
	}
	if len(p.Set) >= maxMarks {
		maps.DeleteFunc(p.Set, func(name string, _ mapping.Mark) bool { return p.Fields[name] == "" })
	}
	p.Set[field] = mapping.Mark{At: at.UTC(), By: by}
}

// describeLoop keeps the lane's mapping fitted to what its CRM has, until ctx ends.
func (l *lane) describeLoop(ctx context.Context, d Describer) {
	var last time.Time
	failures := 0
	for wait := time.Duration(0); ; {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-l.refit:
			timer.Stop()
			wait = max(0, describeRetry-time.Since(last))
			continue
		}
		last = time.Now()
		err := l.describeOnce(ctx, d)
		if wait = describeEvery; err == nil {
			failures = 0
			l.isFitted()
			continue
		}
		if code := core.CodeOf(err); code == core.CodeForbidden || code == core.CodeInvalid || code == core.CodeInternal {
			l.isFitted() // it will not be told soon what the CRM has: the rest goes on without
		}
		if failures == 0 && ctx.Err() == nil {
			l.b.log.Warn("a CRM could not be asked what it has: its mapping is as it was", "tenant", l.t.ID, "lane", l.name, "error", err)
		}
		wait = min(describeEvery, describeRetry<<min(failures, 10))
		select {
		case <-l.fitted:
		default:
			wait = describeRetry // what the CRM tells waits for it
		}
		failures++
	}
}

// isFitted says that what the CRM tells may be read: what came before its mapping knew the
// CRM would be lost for it.
func (l *lane) isFitted() { l.fitOnce.Do(func() { close(l.fitted) }) }

// untilFitted waits until what the CRM tells may be read.
func (l *lane) untilFitted(ctx context.Context) error {
	if l.mapping == nil {
		return nil
	}
	select {
	case <-l.fitted:
		return nil
	case <-ctx.Done():
		return core.Errorf(core.CodeUnavailable, "webhook", "it is not known yet what the CRM has: %w", ctx.Err())
	}
}

func (l *lane) describeOnce(ctx context.Context, d Describer) error {
	cctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	schema, err := d.Describe(cctx)
	if err != nil {
		if ctx.Err() == nil {
			l.sawError("", core.AsError(err))
		}
		return err
	}
	before := l.mappingOff()
	schema = l.mapping.Needs(schema)
	l.mapping.Learn(&schema)
	if off := l.mappingOff(); off != before && off != "" {
		l.b.log.Warn("rules of the mapping do nothing: see `wabridge mapping check`", "tenant", l.t.ID, "lane", l.name, "rules", off)
	}
	_, err = l.b.o.Store.Settle(ctx, store.Settlement{Lazy: true, Put: []store.Put{{Key: l.schemaKey(), Value: mustJSON(schema)}}})
	return err
}

// mappingOff names the owner's rules that do nothing.
func (l *lane) mappingOff() string {
	var off []string
	for _, line := range l.mapping.Lines() {
		if line.Off != "" && !line.Suggested {
			off = append(off, line.Field+" ("+line.Off+")")
		}
	}
	return strings.Join(off, ", ")
}

func (l *lane) schemaKey() store.Key {
	return store.Key{Tenant: l.t.ID, Bucket: bucketSchemas, Key: l.crmName()}
}

// restoreSchema fits the mapping to what the CRM had when it was last asked.
func (l *lane) restoreSchema() error {
	if l.mapping == nil {
		return nil
	}
	values, err := l.b.o.Store.Get(context.Background(), l.schemaKey())
	if err != nil {
		return err
	}
	var schema core.Schema
	if values[0] != nil && json.Unmarshal(values[0], &schema) == nil && len(schema.Objects) > 0 {
		l.mapping.Learn(&schema)
		l.isFitted()
	}
	return nil
}
