package hubspotsim

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"
)

// pairs are properties to write. A map would cost more than all else that the sim
// does with them.
type pairs []pair

type pair struct{ name, value string }

// get returns the value of a property, the last one if it is there twice.
func (ps pairs) get(name string) string {
	for _, p := range slices.Backward(ps) {
		if p.name == name {
			return p.value
		}
	}
	return ""
}

// UnmarshalJSON takes an object whose values are strings, and nothing else.
func (ps *pairs) UnmarshalJSON(b []byte) error {
	var m map[string]string
	if err := json.Unmarshal(b, &m); err != nil || m == nil {
		return err
	}
	*ps = make(pairs, 0, len(m))
	for name, v := range m {
		*ps = append(*ps, pair{name, v})
	}
	slices.SortFunc(*ps, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	return nil
}

// parseInputs reads the body of a batch write in its plain form: strings and
// objects of strings, no escapes beyond those of texts. False: encoding/json has to
// read it, and say what is wrong if something is.
func parseInputs(body []byte) ([]input, bool) {
	if !utf8.Valid(body) {
		return nil, false
	}
	p := parser{s: string(body)} // the values point into it
	var list []input
	ok := p.object(func(key string) bool {
		if key != "inputs" || list != nil {
			return false
		}
		list = make([]input, 0, maxInputs)
		return p.array(func() bool {
			var in input
			if !p.object(func(key string) bool {
				switch key {
				case "id":
					return p.text(&in.ID)
				case "idProperty":
					return p.text(&in.IDProperty)
				case "objectWriteTraceId":
					return p.text(&in.Trace)
				case "properties":
					in.Properties = make(pairs, 0, 24)
					return p.object(func(key string) bool {
						in.Properties = append(in.Properties, pair{name: key})
						return p.text(&in.Properties[len(in.Properties)-1].value)
					})
				}
				return false
			}) {
				return false
			}
			list = append(list, in)
			return true
		})
	})
	return list, ok && p.peek() == 0
}

// parser walks over JSON.
type parser struct {
	s string
	i int
}

// peek returns the next byte that is not space, 0 at the end.
func (p *parser) peek() byte {
	for ; p.i < len(p.s); p.i++ {
		if c := p.s[p.i]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
	}
	return 0
}

func (p *parser) take(c byte) bool {
	if p.peek() != c {
		return false
	}
	p.i++
	return true
}

func (p *parser) object(f func(key string) bool) bool {
	if !p.take('{') {
		return false
	}
	for first := true; ; first = false {
		if first && p.take('}') {
			return true
		}
		var key string
		if !p.text(&key) || !p.take(':') || !f(key) {
			return false
		}
		if p.take('}') {
			return true
		}
		if !p.take(',') {
			return false
		}
	}
}

func (p *parser) array(f func() bool) bool {
	if !p.take('[') {
		return false
	}
	for first := true; ; first = false {
		if first && p.take(']') {
			return true
		}
		if !f() {
			return false
		}
		if p.take(']') {
			return true
		}
		if !p.take(',') {
			return false
		}
	}
}

// text reads a string.
func (p *parser) text(into *string) bool {
	if !p.take('"') {
		return false
	}
	start := p.i
	for ; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case c == '"':
			*into = p.s[start:p.i]
			p.i++
			return true
		case c < 0x20:
			return false
		case c == '\\':
			return p.escaped(start, into)
		}
	}
	return false
}

// escaped reads a string in which the first escape stands at p.i.
func (p *parser) escaped(start int, into *string) bool {
	for ; p.i < len(p.s); p.i++ {
		switch p.s[p.i] {
		case '\\':
			p.i++
		case '"':
			p.i++
			return json.Unmarshal([]byte(p.s[start-1:p.i]), into) == nil
		}
	}
	return false
}
