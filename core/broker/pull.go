package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store"
)

// What happens at a CRM comes in by asking its connector for it now and then, or
// by the CRM's own calls: see crmhook.go. The events of one answer and the place to go on from are stored together, so
// that nothing is skipped when the bridge dies, and what is told twice counts
// once.

// Poller is what a sink has when it can tell what happened at the CRM: see
// [core.Poller].
type Poller interface {
	Poll(ctx context.Context, cursor json.RawMessage) (core.Polled, error)
}

const (
	bucketCursors = "cursors" // <lane> → what the connector's last Poll said

	// pullDown is how often a lane that is out of work is looked at, and
	// pullRetry how long a Poll that failed waits at first.
	pullDown  = 30 * time.Second
	pullRetry = 10 * time.Second
	// pullWatch is how often a connector that says that it watches its CRM is asked at
	// most, while it finds nothing.
	pullWatch = time.Second
	hookRetry = time.Second

	// Bounds on what a CRM may say of a contact at once.
	maxPulledTags   = 100
	maxPulledFields = script.MaxFields
	maxPulledEvent  = 64 << 10 // bytes, as JSON
)

// crmName is the lane's name as the owner gave it: the Source of its events.
func (l *lane) crmName() string { return strings.TrimPrefix(l.name, crmQueue("")) }

// pullLoop asks for what happened at the CRM, again and again, until ctx ends.
func (l *lane) pullLoop(ctx context.Context, p Poller) {
	if l.untilFitted(ctx) != nil {
		return
	}
	failures := 0
	for wait := time.Duration(0); ; {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if _, paused := l.gate.paused(); paused {
			wait = min(pullDown, l.pull)
			continue
		}
		c, _, until := l.budgets.begin(time.Now())
		if !until.IsZero() {
			wait = time.Until(until)
			continue
		}
		began := time.Now()
		polled, err := l.pullOnce(ctx, p, c)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			e := core.AsError(err)
			l.sawError("", e)
			l.told("failed", 1)
			l.b.log.Warn("a CRM could not be asked what happened", "tenant", l.t.ID, "lane", l.name, "error", e)
			if e.Code == core.CodeUnauthenticated {
				l.gate.refuse(e)
			}
			wait = max(e.RetryAfter, min(l.pull, pullRetry<<min(failures, 10)))
			failures++
		default:
			failures = 0
			switch wait = l.pull; {
			case polled.More, polled.Watching && len(polled.Events) > 0:
				wait = 0
			case polled.Watching:
				wait = max(0, pullWatch-time.Since(began))
			}
		}
	}
}

// pullOnce makes one call, and stores what it brought.
func (l *lane) pullOnce(ctx context.Context, p Poller, c charge) (polled core.Polled, err error) {
	ctx, meter := core.WithMeter(ctx)
	defer func() { l.budgets.end(time.Now(), c, meter) }()
	if l.limiter != nil {
		if err := l.limiter.Wait(ctx, 1); err != nil {
			return polled, err
		}
	}
	at := store.Key{Tenant: l.t.ID, Bucket: bucketCursors, Key: l.crmName()}
	cursor, err := l.b.o.Store.Get(ctx, at)
	if err != nil {
		return polled, err
	}
	cctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	polled, err = p.Poll(cctx, cursor[0])
	if err != nil {
		return polled, err
	}
	if err := l.tell(ctx, polled.Events, store.Settlement{Put: []store.Put{{Key: at, Value: polled.Cursor}}}); err != nil {
		return polled, err
	}
	l.mu.Lock()
	l.pulledAt = time.Now().UTC()
	l.mu.Unlock()
	return polled, nil
}

// tell accepts what the CRM told of, and stores with it what else belongs
// together. What cannot be used is noted in the trace.
func (l *lane) tell(ctx context.Context, from []core.Event, with store.Settlement) error {
	gone, err := l.whose(ctx, from)
	if err != nil {
		return err
	}
	events := make([]core.Event, 0, len(from))
	for i := range from {
		told := from[i]
		if told.Kind == core.KindContactGone {
			if told.Contact = gone[told.ContactRef]; told.Contact == nil && told.ID != "" && told.ContactRef != "" {
				l.told("known", 1) // nobody whom the bridge ever wrote there
				continue
			}
		}
		e, err := l.pulledEvent(&told)
		if err != nil {
			l.refusePulled(&with, &from[i], err)
			continue
		}
		events = append(events, e)
	}
	if len(events)+len(with.Put)+len(with.Record) == 0 {
		return nil
	}
	out, err := l.b.accept(ctx, events, with)
	if err != nil {
		return err
	}
	taken := 0
	for _, added := range out.Added {
		if added {
			taken++
		}
	}
	l.told("taken", taken)
	l.told("known", len(events)-taken)
	return nil
}

func (l *lane) told(result string, n int) {
	l.b.m.told.WithLabelValues(l.t.ID, l.crmName(), result).Add(float64(n))
}

// pulledID is the ID of an event that a CRM told of.
func (l *lane) pulledID(e *core.Event) string {
	sum := sha256.Sum256([]byte(l.t.ID + "\x00" + l.crmName() + "\x00" + string(e.Kind) + "\x00" + e.ID))
	return "crm-" + hex.EncodeToString(sum[:16])
}

// refusePulled takes note of what a CRM told that cannot be used.
func (l *lane) refusePulled(with *store.Settlement, e *core.Event, why error) {
	l.told("refused", 1)
	step := Step{
		Time: time.Now().UTC(), Event: l.pulledID(e), Kind: e.Kind, Tenant: l.t.ID, Step: "refused", Lane: l.name,
		Error: core.AsError(why),
	}
	r := record(&step, &core.Event{})
	if id := e.ID; id != "" && len(id) <= 200 {
		r.IDs = append(r.IDs, id)
	}
	with.Record = append(with.Record, r)
}

// pulledEvent makes an event of the bridge's of one that a connector made,
// believing nothing. What it says beyond its kind is left out.
func (l *lane) pulledEvent(from *core.Event) (core.Event, error) {
	bad := func(format string, args ...any) (core.Event, error) {
		return core.Event{}, core.Errorf(core.CodeInvalid, "from "+l.crmName(), format, args...)
	}
	if from.ID == "" {
		return bad("an event without an ID")
	}
	now := time.Now().UTC()
	e := core.Event{ID: l.pulledID(from), Kind: from.Kind, Tenant: l.t.ID, Source: l.crmName(), Time: from.Time.UTC(), Accepted: now}
	if from.Time.IsZero() || from.Time.After(now) {
		e.Time = now
	}
	if len(from.ContactRef) <= maxContactRef {
		e.ContactRef = from.ContactRef
	}
	var err error
	switch from.Kind {
	case core.KindContactChanged, core.KindConsentChanged:
		if e.Contact, err = l.t.pulledContact(from.Contact); err != nil {
			return core.Event{}, err
		}
		if e.Kind == core.KindContactChanged {
			e.Fields, e.Changed = from.Fields, from.Changed
			break
		}
		if from.Consent == nil {
			return bad("a change of consent without it")
		}
		c := *from.Consent
		e.Consent = &c
		e.Contact.Tags, e.Contact.Fields = nil, nil
	case core.KindContactGone:
		if from.Contact == nil || len(from.ContactRef) > maxContactRef {
			return bad("a record that is gone, without saying which")
		}
		e.Contact = from.Contact
	case core.KindMessageSend:
		if from.Message == nil {
			return bad("a message to send without the message")
		}
		m := *from.Message
		if m.To, err = l.t.pulledAddress(m.To); err != nil {
			return core.Event{}, err
		}
		if e.Number = from.Number; e.Number == "" && len(l.t.Numbers) == 1 {
			e.Number = l.t.Numbers[0].ID
		}
		if l.t.numbers[e.Number] == nil {
			return bad("the tenant has no number %q to send from", clip(e.Number, 40))
		}
		m.ID, m.Direction = "", core.Outbound
		e.Message, e.Contact = &m, contactAt(m.To)
		if from.Author == core.AuthorHuman {
			e.Author, e.By = core.AuthorHuman, clip(from.By, 120)
		}
		if e.Class, err = classAsked(from.Class, e.Author); err != nil {
			return core.Event{}, err
		}
		if e.MessageRef = from.MessageRef; len(e.MessageRef) > maxMessageRef {
			return bad("the CRM's name of the message has more than %d bytes", maxMessageRef)
		}
	default:
		return bad("events of kind %q do not come from a CRM", clip(string(from.Kind), 40))
	}
	if data, err := json.Marshal(&e); err != nil || len(data) > maxPulledEvent {
		return bad("it has more than %d KiB", maxPulledEvent>>10)
	}
	return e, nil
}

// pulledContact reads whom a CRM means, and what it gives them. Names are left
// out: what people call themselves is what WhatsApp says.
func (t *tenant) pulledContact(from *core.Contact) (*core.Contact, error) {
	if from == nil || from.Phone == "" && from.BSUID == "" {
		return nil, core.Errorf(core.CodeInvalid, "contact", "neither a phone number nor a BSUID: it cannot be anybody on WhatsApp")
	}
	c := &core.Contact{}
	if from.Phone != "" {
		n, err := contact.ParsePhone(from.Phone, t.Region)
		if err != nil {
			return nil, err
		}
		c.Phone = n.Address().Value
	}
	if from.BSUID != "" {
		a := core.Address{Kind: core.AddressBSUID, Value: from.BSUID}
		if err := a.Validate(); err != nil {
			return nil, err
		}
		c.BSUID = a.Value
	}
	if len(from.Tags) > maxPulledTags || len(from.Fields) > maxPulledFields {
		return nil, core.Errorf(core.CodeInvalid, "contact", "more than %d tags or %d fields", maxPulledTags, maxPulledFields)
	}
	for _, tag := range from.Tags {
		if tag = strings.TrimSpace(tag); tag != "" {
			addTag(c, clip(tag, script.MaxName))
		}
	}
	for name, v := range from.Fields {
		if name == "" || len(name) > script.MaxName || len(v) > script.MaxText {
			return nil, core.Errorf(core.CodeInvalid, "contact", "the field %q has a name longer than %d or a value longer than %d bytes",
				clip(name, script.MaxName), script.MaxName, script.MaxText)
		}
		if c.Fields == nil {
			c.Fields = map[string]string{}
		}
		c.Fields[name] = v
	}
	return c, nil
}

// pulledAddress reads where a CRM wants a message to go.
func (t *tenant) pulledAddress(to core.Address) (core.Address, error) {
	if to.Kind == core.AddressPhone {
		n, err := contact.ParsePhone(to.Value, t.Region)
		if err != nil {
			return core.Address{}, err
		}
		return n.Address(), nil
	}
	return to, to.Validate()
}

// takeOver gives the contact the tags and fields that a CRM says it has. The CRM
// that says so is not told; the others are, when anything is new.
func (t *tenant) takeOver(u *turn) {
	from := u.e.Contact
	if from == nil || t.crmLane(u.e.Source) == nil {
		return
	}
	news, called := 0, fullName(u.contact)
	for _, tag := range from.Tags {
		if addTag(u.contact, tag) {
			news++
		}
	}
	for name, v := range from.Fields {
		if setField(u.contact, name, v) {
			t.mark(u.person, name, u.e.Source, u.e.Time)
			news++
		}
	}
	news += t.takeMapped(u, t.crmLane(u.e.Source))
	if u.renamed(called, u.e.Source) {
		news++
	}
	if u.tell = nil; news > 0 {
		e := *u.e
		e.Contact, e.Fields, e.Changed, e.ContactRef = u.contact, nil, nil, "" // another CRM has other properties
		u.tell, u.data, u.contactChanged = &e, nil, true
	}
	u.note(fmt.Sprintf("%s told %d tags and fields, %d of them new", u.e.Source, len(from.Tags)+len(from.Fields), news))
}

// crmLane returns the lane of a name, nil when there is none.
func (t *tenant) crmLane(name string) *lane {
	for _, l := range t.crm {
		if l.crmName() == name {
			return l
		}
	}
	return nil
}
