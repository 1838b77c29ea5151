package hubspot

import "encoding/json"

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x80 {
			quoted, err := json.Marshal(s)
			if err != nil { // a string always marshals
				panic(err)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// appendUpsert appends the body of a batch upsert by the unique property key. Every
// value is a string, as HubSpot wants it. The key is among the properties too, so
// that the answer repeats it.
func appendUpsert(b []byte, key string, rows []*row) []byte {
	b = append(b, `{"inputs":[`...)
	for i, r := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"idProperty":`...)
		b = appendString(b, key)
		b = append(b, `,"id":`...)
		b = appendString(b, r.key)
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
	for _, p := range r.properties {
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
