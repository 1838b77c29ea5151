package script

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/dop251/goja"
	"github.com/google/go-cmp/cmp"
)

// What comes out of decoding is within the bounds, whatever goes in.
func FuzzDecodeActions(f *testing.F) {
	f.Add(`[{"type":"reply","text":"hi","line":"s.js:1"},{"type":"tag","tag":"a"}]`)
	f.Add(`[{"type":"reply","template":{"name":"a","language":"en","components":[{}]}}]`)
	f.Add(`[{"type":"reply","media":{"type":"image","link":"https://x.example/a.png","caption":"A"}}]`)
	f.Add(`[{"type":"reply","interactive":{"type":"button"}},{"type":"setField","name":"a","value":1e3}]`)
	f.Add(`[{"type":"escalate","priority":"high","team":"t","reason":"r","note":"n"}]`)
	f.Add(`[{"type":"reply","text":"hi","preview_url":true}]`)
	f.Add(`[{"TYPE":"untag","tag":"\u0000"}]`)
	f.Add(`[{"type":"setField","name":"a","value":{}}`)
	f.Add(`[null,[]]x`)
	f.Add(`[{"type":"reply","template":[]}]`)
	f.Fuzz(func(t *testing.T, data string) {
		actions, err := decodeActions("onMessage", data)
		if err != nil {
			if actions != nil {
				t.Error("both actions and an error")
			}
			if s := err.Error(); len(s) > 500 || strings.Contains(s, "json:") || strings.Contains(s, "Go ") {
				t.Errorf("not for people: %q", s)
			}
			return
		}
		if len(actions) > MaxActions {
			t.Errorf("%d actions", len(actions))
		}
		for _, a := range actions {
			switch a.Type {
			case ActionReply:
				if (a.Text == "") == (a.Message == nil) {
					t.Errorf("a reply with text %q and message %v", a.Text, a.Message)
				}
				if m := a.Message; m != nil {
					if _, err := json.Marshal(m); err != nil {
						t.Error(err)
					}
				}
			case ActionTag, ActionUntag:
				if a.Tag == "" || strings.ContainsAny(a.Tag, "\n\x00") {
					t.Errorf("tag %q", a.Tag)
				}
			case ActionSetField:
				if a.Name == "" {
					t.Error("a field without a name")
				}
			case ActionEscalate:
				if a.Reason == "" {
					t.Error("an escalation without a reason")
				}
			default:
				t.Errorf("type %q", a.Type)
			}
			for what, limit := range map[string]int{a.Text: MaxText, a.Tag: MaxName, a.Name: MaxName, a.Value: MaxText,
				a.Team: MaxName, a.Reason: MaxText, a.Note: MaxText} {
				if utf8.RuneCountInString(what) > limit {
					t.Errorf("%d characters in %+v", utf8.RuneCountInString(what), a)
				}
			}
		}
	})
}

// A worker's results are read without panic, and written ones are read back.
func FuzzCutResult(f *testing.F) {
	full := result{
		answer: `[{"type":"tag"}]`, failure: failureScript, message: "m", line: "l", ran: 5, log: []string{"a", ""},
		fields: []field{{"s", "x"}, {"n", 1.5}, {"t", true}, {"f", false}, {"z", nil}},
	}
	for _, r := range []result{{}, full, {fields: []field{}}} {
		f.Add(appendResult(nil, &r))
	}
	f.Add([]byte("\x00\x00\x00\x07\x00\x01\x00\x00\x00\xff\x7f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, rest, err := cutResult(data)
		if err != nil {
			return
		}
		if len(r.fields) > MaxFields || len(r.log) > MaxLog+1 || r.failure > failureWorker {
			t.Errorf("out of bounds: %+v", r)
		}
		for _, f := range r.fields {
			if n, ok := f.value.(float64); ok && (math.IsNaN(n) || math.IsInf(n, 0)) {
				t.Errorf("field %+v", f)
			}
		}
		again, left, err := cutResult(appendResult(nil, &r))
		if err != nil || len(left) != 0 || len(rest) > len(data) {
			t.Fatalf("%v, %d bytes left", err, len(left))
		}
		if !reflect.DeepEqual(r, again) {
			t.Errorf("read %+v\nagain %+v", r, again)
		}
	})
}

// A script sees the JSON that package json sees.
func FuzzObject(f *testing.F) {
	f.Add(`{"a":"b","n":1.5e3,"t":true,"f":false,"z":null,"o":{"x":[1,"2",{"y":[]}]}}`)
	f.Add(`{ "a" : "\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00" , "b" : [ ] }`)
	f.Add(`{"a":1,"a":2,"":"","\ud800":"\udc00x"}`)
	f.Add(`{"a":9007199254740993,"b":-0,"c":1e400}`)
	f.Add(`{"a":"` + strings.Repeat("x", 100) + `"` + strings.Repeat(`,"k":[[]]`, 30) + `}`)
	f.Add(`{"a":{"b":`)
	f.Fuzz(func(t *testing.T, data string) {
		vm := goja.New()
		o, err := parseObject(vm, data)
		var want map[string]any
		dec := json.NewDecoder(strings.NewReader(data))
		if dec.Decode(&want) != nil || want == nil || !utf8.ValidString(data) || dec.More() {
			if err == nil {
				e := encoder{limit: 1 << 20}
				_ = e.value(vm.NewDynamicObject(o), 0) // must not panic
			}
			return
		}
		if err != nil {
			t.Fatalf("%v: %q", err, data)
		}
		got := map[string]any{}
		for _, k := range o.Keys() {
			got[k] = plainValue(o.Get(k), 0)
		}
		if diff := cmp.Diff(shallow(want, 0), any(got)); diff != "" {
			t.Errorf("%q (-json +script):\n%s", data, diff)
		}
	})
}

// plainValue makes a value of a script's comparable with one of package json.
func plainValue(v goja.Value, depth int) any {
	if depth > 20 {
		return "deep"
	}
	o, ok := v.(*goja.Object)
	if !ok {
		if goja.IsNumber(v) {
			return v.ToFloat()
		}
		return v.Export()
	}
	if o.ClassName() == "Array" {
		list := []any{}
		for i := range o.Get("length").ToInteger() {
			list = append(list, plainValue(o.Get(vmIndex(i)), depth+1))
		}
		return list
	}
	m := map[string]any{}
	for _, k := range o.Keys() {
		m[k] = plainValue(o.Get(k), depth+1)
	}
	return m
}

func vmIndex(i int64) string { b, _ := json.Marshal(i); return string(b) }

// shallow cuts a value where plainValue does.
func shallow(v any, depth int) any {
	if depth > 20 {
		return "deep"
	}
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, x := range v {
			m[k] = shallow(x, depth+1)
		}
		return m
	case []any:
		list := []any{}
		for _, x := range v {
			list = append(list, shallow(x, depth+1))
		}
		return list
	}
	return v
}
