//go:build linux

package script_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core/script"
)

// about asks one hook about an event.
func about(hook script.Hooks, event string) script.Call {
	return script.Call{Event: []byte(event), Context: []byte(`{"contact":{"name":"Zoë","fields":{"stage":"lead"}},"conversation":{}}`), Hooks: hook, Now: now}
}

func TestHooks_EachAnswersInItsOwnWay(t *testing.T) {
	e := start(t, script.Options{})
	v := load(t, e, "shop", "script.js", `
export function onMessage(e) { return reply("message", { confidence: 0.25 }); }
export function onStatus(e) { return e.status.value === "failed" && tag("unreachable") || undefined; }
export function onTimer(e, c) { return [reply("still there, " + c.contact.name + "?"), timer(e.timer.name, { after: "1d12h", data: { n: e.timer.data.n + 1 } }), cancelTimer("other")]; }
export function onContactChange(e, c) { return [setField("seen", c.contact.fields.stage), consent({ state: "withdrawn", evidence: "CRM box" })]; }
export function mapToCRM(e) { return { text: e.message.text }; }
export function mapFromCRM(e) { return { fields: { stage: e.fields.lifecycle, old: null }, tags: ["crm"], untags: ["new"] }; }
export function route(e) { return e.escalation.topic === "complaint" ? { team: "care", owner: "ana", priority: "high", deadline: "1h30m" } : e.escalation.topic; }
export function beforeSend(e) { if (e.message.text.includes("price")) return "no prices in writing"; return e.message.text !== "stop"; }
`)
	if diff := cmp.Diff("onMessage, onStatus, onTimer, onContactChange, mapToCRM, mapFromCRM, route, beforeSend", v.Hooks.String()); diff != "" {
		t.Error(diff)
	}
	quarter := 0.25
	for _, test := range []struct {
		name string
		call script.Call
		want script.Decision
	}{
		{"message", about(script.OnMessage, `{"message":{"text":"hi"}}`),
			script.Decision{Actions: []script.Action{{Type: "reply", Text: "message", Confidence: &quarter, Line: "script.js:2"}}}},
		{"status", about(script.OnStatus, `{"status":{"value":"failed"}}`),
			script.Decision{Actions: []script.Action{{Type: "tag", Tag: "unreachable", Line: "script.js:3"}}}},
		{"status of no interest", about(script.OnStatus, `{"status":{"value":"read"}}`), script.Decision{}},
		{"timer", about(script.OnTimer, `{"timer":{"name":"remind","data":{"n":1}}}`),
			script.Decision{Actions: []script.Action{
				{Type: "reply", Text: "still there, Zoë?", Line: "script.js:4"},
				{Type: "timer", Name: "remind", After: 36 * time.Hour, Data: []byte(`{"n":2}`), Line: "script.js:4"},
				{Type: "cancelTimer", Name: "other", Line: "script.js:4"},
			}}},
		{"change", about(script.OnContactChange, `{}`),
			script.Decision{Actions: []script.Action{
				{Type: "setField", Name: "seen", Value: "lead", Line: "script.js:5"},
				{Type: "consent", Level: "marketing", State: "withdrawn", Evidence: "CRM box", Line: "script.js:5"},
			}}},
		{"to CRM", about(script.MapToCRM, `{"message":{"text":"hi"}}`), script.Decision{Fields: map[string]any{"text": "hi"}}},
		{"from CRM", about(script.MapFromCRM, `{"fields":{"lifecycle":"customer"}}`),
			script.Decision{Changes: []script.Action{
				{Type: "setField", Name: "old"}, {Type: "setField", Name: "stage", Value: "customer"},
				{Type: "untag", Tag: "new"}, {Type: "tag", Tag: "crm"},
			}}},
		{"route to a person", about(script.Route, `{"escalation":{"topic":"complaint"}}`),
			script.Decision{Route: &script.Routing{Team: "care", Owner: "ana", Priority: "high", Deadline: 90 * time.Minute}}},
		{"route to a team", about(script.Route, `{"escalation":{"topic":"sales"}}`), script.Decision{Route: &script.Routing{Team: "sales"}}},
		{"route to nobody", about(script.Route, `{"escalation":{}}`), script.Decision{}},
		{"let go", about(script.BeforeSend, `{"message":{"text":"hi"}}`), script.Decision{}},
		{"veto", about(script.BeforeSend, `{"message":{"text":"stop"}}`), script.Decision{Veto: "no reason given"}},
		{"veto with a reason", about(script.BeforeSend, `{"message":{"text":"the price"}}`), script.Decision{Veto: "no prices in writing"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := decide(t, e, "shop", test.call)[0]
			test.want.Version, test.want.Ran, test.want.Waited, test.want.Answer = v.Hash, got.Ran, got.Waited, got.Answer
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHooks_AreToldWhatTheyMayNotReturn(t *testing.T) {
	e := start(t, script.Options{})
	for _, test := range []struct {
		hook script.Hooks
		body string
		want string
	}{
		{script.OnMessage, `return reply("hi", { confidence: 2 })`, "confidence is a number from 0 to 1"},
		{script.OnMessage, `return reply("hi", { confidenze: 1 })`, `no property "confidenze"`},
		{script.OnMessage, `return reply({ template: { name: "a", language: "en", params: [1] } })`, "params are texts"},
		{script.OnMessage, `return reply({ template: { name: "a", language: "en", params: ["1"], components: [] } })`, "not both"},
		{script.OnMessage, `return timer("t", { after: "soon" })`, `after is a time such as "30m"`},
		{script.OnMessage, `return timer("t", {})`, `after is missing: a time such as "30m"`},
		{script.OnMessage, `return timer("t", { after: -1 })`, `after is a time such as "30m"`},
		{script.OnMessage, `return timer("t", { after: "400d" })`, "more than a year"},
		{script.OnMessage, `return timer("", { after: 1 })`, "name is missing"},
		{script.OnMessage, `return timer("t", { after: 1, data: "x".repeat(5000) })`, "data has 5002 bytes"},
		{script.OnMessage, `return timer("t")`, "wants a name and {after, data}"},
		{script.OnMessage, `return cancelTimer(7)`, "wants the name of a timer"},
		{script.OnMessage, `return consent({ state: "yes" })`, "state is granted or withdrawn"},
		{script.OnMessage, `return consent({ state: "granted", level: "transactional" })`, "needs no consent"},
		{script.OnMessage, `return consent("granted")`, "wants {level, state, evidence}"},
		{script.OnMessage, `return escalate({ topic: "x".repeat(101) })`, "topic has 101 characters"},
		{script.OnStatus, `return "hi"`, "onStatus returned what is no list of actions|action 1"},
		{script.OnTimer, `return {}`, "action 1: not an action"},
		{script.MapFromCRM, `return []`, "mapFromCRM returns {fields, tags, untags}"},
		{script.MapFromCRM, `return { field: {} }`, `there is no property "field"`},
		{script.MapFromCRM, `return { fields: { a: {} } }`, `field "a": value is a string`},
		{script.MapFromCRM, `return { tags: [""] }`, "tag is missing"},
		{script.Route, `return { teams: "a" }`, `there is no property "teams"`},
		{script.Route, `return { deadline: "soon" }`, "deadline"},
		{script.Route, `return 7`, "route returns a team or {team, owner, priority, deadline}"},
		{script.Route, `return { priority: "urgent" }`, "priority is low, normal or high"},
		{script.BeforeSend, `return ""`, "and no empty text"},
		{script.BeforeSend, `return {}`, "and no object"},
		{script.BeforeSend, `return Promise.resolve(true)`, "beforeSend returned a promise: a hook answers at once"},
	} {
		name := test.hook.String()
		load(t, e, "shop", "script.js", "export function "+name+"() { "+test.body+" }")
		got := outcome(decide(t, e, "shop", about(test.hook, `{}`))[0])
		if !endsAs(got, "invalid: "+strings.NewReplacer("{", `\{`, "}", `\}`, "[", `\[`).Replace(test.want)) {
			t.Errorf("%s: %s\nended with %q\nwant       %q", name, test.body, got, test.want)
		}
	}
}

func TestHooks_AsyncOnesAreRefusedWithTheReason(t *testing.T) {
	e := start(t, script.Options{})
	for name, code := range map[string]string{
		"declared": "export async function onMessage() {}",
		"variable": "\nconst answer = async () => {};\nexport { answer as onMessage };",
		"alias":    "\nconst table = { async answer() {} };\nexport const onMessage = table.answer;",
		"called":   "\nclass Shop { async ask() { return 1; } }\nexport function onMessage() { return new Shop().ask(); }",
		"timer":    "\nexport const onTimer = async function () {};",
	} {
		_, err := e.Load(t.Context(), "shop", script.Source{Name: "s.js", Code: []byte(code)})
		line := "s.js:2: "
		if name == "declared" {
			line = "s.js:1: "
		}
		if err == nil || !strings.Contains(err.Error(), line+"async functions cannot be used: a hook answers at once") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := e.Load(t.Context(), "shop", script.Source{Name: "s.js", Code: []byte("export function* onMessage() {}")}); err == nil ||
		!strings.Contains(err.Error(), "onMessage is a generator") {
		t.Errorf("a generator: %v", err)
	}
}

func TestHooks_TemplatesTakeTheirParametersInShort(t *testing.T) {
	e := start(t, script.Options{})
	for params, want := range map[string]string{
		`["4711", "Ana"]`:             `[{"type":"body","parameters":[{"type":"text","text":"4711"},{"type":"text","text":"Ana"}]}]`,
		`{ order: "4711", at: "now"}`: `[{"type":"body","parameters":[{"type":"text","parameter_name":"at","text":"now"},{"type":"text","parameter_name":"order","text":"4711"}]}]`,
		`[]`:                          ``,
	} {
		load(t, e, "shop", "s.js", `export function onMessage() { return reply({ template: { name: "a", language: "en", params: `+params+` } }) }`)
		d := decide(t, e, "shop", about(script.OnMessage, `{}`))[0]
		if d.Err != nil || len(d.Actions) != 1 || string(d.Actions[0].Message.Template.Components) != want {
			t.Errorf("%s: %+v", params, d)
		}
	}
}

func TestHooks_SeeEventsOfAnyKind(t *testing.T) {
	e := start(t, script.Options{})
	load(t, e, "shop", "script.js", `export function onTimer(e) { return setField("data", JSON.stringify(e.timer)) }`)
	d := decide(t, e, "shop", about(script.OnTimer|script.OnMessage, `{"timer":{"name":"a","data":[1,{"b":null}]}}`))[0]
	if d.Err != nil || len(d.Actions) != 1 || !json.Valid([]byte(d.Actions[0].Value)) || d.Actions[0].Value != `{"name":"a","data":[1,{"b":null}]}` {
		t.Errorf("%+v", d)
	}
}
