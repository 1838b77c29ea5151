package zohosim

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxSearched is how many conditions the criteria of a search may have.
const maxSearched = 15

// searched says whether a record's values are what a search looks for.
type searched func(values map[string]any) bool

// search finds records by criteria, an e-mail address, a phone number or a word, the
// first of these that is given, in what the index has by now.
func (s *Sim) search(c *call) {
	m := s.module(c, c.path[0])
	if m == nil {
		return
	}
	q := c.r.URL.Query()
	wrong := func(param string) {
		c.fail(http.StatusBadRequest, failure("INVALID_DATA", "invalid data", map[string]any{"param_name": param}))
	}
	var match searched
	switch {
	case q.Has("criteria"):
		k := &criteria{m: m, rest: q.Get("criteria")}
		if match = k.group(); match == nil || k.rest != "" || k.count > maxSearched {
			c.fail(http.StatusBadRequest, failure("INVALID_QUERY", "Invalid query formed", k.wrong))
			return
		}
	case q.Has("email"):
		email := q.Get("email")
		if !strings.Contains(email, "@") {
			wrong("email")
			return
		}
		match = m.anyOf([]string{"email"}, func(v string) bool { return strings.EqualFold(v, email) })
	case q.Has("phone"):
		phone := q.Get("phone")
		if n := len(phone); n < 3 || n > 50 || strings.Trim(phone, "+0123456789 ()-.") != "" {
			wrong("phone")
			return
		}
		match = m.anyOf([]string{"phone"}, func(v string) bool { return strings.Contains(v, phone) })
	case q.Has("word"):
		word := strings.ToLower(q.Get("word"))
		if len(word) < 2 {
			wrong("word")
			return
		}
		match = m.anyOf([]string{"text", "email", "phone", "picklist"}, func(v string) bool { return strings.Contains(strings.ToLower(v), word) })
	default:
		c.fail(http.StatusBadRequest, failure("REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", map[string]any{"param_names": []string{"criteria", "email", "phone", "word"}}))
		return
	}
	now := time.Now()
	s.page(c, m, func(r *record) bool {
		values := r.values
		if now.Sub(r.modified) < s.opts.SearchLag {
			values = r.indexed
		}
		return match(values)
	})
}

// anyOf looks for a value in all fields of some types.
func (m *module) anyOf(types []string, good func(string) bool) searched {
	return func(values map[string]any) bool {
		for name, v := range values {
			if f := m.byName[name]; f != nil && slices.Contains(types, f.Type) && good(text(v)) {
				return true
			}
		}
		return false
	}
}

// criteria reads (field:operator:value) and groups of such conditions, joined by
// "and" or by "or": ((a:equals:1)and(b:starts_with:2)).
type criteria struct {
	m     *module
	rest  string
	count int
	depth int
	wrong map[string]any
}

// group reads what stands in a pair of brackets; nil: it cannot be read.
func (k *criteria) group() searched {
	if k.depth++; k.depth > maxSearched || !k.take("(") {
		return nil
	}
	defer func() { k.depth-- }()
	if !strings.HasPrefix(k.rest, "(") {
		return k.condition()
	}
	match := k.group()
	for match != nil && !k.take(")") {
		and := k.take("and")
		if !and && !k.take("or") {
			return nil
		}
		a, b := match, k.group()
		switch {
		case b == nil:
			return nil
		case and:
			match = func(v map[string]any) bool { return a(v) && b(v) }
		default:
			match = func(v map[string]any) bool { return a(v) || b(v) }
		}
	}
	return match
}

func (k *criteria) take(what string) bool {
	rest, ok := strings.CutPrefix(k.rest, what)
	if ok {
		k.rest = rest
	}
	return ok
}

// condition reads one condition and the bracket after it. Brackets and commas within
// a value have a backslash before them.
func (k *criteria) condition() searched {
	k.count++
	name, rest, _ := strings.Cut(k.rest, ":")
	operator, rest, ok := strings.Cut(rest, ":")
	var values []string
	var b strings.Builder
	for ok {
		if rest == "" {
			return nil
		}
		ch := rest[0]
		rest = rest[1:]
		switch {
		case ch == '\\' && rest != "":
			b.WriteByte(rest[0])
			rest = rest[1:]
			continue
		case ch == ')' || ch == ',' && operator == "in":
			values = append(values, strings.ToLower(b.String()))
			b.Reset()
			ok = ch != ')'
			continue
		}
		b.WriteByte(ch)
	}
	k.rest = rest
	f := k.m.byName[name]
	if f == nil && name != "id" || f != nil && f.Type == "textarea" || len(values) == 0 {
		k.wrong = map[string]any{"reason": "the field is not available for search", "api_name": name, "operator": operator}
		return nil
	}
	have := func(v map[string]any) string { return strings.ToLower(text(v[name])) }
	want := values[0]
	switch operator {
	case "equals":
		if f != nil && f.Type == "text" { // of texts, equals means contains
			return func(v map[string]any) bool { return have(v) != "" && strings.Contains(have(v), want) }
		}
		return func(v map[string]any) bool { return have(v) == want }
	case "not_equal":
		return func(v map[string]any) bool { return have(v) != want }
	case "starts_with":
		return func(v map[string]any) bool { return have(v) != "" && strings.HasPrefix(have(v), want) }
	case "in":
		return func(v map[string]any) bool { return slices.Contains(values, have(v)) }
	}
	k.wrong = map[string]any{"reason": "invalid operator found", "api_name": name, "operator": operator}
	return nil
}
