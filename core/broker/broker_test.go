package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store/boltstore"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// sink is a sink with a func for what it does; what it took is kept in order.
type sink struct {
	do func(d core.Delivery) core.Result

	mu    sync.Mutex
	tries []try
}

type try struct {
	at    time.Time
	event *core.Event
	n     int
}

func (s *sink) Deliver(_ context.Context, batch []core.Delivery) []core.Result {
	out := make([]core.Result, len(batch))
	for i, d := range batch {
		e := new(core.Event)
		if err := json.Unmarshal(d.Data, e); err != nil {
			panic(err)
		}
		s.mu.Lock()
		s.tries = append(s.tries, try{time.Now(), e, d.Attempt})
		s.mu.Unlock()
		out[i] = core.Result{ID: e.ID}
		if s.do != nil {
			if out[i] = s.do(d); out[i].ID == "" {
				out[i].ID = e.ID
			}
		}
	}
	return out
}

func (s *sink) taken() []try {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tries)
}

func (s *sink) kinds() []string {
	var out []string
	for _, t := range s.taken() {
		out = append(out, string(t.event.Kind)+" "+t.event.ID)
	}
	return out
}

// scripts decides with a func.
type scripts func(e *core.Event) script.Decision

func (f scripts) Version(string) (script.Version, bool) {
	return script.Version{Hash: "v1", Hooks: script.OnMessage | script.MapToCRM}, f != nil
}

func (f scripts) Decide(_ context.Context, _ string, calls []script.Call) []script.Decision {
	out := make([]script.Decision, len(calls))
	for i, c := range calls {
		e := new(core.Event)
		if err := json.Unmarshal(c.Event, e); err != nil {
			panic(err)
		}
		if out[i] = f(e); !c.Hooks.Has(script.OnMessage | script.OnStatus | script.OnTimer | script.OnContactChange) {
			out[i].Actions = nil // was not asked for any
		}
	}
	return out
}

// bridge is a broker over a real store, with a CRM and a number to watch.
type bridge struct {
	*testing.T
	dir     string
	crm, wa *sink
	scripts scripts
	change  func(*Options)
	started func() // called when there is a new Broker; may be nil
	noSync  bool   // quicker; what survives the process is the same

	*Broker
	store *boltstore.Store
	stop  func()
	kill  func() // ends the broker in the middle of what it does; stop follows
}

var testKey = []byte("0123456789abcdef0123456789abcdef")

const number = "106540352242922"

func newBridge(t *testing.T) *bridge {
	wamids := 0
	var mu sync.Mutex
	b := &bridge{T: t, dir: t.TempDir(), crm: &sink{}, wa: &sink{}}
	b.wa.do = func(core.Delivery) core.Result {
		mu.Lock()
		defer mu.Unlock()
		wamids++
		return core.Result{Ref: fmt.Sprintf("wamid.out.%d", wamids)}
	}
	return b
}

func (b *bridge) start() {
	b.Helper()
	st, err := boltstore.Open(b.dir, boltstore.Options{MinFree: -1, BallastSize: -1, UnsafeNoSync: b.noSync})
	if err != nil {
		b.Fatal(err)
	}
	o := Options{
		Store: st, OpaqueKey: testKey,
		Tenants: []Tenant{{
			ID: "acme", Name: "Acme", Team: "front-desk",
			Numbers: []Number{{ID: number, Sink: b.wa, Rate: 1000}},
			Lanes:   []Lane{{Name: "crm", Connector: "test", Sink: b.crm, MaxBatch: 100}},
		}},
	}
	if b.scripts != nil {
		o.Scripts = b.scripts
	}
	if b.change != nil {
		b.change(&o)
	}
	br, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	sctx, stopStore := context.WithCancel(context.Background())
	bctx, stopBroker := context.WithCancel(context.Background())
	stored, broke := make(chan error, 1), make(chan error, 1)
	go func() { stored <- st.Run(sctx) }()
	go func() { broke <- br.Run(bctx) }()
	b.Broker, b.store = br, st
	if b.started != nil {
		b.started()
	}
	stopped := false
	b.kill = stopBroker
	b.stop = func() {
		b.Helper()
		if stopped {
			return
		}
		stopped = true
		stopBroker()
		<-broke
		stopStore()
		if err := <-stored; err != nil {
			b.Errorf("store: %v", err)
		}
		if err := st.Close(); err != nil {
			b.Errorf("store: %v", err)
		}
	}
	b.Cleanup(b.stop)
}

func received(id, phone, text string) core.Event {
	return core.Event{
		ID: id, Kind: core.KindMessageReceived, Number: number, Time: time.Now(), Contact: &core.Contact{Phone: phone, Name: "Ana"},
		Message: &core.Message{ID: id, Direction: core.Inbound, Type: core.TypeText, Text: text},
	}
}

func statusOf(send, wamid string, v core.StatusValue) core.Event {
	return core.Event{
		ID: wamid + "/" + string(v), Kind: core.KindMessageStatus, Number: number, Time: time.Now(),
		Contact: &core.Contact{Phone: "+14155550199"},
		Status:  &core.Status{MessageID: wamid, Value: v, Opaque: whatsapp.Opaque(testKey, send, 1)},
	}
}

func (b *bridge) accept(events ...core.Event) {
	b.Helper()
	if err := b.Accept(context.Background(), events); err != nil {
		b.Fatalf("Accept: %v", err)
	}
}

// settled waits, in virtual time, until nothing more happens within a while.
func settled(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// off stops the bridge for a while: days in which nothing happens are quick then.
func (b *bridge) off(d time.Duration) {
	b.Helper()
	b.stop()
	time.Sleep(d)
	b.start()
}

func (b *bridge) dead() []DeadLetter {
	b.Helper()
	dead, err := b.Dead(context.Background(), "", "", 100)
	if err != nil {
		b.Fatal(err)
	}
	return dead
}

func (b *bridge) depth() int {
	n := 0
	for _, q := range b.Snapshot().Queues {
		n += q.Depth
	}
	return n
}

func reply(text string) scripts {
	return func(*core.Event) script.Decision {
		return script.Decision{Version: "v1", Actions: []script.Action{{Type: script.ActionReply, Text: text}},
			Fields: map[string]any{"firstname": "Ana"}}
	}
}

func run(t *testing.T, f func(b *bridge)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(newBridge(t))
	})
}

func (b *bridge) wantKinds(got []string, want ...string) {
	b.Helper()
	if !slices.Equal(got, want) {
		b.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestBridge_CarriesAMessageAllTheWay(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = reply("hello")
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(time.Second)
		send := "wamid.1#1"
		b.accept(statusOf(send, "wamid.out.1", core.StatusSent))
		b.accept(statusOf(send, "wamid.out.1", core.StatusRead))
		b.accept(statusOf(send, "wamid.out.1", core.StatusDelivered))
		settled(time.Second)
		b.wantKinds(b.wa.kinds(), "message.send wamid.1#1")
		b.wantKinds(b.crm.kinds(), "message.received wamid.1", "message.sent wamid.1#1#1",
			"message.status wamid.out.1/sent", "message.status wamid.out.1/read")
		first := b.crm.taken()[0].event
		if first.Fields["firstname"] != "Ana" || first.Contact.ID == "" || first.Accepted.IsZero() {
			t.Errorf("the CRM got %+v", first)
		}
		sent := b.crm.taken()[1].event
		if sent.Message.ID != "wamid.out.1" || sent.Message.Text != "hello" || sent.Contact.ID != first.Contact.ID {
			t.Errorf("the CRM got %+v", sent.Message)
		}
		last := b.crm.taken()[3].event
		if last.Status.Intent != send || last.Conversation != first.Conversation {
			t.Errorf("the status is of %q in %q, want %q in %q: WhatsApp rewrote the number", last.Status.Intent, last.Conversation, send, first.Conversation)
		}
		story, err := b.Why(context.Background(), "", "wamid.out.1")
		if err != nil || len(story.Steps) < 5 || story.Root != "wamid.1" {
			t.Errorf("why: %v, %+v", err, story)
		}
	})
}

func TestBridge_DropsWhatCameBefore(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = reply("hello")
		b.start()
		for range 5 {
			b.accept(received("wamid.1", "+14155550100", "hi"), received("wamid.1", "+14155550100", "hi"))
		}
		settled(time.Second)
		b.stop()
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(36 * time.Hour)
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(time.Second)
		b.wantKinds(b.wa.kinds(), "message.send wamid.1#1")
		b.wantKinds(b.crm.kinds(), "message.received wamid.1", "message.sent wamid.1#1#1")
	})
}

func TestBridge_RetriesWithinASecondThenAfterThirtyThenAsksAPerson(t *testing.T) {
	run(t, func(b *bridge) {
		b.crm.do = func(core.Delivery) core.Result {
			return core.Result{Err: &core.Error{Code: core.CodeUnavailable, Message: "500"}}
		}
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(time.Minute)
		tries := b.crm.taken()
		if len(tries) != 3 {
			t.Fatalf("%d attempts, want 3", len(tries))
		}
		if d := tries[1].at.Sub(tries[0].at); d > time.Second {
			t.Errorf("second attempt after %v, want within 1 s", d)
		}
		if d := tries[2].at.Sub(tries[1].at); d > 30*time.Second || d < 27*time.Second {
			t.Errorf("third attempt after %v, want about 30 s", d)
		}
		dead := b.dead()
		if len(dead) != 1 || dead[0].Attempts != 3 || dead[0].Reason.Code != core.CodeUnavailable {
			t.Fatalf("dead letters: %+v", dead)
		}
		if d := dead[0].Deadline.Sub(dead[0].Died); d.Round(time.Second) != 24*time.Hour {
			t.Errorf("a person has %v, want 24 h", d)
		}
		settled(25 * time.Hour)
		if n := b.Snapshot().Overdue; n != 1 {
			t.Errorf("overdue = %d after 25 hours", n)
		}
		b.crm.do = nil
		if err := b.Replay(context.Background(), dead[0].ID); err != nil {
			t.Fatal(err)
		}
		settled(time.Second)
		if got := b.crm.taken(); len(got) != 4 || len(b.dead()) != 0 {
			t.Errorf("after the replay: %d attempts, %d dead", len(got), len(b.dead()))
		}
	})
}

func TestBridge_ALongOutagePausesTheLaneAndBurnsNoAttempts(t *testing.T) {
	run(t, func(b *bridge) {
		var down atomic.Bool
		down.Store(true)
		b.crm.do = func(core.Delivery) core.Result {
			if down.Load() {
				return core.Result{Err: &core.Error{Code: core.CodeUnavailable, Message: "connection refused", Scope: core.ScopeLane}}
			}
			return core.Result{}
		}
		b.start()
		for i := range 50 {
			b.accept(received(fmt.Sprintf("wamid.%d", i), fmt.Sprintf("+141555501%02d", i), "hi"))
		}
		settled(8 * time.Hour)
		if s := b.Snapshot().Lanes[1]; s.State != LaneDown || s.Depth != 50 || s.Why == "" {
			t.Errorf("lane: %+v", s)
		}
		if n := len(b.dead()); n != 0 {
			t.Errorf("%d dead letters", n)
		}
		down.Store(false)
		end := time.Now()
		settled(31 * time.Second)
		if n := b.depth(); n != 0 {
			t.Errorf("%d left %v after the outage", n, time.Since(end))
		}
		for _, tr := range b.crm.taken() {
			if tr.n != 1 {
				t.Fatalf("an attempt of %s counted: %d", tr.event.ID, tr.n)
			}
		}
	})
}

func TestBridge_KeepsTheOrderOfEachConversation(t *testing.T) {
	run(t, func(b *bridge) {
		fails := map[string]int{}
		var mu sync.Mutex
		b.crm.do = func(d core.Delivery) core.Result {
			mu.Lock()
			defer mu.Unlock()
			if fails[d.Event.ID]++; fails[d.Event.ID] < 2 && len(d.Event.ID)%3 == 0 {
				return core.Result{Err: &core.Error{Code: core.CodeUnavailable, Message: "503"}}
			}
			return core.Result{}
		}
		b.start()
		for i := range 200 {
			b.accept(received(fmt.Sprintf("wamid.%d", i), fmt.Sprintf("+1415555010%d", i%7), "hi"))
		}
		settled(10 * time.Minute)
		done := map[string]string{}
		n := 0
		for _, tr := range b.crm.taken() {
			c := tr.event.Conversation
			var now, last int
			_, _ = fmt.Sscanf(tr.event.ID, "wamid.%d", &now)
			if done[c] != "" {
				_, _ = fmt.Sscanf(done[c], "wamid.%d", &last)
				if now < last {
					t.Errorf("%s after %s", tr.event.ID, done[c])
				}
			}
			done[c] = tr.event.ID
			n++
		}
		if n < 200 || b.depth() != 0 {
			t.Errorf("%d attempts, %d left", n, b.depth())
		}
	})
}

func TestBridge_KeepsEventsOfUnknownNumbersUntilSomebodyHasThem(t *testing.T) {
	run(t, func(b *bridge) {
		log := &lines{}
		b.change = func(o *Options) { o.Log = slog.New(slog.NewTextHandler(log, nil)) }
		b.start()
		e := received("wamid.1", "+14155550100", "hi")
		e.Number = "999"
		b.accept(e)
		settled(time.Second)
		if s := b.Snapshot(); s.Totals.Quarantine != 1 || b.depth() != 1 {
			t.Errorf("quarantine = %d, depth = %d", s.Totals.Quarantine, b.depth())
		}
		b.accept(e)
		if _, err := b.Why(b.T.Context(), "", e.ID); err == nil || !strings.Contains(err.Error(), `number "999", which no tenant has`) || core.AsError(err).Hint == "" {
			t.Errorf("why: %v", err)
		}
		if _, err := b.Why(b.T.Context(), "acme", e.ID); err == nil || strings.Contains(err.Error(), "999") {
			t.Errorf("a tenant is told of what is not its own: %v", err)
		}
		if n := strings.Count(log.String(), "phone_number_id=999"); n != 1 {
			t.Errorf("the log tells of it %d times: %s", n, log)
		}
		b.stop()
		b.change = func(o *Options) {
			o.Tenants[0].Numbers = append(o.Tenants[0].Numbers, Number{ID: "999", Sink: b.wa})
		}
		b.start()
		settled(time.Second)
		b.wantKinds(b.crm.kinds(), "message.received wamid.1")
		if b.depth() != 0 {
			t.Errorf("%d left", b.depth())
		}
	})
}

func TestBridge_RefusesNewEventsWhenATenantHasTooMany(t *testing.T) {
	run(t, func(b *bridge) {
		block := make(chan struct{})
		b.scripts = func(*core.Event) script.Decision { <-block; return script.Decision{} }
		b.change = func(o *Options) { o.MaxQueue = 10 }
		b.start()
		var err error
		for i := 0; i < 100 && err == nil; i++ {
			err = b.Accept(context.Background(), []core.Event{received(fmt.Sprint("wamid.", i), "+14155550100", "hi")})
		}
		if core.CodeOf(err) != core.CodeUnavailable {
			t.Errorf("err = %v, want %s", err, core.CodeUnavailable)
		}
		close(block)
		settled(time.Second)
		b.accept(received("wamid.later", "+14155550100", "hi"))
		settled(time.Second)
		if b.depth() != 0 {
			t.Errorf("%d left", b.depth())
		}
	})
}

func TestBridge_BlamesOnlyTheEventThatKillsThePlugin(t *testing.T) {
	run(t, func(b *bridge) {
		c := &crashing{}
		b.change = func(o *Options) { o.Tenants[0].Lanes[0].Sink = c }
		b.start()
		// In one commit, so that nothing else succeeds beside the call that dies.
		events := make([]core.Event, 30)
		for i := range events {
			events[i] = received(fmt.Sprintf("wamid.%d", i), fmt.Sprintf("+141555501%02d", i), "hi")
		}
		b.accept(events...)
		settled(5 * time.Minute)
		dead := b.dead()
		if len(dead) != 1 || dead[0].Attempts != 3 {
			t.Fatalf("dead letters: %+v, done %d, left %d", dead, len(c.done), b.depth())
		}
		if b.depth() != 0 || len(c.done) != 29 {
			t.Errorf("%d left, %d done", b.depth(), len(c.done))
		}
	})
}

// crashing dies of wamid.7, and with it every event of the same call.
type crashing struct{ done map[string]bool }

func (c *crashing) Deliver(_ context.Context, batch []core.Delivery) []core.Result {
	out := make([]core.Result, len(batch))
	crash := slices.ContainsFunc(batch, func(d core.Delivery) bool { return d.Event.ID == "wamid.7" })
	for i, d := range batch {
		out[i].ID = d.Event.ID
		if crash {
			out[i].Err = &core.Error{Code: core.CodeUnknownOutcome, Message: "the plugin died", Vendor: vendorCrashed}
			continue
		}
		if c.done == nil {
			c.done = map[string]bool{}
		}
		c.done[d.Event.ID] = true
	}
	return out
}

func TestBridge_TellsThePeopleApartWhoHaveNoPhone(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		only := received("wamid.1", "", "hi")
		only.Contact.BSUID = "US.13491208655302741918"
		both := received("wamid.2", "+14155550100", "hi")
		both.Contact.BSUID = only.Contact.BSUID
		phone := received("wamid.3", "+14155550100", "hi")
		other := received("wamid.4", "", "hi")
		other.Contact.BSUID = "US.99999999999999999999"
		b.accept(only)
		b.accept(both)
		b.accept(phone, other)
		settled(time.Second)
		ids := map[string]string{}
		for _, tr := range b.crm.taken() {
			ids[tr.event.ID] = tr.event.Contact.ID
		}
		if ids["wamid.1"] == "" || ids["wamid.1"] != ids["wamid.2"] || ids["wamid.2"] != ids["wamid.3"] || ids["wamid.4"] == ids["wamid.1"] {
			t.Errorf("contacts: %v", ids)
		}
	})
}

// choosy wants messages of contacts only, and says so only when asked.
type choosy struct {
	sink
	asked chan struct{}
}

func (c *choosy) Info(ctx context.Context) (core.ConnectorInfo, error) {
	select {
	case <-c.asked:
	case <-ctx.Done():
	}
	return core.ConnectorInfo{Name: "choosy", MaxBatch: 10, Idempotency: core.IdempotencyUpsert, Kinds: []core.Kind{core.KindMessageReceived}}, ctx.Err()
}

func TestBridge_GivesAConnectorOnlyWhatItWants(t *testing.T) {
	run(t, func(b *bridge) {
		c := &choosy{asked: make(chan struct{})}
		b.scripts = reply("hello")
		b.change = func(o *Options) { o.Tenants[0].Lanes[0] = Lane{Name: "crm", Sink: c} }
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(time.Second) // queued before the connector is up
		close(c.asked)
		settled(time.Second)
		b.accept(received("wamid.2", "+14155550100", "hi"))
		settled(time.Second)
		b.wantKinds(c.kinds(), "message.received wamid.1", "message.received wamid.2")
		if b.depth() != 0 {
			t.Errorf("%d left", b.depth())
		}
	})
}
