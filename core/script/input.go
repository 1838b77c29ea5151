package script

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dop251/goja"
)

// object shows a JSON object to a script without taking it apart first: a value
// becomes one of the script's only when the script looks at it. It is
// read-only, so that both hooks can be given the same.
type object struct {
	vm    *goja.Runtime
	props []property
	index map[string]int // of props by key, for objects that have many
}

type property struct {
	key   string
	json  string
	value goja.Value // nil until it is looked at
}

// errJSON says that an event or a context is no JSON object.
var errJSON = errors.New("not a JSON object")

const (
	manyKeys  = 24
	maxNested = 200 // depth of input that is looked into
)

// parseObject reads one level of a JSON object.
func parseObject(vm *goja.Runtime, s string) (*object, error) {
	i := skipSpace(s, 0)
	if i >= len(s) || s[i] != '{' {
		return nil, errJSON
	}
	o := &object{vm: vm, props: make([]property, 0, 6)}
	for i = skipSpace(s, i+1); i < len(s) && s[i] != '}'; i = skipSpace(s, i) {
		end := skipValue(s, i)
		if s[i] != '"' || end < 0 {
			return nil, errJSON
		}
		key, ok := unquote(s[i:end])
		if i = skipSpace(s, end); !ok || i >= len(s) || s[i] != ':' {
			return nil, errJSON
		}
		i = skipSpace(s, i+1)
		if end = skipValue(s, i); end < 0 {
			return nil, errJSON
		}
		o.put(property{key: key, json: s[i:end]})
		if i = skipSpace(s, end); i < len(s) && s[i] == ',' {
			i++
		} else if i >= len(s) || s[i] != '}' {
			return nil, errJSON
		}
	}
	if i >= len(s) {
		return nil, errJSON
	}
	return o, nil
}

// put adds a property; of two with the same key, the last counts.
func (o *object) put(p property) {
	if at := o.find(p.key); at >= 0 {
		o.props[at] = p
		return
	}
	if len(o.props) == manyKeys {
		o.index = make(map[string]int, 2*manyKeys)
		for i := range o.props {
			o.index[o.props[i].key] = i
		}
	}
	if o.index != nil {
		o.index[p.key] = len(o.props)
	}
	o.props = append(o.props, p)
}

func (o *object) find(key string) int {
	if o.index != nil {
		if i, ok := o.index[key]; ok {
			return i
		}
		return -1
	}
	for i := range o.props {
		if o.props[i].key == key {
			return i
		}
	}
	return -1
}

// Get implements goja.DynamicObject.
func (o *object) Get(key string) goja.Value {
	i := o.find(key)
	if i < 0 {
		return nil
	}
	p := &o.props[i]
	if p.value == nil {
		p.value = parseValue(o.vm, p.json, 0)
	}
	return p.value
}

// Set implements goja.DynamicObject.
func (o *object) Set(key string, _ goja.Value) bool {
	panic(o.vm.NewTypeError("cannot set " + quote(key) + ": events and contexts are read-only"))
}

// Delete implements goja.DynamicObject.
func (o *object) Delete(key string) bool {
	panic(o.vm.NewTypeError("cannot delete " + quote(key) + ": events and contexts are read-only"))
}

// Has implements goja.DynamicObject.
func (o *object) Has(key string) bool { return o.find(key) >= 0 }

// Keys implements goja.DynamicObject.
func (o *object) Keys() []string {
	keys := make([]string, len(o.props))
	for i := range o.props {
		keys[i] = o.props[i].key
	}
	return keys
}

// parseValue makes a value of JSON. What is malformed becomes undefined:
// whoever made the JSON is on our side.
func parseValue(vm *goja.Runtime, s string, depth int) goja.Value {
	if s == "" || depth > maxNested {
		return goja.Undefined()
	}
	switch s[0] {
	case '"':
		if text, ok := unquote(s); ok {
			return vm.ToValue(text)
		}
	case '{':
		if o, err := parseObject(vm, s); err == nil {
			return vm.NewDynamicObject(o)
		}
	case '[':
		var items []any
		for i := skipSpace(s, 1); i < len(s) && s[i] != ']'; i = skipSpace(s, i) {
			end := skipValue(s, i)
			if end < 0 {
				return goja.Undefined()
			}
			items = append(items, parseValue(vm, s[i:end], depth+1))
			if i = skipSpace(s, end); i < len(s) && s[i] == ',' {
				i++
			}
		}
		return vm.NewArray(items...)
	case 't':
		return vm.ToValue(true)
	case 'f':
		return vm.ToValue(false)
	case 'n':
		return goja.Null()
	default:
		if n, err := strconv.ParseInt(s, 10, 64); err == nil && n > -1<<53 && n < 1<<53 {
			return vm.ToValue(n)
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return vm.ToValue(f)
		}
	}
	return goja.Undefined()
}

func skipSpace(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\t' || s[i] == '\r') {
		i++
	}
	return i
}

// skipValue returns the end of the JSON value that begins at i, or -1. It looks
// at no more than is needed to find it.
func skipValue(s string, i int) int {
	depth := 0
	for ; i < len(s); i++ {
		switch s[i] {
		case '"':
			for i++; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
			if i >= len(s) {
				return -1
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return -1
			}
			if depth == 0 {
				return i + 1
			}
		case ',', ':', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return -1
			}
		default: // a number or a word
			start := i
			for i < len(s) && strings.IndexByte(",:]} \n\t\r\"{[", s[i]) < 0 {
				i++
			}
			if depth == 0 {
				if i == start {
					return -1
				}
				return i
			}
			i--
		}
	}
	return -1
}

// unquote reads a JSON string.
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return "", false
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b = append(b, s[i])
			continue
		}
		if i++; i >= len(s) {
			return "", false
		}
		switch s[i] {
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r, n := unhex(s[i:])
			if n == 0 {
				return "", false
			}
			i += n - 1
			b = utf8.AppendRune(b, r)
		default:
			b = append(b, s[i])
		}
	}
	return string(b), true
}

// unhex reads "uXXXX", or a pair of surrogates "uXXXX\uXXXX".
func unhex(s string) (rune, int) {
	if len(s) < 5 {
		return 0, 0
	}
	hi, err := strconv.ParseUint(s[1:5], 16, 16)
	if err != nil {
		return 0, 0
	}
	if hi >= 0xd800 && hi < 0xdc00 && len(s) >= 11 && s[5] == '\\' && s[6] == 'u' {
		lo, err := strconv.ParseUint(s[7:11], 16, 16)
		if err == nil && lo >= 0xdc00 && lo < 0xe000 {
			return rune((hi-0xd800)<<10|(lo-0xdc00)) + 0x10000, 11
		}
	}
	return rune(hi), 5 // a lone surrogate becomes U+FFFD
}
