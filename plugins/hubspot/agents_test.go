package hubspot_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

// thread is that of the only conversation.
func (b *bench) thread() string {
	b.t.Helper()
	all := b.sim.InboxMessages()
	if len(all) == 0 {
		b.t.Fatal("the inbox is empty")
	}
	return all[0].Thread
}

// writes has an agent write, and returns what HubSpot tells of it.
func (b *bench) writes(t *testing.T, a hubspotsim.Answer, secret string) (id string, _ core.WebhookRequest) {
	t.Helper()
	id, err := b.sim.Answer(b.thread(), a)
	if err != nil {
		t.Fatal(err)
	}
	return id, b.told(t, id, secret)
}

func (b *bench) told(t *testing.T, id, secret string) core.WebhookRequest {
	t.Helper()
	r, err := b.sim.Tell(t.Context(), id, secret)
	if err != nil {
		t.Fatal(err)
	}
	return asked(t, r)
}

// hooked hands a request on and wants it to be taken.
func (b *bench) hooked(t *testing.T, r core.WebhookRequest) []core.Event {
	t.Helper()
	got, err := b.connector.Webhook(t.Context(), b.account, r)
	if err != nil {
		t.Fatal(err)
	}
	return got.Events
}

func TestAgents_AnswersGoOutOnceAndTellHowTheyFared(t *testing.T) {
	b := talking(t, hubspotsim.Options{}, "").mustCheck()
	b.deliver(received(1))
	id, r := b.writes(t, hubspotsim.Answer{Text: " how can I help? "}, appSecret)
	first, again := b.hooked(t, r), b.hooked(t, b.told(t, id, appSecret)) // told twice, as another event
	if diff := cmp.Diff(first, again); diff != "" || len(first) != 1 {
		t.Fatalf("told again it is another (-first +again):\n%s", diff)
	}
	e := first[0]
	want := core.Event{ID: "inbox " + id, Kind: core.KindMessageSend, Number: "100", Author: core.AuthorHuman, By: "Mia Agent", MessageRef: id, Time: e.Time,
		Message: &core.Message{Type: core.TypeText, Text: "how can I help?", To: person(1).Address()}}
	if diff := cmp.Diff(want, e); diff != "" || e.Time.IsZero() {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// What follows is of that message, which is not published again.
	out := sent(1)
	out.MessageRef, out.Source = id, "crm"
	b.deliver(out)
	b.deliver(status(1, core.StatusSent))
	b.deliver(status(1, core.StatusRead))
	all := b.sim.InboxMessages()
	if len(all) != 2 || !slices.Equal(all[1].Statuses, []string{"SENT", "READ"}) {
		t.Errorf("the inbox has %+v", all)
	}

	// One that could not be sent says so where it was written.
	id, r = b.writes(t, hubspotsim.Answer{Text: "another"}, appSecret)
	b.hooked(t, r)
	failed := status(2, core.StatusFailed)
	failed.MessageRef, failed.Source, failed.Message = id, "crm", &core.Message{Text: "another"}
	failed.Status.Errors = []core.StatusError{{Title: "the 24-hour window is closed"}}
	b.deliver(failed)
	if last := b.sim.InboxMessages()[2]; last.Status != "FAILED" || last.Failure != "the 24-hour window is closed" || len(b.sim.InboxMessages()) != 3 {
		t.Errorf("the message is %+v", last)
	}
}

// HubSpot may tell of what the bridge itself published: it must not go out again.
func TestAgents_WhatTheBridgePublishedIsNoAnswer(t *testing.T) {
	b := talking(t, hubspotsim.Options{}, `,"app_id":"54321"`).mustCheck()
	b.deliver(sent(1))
	own := b.told(t, b.inbox()["wamid.OUT001"].ID, appSecret)
	other := own
	for _, r := range []core.WebhookRequest{own, b.told(t, b.inbox()["wamid.OUT001"].ID, appSecret)} {
		if got := b.hooked(t, r); len(got) != 0 {
			t.Errorf("told of its own: %+v", got)
		}
	}
	// Of another app it is somebody's message.
	other.Body = bytes.Replace(own.Body, []byte("54321"), []byte("777"), 1)
	b.account.Secrets["hook_secret"] = "s3cret"
	other.Header, other.URL = http.Header{}, hookURL+"?secret=s3cret"
	if got := b.hooked(t, other); len(got) != 1 {
		t.Errorf("told of another app's: %+v", got)
	}
	bare := strings.Replace(string(own.Body), `"client":{"clientType":"INTEGRATION","integrationAppId":54321},`, "", 1)
	other.Body = []byte(bare)
	if got := b.hooked(t, other); len(got) != 0 || bare == string(own.Body) {
		t.Errorf("told of its own by who made it only: %+v", got)
	}
}

func TestAgents_FilesGoByTheirAddress(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		files map[string]string
		want  []core.Message
	}{
		"a picture with words": {"look", map[string]string{"a.PNG": "https://f.example/a"}, []core.Message{
			{Type: core.TypeImage, Text: "look", Media: &core.Media{Link: "https://f.example/a", Filename: "a.PNG"}}}},
		"a paper": {"", map[string]string{"": "https://f.example/plan.pdf?sig=1"}, []core.Message{
			{Type: core.TypeDocument, Media: &core.Media{Link: "https://f.example/plan.pdf?sig=1"}}}},
		"sound has no caption": {"listen", map[string]string{"a.mp3": "https://f.example/a.mp3"}, []core.Message{
			{Type: core.TypeText, Text: "listen"}, {Type: core.TypeAudio, Media: &core.Media{Link: "https://f.example/a.mp3", Filename: "a.mp3"}}}},
	} {
		b := talking(t, hubspotsim.Options{}, "").mustCheck()
		b.deliver(received(1))
		id, r := b.writes(t, hubspotsim.Answer{Text: c.text, Files: c.files}, appSecret)
		got := b.hooked(t, r)
		if len(got) != len(c.want) {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		ids := map[string]bool{}
		for i, e := range got {
			c.want[i].To = person(1).Address()
			if diff := cmp.Diff(&c.want[i], e.Message); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
			ids[e.ID] = true
			if !strings.HasPrefix(e.MessageRef, id) {
				t.Errorf("%s: of the message %s", name, e.MessageRef)
			}
		}
		if len(ids) != len(got) {
			t.Errorf("%s: the same id twice: %v", name, slices.Collect(maps.Keys(ids)))
		}
		// A part's progress is not the message's, its failure is.
		if len(got) == 2 {
			first, second := sent(1), sent(2)
			first.MessageRef, second.MessageRef = got[0].MessageRef, got[1].MessageRef
			b.deliver(first)
			b.deliver(second)
			b.deliver(status(1, core.StatusRead))
			b.deliver(status(2, core.StatusSent))
			b.deliver(status(2, core.StatusFailed))
			if m := b.sim.InboxMessages()[1]; !slices.Equal(m.Statuses, []string{"READ", "FAILED"}) {
				t.Errorf("%s: the statuses were %q", name, m.Statuses)
			}
		}
	}
}

// What cannot be sent fails before the agent's eyes.
func TestAgents_WhatCannotBeSentFailsAtOnce(t *testing.T) {
	for name, spoil := range map[string]func(string) string{
		"nothing in it": func(s string) string { return strings.ReplaceAll(s, "hello there", " ") },
		"nobody on WhatsApp": func(s string) string {
			return strings.ReplaceAll(s, `"type":"HS_PHONE_NUMBER"`, `"type":"HS_EMAIL_ADDRESS"`)
		},
		"a file of a stranger": func(s string) string { return strings.ReplaceAll(s, "https://f.example", "file://f.example") },
	} {
		b := talking(t, hubspotsim.Options{}, "").mustCheck()
		b.account.Secrets["hook_secret"] = "s3cret"
		b.deliver(received(1))
		files := map[string]string{}
		if strings.Contains(name, "file") {
			files["a.pdf"] = "https://f.example/a.pdf"
		}
		_, r := b.writes(t, hubspotsim.Answer{Text: "hello there", Files: files}, "")
		r.URL += "?secret=s3cret"
		r.Body = []byte(spoil(string(r.Body)))
		b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Status: 503, Match: "/messages/", Count: 1})
		if _, err := b.connector.Webhook(t.Context(), b.account, r); core.CodeOf(err) != core.CodeUnavailable {
			t.Errorf("%s: when HubSpot is down: %v", name, err)
		}
		if got := b.hooked(t, r); len(got) != 0 {
			t.Errorf("%s: %+v", name, got)
		}
		if m := b.sim.InboxMessages()[1]; m.Status != "FAILED" || m.Failure == "" {
			t.Errorf("%s: the message is %+v", name, m)
		}
	}
}

func TestAgents_OnlyHubSpotIsBelieved(t *testing.T) {
	b := talking(t, hubspotsim.Options{}, "").mustCheck()
	b.deliver(received(1))
	for name, c := range map[string]struct {
		signed, hook, url string
		ok                bool
	}{
		"signed":                                 {appSecret, "", "", true},
		"signed, and with the secret":            {appSecret, "s3cret", "", true},
		"signed by another":                      {"guess", "", "", false},
		"signed by another, but with the secret": {"guess", "s3cret", "?secret=s3cret", false},
		"not signed":                             {"", "", "", false},
		"not signed, and any secret":             {"", "", "?secret=", false},
		"not signed, with the secret":            {"", "s3cret", "?secret=s3cret", true},
		"not signed, with another secret":        {"", "s3cret", "?secret=s3cre", false},
		"not signed, without the secret":         {"", "s3cret", "", false},
	} {
		b.account.Secrets["hook_secret"] = core.Secret(c.hook)
		_, r := b.writes(t, hubspotsim.Answer{Text: "hi"}, c.signed)
		r.URL += c.url
		if c.signed != "" && c.url != "" {
			r.URL = hookURL + c.url // as it would not be signed
		}
		got, err := b.connector.Webhook(t.Context(), b.account, r)
		if c.ok != (err == nil && len(got.Events) == 1) || !c.ok && core.CodeOf(err) != core.CodeUnauthenticated {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	// Without the inbox nothing of the kind is taken.
	_, r := b.writes(t, hubspotsim.Answer{Text: "hi"}, appSecret)
	plain := start(t, hubspotsim.Options{}, "", nil)
	plain.account.Secrets["client_secret"] = appSecret
	if _, err := plain.connector.Webhook(t.Context(), plain.account, r); core.CodeOf(err) != core.CodeInvalid {
		t.Errorf("without the inbox: %v", err)
	}
}

func TestAgents_OtherEventsAreTaken(t *testing.T) {
	b := talking(t, hubspotsim.Options{}, "").mustCheck()
	b.deliver(received(1))
	account := b.sim.ChannelAccounts()[0].ID
	for _, what := range []string{"CHANNEL_ACCOUNT_CREATED", "CHANNEL_ACCOUNT_UPDATED", "CHANNEL_ACCOUNT_PURGED", "SOMETHING_NEW"} {
		r, err := b.sim.TellAccount(t.Context(), account, what, appSecret)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.hooked(t, asked(t, r)); len(got) != 0 {
			t.Errorf("%s: %+v", what, got)
		}
	}
	// What is known of accounts is asked for anew then.
	b.clear()
	b.deliver(received(2))
	if calls := b.calls(); !slices.ContainsFunc(calls, func(c string) bool { return strings.Contains(c, "channel-accounts") }) {
		t.Errorf("the calls were %q", calls)
	}
	b.account.Secrets["hook_secret"] = "s"
	for _, body := range []string{`{`, `{"type":"OUTGOING_CHANNEL_MESSAGE_CREATED","message":{"text":"x"}}`,
		`{"type":"OUTGOING_CHANNEL_MESSAGE_CREATED","channelId":"77","message":{"id":"1","text":"x"}}`} {
		r := core.WebhookRequest{Method: http.MethodPost, URL: hookURL + "?secret=s", Header: map[string][]string{}, Body: []byte(body)}
		if _, err := b.connector.Webhook(t.Context(), b.account, r); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("%s: %v", body, err)
		}
	}
	// Numbers for texts, and a bare identifier, as some have seen them.
	odd, err := json.Marshal(map[string]any{"type": "OUTGOING_CHANNEL_MESSAGE_CREATED", "channelId": 900, "channelIntegrationThreadIds": []string{"100:c001"},
		"message": map[string]any{"id": 5, "text": "hi", "createdBy": "A-3", "recipients": []any{map[string]any{"deliveryIdentifier": "+34600000001"}}}})
	if err != nil {
		t.Fatal(err)
	}
	got := b.hooked(t, core.WebhookRequest{Method: http.MethodPost, URL: hookURL + "?secret=s", Header: map[string][]string{}, Body: odd})
	if len(got) != 1 || got[0].MessageRef != "5" || got[0].By != "A-3" || got[0].Message.To != person(1).Address() {
		t.Errorf("got %+v", got)
	}
}

// Where the channel knows nobody's phone number, an answer finds its way all the same.
func TestAgents_OpaqueIdentifiersLeadBack(t *testing.T) {
	b := talking(t, hubspotsim.Options{}, `,"inbox_identifier":"opaque"`).mustCheck()
	b.deliver(received(1))
	if got := *b.sim.InboxMessages()[0].Senders[0].Identifier; got.Value != "phone:"+person(1).Phone {
		t.Errorf("the person is %+v", got)
	}
	_, r := b.writes(t, hubspotsim.Answer{Text: "hi"}, appSecret)
	if got := b.hooked(t, r); len(got) != 1 || got[0].Message.To != person(1).Address() {
		t.Errorf("got %+v", got)
	}
}
