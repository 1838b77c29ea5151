package whatsapp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/whatsapp"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

// inbox is what a Webhook stores into.
type inbox struct {
	mu      sync.Mutex
	updates []whatsapp.Update
	posts   int
	err     error // of the next Accept
}

func (in *inbox) accept(_ context.Context, updates []whatsapp.Update) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.posts++
	if in.err != nil {
		return in.err
	}
	in.updates = append(in.updates, updates...)
	return nil
}

// ids returns the IDs of the events, in order.
func (in *inbox) ids() []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	ids := []string{}
	for _, u := range in.updates {
		ids = append(ids, u.Event.ID)
	}
	return ids
}

func options(in *inbox) whatsapp.WebhookOptions {
	return whatsapp.WebhookOptions{
		VerifyToken: "verify-me", Accept: in.accept, Log: slog.New(slog.DiscardHandler),
		AppSecrets: func() []core.Secret { return []core.Secret{"old-secret", "new-secret"} },
	}
}

func post(h http.Handler, body []byte, signatures ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/webhooks/whatsapp", bytes.NewReader(body))
	for _, s := range signatures {
		r.Header.Add("X-Hub-Signature-256", s)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestWebhook_AnswersMetasVerification(t *testing.T) {
	const challenge = "1158201444"
	for name, test := range map[string]struct {
		query  url.Values
		token  core.Secret
		status int
	}{
		"good":             {url.Values{"hub.mode": {"subscribe"}, "hub.verify_token": {"verify-me"}, "hub.challenge": {challenge}}, "verify-me", 200},
		"wrong token":      {url.Values{"hub.mode": {"subscribe"}, "hub.verify_token": {"verify-mE"}, "hub.challenge": {challenge}}, "verify-me", 403},
		"part of a token":  {url.Values{"hub.mode": {"subscribe"}, "hub.verify_token": {"verify"}, "hub.challenge": {challenge}}, "verify-me", 403},
		"no token":         {url.Values{"hub.mode": {"subscribe"}, "hub.challenge": {challenge}}, "verify-me", 403},
		"none configured":  {url.Values{"hub.mode": {"subscribe"}, "hub.verify_token": {""}, "hub.challenge": {challenge}}, "", 403},
		"another mode":     {url.Values{"hub.mode": {"unsubscribe"}, "hub.verify_token": {"verify-me"}, "hub.challenge": {challenge}}, "verify-me", 403},
		"no challenge":     {url.Values{"hub.mode": {"subscribe"}, "hub.verify_token": {"verify-me"}}, "verify-me", 403},
		"script":           {url.Values{"hub.mode": {"subscribe"}, "hub.verify_token": {"verify-me"}, "hub.challenge": {"<script>"}}, "verify-me", 403},
		"endless":          {url.Values{"hub.mode": {"subscribe"}, "hub.verify_token": {"verify-me"}, "hub.challenge": {strings.Repeat("1", 129)}}, "verify-me", 403},
		"nothing":          {nil, "verify-me", 403},
		"in another order": {url.Values{"hub.challenge": {challenge}, "hub.verify_token": {"verify-me"}, "hub.mode": {"subscribe"}}, "verify-me", 200},
	} {
		o := options(&inbox{})
		o.VerifyToken = test.token
		w := httptest.NewRecorder()
		whatsapp.NewWebhook(o).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?"+test.query.Encode(), nil))
		want := ""
		if test.status == 200 {
			want = challenge
		}
		if w.Code != test.status || w.Body.String() != want {
			t.Errorf("%s: %d %q, want %d %q", name, w.Code, w.Body, test.status, want)
		}
		if test.status == 200 && (!strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") || w.Header().Get("X-Content-Type-Options") != "nosniff") {
			t.Errorf("%s: header %v", name, w.Header())
		}
	}
	w := httptest.NewRecorder()
	whatsapp.NewWebhook(options(&inbox{})).ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, POST" {
		t.Errorf("PUT: %d %v", w.Code, w.Header())
	}
}

func TestSigned_AgreesWithOpenSSL(t *testing.T) {
	// printf '%s' BODY | openssl dgst -sha256 -hmac SECRET
	const body = `{"object":"whatsapp_business_account","entry":[]}`
	const want = "sha256=dec6a680679a968e7e0319355b23599cbfc54502c0784668e9618baa0c633756"
	if !whatsapp.Signed("test_app_secret", want, []byte(body)) {
		t.Error("a good signature is refused")
	}
	for name, bad := range map[string]struct{ secret, signature, body string }{
		"another secret":     {"test_app_secre", want, body},
		"another body":       {"test_app_secret", want, body + " "},
		"no prefix":          {"test_app_secret", want[7:], body},
		"another prefix":     {"test_app_secret", "sha1=" + want[7:], body},
		"prefix in capitals": {"test_app_secret", "SHA256=" + want[7:], body},
		"shorter":            {"test_app_secret", want[:len(want)-2], body},
		"longer":             {"test_app_secret", want + "00", body},
		"no digits":          {"test_app_secret", "sha256=" + strings.Repeat("z", 64), body},
		"nothing":            {"test_app_secret", "", body},
	} {
		if whatsapp.Signed(core.Secret(bad.secret), bad.signature, []byte(bad.body)) {
			t.Errorf("%s: taken for signed", name)
		}
	}
}

func FuzzSigned(f *testing.F) {
	f.Add("secret", "sha256=", []byte("{}"))
	f.Add("s", whatsappsim.Sign("s", []byte("body")), []byte("body"))
	f.Fuzz(func(t *testing.T, secret, signature string, body []byte) {
		good := whatsappsim.Sign(secret, body)
		if !whatsapp.Signed(core.Secret(secret), good, body) {
			t.Errorf("%q does not sign %q", good, body)
		}
		if whatsapp.Signed(core.Secret(secret), signature, body) && !strings.EqualFold(signature, good) {
			t.Errorf("%q is taken for %q", signature, good)
		}
		if whatsapp.Signed(core.Secret(secret), good, append(body, 'x')) {
			t.Error("a longer body is taken for signed")
		}
	})
}

func TestWebhook_StoresOnlyWhatIsSigned(t *testing.T) {
	body := textBody("")
	sign := func(secret string) string { return whatsappsim.Sign(secret, body) }
	for name, test := range map[string]struct {
		signatures []string
		status     int
	}{
		"the older secret": {[]string{sign("old-secret")}, 200},
		"the newer secret": {[]string{sign("new-secret")}, 200},
		"no signature":     {nil, 401},
		"another secret":   {[]string{sign("my-secret")}, 401},
		"the empty secret": {[]string{sign("")}, 401},
		"of another body":  {[]string{whatsappsim.Sign("new-secret", []byte("{}"))}, 401},
		"two signatures":   {[]string{sign("new-secret"), sign("new-secret")}, 401},
		"a word":           {[]string{"sha256=please"}, 401},
	} {
		in := &inbox{}
		o := options(in)
		o.AppSecrets = func() []core.Secret { return []core.Secret{"old-secret", "", "new-secret"} }
		w := post(whatsapp.NewWebhook(o), body, test.signatures...)
		stored := 0
		if test.status == 200 {
			stored = 1
		}
		if w.Code != test.status || len(in.updates) != stored || (stored == 0 && in.posts > 0) {
			t.Errorf("%s: %d, %d stored; want %d, %d", name, w.Code, len(in.updates), test.status, stored)
		}
	}
	o := options(&inbox{})
	o.AppSecrets = func() []core.Secret { return nil }
	if w := post(whatsapp.NewWebhook(o), body, sign("")); w.Code != 401 {
		t.Errorf("without any secret: %d", w.Code)
	}
}

func TestWebhook_AnswersByWhatBecameOfIt(t *testing.T) {
	full := core.Errorf(core.CodeUnavailable, "accept", "the disk is full")
	for name, test := range map[string]struct {
		body   string
		err    error
		status int
		posts  int
	}{
		"stored":                    {string(textBody("")), nil, 200, 1},
		"nothing to store":          {`{"entry":[]}`, nil, 200, 0},
		"of another kind":           {`{"object":"page","x":[1]}`, nil, 200, 1},
		"not JSON":                  {`{"entry":[`, nil, 400, 0},
		"store full":                {string(textBody("")), full, 503, 1},
		"invalid, says the store":   {string(textBody("")), core.Errorf(core.CodeInvalid, "accept", "no"), 503, 1},
		"the store does not say":    {string(textBody("")), errors.New("?"), 503, 1},
		"the client has gone":       {string(textBody("")), context.Canceled, 503, 1},
		"not an object, but signed": {`[]`, nil, 200, 1},
	} {
		in := &inbox{err: test.err}
		w := post(whatsapp.NewWebhook(options(in)), []byte(test.body), whatsappsim.Sign("new-secret", []byte(test.body)))
		if w.Code != test.status || in.posts != test.posts || w.Body.Len() > 0 {
			t.Errorf("%s: %d %q, accepted %d times; want %d, %d", name, w.Code, w.Body, in.posts, test.status, test.posts)
		}
		if (w.Header().Get("Retry-After") != "") != (test.status == 503) {
			t.Errorf("%s: Retry-After %q", name, w.Header().Get("Retry-After"))
		}
	}
}

func TestWebhook_FillsInTheTimeThatMetaLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := &inbox{}
		body := []byte(`{"entry":[{"id":"1","changes":[{"field":"account_update","value":{"event":"X"}}]}]}`)
		post(whatsapp.NewWebhook(options(in)), body, whatsappsim.Sign("new-secret", body))
		if len(in.updates) != 1 || !in.updates[0].Event.Time.Equal(time.Now()) {
			t.Errorf("updates = %+v", in.updates)
		}
	})
}

func TestWebhook_BoundsTheBody(t *testing.T) {
	in := &inbox{}
	o := options(in)
	o.MaxBody = 2000
	h := whatsapp.NewWebhook(o)
	fits := append(textBody(""), bytes.Repeat([]byte(" "), 2000-len(textBody("")))...)
	for name, test := range map[string]struct {
		body    []byte
		chunked bool
		status  int
	}{
		"fits":               {fits, false, 200},
		"fits, in chunks":    {fits, true, 200},
		"too large":          {append(fits, ' '), false, 413},
		"too large, chunked": {append(fits, ' '), true, 413},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(test.body))
		if test.chunked {
			r.ContentLength = -1
		}
		r.Header.Set("X-Hub-Signature-256", whatsappsim.Sign("new-secret", test.body))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != test.status {
			t.Errorf("%s: %d, want %d", name, w.Code, test.status)
		}
	}
	// A client that promises more than it sends.
	r := httptest.NewRequest(http.MethodPost, "/", io.LimitReader(bytes.NewReader(fits), 100))
	r.ContentLength = 2000
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 400 || in.posts != 2 {
		t.Errorf("cut off: %d, %d accepted", w.Code, in.posts)
	}
	// Meta's 3 MB fit by default.
	big := append(textBody(""), bytes.Repeat([]byte(" "), 3<<20)...)
	if w := post(whatsapp.NewWebhook(options(in)), big, whatsappsim.Sign("new-secret", big)); w.Code != 200 {
		t.Errorf("3 MB: %d", w.Code)
	}
}

func TestWebhook_BoundsWhatItHandlesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(&inbox{})
		o.MaxInFlight = 4
		release := make(chan struct{})
		o.Accept = func(context.Context, []whatsapp.Update) error { <-release; return nil }
		o.Registerer = prometheus.NewRegistry()
		h := whatsapp.NewWebhook(o)
		body := textBody("")
		statuses := make(chan int, 10)
		send := func() { statuses <- post(h, body, whatsappsim.Sign("new-secret", body)).Code }
		for range 4 {
			go send()
		}
		synctest.Wait()
		start := time.Now()
		go send() // has no place, and after a second goes away
		if got := <-statuses; got != 503 || time.Since(start) != time.Second {
			t.Errorf("the fifth: %d after %v, want 503 after 1 s", got, time.Since(start))
		}
		go send() // has no place yet, but gets one
		synctest.Wait()
		close(release)
		for range 5 {
			if got := <-statuses; got != 200 {
				t.Errorf("answered %d", got)
			}
		}
		want := map[string]float64{"outcome=busy": 1, "outcome=ok": 5}
		if diff := cmp.Diff(want, counts(t, o.Registerer.(prometheus.Gatherer), "wabridge_whatsapp_webhook_requests_total")); diff != "" {
			t.Errorf("counted (-want +got):\n%s", diff)
		}
	})
}

func TestWebhook_HoldsFewLargeBodiesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places = 16
		o := options(&inbox{})
		release := make(chan struct{})
		o.Accept = func(context.Context, []whatsapp.Update) error { <-release; return nil }
		h := whatsapp.NewWebhook(o)
		large := append(textBody(""), bytes.Repeat([]byte(" "), 512<<10)...)
		statuses := make(chan int, 2*places)
		send := func(body []byte) { statuses <- post(h, body, whatsappsim.Sign("new-secret", body)).Code }
		for range places + 3 {
			go send(large)
		}
		for range 3 {
			if got := <-statuses; got != 503 {
				t.Errorf("one large body too many: %d", got)
			}
		}
		go send(textBody("")) // small ones go on
		synctest.Wait()
		close(release)
		for range places + 1 {
			if got := <-statuses; got != 200 {
				t.Errorf("answered %d", got)
			}
		}
	})
}

func TestWebhook_LogsStrangersSeldomAndNothingOfThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := options(&inbox{})
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		h := whatsapp.NewWebhook(o)
		for range 100 {
			post(h, []byte("secret words"), "sha256=bad")
		}
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("%d lines for 100 strangers:\n%s", n, &log)
		}
		time.Sleep(10 * time.Second)
		post(h, []byte("secret words"))
		if s := log.String(); strings.Count(s, "\n") != 2 || !strings.Contains(s, "and_before=99") || strings.Contains(s, "secret words") {
			t.Errorf("log:\n%s", s)
		}
	})
}

// TestWebhook_UnderstandsTheSim runs the handler and the sim against each other,
// with webhooks as unruly as they come.
func TestWebhook_UnderstandsTheSim(t *testing.T) {
	for name, webhooks := range map[string]whatsappsim.Webhooks{
		"plain":   {},
		"escaped": {Escape: 1},
		"unruly":  {Escape: .5, Double: .5, Reorder: .5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := &inbox{}
				sim := simWith(t, whatsapp.NewWebhook(options(in)), whatsappsim.Options{Webhooks: webhooks, Seed: 7})
				if err := sim.Verify(t.Context()); err != nil {
					t.Fatalf("Verify: %v", err)
				}
				const words = "¿Qué tal? 👋 <b>&</b> / \\ \"\u2028 日本"
				sent := sim.Receive(
					whatsappsim.Inbound{From: "+34600111222", Name: "Ana Ñ. 👩‍💻", Text: words},
					whatsappsim.Inbound{BSUID: "GB.42", ParentBSUID: "GB.ENT.43", Username: "@sam", Text: words},
					whatsappsim.Inbound{From: "34600111222", Reply: &whatsappsim.InboundReply{ID: "yes", Title: "Sí"}, Context: "wamid.Q"},
					whatsappsim.Inbound{From: "34600111222", Reply: &whatsappsim.InboundReply{Kind: "list", ID: "r", Title: "Row", Description: "d"}},
					whatsappsim.Inbound{From: "34600111222", Reply: &whatsappsim.InboundReply{Kind: "template_button", ID: "p", Title: "Stop"}},
					whatsappsim.Inbound{From: "34600111222", Reply: &whatsappsim.InboundReply{Kind: "flow", Response: `{"size":"42"}`}},
					whatsappsim.Inbound{From: "34600111222", Type: "document", Text: "the invoice", Media: &whatsappsim.InboundMedia{Filename: "i.pdf"}},
					whatsappsim.Inbound{From: "34600111222", Location: &whatsappsim.InboundLocation{Latitude: 40.5, Longitude: -3.25}},
					whatsappsim.Inbound{From: "34600111222", Reaction: &whatsappsim.InboundReaction{MessageID: "wamid.X", Emoji: "👍"}},
					whatsappsim.Inbound{From: "34600111222", Type: "hologram", Object: []byte(`{"depth":3}`)},
				)
				sim.Notify("", "account_alerts", []byte(`{"entity_type":"BUSINESS"}`))
				if err := sim.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				got := map[string]core.Event{}
				for _, u := range in.updates {
					if before, ok := got[u.Event.ID]; ok && !cmp.Equal(before, u.Event) {
						t.Errorf("%s came back as something else", u.Event.ID)
					}
					got[u.Event.ID] = u.Event
				}
				if len(got) != len(sent)+1 {
					t.Fatalf("%d different events, want %d", len(got), len(sent)+1)
				}
				ana := &core.Contact{Name: "Ana Ñ. 👩‍💻", Phone: "+34600111222", BSUID: "US.134600111222"}
				first := got[sent[0]]
				if diff := cmp.Diff(ana, first.Contact); diff != "" {
					t.Errorf("Ana (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(&core.Contact{Name: "Customer GB.42", Username: "@sam", BSUID: "GB.42", ParentBSUID: "GB.ENT.43"}, got[sent[1]].Contact); diff != "" {
					t.Errorf("Sam (-want +got):\n%s", diff)
				}
				for i, want := range []struct{ typ, text, reply string }{
					{"text", words, ""}, {"text", words, ""}, {"interactive", "Sí", "button"}, {"interactive", "Row", "list"},
					{"button", "Stop", "template_button"}, {"interactive", "Sent", "flow"}, {"document", "the invoice", ""},
					{"location", "", ""}, {"reaction", "", ""}, {"hologram", "", ""},
				} {
					e := got[sent[i]]
					reply := ""
					if e.Message.Reply != nil {
						reply = e.Message.Reply.Kind
					}
					if e.Kind != core.KindMessageReceived || string(e.Message.Type) != want.typ || e.Message.Text != want.text || reply != want.reply {
						t.Errorf("message %d = %+v, want %+v", i, e.Message, want)
					}
					if (e.Raw != nil) != (want.typ == "hologram") {
						t.Errorf("message %d: raw %s", i, e.Raw)
					}
				}
			})
		})
	}
}

// simWith starts a sim that sends its webhooks to the handler, within a bubble.
func simWith(t *testing.T, h http.Handler, o whatsappsim.Options) *whatsappsim.Sim {
	t.Helper()
	o.AppSecret, o.VerifyToken, o.WebhookURL = "new-secret", "verify-me", "http://bridge.example/webhooks/whatsapp"
	o.Client = roundTripper(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result(), nil
	})
	sim := whatsappsim.New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = sim.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return sim
}

// TestSink_HearsOfItsMessages sends through the sim and reads the statuses that
// come of it.
func TestSink_HearsOfItsMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := &inbox{}
		sim := simWith(t, whatsapp.NewWebhook(options(in)), whatsappsim.Options{StatusDelay: time.Second, Concurrency: 1})
		r := newRig(t, sim)
		sent := r.send(hello).Ref
		bsuid := hello
		bsuid.To = core.Address{Kind: core.AddressBSUID, Value: "GB.42"}
		sentToSam := r.send(bsuid).Ref
		sim.Fail(whatsappsim.Rule{Do: whatsappsim.DoFail, Code: 131026, Count: 1})
		failed := r.send(hello).Ref
		if err := sim.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantIntent := whatsapp.Intent{Hash: whatsapp.IntentHash("wamid.IN#1"), Attempt: 3}
		life := map[string][]core.StatusValue{}
		for _, u := range in.updates {
			st := u.Event.Status
			if u.Event.Kind != core.KindMessageStatus || u.Event.Raw != nil {
				t.Fatalf("an event that is no status, or not understood: %+v", u.Event)
			}
			life[st.MessageID] = append(life[st.MessageID], st.Value)
			if intent, ok := whatsapp.ParseOpaque(opaqueKey, st.Opaque); !ok || intent != wantIntent {
				t.Errorf("%s %s brings back %+v, %v", st.MessageID, st.Value, intent, ok)
			}
			if got, want := u.Event.Contact.Phone == "+34600111222", st.MessageID != sentToSam; got != want {
				t.Errorf("%s %s is of %+v", st.MessageID, st.Value, u.Event.Contact)
			}
			if (len(st.Pricing) > 0) != (st.Value == core.StatusSent || st.Value == core.StatusDelivered) {
				t.Errorf("%s: pricing %s", st.Value, st.Pricing)
			}
			if st.Value == core.StatusFailed && (len(st.Errors) != 1 || st.Errors[0].Code != 131026) {
				t.Errorf("errors %+v", st.Errors)
			}
		}
		all := []core.StatusValue{core.StatusSent, core.StatusDelivered, core.StatusRead}
		want := map[string][]core.StatusValue{sent: all, sentToSam: all, failed: {core.StatusFailed}}
		if diff := cmp.Diff(want, life); diff != "" {
			t.Errorf("statuses (-want +got):\n%s", diff)
		}
	})
}

// TestWebhook_GetsEverythingInTheEnd refuses and loses what it can: Meta comes
// again, and nothing is missing.
func TestWebhook_GetsEverythingInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := &inbox{}
		h := whatsapp.NewWebhook(options(in))
		var mu sync.Mutex
		n := 0
		sim := simWith(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			n++
			turn := n
			mu.Unlock()
			switch {
			case turn%5 == 0:
				w.WriteHeader(http.StatusServiceUnavailable)
			case turn%7 == 0:
				h.ServeHTTP(httptest.NewRecorder(), r) // stored, but Meta does not hear of it
				w.WriteHeader(http.StatusBadGateway)
			default:
				h.ServeHTTP(w, r)
			}
		}), whatsappsim.Options{Webhooks: whatsappsim.Webhooks{Double: .3, Reorder: .3}})
		var messages []whatsappsim.Inbound
		for i := range 300 {
			messages = append(messages, whatsappsim.Inbound{From: fmt.Sprintf("346000%05d", i%50), Text: fmt.Sprint(i)})
		}
		want := sim.Receive(messages[:200]...)
		want = append(want, sim.ReceiveBatch(messages[200:]...)...)
		if err := sim.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for _, id := range in.ids() {
			got[id] = true
		}
		for _, id := range want {
			if !got[id] {
				t.Errorf("%s is missing", id)
			}
		}
		if len(got) != len(want) || len(in.ids()) <= len(want) {
			t.Errorf("%d different events of %d, want %d, some doubled", len(got), len(in.ids()), len(want))
		}
	})
}
