package customhttp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/wabridge/wabridge/core"
	customhttp "github.com/wabridge/wabridge/plugins/custom-http"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

// pipes is a listener in memory: a [synctest] bubble sees when its ends wait.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.done:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// The secrets of all tests.
const (
	token    = "tok-very-secret-1"
	username = "bridge-user"
	password = "p%ss/wörd secret"
	apiKey   = "key+very/secret="
)

func secrets() map[string]core.Secret {
	return map[string]core.Secret{"token": token, "username": username, "password": password, "api_key": apiKey}
}

// bench is an account at a sim with the connector before it.
type bench struct {
	t         testing.TB
	sim       *customhttpsim.Sim
	connector *customhttp.Connector
	account   core.Account
}

// table is a TOML table.
type table = map[string]any

// start serves a sim, or a handler in its place, for a lane with the settings,
// whose base_url is replaced.
func start(t testing.TB, o customhttpsim.Options, settings table, instead http.Handler) *bench {
	t.Helper()
	b := &bench{t: t, sim: customhttpsim.New(o)}
	if instead == nil {
		instead = b.sim
	}
	settings = maps.Clone(settings)
	settings["base_url"], settings["allowed_hosts"] = "http://crm.test/v1", []string{"crm.test"}
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	b.connector = &customhttp.Connector{DialContext: p.dial}
	b.account = core.Account{Tenant: "acme", Lane: "crm", Settings: toJSON(t, settings), Secrets: secrets()}
	server := &http.Server{Handler: instead, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(p) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
		b.connector.CloseIdleConnections()
	})
	return b
}

// notes are settings with one request for each event, to the sim's notes.
func notes(idempotency string, more table) table {
	s := table{
		"idempotency": idempotency,
		"operations":  table{"message.received": table{"path": "/notes", "body": `{"ref": {{.id}}, "text": {{.message.text}}}`}},
		"response":    table{"error_code": "error.code", "error_message": "error.message"},
	}
	maps.Copy(s, more)
	return s
}

// bulk are settings with a batch, to the sim's bulk endpoint, as in
// testdata/bulk.toml.
func bulk(t testing.TB) table {
	t.Helper()
	return example(t, "bulk")
}

// example returns the settings of testdata/<name>.toml.
func example(t testing.TB, name string) table {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name + ".toml")
	if err != nil {
		t.Fatal(err)
	}
	return lane(t, text)
}

// lane returns the settings of the first lane in a tenant.toml.
func lane(t testing.TB, text []byte) table {
	t.Helper()
	var file struct {
		Lanes []struct {
			Settings table `toml:"settings"`
		} `toml:"lanes"`
	}
	if err := toml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	return file.Lanes[0].Settings
}

func toJSON(t testing.TB, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// deliver sends events in one batch, and returns the results by event ID.
func (b *bench) deliver(events ...*core.Event) map[string]core.Result {
	b.t.Helper()
	return b.deliverIn(b.t.Context(), events...)
}

func (b *bench) deliverIn(ctx context.Context, events ...*core.Event) map[string]core.Result {
	b.t.Helper()
	batch := make([]core.Delivery, len(events))
	for i, e := range events {
		batch[i] = core.Delivery{Event: e, Data: toJSON(b.t, e), Attempt: 1}
	}
	results := b.connector.Deliver(ctx, b.account, batch)
	if len(results) != len(events) {
		b.t.Fatalf("%d results for %d events", len(results), len(events))
	}
	byID := make(map[string]core.Result)
	for _, r := range results {
		byID[r.ID] = r
	}
	for _, e := range events {
		if _, ok := byID[e.ID]; !ok {
			b.t.Fatalf("no result for %s", e.ID)
		}
	}
	return byID
}

// one delivers an event and returns its error.
func (b *bench) one(e *core.Event) *core.Error {
	b.t.Helper()
	return b.deliver(e)[e.ID].Err
}

func codeOf(e *core.Error) core.Code {
	if e == nil {
		return ""
	}
	return e.Code
}

// wantCodes checks the codes of the results named; all others must be done.
func wantCodes(t testing.TB, got map[string]core.Result, want map[string]core.Code) {
	t.Helper()
	for _, id := range slices.Sorted(maps.Keys(got)) {
		if code := codeOf(got[id].Err); code != want[id] {
			t.Errorf("%s: got %q (%v), want %q", id, code, got[id].Err, want[id])
		}
	}
}

// received returns the n-th message of as many people.
func received(n int) *core.Event {
	at := time.Date(2026, 10, 1, 12, 0, n, 0, time.UTC)
	id := fmt.Sprintf("wamid.IN%03d", n)
	return &core.Event{
		ID: id, Kind: core.KindMessageReceived, Tenant: "acme", Number: "1",
		Conversation: fmt.Sprintf("1:c%03d", n), Time: at, Accepted: at.Add(time.Second), Source: "whatsapp",
		Contact: &core.Contact{ID: fmt.Sprintf("c%03d", n), Name: "Ada", Phone: fmt.Sprintf("+4915112345%03d", n)},
		Message: &core.Message{ID: id, Direction: core.Inbound, Type: core.TypeText, Text: fmt.Sprintf("order %d", n)},
	}
}

func many(n int) []*core.Event {
	events := make([]*core.Event, n)
	for i := range events {
		events[i] = received(i)
	}
	return events
}
