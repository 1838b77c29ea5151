package web

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

func TestCRMWebhook_HandsOnWhatTheCRMSigned(t *testing.T) {
	var got core.WebhookRequest
	b := &bridge{crm: func(tenant, lane string, r core.WebhookRequest) (core.WebhookAnswer, error) {
		if tenant != "acme" || lane != "hubspot" {
			t.Errorf("for %s %s", tenant, lane)
		}
		got = r
		return core.WebhookAnswer{Status: http.StatusAccepted, ContentType: "text/html", Body: []byte("<script>")}, nil
	}}
	o := options(b, "127.0.0.1:0")
	o.PublicURL = "https://bridge.example/wa"
	r := httptest.NewRequest(http.MethodPost, "/webhooks/crm/acme/hubspot?b=2&a=%20", strings.NewReader("{ raw }"))
	r.Host = "bridge.example" // as the world calls it, whatever the bridge listens on
	r.Header.Set("X-Signature", "s")
	r.Header.Set("Cookie", cookieName+"="+ownerToken)
	w := httptest.NewRecorder()
	New(o).Handler().ServeHTTP(w, r)
	want := core.WebhookRequest{
		Method: http.MethodPost, URL: CRMWebhookURL("https://bridge.example/wa/", "acme", "hubspot") + "?b=2&a=%20",
		Header: map[string][]string{"X-Signature": {"s"}}, Remote: "192.0.2.1", Body: []byte("{ raw }"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if w.Code != http.StatusAccepted || w.Body.String() != "<script>" || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" ||
		w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("answered %d %v %s", w.Code, w.Header(), w.Body)
	}
}

func TestCRMWebhook_SaysFromWhereItWasCalled(t *testing.T) {
	for name, c := range map[string]struct {
		connection string
		forwarded  []string
		want       string
	}{
		"directly":                         {"203.0.113.9:4711", nil, "203.0.113.9"},
		"who made up a proxy":              {"203.0.113.9:4711", []string{"198.51.100.1"}, "203.0.113.9"},
		"by a proxy":                       {"10.0.0.2:4711", []string{"203.0.113.9"}, "203.0.113.9"},
		"by a proxy that says nothing":     {"10.0.0.2:4711", nil, "10.0.0.2"},
		"by two, and something made up":    {"127.0.0.1:4711", []string{"198.51.100.1, 203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		"by two, each with its own header": {"127.0.0.1:4711", []string{"198.51.100.1", "203.0.113.9", "10.0.0.2"}, "203.0.113.9"},
		"by one that writes the port":      {"127.0.0.1:4711", []string{"203.0.113.9:55555"}, "203.0.113.9"},
		"from the proxy's own network":     {"127.0.0.1:4711", []string{"10.0.0.3"}, "10.0.0.3"},
		"IPv6":                             {"[::ffff:10.0.0.2]:4711", []string{"2001:db8::9"}, "2001:db8::9"},
		"IPv6 with a port":                 {"127.0.0.1:4711", []string{"[2001:db8::9]:443"}, "2001:db8::9"},
		"by one that will not say":         {"127.0.0.1:4711", []string{"203.0.113.9, unknown"}, ""},
		"on no network":                    {"@", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := "not called"
			o := options(&bridge{crm: func(_, _ string, r core.WebhookRequest) (core.WebhookAnswer, error) {
				got = r.Remote
				return core.WebhookAnswer{Status: http.StatusOK}, nil
			}}, "127.0.0.1:0")
			o.PublicURL = "https://bridge.example"
			o.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8")}
			r := httptest.NewRequest(http.MethodPost, "/webhooks/crm/acme/crm", strings.NewReader("{}"))
			r.Host, r.RemoteAddr = "bridge.example", c.connection
			r.Header["X-Forwarded-For"] = c.forwarded
			New(o).Handler().ServeHTTP(httptest.NewRecorder(), r)
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestCRMWebhook_TellsNobodyWhy(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		path   string
		status int
	}{
		"not the CRM":     {core.Errorf(core.CodeUnauthenticated, "hubspot", "the signature of +15550100123 is wrong"), "", 401},
		"no such lane":    {core.Errorf(core.CodeInvalid, "webhook", "none: %w", store.ErrNotFound), "", 404},
		"nonsense":        {core.Errorf(core.CodeInvalid, "hubspot", "no JSON: secret"), "", 400},
		"too many":        {&core.Error{Code: core.CodeRateLimited, Message: "secret", RetryAfter: 1500 * time.Millisecond}, "", 429},
		"the disk":        {errors.New("disk full: secret"), "", 500},
		"no plugin":       {core.Errorf(core.CodeUnavailable, "plugin", "secret"), "", 503},
		"a path too long": {nil, "/webhooks/crm/acme/hubspot/more", 404},
		"a path too odd":  {nil, "/webhooks/crm/acme/..%2fx", 404},
		"no lane":         {nil, "/webhooks/crm/acme", 404},
	} {
		t.Run(name, func(t *testing.T) {
			b := &bridge{crm: func(string, string, core.WebhookRequest) (core.WebhookAnswer, error) {
				return core.WebhookAnswer{}, c.err
			}}
			path := c.path
			if path == "" {
				path = "/webhooks/crm/acme/hubspot"
			}
			w := call{method: http.MethodPost, path: path, body: "{}"}.do(t, New(options(b, "127.0.0.1:0")).Handler())
			if w.Code != c.status || strings.Contains(w.Body.String(), "secret") || strings.Contains(w.Body.String(), "1555") {
				t.Errorf("answered %d %s, want %d", w.Code, w.Body, c.status)
			}
			if c.status == 429 && w.Header().Get("Retry-After") != "2" {
				t.Errorf("Retry-After is %q", w.Header().Get("Retry-After"))
			}
		})
	}
}

func TestCRMWebhook_BoundsWhatItHolds(t *testing.T) {
	hold, held := make(chan struct{}), make(chan struct{}, maxCRMHooks)
	b := &bridge{crm: func(string, string, core.WebhookRequest) (core.WebhookAnswer, error) {
		held <- struct{}{}
		<-hold
		return core.WebhookAnswer{Status: 200}, nil
	}}
	h := New(options(b, "127.0.0.1:0")).Handler()
	large := call{method: http.MethodPost, path: "/webhooks/crm/acme/hubspot", body: strings.Repeat("x", core.MaxWebhookBody+1)}
	if w := large.do(t, h); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body too large is answered %d", w.Code)
	}
	one := call{method: http.MethodPost, path: "/webhooks/crm/acme/hubspot", body: "{}"}
	var wg sync.WaitGroup
	for range maxCRMHooks {
		wg.Go(func() {
			if w := one.do(t, h); w.Code != 200 {
				t.Errorf("answered %d", w.Code)
			}
		})
	}
	for range maxCRMHooks {
		<-held
	}
	if w := one.do(t, h); w.Code != http.StatusTooManyRequests {
		t.Errorf("one more is answered %d", w.Code)
	}
	close(hold)
	wg.Wait()
}
