//go:build linux

package broker

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/script"
)

// The test binary is the script worker, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "script-worker" {
		script.WorkerMain()
		return
	}
	os.Exit(m.Run())
}

// watched is a sink that tells when something came.
func watched(news chan<- struct{}) *sink {
	s := &sink{}
	var mu sync.Mutex
	n := 0
	s.do = func(core.Delivery) core.Result {
		mu.Lock()
		defer mu.Unlock()
		n++
		select {
		case news <- struct{}{}:
		default:
		}
		return core.Result{Ref: fmt.Sprintf("wamid.%p.%d", s, n)}
	}
	return s
}

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const (
	hangs    = `export function onMessage(e) { if (/hang/.test(e.message.text)) Array.prototype.indexOf.call({ length: 9e15 }, 1); return reply("answer to " + e.message.text); }`
	mended   = `export function onMessage(e) { return reply("mended: " + e.message.text); }`
	goodNum  = "106540352242999"
	goodCopy = `export function onMessage(e) { return reply("fine: " + e.message.text); }`
)

// With real workers: three kills switch a tenant's script off, with an alarm. None
// of its messages is lost; they go to people, and what the bridge obeys without a
// script it goes on obeying. A changed script is switched on. The other tenant
// does not notice.
func TestScript_SwitchedOffLeavesItsMessagesToPeople(t *testing.T) {
	news := make(chan struct{}, 1)
	b := newBridge(t)
	b.crm, b.wa = watched(news), watched(news)
	goodCRM, goodWA := watched(news), watched(news)
	registry := prometheus.NewRegistry()
	log := &lines{}
	logger := slog.New(slog.NewTextHandler(log, nil))
	engine := script.New(script.Options{Command: []string{"/proc/self/exe", "script-worker"}, Log: logger, Registerer: registry})
	ctx, stopEngine := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- engine.Run(ctx) }()
	load := func(tenant, code string) {
		t.Helper()
		if _, err := engine.Load(ctx, tenant, script.Source{Name: "script.js", Code: []byte(code)}); err != nil {
			t.Fatal(err)
		}
	}
	load("acme", hangs)
	load("good", goodCopy)
	b.change = func(o *Options) {
		o.Scripts, o.Log = engine, logger
		o.Tenants = append(o.Tenants, Tenant{ID: "good", Name: "Good", Numbers: []Number{{ID: goodNum, Sink: goodWA, Rate: 1000}},
			Lanes: []Lane{{Name: "crm", Connector: "test", Sink: goodCRM}}})
	}
	b.start()
	t.Cleanup(func() {
		b.stop()
		stopEngine()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	until := func(what string, cond func() bool) {
		t.Helper()
		deadline := time.After(30 * time.Second)
		for !cond() {
			select {
			case <-news:
			case <-deadline:
				t.Fatalf("%s did not happen", what)
			}
		}
	}
	count := func(s *sink, k core.Kind) (n int) {
		for _, tr := range s.taken() {
			if tr.event.Kind == k {
				n++
			}
		}
		return n
	}

	// Mixed, from as many people: what hangs, and what does not.
	const all = 40
	var fromBad, fromGood []core.Event
	for i := range all {
		text := fmt.Sprint("message ", i)
		if i%4 == 1 {
			text = fmt.Sprint("hang ", i)
		}
		fromBad = append(fromBad, received(fmt.Sprint("wamid.b", i), fmt.Sprintf("+141555501%02d", i), text))
		e := received(fmt.Sprint("wamid.g", i), fmt.Sprintf("+141555502%02d", i), text)
		e.Number = goodNum
		fromGood = append(fromGood, e)
	}
	b.accept(fromBad...)
	b.accept(fromGood...)
	until("the other tenant's answers", func() bool { return len(goodWA.taken()) == all })
	until("all of them at the CRM", func() bool { return count(b.crm, core.KindMessageReceived) == all })
	answered := func() int { return len(b.wa.taken()) }
	until("an answer or a person for each", func() bool { return answered()+count(b.crm, core.KindEscalation) == all })

	// On a machine that has no time for it, a worker's end is not held against the script.
	off := func() bool {
		st, _ := engine.State("acme")
		return st.Off && st.Kills >= 3
	}
	more := 0
	for ; !off() && more < 20; more++ {
		b.accept(received(fmt.Sprint("wamid.more", more), fmt.Sprintf("+141555504%02d", more), "hang on"))
		until("a person for it", func() bool { return answered()+count(b.crm, core.KindEscalation) == all+more+1 })
	}
	if !off() {
		st, _ := engine.State("acme")
		t.Fatalf("the script is %+v", st)
	}
	for i := range all {
		id := fmt.Sprint("wamid.b", i)
		handed := strings.Contains(b.trace(id), "the script failed: handed to a person")
		replied := slices.ContainsFunc(b.wa.taken(), func(tr try) bool { return tr.event.Cause == id })
		if handed == replied || i%4 == 1 && replied {
			t.Errorf("%s: handed over %v, answered %v", id, handed, replied)
		}
	}
	if n := len(b.Escalations("acme")); n != count(b.crm, core.KindEscalation) {
		t.Errorf("%d escalations in the inbox, %d at the CRM", n, count(b.crm, core.KindEscalation))
	}
	if n := count(goodCRM, core.KindEscalation); n != 0 || count(goodCRM, core.KindMessageReceived) != all {
		t.Errorf("the other tenant: %d hand-overs, %d messages at the CRM", n, count(goodCRM, core.KindMessageReceived))
	}

	// The alarm.
	if got := log.String(); !strings.Contains(got, `level=ERROR msg="script switched off until it is changed" tenant=acme`) {
		t.Errorf("the log says\n%s", got)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	switched := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "wabridge_script_off" {
				switched[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	if switched["acme"] != 1 || switched["good"] != 0 {
		t.Errorf("wabridge_script_off: %v", switched)
	}

	// Switched off, the policy goes on: STOP is obeyed, a person asked for is sent
	// for, others go to people, and what the API asks for is sent.
	said := func(texts ...string) func() bool {
		return func() bool {
			for _, want := range texts {
				if !slices.ContainsFunc(b.wa.taken(), func(tr try) bool { return tr.event.Message.Text == want }) {
					return false
				}
			}
			return true
		}
	}
	before := count(b.crm, core.KindEscalation)
	b.accept(received("wamid.stop", "+14155550300", "STOP"), received("wamid.person", "+14155550301", "a person please"), received("wamid.hi", "+14155550302", "hi"))
	b.order("k1", "+14155550303", "your order is on its way")
	until("what the policy does", said(consent.TextsFor(nil, "en").Stop, "your order is on its way"))
	until("the hand-overs", func() bool { return count(b.crm, core.KindEscalation) == before+2 })

	// A changed script is asked again.
	load("acme", mended)
	b.accept(received("wamid.new", "+14155550304", "are you there?"))
	until("an answer of the changed script", said("mended: are you there?"))
	if st, _ := engine.State("acme"); st.Off {
		t.Errorf("the changed script is %+v", st)
	}
}
