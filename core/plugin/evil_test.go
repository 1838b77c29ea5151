//go:build linux

package plugin

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin/internal/connectorpb"
)

func TestHost_ForgivesWhatAPluginPrintsBeforeServe(t *testing.T) {
	for _, text := range []string{`starting up\n`, "no end of line, then 1", `a\nb\nc\n1|2|3|4\n`} {
		h, j := run(t, HostOptions{Launch: child("printing", text)})
		mustAct(t, h, "ok")
		first, _, _ := strings.Cut(text, `\n`)
		j.wait(t, first, "stream=stdout")
	}
}

func TestHost_LogsWhatAPluginPrints(t *testing.T) {
	h, j := run(t, HostOptions{Launch: child("actor")})
	mustAct(t, h, "print hello from inside")
	j.wait(t, `msg="hello from inside"`, "stream=stdout")
	j.wait(t, `msg="hello from inside (stderr)"`, "stream=stderr")
	j.wait(t, `msg="hello from inside (file 1)"`)
	mustAct(t, h, "say look at this")
	line := j.wait(t, `msg="look at this"`, "level=WARN")
	if !strings.Contains(line, "said.id=wamid.0") || !strings.Contains(line, "said.token=[secret]") || strings.Contains(line, "s3cr3t") {
		t.Errorf("the record is %s, want its attributes without the secret", line)
	}
}

func TestHost_RefusesWhatIsNoPlugin(t *testing.T) {
	for _, tc := range []struct {
		name   string
		launch Launcher
		want   []string
	}{
		{"silent", child("silent"), []string{"not ready in time", "plugin.Serve"}},
		{"exits at once", child("exiting"), []string{"exit status 7", "config not found"}},
		{"prints something else without end", child("noisy"), []string{"no handshake", "usage: noisy [flags]"}},
		{"is deaf on its socket", child("deaf"), []string{"certificate"}},
		{"takes connections and says nothing", child("mute"), []string{"not ready in time"}},
		{"sends the bridge to a port", child("elsewhere", "tcp|127.0.0.1:25"), []string{"PLUGIN_UNIX_SOCKET_DIR"}},
		{"sends the bridge to another socket", child("elsewhere", "unix|/var/run/docker.sock"), []string{"PLUGIN_UNIX_SOCKET_DIR"}},
		{"climbs out of its directory", child("elsewhere", "unix|./../x"), []string{"PLUGIN_UNIX_SOCKET_DIR"}},
		{"another version", child("version"), []string{"version 7", "speaks 1", "rebuild"}},
		{"a description that cannot be", child("evil", "info"), []string{"etc/passwd", "100000000", "maybe"}},
		{"dies when asked what it is", child("evil", "info-exit"), []string{"exit status 9"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.launch.StartTimeout = 3 * time.Second
			h, _ := run(t, HostOptions{Launch: tc.launch, CrashBudget: 1})
			s := await(t, h, "quarantined", func(s State) bool { return s.Phase == PhaseQuarantined })
			for _, want := range tc.want {
				if !strings.Contains(s.LastError, want) {
					t.Errorf("the error is %q, want it to say %q", s.LastError, want)
				}
			}
			if s.Starts != 0 {
				t.Errorf("it counts as started")
			}
		})
	}
}

func TestHost_TakesNoNonsenseForResults(t *testing.T) {
	missing := &core.Error{
		Code: core.CodeUnknownOutcome, Op: "plugin", Source: core.SourcePlugin, Message: "the connector gave no result for this event",
	}
	for _, tc := range []struct {
		how  string
		want []core.Result
	}{
		{"foreign", []core.Result{{ID: "wamid.0", Err: missing}, {ID: "wamid.1", Ref: "r"}}},
		{"doubled", []core.Result{
			{ID: "wamid.0", Ref: "r", Err: &core.Error{Code: core.CodeInvalid, Message: "no"}}, {ID: "wamid.1", Err: missing},
		}},
		{"none", []core.Result{{ID: "wamid.0", Err: missing}, {ID: "wamid.1", Err: missing}}},
		{"many", []core.Result{{ID: "wamid.0", Ref: "r"}, {ID: "wamid.1", Ref: "r"}}},
	} {
		t.Run(tc.how, func(t *testing.T) {
			reg := prometheus.NewRegistry()
			h, j := run(t, HostOptions{Launch: child("evil", tc.how), Registerer: reg})
			if diff := cmp.Diff(tc.want, h.Deliver(t.Context(), does("ok", "ok"))); diff != "" {
				t.Errorf("results (-want +got):\n%s", diff)
			}
			j.wait(t, "results do not match")
			if got := metric(t, reg, "wabridge_plugin_odd_answers_total"); got != 1 {
				t.Errorf("odd answers metric is %v, want 1", got)
			}
		})
	}
}

func TestHost_CapsWhatAPluginSays(t *testing.T) {
	h, _ := run(t, HostOptions{Launch: child("evil", "texts")})
	results := h.Deliver(t.Context(), does("ok", "ok"))
	e := results[0].Err
	switch {
	case e.Code != core.CodeInternal || !strings.Contains(e.Message, `"explode"`):
		t.Errorf("a code that does not exist is %s: %.80s", e.Code, e.Message)
	case len(e.Message) > maxMessageText || len(e.Vendor) > maxWord || len(results[0].Ref) > maxRef:
		t.Errorf("lengths are %d, %d, %d", len(e.Message), len(e.Vendor), len(results[0].Ref))
	case strings.ContainsAny(e.Message+results[0].Ref, "\x00\x1b\n"):
		t.Errorf("control characters are left in %q", e.Message)
	case e.Hint != "[secret]":
		t.Errorf("the hint is %q, want the secret gone", e.Hint)
	case e.RetryAfter != maxRetryAfter || e.Scope != "" || e.Source != core.SourcePlugin:
		t.Errorf("got %+v", e)
	case results[1].Err.RetryAfter != 0:
		t.Errorf("a negative wait is %v", results[1].Err.RetryAfter)
	}
}

func TestHost_RefusesAHugeReply(t *testing.T) {
	h, _ := run(t, HostOptions{Launch: child("evil", "huge")})
	await(t, h, "running", running)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := act(t, h, "ok")
	runtime.ReadMemStats(&after)
	if core.CodeOf(plain(r.Err)) != core.CodeUnknownOutcome || !strings.Contains(r.Err.Message, "too large") {
		t.Errorf("got %v, want an unknown outcome", r.Err)
	}
	if grew := after.TotalAlloc - before.TotalAlloc; grew > 50<<20 {
		t.Errorf("the bridge allocated %d MiB for it", grew>>20)
	}
	if s := h.State(); s.Phase != PhaseRunning {
		t.Errorf("state is %+v", s)
	}
}

func TestHost_RunsAnotherProcessWhenOneRefusesEveryCall(t *testing.T) {
	h, _ := run(t, HostOptions{Launch: child("evil", "aborted"), CrashBudget: 10})
	if r := act(t, h, "ok"); core.CodeOf(plain(r.Err)) != core.CodeUnavailable {
		t.Errorf("got %v, want unavailable: nothing happened", r.Err)
	}
	if s := await(t, h, "replaced", func(s State) bool { return s.Starts >= 3 }); s.Crashes < 2 {
		t.Errorf("state is %+v", s)
	}
}

func TestHost_DoesNotTrustOtherErrors(t *testing.T) {
	h, _ := run(t, HostOptions{Launch: child("evil", "status")})
	r := act(t, h, "ok")
	if core.CodeOf(plain(r.Err)) != core.CodeUnknownOutcome || !strings.Contains(r.Err.Message, "my dog ate [secret]") {
		t.Errorf("got %v, want an unknown outcome without the secret", r.Err)
	}
	if err := h.Check(t.Context()); core.CodeOf(err) != core.CodeInternal || !strings.Contains(err.Error(), "does not have this call") {
		t.Errorf("Check: %v", err)
	}
}

func TestHost_QuarantinesAPluginThatAPoisonEventKills(t *testing.T) {
	h, _ := run(t, HostOptions{Launch: child("crashy"), CrashBudget: 3})
	for i := range 3 {
		r := act(t, h, "ok")
		if core.CodeOf(plain(r.Err)) != core.CodeUnknownOutcome || r.Err.Vendor != VendorCrashed {
			t.Errorf("crash %d: got %v", i+1, r.Err)
		}
	}
	s := await(t, h, "quarantined", func(s State) bool { return s.Phase == PhaseQuarantined })
	if s.Starts != 3 || s.Crashes != 3 {
		t.Errorf("state is %+v", s)
	}
}

func TestServe_TurnsAPanicIntoResults(t *testing.T) {
	h, j := run(t, HostOptions{Launch: child("actor")})
	pid := await(t, h, "running", running).PID
	for text, want := range map[string]string{
		"panic": "panic in Deliver: string at main_test.go:",
		"nil":   "panic in Deliver: runtime error: invalid memory address or nil pointer dereference at main_test.go:",
	} {
		results := h.Deliver(t.Context(), does("ok", text))
		for _, r := range results {
			switch {
			case core.CodeOf(plain(r.Err)) != core.CodeInternal || r.Err.Vendor != "panic":
				t.Errorf("%s: %s: %v, want internal", text, r.ID, r.Err)
			case !strings.HasPrefix(r.Err.Message, want), !strings.HasSuffix(r.Err.Message, "(github.com/wabridge/wabridge/core/plugin.actor.deliver)"):
				t.Errorf("%s: the message is %q, want %q and the function", text, r.Err.Message, want)
			case strings.Contains(r.Err.Message, "the token is"):
				t.Errorf("%s: the message has the panic's text: %q", text, r.Err.Message)
			}
		}
	}
	j.wait(t, "the connector panicked")
	mustAct(t, h, "ok")
	if s := h.State(); s.PID != pid {
		t.Error("the process did not survive")
	}
	if log := j.String(); strings.Contains(log, "the token is") {
		t.Errorf("the log has the panic's text:\n%s", log)
	}
}

func TestServe_DiesOfAPanicInAGoroutineWithoutTellingSecrets(t *testing.T) {
	h, j := run(t, HostOptions{Launch: child("actor")})
	await(t, h, "running", running)
	r := act(t, h, "crash")
	if core.CodeOf(plain(r.Err)) != core.CodeUnknownOutcome || r.Err.Vendor != VendorCrashed {
		t.Fatalf("got %v, want an unknown outcome by a crash", r.Err)
	}
	for _, want := range []string{"exit status 2", "plugin/main_test.go:", "actor.deliver"} {
		if !strings.Contains(r.Err.Message, want) {
			t.Errorf("the message %q does not say %q", r.Err.Message, want)
		}
	}
	line := j.wait(t, "plugin crashed")
	if !strings.Contains(line, "goroutine") || !strings.Contains(line, "main_test.go") {
		t.Errorf("the log record is %s, want the stack", line)
	}
	mustAct(t, h, "ok")
	for what, text := range map[string]string{"log": j.String(), "state": h.State().LastError, "message": r.Err.Message} {
		if strings.Contains(text, "s3cr3t") || strings.Contains(text, "the token is") {
			t.Errorf("the %s has the panic's text: %s", what, text)
		}
	}
}

func TestHost_KeepsSecretsOutOfErrors(t *testing.T) {
	h, _ := run(t, HostOptions{Launch: child("actor")})
	if r := act(t, h, "quote"); r.Err == nil || r.Err.Message != "the token [secret] is bad" {
		t.Errorf("got %v", r.Err)
	}
}

func TestHost_SurvivesAFloodOfLogLines(t *testing.T) {
	reg := prometheus.NewRegistry()
	h, j := run(t, HostOptions{Launch: child("actor"), Registerer: reg})
	await(t, h, "running", running)
	busy := cpuTime(t)
	began := time.Now()
	mustAct(t, h, "flood") // 100 MiB
	took := time.Since(began)
	dropped := metric(t, reg, "wabridge_plugin_log_lines_dropped_total") // all but what a pipe holds
	h.Restart()                                                          // at its end at the latest a process's dropped lines are told
	j.wait(t, "plugin logs too much")
	t.Logf("100 MiB of standard error in %v, %v of the bridge's CPU", took, cpuTime(t)-busy)
	lines := strings.Count(j.String(), "msg=\"flood")
	if allowed := linesPerSecond * (2 + int(took.Seconds())); lines == 0 || lines > allowed {
		t.Errorf("%d lines were logged in %v, want at most %d", lines, took, allowed)
	}
	if dropped < 1_000_000 {
		t.Errorf("%v lines were counted as dropped, want nearly all of 1,081,006", dropped)
	}
}

// cpuTime is what this process has used.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')'):]))
	user, _ := strconv.Atoi(fields[12])
	system, _ := strconv.Atoi(fields[13])
	return time.Duration(user+system) * 10 * time.Millisecond
}

var kills = flag.Int("kills", 1, "how often a bridge is killed")

// TestHost_KilledLeavesNoOrphan kills a bridge: its plugin must go too, and the
// next bridge must clean up after it.
func TestHost_KilledLeavesNoOrphan(t *testing.T) {
	// "bridge" has a plugin that does not look after its parent itself: the kernel
	// must kill it. "careless" started one that the kernel does not kill: its SDK
	// must notice.
	for _, kind := range []string{"bridge", "careless"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := shortDir(t)
			var worst time.Duration
			for range *kills {
				p, err := startChild(t, kind, dir)
				if err != nil {
					t.Fatal(err)
				}
				bridge, plugin := watch(t, p.bridge.Pid), watch(t, p.plugin)
				if err := p.bridge.Kill(); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				plugin.gone(t, "the plugin of a killed bridge")
				worst = max(worst, time.Since(began))
				bridge.gone(t, "the bridge")
			}
			t.Logf("the plugin was gone after %v at the latest, in %d kills", worst, *kills)
			if kind == "careless" {
				return
			}
			left, _ := filepath.Glob(filepath.Join(dir, dirPrefix+"*"))
			if len(left) != 1 {
				t.Errorf("the killed bridge left %v, want its private directory", left)
			}
			l := child("actor")
			l.Dir = dir
			h, _ := run(t, HostOptions{Launch: l})
			mustAct(t, h, "ok")
			now, _ := filepath.Glob(filepath.Join(dir, dirPrefix+"*"))
			if len(now) != 1 || now[0] == left[0] {
				t.Errorf("the directories are %v, want only the new bridge's", now)
			}
		})
	}
}

// What a plugin started outlives it where the bridge is killed: the next bridge ends it.
func TestSweepDirs_EndsWhatPluginsOfAKilledBridgeStarted(t *testing.T) {
	base := shortDir(t)
	dead, err := makeDir(base)
	if err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(dead.path, "plugin")
	if err := os.Mkdir(inside, 0o700); err != nil {
		t.Fatal(err)
	}
	// A plugin that leads its group and is gone, and what it started; and a person who looks around.
	plugin := exec.Command("sh", "-c", "sleep 1000 >&- 2>&- & echo $!")
	plugin.Dir, plugin.SysProcAttr = inside, &unix.SysProcAttr{Setpgid: true}
	said, err := plugin.Output()
	if err != nil {
		t.Fatal(err)
	}
	started, err := strconv.Atoi(strings.TrimSpace(string(said)))
	if err != nil {
		t.Fatal(err)
	}
	person := exec.Command("sleep", "1000")
	person.Dir, person.SysProcAttr = inside, &unix.SysProcAttr{Setpgid: true}
	if err := person.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Kill(started, unix.SIGKILL)
		_ = person.Process.Kill()
		_ = person.Wait()
	})
	left, looks := watch(t, started), watch(t, person.Process.Pid)
	called := filepath.Join(shortDir(t), "data") // as where the data is on another disk
	if err := os.Symlink(base, called); err != nil {
		t.Fatal(err)
	}
	sweepDirs(called) // its bridge lives
	if left.ends(0) {
		t.Fatal("what a living bridge's plugin started was killed")
	}
	dead.lock.Close() // as when the bridge dies
	sweepDirs(called)
	left.gone(t, "what a killed bridge's plugin started")
	if looks.ends(0) {
		t.Error("a person's process was killed")
	}
}

func TestStarter_OutlivesTheThreadsThatAsk(t *testing.T) {
	// Pdeathsig is bound to a thread: were the process started from this
	// goroutine's thread, it would be killed when that ends.
	cmd := exec.Command("cat")
	cmd.SysProcAttr = processAttributes()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	thread := make(chan int, 1)
	var ask func()
	ask = func() {
		runtime.LockOSThread() // not unlocked: the thread ends with the goroutine
		if unix.Gettid() == os.Getpid() {
			go ask() // the main thread never ends: have it on another one
			<-t.Context().Done()
			return
		}
		if err := startOnStarter(cmd); err != nil {
			t.Error(err)
		}
		thread <- unix.Gettid()
	}
	go ask()
	task := fmt.Sprint("/proc/self/task/", <-thread)
	timeout := time.After(patience)
	for _, err = os.Stat(task); err == nil; _, err = os.Stat(task) {
		select {
		case <-timeout:
			t.Fatal("the thread does not end")
		default:
			runtime.Gosched()
		}
	}
	if _, err := io.WriteString(in, "alive"); err != nil {
		t.Error(err)
	}
	in.Close()
	if said, err := io.ReadAll(out); err != nil || string(said) != "alive" {
		t.Errorf("the process said %q (%v)", said, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the process ended with its starter's thread: %v", err)
	}
}

func TestHost_LetsNobodyElseCallThePlugin(t *testing.T) {
	h, _ := run(t, HostOptions{Launch: child("actor")})
	_, cwd, _ := strings.Cut(mustAct(t, h, "dir"), " ")
	sockets, err := filepath.Glob(cwd + "/plugin*")
	if err != nil || len(sockets) != 1 {
		t.Fatalf("sockets in %s: %v %v", cwd, sockets, err)
	}
	for name, c := range map[string]credentials.TransportCredentials{
		"in the clear":          insecure.NewCredentials(),
		"without a certificate": credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}),
	} {
		conn, err := grpc.NewClient("unix:"+sockets[0], grpc.WithTransportCredentials(c))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		res, err := connectorpb.Client{Conn: conn}.Info(t.Context(), &connectorpb.InfoRequest{})
		if err == nil {
			t.Errorf("%s the plugin says %v", name, res)
		}
	}
}

func TestSweepDirs_KeepsThoseInUse(t *testing.T) {
	base := shortDir(t)
	used, err := makeDir(base)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(base, "not-ours")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	another, err := makeDir(base) // sweeps
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{used.path, another.path, other} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("swept away: %v", err)
		}
	}
	another.lock.Close() // as when the bridge dies
	sweepDirs(base)
	if _, err := os.Stat(another.path); !os.IsNotExist(err) {
		t.Errorf("a directory that nobody holds is still there (%v)", err)
	}
	used.remove()
	if _, err := os.Stat(used.path); !os.IsNotExist(err) {
		t.Errorf("a removed directory is still there (%v)", err)
	}
}
