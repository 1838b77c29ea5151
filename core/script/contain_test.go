//go:build linux

package script_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
)

// poisonous dies of messages that say so, in the way that they say.
const poisonous = `export function onMessage(event) {
  switch (event.message.text) {
    case "hang": Array.prototype.indexOf.call({ length: 9e15 }, 1);
    case "memory": "x".repeat(2 ** 40);
    case "stack": { const a = []; a.__proto__ = new Proxy(a, {}); a[5] = 1; }
    case "loop": for (;;);
  }
  return reply(event.message.text);
}`

func TestEngine_LosesOnlyThePoisonOfAFrame(t *testing.T) {
	for _, poison := range []string{"hang", "memory", "stack"} {
		t.Run(poison, func(t *testing.T) {
			e := start(t, script.Options{})
			load(t, e, "shop", "s.js", poisonous)
			var calls []script.Call
			for i := range 30 {
				text := fmt.Sprint(i)
				if i == 17 {
					text = poison
				}
				calls = append(calls, call(t, text))
			}
			for i, d := range decide(t, e, "shop", calls...) {
				switch {
				case i == 17:
					if d.Err == nil || d.Err.Code != core.CodeInternal || d.Version == "" {
						t.Errorf("the poison: %+v", d)
					}
				case d.Err != nil || d.Actions[0].Text != fmt.Sprint(i):
					t.Errorf("event %d: %+v", i, d)
				}
			}
			if s, _ := e.State("shop"); s.Kills != 1 || s.Off {
				t.Errorf("state %+v, want one kill", s)
			}
			if d := decide(t, e, "shop", call(t, "after"))[0]; d.Err != nil {
				t.Error(d.Err)
			}
		})
	}
}

func TestEngine_SwitchesAScriptOffAfterThreeKills(t *testing.T) {
	registry := prometheus.NewRegistry()
	e := start(t, script.Options{Registerer: registry})
	v := load(t, e, "shop", "s.js", poisonous)
	load(t, e, "other", "s.js", poisonous)
	ds := decide(t, e, "shop", call(t, "ok"), call(t, "memory"), call(t, "ok"), call(t, "memory"), call(t, "memory"), call(t, "ok"), call(t, "memory"))
	var got []string
	for _, d := range ds {
		got = append(got, strings.Split(outcome(d), " used")[0])
	}
	off := "internal: script switched off after three kills: used more memory than it may, and its worker ended"
	want := []string{"ok", "internal: s.js: the script", "ok", "internal: s.js: the script", "internal: s.js: the script", off, off}
	for i := range want {
		if !strings.HasPrefix(want[i], got[i]) {
			t.Errorf("call %d: %q, want %q", i, got[i], want[i])
		}
	}
	if d := decide(t, e, "shop", call(t, "ok"))[0]; outcome(d) != off || d.Err.Hint == "" {
		t.Errorf("afterwards: %+v", d.Err)
	}
	if s, ok := e.State("shop"); !ok || !s.Off || s.Reason == "" || s.Version.Hash != v.Hash {
		t.Errorf("state %+v", s)
	}
	if got := metric(t, registry, "wabridge_script_off", "shop"); got != 1 {
		t.Errorf("wabridge_script_off is %v", got)
	}
	if got := metric(t, registry, "wabridge_script_kills_total", "shop"); got != 4 {
		t.Errorf("wabridge_script_kills_total is %v, want 4: the frame, and three singly", got)
	}
	if d := decide(t, e, "other", call(t, "ok"))[0]; d.Err != nil {
		t.Errorf("another tenant: %v", d.Err)
	}
	load(t, e, "shop", "s.js", poisonous)
	if d := decide(t, e, "shop", call(t, "ok"))[0]; d.Err != nil {
		t.Errorf("loaded again: %v", d.Err)
	}
	if s, _ := e.State("shop"); s.Off || s.Kills != 0 || metric(t, registry, "wabridge_script_off", "shop") != 0 {
		t.Errorf("loaded again: state %+v", s)
	}
}

// metric returns the sum of a metric's values for a tenant.
func metric(t *testing.T, g prometheus.Gatherer, name, tenant string) (sum float64) {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "tenant" && l.GetValue() == tenant {
					found = true
					sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
	}
	if !found {
		t.Fatalf("no %s of %s", name, tenant)
	}
	return sum
}

// A tenant whose script had to be stopped comes last for the CPU, with all
// versions to come, and no other tenant does.
func TestEngine_LetsEverybodyGoBeforeWhoDidHarm(t *testing.T) {
	for _, harm := range []string{"loop", "hang", "memory", "top level"} {
		t.Run(harm, func(t *testing.T) {
			e := start(t, script.Options{})
			// last says whether all threads of a tenant's worker come after everybody else
			// (nice value and policy, see proc_pid_stat(5)).
			last := func(tenant string) bool {
				t.Helper()
				pids := e.WorkerPIDs(tenant)
				if len(pids) != 1 {
					t.Fatalf("%s has %d idle workers", tenant, len(pids))
				}
				threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pids[0]))
				if err != nil || len(threads) == 0 {
					t.Fatal(err)
				}
				for _, thread := range threads {
					stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/stat", pids[0], thread.Name()))
					if err != nil {
						continue // it ended
					}
					_, rest, _ := strings.Cut(string(stat), ") ")
					if f := strings.Fields(rest); f[16] != "10" || f[38] != strconv.Itoa(unix.SCHED_BATCH) {
						return false
					}
				}
				return true
			}
			load(t, e, "shop", "s.js", poisonous)
			load(t, e, "other", "s.js", poisonous)
			if last("shop") || last("other") {
				t.Fatal("last before there was any harm")
			}
			if harm == "top level" {
				_, err := e.Load(t.Context(), "shop", script.Source{Name: "s.js", Code: []byte("Array.prototype.indexOf.call({ length: 9e15 }, 1); export function onMessage() {}")})
				if err == nil {
					t.Fatal("a top level without an end was taken")
				}
			} else if d := decide(t, e, "shop", call(t, harm))[0]; d.Err == nil {
				t.Fatalf("%s: %+v", harm, d)
			}
			load(t, e, "shop", "s.js", poisonous+"// mended")
			decide(t, e, "shop", call(t, "well"))
			decide(t, e, "other", call(t, "well"))
			if !last("shop") {
				t.Error("not last after a script did harm")
			}
			if last("other") {
				t.Error("the neighbour is last, too")
			}
		})
	}
}

func TestEngine_ServesOthersWhileOneHangs(t *testing.T) {
	e := start(t, script.Options{})
	load(t, e, "bad", "s.js", poisonous)
	load(t, e, "good", "s.js", poisonous)
	bad := make(chan []script.Decision)
	go func() {
		bad <- e.Decide(context.Background(), "bad", []script.Call{call(t, "loop"), call(t, "loop"), call(t, "loop"), call(t, "hang")})
	}()
	for i := range 10 { // a few milliseconds against some seven hundred
		select {
		case <-bad:
			t.Fatalf("the loops ended before %d quick calls did", i)
		default:
		}
		if d := decide(t, e, "good", call(t, "hi"))[0]; d.Err != nil {
			t.Fatal(d.Err)
		}
	}
	for i, d := range <-bad {
		if d.Err == nil {
			t.Errorf("loop %d: %+v", i, d)
		}
	}
}

func TestEngine_ReturnsAtOnceWhenTheCallersTimeIsUp(t *testing.T) {
	e := start(t, script.Options{Soft: time.Minute, Hard: 2 * time.Minute})
	load(t, e, "shop", "s.js", poisonous)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan []script.Decision)
	go func() {
		done <- e.Decide(ctx, "shop", []script.Call{call(t, "fine"), call(t, "loop"), call(t, "never")})
	}()
	cancel()
	select {
	case ds := <-done:
		for i, d := range ds[1:] {
			if core.CodeOf(d.Err) != core.CodeUnavailable || !errors.Is(d.Err, context.Canceled) {
				t.Errorf("call %d: %v", i+1, d.Err)
			}
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Decide did not return")
	}
	if s, _ := e.State("shop"); s.Kills != 0 {
		t.Errorf("%d kills: the caller's time is not the script's fault", s.Kills)
	}
	if d := decide(t, e, "shop", call(t, "fine"))[0]; d.Err != nil {
		t.Errorf("afterwards: %v", d.Err)
	}
}

// watch returns a function that waits until a process is gone.
func watch(t *testing.T, pid int) (wait func()) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("process %d: %v", pid, err)
	}
	return func() {
		t.Helper()
		defer unix.Close(fd)
		deadline := time.Now().Add(20 * time.Second)
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Until(deadline).Milliseconds()))
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if n != 1 || err != nil {
				t.Fatalf("process %d goes on: %v", pid, err)
			}
			return
		}
	}
}

func TestEngine_LeavesNoProcessBehind(t *testing.T) {
	e := script.New(script.Options{Command: worker()})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	load(t, e, "a", "s.js", poisonous)
	load(t, e, "b", "s.js", poisonous)
	busy := make(chan []script.Decision)
	go func() { busy <- e.Decide(context.Background(), "b", []script.Call{call(t, "hang")}) }()
	gone := watch(t, e.WorkerPIDs("a")[0])
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	gone()
	if n := e.Workers(); n != 0 {
		t.Errorf("%d workers after Run", n)
	}
	if d := (<-busy)[0]; d.Err == nil {
		t.Error("the call that hung succeeded")
	}
	if _, err := e.Load(t.Context(), "a", script.Source{Name: "s.js", Code: []byte(poisonous)}); core.CodeOf(err) != core.CodeUnavailable {
		t.Errorf("Load after Run: %v", err)
	}
}

func TestEngine_EndsTheLongestIdleWorkerWhenThereAreTooMany(t *testing.T) {
	e := start(t, script.Options{MaxWorkers: 2})
	load(t, e, "a", "s.js", poisonous)
	load(t, e, "b", "s.js", poisonous)
	decide(t, e, "a", call(t, "used again"))
	longest := watch(t, e.WorkerPIDs("b")[0])
	load(t, e, "c", "s.js", poisonous)
	longest()
	if len(e.WorkerPIDs("a")) != 1 || len(e.WorkerPIDs("b")) != 0 || len(e.WorkerPIDs("c")) != 1 {
		t.Errorf("workers %v, %v, %v", e.WorkerPIDs("a"), e.WorkerPIDs("b"), e.WorkerPIDs("c"))
	}
	if d := decide(t, e, "b", call(t, "hi"))[0]; d.Err != nil {
		t.Errorf("started again: %v", d.Err)
	}
}

func TestEngine_EndsIdleWorkers(t *testing.T) {
	e := start(t, script.Options{Idle: time.Second})
	load(t, e, "shop", "s.js", poisonous)
	watch(t, e.WorkerPIDs("shop")[0])()
	if d := decide(t, e, "shop", call(t, "hi"))[0]; d.Err != nil {
		t.Errorf("started again: %v", d.Err)
	}
}

// host is a bridge that will be killed while its worker is busy and does not
// listen.
func host() {
	e := script.New(script.Options{Command: worker(), Hard: time.Hour})
	go func() { _ = e.Run(context.Background()) }()
	if _, err := e.Load(context.Background(), "shop", script.Source{Name: "s.js", Code: []byte(poisonous)}); err != nil {
		panic(err)
	}
	pid := e.WorkerPIDs("shop")[0]
	go e.Decide(context.Background(), "shop", []script.Call{{Event: []byte(`{"message":{"text":"hang"}}`), Context: []byte("{}"), Hooks: script.OnMessage}})
	for len(e.WorkerPIDs("shop")) > 0 { // until it has the call
		runtime.Gosched()
	}
	fmt.Println(pid)
	select {}
}

func TestEngine_TakesItsWorkersAlongWhenKilled(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "host")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	gone := watch(t, pid)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	gone()
}

// probe tries, behind one of a worker's walls, what a worker must not be able
// to.
func probe(wall, dir string) {
	open, err := os.Open("/etc/passwd")
	if err != nil {
		panic(err)
	}
	large, err := os.Create(filepath.Join(dir, "large"))
	if err != nil {
		panic(err)
	}
	report := map[string]string{}
	switch wall {
	case "resources":
		err = script.LimitResources(64 << 20)
	case "landlock":
		err = script.RestrictFiles()
	case "seccomp":
		err = script.FilterCalls()
	}
	if err != nil {
		report["wall"] = err.Error()
	}
	try := func(what string, err error) {
		report[what] = "possible"
		if err != nil {
			report[what] = err.Error()
		}
	}
	_, err = os.Open("/etc/hostname")
	try("open", err)
	_, err = os.ReadDir("/")
	try("list", err)
	try("write", os.WriteFile(filepath.Join(dir, "new"), nil, 0o600))
	try("run", exec.Command("/bin/true").Run())
	_, err = net.Dial("tcp", os.Getenv("PROBE_LISTENER"))
	try("connect", err)
	_, err = net.Dial("unix", "/var/run/x.sock")
	try("connect unix", err)
	try("kill", unix.Kill(os.Getppid(), 0))
	_, err = unix.PidfdOpen(os.Getppid(), 0)
	try("reach a process", err)
	_, err = open.Read(make([]byte, 1))
	try("use what is open", err)
	signal.Ignore(unix.SIGXFSZ)
	try("large file", large.Truncate(1<<20))
	for range 20 {
		if _, err = unix.Dup(1); err != nil {
			break
		}
	}
	try("many files", err)
	_ = json.NewEncoder(os.Stdout).Encode(report)
}

func TestConfine_LeavesAWorkerNothingButMemoryAndTime(t *testing.T) {
	// What each wall keeps out by itself.
	for wall, want := range map[string][]string{
		"landlock":  {"open", "list", "write", "connect", "run"},
		"seccomp":   {"open", "list", "write", "connect", "connect unix", "run", "kill", "reach a process"},
		"resources": {"many files", "large file"},
	} {
		t.Run(wall, func(t *testing.T) { behind(t, wall, want) })
	}
}

func behind(t *testing.T, wall string, want []string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	t.Setenv("PROBE_LISTENER", listener.Addr().String())
	out, err := exec.CommandContext(t.Context(), "/proc/self/exe", "probe", wall, t.TempDir()).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var report map[string]string
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatal(err)
	}
	if report["wall"] != "" {
		t.Skipf("NOT TESTED: %s", report["wall"])
	}
	if got := report["use what is open"]; got != "possible" {
		t.Errorf("use what is open: %s", got)
	}
	for _, what := range want {
		if got := report[what]; got == "possible" || got == "" {
			t.Errorf("%s is possible", what)
		}
	}
	t.Log(report)
}

func TestEngine_StartsWorkersWithoutAnEnvironment(t *testing.T) {
	t.Setenv("WABRIDGE_TEST_SECRET", "canary")
	e := script.New(script.Options{Command: []string{"/bin/sh", "-c", "/usr/bin/env | /usr/bin/tr '\\n' ' ' >&2; pwd >&2"}})
	err := e.Check(t.Context(), script.Source{Name: "s.js"})
	if err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "PWD=/ ") {
		t.Errorf("a worker sees %v", err)
	}
}

// evilWorker loads anything and then answers with what the engine must not
// believe.
func evilWorker(how string) {
	conn := os.NewFile(3, "engine")
	read := func() {
		var n [4]byte
		if _, err := io.ReadFull(conn, n[:]); err != nil {
			os.Exit(0)
		}
		_, _ = io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(n[:])))
	}
	frame := func(kind byte, payload string) {
		b := binary.BigEndian.AppendUint32(nil, uint32(len(payload)+1))
		_, _ = conn.Write(append(append(b, kind), payload...))
	}
	// A result: length, failure, time, message, line, actions, fields, log.
	result := func(body string) string {
		return string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + body
	}
	fine := result("\x00\x01\x00\x00\x00\x00\x00")
	read()
	frame('L', `{"hooks":65281,"confined":{"memory":"`+strings.Repeat("x", 1000)+`"}}`)
	for {
		read()
		switch how {
		case "huge":
			_, _ = conn.Write([]byte("\xff\xff\xff\xffR"))
		case "empty":
			_, _ = conn.Write([]byte("\x00\x00\x00\x00R"))
		case "kind":
			frame('L', "{}")
		case "garbage":
			frame('R', strings.Repeat("\xa5", 1000))
		case "cut":
			_, _ = conn.Write([]byte("\x00\x00\x01\x00R"))
		case "too many":
			frame('R', fine+fine)
		case "trailing":
			frame('R', result("\x00\x01\x00\x00\x00\x00\x00more"))
		case "many fields":
			frame('R', result("\x00\x01\x00\x00\x00\xff\x7f"+strings.Repeat("\x01a\x00", 20000)))
		case "not a number":
			frame('R', result("\x00\x01\x00\x00\x00\x02\x01a\x03\x7f\xf8\x00\x00\x00\x00\x00\x01\x00"))
		case "exit":
			os.Exit(3)
		case "silent":
			select {}
		case "actions":
			frame('R', result("\x00\x01\x00\x00\x1e"+`[{"type":"rm","path":"/etc/x"}]`[:30]+"\x00\x00"))
		case "field name":
			frame('R', result("\x00\x01\x00\x00\x00\x02\x00\x00\x00"))
		case "line":
			frame('R', result("\x01\x01\x02\xff\n\x09/etc/p:12\x00\x00\x00"))
		}
	}
}

func TestEngine_BelievesNothingThatAWorkerSays(t *testing.T) {
	for how, want := range map[string]string{
		"huge": "internal: nonsense", "empty": "internal: nonsense", "kind": "internal: nonsense", "garbage": "internal: nonsense",
		"cut": "internal: nonsense", "too many": "ok", "trailing": "internal: nonsense",
		"many fields": "internal: nonsense", "not a number": "internal: nonsense",
		"exit": "internal: ended its worker", "silent": "internal: did not end",
		"actions": "invalid: no list of actions|action", "field name": "invalid: name is missing", "line": "invalid: s.js: �",
	} {
		t.Run(how, func(t *testing.T) {
			e := start(t, script.Options{Command: []string{"/proc/self/exe", "evil-worker", how}, Hard: slower * 50 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
			v := load(t, e, "shop", "s.js", "")
			if v.Hooks != script.OnMessage {
				t.Errorf("hooks %s", v.Hooks)
			}
			d := decide(t, e, "shop", call(t, "hi"))[0]
			if !endsAs(outcome(d), want) {
				t.Errorf("%q, want %q", outcome(d), want)
			}
			if d.Line != "" || d.Fields != nil || d.Actions != nil {
				t.Errorf("%+v", d)
			}
		})
	}
}
