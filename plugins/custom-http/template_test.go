package customhttp

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

func sample() *core.Event {
	return &core.Event{
		ID: "wamid.A/b+c==", Kind: core.KindMessageReceived, Tenant: "acme", Source: "whatsapp",
		Time:    time.Date(2026, 10, 1, 12, 0, 5, 600e6, time.FixedZone("", 2*3600)),
		Contact: &core.Contact{ID: "c1", Name: `Ada "the" O'Neil`, Phone: "+49 151", Tags: []string{"vip", "eu"}},
		Message: &core.Message{ID: "wamid.A/b+c==", Direction: core.Inbound, Type: core.TypeText, Text: "a\"b\\c\n{{.id}}</script>"},
		Fields:  map[string]any{"company": "Acme & Sons", "seats": 12345678901, "vip": true, "nested": map[string]any{"a": []any{1, "x"}}},
	}
}

// execute compiles and executes a template over an event.
func execute(t *testing.T, text string, at place, e *core.Event) (string, *core.Error) {
	t.Helper()
	var p problems
	compiled := compileTemplate(text, at, "body", vocabulary(), &p)
	if err := p.err(); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return compiled.render(&item{id: e.ID, kind: e.Kind, data: data}, 1<<20)
}

func TestTemplate_WritesValuesAsTheirPlaceNeeds(t *testing.T) {
	for _, c := range []struct {
		at         place
		text, want string
	}{
		{inBody, `{{.message.text}}`, `"a\"b\\c\n{{.id}}</script>"`},
		{inBody, `{{.message.text | json}}`, `"a\"b\\c\n{{.id}}</script>"`},
		{inBody, `{{json .message.text}}`, `"a\"b\\c\n{{.id}}</script>"`},
		{inBody, `"x {{.message.text}} y"`, `"x a\"b\\c\n{{.id}}</script> y"`},
		{inBody, `"\"{{.contact.id}}"`, `"\"c1"`},
		{inBody, `{{.fields}}`, `{"company":"Acme & Sons","nested":{"a":[1,"x"]},"seats":12345678901,"vip":true}`},
		{inBody, `[{{.fields.seats}}, {{.fields.vip}}, "{{.fields.seats}}"]`, `[12345678901, true, "12345678901"]`},
		{inBody, `[{{range $i, $tag := .contact.tags}}{{if $i}},{{end}}{{$tag}}{{end}}]`, `["vip","eu"]`},
		{inBody, `"{{range .contact.tags}}<{{.}}>{{end}}"`, `"<vip><eu>"`},
		{inBody, `{{with .contact}}{"n":{{.name}},"id":{{$.id}}}{{end}}`, `{"n":"Ada \"the\" O'Neil","id":"wamid.A/b+c=="}`},
		{inBody, `{{if .message.media}}1{{else if .message.text}}2{{else}}3{{end}}`, `2`},
		{inBody, `{{/* nothing */}}{}`, `{}`},
		{inBody, `{{$x := .contact}}{{$x.name | json}}`, `"Ada \"the\" O'Neil"`},
		{inBody, `{{.time | ts "unix"}}`, `1790848805`},
		{inBody, `{{.time | ts "unix_ms"}}`, `1790848805600`},
		{inBody, `"{{.time | ts "unix"}}"`, `"1790848805"`},
		{inBody, `{{.time | ts "rfc3339"}}`, `"2026-10-01T10:00:05Z"`},
		{inBody, `{{.time | ts "date"}}`, `"2026-10-01"`},
		{inBody, `{{.time | ts "02.01.2006 15:04"}}`, `"01.10.2026 10:00"`},
		{inBody, `{{.contact.tags | join "; "}}`, `"vip; eu"`},
		{inBody, `{{.contact.phone | digits}}`, `"49151"`},
		{inBody, `{{.contact.name | trunc 3}}`, `"Ada"`},
		{inBody, `{{"äöü" | trunc 2}}`, `"äö"`},
		{inBody, `{{.id | hash}}`, `"ae61daf7bb2ba0aaa910de804715b117b121333a1bf8e22d05820ef5e699190a"`},
		{inBody, `{{len .contact.tags}}`, `2`},
		{inPath, `/messages/{{.id}}/x-{{.contact.id}}`, `/messages/wamid.A%2Fb+c==/x-c1`},
		{inPath, `/people/{{.contact.name}}`, `/people/Ada%20%22the%22%20O%27Neil`},
		{inText, `{{.id}}`, `wamid.A/b+c==`},
		{inText, `t={{.time | ts "unix"}} {{.fields.vip}}`, `t=1790848805 true`},
	} {
		got, err := execute(t, c.text, c.at, sample())
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		} else if got != c.want {
			t.Errorf("%s: got %s, want %s", c.text, got, c.want)
		}
	}
}

// TestTemplate_KnowsEmptyFromAbsentFromUnknown: what the event's JSON leaves
// out because it is empty is empty; tables that are absent, and keys of open
// tables, are errors unless absence is asked for.
func TestTemplate_KnowsEmptyFromAbsentFromUnknown(t *testing.T) {
	bare := &core.Event{ID: "e1", Kind: core.KindMessageStatus, Contact: &core.Contact{}}
	for _, c := range []struct{ text, want, wrong string }{
		{text: `{{.contact.name}}`, want: `""`},
		{text: `{{.contact.tags}}`, want: `[]`},
		{text: `{{.contact.fields}}`, want: `{}`},
		{text: `{{.fields}}`, want: `{}`},
		{text: `{{.raw}}`, want: `null`},
		{text: `{{.message.text}}`, wrong: ".message.text: the event has no such field"},
		{text: `{{.fields.company}}`, wrong: ".fields.company: the event has no such field"},
		{text: `{{.raw.a.b}}`, wrong: ".raw.a.b: the event has no such field"},
		{text: `{{.message.text | default "-"}}`, want: `"-"`},
		{text: `{{default "-" .message.text}}`, want: `"-"`},
		{text: `{{.contact.name | default "-"}}`, want: `"-"`},
		{text: `{{.contact.tags | default "-"}}`, want: `"-"`},
		{text: `{{$.fields.company | default "-" | trunc 1}}`, want: `"-"`},
		{text: `{{$c := .contact}}{{$c.fields.a | default 1}}`, want: `1`},
		{text: `{{if .message}}1{{else}}0{{end}}`, want: `0`},
		{text: `{{if and .message .message.media.id}}1{{else}}0{{end}}`, want: `0`},
		{text: `{{if eq .message.type "text"}}1{{else}}0{{end}}`, want: `0`},
		{text: `{{if not .fields.company}}1{{end}}`, want: `1`},
		{text: `{{with .fields.company}}{{.}}{{else}}null{{end}}`, want: `null`},
		{text: `[{{range .message.contacts}}1{{end}}]`, want: `[]`},
		{text: `{{with .contact}}{{.nope}}{{end}}`, wrong: ".nope: the event has no such field"},
		{text: `{{.contact.phone | e164}}`, wrong: "e164: not a phone number"},
		{text: `{{.contact.name | ts "unix"}}`, wrong: `ts "unix": not a time`},
		{text: `"{{.contact.tags}}"`, wrong: ".contact.tags: want a text, not a list"},
		{text: `"{{.raw}}"`, wrong: ".raw: there is no value"},
		{text: `{{index .contact.tags 3}}`, wrong: "index out of range"},
	} {
		got, err := execute(t, c.text, inBody, bare)
		switch {
		case c.wrong == "" && (err != nil || got != c.want):
			t.Errorf("%s: got %s, %v; want %s", c.text, got, err, c.want)
		case c.wrong != "" && (err == nil || err.Code != core.CodeInvalid || !strings.Contains(err.Message, c.wrong)):
			t.Errorf("%s: got %s, %v; want %q", c.text, got, err, c.wrong)
		}
	}
}

func TestTemplate_CompletesTheListsOfAnEvent(t *testing.T) {
	e := &core.Event{ID: "e1", Kind: core.KindMessageStatus, Status: &core.Status{Errors: []core.StatusError{{Code: 131026}}}}
	got, err := execute(t, `{{range .status.errors}}[{{.code}},{{.title}}]{{end}}`, inBody, e)
	if want := `[131026,""]`; err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

func TestTemplate_NamesWhatIsWrongBeforeItRuns(t *testing.T) {
	for _, c := range []struct {
		at          place
		text, wrong string
	}{
		{inBody, `{{.mesage.text}}`, "unknown field .mesage, did you mean message?"},
		{inBody, `{{.message.txt}}`, "unknown field .message.txt, did you mean text?"},
		{inBody, `{{.Message.Text}}`, "unknown field .Message, did you mean message?"},
		{inBody, `{{if .mesage}}1{{end}}`, "unknown field .mesage"},
		{inBody, `{{range .contact.tags}}{{$.nme}}{{end}}`, "unknown field .nme"},
		{inBody, `{{(index .status.erors 0).code}}`, "unknown field .status.erors, did you mean errors?"},
		{inBody, `{{.message.text.x}}`, ".message.text is a value"},
		{inBody, `{{.status.errors.code}}`, ".status.errors is a list"},
		{inBody, `{{.message.text | jsn}}`, `function "jsn" not defined`},
		{inBody, `{{.message.text`, "unclosed action"},
		{inBody, `{{define "x"}}1{{end}}{{template "x"}}`, "not supported"},
		{inBody, `{"a": "{{.id}}}`, "no closing quote"},
		{inBody, `{"a": "{{.id | json}}"}`, "between quotes already"},
		{inBody, `{"a": "\{{.id}}"}`, "a backslash cannot come just before"},
		{inBody, `{{if .id}}"{{end}}x"`, "a quote is opened or closed within"},
		{inBody, `{{range .contact.tags}}"{{else}}"{{end}}x"`, "a quote is opened or closed within"},
		{inBody, `{{range .contact.tags}}{{break}}{{end}}`, "not supported"},
		{inPath, `/a?b={{.id}}`, "is not a path"},
		{inPath, `/a#{{.id}}`, "is not a path"},
		{inPath, `/a b`, "is not a path"},
		{inPath, `/a%zz`, "is not a path"},
		{inPath, `/{{.id | urlquery}}`, "would be escaped twice"},
		{inText, `{{.id | urlquery}}`, "would be escaped twice"},
	} {
		var p problems
		compileTemplate(c.text, c.at, "settings.x", vocabulary(), &p)
		if err := p.err(); err == nil || !strings.HasPrefix(err.Message, "settings.x: ") || !strings.Contains(err.Message, c.wrong) {
			t.Errorf("%s: got %v, want %q", c.text, err, c.wrong)
		}
	}
}

func TestTemplate_BoundsItsOutput(t *testing.T) {
	var p problems
	compiled := compileTemplate(`"{{range .contact.tags}}{{$.message.text}}{{end}}"`, inBody, "body", vocabulary(), &p)
	e := sample()
	e.Message.Text = strings.Repeat("x", 1000)
	data, _ := json.Marshal(e)
	for limit, fits := range map[int]bool{2002: true, 2001: false} {
		got, err := compiled.render(&item{data: data}, limit)
		if fits != (err == nil) || len(got) > limit {
			t.Errorf("limit %d: %d bytes, %v", limit, len(got), err)
		}
	}
}

func TestVocabulary_IsThatOfEvents(t *testing.T) {
	for _, path := range []string{"id", "kind", "message.to", "message.media.mime_type", "status.pricing.x.y", "fields.anything.at.all", "contact.fields.x"} {
		if wrong := vocabulary().check(strings.Split(path, ".")); wrong != "" {
			t.Errorf("%s: %s", path, wrong)
		}
	}
	// Completing changes no value that is there.
	data, _ := json.Marshal(sample())
	before, _ := decodeJSON(data)
	after, _ := decodeJSON(data)
	vocabulary().complete(after)
	if contact := after.(map[string]any)["contact"].(map[string]any); contact["username"] != "" {
		t.Errorf("username is %v, want the empty text", contact["username"])
	}
	for key, v := range before.(map[string]any)["message"].(map[string]any) {
		if got := after.(map[string]any)["message"].(map[string]any)[key]; !reflect.DeepEqual(got, v) {
			t.Errorf("message.%s became %v", key, got)
		}
	}
}

// FuzzTemplate_KeepsItsShapeWhateverPeopleWrite: values cannot change the
// structure of a body, a path or a header.
func FuzzTemplate_KeepsItsShapeWhateverPeopleWrite(f *testing.F) {
	for _, s := range []string{"", `"`, `\`, `","admin":true,"x":"`, "../../x", "..", ".", "a/../b", `..\..`, "?x=1#y", "a\r\nX: y", "\x00", "\u2028", "\xff", "%2e%2e", "/", "{{.id}}", "é"} {
		f.Add(s)
	}
	var p problems
	words := vocabulary()
	bodies := []*tmpl{
		compileTemplate(`{"a":"x{{.message.text}}y","b":{{.message.text}},"c":["{{.message.text}}",{{.message.text | json}}]}`, inBody, "body", words, &p),
		compileTemplate(`{"a":"{{with .message.text}}{{.}}{{end}}","b":{{if .message.text}}1{{else}}0{{end}},"c":[{{print .message.text}}, {{len .message.text}}]}`, inBody, "body", words, &p),
	}
	path := compileTemplate("/a/{{.message.text}}/b{{.message.text}}", inPath, "path", words, &p)
	if err := p.err(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e := sample()
		e.Message.Text = text
		data, err := json.Marshal(e)
		if err != nil {
			t.Skip()
		}
		for i, body := range bodies {
			var b bytes.Buffer
			if err := body.execute(&b, &item{data: data}, 1<<24); err != nil {
				t.Fatal(err)
			}
			var v struct {
				A string `json:"a"`
				B any    `json:"b"`
				C []any  `json:"c"`
			}
			dec := json.NewDecoder(&b)
			dec.DisallowUnknownFields()
			if err := dec.Decode(&v); err != nil {
				t.Fatalf("%q makes %v", text, err)
			}
			if i == 0 && (v.A != "x"+jsonText(t, text)+"y" || len(v.C) != 2) {
				t.Errorf("%q arrived as %q", text, v.A)
			}
		}
		got, failed := path.render(&item{data: data}, 1<<24)
		if failed == nil && (strings.Count(got, "/") != 3 || strings.ContainsAny(got, "?#\\ \r\n\x00") || climbs(got)) {
			t.Errorf("%q makes the path %q", text, got)
		}
	})
}

// jsonText is a text after a way through JSON.
func jsonText(t *testing.T, s string) string {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back string
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	return back
}
