package zoho

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// value is one field to write.
type value struct {
	name string
	v    any
}

// row is one record to write, and what became of it. Several events may share a row:
// Zoho must not be given one record twice in a call.
type row struct {
	key    string // the value of the key field
	values []value
	// fresh are values for a record that did not exist before.
	fresh []value
	// called is the contact's own name, for a record that has none but instead:
	// what was known of the person before.
	called  string
	instead []string
	// phone, bsuid and told are by which a record of the contact may be found that has
	// no key of ours.
	phone, bsuid, told string

	id      string // the record's, once known
	have    found  // the record as it was; nil when there was none
	adopted bool   // id is a record's that has no key of ours yet
	late    bool   // of a message that may have been edited or taken back since
	err     *core.Error
}

// set adds a value, or replaces it. An empty name is a field that the settings leave
// out.
func (r *row) set(name string, v any) {
	if name == "" {
		return
	}
	for i := range r.values {
		if r.values[i].name == name {
			r.values[i].v = v
			return
		}
	}
	r.values = append(r.values, value{name, v})
}

func (r *row) get(name string) any {
	for _, v := range r.values {
		if v.name == name {
			return v.v
		}
	}
	return nil
}

// rows are those of one module, by key.
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
	r := &row{key: key}
	rs.byKey[key] = r
	rs.list = append(rs.list, r)
	return r
}

// names returns the fields that rows want to write, each once, in order.
func names(list []*row) []string {
	seen := map[string]bool{}
	for _, r := range list {
		for _, v := range r.values {
			seen[v.name] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func keys(list []*row) []string {
	all := make([]string, len(list))
	for i, r := range list {
		all[i] = r.key
	}
	return all
}

func pick(list []*row, want func(*row) bool) []*row {
	var picked []*row
	for _, r := range list {
		if want(r) {
			picked = append(picked, r)
		}
	}
	return picked
}

// step is what one event needs: the rows that must be written before it is done.
type step struct {
	event      *core.Event
	contact    *row // nil when the event writes nothing to its contact
	message    *row // nil when the event is no message
	escalation *row
	request    *row   // the record that asked for the message whose status it is
	asked      string // its id
	merged     string // the record that stays of two
	tags       bool   // the contact's tags are told by this event
	repeated   bool   // an attempt was made before
	late       bool   // its message may have been edited or taken back since
	known      bool   // the bridge knows the contact's record
	told       string // the record that Zoho told of as the contact's
	err        *core.Error
}

// plan is what a batch needs.
type plan struct {
	steps       []*step
	contacts    rows
	messages    rows
	escalations rows
	requests    rows
}

// lateAfter is when a message counts as late: it may have been edited or taken back since,
// when a person replays it or the lane was long paused.
const lateAfter = 5 * time.Minute

// plan reads the events and lays out what to write for each.
func (s *settings) plan(batch []core.Delivery) *plan {
	p := &plan{}
	for _, d := range batch {
		st := &step{repeated: d.Attempt > 1, known: d.ContactRef != "", told: d.ToldRef}
		if s.SendModule != "" && s.SendStatus != "" && recordID.MatchString(d.MessageRef) {
			st.asked = d.MessageRef
		}
		p.steps = append(p.steps, st)
		if st.event, st.err = crm.ReadEvent(d); st.err == nil {
			accepted := st.event.Accepted
			st.late = !accepted.IsZero() && time.Since(accepted) > lateAfter && !amended(st.event)
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
		if s.layContact(p, st) && s.Mode != "none" {
			s.layMessage(p, st)
		}
	case core.KindMessageStatus:
		if e.Status == nil || e.Status.MessageID == "" {
			st.err = crm.Failure(core.CodeInvalid, "write status", "the event has no message id")
			return
		}
		if (len(e.Fields) > 0 || s.Mode == "notes") && e.Contact != nil && !s.layContact(p, st) {
			return
		}
		if s.Mode != "none" {
			s.layStatus(p, st)
		}
		s.layRequest(p, st)
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
		if e.Escalation != nil && s.Escalations != "none" && s.layContact(p, st) {
			s.layEscalation(p, st)
		}
	}
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
	r := p.contacts.of(c.ID)
	st.contact = r
	r.phone, r.bsuid, r.told = cmp.Or(c.Phone, r.phone), cmp.Or(c.BSUID, r.bsuid), cmp.Or(st.told, r.told)
	if c.Phone != "" {
		r.set(s.PhoneField, c.Phone)
	}
	if c.BSUID != "" {
		r.set(s.BSUIDField, c.BSUID)
	}
	if c.Username != "" {
		r.set(s.UsernameField, c.Username)
	}
	name := tidy(crm.Name(c))
	if name == "" { // Zoho makes no contact without it
		name = "WhatsApp " + core.MaskAddress(c.ID)
	}
	r.fresh = []value{{s.NameField, name}}
	if !s.KeepNames {
		r.set(s.NameField, name)
	}
	if r.called = tidy(c.Name); r.called != "" {
		r.instead = []string{c.Phone, c.Username, crm.Name(&core.Contact{ID: c.ID})}
	}
	if e.Kind == core.KindContactChanged || len(c.Tags) > 0 {
		r.set(s.TagsField, strings.Join(c.Tags, ";"))
		st.tags = true
	}
	for _, name := range slices.Sorted(maps.Keys(s.ContactFields)) {
		if v, ok := c.Fields[name]; ok {
			r.set(s.ContactFields[name], v)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
		if name != s.ContactKey { // who the contact is, no script decides
			r.set(name, e.Fields[name])
		}
	}
	return true
}

// tidy makes one line of a name, without what cannot be seen.
func tidy(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return strings.Join(strings.Fields(s), " ")
}

// appendRow appends a row of a write: its key or id, then its values.
func appendRow(b []byte, r *row, key string, values []value) []byte {
	b = append(b, '{')
	if r.id != "" && (r.adopted || key == "") {
		b = append(b, `"id":"`+r.id+`",`...)
	}
	if key != "" {
		b = append(append(append(b, '"'), key...), `":`...)
		b = appendJSON(b, r.key)
		b = append(b, ',')
	}
	for _, v := range values {
		b = append(append(append(b, '"'), v.name...), `":`...)
		b = appendJSON(b, v.v)
		b = append(b, ',')
	}
	return append(b[:len(b)-1], '}')
}

func appendJSON(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, text...)
}
