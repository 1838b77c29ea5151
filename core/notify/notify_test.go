package notify_test

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/notify"
)

const secret = "a-secret-of-enough-letters"

func complaint(id string) *core.Event {
	at := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	return &core.Event{
		ID: id, Kind: core.KindEscalation, Tenant: "shop", Number: "1", Conversation: "1:c1", Time: at,
		Contact: &core.Contact{ID: "c1", Name: "Ana", Phone: "+34600111222"},
		Message: &core.Message{Type: core.TypeText, Text: "it broke"},
		Escalation: &core.Escalation{
			ID: "e1", Topic: "complaint", Reason: "it broke", Team: "support", Priority: "high", Opened: at, Deadline: at.Add(5 * time.Minute),
			Assignee: &core.Assignee{ID: "mia", Email: "mia@shop.example"},
		},
	}
}

func deliver(t *testing.T, s core.Sink, events ...*core.Event) []core.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	batch := make([]core.Delivery, len(events))
	for i, e := range events {
		batch[i] = core.Delivery{Event: e, Attempt: 1}
	}
	results := s.Deliver(ctx, batch)
	if len(results) != len(events) {
		t.Fatalf("%d results for %d events", len(results), len(events))
	}
	for i, r := range results {
		if r.ID != events[i].ID {
			t.Errorf("result %d is of %s", i, r.ID)
		}
		if r.Err != nil && (strings.Contains(r.Err.Error(), secret) || strings.Contains(r.Err.Error(), "600111222") || strings.Contains(r.Err.Error(), "@shop")) {
			t.Errorf("the error tells too much: %v", r.Err)
		}
	}
	return results
}

func TestWebhook_TellsSignedAndWhole(t *testing.T) {
	var got notify.Notice
	var raw string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(r.Header.Get("Wabridge-Timestamp") + "." + string(body)))
		if want := "sha256=" + hex.EncodeToString(mac.Sum(nil)); r.Header.Get("Wabridge-Signature") != want {
			t.Errorf("signed %s, want %s", r.Header.Get("Wabridge-Signature"), want)
		}
		if r.Header.Get("Wabridge-Id") != "e-1" || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s with %v", r.Method, r.Header)
		}
		raw = string(body)
		if err := json.Unmarshal(body, &got); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	hook := notify.NewWebhook(notify.WebhookOptions{URL: server.URL, Secret: secret, AllowPrivate: true})
	if r := deliver(t, hook, complaint("e-1")); r[0].Err != nil {
		t.Fatal(r[0].Err)
	}
	if got.What != "opened" || got.Tenant != "shop" || got.Escalation.ID != "e1" || got.ContactName != "Ana" || got.Phone != "…22" || got.Message != "" {
		t.Errorf("told %+v", got)
	}
	if strings.Contains(raw, "600111222") {
		t.Errorf("the number is told: %s", raw)
	}
	hook = notify.NewWebhook(notify.WebhookOptions{URL: server.URL, Secret: secret, AllowPrivate: true, Message: true})
	if r := deliver(t, hook, complaint("e-1")); r[0].Err != nil || got.Message != "it broke" {
		t.Errorf("told %+v, %v", got, r[0].Err)
	}
	other := &core.Event{ID: "m", Kind: core.KindMessageReceived}
	if r := deliver(t, notify.NewWebhook(notify.WebhookOptions{URL: "http://127.0.0.1:1"}), other); r[0].Err != nil {
		t.Errorf("what is no escalation ends in %v", r[0].Err)
	}
}

func TestWebhook_KnowsWhatAnswersMean(t *testing.T) {
	for status, code := range map[int]core.Code{
		200: "", 204: "", 301: core.CodeForbidden, 307: core.CodeForbidden, 400: core.CodeInvalid, 401: core.CodeForbidden, 403: core.CodeForbidden,
		404: core.CodeForbidden, 408: core.CodeUnavailable, 410: core.CodeForbidden, 422: core.CodeInvalid, 429: core.CodeRateLimited,
		500: core.CodeUnavailable, 503: core.CodeUnavailable,
	} {
		asked := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked++
			w.Header().Set("Location", "/elsewhere")
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
		}))
		r := deliver(t, notify.NewWebhook(notify.WebhookOptions{URL: server.URL, Secret: secret, AllowPrivate: true}), complaint("e-1"))[0]
		server.Close()
		switch {
		case asked != 1:
			t.Errorf("%d: asked %d times", status, asked)
		case code == "" && r.Err != nil, code != "" && (r.Err == nil || r.Err.Code != code):
			t.Errorf("%d: %v, want %q", status, r.Err, code)
		case code == core.CodeRateLimited && r.Err.RetryAfter != 7*time.Second:
			t.Errorf("%d: waits %v", status, r.Err.RetryAfter)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer server.Close()
	hook := notify.NewWebhook(notify.WebhookOptions{URL: server.URL, Secret: secret, AllowPrivate: true})
	if r := deliver(t, hook, complaint("e-1"))[0]; r.Err == nil || r.Err.Code != core.CodeUnavailable {
		t.Errorf("a connection that breaks ends in %v", r.Err)
	}
	for _, url := range []string{server.URL, "http://169.254.169.254/latest", "http://10.0.0.1/"} {
		if r := deliver(t, notify.NewWebhook(notify.WebhookOptions{URL: url, Secret: secret}), complaint("e-1"))[0]; r.Err == nil || r.Err.Code != core.CodeForbidden {
			t.Errorf("%s: %v, want it not to be connected to", url, r.Err)
		}
	}
}

// post is a mail server that does what it is told.
type post struct {
	addr string
	// says are answers by command instead of the usual ones; "" breaks the
	// connection.
	says map[string]string

	mu    sync.Mutex
	mails []string
	conns int
}

func newPost(t *testing.T, says map[string]string) *post {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &post{addr: ln.Addr().String(), says: says}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(c) })
		}
	})
	return p
}

// got returns the mails that were taken, and over how many connections.
func (p *post) got() ([]string, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.mails), p.conns
}

func (p *post) serve(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	p.mu.Lock()
	p.conns++
	p.mu.Unlock()
	r := bufio.NewReader(c)
	fmt.Fprint(c, "220 post\r\n")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		verb := strings.ToUpper(strings.SplitN(strings.TrimSpace(line), " ", 2)[0])
		answer, told := p.says[verb]
		for command, says := range p.says { // "RCPT mia@" is for what holds both
			if word, part, ok := strings.Cut(command, " "); ok && word == verb && strings.Contains(line, part) {
				answer, told = says, true
			}
		}
		if !told {
			answer = map[string]string{
				"EHLO": "250-post\r\n250 AUTH PLAIN", "HELO": "250 post", "AUTH": "235 ok", "DATA": "354 go on", "QUIT": "221 bye",
			}[verb]
			if answer == "" {
				answer = "250 ok"
			}
		}
		if answer == "" {
			return
		}
		fmt.Fprint(c, answer+"\r\n")
		if verb == "DATA" && strings.HasPrefix(answer, "354") {
			var b strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				b.WriteString(line)
			}
			p.mu.Lock()
			p.mails = append(p.mails, b.String())
			p.mu.Unlock()
			end := p.says["."]
			if end == "" {
				end = "250 taken"
			}
			fmt.Fprint(c, end+"\r\n")
		}
		if verb == "QUIT" {
			return
		}
	}
}

func (p *post) mailbox(t *testing.T, change func(*notify.MailOptions)) *notify.Mail {
	t.Helper()
	o := notify.MailOptions{Server: p.addr, Plaintext: true, From: "bridge@shop.example", To: []string{"team@shop.example"}}
	if change != nil {
		change(&o)
	}
	m, err := notify.NewMail(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMail_TellsWhatAPersonNeeds(t *testing.T) {
	p := newPost(t, nil)
	m := p.mailbox(t, func(o *notify.MailOptions) { o.User, o.Password = "bridge", secret })
	second := complaint("e-2")
	second.Kind, second.Escalation.Outcome, second.Escalation.By = core.KindEscalationClosed, "closed", "mia"
	for _, r := range deliver(t, m, complaint("e-1"), second) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	mails, conns := p.got()
	if len(mails) != 4 || conns != 1 {
		t.Fatalf("%d mails over %d connections, want four, two for each of them, over one", len(mails), conns)
	}
	got, err := mail.ReadMessage(strings.NewReader(mails[0]))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(quotedprintable.NewReader(got.Body))
	if s := got.Header.Get("Subject"); s != "[high] opened: complaint for support by Fri 09:05 UTC" {
		t.Errorf("subject %q", s)
	}
	if to := got.Header.Get("To"); !strings.Contains(to, "team@shop.example") || !strings.Contains(mails[1], "To: <mia@shop.example>") {
		t.Errorf("to %q, then\n%s", to, mails[1])
	}
	for _, want := range []string{"Ana (…22)", "it broke", "wabridge escalation show e1", "2026-11-27 09:05 UTC"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("the mail lacks %q:\n%s", want, body)
		}
	}
	if strings.Contains(mails[0], "600111222") || strings.Contains(string(body), "They wrote") {
		t.Errorf("the mail tells too much:\n%s", mails[0])
	}
	if !strings.Contains(mails[2], "closed: complaint") {
		t.Errorf("the end is told as\n%s", mails[2])
	}
	id := got.Header.Get("Message-Id")
	deliver(t, m, complaint("e-1"))
	mails, _ = p.got()
	again, err := mail.ReadMessage(strings.NewReader(mails[4]))
	if err != nil || id == "" || again.Header.Get("Message-Id") != id {
		t.Errorf("sent again it is %q, was %q: %v", again.Header.Get("Message-Id"), id, err)
	}
}

func TestMail_LetsNobodyWriteHeaders(t *testing.T) {
	p := newPost(t, nil)
	e := complaint("e-1")
	evil := "x\r\nBcc: everybody@evil.example\r\n\r\n.\r\nMAIL FROM:<a@b>\u202e"
	e.Contact.Name, e.Escalation.Topic, e.Escalation.Reason, e.Escalation.Team, e.Escalation.Note = evil, evil, evil, evil, strings.Repeat("long ", 10_000)
	e.Message.Text = evil
	if r := deliver(t, p.mailbox(t, func(o *notify.MailOptions) { o.Message = true }), e); r[0].Err != nil {
		t.Fatal(r[0].Err)
	}
	mails, _ := p.got()
	if len(mails) != 2 || len(mails[0]) > 16<<10 {
		t.Fatalf("%d mails: %.200q", len(mails), mails)
	}
	got, err := mail.ReadMessage(strings.NewReader(mails[0]))
	if err != nil || got.Header.Get("Bcc") != "" || len(got.Header["Subject"]) != 1 || strings.Contains(mails[0], "\u202e") {
		t.Errorf("%v %v", got.Header, err)
	}
	none := complaint("e-2")
	none.Escalation.Assignee = nil
	if r := deliver(t, p.mailbox(t, func(o *notify.MailOptions) { o.To = nil }), none); r[0].Err != nil {
		t.Errorf("a notice to nobody ends in %v", r[0].Err)
	}
}

func TestMail_KnowsWhatAnswersMean(t *testing.T) {
	for name, c := range map[string]struct {
		says map[string]string
		code core.Code
	}{
		"wrong password":    {map[string]string{"AUTH": "535 5.7.8 no"}, core.CodeUnauthenticated},
		"greylisted":        {map[string]string{"RCPT": "451 4.7.1 later"}, core.CodeUnavailable},
		"no such mailbox":   {map[string]string{"RCPT": "550 5.1.1 <team@shop.example> unknown"}, core.CodeInvalid},
		"refused at last":   {map[string]string{".": "554 5.7.1 spam"}, core.CodeInvalid},
		"full at last":      {map[string]string{".": "452 4.3.1 full"}, core.CodeUnavailable},
		"hangs up":          {map[string]string{"MAIL": ""}, core.CodeUnavailable},
		"hangs up at hello": {map[string]string{"EHLO": "", "HELO": ""}, core.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPost(t, c.says)
			m := p.mailbox(t, func(o *notify.MailOptions) { o.User, o.Password = "bridge", secret })
			r := deliver(t, m, complaint("e-1"))[0]
			if r.Err == nil || r.Err.Code != c.code {
				t.Errorf("got %+v, want %s", r.Err, c.code)
			}
		})
	}
	p := newPost(t, nil)
	open := p.mailbox(t, func(o *notify.MailOptions) { o.Plaintext, o.AllowPrivate = false, true })
	if r := deliver(t, open, complaint("e-1"))[0]; r.Err == nil || r.Err.Code != core.CodeForbidden {
		t.Errorf("without TLS it ends in %v", r.Err)
	}
	guarded := p.mailbox(t, func(o *notify.MailOptions) { o.Plaintext = false })
	if r := deliver(t, guarded, complaint("e-1"))[0]; r.Err == nil || r.Err.Code != core.CodeForbidden {
		t.Errorf("a private server ends in %v", r.Err)
	}
	if mails, conns := p.got(); len(mails) > 0 || conns != 1 {
		t.Errorf("%d mails over %d connections: want none, and one that was given up", len(mails), conns)
	}
}

func TestMail_OneWrongAddressCostsNobodyElseTheirs(t *testing.T) {
	p := newPost(t, map[string]string{"RCPT mia@": "550 5.1.1 unknown"})
	r := deliver(t, p.mailbox(t, nil), complaint("e-1"))[0]
	mails, _ := p.got()
	if r.Err == nil || r.Err.Code != core.CodeInvalid || len(mails) != 1 || !strings.Contains(mails[0], "team@shop.example") {
		t.Errorf("%v after %d mails: want the team's to be sent, and the address that is refused to be told", r.Err, len(mails))
	}
	p = newPost(t, map[string]string{"RCPT mia@": "451 4.7.1 later"})
	m := p.mailbox(t, nil)
	for range 3 {
		if r := deliver(t, m, complaint("e-1"))[0]; r.Err == nil || r.Err.Code != core.CodeUnavailable {
			t.Errorf("an address that is to be tried later: %v", r.Err)
		}
	}
	if mails, _ := p.got(); len(mails) != 1 {
		t.Errorf("%d mails while one address is tried again, want the team's, once", len(mails))
	}
	p = newPost(t, map[string]string{"EHLO": "554 5.7.1 go away", "HELO": "554 5.7.1 go away"})
	if r := deliver(t, p.mailbox(t, nil), complaint("e-1"))[0]; r.Err == nil || r.Err.Code != core.CodeForbidden || r.Err.Holds() != core.ScopeLane {
		t.Errorf("a server that does not want us ends in %+v, want the lane to pause", r.Err)
	}
}

func TestNotice_SaysWhatHappened(t *testing.T) {
	var got notify.Notice
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _ = json.NewDecoder(r.Body).Decode(&got) }))
	defer server.Close()
	hook := notify.NewWebhook(notify.WebhookOptions{URL: server.URL, Secret: secret, AllowPrivate: true})
	for want, change := range map[string]func(*core.Event){
		"opened": func(*core.Event) {}, "moved up": func(e *core.Event) { e.Kind, e.Escalation.Level = core.KindEscalationMoved, 1 },
		"taken": func(e *core.Event) {
			e.Kind, e.Escalation.Level, e.Escalation.Overdue, e.Escalation.Taken = core.KindEscalationMoved, 1, true, e.Time
		},
		"answered": func(e *core.Event) {
			e.Kind, e.Escalation.Taken, e.Escalation.Answered = core.KindEscalationMoved, e.Time, e.Time
		},
		"overdue": func(e *core.Event) {
			e.Kind, e.Escalation.Level, e.Escalation.Overdue = core.KindEscalationMoved, 1, true
		},
		"changed": func(e *core.Event) { e.Kind = core.KindEscalationMoved },
		"closed":  func(e *core.Event) { e.Kind, e.Escalation.By = core.KindEscalationClosed, "mia" },
	} {
		e := complaint("e-1")
		change(e)
		if r := deliver(t, hook, e)[0]; r.Err != nil || got.What != want {
			t.Errorf("told %q, %v, want %q", got.What, r.Err, want)
		}
	}
}
