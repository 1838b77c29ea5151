package salesforce

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// Deliver implements [core.Connector]. First the contacts, then the messages and
// escalations of those whose contact is written: their records point to it. A row
// that fails ends only the events that share it.
func (c *Connector) Deliver(ctx context.Context, account core.Account, batch []core.Delivery) []core.Result {
	if len(batch) == 0 {
		return nil
	}
	x, err := c.open(account)
	if err != nil {
		return crm.FailAll(batch, err)
	}
	p := x.plan(batch)
	x.layFields(ctx, p)
	x.writeContacts(ctx, wanted(p, contactOf))
	p.inherit(contactOf)
	x.writeMessages(ctx, p)
	x.linkStubs(ctx, p)
	x.writeEscalations(ctx, p)
	for i := range p.steps {
		switch st := &p.steps[i]; {
		case st.err != nil:
		case st.event.Kind == core.KindContactMerged:
			st.merged, st.err = x.merging().Do(ctx, x.OnMerge, st.event)
		case st.event.Kind == core.KindContactErased:
			st.err = x.erase(ctx, st.event)
		}
	}

	results := make([]core.Result, len(batch))
	for i := range p.steps {
		results[i] = p.steps[i].result()
	}
	return results
}

func contactOf(st *step) *row    { return st.contact }
func messageOf(st *step) *row    { return st.message }
func escalationOf(st *step) *row { return st.escalation }

// wanted returns the rows of one kind that steps need which are still good, in the
// order of their events.
func wanted(p *plan, of func(*step) *row) []*row {
	var list []*row
	seen := map[*row]bool{}
	for i := range p.steps {
		if st := &p.steps[i]; st.err == nil && of(st) != nil && !seen[of(st)] {
			seen[of(st)] = true
			list = append(list, of(st))
		}
	}
	return list
}

// inherit ends the steps whose row failed.
func (p *plan) inherit(of func(*step) *row) {
	for i := range p.steps {
		if st := &p.steps[i]; st.err == nil && of(st) != nil {
			st.err = of(st).err
		}
	}
}

// writeContacts writes contacts, known ones in one call; see the package.
func (x *session) writeContacts(ctx context.Context, rs []*row) {
	if len(rs) == 0 {
		return
	}
	x.upsert(ctx, x.ContactObject, x.ContactKey, rs)
	var unknown, doubtful, again, nameless []*row
	for _, r := range rs {
		switch {
		case r.err == nil && r.created: // the org requires no name
		case r.err == nil && r.named:
			r.set(x.NameField, r.name)
			again = append(again, r)
		case r.err == nil && !r.known && r.called != "": // it may have been written without a name
			nameless = append(nameless, r)
		case r.refused.code() == "REQUIRED_FIELD_MISSING" && slices.Contains(r.refused.Fields, x.NameField):
			unknown = append(unknown, r)
		case r.err != nil && r.perhapsNew():
			doubtful = append(doubtful, r)
		}
	}
	again = append(again, x.name(ctx, nameless)...)
	unknown = append(unknown, x.unknownOf(ctx, x.ContactObject, x.ContactKey, doubtful)...)
	if err := x.adopt(ctx, unknown); err != nil {
		for _, r := range unknown {
			r.err = err
		}
		unknown = nil
	}
	onCreate, err := x.onCreate(ctx, slices.ContainsFunc(unknown, func(r *row) bool { return r.id == "" }))
	var adopted []*row
	for _, r := range unknown {
		if r.id == "" && err != nil {
			r.err = err
			continue
		}
		if r.id == "" {
			maps.Copy(r.fields, onCreate)
			r.set(x.NameField, r.name)
			r.assign = byRules(x.ContactObject) && r.fields["OwnerId"] == nil
			again = append(again, r)
			continue
		}
		if r.named {
			r.set(x.NameField, r.name)
		}
		r.adopted = true
		adopted = append(adopted, r)
	}
	if len(adopted) > 0 {
		x.update(ctx, x.ContactObject, x.ContactKey, adopted)
		mayBeGone(adopted)
	}
	if len(again) > 0 {
		x.upsert(ctx, x.ContactObject, x.ContactKey, again)
	}
}

// onCreate returns what the settings want of new contacts, as their fields take it.
func (x *session) onCreate(ctx context.Context, wanted bool) (map[string]any, *core.Error) {
	if !wanted || len(x.OnCreate) == 0 {
		return nil, nil
	}
	s, r := x.describe(ctx, x.ContactObject, schemaLife)
	if r != nil {
		return nil, unread(r.Error)
	}
	values := map[string]any{}
	for name, text := range x.OnCreate {
		f, ok := s.fields[strings.ToLower(name)]
		if !ok { // Salesforce says so itself, when it is still so
			values[name] = text
			continue
		}
		v, why := f.value(text)
		if why != "" {
			return nil, &core.Error{Code: core.CodeForbidden, Scope: core.ScopeLane, Op: "contact upsert", Source: core.SourcePlugin,
				Message: name + ": " + why, Hint: "correct settings.on_create." + name}
		}
		values[name] = v
	}
	return values, nil
}

// name gives contacts their names whose records have what stands in for one, and returns
// them. A name that people gave a record stays.
func (x *session) name(ctx context.Context, rs []*row) (named []*row) {
	var texts []string
	byKey := map[string]*row{}
	for _, r := range rs {
		texts, byKey[r.key] = append(texts, quoted(r.key)), r
	}
	if len(texts) == 0 {
		return nil
	}
	records, err := x.query(ctx, "contact read", "SELECT "+x.ContactKey+", "+x.NameField+" FROM "+x.ContactObject+" WHERE "+x.ContactKey+" IN (", texts, ", ", ") LIMIT 2000")
	for _, r := range rs {
		r.err = err
	}
	for _, f := range records {
		if r := byKey[f.text(x.ContactKey)]; r != nil && slices.Contains(r.instead, f.text(x.NameField)) {
			r.set(x.NameField, r.called)
			named = append(named, r)
		}
	}
	return named
}

// perhapsNew reports whether a contact may have been refused because it would have
// been a new one, by what looks at records before Salesforce asks for their name.
func (r *row) perhapsNew() bool {
	return slices.Contains([]string{"REQUIRED_FIELD_MISSING", "FIELD_CUSTOM_VALIDATION_EXCEPTION",
		"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "DUPLICATES_DETECTED"}, r.refused.code())
}

// unknownOf returns those of the rows that have no record. A known contact stays refused: it
// is not to get a new name, nor another record.
func (x *session) unknownOf(ctx context.Context, object, key string, rs []*row) []*row {
	if len(rs) == 0 {
		return nil
	}
	var texts []string
	for _, r := range rs {
		texts = append(texts, quoted(r.key))
	}
	records, err := x.query(ctx, object+" read", "SELECT "+key+" FROM "+object+" WHERE "+key+" IN (", texts, ", ", ") LIMIT 2000")
	if err != nil {
		for _, r := range rs {
			r.err = err
		}
		return nil
	}
	return slices.DeleteFunc(rs, func(r *row) bool {
		return slices.ContainsFunc(records, func(f found) bool { return strings.EqualFold(f.text(key), r.key) })
	})
}

// writeMessages writes the messages of the steps that are still good.
func (x *session) writeMessages(ctx context.Context, p *plan) {
	rs := wanted(p, messageOf)
	if len(rs) == 0 {
		return
	}
	for i := range p.steps {
		if st := &p.steps[i]; st.err == nil && st.message != nil && st.contact != nil {
			st.message.set(x.MessageContact, st.contact.id)
		}
	}
	if err := x.keepFurther(ctx, p); err != nil {
		for i := range p.steps {
			if st := &p.steps[i]; st.overtaken() {
				st.err = err
			}
		}
		if rs = wanted(p, messageOf); len(rs) == 0 {
			return
		}
	}
	// A message locks the record of its contact: whoever writes others of these people at the
	// same time waits less where all do it in one order.
	slices.SortStableFunc(rs, func(a, b *row) int { return strings.Compare(a.contact(x), b.contact(x)) })
	x.upsert(ctx, x.MessageObject, x.MessageKey, rs)
	mayBeGone(rs)
	p.inherit(messageOf)
}

// contact is the record that a message points to, "" where it does not say.
func (r *row) contact(x *session) string {
	id, _ := r.fields[x.MessageContact].(string)
	return id
}

// mayBeGone has rows tried again that were refused for the contact's record which they
// are, or point to: it was there a moment ago, and was deleted or merged since.
func mayBeGone(rs []*row) {
	for _, r := range rs {
		if r.err != nil && slices.Contains([]string{"INVALID_CROSS_REFERENCE_KEY", "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY"}, r.refused.code()) {
			r.err.Code = core.CodeUnavailable
		}
	}
}

// overtaken reports whether what a step writes may have been overtaken: a status by one
// that is further on, a message by what became of it.
func (st *step) overtaken() bool {
	if st.err != nil || !st.late || st.message == nil {
		return false
	}
	k := st.event.Kind
	return k == core.KindMessageStatus || k == core.KindMessageReceived || k == core.KindMessageSent
}

// keepFurther sees to it that late statuses replace none that is further on, and late
// messages not what was edited, taken back or linked since. It notes which of their records
// belong to nobody yet.
func (x *session) keepFurther(ctx context.Context, p *plan) *core.Error {
	late := map[string]*row{}
	for i := range p.steps {
		if st := &p.steps[i]; st.overtaken() {
			late[st.message.key] = st.message
		}
	}
	if len(late) == 0 {
		return nil
	}
	var texts []string
	for _, key := range slices.Sorted(maps.Keys(late)) {
		texts = append(texts, quoted(key))
	}
	// What a status made has neither; the text itself may be too much to be read of many.
	written := cmp.Or(x.MessageType, x.MessageBody)
	if x.Mode == "task" {
		written = "Subject"
	}
	records, err := x.query(ctx, "status read", "SELECT "+fieldNames([]string{x.MessageKey, x.MessageStatus, x.MessageContact, written})+" FROM "+x.MessageObject+
		" WHERE "+x.MessageKey+" IN (", texts, ", ", ") LIMIT 2000")
	if err != nil {
		return err
	}
	for _, record := range records {
		r := late[record.text(x.MessageKey)]
		if r == nil {
			continue
		}
		r.unlinked = record.text(x.MessageContact) == "" // an earlier attempt made it, and got no further
		if next, ok := r.fields[x.MessageStatus].(string); ok && !core.StatusValue(record.text(x.MessageStatus)).Advances(core.StatusValue(next)) {
			delete(r.fields, x.MessageStatus)
			delete(r.fields, x.MessageError)
		}
		if record.text(written) != "" && !r.amended {
			delete(r.fields, x.MessageBody)
			delete(r.fields, x.MessageType)
		}
	}
	return nil
}

// linkStubs sees to it that the messages which a status made belong to their
// contact like any other.
func (x *session) linkStubs(ctx context.Context, p *plan) {
	var late plan
	var stubs []*step
	for i := range p.steps {
		st := &p.steps[i]
		if st.err != nil || st.message == nil || !st.message.created && !st.message.unlinked || st.contact != nil || st.event.Contact == nil || st.event.Contact.ID == "" {
			continue
		}
		if r := p.contacts.byKey[st.event.Contact.ID]; r != nil && r.err == nil && r.id != "" {
			st.contact = r
		} else if !x.layContact(&late, st) {
			continue
		}
		stubs = append(stubs, st)
	}
	if len(stubs) == 0 {
		return
	}
	x.writeContacts(ctx, late.contacts.list)
	var linked []*row
	for _, st := range stubs {
		if st.err = st.contact.err; st.err == nil {
			st.message.set(x.MessageContact, st.contact.id)
			linked = append(linked, st.message)
		}
	}
	slices.SortFunc(linked, func(a, b *row) int { return slices.Index(p.messages.list, a) - slices.Index(p.messages.list, b) })
	if linked = slices.Compact(linked); len(linked) > 0 {
		x.upsert(ctx, x.MessageObject, x.MessageKey, linked)
		mayBeGone(linked)
	}
	for _, st := range stubs {
		if st.err == nil {
			st.err = st.message.err
		}
	}
}

func (x *session) writeEscalations(ctx context.Context, p *plan) {
	rs := wanted(p, escalationOf)
	if len(rs) == 0 {
		return
	}
	var late []*row
	for i := range p.steps {
		if st := &p.steps[i]; st.err == nil && st.escalation != nil {
			st.escalation.set(x.escalationLink(), st.contact.id)
			if st.late && st.escalation.assign { // an earlier attempt may have made it
				st.escalation.assign, late = false, append(late, st.escalation)
			}
		}
	}
	for _, r := range x.unknownOf(ctx, x.escalationObject(), x.EscalationKey, late) {
		r.assign = true
	}
	p.inherit(escalationOf)
	if rs = wanted(p, escalationOf); len(rs) == 0 {
		return
	}
	x.upsert(ctx, x.escalationObject(), x.EscalationKey, rs)
	p.inherit(escalationOf)
}

// result ends a step. What went well is proven by the record's id.
func (st *step) result() core.Result {
	r := core.Result{ID: st.event.ID, Err: st.err}
	if st.err != nil {
		return r
	}
	if st.merged != "" {
		r.Ref, r.ContactRef = st.merged, st.merged
		return r
	}
	for _, row := range []*row{st.escalation, st.message, st.contact} {
		if row != nil {
			r.Ref = row.id
			break
		}
	}
	if st.contact != nil && (!st.known || st.contact.created || st.contact.adopted) {
		r.ContactRef = st.contact.id
	}
	return r
}
