package customhttp_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

// asking is a lane that asks the sim what changed.
func asking(change table) table {
	pull := table{
		"name": "changes", "path": "/changes", "rows": "data", "since": "updated_at", "start": "",
		"query": table{"updated_after": "{{.since}}", "limit": "{{.size}}"},
		"events": []any{
			table{"when": table{"path": "type", "equals": "contact"}, "kind": "contact.changed", "phone": "phone", "time": "updated_at",
				"ref": "id", "tags": "labels", "fields": table{"city": "city", "plan": "more.plan"}},
			table{"when": table{"path": "type", "equals": "deleted"}, "kind": "contact.gone", "ref": "id"},
			table{"when": table{"path": "type", "equals": "consent"}, "kind": "consent.changed", "phone": "phone",
				"state": "news_ok", "granted": []any{"yes"}, "withdrawn": []any{"no"}, "evidence": "form"},
			table{"when": table{"path": "type", "equals": "outbox"}, "kind": "message.send", "id": "id", "phone": "phone", "text": "text",
				"author": "human", "by": "owner"},
		},
	}
	maps.Copy(pull, change)
	return table{"idempotency": "none", "auth": table{"type": "bearer"}, "pull": []any{pull}}
}

// round polls until there is no more.
func (b *bench) round(t *testing.T, cursor json.RawMessage) ([]core.Event, json.RawMessage) {
	t.Helper()
	var all []core.Event
	for range 100 {
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

func TestPoll_TellsWhatChanged(t *testing.T) {
	b := start(t, customhttpsim.Options{Token: token}, asking(nil), nil)
	b.sim.Change(customhttpsim.Entry{ID: "1", Type: "contact", Phone: "+15550100001", City: new("Lyon"), Labels: []string{"vip", "fr"}, More: map[string]string{"plan": "gold"}})
	b.sim.Change(customhttpsim.Entry{ID: "2", Type: "consent", Phone: "+15550100002", NewsOK: "yes", Form: "https://shop.example/form"})
	b.sim.Change(customhttpsim.Entry{ID: "3", Type: "outbox", Phone: "+15550100003", Text: "your parcel", Owner: "mia"})
	b.sim.Change(customhttpsim.Entry{ID: "4", Type: "invoice"})
	b.sim.Change(customhttpsim.Entry{ID: "6", Type: "deleted"})
	b.sim.Change(customhttpsim.Entry{ID: "5", Type: "consent", Phone: "+15550100002", NewsOK: "maybe"})
	events, cursor := b.round(t, nil)
	want := []core.Event{
		{Kind: core.KindContactChanged, ContactRef: "1", Contact: &core.Contact{Phone: "+15550100001", Tags: []string{"vip", "fr"}, Fields: map[string]string{"city": "Lyon", "plan": "gold"}},
			Fields: map[string]any{"id": "1", "type": "contact", "phone": "+15550100001", "city": "Lyon"}},
		{Kind: core.KindConsentChanged, Contact: &core.Contact{Phone: "+15550100002"},
			Consent: &core.Consent{Level: "marketing", State: "granted", Evidence: "https://shop.example/form"}},
		{ID: "3", Kind: core.KindMessageSend, Author: core.AuthorHuman, By: "mia", Message: &core.Message{
			Type: core.TypeText, Text: "your parcel", To: core.Address{Kind: core.AddressPhone, Value: "+15550100003"}}},
		{Kind: core.KindContactGone, ContactRef: "6"},
	}
	ids := map[string]bool{}
	got := slices.Clone(events)
	for i := range got {
		ids[got[i].ID] = true
		if got[i].Kind != core.KindMessageSend {
			got[i].ID = ""
		}
		if got[i].Kind == core.KindContactChanged && got[i].Time.IsZero() {
			t.Error("the contact's change has no time")
		}
		got[i].Time = time.Time{}
		delete(got[i].Fields, "updated_at")
	}
	if diff := cmp.Diff(want, got); diff != "" || len(ids) != 4 {
		t.Errorf("%d ids; (-want +got):\n%s", len(ids), diff)
	}

	// The last row is told again, under the same ID; a change of a row is another.
	again, cursor := b.round(t, cursor)
	for _, e := range again {
		if !ids[e.ID] {
			t.Errorf("what did not change is told as new: %+v", e)
		}
	}
	b.sim.Change(customhttpsim.Entry{ID: "1", Type: "contact", Phone: "+15550100001"})
	events, _ = b.round(t, cursor)
	events = slices.DeleteFunc(events, func(e core.Event) bool { return ids[e.ID] })
	if len(events) != 1 || events[0].Contact.Fields["city"] != "" || events[0].Contact.Fields == nil {
		t.Errorf("after a change: %+v, want the city to be gone", events)
	}
}

func TestPoll_ReadsAllPagesInEveryWay(t *testing.T) {
	for name, change := range map[string]table{
		"page":     {"paging": table{"type": "page", "size": 7}, "query": table{"updated_after": "{{.since}}", "limit": "{{.size}}", "page": "{{.page}}"}},
		"offset":   {"paging": table{"type": "offset", "size": 7}, "query": table{"updated_after": "{{.since}}", "limit": "{{.size}}", "offset": "{{.offset}}"}},
		"cursor":   {"paging": table{"type": "cursor", "path": "next_cursor", "size": 7}, "query": table{"updated_after": "{{.since}}", "limit": "{{.size}}", "cursor": "{{.cursor}}"}},
		"next_url": {"paging": table{"type": "next_url", "path": "next_url", "size": 7}},
		"link":     {"paging": table{"type": "next_url", "size": 7}},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, customhttpsim.Options{Token: token}, asking(change), nil)
			for i := range 21 {
				b.sim.Change(customhttpsim.Entry{ID: fmt.Sprint(i), Type: "contact", Phone: fmt.Sprintf("+155501%05d", i)})
			}
			events, cursor := b.round(t, nil)
			phones := map[string]bool{}
			for _, e := range events {
				phones[e.Contact.Phone] = true
			}
			if len(events) != 21 || len(phones) != 21 {
				t.Errorf("%d changes of %d contacts were told, want 21", len(events), len(phones))
			}
			if more, _ := b.round(t, cursor); len(more) != 1 { // the last one's time is not before itself
				t.Errorf("the next round tells of %d", len(more))
			}
		})
	}
}

func TestPoll_BeginsNowUnlessAsked(t *testing.T) {
	b := start(t, customhttpsim.Options{Token: token}, asking(table{"start": "now"}), nil)
	b.sim.Change(customhttpsim.Entry{ID: "1", Type: "contact", Phone: "+15550100001"})
	if _, err := b.connector.Poll(t.Context(), b.account, nil); err != nil {
		t.Fatal(err)
	}
	r := b.sim.Requests()
	if q := r[len(r)-1].Query; !strings.Contains(q, fmt.Sprint("updated_after=", time.Now().UTC().Year())) {
		t.Errorf("it asks with %q", q)
	}
}

func TestPoll_GoesOnAtTheSamePageAfterAFault(t *testing.T) {
	b := start(t, customhttpsim.Options{Token: token}, asking(table{"paging": table{"type": "page", "size": 2},
		"query": table{"updated_after": "{{.since}}", "limit": "{{.size}}", "page": "{{.page}}"}}), nil)
	for i := range 5 {
		b.sim.Change(customhttpsim.Entry{ID: fmt.Sprint(i), Type: "contact", Phone: fmt.Sprintf("+155501%05d", i)})
	}
	poll := func(cursor json.RawMessage) (core.Polled, error) {
		return b.connector.Poll(t.Context(), b.account, cursor)
	}
	first, err := poll(nil)
	if err != nil || len(first.Events) != 2 || !first.More {
		t.Fatalf("%+v, %v", first, err)
	}
	for _, fault := range []string{customhttpsim.FaultCut, customhttpsim.FaultLost} {
		b.sim.Inject(customhttpsim.Fault{Kind: fault})
		if got, err := poll(first.Cursor); err == nil || core.CodeOf(err) != core.CodeUnavailable || got.Cursor != nil {
			t.Errorf("%s: got %+v, %v", fault, got, err)
		}
		b.sim.Heal()
	}
	rest, _ := b.round(t, first.Cursor)
	if len(rest) != 3 {
		t.Errorf("%d were told after it, want 3", len(rest))
	}
}

func TestPoll_GoesNowhereElse(t *testing.T) {
	for _, next := range []string{"https://evil.example/v1/changes", "http://127.0.0.1:1/v1/changes", "//evil.example/", "/other", "../../etc", "/v1/../admin"} {
		b := start(t, customhttpsim.Options{Token: token}, asking(table{"paging": table{"type": "next_url", "path": "next_url"}}), nil)
		cursor, err := json.Marshal(table{"pulls": table{"changes": table{"since": "", "pages": 1, "next": next}}})
		if err != nil {
			t.Fatal(err)
		}
		before := len(b.sim.Requests())
		if _, err := b.connector.Poll(t.Context(), b.account, cursor); core.CodeOf(err) != core.CodeForbidden || len(b.sim.Requests()) != before {
			t.Errorf("%s: %v", next, err)
		}
	}
}

func TestPoll_SaysWhatIsWrongWithAnAnswer(t *testing.T) {
	for name, change := range map[string]table{
		"no rows":      {"rows": "total"},
		"no parameter": {"query": table{"colour": "{{.size}}"}},
	} {
		b := start(t, customhttpsim.Options{Token: token}, asking(change), nil)
		_, err := b.connector.Poll(t.Context(), b.account, nil)
		if e := core.AsError(err); err == nil || e.Code != core.CodeForbidden && e.Code != core.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	none := start(t, customhttpsim.Options{Token: token}, example(t, "one-by-one"), nil)
	if got, err := none.connector.Poll(t.Context(), none.account, nil); err != nil || got.More || len(got.Events) > 0 {
		t.Errorf("a lane that pulls nothing: %+v, %v", got, err)
	}
}

func TestExample_TwoWayTellsOfRowsAndCalls(t *testing.T) {
	b := start(t, customhttpsim.Options{Token: token}, example(t, "two-way"), nil)
	b.account.Secrets["webhook"] = hookSecret
	for i := range 120 {
		b.sim.Change(customhttpsim.Entry{ID: fmt.Sprint(i), Type: "contact", Phone: fmt.Sprintf("+155501%05d", i)})
	}
	if events, _ := b.round(t, nil); len(events) != 120 {
		t.Errorf("%d changes were told, want 120", len(events))
	}
	b.sim.SetList(customhttpsim.List{ID: "8", Name: "Firms", Type: "companies"})
	b.sim.SetList(customhttpsim.List{ID: "7", Name: "VIP", Type: "contacts", Members: people(250)})
	for _, looked := range []string{"", "vi", "7"} {
		if found, err := b.connector.Segments(t.Context(), b.account, looked); err != nil || len(found) != 1 || found[0] != (core.Segment{ID: "7", Name: "VIP", Kind: "contacts", Size: 250}) {
			t.Errorf("%q: %+v, %v", looked, found, err)
		}
	}
	if all, pages := b.everyone(t, "7", nil); len(all) != 250 || pages != 3 || !cmp.Equal(all[249], core.Member{ContactRef: "c249", Contact: core.Contact{Name: "Ada 249", Phone: "+15550100249"}}) {
		t.Errorf("%d members on %d pages, the last is %+v", len(all), pages, all[len(all)-1])
	}
	body, at := `{"items":[{"type":"outbox","id":"7","phone":"+15550100001","text":"hello","owner":"mia"},{"type":"other"}]}`, fmt.Sprint(time.Now().Unix())
	got, err := b.connector.Webhook(t.Context(), b.account, posted(body, "X-Timestamp", at, "X-Signature", "sha256="+signed(at+"."+body)))
	if err != nil || len(got.Events) != 1 || got.Events[0].ID != "7" || got.Events[0].Message.Text != "hello" {
		t.Errorf("got %+v, %v", got, err)
	}
}
