package table

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wabridge/wabridge/core/spelling"
)

// cell is what stands in a column of a row: a text, or in TOML also a list.
type cell struct {
	text string
	list []string
	// plain says that the text is one, and not the text of a list.
	plain bool
}

// items are the parts of a list, written "one; two" or as a list.
func (c cell) items() []string {
	list := c.list
	if !c.plain {
		list = strings.Split(c.text, ";")
		if c.list != nil {
			list = c.list
		}
	}
	var out []string
	for _, s := range list {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

const fieldPrefix = "field."

// columns are those that a table may have, beside field.NAME.
var columns = []string{
	"name", "keywords", "whole", "language", "hours", "first", "reply", "tag", "team", "topic", "priority",
}

// columnName returns the column that a name means.
func columnName(name string) (string, bool) {
	name = strings.TrimSpace(name)
	if len(name) > len(fieldPrefix) && strings.EqualFold(name[:len(fieldPrefix)], fieldPrefix) {
		return fieldPrefix + strings.TrimSpace(name[len(fieldPrefix):]), true
	}
	lower := strings.ToLower(name)
	return lower, slices.Contains(columns, lower)
}

// suggest ends the complaint about a column that there is not.
func suggest(name string) string {
	if strings.HasPrefix(strings.ToLower(name), "field") {
		return "; a contact's field is written field.NAME"
	}
	if near := spelling.Nearest(name, columns); near != "" {
		return "; did you mean " + near + "?"
	}
	return "; there are " + strings.Join(columns, ", ") + " and field.NAME"
}

// row makes a row of its cells.
func (p *parser) row(n int, line string, cells map[string]cell) {
	if len(p.table.Rows) == MaxRows {
		p.full = true
		return
	}
	r := Row{N: n, Line: line}
	text := func(column string, limit int) string {
		s := strings.TrimSpace(cells[column].text)
		p.checkText(n, column, s, limit)
		return s
	}
	r.Name = text("name", maxName)
	r.Reply = text("reply", maxText)
	r.Team, r.Topic = text("team", maxName), text("topic", maxName)
	r.Whole, r.First = p.yes(n, "whole", cells), p.yes(n, "first", cells)
	r.Keywords = p.keywords(n, cells["keywords"])
	if r.Whole && len(r.Keywords) == 0 {
		p.problem(n, "whole", "says that a keyword is the whole message, but there is none")
	}
	for _, l := range cells["language"].items() {
		l = strings.ToLower(l)
		if !slices.Contains(Languages, l) {
			p.problem(n, "language", "%q cannot be told from others; there are %s", clip(l), strings.Join(Languages, ", "))
		}
		r.Languages = append(r.Languages, l)
	}
	var err error
	if r.hours, err = parseHours(cells["hours"]); err != nil {
		p.problem(n, "hours", "%v", err)
	}
	for _, tag := range p.list(n, "tag", cells) {
		p.checkText(n, "tag", tag, maxName)
		r.Tags = append(r.Tags, tag)
	}
	for _, column := range sortedKeys(cells) {
		if name, ok := strings.CutPrefix(column, fieldPrefix); ok && strings.TrimSpace(cells[column].text) != "" {
			p.checkText(n, column, name, maxName)
			r.Fields = append(r.Fields, Field{name, text(column, maxText)})
		}
	}
	if r.Priority = strings.ToLower(text("priority", maxName)); !slices.Contains([]string{"", "low", "normal", "high"}, r.Priority) {
		p.problem(n, "priority", "is low, normal or high, not %q", clip(r.Priority))
	}
	switch {
	case r.Priority != "" && !r.HandsOver():
		p.problem(n, "priority", "is a hand-over's, and the row hands nothing over: give it a team or a topic")
	case len(r.Tags)+len(r.Fields) > maxChanges:
		p.problem(n, "", "has %d tags and fields, at most %d are allowed", len(r.Tags)+len(r.Fields), maxChanges)
	case r.Reply == "" && len(r.Tags) == 0 && len(r.Fields) == 0 && !r.HandsOver():
		p.problem(n, "", "does nothing: give it a reply, a tag, a field, a team or a topic")
	}
	p.table.Rows = append(p.table.Rows, r)
}

func (p *parser) list(n int, column string, cells map[string]cell) []string {
	items := cells[column].items()
	if len(items) > MaxList {
		p.problem(n, column, "has %d entries, at most %d are allowed", len(items), MaxList)
		return items[:MaxList]
	}
	return items
}

func (p *parser) keywords(n int, c cell) []string {
	items := p.list(n, "keywords", map[string]cell{"keywords": c})
	for _, k := range items {
		switch folded := Read(k).folded; {
		case folded == "":
			p.problem(n, "keywords", "%q has neither letters nor digits nor signs", clip(k))
		case utf8.RuneCountInString(k) > MaxKeyword || strings.Count(folded, " ") >= maxWords:
			p.problem(n, "keywords", "%q is too long: at most %d words and %d characters", clip(k), maxWords, MaxKeyword)
		}
	}
	if len(items) == 0 && strings.Trim(c.text, " ") != "" {
		p.problem(n, "keywords", "there is nothing but separators")
	}
	return items
}

// yes reads a cell that says yes or no.
func (p *parser) yes(n int, column string, cells map[string]cell) bool {
	switch strings.ToLower(strings.TrimSpace(cells[column].text)) {
	case "yes", "y", "true", "x", "1":
		return true
	case "", "no", "n", "false", "0":
		return false
	}
	p.problem(n, column, "is yes or no, not %q", clip(cells[column].text))
	return false
}

func (p *parser) checkText(n int, column, s string, limit int) {
	if len(s) > limit {
		if c := utf8.RuneCountInString(s); c > limit {
			p.problem(n, column, "has %d characters, at most %d are allowed", c, limit)
		}
	}
	control := func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' }
	if limit == maxName {
		control = unicode.IsControl
	}
	if strings.ContainsFunc(s, control) {
		p.problem(n, column, "has control characters or a line break")
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
