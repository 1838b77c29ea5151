//go:build linux

package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wabridge/wabridge/core"
)

func TestHost_DeliversThroughAProcess(t *testing.T) {
	reg := prometheus.NewRegistry()
	h, _ := run(t, HostOptions{Launch: child("actor"), Registerer: reg})

	info, err := h.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(actor{}.Info(), info); diff != "" {
		t.Errorf("Info (-connector's +host's):\n%s", diff)
	}
	batch := does("ok", "data", "error", "account", "what", "refs")
	batch[5].ContactRef, batch[5].MessageRef = "contact's", "message's"
	want := []core.Result{
		{ID: "wamid.0", Ref: "ref-wamid.0"},
		{ID: "wamid.1", Ref: "2 " + string(batch[1].Data)},
		{ID: "wamid.2", Ref: "ref-wamid.2", Err: &core.Error{
			Code: core.CodeRateLimited, Op: "write", Message: "slow down", Hint: "lower calls_per_second",
			Source: core.SourceVendor, Vendor: "429", RetryAfter: 2500 * time.Millisecond, Scope: core.ScopeConversation,
		}},
		// The tenant and lane are the Host's, whatever Account says.
		{ID: "wamid.3", Ref: `{"tenant":"shop","lane":"crm","settings":{"url":"http://127.0.0.1:1"}}`},
		{ID: "wamid.4", Err: &core.Error{Code: core.CodeInvalid, Op: "act", Message: "what is what?"}},
		{ID: "wamid.5", Ref: "ref-wamid.5", ContactRef: "the contact's", MessageRef: "the message's"},
	}
	got := h.Deliver(t.Context(), batch)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(core.Error{}, "Err")); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if got := h.Deliver(t.Context(), nil); len(got) != 0 {
		t.Errorf("an empty batch has results %v", got)
	}

	s := h.State()
	if s.Phase != PhaseRunning || s.Starts != 1 || s.Crashes != 0 || s.Version != "1.2.3" || s.PID == 0 || s.Since.IsZero() {
		t.Errorf("state is %+v", s)
	}
	if got := metric(t, reg, "wabridge_plugin_starts_total"); got != 1 {
		t.Errorf("starts metric is %v, want 1", got)
	}
	if got := metric(t, reg, "wabridge_plugin_deliver_seconds"); got != 1 {
		t.Errorf("%v calls were observed, want 1", got)
	}
}

// metric sums a metric of a registry.
func metric(t *testing.T, reg prometheus.Gatherer, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		found = true
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	if !found {
		t.Errorf("no metric %s", name)
	}
	return sum
}

func TestHost_ChecksAccounts(t *testing.T) {
	h, _ := run(t, HostOptions{Launch: child("actor")})
	if err := h.Check(t.Context()); err != nil {
		t.Errorf("Check of a good account: %v", err)
	}
	for _, tc := range []struct {
		token string
		want  core.Error
	}{
		{"", core.Error{
			Code: core.CodeUnauthenticated, Op: "check", Message: "no token", Hint: "set the secret token",
			Source: core.SourceVendor, Vendor: "401", RetryAfter: 1500 * time.Millisecond, Scope: core.ScopeLane,
		}},
		{"plain-error", core.Error{Code: core.CodeInternal, Source: core.SourcePlugin, Message: "[secret] is not a good token"}},
	} {
		err := h.Connector().Check(t.Context(), core.Account{Secrets: map[string]core.Secret{"token": core.Secret(tc.token)}})
		if diff := cmp.Diff(&tc.want, core.AsError(err)); diff != "" {
			t.Errorf("token %q (-want +got):\n%s", tc.token, diff)
		}
	}
	err := h.Connector().Check(t.Context(), core.Account{Secrets: map[string]core.Secret{"token": "panic"}})
	if core.CodeOf(err) != core.CodeInternal || !strings.Contains(err.Error(), "main_test.go") {
		t.Errorf("a panic in Check is %v, want internal and its place", err)
	}
}

func TestHost_GivesThePluginNothingButTheHandshake(t *testing.T) {
	t.Setenv("WABRIDGE_MASTER_KEY", "hunter2")
	dir := t.TempDir()
	if len(dir) > maxDir {
		dir = shortDir(t)
	}
	l := child("actor")
	l.Dir = dir
	h, _ := run(t, HostOptions{Launch: l})

	for name := range strings.FieldsSeq(mustAct(t, h, "env")) {
		if name != handshake.MagicCookieKey && !strings.HasPrefix(name, "PLUGIN_") {
			t.Errorf("the plugin's environment has %s", name)
		}
	}
	perm, cwd, _ := strings.Cut(mustAct(t, h, "dir"), " ")
	if perm != "-rwx------" || !strings.HasPrefix(cwd, dir) {
		t.Errorf("the plugin works in %s with mode %s, want a directory of its own in %s", cwd, perm, dir)
	}
	if base, err := os.Stat(filepath.Dir(cwd)); err != nil || base.Mode().Perm() != 0o700 {
		t.Errorf("the directory above has mode %v (%v), want 0700", base.Mode(), err)
	}
}

// shortDir is a temporary directory with a short path.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "t") //nolint:usetesting // t.TempDir is too long for a socket in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestHost_LimitsTheProcess(t *testing.T) {
	l := child("actor")
	l.Memory = 0
	if raceEnabled {
		t.Skip("the race detector does not run within the memory of a plugin")
	}
	h, j := run(t, HostOptions{Launch: l})
	if got, want := mustAct(t, h, "limits"), fmt.Sprint("0 ", DefaultMemory); got != want {
		t.Errorf("limits of core files and data are %s, want %s", got, want)
	}
	r := act(t, h, "hog")
	if core.CodeOf(plain(r.Err)) != core.CodeUnknownOutcome || r.Err.Vendor != VendorCrashed {
		t.Errorf("a hog ends in %v, want an unknown outcome by a crash", r.Err)
	}
	j.wait(t, "plugin crashed")
	// Whichever it asked for first: memory for itself, or for a thread's stack.
	if log := j.String(); !strings.Contains(log, "out of memory") && !strings.Contains(log, "pthread_create failed: Resource temporarily unavailable") {
		t.Errorf("it was not memory that it died of:\n%s", tail(log))
	}
	mustAct(t, h, "ok")
}

func TestHost_SplitsWhatIsTooLarge(t *testing.T) {
	h, _ := run(t, HostOptions{Launch: child("actor")})
	mebibyte := strings.Repeat("x", 1<<20)
	var texts []string
	for range 250 { // MaxBatch is 100
		texts = append(texts, "ok")
	}
	for i := range 20 { // a message is at most 8 MiB
		texts[i*3] = "ok " + mebibyte
	}
	texts[7] = "ok " + strings.Repeat(mebibyte, 8)
	for i, r := range h.Deliver(t.Context(), does(texts...)) {
		switch {
		case r.ID != fmt.Sprint("wamid.", i):
			t.Fatalf("result %d is of %s", i, r.ID)
		case i == 7 && core.CodeOf(plain(r.Err)) != core.CodeInvalid:
			t.Errorf("an event of 8 MiB: %v, want invalid", r.Err)
		case i != 7 && r.Err != nil:
			t.Errorf("event %d: %v", i, r.Err)
		}
	}
	if s := h.State(); s.Starts != 1 {
		t.Errorf("the plugin was started %d times", s.Starts)
	}
}

func TestHost_TellsTheConnectorItsDeadline(t *testing.T) {
	c := newCRM(t)
	h, _ := run(t, HostOptions{Launch: child("actor"), Account: func() core.Account { return c.account }, CallTimeout: time.Second})
	// The connector gives up a little before the bridge does, so that its own
	// error gets through.
	r := act(t, h, "ask")
	if core.CodeOf(plain(r.Err)) != core.CodeUnavailable || !strings.Contains(r.Err.Message, "deadline") {
		t.Errorf("got %v, want the connector's error", r.Err)
	}
}

func TestHost_ReturnsWhenTheContextEnds(t *testing.T) {
	c := newCRM(t)
	h, _ := run(t, HostOptions{Launch: child("actor"), Account: func() core.Account { return c.account }})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-c.asked
		cancel()
	}()
	results := h.Deliver(ctx, does("ask", "ask"))
	if len(results) != 2 || results[1].Err.Code != core.CodeUnknownOutcome {
		t.Errorf("got %+v, want two unknown outcomes", results)
	}
	if s := h.State(); s.Phase != PhaseRunning || s.Crashes != 0 {
		t.Errorf("the plugin suffered: %+v", s)
	}
}

func TestHost_StartsAnotherProcessWhenOneIsKilled(t *testing.T) {
	c := newCRM(t)
	h, _ := run(t, HostOptions{Launch: child("actor"), Account: func() core.Account { return c.account }})
	first := await(t, h, "running", running).PID
	go func() {
		<-c.asked
		_ = syscall.Kill(first, syscall.SIGKILL)
	}()
	began := time.Now()
	r := act(t, h, "ask")
	if core.CodeOf(plain(r.Err)) != core.CodeUnknownOutcome || r.Err.Op != "plugin" || r.Err.Vendor != VendorCrashed {
		t.Errorf("got %v, want an unknown outcome by a crash", r.Err)
	}
	if !strings.Contains(r.Err.Message, killedStatus) {
		t.Errorf("the message %q does not say how the process ended", r.Err.Message)
	}
	t.Logf("the call failed and said why within %v", time.Since(began))
	mustAct(t, h, "ok") // waits for the next
	s := h.State()
	if s.PID == first || s.Starts != 2 || s.Crashes != 1 || !strings.Contains(s.LastError, killedStatus) {
		t.Errorf("state is %+v", s)
	}
}

func TestHost_KillsAProcessThatHangs(t *testing.T) {
	h, _ := run(t, HostOptions{
		Launch: child("actor"), HealthInterval: 50 * time.Millisecond, HealthTimeout: 500 * time.Millisecond,
	})
	pid := await(t, h, "running", running).PID
	old := watch(t, pid)
	r := act(t, h, "freeze")
	if core.CodeOf(plain(r.Err)) != core.CodeUnknownOutcome || r.Err.Vendor != VendorCrashed {
		t.Errorf("got %v, want an unknown outcome by a crash", r.Err)
	}
	old.gone(t, "the stopped process")
	mustAct(t, h, "ok")
	if s := h.State(); s.PID == pid || s.Crashes != 1 || !strings.Contains(s.LastError, "does not answer") {
		t.Errorf("state is %+v", s)
	}
}

func TestHost_GivesUpOnAHangingCall(t *testing.T) {
	h, _ := run(t, HostOptions{Launch: child("actor"), CallTimeout: 300 * time.Millisecond})
	await(t, h, "running", running)
	r := act(t, h, "freeze")
	if core.CodeOf(plain(r.Err)) != core.CodeUnknownOutcome || r.Err.Vendor != VendorTimeout {
		t.Errorf("got %v, want an unknown outcome by a timeout", r.Err)
	}
	// And when the Host stops, the stopped process does not hold it up: see run.
}

func TestHost_QuarantinesAPluginThatKeepsCrashing(t *testing.T) {
	reg := prometheus.NewRegistry()
	h, j := run(t, HostOptions{Launch: child("exiting"), CrashBudget: 3, Registerer: reg})
	s := await(t, h, "quarantined", func(s State) bool { return s.Phase == PhaseQuarantined })
	if s.Crashes != 3 || s.Starts != 0 || time.Until(s.Retry) < 5*time.Minute {
		t.Errorf("state is %+v, want 3 crashes and a retry in about 10 minutes", s)
	}
	for _, want := range []string{"exit status 7", "config not found"} {
		if !strings.Contains(s.LastError, want) {
			t.Errorf("the last error %q does not say %q", s.LastError, want)
		}
	}
	j.wait(t, "plugin quarantined", "level=ERROR")

	r := act(t, h, "ok") // does not wait
	if e := r.Err; e == nil || e.Code != core.CodeUnavailable || e.Holds() != core.ScopeLane || e.RetryAfter != 0 || e.Hint == "" {
		t.Errorf("a call gets %+v, want unavailable for the lane, with a hint", r.Err)
	}
	if _, err := h.Info(t.Context()); core.CodeOf(err) != core.CodeUnavailable {
		t.Errorf("Info: %v, want unavailable", err)
	}
	h.Restart()
	// A clean record: three more crashes.
	s = await(t, h, "quarantined again", func(s State) bool { return s.Phase == PhaseQuarantined && s.Crashes > 3 })
	if s.Crashes != 6 {
		t.Errorf("after Restart there were %d crashes, want 6", s.Crashes)
	}
	if got := metric(t, reg, "wabridge_plugin_crashes_total"); got != 6 {
		t.Errorf("crashes metric is %v, want 6", got)
	}
}

func TestHost_WaitsOnlySoLongForAProcess(t *testing.T) {
	l := child("silent")
	h, _ := run(t, HostOptions{Launch: l, StartWait: 50 * time.Millisecond})
	if r := act(t, h, "ok"); core.CodeOf(plain(r.Err)) != core.CodeUnavailable || r.Err.Scope != core.ScopeLane {
		t.Errorf("got %v, want unavailable", r.Err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.o.StartWait = patience
	if r := h.Deliver(ctx, does("ok")); core.CodeOf(plain(r[0].Err)) != core.CodeUnavailable {
		t.Errorf("with an ended context: %v, want unavailable", r[0].Err)
	}
}

func TestHost_LosesNoCallWhenRestarted(t *testing.T) {
	c := newCRM(t)
	h, _ := run(t, HostOptions{Launch: child("actor"), Account: func() core.Account { return c.account }, DrainTimeout: patience})
	first := await(t, h, "running", running).PID
	old := watch(t, first)
	long := make(chan core.Result, 1)
	go func() { long <- act(t, h, "ask") }()
	c.waitAsked(t)

	var ok, failed atomic.Int32
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, r := range h.Deliver(context.Background(), does("ok", "ok")) {
					if r.Err != nil {
						failed.Add(1)
						t.Errorf("a call failed: %v", r.Err)
					} else {
						ok.Add(1)
					}
				}
			}
		})
	}
	h.Restart()
	s := await(t, h, "running as a new process", func(s State) bool { return s.Phase == PhaseRunning && s.PID != first })
	mustAct(t, h, "ok")
	close(c.answer)
	if r := <-long; r.Err != nil {
		t.Errorf("the call in flight: %v", r.Err)
	}
	old.gone(t, "the old process")
	close(stop)
	callers.Wait()
	if s.Crashes != 0 || s.Starts != 2 || ok.Load() == 0 {
		t.Errorf("state is %+v after %d results", s, ok.Load())
	}
	t.Logf("%d results, %d failed", ok.Load(), failed.Load())
}

func TestHost_KeepsTheOldProcessWhenTheNewOneFails(t *testing.T) {
	path, sum := copyOfTestProgram(t)
	h, j := run(t, HostOptions{Launch: Launcher{Path: path, SHA256: sum, Args: []string{"child", "actor"}, Memory: -1}})
	first := await(t, h, "running", running).PID
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	h.Restart()
	j.wait(t, "plugin not replaced")
	mustAct(t, h, "ok")
	if s := h.State(); s.PID != first || s.Crashes != 0 || s.LastError == "" {
		t.Errorf("state is %+v, want the old process and why there is no new one", s)
	}
}

func TestHost_FinishesCallsInFlightWhenItStops(t *testing.T) {
	c := newCRM(t)
	h := NewHost(HostOptions{Name: "actor", Launch: child("actor"), Account: func() core.Account { return c.account }, StartWait: patience})
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- h.Run(ctx) }()
	process := watch(t, await(t, h, "running", running).PID)

	inFlight := make(chan core.Result, 1)
	go func() { inFlight <- act(t, h, "ask") }()
	c.waitAsked(t)
	cancel()
	await(t, h, "out of service", func(s State) bool { return s.Phase != PhaseRunning })
	if r := act(t, h, "ok"); core.CodeOf(plain(r.Err)) != core.CodeUnavailable {
		t.Errorf("a call while stopping: %v, want unavailable", r.Err)
	}
	select {
	case <-stopped:
		t.Error("Run returned with a call in flight")
	default:
	}
	close(c.answer)
	if r := <-inFlight; r.Err != nil {
		t.Errorf("the call in flight: %v", r.Err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run: %v", err)
	}
	if !process.ends(0) {
		t.Error("Run returned before the process was gone")
	}
	if r := act(t, h, "ok"); core.CodeOf(plain(r.Err)) != core.CodeUnavailable || h.State().Phase != PhaseStopped {
		t.Errorf("after Run: %v in %+v, want unavailable, stopped", r.Err, h.State())
	}
}

func TestHost_EndsWithAProcessThatIgnoresSIGTERM(t *testing.T) {
	h, _ := run(t, HostOptions{Launch: child("stubborn"), DrainTimeout: time.Millisecond})
	process := watch(t, await(t, h, "running", running).PID)
	h.Restart()
	process.gone(t, "a process that ignores SIGTERM")
}

func TestHost_MovesOnWhenSomeoneStopsThePlugin(t *testing.T) {
	c := newCRM(t)
	h, _ := run(t, HostOptions{Launch: child("actor"), Account: func() core.Account { return c.account }})
	pid := await(t, h, "running", running).PID
	old := watch(t, pid)
	inFlight := make(chan core.Result, 1)
	go func() { inFlight <- act(t, h, "ask") }()
	c.waitAsked(t)
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// Calls are refused as soon as the plugin has the signal, and made again on
	// the next process: none of them fails.
	for h.State().PID == pid {
		if r := act(t, h, "ok"); r.Err != nil {
			t.Errorf("a call while the plugin stops: %v", r.Err)
		}
		if s := h.State(); s.Phase != PhaseRunning {
			break
		}
	}
	close(c.answer)
	if r := <-inFlight; r.Err != nil {
		t.Errorf("the call in flight: %v", r.Err)
	}
	old.gone(t, "the process")
	mustAct(t, h, "ok")
}

func TestHost_TakesThePluginsOwnProcessesWithIt(t *testing.T) {
	h, _ := run(t, HostOptions{Launch: child("actor")})
	var grandchild int
	if _, err := fmt.Sscan(mustAct(t, h, "spawn"), &grandchild); err != nil {
		t.Fatal(err)
	}
	left := watch(t, grandchild)
	h.Restart()
	left.gone(t, "a process that the plugin started")
}

func TestHost_LeavesNothingBehind(t *testing.T) {
	dir := shortDir(t)
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	l := child("actor")
	l.Dir = dir
	h := NewHost(HostOptions{Name: "actor", Launch: l, StartWait: patience})
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- h.Run(ctx) }()
	await(t, h, "running", running)
	h.Restart()
	await(t, h, "restarted", func(s State) bool { return s.Phase == PhaseRunning && s.Starts == 2 })
	cancel()
	<-stopped
	if left, err := filepath.Glob(dir + "/*"); err != nil || len(left) > 0 {
		t.Errorf("left in the directory: %v %v", left, err)
	}
	// The goroutine that starts processes stays, for all Hosts together. Those of the
	// connections, and these, gRPC ends in its own time.
	timeout := time.After(patience)
	for runtime.NumGoroutine() > goroutines+1 || openFiles(t) > files {
		select {
		case <-timeout:
			t.Fatalf("%d goroutines and %d open files before, %d and %d after", goroutines, files, runtime.NumGoroutine(), openFiles(t))
		default:
			runtime.Gosched()
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestHost_RefusesAnEventThatThePluginCannotRead(t *testing.T) {
	h, _ := run(t, HostOptions{Launch: child("actor")})
	batch := does("ok", "ok", "ok")
	batch[1].Data = []byte(`{"id":"wamid.1","time":"yesterday"}`)
	batch[2].Data = []byte(`{"id":"another","kind":"x"}`)
	results := h.Deliver(t.Context(), batch)
	if results[0].Err != nil {
		t.Errorf("the neighbour: %v", results[0].Err)
	}
	for _, r := range results[1:] {
		if core.CodeOf(plain(r.Err)) != core.CodeInvalid {
			t.Errorf("%s: %v, want invalid", r.ID, r.Err)
		}
	}
}

func TestHost_StateIsWrittenAsJSON(t *testing.T) {
	b, err := json.Marshal(State{Phase: PhaseBackoff, Since: time.Unix(0, 0).UTC(), Crashes: 2, LastError: "x"})
	want := `{"phase":"backoff","since":"1970-01-01T00:00:00Z","starts":0,"crashes":2,"last_error":"x"}`
	if err != nil || string(b) != want {
		t.Errorf("got %s %v, want %s", b, err, want)
	}
}

func TestHost_CallsNoProcessThatHasEnded(t *testing.T) {
	h := NewHost(HostOptions{Name: "actor", StartWait: time.Millisecond})
	ended := make(chan struct{})
	close(ended)
	h.current = &instance{process: &process{ended: ended}} // and Run has not seen it yet
	if r := act(t, h, "ok"); core.CodeOf(plain(r.Err)) != core.CodeUnavailable {
		t.Errorf("got %v, want unavailable: nothing happened", r.Err)
	}
	if s := h.State(); s.Phase != PhaseBackoff {
		t.Errorf("state is %+v", s)
	}
}

func TestHost_SharesARegisterer(t *testing.T) {
	reg := prometheus.NewRegistry()
	for _, lane := range []string{"a", "b", "b"} {
		NewHost(HostOptions{Name: "x", Tenant: "t", Lane: lane, Registerer: reg}).metrics.starts.Inc()
	}
	if got := metric(t, reg, "wabridge_plugin_starts_total"); got != 3 {
		t.Errorf("starts of three Hosts are %v", got)
	}
}
