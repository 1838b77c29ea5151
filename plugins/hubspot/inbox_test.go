package hubspot_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

const appSecret = "app-secret-very-secret"

// inboxChannel is the channel of the tests.
func inboxChannel(model string) hubspotsim.Channel {
	return hubspotsim.Channel{ID: "900", Name: "WhatsApp", WebhookURL: hookURL, Capabilities: hubspotsim.Capabilities{
		DeliveryIdentifierTypes: []string{hubspotsim.IdentifierPhone, hubspotsim.IdentifierOpaque}, ThreadingModel: model, AllowOutgoingMessages: true,
	}}
}

// talking is an account with messages in the inbox; more are settings beside these.
func talking(t testing.TB, o hubspotsim.Options, more string) *bench {
	t.Helper()
	b := start(t, o, `{"log_messages":"inbox","channel_id":"900","inbox_id":"71"`+more+`}`, nil)
	b.sim.AddChannel(inboxChannel(""))
	b.account.Secrets["client_secret"] = appSecret
	b.account.WebhookURL = hookURL
	b.refs = map[string]string{}
	return b
}

// inbox returns the inbox's messages by our id of each.
func (b *bench) inbox() map[string]hubspotsim.InboxMessage {
	b.t.Helper()
	byKey := map[string]hubspotsim.InboxMessage{}
	for _, m := range b.sim.InboxMessages() {
		if _, twice := byKey[m.Idempotency]; twice && m.Idempotency != "" {
			b.t.Errorf("two messages %s", m.Idempotency)
		}
		byKey[m.Idempotency] = m
	}
	return byKey
}

func TestInbox_HasEachMessageOnceWithItsPersonAndThread(t *testing.T) {
	for _, version := range []string{"2026-09", "2026-03", "v3"} {
		t.Run(version, func(t *testing.T) {
			b := talking(t, hubspotsim.Options{Tokens: []string{token}}, `,"api_version":"`+version+`"`).mustCheck()
			bsuid := received(3)
			bsuid.Contact = &core.Contact{ID: "c003", Name: "Nobody's number", BSUID: "US.13491208655302741918"}
			for range 3 {
				wantCodes(t, b.deliver(received(1), sent(2), bsuid), map[string]core.Code{"wamid.IN001": "", sent(2).ID: "", "wamid.IN003": ""})
			}
			got, people := b.inbox(), b.contacts()
			if len(got) != 3 || len(people) != 3 || len(b.sim.Records("communications")) != 0 {
				t.Fatalf("the inbox has %+v, and there are %d people", got, len(people))
			}
			accounts := b.sim.ChannelAccounts()
			if len(accounts) != 1 || accounts[0].InboxID != "71" || accounts[0].Identifier.Value != "100" {
				t.Fatalf("the accounts are %+v", accounts)
			}
			us := *accounts[0].Identifier
			for id, want := range map[string]struct {
				direction, text, who string
				from, to             hubspotsim.Identifier
			}{
				"wamid.IN001":  {"INCOMING", "hello 1", "c001", hubspotsim.Identifier{Type: "HS_PHONE_NUMBER", Value: person(1).Phone}, us},
				"wamid.OUT002": {"OUTGOING", "hello back", "c002", us, hubspotsim.Identifier{Type: "HS_PHONE_NUMBER", Value: person(2).Phone}},
				"wamid.IN003": {"INCOMING", "hello 3", "c003", hubspotsim.Identifier{Type: "CHANNEL_SPECIFIC_OPAQUE_ID",
					Value: "bsuid:US.13491208655302741918"}, us},
			} {
				m := got[id]
				if m.Direction != want.direction || m.Text != want.text || *m.Senders[0].Identifier != want.from || *m.Recipients[0].Identifier != want.to ||
					m.Contact != people[want.who].ID || m.IntegrationThread != "100:"+want.who || m.Time != "2026-11-02T12:00:00.000Z" || m.Published != 1 {
					t.Errorf("%s is %+v", id, m)
				}
			}
		})
	}
}

func TestInbox_WritesStatusesForwardOnly(t *testing.T) {
	b := talking(t, hubspotsim.Options{}, "").mustCheck()
	b.deliver(sent(1))
	b.deliver(sent(2))
	for _, v := range []core.StatusValue{"accepted", "sent", "delivered", "read", "delivered", "played", "sent"} {
		wantCodes(t, b.deliver(status(1, v)), map[string]core.Code{status(1, v).ID: ""})
	}
	failed := status(2, core.StatusFailed)
	failed.Status.Errors = []core.StatusError{{Code: 131026, Title: "Message undeliverable"}}
	b.deliver(status(2, core.StatusSent))
	b.deliver(failed)
	b.deliver(status(9, core.StatusRead)) // of a message that is not in the inbox
	got := b.inbox()
	if m := got["wamid.OUT001"]; !slices.Equal(m.Statuses, []string{"SENT", "READ"}) {
		t.Errorf("the statuses were %q", m.Statuses)
	}
	if m := got["wamid.OUT002"]; !slices.Equal(m.Statuses, []string{"SENT", "FAILED"}) || m.Failure != "131026: Message undeliverable" {
		t.Errorf("the statuses were %q, %q", m.Statuses, m.Failure)
	}
	if len(got) != 2 {
		t.Errorf("the inbox has %d messages, want 2", len(got))
	}
}

// What could not be sent at all is in the inbox, as failed, once.
func TestInbox_ShowsWhatCouldNotBeSent(t *testing.T) {
	b := talking(t, hubspotsim.Options{}, "").mustCheck()
	e := status(1, core.StatusFailed)
	e.Message = &core.Message{Direction: core.Outbound, Type: core.TypeText, Text: "are you there?", To: person(1).Address()}
	e.Status.Errors = []core.StatusError{{Title: "the 24-hour window is closed", Details: "send a template"}}
	b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultLost, Match: "/messages/", Count: 1})
	b.deliver(e)
	b.deliver(e)
	m := b.inbox()["wamid.OUT001"]
	if m.Direction != "OUTGOING" || m.Text != "are you there?" || m.Status != "FAILED" || m.Failure != "the 24-hour window is closed: send a template" ||
		m.Contact != b.contacts()["c001"].ID {
		t.Errorf("the inbox has %+v", m)
	}
}

// HubSpot cannot change a message: what became of it comes after it.
func TestInbox_PublishesWhatBecameOfAMessageAfterIt(t *testing.T) {
	b := talking(t, hubspotsim.Options{}, "").mustCheck()
	b.deliver(received(1))
	file := received(1)
	file.ID, file.Kind = "wamid.IN001/media", core.KindMessageMedia
	file.Message.Type, file.Message.Text, file.Message.Media = core.TypeImage, "look", &core.Media{Link: "https://bridge.example/media/x"}
	back := received(1)
	back.ID, back.Kind, back.Message = "wamid.IN001/revoke", core.KindMessageRevoked, &core.Message{ID: "wamid.IN001", Direction: core.Inbound, Type: core.TypeRevoke}
	for range 2 {
		b.deliver(file)
		b.deliver(back)
	}
	got := b.inbox()
	if len(got) != 3 || got["wamid.IN001/media"].Text != "[image] look https://bridge.example/media/x" ||
		got["wamid.IN001/revoke"].Text != "[taken back by who wrote it]" || got["wamid.IN001/revoke"].Direction != "INCOMING" {
		t.Errorf("the inbox has %+v", got)
	}
	if b.refs["wamid.IN001"] != got["wamid.IN001"].ID {
		t.Errorf("the message is taken for %s", b.refs["wamid.IN001"])
	}
}

func TestInbox_RepeatsWhatNobodyAnsweredFor(t *testing.T) {
	b := talking(t, hubspotsim.Options{}, "").mustCheck()
	b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultLost, Match: "/messages"}) // net/http repeats some requests by itself
	wantCodes(t, b.deliver(received(1)), map[string]core.Code{"wamid.IN001": core.CodeUnknownOutcome})
	b.sim.Heal()
	wantCodes(t, b.deliver(received(1)), map[string]core.Code{"wamid.IN001": ""})
	if got := b.inbox(); len(got) != 1 || b.refs["wamid.IN001"] == "" {
		t.Errorf("the inbox has %+v", got)
	}
}

// One that is refused ends alone; what holds for all is not asked a hundred times.
func TestInbox_TellsOnesTroubleFromEverybodys(t *testing.T) {
	b := talking(t, hubspotsim.Options{}, `,"inbox_threads":"identifier"`).mustCheck()
	wantCodes(t, b.deliver(received(1)), map[string]core.Code{"wamid.IN001": core.CodeInvalid}) // the channel wants threads of ours
	b = talking(t, hubspotsim.Options{}, "").mustCheck()
	odd := received(1)
	odd.Contact.Phone = "+34 600" // HubSpot does not take it
	wantCodes(t, b.deliver(odd, received(2)), map[string]core.Code{"wamid.IN001": core.CodeInvalid, "wamid.IN002": ""})
	for _, c := range []struct {
		fault hubspotsim.Fault
		code  core.Code
	}{
		{hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Status: 429, Policy: "TEN_SECONDLY_ROLLING"}, core.CodeRateLimited},
		{hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Status: 503}, core.CodeUnavailable},
		{hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Status: 401, Category: "INVALID_AUTHENTICATION", Message: "no"}, core.CodeUnauthenticated},
	} {
		b.clear()
		b.refs, c.fault.Match = map[string]string{}, "/messages"
		b.sim.Inject(c.fault)
		got := b.deliver(many(100)...)
		b.sim.Heal()
		failed := 0
		for _, r := range got {
			if r.Err != nil && r.Err.Code == c.code {
				failed++
			}
		}
		if calls := len(b.calls()); failed != 100 || calls > 20 {
			t.Errorf("%s: %d events failed in %d calls", c.code, failed, calls)
		}
	}
	wantCodes(t, b.deliver(many(100)...), map[string]core.Code{"wamid.IN000": "", "wamid.IN099": ""})
	if n := len(b.inbox()); n != 100 {
		t.Errorf("the inbox has %d messages, want 100", n)
	}
}

func TestInbox_MakesAnAccountForEachNumberOnce(t *testing.T) {
	b := talking(t, hubspotsim.Options{}, `,"channel_accounts":{"300":"5000001"}`)
	// The first account is made by hand, for number 300.
	byHand := talkingTo(t, b, `{"log_messages":"inbox","channel_id":"900","inbox_id":"72"}`)
	first := received(1)
	first.Number, first.Conversation = "299", "299:c001"
	byHand.deliver(first)
	var events []*core.Event
	for i := range 30 {
		e := received(i + 2)
		e.Number = fmt.Sprint(100 * (i%3 + 1))
		events = append(events, e)
	}
	for id, r := range b.deliver(events...) {
		if r.Err != nil {
			t.Errorf("%s: %v", id, r.Err)
		}
	}
	got := map[string]string{}
	for _, a := range b.sim.ChannelAccounts() {
		got[a.Identifier.Value] = a.InboxID
	}
	if len(b.sim.ChannelAccounts()) != 3 || got["299"] != "72" || got["100"] != "71" || got["200"] != "71" {
		t.Errorf("the accounts are %+v", b.sim.ChannelAccounts())
	}
	n := 0
	for _, m := range b.sim.InboxMessages() {
		if m.AccountID == "5000001" {
			n++
		}
	}
	if n != 11 {
		t.Errorf("%d messages went over the account that was named, want 11", n)
	}
	b.sim.Disconnect("5000001", true)
	other := talkingTo(t, b, string(b.account.Settings))
	e := received(1)
	e.Number = "300"
	if r := other.deliver(e)[e.ID]; r.Err == nil || r.Err.Code != core.CodeForbidden || !strings.Contains(r.Err.Message, "not connected") {
		t.Errorf("over an account that was disconnected: %v", r.Err)
	}
}

// An account of the channel has no key: whether it was made is looked for, not tried.
func TestInbox_MakesNoAccountTwiceWhenNobodyAnswers(t *testing.T) {
	b := talking(t, hubspotsim.Options{}, "").mustCheck() // with a connection that is kept
	b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultLost, Match: "/channel-accounts", Skip: 1, Count: 1})
	wantCodes(t, b.deliver(received(1)), map[string]core.Code{"wamid.IN001": core.CodeUnavailable})
	wantCodes(t, b.deliver(received(1)), map[string]core.Code{"wamid.IN001": ""})
	if accounts := b.sim.ChannelAccounts(); len(accounts) != 1 {
		t.Errorf("the accounts are %+v", accounts)
	}
}

// talkingTo is another connector with other settings at the same account.
func talkingTo(t testing.TB, b *bench, settings string) *bench {
	t.Helper()
	other := start(t, hubspotsim.Options{}, settings, http.HandlerFunc(b.sim.ServeHTTP))
	other.sim, other.refs = b.sim, map[string]string{}
	other.account.Secrets["client_secret"] = appSecret
	return other
}

func TestInbox_CheckNamesWhatIsMissing(t *testing.T) {
	base := `"log_messages":"inbox"`
	for _, c := range []struct {
		name, settings string
		options        hubspotsim.Options
		prepare        func(*bench)
		code           core.Code
		wants          string
	}{
		{"all is well", base + `,"channel_id":"900","inbox_id":"71"`, hubspotsim.Options{}, nil, "", ""},
		{"no channel", base, hubspotsim.Options{}, nil, core.CodeInvalid, "channel_id"},
		{"no such channel", base + `,"channel_id":"901","inbox_id":"71"`, hubspotsim.Options{}, nil, core.CodeForbidden, "settings.channel_id"},
		{"no inbox", base + `,"channel_id":"900"`, hubspotsim.Options{}, nil, core.CodeForbidden, "71 (Inbox), 72 (Help desk)"},
		{"no inbox, and none may be seen", base + `,"channel_id":"900"`, hubspotsim.Options{Scopes: []string{hubspotsim.ScopeRead, hubspotsim.ScopeSchemaRead,
			hubspotsim.ScopeSchemaWrite, hubspotsim.ScopeChannelRead}}, nil, core.CodeForbidden, "settings.inbox_id"},
		{"no such account", base + `,"channel_id":"900","channel_accounts":{"100":"77"}`, hubspotsim.Options{}, nil, core.CodeForbidden, "channel_accounts"},
		{"no scope", base + `,"channel_id":"900","inbox_id":"71"`, hubspotsim.Options{Scopes: []string{hubspotsim.ScopeRead, hubspotsim.ScopeSchemaRead,
			hubspotsim.ScopeSchemaWrite}}, nil, core.CodeForbidden, hubspotsim.ScopeChannelRead},
		{"no client secret", base + `,"channel_id":"900","inbox_id":"71"`, hubspotsim.Options{},
			func(b *bench) { delete(b.account.Secrets, "client_secret") }, core.CodeForbidden, "client_secret"},
		{"another bridge", base + `,"channel_id":"900","inbox_id":"71"`, hubspotsim.Options{},
			func(b *bench) { b.account.WebhookURL = "https://other.example/hook" }, core.CodeForbidden, "https://other.example/hook"},
		{"a bad number", base + `,"channel_id":"900","channel_accounts":{"+34":"77"}`, hubspotsim.Options{}, nil, core.CodeInvalid, "channel_accounts"},
		{"a bad identifier", base + `,"channel_id":"900","inbox_identifier":"email"`, hubspotsim.Options{}, nil, core.CodeInvalid, "inbox_identifier"},
		{"bad threads", base + `,"channel_id":"900","inbox_threads":"x"`, hubspotsim.Options{}, nil, core.CodeInvalid, "inbox_threads"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, c.options, "{"+c.settings+"}", nil)
			b.sim.AddChannel(inboxChannel(""))
			b.account.Secrets["client_secret"], b.account.WebhookURL = appSecret, hookURL
			if c.prepare != nil {
				c.prepare(b)
			}
			err := b.check()
			if core.CodeOf(err) != c.code || err != nil && !strings.Contains(err.Error()+" "+core.AsError(err).Hint, c.wants) {
				t.Errorf("got %v (%+v), want %s with %q", err, core.AsError(err), c.code, c.wants)
			}
		})
	}
}

func TestAuthorize_KeepsAnAppSignedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, hubspotsim.Options{ClientID: "app", ClientSecret: appSecret, RefreshTokens: []string{"refresh"}}, `{"client_id":"app"}`, nil)
		b.account.Secrets = map[string]core.Secret{"refresh_token": "refresh", "client_secret": appSecret}
		got, err := b.connector.Authorize(t.Context(), b.account)
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(got.Expires); left != 30*time.Minute || got.Secrets["access"] == "" {
			t.Errorf("the token lives for %v: %+v", left, got)
		}
		b.account.Token = &got
		if err := b.check(); err != nil {
			t.Error(err)
		}
		time.Sleep(31 * time.Minute)
		if err := b.check(); core.CodeOf(err) != core.CodeUnauthenticated {
			t.Errorf("with a token that is over: %v", err)
		}
		for name, change := range map[string]func(core.Account) core.Account{
			"another refresh token": func(a core.Account) core.Account { a.Secrets["refresh_token"], a.Token = "old", nil; return a },
			"no client id":          func(a core.Account) core.Account { a.Settings = []byte(`{"base_url":"http://127.0.0.1"}`); return a },
			"no client secret":      func(a core.Account) core.Account { delete(a.Secrets, "client_secret"); return a },
			"nothing":               func(a core.Account) core.Account { a.Secrets = nil; return a },
		} {
			a := b.account
			a.Secrets = map[string]core.Secret{"refresh_token": "refresh", "client_secret": appSecret}
			_, err := b.connector.Authorize(t.Context(), change(a))
			if e := core.AsError(err); core.CodeOf(err) != core.CodeUnauthenticated || e.Hint == "" || name == "another refresh token" && e.Vendor != "BAD_REFRESH_TOKEN" {
				t.Errorf("%s: %+v", name, e)
			}
		}
		for body, want := range map[string]string{ // of a 400
			`{"error":"invalid_grant","error_description":"refresh token is invalid, expired or revoked"}`: "invalid_grant",
			`{"status":"BAD_REFRESH_TOKEN","message":"missing or unknown refresh token"}`:                  "BAD_REFRESH_TOKEN",
			`<html>Bad Request</html>`: "", ``: "", `{}`: "", `[]`: "", // nobody looked at our credentials
		} {
			wrong := start(t, hubspotsim.Options{}, `{"client_id":"app"}`, answering(400, body))
			wrong.account.Secrets = map[string]core.Secret{"refresh_token": "refresh", "client_secret": appSecret}
			_, err := wrong.connector.Authorize(t.Context(), wrong.account)
			if e := core.AsError(err); want == "" && core.CodeOf(err) != core.CodeUnavailable || want != "" && (core.CodeOf(err) != core.CodeUnauthenticated || e.Vendor != want) {
				t.Errorf("%q: %+v", body, e)
			}
		}
		b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Status: 503, Count: 1})
		if _, err := b.connector.Authorize(t.Context(), b.account); core.CodeOf(err) != core.CodeUnavailable {
			t.Errorf("when HubSpot is down: %v", err)
		}
		b.account.Secrets = map[string]core.Secret{"token": token}
		if got, err := b.connector.Authorize(t.Context(), b.account); err != nil || got.Secrets["access"] != token || !got.Expires.IsZero() {
			t.Errorf("a lasting token: %+v, %v", got, err)
		}
	})
}

func TestAuthorize_GoesOnWithTheRefreshTokenThatAnAnswerBrings(t *testing.T) {
	options := hubspotsim.Options{ClientID: "app", ClientSecret: appSecret, RefreshTokens: []string{"refresh", "signed in again"}, Rotates: true}
	b := start(t, options, `{"client_id":"app"}`, nil)
	b.account.Secrets = map[string]core.Secret{"refresh_token": "refresh", "client_secret": appSecret}
	for range 3 {
		got, err := b.connector.Authorize(t.Context(), b.account)
		if err != nil {
			t.Fatal(err)
		}
		b.account.Token = &got
		if err := b.check(); err != nil {
			t.Error(err)
		}
	}
	b.account.Token.Secrets["refresh"] = "revoked"
	if _, err := b.connector.Authorize(t.Context(), b.account); core.CodeOf(err) != core.CodeUnauthenticated {
		t.Errorf("with two that are over: %v", err)
	}
	b.account.Secrets["refresh_token"] = "signed in again"
	if _, err := b.connector.Authorize(t.Context(), b.account); err != nil {
		t.Errorf("after somebody signed in: %v", err)
	}
}

// What is not there any more needs no status, and what is there already is not written again.
func TestInbox_TakesNoForAnAnswerWhereItIsOne(t *testing.T) {
	b := talking(t, hubspotsim.Options{}, "").mustCheck()
	b.refs["wamid.OUT001"] = "12345" // of a thread that was deleted
	wantCodes(t, b.deliver(status(1, core.StatusRead)), map[string]core.Code{status(1, core.StatusRead).ID: ""})
	for text, want := range map[string]string{"Message already exists. Existing ID: 777": "777", "already there": ""} {
		b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Match: "/messages", Status: 409, Category: "CONFLICT", Message: text})
		r := b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Event: sent(2)}})[0]
		if r.Err != nil || r.Ref != want || r.MessageRef != want {
			t.Errorf("%s: %+v", text, r)
		}
		b.sim.Heal()
	}
}
