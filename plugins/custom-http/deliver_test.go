package customhttp_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	customhttp "github.com/wabridge/wabridge/plugins/custom-http"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

// wire is a request in the order in which people read it.
func wire(r customhttpsim.Request) string {
	line := r.Method + " " + r.Path
	if r.Query != "" {
		line += "?" + r.Query
	}
	for _, name := range []string{"Authorization", "Content-Type", "Idempotency-Key", "X-Api-Key", "X-Count", "X-Source", "X-Tenant"} {
		if v := r.Header.Get(name); v != "" {
			line += "\n" + name + ": " + v
		}
	}
	if r.Body != "" {
		line += "\n\n" + strings.Join(strings.Fields(r.Body), " ")
	}
	return line
}

func TestDeliver_SendsWhatTheSettingsSay(t *testing.T) {
	b := start(t, customhttpsim.Options{Token: token}, example(t, "one-by-one"), nil)
	e := received(1)
	e.Message.Text = `"hi" \ {{.id}}`
	status := &core.Event{
		ID: "st1", Kind: core.KindMessageStatus, Tenant: "acme", Time: e.Time,
		Status: &core.Status{MessageID: e.Message.ID, Value: core.StatusFailed, Errors: []core.StatusError{{Code: 131026, Title: "Undeliverable"}}},
	}
	changed := &core.Event{
		ID: "ch1", Kind: core.KindContactChanged, Tenant: "acme", Time: e.Time,
		Contact: &core.Contact{ID: "c/1", Name: "Ada", Tags: []string{"vip"}, Fields: map[string]string{"city": "Lyon"}},
	}
	consent := &core.Event{
		ID: "co1", Kind: core.KindConsentChanged, Tenant: "acme", Time: e.Time, Contact: &core.Contact{ID: "c/1"},
		Consent: &core.Consent{Level: "marketing", State: "withdrawn", Source: "word", Evidence: "STOP", Marketing: "withdrawn", Suppressed: []string{"stop", "legal_hold"}},
	}
	escalation := &core.Event{ID: "es1#1", Kind: core.KindEscalation, Tenant: "acme", Time: e.Time, Escalation: &core.Escalation{Reason: "angry\nvery"}}
	for _, e := range []*core.Event{e, status, changed, consent, escalation} {
		if err := b.one(e); err != nil {
			t.Fatalf("%s: %v", e.ID, err)
		}
	}
	var got []string
	for _, r := range b.sim.Requests() {
		got = append(got, wire(r))
	}
	want := []string{
		`POST /v1/messages
Authorization: Bearer tok-very-secret-1
Content-Type: application/json
Idempotency-Key: wamid.IN001
X-Source: wabridge
X-Tenant: acme

{ "external_id": "wamid.IN001", "direction": "in", "type": "text", "text": "\"hi\" \\ {{.id}}", "sent_at": "2026-10-01T12:00:01Z", "contact": { "phone": "+4915112345001", "external_id": "c001", "name": "Ada" }, "tags": [] }`,
		`PATCH /v1/messages/wamid.IN001
Authorization: Bearer tok-very-secret-1
Content-Type: application/json
Idempotency-Key: st1
X-Source: wabridge

{ "error": "Undeliverable", "status": "failed" }`,
		`PUT /v1/contacts/c%2F1
Authorization: Bearer tok-very-secret-1
Content-Type: application/json
Idempotency-Key: ch1
X-Source: wabridge

{ "external_id": "c/1", "name": "Ada", "tags": ["vip"], "fields": {"city":"Lyon"} }`,
		`PUT /v1/contacts/c%2F1
Authorization: Bearer tok-very-secret-1
Content-Type: application/json
Idempotency-Key: co1
X-Source: wabridge

{ "external_id": "c/1", "name": "WhatsApp contact", "fields": {"marketing": "withdrawn", "suppressed": "stop; legal_hold"} }`,
		`POST /v1/notes
Authorization: Bearer tok-very-secret-1
Content-Type: application/json
Idempotency-Key: es1#1
X-Source: wabridge

{ "ref": "es1#1", "text": "support: angry\nvery" }`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDeliver_SendsEventsAsTheyAreWithoutATemplate(t *testing.T) {
	b := start(t, customhttpsim.Options{Key: apiKey}, bulk(t), nil)
	events := []*core.Event{
		{ID: "a1", Kind: core.KindContactChanged, Tenant: "acme", Contact: &core.Contact{ID: "c1", Name: "<Ada>"}},
		{ID: "a2", Kind: core.KindEscalation, Tenant: "acme", Escalation: &core.Escalation{Reason: "r"}},
	}
	wantCodes(t, b.deliver(events...), nil)
	requests := b.sim.Requests()
	if len(requests) != 1 {
		t.Fatalf("%d requests, want one for both kinds", len(requests))
	}
	want := "POST /v1/events/bulk\nContent-Type: application/json\nX-Api-Key: " + apiKey + "\nX-Count: 2\n\n" +
		`{"events":[` + string(toJSON(t, events[0])) + "," + string(toJSON(t, events[1])) + `]}`
	if diff := cmp.Diff(want, wire(requests[0])); diff != "" {
		t.Error(diff)
	}
}

func TestDeliver_ShowsWhoAsks(t *testing.T) {
	for _, c := range []struct {
		name string
		auth table
		sim  customhttpsim.Options
	}{
		{"bearer", table{"type": "bearer"}, customhttpsim.Options{Token: token}},
		{"basic", table{"type": "basic"}, customhttpsim.Options{User: username, Password: password}},
		{"key in a header", table{"type": "api_key", "name": "X-Api-Key"}, customhttpsim.Options{Key: apiKey}},
		{"key in the query", table{"type": "api_key", "in": "query", "name": "api_key"}, customhttpsim.Options{Key: apiKey}},
		{"key with a prefix", table{"type": "api_key", "name": "Authorization", "prefix": "Bearer "}, customhttpsim.Options{Token: apiKey}},
		{"none", table{"type": "none"}, customhttpsim.Options{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, c.sim, notes("none", table{"auth": c.auth}), nil)
			if err := b.one(received(1)); err != nil {
				t.Error(err)
			}
			if c.name == "none" {
				return
			}
			// Everything in a secret that the API repeats is masked, also the
			// forms in which it was sent.
			b.account.Secrets = map[string]core.Secret{
				"token": "wrong-tok-1", "username": "wrong-user", "password": "wrong+p/ss", "api_key": "wrong+k/y=",
			}
			err := b.one(received(2))
			if codeOf(err) != core.CodeUnauthenticated || !strings.Contains(err.Hint, "secrets") {
				t.Errorf("wrong secrets: %v, hint %q", err, err.Hint)
			}
			text := fmt.Sprintf("%v %+v", err, *err)
			for name, s := range b.account.Secrets {
				if strings.Contains(text, s.Reveal()) {
					t.Errorf("%s is in %s", name, text)
				}
			}
			if basic := base64.StdEncoding.EncodeToString([]byte("wrong-user:wrong+p/ss")); strings.Contains(text, basic) {
				t.Errorf("basic credentials are in %s", text)
			}
		})
	}
}

func TestDeliver_EndsWhatHasNoOperationAtOnce(t *testing.T) {
	b := start(t, customhttpsim.Options{}, bulk(t), nil)
	skipped := &core.Event{ID: "u1", Kind: core.KindUnknown}
	wantCodes(t, b.deliver(skipped), nil)
	b2 := start(t, customhttpsim.Options{}, notes("none", nil), nil)
	wantCodes(t, b2.deliver(&core.Event{ID: "x", Kind: core.KindEscalation}, &core.Event{ID: "y", Kind: "hologram.opened"}), nil)
	if n := len(b.sim.Requests()) + len(b2.sim.Requests()); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestDeliver_ReadsEventsThatComeAsData(t *testing.T) {
	b := start(t, customhttpsim.Options{}, notes("none", nil), nil)
	e := received(1)
	results := b.connector.Deliver(t.Context(), b.account, []core.Delivery{
		{Data: toJSON(t, e)},
		{Event: received(2)},
		{Data: []byte(`{"id":"bro`)},
	})
	if results[0].ID != e.ID || results[0].Err != nil || results[1].ID != "wamid.IN002" || results[1].Err != nil {
		t.Errorf("got %+v", results[:2])
	}
	if codeOf(results[2].Err) != core.CodeInvalid {
		t.Errorf("broken data: %v", results[2].Err)
	}
	if diff := cmp.Diff(map[string]int{e.ID: 1, "wamid.IN002": 1}, b.sim.Count("note")); diff != "" {
		t.Error(diff)
	}
}

func TestDeliver_KeepsTheEventsWhenTheSettingsAreBroken(t *testing.T) {
	b := start(t, customhttpsim.Options{}, notes("none", nil), nil)
	b.account.Settings = json.RawMessage(`{"base_url":"nowhere"}`)
	got := b.deliver(many(3)...)
	for id, r := range got {
		if codeOf(r.Err) != core.CodeForbidden || r.Err.Holds() != core.ScopeLane {
			t.Errorf("%s: %v, want what pauses the lane", id, r.Err)
		}
	}
}

// TestDeliver_FailsOnlyTheEventThatCannotBeWritten: what a template cannot make
// of one event says nothing of the others.
func TestDeliver_FailsOnlyTheEventThatCannotBeWritten(t *testing.T) {
	bad := map[string]func(*core.Event){
		"a header with a line break": func(e *core.Event) { e.Contact.Name = "x\r\nX-Evil: 1" },
		"a header too long":          func(e *core.Event) { e.Contact.Name = strings.Repeat("x", 9000) },
		"a path that climbs":         func(e *core.Event) { e.Contact.ID = "../../admin" },
		"a dot for a path":           func(e *core.Event) { e.Contact.ID = ".." },
		"segments put together":      func(e *core.Event) { e.Contact.Username = "x" },
		"an empty path":              func(e *core.Event) { e.Contact.ID = "" },
		"a field that is not there":  func(e *core.Event) { delete(e.Fields, "company") },
		"a table that is not there":  func(e *core.Event) { e.Message = nil },
	}
	settings := notes("upsert", table{"operations": table{"message.received": table{
		"method": "PUT", "path": "/contacts/{{.contact.id}}{{if .contact.username}}/.{{if .contact.username}}.{{end}}/x{{end}}", "headers": table{"X-Name": "{{.contact.name}}"},
		"body": `{"external_id":{{.contact.id}},"name":{{.message.text}},"phone":{{.fields.company}}}`,
	}}})
	for name, spoil := range bad {
		t.Run(name, func(t *testing.T) {
			b := start(t, customhttpsim.Options{}, settings, nil)
			events := many(3)
			for _, e := range events {
				e.Fields = map[string]any{"company": "Acme"}
			}
			spoil(events[1])
			got := b.deliver(events...)
			wantCodes(t, got, map[string]core.Code{events[1].ID: core.CodeInvalid})
			if err := got[events[1].ID].Err; !strings.Contains(err.Message, `settings.operations."message.received".`) {
				t.Errorf("%v does not name the setting", err)
			}
			for _, r := range b.sim.Requests() {
				if r.Header.Get("X-Evil") != "" || !strings.HasPrefix(r.Path, "/v1/contacts/c0") {
					t.Errorf("a request that nobody asked for: %s", wire(r))
				}
			}
		})
	}
}

func TestDeliver_LeavesOutEmptyHeadersAndQueries(t *testing.T) {
	b := start(t, customhttpsim.Options{}, notes("none", table{"operations": table{"message.received": table{
		"path": "/notes", "body": `{"ref":{{.id}},"text":"x"}`,
		"query":   table{"user": "{{.contact.username}}", "to": "a b&c={{.contact.name}}"},
		"headers": table{"X-Tenant": "{{.contact.username}}", "x-source": "ü{{.tenant}}"},
	}}}), nil)
	if err := b.one(received(1)); err != nil {
		t.Fatal(err)
	}
	r := b.sim.Requests()[0]
	if want := "to=a+b%26c%3DAda"; r.Query != want {
		t.Errorf("query %q, want %q", r.Query, want)
	}
	if r.Header.Get("X-Source") != "üacme" || len(r.Header["X-Tenant"]) != 0 {
		t.Errorf("headers %v", r.Header)
	}
}

func TestDeliver_BoundsItsRequestsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, customhttpsim.Options{Latency: time.Second}, notes("none", table{"parallel": 4}), nil)
		began := time.Now()
		wantCodes(t, b.deliver(many(10)...), nil)
		if n := b.sim.Stats().InFlight; n != 4 {
			t.Errorf("%d requests at once, want 4", n)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %v, want 3s", took)
		}
	})
}

func TestDeliver_GivesUpAfterItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for mode, want := range map[string]core.Code{"none": core.CodeUnknownOutcome, "upsert": core.CodeUnavailable} {
			b := start(t, customhttpsim.Options{}, notes(mode, table{"timeout": "7s"}), nil)
			b.sim.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultHang})
			began := time.Now()
			if err := b.one(received(1)); codeOf(err) != want || time.Since(began) != 7*time.Second {
				t.Errorf("%s: after %v %v, want %s after 7s", mode, time.Since(began), err, want)
			}
		}
	})
}

// TestDeliver_SaysWhatWasNotSentWhenTheCallEnds: of six events two were on
// their way when the time ran out, and only those may have happened.
func TestDeliver_SaysWhatWasNotSentWhenTheCallEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, customhttpsim.Options{}, notes("none", table{"parallel": 2}), nil)
		b.sim.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultHang, Skip: 2})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		counts, unsent := map[core.Code]int{}, 0
		for _, r := range b.deliverIn(ctx, many(6)...) {
			counts[codeOf(r.Err)]++
			if r.Err != nil && strings.HasPrefix(r.Err.Message, "not sent: ") {
				unsent++
			}
		}
		want := map[core.Code]int{"": 2, core.CodeUnknownOutcome: 2, core.CodeUnavailable: 2}
		if unsent != 2 {
			t.Errorf("%d are said not to be sent, want 2", unsent)
		}
		if diff := cmp.Diff(want, counts); diff != "" || time.Since(began) != 3*time.Second {
			t.Errorf("after %v: %s", time.Since(began), diff)
		}
	})
}

// TestDeliver_NeverSendsTwiceByItself: on a connection that was used before,
// net/http repeats requests that carry an Idempotency-Key when it is lost.
func TestDeliver_NeverSendsTwiceByItself(t *testing.T) {
	for mode, want := range map[string]core.Code{"none": core.CodeUnknownOutcome, "key": core.CodeUnavailable, "upsert": core.CodeUnavailable} {
		b := start(t, customhttpsim.Options{}, notes(mode, nil), nil)
		if err := b.one(received(1)); err != nil {
			t.Fatal(err)
		}
		b.sim.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultLost, Count: 1})
		if err := b.one(received(2)); codeOf(err) != want {
			t.Errorf("%s: %v, want %s", mode, err, want)
		}
		if n := b.sim.Count("note")["wamid.IN002"]; n != 1 || len(b.sim.Requests()) != 2 {
			t.Errorf("%s: written %d times in %d requests", mode, n, len(b.sim.Requests()))
		}
	}
}

func TestDeliver_AnAnswerLostIsMadeGoodByTheKey(t *testing.T) {
	b := start(t, customhttpsim.Options{Token: token}, example(t, "one-by-one"), nil)
	b.sim.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultLost, Count: 1})
	if err := b.one(received(1)); codeOf(err) != core.CodeUnavailable {
		t.Fatalf("lost: %v, want unavailable, which is tried again", err)
	}
	got := b.deliver(received(1))["wamid.IN001"]
	if got.Err != nil || got.Ref != "m_1" {
		t.Errorf("again: %+v", got)
	}
	if s := b.sim.Stats(); s.Replays != 1 || b.sim.Count("message")["wamid.IN001"] != 1 {
		t.Errorf("replays %d, records %v", s.Replays, b.sim.Count("message"))
	}
}

func TestDeliver_NoConnectionMeansNotSent(t *testing.T) {
	b := start(t, customhttpsim.Options{}, notes("none", nil), nil)
	b.connector.DialContext = nil
	settings := notes("none", table{"base_url": "http://127.0.0.1:1", "allowed_hosts": []string{"127.0.0.1"}}) // nobody listens there
	b.account.Settings = toJSON(t, settings)
	for range 2 {
		err := b.one(received(1))
		if codeOf(err) != core.CodeUnavailable || !strings.Contains(err.Hint, "base_url") || err.Holds() != core.ScopeLane {
			t.Errorf("got %+v, want unavailable, for the whole lane", err)
		}
		if strings.Contains(err.Message, "http:") {
			t.Errorf("%v names the address, whose query may hold a key", err)
		}
	}
}

func TestDeliver_FollowsNoRedirects(t *testing.T) {
	for _, code := range []int{301, 302, 303, 307, 308} {
		var mu sync.Mutex
		asked := map[string]string{}
		b := start(t, customhttpsim.Options{}, notes("none", table{"auth": table{"type": "bearer"}}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			asked[r.Host+r.URL.Path] = r.Header.Get("Authorization")
			mu.Unlock()
			http.Redirect(w, r, "http://elsewhere.test/notes", code)
		}))
		err := b.one(received(1))
		if codeOf(err) != core.CodeForbidden || !strings.Contains(err.Hint, "settings.base_url") {
			t.Errorf("%d: got %v", code, err)
		}
		if _, ok := asked["crm.test/v1/notes"]; !ok || len(asked) != 1 {
			t.Errorf("%d: asked %v", code, asked)
		}
	}
}

// TestConnector_ClosesIdleConnectionsBeforeServersDo: a request that crosses
// with a server's closing of the connection has an unknown outcome.
func TestConnector_ClosesIdleConnectionsBeforeServersDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, customhttpsim.Options{}, notes("none", nil), nil)
		dials := 0
		dial := b.connector.DialContext
		b.connector.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			dials++
			return dial(ctx, network, address)
		}
		for i, wait := range []time.Duration{0, 3 * time.Second, 5 * time.Second} {
			<-time.After(wait)
			if err := b.one(received(i)); err != nil {
				t.Fatal(err)
			}
			if want := 1 + i/2; dials != want {
				t.Errorf("%v after the last request: %d connections so far, want %d", wait, dials, want)
			}
		}
	})
}

func TestRender_ShowsTheRequestWithoutSecrets(t *testing.T) {
	for name, want := range map[string]string{"one-by-one": "Bearer [secret]", "bulk": "[secret]"} {
		settings := example(t, name)
		r, err := customhttp.Render(toJSON(t, settings), received(1))
		if err != nil {
			t.Fatal(err)
		}
		header := r.Header.Get("Authorization") + r.Header.Get("X-Api-Key")
		if r.Method != http.MethodPost || header != want || !json.Valid(r.Body) || !strings.Contains(string(r.Body), "order 1") {
			t.Errorf("%s: %s %s, %q, %s", name, r.Method, r.URL, header, r.Body)
		}
	}
	settings := notes("key", table{"base_url": "https://crm.example.com/v1", "auth": table{"type": "basic"}})
	r, err := customhttp.Render(toJSON(t, settings), received(1))
	if err != nil || r.URL != "https://crm.example.com/v1/notes" || r.Header.Get("Authorization") != "Basic [secret]" || r.Header.Get("Idempotency-Key") != "wamid.IN001" {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := customhttp.Render(toJSON(t, settings), &core.Event{ID: "x", Kind: core.KindEscalation}); err != nil || r.Method != "" {
		t.Errorf("a kind without an operation: %+v, %v", r, err)
	}
	if _, err := customhttp.Render(toJSON(t, settings), &core.Event{ID: "x", Kind: core.KindMessageReceived}); core.CodeOf(err) != core.CodeInvalid {
		t.Errorf("an event without a message: %v", err)
	}
	if _, err := customhttp.Render(json.RawMessage(`{}`), received(1)); core.CodeOf(err) != core.CodeInvalid {
		t.Errorf("bad settings: %v", err)
	}
}

// Whoever has a record at the API, as the API said, is written to there.
func TestDeliver_NamesTheContactsRecord(t *testing.T) {
	b := start(t, customhttpsim.Options{Token: token}, notes("upsert", table{
		"operations": table{"*": table{"method": "PUT", "path": "/contacts/{{if .contact_ref}}{{.contact_ref}}{{else}}by-phone/{{.contact.phone | digits}}{{end}}"}},
	}), nil)
	e := received(1)
	for _, c := range []struct{ said, told, want string }{
		{"", "", "/v1/contacts/by-phone/" + strings.TrimPrefix(e.Contact.Phone, "+")},
		{"", "7/1", "/v1/contacts/7%2F1"},
		{"8", "7", "/v1/contacts/8"},
	} {
		b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Event: e, Data: toJSON(t, e), Attempt: 1, ContactRef: c.said, ToldRef: c.told}})
		requests := b.sim.Requests()
		if got := requests[len(requests)-1].Path; got != c.want {
			t.Errorf("%+v: asked for %s", c, got)
		}
	}
}
