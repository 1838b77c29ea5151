package scenario

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/crm"
	"github.com/wabridge/wabridge/core/memnet"
	"github.com/wabridge/wabridge/core/store/boltstore"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
	customhttp "github.com/wabridge/wabridge/plugins/custom-http"
	"github.com/wabridge/wabridge/plugins/hubspot"
	"github.com/wabridge/wabridge/plugins/salesforce"
	"github.com/wabridge/wabridge/plugins/zoho"
)

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// dialled makes each connector connect through a network in memory.
var dialled = map[string]func(dialer) core.Connector{
	"custom-http": func(d dialer) core.Connector { return &customhttp.Connector{DialContext: d} },
	"hubspot":     func(d dialer) core.Connector { return &hubspot.Connector{DialContext: d} },
	"salesforce":  func(d dialer) core.Connector { return &salesforce.Connector{DialContext: d} },
	"zoho":        func(d dialer) core.Connector { return &zoho.Connector{DialContext: d} },
}

// inside is a lane's sink without the process: virtual time does not pass there.
type inside struct {
	connector core.Connector
	mu        sync.Mutex
	account   core.Account
}

func (s *inside) Info(context.Context) (core.ConnectorInfo, error) { return s.connector.Info(), nil }

func (s *inside) Check(ctx context.Context) error {
	account, err := s.signedIn(ctx)
	if err != nil {
		return err
	}
	return s.connector.Check(ctx, account)
}

func (s *inside) Deliver(ctx context.Context, batch []core.Delivery) []core.Result {
	account, err := s.signedIn(ctx)
	if err != nil {
		return crm.FailAll(batch, core.AsError(err))
	}
	return s.connector.Deliver(ctx, account, batch)
}

// signedIn is the account with a token, where one is needed.
func (s *inside) signedIn(ctx context.Context) (core.Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.connector.(core.Authorizer)
	if ok && (s.account.Token == nil || !s.account.Token.Expires.IsZero() && time.Until(s.account.Token.Expires) < time.Minute) {
		token, err := a.Authorize(ctx, s.account)
		if err != nil {
			return s.account, err
		}
		s.account.Token = &token
	}
	return s.account, nil
}

// The lanes keep their real settings, and an hour is an hour: nothing is given up
// meanwhile, and soon after it everything is there.
func TestScenario_AnHourWithoutTheCRM(t *testing.T) {
	for _, d := range []func() driver{
		func() driver { return newSalesforce("object") }, func() driver { return newSalesforce("task") },
		func() driver { return newHubspot("communications") }, func() driver { return newHubspot("inbox") },
		func() driver { return newZoho("module") }, func() driver { return newZoho("notes") }, newCustom,
	} {
		t.Run(d().name(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { hour(t, d()) })
		})
	}
}

func hour(t *testing.T, d driver) {
	const number = "100000000000001"
	tn := &tenant{driver: d, id: d.name(), number: number}
	w := &world{t: t, dir: t.TempDir(), tenants: []*tenant{tn}, written: map[string]message{}, wa: whatsappsim.New(whatsappsim.Options{})}
	network := memnet.New()
	ln, err := network.Listen("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: d, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(ln) }()
	w.configure("127.0.0.1:1", "http://127.0.0.1:1", options{}, func(http.Handler) string { return "http://127.0.0.1" })
	cfg, err := config.Load(filepath.Join(w.dir, config.FileName), config.Options{Connectors: []string{"custom-http", "hubspot", "salesforce", "zoho"}, Environ: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	st, err := boltstore.Open(t.TempDir(), boltstore.Options{MinFree: -1, BallastSize: -1, UnsafeNoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	l := cfg.Tenants[0].Lanes[0]
	sink := &inside{connector: dialled[l.Connector](network.DialContext), account: core.Account{Tenant: tn.id, Lane: l.Name, Settings: l.Settings, Secrets: l.Secrets}}
	w.broker, err = broker.New(broker.Options{
		Store: st, OpaqueKey: []byte("0123456789abcdef0123456789abcdef"),
		Tenants: []broker.Tenant{{
			ID: tn.id, Name: "Scenario", Team: "support",
			Numbers: []broker.Number{{ID: number, Rate: 80, Sink: sink}}, // nobody answers
			Lanes: []broker.Lane{{
				Name: l.Name, Connector: l.Connector, Sink: sink, MaxBatch: l.MaxBatch, Idempotency: l.Idempotency, Linger: l.Linger,
			}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.broker.Run(ctx) })
	sctx, stopStore := context.WithCancel(context.Background())
	stored := make(chan error, 1)
	go func() { stored <- st.Run(sctx) }()
	defer func() {
		stop()
		running.Wait()
		stopStore()
		if err := <-stored; err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
		_ = server.Close()
		<-served
		if c, ok := sink.connector.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}()

	// Ten people write every two minutes, from before to after the outage.
	time.Sleep(time.Minute)
	began := time.Now()
	healed := false
	for n := 0; time.Since(began) < 70*time.Minute; n++ {
		at := time.Now()
		switch at.Sub(began) {
		case 4 * time.Minute:
			d.trouble(outage)
		case 64 * time.Minute:
			d.heal()
			healed = true
			time.Sleep(31 * time.Second) // a long outage is looked at every 30 s
			if tn.id == "hubspot-inbox" {
				time.Sleep(30 * time.Second) // a message is a call, of the 100 in ten seconds that the account bears
			}
			if s := w.broker.Snapshot(); s.OnTheWay() > 0 {
				t.Errorf("half a minute after it was over %d wait: %+v", s.OnTheWay(), s.Lanes)
			}
			w.equal(tn)
		}
		for p := range 10 {
			id := fmt.Sprintf("wamid.scen.%s.%d.%d", tn.id, p, n)
			w.written[id] = message{Type: "text", Text: "hello " + id, bare: "hello " + id, Time: at.UTC().Format("2006-01-02T15:04:05Z")}
			err := w.broker.Accept(ctx, []core.Event{{
				ID: id, Kind: core.KindMessageReceived, Number: number, Time: at, Source: "whatsapp",
				Contact: &core.Contact{Phone: fmt.Sprintf("+1415555%04d", p), Name: fmt.Sprintf("Customer %d", p)},
				Message: &core.Message{ID: id, Direction: core.Inbound, Type: core.TypeText, Text: "hello " + id},
			}})
			if err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2*time.Minute - time.Since(at))
	}
	if want, _ := w.equal(tn); !healed || len(want.messages) != len(w.written) {
		t.Errorf("%d messages were written, and %d are recorded", len(w.written), len(want.messages))
	}
}
