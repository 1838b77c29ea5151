package hubspot

import "bytes"

// scanResults reads the results of a batch's answer without decoding the properties
// that HubSpot repeats for every record: they are nine tenths of it, and decoding
// them was the connector's largest cost. It takes the plain form only. False: there
// is anything else in the answer (errors, escapes, another shape), and encoding/json
// has to read it; what f was told until then is true all the same.
func scanResults(b []byte, f func(id, trace []byte, isNew bool)) bool {
	s := scanner{b: b}
	found := false
	ok := s.object(func(key []byte) bool {
		switch string(key) {
		case "errors", "numErrors":
			return false
		case "results":
			found = true
			return s.array(func() bool {
				var id, trace []byte
				isNew := false
				if !s.object(func(key []byte) bool {
					switch string(key) {
					case "id":
						return s.text(&id)
					case "objectWriteTraceId":
						return s.text(&trace)
					case "new":
						isNew = s.peek() == 't'
					}
					return s.skip()
				}) || len(id) == 0 || len(trace) == 0 {
					return false
				}
				f(id, trace, isNew)
				return true
			})
		}
		return s.skip()
	})
	return ok && found && s.peek() == 0
}

// scanner walks over JSON. Its methods return false where they do not understand.
type scanner struct {
	b []byte
	i int
}

// peek returns the next byte that is not space, 0 at the end.
func (s *scanner) peek() byte {
	for ; s.i < len(s.b); s.i++ {
		if c := s.b[s.i]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
	}
	return 0
}

func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.i++
	return true
}

// object calls f at each value, with its key.
func (s *scanner) object(f func(key []byte) bool) bool {
	if !s.take('{') {
		return false
	}
	for first := true; ; first = false {
		if s.take('}') {
			return true
		}
		var key []byte
		if !first && !s.take(',') || !s.text(&key) || !s.take(':') || !f(key) {
			return false
		}
	}
}

// array calls f at each value.
func (s *scanner) array(f func() bool) bool {
	if !s.take('[') {
		return false
	}
	for first := true; ; first = false {
		if s.take(']') {
			return true
		}
		if !first && !s.take(',') || !f() {
			return false
		}
	}
}

// text reads a string without escapes.
func (s *scanner) text(into *[]byte) bool {
	if !s.take('"') {
		return false
	}
	n := bytes.IndexByte(s.b[s.i:], '"')
	if n < 0 {
		return false
	}
	*into = s.b[s.i : s.i+n]
	s.i += n + 1
	return bytes.IndexByte(*into, '\\') < 0
}

// skip passes over any value.
func (s *scanner) skip() bool {
	depth := 0
	for {
		switch s.peek() {
		case 0:
			return false
		case '"':
			if !s.skipText() {
				return false
			}
		case '{', '[':
			depth++
			s.i++
		case '}', ']':
			depth--
			s.i++
		case ',', ':':
			if depth == 0 {
				return false
			}
			s.i++
			continue
		default:
			n := bytes.IndexAny(s.b[s.i:], ",]} \n\t\r")
			if n <= 0 {
				return false
			}
			s.i += n
		}
		if depth <= 0 {
			return depth == 0
		}
	}
}

func (s *scanner) skipText() bool {
	s.i++
	for {
		n := bytes.IndexByte(s.b[s.i:], '"')
		if n < 0 {
			return false
		}
		s.i += n + 1
		// An odd number of backslashes before the quote makes it part of the text.
		back := 0
		for s.b[s.i-2-back] == '\\' {
			back++
		}
		if back%2 == 0 {
			return true
		}
	}
}
