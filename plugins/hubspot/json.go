package hubspot

import (
	"strings"
	"unicode/utf8"
)

// appendString appends s as a JSON string; bytes that are no UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	b = append(b, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

// appendUpsert appends the body of a batch upsert by the unique property key, or of an
// update of the records that the rows name. Every
// value is a string, as HubSpot wants it. The key is among the properties too, so
// that the answer repeats it.
func appendUpsert(b []byte, key string, rows []*row) []byte {
	b = append(b, `{"inputs":[`...)
	for i, r := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		if r.record != "" {
			b = append(b, `{"id":`...)
			b = appendString(b, r.record)
		} else {
			b = append(b, `{"idProperty":`...)
			b = appendString(b, key)
			b = append(b, `,"id":`...)
			b = appendString(b, r.key)
		}
		b = append(b, `,"objectWriteTraceId":`...)
		b = appendString(b, r.trace)
		b = append(b, `,"properties":`...)
		b = appendProperties(b, key, r)
		b = append(b, '}')
	}
	return append(b, `]}`...)
}

func appendProperties(b []byte, key string, r *row) []byte {
	b = append(b, '{')
	b = appendString(b, key)
	b = append(b, ':')
	b = appendString(b, r.key)
	for _, p := range r.written() {
		b = append(b, ',')
		b = appendString(b, p.name)
		b = append(b, ':')
		b = appendString(b, p.value)
	}
	return append(b, '}')
}

// appendPairs appends the body of a batch of default associations.
func appendPairs(b []byte, pairs []*pair) []byte {
	b = append(b, `{"inputs":[`...)
	for i, p := range pairs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"from":{"id":`...)
		b = appendString(b, p.from)
		b = append(b, `},"to":{"id":`...)
		b = appendString(b, p.to)
		b = append(b, `}}`...)
	}
	return append(b, `]}`...)
}
