package whatsapp_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/memnet"
	"github.com/wabridge/wabridge/core/whatsapp"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

const (
	numberID = "106540352242922" // the sim's first number
	token    = "a-token-that-nobody-may-see-in-errors"
)

// rig is a client that talks to a server in memory.
type rig struct {
	t        *testing.T
	net      *memnet.Net
	client   *whatsapp.Client
	sink     *whatsapp.Sink
	mu       sync.Mutex      // guards what follows while clients are at work
	requests []*http.Request // as the client made them
	bodies   [][]byte
	log      bytes.Buffer
	reg      *prometheus.Registry
}

// newRig starts a server with the handler; in a bubble, call it there.
func newRig(t *testing.T, handler http.Handler) *rig {
	t.Helper()
	r := &rig{t: t, net: memnet.New(), reg: prometheus.NewRegistry()}
	l, err := r.net.Listen("graph.example")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	transport := whatsapp.NewTransport()
	transport.DialContext = r.net.DialContext
	r.client = r.newClient(transport)
	r.sink = r.client.Sink(whatsapp.Number{Tenant: "acme", ID: numberID, AccessToken: func() core.Secret { return token }})
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		<-done
	})
	return r
}

func (r *rig) newClient(transport http.RoundTripper) *whatsapp.Client {
	r.t.Helper()
	client, err := whatsapp.NewClient(whatsapp.ClientOptions{
		BaseURL: "http://graph.example/", Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			r.checkHeaders(req)
			var body []byte
			if req.Body != nil {
				var err error
				if body, err = io.ReadAll(req.Body); err != nil {
					return nil, err
				}
				req.Body = io.NopCloser(bytes.NewReader(body))
			}
			r.mu.Lock()
			if r.requests = append(r.requests, req); req.Body != nil {
				r.bodies = append(r.bodies, body)
			}
			r.mu.Unlock()
			return transport.RoundTrip(req)
		}), OpaqueKey: opaqueKey, Log: slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Registerer: r.reg,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return client
}

// checkHeaders says that a request, of whatever test, has no header that Meta has no use
// for. It would ignore an Idempotency-Key; net/http takes it, like a body that it can get
// again, for leave to repeat a POST unasked.
func (r *rig) checkHeaders(req *http.Request) {
	r.t.Helper()
	for name := range req.Header {
		if !slices.Contains([]string{"Authorization", "Content-Type", "User-Agent"}, http.CanonicalHeaderKey(name)) {
			r.t.Errorf("%s %s has the header %s", req.Method, req.URL.Path, name)
		}
	}
	if req.Method != http.MethodGet && req.GetBody != nil {
		r.t.Errorf("%s %s may be repeated by net/http", req.Method, req.URL.Path)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// send sends a message and returns the result.
func (r *rig) send(m core.Message) core.Result {
	r.t.Helper()
	if m.To == (core.Address{}) && m.Type != core.TypeRead {
		m.To = toAna
	}
	e := &core.Event{ID: "wamid.IN#1", Kind: core.KindMessageSend, Message: &m}
	results := r.sink.Deliver(r.t.Context(), []core.Delivery{{Event: e, Attempt: 3}})
	if len(results) != 1 || results[0].ID != e.ID {
		r.t.Fatalf("results = %+v, want one of %s", results, e.ID)
	}
	if err := results[0].Err; err != nil && (strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "34600111222")) {
		r.t.Errorf("the error tells too much: %v", err)
	}
	return results[0]
}

var hello = core.Message{Type: core.TypeText, Text: "hello"}

func decoded(t *testing.T, b []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return v
}

func TestSink_MarksAsRead(t *testing.T) {
	sim := whatsappsim.New(whatsappsim.Options{})
	r := newRig(t, sim)
	got := r.send(core.Message{Type: core.TypeRead, Context: &core.MessageContext{ID: "wamid.IN"}})
	if got.Err != nil || got.Ref != "" {
		t.Errorf("result = %+v, want done without a wamid", got)
	}
	want := `{"messaging_product":"whatsapp","status":"read","message_id":"wamid.IN"}`
	if diff := cmp.Diff(decoded(t, []byte(want)), decoded(t, r.bodies[0])); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"wamid.IN"}, sim.Ledger().Read); diff != "" {
		t.Errorf("marked as read (-want +got):\n%s", diff)
	}
}

func TestSink_RefusesBeforeTheNetwork(t *testing.T) {
	r := newRig(t, http.NotFoundHandler())
	if got := r.send(core.Message{Type: core.TypeText}); core.CodeOf(got.Err) != core.CodeInvalid {
		t.Errorf("an empty text: %+v", got)
	}
	e := &core.Event{ID: "x", Kind: core.KindEscalation}
	if got := r.sink.Deliver(t.Context(), []core.Delivery{{Event: e}}); got[0].Err == nil || got[0].Err.Code != core.CodeInvalid {
		t.Errorf("an escalation: %+v", got)
	}
	r.sink = r.client.Sink(whatsapp.Number{ID: numberID, AccessToken: func() core.Secret { return "" }})
	if got := r.send(hello); got.Err == nil || got.Err.Code != core.CodeUnauthenticated || !strings.Contains(got.Err.Hint, "access_token") {
		t.Errorf("without a token: %+v", got)
	}
	if err := r.sink.Check(t.Context()); core.CodeOf(err) != core.CodeUnauthenticated {
		t.Errorf("Check without a token: %v", err)
	}
	if len(r.requests) != 0 {
		t.Errorf("%d requests were made", len(r.requests))
	}
}

func TestSink_DeliversABatchAtOnceWithOneResultEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := whatsappsim.New(whatsappsim.Options{Latency: func() time.Duration { return time.Second }})
		r := newRig(t, http.HandlerFunc(sim.ServeHTTP))
		r.client = nil // its recorder is for one request at a time
		client, err := whatsapp.NewClient(whatsapp.ClientOptions{
			BaseURL: "http://graph.example", OpaqueKey: opaqueKey, Log: slog.New(slog.DiscardHandler),
			Transport: &http.Transport{DialContext: r.net.DialContext, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute},
		})
		if err != nil {
			t.Fatal(err)
		}
		sink := client.Sink(whatsapp.Number{Tenant: "acme", ID: numberID, AccessToken: func() core.Secret { return token }})
		var batch []core.Delivery
		for i := range 40 {
			m := hello
			m.To = core.Address{Kind: core.AddressPhone, Value: fmt.Sprintf("+3460000%04d", i)}
			if i == 7 {
				m.Text = ""
			}
			batch = append(batch, core.Delivery{Attempt: 1, Event: &core.Event{ID: fmt.Sprint("e", i), Kind: core.KindMessageSend, Message: &m}})
		}
		start := time.Now()
		results := sink.Deliver(t.Context(), batch)
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v, want all at once", took)
		}
		for i, res := range results {
			if res.ID != batch[i].Event.ID || (res.Err == nil) != (i != 7) || (res.Ref == "") != (i == 7) {
				t.Errorf("result %d = %+v", i, res)
			}
		}
		if n := len(sim.Ledger().Sends); n != 39 {
			t.Errorf("the sim took %d", n)
		}
		time.Sleep(2 * time.Minute) // idle connections end
	})
}

func TestSink_CountsWhatBecameOfItsSends(t *testing.T) {
	sim := whatsappsim.New(whatsappsim.Options{})
	r := newRig(t, sim)
	r.send(hello)
	r.send(hello)
	sim.Fail(whatsappsim.Rule{Do: whatsappsim.DoError, Code: 131047})
	r.send(hello)
	want := map[string]float64{
		"number=106540352242922 outcome=sent tenant=acme":          2,
		"number=106540352242922 outcome=undeliverable tenant=acme": 1,
	}
	if diff := cmp.Diff(want, counts(t, r.reg, "wabridge_whatsapp_sends_total")); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	// A second client with the same registerer shares the counters.
	r.newClient(whatsapp.NewTransport())
	if log := r.log.String(); !strings.Contains(log, "vendor=131047") || strings.Contains(log, "34600111222") || strings.Contains(log, token) {
		t.Errorf("log: %s", log)
	}
}

// counts returns the values of a counter, by labels.
func counts(t *testing.T, reg prometheus.Gatherer, name string) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			out[strings.Join(labels, " ")] = m.GetCounter().GetValue()
		}
	}
	return out
}

func TestSink_ChecksTheNumber(t *testing.T) {
	sim := whatsappsim.New(whatsappsim.Options{AccessTokens: []string{token}})
	r := newRig(t, sim)
	p, err := r.sink.Profile(t.Context())
	if err != nil || p != (whatsapp.Profile{DisplayNumber: "+15550783881", VerifiedName: "Simulated Business", Quality: "GREEN"}) {
		t.Errorf("Profile = %+v, %v", p, err)
	}
	if err := r.sink.Check(t.Context()); err != nil {
		t.Errorf("Check = %v", err)
	}
	for name, test := range map[string]struct {
		number whatsapp.Number
		code   core.Code
		hint   string
	}{
		"wrong token":  {whatsapp.Number{ID: numberID, AccessToken: func() core.Secret { return "old" }}, core.CodeUnauthenticated, "access_token"},
		"wrong number": {whatsapp.Number{ID: "999", AccessToken: func() core.Secret { return token }}, core.CodeForbidden, "number's id"},
	} {
		err := core.AsError(r.client.Sink(test.number).Check(t.Context()))
		if err == nil || err.Code != test.code || !strings.Contains(err.Hint, test.hint) || err.Holds() != core.ScopeLane {
			t.Errorf("%s: %+v, want %s with a hint on %s", name, err, test.code, test.hint)
		}
	}
	for body, want := range map[string]core.Code{
		"<html>": core.CodeUnavailable, "{}": core.CodeUnavailable,
		`{"display_phone_number":"+1"}`: "",
	} {
		r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
		if err := r.sink.Check(t.Context()); core.CodeOf(err) != want {
			t.Errorf("Check of %s = %v, want %s", body, err, want)
		}
	}
}

func TestNewClient_ChecksItsOptions(t *testing.T) {
	good := whatsapp.ClientOptions{Transport: whatsapp.NewTransport(), OpaqueKey: opaqueKey, Log: slog.New(slog.DiscardHandler)}
	if _, err := whatsapp.NewClient(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*whatsapp.ClientOptions){
		"base_url":    func(o *whatsapp.ClientOptions) { o.BaseURL = "graph.facebook.com" },
		"api_version": func(o *whatsapp.ClientOptions) { o.APIVersion = "latest" },
		"Transport":   func(o *whatsapp.ClientOptions) { o.Transport = nil },
		"opaque key":  func(o *whatsapp.ClientOptions) { o.OpaqueKey = []byte("short") },
	} {
		o := good
		change(&o)
		if _, err := whatsapp.NewClient(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNewTransport_KeepsHundredsOfConnections(t *testing.T) {
	if n := whatsapp.NewTransport().MaxIdleConnsPerHost; n < 512 {
		t.Errorf("MaxIdleConnsPerHost = %d: sends at 150 ms each would dial anew", n)
	}
}
