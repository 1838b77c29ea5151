package notify_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/notify"
)

// mailServer is a mail server that answers as it is told to.
type mailServer struct {
	t     *testing.T
	l     net.Listener
	tls   *tls.Config
	roots *x509.CertPool

	mu    sync.Mutex
	say   map[string][]string // answers by the beginning of a command, the next first
	auth  string
	mails []string
	lines []string
}

func newMailServer(t *testing.T) *mailServer {
	t.Helper()
	certified := httptest.NewTLSServer(nil)
	certified.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &mailServer{t: t, l: l, roots: x509.NewCertPool(), say: map[string][]string{}, auth: "PLAIN LOGIN"}
	s.tls = &tls.Config{Certificates: certified.TLS.Certificates, MinVersion: tls.VersionTLS12}
	s.roots.AddCert(certified.Certificate())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return s
}

// answer returns what to say to a command: "drop" hangs up, "hang" says nothing.
func (s *mailServer) answer(command, usual string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, command)
	for prefix, answers := range s.say {
		if strings.HasPrefix(command, prefix) && len(answers) > 0 {
			s.say[prefix] = answers[1:]
			if answers[0] != "" {
				return answers[0]
			}
		}
	}
	return usual
}

func (s *mailServer) serve(raw net.Conn) {
	conn := raw
	defer func() { _ = raw.Close() }()
	p := textproto.NewConn(conn)
	secure := false
	reply := func(text string) bool {
		switch text {
		case "drop":
			return false
		case "hang":
			_, _ = io.Copy(io.Discard, conn)
			return false
		}
		return p.PrintfLine("%s", text) == nil
	}
	if !reply(s.answer("GREET", "220 mail.test")) {
		return
	}
	for {
		command, err := p.ReadLine()
		if err != nil {
			return
		}
		usual := "250 fine"
		verb, _, _ := strings.Cut(command, " ")
		switch verb {
		case "EHLO":
			usual = "250-mail.test\r\n250 AUTH " + s.auth
			if !secure {
				usual = "250-mail.test\r\n250 STARTTLS"
			}
		case "STARTTLS":
			usual = "220 go on"
		case "AUTH":
			usual = "235 welcome"
			if strings.HasPrefix(command, "AUTH LOGIN") {
				usual = "334 " + base64.StdEncoding.EncodeToString([]byte("Username:"))
			}
		case "DATA":
			usual = "354 go on"
		case "QUIT":
			usual = "221 bye"
		case base64.StdEncoding.EncodeToString([]byte("bridge")):
			usual = "334 " + base64.StdEncoding.EncodeToString([]byte("Password:"))
		case base64.StdEncoding.EncodeToString([]byte(secret)):
			usual = "235 welcome"
		}
		said := s.answer(command, usual)
		if !reply(said) {
			return
		}
		switch {
		case verb == "STARTTLS" && said == "220 go on":
			conn = tls.Server(raw, s.tls)
			p, secure = textproto.NewConn(conn), true
		case verb == "DATA" && strings.HasPrefix(said, "354"):
			text, err := io.ReadAll(p.DotReader())
			if err != nil {
				return
			}
			said := s.answer("END", "250 taken")
			if strings.HasPrefix(said, "250") {
				s.mu.Lock()
				s.mails = append(s.mails, string(text))
				s.mu.Unlock()
			}
			if !reply(said) {
				return
			}
		}
	}
}

// seen returns what was said to the server, and how many mails it took.
func (s *mailServer) seen() ([]string, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines), len(s.mails)
}

// answers sets the next answers to a command.
func (s *mailServer) answers(command string, with ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.say[command] = with
}

func (s *mailServer) sink(change func(*notify.MailOptions)) *notify.Mail {
	o := notify.MailOptions{
		Server: s.l.Addr().String(), User: "bridge", Password: secret, From: "bridge@example.com",
		To: []string{"desk@example.com"}, AllowPrivate: true, Roots: s.roots,
	}
	if change != nil {
		change(&o)
	}
	m, err := notify.NewMail(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

func TestMail_GoesProtectedOrNotAtAll(t *testing.T) {
	for _, auth := range []string{"PLAIN", "LOGIN"} {
		s := newMailServer(t)
		s.auth = auth
		if r := deliver(t, s.sink(nil), complaint("e-1"))[0]; r.Err != nil {
			t.Errorf("with %s: %v", auth, r.Err)
		}
		if lines, mails := s.seen(); mails != 2 || !slices.Contains(lines, "STARTTLS") {
			t.Errorf("%d mails arrived, after %q", mails, lines)
		}
	}
	s := newMailServer(t)
	if r := deliver(t, s.sink(func(o *notify.MailOptions) { o.Roots = nil }), complaint("e-1"))[0]; core.CodeOf(r.Err) != core.CodeUnavailable {
		t.Errorf("a certificate that nobody signed: %v", r.Err)
	}
	if lines, _ := s.seen(); slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "AUTH") || strings.HasPrefix(l, "MAIL") }) {
		t.Errorf("said without TLS: %q", lines)
	}
}

func TestMail_GetsThereWhenTheServerSaysLater(t *testing.T) {
	for name, say := range map[string]map[string][]string{
		"greylisted": {"RCPT": {"451 4.7.1 later"}}, "busy": {"GREET": {"421 busy"}}, "sign in later": {"AUTH": {"454 later"}},
		"dropped": {"MAIL": {"drop"}}, "dropped while signing in": {"AUTH": {"drop"}}, "full": {"END": {"452 full"}},
	} {
		s := newMailServer(t)
		for command, with := range say {
			s.answers(command, with...)
		}
		m := s.sink(nil)
		if r := deliver(t, m, complaint("e-1"))[0]; core.CodeOf(r.Err) != core.CodeUnavailable {
			t.Errorf("%s: %v, want unavailable", name, r.Err)
		}
		r := deliver(t, m, complaint("e-1"))[0]
		if _, mails := s.seen(); r.Err != nil || mails != 2 {
			t.Errorf("%s, again: %v, %d mails", name, r.Err, mails)
		}
	}
}

func TestMail_WaitsNoLongerThanItMay(t *testing.T) {
	for _, where := range []string{"GREET", "STARTTLS", "AUTH", "RCPT", "END"} {
		s := newMailServer(t)
		s.answers(where, "hang")
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		began := time.Now()
		r := s.sink(nil).Deliver(ctx, []core.Delivery{{Event: complaint("e-1")}})[0]
		cancel()
		if took := time.Since(began); took > 3*time.Second || core.CodeOf(r.Err) != core.CodeUnavailable {
			t.Errorf("%s: %v after %s", where, r.Err, took)
		}
	}
}

func TestTargets_AreCheckedWithoutSending(t *testing.T) {
	s := newMailServer(t)
	if err := s.sink(nil).Check(t.Context()); err != nil {
		t.Error(err)
	}
	s.answers("AUTH", "535 no")
	if err := s.sink(nil).Check(t.Context()); core.CodeOf(err) != core.CodeUnauthenticated {
		t.Errorf("a wrong password: %v", err)
	}
	if lines, _ := s.seen(); slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "MAIL") }) {
		t.Errorf("said %q", lines)
	}
	if err := s.sink(func(o *notify.MailOptions) { o.AllowPrivate = false }).Problem(); core.CodeOf(err) != core.CodeInvalid {
		t.Errorf("a private server: %v", err)
	}

	asked := make(chan struct{}, 10)
	h := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{} }))
	defer h.Close()
	roots := x509.NewCertPool()
	roots.AddCert(h.Certificate())
	o := notify.WebhookOptions{URL: h.URL, Secret: secret, AllowPrivate: true, Roots: roots}
	w := notify.NewWebhook(o)
	if err := w.Check(t.Context()); err != nil || w.Problem() != nil || len(asked) > 0 {
		t.Errorf("check %v, problem %v, asked %d times", err, w.Problem(), len(asked))
	}
	if r := deliver(t, w, complaint("e-1"))[0]; r.Err != nil || len(asked) != 1 {
		t.Errorf("by TLS: %v, asked %d times", r.Err, len(asked))
	}
	o.Roots = nil
	if err := notify.NewWebhook(o).Check(t.Context()); core.CodeOf(err) != core.CodeUnavailable {
		t.Errorf("a certificate that nobody signed: %v", err)
	}
	o.AllowPrivate = false
	if err := notify.NewWebhook(o).Check(t.Context()); core.CodeOf(err) != core.CodeForbidden {
		t.Errorf("a private address: %v", err)
	}
	if err := notify.NewWebhook(o).Problem(); core.CodeOf(err) != core.CodeInvalid {
		t.Errorf("a private address: %v", err)
	}
}
