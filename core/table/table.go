// Package table reads decision tables: rows of keywords and what to do about a
// message that has one of them. They are for people who do not write code, so
// that every mistake is named by file, row and column, with what was probably
// meant.
//
// A table is a CSV file as a spreadsheet saves it, or a TOML file. Matching is
// bounded: its time grows with the message and the number of keywords that are
// found in it, never with the table.
package table

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Limits of a table.
const (
	MaxSize     = 256 << 10 // bytes
	MaxRows     = 5000
	MaxKeywords = 20_000 // in all rows
	MaxKeyword  = 80     // characters
	MaxList     = 200    // keywords of a row

	maxColumns = 200  // of a CSV file
	maxChanges = 24   // tags and fields of a row
	maxText    = 4096 // characters of a reply or of a field's value
	maxName    = 100  // characters of a name, a tag, a team
)

// Languages are those that the bridge tells apart.
var Languages = []string{"en", "es", "fr", "pt", "zh"}

// Table is a table that has been read. It may be used concurrently.
type Table struct {
	Name string
	Rows []Row

	find finder
	any  []int // rows without keywords
}

// Row is one line of a table: when, and what to do.
type Row struct {
	// N is how a spreadsheet counts it, its line in a CSV file; in TOML the
	// number of its [[row]].
	N int
	// Line is where it is, for people and editors: "hours.csv:4".
	Line string
	Name string

	// Keywords are any of which must be in the message, as they were written.
	// Without, every message will do.
	Keywords []string
	// Whole says that a keyword must be the whole message.
	Whole bool
	// Languages are those that the message must be in; none is any.
	Languages []string
	// First says that the message must be its conversation's first.
	First bool
	hours hours

	Reply    string
	Tags     []string
	Fields   []Field
	Team     string
	Topic    string
	Priority string
}

// Field is a contact's field to set.
type Field struct{ Name, Value string }

// HandsOver reports whether the row hands the conversation to a person.
func (r *Row) HandsOver() bool { return r.Team != "" || r.Topic != "" }

// Reason says in a few words why the row hands over.
func (r *Row) Reason() string {
	if r.Name != "" {
		return r.Name
	}
	return r.Line
}

// Message is what a table looks at.
type Message struct {
	Text *Text
	// Language is that of the message, "" when it cannot be told.
	Language string
	// Closed says that the business is closed.
	Closed bool
	// Local is the time at the business.
	Local time.Time
	// First says that it is the conversation's first message.
	First bool
}

// Parse reads a table. The name's extension says what it is. The error, which
// names every mistake, is for the table's author.
func Parse(name string, data []byte) (*Table, error) {
	p := &parser{table: &Table{Name: path.Base(name)}}
	if len(data) > MaxSize {
		p.problem(0, "", "%d KiB are too large: at most %d", len(data)>>10, MaxSize>>10)
		return nil, p.err()
	}
	switch path.Ext(name) {
	case ".csv":
		p.csv(data)
	case ".toml":
		p.toml(data)
	default:
		p.problem(0, "", "a table's name ends in .csv or .toml")
	}
	switch {
	case p.full:
		p.problems = nil
		p.problem(0, "", "a table has at most %d rows", MaxRows)
	case len(p.problems) == 0:
		p.finish()
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return p.table, nil
}

// Is reports whether a file is a table, by its name.
func Is(name string) bool { return path.Ext(name) == ".csv" || path.Ext(name) == ".toml" }

// Match returns the first row that fits a message, or nil.
func (t *Table) Match(m *Message) *Row {
	if i := t.Index(m); i >= 0 {
		return &t.Rows[i]
	}
	return nil
}

// Index returns which row is the first that fits a message, or -1.
func (t *Table) Index(m *Message) int {
	best := len(t.Rows)
	consider := func(rows []int) {
		for _, i := range rows { // ascending
			if i >= best {
				return
			}
			if t.Rows[i].fits(m) {
				best = i
			}
		}
	}
	consider(t.any)
	if m.Text != nil {
		t.find.each(m.Text, func(k *keyword, whole bool) {
			consider(k.rows)
			if whole {
				consider(k.whole)
			}
		})
	}
	if best == len(t.Rows) {
		return -1
	}
	return best
}

// fits looks at everything but the keywords.
func (r *Row) fits(m *Message) bool {
	return (len(r.Languages) == 0 || slices.Contains(r.Languages, m.Language)) &&
		(!r.First || m.First) && r.hours.fits(m)
}

// finish looks at the rows together.
func (p *parser) finish() {
	t := p.table
	if len(t.Rows) == 0 && len(p.problems) == 0 {
		p.problem(0, "", "there are no rows")
	}
	seen := map[string][]int{} // rows by keyword
	last := -1                 // the first row that fits everything
	for i := range t.Rows {
		r := &t.Rows[i]
		if last >= 0 {
			p.problem(r.N, "", "is never reached: row %d fits every message", t.Rows[last].N)
			break
		}
		if len(r.Keywords) == 0 {
			t.any = append(t.any, i)
			if len(r.Languages) == 0 && !r.First && r.hours.any() {
				last = i
			}
			continue
		}
		before, all := 0, true
		for _, k := range r.Keywords {
			text := Read(k)
			folded := text.folded
			at := slices.IndexFunc(seen[folded], func(j int) bool { return t.Rows[j].covers(r) })
			if at < 0 {
				all = false
			} else {
				before = max(before, t.Rows[seen[folded][at]].N)
			}
			seen[folded] = append(seen[folded], i)
			t.find.add(text, i, r.Whole)
		}
		if all {
			p.problem(r.N, "keywords", "is never reached: rows before it, such as row %d, have all of its keywords", before)
		}
	}
	if n := len(t.find.words); n > MaxKeywords {
		p.problem(0, "keywords", "there are %d different ones, at most %d are allowed", n, MaxKeywords)
	}
}

// covers reports whether this row fits whenever another one does that has the
// same keyword.
func (r *Row) covers(o *Row) bool {
	if len(r.Languages) > 0 {
		if len(o.Languages) == 0 {
			return false
		}
		for _, l := range o.Languages {
			if !slices.Contains(r.Languages, l) {
				return false
			}
		}
	}
	return (!r.Whole || o.Whole) && (!r.First || o.First) && (r.hours.any() || r.hours.text == o.hours.text)
}

// parser collects a table and its mistakes.
type parser struct {
	table    *Table
	problems []string
	more     int
	full     bool // there are more rows than there may be
}

const maxProblems = 20

// problem notes a mistake; row 0 is the file as a whole.
func (p *parser) problem(row int, column, format string, args ...any) {
	if len(p.problems) == maxProblems {
		p.more++
		return
	}
	where := p.table.Name
	if row > 0 {
		where += fmt.Sprintf(", row %d", row)
	}
	if column != "" {
		where += ", column " + clip(column)
	}
	p.problems = append(p.problems, where+": "+fmt.Sprintf(format, args...))
}

// Error names what is wrong with a table, one line for each mistake.
type Error struct{ Problems []string }

func (e *Error) Error() string { return strings.Join(e.Problems, "\n") }

func (p *parser) err() error {
	if len(p.problems) == 0 {
		return nil
	}
	if p.more > 0 {
		p.problems = append(p.problems, fmt.Sprintf("and %d more", p.more))
	}
	return &Error{p.problems}
}

func clip(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
