package customhttp_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	customhttp "github.com/wabridge/wabridge/plugins/custom-http"
)

const hookSecret = "hook-very-secret"

// called has a lane read a request.
func called(t *testing.T, change table, r core.WebhookRequest) (core.WebhookAnswer, error) {
	t.Helper()
	hook := table{
		"verify": table{"type": "token", "name": "X-Token"},
		"events": []any{table{"kind": "contact.changed", "phone": "phone", "fields": table{"city": "city"}}},
	}
	maps.Copy(hook, change)
	s := table{"base_url": "https://crm.example.com", "idempotency": "none", "webhook": hook}
	secrets := map[string]core.Secret{"webhook": hookSecret}
	if verify, ok := hook["verify"].(table); ok && verify["type"] == "ip" {
		secrets = nil // it needs none
	}
	return (&customhttp.Connector{}).Webhook(context.Background(), core.Account{
		Tenant: "acme", Lane: "crm", Settings: toJSON(t, s), Secrets: secrets,
	}, r)
}

func posted(body string, header ...string) core.WebhookRequest {
	r := core.WebhookRequest{
		Method: http.MethodPost, URL: "https://bridge.example/webhooks/crm/acme/crm", Body: []byte(body), Header: map[string][]string{},
	}
	for i := 0; i < len(header); i += 2 {
		r.Header[header[i]] = []string{header[i+1]}
	}
	return r
}

func TestWebhook_ReadsRowsWhereverTheyAre(t *testing.T) {
	row := `{"phone":"+15550100001","city":"Lyon"}`
	for name, c := range map[string]struct {
		body, rows string
		form       bool
		want       int
	}{
		"one":                {row, "", false, 1},
		"several":            {"[" + row + "," + row + "]", "", false, 2},
		"further down":       {`{"event":{"items":[` + row + `]}}`, "event.items", false, 1},
		"about other things": {`{"ping":true}`, "event.items", false, 0},
		"a form":             {"phone=%2B15550100001&city=Lyon", "", true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := posted(c.body, "X-Token", hookSecret)
			if c.form {
				r.Header["Content-Type"] = []string{"application/x-www-form-urlencoded; charset=utf-8"}
			}
			got, err := called(t, table{"rows": c.rows, "status": 202, "body": "taken"}, r)
			if err != nil || len(got.Events) != c.want || got.Status != 202 || string(got.Body) != "taken" {
				t.Fatalf("got %+v, %v", got, err)
			}
			for _, e := range got.Events {
				if e.ID == "" || e.Contact.Phone != "+15550100001" || e.Contact.Fields["city"] != "Lyon" {
					t.Errorf("got %+v", e)
				}
			}
		})
	}
	for _, body := range []string{"", "{", "<xml/>", row + row} {
		if _, err := called(t, nil, posted(body, "X-Token", hookSecret)); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func TestWebhook_TakesATokenInTheBodyAndTellsNobodyOfIt(t *testing.T) {
	in := table{"verify": table{"type": "token", "in": "body", "name": "auth.token", "prefix": "t-"}, "rows": ""}
	body := `{"phone":"+15550100001","city":"Lyon","note":"x","auth":{"token":"t-%s","by":"crm"}}`
	got, err := called(t, in, posted(fmt.Sprintf(body, hookSecret)))
	if err != nil || len(got.Events) != 1 || got.Events[0].Contact.Fields["city"] != "Lyon" {
		t.Fatalf("got %+v, %v", got, err)
	}
	if text := string(toJSON(t, got.Events)); strings.Contains(text, hookSecret) {
		t.Errorf("an event has the token: %s", text)
	}
	form := table{"verify": table{"type": "token", "in": "body", "name": "token"}}
	r := posted("phone=%2B15550100001&token="+hookSecret, "Content-Type", "application/x-www-form-urlencoded")
	if got, err = called(t, form, r); err != nil || len(got.Events) != 1 || got.Events[0].Fields["token"] != nil {
		t.Errorf("a form: %+v, %v", got, err)
	}
	for _, text := range []string{fmt.Sprintf(body, "guess"), fmt.Sprintf(body, hookSecret+"x"), fmt.Sprintf(body, ""), `{"auth":{"token":["t-` + hookSecret + `"]}}`, `[]`, `{"auth":null}`, "", "{", "<xml/>"} {
		if got, err := called(t, in, posted(text, "X-Token", "t-"+hookSecret)); core.CodeOf(err) != core.CodeUnauthenticated || len(got.Events) > 0 || strings.Contains(err.Error(), hookSecret) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

func TestWebhook_KnowsFromWhereTheAPICalls(t *testing.T) {
	ips := []string{"203.0.113.7", "198.51.100.0/24", "2001:db8::/32"}
	alone := table{"type": "ip", "ips": ips}
	both := table{"type": "token", "name": "X-Token", "ips": ips}
	for name, c := range map[string]struct {
		verify        table
		remote, token string
		good          bool
	}{
		"an address":               {alone, "203.0.113.7", "", true},
		"in a network":             {alone, "198.51.100.200", "", true},
		"in a network of IPv6":     {alone, "2001:db8:1::1", "", true},
		"another":                  {alone, "203.0.113.8", "", false},
		"another, with the token":  {both, "203.0.113.8", hookSecret, false},
		"the token as well":        {both, "203.0.113.7", hookSecret, true},
		"the address only":         {both, "203.0.113.7", "", false},
		"it is not known":          {alone, "", "", false},
		"not known, but the token": {both, "", hookSecret, false},
	} {
		r := posted(`{"phone":"+15550100001"}`, "X-Token", c.token)
		r.Remote = c.remote
		got, err := called(t, table{"verify": c.verify}, r)
		if c.good && (err != nil || len(got.Events) != 1) || !c.good && (core.CodeOf(err) != core.CodeUnauthenticated || len(got.Events) > 0) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// A proxy before the bridge ends TLS and verifies the client's certificate. It writes the
// lane's secret, and whose the certificate is, into a header of its own.
func TestWebhook_TakesAProxysWordForTheClientsCertificate(t *testing.T) {
	verify := table{"verify": table{"type": "token", "name": "X-Client-Verified", "prefix": "CN=crm.example.com "}}
	body := `{"phone":"+15550100001"}`
	if got, err := called(t, verify, posted(body, "X-Client-Verified", "CN=crm.example.com "+hookSecret)); err != nil || len(got.Events) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	for what, value := range map[string]string{
		"another's certificate": "CN=evil.example.com " + hookSecret,
		"no certificate":        " " + hookSecret,
		"whoever made it up":    "CN=crm.example.com guess",
		"nobody":                "",
	} {
		if _, err := called(t, verify, posted(body, "X-Client-Verified", value)); core.CodeOf(err) != core.CodeUnauthenticated {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestWebhook_LetsNobodyElseIn(t *testing.T) {
	body := `{"phone":"+15550100001","note":"{timestamp}"}`
	basic := base64.StdEncoding.EncodeToString([]byte(hookSecret))
	for name, c := range map[string]struct {
		verify table
		good   []string
		bad    [][]string
	}{
		"token": {
			table{"type": "token", "name": "x-token", "prefix": "Bearer "}, []string{"X-Token", "Bearer " + hookSecret},
			[][]string{nil, {"X-Token", hookSecret}, {"X-Token", "Bearer "}, {"X-Token", "Bearer " + hookSecret + "x"}, {"X-Other", "Bearer " + hookSecret}},
		},
		"basic": {
			table{"type": "basic"}, []string{"Authorization", "Basic " + basic},
			[][]string{nil, {"Authorization", "Basic"}, {"Authorization", "Basic " + basic + "x"}, {"Authorization", "Basic " + hookSecret}},
		},
		"hmac, hex": {
			table{"type": "hmac", "name": "X-Signature", "prefix": "sha256="}, []string{"X-Signature", "sha256=" + signed(body)},
			[][]string{nil, {"X-Signature", signed(body)}, {"X-Signature", "sha256=" + signed(body+" ")}, {"X-Signature", "sha256="}, {"X-Signature", "sha256=zz"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := called(t, table{"verify": c.verify}, posted(body, c.good...)); err != nil || len(got.Events) != 1 {
				t.Errorf("the API's own is answered %+v, %v", got, err)
			}
			for _, header := range c.bad {
				if got, err := called(t, table{"verify": c.verify}, posted(body, header...)); core.CodeOf(err) != core.CodeUnauthenticated || len(got.Events) > 0 ||
					strings.Contains(err.Error(), hookSecret) {
					t.Errorf("%q is answered %+v, %v", header, got, err)
				}
			}
		})
	}
	in := table{"verify": table{"type": "token", "in": "query", "name": "key"}}
	r := posted(body)
	r.URL += "?key=" + hookSecret
	if _, err := called(t, in, r); err != nil {
		t.Error(err)
	}
	r.URL += "x"
	if _, err := called(t, in, r); core.CodeOf(err) != core.CodeUnauthenticated {
		t.Errorf("another key: %v", err)
	}
}

// signed is the HMAC of a text, in hexadecimal.
func signed(text string) string {
	mac := hmac.New(sha256.New, []byte(hookSecret))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

func TestWebhook_TakesNoOldRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		verify := table{"verify": table{
			"type": "hmac", "name": "X-Signature", "timestamp": "X-Time", "payload": "{method}{url}.{timestamp}.{body}", "tolerance": "5m",
		}}
		body := `{"phone":"+15550100001","note":"{timestamp} {body}"}`
		for _, c := range []struct {
			age  time.Duration
			good bool
		}{{0, true}, {5 * time.Minute, true}, {5*time.Minute + time.Second, false}, {-5 * time.Minute, true}, {-5*time.Minute - time.Second, false}} {
			at := fmt.Sprint(time.Now().Add(-c.age).Unix())
			r := posted(body, "X-Time", at)
			r.Header["X-Signature"] = []string{signed("POST" + r.URL + "." + at + "." + body)}
			if _, err := called(t, verify, r); (err == nil) != c.good {
				t.Errorf("%v old: %v", c.age, err)
			}
			// The time is part of what is signed.
			r.Header["X-Time"] = []string{fmt.Sprint(time.Now().Add(-time.Second).Unix())}
			if c.age != time.Second {
				if _, err := called(t, verify, r); core.CodeOf(err) != core.CodeUnauthenticated {
					t.Errorf("another time: %v", err)
				}
			}
		}
		r := posted(body, "X-Time", "yesterday", "X-Signature", signed(body))
		if _, err := called(t, verify, r); core.CodeOf(err) != core.CodeUnauthenticated {
			t.Errorf("no time: %v", err)
		}
	})
}

func TestWebhook_AnswersAChallengeToWhoMayAsk(t *testing.T) {
	change := table{"challenge": "challenge", "verify": table{"type": "token", "in": "query", "name": "key"}}
	r := core.WebhookRequest{Method: http.MethodGet, URL: "https://bridge.example/webhooks/crm/acme/crm?key=" + hookSecret + "&challenge=12%2034"}
	got, err := called(t, change, r)
	if err != nil || string(got.Body) != "12 34" || got.Status != 200 {
		t.Errorf("got %+v, %v", got, err)
	}
	r.URL = strings.Replace(r.URL, hookSecret, "guess", 1)
	if got, err := called(t, change, r); core.CodeOf(err) != core.CodeUnauthenticated || len(got.Body) > 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWebhook_IsNobodysWithoutSettings(t *testing.T) {
	b := (&customhttp.Connector{})
	account := core.Account{Settings: toJSON(t, good()), Secrets: map[string]core.Secret{"webhook": hookSecret}}
	if _, err := b.Webhook(context.Background(), account, posted("{}")); core.CodeOf(err) != core.CodeUnauthenticated {
		t.Error(err)
	}
}

func TestCheck_NamesWhatIsWrongWithWhatComesIn(t *testing.T) {
	event := table{"kind": "contact.changed", "phone": "phone"}
	hook := func(more table) table {
		h := table{"verify": table{"type": "basic"}, "events": []any{event}}
		maps.Copy(h, more)
		return table{"webhook": h}
	}
	pull := func(more table) table {
		p := table{"name": "x", "path": "/x", "events": []any{event}}
		maps.Copy(p, more)
		return table{"pull": []any{p}}
	}
	one := func(e table) table { return hook(table{"events": []any{e}}) }
	for _, c := range []struct {
		change table
		want   string
	}{
		{hook(table{"verify": table{}}), "settings.webhook.verify.type: want hmac, token, basic or ip"},
		{hook(table{"verify": table{"type": "ip"}}), "settings.webhook.verify.ips: missing"},
		{hook(table{"verify": table{"type": "ip", "ips": []string{"crm.example.com"}}}), "settings.webhook.verify.ips[0]: want an address"},
		{hook(table{"verify": table{"type": "basic", "ips": []string{"10.0.0.0/33"}}}), "settings.webhook.verify.ips[0]: want an address"},
		{hook(table{"verify": table{"type": "ip", "ips": []string{"10.0.0.1"}, "name": "X"}}), "settings.webhook.verify.name: is not for"},
		{hook(table{"verify": table{"type": "token", "in": "body"}}), "settings.webhook.verify.name: missing"},
		{hook(table{"verify": table{"type": "hmac", "name": "X", "payload": "{timestamp}"}}), "settings.webhook.verify.payload: without {body}"},
		{hook(table{"verify": table{"type": "hmac", "name": "X", "payload": "{timestamp}.{body}"}}), "settings.webhook.verify.timestamp"},
		{hook(table{"verify": table{"type": "hmac", "name": "X", "algorithm": "md5"}}), "settings.webhook.verify.algorithm"},
		{hook(table{"verify": table{"type": "hmac", "name": "X", "tolerance": "1m"}}), "settings.webhook.verify.tolerance"},
		{hook(table{"verify": table{"type": "token"}}), "settings.webhook.verify.name"},
		{hook(table{"verify": table{"type": "basic", "name": "X"}}), "settings.webhook.verify.name: is not for"},
		{hook(table{"status": 500}), "settings.webhook.status: want 200 to 299"},
		{hook(table{"events": nil}), "settings.webhook.events: missing"},
		{hook(table{"evnts": nil}), "settings.webhook.evnts: unknown setting, did you mean events?"},
		{one(table{"kind": "message.received", "phone": "p"}), "settings.webhook.events[0].kind: want one of"},
		{one(table{"kind": "contact.changed"}), "settings.webhook.events[0].phone: missing"},
		{one(table{"kind": "contact.gone", "phone": "p"}), "settings.webhook.events[0].ref: want the path to the record"},
		{one(table{"kind": "consent.changed", "phone": "p", "ref": "r", "state": "s", "granted": []any{"y"}}), "settings.webhook.events[0].ref: is for kind"},
		{one(table{"kind": "contact.changed", "phone": "p", "text": "t"}), "settings.webhook.events[0].text: is for kind"},
		{one(table{"kind": "message.send", "phone": "p", "text": "t"}), "settings.webhook.events[0].id: missing"},
		{one(table{"kind": "message.send", "phone": "p", "id": "id"}), "settings.webhook.events[0]: want one of text and template"},
		{one(table{"kind": "message.send", "phone": "p", "id": "id", "text": "t", "author": "me"}), "settings.webhook.events[0].author"},
		{one(table{"kind": "consent.changed", "phone": "p"}), "settings.webhook.events[0].state"},
		{pull(table{"name": ""}), "settings.pull[0].name"},
		{pull(table{"query": table{"since": "{{.sinc}}"}}), "unknown field .sinc, did you mean since?"},
		{pull(table{"format": "weeks"}), "settings.pull[0].format"},
		{pull(table{"start": "yesterday"}), "settings.pull[0].start"},
		{pull(table{"lookback": "-1h"}), "settings.pull[0].lookback"},
		{pull(table{"paging": table{"type": "scroll"}}), "settings.pull[0].paging.type"},
		{pull(table{"paging": table{"type": "cursor"}}), "settings.pull[0].paging.path: missing"},
		{pull(table{"paging": table{"size": 5000}}), "settings.pull[0].paging.size"},
		{table{"pull": []any{table{"name": "x", "events": []any{event}}, table{"name": "x", "events": []any{event}}}}, "settings.pull[1].name"},
	} {
		s := good()
		maps.Copy(s, c.change)
		err := check(toJSON(t, s), nil)
		if core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want %q", c.change, err, c.want)
		}
	}
}
