//go:build linux

package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wabridge/wabridge/core"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// TestMain makes the test program a plugin, or a bridge, when a test started it.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "child" {
		if run, ok := children[os.Args[2]]; ok {
			run(os.Args[3:])
			os.Exit(0)
		}
		fmt.Fprintf(os.Stderr, "no child %q\n", os.Args[2])
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// child is a Launcher of one of [children].
func child(args ...string) Launcher {
	l := Self(append([]string{"child"}, args...)...)
	l.Memory = -1 // the race detector needs more than any plugin
	return l
}

// actor is the connector of the tests: it does what the text of each message
// says.
type actor struct{}

func (actor) Info() core.ConnectorInfo {
	return core.ConnectorInfo{
		Name: "actor", Version: "1.2.3", MaxBatch: 100, Idempotency: core.IdempotencyUpsert,
		Kinds: []core.Kind{core.KindMessageReceived}, CallsPerSecond: 2.5, Secrets: []string{"token"},
	}
}

type actorSettings struct {
	URL string `json:"url"`
}

func (actor) Check(_ context.Context, a core.Account) error {
	switch a.Secrets["token"].Reveal() {
	case "":
		return &core.Error{
			Code: core.CodeUnauthenticated, Op: "check", Message: "no token", Hint: "set the secret token",
			Source: core.SourceVendor, Vendor: "401", RetryAfter: 1500 * time.Millisecond, Scope: core.ScopeLane,
		}
	case "plain-error":
		return errors.New("plain-error is not a good token")
	case "panic":
		panic("the token is " + a.Secrets["token"].Reveal())
	}
	return nil
}

func (c actor) Deliver(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
	results := make([]core.Result, len(batch))
	for i, d := range batch {
		results[i] = c.deliver(ctx, a, d)
	}
	return results
}

func (actor) deliver(ctx context.Context, a core.Account, d core.Delivery) core.Result {
	r := core.Result{ID: d.Event.ID, Ref: "ref-" + d.Event.ID}
	fail := func(code core.Code, text string) core.Result {
		return core.Result{ID: d.Event.ID, Err: core.Errorf(code, "act", "%s", text)}
	}
	do, arg, _ := strings.Cut(d.Event.Message.Text, " ")
	switch do {
	case "", "ok":
	case "ask": // and wait for the answer
		var s actorSettings
		if err := json.Unmarshal(a.Settings, &s); err != nil {
			return fail(core.CodeInvalid, err.Error())
		}
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"?id="+url.QueryEscape(d.Event.ID), nil)
		client := http.Client{Timeout: time.Minute}
		res, err := client.Do(req)
		if err != nil {
			return fail(core.CodeUnavailable, "ask failed: "+fmt.Sprint(ctx.Err()))
		}
		res.Body.Close()
	case "account":
		b, _ := json.Marshal(a)
		r.Ref = string(b)
	case "data":
		r.Ref = fmt.Sprint(d.Attempt, " ", string(d.Data))
	case "refs":
		r.ContactRef, r.MessageRef = "the "+d.ContactRef, "the "+d.MessageRef
	case "env":
		r.Ref = strings.Join(envNames(), " ")
	case "limits":
		var core, data unix.Rlimit
		_ = unix.Getrlimit(unix.RLIMIT_CORE, &core)
		_ = unix.Getrlimit(unix.RLIMIT_DATA, &data)
		r.Ref = fmt.Sprint(core.Cur, " ", data.Cur)
	case "dir":
		dir, _ := os.Getwd()
		info, _ := os.Stat(dir)
		r.Ref = fmt.Sprint(info.Mode().Perm(), " ", dir)
	case "error":
		r.Err = &core.Error{
			Code: core.CodeRateLimited, Op: "write", Message: "slow down", Hint: "lower calls_per_second",
			Source: core.SourceVendor, Vendor: "429", RetryAfter: 2500 * time.Millisecond, Scope: core.ScopeConversation,
		}
	case "quote": // an error that tells the secret
		return fail(core.CodeInvalid, "the token "+a.Secrets["token"].Reveal()+" is bad")
	case "say":
		slog.Warn(arg, "token", a.Secrets["token"].Reveal(), "id", d.Event.ID) //nolint:forbidigo,sloglint // as the author of a plugin would
	case "flood":
		line := bytes.Repeat([]byte("flood "), 16)
		line = append(line, '\n')
		for range 100 << 20 / len(line) {
			_, _ = syscall.Write(2, line)
		}
	case "print":
		fmt.Println(arg)
		fmt.Fprintln(os.Stderr, arg+" (stderr)")
		_, _ = syscall.Write(1, []byte(arg+" (file 1)\n"))
	case "panic":
		panic("the token is " + a.Secrets["token"].Reveal())
	case "nil":
		var none *core.Event
		r.Ref = none.ID //nolint:govet // the panic is wanted
	case "crash":
		go func() { panic("the token is " + a.Secrets["token"].Reveal()) }()
		<-ctx.Done()
	case "exit":
		os.Exit(3)
	case "freeze":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		<-ctx.Done()
	case "hog":
		var hog [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			hog = append(hog, b)
			r.Ref = fmt.Sprint(len(hog))
		}
	case "spawn": // a process of the plugin's own
		p, err := os.StartProcess("/bin/sleep", []string{"sleep", "1000"}, &os.ProcAttr{})
		if err != nil {
			return fail(core.CodeInternal, err.Error())
		}
		r.Ref = fmt.Sprint(p.Pid)
	default:
		return fail(core.CodeInvalid, "what is "+do+"?")
	}
	return r
}

func envNames() []string {
	var names []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		names = append(names, name)
	}
	return names
}

var account = core.Account{
	Settings: json.RawMessage(`{"url":"http://127.0.0.1:1"}`),
	Secrets:  map[string]core.Secret{"token": "s3cr3t-token"},
}

// run starts a Host until the test ends.
func run(t testing.TB, o HostOptions) (*Host, *journal) {
	t.Helper()
	j := newJournal(t)
	if o.Log == nil {
		o.Log = slog.New(j)
	}
	if o.Name == "" {
		o.Name = "actor"
	}
	o.Tenant, o.Lane = "shop", "crm"
	if o.Account == nil {
		o.Account = func() core.Account { return account }
	}
	if o.StartWait == 0 {
		o.StartWait = patience
	}
	h := NewHost(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := h.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return h, j
}

// await returns the Host's state as soon as it is as wanted.
func await(t testing.TB, h *Host, what string, want func(State) bool) State {
	t.Helper()
	timeout := time.After(patience)
	for {
		h.mu.Lock()
		state, changed := h.state, h.changed
		h.mu.Unlock()
		if want(state) {
			return state
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("the plugin is not %s: %+v", what, state)
		}
	}
}

func running(s State) bool { return s.Phase == PhaseRunning }

// does is a batch of events whose texts are what the actor does.
func does(texts ...string) []core.Delivery {
	batch := make([]core.Delivery, len(texts))
	for i, text := range texts {
		e := &core.Event{
			ID: fmt.Sprintf("wamid.%d", i), Kind: core.KindMessageReceived, Tenant: "shop",
			Time: time.Unix(1700000000, 0).UTC(), Accepted: time.Unix(1700000001, 0).UTC(),
			Message: &core.Message{Direction: core.Inbound, Type: core.TypeText, Text: text},
		}
		data, _ := json.Marshal(e)
		batch[i] = core.Delivery{Event: e, Data: data, Attempt: i + 1}
	}
	return batch
}

// act has the plugin do one thing.
func act(t testing.TB, h *Host, text string) core.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	results := h.Deliver(ctx, does(text))
	if len(results) != 1 || results[0].ID != "wamid.0" {
		t.Fatalf("%s: got results %+v, want one for wamid.0", text, results)
	}
	return results[0]
}

func mustAct(t testing.TB, h *Host, text string) string {
	t.Helper()
	r := act(t, h, text)
	if r.Err != nil {
		t.Fatalf("%s: %v", text, r.Err)
	}
	return r.Ref
}

// crm is the server that the actor asks: each request waits until the test lets
// it go.
type crm struct {
	account core.Account
	asked   chan string // ids
	answer  chan struct{}
}

func newCRM(t testing.TB) *crm {
	t.Helper()
	c := &crm{asked: make(chan string, 100), answer: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c.asked <- r.FormValue("id")
		select {
		case <-c.answer:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	c.account = core.Account{Settings: json.RawMessage(fmt.Sprintf(`{"url":%q}`, server.URL)), Secrets: account.Secrets}
	return c
}

func (c *crm) waitAsked(t testing.TB) {
	t.Helper()
	select {
	case <-c.asked:
	case <-time.After(patience):
		t.Fatal("the plugin does not ask")
	}
}

// journal is a slog.Handler that keeps all records, as text.
type journal struct {
	t    testing.TB
	mu   *sync.Mutex
	buf  *bytes.Buffer
	news chan struct{} // gets one after each record
	slog.Handler
}

func newJournal(t testing.TB) *journal {
	t.Helper()
	j := &journal{t: t, mu: new(sync.Mutex), buf: new(bytes.Buffer), news: make(chan struct{}, 1)}
	j.Handler = slog.NewTextHandler(j, nil)
	return j
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	j.buf.Write(b)
	j.mu.Unlock()
	select {
	case j.news <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// wait returns the first line with all the texts.
func (j *journal) wait(t testing.TB, texts ...string) string {
	t.Helper()
	timeout := time.After(patience)
	for {
	lines:
		for line := range strings.Lines(j.String()) {
			for _, text := range texts {
				if !strings.Contains(line, text) {
					continue lines
				}
			}
			return line
		}
		select {
		case <-j.news:
		case <-timeout:
			t.Fatalf("no log line with %q in:\n%s", texts, tail(j.String()))
		}
	}
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

// watched is a process that cannot be mistaken for a later one with its id.
type watched struct{ fd int }

func watch(t testing.TB, pid int) watched {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("process %d: %v", pid, err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return watched{fd}
}

func (w watched) gone(t testing.TB, what string) {
	t.Helper()
	if !w.ends(patience) {
		t.Errorf("%s is still there", what)
	}
}

func (w watched) ends(within time.Duration) bool {
	deadline := time.Now().Add(within)
	for {
		fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(time.Until(deadline).Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n == 1
		}
	}
}
