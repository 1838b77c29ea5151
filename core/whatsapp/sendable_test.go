package whatsapp

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/wabridge/wabridge/core"
)

// FuzzValidate has whatever Validate finds good written as a request: what cannot be
// written would fail a send each time, and nobody would know why.
func FuzzValidate(f *testing.F) {
	a, err := txtar.ParseFile("testdata/requests.txtar")
	if err != nil {
		f.Fatal(err)
	}
	seeds := 0
	for _, file := range a.Files {
		_, body, _ := bytes.Cut(file.Data, []byte("\n{"))
		var request map[string]json.RawMessage
		var kind string
		if json.Unmarshal(append([]byte("{"), body...), &request) != nil || json.Unmarshal(request["type"], &kind) != nil {
			continue
		}
		f.Add(kind, []byte(request[kind]))
		seeds++
	}
	if seeds < 40 {
		f.Fatalf("%d requests are messages", seeds)
	}
	f.Fuzz(func(t *testing.T, kind string, object []byte) {
		m := &core.Message{Type: core.MessageType(kind), To: core.Address{Kind: core.AddressPhone, Value: "+34600111222"}}
		switch m.Type {
		case core.TypeInteractive:
			m.Interactive = object
		case core.TypeContacts:
			m.Contacts = object
		case core.TypeTemplate:
			var in template
			_ = json.Unmarshal(object, &in)
			m.Template = &core.Template{Name: in.Name, Language: in.Language.Code, Components: in.Components}
		case core.TypeLocation:
			_ = json.Unmarshal(object, &m.Location)
		case core.TypeReaction:
			_ = json.Unmarshal(object, &m.Reaction)
		case core.TypeText:
			m.Text = string(object)
		default:
			_ = json.Unmarshal(object, &m.Media)
		}
		if Validate(m) != nil {
			return
		}
		body, err := json.Marshal(newRequest(m, "opaque"))
		if err != nil {
			t.Fatalf("%s: Validate takes what cannot be written: %v", kind, err)
		}
		var sent map[string]json.RawMessage
		if err := json.Unmarshal(body, &sent); err != nil || len(sent[kind]) == 0 {
			t.Errorf("%s is not in its request: %v, %s", kind, err, body)
		}
	})
}
