package customhttp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// path leads to a value within JSON: names and positions, separated by dots.
// The empty path is the value itself.
type path []string

func parsePath(s string) path {
	if s == "" {
		return nil
	}
	return strings.Split(s, ".")
}

// check reports paths that can lead nowhere.
func (q path) check(where string, p *problems) {
	if slices.Contains(q, "") {
		p.addf(where, `want names separated by single dots, such as "data.id"`)
	}
}

// find returns the value at the path; false when there is none. What is null
// is there.
func (q path) find(v any) (any, bool) {
	for _, step := range q {
		switch at := v.(type) {
		case map[string]any:
			next, ok := at[step]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(at) {
				return nil, false
			}
			v = at[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// text returns the text, number or boolean at the path as a text; "" when there
// is nothing like it, or no path.
func (q path) text(v any) string {
	if q == nil {
		return ""
	}
	found, _ := q.find(v)
	s, _ := textOf(found)
	return s
}

// textOf writes what is not a list, table or null as a text.
func textOf(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case json.Number:
		return v.String(), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	}
	return "", false
}

// decodeJSON decodes one JSON value and keeps numbers as they are written.
func decodeJSON(b []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("more than one JSON value")
	}
	return v, nil
}

// condition is a compiled [conditionSettings]. The zero condition holds for
// everything.
type condition struct {
	path    path
	test    func(v any, found bool) bool
	reading bool // looks at the body at all
}

func (c *condition) holds(body any) bool {
	if !c.reading {
		return true
	}
	v, found := c.path.find(body)
	return c.test(v, found)
}

func compileCondition(s conditionSettings, where string, p *problems) condition {
	c := condition{path: parsePath(s.Path)}
	c.path.check(where+".path", p)
	var tests int
	if s.Equals != nil {
		tests++
		c.test = isOneOf([]any{s.Equals}, where+".equals", p)
	}
	if s.In != nil {
		tests++
		c.test = isOneOf(s.In, where+".in", p)
	}
	if s.Matches != "" {
		tests++
		re, err := regexp.Compile(s.Matches)
		if err != nil {
			p.addf(where+".matches", "%v", err)
		}
		c.test = func(v any, _ bool) bool {
			text, ok := textOf(v)
			return ok && re.MatchString(text)
		}
	}
	if s.Exists != nil {
		tests++
		c.test = func(v any, found bool) bool { return (found && v != nil) == *s.Exists }
	}
	switch {
	case tests > 1:
		p.addf(where, "want one of equals, in, matches and exists")
	case tests == 0 && s.Path != "":
		p.addf(where, "path needs one of equals, in, matches and exists")
	}
	c.reading = tests > 0
	return c
}

// isOneOf compares by text, so that 1 is "1": APIs are not sure either.
func isOneOf(want []any, where string, p *problems) func(any, bool) bool {
	texts := make([]string, len(want))
	for i, w := range want {
		text, ok := textOf(w)
		if !ok {
			p.addf(where, "want a text, a number, true or false")
		}
		texts[i] = text
	}
	return func(v any, _ bool) bool {
		text, ok := textOf(v)
		return ok && slices.Contains(texts, text)
	}
}

// statusRange is written as 200, "200", "2xx" or "500-599".
type statusRange struct{ low, high int }

var statusPattern = regexp.MustCompile(`^([1-5])(?:(xx)|([0-9]{2})(?:-([1-5][0-9]{2}))?)$`)

func anyHas(ranges []statusRange, status int) bool {
	return slices.ContainsFunc(ranges, func(r statusRange) bool { return r.low <= status && status <= r.high })
}

func parseStatuses(list []any, where string, p *problems) []statusRange {
	ranges := make([]statusRange, 0, len(list))
	for _, v := range list {
		text, _ := textOf(v)
		m := statusPattern.FindStringSubmatch(strings.ToLower(text))
		if m == nil {
			p.addf(where, `want statuses such as 200, "2xx" or "500-599"`)
			continue
		}
		var r statusRange
		if m[2] != "" {
			r.low, _ = strconv.Atoi(m[1] + "00")
			r.high = r.low + 99
		} else {
			r.low, _ = strconv.Atoi(m[1] + m[3])
			r.high = r.low
		}
		if m[4] != "" {
			r.high, _ = strconv.Atoi(m[4])
		}
		if r.low > r.high {
			p.addf(where, "%s begins after its end", text)
		}
		ranges = append(ranges, r)
	}
	return ranges
}
