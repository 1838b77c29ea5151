package customhttp

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
)

// Of whom no record is known one is looked for, by the searches of settings.find, before
// an operation that names {{.contact_ref}} is done for them. What a search gives is
// taken only when it has the person's number, in whatever way it is written there, or
// their user id. The result says which record it is, so that it is asked once.

// findSettings are a search for the record of a contact.
type findSettings struct {
	// The templates see .contact, too, and of its number .form, one way to write it (then
	// there is a request for each, until one finds the contact), or .all_forms, a list.
	listingSettings
	// Forms are the ways to write a number that the API may have; e164, digits and
	// national unless set.
	Forms []string `json:"forms"`
	// When says which rows count; all unless set.
	When *conditionSettings `json:"when"`
	// Ref is the path to the record's id in a row; Phone (one or several) and BSUID lead
	// to what shows whose it is.
	Ref   string `json:"ref"`
	Phone paths  `json:"phone"`
	BSUID string `json:"bsuid"`
}

// search is a compiled [findSettings].
type search struct {
	listing
	forms      []string
	each       bool // a request for each form
	byNumber   bool // is for those who have a number
	when       condition
	ref, bsuid path
	phones     []path
}

const (
	maxSearches    = 3 // for one contact
	maxForms       = 4 // of a number that are asked for one by one
	maxSearchPages = 5
)

var findWords = pagingWords("a search for a contact", map[string]*word{
	"contact": vocabulary().fields["contact"], "form": {zero: ""}, "all_forms": {elem: &word{zero: ""}, zero: []any{}},
})

// writings are the ways to write a number that settings can name.
var writings = map[string]func(core.Address) string{
	"e164":            func(a core.Address) string { return a.Value },
	"digits":          func(a core.Address) string { return strings.TrimPrefix(a.Value, "+") },
	"national":        contact.National,
	"national_digits": func(a core.Address) string { return digits(contact.National(a)) },
	"significant":     contact.Significant,
	"like": func(a core.Address) string {
		return "%" + strings.Join(strings.Split(contact.Digits(a), ""), "%") + "%"
	},
}

func (c *planner) searches(p *plan) []*search {
	if len(c.Find) > maxSearches {
		c.addf("settings.find", "want at most %d", maxSearches)
	}
	used := false
	for _, op := range p.operations {
		if !op.skip {
			op.names = op.says("contact_ref")
			used = used || op.names
		}
	}
	if len(c.Find) > 0 && !used {
		c.addf("settings.find", "is of no use: no operation says {{.contact_ref}}")
	}
	all := make([]*search, len(c.Find))
	for i, s := range c.Find {
		all[i] = c.search(fmt.Sprintf("settings.find[%d]", i), s)
	}
	return all
}

func (c *planner) search(where string, s findSettings) *search {
	q := &search{listing: c.listing(where, "find", s.listingSettings, findWords), forms: s.Forms, when: c.when(where, s.When)}
	q.oneRow = true
	q.ref, q.bsuid = c.path(where+".ref", s.Ref), c.path(where+".bsuid", s.BSUID)
	s.Phone = slices.DeleteFunc(slices.Clone(s.Phone), func(text string) bool { return text == "" })
	for i, text := range s.Phone {
		q.phones = append(q.phones, c.path(fmt.Sprintf("%s.phone[%d]", where, i), text))
	}
	c.turns(where, &q.listing)
	if s.Ref == "" {
		c.addf(where+".ref", "missing: the path in a row to the record's id")
	}
	if len(s.Phone) == 0 && s.BSUID == "" {
		c.addf(where+".phone", "missing: the path in a row to the number that shows whose it is")
	}
	atOnce := q.op.says(".all_forms")
	switch q.each = q.op.says(".form"); {
	case q.each && atOnce:
		c.addf(where, "want one of .form (a request for each) and .all_forms (one for all)")
	case !q.each && !atOnce && !q.op.says(".contact."):
		c.addf(where, "does not say whom it looks for: put {{.form}}, {{.all_forms}} or {{.contact.bsuid}} into path, query or body")
	case !q.each && !atOnce && len(s.Forms) > 0:
		c.addf(where+".forms", "is of no use: the request says neither .form nor .all_forms")
	}
	q.byNumber = q.each || atOnce || s.BSUID == ""
	for i, name := range s.Forms {
		if writings[name] == nil {
			c.addf(fmt.Sprintf("%s.forms[%d]", where, i), "want one of %s%s", strings.Join(sortedKeys(writings), ", "), suggest(name, sortedKeys(writings)))
		}
	}
	if len(s.Forms) == 0 {
		q.forms = []string{"e164", "digits", "national"}
	}
	return q
}

// person is a contact whose record is looked for.
type person struct {
	table any // as templates see it
	phone core.Address
	bsuid string
	items []*item // theirs, in one batch
}

// personOf returns whom an event is of; nil when it does not say.
func personOf(it *item) *person {
	event, _ := it.fields().(map[string]any)
	table, ok := event["contact"].(map[string]any)
	if !ok {
		return nil
	}
	p := &person{table: table, phone: contact.Number(path{"phone"}.text(table)), bsuid: path{"bsuid"}.text(table)}
	if p.phone.Value == "" && p.bsuid == "" {
		return nil
	}
	return p
}

// strangers are those whose records are to be looked for, each once.
func (p *plan) strangers(items []*item) (all []*person) {
	if len(p.find) == 0 {
		return nil
	}
	byWho := map[[3]string]*person{}
	for _, it := range items {
		if it.data == nil || it.contactRef != "" {
			continue
		}
		if op := p.operationFor(it.kind); op == nil || !op.names {
			continue
		}
		who := personOf(it)
		if who == nil {
			continue
		}
		key := [3]string{path{"id"}.text(who.table), who.phone.Value, who.bsuid}
		if byWho[key] == nil {
			byWho[key] = who
			all = append(all, who)
		}
		byWho[key].items = append(byWho[key].items, it)
	}
	return all
}

// findFor looks for the record of one, and tells their events of it. Whoever cannot be
// looked for now is not written.
func (x *session) findFor(ctx context.Context, who *person) {
	if ctx.Err() != nil {
		who.leave(nil)
		return
	}
	ref, err := x.look(ctx, who)
	if err != nil {
		who.leave(err)
		return
	}
	for _, it := range who.items {
		it.found(ref)
	}
}

// leave has the events of a person wait; for more time, where there is no error.
func (who *person) leave(err *core.Error) {
	for _, it := range who.items {
		if err != nil {
			it.settle(verdict{err: err})
		}
		it.data = nil
	}
}

func (x *session) look(ctx context.Context, who *person) (ref string, _ *core.Error) {
	for _, q := range x.find {
		for _, data := range q.questions(who) {
			found, err := x.seek(ctx, &q.listing, data, func(row any) bool {
				ref = q.ref.text(row)
				return isRef(ref) && q.when.holds(row) && q.isOf(who, row)
			})
			if err != nil {
				return "", err
			}
			if found {
				return ref, nil
			}
		}
	}
	return "", nil
}

// seek asks for pages until a row is the one that is looked for. Its errors are never the
// event's fault: a search that the API refuses is a mistake in the settings.
func (x *session) seek(ctx context.Context, l *listing, data map[string]any, is func(row any) bool) (found bool, _ *core.Error) {
	at := pageAt{}
	for {
		rows, err := x.ask(ctx, l, data, &at)
		if err != nil {
			return false, l.failed(err)
		}
		if slices.ContainsFunc(rows, is) {
			return true, nil
		}
		if at.Pages == 0 {
			return false, nil
		}
		if at.Pages >= maxSearchPages {
			return false, &core.Error{Code: core.CodeForbidden, Op: l.op.kind, Source: core.SourceVendor,
				Message: fmt.Sprintf("the search gives more than %d pages, and what is looked for is in none: it finds everything", maxSearchPages), Hint: "look at " + l.op.name}
		}
	}
}

func (l *listing) failed(err *core.Error) *core.Error {
	if err.Code == core.CodeInvalid && err.Source == core.SourceVendor {
		err.Code, err.Scope = core.CodeForbidden, core.ScopeLane
		if err.Hint == "" {
			err.Hint = "correct " + l.op.name + `; where this answer means that there is nothing, say so there: errors = [{ status = [404], then = "ignore" }]`
		}
	}
	return err
}

// questions are what the requests for one person see.
func (q *search) questions(who *person) []map[string]any {
	if q.byNumber && who.phone.Value == "" || len(q.phones) == 0 && who.bsuid == "" {
		return nil
	}
	ask := func(form string, forms []any) map[string]any {
		return map[string]any{"contact": who.table, "form": form, "all_forms": forms}
	}
	var forms []any
	if who.phone.Value != "" {
		for _, one := range contact.MatchSet(who.phone) {
			for _, name := range q.forms {
				if text := writings[name](one); text != "" && !slices.Contains(forms, any(text)) {
					forms = append(forms, text)
				}
			}
		}
	}
	if !q.each {
		return []map[string]any{ask("", forms)}
	}
	all := make([]map[string]any, 0, maxForms)
	for _, form := range forms[:min(len(forms), maxForms)] {
		text, _ := textOf(form)
		all = append(all, ask(text, forms))
	}
	return all
}

// isOf reports whether a row has the person's number or user id.
func (q *search) isOf(who *person, row any) bool {
	if is := q.bsuid.text(row); is != "" && is == who.bsuid {
		return true
	}
	if who.phone.Value == "" {
		return false
	}
	mine, countries := contact.KeyOf(who.phone), []string{contact.Country(who.phone)}
	is := func(text string) bool { return slices.Contains(contact.Readings(text, countries), mine) }
	return slices.ContainsFunc(q.phones, func(at path) bool {
		text := at.text(row)
		// Many write the country's code without a + before it.
		return text != "" && len(text) <= 100 && (is(text) || is("+"+digits(text)))
	})
}

// RenderFind returns the requests by which the record of an event's contact is looked for,
// until one finds it, and the one for the event's own record, as [Render] does; none where
// the event needs no record.
func RenderFind(settings json.RawMessage, event *core.Event) ([]Request, error) {
	p, err := compile(settings)
	if err != nil {
		return nil, err
	}
	it := newItem(&core.Delivery{Event: event})
	if it.data == nil {
		return nil, it.result.Err
	}
	var all []Request
	show := func(l *listing, data map[string]any) *core.Error {
		r, err := p.askFor(l, data, pageAt{}, credentialsOf(&p.auth, func(string) string { return masked }))
		all = append(all, p.shown(r))
		return err
	}
	for _, who := range p.strangers([]*item{it}) {
		for _, q := range p.find {
			for _, data := range q.questions(who) {
				if err := show(&q.listing, data); err != nil {
					return nil, err
				}
			}
		}
	}
	if op := p.operationFor(it.kind); op != nil && op.readBack != nil {
		_, data, err := op.readBack.question(it)
		if err == nil {
			err = show(&op.readBack.listing, data)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}
