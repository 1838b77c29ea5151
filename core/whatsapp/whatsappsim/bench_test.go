package whatsappsim_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// BenchmarkSim is what the sim itself costs: it must be little beside what is
// measured with it.
func BenchmarkSim(b *testing.B) {
	body := text(`,"biz_opaque_callback_data":"w1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"`)
	b.Run("send", func(b *testing.B) {
		s := whatsappsim.New(whatsappsim.Options{})
		b.ReportAllocs()
		for b.Loop() {
			r := httptest.NewRequest(http.MethodPost, "/v25.0/"+number+"/messages", strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer token")
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				b.Fatal(w.Body)
			}
		}
	})
	b.Run("receive", func(b *testing.B) {
		s := whatsappsim.New(whatsappsim.Options{WebhookURL: "http://bridge.example", AppSecret: "secret"})
		b.ReportAllocs()
		for b.Loop() {
			s.Receive(whatsappsim.Inbound{From: "34600111222", Name: "Ana", Text: "hello"})
		}
	})
}
