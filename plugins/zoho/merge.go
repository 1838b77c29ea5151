package zoho

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// Zoho's API merges no records. So what hangs on one is moved to the other, and the
// empty one is deleted: it is in the recycle bin for 60 days.

// mergeRounds bounds how many pages of records one merge moves.
const mergeRounds = 50

// merging makes one record of two.
func (x *session) merging() *crm.Merging {
	return &crm.Merging{CRM: "Zoho", Both: x.bothOf, Into: func(ctx context.Context, from, to string) (string, *core.Error) {
		err := x.moveAll(ctx, from, to)
		if err == nil {
			err = x.fill(ctx, from, to)
		}
		if err == nil {
			err = x.delete(ctx, x.ContactModule, []string{from})
		}
		return to, err
	}, Key: func(ctx context.Context, record, contact string) *core.Error {
		return x.point(ctx, "contact update", x.ContactModule, []string{record}, value{x.ContactKey, contact})
	}}
}

// bothOf reads the records of the contact that stays and of the one that went.
func (x *session) bothOf(ctx context.Context, e *core.Event) (kept, gone crm.Record, _ *core.Error) {
	list, err := x.query(ctx, x.ContactModule, in(x.ContactKey, []string{e.Contact.ID, e.Merge.Contact.ID}), "id", x.ContactKey, "Created_Time", "Created_By", "Modified_By")
	if err != nil {
		return kept, gone, err
	}
	user, err := x.writer(ctx, list)
	if err != nil {
		return kept, gone, err
	}
	for _, f := range list {
		mine := user != "" && plain(f["Created_By"]) == user && plain(f["Modified_By"]) == user
		switch f.text(x.ContactKey) {
		case e.Contact.ID:
			kept = crm.Record{ID: f.id(), Ours: mine && crm.MadeFor(f.when("Created_Time"), e.Merge.KeptSince)}
		case e.Merge.Contact.ID:
			gone = crm.Record{ID: f.id(), Ours: mine && crm.MadeFor(f.when("Created_Time"), e.Merge.Since)}
		}
	}
	return kept, gone, nil
}

// writer is the user whose token it is. One that may not read users learns it by writing
// to one of two records what it holds already: whose that is. "" when none may be ours:
// a record that two had a hand in is none, and is not touched.
func (x *session) writer(ctx context.Context, both []found) (string, *core.Error) {
	user, err := x.userID(ctx)
	if err == nil || err.Code != core.CodeForbidden {
		return user, err
	}
	i := slices.IndexFunc(both, func(f found) bool {
		return plain(f["Created_By"]) != "" && plain(f["Created_By"]) == plain(f["Modified_By"])
	})
	if i < 0 || len(both) < 2 {
		return "", nil
	}
	if err := x.point(ctx, "contact update", x.ContactModule, []string{both[i].id()}, value{x.ContactKey, both[i].text(x.ContactKey)}); err != nil {
		return "", err
	}
	x.known.mu.Lock()
	defer x.known.mu.Unlock()
	return x.known.user, nil
}

// moveAll has the messages, escalations and notes of a record be another's.
func (x *session) moveAll(ctx context.Context, from, to string) *core.Error {
	if x.Mode == "module" && x.MessageContact != "" {
		if err := x.move(ctx, x.MessageModule, x.MessageContact, from, to); err != nil {
			return err
		}
	}
	if w := x.work(); x.Escalations != "none" {
		if err := x.move(ctx, w.module, w.contact, from, to); err != nil {
			return err
		}
	}
	return x.copyNotes(ctx, from, to)
}

func (x *session) move(ctx context.Context, module, field, from, to string) *core.Error {
	for range mergeRounds {
		list, err := x.query(ctx, module, field+" = "+quote(from), "id")
		if err != nil || len(list) == 0 {
			return err
		}
		ids := make([]string, len(list))
		for i, f := range list {
			ids[i] = f.id()
		}
		if err := x.point(ctx, "move "+module, module, ids, value{field, map[string]string{"id": to}}); err != nil {
			return err
		}
	}
	return crm.Failure(core.CodeUnavailable, "merge", "the contact has very many records in %s: the next attempt goes on", module)
}

// point gives a field of records a value.
func (x *session) point(ctx context.Context, op, module string, ids []string, v value) *core.Error {
	list, values := make([]*row, len(ids)), map[*row][]value{}
	for i, id := range ids {
		list[i] = &row{id: id}
		values[list[i]] = []value{v}
	}
	x.write(ctx, writing{op: op, method: http.MethodPut, path: module}, list, values)
	for _, r := range list {
		if r.err != nil {
			return r.err
		}
	}
	return nil
}

// copyNotes makes the notes of a record that another does not have there, the oldest
// first, since a note cannot be given away: theirs go with the record.
func (x *session) copyNotes(ctx context.Context, from, to string) *core.Error {
	notes, err := x.allNotes(ctx, from)
	if err != nil || len(notes) == 0 {
		return err
	}
	have, err := x.allNotes(ctx, to)
	if err != nil {
		return err
	}
	values := map[*row][]value{}
	var list []*row
	for _, n := range slices.Backward(notes) {
		title, content := n.text("Note_Title"), n.text("Note_Content")
		if slices.ContainsFunc(have, func(h found) bool {
			return h.text("Note_Title") == title && h.text("Note_Content") == content || sameMessage(h.text("Note_Title"), title)
		}) {
			continue
		}
		r := &row{}
		list, values[r] = append(list, r), []value{{"Note_Content", content},
			{"Parent_Id", map[string]any{"module": map[string]string{"api_name": x.ContactModule}, "id": to}}}
		if title != "" {
			values[r] = append(values[r], value{"Note_Title", title})
		}
	}
	x.write(ctx, writing{op: "note create", method: http.MethodPost, path: "Notes", once: true}, list, values)
	for _, r := range list {
		if r.err != nil {
			return r.err
		}
	}
	return nil
}

// sameMessage reports whether two notes' titles are of one message, whose status may
// differ.
func sameMessage(a, b string) bool {
	const mark = " · "
	i, j := strings.LastIndex(a, mark), strings.LastIndex(b, mark)
	return i >= 0 && j >= 0 && a[i:] == b[j:] && strings.HasPrefix(a, "WhatsApp ") && strings.HasPrefix(b, "WhatsApp ")
}

// allNotes reads the notes of a record, the newest first. One that has more than a
// list shows is a person's to merge.
func (x *session) allNotes(ctx context.Context, record string) (all []found, _ *core.Error) {
	const pages = 10 // of 200: further ones want another way
	for page := 1; page <= pages; page++ {
		var a struct {
			Data []found `json:"data"`
			Info struct {
				More bool `json:"more_records"`
			} `json:"info"`
		}
		path := fmt.Sprintf("%s/%s/Notes?fields=id,Note_Title,Note_Content&per_page=200&page=%d", x.ContactModule, record, page)
		if r := x.call(ctx, "read notes", http.MethodGet, path, nil, func(b []byte) error { return crm.Decode(b, &a) }); r != nil {
			return nil, r.Error
		}
		if all = append(all, a.Data...); !a.Info.More {
			return all, nil
		}
	}
	return nil, &core.Error{Code: core.CodeUndeliverable, Scope: core.ScopeEvent, Op: "merge", Source: core.SourcePlugin,
		Message: "the record " + record + " has more than 2,000 notes", Hint: "merge it by hand in Zoho, then resolve this"}
}

// fill gives a record the values that another has and it lacks. What the bridge writes
// of itself it tells anew, and what must be unique stays.
func (x *session) fill(ctx context.Context, from, to string) *core.Error {
	fs, err := x.fieldsOf(ctx, x.ContactModule)
	if err != nil {
		return err
	}
	own := []string{x.ContactKey, x.NameField, x.PhoneField, x.BSUIDField, x.UsernameField, x.TagsField, x.ConsentField, x.SuppressedField, x.NotesField}
	var names []string
	for name, f := range fs.byName {
		if !f.ReadOnly && !f.isUnique() && f.Type != "boolean" && !strings.HasSuffix(f.Type, "lookup") && slices.Contains(queryable, f.Type) && !slices.Contains(own, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	r := &row{id: to}
	values := map[*row][]value{}
	for some := range slices.Chunk(names, maxSelect-1) {
		list, err := x.query(ctx, x.ContactModule, in("id", []string{from, to}), append([]string{"id"}, some...)...)
		if err != nil {
			return err
		}
		var has, lacks found
		for _, f := range list {
			if f.id() == to {
				lacks = f
			} else {
				has = f
			}
		}
		for _, name := range some {
			if lacks != nil && plain(has[name]) != "" && plain(lacks[name]) == "" {
				values[r] = append(values[r], value{name, has[name]})
			}
		}
	}
	if len(values[r]) == 0 {
		return nil
	}
	x.write(ctx, writing{op: "contact update", method: http.MethodPut, path: x.ContactModule}, []*row{r}, values)
	return r.err
}
