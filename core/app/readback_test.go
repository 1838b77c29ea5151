package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/memnet"
	"github.com/wabridge/wabridge/core/store/boltstore"
	customhttp "github.com/wabridge/wabridge/plugins/custom-http"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

// forgetful is a custom-http lane whose plugin dies once it has written, in the calls
// that dies names.
type forgetful struct {
	connector *customhttp.Connector
	account   core.Account
	calls     atomic.Int64
	dies      func(call int64) bool
}

func (f *forgetful) Info(context.Context) (core.ConnectorInfo, error) { return f.connector.Info(), nil }

func (f *forgetful) Deliver(ctx context.Context, batch []core.Delivery) []core.Result {
	results := f.connector.Deliver(ctx, f.account, batch)
	if f.dies(f.calls.Add(1)) {
		for i := range results { // what the host of a plugin says then
			results[i] = core.Result{ID: results[i].ID, Err: &core.Error{Code: core.CodeUnknownOutcome, Op: "plugin", Vendor: "crashed"}}
		}
	}
	return results
}

func (f *forgetful) Check(ctx context.Context) error { return f.connector.Check(ctx, f.account) }

// An API that makes two notes of the same event sent twice, and finds a note only some
// time after it was made.
func TestCustomHTTP_LooksForWhatMayBeThereBeforeItRepeats(t *testing.T) {
	const late = 20 * time.Second
	find := `"find":{"path":"/notes","query":{"ref":"{{.key}}"},"rows":"data","key_path":"ref","id":"id"}`
	one := `"message.received":{"path":"/notes","body":"{\"ref\": {{.id}}, \"text\": {{.message.text}}}",` + find
	batches := `"message.received":{"path":"/notes/bulk","body":"{\"ref\": {{.id}}, \"text\": {{.message.text}}}",
		"batch":{"max_items":20,"wrap":"items","results":{"path":"results","match":"index","status":"status","id":"id"}},` + find
	never := func(int64) bool { return false }
	for name, c := range map[string]struct {
		operation string
		faults    []customhttpsim.Fault
		dies      func(int64) bool
		stops     bool
	}{
		"all is well":                 {one, nil, never, false},
		"answers get lost":            {one, []customhttpsim.Fault{{Kind: customhttpsim.FaultLost, Match: "/notes", Skip: 3, Count: 12}}, never, false},
		"answers get lost in a batch": {batches, []customhttpsim.Fault{{Kind: customhttpsim.FaultLost, Match: "/bulk", Count: 2}, {Kind: customhttpsim.FaultCut, Match: "/bulk", Skip: 2, Count: 1}}, never, false},
		"the plugin dies":             {one, nil, func(call int64) bool { return call == 1 }, false},
		"the plugin dies in a batch":  {batches, nil, func(call int64) bool { return call == 1 || call == 3 }, false},
		"the bridge stops":            {batches, nil, never, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := customhttpsim.New(customhttpsim.Options{SearchDelay: late, Latency: 100 * time.Millisecond})
				sim.Inject(c.faults...)
				network := memnet.New()
				ln, err := network.Listen("127.0.0.1")
				if err != nil {
					t.Fatal(err)
				}
				server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // a pipe has no buffer
					body, _ := io.ReadAll(r.Body)
					r.Body = io.NopCloser(strings.NewReader(string(body)))
					sim.ServeHTTP(w, r)
				})}
				served := make(chan struct{})
				go func() { defer close(served); _ = server.Serve(ln) }()
				settings := `{"base_url":"http://127.0.0.1/v1","allowed_hosts":["127.0.0.1"],"idempotency":"search","operations":{` + c.operation + `}}}`
				lane := &forgetful{connector: &customhttp.Connector{DialContext: network.DialContext}, dies: c.dies,
					account: core.Account{Tenant: "acme", Lane: "crm", Settings: json.RawMessage(settings)}}
				st, err := boltstore.Open(t.TempDir(), boltstore.Options{MinFree: -1, BallastSize: -1, UnsafeNoSync: true})
				if err != nil {
					t.Fatal(err)
				}
				sctx, stopStore := context.WithCancel(context.Background())
				stored := make(chan error, 1)
				go func() { stored <- st.Run(sctx) }()
				run := func() (b *broker.Broker, stop func()) {
					b, err := broker.New(broker.Options{
						Store: st, Scripts: moves{}, OpaqueKey: []byte("0123456789abcdef0123456789abcdef"),
						Tenants: []broker.Tenant{{
							ID: "acme", Name: "Acme", Numbers: []broker.Number{{ID: "1065", Sink: nowhere{}}},
							Lanes: []broker.Lane{{Name: "crm", Connector: "crm", Sink: lane, Idempotency: core.IdempotencySearch, SearchDelay: late,
								Retry: []time.Duration{time.Second, 5 * time.Second, 30 * time.Second}}},
						}},
					})
					if err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithCancel(context.Background())
					ended := make(chan error, 1)
					go func() { ended <- b.Run(ctx) }()
					return b, func() { cancel(); <-ended }
				}
				b, stop := run()
				const people = 12
				for i := range 2 * people {
					id := fmt.Sprint("wamid.", i)
					err := b.Accept(t.Context(), []core.Event{{
						ID: id, Kind: core.KindMessageReceived, Number: "1065", Time: time.Now(), Contact: &core.Contact{Phone: fmt.Sprintf("+346001112%02d", i%people)},
						Message: &core.Message{ID: id, Direction: core.Inbound, Type: core.TypeText, Text: "hello"},
					}})
					if err != nil {
						t.Fatal(err)
					}
				}
				if c.stops {
					time.Sleep(150 * time.Millisecond) // in the middle of a call
					stop()
					b, stop = run()
				}
				time.Sleep(30 * time.Minute)
				synctest.Wait()
				notes := sim.Count("note")
				for i := range 2 * people {
					if n := notes[fmt.Sprint("wamid.", i)]; n != 1 {
						t.Errorf("wamid.%d was written %d times", i, n)
					}
				}
				for _, l := range b.Snapshot().Lanes {
					if l.Dead != 0 || l.Depth != 0 {
						t.Errorf("left over: %+v %+v", l, l.LastError)
					}
				}
				stop()
				stopStore()
				if err := errors.Join(<-stored, st.Close(), server.Close()); err != nil {
					t.Error(err)
				}
				<-served
				lane.connector.CloseIdleConnections()
			})
		})
	}
}
