package declare_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core/declare"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/scripts"
)

// evil is a name that would end a literal, a comment or the file, were it not
// escaped.
const evil = "a\" | any; */ }\n`${x}` \\ \u2028 */ //"

// bakery is a tenant with names of everything.
func bakery() *declare.Names {
	n := &declare.Names{
		Templates: []declare.Template{
			{Name: "order_update", Language: "en", Params: int64(2)}, {Name: "order_update", Language: "pt_BR", Params: int64(2)},
			{Name: "welcome", Language: "en", Params: int64(0)},
			{Name: "invoice", Language: "en", Params: []any{"number", "amount"}},
			{Name: "old", Language: "", Params: nil},
			{Name: evil, Language: evil, Params: []any{evil}},
		},
		Settings: map[string]any{"greeting": "Hi", "open": int64(9), "answers": map[string]any{"hours": "9 to 18"}, evil: true},
	}
	n.Teams.Add("sales", "support", evil)
	n.Owners.Add("ana")
	n.Fields.Add("city", "order_id", evil)
	n.Tags.Add("order", "complaint", evil)
	n.Timers.Add("remind", evil)
	n.Topics.Add("complaint", "refund", evil)
	n.Import(script.Source{Files: map[string][]byte{
		"tables/late.csv": []byte("name,language,phrases\nlate,en,not arrived\nexception,en,-never late\n"),
		"faq.csv":         []byte("keywords,reply\nopening hours,From 9 to 18.\n"),
		"faq.toml":        []byte("[[row]]\nkeywords=[\"x\"]\nreply=\"y\"\n"),
		"a'\".csv":        []byte("keywords,reply\nopening hours,From 9 to 18.\n"),
	}})
	return n
}

// red compiles files beside the types and returns the lines that are red.
func red(t *testing.T, n *declare.Names, files map[string]string) (lines []string, output string) {
	t.Helper()
	dir := t.TempDir()
	files[declare.FileName], files[declare.ProjectName] = string(declare.Types(n)), string(declare.Project())
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tsc, err := compiler()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", tsc, "-p", ".", "--pretty", "false")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	places := regexp.MustCompile(`(?m)^([^\s(][^(\n]*)\((\d+),\d+\): error`).FindAllStringSubmatch(string(out), -1)
	if (err != nil) != (len(places) > 0) {
		t.Fatalf("the compiler: %v\n%s", err, out)
	}
	for _, m := range places {
		if at := m[1] + ":" + m[2]; !slices.Contains(lines, at) {
			lines = append(lines, at)
		}
	}
	slices.Sort(lines)
	return lines, string(out)
}

// compiler is TypeScript's, of the version in typescript/package.json. Where it is
// not there yet, make puts it there, as it does before all tests.
var compiler = sync.OnceValues(func() (string, error) {
	tools := os.Getenv("TOOLS")
	switch {
	case tools == "":
		tools = filepath.Join("..", "..", ".tools")
	case !filepath.IsAbs(tools):
		tools = filepath.Join("..", "..", tools)
	}
	path, err := filepath.Abs(filepath.Join(tools, "typescript", "node_modules", "typescript", "bin", "tsc"))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		if out, err := exec.Command("make", "-C", filepath.Join("..", ".."), "typescript").CombinedOutput(); err != nil {
			return "", fmt.Errorf("make typescript: %w\n%s", err, out)
		}
	}
	_, err = os.Stat(path)
	return path, err
})

// marked returns the lines of files that end in "// red".
func marked(files map[string]string) (lines []string) {
	for name, text := range files {
		for i, line := range strings.Split(text, "\n") {
			if strings.HasSuffix(line, "// red") {
				lines = append(lines, fmt.Sprintf("%s:%d", name, i+1))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func TestTypes_UnderlineWrongNamesAndNothingElse(t *testing.T) {
	files := map[string]string{}
	for _, name := range []string{"right.ts", "fine.js", "wrong.ts", "bad.js"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(data)
	}
	files["prices.json"] = `{"bread": {"price": 3}}`
	want := marked(files)
	if len(want) < 30 {
		t.Fatalf("only %d lines are marked", len(want))
	}
	got, output := red(t, bakery(), files)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines that should be red (-) and are (+):\n%s\n%s", diff, output)
	}
}

// What ships is not underlined by the general types, nor by those of a tenant
// that runs it.
func TestTypes_LeaveTheShippedScriptsAlone(t *testing.T) {
	files, src := map[string]string{}, script.Source{Name: scripts.DefaultName, Code: scripts.Default(), Files: scripts.Tables()}
	err := fs.WalkDir(scripts.Files(), ".", func(name string, d fs.DirEntry, err error) error {
		if ext := filepath.Ext(name); err != nil || d.IsDir() || ext != ".js" && ext != ".ts" {
			return err
		}
		data, err := fs.ReadFile(scripts.Files(), name)
		files[name] = string(data)
		return err
	})
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	own := new(declare.Names)
	own.Teams.Add("support")
	own.Learn(src)
	own.Import(src)
	if fields := own.Fields.Sorted(); !slices.Equal(fields, []string{"asked_order", "confirmed_order"}) || !own.Tags.Open {
		t.Errorf("fields %q, tags open: %v", fields, own.Tags.Open)
	}
	only := map[string]string{scripts.DefaultName: files[scripts.DefaultName]}
	if got, output := red(t, own, only); len(got) > 0 {
		t.Errorf("with a tenant's types:\n%s", output)
	}
	if got, output := red(t, new(declare.Names), files); len(got) > 0 {
		t.Errorf("with the general types:\n%s", output)
	}
}

func TestTypes_AreTheGeneralOnesWithoutNames(t *testing.T) {
	if diff := cmp.Diff(string(scripts.Types()), string(declare.Types(new(declare.Names)))); diff != "" {
		t.Errorf("wabridge.d.ts as it ships, and without names (-shipped +written):\n%s", diff)
	}
}

func TestLearn_TakesWhatIsWrittenOutAndOpensWhatIsComputed(t *testing.T) {
	var n declare.Names
	n.Learn(script.Source{Name: "a.ts", Code: []byte(
		"tag(\"one\"), tag( 'two' ), untag(`three`), setField(\"f\", x), timer(\"t\", {}), cancelTimer(\"u\"), escalate({ topic: 'late' })"),
		Files: map[string][]byte{"faq.csv": []byte("keywords,tag,field.city,topic\nx,row; rows,Porto,refund\n")}})
	got := []any{n.Tags.Sorted(), n.Fields.Sorted(), n.Timers.Sorted(), n.Topics.Sorted(), n.Tags.Open, n.Fields.Open, n.Timers.Open}
	want := []any{[]string{"one", "row", "rows", "three", "two"}, []string{"city", "f"}, []string{"t", "u"}, []string{"late", "refund"}, false, false, false}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, code := range []string{`tag("order-" + n)`, "tag(`order-${n}`)", `tag(name)`, `tag(a ? "x" : "y")`, `tag("a\x22")`, `tag(
  name)`} {
		var n declare.Names
		if n.Learn(script.Source{Name: "a.js", Code: []byte(code)}); !n.Tags.Open || len(n.Tags.Sorted()) > 0 {
			t.Errorf("%s: open %v, %q", code, n.Tags.Open, n.Tags.Sorted())
		}
	}
}
