package salesforcesim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// misfits returns what is wrong with the literals that fields are compared to, ""
// when each fits its field. They are taken as what they mean afterwards.
func (c *condition) misfits(t *table) string {
	for _, part := range c.parts {
		if wrong := part.misfits(t); wrong != "" {
			return wrong
		}
	}
	f := t.fields[strings.ToLower(c.field)]
	for i, v := range c.values {
		want, quoted := "string", " and should be enclosed in quotes"
		switch f.Type {
		case "datetime":
			want, quoted = "dateTime", " and should not be enclosed in quotes"
		case "date":
			want, quoted = "date", " and should not be enclosed in quotes"
		case "boolean":
			want, quoted = "boolean", " and should not be enclosed in quotes"
		default:
			if slices.Contains(numbers, f.Type) {
				want, quoted = f.Type, " and should not be enclosed in quotes"
			}
		}
		ok := v == nil
		switch v := v.(type) {
		case string:
			ok = want == "string"
			if f.Type == "id" || f.Type == "reference" {
				full, isID := fullID(v)
				if !isID {
					return "invalid ID field: " + v
				}
				c.values[i] = full
			}
		case float64:
			ok = slices.Contains(numbers, f.Type)
		case bool:
			ok = want == "boolean"
		case bare:
			switch want {
			case "date":
				_, err := time.Parse(time.DateOnly, string(v))
				ok, c.values[i] = err == nil, string(v)
			case "dateTime":
				c.values[i], ok = instant(string(v))
			}
		}
		if !ok {
			return fmt.Sprintf("value of filter criterion for field '%s' must be of type %s%s", f.Name, want, quoted)
		}
	}
	return ""
}

// numbers are the types of fields that are compared to numbers.
var numbers = []string{"double", "currency", "percent", "int"}

// instant reads a time, with any way to write its zone; in UTC, so that times can be
// compared.
func instant(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, stampLayout} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

// fieldsOf returns the fields that a condition compares.
func (c *condition) fieldsOf() []string {
	if c == nil {
		return nil
	}
	if c.field != "" {
		return []string{c.field}
	}
	var all []string
	for _, part := range c.parts {
		all = append(all, part.fieldsOf()...)
	}
	return all
}

// holds says whether a record meets the condition. Texts are compared as Salesforce
// does: without regard to case.
func (c *condition) holds(r *record) bool {
	if c == nil {
		return true
	}
	switch c.op {
	case "and":
		for _, part := range c.parts {
			if !part.holds(r) {
				return false
			}
		}
		return true
	case "or":
		for _, part := range c.parts {
			if part.holds(r) {
				return true
			}
		}
		return false
	case "not":
		return !c.parts[0].holds(r)
	}
	have := r.values[strings.ToLower(c.field)]
	if slices.ContainsFunc(c.values, func(v any) bool { _, ok := v.(time.Time); return ok }) {
		text, _ := have.(string)
		if at, ok := instant(text); ok {
			have = at
		}
	}
	text, isText := have.(string)
	switch c.op {
	case "in":
		for _, v := range c.values {
			if same(have, v) {
				return true
			}
		}
		return false
	case "=":
		return same(have, c.values[0])
	case "!=":
		return !same(have, c.values[0])
	case "like":
		pattern, _ := c.values[0].(string)
		return isText && like([]rune(strings.ToLower(text)), []rune(strings.ToLower(pattern)))
	}
	var n int
	switch have := have.(type) {
	case float64:
		other, _ := c.values[0].(float64)
		n = cmp.Compare(have, other)
	case time.Time:
		other, _ := c.values[0].(time.Time)
		n = have.Compare(other)
	case string:
		other, ok := c.values[0].(string)
		if !ok {
			return false
		}
		n = strings.Compare(have, other)
	default:
		return false
	}
	switch c.op {
	case "<":
		return n < 0
	case "<=":
		return n <= 0
	case ">":
		return n > 0
	}
	return n >= 0
}

var unescape = strings.NewReplacer(`\%`, `%`, `\_`, `_`)

func same(have, want any) bool {
	a, isText := have.(string)
	b, wantText := want.(string)
	if isText && wantText {
		return strings.EqualFold(a, unescape.Replace(b))
	}
	return have == want
}

// like matches a text against a pattern with % and _. It looks at each place of the text
// for a part of the pattern but once, however many % there are.
func like(text, pattern []rune) bool {
	i, k := 0, 0
	from, after := -1, 0 // where the last % has reached, and what follows it
	for i < len(text) {
		n := 1
		escaped := k+1 < len(pattern) && pattern[k] == '\\'
		if escaped {
			n = 2
		}
		switch {
		case k < len(pattern) && pattern[k] == '%':
			from, after = i, k+1
			k++
		case k < len(pattern) && (escaped && pattern[k+1] == text[i] || !escaped && (pattern[k] == '_' || pattern[k] == text[i])):
			i, k = i+1, k+n
		case from >= 0:
			from++
			i, k = from, after
		default:
			return false
		}
	}
	return strings.Trim(string(pattern[k:]), "%") == ""
}
