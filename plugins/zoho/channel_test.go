package zoho_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

const hookURL = "https://bridge.example/webhooks/crm/acme/crm"

// notices keeps what the sim sends to the bridge, and hands it to the connector.
type notices struct {
	*bench
	mu      sync.Mutex
	answers []core.WebhookAnswer
	errs    []error
	bodies  [][]byte
}

// RoundTrip implements [http.RoundTripper].
func (n *notices) RoundTrip(r *http.Request) (*http.Response, error) {
	q := asked(n.t, r)
	answer, err := n.connector.Webhook(n.t.Context(), n.account, q)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.bodies = append(n.bodies, q.Body)
	n.answers, n.errs = append(n.answers, answer), append(n.errs, err)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}

// take returns what was told since the last time.
func (n *notices) take() (events []core.Event) {
	n.t.Helper()
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, a := range n.answers {
		if n.errs[i] != nil {
			n.t.Error(n.errs[i])
		}
		events = append(events, a.Events...)
	}
	n.answers, n.errs = nil, nil
	return events
}

// listen has the sim call the connector.
func listen(t *testing.T, b *bench) *notices {
	b.account.WebhookURL = hookURL
	n := &notices{bench: b}
	done := make(chan struct{})
	go func() { defer close(done); b.sim.Run(t.Context(), &http.Client{Transport: n}) }()
	t.Cleanup(func() { <-done })
	return n
}

func asked(t testing.TB, r *http.Request) core.WebhookRequest {
	t.Helper()
	var body json.RawMessage
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		t.Error(err)
	}
	return core.WebhookRequest{Method: r.Method, URL: r.URL.String(), Header: r.Header, Body: body}
}

func TestChannel_TellsWhatThePollWouldTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, zohosim.Options{NotifyTwice: true}, `{"pull_fields":{"city":"Mailing_City"},"send_module":"WhatsApp_Outbox"}`)
		n := listen(t, b)
		_, cursor := b.round(nil)
		time.Sleep(2 * time.Second)
		id := b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "Ana", "Phone": "+34600111222", "Mailing_City": "Madrid"})
		told := n.take()
		b.edit(zohosim.Person, "WhatsApp_Outbox", "", map[string]any{"Name": "1", "Phone": "+34600111222", "Body": "Your parcel is here"})
		told = append(told, n.take()...)
		polled, _ := b.round(cursor)
		if len(told) != 4 || told[0].ID != told[1].ID || told[2].ID != told[3].ID || len(polled) != 2 {
			t.Fatalf("told %+v, polled %+v", told, polled)
		}
		if diff := cmp.Diff(polled, []core.Event{told[0], told[2]}); diff != "" {
			t.Errorf("not what is told when asked (-poll +webhook):\n%s", diff)
		}

		// What does not matter is not asked about: Zoho says which fields were changed.
		before := b.sim.Stats().Credits
		b.edit(zohosim.Own, "Contacts", id, map[string]any{"Last_Name": "Ana B"})
		if err := b.sim.Tag(zohosim.Person, "Contacts", id, "vip", true); err != nil {
			t.Fatal(err)
		}
		if events := n.take(); len(events) > 0 || b.sim.Stats().Credits != before {
			t.Errorf("told %+v for %d credits", events, b.sim.Stats().Credits-before)
		}
		// Whom the bridge has just made costs a look, and no more.
		before = b.sim.Stats().Credits
		b.edit(zohosim.Own, "Contacts", "", map[string]any{"Last_Name": "Bo", "Phone": "+34600111333", "Mailing_City": "Rome", "WA_Contact_ID": "c9"})
		if events := n.take(); len(events) > 0 || b.sim.Stats().Credits != before+2 { // they are told twice
			t.Errorf("told %+v for %d credits", events, b.sim.Stats().Credits-before)
		}
		// A record that is gone when it is looked at is no error.
		b.edit(zohosim.Person, "Contacts", id, map[string]any{"Mailing_City": "Lyon"})
		if err := b.sim.Delete(zohosim.Person, "Contacts", id); err != nil {
			t.Fatal(err)
		}
		n.take()
	})
}

func TestChannel_IsRenewedAndMadeAnewWhenLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, zohosim.Options{TokenLife: 30 * 24 * time.Hour}, `{"pull_fields":{"city":"Mailing_City"},"send_module":"WhatsApp_Outbox"}`)
		n := listen(t, b)
		r := b.reader()
		first := b.sim.Channels()
		want := []string{"Contacts.create", "Contacts.edit", "Contacts.delete", "WhatsApp_Outbox.create"}
		if len(first) != 1 || first[0].URL != hookURL || !cmp.Equal(first[0].Events, want) || time.Until(first[0].Expires) < 6*24*time.Hour {
			t.Fatalf("made %+v", first)
		}
		// It is renewed within the hour after each hour, and not before.
		for range 4 * 24 * 9 { // nine days, at every quarter of an hour
			time.Sleep(10 * time.Minute)
			r.news()
		}
		now := b.sim.Channels()
		if len(now) != 1 || now[0].ID != first[0].ID || time.Until(now[0].Expires) < 6*24*time.Hour {
			t.Errorf("after nine days there are %+v", now)
		}
		if calls := b.sim.Stats().Requests["PUT /crm/v8/actions/watch"]; calls < 200 || calls > 9*24+2 {
			t.Errorf("renewed %d times in nine days", calls)
		}
		if calls := b.sim.Stats().Requests["POST /crm/v8/actions/watch"]; calls != 1 {
			t.Errorf("made %d times", calls)
		}

		// Lost, it is made anew, and what happened meanwhile is found by asking.
		b.sim.LoseChannels()
		id := b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "Ana", "Phone": "+34600111222", "Mailing_City": "Madrid"})
		if events := n.take(); len(events) > 0 {
			t.Fatalf("without a channel it was told %+v", events)
		}
		if events := r.news(); len(events) != 1 || events[0].Fields["id"] != id {
			t.Errorf("in the gap: %+v", events)
		}
		time.Sleep(time.Hour)
		r.news()
		if now = b.sim.Channels(); len(now) != 1 || now[0].ID != first[0].ID {
			t.Errorf("an hour after it was lost there are %+v", now)
		}
		b.edit(zohosim.Person, "Contacts", id, map[string]any{"Mailing_City": "Lyon"})
		if events := n.take(); len(events) != 1 {
			t.Errorf("by the new channel: %+v", events)
		}

		// The bridge moves: another channel.
		b.account.WebhookURL = "https://elsewhere.example/webhooks/crm/acme/crm"
		r.news()
		if now = b.sim.Channels(); len(now) != 2 || now[0].ID == now[1].ID {
			t.Errorf("after a move there are %+v", now)
		}
	})
}

func TestChannel_ThatIsRefusedHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, zohosim.Options{Scopes: []string{zohosim.ScopeCOQL, zohosim.ScopeContacts, zohosim.ScopeFields, zohosim.ScopeUsers}}, `{"pull_fields":{"city":"Mailing_City"}}`)
		b.account.WebhookURL = hookURL
		_, err := b.connector.Poll(t.Context(), b.account, nil)
		if e := core.AsError(err); err == nil || e.Code != core.CodeForbidden || !strings.Contains(e.Hint, "ZohoCRM.notifications.ALL") || !strings.Contains(e.Hint, "settings.notifications") {
			t.Fatalf("%v, hint %q", err, e.Hint)
		}
		_, cursor := b.round(nil)
		time.Sleep(2 * time.Second)
		b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "Ana", "Phone": "+34600111222", "Mailing_City": "Madrid"})
		if events, _ := b.round(cursor); len(events) != 1 {
			t.Errorf("told %+v", events)
		}
		time.Sleep(15 * time.Minute)
		if _, err := b.connector.Poll(t.Context(), b.account, cursor); core.CodeOf(err) != core.CodeForbidden {
			t.Errorf("a quarter of an hour later: %v", err)
		}
		for _, address := range []string{"", "http://bridge.example/webhooks/crm/acme/crm"} {
			b.account.WebhookURL = address
			if _, err := b.connector.Poll(t.Context(), b.account, cursor); err != nil {
				t.Errorf("where Zoho cannot call %q: %v", address, err)
			}
		}
	})
}

// Credits that are for others, of which Zoho tells from half of the day's on, are not
// spent on notifications: the next pull finds what they were about.
func TestChannel_LeavesTheReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, zohosim.Options{Credits: 110}, `{"pull_fields":{"city":"Mailing_City"}}`)
		n := listen(t, b)
		b.round(nil)
		var last error
		for i := range 40 {
			b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "Ana", "Phone": fmt.Sprintf("+346001112%02d", i), "Mailing_City": "Madrid"})
			synctest.Wait()
			if last = n.errs[len(n.errs)-1]; last != nil {
				break
			}
		}
		if core.CodeOf(last) != core.CodeRateLimited || b.sim.Stats().Credits > 60 {
			t.Errorf("%v after %d credits of 110, of which 100 are for others", last, b.sim.Stats().Credits)
		}
	})
}

func TestWebhook_IsTheChannelsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, zohosim.Options{}, `{"pull_fields":{"city":"Mailing_City"}}`)
		n := listen(t, b)
		b.round(nil)
		b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "Ana", "Phone": "+34600111222", "Mailing_City": "Madrid"})
		if events := n.take(); len(events) != 1 {
			t.Fatalf("told %+v", events)
		}
		good := core.WebhookRequest{Method: http.MethodPost, URL: hookURL, Body: n.bodies[0]}
		var shape map[string]json.RawMessage
		if err := json.Unmarshal(good.Body, &shape); err != nil {
			t.Fatal(err)
		}
		shape["ids"] = bytes.ReplaceAll(shape["ids"], []byte(`"`), nil)
		numbers, err := json.Marshal(shape)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.connector.Webhook(t.Context(), b.account, core.WebhookRequest{Method: http.MethodPost, URL: hookURL, Body: numbers}); err != nil || len(got.Events) != 1 {
			t.Errorf("with ids that are numbers: %+v, %v", got, err)
		}
		refused := func(what string, r core.WebhookRequest) {
			t.Helper()
			if got, err := b.connector.Webhook(t.Context(), b.account, r); core.CodeOf(err) != core.CodeUnauthenticated || len(got.Events) > 0 {
				t.Errorf("%s: %+v, %v", what, got, err)
			}
		}
		var fields map[string]any
		if err := json.Unmarshal(good.Body, &fields); err != nil {
			t.Fatal(err)
		}
		for what, forge := range map[string]func(map[string]any){
			"another token":   func(m map[string]any) { m["token"] = strings.Repeat("0", 40) },
			"no token":        func(m map[string]any) { delete(m, "token") },
			"another channel": func(m map[string]any) { m["channel_id"] = "100000000000001" },
			"no channel":      func(m map[string]any) { delete(m, "channel_id") },
		} {
			forged := map[string]any{}
			maps.Copy(forged, fields)
			forge(forged)
			body, err := json.Marshal(forged)
			if err != nil {
				t.Fatal(err)
			}
			refused(what, core.WebhookRequest{Method: http.MethodPost, URL: hookURL, Body: body})
		}
		// Another lane has another channel and another token, and so has another client.
		was := b.account
		b.account.Lane = "other"
		refused("for another lane", good)
		b.account = was
		b.account.Secrets = map[string]core.Secret{"client_id": "1000.CLIENT", "client_secret": "changed-secret", "refresh_token": "1000.refresh"}
		refused("with another client's secret", good)
		b.account.Secrets = map[string]core.Secret{}
		refused("without a secret", good)
		b.account = was
		// What is wrong at Zoho is no fault of the request: it shall come again.
		b.sim.ExpireTokens()
		if _, err := b.connector.Webhook(t.Context(), b.account, good); core.CodeOf(err) != core.CodeUnavailable {
			t.Errorf("with a token of ours that ended: %v", err)
		}
	})
}

func TestWebhook_TakesTheRequestsOfWorkflows(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil)
	before := len(b.calls())
	b.account.Secrets = map[string]core.Secret{"client_secret": "very-secret", "webhook_secret": "a-secret-of-the-workflow"}
	post := func(bearer, contentType, body string) (core.WebhookAnswer, error) {
		return b.connector.Webhook(t.Context(), b.account, core.WebhookRequest{Method: http.MethodPost, URL: hookURL, Body: []byte(body),
			Header: map[string][]string{"Authorization": {"Bearer " + bearer}, "Content-Type": {contentType}}})
	}
	const secret = "a-secret-of-the-workflow"
	text := core.Event{Kind: core.KindMessageSend, Author: core.AuthorHuman, By: "Olga",
		Message: &core.Message{Type: core.TypeText, Text: "Hola & adiós", To: core.Address{Kind: core.AddressPhone, Value: "+34600111222"}}}
	template := core.Event{Kind: core.KindMessageSend, Number: "7",
		Message: &core.Message{Type: core.TypeTemplate, To: core.Address{Kind: core.AddressPhone, Value: "600 111 222"}, Template: &core.Template{
			Name: "ready", Language: "es", Components: json.RawMessage(`[{"parameters":[{"text":"Ana","type":"text"},{"text":"A-1","type":"text"}],"type":"body"}]`)}}}
	var seen []string
	for _, c := range []struct {
		contentType, body string
		want              core.Event
	}{
		{"application/json", `{"id":"a-1","to":"+34600111222","text":"Hola & adiós","author":"human","by":"Olga"}`, text},
		{"application/x-www-form-urlencoded; charset=utf-8", "id=a-1&to=%2B34600111222&text=Hola+%26+adi%C3%B3s&author=human&by=Olga", text},
		{"application/json;charset=UTF-8", `{"id":"a-2","to":"600 111 222","template":"ready","language":"es","params":["Ana","A-1"],"number":"7"}`, template},
		{"application/json", `{"id":"a-2","to":"600 111 222","template":"ready","language":"es","params":"Ana\nA-1","number":"7"}`, template},
		{"application/json", `{"id":5500000000000001000,"to":600111222,"text":"Hola","number":7}`, core.Event{Kind: core.KindMessageSend, Number: "7",
			Message: &core.Message{Type: core.TypeText, Text: "Hola", To: core.Address{Kind: core.AddressPhone, Value: "600111222"}}}},
	} {
		got, err := post(secret, c.contentType, c.body)
		if err != nil || len(got.Events) != 1 {
			t.Errorf("%s: %+v, %v", c.body, got, err)
			continue
		}
		seen = append(seen, got.Events[0].ID)
		got.Events[0].ID = ""
		if diff := cmp.Diff(c.want, got.Events[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.body, diff)
		}
	}
	if seen[0] != seen[1] || seen[2] != seen[3] || seen[0] == seen[2] {
		t.Errorf("the ids are %v", seen)
	}
	for _, body := range []string{`{"to":"+34600111222","text":"no id"}`, `{"id":"1","text":"to nobody"}`, `{"id":"1","to":"+34600111222"}`,
		`{"id":"1","to":"+34600111222","template":"ready"}`, `[]`, `<xml/>`, `{"id":1.5e3,"to":"1","text":"x"}`, `{"id":{},"to":"1","text":"x"}`} {
		if got, err := post(secret, "application/json", body); core.CodeOf(err) != core.CodeInvalid || len(got.Events) > 0 {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
	good := `{"id":"a-1","to":"+34600111222","text":"Hola"}`
	for _, bearer := range []string{"", "guess", secret + "x", secret[:20]} {
		if _, err := post(bearer, "application/json", good); core.CodeOf(err) != core.CodeUnauthenticated {
			t.Errorf("with %q: %v", bearer, err)
		}
	}
	for _, short := range []core.Secret{"", "short"} {
		b.account.Secrets["webhook_secret"] = short
		if _, err := post(short.Reveal(), "application/json", good); core.CodeOf(err) != core.CodeUnauthenticated {
			t.Errorf("with a secret of %d characters: %v", len(short), err)
		}
	}
	if len(b.calls()) != before {
		t.Errorf("Zoho was asked %v", b.calls())
	}
}
