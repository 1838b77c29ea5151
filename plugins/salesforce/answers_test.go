package salesforce_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/memnet"
	"github.com/wabridge/wabridge/plugins/salesforce"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

// behind puts something between the connector and the sim.
func (b *bench) behind(serve func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	b.served = memnet.Serve(b.t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(w, r, b.sim) }))
	b.connector = &salesforce.Connector{DialContext: b.served.DialContext}
	b.t.Cleanup(b.connector.CloseIdleConnections)
}

// Whatever comes back, no event is a dead letter of it, and none is lost or doubled.
func TestDeliver_BlamesNoEventForWhatIsNoAnswer(t *testing.T) {
	const page, sub = "<html><body>Maintenance</body></html>", `{"compositeResponse":[{"httpStatusCode":%d,"body":%s}]}`
	for _, path := range []string{"/composite/sobjects/Contact/WA_Contact_Id__c", "/composite", "/composite/sobjects/WhatsApp_Message__c/WA_Id__c", "/sobjects/Contact/describe"} {
		for _, answer := range []struct {
			status int
			body   string
		}{
			{200, ""}, {200, page}, {200, "null"}, {200, "{}"}, {200, "[]"}, {200, "[{}]"}, {200, `[{"id":"003`}, {200, `[{"id":7,"success":"true","errors":{}}]`},
			{200, `[{"success":true,"id":"003000000000001AAA"},{"success":true,"id":"003000000000001AAA"}]`},
			{200, `[{"message":"x","errorCode":"UNKNOWN_EXCEPTION"}]`}, {204, ""}, {301, ""}, {400, page}, {400, "[]"}, {401, page}, {403, page}, {404, page}, {407, page},
			{410, `[{"errorCode":"UNSUPPORTED_API_VERSION","message":"Gone"}]`}, {414, page}, {431, ""}, {500, `{"error":"x"}`}, {502, page},
			{400, `[{"errorCode":"INVALID_TYPE","message":"sObject type 'X' is not supported."}]`},
			{200, fmt.Sprintf(sub, 200, "null")}, {200, fmt.Sprintf(sub, 200, "{}")}, {200, fmt.Sprintf(sub, 200, `{"records":[],"done":false,"nextRecordsUrl":"/x"}`)},
			{200, fmt.Sprintf(sub, 200, `{"records":[{}],"done":false,"nextRecordsUrl":"/services/data/v66.0/query/../limits"}`)},
			{200, fmt.Sprintf(sub, 400, `[{"errorCode":"MALFORMED_QUERY","message":"x"}]`)},
			{200, fmt.Sprintf(sub, 400, `[{"errorCode":"INVALID_FIELD","message":"field 'MobilePhone' can not be filtered in a query call"}]`)},
		} {
			b := start(t, salesforcesim.Options{}, "")
			b.sim.Create("Contact", map[string]any{"LastName": "Known", "MobilePhone": "600000001"})
			odd := true
			b.behind(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if odd && strings.TrimPrefix(r.URL.Path, "/services/data/v66.0") == path {
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(answer.status)
					_, _ = w.Write([]byte(answer.body))
					return
				}
				next.ServeHTTP(w, r)
			})
			e := received(1)
			if strings.HasSuffix(path, "describe") {
				e.Fields = map[string]any{"Department": "Toys"}
			}
			if err := b.deliver(e)[e.ID].Err; err == nil || err.Code == core.CodeInvalid || err.Code == core.CodeUndeliverable || err.Code == core.CodeInternal {
				t.Errorf("%s: %d %s: got %v, want what is tried again", path, answer.status, answer.body, err)
			}
			odd = false
			b.mustDeliver(e)
			want(t, b.record("Contact", "WA_Contact_Id__c", "c001"), map[string]any{"LastName": "Known"})
			if n, m := len(b.sim.Records("Contact")), len(b.sim.Records("WhatsApp_Message__c")); n != 1 || m != 1 {
				t.Errorf("%s: %d %s: %d contacts and %d messages, want one of each", path, answer.status, answer.body, n, m)
			}
		}
	}
}

func TestDeliver_LosesNothingWhileAnObjectMayNotBeSeen(t *testing.T) {
	for _, object := range []string{"Contact", "WhatsApp_Message__c"} {
		b := start(t, salesforcesim.Options{}, "")
		b.sim.RemoveObject(object)
		late := status(2, core.StatusRead)
		late.Accepted = time.Now().Add(-time.Hour)
		for id, r := range b.deliver(received(1), late) {
			if r.Err == nil || r.Err.Code != core.CodeForbidden || r.Err.Holds() != core.ScopeLane || !strings.Contains(r.Err.Hint, "settings.message_object") {
				t.Errorf("%s: %s: got %+v, want forbidden for the lane", object, id, r.Err)
			}
		}
	}
	b := start(t, salesforcesim.Options{}, "")
	b.sim.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultRow, Match: "WhatsApp_Message__c", Code: "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", Message: "entity type cannot be inserted: WhatsApp Message"})
	if err := b.deliver(received(1))["wamid.IN001"].Err; err == nil || err.Code != core.CodeForbidden || err.Holds() != core.ScopeLane {
		t.Errorf("got %+v, want forbidden for the lane", err)
	}
}

// Triggers that do too much with many rows do it with fewer.
func TestDeliver_WritesFewerRowsWhereTriggersBearNoMore(t *testing.T) {
	b := start(t, salesforcesim.Options{TriggerRows: 60}, "")
	b.mustDeliver(many(200)...)
	if n, m := len(b.sim.Records("Contact")), len(b.sim.Records("WhatsApp_Message__c")); n != 200 || m != 200 {
		t.Errorf("%d contacts and %d messages, want 200", n, m)
	}
}

// A record that was found, and deleted before it was written to, is no dead letter.
func TestDeliver_TriesAgainWhenARecordGoesMeanwhile(t *testing.T) {
	for _, path := range []string{"/composite/sobjects", "/composite/sobjects/WhatsApp_Message__c/WA_Id__c"} {
		b := start(t, salesforcesim.Options{}, "")
		id := b.sim.Create("Contact", map[string]any{"LastName": "Known", "MobilePhone": "+34600000001"})
		deleted := false
		b.behind(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if !deleted && strings.HasSuffix(r.URL.Path, path) {
				deleted = true
				b.sim.Delete("Contact", id)
			}
			next.ServeHTTP(w, r)
		})
		if err := b.deliver(received(1))["wamid.IN001"].Err; err == nil || err.Code != core.CodeUnavailable {
			t.Errorf("%s: got %v, want unavailable", path, err)
		}
		b.mustDeliver(received(1))
		all := b.sim.Records("Contact")
		if now := all[len(all)-1]; now.ID == id || now.Fields["WA_Contact_Id__c"] != "c001" {
			t.Errorf("%s: the contact's record is %+v", path, now)
		} else {
			want(t, b.record("WhatsApp_Message__c", "WA_Id__c", "wamid.IN001"), map[string]any{"Contact__c": now.ID})
		}
	}
}

// Salesforce gives fewer records at a time than a query asks for: the rest is read.
func TestDeliver_ReadsAnswersToTheirEnd(t *testing.T) {
	b := start(t, salesforcesim.Options{QueryPage: 2}, "")
	events := many(5)
	b.mustDeliver(events...)
	var statuses []*core.Event
	for n := range events {
		b.mustDeliver(status(n, core.StatusRead))
		late := status(n, core.StatusSent)
		late.Accepted = time.Now().Add(-time.Hour)
		statuses = append(statuses, late)
	}
	b.mustDeliver(statuses...)
	for _, e := range events {
		want(t, b.record("WhatsApp_Message__c", "WA_Id__c", e.Message.ID), map[string]any{"Status__c": "read"})
	}
}

// What is no answer moves the place on by nothing: all is told once there is one.
func TestPoll_PassesNothingOverForWhatIsNoAnswer(t *testing.T) {
	const page = "<html><body>Maintenance</body></html>"
	for _, path := range []string{"/queryAll", "/composite"} {
		for _, answer := range []struct {
			status int
			body   string
		}{
			{200, ""}, {200, page}, {200, "null"}, {200, "{}"}, {200, "[]"}, {200, `{"records":[{}],"done":true}`}, {200, `{"records":[null],"done":true}`}, {200, `{"totalSize":1,"done":false,"records":[`},
			{200, `{"records":[{"Id":"003000000000001AAA","SystemModstamp":"yesterday"}],"done":true}`}, {200, `{"records":null,"done":null}`}, {200, `{"records":{},"done":"true"}`},
			{200, `{"compositeResponse":[{"httpStatusCode":200,"body":{}}]}`}, {200, `{"compositeResponse":[{"httpStatusCode":0,"body":null}]}`},
			{200, `{"compositeResponse":[{"httpStatusCode":200,"body":{"records":[{"Field":7}],"done":true}}]}`},
			{204, ""}, {301, ""}, {400, page}, {400, `[{"errorCode":"MALFORMED_QUERY","message":"x"}]`}, {400, `[{"errorCode":"INVALID_QUERY_LOCATOR","message":"x"}]`}, {401, page}, {403, page}, {404, page}, {410, "[]"}, {414, page}, {500, "[]"}, {502, page},
		} {
			tl := startTelling(t, `{"consent_from":"Department","pull_fields":{"description":"Description"}}`)
			tl.sim.Track("Contact", "Department", "Description")
			odd := false
			tl.behind(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if odd && strings.TrimPrefix(r.URL.Path, "/services/data/v66.0") == path {
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(answer.status)
					_, _ = w.Write([]byte(answer.body))
					return
				}
				next.ServeHTTP(w, r)
			})
			id := tl.sim.Create("Contact", map[string]any{"LastName": "Ana", "MobilePhone": "+34600000001"})
			tl.sim.Edit("Contact", id, map[string]any{"Department": "opted_out"})
			odd = true
			if polled, err := tl.connector.Poll(t.Context(), tl.account, tl.cursor); err == nil {
				t.Errorf("%s: %d %s: told %v", path, answer.status, answer.body, brief(polled.Events))
				tl.cursor = polled.Cursor
			}
			odd = false
			tl.wants(fmt.Sprintf("%s: %d %s", path, answer.status, answer.body),
				"consent.changed +34600000001 map[] [] withdrawn by "+salesforcesim.Person, "contact.changed +34600000001 map[description:] []")
		}
	}
}
