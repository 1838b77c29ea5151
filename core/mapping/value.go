package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wabridge/wabridge/core"
)

// to makes of a field's value what is written to the property, or says why that
// cannot be. nil empties the property.
func (r *rule) to(v any) (_ any, why string) {
	switch v := v.(type) {
	case nil:
		return nil, ""
	case []string:
		return r.listTo(v)
	case time.Time:
		return r.timeTo(v), ""
	case bool:
		return r.boolTo(v)
	case int:
		if p := r.property; p != nil && p.Type != core.PropertyNumber {
			return strconv.Itoa(v), ""
		}
		return v, ""
	case string:
		return r.textTo(v)
	}
	return nil, fmt.Sprintf("a %T cannot be written", v)
}

func (r *rule) textTo(text string) (any, string) {
	if text == "" {
		return nil, ""
	}
	switch r.field.Type {
	case Date, Time:
		if t, ok := moment(text); ok {
			return r.timeTo(t), ""
		}
	case Bool:
		if b, ok := yesOrNo(text); ok && len(r.Values) == 0 {
			return r.boolTo(b)
		}
	case Number:
		if n, err := strconv.ParseFloat(number(text), 64); err == nil && (r.property == nil || r.property.Type == core.PropertyNumber) {
			return n, ""
		}
	}
	text = r.stepped(text)
	if text == "" {
		return nil, ""
	}
	p := r.property
	if p == nil {
		return cut(text, r.Length), ""
	}
	switch p.Type {
	case core.PropertyNumber:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(n, 0) || math.IsNaN(n) {
			return nil, "it is no number"
		}
		return n, ""
	case core.PropertyBool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, "it is neither true nor false"
		}
		return b, ""
	case core.PropertyChoice, core.PropertyChoices:
		chosen, ok := choose(p, text)
		if !ok {
			return nil, "the CRM has no such value: " + few(p.Values)
		}
		return chosen, ""
	}
	return cut(text, r.most()), ""
}

// most is how many characters may be written, 0 when nobody says.
func (r *rule) most() int {
	if p := r.property; p != nil && p.Length > 0 && (r.Length == 0 || p.Length < r.Length) {
		return p.Length
	}
	return r.Length
}

// stepped translates a value and makes the rule's steps.
func (r *rule) stepped(text string) string {
	if theirs, ok := r.Values[text]; ok {
		return theirs
	}
	for _, step := range r.Transform {
		switch step {
		case "trim":
			text = strings.Join(strings.Fields(text), " ")
		case "upper":
			text = strings.ToUpper(text)
		case "lower":
			text = strings.ToLower(text)
		case "digits":
			text = strings.Map(func(c rune) rune {
				if c >= '0' && c <= '9' {
					return c
				}
				return -1
			}, text)
		case "number":
			text = number(text)
		}
	}
	return text
}

// number makes a number of what people write: 1.234,50 €. What is none stays none.
func number(text string) string {
	keep := strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' || strings.ContainsRune("-.,", c) {
			return c
		}
		return -1
	}, text)
	dot, comma := strings.LastIndex(keep, "."), strings.LastIndex(keep, ",")
	decimal := max(dot, comma)
	if decimal >= 0 && (strings.Count(keep, keep[decimal:decimal+1]) > 1 || dot < 0 && len(keep)-comma == 4) {
		decimal = -1 // it parts thousands
	}
	var out strings.Builder
	for i, c := range keep {
		switch {
		case i == decimal:
			out.WriteByte('.')
		case c == '.' || c == ',':
		default:
			out.WriteRune(c)
		}
	}
	if _, err := strconv.ParseFloat(out.String(), 64); err != nil {
		return ""
	}
	return out.String()
}

// listTo joins a list; what does not fit is left out whole.
func (r *rule) listTo(list []string) (any, string) {
	most, out := r.most(), ""
	var why string
	for _, one := range list {
		one = strings.ReplaceAll(r.stepped(one), r.Separator, " ")
		if p := r.property; p != nil && p.Type == core.PropertyChoices {
			chosen, ok := choose(p, one)
			if !ok {
				why = fmt.Sprintf("the CRM has no value %.60q", one)
				continue
			}
			one = chosen
		}
		next := one
		if out != "" {
			next = out + r.Separator + one
		}
		if most > 0 && utf8.RuneCountInString(next) > most {
			why = "not all of it fits"
			break
		}
		out = next
	}
	if out == "" {
		return nil, why
	}
	return out, why
}

func (r *rule) timeTo(t time.Time) any {
	t = t.UTC()
	switch {
	case r.layout != "":
		return t.Format(r.layout)
	case r.Format == "seconds":
		return t.Unix()
	case r.Format == "milliseconds":
		return t.UnixMilli()
	case r.Format == "date", r.Format == "" && (r.field.Type == Date || r.property != nil && r.property.Type == core.PropertyDate):
		return t.Format(time.DateOnly)
	}
	return t.Format(time.RFC3339)
}

func (r *rule) boolTo(b bool) (any, string) {
	word := strconv.FormatBool(b)
	p := r.property
	switch {
	case len(r.Values) > 0: // the word goes the way of texts
		return r.textTo(word)
	case p == nil || p.Type == core.PropertyBool:
		return b, ""
	case p.Type == core.PropertyNumber && b:
		return 1, ""
	case p.Type == core.PropertyNumber:
		return 0, ""
	}
	if p.Type == core.PropertyChoice || p.Type == core.PropertyChoices {
		if chosen, ok := choose(p, word); ok {
			return chosen, ""
		}
		return nil, "the CRM has no such value: " + few(p.Values)
	}
	return word, ""
}

// moment reads a day or a time.
func moment(text string) (time.Time, bool) {
	for _, layout := range []string{time.DateOnly, time.RFC3339, "2006-01-02T15:04:05.000-0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

func yesOrNo(text string) (yes, ok bool) {
	switch strings.ToLower(text) {
	case "true", "yes", "1":
		return true, true
	case "false", "no", "0":
		return false, true
	}
	return false, false
}

// from makes a field's value of what the CRM has, or says why it cannot be. A list
// is joined by newlines. "" is none.
func (r *rule) from(v any) (_ string, why string) {
	if r.field.Type == List {
		return strings.Join(r.listFrom(v), "\n"), ""
	}
	text := strings.TrimSpace(textOf(v))
	if ours, ok := r.back[text]; ok {
		text = ours
	}
	if text == "" {
		return "", ""
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return unicode.IsControl(c) && c != '\n' && c != '\t' && c != '\r' }) {
		return "", "it is no text"
	}
	switch r.field.Type {
	case Date:
		day, ok := r.dateFrom(text)
		if !ok {
			return "", "it is no date"
		}
		return day.Format(time.DateOnly), ""
	case Time:
		t, ok := r.dateFrom(text)
		if !ok {
			return "", "it is no time"
		}
		return t.Format(time.RFC3339), ""
	case Number:
		n := number(text)
		if n == "" {
			return "", "it is no number"
		}
		return n, ""
	case Bool:
		b, ok := yesOrNo(text)
		if !ok {
			return "", "it is neither yes nor no"
		}
		return strconv.FormatBool(b), ""
	case Email:
		if name, host, ok := strings.Cut(text, "@"); !ok || name == "" || !strings.Contains(host, ".") || strings.ContainsAny(text, " \t\n,;<>") {
			return "", "it is no e-mail address"
		}
	case Language:
		text = strings.ToLower(strings.ReplaceAll(text, "_", "-"))
		if first, _, _ := strings.Cut(text, "-"); len(first) < 2 || len(first) > 3 || len(text) > 35 || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return "", "it is no language, such as es or zh-tw"
		}
	case Zone:
		if _, err := time.LoadLocation(text); err != nil || text == "Local" {
			return "", "it is no time zone, such as Europe/Madrid"
		}
	case Consent:
		return consentOf(text)
	}
	if len(text) > maxText {
		return "", fmt.Sprintf("it has more than %d bytes", maxText)
	}
	return text, ""
}

// consentWords are what people call consent.
var consentWords = map[string][]string{
	"granted":   {"granted", "yes", "true", "1", "opted in", "opted_in", "opt-in"},
	"withdrawn": {"withdrawn", "no", "false", "0", "opted out", "opted_out", "opt-out"},
	"asked":     {"asked"},
}

func consentOf(text string) (string, string) {
	for state, words := range consentWords {
		if slices.Contains(words, strings.ToLower(text)) {
			return state, ""
		}
	}
	return "", `it says neither yes nor no: values = { granted = "…", withdrawn = "…" }`
}

func (r *rule) dateFrom(text string) (time.Time, bool) {
	if r.layout != "" {
		t, err := time.Parse(r.layout, text)
		return t.UTC(), err == nil
	}
	if t, ok := moment(text); ok {
		return t, true
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
	case r.Format == "seconds":
		return time.Unix(n, 0).UTC(), true
	case r.Format == "milliseconds", r.property != nil && (r.property.Type == core.PropertyDate || r.property.Type == core.PropertyTime):
		return time.UnixMilli(n).UTC(), true
	}
	return time.Time{}, false
}

func (r *rule) listFrom(v any) []string {
	var parts []string
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			parts = append(parts, textOf(one))
		}
	case []string:
		parts = v
	default:
		parts = strings.Split(textOf(v), r.Separator)
	}
	var out []string
	for _, one := range parts {
		one = strings.Join(strings.Fields(one), " ")
		if ours, ok := r.back[one]; ok {
			one = ours
		}
		if one != "" && len(one) <= maxName && !slices.Contains(out, one) {
			out = append(out, one)
		}
	}
	slices.Sort(out)
	return out
}

// textOf is a single value as text, as CRMs write it; of a reference its id.
func textOf(v any) string {
	return core.ValueText(v, func(v any) string {
		record, _ := v.(map[string]any)
		for _, key := range []string{"id", "name", "value"} {
			if record[key] == nil {
				continue
			}
			if text := textOf(record[key]); text != "" {
				return text
			}
		}
		return ""
	})
}

// sum is alike for what a CRM shows alike: 9 and "9.0" of a number, a moment in
// any zone, the values of a list in any order, nothing and "".
func (r *rule) sum(v any) string {
	text := strings.TrimSpace(textOf(v))
	numeric := r.field.Type == Number || r.property != nil && r.property.Type == core.PropertyNumber
	if n, err := strconv.ParseFloat(text, 64); err == nil && numeric {
		text = strconv.FormatFloat(n, 'g', -1, 64)
	} else if r.field.Type == List {
		text = strings.Join(r.listFrom(v), ";")
	} else if r.field.Type == Date || r.field.Type == Time {
		layout := time.RFC3339
		if r.field.Type == Date {
			layout = time.DateOnly
		}
		if t, ok := r.dateFrom(text); ok {
			text = t.Format(layout)
		}
	} else if b, ok := yesOrNo(text); ok && r.field.Type == Bool {
		text = strconv.FormatBool(b)
	}
	if text == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// cut cuts a text to so many characters; 0 is all of them.
func cut(text string, most int) string {
	if most <= 0 || len(text) <= most {
		return text
	}
	n := 0
	for i := range text {
		if n++; n > most {
			return text[:i]
		}
	}
	return text
}
