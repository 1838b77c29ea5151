package whatsappsim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

const number = "106540352242922" // the first by default

// ask makes a request of a Sim; headers beside the usual ones replace them.
func ask(s *whatsappsim.Sim, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer token")
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func send(s *whatsappsim.Sim, body string) *httptest.ResponseRecorder {
	return ask(s, http.MethodPost, "/v25.0/"+number+"/messages", body)
}

// text is a good message, of which a test changes what it is about.
func text(fields string) string {
	return `{"messaging_product":"whatsapp","to":"+34600111222","type":"text","text":{"body":"hello"}` + fields + `}`
}

type answer struct {
	Contacts []map[string]string `json:"contacts"`
	Messages []map[string]string `json:"messages"`
	Error    struct {
		Message string `json:"message"`
		Code    int    `json:"code"`
		Subcode int    `json:"error_subcode"`
		Trace   string `json:"fbtrace_id"`
		Data    struct {
			Details string `json:"details"`
		} `json:"error_data"`
	} `json:"error"`
}

func read(t *testing.T, w *httptest.ResponseRecorder) answer {
	t.Helper()
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return a
}

// bridge takes webhooks, and answers each with a status.
type bridge struct {
	answer func(n int) int // nil is always 200
	posts  []posted
}

type posted struct {
	at        time.Time
	body      []byte
	signature string
}

// RoundTrip implements [http.RoundTripper]; with a Concurrency of 1 it is called by
// one goroutine.
func (b *bridge) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	b.posts = append(b.posts, posted{time.Now(), body, r.Header.Get("X-Hub-Signature-256")})
	status := http.StatusOK
	if b.answer != nil {
		status = b.answer(len(b.posts))
	}
	return &http.Response{StatusCode: status, Body: http.NoBody, Request: r}, nil
}

// start runs a Sim with a bridge; call it in a bubble.
func start(t *testing.T, b *bridge, o whatsappsim.Options) *whatsappsim.Sim {
	t.Helper()
	o.Client, o.WebhookURL, o.AppSecret = b, "http://bridge.example/", "secret"
	if o.Concurrency == 0 {
		o.Concurrency = 1
	}
	s := whatsappsim.New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

// told returns what the webhooks told, flat: "number: message ID" and so on.
func (b *bridge) told(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, p := range b.posts {
		for _, v := range values(t, p.body) {
			for _, m := range v.Messages {
				all = append(all, fmt.Sprintf("message %v", m["id"]))
			}
			for _, st := range v.Statuses {
				all = append(all, fmt.Sprintf("%v %v", st["status"], st["id"]))
			}
		}
	}
	return all
}

type value struct {
	Metadata map[string]string `json:"metadata"`
	Contacts []map[string]any  `json:"contacts"`
	Messages []map[string]any  `json:"messages"`
	Statuses []map[string]any  `json:"statuses"`
	Alert    string            `json:"entity_type"`
}

func values(t *testing.T, body []byte) []value {
	t.Helper()
	var e struct {
		Object string `json:"object"`
		Entry  []struct {
			ID      string `json:"id"`
			Changes []struct {
				Field string `json:"field"`
				Value value  `json:"value"`
			} `json:"changes"`
		} `json:"entry"`
	}
	if err := json.Unmarshal(body, &e); err != nil || e.Object != "whatsapp_business_account" {
		t.Fatalf("webhook %s: %v", body, err)
	}
	var all []value
	for _, entry := range e.Entry {
		for _, c := range entry.Changes {
			all = append(all, c.Value)
		}
	}
	return all
}
