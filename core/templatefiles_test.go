package core

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestTemplate_NamesFilesByTheirHash(t *testing.T) {
	var tpl Template
	const short = `{"name":"offer","language":"es","params":["Ana"],"cards":[{"header":{"image":{"hash":"aa"}},"buttons":[{"index":0,"payload":"p"}]},{"header":{"image":{"hash":"aa"}}},{"header":{"video":{"hash":"bb"}}},{"header":{"image":{"id":"7"}}}]}`
	if err := json.Unmarshal([]byte(short), &tpl); err != nil {
		t.Fatal(err)
	}
	if got, want := tpl.Files(), []NamedFile{{Type: TypeImage, Hash: "aa"}, {Type: TypeVideo, Hash: "bb"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("it names %+v, want %+v", got, want)
	}
	m := Message{Type: TypeTemplate, Template: &tpl}
	if got := string(m.TemplateComponents()); strings.Contains(got, "hash") || !strings.Contains(got, `{"image":{"id":"aa"},"type":"image"}`) {
		t.Errorf("before they are at WhatsApp: %s", got)
	}
	before := string(tpl.Components)
	m.Template = tpl.WithFiles(map[string]string{"aa": "1"})
	if string(tpl.Components) != before {
		t.Error("the template itself has changed")
	}
	if got, want := m.Template.Files(), []NamedFile{{Type: TypeImage, Hash: "aa", ID: "1"}, {Type: TypeVideo, Hash: "bb"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("with ids it names %+v, want %+v", got, want)
	}
	got := string(m.TemplateComponents())
	if strings.Contains(got, "hash") || strings.Count(got, `"image":{"id":"1"}`) != 2 || !strings.Contains(got, `"image":{"id":"7"}`) {
		t.Errorf("WhatsApp gets %s", got)
	}
	for _, none := range []string{"", `[]`, `{"hash":1}`, `[{"type":"button","parameters":[{"type":"action","action":{"hash":"x"}}]}]`, `[{"parameters":[{"type":"image","image":{"hash":7}}]}]`, `[7,{"cards":[8]}]`, `["hash"`} {
		tpl := Template{Components: json.RawMessage(none)}
		if m := (Message{Template: &tpl}); len(tpl.Files()) > 0 || string(m.TemplateComponents()) != none {
			t.Errorf("%q names %+v and becomes %s", none, tpl.Files(), m.TemplateComponents())
		}
	}
	if err := json.Unmarshal([]byte(`{"name":"a","language":"es","header":{"image":{"hash":"aa","link":"https://a.example"}}}`), &tpl); err == nil || !strings.Contains(err.Error(), "have one of") {
		t.Errorf("a hash and a link: %v", err)
	}
}

// What else is in the components stays as it is.
func TestTemplate_WithFilesKeepsNumbers(t *testing.T) {
	tpl := Template{Components: json.RawMessage(`[{"type":"header","parameters":[{"type":"image","image":{"hash":"aa"}}]},{"type":"x","parameters":[{"n":12345678901234567890.10}]}]`)}
	if got := string(tpl.WithFiles(map[string]string{"aa": "1"}).Components); !strings.Contains(got, "12345678901234567890.10") {
		t.Error(got)
	}
}
