package table

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// csv reads a file as spreadsheets save it: with commas, semicolons or tabs,
// and perhaps a byte order mark. Its first row names the columns. Lines that
// begin with # are remarks.
func (p *parser) csv(data []byte) {
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) || bytes.IndexByte(data, 0) >= 0 {
		p.problem(0, "", "is no text in UTF-8: save it as \"CSV UTF-8\"")
		return
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	r := csv.NewReader(bytes.NewReader(data))
	r.Comma = separator(data)
	r.Comment = '#'
	r.FieldsPerRecord = -1
	var header []string
	breaks := 0 // line breaks within cells: a spreadsheet does not count them
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if wrong, ok := errors.AsType[*csv.ParseError](err); ok {
			p.problem(wrong.StartLine-breaks, "", "%s", quotes(wrong))
			return
		}
		if err != nil {
			p.problem(0, "", "%v", err)
			return
		}
		line, _ := r.FieldPos(0)
		n := line - breaks
		for _, s := range record {
			breaks += strings.Count(s, "\n")
		}
		if header == nil {
			if header = p.header(n, record); header == nil {
				return
			}
			continue
		}
		p.record(n, header, record)
		if p.full {
			return
		}
	}
}

// separator is the one that the first line has most of.
func separator(data []byte) rune {
	for line := range bytes.Lines(data) {
		if len(bytes.TrimSpace(line)) == 0 || line[0] == '#' {
			continue
		}
		best, most := ',', bytes.Count(line, []byte(","))
		for _, c := range ";\t" {
			if n := bytes.Count(line, []byte(string(c))); n > most {
				best, most = c, n
			}
		}
		return best
	}
	return ','
}

func quotes(err *csv.ParseError) string {
	switch {
	case errors.Is(err.Err, csv.ErrQuote):
		return `a quote " is not closed, or something follows it: within quotes, " is written ""`
	case errors.Is(err.Err, csv.ErrBareQuote):
		return `a quote " stands within a cell: put the whole cell into quotes, and write " as ""`
	}
	return err.Err.Error()
}

// header reads the names of the columns.
func (p *parser) header(n int, record []string) []string {
	if len(record) > maxColumns {
		p.problem(n, "", "has %d columns, at most %d are allowed", len(record), maxColumns)
		return nil
	}
	header := make([]string, len(record))
	seen := map[string]bool{}
	known := 0
	for i, name := range record {
		column, ok := columnName(name)
		switch {
		case strings.TrimSpace(name) == "":
			continue // a column for remarks; nothing is read of it
		case !utf8.ValidString(name):
			p.problem(n, "", "is no text in UTF-8: save the file as \"CSV UTF-8\"")
			return nil
		case !ok:
			p.problem(n, "", "there is no column %q%s", clip(name), suggest(name))
			continue
		case seen[column]:
			p.problem(n, column, "is there twice")
		}
		known++
		seen[column] = true
		header[i] = column
	}
	if known == 0 && len(p.problems) == 0 {
		p.problem(n, "", "the first row names the columns: %s and field.NAME", strings.Join(columns, ", "))
		return nil
	}
	return header
}

func (p *parser) record(n int, header, record []string) {
	cells := make(map[string]cell, len(header))
	empty := true
	for i, s := range record {
		if !utf8.ValidString(s) {
			p.problem(n, "", "is no text in UTF-8: save the file as \"CSV UTF-8\"")
			return
		}
		if strings.TrimSpace(s) != "" {
			empty = false
		}
		if i >= len(header) {
			if strings.TrimSpace(s) != "" {
				p.problem(n, "", "has more cells than there are columns: put a text with commas into quotes")
				return
			}
			continue
		}
		if header[i] != "" {
			cells[header[i]] = cell{text: s}
		}
	}
	if !empty {
		p.row(n, fmt.Sprintf("%s:%d", p.table.Name, n), cells)
	}
}
