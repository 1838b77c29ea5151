package web

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/hook"
)

var update = flag.Bool("update", false, "write openapi.json anew")

func TestOpenAPI_IsWhatTheRoutesAre(t *testing.T) {
	want := describe(t, (&Server{}).routes())
	if *update {
		if err := os.WriteFile("openapi.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	// What is written beside a type is taken over by make generate, and checked there.
	if diff := cmp.Diff(shape(t, want), shape(t, openAPI)); diff != "" {
		t.Errorf("openapi.json is not what the routes and their types are: run make generate\n%s", diff)
	}
	got := call{method: "GET", path: openAPIPath}.do(t, New(options(&bridge{}, "0.0.0.0:8080")).Handler())
	if got.Code != 200 || !bytes.Equal(got.Body.Bytes(), openAPI) {
		t.Errorf("served without a token: %d", got.Code)
	}
}

// shape is a description without what is there for people.
func shape(t *testing.T, description []byte) any {
	t.Helper()
	var doc any
	if err := json.Unmarshal(description, &doc); err != nil {
		t.Fatal(err)
	}
	var strip func(any)
	strip = func(v any) {
		switch v := v.(type) {
		case object:
			if _, ok := v["description"].(string); ok {
				delete(v, "description")
			}
			for _, below := range v {
				strip(below)
			}
		case []any:
			for _, below := range v {
				strip(below)
			}
		}
	}
	strip(doc)
	return doc
}

// schemas compiles the schemas of the description.
var schemas = sync.OnceValue(func() *jsonschema.Compiler {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(openAPI))
	if err != nil {
		panic(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("openapi.json", doc); err != nil {
		panic(err)
	}
	return c
})

var compiling sync.Mutex

// conforms reports what of a JSON text is not as a schema of the description, named
// by a JSON pointer's parts, says.
func conforms(data []byte, at ...string) error {
	pointer := "openapi.json#"
	for _, part := range at {
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(part)
	}
	compiling.Lock()
	s, err := schemas().Compile(pointer)
	compiling.Unlock()
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// checkAnswer checks an answer of the API against the description.
func checkAnswer(t *testing.T, pattern string, w *httptest.ResponseRecorder) {
	t.Helper()
	method, path, _ := strings.Cut(pattern, " ")
	if w.Code >= 400 && (strings.HasPrefix(path, "/api/") || pattern == "/api/") {
		if err := conforms(w.Body.Bytes(), "components", "schemas", "ErrorAnswer"); err != nil {
			t.Errorf("%s answered %d %s, which is not the form of errors: %v", pattern, w.Code, w.Body, err)
		}
		return
	}
	if !strings.HasPrefix(path, "/api/v1/") || path == openAPIPath {
		return
	}
	path = pathParam.ReplaceAllString(path, "{$1}")
	err := conforms(w.Body.Bytes(), "paths", path, strings.ToLower(method), "responses", strconv.Itoa(w.Code), "content", "application/json", "schema")
	if err != nil {
		t.Errorf("%s answered %d %s, which is not as described: %v", pattern, w.Code, w.Body, err)
	}
}

func TestOpenAPI_HasExamplesThatAreRight(t *testing.T) {
	used := map[string]bool{"error": true, "event": true}
	for _, r := range (&Server{}).routes() {
		example, ok := examples[r.id]
		if used[r.id] = ok; !ok {
			continue
		}
		data, err := json.Marshal(example)
		if err != nil {
			t.Fatal(err)
		}
		path := pathParam.ReplaceAllString(r.path, "{$1}")
		if err := conforms(data, "paths", path, strings.ToLower(r.method), "requestBody", "content", "application/json", "schema"); err != nil {
			t.Errorf("the example of %s: %v", r.id, err)
		}
	}
	for id := range examples {
		if !used[id] {
			t.Errorf("the example of %s is nobody's", id)
		}
	}
}

// What a bridge is full of is as described as an empty one.
func TestOpenAPI_DescribesWhatEventsHave(t *testing.T) {
	e := core.Event{
		ID: "wamid.A", Kind: core.KindMessageReceived, Contact: &core.Contact{Phone: "+34600111222", Tags: []string{"vip"}, Fields: map[string]string{"a": "b"}},
		Message: &core.Message{Direction: core.Inbound, Type: core.TypeText, To: core.Address{Kind: core.AddressPhone, Value: "+34600111222"}, Reply: &core.Reply{}},
		Status:  &core.Status{Errors: []core.StatusError{{Code: 131047}}}, Escalation: &core.Escalation{Assignee: &core.Assignee{ID: "ana"}},
		Consent: &core.Consent{Suppressed: []string{"stop"}}, Fields: map[string]any{"n": 1}, Raw: json.RawMessage(`{}`),
	}
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	letter, err := json.Marshal(broker.DeadLetter{ID: "d", Event: data, Reason: core.Error{Code: core.CodeInvalid, RetryAfter: 5}})
	if err != nil {
		t.Fatal(err)
	}
	told, err := json.Marshal(hook.Message{Version: 1, Type: hook.TypeBatch, Data: json.RawMessage("[" + string(data) + "]")})
	if err != nil {
		t.Fatal(err)
	}
	event := []string{"webhooks", "event", "post", "requestBody", "content", "application/json", "schema"}
	for _, err := range []error{
		conforms(data, "components", "schemas", "Event"), conforms(letter, "components", "schemas", "DeadLetter"), conforms(told, event...),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	for _, wrong := range []string{`{"id":1}`, `{"id":"x","kind":"y"}`, `[]`} {
		if conforms([]byte(wrong), "components", "schemas", "Event") == nil {
			t.Errorf("%s is taken for an event", wrong)
		}
	}
	if conforms([]byte(`{"version":1,"type":"batch","timestamp":"2026-11-27T09:00:00Z","data":[{"id":1}]}`), event...) == nil {
		t.Error("a list of nonsense is taken for a batch")
	}
}
