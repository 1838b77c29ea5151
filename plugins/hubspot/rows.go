package hubspot

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// channelType is HubSpot's word for WhatsApp.
const channelType = "WHATS_APP"

// messageBody is the property that holds what a communication says.
const messageBody = "hs_communication_body"

// property is one value to write.
type property struct{ name, value string }

// row is one input of a batch upsert, and what became of it. Several events may
// share a row: HubSpot refuses a batch that names one record twice.
type row struct {
	key        string // the value of the unique property
	trace      string // objectWriteTraceId: the ID of the first event, unique in a batch
	properties []property
	// onCreate are properties for a record that did not exist before: written in a
	// second call, when the first one made the record or was refused; with fresh, which
	// says that there is none, at once.
	onCreate []property
	fresh    bool

	// who is the contact of a contact's row, called their own name. The record is known to
	// the bridge, or it was told by HubSpot, or it is neither, and is looked for; record is
	// one to write to that does not have the key.
	who    core.Contact
	called string
	known  bool
	told   string
	record string

	id       string // the record's, once written
	isNew    bool   // the record was made by this write
	unlinked bool   // the record is there, and nobody's: see [session.keepFurther]
	existing string // the record that a unique value conflicts with
	err      *core.Error
}

// set adds a property, or replaces its value. An empty name is a property that the
// settings leave out.
func (r *row) set(name, value string) {
	if name == "" {
		return
	}
	for i := range r.properties {
		if r.properties[i].name == name {
			r.properties[i].value = value
			return
		}
	}
	r.properties = append(r.properties, property{name, value})
}

// drop takes a property out again.
func (r *row) drop(name string) {
	r.properties = slices.DeleteFunc(r.properties, func(p property) bool { return p.name == name })
}

// written are the properties that the row is written with.
func (r *row) written() []property {
	if r.fresh {
		return slices.Concat(r.properties, r.onCreate)
	}
	return r.properties
}

func (r *row) get(name string) string {
	for _, p := range r.properties {
		if p.name == name {
			return p.value
		}
	}
	return ""
}

// rows are the inputs of one kind of record, by key.
type rows struct {
	list   []*row
	byKey  map[string]*row
	traces map[string]bool
}

// of returns the row of a key, made on first use.
func (rs *rows) of(key, eventID string) *row {
	if r := rs.byKey[key]; r != nil {
		return r
	}
	if rs.byKey == nil {
		rs.byKey, rs.traces = make(map[string]*row), make(map[string]bool)
	}
	trace := eventID
	for n := 2; rs.traces[trace]; n++ {
		trace = eventID + "~" + strconv.Itoa(n)
	}
	r := &row{key: key, trace: trace}
	rs.byKey[key], rs.traces[trace] = r, true
	rs.list = append(rs.list, r)
	return r
}

// step is what one event needs: the rows that must be written before it is done.
type step struct {
	event   *core.Event
	contact *row   // nil when the event writes nothing to its contact
	message *row   // nil when the event is no message
	link    bool   // message belongs on the contact's timeline
	post    *post  // nil when the event is nothing for the inbox
	ticket  *row   // nil when the event is about no ticket
	merged  string // the record that stays of two
	err     *core.Error
	// known and told are the contact's record, as in [core.Delivery].
	known, told string
	late        bool // a status or message that may be older than what is there
}

// plan is what a batch needs.
type plan struct {
	steps    []step
	contacts rows
	messages rows
	tickets  rows
}

// lateAfter is when a status or message counts as late: others may have overtaken it, when a
// person replays it or the lane was long paused.
const lateAfter = 5 * time.Minute

// plan reads the events and lays out what to write for each.
func (s *settings) plan(batch []core.Delivery) *plan {
	p := &plan{steps: make([]step, len(batch))}
	for i, d := range batch {
		st := &p.steps[i]
		st.known, st.told = d.ContactRef, d.ToldRef
		if st.event, st.err = crm.ReadEvent(d); st.err == nil {
			accepted := st.event.Accepted
			st.late = d.Attempt > 1 || !accepted.IsZero() && time.Since(accepted) > lateAfter
			s.lay(p, st, d.MessageRef)
		}
	}
	return p
}

func (s *settings) lay(p *plan, st *step, ref string) {
	e := st.event
	switch e.Kind {
	case core.KindMessageReceived, core.KindMessageSent, core.KindMessageEdited, core.KindMessageRevoked, core.KindMessageMedia:
		if e.Message == nil || e.Message.ID == "" {
			st.err = crm.Failure(core.CodeInvalid, "log message", "the event has no message id")
			return
		}
		if !s.layContact(&p.contacts, st) {
			return
		}
		switch {
		case s.timeline():
			st.message, st.link = s.layMessage(p, e), true
		case s.inbox():
			st.post = s.layPost(e, ref)
		}
	case core.KindMessageStatus:
		if e.Status == nil || e.Status.MessageID == "" {
			st.err = crm.Failure(core.CodeInvalid, "write status", "the event has no message id")
			return
		}
		if len(e.Fields) > 0 && e.Contact != nil && !s.layContact(&p.contacts, st) {
			return
		}
		switch {
		case s.timeline():
			st.message = s.layStatus(p, e)
		case s.inbox():
			if st.post = s.layPost(e, ref); st.post != nil && st.post.publish && st.contact == nil {
				s.layContact(&p.contacts, st)
			}
		}
	case core.KindContactChanged:
		if s.layContact(&p.contacts, st) && e.Escalation != nil { // corrected: nothing was escalated now
			st.contact.set(s.EscalationProperty, clip(e.Escalation.Reason))
		}
	case core.KindConsentChanged:
		if e.Consent == nil || s.ConsentProperty == "" && s.SuppressedProperty == "" && len(e.Fields) == 0 {
			return // not mapped: the bridge's ledger has it
		}
		if s.layContact(&p.contacts, st) {
			st.contact.set(s.ConsentProperty, e.Consent.Marketing)
			st.contact.set(s.SuppressedProperty, strings.Join(e.Consent.Suppressed, ";"))
		}
	case core.KindEscalation, core.KindEscalationMoved, core.KindEscalationClosed:
		if s.Escalations == "tickets" {
			s.layTicket(p, st)
			return
		}
		if e.Kind != core.KindEscalation && len(e.Fields) == 0 {
			return // the timeline says that it was
		}
		if !s.layContact(&p.contacts, st) {
			return
		}
		if e.Kind != core.KindEscalation {
			return
		}
		s.layEscalation(p, st)
	}
}

// layContact adds what the event says of its contact; false when it cannot be
// written.
func (s *settings) layContact(rs *rows, st *step) bool {
	e := st.event
	if e.Contact == nil || e.Contact.ID == "" {
		st.err = crm.Failure(core.CodeInvalid, "contact upsert", "the event has no contact")
		return false
	}
	c := e.Contact
	r := rs.of(c.ID, e.ID)
	st.contact = r
	r.who, r.known, r.told = *c, r.known || st.known != "", cmp.Or(r.told, st.told)
	if name := strings.TrimSpace(c.Name); name != "" {
		r.called = name
	}
	if c.Phone != "" {
		r.set(s.PhoneProperty, c.Phone)
	}
	if c.BSUID != "" {
		r.set(s.BSUIDProperty, c.BSUID)
	}
	if c.Username != "" {
		r.set(s.UsernameProperty, c.Username)
	}
	if name := clip(crm.Name(c)); s.NameProperty != "" { // HubSpot makes no contact without e-mail address and name
		switch {
		case !s.KeepNames && strings.TrimSpace(c.Name) != "":
			r.set(s.NameProperty, name)
			r.onCreate = nil
		case r.get(s.NameProperty) == "": // what stands in for a name replaces none
			r.onCreate = []property{{s.NameProperty, name}}
		}
	}
	if e.Kind == core.KindContactChanged {
		r.set(s.TagsProperty, strings.Join(c.Tags, ";"))
	} else if len(c.Tags) > 0 {
		r.set(s.TagsProperty, strings.Join(c.Tags, ";"))
	}
	for _, field := range slices.Sorted(maps.Keys(s.ContactFields)) {
		if value, ok := c.Fields[field]; ok {
			r.set(s.ContactFields[field], clip(value))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
		if name == s.ContactKey {
			continue // who the contact is, no script decides
		}
		if name == s.NameProperty {
			r.onCreate = nil
		}
		r.set(name, clip(crm.FieldText(e.Fields[name])))
	}
	return true
}

// amended reports whether the event says what became of a message that is there.
func amended(e *core.Event) bool {
	return e.Kind == core.KindMessageEdited || e.Kind == core.KindMessageRevoked || e.Kind == core.KindMessageMedia
}

// outbound reports whether the event's message is the business's.
func outbound(e *core.Event) bool {
	return e.Kind == core.KindMessageSent || amended(e) && e.Message.Direction == core.Outbound
}

func (s *settings) layMessage(p *plan, e *core.Event) *row {
	r := p.messages.of(e.Message.ID, e.ID)
	prefix, direction := s.InboundPrefix, core.Inbound
	if outbound(e) {
		prefix, direction = s.OutboundPrefix, core.Outbound
	}
	s.layCommunication(r, e, timelineHTML(prefix+crm.MessageText(e.Message)))
	r.set(s.DirectionProperty, string(direction))
	// No status is written here: when a person replays an old event, the status
	// that the message has reached since must not fall back.
	return r
}

func (s *settings) layCommunication(r *row, e *core.Event, body string) {
	r.set("hs_communication_channel_type", channelType)
	r.set("hs_communication_logged_from", "CRM")
	r.set(messageBody, body)
	r.onCreate = nil
	switch at := timestamp(e); {
	case at == "":
	case amended(e): // the message's own time stays
		if r.get("hs_timestamp") == "" {
			r.onCreate = []property{{"hs_timestamp", at}}
		}
	default:
		r.set("hs_timestamp", at)
	}
	if s.OwnerID != "" {
		r.set("hubspot_owner_id", s.OwnerID)
	}
}

// layStatus writes a status to the message's record. When HubSpot does not know the
// message (it was sent by another system, or logging it failed), the upsert makes a
// stub of it rather than wait: the status is kept, a message that is logged later
// fills the stub in, and one that never is does not hold up its conversation. The
// stub's time is written only on creation, so that it never replaces the message's.
func (s *settings) layStatus(p *plan, e *core.Event) *row {
	known := p.messages.byKey[e.Status.MessageID]
	r := p.messages.of(e.Status.MessageID, e.ID)
	if known == nil {
		r.set("hs_communication_channel_type", channelType)
		r.set("hs_communication_logged_from", "CRM")
		if at := timestamp(e); at != "" {
			r.onCreate = []property{{"hs_timestamp", at}}
		}
	}
	if s.DirectionProperty != "" {
		r.set(s.DirectionProperty, string(core.Outbound)) // only what we sent has a status
	}
	value := e.Status.Value
	if before := r.get(s.StatusProperty); before != "" && !core.StatusValue(before).Advances(value) {
		return r
	}
	r.set(s.StatusProperty, string(value))
	if len(e.Status.Errors) > 0 {
		r.set(s.StatusErrorProperty, clip(crm.StatusErrors(e.Status.Errors)))
	}
	return r
}

func (s *settings) layEscalation(p *plan, st *step) {
	e := st.event
	reason := "escalated"
	var text strings.Builder
	text.WriteString("Escalation")
	if x := e.Escalation; x != nil {
		if x.Reason != "" {
			reason = x.Reason
		}
		for _, part := range []struct{ label, value string }{
			{"", x.Reason}, {"for ", x.Team}, {"priority ", x.Priority}, {"", x.Note},
		} {
			if part.value != "" {
				text.WriteString("\n" + part.label + part.value)
			}
		}
	}
	st.contact.set(s.EscalationProperty, clip(reason))
	if !s.timeline() {
		return
	}
	// An escalation shows on the timeline beside the messages. Its key cannot be
	// a wamid: those have no colon.
	r := p.messages.of("escalation:"+e.ID, e.ID)
	s.layCommunication(r, e, timelineHTML(text.String()))
	st.message, st.link = r, true
}

// timestamp is when the event happened, in milliseconds since 1970 as HubSpot takes
// it, or "".
func timestamp(e *core.Event) string {
	at := e.Time
	if at.IsZero() {
		at = e.Accepted
	}
	if at.IsZero() {
		return ""
	}
	return strconv.FormatInt(at.UnixNano()/int64(time.Millisecond), 10)
}
