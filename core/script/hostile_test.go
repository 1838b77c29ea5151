//go:build linux

package script_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
)

// hostile returns the scripts of testdata/hostile.txtar and some that are too
// large to be written down.
func hostile(t *testing.T) []txtar.File {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/hostile.txtar")
	if err != nil {
		t.Fatal(err)
	}
	bomb := func(name, want, text string) txtar.File {
		return txtar.File{Name: name, Data: []byte("// want " + want + "\nexport function onMessage() {}\n" + text)}
	}
	const deep = "load: ran out of stack|syntax|:3:|reading it|engine|stack"
	return append(archive.Files,
		bomb("bomb-not.js", deep, "export const x = "+strings.Repeat("!", 250_000)+"1"),
		bomb("bomb-brackets.js", deep, "export const x = "+strings.Repeat("[", 120_000)+strings.Repeat("]", 120_000)),
		bomb("bomb-parens.js", deep, "export const x = "+strings.Repeat("(", 120_000)+"1"+strings.Repeat(")", 120_000)),
		bomb("bomb-templates.js", deep, "export const x = "+strings.Repeat("`${", 50_000)+"1"+strings.Repeat("}`", 50_000)),
		bomb("bomb-else.js", deep+" or ok", "if (0) {} "+strings.Repeat("else if (0) {}", 17_000)),
		bomb("bomb-regexp.js", deep+" or ok", "export const x = /"+strings.Repeat("(", 100_000)+"(?=a)"+strings.Repeat(")", 100_000)+"/"),
		bomb("too-large.js", "load: too large", strings.Repeat("//\n", 100_000)),
		bomb("name.txt", "load: ends in .js or .ts", ""),
	)
}

// All of these must fail by themselves, soon, and harm nobody.
func TestEngine_SurvivesEveryHostileScript(t *testing.T) {
	e := start(t, script.Options{Workers: 2})
	load(t, e, "neighbour", "good.js", `export function onMessage(e) { return reply(e.message.text) }`)
	for _, f := range hostile(t) {
		t.Run(f.Name, func(t *testing.T) {
			first, _, _ := strings.Cut(string(f.Data), "\n")
			want, ok := strings.CutPrefix(first, "// want ")
			if !ok {
				t.Fatalf("the first line is %q", first)
			}
			var got string
			began := time.Now()
			_, err := e.Load(t.Context(), "hostile", script.Source{Name: f.Name, Code: f.Data})
			if err == nil {
				began = time.Now()
				good := call(t, "hello")
				good.Hooks = 0 // the top level only
				ds := decide(t, e, "hostile", good, call(t, "hello"))
				took := time.Since(began)
				if ds[0].Err != nil && !strings.Contains(f.Name, "toplevel") {
					t.Errorf("the harmless call before failed, too: %v", ds[0].Err)
				}
				got = outcome(ds[1])
				// Tried twice, in two workers, with time for a busy machine.
				if limit := slower * (2*(250+50)*time.Millisecond + 3*time.Second); took > limit {
					t.Errorf("took %v", took)
				}
				t.Logf("%v: %s", took.Round(time.Millisecond), got)
			} else {
				if core.CodeOf(err) != core.CodeInvalid {
					t.Errorf("Load: code %s, want invalid", core.CodeOf(err))
				}
				got = "load: " + err.Error()
				t.Logf("%v: %s", time.Since(began).Round(time.Millisecond), got)
			}
			if !endsAs(got, want) {
				t.Errorf("ended with %q\nwant            %q", got, want)
			}
			e.Unload("hostile")
			if d := decide(t, e, "neighbour", call(t, "still here"))[0]; d.Err != nil || len(d.Actions) != 1 || d.Actions[0].Text != "still here" {
				t.Errorf("the neighbour's decision: %+v", d)
			}
		})
	}
}

func outcome(d script.Decision) string {
	if d.Err == nil {
		return "ok"
	}
	return fmt.Sprintf("%s: %s", d.Err.Code, d.Err.Message)
}

// endsAs matches an outcome with what the first line of a script says.
func endsAs(got, want string) bool {
	if slower > 1 && strings.Contains(got, "ThreadSanitizer failed to allocate") {
		return true // the race detector dies of the memory limit in its own way
	}
	code, message, _ := strings.Cut(got, ": ")
	for alternative := range strings.SplitSeq(want, " or ") {
		wantCode, pattern, _ := strings.Cut(alternative, ":")
		if code == wantCode && regexp.MustCompile(strings.TrimSpace(pattern)).MatchString(message) {
			return true
		}
	}
	return false
}
