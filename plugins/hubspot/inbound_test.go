package hubspot_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

const (
	pulling = `{"base_url":"http://127.0.0.1","pull_fields":{"city":"city","job":"jobtitle"},"pull_tags":"hs_persona","consent_from":"news_consent","send_property":"wa_send_text"}`
	hookURL = "https://bridge.example/webhooks/crm/acme/hubspot"
)

var watched = []string{"city", "jobtitle", "hs_persona", "news_consent", "wa_send_text"}

// watching is an account from which things are taken, with the properties for it.
func watching(t *testing.T, o hubspotsim.Options) *bench {
	t.Helper()
	o.History = watched
	b := start(t, o, pulling, nil)
	for _, name := range watched {
		b.sim.AddProperty("contacts", hubspotsim.Property{Name: name, Type: "string", FieldType: "text"})
	}
	return b
}

func (b *bench) edit(t *testing.T, id string, properties map[string]string) string {
	t.Helper()
	id, err := b.sim.Edit("contacts", id, properties)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// round polls until there is no more.
func (b *bench) round(t *testing.T, cursor json.RawMessage) ([]core.Event, json.RawMessage) {
	t.Helper()
	var all []core.Event
	for range 1000 {
		polled, err := b.connector.Poll(t.Context(), b.account, cursor)
		if err != nil {
			t.Fatal(err)
		}
		all, cursor = append(all, polled.Events...), polled.Cursor
		if !polled.More {
			return all, cursor
		}
	}
	t.Fatal("it does not end")
	return nil, nil
}

// news leaves out what was told before.
func news(events []core.Event, known map[string]bool) (out []core.Event) {
	for _, e := range events {
		if !known[e.ID] {
			known[e.ID] = true
			out = append(out, e)
		}
	}
	return out
}

func TestPoll_TellsWhatPeopleAtHubSpotDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, hubspotsim.Options{SearchLag: 20 * time.Second})
		known := map[string]bool{}
		events, cursor := b.round(t, nil)
		if len(events) != 0 {
			t.Errorf("before anything happened: %+v", events)
		}
		time.Sleep(time.Minute)
		id := b.edit(t, "", map[string]string{"firstname": "Ana", "phone": "+34 600 111 222", "city": "Madrid", "hs_persona": "vip; b2b"})
		b.edit(t, "", map[string]string{"firstname": "no number", "city": "Madrid"})
		at := time.Now().UTC()
		time.Sleep(time.Minute)
		events, cursor = b.round(t, cursor)
		want := []core.Event{{Kind: core.KindContactChanged, Time: at, ContactRef: id,
			Contact: &core.Contact{Phone: "+34 600 111 222", Tags: []string{"vip", "b2b"}, Fields: map[string]string{"city": "Madrid", "job": ""}},
			Fields:  map[string]any{"hs_object_id": id, "city": "Madrid", "jobtitle": ""}}}
		events = news(events, known)
		for i := range events {
			events[i].ID = ""
		}
		if diff := cmp.Diff(want, events); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}

		// What the bridge itself writes to a contact is no news, although it changes
		// when the contact was modified.
		b.mustCheck().deliver(received(1))
		own := b.contacts()[person(1).ID].ID
		b.edit(t, own, map[string]string{"city": "Lyon"})
		time.Sleep(time.Minute)
		if events, cursor = b.round(t, cursor); len(news(events, known)) != 1 {
			t.Errorf("after a change of a contact that the bridge made: %+v", events)
		}
		b.deliver(received(1), received(2))
		time.Sleep(time.Minute)
		if events, cursor = b.round(t, cursor); len(events) == 0 || len(news(events, known)) != 0 {
			t.Errorf("after our own write: %+v", events)
		}

		// A value that comes back is another change.
		for _, city := range []string{"Paris", "Madrid", "Paris"} {
			b.edit(t, id, map[string]string{"city": city})
			time.Sleep(time.Minute)
			if events, cursor = b.round(t, cursor); len(news(events, known)) != 1 {
				t.Errorf("after %s: %+v", city, events)
			}
		}
	})
}

func TestPoll_TellsOfConsentWithItsEvidenceAndOfMessagesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, hubspotsim.Options{})
		_, cursor := b.round(t, nil)
		known := map[string]bool{}
		id := b.edit(t, "", map[string]string{"firstname": "Ana", "phone": "+34600111222", "news_consent": "Yes", "wa_send_text": "Your parcel is here"})
		events, cursor := b.round(t, cursor)
		events = news(events, known)
		if len(events) != 2 {
			t.Fatalf("told %+v", events)
		}
		c, m := events[0], events[1]
		if c.Kind != core.KindConsentChanged || c.Consent.State != "granted" || c.Consent.Level != "marketing" ||
			!strings.Contains(c.Consent.Evidence, "contact "+id+": news_consent") || c.Contact.Phone != "+34600111222" {
			t.Errorf("consent: %+v %+v", c, c.Consent)
		}
		if m.Kind != core.KindMessageSend || m.Author != core.AuthorHuman || m.Message.Text != "Your parcel is here" || m.Message.To.Value != "+34600111222" {
			t.Errorf("message: %+v %+v", m, m.Message)
		}
		time.Sleep(time.Minute)
		b.edit(t, id, map[string]string{"news_consent": "no", "wa_send_text": "Your parcel is here"}) // once more, on purpose
		events, _ = b.round(t, cursor)
		events = news(events, known)
		if len(events) != 2 || events[0].Consent.State != "withdrawn" || events[1].Message.Text != "Your parcel is here" {
			t.Errorf("told %+v", events)
		}
	})
}

// The text stays in the property, and the bridge knows for some days only that it had it.
func TestPoll_SendsNoTextThatIsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, hubspotsim.Options{})
		_, cursor := b.round(t, nil)
		id := b.edit(t, "", map[string]string{"firstname": "Ana", "phone": "+34600111222", "wa_send_text": "Your parcel is here"})
		written := time.Now()
		sends := func(after time.Duration) (n int) {
			time.Sleep(time.Until(written.Add(after)))
			b.edit(t, id, map[string]string{"lastname": after.String()})
			var events []core.Event
			events, cursor = b.round(t, cursor)
			for _, e := range events {
				if e.Kind == core.KindMessageSend {
					n++
				}
			}
			return n
		}
		const week = 7 * 24 * time.Hour
		if sends(0) != 1 || sends(week-time.Millisecond) != 1 {
			t.Error("a text that is not old is not sent")
		}
		if sends(week) != 0 || sends(8*24*time.Hour+time.Minute) != 0 {
			t.Error("a text that was sent a week ago is sent again")
		}
	})
}

func TestPoll_ReadsHoweverManyChangedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, hubspotsim.Options{})
		_, cursor := b.round(t, nil)
		const people = 10_250 // more than a search can be paged through
		for i := range people {
			b.edit(t, "", map[string]string{"firstname": "A", "phone": fmt.Sprintf("+3460%07d", i), "city": "Madrid"})
			if i%100 == 99 {
				time.Sleep(time.Millisecond)
			}
		}
		events, _ := b.round(t, cursor)
		phones := map[string]bool{}
		for _, e := range events {
			phones[e.Contact.Phone] = true
		}
		if len(phones) != people {
			t.Errorf("%d of %d were told", len(phones), people)
		}
	})
}

func TestPoll_TakesNothingUnlessAsked(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil)
	got, err := b.connector.Poll(t.Context(), b.account, nil)
	if err != nil || got.More || len(got.Events) > 0 || len(b.sim.Stats().Requests) > 0 {
		t.Errorf("got %+v, %v after %v", got, err, b.sim.Stats().Requests)
	}
}

func TestPoll_SaysWhatHubSpotSays(t *testing.T) {
	b := watching(t, hubspotsim.Options{Tokens: []string{"another"}})
	if _, err := b.connector.Poll(t.Context(), b.account, nil); core.CodeOf(err) != core.CodeUnauthenticated {
		t.Error(err)
	}
	b = watching(t, hubspotsim.Options{SearchSecondly: 1})
	_, _ = b.connector.Poll(t.Context(), b.account, nil)
	if _, err := b.connector.Poll(t.Context(), b.account, nil); core.CodeOf(err) != core.CodeRateLimited {
		t.Error(err)
	}
}

// asked is a webhook as the bridge hands it on.
func asked(t *testing.T, r *http.Request) core.WebhookRequest {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return core.WebhookRequest{Method: r.Method, URL: r.URL.String(), Header: r.Header, Body: body}
}

func TestWebhook_TellsWhatThePollWouldTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, hubspotsim.Options{})
		b.account.Secrets["client_secret"] = "app-secret"
		_, cursor := b.round(t, nil)
		id := b.edit(t, "", map[string]string{"firstname": "Ana", "phone": "+34600111222", "city": "Madrid"})
		var object int64
		if _, err := fmt.Sscan(id, &object); err != nil {
			t.Fatal(err)
		}
		hook := func(events ...hubspotsim.HookEvent) core.WebhookRequest {
			r, err := hubspotsim.Hook(t.Context(), hookURL, "app-secret", events...)
			if err != nil {
				t.Fatal(err)
			}
			return asked(t, r)
		}
		change := hubspotsim.HookEvent{SubscriptionType: "contact.propertyChange", ObjectID: object, PropertyName: "city", PropertyValue: "Madrid"}
		got, err := b.connector.Webhook(t.Context(), b.account, hook(change, change))
		if err != nil || len(got.Events) != 1 {
			t.Fatalf("got %+v, %v", got, err)
		}
		polled, _ := b.round(t, cursor)
		if diff := cmp.Diff(polled, got.Events); diff != "" {
			t.Errorf("not what is told when asked (-poll +webhook):\n%s", diff)
		}

		before := b.sim.Stats().Requests
		for _, e := range []hubspotsim.HookEvent{
			{SubscriptionType: "contact.propertyChange", ObjectID: object, PropertyName: "lastname"},
			{SubscriptionType: "company.propertyChange", ObjectID: object, PropertyName: "city"},
			{SubscriptionType: "object.propertyChange", ObjectTypeID: "0-2", ObjectID: object, PropertyName: "city"},
			{SubscriptionType: "object.deletion", ObjectTypeID: "0-18", ObjectID: object},
			{SubscriptionType: "object.deletion", ObjectID: object},
		} {
			if got, err := b.connector.Webhook(t.Context(), b.account, hook(e)); err != nil || len(got.Events) != 0 {
				t.Errorf("%s: %+v, %v", e.SubscriptionType, got, err)
			}
		}
		if diff := cmp.Diff(before, b.sim.Stats().Requests); diff != "" {
			t.Errorf("HubSpot was asked for what does not matter:\n%s", diff)
		}
		if got, err := b.connector.Webhook(t.Context(), b.account, hook(hubspotsim.HookEvent{SubscriptionType: "contact.creation", ObjectID: 999999})); err != nil || len(got.Events) != 0 {
			t.Errorf("a contact that is gone: %+v, %v", got, err)
		}
		for what, e := range map[string]hubspotsim.HookEvent{
			"a deletion":         {SubscriptionType: "contact.deletion", ObjectID: 77, OccurredAt: 1793621100000},
			"one of an object":   {SubscriptionType: "object.deletion", ObjectTypeID: "0-1", ObjectID: 77, OccurredAt: 1793621100000},
			"a privacy deletion": {SubscriptionType: "contact.privacyDeletion", ObjectID: 77, OccurredAt: 1793621100000},
			"a merge":            {SubscriptionType: "contact.merge", ObjectID: object, PrimaryObjectID: object, MergedObjectIDs: []int64{object, 77}, OccurredAt: 1793621100000},
		} {
			got, err := b.connector.Webhook(t.Context(), b.account, hook(e))
			if err != nil {
				t.Fatal(err)
			}
			var gone, changed []string
			for _, e := range got.Events {
				if e.Kind == core.KindContactGone && e.Time.UnixMilli() == 1793621100000 && e.ID != "" {
					gone = append(gone, e.ContactRef)
				} else {
					changed = append(changed, e.ContactRef)
				}
			}
			want := []string(nil)
			if what == "a merge" {
				want = []string{id}
			}
			if !slices.Equal(gone, []string{"77"}) || !slices.Equal(changed, want) {
				t.Errorf("%s: gone are %v, read was %v", what, gone, changed)
			}
		}
		b.account.Secrets = map[string]core.Secret{"token": "revoked", "client_secret": "app-secret"}
		b = watching(t, hubspotsim.Options{Tokens: []string{token}})
		b.account.Secrets = map[string]core.Secret{"token": "revoked", "client_secret": "app-secret"}
		if _, err := b.connector.Webhook(t.Context(), b.account, hook(change)); core.CodeOf(err) != core.CodeUnavailable {
			t.Errorf("with a bad token of ours: %v: HubSpot must call again", err)
		}
	})
}

func TestWebhook_IsHubSpotsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, hubspotsim.Options{})
		b.account.Secrets["client_secret"] = "app-secret"
		fresh := func() core.WebhookRequest {
			r, err := hubspotsim.Hook(t.Context(), hookURL, "app-secret")
			if err != nil {
				t.Fatal(err)
			}
			return asked(t, r)
		}
		if _, err := b.connector.Webhook(t.Context(), b.account, fresh()); err != nil {
			t.Fatal(err)
		}
		for name, forge := range map[string]func(*core.WebhookRequest){
			"another body":    func(r *core.WebhookRequest) { r.Body = append(r.Body, ' ') },
			"another address": func(r *core.WebhookRequest) { r.URL += "?x=1" },
			"another method":  func(r *core.WebhookRequest) { r.Method = http.MethodPut },
			"no signature":    func(r *core.WebhookRequest) { delete(r.Header, "X-Hubspot-Signature-V3") },
			"an empty one":    func(r *core.WebhookRequest) { r.Header["X-Hubspot-Signature-V3"] = []string{""} },
			"another time":    func(r *core.WebhookRequest) { r.Header["X-Hubspot-Request-Timestamp"] = []string{"1"} },
			"no time":         func(r *core.WebhookRequest) { delete(r.Header, "X-Hubspot-Request-Timestamp") },
			"the older version": func(r *core.WebhookRequest) {
				r.Header["X-Hubspot-Signature"] = r.Header["X-Hubspot-Signature-V3"]
				delete(r.Header, "X-Hubspot-Signature-V3")
			},
		} {
			r := fresh()
			forge(&r)
			if _, err := b.connector.Webhook(t.Context(), b.account, r); core.CodeOf(err) != core.CodeUnauthenticated {
				t.Errorf("%s: %v", name, err)
			}
		}
		r := fresh()
		time.Sleep(5 * time.Minute)
		if _, err := b.connector.Webhook(t.Context(), b.account, r); err != nil {
			t.Errorf("five minutes old: %v", err)
		}
		time.Sleep(time.Millisecond)
		if _, err := b.connector.Webhook(t.Context(), b.account, r); core.CodeOf(err) != core.CodeUnauthenticated {
			t.Errorf("older than five minutes: %v", err)
		}
		delete(b.account.Secrets, "client_secret")
		if _, err := b.connector.Webhook(t.Context(), b.account, fresh()); core.CodeOf(err) != core.CodeUnauthenticated {
			t.Errorf("without a secret: %v", err)
		}
	})
}

// The signatures that HubSpot's own library makes are taken.
func TestWebhook_KnowsHubSpotsSignatures(t *testing.T) {
	data, err := os.ReadFile("testdata/signature-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Vectors []struct {
			Method, URL, RequestBody, ClientSecret, V3 string
			Timestamp                                  int64
		}
	}
	if err := json.Unmarshal(data, &file); err != nil || len(file.Vectors) == 0 {
		t.Fatal(err)
	}
	for _, v := range file.Vectors {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(time.UnixMilli(v.Timestamp)))
			b := watching(t, hubspotsim.Options{})
			b.account.Secrets["client_secret"] = core.Secret(v.ClientSecret)
			_, err := b.connector.Webhook(t.Context(), b.account, core.WebhookRequest{
				Method: v.Method, URL: v.URL, Body: []byte(v.RequestBody), Header: map[string][]string{
					"X-Hubspot-Request-Timestamp": {fmt.Sprint(v.Timestamp)}, "X-Hubspot-Signature-V3": {v.V3},
				},
			})
			if core.CodeOf(err) == core.CodeUnauthenticated {
				t.Errorf("%s %s: %v", v.Method, v.URL, err)
			}
		})
	}
}
