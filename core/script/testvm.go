package script

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dop251/goja"
	"github.com/dop251/goja/parser"

	"github.com/wabridge/wabridge/core"
)

// testLibrary is what a test file finds beside the language.
//
//go:embed testing.js
var testLibrary string

const (
	maxTests    = 1000
	maxFailures = 20   // of one test
	maxFailure  = 2000 // bytes of a text in one
)

// testTime is what the clock of a test file says, and where its conversations
// begin; see testing.js.
var testTime = time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)

// suite runs the test files of one script, in a worker.
type suite struct {
	script *compiled
	source Source
	clock  *clock // of the script
	own    *clock // of the test files
	base   string // JSON: what every context begins with
	report TestReport
}

// file runs the tests of one file, in a virtual machine of its own. The script
// runs in a fresh one for each message, as it does in the bridge.
func (s *suite) file(src Source) error {
	f, err := compileTests(src)
	if err != nil {
		return err
	}
	r := &testRun{suite: s, c: f, vm: goja.New()}
	r.vm.SetMaxCallStackSize(maxCalls)
	r.vm.SetTimeSource(func() time.Time { return testTime })
	r.vm.SetRandSource(func() float64 { return 0.5 })
	s.own.mark()
	s.own.start(r.vm)
	defer s.own.stop()
	err = try(func() error { return r.all() })
	if interrupted, ok := errors.AsType[*goja.InterruptedError](err); ok {
		return fmt.Errorf("%s: the tests took longer than %v", or(f.where(interrupted.Stack()), src.Name), interrupted.Value())
	}
	if err != nil {
		return errors.New(f.tell(err))
	}
	return nil
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// compileTests makes a program of a test file. It returns the list of its tests
// when it is called with what is native.
func compileTests(src Source) (*compiled, error) {
	code, mapping, _, err := (&bundler{src: src}).bundle()
	if err != nil {
		return nil, err
	}
	c := &compiled{name: src.Name}
	var text strings.Builder
	text.WriteString(`(function (__wabridge_decide, __wabridge_fail, __wabridge_line, __wabridge_base, console) { "use strict";` + "\n")
	text.WriteString(testLibrary)
	text.WriteString("(function () {\n")
	c.shift = strings.Count(text.String(), "\n")
	text.WriteString(code)
	text.WriteString("\n})();\nreturn __wabridge_tests.map(t => ({ name: t.name, line: t.line, run: () => t.run(new __wabridge_Test(__wabridge_base())) })); })")
	if c.lines, err = parseSourceMap(mapping); err != nil {
		return nil, fmt.Errorf("%s: source map: %w", src.Name, err)
	}
	tree, err := parser.ParseFile(nil, src.Name, text.String(), 0, parser.WithDisableSourceMaps)
	if err != nil {
		return nil, c.explain(err)
	}
	if c.program, err = goja.CompileAST(tree, false); err != nil {
		return nil, c.explain(err)
	}
	return c, nil
}

// tell says what a test file threw, and where.
func (c *compiled) tell(err error) string {
	var exception *goja.Exception
	if !errors.As(err, &exception) {
		return clip(err.Error(), maxFailure)
	}
	message := "threw what cannot be shown"
	_ = try(func() error { message = exception.Value().String(); return nil })
	return clip(or(c.where(exception.Stack()), c.name)+": "+message, maxFailure)
}

// testRun is one test file at work.
type testRun struct {
	*suite
	c    *compiled
	vm   *goja.Runtime
	test *TestResult
}

func (r *testRun) all() error {
	value, err := r.vm.RunProgram(r.c.program)
	if err != nil {
		return err
	}
	outer, _ := goja.AssertFunction(value)
	console := r.vm.NewObject()
	for _, name := range []string{"log", "info", "warn", "error", "debug"} {
		if err := console.Set(name, func(goja.FunctionCall) goja.Value { return goja.Undefined() }); err != nil {
			return err
		}
	}
	list, err := outer(goja.Undefined(), r.vm.ToValue(r.decide), r.vm.ToValue(r.fail), r.vm.ToValue(r.line), r.vm.ToValue(r.start), console)
	if err != nil {
		return err
	}
	tests := list.(*goja.Object)
	n := int(tests.Get("length").ToInteger())
	if n == 0 {
		return fmt.Errorf("%s: there is no test: write test(\"greets\", t => { t.message(\"hello\").expect({ reply: /hi/ }) })", r.c.name)
	}
	if n+len(r.report.Tests) > maxTests {
		return fmt.Errorf("%s: more than %d tests", r.c.name, maxTests)
	}
	for i := range n {
		t := tests.Get(fmt.Sprint(i)).(*goja.Object)
		r.report.Tests = append(r.report.Tests, TestResult{
			File: r.c.name, Name: clip(t.Get("name").String(), MaxName), Line: t.Get("line").String(),
		})
		r.test = &r.report.Tests[len(r.report.Tests)-1]
		run, _ := goja.AssertFunction(t.Get("run"))
		began := time.Now()
		v, err := run(goja.Undefined())
		r.test.Took = time.Since(began)
		var interrupted *goja.InterruptedError
		switch {
		case errors.As(err, &interrupted):
			return err
		case err != nil:
			r.wrong(TestFailure{Line: r.c.where(stackOf(err)), Text: r.c.tell(err)})
		case isThenable(v):
			r.wrong(TestFailure{Text: "the test is async: tests are plain functions, write no async and no await"})
		}
	}
	return nil
}

func isThenable(v goja.Value) bool {
	o, ok := v.(*goja.Object)
	return ok && isPromise(o)
}

func stackOf(err error) []goja.StackFrame {
	if exception, ok := errors.AsType[*goja.Exception](err); ok {
		return exception.Stack()
	}
	return nil
}

func (r *testRun) wrong(f TestFailure) {
	if len(r.test.Failures) < maxFailures {
		r.test.Failures = append(r.test.Failures, f)
	}
}

// start gives a test what every context begins with.
func (r *testRun) start(goja.FunctionCall) goja.Value {
	parse, _ := goja.AssertFunction(r.vm.GlobalObject().Get("JSON").(*goja.Object).Get("parse"))
	v, err := parse(goja.Undefined(), r.vm.ToValue(r.base))
	if err != nil {
		panic(r.vm.NewTypeError(err.Error()))
	}
	return v
}

// line is where in the test file the caller's caller is.
func (r *testRun) line(goja.FunctionCall) goja.Value {
	return r.vm.ToValue(r.c.where(r.vm.CaptureCallStack(8, nil)))
}

// HooksFor are those that an event of a kind is put to.
func HooksFor(kind core.Kind) Hooks {
	switch kind {
	case core.KindMessageReceived:
		return OnMessage | MapToCRM
	case core.KindMessageStatus:
		return OnStatus
	case core.KindContactChanged:
		return OnContactChange
	case core.KindMessageSend:
		return BeforeSend
	case core.KindEscalation:
		return Route
	case core.KindTimer:
		return OnTimer
	}
	return 0
}

// decide runs the script for an event and returns what it decided, as the bridge
// would read it.
func (r *testRun) decide(in goja.FunctionCall) goja.Value {
	event, now := in.Argument(0).String(), in.Argument(2).ToInteger()
	var e struct {
		Kind core.Kind `json:"kind"`
	}
	_ = json.Unmarshal([]byte(event), &e) // it was stringified a moment ago
	hooks := HooksFor(e.Kind)
	if hooks == 0 {
		panic(r.vm.NewTypeError("no hook is asked about an event of the kind " + quote(string(e.Kind))))
	}
	c := call{event: event, context: in.Argument(1).String(), hooks: hooks, now: time.UnixMilli(now).UTC(), seed: 1}
	if len(c.event)+len(c.context) > MaxInput {
		panic(r.vm.NewTypeError(fmt.Sprintf("the event and its context are larger than %d KiB", MaxInput>>10)))
	}
	var res result
	r.clock.mark()
	r.script.do(&c, r.clock, &res)
	res.message = oneLine(res.message)
	d := decision(&program{Source: r.source}, hooks, res)
	out := struct {
		Actions json.RawMessage `json:"actions"`
		Fields  map[string]any  `json:"fields"`
		Veto    *string         `json:"veto"`
		Route   any             `json:"route"`
		Error   *string         `json:"error"`
		Log     []string        `json:"log"`
	}{Actions: json.RawMessage("[]"), Fields: d.Fields, Log: append([]string{}, d.Log...)}
	switch {
	case d.Err != nil:
		text := d.Err.Message
		out.Error = &text
	case d.Veto != "":
		out.Veto = &d.Veto
	case d.Route != nil:
		out.Route = map[string]string{"team": d.Route.Team, "owner": d.Route.Owner, "priority": d.Route.Priority}
	case d.Answer != "" && hooks&actionHooks != 0:
		out.Actions = json.RawMessage(d.Answer)
	}
	data, err := json.Marshal(out)
	if err != nil {
		panic(r.vm.NewTypeError(err.Error()))
	}
	return r.vm.ToValue(string(data))
}

// fail takes what an expectation found wrong.
func (r *testRun) fail(in goja.FunctionCall) goja.Value {
	line := in.Argument(2).String()
	list, _ := in.Argument(0).(*goja.Object)
	if list == nil {
		return goja.Undefined()
	}
	var decided []Action
	if data, err := in.Argument(1).ToObject(r.vm).MarshalJSON(); err == nil {
		decided, _ = ReadActions(data)
	}
	for i := range list.Get("length").ToInteger() {
		w := list.Get(fmt.Sprint(i)).(*goja.Object)
		f := TestFailure{
			Line: line, What: clip(w.Get("what").String(), MaxName),
			Want: clip(w.Get("want").String(), maxFailure), Got: clip(w.Get("got").String(), maxFailure),
		}
		for _, a := range decided {
			f.Decided = append(f.Decided, strings.TrimSpace(a.Describe()+" "+a.Line))
		}
		r.wrong(f)
	}
	return goja.Undefined()
}
