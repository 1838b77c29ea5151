package zoho

import (
	"context"
	"net/http"
	"slices"

	"github.com/wabridge/wabridge/core"
)

// contactFields are the fields of ours on contacts.
func (s *settings) contactFields() []named {
	list := []named{{"contact_key", s.ContactKey}, {"name_field", s.NameField}, {"phone_field", s.PhoneField}, {"bsuid_field", s.BSUIDField},
		{"username_field", s.UsernameField}, {"tags_field", s.TagsField}, {"consent_field", s.ConsentField}, {"suppressed_field", s.SuppressedField}}
	if s.Mode == "notes" {
		list = append(list, named{"notes_field", s.NotesField})
	}
	for name, field := range s.ContactFields {
		list = append(list, named{"contact_fields." + name, field})
	}
	return list
}

// writeContacts reads the contacts of a plan and writes what differs.
func (x *session) writeContacts(ctx context.Context, p *plan) {
	fail := func(err *core.Error) {
		for _, st := range p.steps {
			if st.err == nil && st.contact != nil {
				st.err = err
			}
		}
	}
	if len(p.contacts.list) == 0 {
		return
	}
	fs, err := x.fieldsOf(ctx, x.ContactModule, names(p.contacts.list)...)
	if err != nil {
		fail(err)
		return
	}
	for _, n := range x.contactFields() {
		if err := fs.lacking(n); err != nil && (n.name == x.ContactKey || slices.Contains(names(p.contacts.list), n.name)) {
			fail(err)
			return
		}
	}
	x.refuseUnknown(p, fs)
	list := pick(p.contacts.list, func(r *row) bool { return wanted(p, r) })
	if len(list) == 0 {
		return
	}
	also := []string{x.NameField, x.TagsField}
	if x.Mode == "notes" {
		also = append(also, x.NotesField)
	}
	have, err := x.byKey(ctx, fs, x.ContactKey, keys(list), append(also, names(list)...)...)
	if err != nil {
		fail(err)
		return
	}
	for _, r := range list {
		if f := have[r.key]; f != nil {
			r.have, r.id = f, f.id()
			x.name(r)
		}
	}
	x.adopt(ctx, fs, list)
	if x.Mode == "notes" {
		x.rememberNotes(p)
	}
	tags := x.takeTags(p, list)
	x.putContacts(ctx, fs, list)
	x.writeTags(ctx, fs, tags)
	for _, st := range p.steps {
		if st.err == nil && st.contact != nil {
			st.err = st.contact.err
		}
	}
}

// name gives a record the contact's name instead of the number, say, that stands
// there because the name was not known. A name that people gave it stays.
func (x *session) name(r *row) {
	is := r.have.text(x.NameField)
	if r.called != "" && r.get(x.NameField) == nil && is != "" && (slices.Contains(r.instead, is) || is == r.have.text(x.PhoneField)) {
		r.set(x.NameField, r.called)
	}
}

// wanted reports whether a step that is still good needs a row.
func wanted(p *plan, r *row) bool {
	return slices.ContainsFunc(p.steps, func(st *step) bool {
		return st.err == nil && (st.contact == r || st.message == r || st.escalation == r || st.request == r)
	})
}

// refuseUnknown ends the events whose script returned a field that Zoho does not
// have: Zoho itself would keep silent about it.
func (x *session) refuseUnknown(p *plan, fs *fields) {
	for _, st := range p.steps {
		if st.err != nil || st.contact == nil {
			continue
		}
		for name := range st.event.Fields {
			f := fs.byName[name]
			if f != nil && !f.ReadOnly || name == x.ContactKey {
				continue
			}
			st.err = &core.Error{Code: core.CodeInvalid, Op: "contact upsert", Source: core.SourcePlugin, Vendor: "FIELD_MISSING",
				Message: fs.module + " has no field of a name that mapToCRM returned"}
			if apiName.MatchString(name) {
				st.err.Message = fs.module + " has no field " + name
				st.err.Hint = "create the field " + name + " in Zoho, or do not return it from mapToCRM"
				if f != nil {
					st.err.Message, st.err.Hint = fs.module+"."+name+" is read-only", "do not return it from mapToCRM"
				}
			}
			break
		}
	}
}

// putContacts writes the rows that differ from their records.
func (x *session) putContacts(ctx context.Context, fs *fields, list []*row) {
	values := map[*row][]value{}
	for _, r := range list {
		changed := valuesFor(fs, r, true)
		if r.err != nil {
			continue
		}
		if r.have != nil && len(changed) == 0 && !r.adopted {
			continue // it is there as it should be
		}
		values[r] = withName(fs, r, x.NameField, changed)
	}
	conflicts := map[*row]string{}
	refused := func(r *row, o *outcome) bool {
		if o.Code == "DUPLICATE_DATA" && o.Details.Field != x.ContactKey && x.OnConflict == "adopt" {
			conflicts[r] = o.existing()
		}
		return false
	}
	toWrite := func(adopted bool) []*row {
		return pick(list, func(r *row) bool { return values[r] != nil && r.adopted == adopted })
	}
	update := writing{op: "contact update", method: http.MethodPut, path: x.ContactModule, key: x.ContactKey}
	x.write(ctx, update, toWrite(true), values)
	x.write(ctx, writing{op: "contact upsert", method: http.MethodPost, path: x.ContactModule + "/upsert", key: x.ContactKey, upsert: true, refused: refused},
		toWrite(false), values)
	for _, r := range list {
		if id := conflicts[r]; recordID.MatchString(id) && r.have == nil {
			found, err := x.query(ctx, x.ContactModule, "id = "+quote(id), "id", x.ContactKey, x.NameField)
			if err != nil || len(found) != 1 || found[0].text(x.ContactKey) != "" {
				continue // the conflict stands
			}
			r.id, r.have, r.adopted = id, found[0], true
			values[r] = withName(fs, r, x.NameField, valuesFor(fs, r, false))
			x.write(ctx, update, []*row{r}, values)
		}
	}
}
