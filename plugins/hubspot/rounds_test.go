package hubspot_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

// While a round is read people and the bridge go on writing.
func TestPoll_MissesNobodyWhoIsModifiedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, hubspotsim.Options{})
		_, cursor := b.round(t, nil)
		var ids []string
		for i := range 250 {
			ids = append(ids, b.edit(t, "", map[string]string{"firstname": "A", "phone": fmt.Sprintf("+3460011%04d", i), "city": "Madrid"}))
			time.Sleep(10 * time.Second)
		}
		told := map[string]any{} // by record
		take := func() (more bool) {
			polled, err := b.connector.Poll(t.Context(), b.account, cursor)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range polled.Events {
				told[e.ContactRef] = e.Fields["city"]
			}
			cursor = polled.Cursor
			return polled.More
		}
		take()
		for _, id := range ids[:20] { // whose turn is over: none of the others may move to where they were
			b.edit(t, id, map[string]string{"city": "Lyon"})
		}
		time.Sleep(20 * time.Minute)
		b.edit(t, ids[240], map[string]string{"city": "Nice"}) // the latest that this round sees, long after those
		for take() {
		}
		if len(told) != 250 || told[ids[240]] != "Nice" {
			t.Errorf("%d of 250 were told", len(told))
		}
		time.Sleep(15 * time.Minute)
		for take() {
		}
		for _, id := range ids[:20] {
			if told[id] != "Lyon" {
				t.Errorf("of %s was told that it is in %v, last", id, told[id])
			}
		}
	})
}

// Those who are deleted while the list of the deleted is read may be on a page that was.
func TestPoll_MissesNobodyWhoIsDeletedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, hubspotsim.Options{})
		var ids []string
		for i := range 150 {
			ids = append(ids, b.edit(t, "", map[string]string{"firstname": fmt.Sprint(i)}))
		}
		_, cursor := b.round(t, nil)
		remove := func(ids ...string) {
			for _, id := range ids {
				if err := b.sim.Delete("contacts", id); err != nil {
					t.Fatal(err)
				}
			}
		}
		remove(ids[1:140]...)
		time.Sleep(61 * time.Minute)
		first, err := b.connector.Poll(t.Context(), b.account, cursor)
		if err != nil || !first.More {
			t.Fatalf("it takes one page only: %+v, %v", first, err)
		}
		remove(ids[0])
		time.Sleep(time.Second)
		remove(ids[145])
		second, cursor := b.round(t, first.Cursor)
		time.Sleep(61 * time.Minute)
		third, _ := b.round(t, cursor)
		gone := map[string]bool{}
		for _, events := range [][]core.Event{first.Events, second, third} {
			for _, e := range events {
				gone[e.ContactRef] = true
			}
		}
		if len(gone) != 141 || !gone[ids[0]] || !gone[ids[145]] {
			t.Errorf("%d were told, want 141; the first: %v, the last: %v", len(gone), gone[ids[0]], gone[ids[145]])
		}
	})
}

// What HubSpot does not answer is asked for again: the place that was reached stays.
func TestPoll_TakesNoAnswerForNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := hubspotsim.New(hubspotsim.Options{History: watched})
		body, at := "", ""
		b := start(t, hubspotsim.Options{}, pulling, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if at != "" && strings.HasSuffix(r.Method+" "+r.URL.Path, at) {
				fmt.Fprint(w, body)
				return
			}
			sim.ServeHTTP(w, r)
		}))
		for _, name := range watched {
			sim.AddProperty("contacts", hubspotsim.Property{Name: name, Type: "string", FieldType: "text"})
		}
		_, cursor := b.round(t, nil)
		time.Sleep(61 * time.Minute)
		if _, err := sim.Edit("contacts", "", map[string]string{"firstname": "Ana", "phone": "+34600111222", "city": "Madrid"}); err != nil {
			t.Fatal(err)
		}
		for _, at = range []string{"/contacts/search", "/contacts/batch/read", "GET /crm/objects/2026-09/contacts"} {
			for _, body = range []string{"", "{}", "null", `{"results":null}`, "<html>Maintenance</html>", `{"results":[`,
				`{"status":"COMPLETE","results":[],"numErrors":1,"errors":[{"category":"INTERNAL_ERROR","message":"oops"}]}`,
				`{"status":"COMPLETE","results":[],"errors":[null]}`, `{"status":"COMPLETE","results":[],"numErrors":1}`, `{"status":"PENDING","results":[]}`} {
				if strings.Contains(body, "status") && !strings.HasSuffix(at, "read") {
					continue // only batches tell of errors in their answers
				}
				if got, err := b.connector.Poll(t.Context(), b.account, cursor); core.CodeOf(err) != core.CodeUnavailable {
					t.Errorf("%s answers %q: %+v, %v", at, body, got, err)
				}
			}
		}
		at, body = "/contacts/search", `{"results":[{"id":"another"}],"paging":{"next":{"after":"100"}}}`
		if _, err := b.connector.Poll(t.Context(), b.account, cursor); core.CodeOf(err) != core.CodeUnavailable {
			t.Errorf("a page that leads nowhere: %v", err)
		}
		at = ""
		if events, _ := b.round(t, cursor); len(events) != 1 || events[0].Fields["city"] != "Madrid" {
			t.Errorf("afterwards: %+v", events)
		}
	})
}

// What the bridge itself wrote last is no news, where HubSpot says that it did.
func TestPoll_LeavesOutWhatTheAppWroteItself(t *testing.T) {
	for app, own := range map[string]bool{"": false, "54321": true, "777": false} {
		b := watching(t, hubspotsim.Options{})
		b.account.Settings = []byte(strings.Replace(pulling, "{", `{"app_id":"`+app+`","contact_fields":{"where":"city","line":"wa_send_text"},`, 1))
		b.account.Properties = []string{"jobtitle", "company"}
		b.account.Secrets["client_secret"] = "app-secret"
		_, cursor := b.round(t, nil)
		e := received(1)
		e.Contact.Fields = map[string]string{"where": "Madrid", "line": "hello"}
		e.Fields = map[string]any{"jobtitle": "Baker"}
		wantCodes(t, b.deliver(e), map[string]core.Code{e.ID: ""})
		if events, _ := b.round(t, cursor); (len(events) == 0) != own {
			t.Errorf("%q: told of its own: %+v", app, events)
		}
		record := b.contacts()["c001"].ID
		var object int64
		if _, err := fmt.Sscan(record, &object); err != nil {
			t.Fatal(err)
		}
		before := len(b.calls())
		r, err := hubspotsim.Hook(t.Context(), hookURL, "app-secret", hubspotsim.HookEvent{SubscriptionType: "contact.propertyChange", ObjectID: object,
			PropertyName: "city", ChangeSource: "INTEGRATION", SourceID: "54321"})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.connector.Webhook(t.Context(), b.account, asked(t, r)); err != nil || (len(got.Events) == 0) != own || (len(b.calls()) == before) != own {
			t.Errorf("%q: by webhook: %+v, %v after %d calls", app, got.Events, err, len(b.calls())-before)
		}
		b.edit(t, record, map[string]string{"city": "Lyon"})
		events, _ := b.round(t, cursor)
		if len(events) == 0 || events[0].Fields["city"] != "Lyon" || events[0].Contact.Fields["city"] != "Lyon" {
			t.Fatalf("%q: what a person wrote: %+v", app, events)
		}
		if _, told := events[0].Contact.Fields["job"]; told == own {
			t.Errorf("%q: beside it: %+v", app, events[0].Contact.Fields)
		}
	}
}

// Records may be gone, all of them, when they are read.
func TestPoll_GoesOnWhenAllWhoChangedAreGone(t *testing.T) {
	b := watching(t, hubspotsim.Options{})
	_, cursor := b.round(t, nil)
	b.edit(t, "", map[string]string{"firstname": "Ana", "phone": "+34600111222", "city": "Madrid"})
	b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Match: "batch/read", Status: http.StatusNotFound, Category: "OBJECT_NOT_FOUND"})
	if events, _ := b.round(t, cursor); len(events) != 0 {
		t.Errorf("told: %+v", events)
	}
}

// An event of another form than any that is known does not keep its neighbours away.
func TestWebhook_PassesOverWhatItDoesNotUnderstand(t *testing.T) {
	b := watching(t, hubspotsim.Options{})
	b.account.Secrets["client_secret"] = "app-secret"
	id := b.edit(t, "", map[string]string{"firstname": "Ana", "phone": "+34600111222", "city": "Madrid"})
	hook := func(body string) core.WebhookRequest {
		r, err := hubspotsim.HookOf(t.Context(), hookURL, "app-secret", []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return asked(t, r)
	}
	for body, want := range map[string]int{
		`[{"subscriptionType":"contact.propertyChange","occurredAt":"now","objectId":[1]},{"subscriptionType":"contact.propertyChange","objectId":"` + id + `","propertyName":"city"}]`: 1,
		`[null,{"subscriptionType":"contact.creation","objectId":` + id + `,"propertyName":null}]`:                                                                                      1,
		`[]`: 0,
	} {
		got, err := b.connector.Webhook(t.Context(), b.account, hook(body))
		if err != nil || len(got.Events) != want {
			t.Errorf("%s: %+v, %v", body, got.Events, err)
		}
	}
	for _, body := range []string{`{"objectId":1}`, `[{"objectId":`, `"text"`, ``, `[` + strings.Repeat(`{},`, 1000) + `{}]`} {
		if _, err := b.connector.Webhook(t.Context(), b.account, hook(body)); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("%.40s: %v", body, err)
		}
	}
}

// What is read of an account, its lists and its channel, is not taken for empty either.
func TestReads_TakeNoAnswerForNothing(t *testing.T) {
	b := start(t, hubspotsim.Options{}, `{"log_messages":"inbox","channel_id":"900","inbox_id":"71"}`, answering(http.StatusOK, "{}"))
	b.account.Secrets["client_secret"] = appSecret
	_, described := b.connector.Describe(t.Context(), b.account)
	_, listed := b.connector.Segments(t.Context(), b.account, "")
	_, members := b.connector.Members(t.Context(), b.account, "7", nil)
	for what, err := range map[string]error{"describe": described, "segments": listed, "members": members, "check": b.check()} {
		if code := core.CodeOf(err); code != core.CodeUnavailable && code != core.CodeUnknownOutcome {
			t.Errorf("%s: %v", what, err)
		}
	}
	sim := hubspotsim.New(hubspotsim.Options{})
	sim.AddChannel(inboxChannel(""))
	b = start(t, hubspotsim.Options{}, string(b.account.Settings), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/channel-accounts") {
			fmt.Fprint(w, "{}")
			return
		}
		sim.ServeHTTP(w, r)
	}))
	b.sim = sim
	wantCodes(t, b.deliver(received(1)), map[string]core.Code{"wamid.IN001": core.CodeUnavailable})
	if accounts := sim.ChannelAccounts(); len(accounts) != 0 {
		t.Errorf("accounts were made: %+v", accounts)
	}
}
