package scenario

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/app"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/crm"
	"github.com/wabridge/wabridge/core/plugin"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
	customhttp "github.com/wabridge/wabridge/plugins/custom-http"
	"github.com/wabridge/wabridge/plugins/hubspot"
	"github.com/wabridge/wabridge/plugins/salesforce"
	"github.com/wabridge/wabridge/plugins/zoho"
)

var connectors = map[string]func() core.Connector{
	"custom-http": customhttp.New, "hubspot": hubspot.New, "salesforce": salesforce.New, "zoho": zoho.New,
}

// The arguments that make the test's program a process of its bridge.
const (
	asPlugin = "scenario-plugin"
	asWorker = "scenario-worker"
)

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 3 && os.Args[1] == asPlugin && connectors[os.Args[2]] != nil:
		plugin.Serve(connectors[os.Args[2]]())
	case len(os.Args) >= 2 && os.Args[1] == asWorker:
		script.WorkerMain()
		return
	}
	os.Exit(m.Run())
}

const appSecret = "scenario-app-secret"

// decides is every tenant's script.
const decides = `
export function onMessage(event, context) {
  const text = event.message.text || "";
  if (text.startsWith("Ask")) return [reply("re " + event.id)];
  if (text.startsWith("Order ")) return [tag("buyer"), setField("order", text.slice(6)), reply("Noted: " + text)];
  if (text.startsWith("Human")) return [escalate({ topic: "request", reason: "wants a person", priority: "high", note: "asked for one" })];
  if (text.startsWith("News yes")) return [consent({ level: "marketing", state: "granted", evidence: text })];
  if (text.startsWith("News no")) return [consent({ level: "marketing", state: "withdrawn", evidence: text })];
}
`

// tenant is a business whose CRM is behind a driver.
type tenant struct {
	driver
	id, number string
}

// world is a bridge with everybody that it talks to.
type world struct {
	t       testing.TB
	dir     string
	address string // the bridge's
	log     *logs
	broker  *broker.Broker
	wa      *whatsappsim.Sim
	tenants []*tenant
	acked   receipts

	mu      sync.Mutex
	written map[string]message // by customers
}

// options are what a scenario changes.
type options struct {
	// retry is the lanes' own setting; empty is the default.
	retry string
	// unruly is how webhooks come.
	unruly whatsappsim.Webhooks
}

// begin starts a bridge with a tenant for each driver, and ends it with the test.
func begin(t testing.TB, o options, drivers ...driver) *world {
	t.Helper()
	ln := listen(t)
	w := &world{t: t, dir: t.TempDir(), address: ln.Addr().String(), log: &logs{t: t}, written: map[string]message{}}
	w.acked.next = &http.Transport{MaxIdleConnsPerHost: 64}
	wo := whatsappsim.Options{
		AppSecret: appSecret, WebhookURL: "http://" + ln.Addr().String() + "/webhooks/whatsapp", Client: &w.acked, Webhooks: o.unruly,
		StatusDelay: 30 * time.Millisecond, BatchStatuses: 20 * time.Millisecond,
		RetryMin: 50 * time.Millisecond, RetryMax: 500 * time.Millisecond, Seed: 11,
	}
	for i, d := range drivers {
		tn := &tenant{driver: d, id: d.name(), number: fmt.Sprintf("10000000000%04d", i+1)}
		w.tenants = append(w.tenants, tn)
		wo.Numbers = append(wo.Numbers, whatsappsim.Number{ID: tn.number, DisplayNumber: fmt.Sprintf("1555010%04d", i+1), WABA: "200000000000000"})
	}
	w.wa = whatsappsim.New(wo)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	serve := func(h http.Handler) string {
		ln := listen(t)
		s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
		running.Go(func() { _ = s.Serve(ln) })
		context.AfterFunc(ctx, func() { _ = s.Close() })
		return "http://" + ln.Addr().String()
	}
	w.configure(ln.Addr().String(), serve(w.wa), o, serve)
	cfg, err := config.Load(filepath.Join(w.dir, config.FileName), config.Options{Connectors: []string{"custom-http", "hubspot", "salesforce", "zoho"}, Environ: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	bridge, err := app.New(app.Options{
		Config: cfg, Listener: ln, Worker: plugin.Self(asWorker).Command, Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Builtin: func(name string) (plugin.Launcher, bool) {
			l := plugin.Self(asPlugin, name)
			l.Memory = -1 // the race detector needs more than any plugin
			return l, connectors[name] != nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.broker = bridge.Broker()
	bctx, stopBridge := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- bridge.Run(bctx) }()
	running.Go(func() { _ = w.wa.Run(ctx) })
	t.Cleanup(func() {
		stopBridge()
		if err := <-ended; err != nil {
			t.Errorf("the bridge: %v", err)
		}
		stop()
		running.Wait()
		w.acked.next.CloseIdleConnections()
		if t.Failed() {
			w.log.show()
		}
	})
	w.await("the lanes run", 30*time.Second, func() bool {
		s := w.broker.Snapshot()
		for _, l := range s.Lanes {
			if l.State != broker.LaneRunning {
				return false
			}
		}
		return len(s.Lanes) == 2*len(drivers) && s.Tenants[len(s.Tenants)-1].Script != ""
	})
	return w
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func (w *world) configure(address, wa string, o options, serve func(http.Handler) string) {
	w.t.Helper()
	w.write(config.FileName, fmt.Sprintf(`data_dir = "data"
[web]
listen = %q
[log]
level = "info"
[store]
ballast_size = "4MiB"
min_free = "16MiB"
[whatsapp]
base_url = %q
verify_token = "scenario-verify-token"
app_secrets = [%q]
unknown_wait = "2s"
timeout = "5s"
`, address, wa, appSecret))
	for _, tn := range w.tenants {
		retry := ""
		if o.retry != "" {
			retry = "retry = " + o.retry
		}
		w.write(filepath.Join(config.TenantsDir, tn.id, config.TenantFile), fmt.Sprintf(`name = "Scenario"
[escalation]
after_messages = 0
team = "desk"
[policy]
reply_cap = 1000
detect_loops = false
human_for = "1h"
[[numbers]]
id = %q
access_token = "scenario-access-token"
rate = 1000.0
retry = ["100ms", "300ms", "1s", "1s", "2s"]
[[teams]]
id = "desk"
deadline = "48h" # none is overdue while the test looks
`, tn.number)+tn.lane(serve(tn), retry))
		w.write(filepath.Join(config.TenantsDir, tn.id, "script.js"), decides)
	}
}

func (w *world) write(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// await looks again and again until something is so, for at most a while.
func (w *world) await(what string, most time.Duration, so func() bool) {
	w.t.Helper()
	end := time.NewTimer(most)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-end.C:
			if !so() {
				for _, l := range w.broker.Snapshot().Lanes {
					w.t.Logf("%s %s: %s (%s), %d wait, last error %+v", l.Tenant, l.Lane, l.State, l.Why, l.Depth, l.LastError)
				}
				w.t.Fatalf("waited %v in vain until %s", most, what)
			}
		}
	}
}

// settled waits until nothing is on its way any more.
func (w *world) settled(most time.Duration) {
	w.t.Helper()
	w.await("nothing is on its way", most, func() bool {
		told := w.wa.Stats().Pending == 0 // and what WhatsApp told is in the bridge
		s := w.broker.Snapshot()
		return told && s.OnTheWay() == 0 && w.wa.Stats().Pending == 0
	})
}

// say has a customer write, and waits until the bridge has answered for it.
func (w *world) say(in whatsappsim.Inbound) {
	select {
	case <-w.hurl(in):
	case <-w.t.Context().Done():
	}
}

// hurl is say without waiting; the channel is closed once the bridge has answered.
func (w *world) hurl(in whatsappsim.Inbound) <-chan struct{} {
	done := w.acked.of(in.ID)
	in.Time = time.Now()
	m := core.Message{Type: core.MessageType(in.Type), Text: in.Text}
	if m.Type == "" {
		m.Type = core.TypeText
	}
	if in.Media != nil {
		m.Media = &core.Media{Filename: in.Media.Filename}
	}
	if l := in.Location; l != nil {
		m.Type, m.Location = core.TypeLocation, &core.Location{Latitude: l.Latitude, Longitude: l.Longitude, Name: l.Name, Address: l.Address}
	}
	w.mu.Lock()
	w.written[in.ID] = message{Type: string(m.Type), Text: crm.MessageText(&m), Time: in.Time.UTC().Format("2006-01-02T15:04:05Z"), bare: m.Text}
	w.mu.Unlock()
	w.wa.Receive(in)
	return done
}

// said is what somebody wrote.
func (w *world) said(id string) (message, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m, ok := w.written[id]
	return m, ok
}

// receipts is the way of webhooks to the bridge: it notes which messages it has
// answered for.
type receipts struct {
	next *http.Transport
	mu   sync.Mutex
	open map[string]chan struct{}
}

var messageID = regexp.MustCompile(`"id":"(wamid\.scen\.[^"]+)"`)

func (r *receipts) of(id string) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		r.open = map[string]chan struct{}{}
	}
	c := make(chan struct{})
	r.open[id] = c
	return c
}

func (r *receipts) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := r.next.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range messageID.FindAllSubmatch(body, -1) {
		if c := r.open[string(m[1])]; c != nil {
			close(c)
			delete(r.open, string(m[1]))
		}
	}
	return resp, nil
}

// logs keeps the end of the bridge's log, for when a test fails, and which process
// is whose plugin.
type logs struct {
	t       testing.TB
	mu      sync.Mutex
	buf     []byte
	plugins map[string]int
}

var pluginReady = regexp.MustCompile(`msg="plugin ready".* tenant=(\S+).* pid=([0-9]+)`)

// plugin returns the process that a tenant's lane had last, 0 when it had none.
func (l *logs) plugin(tenant string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.plugins[tenant]
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := pluginReady.FindSubmatch(b); m != nil {
		pid, _ := strconv.Atoi(string(m[2]))
		if l.plugins == nil {
			l.plugins = map[string]int{}
		}
		l.plugins[string(m[1])] = pid
	}
	if l.buf = append(l.buf, b...); len(l.buf) > 64<<10 {
		l.buf = append([]byte(nil), l.buf[len(l.buf)-32<<10:]...)
	}
	return len(b), nil
}

func (l *logs) show() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t.Logf("the end of the bridge's log:\n%s", l.buf)
}
