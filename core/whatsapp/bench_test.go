package whatsapp_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/whatsapp"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

// textBody is a webhook with one text of a length that makes it 1 KiB; extra goes
// into the message.
func textBody(extra string) []byte {
	const frame = `{"object":"whatsapp_business_account","entry":[{"id":"220011223344","changes":[{"value":{"messaging_product":"whatsapp",` +
		`"metadata":{"display_phone_number":"34910000001","phone_number_id":"100200300"},` +
		`"contacts":[{"profile":{"name":"Ana Núñez"},"wa_id":"34600111222","user_id":"ES.7001"}],` +
		`"messages":[{"from":"34600111222","from_user_id":"ES.7001","id":"wamid.SGVsbG8gV29ybGQgSGVsbG8gV29ybGQ=","timestamp":"1780000000",` +
		`"type":"text",%s"text":{"body":"%s"}}]},"field":"messages"}]}]}`
	body := fmt.Sprintf(frame, extra, "")
	return fmt.Appendf(nil, frame, extra, strings.Repeat("a few words ", (1024-len(body))/12))
}

// BenchmarkWebhook is all of a request but the network: HMAC, parse, accept.
func BenchmarkWebhook(b *testing.B) {
	for name, body := range map[string][]byte{"known": textBody(""), "new-field": textBody(`"mood":"curious",`)} {
		b.Run(name, func(b *testing.B) {
			var accepted atomic.Int64
			h := whatsapp.NewWebhook(whatsapp.WebhookOptions{
				AppSecrets: func() []core.Secret { return []core.Secret{"test_app_secret"} },
				Accept: func(_ context.Context, updates []whatsapp.Update) error {
					accepted.Add(int64(len(updates)))
					return nil
				},
				Log: slog.New(slog.DiscardHandler),
			})
			signature := whatsappsim.Sign("test_app_secret", body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			n := int64(0)
			for b.Loop() {
				n++
				r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
				r.Header.Set("X-Hub-Signature-256", signature)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
			}
			if accepted.Load() != n {
				b.Fatalf("%d accepted of %d", accepted.Load(), n)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	body := textBody("")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if u, err := whatsapp.Parse(body); err != nil || len(u) != 1 || u[0].Event.Raw != nil {
			b.Fatal(u, err)
		}
	}
}

func BenchmarkSigned(b *testing.B) {
	body := textBody("")
	signature := whatsappsim.Sign("test_app_secret", body)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if !whatsapp.Signed("test_app_secret", signature, body) {
			b.Fatal("not signed")
		}
	}
}

// BenchmarkSend sends texts to the sim over loopback, many at once.
func BenchmarkSend(b *testing.B) {
	sim := whatsappsim.New(whatsappsim.Options{})
	server := httptest.NewServer(sim)
	defer server.Close()
	transport := whatsapp.NewTransport()
	defer transport.CloseIdleConnections()
	client, err := whatsapp.NewClient(whatsapp.ClientOptions{
		BaseURL: server.URL, Transport: transport, OpaqueKey: bytes.Repeat([]byte("k"), 32), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	sink := client.Sink(whatsapp.Number{Tenant: "t", ID: "106540352242922", AccessToken: func() core.Secret { return "token" }})
	var n atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			e := &core.Event{ID: fmt.Sprintf("e%d", i), Kind: core.KindMessageSend, Message: &core.Message{
				Type: core.TypeText, Text: "Thank you, your order is on its way.",
				To: core.Address{Kind: core.AddressPhone, Value: fmt.Sprintf("+346%08d", i%1000)},
			}}
			r := sink.Deliver(b.Context(), []core.Delivery{{Event: e, Attempt: 1}})
			if r[0].Err != nil {
				b.Error(r[0].Err)
				return
			}
		}
	})
	if got := sim.Stats().Sends; int64(got) != n.Load() {
		b.Errorf("the sim took %d of %d", got, n.Load())
	}
}
