package script

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/dop251/goja"
)

// encoder writes what a hook returned as JSON, within bounds.
type encoder struct {
	buf   []byte
	limit int
}

var (
	errDeep  = errors.New("nested too deeply, or in a circle")
	errLarge = fmt.Errorf("more than %d KiB", MaxOutput>>10)
)

const (
	maxOutputDepth = 32
	maxOutputKeys  = 1000 // of one object or array
)

// value writes a value. It may call getters of the script's, which may throw.
func (e *encoder) value(v goja.Value, depth int) error {
	if len(e.buf) > e.limit {
		return errLarge
	}
	if depth > maxOutputDepth {
		return errDeep
	}
	o, ok := v.(*goja.Object)
	if !ok {
		return e.scalar(v)
	}
	if isPromise(o) {
		return errPromise
	}
	switch class := o.ClassName(); class {
	case "Array":
		return e.array(o, depth)
	case "Date":
		t, err := dateOf(o)
		if err != nil {
			return err
		}
		e.text(t)
		return nil
	case "Object", "Error":
		if _, ok := goja.AssertFunction(o); ok {
			return errors.New("a function")
		}
		return e.object(o, depth)
	default:
		return fmt.Errorf("a %s", strings.ToLower(class))
	}
}

func (e *encoder) array(o *goja.Object, depth int) error {
	n := o.Get("length").ToInteger()
	if n > maxOutputKeys {
		return fmt.Errorf("an array of more than %d", maxOutputKeys)
	}
	e.buf = append(e.buf, '[')
	for i := range n {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		if err := e.value(o.Get(strconv.FormatInt(i, 10)), depth+1); err != nil {
			return err
		}
	}
	e.buf = append(e.buf, ']')
	return nil
}

func (e *encoder) object(o *goja.Object, depth int) error {
	keys := o.Keys()
	if len(keys) > maxOutputKeys {
		return fmt.Errorf("an object of more than %d properties", maxOutputKeys)
	}
	e.buf = append(e.buf, '{')
	first := true
	for _, k := range keys {
		v := o.Get(k)
		if v == nil || goja.IsUndefined(v) {
			continue
		}
		if !first {
			e.buf = append(e.buf, ',')
		}
		first = false
		e.text(k)
		e.buf = append(e.buf, ':')
		if err := e.value(v, depth+1); err != nil {
			if depth > 2 {
				return err
			}
			return fmt.Errorf("%s: %w", clip(k, 40), err)
		}
	}
	e.buf = append(e.buf, '}')
	return nil
}

// scalar writes what is no object.
func (e *encoder) scalar(v goja.Value) error {
	if v == nil {
		v = goja.Undefined()
	}
	switch x := v.Export().(type) {
	case nil:
		e.buf = append(e.buf, "null"...)
	case string:
		if len(x) > e.limit {
			return errLarge
		}
		e.text(x)
	case bool:
		e.buf = strconv.AppendBool(e.buf, x)
	case int64:
		e.buf = strconv.AppendInt(e.buf, x, 10)
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("%v is no number that can be written", x)
		}
		e.buf = strconv.AppendFloat(e.buf, x, 'g', -1, 64)
	default:
		return errors.New("a bigint")
	}
	return nil
}

func isPromise(o *goja.Object) bool { return o.ExportType() == reflect.TypeFor[*goja.Promise]() }

const hexDigits = "0123456789abcdef"

// text writes a string.
func (e *encoder) text(s string) {
	e.buf = append(e.buf, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		e.buf = append(e.buf, s[start:i]...)
		switch c {
		case '"', '\\':
			e.buf = append(e.buf, '\\', c)
		case '\n':
			e.buf = append(e.buf, '\\', 'n')
		default:
			e.buf = append(e.buf, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		start = i + 1
	}
	e.buf = append(append(e.buf, s[start:]...), '"')
}

// fieldsOf reads what mapToCRM returned.
func fieldsOf(v goja.Value) ([]field, error) {
	if v == nil || goja.IsUndefined(v) || goja.IsNull(v) {
		return nil, nil
	}
	o, ok := v.(*goja.Object)
	if ok && isPromise(o) {
		return nil, fmt.Errorf("returned %w", errPromise)
	}
	if !ok || o.ClassName() != "Object" {
		return nil, errors.New("returned no object of fields")
	}
	keys := o.Keys()
	if len(keys) > MaxFields {
		return nil, fmt.Errorf("returned %d fields, at most %d are allowed", len(keys), MaxFields)
	}
	fields := make([]field, 0, len(keys))
	size := 0
	for _, k := range keys {
		f := field{name: k}
		v := o.Get(k)
		if v == nil || goja.IsUndefined(v) {
			continue
		}
		if o, ok := v.(*goja.Object); ok {
			if o.ClassName() != "Date" {
				return nil, fmt.Errorf("field %s: a field is a string, a number, a boolean, a Date or null", quote(k))
			}
			t, err := dateOf(o)
			if err != nil {
				return nil, fmt.Errorf("field %s: %w", quote(k), err)
			}
			f.value = t
		} else {
			switch x := v.Export().(type) {
			case nil, bool:
				f.value = x
			case string:
				f.value = x
				size += len(x)
			case int64:
				f.value = float64(x)
			case float64:
				if math.IsNaN(x) || math.IsInf(x, 0) {
					return nil, fmt.Errorf("field %s: %v is no number that can be written", quote(k), x)
				}
				f.value = x
			default:
				return nil, fmt.Errorf("field %s: a field is a string, a number, a boolean, a Date or null", quote(k))
			}
		}
		if size += len(k) + 10; size > MaxOutput {
			return nil, fmt.Errorf("returned %w", errLarge)
		}
		fields = append(fields, f)
	}
	return fields, nil
}

func dateOf(o *goja.Object) (string, error) {
	t, ok := o.Export().(time.Time)
	if !ok {
		return "", errors.New("an invalid date")
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z07:00"), nil
}
