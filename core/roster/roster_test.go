package roster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
)

var now = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// list reads a whole list: "line: cells" or "line! why".
func list(t *testing.T, text, enc string) (header []string, rows []string) {
	t.Helper()
	r, err := NewReader(strings.NewReader(text), enc)
	if err != nil {
		t.Fatal(err)
	}
	for {
		row, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Header.Cells, rows
		}
		if err != nil {
			t.Fatal(err)
		}
		if row.Bad != "" {
			rows = append(rows, fmt.Sprintf("%d! %s", row.Line, row.Bad))
		} else {
			rows = append(rows, fmt.Sprintf("%d: %s", row.Line, strings.Join(row.Cells, "·")))
		}
	}
}

func utf16le(s string) string {
	b := []byte{0xFF, 0xFE}
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return string(b)
}

func TestReader_ReadsWhatSpreadsheetsSave(t *testing.T) {
	for name, c := range map[string]struct {
		text, enc string
		want      []string
	}{
		"comma":           {"a,b\n1,2\n", "", []string{"2: 1·2"}},
		"semicolon":       {"a;b\r\n1,5;2\r\n", "", []string{"2: 1,5·2"}},
		"tab, no end":     {"a\tb\n1\t2", "", []string{"2: 1·2"}},
		"BOM":             {"\ufeffa,b\n1,2\n", "", []string{"2: 1·2"}},
		"UTF-16":          {utf16le("a;b\né;電\n"), "", []string{"2: é·電"}},
		"windows-1252":    {"a,b\nJos\xe9,2\n", "windows-1252", []string{"2: José·2"}},
		"not UTF-8":       {"a,b\nJos\xe9,2\n1,2\n", "", []string{"2! has characters that are not UTF-8: save the sheet as CSV UTF-8, or say --encoding windows-1252", "3: 1·2"}},
		"quoted":          {"a,b\n\"x, y\",\"she said \"\"hi\"\"\"\n", "", []string{"2: x, y·she said \"hi\""}},
		"quoted newline":  {"a,b\n\"x\ny\",2\n3,4\n", "", []string{"2: x\ny·2", "4: 3·4"}},
		"quote within":    {"a,b\n5\" pipe,2\n", "", []string{"2: 5\" pipe·2"}},
		"unclosed":        {"a,b\n\"x,2\n3,4\n", "", []string{"2! opens a quote that is not closed", "3: 3·4"}},
		"blank lines":     {"\n\na,b\n\n , \n1,2\n", "", []string{"6: 1·2"}},
		"old Mac":         {"a,b\r1,2\r3,4", "", []string{"2: 1·2", "3: 3·4"}},
		"very long":       {"a,b\n" + strings.Repeat("x", maxRecord+5) + ",2\n3,4\n", "", []string{"2! has more than 65536 bytes", "3! has more", "4: 3·4"}},
		"very many cells": {"a,b\n" + strings.Repeat(",", maxCells) + "x\n3,4\n", "", []string{"2! has more than 200 cells", "3: 3·4"}},
	} {
		_, got := list(t, c.text, c.enc)
		if name == "very long" { // what is left of it is the next row's trouble
			got = slices.DeleteFunc(got, func(s string) bool { return strings.Contains(s, "xxx") })
			c.want = []string{c.want[0], got[len(got)-1]}
			if !strings.HasSuffix(got[len(got)-1], ": 3·4") {
				t.Errorf("%s: the row after it is lost: %q", name, got)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%q, want\n%q", name, got, c.want)
		}
	}
	for name, text := range map[string]string{"empty": "", "blank": "\n\n", "a workbook": "PK\x03\x04\x00\x00"} {
		if _, err := NewReader(strings.NewReader(text), ""); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := NewReader(strings.NewReader("a"), "klingon"); core.CodeOf(err) != core.CodeInvalid {
		t.Errorf("an unknown encoding: %v", err)
	}
}

func TestFindColumns_KnowsThemInSeveralLanguages(t *testing.T) {
	got, err := FindColumns([]string{"Nombre", "Teléfono", "Phone 2", "E-Mail", "etiquetas", "field:city", "Shoe size", "手機"}, nil)
	want := Columns{"name", "phone", "phone", "email", "tags", "field:city", "", "phone"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if ignored := got.Ignored([]string{"Nombre", "Teléfono", "Phone 2", "E-Mail", "etiquetas", "field:city", "Shoe size", "手機"}); !slices.Equal(ignored, []string{"Shoe size"}) {
		t.Errorf("ignored: %q", ignored)
	}
	got, err = FindColumns([]string{"Kunde", "Nummer", "Name", "Ort"}, map[string]string{"Nummer": "phone", "kunde": "name", "Name": "-", "Ort": "field:city"})
	if err != nil || !slices.Equal(got, Columns{"name", "phone", "-", "field:city"}) {
		t.Errorf("%q, %v", got, err)
	}
	for name, c := range map[string]struct {
		header []string
		maps   map[string]string
		want   string
	}{
		"no number":        {[]string{"name", "Nummer"}, nil, "no column is a phone number"},
		"no such column":   {[]string{"phone"}, map[string]string{"Nummer": "phone"}, `no column "Nummer"`},
		"no such field":    {[]string{"phone"}, map[string]string{"phone": "fone"}, "not \"fone\""},
		"an empty field":   {[]string{"phone"}, map[string]string{"phone": "field:"}, "not \"field:\""},
		"two of one field": {[]string{"phone", "name", "Nombre"}, nil, "two columns are the name"},
	} {
		if _, err := FindColumns(c.header, c.maps); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRead_SaysWhoIsMeantOrWhyNot(t *testing.T) {
	header := []string{"name", "phone", "phone 2", "bsuid", "email", "tags", "field:city", "consent", "consent_source", "consent_evidence", "consent_at"}
	cols, err := FindColumns(header, nil)
	if err != nil {
		t.Fatal(err)
	}
	row := func(cells ...string) Row { return Row{Line: 7, Cells: cells} }
	for name, c := range map[string]struct {
		row      Row
		bad      string
		warnings []string
		want     Person
	}{
		"all of it": {row("Ana Chen", "0912-345-678", "", "TW.1", "Ana@Example.com", "vip; new", "Taipei", "yes", "form", "box ticked", "2026-03-02"), "", nil,
			Person{Line: 7, Name: "Ana Chen", Phones: []Phone{{"0912-345-678", "+886912345678"}}, BSUID: "TW.1", Tags: []string{"vip", "new"},
				Fields:  map[string]string{"email": "ana@example.com", "city": "Taipei"},
				Consent: &Consent{"granted", "form", "box ticked", time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)}}},
		"two numbers":    {row("", "0912345678|+34600111222"), "", nil, Person{Line: 7, Phones: []Phone{{"0912345678", "+886912345678"}, {"", "+34600111222"}}}},
		"a guarded one":  {row("'=Ana", "'+886912345678"), "", nil, Person{Line: 7, Name: "=Ana", Phones: []Phone{{"", "+886912345678"}}}},
		"too short":      {row("Bo", "0912"), "too short", nil, Person{}},
		"no country":     {row("Bo", "+999123456789"), "no country has this code", nil, Person{}},
		"letters":        {row("Bo", "ask her"), "letters", nil, Person{}},
		"an exponent":    {row("Bo", "8.8691E+11"), "spreadsheet", nil, Person{}},
		"nobody":         {row("Bo", ""), "neither a phone number nor a user id", nil, Person{}},
		"a bad user id":  {row("Bo", "", "", "17"), "user id", nil, Person{}},
		"one is bad":     {row("", "0912", "+34600111222"), "", []string{"too short"}, Person{Line: 7, Phones: []Phone{{"", "+34600111222"}}}},
		"a landline":     {row("", "(02) 2345-6789"), "", []string{"landline"}, Person{Line: 7, Phones: []Phone{{"(02) 2345-6789", "+886223456789"}}, Tags: []string{DisabledTag}}},
		"no evidence":    {row("", "+34600111222", "", "", "", "", "", "yes"), "", []string{"needs consent_source"}, Person{Line: 7, Phones: []Phone{{"", "+34600111222"}}}},
		"opted out":      {row("", "+34600111222", "", "", "", "", "", "no"), "", nil, Person{Line: 7, Phones: []Phone{{"", "+34600111222"}}, Consent: &Consent{State: "withdrawn"}}},
		"perhaps":        {row("", "+34600111222", "", "", "", "", "", "perhaps"), "consent is yes, no", nil, Person{}},
		"in the future":  {row("", "+34600111222", "", "", "", "", "", "yes", "f", "e", "2027-01-01"), "in the past", nil, Person{}},
		"a bad address":  {row("", "+34600111222", "", "", "ana at home"), "", []string{"e-mail"}, Person{Line: 7, Phones: []Phone{{"", "+34600111222"}}}},
		"more cells":     {row(append(slices.Repeat([]string{"x"}, len(header)), "y")...), "a quote or a separator", nil, Person{}},
		"cannot be read": {Row{Line: 7, Bad: "is odd"}, "is odd", nil, Person{}},
		"a number twice": {row("", "0912345678", "+886 912 345 678"), "", nil, Person{Line: 7, Phones: []Phone{{"0912345678", "+886912345678"}, {"+886 912 345 678", "+886912345678"}}}},
	} {
		got, bad := cols.Read(c.row, Options{Region: "TW", Now: now})
		if !strings.Contains(bad, c.bad) || (bad == "") != (c.bad == "") {
			t.Errorf("%s: %q, want %q", name, bad, c.bad)
			continue
		}
		if strings.Contains(bad, "0912345") || len(got.Warnings) != len(c.warnings) && bad == "" {
			t.Errorf("%s: %q, warnings %q", name, bad, got.Warnings)
			continue
		}
		for i, w := range c.warnings {
			if !strings.Contains(got.Warnings[i], w) {
				t.Errorf("%s: warned %q, want %q", name, got.Warnings[i], w)
			}
		}
		if got.Warnings = nil; bad == "" {
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s:\n%s", name, diff)
			}
		}
	}
	if p, bad := cols.Read(row("", "+34600111222", "", "", "", "", "", "yes"), Options{Source: "s", Evidence: "e", Now: now}); bad != "" || p.Consent == nil || p.Consent.Source != "s" {
		t.Errorf("the list's own source: %+v %s", p, bad)
	}
}

func TestTwice_FindsOnePersonHoweverTheyAreWritten(t *testing.T) {
	person := func(line int, bsuid string, numbers ...string) *Person {
		p := &Person{Line: line, BSUID: bsuid}
		for _, n := range numbers {
			p.Phones = append(p.Phones, Phone{Number: n})
		}
		return p
	}
	var tw Twice
	for _, c := range []struct {
		p        *Person
		line     int
		conflict bool
	}{
		{person(2, "", "+5531996883193"), 0, false},
		{person(3, "", "+553196883193"), 2, false}, // without the ninth digit
		{person(4, "", "+541158749895"), 0, false},
		{person(5, "", "+5491158749895"), 4, false},
		{person(6, "", "+5215512345678"), 0, false},
		{person(7, "", "+525512345678"), 6, false},
		{person(8, "", "+22997123456"), 0, false},
		{person(9, "MX.1", "+2290197123456"), 8, false},
		{person(10, "MX.1"), 8, false},
		{person(11, "", "+525512345678", "+541158749895"), 6, true},
	} {
		line, why, conflict := tw.Seen(c.p)
		if line != c.line || conflict != c.conflict || (line != 0) != strings.Contains(why, fmt.Sprint("line ", c.line)) {
			t.Errorf("line %d: %d %q %v, want %d", c.p.Line, line, why, conflict, c.line)
		}
	}
}

func FuzzWriter_IsReadAgain(f *testing.F) {
	f.Add("=1+1", "+886912345678")
	f.Add("'=x", "a\nb\"c;d")
	f.Add("'", "\t")
	f.Fuzz(func(t *testing.T, a, b string) {
		var buf bytes.Buffer
		w, err := NewWriter(&buf)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range [][]string{{"phone", "name"}, {"x" + a, "y" + b}, {a, b}} {
			if err := w.Write(row); err != nil {
				t.Skip()
			}
		}
		if w.Flush() != nil {
			t.Skip()
		}
		r, err := NewReader(bytes.NewReader(buf.Bytes()), "")
		if err != nil {
			t.Skip() // zero bytes
		}
		for i := 0; ; i++ {
			row, err := r.Next()
			if err != nil {
				return
			}
			for _, cell := range row.Cells {
				if row.Bad == "" && cell != "" && strings.IndexByte(formula, cell[0]) >= 0 {
					t.Fatalf("a spreadsheet calculates %q", cell)
				}
			}
			if i == 1 && row.Bad == "" && !strings.ContainsAny(a+b, "\r") && (unguard(row.Cells[0]) != a || unguard(row.Cells[1]) != b) {
				t.Fatalf("%q, %q became %q", a, b, row.Cells)
			}
		}
	})
}
