//go:build linux

package script_test

import (
	"fmt"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
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
		bomb("too-large.js", "load: too large", strings.Repeat("//\n", 400_000)),
		bomb("name.txt", "load: ends in .js or .ts", ""),
	)
}

// ends keeps how workers ended.
type ends struct {
	mu  sync.Mutex
	all []end
}

type end struct {
	cpu  time.Duration
	peak int64 // bytes of memory in RAM at most; never less than the parent had
}

func (e *ends) add(s *os.ProcessState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	usage, _ := s.SysUsage().(*syscall.Rusage)
	e.all = append(e.all, end{cpu: s.UserTime() + s.SystemTime(), peak: usage.Maxrss << 10})
}

// take returns the ends since it last did.
func (e *ends) take() []end {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.all
	e.all = nil
	return all
}

const (
	// spare is how much later than its limit a script may be stopped, at most.
	spare = 250 * time.Millisecond
	// beside is how much memory a worker has at most beside its heap: the program
	// itself, and what the runtime keeps. The most that was seen is 102 MiB.
	beside = 112 << 20
)

// All of these must fail by themselves, soon, within their memory, and harm
// nobody. Time is CPU time, which a busy machine does not stretch: what a worker
// used in all its life, its start included, by the time that it was dead.
func TestEngine_SurvivesEveryHostileScript(t *testing.T) {
	var ended ends
	o := script.Options{Workers: 2, Soft: slower * 50 * time.Millisecond, Hard: slower * 250 * time.Millisecond, MemoryLimit: 128 << 20}
	o.TellEnds(ended.add)
	e := start(t, o)
	load(t, e, "neighbour", "good.js", `export function onMessage(e) { return reply(e.message.text) }`)
	scripts := hostile(t)
	if len(scripts) < 300 {
		t.Errorf("%d scripts", len(scripts))
	}
	if slower > 1 { // what ends scripts is shown without the race detector; races are found with a few
		n := 0
		scripts = slices.DeleteFunc(scripts, func(txtar.File) bool { n++; return n%4 > 0 })
	}
	var latest, interrupted time.Duration
	var largest int64
	killed := 0
	for _, f := range scripts {
		t.Run(f.Name, func(t *testing.T) {
			first, _, _ := strings.Cut(string(f.Data), "\n")
			want, ok := strings.CutPrefix(first, "// want ")
			if !ok {
				t.Fatalf("the first line is %q", first)
			}
			var got string
			forgetPeak(t)
			began := time.Now()
			_, err := e.Load(t.Context(), "hostile", script.Source{Name: f.Name, Code: f.Data})
			if err == nil {
				pid := e.WorkerPIDs("hostile")[0]
				before, _ := script.CPUTimeOf(pid)
				good := call(t, "hello")
				good.Hooks = 0 // the top level only
				ds := decide(t, e, "hostile", good, call(t, "hello"))
				took := time.Since(began)
				if ds[0].Err != nil && !strings.Contains(f.Name, "toplevel") {
					t.Errorf("the harmless call before failed, too: %v", ds[0].Err)
				}
				got = outcome(ds[1])
				if after, alive := script.CPUTimeOf(pid); alive {
					interrupted = max(interrupted, after-before)
					if after-before > o.Soft+slower*spare {
						t.Errorf("it was interrupted after %v of CPU time, %v after its limit", after-before, after-before-o.Soft)
					}
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
			for _, w := range ended.take() {
				latest, largest = max(latest, w.cpu), max(largest, w.peak)
				killed++
				if w.cpu > o.Hard+slower*spare {
					t.Errorf("its worker was dead after %v of CPU time, more than %v after the limit", w.cpu, spare)
				}
				if limit := int64(o.MemoryLimit) + beside; w.peak > limit && slower == 1 {
					t.Errorf("its worker had %d MiB, the cap is %d", w.peak>>20, limit>>20)
				}
			}
			if d := decide(t, e, "neighbour", call(t, "still here"))[0]; d.Err != nil || len(d.Actions) != 1 || d.Actions[0].Text != "still here" {
				t.Errorf("the neighbour's decision: %+v", d)
			}
		})
	}
	if slower == 1 && largest < int64(o.MemoryLimit)/2 {
		t.Errorf("no worker had more than %d MiB: the scripts do not try the cap", largest>>20)
	}
	t.Logf("%d scripts, %d workers dead: the last after %v of CPU time in all its life, the largest with %d MiB; interrupted after at most %v",
		len(scripts), killed, latest, largest>>20, interrupted)
}

// forgetPeak makes this process as small as it can be, and its peak what it has now: the
// kernel counts that among the memory of the processes that it starts.
func forgetPeak(t *testing.T) {
	t.Helper()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o600); err != nil {
		t.Fatal(err)
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
