package script

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/dop251/goja"

	"github.com/wabridge/wabridge/core/phrase"
)

// A table of phrases is a CSV file with the columns name, language and phrases:
// it recognizes what a message is about, and leaves to the script what to do
// about it. One with the column list instead of name defines words for all of
// them to use as {name}.
const (
	phrasesColumn = "phrases"
	listColumn    = "list"
	maxPhrases    = 20_000 // of a script, and examples
)

type phraseRow struct{ name, language string }

// phraseModule is one imported table of phrases.
type phraseModule struct {
	rows []phraseRow
	set  *phrase.Set
}

// phraseBook is what the tables of a script have in common.
type phraseBook struct {
	words    *phrase.Words
	modules  []*phraseModule
	examples []*phrase.Examples
	total    int
}

// readRows returns the rows of a table of phrases or of examples, by column, and
// which it is: phrasesColumn or exampleColumn, "" when the file is neither.
func readRows(name string, data []byte) (rows []map[string]string, kind string, err error) {
	if path.Ext(name) != ".csv" {
		return nil, "", nil
	}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	r.Comment = '#'
	first, _, _ := bytes.Cut(data, []byte("\n"))
	if bytes.Count(first, []byte(";")) > bytes.Count(first, []byte(",")) {
		r.Comma = ';'
	}
	header, err := r.Read()
	if err != nil {
		return nil, "", nil //nolint:nilerr // whoever reads it as another table will say so
	}
	for i := range header {
		header[i] = strings.ToLower(strings.TrimSpace(header[i]))
	}
	var columns []string
	var has string
	switch {
	case slices.Contains(header, phrasesColumn):
		kind, columns = phrasesColumn, []string{phrasesColumn, listColumn, "name", "language", ""}
		has = "a table of phrases has the columns name (or list), language and phrases"
	case slices.Contains(header, exampleColumn):
		kind, columns = exampleColumn, []string{exampleColumn, "name", ""}
		has = "a table of examples has the columns name and example"
	default:
		return nil, "", nil
	}
	for _, h := range header {
		if !slices.Contains(columns, h) {
			return nil, "", fmt.Errorf("%s: %s, not %s", name, has, quote(h))
		}
	}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows, kind, nil
		}
		if err != nil {
			return nil, "", fmt.Errorf("%s:%w", name, rowError(err, len(record), len(header)))
		}
		line, _ := r.FieldPos(0)
		row := map[string]string{"line": fmt.Sprintf("%s:%d", name, line)}
		for i, cell := range record {
			row[header[i]] = strings.TrimSpace(cell)
		}
		rows = append(rows, row)
	}
}

// rowError says in the words of a spreadsheet what is wrong with a line of a table.
func rowError(err error, cells, columns int) error {
	at, ok := errors.AsType[*csv.ParseError](err)
	switch {
	case !ok:
		return fmt.Errorf(" %w", err)
	case errors.Is(err, csv.ErrFieldCount):
		return fmt.Errorf("%d: there are %d cells, and %d in the first line: a text with a comma or semicolon stands in double quotes", at.StartLine, cells, columns)
	}
	return fmt.Errorf("%d: %w: a text with a double quote stands in double quotes, and the quote is written twice", at.StartLine, at.Err)
}

// book returns the phrases of the script, with the lists of all its files.
func (b *bundler) book() (*phraseBook, error) {
	if b.phrases != nil {
		return b.phrases, nil
	}
	book := &phraseBook{words: phrase.New()}
	for _, name := range slices.Sorted(maps.Keys(b.src.Files)) {
		rows, kind, err := readRows(name, b.src.Files[name])
		if err != nil {
			return nil, err
		}
		if kind != phrasesColumn {
			continue
		}
		for _, row := range rows {
			if row[listColumn] == "" {
				continue
			}
			for _, p := range book.split(row) {
				if err := book.words.List(row[listColumn], p); err != nil {
					return nil, fmt.Errorf("%s: %w", row["line"], err)
				}
			}
		}
	}
	b.phrases = book
	return book, nil
}

// split returns the phrases of a row.
func (book *phraseBook) split(row map[string]string) (all []string) {
	for p := range strings.SplitSeq(row[phrasesColumn], ";") {
		if p = strings.TrimSpace(p); p != "" {
			all = append(all, p)
		}
	}
	book.total += len(all)
	return all
}

// addPhrases makes a module of a table of phrases and returns its number.
func (b *bundler) addPhrases(name string, rows []map[string]string) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	book, err := b.book()
	if err != nil {
		return 0, err
	}
	m := &phraseModule{set: book.words.NewSet()}
	for _, row := range rows {
		if row[listColumn] != "" {
			return 0, fmt.Errorf("%s: is a list for the tables beside it, and is not imported", row["line"])
		}
		for _, p := range book.split(row) {
			if err := m.set.Add(len(m.rows), p); err != nil {
				return 0, fmt.Errorf("%s: %w", row["line"], err)
			}
		}
		m.rows = append(m.rows, phraseRow{name: row["name"], language: row["language"]})
	}
	if book.total > maxPhrases {
		return 0, fmt.Errorf("%s: the script has more than %d phrases", name, maxPhrases)
	}
	book.modules = append(book.modules, m)
	return len(book.modules) - 1, nil
}

// find calls an imported table of phrases: host(hostPhrases, n, event). It
// returns the row that the message fits, as {name, language}.
func (r *run) find(call goja.FunctionCall) goja.Value {
	n := call.Argument(1).ToInteger()
	if r.c.phrases == nil || n < 0 || n >= int64(len(r.c.phrases.modules)) {
		panic(r.vm.NewTypeError("there is no such table"))
	}
	text := r.textOf(call.Argument(2))
	m := r.c.phrases.modules[n]
	row := m.set.Find(text)
	if row < 0 {
		return goja.Undefined()
	}
	found := r.vm.NewObject()
	_ = found.Set("name", m.rows[row].name)
	language := m.rows[row].language
	if guess := text.Language(); guess != "" {
		language = guess
	}
	_ = found.Set("language", language)
	return found
}

// textOf reads the text of an event's message, once for all tables.
func (r *run) textOf(event goja.Value) *phrase.Text {
	s := ""
	if o, ok := event.(*goja.Object); ok {
		if m, ok := o.Get("message").(*goja.Object); ok {
			if v := m.Get("text"); v != nil && !goja.IsUndefined(v) && !goja.IsNull(v) {
				s = v.String()
			}
		}
	}
	if r.text == nil || r.said != s {
		r.said, r.text = s, r.c.phrases.words.Read(s)
	}
	return r.text
}

// PhraseRows returns the names of a table of phrases' rows; false when the file
// is none.
func PhraseRows(name string, data []byte) ([]string, bool) {
	rows, kind, err := readRows(name, data)
	if err != nil || kind != phrasesColumn || rows == nil {
		return nil, false
	}
	var names []string
	for _, row := range rows {
		names = append(names, row["name"])
	}
	return names, true
}
