package zohosim

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What a query may hold, by Zoho's page on COQL's limitations.
const (
	maxCriteria = 25
	maxIn       = 100
	maxSelect   = 500
	maxOffset   = 100_000
)

// condition is what a record must fulfil.
type condition func(*record) bool

// query reads one query: select FIELDS from MODULE where CONDITIONS order by FIELD
// asc|desc limit N offset M, or limit M, N. Of COQL it knows =, <, <=, >, >= of times and ids, in, like, is
// null, is not null, and, or; three conditions and more must be bracketed in pairs.
type query struct {
	words    []string
	i        int
	module   *module
	fields   []string
	criteria int
	where    condition
	// among, unless nil, are all records that can fulfil where: found by a unique field.
	among []*record
	order string
	desc  bool
	limit int
	// offset is how many records are passed over.
	offset int
	within string // Options.LikeWithin
}

var errSyntax = errors.New("error occurred while parsing the query")

// queryError is what is wrong with a query that can be read.
type queryError string

func (e queryError) Error() string { return string(e) }

func (s *Sim) coql(c *call) {
	if !s.may(c, ScopeCOQL) {
		return
	}
	var body struct {
		Query string `json:"select_query"`
	}
	if err := json.Unmarshal(c.body, &body); err != nil || body.Query == "" {
		c.fail(http.StatusBadRequest, failure("MANDATORY_NOT_FOUND", "required field not found", map[string]any{"api_name": "select_query"}))
		return
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	q := &query{limit: 200, within: s.opts.LikeWithin}
	if err := q.read(s, body.Query); err != nil {
		code := "SYNTAX_ERROR"
		if _, ok := errors.AsType[queryError](err); ok {
			code = "INVALID_QUERY"
		}
		c.fail(http.StatusBadRequest, failure(code, err.Error(), nil))
		return
	}
	if scope := scopeOf(q.module.name); !s.may(c, scope) {
		return
	}
	var data []map[string]any
	more := false
	records := q.module.records
	if q.among != nil {
		records = q.among
	}
	if q.order != "" {
		records = slices.Clone(records)
		slices.SortStableFunc(records, func(a, b *record) int {
			if q.desc {
				a, b = b, a
			}
			if slices.Contains([]string{"id", "Modified_Time", "Created_Time"}, q.order) {
				return cmp.Compare(a.number(q.order), b.number(q.order))
			}
			return strings.Compare(strings.ToLower(text(a.values[q.order])), strings.ToLower(text(b.values[q.order])))
		})
	}
	for _, r := range records {
		if r.deleted || !q.where(r) {
			continue
		}
		if q.offset > 0 {
			q.offset--
			continue
		}
		if len(data) == q.limit {
			more = true
			break
		}
		data = append(data, r.shown(q.fields))
	}
	if len(data) == 0 {
		c.nothing()
		return
	}
	c.answer(http.StatusOK, map[string]any{"data": data, "info": map[string]any{"count": len(data), "more_records": more}})
}

func (q *query) read(s *Sim, text string) error {
	var err error
	if q.words, err = words(text); err != nil {
		return err
	}
	if !q.take("select") {
		return errSyntax
	}
	for {
		q.fields = append(q.fields, q.next())
		if !q.take(",") {
			break
		}
	}
	if len(q.fields) > maxSelect || !q.take("from") {
		return errSyntax
	}
	name := q.next()
	// Notes are not among the modules that COQL knows.
	if q.module = s.state.modules[name]; q.module == nil || name == "Notes" {
		return queryError("the module name given seems to be invalid: " + name)
	}
	for _, f := range q.fields {
		if q.field(f) != nil {
			return queryError("column given seems to be invalid: " + f)
		}
	}
	if !q.take("where") {
		return errors.New("where clause is mandatory")
	}
	if q.where, err = q.pair(); err != nil {
		return err
	}
	if q.criteria > maxCriteria {
		return errors.New("maximum of 25 criteria are allowed")
	}
	if q.take("order") {
		if !q.take("by") {
			return errSyntax
		}
		if q.order = q.next(); q.field(q.order) != nil {
			return queryError("column given seems to be invalid: " + q.order)
		}
		if q.desc = q.take("desc"); !q.desc {
			q.take("asc")
		}
	}
	if q.take("limit") {
		if q.limit, err = strconv.Atoi(q.next()); err != nil {
			return errSyntax
		}
		var more error
		switch {
		case q.take(","): // limit offset, n
			q.offset = q.limit
			q.limit, more = strconv.Atoi(q.next())
		case q.take("offset"):
			q.offset, more = strconv.Atoi(q.next())
		}
		if more != nil || q.limit < 1 || q.limit > 2000 || q.offset < 0 || q.offset > maxOffset {
			return errSyntax
		}
	}
	if q.i != len(q.words) {
		return errSyntax
	}
	return nil
}

func (q *query) field(name string) error {
	if q.module.byName[name] == nil && !slices.Contains([]string{"id", "Modified_Time", "Created_Time", "Modified_By", "Created_By"}, name) {
		return errSyntax
	}
	return nil
}

func (q *query) next() string {
	if q.i >= len(q.words) {
		return ""
	}
	q.i++
	return q.words[q.i-1]
}

func (q *query) take(word string) bool {
	if q.i < len(q.words) && strings.EqualFold(q.words[q.i], word) {
		q.i++
		return true
	}
	return false
}

// pair reads a condition, or two with one word between them.
func (q *query) pair() (condition, error) {
	a, err := q.one()
	if err != nil {
		return nil, err
	}
	and := q.take("and")
	if !and && !q.take("or") {
		return a, nil
	}
	b, err := q.one()
	if err != nil {
		return nil, err
	}
	if and {
		return func(r *record) bool { return a(r) && b(r) }, nil
	}
	return func(r *record) bool { return a(r) || b(r) }, nil
}

func (q *query) one() (condition, error) {
	if q.take("(") {
		in, err := q.pair()
		if err != nil || !q.take(")") {
			return nil, errSyntax
		}
		return in, nil
	}
	q.criteria++
	name := q.next()
	f := q.module.byName[name]
	if q.field(name) != nil || f != nil && f.Type == "textarea" {
		return nil, queryError("column given seems to be invalid: " + name)
	}
	value := func(r *record) string {
		switch name {
		case "id":
			return r.id
		case "Modified_Time", "Created_Time", "Modified_By", "Created_By":
			return strings.ToLower(text(r.shown([]string{name})[name]))
		}
		return strings.ToLower(text(r.values[name]))
	}
	if slices.Contains([]string{"id", "Modified_Time", "Created_Time"}, name) && q.i < len(q.words) && strings.Trim(q.words[q.i], "<=>") == "" {
		operator := q.next()
		if operator != "=" && q.take("=") {
			operator += "="
		}
		return q.compare(name, operator)
	}
	switch {
	case q.take("="):
		want, err := q.literal()
		return func(r *record) bool { return value(r) == want }, err
	case q.take("like"):
		want, err := q.literal()
		within := strings.Contains(strings.Trim(want, "%"), "%")
		switch {
		case err != nil || within && q.within == "refused":
			return nil, errSyntax
		case within && q.within == "literal":
			return func(*record) bool { return false }, nil // no value of the imitation has one
		}
		return func(r *record) bool { return like(value(r), want) }, nil
	case q.take("is"):
		not := q.take("not")
		if !q.take("null") {
			return nil, errSyntax
		}
		return func(r *record) bool { return (value(r) == "") != not }, nil
	case q.take("in"):
		return q.in(f, value)
	}
	return nil, errSyntax
}

// compare reads what a time or an id is compared with.
func (q *query) compare(name, operator string) (condition, error) {
	literal, err := q.literal()
	if err != nil {
		return nil, err
	}
	var want int64
	if name == "id" {
		want, err = strconv.ParseInt(literal, 10, 64)
	} else {
		var at time.Time
		at, err = time.Parse("2006-01-02T15:04:05-07:00", strings.ToUpper(literal))
		want = at.Unix()
	}
	if err != nil {
		return nil, errors.New("invalid value for the column: " + name)
	}
	holds := map[string]func(int) bool{
		"=": func(n int) bool { return n == 0 }, "<": func(n int) bool { return n < 0 }, ">": func(n int) bool { return n > 0 },
		"<=": func(n int) bool { return n <= 0 }, ">=": func(n int) bool { return n >= 0 },
	}[operator]
	if holds == nil {
		return nil, errSyntax
	}
	return func(r *record) bool { return holds(cmp.Compare(r.number(name), want)) }, nil
}

// number is an id, or a time in seconds, which is all that Zoho keeps of it.
func (r *record) number(name string) int64 {
	switch name {
	case "Modified_Time":
		return r.modified.Unix()
	case "Created_Time":
		return r.created.Unix()
	}
	n, _ := strconv.ParseInt(r.id, 10, 64)
	return n
}

func (q *query) in(f *Field, value func(*record) string) (condition, error) {
	if !q.take("(") {
		return nil, errSyntax
	}
	set := map[string]bool{}
	for {
		v, err := q.literal()
		if err != nil {
			return nil, err
		}
		set[v] = true
		if !q.take(",") {
			break
		}
	}
	if len(set) > maxIn {
		return nil, errors.New("maximum of 100 values are allowed in the in operator")
	}
	if !q.take(")") {
		return nil, errSyntax
	}
	if f != nil && f.Unique && q.criteria == 1 && (q.i == len(q.words) || strings.EqualFold(q.words[q.i], "limit")) {
		q.among = []*record{}
		for _, v := range slices.Sorted(maps.Keys(set)) {
			if r := q.module.unique[f.Name][v]; r != nil {
				q.among = append(q.among, r)
			}
		}
	}
	return func(r *record) bool { return set[value(r)] }, nil
}

func (q *query) literal() (string, error) {
	w := q.next()
	if !strings.HasPrefix(w, "'") {
		return "", errSyntax
	}
	return strings.ToLower(w[1:]), nil
}

// like matches a text against a pattern, in which % stands for anything, or nothing.
func like(v, pattern string) bool {
	head, rest, wild := strings.Cut(pattern, "%")
	if !wild {
		return v == pattern
	}
	if !strings.HasPrefix(v, head) {
		return false
	}
	v = v[len(head):]
	for {
		part, more, wild := strings.Cut(rest, "%")
		if !wild {
			return strings.HasSuffix(v, part)
		}
		at := strings.Index(v, part)
		if at < 0 {
			return false
		}
		v, rest = v[at+len(part):], more
	}
}

// words splits a query; a text begins with an apostrophe, which is doubled within.
func words(s string) ([]string, error) {
	var list []string
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == ' ':
			i++
		case strings.IndexByte("(),=", c) >= 0:
			list = append(list, s[i:i+1])
			i++
		case c == '\'':
			var b strings.Builder
			b.WriteByte('\'')
			for i++; ; i++ {
				if i >= len(s) {
					return nil, errSyntax
				}
				if s[i] == '\\' {
					return nil, errSyntax
				}
				if s[i] == '\'' {
					if i+1 < len(s) && s[i+1] == '\'' {
						i++
					} else {
						break
					}
				}
				b.WriteByte(s[i])
			}
			i++
			list = append(list, b.String())
		default:
			j := i
			for j < len(s) && strings.IndexByte(" (),='", s[j]) < 0 {
				j++
			}
			list = append(list, s[i:j])
			i = j
		}
	}
	return list, nil
}
