// Package web is the bridge's HTTP side: webhooks, the API, metrics and the live
// page.
//
// What may be done without a token: deliver a signed webhook, fetch a file by a signed
// address, ask whether the bridge is alive and ready, and, when it listens on loopback only, look at the
// live page. Everything else needs a token of the configuration.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/access"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/media"
)

// ErrInUse says that the address is taken by another program.
var ErrInUse = errors.New("address in use")

// Bridge is what the API asks: it is *broker.Broker.
type Bridge interface {
	Ready() error
	Send(ctx context.Context, r broker.SendRequest) (broker.SendReceipt, error)
	ChangeConsent(ctx context.Context, r broker.ConsentRequest) (broker.ConsentStatus, error)
	Consent(ctx context.Context, tenant, who string) (broker.ConsentStatus, error)
	ProveConsent(ctx context.Context, tenant, who string) (broker.ConsentProof, error)
	Release(ctx context.Context, tenant, conversation, by string) error
	Why(ctx context.Context, tenant, id string) (broker.Story, error)
	Decisions(ctx context.Context, q broker.DecisionQuery) (broker.DecisionPage, error)
	Snapshot() broker.Snapshot
	Dead(ctx context.Context, tenant, after string, limit int) ([]broker.DeadLetter, error)
	DeadLetter(ctx context.Context, id string) (broker.DeadLetter, error)
	Replay(ctx context.Context, ids ...string) error
	Resolve(ctx context.Context, note string, ids ...string) error
	Contacts
	Corrections
	ContactData
	CRMWebhook(ctx context.Context, tenant, lane string, r core.WebhookRequest) (core.WebhookAnswer, error)
	Escalations(tenant string) []broker.Escalation
	Escalation(ctx context.Context, tenant, id string) (broker.Escalation, error)
	TakeEscalation(ctx context.Context, tenant, id, by string) (broker.Escalation, error)
	CloseEscalation(ctx context.Context, tenant, id, by, note string) (broker.Escalation, error)
	ReleaseEscalation(ctx context.Context, tenant, id, by, note string) (broker.Escalation, error)
	Peek(ctx context.Context, tenant, queue string, after uint64, limit int) ([]broker.QueueItem, error)
	Subscriptions
	Templates
	Campaigns
	Media
	Numbers(tenant string) []broker.NumberStatus
	Number(ctx context.Context, tenant, number string, fresh bool) (broker.NumberStatus, error)
	Alarms(tenant string) []broker.Alarm
	SettleAlarm(ctx context.Context, tenant, id, by string) error
	Costs(ctx context.Context, q broker.CostQuery) (broker.CostPage, error)
	Limits(ctx context.Context, tenant, event string) (broker.LimitReport, error)
}

var _ Bridge = (*broker.Broker)(nil)

// Options make a Server.
type Options struct {
	// Listen is host:port; Listener, when set, is used instead.
	Listen   string
	Listener net.Listener
	Bridge   Bridge
	// Webhook takes WhatsApp's webhooks.
	Webhook http.Handler
	// PublicURL is how the world reaches the bridge; CRMs sign it.
	PublicURL string
	// Proxies are those whose X-Forwarded-For is believed.
	Proxies []netip.Prefix
	// Access knows who may ask for what.
	Access   *access.Tokens
	Gatherer prometheus.Gatherer
	Version  string
	Log      *slog.Logger
}

// Limits of the server. A client that is slow, or that sends nothing, is shown
// out.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 120 * time.Second
	maxHeader         = 16 << 10
	drainTimeout      = 10 * time.Second
)

// Server serves. Use New, Listen, Run.
type Server struct {
	o        Options
	log      *slog.Logger
	loopback bool
	live     *live
	crmHooks chan struct{} // places for requests of CRMs
	http     *http.Server

	mu sync.Mutex
	ln net.Listener
}

// New makes a Server. Nothing listens yet.
func New(o Options) *Server {
	s := &Server{o: o, log: o.Log, ln: o.Listener, crmHooks: make(chan struct{}, maxCRMHooks)}
	host, _, _ := net.SplitHostPort(s.address())
	s.loopback = isLoopback(host)
	s.live = newLive(o.Bridge, o.Version)
	s.http = &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return s
}

func (s *Server) address() string {
	if s.ln != nil {
		return s.ln.Addr().String()
	}
	return s.o.Listen
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Listen opens the address, so that a mistake in it shows before anything else
// is started.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln != nil {
		return nil
	}
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", s.o.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s: %w: stop the program that has it, or set another web.listen", s.o.Listen, ErrInUse)
	}
	if err != nil {
		return fmt.Errorf("listen on %s: %w: see web.listen", s.o.Listen, err)
	}
	s.ln = ln
	return nil
}

// Addr returns where the server listens.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.address()
}

// Close releases the address of a Server that was never run.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln == nil {
		return nil
	}
	return s.ln.Close()
}

// Run serves until ctx ends, then lets the requests in flight end.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	lctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { s.live.run(lctx) })
	stopped := make(chan struct{})
	wg.Go(func() {
		defer close(stopped)
		<-lctx.Done()
		dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		if s.http.Shutdown(dctx) != nil {
			_ = s.http.Close()
		}
	})
	err := s.http.Serve(s.ln)
	cancel()
	<-stopped
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("web: %w", err)
}

// Handler returns the routes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
	})
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", s.look(promhttp.HandlerFor(s.o.Gatherer, promhttp.HandlerOpts{})))

	for _, r := range s.routes() {
		mux.Handle(r.method+" "+r.path, s.guarded(r))
	}
	mux.HandleFunc("GET "+openAPIPath, s.openAPI)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, http.StatusNotFound, "not_found", r.Method+" "+r.URL.Path+" is nothing of the API", "GET "+openAPIPath+" says what is")
	})

	mux.HandleFunc("POST /login", s.login)
	mux.Handle("GET /events", s.look(http.HandlerFunc(s.live.events)))
	mux.Handle("GET /assets/", http.FileServerFS(assets))
	mux.HandleFunc("GET /{$}", s.page)
	others := secured(s.trusted(mux))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The hot path. It comes by any name, through a proxy or a tunnel, and is
		// trusted for its signature alone.
		if r.URL.Path == webhookPath {
			s.o.Webhook.ServeHTTP(w, r)
			return
		}
		if strings.HasPrefix(r.URL.Path, crmPath) {
			s.crmWebhook(w, r)
			return
		}
		if strings.HasPrefix(r.URL.Path, media.Path) {
			s.serveMedia(w, r)
			return
		}
		others.ServeHTTP(w, r)
	})
}

const webhookPath = "/webhooks/whatsapp"

// trusted refuses what a page of somebody else's could make a browser send: a
// request by a name that is not ours (DNS rebinding), or one that changes
// something from another origin.
func (s *Server) trusted(next http.Handler) http.Handler {
	next = http.NewCrossOriginProtection().Handler(next)
	if !s.loopback {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if !isLoopback(strings.Trim(host, "[]")) && !s.hasToken(r) {
			writeError(w, http.StatusForbidden, "forbidden", "this bridge answers to its loopback address only", "use http://"+s.address())
			return
		}
		next.ServeHTTP(w, r)
	})
}

func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// proxied reports whether a proxy says that the request comes from elsewhere: it
// connects from this machine, whoever asks. One that says nothing, nginx with no
// more than a proxy_pass, is known by its HTTP/1.0 (the default of its
// proxy_http_version, https://nginx.org/en/docs/http/ngx_http_proxy_module.html):
// programs that look at the bridge speak a newer one.
func proxied(r *http.Request) bool {
	if !r.ProtoAtLeast(1, 1) {
		return true
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via", "Cf-Connecting-Ip"} {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	return false
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := s.o.Bridge.Ready(); err != nil {
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready", "reason": err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}
