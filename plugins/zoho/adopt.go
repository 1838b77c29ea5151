package zoho

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
)

// Who has no record by our key may have one that was made by hand, or by an import: the
// one that Zoho told of, else one that has the number. A record that is another contact's
// is left alone, and whoever cannot be looked for now is not written.
//
// Numbers stand as they were typed. Zoho's search knows new records only after a while; a
// query looks at all of them as they are, and "like" finds digits with anything between
// them. Zoho's pages (https://www.zoho.com/crm/developer/docs/api/v8/COQL-Overview.html)
// show it with % at the ends of a text only, hence settings.adopt_search, which Check tries.

// adopt gives rows that have no record by their key one that is theirs all the same.
func (x *session) adopt(ctx context.Context, fs *fields, list []*row) {
	if !x.Adopt {
		return
	}
	strangers := pick(list, func(r *row) bool { return r.have == nil && r.err == nil })
	a := adopting{session: x, fs: fs, countries: x.countries(strangers), taken: map[string]bool{}}
	a.told(ctx, pick(strangers, func(r *row) bool { return recordID.MatchString(r.told) }))
	if len(x.AdoptFields) > 0 {
		a.numbered(ctx, pick(strangers, func(r *row) bool { return r.have == nil && r.err == nil }))
	}
}

// adopting is one search for records. No two contacts of a batch take the same.
type adopting struct {
	*session
	fs        *fields
	countries []string // of numbers that stand without a country's code
	taken     map[string]bool
}

// countries are those of numbers that stand without a country's code.
func (s *settings) countries(list []*row) []string {
	if s.Region != "" {
		return []string{s.Region}
	}
	numbers := make([]core.Address, len(list))
	for i, r := range list {
		numbers[i] = r.number()
	}
	return contact.Countries(numbers)
}

// number is the address that a row's number is; the zero one when it has none.
func (r *row) number() core.Address { return contact.Number(r.phone) }

// isOf reports whether a record has the number or the user id of a row's contact.
func (x *adopting) isOf(r *row, f found) bool {
	if r.bsuid != "" && x.BSUIDField != "" && f.text(x.BSUIDField) == r.bsuid {
		return true
	}
	key := contact.KeyOf(r.number())
	return !key.IsZero() && slices.ContainsFunc(x.identity(), func(name string) bool {
		return name != x.BSUIDField && slices.Contains(contact.Readings(f.text(name), x.countries), key)
	})
}

// looked are the fields by which a record is known.
func (x *adopting) looked() []string {
	names := slices.DeleteFunc(append(x.identity(), x.ContactKey, x.NameField), func(name string) bool { return x.fs.byName[name] == nil })
	slices.Sort(names)
	return slices.Compact(names)
}

// take makes a record a row's, unless it is somebody's.
func (x *adopting) take(r *row, f found) {
	if id := f.id(); r.id == "" && !x.taken[id] && f.text(x.ContactKey) == "" && recordID.MatchString(id) {
		r.id, r.have, r.adopted, x.taken[id] = id, f, true, true
		x.name(r)
	}
}

// told adopts records that Zoho told of, where they are there and their people's still.
func (x *adopting) told(ctx context.Context, list []*row) {
	if len(list) == 0 {
		return
	}
	var told []string
	for _, r := range list {
		told = append(told, r.told)
	}
	slices.Sort(told)
	records, err := x.read(ctx, "read contacts", x.ContactModule, slices.Compact(told), x.looked())
	if err != nil && err.Code != core.CodeInvalid { // else it is no record's id
		for _, r := range list {
			r.err = err
		}
		return
	}
	for _, r := range list {
		if f := records[r.told]; f != nil && x.isOf(r, f) {
			x.take(r, f)
		}
	}
}

// sought is somebody whose number is looked for, and the conditions that find it.
type sought struct {
	r          *row
	conditions []string
}

// numbered adopts records by the numbers that they have. The oldest counts.
func (x *adopting) numbered(ctx context.Context, list []*row) {
	var some []sought
	n := 0
	for _, r := range list {
		s := sought{r, x.conditions(r)}
		if len(s.conditions) == 0 {
			continue
		}
		if n+len(s.conditions) > maxCriteria {
			x.search(ctx, some)
			some, n = nil, 0
		}
		some, n = append(some, s), n+len(s.conditions)
	}
	x.search(ctx, some)
}

// conditions are what records with a row's number may fulfil.
func (x *session) conditions(r *row) []string {
	var patterns []string
	if digits := contact.Digits(r.number()); x.AdoptSearch == adoptDigits && digits != "" {
		patterns = []string{between(digits)}
	} else if x.AdoptSearch != adoptDigits {
		for _, ending := range contact.Endings(r.number()) {
			patterns = append(patterns, "%"+strings.ReplaceAll(ending, "%", ""))
		}
	}
	var all []string
	for _, pattern := range patterns {
		for _, name := range x.AdoptFields {
			all = append(all, name+" like "+quote(pattern))
		}
	}
	return all[:min(len(all), maxCriteria)]
}

// between is a pattern of digits with anything between them.
func between(digits string) string {
	return "%" + strings.Join(strings.Split(digits, ""), "%") + "%"
}

// search looks for the numbers of some people with one query. Where more is found than
// an answer holds, it is asked of half of them at a time.
func (x *adopting) search(ctx context.Context, some []sought) {
	var conditions []string
	for _, s := range some {
		conditions = append(conditions, s.conditions...)
	}
	if len(conditions) == 0 {
		return
	}
	records, err := x.query(ctx, x.ContactModule, anyOf(conditions), append([]string{"id"}, x.looked()...)...)
	if err != nil {
		if err.Hint == hintQuery && x.AdoptSearch == adoptDigits {
			err.Hint = `look at the fields of settings.adopt_fields; if they are there, set settings.adopt_search = "endings"`
		}
		for _, s := range some {
			s.r.err = err
		}
		return
	}
	if half := len(some) / 2; len(records) >= maxFound && half > 0 {
		x.search(ctx, some[:half])
		x.search(ctx, some[half:])
		return
	}
	// Ids grow.
	slices.SortFunc(records, func(a, b found) int { return cmp.Or(len(a.id())-len(b.id()), strings.Compare(a.id(), b.id())) })
	for _, f := range records {
		for _, s := range some {
			if s.r.id == "" && x.isOf(s.r, f) {
				x.take(s.r, f)
			}
		}
	}
}

// trySearch sees to it that numbers are found the way that settings.adopt_search says: it
// looks for one that is there.
func (x *session) trySearch(ctx context.Context) *core.Error {
	if !x.Adopt || x.AdoptSearch != adoptDigits || len(x.AdoptFields) == 0 {
		return nil
	}
	const op = "try adopt_search"
	name := x.AdoptFields[0]
	list, err := x.queryUpTo(ctx, 1, x.ContactModule, name+" is not null", "id", name)
	if err != nil || len(list) == 0 {
		return err
	}
	id, is := list[0].id(), list[0].text(name)
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, is)
	if digits == "" || len(digits) > 20 || !recordID.MatchString(id) {
		return nil
	}
	one := "id = " + quote(id)
	again, err := x.queryUpTo(ctx, 1, x.ContactModule, one+" and "+name+" like "+quote(between(digits)), "id", name)
	if err == nil && len(again) == 0 {
		if again, err = x.queryUpTo(ctx, 1, x.ContactModule, one, "id", name); err == nil && len(again) == 1 && again[0].text(name) == is {
			err = &core.Error{Code: core.CodeForbidden, Op: op, Source: core.SourceVendor, Scope: core.ScopeLane,
				Message: "Zoho does not find a number that is there by its digits", Hint: hintQuery}
		}
	}
	if err != nil && err.Hint == hintQuery {
		err.Hint = `set settings.adopt_search = "endings"; a field that is encrypted cannot be searched at all: leave it out of settings.adopt_fields`
	}
	return err
}
