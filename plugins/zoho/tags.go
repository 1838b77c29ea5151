package zoho

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// tagChange is what becomes of a contact's tags.
type tagChange struct {
	r          *row
	text       any
	add, leave []string
}

// takeTags takes the tags out of the rows of a plan: they are written last, when
// Zoho's own tags are as they should be, so that an attempt that ends in between is
// made good by the next.
func (x *session) takeTags(p *plan, list []*row) []tagChange {
	if !x.NativeTags {
		return nil
	}
	var changes []tagChange
	for _, r := range list {
		i := slices.IndexFunc(p.steps, func(st *step) bool { return st.contact == r && st.tags })
		if i < 0 {
			continue
		}
		now := p.steps[i].event.Contact.Tags
		for _, st := range p.steps[i:] {
			if st.contact == r && st.tags {
				now = st.event.Contact.Tags // the latest
			}
		}
		c := tagChange{r: r, text: r.get(x.TagsField)}
		before := strings.Split(r.have.text(x.TagsField), ";")
		for _, t := range now {
			if !slices.Contains(before, t) && t != "" {
				c.add = append(c.add, t)
			}
		}
		for _, t := range before {
			if !slices.Contains(now, t) && t != "" {
				c.leave = append(c.leave, t)
			}
		}
		if len(c.add)+len(c.leave) == 0 {
			continue
		}
		r.values = slices.DeleteFunc(r.values, func(v value) bool { return v.name == x.TagsField })
		changes = append(changes, c)
	}
	return changes
}

// maxTag is how many characters Zoho's tags have at most.
const maxTag = 25

// writeTags adds and removes tags, a call for each, then writes the field that says
// which are ours.
func (x *session) writeTags(ctx context.Context, fs *fields, changes []tagChange) {
	type verb struct{ path, tag string }
	rows := map[verb][]*row{}
	var order []verb
	note := func(path, tag string, r *row) {
		if cut := []rune(tag); len(cut) > maxTag {
			tag = string(cut[:maxTag])
		}
		v := verb{path, tag}
		if rows[v] == nil {
			order = append(order, v)
		}
		rows[v] = append(rows[v], r)
	}
	for _, c := range changes {
		if c.r.err != nil || c.r.id == "" {
			continue
		}
		for _, t := range c.leave {
			note(removeTags, t, c.r)
		}
		for _, t := range c.add {
			note(addTags, t, c.r)
		}
	}
	for _, v := range order {
		x.tag(ctx, v.path, v.tag, rows[v])
	}
	f := fs.byName[x.TagsField]
	if f == nil {
		return
	}
	values := map[*row][]value{}
	var list []*row
	for _, c := range changes {
		if c.r.err == nil && c.r.id != "" {
			text := f.value(c.text)
			if cut, ok := text.(string); ok && text != c.text { // a part of a tag is none
				text = cut[:max(0, strings.LastIndexByte(cut, ';'))]
			}
			values[c.r], list = []value{{x.TagsField, text}}, append(list, c.r)
		}
	}
	x.write(ctx, writing{op: "contact tag", method: http.MethodPut, path: x.ContactModule}, list, values)
}

// What a call does with a tag, and how many records it takes for a credit.
const (
	addTags       = "add_tags"
	removeTags    = "remove_tags"
	tagsPerCredit = 50
)

// tag gives records a tag or takes it away. Zoho answers with a row for each record, or
// says what is wrong with the tag: see v8.0/tags_actions in https://github.com/zoho/crm-oas.
func (x *session) tag(ctx context.Context, verb, tag string, list []*row) {
	const op = "contact tag"
	ids := make([]string, len(list))
	for i, r := range list {
		ids[i] = r.id
	}
	var a struct {
		Data []outcome `json:"data"`
		Tags []outcome `json:"tags"`
	}
	refused := x.request(ctx, crm.Call{
		Op: op, Method: http.MethodPost, URL: x.api(x.ContactModule + "/actions/" + verb), Header: http.Header{}, Cost: (len(ids) + tagsPerCredit - 1) / tagsPerCredit,
		Body: appendJSON(nil, map[string]any{"tags": []map[string]string{{"name": tag}}, "ids": ids}),
	}, func(b []byte) error { return crm.Decode(b, &a) })
	fail := func(list []*row, err *core.Error) {
		if err.Code == core.CodeInvalid && verb == removeTags {
			return // what is not there is taken away
		}
		for _, r := range list {
			r.err = err
		}
	}
	switch {
	case refused != nil:
		fail(list, refused.Error)
	case len(a.Data)+len(a.Tags) == 0:
		fail(list, crm.Failure(core.CodeUnknownOutcome, op, "Zoho does not say what became of the tag"))
	}
	for i := range a.Tags {
		if o := &a.Tags[i]; o.Status != "success" {
			fail(list, x.tagError(op, o))
		}
	}
	for i := range a.Data {
		switch o := &a.Data[i]; {
		case o.Status == "success":
		case len(a.Data) != len(list): // nothing says whose it is
			fail(list, x.tagError(op, o))
		case x.isGone(list[i], o):
			list[i].err = goneMeanwhile(op, o)
		default:
			fail(list[i:i+1], x.tagError(op, o))
		}
	}
}

// tagError explains why a tag is refused. How many tags a record and a module may have
// is a matter of the edition.
func (x *session) tagError(op string, o *outcome) *core.Error {
	e := x.rowError(op, o)
	if o.Code == "LIMIT_EXCEEDED" {
		e.Code, e.RetryAfter = core.CodeInvalid, 0
	}
	if e.Code == core.CodeInvalid {
		e.Hint = "take away tags in Zoho that nobody needs, then replay this; or set settings.native_tags = false"
	}
	return e
}
