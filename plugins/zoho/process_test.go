//go:build linux

package zoho_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

// process is the connector in a process of its own, before a sim.
type process struct {
	*plugin.Host
	sim     *zohosim.Sim
	account core.Account

	mu    sync.Mutex
	asked int
	kills []int // before which requests it is killed, counted from the first
}

// ServeHTTP is the sim, at which the plugin dies now and then.
func (p *process) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/crm/") {
		p.mu.Lock()
		if p.asked++; slices.Contains(p.kills, p.asked) {
			killChildren()
		}
		p.mu.Unlock()
	}
	p.sim.ServeHTTP(w, r)
}

// killChildren kills the plugins of this test, the one way that leaves no time.
func killChildren() {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		stat, _ := os.ReadFile(name)
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(os.Getpid()) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

func launch(t testing.TB, settings map[string]any) *process {
	t.Helper()
	p := &process{sim: zohosim.New(zohosim.Options{})}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	settings["api_url"], settings["accounts_url"] = server.URL, server.URL
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	p.account = core.Account{Settings: raw, Secrets: secrets}
	self := plugin.Self("connectortest-plugin", "zoho")
	self.Memory = -1 // the race detector needs more than any plugin
	p.Host = plugin.NewHost(plugin.HostOptions{
		Name: "zoho", Tenant: "acme", Lane: "crm", Launch: self, CrashBudget: 100, Log: slog.New(slog.DiscardHandler),
		Account: func() core.Account { return p.account },
	})
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() { defer close(stopped); _ = p.Run(ctx) }()
	t.Cleanup(func() { stop(); <-stopped })
	return p
}

// However often the plugin is killed while it tells, what is told in the end is
// what happened, each change once.
func TestPlugin_KilledSkipsAndDoublesNothing(t *testing.T) {
	p := launch(t, map[string]any{"pull_fields": map[string]string{"city": "Mailing_City"}})
	poll := func(cursor json.RawMessage) (core.Polled, error) { return p.Poll(t.Context(), cursor) }
	begin := `{"contacts":{"at":"2020-01-01T00:00:00Z","high":"2020-01-01T00:00:00Z","seen":"2020-01-01T00:00:00Z","began":"2020-01-01T00:00:00Z"}}`
	want, got := map[string]string{}, map[string]string{}
	for i := range 250 {
		id, err := p.sim.Edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "A", "Phone": fmt.Sprintf("+34600%06d", i), "Mailing_City": "Madrid"})
		if err != nil {
			t.Fatal(err)
		}
		want[id] = "Madrid"
	}
	p.mu.Lock()
	p.kills = []int{2, 4, 7} // the first user, a query, and the read of a page
	p.mu.Unlock()
	cursor, ids, died := json.RawMessage(begin), map[string]string{}, 0
	for more := true; more; {
		polled, err := poll(cursor)
		if err != nil {
			if died++; died > 20 {
				t.Fatal(err)
			}
			continue // as the bridge does, from where it was
		}
		for _, e := range polled.Events {
			id := e.Fields["id"].(string)
			if known, twice := ids[id]; twice && known != e.ID {
				t.Errorf("one change of %s was told as two", id)
			}
			ids[id], got[id] = e.ID, e.Contact.Fields["city"]
		}
		cursor, more = polled.Cursor, polled.More
	}
	if died < 3 {
		t.Errorf("it died %d times, want 3: the test does not test", died)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// From a change in Zoho to what the bridge stores, by the channel and a plugin's
// process.
func BenchmarkChannel(b *testing.B) {
	p := launch(b, map[string]any{"pull_fields": map[string]string{"city": "Mailing_City"}})
	told := make(chan core.Event, 10)
	bridge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		answer, err := p.Webhook(r.Context(), core.WebhookRequest{Method: r.Method, Header: r.Header, Body: body})
		if err != nil {
			b.Error(err)
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		for _, e := range answer.Events {
			told <- e
		}
	}))
	b.Cleanup(bridge.Close)
	p.account.WebhookURL = bridge.URL
	go p.sim.Run(b.Context(), bridge.Client())
	id, err := p.sim.Edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "A", "Phone": "+34600111222"})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := p.Poll(b.Context(), nil); err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		began := time.Now()
		if _, err := p.sim.Edit(zohosim.Person, "Contacts", id, map[string]any{"Mailing_City": fmt.Sprint(i)}); err != nil {
			b.Fatal(err)
		}
		if e := <-told; e.Contact.Fields["city"] != fmt.Sprint(i) {
			b.Fatalf("told %+v", e)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
