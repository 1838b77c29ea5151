package whatsapp_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/whatsapp"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

// TestParse_KnowsAllThatTheSimTells has the sim tell of each kind of message, of
// which each becomes the event that it should, with nothing left over.
func TestParse_KnowsAllThatTheSimTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var updates []whatsapp.Update
		taken := roundTripper(func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			more, err := whatsapp.Parse(body)
			if err != nil {
				t.Errorf("%v: %s", err, body)
			}
			updates = append(updates, more...)
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(nil))}, nil
		})
		s := whatsappsim.New(whatsappsim.Options{Client: taken, WebhookURL: "http://bridge.example", AppSecret: "secret", Concurrency: 1})
		ctx := t.Context()
		go func() { _ = s.Run(ctx) }()
		kinds := []struct {
			in   whatsappsim.Inbound
			want core.Kind
			has  func(e *core.Event) bool
		}{
			{whatsappsim.Inbound{Order: &whatsappsim.InboundOrder{Catalog: "9", Items: []whatsappsim.InboundItem{{Product: "a", Quantity: 3, Price: "0.10", Currency: "EUR"}}}},
				core.KindMessageReceived, func(e *core.Event) bool { return e.Message.Order.Total == "0.30" }},
			{whatsappsim.Inbound{Edit: &whatsappsim.InboundEdit{Of: "wamid.1", Text: "now"}}, core.KindMessageEdited,
				func(e *core.Event) bool { return e.Message.ID == "wamid.1" && e.Message.Text == "now" }},
			{whatsappsim.Inbound{Revoke: "wamid.1"}, core.KindMessageRevoked, func(e *core.Event) bool { return e.Message.ID == "wamid.1" }},
			{whatsappsim.Inbound{Calls: "reject"}, core.KindMessageReceived, func(e *core.Event) bool { return e.Message.Calls != nil && !e.Message.Calls.Granted }},
			{whatsappsim.Inbound{Unsupported: "poll"}, core.KindMessageReceived, func(e *core.Event) bool { return e.Message.Unsupported == "poll" && e.Message.Error.Code == 131051 }},
			{whatsappsim.Inbound{Text: "hi", Product: &whatsappsim.InboundProduct{Catalog: "9", ID: "a"}}, core.KindMessageReceived,
				func(e *core.Event) bool { return e.Message.Context.Product.ID == "a" }},
			{whatsappsim.Inbound{Text: "hi", Referral: &whatsappsim.InboundReferral{ID: "77", Click: "ARx", Welcome: "Hi!"}}, core.KindMessageReceived,
				func(e *core.Event) bool {
					return e.Message.Referral.Click == "ARx" && e.Message.Referral.Welcome == "Hi!"
				}},
			{whatsappsim.Inbound{Text: "hi", Group: "Z3JvdXA"}, core.KindMessageReceived, func(e *core.Event) bool { return e.Group == "Z3JvdXA" }},
			{whatsappsim.Inbound{Text: "hi", Standby: true}, core.KindMessageReceived, func(e *core.Event) bool { return e.Standby }},
			{whatsappsim.Inbound{Type: "request_welcome"}, core.KindMessageReceived, func(e *core.Event) bool { return e.Message.Type == core.TypeRequestWelcome }},
			{whatsappsim.Inbound{Reaction: &whatsappsim.InboundReaction{MessageID: "wamid.1"}}, core.KindMessageReceived,
				func(e *core.Event) bool { return e.Message.Reaction.Emoji == "" }},
		}
		for _, k := range kinds {
			k.in.From = "34600111222"
			updates = nil
			s.Receive(k.in)
			if err := s.Wait(ctx); err != nil {
				t.Fatal(err)
			}
			if len(updates) != 1 {
				t.Fatalf("%+v: %d updates", k.in, len(updates))
			}
			if e := updates[0].Event; e.Kind != k.want || len(e.Raw) > 0 || !k.has(&e) {
				t.Errorf("%+v: %s with raw %s: %+v", k.in, e.Kind, e.Raw, e.Message)
			}
		}
	})
}
