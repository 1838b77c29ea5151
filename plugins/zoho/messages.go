package zoho

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// The arrows show in lists who wrote.
const (
	inbound  = "← "
	outbound = "→ "
	// maxTitle is how many bytes of a message its name shows.
	maxTitle = 100
)

// messageFields are the fields of the messages' module.
func (s *settings) messageFields() []named {
	return []named{{"message_key", s.MessageKey}, {"message_name_field", s.MessageName}, {"message_contact_field", s.MessageContact},
		{"direction_field", s.DirectionField}, {"body_field", s.BodyField}, {"type_field", s.TypeField}, {"media_field", s.MediaField},
		{"time_field", s.TimeField}, {"status_field", s.StatusField}, {"status_time_field", s.StatusTimeField}, {"status_error_field", s.StatusErrorField}}
}

// eventTime is when an event happened, in the form that Zoho takes, or nil.
func eventTime(e *core.Event) any {
	at := e.Time
	if at.IsZero() {
		at = e.Accepted
	}
	if at.IsZero() {
		return nil
	}
	return at.UTC().Format(clock)
}

// amended reports whether the event says what became of a message that is there.
func amended(e *core.Event) bool {
	return e.Kind == core.KindMessageEdited || e.Kind == core.KindMessageRevoked || e.Kind == core.KindMessageMedia
}

// layMessage writes a message's record. No status is among it: when a person replays
// an old event, the status that the message has reached since must not fall back.
func (s *settings) layMessage(p *plan, st *step) {
	e, m := st.event, st.event.Message
	r := p.messages.of(m.ID)
	st.message = r
	arrow, direction := inbound, core.Inbound
	if e.Kind == core.KindMessageSent || amended(e) && m.Direction == core.Outbound {
		arrow, direction = outbound, core.Outbound
	}
	body := crm.MessageText(m)
	r.fresh, r.late = nil, st.late
	r.set(s.MessageName, arrow+crm.Clip(tidy(body), maxTitle))
	r.set(s.DirectionField, string(direction))
	r.set(s.BodyField, body)
	r.set(s.TypeField, string(m.Type))
	if !amended(e) { // else the message's own time stays
		r.set(s.TimeField, eventTime(e))
	}
	if m.Media != nil && m.Media.Link != "" {
		r.set(s.MediaField, m.Media.Link)
	}
}

// layStatus writes a status to its message's record. When Zoho does not know the
// message (another system sent it, or logging it failed) a stub is made: the message
// that is logged later fills it in.
func (s *settings) layStatus(p *plan, st *step) {
	e := st.event
	r := p.messages.of(e.Status.MessageID)
	st.message = r
	if r.get(s.MessageName) == nil {
		r.fresh = []value{{s.MessageName, outbound + notLogged}, {s.TimeField, eventTime(e)}}
	}
	r.set(s.DirectionField, string(core.Outbound)) // only what we sent has a status
	before, _ := r.get(s.StatusField).(string)
	if before != "" && !core.StatusValue(before).Advances(e.Status.Value) {
		return
	}
	r.set(s.StatusField, string(e.Status.Value))
	r.set(s.StatusTimeField, eventTime(e))
	if len(e.Status.Errors) > 0 {
		r.set(s.StatusErrorField, crm.StatusErrors(e.Status.Errors))
	}
}

// readMessages reads the records of the messages that have a status in the plan: one that
// is not newer is not written. Nor is a late message, where more is there than a stub. The
// people of stubs are written, too.
func (x *session) readMessages(ctx context.Context, p *plan) {
	list := pick(p.messages.list, func(r *row) bool { return (r.late || r.get(x.StatusField) != nil) && wanted(p, r) })
	if len(list) == 0 {
		return
	}
	fail := func(err *core.Error) {
		for _, st := range p.steps {
			if st.err == nil && slices.Contains(list, st.message) {
				st.err = err
			}
		}
	}
	fs, err := x.fieldsOf(ctx, x.MessageModule, names(list)...)
	if err == nil {
		err = fs.lacking(named{"message_key", x.MessageKey})
	}
	if err != nil {
		fail(err)
		return
	}
	have, err := x.byKey(ctx, fs, x.MessageKey, keys(list), x.MessageName, x.StatusField)
	if err != nil {
		fail(err)
		return
	}
	for _, r := range list {
		f := have[r.key]
		if f == nil {
			continue
		}
		r.have, r.id = f, f.id()
		if name := f.text(x.MessageName); r.late && name != "" && name != outbound+notLogged {
			for _, name := range []string{x.MessageName, x.BodyField, x.TypeField, x.MediaField} {
				r.drop(name)
			}
		}
		status, _ := r.get(x.StatusField).(string)
		if was := core.StatusValue(f.text(x.StatusField)); was != "" && !was.Advances(core.StatusValue(status)) {
			for _, name := range []string{x.StatusField, x.StatusTimeField, x.StatusErrorField} {
				r.drop(name)
			}
		}
	}
	for _, st := range p.steps {
		if st.err == nil && st.event.Kind == core.KindMessageStatus && st.message.have == nil && st.contact == nil && st.event.Contact != nil {
			x.layContact(p, st)
		}
	}
}

func (r *row) drop(name string) {
	for i := range r.values {
		if r.values[i].name == name {
			r.values = append(r.values[:i], r.values[i+1:]...)
			return
		}
	}
}

// writeMessages upserts the records of messages.
func (x *session) writeMessages(ctx context.Context, p *plan) {
	for _, st := range p.steps {
		if st.err == nil && st.message != nil && st.contact != nil {
			st.message.set(x.MessageContact, st.contact.id)
		}
	}
	list := pick(p.messages.list, func(r *row) bool { return wanted(p, r) })
	if len(list) == 0 {
		return
	}
	fs, err := x.fieldsOf(ctx, x.MessageModule, names(list)...)
	if err == nil {
		for _, n := range x.messageFields() {
			if err = fs.lacking(n); err != nil {
				break
			}
		}
	}
	if err != nil {
		for _, r := range list {
			r.err = err
		}
	} else {
		values := map[*row][]value{}
		list = pick(list, func(r *row) bool {
			// An old status leaves the direction alone, which is there already.
			if r.have != nil && r.get(x.StatusField) == nil && r.get(x.MessageName) == nil {
				return false
			}
			values[r] = withName(fs, r, x.MessageName, valuesFor(fs, r, true))
			return true
		})
		x.write(ctx, writing{op: "message upsert", method: http.MethodPost, path: x.MessageModule + "/upsert", key: x.MessageKey, upsert: true}, list, values)
	}
	for _, st := range p.steps {
		if st.err == nil && st.message != nil {
			st.err = st.message.err
		}
	}
}

// title cuts a text for a list.
func title(parts ...string) string {
	return crm.Clip(tidy(strings.Join(parts, " · ")), maxTitle)
}
