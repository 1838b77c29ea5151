package customhttp

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
)

// word is a place in an event's JSON, as [core.Event] defines it.
type word struct {
	// fields are the keys of a table that is modelled; nil for others.
	fields map[string]*word
	// elem is what a list holds; nil for others.
	elem *word
	// open says that anything may be below.
	open bool
	// only is added to what is said of fields that are not there.
	only string
	// zero is what stands for the value when its key is missing because it was
	// empty; nil for tables that may be absent.
	zero any
}

// vocabulary returns the words of an event.
var vocabulary = sync.OnceValue(func() *word { return wordOf(reflect.TypeFor[core.Event]()) })

func wordOf(t reflect.Type) *word {
	switch {
	case t == reflect.TypeFor[json.RawMessage](), t.Kind() == reflect.Interface:
		return &word{open: true}
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()), t == reflect.TypeFor[time.Time]():
		return &word{zero: ""}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return wordOf(t.Elem())
	case reflect.Map:
		return &word{open: true, zero: map[string]any{}}
	case reflect.Slice:
		return &word{elem: wordOf(t.Elem()), zero: []any{}}
	case reflect.Struct:
		w := &word{fields: make(map[string]*word)}
		for name, field := range jsonFields(t) {
			w.fields[name] = wordOf(field)
		}
		return w
	case reflect.String:
		return &word{zero: ""}
	case reflect.Bool:
		return &word{zero: false}
	}
	return &word{zero: json.Number("0")}
}

// check says what is wrong with the path from w, such as .message.txt; "" when
// nothing is.
func (w *word) check(names []string) string {
	for i, name := range names {
		at := "." + strings.Join(names[:i], ".")
		switch {
		case w.open:
			return ""
		case w.elem != nil:
			return at + " is a list: use range or index"
		case w.fields == nil:
			return at + " is a value, nothing is below it"
		}
		next, ok := w.fields[name]
		if !ok {
			return "unknown field ." + strings.Join(names[:i+1], ".") + suggest(name, sortedKeys(w.fields)) + w.only
		}
		w = next
	}
	return ""
}

// complete adds what the event's JSON leaves out because it is empty, so that a
// picture without a caption has the text "". Tables that are absent stay so.
func (w *word) complete(v any) {
	if list, ok := v.([]any); ok && w.elem != nil {
		for _, item := range list {
			w.elem.complete(item)
		}
	}
	table, ok := v.(map[string]any)
	if !ok || w.fields == nil {
		return
	}
	for name, field := range w.fields {
		if have, ok := table[name]; ok {
			field.complete(have)
		} else if field.zero != nil {
			table[name] = field.zero // shared, as templates change nothing
		} else if field.open {
			table[name] = nil
		}
	}
}
