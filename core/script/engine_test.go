package script_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
)

// The test binary is the worker, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "script-worker" {
		script.WorkerMain()
		return
	}
	os.Exit(m.Run())
}

func worker() []string { return []string{"/proc/self/exe", "script-worker"} }

// start runs an engine until the test ends, and proves that it then stops.
func start(t testing.TB, o script.Options) *script.Engine {
	t.Helper()
	if o.Command == nil {
		o.Command = worker()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	}
	e := script.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Run did not end")
		}
	})
	return e
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func load(t testing.TB, e *script.Engine, tenant, name, code string) script.Version {
	t.Helper()
	v, err := e.Load(t.Context(), tenant, script.Source{Name: name, Code: []byte(code)})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return v
}

var now = time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)

// call is a call about a text message.
func call(t testing.TB, text string) script.Call {
	t.Helper()
	e := core.Event{
		ID: "wamid.1", Kind: core.KindMessageReceived, Tenant: "shop", Number: "100", Conversation: "100:c1",
		Time: now.Add(-time.Second), Accepted: now, Source: "whatsapp",
		Contact: &core.Contact{ID: "c1", Name: "Zoë", Phone: "+15550100123", Tags: []string{"vip"}, Fields: map[string]string{"size": "M"}},
		Message: &core.Message{ID: "wamid.1", Direction: core.Inbound, Type: core.TypeText, Text: text},
	}
	event, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return script.Call{
		Event: event, OnMessage: true, MapToCRM: true, Now: now, Seed: 42,
		Context: []byte(`{"contact":{"id":"c1","tags":["vip"]},"conversation":{"id":"100:c1","new":true,"mode":"bot","messages":1},` +
			`"tenant":{"id":"shop","name":"The Shop"},"settings":{"greeting":"Hi","limit":3,"on":true}}`),
	}
}

func decide(t testing.TB, e *script.Engine, tenant string, calls ...script.Call) []script.Decision {
	t.Helper()
	ds := e.Decide(t.Context(), tenant, calls)
	if len(ds) != len(calls) {
		t.Fatalf("%d decisions for %d calls", len(ds), len(calls))
	}
	return ds
}

func TestEngine_DecidesAsTheScriptSays(t *testing.T) {
	e := start(t, script.Options{})
	v := load(t, e, "shop", "script.ts", `
import type { Event, Context } from "./types";

const shout = (s: string): string => s.toUpperCase() + "!";

export function onMessage(event: Event, context: Context) {
  console.log("got", event.message.text, { n: 1 });
  return [
    reply(shout(event.message.text)),
    reply({ template: { name: "hello", language: "en", components: [{ type: "body" }] } }),
    reply({ interactive: { type: "button", body: { text: "?" } } }),
    reply({ text: "see https://example.com", preview_url: true }),
    tag("new"), untag("vip"), setField("age", 7), setField("size", null),
    escalate({ team: "sales", reason: "asked", note: context.tenant.name, priority: "high" }),
  ];
}
export const mapToCRM = (event: Event, context: Context) => ({
  name: event.contact.name, when: new Date(context.now), n: 1.5, ok: true, none: null, skip: undefined,
  greeting: context.settings.greeting, iso: context.time,
});
`)
	if diff := cmp.Diff([]string{"onMessage", "mapToCRM"}, v.Hooks); diff != "" {
		t.Error(diff)
	}
	got := decide(t, e, "shop", call(t, "hello"))[0]
	if got.Ran <= 0 || got.Waited < 0 {
		t.Errorf("ran %v, waited %v", got.Ran, got.Waited)
	}
	got.Ran, got.Waited = 0, 0
	want := script.Decision{
		Version: v.Hash,
		Log:     []string{`got hello {"n":1}`},
		Fields: map[string]any{
			"name": "Zoë", "when": "2026-11-23T09:30:00.000Z", "n": 1.5, "ok": true, "none": nil, "greeting": "Hi",
			"iso": "2026-11-23T09:30:00.000Z",
		},
		Actions: []script.Action{
			{Type: "reply", Text: "HELLO!", Line: "script.ts:9"},
			{Type: "reply", Line: "script.ts:10", Message: &core.Message{Type: core.TypeTemplate, Template: &core.Template{
				Name: "hello", Language: "en", Components: json.RawMessage(`[{"type":"body"}]`)}}},
			{Type: "reply", Line: "script.ts:11", Message: &core.Message{Type: core.TypeInteractive,
				Interactive: json.RawMessage(`{"type":"button","body":{"text":"?"}}`)}},
			{Type: "reply", Line: "script.ts:12", Message: &core.Message{Type: core.TypeText, Text: "see https://example.com", PreviewURL: true}},
			{Type: "tag", Tag: "new", Line: "script.ts:13"},
			{Type: "untag", Tag: "vip", Line: "script.ts:13"},
			{Type: "setField", Name: "age", Value: "7", Line: "script.ts:13"},
			{Type: "setField", Name: "size", Line: "script.ts:13"},
			{Type: "escalate", Team: "sales", Reason: "asked", Note: "The Shop", Priority: "high", Line: "script.ts:14"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decision (-want +got):\n%s", diff)
	}
}
