package salesforce

import (
	"cmp"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// row is one record to write, and what became of it. Several events may share a
// row: a collection must not name one record twice.
type row struct {
	key    string // the value of the external id field
	fields map[string]any
	// name is a new record's; see [session.writeContacts].
	name  any
	named bool // by a script
	// called is the contact's own name, instead what stands in for one.
	called  string
	instead []string
	// phone, bsuid and told are by which a record of the contact may be found that has
	// no key of ours.
	phone, bsuid, told string
	known              bool // to the bridge, which record it is

	id      string // the record's, once known
	created bool   // this write made it
	adopted bool   // it was the org's, and is the contact's from now on
	assign  bool   // it is new, and the org's rules say whose it is
	amended bool   // a message's record gets what became of it
	// unlinked says that a message's record has no contact.
	unlinked bool
	err      *core.Error
	refused  apiError // what err was made of, if it was the row's own
}

// set gives a field a value; an empty name is a field that the settings leave out.
func (r *row) set(name string, value any) {
	if name != "" {
		r.fields[name] = value
	}
}

// rows are the records of one object, by key.
type rows struct {
	list  []*row
	byKey map[string]*row
}

// of returns the row of a key, made on first use.
func (rs *rows) of(key string) *row {
	if r := rs.byKey[key]; r != nil {
		return r
	}
	if rs.byKey == nil {
		rs.byKey = make(map[string]*row)
	}
	r := &row{key: key, fields: map[string]any{}}
	rs.byKey[key] = r
	rs.list = append(rs.list, r)
	return r
}

// step is what one event needs: the rows that must be written before it is done.
type step struct {
	event      *core.Event
	late       bool // a status that may be older than what is there
	contact    *row // nil when the event writes nothing to its contact
	message    *row
	escalation *row
	merged     string // the record that stays of two
	known      bool   // the bridge knows the contact's record
	told       string // the record that Salesforce told of as the contact's
	err        *core.Error
}

// plan is what a batch needs.
type plan struct {
	steps       []step
	contacts    rows
	messages    rows
	escalations rows
}

// lateAfter is when a status counts as late: others may have overtaken it, when a
// person replays it or the lane was long paused.
const lateAfter = 5 * time.Minute

// plan reads the events and lays out what to write for each. Fields of scripts are
// laid later, when it is known what fields there are.
func (s *settings) plan(batch []core.Delivery) *plan {
	p := &plan{steps: make([]step, len(batch))}
	for i, d := range batch {
		st := &p.steps[i]
		st.known, st.told = d.ContactRef != "", d.ToldRef
		if st.event, st.err = crm.ReadEvent(d); st.err == nil {
			st.late = d.Attempt > 1 || time.Since(st.event.Accepted) > lateAfter
			s.lay(p, st)
		}
	}
	return p
}

func (s *settings) lay(p *plan, st *step) {
	e := st.event
	switch e.Kind {
	case core.KindMessageReceived, core.KindMessageSent, core.KindMessageEdited, core.KindMessageRevoked, core.KindMessageMedia:
		if e.Message == nil || e.Message.ID == "" {
			st.err = crm.Failure(core.CodeInvalid, "log message", "the event has no message id")
			return
		}
		if s.layContact(p, st) && s.Mode != "none" && keyed(st, e.Message.ID) {
			st.message = s.layMessage(p, e)
		}
	case core.KindMessageStatus:
		if e.Status == nil || e.Status.MessageID == "" {
			st.err = crm.Failure(core.CodeInvalid, "write status", "the event has no message id")
			return
		}
		if len(e.Fields) > 0 && e.Contact != nil && !s.layContact(p, st) {
			return
		}
		if s.Mode != "none" && s.MessageStatus != "" && keyed(st, e.Status.MessageID) {
			st.message = s.layStatus(p, e)
		}
	case core.KindContactChanged:
		s.layContact(p, st)
	case core.KindConsentChanged:
		if e.Consent == nil || s.ConsentField == "" && s.SuppressedField == "" && len(e.Fields) == 0 {
			return // not mapped: the bridge's ledger has it
		}
		if s.layContact(p, st) {
			st.contact.set(s.ConsentField, e.Consent.Marketing)
			st.contact.set(s.SuppressedField, strings.Join(e.Consent.Suppressed, ";"))
		}
	case core.KindEscalation, core.KindEscalationMoved, core.KindEscalationClosed:
		if e.Escalation == nil || s.Escalations == "none" {
			return
		}
		if s.layContact(p, st) {
			s.layEscalation(p, st)
		}
	}
}

// maxKey is how long the value of an external id may be.
const maxKey = 255

// keyed reports whether an id fits into a key field.
func keyed(st *step, id string) bool {
	if len(id) > maxKey {
		st.err = crm.Failure(core.CodeInvalid, "key", "the id has more than %d characters", maxKey)
	}
	return st.err == nil
}

// layContact adds what the event says of its contact; false when it cannot be
// written.
func (s *settings) layContact(p *plan, st *step) bool {
	e := st.event
	if e.Contact == nil || e.Contact.ID == "" {
		st.err = crm.Failure(core.CodeInvalid, "contact upsert", "the event has no contact")
		return false
	}
	c := e.Contact
	if !keyed(st, c.ID) {
		return false
	}
	r := p.contacts.of(c.ID)
	st.contact = r
	r.phone, r.bsuid, r.told = cmp.Or(c.Phone, r.phone), cmp.Or(c.BSUID, r.bsuid), cmp.Or(st.told, r.told)
	r.known = r.known || st.known
	if c.Phone != "" {
		r.set(s.PhoneField, c.Phone)
	}
	if c.BSUID != "" {
		r.set(s.BSUIDField, c.BSUID)
	}
	if c.Username != "" {
		r.set(s.UsernameField, c.Username)
	}
	if !r.named {
		r.name = cut(crm.Name(c), maxName)
	}
	if name := strings.TrimSpace(c.Name); name != "" {
		r.called, r.instead = cut(name, maxName), []string{c.Phone, c.Username, cut(crm.Name(&core.Contact{ID: c.ID}), maxName)}
	}
	if e.Kind == core.KindContactChanged || len(c.Tags) > 0 {
		r.set(s.TagsField, strings.Join(c.Tags, ";"))
	}
	for field, name := range s.ContactFields {
		if value, ok := c.Fields[field]; ok {
			r.set(name, value)
		}
	}
	return true
}

const (
	// maxName is how long a last name may be, maxSubject a subject, and maxBody a long
	// text; a shorter field is learned of when Salesforce refuses the text.
	maxName    = 80
	maxSubject = 255
	maxBody    = 131072
	maxTask    = 32000
)

// cut shortens a text to a length, with a mark. Salesforce counts as [crm.Length] does, see
// https://help.salesforce.com/s/articleView?id=005166849&type=1.
func cut(text string, size int) string { return crm.Cut(text, size, "…") }

func (s *settings) layMessage(p *plan, e *core.Event) *row {
	r := p.messages.of(e.Message.ID)
	direction := core.Inbound
	amends := e.Kind == core.KindMessageEdited || e.Kind == core.KindMessageRevoked || e.Kind == core.KindMessageMedia
	if e.Kind == core.KindMessageSent || amends && e.Message.Direction == core.Outbound {
		direction = core.Outbound
	}
	text, at := crm.MessageText(e.Message), when(e)
	if amends {
		at = time.Time{} // the message's own time stays
	}
	said := !r.amended || amends // a message that comes after what became of it is replayed
	r.amended = r.amended || amends
	if s.Mode == "task" {
		subject := "WhatsApp from "
		if direction == core.Outbound {
			subject = "WhatsApp to "
		}
		r.set("Subject", cut(strings.Join(strings.Fields(subject+crm.Name(e.Contact)), " "), maxSubject))
		r.set("Status", "Completed")
		if !at.IsZero() {
			r.set("ActivityDate", at.Format(time.DateOnly))
		}
		text = cut(text, maxTask)
	}
	if said {
		r.set(s.MessageBody, cut(text, maxBody))
		r.set(s.MessageType, string(e.Message.Type))
	}
	r.set(s.MessageDirection, string(direction))
	if !at.IsZero() {
		r.set(s.MessageTime, at.Format(stamp))
	}
	// No status is written here: when a person replays an old event, the status
	// that the message has reached since must not fall back.
	return r
}

// stamp is how Salesforce writes a time.
const stamp = "2006-01-02T15:04:05.000Z"

// when is when the event happened; zero when nobody knows.
func when(e *core.Event) time.Time {
	if e.Time.IsZero() {
		return e.Accepted.UTC()
	}
	return e.Time.UTC()
}

// layStatus writes a status to the message's record; the furthest of the batch
// counts. When Salesforce does not know the message, the upsert makes a stub of it,
// which a message that is logged later fills in.
func (s *settings) layStatus(p *plan, e *core.Event) *row {
	r := p.messages.of(e.Status.MessageID)
	r.set(s.MessageDirection, string(core.Outbound)) // only what we sent has a status
	before, _ := r.fields[s.MessageStatus].(string)
	if before != "" && !core.StatusValue(before).Advances(e.Status.Value) {
		return r
	}
	r.set(s.MessageStatus, string(e.Status.Value))
	if len(e.Status.Errors) > 0 {
		r.set(s.MessageError, cut(crm.StatusErrors(e.Status.Errors), 255))
	}
	if s.Mode == "task" && r.fields["Subject"] == nil {
		// A stub is no task to do. An update sets what it has already.
		r.set("Status", "Completed")
	}
	return r
}

// priorities are Salesforce's words.
var priorities = map[string]string{"low": "Low", "normal": "Normal", "high": "High"}

func (s *settings) layEscalation(p *plan, st *step) {
	e, x := st.event, st.event.Escalation
	id := x.ID
	if id == "" {
		id = e.ID
	}
	if !keyed(st, id) {
		return
	}
	r := p.escalations.of(id)
	st.escalation = r
	if e.Kind == core.KindEscalationClosed {
		r.set("Status", s.EscalationClosed)
	}
	subject := "WhatsApp: " + x.Reason
	if x.Overdue {
		subject = "Overdue: " + subject
	}
	r.set("Subject", cut(strings.Join(strings.Fields(subject), " "), maxSubject))
	if e.Kind != core.KindEscalationClosed || x.Note != "" { // its end says no more than that
		r.set("Description", cut(escalationText(x), maxTask))
	}
	if priority := priorities[x.Priority]; priority == "Normal" && s.Escalations == "case" {
		r.set("Priority", "Medium")
	} else if priority != "" {
		r.set("Priority", priority)
	}
	if !x.Deadline.IsZero() {
		value := x.Deadline.UTC().Format(stamp)
		if s.EscalationDue == "ActivityDate" {
			value = x.Deadline.UTC().Format(time.DateOnly)
		}
		r.set(s.EscalationDue, value)
	}
	if owner := s.owner(x); owner != "" && e.Kind != core.KindEscalationClosed {
		r.set("OwnerId", owner)
	}
	opened := r.assign || s.Escalations == "case" && e.Kind == core.KindEscalation
	r.assign = opened && r.fields["OwnerId"] == nil
}

// owner says whose an escalation is: the assignee's, or the team's, if known.
func (s *settings) owner(x *core.Escalation) string {
	if a := x.Assignee; a != nil {
		if owner := s.Owners[a.ID]; owner != "" {
			return owner
		}
		if recordID.MatchString(a.CRMOwner) {
			return a.CRMOwner
		}
	}
	return s.Owners[x.Team]
}

func escalationText(x *core.Escalation) string {
	var text strings.Builder
	text.WriteString(x.Reason)
	who := ""
	if x.Assignee != nil {
		who = x.Assignee.Name
	}
	outcome := x.Outcome
	if outcome != "" && x.By != "" {
		outcome += " by " + x.By
	}
	for _, part := range []struct{ label, value string }{
		{"", x.Note}, {"Team: ", x.Team}, {"For: ", who}, {"Ended: ", outcome},
	} {
		if part.value != "" {
			text.WriteString("\n" + part.label + part.value)
		}
	}
	return text.String()
}
