package script

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/dop251/goja"
	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/file"
	"github.com/dop251/goja/parser"

	"github.com/wabridge/wabridge/core/table"
)

// prelude holds what scripts find beside the language, by the name that they
// use it by. What a script does not mention is left out, because it would be
// made anew for every event. host is the one native function: see vm.host.
var prelude = []struct{ name, code string }{
	{"reply", `function reply(m, o) {
if (typeof m === "string") {
if (o === undefined) return { type: "reply", text: m, line: host(hostLine) };
m = { text: m }; }
if (m === null || typeof m !== "object") throw new TypeError("reply: wants a text, {template}, {interactive} or {media}");
return { ...m, ...o, type: "reply", line: host(hostLine) }; }`},
	{"untag", `function untag(t) {
if (typeof t !== "string") throw new TypeError("untag: wants the name of a tag");
return { type: "untag", tag: t, line: host(hostLine) }; }`},
	{"tag", `function tag(t) {
if (typeof t !== "string") throw new TypeError("tag: wants the name of a tag");
return { type: "tag", tag: t, line: host(hostLine) }; }`},
	{"setField", `function setField(n, v) {
if (typeof n !== "string") throw new TypeError("setField: wants a name and a value");
return { type: "setField", name: n, value: v === undefined ? null : v, line: host(hostLine) }; }`},
	{"escalate", `function escalate(e) {
if (typeof e === "string") e = { reason: e };
if (e !== undefined && (e === null || typeof e !== "object")) throw new TypeError("escalate: wants {topic, reason, team, priority, note}");
return { ...e, type: "escalate", line: host(hostLine) }; }`},
	{"timer", `function timer(n, o) {
if (typeof n !== "string" || o === null || typeof o !== "object") throw new TypeError("timer: wants a name and {after, data}");
return { type: "timer", name: n, after: o.after, data: o.data, line: host(hostLine) }; }`},
	{"cancelTimer", `function cancelTimer(n) {
if (typeof n !== "string") throw new TypeError("cancelTimer: wants the name of a timer");
return { type: "cancelTimer", name: n, line: host(hostLine) }; }`},
	{"consent", `function consent(c) {
if (c === null || typeof c !== "object") throw new TypeError("consent: wants {level, state, evidence}");
return { ...c, type: "consent", line: host(hostLine) }; }`},
	{"console", `const console = (l => ({ log: l, info: l, warn: l, error: l, debug: l }))((...a) => { host(hostLog, a); });`},
}

// compiled is a script that is ready to run, any number of times.
type compiled struct {
	name    string
	program *goja.Program
	// main is the script when it is a table, and tables are those that it imports.
	main   *tableModule
	tables []*tableModule
	// phrases are those that the imported tables of phrases look for.
	phrases *phraseBook
	// shift is how many lines the program has before the bundled code, and
	// lines maps the bundled code to the author's.
	shift int
	lines *sourceMap
	// host says that the script uses the native function, global that it may use
	// eval, Function or the global object by name.
	host, global bool
	// harden says that the script has async or generator functions: their
	// constructors can make code of strings, too.
	harden bool
	// cover counts what runs, in tests; nil otherwise.
	cover *cover
}

// compile makes a program of an author's files. The error is for the author:
// "script.ts:3:5: Expected …".
// In tests it counts which lines run.
func compile(src Source, tests bool) (*compiled, error) {
	if table.Is(src.Name) {
		main, err := newTableModule(src.Name, src.Code)
		if err != nil {
			return nil, err
		}
		return &compiled{name: src.Name, main: main, cover: &cover{}}, nil
	}
	b := &bundler{src: src}
	code, mapping, exports, err := b.bundle()
	if err != nil {
		return nil, err
	}
	c := &compiled{name: src.Name, tables: b.tables, phrases: b.phrases}
	for _, name := range []string{"eval", "Function", "globalThis"} {
		c.global = c.global || strings.Contains(code, name)
	}
	c.host = c.global || len(c.tables) > 0 || c.phrases != nil
	var text strings.Builder
	text.WriteString(`(function (host, hostLog, hostLine) { "use strict";` + "\n")
	for _, p := range prelude {
		if strings.Contains(code, p.name) {
			text.WriteString(p.code + "\n")
			c.host = true
		}
	}
	if tests {
		fmt.Fprintf(&text, "const %s = n => host(%d, n);\n", coverName, hostCover)
		c.host, c.cover = true, &cover{}
	}
	text.WriteString("return (function () {\n")
	c.shift = strings.Count(text.String(), "\n")
	text.WriteString(code)
	if tests {
		c.cover.last = strings.Count(text.String(), "\n") + 1
	}
	text.WriteString("\nreturn [")
	for _, hook := range hookNames {
		if local, ok := exports[hook]; ok {
			text.WriteString(local + ", ")
		} else {
			fmt.Fprintf(&text, "typeof %s === 'undefined' ? undefined : %s, ", hook, hook)
		}
	}
	text.WriteString("]; })(); })")

	if c.lines, err = parseSourceMap(mapping); err != nil {
		return nil, fmt.Errorf("%s: %w", src.Name, err)
	}
	tree, err := parser.ParseFile(nil, src.Name, text.String(), 0, parser.WithDisableSourceMaps)
	if err != nil {
		return nil, c.explain(err)
	}
	if tests {
		c.cover.instrument(c, tree)
	}
	if c.program, err = goja.CompileAST(tree, false); err != nil {
		return nil, c.explain(err)
	}
	var found functions
	found.look(reflect.ValueOf(tree))
	if found.async != 0 {
		return nil, c.at(tree.File.Position(int(found.async)-tree.File.Base()), "async functions cannot be used: "+synchronous)
	}
	c.harden = found.generator
	return c, nil
}

// explain points a mistake in the program at the author's file.
func (c *compiled) explain(err error) error {
	if list, ok := errors.AsType[parser.ErrorList](err); ok && len(list) > 0 {
		return c.at(list[0].Position, list[0].Message)
	}
	if one, ok := errors.AsType[*parser.Error](err); ok {
		return c.at(one.Position, one.Message)
	}
	if syntax, ok := errors.AsType[*goja.CompilerSyntaxError](err); ok && syntax.File != nil {
		return c.at(syntax.File.Position(syntax.Offset), syntax.Message)
	}
	return fmt.Errorf("%s: %w", c.name, err)
}

func (c *compiled) at(pos file.Position, message string) error {
	line := c.line(pos)
	if line == "" {
		line = c.name
	}
	return fmt.Errorf("%s: %s", line, message)
}

// line is where in the author's file a position of the program is: "name:12",
// or "" when it is in no line of the author's.
func (c *compiled) line(pos file.Position) string {
	file, line, ok := c.lines.find(pos.Line-c.shift, max(pos.Column-1, 0))
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// where is the innermost line of the author's in a stack.
func (c *compiled) where(stack []goja.StackFrame) string {
	for i := range stack {
		if stack[i].SrcName() != c.name {
			continue
		}
		if line := c.line(stack[i].Position()); line != "" {
			return line
		}
	}
	return ""
}

// functions are what is looked for in a program.
type functions struct {
	async     file.Idx // the first async function, or 0
	generator bool
}

// look looks at every node.
func (f *functions) look(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() || v.Type() == reflect.TypeFor[*file.File]() {
			return
		}
		if v.CanInterface() {
			switch n := v.Interface().(type) {
			case *ast.FunctionLiteral:
				f.generator = f.generator || n.Generator
				if n.Async && f.async == 0 {
					f.async = n.Function
				}
			case *ast.ArrowFunctionLiteral:
				if n.Async && f.async == 0 {
					f.async = n.Start
				}
			}
		}
		f.look(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			f.look(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			// Lists of declarations repeat what is in the bodies.
			if v.Type().Field(i).Name != "DeclarationList" {
				f.look(v.Field(i))
			}
		}
	}
}
