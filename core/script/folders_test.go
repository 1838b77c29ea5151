//go:build linux

package script_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
)

// folder is a script of several files, or a table, that does harm on purpose or
// by mistake. want is as in testdata/hostile.txtar.
type folder struct {
	want  string
	entry string // "script.js" where empty
	files map[string]string
}

const answersAll = "\nexport function onMessage() { return tag(\"a\"); }\n"

// rows makes a table of n rows.
func rows(header string, n int, row func(i int) string) string {
	var b strings.Builder
	b.WriteString(header + "\n")
	for i := range n {
		b.WriteString(row(i) + "\n")
	}
	return b.String()
}

// list makes the list of a cell.
func list(n int, item func(i int) string) string {
	items := make([]string, n)
	for i := range items {
		items[i] = item(i)
	}
	return strings.Join(items, ";")
}

// importing is a script that imports one file and asks it, if it is a table.
func importing(name, content string) map[string]string {
	call := "typeof it === 'function' ? it(event, context) : undefined"
	return map[string]string{
		"script.js": fmt.Sprintf("import it from %q;\nexport function onMessage(event, context) { %s; return tag(\"a\"); }\n", "./"+name, call),
		name:        content,
	}
}

func imports(what string) map[string]string {
	return map[string]string{"script.js": fmt.Sprintf("import it from %q;", what) + answersAll}
}

func folders() map[string]folder {
	const outside = "only files of the script's own folder can be imported"
	const deep = "nested so deeply|ran out of stack|deep|recursion"
	all := map[string]folder{
		// Modules.
		"cycle": {want: "ok or invalid: undefined|before initialization or load: before|undefined", files: map[string]string{
			"script.js": `import { a } from "./a.js"; export function onMessage() { return tag("a" + a); }`,
			"a.js":      `import { b } from "./b.js"; export const a = b + 1;`, "b.js": `import { a } from "./a.js"; export const b = a + 1;`}},
		"cycle of calls": {want: "invalid: nested deeper", files: map[string]string{
			"script.js": `import { a } from "./a.js"; export const onMessage = () => a();`,
			"a.js":      `import { b } from "./b.js"; export const a = () => b();`, "b.js": `import { a } from "./a.js"; export const b = () => a();`}},
		"cycle of one": {want: "ok", files: map[string]string{"script.js": `import * as me from "./script.js"; export function onMessage() { return tag(typeof me.onMessage); }`}},
		"cycle of stars": {want: "ok or load:", files: map[string]string{
			"script.js": `export * from "./a.js";` + answersAll, "a.js": `export * from "./b.js";`, "b.js": `export * from "./a.js";`}},
		"chain":            {want: "ok", files: chain(60)},
		"many files":       {want: "load: 101 files are too many: at most 64", files: chain(100)},
		"loop in a module": {want: `load: a\.js:1: took longer`, files: map[string]string{"script.js": `import "./a.js";` + answersAll, "a.js": "for (;;) Math.random();"}},
		"throw in a module": {want: `load: a\.js:2: Error: early`, files: map[string]string{
			"script.js": `import "./a.js";` + answersAll, "a.js": "\nthrow new Error('early');"}},
		"memory in a module": {want: "load: memory", files: map[string]string{"script.js": `import "./a.js";` + answersAll, "a.js": `"x".repeat(2 ** 40);`}},
		"exports of another": {want: `load: script\.js:1:.*No matching export`, files: map[string]string{
			"script.js": `import { nothing } from "./a.js"; export function onMessage() { return nothing; }`, "a.js": "export const a = 1;"}},
		"a module is frozen": {want: "load: const|assign or invalid: const|assign", files: map[string]string{
			"script.js": `import * as a from "./a.js"; export function onMessage() { a.a = 2; }`, "a.js": "export const a = 1;"}},

		"import of the parent":     {want: "load: leads out of the script's folder", files: imports("../secrets/token.json")},
		"import of a far parent":   {want: "load: leads out of the script's folder", files: imports("./a/../../../../etc/passwd")},
		"import of a path":         {want: "load: " + outside, files: imports("/etc/passwd")},
		"import of a URL":          {want: "load: " + outside, files: imports("https://example.com/x.js")},
		"import of a file URL":     {want: "load: " + outside, files: imports("file:///etc/passwd")},
		"import of data":           {want: "load: " + outside, files: imports("data:text/javascript,export default 1")},
		"import of node":           {want: "load: " + outside, files: imports("node:fs")},
		"import of a builtin":      {want: "load: " + outside, files: imports("child_process")},
		"import of a package":      {want: "load: " + outside, files: imports("lodash/fp")},
		"import of the settings":   {want: "load: there is no file", files: map[string]string{"script.js": `import it from "./tenant.toml";` + answersAll, "tenant.toml": "[settings]\na = 1\n"}},
		"import of a test":         {want: "load: is a test or has types only", files: map[string]string{"script.js": `import it from "./a.test.js";` + answersAll, "a.test.js": "export default 1"}},
		"import with an escape":    {want: "load: there is no file", files: imports("./%2e%2e/a.json")},
		"import with backslashes":  {want: "load: there is no file", files: imports(`./..\..\a.json`)},
		"import of a zero":         {want: "load: there is no file|not a path", files: imports("./a\x00.json")},
		"import of everything":     {want: "load: there is no file|only files", files: imports("./")},
		"import that is computed":  {want: "load: at the top of the file|only files", files: map[string]string{"script.js": "export function onMessage() { return import('./' + 'a.js'); }", "a.js": ""}},
		"require of a builtin":     {want: "load: at the top of the file|only files or invalid: require", files: map[string]string{"script.js": "export function onMessage() { return require('fs').readFileSync('/etc/passwd'); }"}},
		"a name that is long":      {want: "load: not a path within", files: map[string]string{"script.js": answersAll, strings.Repeat("a", 300) + ".js": ""}},
		"a name that leads out":    {want: "load: not a path within", files: map[string]string{"script.js": answersAll, "../a.js": "export default 1"}},
		"a source map of its own":  {want: "ok", files: map[string]string{"script.js": `import "./a.js";` + answersAll, "a.js": "//# sourceMappingURL=/etc/passwd"}},
		"types that are no types":  {want: "load: a\\.ts:1", files: map[string]string{"script.js": `import "./a.ts";` + answersAll, "a.ts": "const a: = 1;"}},
		"files that are too large": {want: "load: KiB are too large: at most 1024", files: map[string]string{"script.js": answersAll, "a.json": `"` + strings.Repeat("x", 600<<10) + `"`, "b.json": `"` + strings.Repeat("x", 600<<10) + `"`}},

		// JSON.
		"json deep":       {want: "load: a\\.json|" + deep, files: importing("a.json", strings.Repeat("[", 120_000)+strings.Repeat("]", 120_000))},
		"json wide":       {want: "ok or load: took longer|memory", files: importing("a.json", "["+strings.Repeat("0,", 125_000)+"0]")},
		"json of objects": {want: "ok or load: took longer|memory", files: importing("a.json", "["+strings.Repeat("{},", 80_000)+"0]")},
		"json of keys":    {want: "ok or load: took longer|memory", files: importing("a.json", "{"+rows("", 15_000, func(i int) string { return fmt.Sprintf(`"k%d":%d,`, i, i) })+`"z":0}`)},
		"json proto":      {want: "ok", files: importing("a.json", `{"__proto__": {"polluted": 1}, "constructor": {"prototype": {"polluted": 1}}}`)},
		"json broken":     {want: "load: a\\.json:1", files: importing("a.json", `{"a": `)},
		"json number":     {want: "ok", files: importing("a.json", "1e999")},
		"json comment":    {want: "load: a\\.json:1", files: importing("a.json", "// a\n{}")},

		// Tables.
		"csv of a million rows":      {want: "load: KiB are too large: at most 1024", entry: "t.csv", files: map[string]string{"t.csv": rows("keywords,tag", 1_000_000, func(int) string { return "a,b" })}},
		"csv of many rows":           {want: "load: t\\.csv: a table has at most 5000 rows", entry: "t.csv", files: map[string]string{"t.csv": rows("keywords,tag", 5001, func(i int) string { return fmt.Sprintf("k%d,b", i) })}},
		"csv of many rows, imported": {want: "load: t\\.csv: a table has at most 5000 rows", files: importing("t.csv", rows("keywords,tag", 6000, func(i int) string { return fmt.Sprintf("k%d,b", i) }))},
		"csv of many keywords": {want: "load: at most 20000 are allowed", entry: "t.csv", files: map[string]string{"t.csv": rows("keywords,tag", 200, func(i int) string {
			return list(150, func(j int) string { return fmt.Sprintf("%x", i*150+j) }) + ",b"
		})}},
		"csv of a list":           {want: "load: t\\.csv, row 2, column keywords: has 300 entries, at most 200", entry: "t.csv", files: map[string]string{"t.csv": "keywords,tag\n" + strings.Repeat("a;", 300) + ",b\n"}},
		"csv of a giant cell":     {want: "load: t\\.csv, row 2, column reply: has 200000 characters, at most 4096", entry: "t.csv", files: map[string]string{"t.csv": "keywords,reply\na," + strings.Repeat("x", 200_000) + "\n"}},
		"csv of a giant keyword":  {want: "load: row 2, column keywords: .* is too long: at most", entry: "t.csv", files: map[string]string{"t.csv": "keywords,reply\n" + strings.Repeat("x", 200_000) + ",hi\n"}},
		"csv of a giant name":     {want: "load: row 2, column tag: has 5000 characters, at most 100", entry: "t.csv", files: map[string]string{"t.csv": "keywords,tag\na," + strings.Repeat("x", 5000) + "\n"}},
		"csv of expressions":      {want: "ok", entry: "t.csv", files: map[string]string{"t.csv": "keywords,tag\n(a+)+$;[a-z]{1000}{1000};(?=a)(?<!b)hello\\1;^hello$;%s%n,b\n"}},
		"csv of many columns":     {want: "load: t\\.csv, row 1: has 50001 columns, at most 200", entry: "t.csv", files: map[string]string{"t.csv": strings.Repeat("c,", 50_000) + "\n" + strings.Repeat("1,", 50_000) + "\n"}},
		"csv of empty columns":    {want: "load: t\\.csv, row 1: has 250001 columns, at most 200", entry: "t.csv", files: map[string]string{"t.csv": strings.Repeat(",", 250_000)}},
		"csv of many mistakes":    {want: "load: and \\d+ more", entry: "t.csv", files: map[string]string{"t.csv": rows("keywords,tag,priority", 4000, func(i int) string { return fmt.Sprintf("k%d,b,now", i) })}},
		"csv with an open quote":  {want: "load: a quote \" is not closed", entry: "t.csv", files: map[string]string{"t.csv": "keywords,tag\n\"" + strings.Repeat("a,b\n", 50_000)}},
		"csv with zeros":          {want: "load: is no text in UTF-8", entry: "t.csv", files: map[string]string{"t.csv": "keywords,tag\na\x00,b\n"}},
		"csv in another coding":   {want: "load: is no text in UTF-8", entry: "t.csv", files: map[string]string{"t.csv": "\xff\xfek\x00e\x00"}},
		"csv with broken letters": {want: "load: is no text in UTF-8", entry: "t.csv", files: map[string]string{"t.csv": "keywords,tag\n\xe9t\xe9,b\n"}},
		"csv of nothing":          {want: "load: no rows|first row", entry: "t.csv", files: map[string]string{"t.csv": strings.Repeat("\n", 200_000)}},
		"csv of hours":            {want: "load: column hours", entry: "t.csv", files: map[string]string{"t.csv": "keywords,tag,hours\na,b," + strings.Repeat("mon 09:00-17:00 ", 10_000) + "\n"}},
		"csv of many tags":        {want: "load: at most", entry: "t.csv", files: map[string]string{"t.csv": "keywords,tag\na," + list(100, func(i int) string { return fmt.Sprintf("t%d", i) }) + "\n"}},
		"csv of formulas":         {want: "ok", entry: "t.csv", files: map[string]string{"t.csv": "keywords,reply\nhello,\"=HYPERLINK(\"\"https://example.com\"\")\"\n"}},
		"csv that fits all":       {want: "load: is never reached", entry: "t.csv", files: map[string]string{"t.csv": rows("keywords,tag", 100, func(int) string { return ",b" })}},

		"toml deep lists":   {want: "load: t\\.toml|" + deep, entry: "t.toml", files: map[string]string{"t.toml": "[[row]]\ntag = " + strings.Repeat("[", 120_000) + strings.Repeat("]", 120_000) + "\n"}},
		"toml deep tables":  {want: "load: t\\.toml|" + deep, entry: "t.toml", files: map[string]string{"t.toml": "[[row]]\nfield = " + strings.Repeat("{a=", 60_000) + "1" + strings.Repeat("}", 60_000) + "\n"}},
		"toml deep keys":    {want: "load: t\\.toml|" + deep, entry: "t.toml", files: map[string]string{"t.toml": "[[row]]\n" + strings.Repeat("a.", 120_000) + "a = 1\n"}},
		"toml deep headers": {want: "load: t\\.toml|" + deep, entry: "t.toml", files: map[string]string{"t.toml": "[" + strings.Repeat("a.", 120_000) + "a]\n"}},
		"toml of many rows": {want: "load: t\\.toml: a table has at most 5000 rows", entry: "t.toml", files: map[string]string{"t.toml": rows("", 6000, func(i int) string { return fmt.Sprintf("[[row]]\nkeywords=\"k%d\"\ntag=\"b\"", i) })}},
		"toml of numbers":   {want: "load: t\\.toml", entry: "t.toml", files: map[string]string{"t.toml": "[[row]]\ntag = " + strings.Repeat("9", 100_000) + "\n"}},
		"toml of a date":    {want: "load: column tag: is a text", entry: "t.toml", files: map[string]string{"t.toml": "[[row]]\ntag = 1979-05-27T07:32:00Z\n"}},
		"toml twice":        {want: "load: t\\.toml:", entry: "t.toml", files: map[string]string{"t.toml": "[[row]]\ntag=\"a\"\ntag=\"b\"\n"}},
		"toml of a giant":   {want: "load: row 1, column reply: has 200000 characters, at most 4096", entry: "t.toml", files: map[string]string{"t.toml": "[[row]]\nkeywords = \"a\"\nreply = \"\"\"" + strings.Repeat("x", 200_000) + "\"\"\"\n"}},
		"toml of strangers": {want: "load: there is no \"servers\": each row begins", entry: "t.toml", files: map[string]string{"t.toml": "[servers]\na = 1\n"}},

		// Tables of phrases.
		"phrases in great number":  {want: "load: more than 20000 phrases", files: importing("p.csv", rows("name,phrases", 1000, func(int) string { return "n," + strings.Repeat("ab;", 25) }))},
		"phrases that are long":    {want: "load: p\\.csv:2: .* at most 2000 bytes", files: importing("p.csv", "name,phrases\nn,"+strings.Repeat("word ", 1000)+"\n")},
		"phrases with a comma":     {want: "load: p\\.csv:2: there are 3 cells, and 2 in the first line", files: importing("p.csv", "name,phrases\nn,a,b\n")},
		"phrases with a quote":     {want: "load: p\\.csv:2: .*double quote", files: importing("p.csv", "name,phrases\nn,a \"b\n")},
		"phrases of gaps":          {want: "ok", files: importing("p.csv", "name,phrases\nn,"+strings.Repeat("a … ", 60)+"b\n")},
		"phrases of choices":       {want: "ok or load: too long", files: importing("p.csv", "name,phrases\nn,"+strings.Repeat("(a|b|a b) ", 50)+"c\n")},
		"phrases of what may miss": {want: "ok or load: too long", files: importing("p.csv", "name,phrases\nn,"+strings.Repeat("[a] ", 100)+"c\n")},
		"phrases in a nest":        {want: "load: nested too deeply", files: importing("p.csv", "name,phrases\nn,"+strings.Repeat("(", 400)+"a"+strings.Repeat(")", 400)+"\n")},
		"phrases of an open group": {want: "load: p\\.csv:2: phrase", files: importing("p.csv", "name,phrases\nn,(a|b\n")},
		"phrases of themselves":    {want: "load: p\\.csv|l\\.csv or ok", files: withList(importing("p.csv", "name,phrases\nn,{a} x\n"), "a,{a} {a}")},
		"phrases of doubling lists": {want: "ok or load: l\\.csv", files: withList(importing("p.csv", "name,phrases\nn,{l19} x\n"),
			rows("l0,a", 19, func(i int) string { return fmt.Sprintf("l%d,{l%d} {l%d};{l%d}", i+1, i, i, i) }))},
		"phrases of no list": {want: "load: p\\.csv:2: phrase .*", files: importing("p.csv", "name,phrases\nn,{nothing} x\n")},
	}
	return all
}

// chain is a script of n files beside it, each of which imports the next.
func chain(n int) map[string]string {
	files := map[string]string{"script.js": `import { f0 } from "./m0.js"; export function onMessage() { return tag(f0()); }`}
	for i := range n {
		code := fmt.Sprintf("import { f%d } from \"./m%d.js\"; export const f%d = () => f%d();", i+1, i+1, i, i+1)
		if i == n-1 {
			code = fmt.Sprintf("export const f%d = () => 'end';", i)
		}
		files[fmt.Sprintf("m%d.js", i)] = code
	}
	return files
}

func withList(files map[string]string, lists string) map[string]string {
	files["l.csv"] = "list,phrases\n" + lists + "\n"
	return files
}

func (f folder) source() script.Source {
	entry := f.entry
	if entry == "" {
		entry = "script.js"
	}
	src := script.Source{Name: entry, Files: map[string][]byte{}}
	for name, content := range f.files {
		if name == entry {
			src.Code = []byte(content)
		} else {
			src.Files[name] = []byte(content)
		}
	}
	return src
}

// What several files or a table can do wrong is refused with the limit and the
// place, or does no harm; and the neighbour goes on.
func TestEngine_SurvivesEveryHostileFolder(t *testing.T) {
	e := start(t, script.Options{Workers: 2})
	load(t, e, "neighbour", "good.js", `export function onMessage(e) { return reply(e.message.text) }`)
	long := strings.Repeat("a b ", 900)
	for name, f := range folders() {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			got := "ok"
			if _, err := e.Load(t.Context(), "hostile", f.source()); err != nil {
				if core.CodeOf(err) != core.CodeInvalid {
					t.Errorf("Load: code %s, want invalid", core.CodeOf(err))
				}
				got = "load: " + err.Error()
			} else {
				for _, d := range decide(t, e, "hostile", call(t, "hello"), call(t, long)) {
					if got == "ok" {
						got = outcome(d)
					}
				}
			}
			took := time.Since(began)
			t.Logf("%v: %s", took.Round(time.Millisecond), strings.ReplaceAll(got, "\n", " / "))
			if !endsAs(strings.ReplaceAll(got, "\n", " / "), f.want) {
				t.Errorf("ended with %q\nwant            %q", got, f.want)
			}
			if took > slower*8*time.Second {
				t.Errorf("took %v", took)
			}
			e.Unload("hostile")
			if d := decide(t, e, "neighbour", call(t, "still here"))[0]; d.Err != nil || len(d.Actions) != 1 || d.Actions[0].Text != "still here" {
				t.Errorf("the neighbour's decision: %+v", d)
			}
		})
	}
}

// What is on disk is read within bounds, and nothing from elsewhere.
func TestReadSource_HasBoundsAndLeadsNowhere(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret.json")
	write := func(path, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(secret, `"secret"`)
	for name, c := range map[string]struct {
		make func(dir string) error
		want string
	}{
		"a link to a file":        {func(dir string) error { return os.Symlink(secret, filepath.Join(dir, "a.json")) }, "a.json is a link"},
		"a link to a folder":      {func(dir string) error { return os.Symlink(filepath.Dir(secret), filepath.Join(dir, "more")) }, ""},
		"a link named as a table": {func(dir string) error { return os.Symlink("/dev/zero", filepath.Join(dir, "a.csv")) }, "a.csv is a link"},
		"the script is a link":    {func(dir string) error { return os.Rename(filepath.Join(dir, "script.js"), filepath.Join(dir, "b.txt")) }, "exist"},
		"thousands of files": {func(dir string) error {
			for i := range 2000 {
				write(filepath.Join(dir, fmt.Sprintf("m%d.js", i)), "")
			}
			return nil
		}, "more than 64 files"},
		"thousands of other files": {func(dir string) error {
			for i := range 12_000 {
				write(filepath.Join(dir, "photos", fmt.Sprintf("p%d.jpg", i)), "")
			}
			return nil
		}, "more than 10000 files"},
		"a file that is too large": {func(dir string) error {
			write(filepath.Join(dir, "a.json"), "")
			return os.Truncate(filepath.Join(dir, "a.json"), 1<<40)
		}, "more than 1024 KiB"},
		"folders in folders": {func(dir string) error {
			write(filepath.Join(dir, strings.Repeat("d/", 100)+"a.js"), "")
			return nil
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(filepath.Join(dir, "script.js"), answersAll)
			if err := c.make(dir); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "script.js")
			src, err := script.ReadSource(file)
			_, stampErr := script.Stamp(file)
			switch {
			case c.want == "" && (err != nil || stampErr != nil):
				t.Errorf("%v, %v", err, stampErr)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("read: %v, want %q", err, c.want)
			}
			for name, data := range src.Files {
				if strings.Contains(string(data), "secret") {
					t.Errorf("%s was read", name)
				}
			}
		})
	}
	if n := len(folders()); n < 60 {
		t.Errorf("%d folders: %v", n, maps.Keys(folders()))
	}
}

// What is wrong with one table keeps all tables of phrases from being read: it is said once.
func TestEngine_SaysOnceWhatAllImportsFailBy(t *testing.T) {
	e := start(t, script.Options{Workers: 1})
	_, err := e.Load(t.Context(), "acme", script.Source{Name: "script.js",
		Code:  []byte("import a from './a.csv';\nimport b from './b.csv';\nimport c from './none.json';\nexport function onMessage(e) { return [a(e), b(e), c] && tag('x') }"),
		Files: map[string][]byte{"a.csv": []byte("name,phrases\nn,hello\n"), "b.csv": []byte("name,phrases\nn,a,b\n")}})
	if err == nil {
		t.Fatal("it is loaded")
	}
	got := err.Error()
	if strings.Count(got, "there are 3 cells") != 1 || strings.Contains(got, "script.js:1") || !strings.Contains(got, "script.js:3:") {
		t.Errorf("got %s", got)
	}
}
