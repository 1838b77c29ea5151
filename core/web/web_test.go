package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/access"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/memnet"
	"github.com/wabridge/wabridge/core/store"
)

// bridge is a Bridge with funcs for what a test looks at.
type bridge struct {
	ready    error
	send     func(broker.SendRequest) (broker.SendReceipt, error)
	why      func(tenant, id string) (broker.Story, error)
	decided  func(broker.DecisionQuery) (broker.DecisionPage, error)
	letters  map[string]broker.DeadLetter
	replayed []string
	consents []broker.ConsentRequest
	released []string
	erased   []broker.EraseRequest
	imported []broker.ImportRequest
	asked    []broker.ContactQuery
	regroups []string
	files    string
	crm      func(tenant, lane string, r core.WebhookRequest) (core.WebhookAnswer, error)
}

func (b *bridge) CRMWebhook(_ context.Context, tenant, lane string, r core.WebhookRequest) (core.WebhookAnswer, error) {
	return b.crm(tenant, lane, r)
}

func (b *bridge) Ready() error { return b.ready }

func (b *bridge) Send(_ context.Context, r broker.SendRequest) (broker.SendReceipt, error) {
	return b.send(r)
}

func (b *bridge) ChangeConsent(_ context.Context, r broker.ConsentRequest) (broker.ConsentStatus, error) {
	b.consents = append(b.consents, r)
	return broker.ConsentStatus{Tenant: r.Tenant, Contact: r.Contact}, nil
}

func (b *bridge) Consent(_ context.Context, tenant, who string) (broker.ConsentStatus, error) {
	if who != "c1" {
		return broker.ConsentStatus{}, core.Errorf(core.CodeInvalid, "contact", "none: %w", store.ErrNotFound)
	}
	return broker.ConsentStatus{Tenant: tenant, Contact: who, Why: "no marketing consent"}, nil
}

func (b *bridge) ProveConsent(_ context.Context, tenant, who string) (broker.ConsentProof, error) {
	return broker.ConsentProof{Status: broker.ConsentStatus{Tenant: tenant, Contact: who}, Whole: true}, nil
}

func (b *bridge) Release(_ context.Context, tenant, conversation, by string) error {
	b.released = append(b.released, tenant+" "+conversation+" "+by)
	return nil
}

func (b *bridge) Why(_ context.Context, tenant, id string) (broker.Story, error) {
	return b.why(tenant, id)
}

func (b *bridge) Decisions(_ context.Context, q broker.DecisionQuery) (broker.DecisionPage, error) {
	return b.decided(q)
}

func (b *bridge) Snapshot() broker.Snapshot {
	return broker.Snapshot{
		Time: time.Now(), Tenants: []broker.TenantInfo{{ID: "acme", Name: "<script>alert(1)</script>"}},
		Queues: []broker.QueueStatus{{Tenant: "acme", Queue: "decide"}, {Tenant: "other", Queue: "decide"}},
	}
}

func (b *bridge) Dead(_ context.Context, tenant, _ string, _ int) ([]broker.DeadLetter, error) {
	var out []broker.DeadLetter
	for _, d := range b.letters {
		if tenant == "" || d.Tenant == tenant {
			out = append(out, d)
		}
	}
	return out, nil
}

func (b *bridge) DeadLetter(_ context.Context, id string) (broker.DeadLetter, error) {
	d, ok := b.letters[id]
	if !ok {
		return d, core.Errorf(core.CodeInvalid, "dead letter", "none: %w", store.ErrNotFound)
	}
	return d, nil
}

func (b *bridge) Replay(_ context.Context, ids ...string) error {
	b.replayed = append(b.replayed, ids...)
	return nil
}

func (b *bridge) Resolve(context.Context, string, ...string) error { return nil }

func (b *bridge) Peek(context.Context, string, string, uint64, int) ([]broker.QueueItem, error) {
	return nil, nil
}

const (
	ownerToken  = "wab_owner_token_0123456789"
	tenantToken = "wab_tenant_token_0123456789"
)

func options(b *bridge, listen string) Options {
	tokens, err := access.New(context.Background(), nil, []access.Configured{
		{Name: "owner", Secret: ownerToken}, {Name: "acme", Tenant: "acme", Secret: tenantToken},
	})
	if err != nil {
		panic(err)
	}
	return Options{
		Listen: listen, Bridge: b, Gatherer: prometheus.NewRegistry(), Version: "test", Log: slog.New(slog.DiscardHandler),
		Webhook: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }),
		Access:  tokens,
	}
}

type call struct {
	method, path, body, token, host, origin, key, via string
}

func (c call) do(t *testing.T, h http.Handler) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
	r.Host = "127.0.0.1:8080"
	if c.host != "" {
		r.Host = c.host
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.origin != "" {
		r.Header.Set("Origin", c.origin)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	}
	if c.key != "" {
		r.Header.Set("Idempotency-Key", c.key)
	}
	if c.via != "" {
		r.Header.Set("X-Forwarded-For", c.via)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	checkAnswer(t, r.Pattern, w)
	return w
}

// nginx with a proxy_pass and nothing else names itself as the host, and tells nobody of
// whom it asks for.
func TestServer_KnowsAProxyThatSaysNothing(t *testing.T) {
	local := New(options(&bridge{}, "127.0.0.1:8080")).Handler()
	for path, want := range map[string]int{"/metrics": 401, "/api/v1/status": 401, "/events": 401, "/healthz": 200} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Host, r.Proto, r.ProtoMajor, r.ProtoMinor = "127.0.0.1:8080", "HTTP/1.0", 1, 0
		w := httptest.NewRecorder()
		local.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

func TestServer_LetsOnlyThoseInWhoMay(t *testing.T) {
	b := &bridge{
		send:    func(broker.SendRequest) (broker.SendReceipt, error) { return broker.SendReceipt{ID: "x"}, nil },
		why:     func(string, string) (broker.Story, error) { return broker.Story{}, nil },
		letters: map[string]broker.DeadLetter{"d1": {ID: "d1", Tenant: "acme", Reason: core.Error{Code: core.CodeInvalid}}, "d2": {ID: "d2", Tenant: "other", Reason: core.Error{Code: core.CodeInvalid}}},
	}
	local := New(options(b, "127.0.0.1:8080")).Handler()
	open := New(options(b, "0.0.0.0:8080")).Handler()
	message := `{"message":{"type":"text","text":"hi","to":"phone:+14155550100"}}`
	for _, tc := range []struct {
		name          string
		call          call
		onLoopback    int
		onAnInterface int
	}{
		{"alive", call{method: "GET", path: "/healthz"}, 200, 200},
		{"ready", call{method: "GET", path: "/readyz"}, 200, 200},
		{"webhook", call{method: "POST", path: "/webhooks/whatsapp"}, 200, 200},
		{"webhook through a tunnel", call{method: "POST", path: "/webhooks/whatsapp", host: "bridge.example.com"}, 200, 200},
		{"status without a token", call{method: "GET", path: "/api/v1/status"}, 200, 401},
		{"status through a proxy", call{method: "GET", path: "/api/v1/status", via: "203.0.113.9"}, 401, 401},
		{"status through a proxy with the owner's", call{method: "GET", path: "/api/v1/status", via: "203.0.113.9", token: ownerToken}, 200, 200},
		{"status with one tenant's", call{method: "GET", path: "/api/v1/status", token: tenantToken}, 200, 401},
		{"status with the owner's", call{method: "GET", path: "/api/v1/status", token: ownerToken}, 200, 200},
		{"metrics without a token", call{method: "GET", path: "/metrics"}, 200, 401},
		{"send without a token", call{method: "POST", path: "/api/v1/messages", body: message, key: "k"}, 401, 401},
		{"send with a wrong token", call{method: "POST", path: "/api/v1/messages", body: message, key: "k", token: "wrong"}, 401, 401},
		{"send", call{method: "POST", path: "/api/v1/messages", body: message, key: "k", token: ownerToken}, 202, 202},
		{"send without a key", call{method: "POST", path: "/api/v1/messages", body: message, token: ownerToken}, 400, 400},
		{"send a typo", call{method: "POST", path: "/api/v1/messages", body: `{"mesage":{}}`, key: "k", token: ownerToken}, 400, 400},
		{"send no JSON", call{method: "POST", path: "/api/v1/messages", body: `{`, key: "k", token: ownerToken}, 400, 400},
		{"send two", call{method: "POST", path: "/api/v1/messages", body: message + message, key: "k", token: ownerToken}, 400, 400},
		{"send too much", call{method: "POST", path: "/api/v1/messages", body: `{"tenant":"` + strings.Repeat("x", maxBody) + `"}`, key: "k", token: ownerToken}, 413, 413},
		{"send for another tenant", call{method: "POST", path: "/api/v1/messages", body: `{"tenant":"other",` + message[1:], key: "k", token: tenantToken}, 404, 404},
		{"why without a token", call{method: "GET", path: "/api/v1/why?id=x"}, 401, 401},
		{"why", call{method: "GET", path: "/api/v1/why/wamid.A/B==", token: tenantToken}, 200, 200},
		{"why of another tenant", call{method: "GET", path: "/api/v1/why?id=x&tenant=other", token: tenantToken}, 404, 404},
		{"another tenant's dead letter", call{method: "GET", path: "/api/v1/dead/d2", token: tenantToken}, 404, 404},
		{"one's own dead letter", call{method: "GET", path: "/api/v1/dead/d1", token: tenantToken}, 200, 200},
		{"replay another tenant's", call{method: "POST", path: "/api/v1/dead/replay", body: `{"ids":["d1","d2"]}`, token: tenantToken}, 404, 404},
		{"no such dead letter", call{method: "GET", path: "/api/v1/dead/none", token: ownerToken}, 404, 404},
		{"nothing of the API", call{method: "GET", path: "/api/v1/nothing", token: ownerToken}, 404, 404},
		{"a page of somebody else's", call{method: "POST", path: "/api/v1/dead/replay", body: `{"ids":["d1"]}`, token: ownerToken, origin: "https://evil.example"}, 403, 403},
		{"a name that is made to point here", call{method: "GET", path: "/api/v1/status", host: "evil.example"}, 403, 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.call.do(t, local); got.Code != tc.onLoopback {
				t.Errorf("on loopback: %d, want %d: %s", got.Code, tc.onLoopback, got.Body)
			}
			if got := tc.call.do(t, open); got.Code != tc.onAnInterface {
				t.Errorf("on an interface: %d, want %d: %s", got.Code, tc.onAnInterface, got.Body)
			}
		})
	}
	if len(b.replayed) != 0 {
		t.Errorf("replayed %v", b.replayed)
	}
}

func TestServer_AnswersWithTheStatusOfTheCode(t *testing.T) {
	for code, want := range map[core.Code]int{
		core.CodeInvalid: 422, core.CodeUndeliverable: 409, core.CodeUnavailable: 503, core.CodeRateLimited: 429,
		core.CodeForbidden: 403, core.CodeUnauthenticated: 401, core.CodeInternal: 500, core.CodeUnknownOutcome: 503,
	} {
		b := &bridge{send: func(broker.SendRequest) (broker.SendReceipt, error) {
			return broker.SendReceipt{}, &core.Error{Code: code, Message: "no", Hint: "change it"}
		}}
		got := call{method: "POST", path: "/api/v1/messages", body: `{"tenant":"acme"}`, key: "k", token: ownerToken}.do(t, New(options(b, "127.0.0.1:1")).Handler())
		var body struct{ Error apiError }
		if err := json.Unmarshal(got.Body.Bytes(), &body); err != nil || got.Code != want || body.Error != (apiError{string(code), "no", "change it"}) {
			t.Errorf("%s: %d %+v, want %d", code, got.Code, body, want)
		}
	}
	full := &bridge{send: func(broker.SendRequest) (broker.SendReceipt, error) { return broker.SendReceipt{}, store.ErrFull }}
	got := call{method: "POST", path: "/api/v1/messages", body: `{"tenant":"acme"}`, key: "k", token: ownerToken}.do(t, New(options(full, "127.0.0.1:1")).Handler())
	if got.Code != 503 || got.Header().Get("Retry-After") == "" {
		t.Errorf("full disk: %d, Retry-After %q", got.Code, got.Header().Get("Retry-After"))
	}
}

func TestServer_SaysWhyItIsNotReady(t *testing.T) {
	b := &bridge{ready: errors.New("the disk is full")}
	got := call{method: "GET", path: "/readyz"}.do(t, New(options(b, "127.0.0.1:1")).Handler())
	if got.Code != 503 || !strings.Contains(got.Body.String(), "the disk is full") {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

func TestPage_AsksForATokenBeyondLoopbackAndKeepsIt(t *testing.T) {
	h := New(options(&bridge{}, "0.0.0.0:8080")).Handler()
	if got := (call{method: "GET", path: "/"}).do(t, h); !strings.Contains(got.Body.String(), `action="/login"`) {
		t.Error("no sign-in is asked for")
	}
	if got := (call{method: "GET", path: "/?" + denied}).do(t, h); !strings.Contains(got.Body.String(), "not a token") {
		t.Error("the page does not say that the token was wrong")
	}
	sign := func(token string) []*http.Cookie {
		r := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader(url.Values{"token": {token}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result().Cookies()
	}
	if c := sign("wrong"); len(c) != 0 {
		t.Errorf("a wrong token gives %v", c)
	}
	if c := sign(tenantToken); len(c) != 0 {
		t.Errorf("one tenant's token lets in to the page of all: %v", c)
	}
	cookies := sign(ownerToken)
	if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode {
		t.Fatalf("cookies: %v", cookies)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(cookies[0])
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if !strings.Contains(w.Body.String(), "live.js") {
		t.Error("signed in, but no page")
	}
}

func TestPage_RunsNoScriptsButItsOwn(t *testing.T) {
	got := call{method: "GET", path: "/"}.do(t, New(options(&bridge{}, "127.0.0.1:1")).Handler())
	if csp := got.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'self'") || strings.Contains(csp, "unsafe") {
		t.Errorf("CSP: %s", csp)
	}
	if body := got.Body.String(); strings.Contains(body, "<script>") || strings.Contains(body, "style=") || strings.Contains(body, "onclick") {
		t.Error("the page has inline script or style, which its own policy forbids")
	}
	js := call{method: "GET", path: "/assets/live.js"}.do(t, New(options(&bridge{}, "127.0.0.1:1")).Handler())
	for _, danger := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("} {
		if strings.Contains(js.Body.String(), danger) {
			t.Errorf("live.js uses %s: what comes from outside could become markup", danger)
		}
	}
}

func TestLive_TellsEveryPageOnceASecondAndEndsWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		ln, err := network.Listen("bridge:80")
		if err != nil {
			t.Fatal(err)
		}
		o := options(&bridge{}, "127.0.0.1:8080")
		o.Listener = ln
		s := New(o)
		s.loopback = true
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		tr := &http.Transport{DialContext: func(ctx context.Context, n, _ string) (net.Conn, error) {
			return network.DialContext(ctx, n, "bridge:80")
		}}
		defer tr.CloseIdleConnections()
		resp, err := (&http.Client{Transport: tr}).Get("http://127.0.0.1/events")
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		start, n := time.Now(), 0
		for n < 6 && lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				n++
				if !json.Valid([]byte(data)) {
					t.Errorf("not JSON: %s", data)
				}
			}
		}
		if d := time.Since(start); d < 4*time.Second || d > 6*time.Second {
			t.Errorf("six snapshots in %v", d)
		}
		cancel()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Logf("the stream ended with %v", err)
		}
		_ = resp.Body.Close()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// crowd has more escalations than a page shows.
type crowd struct{ bridge }

func (c *crowd) Escalations(string) []broker.Escalation {
	var all []broker.Escalation
	for i := range maxWaiting + 5 {
		e := broker.Escalation{Tenant: "acme", State: broker.StateWaiting}
		e.ID, e.Overdue = fmt.Sprint(i), i < 2
		all = append(all, e, broker.Escalation{Tenant: "acme", State: broker.StateTaken})
	}
	return all
}

func TestLive_ShowsWhoWaitsForAPerson(t *testing.T) {
	var word struct{ People people }
	if err := json.Unmarshal(newLive(&crowd{}, "test").first(), &word); err != nil {
		t.Fatal(err)
	}
	p := word.People
	if p.Waiting != maxWaiting+5 || p.Overdue != 2 || len(p.First) != maxWaiting || p.First[0].ID != "0" {
		t.Errorf("told %d waiting, %d overdue, %d of them shown", p.Waiting, p.Overdue, len(p.First))
	}
	for _, e := range p.First {
		if e.State != broker.StateWaiting {
			t.Errorf("%+v waits for nobody", e)
		}
	}
}

func TestLive_TellsWhoComesLateWhatWasBefore(t *testing.T) {
	l := newLive(&bridge{}, "test")
	for range maxPast + 5 {
		l.tell()
	}
	var first, later struct{ Past []float64 }
	if err := json.Unmarshal(l.first(), &first); err != nil || len(first.Past) != maxPast {
		t.Errorf("the first word has %d rates of the past, want %d: %v", len(first.Past), maxPast, err)
	}
	c, _ := l.subscribe()
	l.tell()
	if err := json.Unmarshal(<-c, &later); err != nil || later.Past != nil {
		t.Errorf("a later word has %d rates of the past: %v", len(later.Past), err)
	}
}

func TestLive_ShutsOutWhomItCannotServe(t *testing.T) {
	l := newLive(&bridge{}, "test")
	for range maxSubscribers {
		if _, ok := l.subscribe(); !ok {
			t.Fatal("shut out too early")
		}
	}
	w := httptest.NewRecorder()
	l.events(w, httptest.NewRequest(http.MethodGet, "/events", nil))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("one too many gets %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
}

func TestServer_SaysThatItsAddressIsTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if err := New(options(&bridge{}, ln.Addr().String())).Listen(); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "web.listen") {
		t.Errorf("err = %v", err)
	}
}
