//go:build linux

package script_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
)

// The test binary is the worker, too.
func TestMain(m *testing.M) {
	if len(os.Args) >= 2 {
		switch os.Args[1] {
		case "script-worker":
			script.WorkerMain()
			return
		case "evil-worker":
			evilWorker(os.Args[2])
			return
		case "host":
			host()
			return
		case "probe":
			probe(os.Args[2], os.Args[3])
			return
		}
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
	if o.Soft == 0 {
		o.Soft = slower * 50 * time.Millisecond
	}
	if o.Hard == 0 {
		o.Hard = slower * 250 * time.Millisecond
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
		Event: event, Hooks: script.OnMessage | script.MapToCRM, Now: now, Seed: 42,
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
    reply({ text: "see https://example.com", preview_url: true }), reply({ media: { type: "image", link: "https://x.example/a.png", caption: "A" } }),
    tag("new"), untag("vip"), setField("age", 7), setField("size", null),
    escalate({ team: "sales", reason: "asked", note: context.tenant.name, priority: "high" }),
  ];
}
export const mapToCRM = (event: Event, context: Context) => ({
  name: event.contact.name, when: new Date(context.now), n: 1.5, ok: true, none: null, skip: undefined,
  greeting: context.settings.greeting, iso: context.time,
});
`)
	if diff := cmp.Diff("onMessage, mapToCRM", v.Hooks.String()); diff != "" {
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
			{Type: "reply", Line: "script.ts:12", Message: &core.Message{Type: core.TypeImage, Text: "A", Media: &core.Media{Link: "https://x.example/a.png"}}},
			{Type: "tag", Tag: "new", Line: "script.ts:13"},
			{Type: "untag", Tag: "vip", Line: "script.ts:13"},
			{Type: "setField", Name: "age", Value: "7", Line: "script.ts:13"},
			{Type: "setField", Name: "size", Line: "script.ts:13"},
			{Type: "escalate", Team: "sales", Reason: "asked", Note: "The Shop", Priority: "high", Line: "script.ts:14"},
		},
	}
	// What is kept of the decision reads as it did.
	if kept, err := script.ReadActions([]byte(got.Answer)); err != nil || !cmp.Equal(kept, got.Actions) {
		t.Errorf("kept: %+v, %v", kept, err)
	}
	got.Answer = ""
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decision (-want +got):\n%s", diff)
	}
}

func TestEngine_StartsEveryEventAnew(t *testing.T) {
	e := start(t, script.Options{})
	load(t, e, "shop", "script.js", `
let count = 0;
export function onMessage(event) {
  count++;
  Object.prototype.seen = (Object.prototype.seen ?? 0) + 1;
  globalThis.kept = (globalThis.kept ?? 0) + 1;
  Array.prototype.map = undefined;
  return [1].filter(() => true).length && reply([count, {}.seen, globalThis.kept].join());
}`)
	for i, d := range decide(t, e, "shop", call(t, "a"), call(t, "b"), call(t, "c")) {
		if d.Err != nil || d.Actions[0].Text != "1,1,1" {
			t.Errorf("event %d: %+v", i, d)
		}
	}
}

func TestEngine_DecidesTheSameTwice(t *testing.T) {
	e := start(t, script.Options{})
	load(t, e, "shop", "script.js", `
const top = Math.random();
export function onMessage(event, context) {
  return reply([top, Math.random(), Date.now(), new Date().toString(), Object.keys(event), JSON.stringify(context)].join());
}`)
	a, b, c := call(t, "x"), call(t, "x"), call(t, "x")
	c.Seed++
	ds := decide(t, e, "shop", a, b, c)
	if diff := cmp.Diff(ds[0].Actions, ds[1].Actions); diff != "" {
		t.Errorf("the same call decided otherwise:\n%s", diff)
	}
	if cmp.Equal(ds[0].Actions, ds[2].Actions) {
		t.Error("another seed made the same numbers")
	}
	if !strings.Contains(ds[0].Actions[0].Text, "1795426200000,Mon Nov 23 2026 09:30:00 GMT+0000") {
		t.Errorf("not the call's time: %s", ds[0].Actions[0].Text)
	}
}

func TestEngine_FindsHooksHoweverTheyAreWritten(t *testing.T) {
	const both = "onMessage mapToCRM"
	for name, test := range map[string]struct{ file, code, hooks string }{
		"exported functions": {"s.js", "export function onMessage() { return tag('x') }\nexport function mapToCRM() { return {a: 1} }", both},
		"plain functions":    {"s.js", "function onMessage() { return tag('x') }\nfunction mapToCRM() { return {a: 1} }", both},
		"constants":          {"s.js", "export const onMessage = () => tag('x'), mapToCRM = () => ({a: 1})", both},
		"plain constants":    {"s.ts", "const onMessage = (): any => tag('x'); let mapToCRM = function () { return {a: 1} }", both},
		"renamed":            {"s.js", "function m() { return tag('x') }\nconst c = () => ({a: 1});\nexport { m as onMessage, c as mapToCRM }", both},
		"own names of ours":  {"s.js", "const tag = (t) => ({ type: 'tag', tag: 'x' });\nexport function onMessage() { return tag('y') }\nexport function mapToCRM() { return {a: 1} }", both},
		"one of two":         {"s.js", "export function onMessage() { return [tag('x')] }", "onMessage"},
		"the other":          {"s.js", "export function mapToCRM() { return {a: 1} }", "mapToCRM"},
		"typescript":         {"s.ts", "enum T { X = 'x' }\nexport function onMessage(e: unknown): object { return tag(T.X as string) }\nexport const mapToCRM = <A,>(a?: A) => ({a: 1} satisfies object)", both},
		"newer syntax":       {"s.js", "class A { #x = 'x'; static { this.y = 1 } get x() { return this.#x } }\nexport function onMessage() { let t; t ??= new A().x; return tag(t?.trim()) }\nexport const mapToCRM = () => ({ a: 1_0 / 10 })", both},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, script.Options{})
			v := load(t, e, "shop", test.file, test.code)
			if got := strings.Join(v.Hooks.Names(), " "); got != test.hooks {
				t.Errorf("hooks %q, want %q", got, test.hooks)
			}
			d := decide(t, e, "shop", call(t, "hi"))[0]
			if d.Err != nil {
				t.Fatal(d.Err)
			}
			if strings.Contains(test.hooks, "onMessage") != (len(d.Actions) == 1 && d.Actions[0].Tag == "x") {
				t.Errorf("actions %v", d.Actions)
			}
			if strings.Contains(test.hooks, "mapToCRM") != (d.Fields["a"] == 1.0) {
				t.Errorf("fields %v", d.Fields)
			}
		})
	}
}

func TestEngine_RunsOnlyTheHooksAskedFor(t *testing.T) {
	e := start(t, script.Options{})
	load(t, e, "shop", "s.js", "export const onMessage = () => tag('x'), mapToCRM = () => ({a: 1})")
	onlyMap, neither := call(t, ""), call(t, "")
	onlyMap.Hooks = script.MapToCRM
	neither.Hooks = 0
	ds := decide(t, e, "shop", onlyMap, neither)
	if len(ds[0].Actions) != 0 || len(ds[0].Fields) != 1 || len(ds[1].Actions) != 0 || ds[1].Fields != nil {
		t.Errorf("%+v", ds)
	}
}

func TestEngine_KeepsTheFieldsOfAMessageThatFails(t *testing.T) {
	e := start(t, script.Options{})
	load(t, e, "shop", "s.ts", `
interface Row { n: number }
export function onMessage(event: any): never {
  const row: Row = { n: 1 };
  throw new RangeError("no rule for " + event.contact.phone + "\n" + row.n);
}
export const mapToCRM = () => ({ a: 1 });`)
	d := decide(t, e, "shop", call(t, "hi"))[0]
	if d.Err == nil || d.Err.Code != core.CodeInvalid || d.Line != "s.ts:5" {
		t.Fatalf("error %v, line %q", d.Err, d.Line)
	}
	if want := "s.ts:5: RangeError: no rule for …23 1"; d.Err.Message != want {
		t.Errorf("message %q, want %q: no phone numbers, one line", d.Err.Message, want)
	}
	if d.Fields["a"] != 1.0 || d.Actions != nil {
		t.Errorf("fields %v, actions %v", d.Fields, d.Actions)
	}
}

func TestEngine_BoundsTheConsole(t *testing.T) {
	e := start(t, script.Options{})
	load(t, e, "shop", "s.js", `export function onMessage() {
  console.error("x".repeat(10000)); console.warn(null, undefined, [1, { a: "b" }], new Error("e"), Symbol("s"), 7n, () => 1);
  for (let i = 0; i < 1000; i++) console.log(i);
}`)
	log := decide(t, e, "shop", call(t, "hi"))[0].Log
	if len(log) != script.MaxLog+1 || len(log[0]) > script.MaxLogLine+5 || log[19] != "17" || !strings.Contains(log[20], "not kept") {
		t.Errorf("%d lines, the first of %d bytes: %q", len(log), len(log[0]), log)
	}
	if want := `null undefined [1,{"a":"b"}] Error: e s 7 [a function]`; log[1] != want {
		t.Errorf("line %q, want %q", log[1], want)
	}
}

func TestEngine_DecidesAnyNumberOfCallsInOrder(t *testing.T) {
	e := start(t, script.Options{})
	load(t, e, "shop", "s.js", `export function onMessage(e) { return e.message.text === "throw" ? nothing() : reply(e.message.text.slice(0, 50)) }`)
	var calls []script.Call
	var want []string
	for i := range 200 {
		text := fmt.Sprint("message ", i)
		switch {
		case i == 70:
			text = "throw"
		case i == 71:
			text = strings.Repeat("x", script.MaxInput)
		case i%2 == 0:
			text += strings.Repeat("y", 100_000) // more than a frame holds
		}
		calls = append(calls, call(t, text))
		want = append(want, text[:min(len(text), 50)])
	}
	want[70] = "invalid: s.js:1: ReferenceError: nothing is not defined"
	want[71] = "invalid: the event and its context are larger than 256 KiB"
	var got []string
	for _, d := range decide(t, e, "shop", calls...) {
		if d.Err != nil {
			got = append(got, outcome(d))
		} else {
			got = append(got, d.Actions[0].Text)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decisions (-want +got):\n%s", diff)
	}
}

func TestEngine_HasNoDecisionWithoutAScript(t *testing.T) {
	e := start(t, script.Options{})
	if d := decide(t, e, "nobody", call(t, "hi"))[0]; core.CodeOf(d.Err) != core.CodeUnavailable {
		t.Errorf("no tenant: %v", d.Err)
	}
	load(t, e, "shop", "s.js", "export function onMessage() {}")
	e.Unload("shop")
	if d := decide(t, e, "shop", call(t, "hi"))[0]; core.CodeOf(d.Err) != core.CodeUnavailable {
		t.Errorf("unloaded: %v", d.Err)
	}
	if v, ok := e.Version("shop"); ok {
		t.Errorf("unloaded: version %+v", v)
	}
}

func TestEngine_GoesOnWithTheOldVersionWhenTheNewIsBroken(t *testing.T) {
	e := start(t, script.Options{})
	old := load(t, e, "shop", "s.js", "export function onMessage() { return tag('old') }")
	_, err := e.Load(t.Context(), "shop", script.Source{Name: "s.js", Code: []byte("export function onMessage() {\n  return tag(;\n}")})
	if core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), "s.js:2:14: ") {
		t.Errorf("broken: %v", err)
	}
	if v, ok := e.Version("shop"); !ok || v.Hash != old.Hash {
		t.Errorf("version %+v, want that of before", v)
	}
	if d := decide(t, e, "shop", call(t, "hi"))[0]; d.Err != nil || d.Actions[0].Tag != "old" || d.Version != old.Hash {
		t.Errorf("decision %+v", d)
	}
}

func TestEngine_ChangesVersionsBetweenCallsNotWithin(t *testing.T) {
	e := start(t, script.Options{Workers: 2})
	source := func(i int) script.Source {
		return script.Source{Name: "s.js", Code: fmt.Appendf(nil,
			"export function onMessage() { return tag('%d') }\nexport function mapToCRM() { return {v: '%d'} }", i, i)}
	}
	hashes := map[string]string{}
	v, err := e.Load(t.Context(), "shop", source(0))
	if err != nil {
		t.Fatal(err)
	}
	hashes[v.Hash] = "0"
	stop := make(chan struct{})
	var seen [2][]script.Decision
	var wg sync.WaitGroup
	for i := range seen {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					seen[i] = append(seen[i], e.Decide(context.Background(), "shop", []script.Call{call(t, "a"), call(t, "b"), call(t, "c")})...)
				}
			}
		})
	}
	for i := 1; i < 10; i++ {
		v, err := e.Load(t.Context(), "shop", source(i))
		if err != nil {
			t.Fatal(err)
		}
		hashes[v.Hash] = fmt.Sprint(i)
		if d := decide(t, e, "shop", call(t, "x"))[0]; d.Version != v.Hash {
			t.Errorf("after Load of %d: version %s decided", i, hashes[d.Version])
		}
	}
	close(stop)
	wg.Wait()
	for _, d := range slices.Concat(seen[0], seen[1]) {
		if d.Err != nil {
			t.Fatal(d.Err)
		}
		if v := hashes[d.Version]; v == "" || d.Actions[0].Tag != v || d.Fields["v"] != v {
			t.Fatalf("version %q decided %v %v", v, d.Actions, d.Fields)
		}
	}
}

func TestEngine_FinishesWithTheVersionThatBegan(t *testing.T) {
	e := start(t, script.Options{Workers: 2})
	load := func(tag string) string {
		t.Helper()
		v, err := e.Load(t.Context(), "shop", script.Source{Name: "s.js", Code: fmt.Appendf(nil, "export function onMessage() { return tag('%s') }", tag)})
		if err != nil {
			t.Fatal(err)
		}
		return v.Hash
	}
	ask := func(versions ...string) (tags []string) {
		t.Helper()
		calls := make([]script.Call, len(versions))
		for i, v := range versions {
			calls[i] = call(t, "x")
			calls[i].Version = v
		}
		for _, d := range e.Decide(t.Context(), "shop", calls) {
			if d.Err != nil {
				t.Fatal(d.Err)
			}
			tags = append(tags, d.Actions[0].Tag)
		}
		return tags
	}
	first := load("1")
	second := load("2")
	if got := ask("", first, first, second, "", "unknown"); !slices.Equal(got, []string{"2", "1", "1", "2", "2", "2"}) {
		t.Errorf("decided by %q", got)
	}
	load("2") // saved anew: nothing changes
	if got := ask(first, ""); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("after the same again: decided by %q", got)
	}
	load("3")
	if got := ask(first, second); !slices.Equal(got, []string{"3", "2"}) {
		t.Errorf("after a third: decided by %q", got)
	}
}

func TestEngine_ChecksAScriptWithoutRunning(t *testing.T) {
	e := script.New(script.Options{Command: worker()})
	if err := e.Check(t.Context(), script.Source{Name: "s.ts", Code: []byte("export function onMessage(e: any) {}")}); err != nil {
		t.Error(err)
	}
	err := e.Check(t.Context(), script.Source{Name: "s.ts", Code: []byte("export function onMessage(e: any) {")})
	if core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), "s.ts:1:") {
		t.Errorf("broken: %v", err)
	}
	e = script.New(script.Options{Command: []string{"/no/such/program"}})
	if err := e.Check(t.Context(), script.Source{Name: "s.ts"}); core.CodeOf(err) != core.CodeUnavailable {
		t.Errorf("no worker: %v", err)
	}
}
