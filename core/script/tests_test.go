//go:build linux

package script_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
)

const tested = `export function onMessage(event, context) {
  const text = event.message.text;
  console.log("got", text);
  if (/order \d+/.test(text)) {
    return [reply("Noted, " + context.contact.name + "."), tag("order"), setField("n", 4711)];
  } else if (/refund/.test(text))
    return escalate({ reason: "refund", team: context.settings.team });
  if (text === "broken") event.nothing.there;
  if (context.conversation.mode === "human") return;
  if (context.contact.tags?.includes("order")) return reply("again");
}
export function beforeSend(event) {
  return /price/.test(event.message.text) ? "no prices" : true;
}
export const mapToCRM = (event) => ({ words: event.message.text.split(" ").length });
`

func runTests(t *testing.T, code, tests string) (script.TestReport, error) {
	t.Helper()
	e := start(t, script.Options{})
	return e.Test(t.Context(), script.Source{Name: "script.js", Code: []byte(code)},
		[]script.Source{{Name: "script.test.ts", Code: []byte(tests)}},
		[]byte(`{"contact":{"id":"c1","name":"Ana"},"conversation":{"id":"1:c1","new":true,"mode":"bot"},"tenant":{"id":"demo","name":"Demo"},"settings":{"team":"sales"}}`))
}

func TestTests_SayWhatPassesAndWhatDoesNot(t *testing.T) {
	report, err := runTests(t, tested, `
test("notes an order", (t: any) => {
  t.message("order 4711").expect({ reply: /^Noted, Ana/, tags: ["order"], fields: { n: 4711 }, crm: { words: 2 }, escalate: false, log: /got order/ });
  t.message("hello").expect({ reply: "again" });
});
test("hands over", (t: any) => {
  t.message("a refund").expect({ escalate: { reason: /ref/, team: "sales" }, reply: false, tags: [] });
  t.message("hello").expect({ nothing: true });
});
test("vetoes", (t: any) => {
  t.event({ kind: "message.send", message: { text: "the price" } }).expect({ veto: /prices/ });
  t.event({ kind: "message.send", message: { text: "good day" } }).expect({ veto: false });
});
test("fails as it should", (t: any) => t.message("broken").expect({ error: /script.js:8/ }));
test("is wrong", (t: any) => {
  t.message("order 1", { contact: { name: "Bo" } })
    .expect({ reply: /Ana/, tags: ["other"] });
});
test("goes wrong", (t: any) => t.message("hi").expects());
test("asks for what is not there", (t: any) => t.message("hi").expect({ replies: [] }));
test("did not expect this", (t: any) => t.message("broken").expect({ reply: false }));
`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range report.Tests {
		if len(r.Failures) == 0 {
			got = append(got, "ok "+r.Name+" "+r.Line)
		}
		for _, f := range r.Failures {
			got = append(got, strings.Join([]string{"FAIL", r.Name, f.Line, f.What, f.Want, f.Got, f.Text, strings.Join(f.Decided, ", ")}, "|"))
		}
	}
	want := []string{
		"ok notes an order script.test.ts:2",
		"ok hands over script.test.ts:6",
		"ok vetoes script.test.ts:10",
		"ok fails as it should script.test.ts:14",
		`FAIL|is wrong|script.test.ts:17|reply|/Ana/|["Noted, Bo."]||reply "Noted, Bo." script.js:5, tag "order" script.js:5, setField "n" = "4711" script.js:5`,
		`FAIL|is wrong|script.test.ts:17|tags|["other"]|["order"]||reply "Noted, Bo." script.js:5, tag "order" script.js:5, setField "n" = "4711" script.js:5`,
		"FAIL|goes wrong|script.test.ts:19||||script.test.ts:19: TypeError: Object has no member 'expects'|",
		"FAIL|asks for what is not there|script.test.ts:20||||script.test.ts:20: TypeError: expect: there is no replies: " +
			"there are reply, tags, untags, fields, crm, escalate, timers, veto, route, error, log and nothing|",
		`FAIL|did not expect this|script.test.ts:21|error|null|"script.js:8: TypeError: Cannot read property 'there' of undefined"||`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]script.Coverage{{File: "script.js", Lines: 11}}, report.Coverage); diff != "" {
		t.Errorf("coverage (-want +got)\n%s", diff)
	}
}

func TestTests_SayWhichLinesDidNotRun(t *testing.T) {
	report, err := runTests(t, tested, `test("greets", (t: any) => t.message("hi").expect({}))`)
	if err != nil {
		t.Fatal(err)
	}
	want := []script.Coverage{{File: "script.js", Lines: 11, Missed: []int{5, 7, 8, 9, 10, 13}}}
	if diff := cmp.Diff(want, report.Coverage); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTests_AreContainedAsScriptsAre(t *testing.T) {
	for _, tc := range []struct{ name, code, tests, want string }{
		{"broken test file", tested, "test('x', t => {", "script.test.ts:1:"},
		{"broken script", "export function onMessage() {", "test('x', t => {})", "script.js:1:"},
		{"no tests", tested, "const x = 1", "there is no test"},
		{"throws at the top", tested, "\nnothing.there", "script.test.ts:2: ReferenceError"},
		{"memory", tested, "const a: any[] = []; for (;;) a.push(new Array(1e6).fill(1))", "memory|failed to allocate"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := runTests(t, tc.code, tc.tests)
			if core.CodeOf(err) != core.CodeInvalid || !regexp.MustCompile(tc.want).MatchString(err.Error()) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestTests_ALoopOfTheScriptIsOneFailure(t *testing.T) {
	report, err := runTests(t, "export function onMessage(e) { for (;;) ; }",
		`test("loops", (t: any) => t.message("x").expect({ error: /took longer than/ })); test("next", (t: any) => {});`)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Tests {
		if len(r.Failures) > 0 {
			t.Errorf("%+v", r)
		}
	}
}
