package broker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/campaign"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/whatsapp"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

// mortal is a store whose process dies at one of its settlements: before it, or after.
// From then on nothing more is stored, nor handed out.
type mortal struct {
	store.Store
	left  atomic.Int64
	after bool
	died  chan struct{}
	once  sync.Once
}

func (m *mortal) dead() bool {
	select {
	case <-m.died:
		return true
	default:
		return false
	}
}

func (m *mortal) Settle(ctx context.Context, s store.Settlement) (out store.Outcome, err error) {
	n := m.left.Add(-1)
	if m.dead() {
		return out, store.ErrClosed
	}
	if n == 0 && !m.after {
		m.once.Do(func() { close(m.died) })
		return out, store.ErrClosed
	}
	if out, err = m.Store.Settle(ctx, s); n == 0 {
		m.once.Do(func() { close(m.died) })
		return store.Outcome{}, store.ErrClosed
	}
	return out, err
}

func (m *mortal) Fetch(ctx context.Context, q store.QueueID, most int, lease time.Duration) ([]store.Delivery, error) {
	fctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-m.died:
			cancel()
		case <-fctx.Done():
		}
	}()
	ds, err := m.Store.Fetch(fctx, q, most, lease)
	if m.dead() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return ds, err
}

// carrier carries requests to a handler without a network.
type carrier func(*http.Request) http.Handler

func (c carrier) RoundTrip(r *http.Request) (*http.Response, error) {
	h := c(r)
	if h == nil {
		return nil, errors.New("nobody answers")
	}
	body := []byte{}
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	in := r.Clone(r.Context())
	in.Body, in.RequestURI = io.NopCloser(bytes.NewReader(body)), r.URL.RequestURI()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, in)
	return w.Result(), nil
}

// Whenever the process is killed, each person of a campaign gets the message once, or is
// before a person because nobody knows; and the rows say which.
func TestCampaign_KilledAtAnyTime_SkipsAndDoublesNobody(t *testing.T) {
	const people = 12
	rapid.Check(t, func(rt *rapid.T) {
		type kill struct {
			settlements int
			after       bool
		}
		kills := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) kill {
			return kill{rapid.IntRange(1, 20).Draw(t, "settlements"), rapid.Bool().Draw(t, "after")}
		}), 1, 4).Draw(rt, "kills")
		first := rapid.IntRange(0, 4).Draw(rt, "first")
		var problem []string
		synctest.Test(t, func(t *testing.T) {
			var webhook atomic.Pointer[whatsapp.Webhook]
			sim := whatsappsim.New(whatsappsim.Options{
				AppSecret: "secret", StatusDelay: 20 * time.Millisecond, WebhookURL: "http://bridge.example/", Concurrency: 4,
				Numbers:   []whatsappsim.Number{{ID: number, DisplayNumber: "15550783881", WABA: "102290129340398"}},
				Templates: []whatsappsim.Template{{Name: "info", Language: "en", BodyParameters: 2}},
				Client: carrier(func(*http.Request) http.Handler {
					if h := webhook.Load(); h != nil {
						return h
					}
					return nil
				}),
			})
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- sim.Run(ctx) }()
			client, err := whatsapp.NewClient(whatsapp.ClientOptions{
				BaseURL: "http://graph.example", OpaqueKey: testKey, Log: slog.New(slog.DiscardHandler),
				Transport: carrier(func(*http.Request) http.Handler { return sim }),
			})
			if err != nil {
				t.Fatal(err)
			}
			b := campaigning(t, Policy{})
			change, mine := b.change, (*mortal)(nil)
			b.change = func(o *Options) {
				change(o)
				o.Tenants[0].Numbers[0].Sink = client.Sink(whatsapp.Number{Tenant: "acme", ID: number, AccessToken: func() core.Secret { return "token" }})
				if mine != nil {
					mine.Store, o.Store = o.Store, mine
				}
			}
			listen := func() {
				b.start()
				bridge := b.Broker
				webhook.Store(whatsapp.NewWebhook(whatsapp.WebhookOptions{
					VerifyToken: "v", AppSecrets: func() []core.Secret { return []core.Secret{"secret"} }, Log: slog.New(slog.DiscardHandler),
					Accept: func(ctx context.Context, updates []whatsapp.Update) error {
						var events []core.Event
						for _, u := range updates {
							e := u.Event
							e.Number = u.Number
							events = append(events, e)
						}
						return bridge.Accept(ctx, events)
					},
				}))
			}
			deaf := func() {
				webhook.Store(nil)
				b.stop()
			}
			listen()
			b.newCampaign(CampaignRequest{Name: "spring", Template: greeting, First: campaign.First{Rows: first, Wait: "1s"}}, entries(people)...)
			b.planIt("spring")
			b.set("spring", CampaignStart)
			for _, k := range kills {
				deaf()
				mine = &mortal{after: k.after, died: make(chan struct{})}
				mine.left.Store(int64(k.settlements))
				listen()
				select {
				case <-mine.died:
				case <-time.After(time.Hour): // it had nothing to do any more
				}
			}
			deaf()
			mine = nil
			listen()
			settled(10 * time.Minute)

			sends := map[string]int{}
			for _, s := range sim.Ledger().Sends {
				sends[s.To]++
			}
			counts := campaign.Counts{}
			for _, r := range b.rows("spring") {
				counts.Move("", r.State)
				n := sends[phoneOf(r.N - 2)[1:]] + sends[phoneOf(r.N-2)]
				got := r.State == campaign.RowSent || r.State == campaign.RowDelivered || r.State == campaign.RowRead
				if n > 1 || got != (n == 1) || !got && r.State != campaign.RowUnknown {
					problem = append(problem, r.Event+" is "+string(r.State)+" and was sent "+time.Duration(n).String())
				}
			}
			dead, err := b.Dead(context.Background(), "acme", "", 500)
			if err != nil || len(dead) != counts[campaign.RowUnknown] {
				problem = append(problem, "dead letters are not those that are unknown")
			}
			c := b.get("spring")
			if c.State != campaign.Done || len(b.rows("spring")) != people || string(mustJSON(c.Counts)) != string(mustJSON(counts)) {
				problem = append(problem, "in the end it is "+string(mustJSON(c)))
			}
			deaf()
			cancel()
			<-done
		})
		if len(problem) > 0 {
			rt.Fatalf("%q", problem)
		}
	})
}
