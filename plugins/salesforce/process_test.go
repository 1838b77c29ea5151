//go:build linux

package salesforce_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin"
)

// killChildren kills the plugins of this test, the one way that leaves no time, and
// reports how many there were.
func killChildren() (n int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		stat, _ := os.ReadFile(name)
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(os.Getpid()) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
				n++
			}
		}
	}
	return n
}

// listeningProcess is a teller whose connector is in a process of its own.
func listeningProcess(t testing.TB) (*teller, *plugin.Host) {
	t.Helper()
	tl := listening(t)
	self := plugin.Self("connectortest-plugin", "salesforce")
	self.Memory = -1 // the race detector needs more than any plugin
	host := plugin.NewHost(plugin.HostOptions{
		Name: "salesforce", Tenant: "acme", Lane: "crm", Launch: self, CrashBudget: 100, Log: slog.New(slog.DiscardHandler),
		Account: func() core.Account { return tl.account }, Tokens: keptToken{tl.account.Token},
	})
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() { defer close(stopped); _ = host.Run(ctx) }()
	t.Cleanup(func() { stop(); <-stopped })
	return tl, host
}

// However often the plugin is killed while it listens, each message that was
// published is told in the end, with the same id whenever it is told again, and in
// the order of their places.
func TestPlugin_KilledWhileItListensSkipsAndDoublesNothing(t *testing.T) {
	const messages, kills = 60, 4
	tl, host := listeningProcess(t)
	polled, err := host.Poll(t.Context(), nil)
	for tries := 0; err != nil && tries < 50; tries++ { // the process is starting
		polled, err = host.Poll(t.Context(), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	cursor := polled.Cursor
	published, killed := 0, 0
	publish := func() {
		tl.sim.Publish(outbound, map[string]any{"Phone__c": "+34600000001", "Body__c": fmt.Sprint(published)})
		published++
	}
	publish()
	ids, order := map[string]string{}, []string{}
	deadline := time.Now().Add(time.Minute)
	for len(order) < messages {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d were told, %d kills: %v", len(order), messages, killed, err)
		}
		var p core.Polled
		if p, err = host.Poll(t.Context(), cursor); err != nil {
			continue // as the bridge does, from where it was
		}
		cursor = p.Cursor
		for _, e := range p.Events {
			if e.Message == nil {
				t.Fatalf("told %+v", e)
			}
			text := e.Message.Text
			if known, twice := ids[text]; twice {
				if known != e.ID {
					t.Errorf("message %s was told as two", text)
				}
				continue
			}
			ids[text] = e.ID
			order = append(order, text)
		}
		for n := 0; n < 7 && published < messages; n++ {
			publish()
		}
		if len(order)*kills/messages >= killed+1 {
			// The next call listens, or asks: it dies in it.
			killed++
			go func() { <-time.After(5 * time.Millisecond); killChildren() }()
		}
	}
	for i, text := range order {
		if text != fmt.Sprint(i) {
			t.Fatalf("told in the order %v", order)
		}
	}
	if killed < 3 {
		t.Errorf("it was killed %d times: the test does not test", killed)
	}
}

// keptToken is a token that never changes.
type keptToken struct{ token *core.Token }

func (k keptToken) Load(context.Context) (*core.Token, time.Time, error) {
	return k.token, time.Now(), nil
}

func (keptToken) Save(context.Context, *core.Token, time.Time) error { return nil }

// From a message that is published in Salesforce to what the bridge stores, by a
// plugin's process.
func BenchmarkPubSub(b *testing.B) {
	tl, host := listeningProcess(b)
	var cursor json.RawMessage
	for {
		polled, err := host.Poll(b.Context(), cursor)
		if err == nil {
			cursor = polled.Cursor
			break
		}
	}
	began := make(chan time.Time, 1)
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		text := fmt.Sprint("n", i)
		go func() {
			<-time.After(2 * time.Millisecond) // it listens by then
			began <- time.Now()
			tl.sim.Publish(outbound, map[string]any{"Phone__c": "+34600000001", "Body__c": text})
		}()
		for told := false; !told; {
			polled, err := host.Poll(b.Context(), cursor)
			if err != nil {
				b.Fatal(err)
			}
			cursor = polled.Cursor
			for _, e := range polled.Events {
				told = told || e.Message != nil && e.Message.Text == text
			}
		}
		took = append(took, time.Since(<-began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
