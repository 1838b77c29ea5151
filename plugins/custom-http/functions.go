package customhttp

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"text/template"
	"time"
	"unicode/utf8"
)

// functions are what templates may call besides text/template's own. The value
// comes last, so that it can be piped in. Errors do not repeat values: they may
// be about a person.
var functions = template.FuncMap{
	// json writes any value as JSON.
	"json": toJSON,
	// default D gives D for what is absent, null or empty.
	"default": orDefault,
	// ts F writes a time of the event in UTC: "unix" and "unix_ms" are numbers,
	// "rfc3339" and "date" texts, as is any layout of Go's package time.
	"ts": formatTime,
	// e164 gives a phone number that is one, +<country><number>.
	"e164": e164,
	// digits leaves out all but digits.
	"digits": digits,
	// join S puts a list's texts together, with S between them.
	"join": join,
	// trunc N cuts a text to N characters.
	"trunc": trunc,
	// hash is the SHA-256 of a text, in hexadecimal: an id of a fixed form.
	"hash": hash,

	// What compilation puts at the end of pipelines; see escape.
	"_string":  stringInJSON,
	"_segment": pathSegment,
	"_text":    plainText,
	"_maybe":   maybe,
}

// rawJSON is JSON already.
type rawJSON []byte

func toJSON(v any) (string, error) {
	if raw, ok := v.(rawJSON); ok {
		return string(raw), nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", errors.New("cannot be written as JSON")
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func orDefault(fallback, v any) any {
	switch v := v.(type) {
	case nil:
		return fallback
	case string:
		if v == "" {
			return fallback
		}
	case []any:
		if len(v) == 0 {
			return fallback
		}
	case map[string]any:
		if len(v) == 0 {
			return fallback
		}
	}
	return v
}

func formatTime(form, v string) (any, error) {
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil {
		return "", errors.New("not a time")
	}
	switch form {
	case "unix":
		return t.Unix(), nil
	case "unix_ms":
		return t.UnixMilli(), nil
	case "rfc3339":
		return t.UTC().Format(time.RFC3339), nil
	case "date":
		return t.UTC().Format(time.DateOnly), nil
	}
	return t.UTC().Format(form), nil
}

var e164Pattern = regexp.MustCompile(`^\+[1-9][0-9]{5,14}$`)

func e164(v string) (string, error) {
	if !e164Pattern.MatchString(v) {
		return "", errors.New("not a phone number, +<country><number>")
	}
	return v, nil
}

func digits(v string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, v)
}

func join(separator string, v []any) (string, error) {
	texts := make([]string, len(v))
	for i, one := range v {
		text, ok := textOf(one)
		if !ok {
			return "", errors.New("not a list of texts")
		}
		texts[i] = text
	}
	return strings.Join(texts, separator), nil
}

func trunc(n int, v string) (string, error) {
	if n < 0 {
		return "", errors.New("want a length of 0 or more")
	}
	for i := range v {
		if n == 0 {
			return v[:i], nil
		}
		n--
	}
	return v, nil
}

func hash(v string) string {
	sum := sha256.Sum256([]byte(v))
	return hex.EncodeToString(sum[:])
}

// plainText writes a value into a header or query. What is the pipeline that
// made it, for errors.
func plainText(what string, v any) (string, error) {
	if raw, ok := v.(rawJSON); ok {
		v = string(raw)
	}
	text, ok := textOf(v)
	switch {
	case v == nil:
		return "", errors.New(what + ": there is no value")
	case !ok:
		return "", fmt.Errorf("%s: want a text, not %s: use json or join", what, wordForValue(v))
	}
	return text, nil
}

// stringInJSON writes a value between quotes that the template has.
func stringInJSON(what string, v any) (string, error) {
	text, err := plainText(what, v)
	if err != nil {
		return "", err
	}
	quoted, err := toJSON(text)
	if err != nil {
		return "", err
	}
	return quoted[1 : len(quoted)-1], nil
}

// pathSegment writes a value as part of one segment of a path: it can neither
// add segments nor a query, nor climb, also where a server decodes twice.
func pathSegment(what string, v any) (string, error) {
	text, err := plainText(what, v)
	if err != nil {
		return "", err
	}
	if text == "" {
		return "", errors.New(what + ": empty, and a path needs a value")
	}
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '/' || r == '\\' }) {
		if part == "." || part == ".." {
			return "", errors.New(what + ": a path cannot contain the segment " + part)
		}
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) || !utf8.ValidString(text) {
		return "", errors.New(what + ": a path cannot contain control characters")
	}
	return url.PathEscape(text), nil
}

// maybe finds what may be absent.
func maybe(v any, names ...string) any {
	for _, name := range names {
		table, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = table[name]
	}
	return v
}

func wordForValue(v any) string {
	switch v.(type) {
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return "this"
}
