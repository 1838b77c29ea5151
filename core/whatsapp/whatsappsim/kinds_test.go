package whatsappsim_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

func TestReceive_TellsWhatPeopleDoBesideWriting(t *testing.T) {
	for name, tc := range map[string]struct {
		in   whatsappsim.Inbound
		want []string
	}{
		"an order": {whatsappsim.Inbound{Order: &whatsappsim.InboundOrder{Catalog: "9", Items: []whatsappsim.InboundItem{{Product: "sku-1", Quantity: 2, Price: "19.99", Currency: "EUR"}}}},
			[]string{`"type":"order"`, `"product_retailer_id":"sku-1"`, `"item_price":19.99`, `"quantity":2`}},
		"an edit": {whatsappsim.Inbound{Edit: &whatsappsim.InboundEdit{Of: "wamid.1", Text: "at seven"}},
			[]string{`"type":"edit"`, `"edit":{"message":{"text":{"body":"at seven"},"type":"text"},"original_message_id":"wamid.1"}`}},
		"an edit of a caption": {whatsappsim.Inbound{Edit: &whatsappsim.InboundEdit{Of: "wamid.1", Text: "my cat", Media: &whatsappsim.InboundMedia{ID: "7"}}},
			[]string{`"caption":"my cat"`, `"type":"image"`}},
		"a revoke":         {whatsappsim.Inbound{Revoke: "wamid.1"}, []string{`"type":"revoke"`, `"revoke":{"original_message_id":"wamid.1"}`}},
		"a poll":           {whatsappsim.Inbound{Unsupported: "poll"}, []string{`"type":"unsupported"`, `"unsupported":{"type":"poll"}`, `"code":131051`}},
		"may be called":    {whatsappsim.Inbound{Calls: "accept"}, []string{`"call_permission_reply":{"response":"accept"`}},
		"from an ad":       {whatsappsim.Inbound{Text: "hi", Referral: &whatsappsim.InboundReferral{URL: "https://ads.example", ID: "77", Click: "ARx", Welcome: "Hi!"}}, []string{`"ctwa_clid":"ARx"`, `"source_type":"ad"`, `"welcome_message":{"text":"Hi!"}`}},
		"of a product":     {whatsappsim.Inbound{Text: "hi", Product: &whatsappsim.InboundProduct{Catalog: "9", ID: "sku-1"}}, []string{`"referred_product":{"catalog_id":"9","product_retailer_id":"sku-1"}`}},
		"in a group":       {whatsappsim.Inbound{Text: "hi", Group: "Z3JvdXA"}, []string{`"group_id":"Z3JvdXA"`}},
		"in standby":       {whatsappsim.Inbound{Text: "hi", Standby: true}, []string{`"field":"standby"`, `"standby":{"contacts":[{`, `"phone_number_id":"106540352242922"`}},
		"for the 1st time": {whatsappsim.Inbound{Type: "request_welcome"}, []string{`"type":"request_welcome"`}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &bridge{}
				s := start(t, b, whatsappsim.Options{})
				tc.in.From = "34600111222"
				s.Receive(tc.in)
				if err := s.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				if len(b.posts) != 1 {
					t.Fatalf("%d webhooks", len(b.posts))
				}
				body := string(b.posts[0].body)
				for _, want := range tc.want {
					if !strings.Contains(body, want) {
						t.Errorf("no %s in %s", want, body)
					}
				}
			})
		})
	}
}

func TestReceive_ChangesAndGroupsOpenNoWindow(t *testing.T) {
	s := whatsappsim.New(whatsappsim.Options{EnforceWindow: true})
	s.Receive(whatsappsim.Inbound{From: "34600111222", Text: "hi", Group: "Z3JvdXA"},
		whatsappsim.Inbound{From: "34600111222", Revoke: "wamid.1"}, whatsappsim.Inbound{From: "34600111222", Edit: &whatsappsim.InboundEdit{Of: "wamid.1"}})
	if got := send(s, text("")).Code; got != 400 {
		t.Errorf("status %d, want 400: the window is closed", got)
	}
	s.Receive(whatsappsim.Inbound{From: "34600111222", Text: "hi", Standby: true})
	if got := send(s, text("")).Code; got != 200 {
		t.Errorf("status %d: the window is open", got)
	}
}

func TestControl_RefusesWhatNobodyCanSend(t *testing.T) {
	s := whatsappsim.New(whatsappsim.Options{})
	for _, in := range []map[string]any{
		{"order": map[string]any{"catalog": "9"}},
		{"order": map[string]any{"catalog": "9", "items": []any{map[string]any{"product": "a", "quantity": 0, "price": 1, "currency": "EUR"}}}},
		{"edit": map[string]any{"text": "of what?"}},
		{"text": "hi", "group": "g", "standby": true},
		{"text": "hi", "referral": map[string]any{"source_type": "poster"}},
	} {
		in["from"] = "34600111222"
		body, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/_sim/receive", strings.NewReader(string(body))))
		if w.Code != 400 {
			t.Errorf("%s: status %d, want 400", body, w.Code)
		}
	}
}
