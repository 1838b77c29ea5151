package hook

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

// secret is the one of the specification's example.
const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// server is an endpoint that checks what Standard Webhooks says that it should.
type server struct {
	*httptest.Server
	answer func(w http.ResponseWriter, m Message)

	mu  sync.Mutex
	ids []string
	got []Message
}

func newServer(t *testing.T, answer func(http.ResponseWriter, Message)) *server {
	s := &server{answer: answer}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		id, at := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
		n, perr := strconv.ParseInt(at, 10, 64)
		if err != nil || perr != nil || time.Since(time.Unix(n, 0)).Abs() > 5*time.Minute || id == "" || strings.Contains(id, ".") {
			t.Errorf("id %q at %q: %v %v", id, at, err, perr)
		}
		if want := sign([]Secret{{Secret: secret}}, time.Now(), id, at, body); !slices.Contains(strings.Fields(r.Header.Get("webhook-signature")), want) {
			t.Errorf("the signatures are %q, want %q among them", r.Header.Get("webhook-signature"), want)
		}
		var m Message
		if err := json.Unmarshal(body, &m); err != nil || m.Version != 1 || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %q: %v", r.Method, body, err)
		}
		s.mu.Lock()
		s.ids, s.got = append(s.ids, id), append(s.got, m)
		s.mu.Unlock()
		if s.answer != nil {
			s.answer(w, m)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) sink(t *testing.T, change func(*Options)) *Sink {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	o := Options{URL: s.URL + "/hooks?key=very-private", Secrets: []Secret{{Secret: secret}}, AllowPrivate: true, Roots: roots}
	if change != nil {
		change(&o)
	}
	sink, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sink.Close)
	return sink
}

func delivery(id string) core.Delivery {
	e := &core.Event{ID: id, Kind: core.KindMessageReceived, Tenant: "acme", Time: time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)}
	data, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return core.Delivery{Event: e, Data: data, Attempt: 1}
}

func TestSign_IsWhatTheReferenceImplementationSigns(t *testing.T) {
	// Made with github.com/standard-webhooks/standard-webhooks/libraries v0.0.1.
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	now := time.Unix(1614265330, 0)
	got := sign([]Secret{{Secret: secret}, {Secret: "whsec_b2xk", Until: now}}, now, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if got != want {
		t.Errorf("signed %q, want %q: the old secret is over", got, want)
	}
	both := sign([]Secret{{Secret: "whsec_bmV3"}, {Secret: secret, Until: now.Add(time.Nanosecond)}}, now, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if signatures := strings.Split(both, " "); len(signatures) != 2 || signatures[1] != want {
		t.Errorf("while the secret changes it signs %q", both)
	}
}

func TestSink_TellsOfOneEventAtATimeByTheSameID(t *testing.T) {
	s := newServer(t, nil)
	sink := s.sink(t, nil)
	for range 2 {
		for _, r := range sink.Deliver(t.Context(), []core.Delivery{delivery("wamid.A=="), delivery("wamid.B==")}) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
	if len(s.ids) != 4 || s.ids[0] != s.ids[2] || s.ids[1] != s.ids[3] || s.ids[0] == s.ids[1] {
		t.Errorf("ids: %q", s.ids)
	}
	var e core.Event
	if m := s.got[0]; json.Unmarshal(m.Data, &e) != nil || m.Type != "message.received" || e.ID != "wamid.A==" || !m.Timestamp.Equal(e.Time) {
		t.Errorf("told %+v", s.got[0])
	}
}

func TestSink_TellsOfManyAndOfEachAloneWhenTheyAreRefusedTogether(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, m Message) {
		if strings.Contains(string(m.Data), `"bad"`) {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
	})
	results := s.sink(t, func(o *Options) { o.Batch = true }).Deliver(t.Context(), []core.Delivery{delivery("a"), delivery("bad"), delivery("c")})
	for i, code := range []core.Code{"", core.CodeInvalid, ""} {
		if err := results[i].Err; err == nil && code != "" || err != nil && err.Code != code {
			t.Errorf("%s: %v", results[i].ID, err)
		}
	}
	var list []core.Event
	if m := s.got[0]; m.Type != TypeBatch || json.Unmarshal(m.Data, &list) != nil || len(list) != 3 || len(s.got) != 4 {
		t.Errorf("told %d times, at first %s", len(s.got), s.got[0].Data)
	}
}

func TestSink_BoundsWhatItSends(t *testing.T) {
	s := newServer(t, nil)
	large := func(id string, n int) core.Delivery {
		d := delivery(id)
		d.Data = fmt.Appendf(nil, `{"id":%q,"raw":%q}`, id, strings.Repeat("x", n))
		return d
	}
	results := s.sink(t, func(o *Options) { o.Batch = true }).Deliver(t.Context(), []core.Delivery{
		large("a", maxBody/3), large("b", maxBody/3), large("c", maxBody/3), large("d", maxBody+1),
	})
	if len(s.got) != 2 {
		t.Errorf("told %d times of what fits into two", len(s.got))
	}
	for i, r := range results {
		if bad := r.Err != nil; bad != (i == 3) {
			t.Errorf("%s: %v", r.ID, r.Err)
		}
	}
}

func TestSink_SaysWhatAnAnswerMeans(t *testing.T) {
	for _, tc := range []struct {
		status int
		retry  string
		code   core.Code
		wait   time.Duration
		holds  core.Scope
	}{
		{200, "", "", 0, ""}, {204, "", "", 0, ""},
		{302, "", core.CodeForbidden, 0, core.ScopeLane}, {401, "", core.CodeForbidden, 0, core.ScopeLane}, {404, "", core.CodeForbidden, 0, core.ScopeLane},
		{410, "", core.CodeForbidden, 0, core.ScopeLane}, {400, "", core.CodeInvalid, 0, core.ScopeEvent}, {422, "", core.CodeInvalid, 0, core.ScopeEvent},
		{429, "7", core.CodeRateLimited, 7 * time.Second, core.ScopeLane}, {429, "99999", core.CodeRateLimited, time.Hour, core.ScopeLane},
		{503, "3", core.CodeUnavailable, 3 * time.Second, core.ScopeLane}, {500, "", core.CodeUnavailable, 0, core.ScopeEvent}, {408, "", core.CodeUnavailable, 0, core.ScopeEvent},
	} {
		s := newServer(t, func(w http.ResponseWriter, _ Message) {
			w.Header().Set("Retry-After", tc.retry)
			if tc.status == 302 {
				w.Header().Set("Location", "/elsewhere")
			}
			w.WriteHeader(tc.status)
		})
		err := s.sink(t, nil).Deliver(t.Context(), []core.Delivery{delivery("a")})[0].Err
		switch {
		case tc.code == "" && err == nil:
		case err == nil, err.Code != tc.code, err.RetryAfter != tc.wait, err.Holds() != tc.holds, err.Vendor != strconv.Itoa(tc.status):
			t.Errorf("%d: %+v", tc.status, err)
		}
		if len(s.ids) != 1 {
			t.Errorf("%d: called %d times", tc.status, len(s.ids))
		}
	}
}

func TestSink_StopsWhenTheEndpointIsTheTrouble(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, _ Message) { w.WriteHeader(http.StatusTooManyRequests) })
	results := s.sink(t, nil).Deliver(t.Context(), []core.Delivery{delivery("a"), delivery("b"), delivery("c")})
	if len(s.ids) != 1 || results[2].Err == nil || results[2].Err.Code != core.CodeRateLimited {
		t.Errorf("called %d times: %+v", len(s.ids), results)
	}
}

func TestSink_GoesNowhereThatItMustNot(t *testing.T) {
	for url, want := range map[string]string{
		"": "bytes", "nonsense": "address", "http://hooks.example.com/": "https", "ftp://hooks.example.com/": "https", "https://a:b@hooks.example.com/": "user",
		"https://hooks.example.com/#x": "#", "https://127.0.0.1/": "private", "https://[::1]/": "private", "https://169.254.169.254/latest": "never",
		"https://10.0.0.8/": "private", "https://" + strings.Repeat("x", maxURL): "bytes",
	} {
		if _, err := New(Options{URL: url}); core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v", url, err)
		}
	}
	if _, err := New(Options{URL: "https://169.254.169.254/latest", AllowPrivate: true}); err == nil {
		t.Error("where clouds keep their credentials is allowed")
	}
	// A name is looked at when it is connected to.
	s := newServer(t, nil)
	named := strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	sink := s.sink(t, func(o *Options) { o.URL, o.AllowPrivate = named, false })
	err := sink.Deliver(t.Context(), []core.Delivery{delivery("a")})[0].Err
	if err == nil || err.Code != core.CodeForbidden || !strings.Contains(err.Message, "private") || len(s.ids) != 0 {
		t.Errorf("a name that leads home: %v", err)
	}
}

func TestSink_TellsNobodyItsAddress(t *testing.T) {
	s := newServer(t, nil)
	sink := s.sink(t, nil)
	if status, err := sink.Test(t.Context(), "sub-1"); status != http.StatusOK || err != nil {
		t.Errorf("tested: %d %v", status, err)
	}
	if m := s.got[0]; m.Type != TypeTest || string(m.Data) != `{"subscription":"sub-1"}` {
		t.Errorf("told %+v", m)
	}
	s.Close()
	status, err := sink.Test(t.Context(), "sub-1")
	if core.CodeOf(err) != core.CodeUnavailable || status != 0 || strings.Contains(err.Error(), "very-private") {
		t.Errorf("%d, %v", status, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sink.Test(ctx, "sub-1"); err == nil || strings.Contains(err.Error(), "very-private") {
		t.Error(err)
	}
}
