//go:build linux

package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wabridge/wabridge/core"
)

// visitor is a connector whose CRM wants tokens that expire. It writes an event
// by handing its token to the desk.
type visitor struct{ actor }

var _ core.Authorizer = visitor{}

func (visitor) ask(ctx context.Context, a core.Account, path string) (int, string) {
	var s actorSettings
	if err := json.Unmarshal(a.Settings, &s); err != nil {
		return 0, err.Error()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	if err != nil {
		return 0, err.Error()
	}
	client := http.Client{Timeout: time.Minute}
	res, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

func (v visitor) Authorize(ctx context.Context, a core.Account) (core.Token, error) {
	before := ""
	if a.Token != nil {
		before = a.Token.Secrets["access"].Reveal()
	}
	switch status, body := v.ask(ctx, a, "/token?secret="+a.Secrets["token"].Reveal()+"&before="+before); status {
	case http.StatusOK:
		return core.Token{
			Secrets: map[string]core.Secret{"access": core.Secret(body)}, Values: map[string]string{"home": "here"},
			Expires: time.Now().Add(time.Hour),
		}, nil
	case http.StatusTooManyRequests:
		return core.Token{}, &core.Error{Code: core.CodeRateLimited, Op: "token", Message: "too many tokens", RetryAfter: time.Hour}
	case http.StatusForbidden:
		return core.Token{}, &core.Error{Code: core.CodeUnauthenticated, Op: "token", Message: "the secret " + a.Secrets["token"].Reveal() + " is revoked", Hint: "sign in again"}
	case http.StatusBadRequest:
		return core.Token{}, core.Errorf(core.CodeInvalid, "settings", "url: it is wrong")
	case http.StatusNoContent:
		return core.Token{}, nil
	default:
		return core.Token{}, core.Errorf(core.CodeUnavailable, "token", "%d %s", status, body)
	}
}

func (v visitor) Check(ctx context.Context, a core.Account) error {
	if r := v.Deliver(ctx, a, does("ok"))[0]; r.Err != nil {
		return r.Err
	}
	return nil
}

func (v visitor) Deliver(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
	results := make([]core.Result, len(batch))
	for i, d := range batch {
		results[i] = core.Result{ID: d.Event.ID, Ref: a.Token.Values["home"]}
		access := a.Token.Secrets["access"].Reveal()
		status, body := v.ask(ctx, a, "/write?id="+d.Event.ID+"&token="+access)
		if status != http.StatusOK {
			results[i].Err = core.Errorf(core.CodeUnauthenticated, "write", "%s does not know the token %s", body, access)
		}
	}
	return results
}

// desk is a CRM that gives out tokens, "token-1" first, and takes those that are
// good.
type desk struct {
	*httptest.Server
	mu      sync.Mutex
	given   int
	asked   []string       // the tokens before, as told
	good    func(int) bool // whether it takes the n-th
	gives   int            // the status instead of a token
	written map[string]int // how often an event was written
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{written: map[string]int{}, good: func(int) bool { return true }, gives: http.StatusOK}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if r.URL.Path == "/token" {
			d.asked = append(d.asked, r.FormValue("before"))
			if d.gives != http.StatusOK {
				w.WriteHeader(d.gives)
				return
			}
			d.given++
			fmt.Fprintf(w, "token-%d", d.given)
			return
		}
		var n int
		if _, err := fmt.Sscanf(r.FormValue("token"), "token-%d", &n); err != nil || !d.good(n) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, "the desk")
			return
		}
		d.written[r.FormValue("id")]++
	}))
	t.Cleanup(d.Close)
	return d
}

// with runs f while the desk does nothing.
func (d *desk) with(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

func (d *desk) host(t *testing.T, tokens TokenStore) (*Host, *journal, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	a := core.Account{Settings: json.RawMessage(fmt.Sprintf(`{"url":%q}`, d.URL)), Secrets: account.Secrets}
	h, j := run(t, HostOptions{Launch: child("visitor"), Account: func() core.Account { return a }, Tokens: tokens, Registerer: reg})
	return h, j, reg
}

// drawer is a TokenStore in memory.
type drawer struct {
	mu    sync.Mutex
	token *core.Token
	got   time.Time
	saved int
}

func (d *drawer) Load(context.Context) (*core.Token, time.Time, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.token, d.got, nil
}

func (d *drawer) Save(_ context.Context, token *core.Token, got time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.token, d.got = token, got
	d.saved++
	return nil
}

func accessToken(access string, got time.Time, life time.Duration) *drawer {
	return &drawer{got: got, token: &core.Token{
		Secrets: map[string]core.Secret{"access": core.Secret(access)}, Values: map[string]string{"home": "here"}, Expires: got.Add(life),
	}}
}

func TestHost_AsksForOneTokenHoweverManyNeedIt(t *testing.T) {
	d, kept := newDesk(t), &drawer{}
	h, _, reg := d.host(t, kept)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if r := act(t, h, "ok"); r.Err != nil || r.Ref != "here" {
				t.Errorf("got %+v", r)
			}
		})
	}
	wg.Wait()
	if err := h.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if d.given != 1 || kept.saved != 1 || kept.token.Secrets["access"] != "token-1" {
		t.Errorf("%d tokens were given and %d kept, the last %v: want one", d.given, kept.saved, kept.token)
	}
	if got := metric(t, reg, "wabridge_plugin_tokens_total"); got != 1 {
		t.Errorf("the metric says %v tokens", got)
	}

	// The next process and the next bridge have it too.
	h2, _, _ := d.host(t, kept)
	if mustAct(t, h2, "ok"); d.given != 1 {
		t.Errorf("another token was asked for after a restart")
	}
}

func TestHost_RenewsATokenBeforeItExpires(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		got   time.Time
		life  time.Duration
		renew bool
	}{
		"an hour's, with six minutes left":    {now.Add(-54 * time.Minute), time.Hour, false},
		"an hour's, with four minutes left":   {now.Add(-56 * time.Minute), time.Hour, true},
		"ten minutes', with two left":         {now.Add(-8 * time.Minute), 10 * time.Minute, false},
		"ten minutes', with half a one left":  {now.Add(-9*time.Minute - 30*time.Second), 10 * time.Minute, true},
		"expired long ago":                    {now.Add(-24 * time.Hour), time.Hour, true},
		"of a clock that was wrong meanwhile": {now.Add(time.Hour), time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			h, _, _ := d.host(t, accessToken("token-77", c.got, c.life))
			mustAct(t, h, "ok")
			if (d.given == 1) != c.renew {
				t.Errorf("%d tokens were asked for; renewing was right: %v", d.given, c.renew)
			}
			if c.renew && d.asked[0] != "token-77" {
				t.Errorf("the plugin was told of the token %q before", d.asked[0])
			}
		})
	}
}

func TestHost_DeliversOnceMoreWhenATokenWasRefused(t *testing.T) {
	d := newDesk(t)
	d.good = func(n int) bool { return n == 1 }
	h, _, _ := d.host(t, accessToken("token-50", time.Now().Add(-time.Minute), time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, r := range h.Deliver(ctx, does("a", "b", "c")) {
		if r.Err != nil {
			t.Errorf("%s: %v", r.ID, r.Err)
		}
	}
	d.with(func() {
		if d.given != 1 || len(d.written) != 3 || d.written["wamid.0"] != 1 {
			t.Errorf("%d tokens were given, written was %v", d.given, d.written)
		}
		// This one is refused soon after it was got: another would be, too.
		d.good = func(int) bool { return false }
	})
	if r := act(t, h, "ok"); r.Err == nil || r.Err.Code != core.CodeUnauthenticated || strings.Contains(r.Err.Message, "token-1") {
		t.Errorf("got %+v", r)
	}
	if core.CodeOf(h.Check(ctx)) != core.CodeUnauthenticated || d.given != 1 {
		t.Errorf("%d tokens were given", d.given)
	}
}

func TestHost_AsksNoMoreForTokensThanItMay(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		kept   *drawer
		code   core.Code
	}{
		"too many":                  {http.StatusTooManyRequests, &drawer{}, core.CodeRateLimited},
		"too many, an old one left": {http.StatusTooManyRequests, accessToken("token-77", time.Now().Add(-56*time.Minute), time.Hour), ""},
		"revoked":                   {http.StatusForbidden, &drawer{}, core.CodeUnauthenticated},
		"no answer":                 {http.StatusNoContent, &drawer{}, core.CodeInternal},
		"out of order":              {http.StatusBadGateway, &drawer{}, core.CodeUnavailable},
		"a wrong setting":           {http.StatusBadRequest, &drawer{}, core.CodeForbidden}, // the events are kept
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.gives = c.status
			h, _, _ := d.host(t, c.kept)
			began := time.Now()
			for range 3 {
				r := act(t, h, "ok")
				if c.code == "" {
					if r.Err != nil {
						t.Error(r.Err)
					}
					continue
				}
				if r.Err == nil || r.Err.Code != c.code || r.Err.Holds() != core.ScopeLane || strings.Contains(r.Err.Error(), "s3cr3t") {
					t.Fatalf("got %+v", r)
				}
			}
			if time.Since(began) < authorizeAgain && len(d.asked) != 1 {
				t.Errorf("a token was asked for %d times", len(d.asked))
			}
		})
	}
}

func TestHost_ForgetsThatATokenWasRefusedToIt(t *testing.T) {
	d := newDesk(t)
	d.gives = http.StatusBadGateway
	h, _, _ := d.host(t, nil)
	if r := act(t, h, "ok"); r.Err == nil {
		t.Fatal("there was a token")
	}
	d.with(func() { d.gives = http.StatusOK })
	h.keeper.mu.Lock()
	h.keeper.until = time.Now() // it is a second later
	h.keeper.mu.Unlock()
	mustAct(t, h, "ok")
}
