package mapping

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/wabridge/wabridge/core"
)

// Whatever a CRM tells, what is taken of it is text of a bounded length, and what is
// written back is JSON.
func FuzzTable_From(f *testing.F) {
	f.Add([]byte(`{"email":"ana@example.com","tags":["a","b;c"],"birthday":"1990-05-01","country":{"id":"7"},"language":"zh_TW","time_zone":"Asia/Tokyo"}`))
	f.Add([]byte(`{"marketing_consent":true,"plan":1e400,"score":"1.234,5","seen":1795000000000,"ok":"Yes","tags":"a;b;;a","city":"a\u0000b"}`))
	f.Add([]byte(`{"tags":[[[]],{"id":{}},null,7],"email":["x@y.z"],"birthday":-1}`))
	var rules []core.MapRule
	for _, field := range Fields() {
		if field.FromCRM {
			rules = append(rules, core.MapRule{Field: field.Name, Property: field.Name})
		}
	}
	for name, kind := range map[string]string{"plan": "number", "seen": "time", "ok": "bool"} {
		rules = append(rules, core.MapRule{Field: "fields." + name, Property: name, Type: kind, Format: map[string]string{"time": "milliseconds"}[kind]})
	}
	rules = append(rules, core.MapRule{Field: "fields.score", Property: "score", Transform: []string{"number"}, Conflict: WhatsApp, Length: 3})
	tab, problems := New(rules, false)
	if len(problems) > 0 {
		f.Fatal(problems)
	}
	tab.Learn(nil)
	f.Fuzz(func(t *testing.T, data []byte) {
		var told map[string]any
		if json.Unmarshal(data, &told) != nil {
			return
		}
		k, agreed := ana(), map[string]Agreed{}
		k.Contact.Fields["score"] = "12345"
		out := tab.From(k, Told{Lane: "crm", Properties: told, At: noon}, agreed, nil)
		for name, v := range out.Fields {
			if len(v) > maxText || !utf8.ValidString(v) {
				t.Errorf("%s is %q", name, v)
			}
			k.Contact.Fields[name], k.Set[name] = v, Mark{At: noon}
		}
		for _, tag := range out.Tags {
			if tag == "" || len(tag) > maxName {
				t.Errorf("a tag is %q", tag)
			}
		}
		if _, err := json.Marshal(out.Back); err != nil {
			t.Errorf("%v cannot be written: %v", out.Back, err)
		}
		if again := tab.From(k, Told{Lane: "crm", Properties: told, At: noon}, agreed, nil); len(again.Fields) > 0 || again.Consent != "" {
			t.Errorf("told again, it takes %v", again.Fields)
		}
		if _, err := json.Marshal(tab.To(k, agreed, nil).Properties); err != nil {
			t.Error(err)
		}
	})
}
