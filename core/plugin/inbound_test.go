//go:build linux

package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
)

// poller is a connector that finds at the CRM what its cursor says.
type poller struct{ visitor }

var (
	_ core.Poller   = poller{}
	_ core.Receiver = poller{}
)

func (p poller) Poll(ctx context.Context, a core.Account, cursor json.RawMessage) (core.Polled, error) {
	if a.Token == nil {
		return core.Polled{}, errors.New("polled without a token")
	}
	var do string
	if err := json.Unmarshal(cursor, &do); err != nil {
		return core.Polled{}, err
	}
	next := json.RawMessage(`"next"`)
	switch do {
	case "changes":
		return core.Polled{Events: []core.Event{changed}, Cursor: next, More: true}, nil
	case "nothing":
		return core.Polled{Cursor: next}, nil
	case "where":
		at, err := json.Marshal(a.WebhookURL + " " + string(a.Idempotency))
		return core.Polled{Cursor: at}, err
	case "too many":
		return core.Polled{Events: make([]core.Event, core.MaxPolled+1), Cursor: next}, nil
	case "large cursor":
		return core.Polled{Cursor: json.RawMessage(`"` + strings.Repeat("x", maxCursor) + `"`)}, nil
	case "bad cursor":
		return core.Polled{Cursor: json.RawMessage(`{`)}, nil
	case "no end":
		return core.Polled{More: true}, nil
	case "plain":
		return core.Polled{}, errors.New("the CRM is closed")
	case "panic":
		panic(a.Secrets["token"].Reveal())
	case "visit":
		if err := p.Check(ctx, a); err != nil {
			return core.Polled{}, err
		}
		return core.Polled{Cursor: next}, nil
	}
	return core.Polled{}, core.Errorf(core.CodeRateLimited, "poll", "%s", do)
}

func (p poller) Webhook(_ context.Context, a core.Account, r core.WebhookRequest) (core.WebhookAnswer, error) {
	switch do := string(r.Body); {
	case r.Get("X-Signature") != a.Secrets["token"].Reveal():
		return core.WebhookAnswer{}, core.Errorf(core.CodeUnauthenticated, "webhook", "%s is not signed with %s", r.URL, a.Secrets["token"].Reveal())
	case do == "changes":
		return core.WebhookAnswer{Events: []core.Event{changed}, Status: 202, ContentType: "text/plain", Body: []byte(r.Method + " " + r.Header["X-Many"][1] + " " + r.Remote)}, nil
	case do == "too many":
		return core.WebhookAnswer{Events: make([]core.Event, core.MaxPolled+1)}, nil
	case do == "large":
		return core.WebhookAnswer{Body: make([]byte, maxAnswer+1)}, nil
	case do == "odd status":
		return core.WebhookAnswer{Status: 42}, nil
	case do == "panic":
		panic("no")
	}
	return core.WebhookAnswer{}, nil
}

var changed = core.Event{
	ID: "contact-7-v3", Kind: core.KindContactChanged, Time: time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC),
	Contact: &core.Contact{Phone: "+15550100123", Fields: map[string]string{"city": "Taipei"}},
	Fields:  map[string]any{"City__c": "Taipei"},
}

func TestHost_Polls(t *testing.T) {
	d := newDesk(t)
	a := core.Account{Settings: json.RawMessage(`{"url":"` + d.URL + `"}`), Secrets: account.Secrets, WebhookURL: "https://bridge.example/webhooks/crm/shop/crm", Idempotency: core.IdempotencyKey}
	h, _ := run(t, HostOptions{Launch: child("poller"), Account: func() core.Account { return a }})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	info, err := h.Info(ctx)
	if err != nil || !info.Polls || !info.Authorizes {
		t.Fatalf("%+v, %v", info, err)
	}
	poll := func(do string) (core.Polled, error) { return h.Poll(ctx, json.RawMessage(`"`+do+`"`)) }

	got, err := poll("changes")
	if err != nil {
		t.Fatal(err)
	}
	want := core.Polled{Events: []core.Event{changed}, Cursor: json.RawMessage(`"next"`), More: true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err = poll("nothing"); err != nil || len(got.Events) != 0 || got.More {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = poll("where"); err != nil || string(got.Cursor) != `"`+a.WebhookURL+` key"` {
		t.Errorf("the CRM may call %s, %v", got.Cursor, err)
	}
	for do, code := range map[string]core.Code{
		"too many": core.CodeInternal, "large cursor": core.CodeInternal, "bad cursor": core.CodeInternal,
		"no end": core.CodeInternal, "plain": core.CodeInternal, "panic": core.CodeInternal, "slow down": core.CodeRateLimited,
	} {
		got, err := poll(do)
		if core.CodeOf(err) != code || len(got.Events) > 0 || got.Cursor != nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: got %+v, %v", do, got, err)
		}
	}
	if _, err := poll("visit"); err != nil {
		t.Error(err)
	}
}

func TestHost_PollsOnceMoreWhenATokenWasRefused(t *testing.T) {
	d := newDesk(t)
	d.good = func(n int) bool { return n == 1 }
	a := core.Account{Settings: json.RawMessage(`{"url":"` + d.URL + `"}`), Secrets: account.Secrets}
	h, _ := run(t, HostOptions{
		Launch: child("poller"), Account: func() core.Account { return a },
		Tokens: accessToken("token-50", time.Now().Add(-time.Minute), time.Hour),
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := h.Poll(ctx, json.RawMessage(`"visit"`)); err != nil || d.given != 1 {
		t.Errorf("%v after %d new tokens", err, d.given)
	}
}

func TestHost_HasARequestOfTheCRMRead(t *testing.T) {
	d := newDesk(t)
	a := core.Account{Settings: json.RawMessage(`{"url":"` + d.URL + `"}`), Secrets: account.Secrets}
	h, _ := run(t, HostOptions{Launch: child("poller"), Account: func() core.Account { return a }})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ask := func(do, signature string) (core.WebhookAnswer, error) {
		return h.Webhook(ctx, core.WebhookRequest{
			Method: "POST", URL: "https://bridge.example/webhooks/crm/shop/crm", Body: []byte(do), Remote: "203.0.113.9",
			Header: map[string][]string{"X-Signature": {signature}, "X-Many": {"one", "two"}},
		})
	}
	got, err := ask("changes", "s3cr3t-token")
	if err != nil {
		t.Fatal(err)
	}
	want := core.WebhookAnswer{Events: []core.Event{changed}, Status: 202, ContentType: "text/plain", Body: []byte("POST two 203.0.113.9")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err = ask("nothing", "s3cr3t-token"); err != nil || got.Status != 200 || len(got.Events) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err = ask("changes", "forged"); core.CodeOf(err) != core.CodeUnauthenticated || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("a forged request ends in %v", err)
	}
	for _, do := range []string{"too many", "large", "odd status", "panic"} {
		if got, err := ask(do, "s3cr3t-token"); core.CodeOf(err) != core.CodeInternal || len(got.Events) > 0 {
			t.Errorf("%s: got %+v, %v", do, got, err)
		}
	}
}

func TestHost_SaysWhatAPluginCannotDo(t *testing.T) {
	h, _ := run(t, HostOptions{Launch: child("actor")})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if info, err := h.Info(ctx); err != nil || info.Polls || info.Authorizes || info.Receives || info.Segments {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err := h.Poll(ctx, nil); core.CodeOf(err) != core.CodeInternal || !strings.Contains(err.Error(), "does not have this call") {
		t.Errorf("got %v", err)
	}
	if _, err := h.Segments(ctx, ""); core.CodeOf(err) != core.CodeInternal || !strings.Contains(err.Error(), "does not have this call") {
		t.Errorf("got %v", err)
	}
	if _, err := h.Members(ctx, "7", nil); core.CodeOf(err) != core.CodeInternal || !strings.Contains(err.Error(), "does not have this call") {
		t.Errorf("got %v", err)
	}
	if _, err := h.Webhook(ctx, core.WebhookRequest{}); core.CodeOf(err) != core.CodeInternal {
		t.Errorf("got %v", err)
	}
}
