//go:build linux

package script_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
)

func files(pairs ...string) map[string][]byte {
	m := map[string][]byte{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = []byte(pairs[i+1])
	}
	return m
}

var modules = script.Source{
	Name: "main.ts",
	Code: []byte(`
import type { Event } from "./wabridge";
import { greet, prices } from "./lib/words.js";
import faq from "./faq.csv";
import rules from "./rules.toml";
const host = "shadows nothing", hostTable = 0;

export function onMessage(event: Event, context) {
  if (event.message.text === "throw") greet(null);
  return faq(event, context) ?? rules(event, context) ?? reply(greet(event) + prices.shoe + host);
}
`),
	Files: files(
		"lib/words.ts", "import prices from '../prices.json';\n\nexport function greet(e: any): string {\n  return 'Hi ' + e.contact.name + ' ';\n}\nexport { prices };\n",
		"prices.json", `{"shoe": 5}`,
		"faq.csv", "keywords,reply,tag,team,topic\nopening hours; öffnungszeiten,From 9 to 18.,faq;hours,,\ncomplaint,,,care,complaint\n",
		"rules.toml", "# remark\n[[row]]\nkeywords = ['bye']\nreply = 'Bye!'\n",
		"main.test.ts", "syntax error",
	),
}

func TestModules_AreOneScript(t *testing.T) {
	e := start(t, script.Options{})
	v, err := e.Load(t.Context(), "shop", modules)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]script.Action{
		"hello": {{Type: "reply", Text: "Hi Zoë 5shadows nothing", Line: "main.ts:10"}},
		"Your opening HOURS?": {{Type: "reply", Text: "From 9 to 18.", Line: "faq.csv:2"},
			{Type: "tag", Tag: "faq", Line: "faq.csv:2"}, {Type: "tag", Tag: "hours", Line: "faq.csv:2"}},
		"a complaint": {{Type: "escalate", Team: "care", Topic: "complaint", Reason: "faq.csv:3", Line: "faq.csv:3"}},
		"bye now":     {{Type: "reply", Text: "Bye!", Line: "rules.toml:2"}},
	} {
		d := decide(t, e, "shop", call(t, text))[0]
		if diff := cmp.Diff(want, d.Actions); d.Err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", text, d.Err, diff)
		}
	}
	d := decide(t, e, "shop", call(t, "throw"))[0]
	if d.Line != "lib/words.ts:4" || !strings.Contains(d.Err.Error(), "lib/words.ts:4: TypeError") {
		t.Errorf("thrown at %q: %v", d.Line, d.Err)
	}
	if v.Hash != modules.Hash() {
		t.Errorf("version %s of the source %s", v.Hash, modules.Hash())
	}
}

func TestModules_AVersionIsItsFiles(t *testing.T) {
	a := script.Source{Name: "s.js", Code: []byte("x"), Files: files("a.js", "1", "b.js", "2")}
	seen := map[string]string{a.Hash(): "the first"}
	for name, s := range map[string]script.Source{
		"other code":    {Name: "s.js", Code: []byte("y"), Files: a.Files},
		"other name":    {Name: "t.js", Code: []byte("x"), Files: a.Files},
		"other content": {Name: "s.js", Code: []byte("x"), Files: files("a.js", "2", "b.js", "2")},
		"other file":    {Name: "s.js", Code: []byte("x"), Files: files("a.js", "1", "c.js", "2")},
		"moved border":  {Name: "s.js", Code: []byte("x"), Files: files("a.js", "1b.js2")},
		"no files":      {Name: "s.js", Code: []byte("x")},
	} {
		if other := seen[s.Hash()]; other != "" {
			t.Errorf("%s and %s are one version", name, other)
		}
		seen[s.Hash()] = name
	}
	if b := (script.Source{Name: "/some/where/s.js", Code: []byte("x"), Files: files("b.js", "2", "a.js", "1")}); seen[b.Hash()] != "the first" {
		t.Error("the same files elsewhere are another version")
	}
}

func TestModules_MistakesAreWhereTheAuthorMadeThem(t *testing.T) {
	e := start(t, script.Options{})
	const hook = "export function onMessage() {}\n"
	for _, test := range []struct {
		code  string
		files map[string][]byte
		want  string
	}{
		{`import "lodash";` + hook, nil, `main.js:1:8: import of "lodash": only files of the script's own folder can be imported, such as "./prices.json"`},
		{`import "node:fs";` + hook, nil, "only files of the script's own folder"},
		{`import "/etc/passwd";` + hook, nil, "only files of the script's own folder"},
		{`import "https://example.com/x.js";` + hook, nil, "only files of the script's own folder"},
		{`import "../x.js";` + hook, files("x.js", ""), "leads out of the script's folder"},
		{`import "./a/../../x.js";` + hook, files("x.js", ""), "leads out of the script's folder"},
		{`import "./x.js";` + hook, nil, `there is no file "x.js"`},
		{`import "./main.test.js";` + hook, files("main.test.js", ""), "is a test or has types only"},
		{"\n" + `const x = require("./x.js");` + hook, files("x.js", ""), `main.js:2:19: import of "./x.js": write import`},
		{`import("./x.js");` + hook, files("x.js", ""), "write import"},
		{`import "./x.js";` + hook, files("x.js", "\nconst = 1"), "x.js:2:7: "},
		{`import "./x.js";` + hook, files("x.js", "module.exports = 1"), "x.js: there is no require, module or exports"},
		{`import { a } from "./x.js";` + hook, files("x.js", "export const b = 1"), `main.js:1:10: No matching export in "x.js" for import "a"`},
		{`import x from "./x.json";` + hook, files("x.json", `{"a": }`), "x.json:1:7: "},
		{`import x from "./x.csv";` + hook, files("x.csv", "keyword,reply\na,b"), `x.csv, row 1: there is no column "keyword"; did you mean keywords?`},
		{`import x from "./x.toml";` + hook, files("x.toml", "[[row]]\nreply = 'a'\nx = 1"), `x.toml, row 1: there is no column "x"`},
		{`import x from "./x.toml";` + hook, files("x.toml", "[[row]]\nreply = "), `x.toml:2: `},
		{`import "./x.js";` + hook, files("x.js", "\n\nnull.x;"), "x.js:3: TypeError"},
		{`import { f } from "./x.js"; export function onMessage() { return f() }`, files("x.js", "\nexport const f = async () => 1;"), "x.js:2: async functions cannot be used"},
		{`import "./wabridge.d.ts";` + hook, nil, "wabridge.d.ts is a test or has types only"},
	} {
		_, err := e.Load(t.Context(), "shop", script.Source{Name: "main.js", Code: []byte(test.code), Files: test.files})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s\n got  %v\n want %s", test.code, err, test.want)
		}
	}
}

func TestModules_ATableIsAScriptOfItsOwn(t *testing.T) {
	e := start(t, script.Options{})
	v, err := e.Load(t.Context(), "shop", script.Source{Name: "table.csv", Code: []byte(
		"name,keywords,language,hours,first,reply,tag,field.size,team\n" +
			"es,hola,es,,,¡Hola!,,,\nnight,,,closed,,Closed.,late,,\nhelp,help,,,,Wait.,,,care\nlocal,,,mon 17:30-18:00,,,evening,XL,\nnew,,,,yes,Welcome,,,\n")})
	if err != nil || v.Hooks != script.OnMessage {
		t.Fatalf("hooks %s, %v", v.Hooks, err)
	}
	for _, test := range []struct{ text, context, want string }{
		{"hola", `{"language":"es"}`, "reply=¡Hola!"},
		{"hola", `{"language":"pt"}`, ""},
		{"x", `{"hours":"closed"}`, "reply=Closed. tag=late"},
		{"help me", `{}`, "reply=Wait. escalate=help/care"},
		{"help me", `{"conversation":{"mode":"human"}}`, ""},
		{"x", `{"hours":"closed","conversation":{"mode":"human"}}`, "tag=late"},
		{"x", `{"local":"2026-11-23T17:30:00+08:00"}`, "tag=evening setField=XL"},
		{"x", `{"conversation":{"new":true}}`, "reply=Welcome"},
	} {
		c := call(t, test.text)
		c.Context = []byte(test.context)
		d := decide(t, e, "shop", c)[0]
		var got []string
		for _, a := range d.Actions {
			value := a.Text + a.Tag + a.Value
			if a.Type == "escalate" {
				value = a.Reason + "/" + a.Team
			}
			got = append(got, a.Type+"="+value)
		}
		if d.Err != nil || strings.Join(got, " ") != test.want {
			t.Errorf("%s %s: %s, %v; want %s", test.text, test.context, got, d.Err, test.want)
		}
	}
	if _, err := e.Load(t.Context(), "shop", script.Source{Name: "table.csv", Code: []byte("keywords,reply\na,\n")}); core.CodeOf(err) != core.CodeInvalid ||
		!strings.Contains(err.Error(), "table.csv, row 2: does nothing") {
		t.Errorf("a broken table: %v", err)
	}
}

func TestReadSource_TakesTheFolderAndNothingElse(t *testing.T) {
	write := func(t *testing.T, dir string, pairs ...string) {
		t.Helper()
		for name, data := range files(pairs...) {
			at := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(at, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := t.TempDir()
	write(t, dir, "script.ts", "main", "lib/a.js", "a", "lib/deep/b.json", "{}", "faq.csv", "csv", "rules.toml", "toml",
		"tenant.toml", "secret", "script.test.ts", "test", "lib/a.test.js", "test", "wabridge.d.ts", "types", "notes.txt", "text",
		".versions/1/script.ts", "old", "node_modules/x/index.js", "no", ".hidden.js", "no")
	src, err := script.ReadSource(filepath.Join(dir, "script.ts"))
	if err != nil {
		t.Fatal(err)
	}
	want := script.Source{Name: "script.ts", Code: []byte("main"),
		Files: files("lib/a.js", "a", "lib/deep/b.json", "{}", "faq.csv", "csv", "rules.toml", "toml")}
	if diff := cmp.Diff(want, src); diff != "" {
		t.Error(diff)
	}
	for name, spoil := range map[string]struct {
		do   func(dir string) error
		want string
	}{
		"link to a file":   {func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "x.json")) }, "x.json is a link"},
		"link of a folder": {func(dir string) error { return os.Symlink("/etc", filepath.Join(dir, "x.js")) }, "x.js is a link"},
		"script is a link": {func(dir string) error {
			return os.Rename(filepath.Join(dir, "script.ts"), filepath.Join(dir, "a.txt"))
		}, "script.ts"},
		"too large": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "x.json"), make([]byte, script.MaxSource), 0o644)
		}, "more than 1024 KiB together"},
		"too many": {func(dir string) error {
			for i := range script.MaxFiles + 1 {
				if err := os.WriteFile(filepath.Join(dir, "x"+strings.Repeat("x", i)+".js"), nil, 0o644); err != nil {
					return err
				}
			}
			return nil
		}, "more than 64 files"},
	} {
		dir := t.TempDir()
		write(t, dir, "script.ts", "main")
		if err := spoil.do(dir); err != nil {
			t.Fatal(err)
		}
		_, err := script.ReadSource(filepath.Join(dir, "script.ts"))
		if core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), spoil.want) {
			t.Errorf("%s: %v, want %s", name, err, spoil.want)
		}
	}
}

func TestModules_ATableOfPhrasesSaysWhatAMessageIsAbout(t *testing.T) {
	e := start(t, script.Options{})
	load := func(tables map[string]string) error {
		files := map[string][]byte{}
		for name, text := range tables {
			files[name] = []byte(text)
		}
		_, err := e.Load(t.Context(), "shop", script.Source{Name: "main.js", Files: files, Code: []byte(
			`import lost from "./t/lost.csv"; import price from "./t/price.csv";
			export function onMessage(event) { const f = lost(event) || price(event); if (f) return tag(f.name + "/" + f.language); }`)})
		return err
	}
	good := map[string]string{
		"t/lists.csv": "list,language,phrases\norder,en,parcel; package\norder,es,paquete\n",
		"t/lost.csv":  "name,language,phrases\nlost,en,where … {order}; -where … put {order}\nperdido,es,donde … {order}\n",
		"t/price.csv": "name,language,phrases\nprice,,how much; cuanto\n",
	}
	if err := load(good); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"Where is the PARCEL": "lost/en", "where do I put parcel": "", "¿Dónde está el paquete?": "perdido/es", "how much is it": "price/en",
		"cuanto es": "price/es", "hello": "", "": "",
	} {
		got := ""
		d := decide(t, e, "shop", call(t, text))[0]
		if d.Err != nil {
			t.Fatal(d.Err)
		}
		for _, a := range d.Actions {
			got += a.Tag
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for file, bad := range map[string][2]string{
		"t/lost.csv":  {"name,language,phrases\na,,where (is\n", "t/lost.csv:2: phrase \"where (is\": a group without )"},
		"t/price.csv": {"name,phrases,reply\na,b,c\n", "columns name (or list), language and phrases, not \"reply\""},
		"t/lists.csv": {"list,phrases\norder,{x}\n", "t/lists.csv:2: phrase \"{x}\": there is no list {x}"},
	} {
		tables := maps.Clone(good)
		tables[file] = bad[0]
		if err := load(tables); err == nil || !strings.Contains(err.Error(), bad[1]) {
			t.Errorf("%s: %v, want %s", file, err, bad[1])
		}
	}
}

func TestModules_ATableOfExamplesSaysWhatAMessageIsLike(t *testing.T) {
	e := start(t, script.Options{})
	load := func(table string) error {
		_, err := e.Load(t.Context(), "shop", script.Source{Name: "main.js", Files: map[string][]byte{"like.csv": []byte(table)}, Code: []byte(
			`import like from "./like.csv";
			export function onMessage(event) {
				const f = like(event);
				if (!f) return tag("nothing");
				const sum = Object.values(f.chances).reduce((a, b) => a + b, 0);
				return [tag(f.name + "/" + f.language), tag(String(f.sure === f.chances[f.name] && f.sure > 0.5 && Math.abs(sum - 1) < 1e-4)), tag(f.words.join("+"))];
			}`)})
		return err
	}
	if err := load("name,example\nbroken,\"the handle broke, on day one\"\nbroken,it is broken\nwhere,where is my parcel\nwhere,has my parcel been sent\n"); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"The handles broke": "broken/en true the+handles+broke", "where are the PARCELS": "where/en true where+parcels", "": "nothing",
	} {
		d := decide(t, e, "shop", call(t, text))[0]
		if d.Err != nil {
			t.Fatal(d.Err)
		}
		var got []string
		for _, a := range d.Actions {
			got = append(got, a.Tag)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for table, want := range map[string]string{
		"name,example\na,\nb,x\n":            "like.csv:2: an example has a name and a text",
		"example\nx\n":                       "like.csv:2: an example has a name",
		"name,example\na,x\na,y\n":           "like.csv: there are examples of 1 names",
		"name,example\n":                     "like.csv: there are examples of 0 names",
		"name,example,reply\na,x,y\nb,z,z\n": `a table of examples has the columns name and example, not "reply"`,
	} {
		if err := load(table); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", table, err, want)
		}
	}
}
