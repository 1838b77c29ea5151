package broker

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/memnet"
	"github.com/wabridge/wabridge/core/whatsapp"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

// graph is WhatsApp around a bridge: its client, over a network in memory, the sim
// behind it, and its webhooks.
type graph struct {
	*bridge
	sim *whatsappsim.Sim
	cut atomic.Pointer[atomic.Bool] // of the process that runs: nothing comes or goes any more
	// uploads is called before each upload of a file; may be nil.
	uploads func() error
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// withGraph puts the sim behind the number of a bridge; call it before start. o may
// choose how the sim is.
func withGraph(b *bridge, o whatsappsim.Options) *graph {
	b.Helper()
	g := &graph{bridge: b}
	net := memnet.New()
	l, err := net.Listen("graph.example")
	if err != nil {
		b.Fatal(err)
	}
	const secret = "a-secret-that-is-long-enough"
	o.AppSecret, o.Numbers = secret, []whatsappsim.Number{{ID: number, DisplayNumber: "15550783881", WABA: "102290129340398"}}
	o.WebhookURL = "http://bridge.example/webhooks/whatsapp"
	var hook atomic.Pointer[whatsapp.Webhook]
	o.Client = roundTripper(func(r *http.Request) (*http.Response, error) {
		rec := httptest.NewRecorder()
		if h := hook.Load(); h != nil {
			h.ServeHTTP(rec, r)
		} else {
			rec.WriteHeader(http.StatusServiceUnavailable)
		}
		return rec.Result(), nil
	})
	g.sim = whatsappsim.New(o)
	server := &http.Server{Handler: g.sim, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	ctx, stop := context.WithCancel(context.Background())
	served, ran := make(chan struct{}), make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	go func() { defer close(ran); _ = g.sim.Run(ctx) }()
	transport := whatsapp.NewTransport()
	transport.DialContext = net.DialContext
	before := b.change
	b.change = func(o *Options) {
		if before != nil {
			before(o)
		}
		off := new(atomic.Bool)
		g.cut.Store(off)
		client, err := whatsapp.NewClient(whatsapp.ClientOptions{
			BaseURL: "http://graph.example", OpaqueKey: testKey, Log: slog.New(slog.DiscardHandler),
			Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if off.Load() {
					return nil, errors.New("the process is gone")
				}
				if strings.HasSuffix(r.URL.Path, "/media") && g.uploads != nil {
					if err := g.uploads(); err != nil {
						return nil, err
					}
				}
				return transport.RoundTrip(r)
			}),
		})
		if err != nil {
			b.Fatal(err)
		}
		if len(o.Tenants[0].Lanes) > 0 {
			o.Tenants[0].Lanes[0].Sink = passing{b.crm, off}
		}
		n := whatsapp.Number{Tenant: "acme", ID: number, AccessToken: func() core.Secret { return "token" }}
		o.Tenants[0].Numbers[0].Sink, o.Tenants[0].Numbers[0].Media = client.Sink(n), client.Media(n)
	}
	b.started = func() {
		br, off := b.Broker, g.cut.Load()
		accept := func(ctx context.Context, updates []whatsapp.Update) error {
			if off.Load() {
				return errors.New("the process is gone")
			}
			events := make([]core.Event, len(updates))
			for i := range updates {
				events[i] = updates[i].Event
			}
			return br.Accept(ctx, events)
		}
		hook.Store(whatsapp.NewWebhook(whatsapp.WebhookOptions{
			AppSecrets: func() []core.Secret { return []core.Secret{secret} }, Accept: accept, Log: slog.New(slog.DiscardHandler),
		}))
	}
	b.Cleanup(func() {
		stop()
		<-ran
		transport.CloseIdleConnections()
		_ = server.Close()
		<-served
	})
	return g
}

// crash ends the bridge as a power cut would: what it did after this moment is nothing, and
// the next one starts with what is on the disk now, after a while.
func (g *graph) crash() {
	g.Helper()
	synctest.Wait()
	dir := g.TempDir()
	if err := os.CopyFS(dir, os.DirFS(g.dir)); err != nil {
		g.Fatal(err)
	}
	g.cut.Load().Store(true)
	g.stop()
	g.dir = dir
	g.start()
}

// passing is a sink of one process: what that tells after its end is not heard.
type passing struct {
	core.Sink
	off *atomic.Bool
}

func (p passing) Deliver(ctx context.Context, batch []core.Delivery) []core.Result {
	if !p.off.Load() {
		return p.Sink.Deliver(ctx, batch)
	}
	out := make([]core.Result, len(batch))
	for i, d := range batch {
		out[i] = core.Result{ID: d.Event.ID, Err: core.Errorf(core.CodeUnavailable, "deliver", "the process is gone")}
	}
	return out
}
