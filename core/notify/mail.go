package notify

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/guard"
)

// MailOptions make a Mail.
type MailOptions struct {
	// Server is host:port; port 465 speaks TLS from the beginning, others must
	// offer STARTTLS, unless Plaintext, which is for a server on this machine.
	Server    string
	Plaintext bool
	// AllowPrivate lets Server be in a private network.
	AllowPrivate bool
	User         string
	Password     core.Secret
	From         string
	// To are who gets the mail beside the person that it is assigned to.
	To []string
	// Message puts what the person wrote into the notice.
	Message bool
	// Phone puts the whole number there; else its last digits.
	Phone bool
	// Roots are who may sign certificates; nil are the machine's.
	Roots *x509.CertPool
}

// Mail is a sink that sends each notice as a mail of plain text. The Message-ID is
// made of the notice's id, so that one that is sent twice is known for the same.
//
// A storm does not become a storm of connections: one takes a batch of mails, and
// one is begun a second.
type Mail struct {
	o    MailOptions
	host string
	port int

	mu sync.Mutex
	// had are who have a notice that others still wait for, so that a retry is
	// only for those. Lost with the process, and at maxHad: then the Message-ID
	// tells the copies.
	had map[string]bool
}

var _ core.Sink = (*Mail)(nil)

// maxMails is how many mails one connection takes.
const maxMails = 20

const maxHad = 10_000

// NewMail returns a Mail.
func NewMail(o MailOptions) (*Mail, error) {
	host, port, err := net.SplitHostPort(o.Server)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	return &Mail{o: o, host: host, port: n, had: map[string]bool{}}, nil
}

// Info says how many notices are taken at once, and how often.
func (m *Mail) Info(context.Context) (core.ConnectorInfo, error) {
	return core.ConnectorInfo{Name: "email", MaxBatch: maxMails, CallsPerSecond: 1, Idempotency: core.IdempotencyUpsert}, nil
}

// Check signs in, and sends nothing.
func (m *Mail) Check(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := m.dial(ctx)
	if err != nil {
		return err
	}
	_ = client.Close()
	return nil
}

// Problem says what is wrong with the settings, without asking anybody.
func (m *Mail) Problem() error {
	return refusedAddress("mail", "server", m.host, m.o.AllowPrivate || m.o.Plaintext)
}

// Deliver implements [core.Sink].
func (m *Mail) Deliver(ctx context.Context, batch []core.Delivery) []core.Result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make([]core.Result, len(batch))
	var client *mail.Client
	var failed *core.Error // of the connection
	for i, d := range batch {
		results[i] = core.Result{ID: d.Event.ID}
		if !concerns(d.Event) {
			continue
		}
		// A mail of its own for each, so that one address that is refused does not
		// cost the others theirs.
		var sent []string
		for _, to := range m.recipients(d.Event) {
			key := d.Event.Tenant + " " + d.Event.ID + " " + to
			if m.has(key) {
				sent = append(sent, key)
				continue
			}
			msg, err := m.compose(d.Event, to)
			if err == nil && client == nil && failed == nil {
				client, failed = m.dial(ctx)
			}
			if err == nil {
				err = failed
			}
			if err == nil {
				if sendErr := client.Send(msg); sendErr != nil {
					if err = m.refused(sendErr); err.Code == core.CodeUnavailable {
						failed = err // the connection may be gone
					}
				}
			}
			if err == nil {
				sent = append(sent, key)
			} else if results[i].Err == nil || err.Code == core.CodeUnavailable {
				results[i].Err = err
			}
		}
		m.note(sent, results[i].Err != nil && results[i].Err.Code == core.CodeUnavailable)
	}
	if client != nil {
		_ = client.Close()
	}
	return results
}

// dial signs in. The end of ctx closes the connection, which the client alone would
// not do, nor after what fails.
func (m *Mail) dial(ctx context.Context) (*mail.Client, *core.Error) {
	dial := guard.Dial(m.o.AllowPrivate || m.o.Plaintext, privateHint)
	options := []mail.Option{
		mail.WithPort(m.port), mail.WithTimeout(timeout), mail.WithTLSPolicy(mail.TLSMandatory),
		mail.WithTLSConfig(&tls.Config{ServerName: m.host, RootCAs: m.o.Roots, MinVersion: tls.VersionTLS12}),
		mail.WithDialContextFunc(func(within context.Context, network, address string) (net.Conn, error) {
			c, err := dial(within, network, address)
			if err == nil {
				context.AfterFunc(ctx, func() { _ = c.Close() })
			}
			return c, err
		}),
	}
	switch {
	case m.o.Plaintext:
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	case m.port == 465:
		options = append(options, mail.WithSSL())
	}
	if m.o.User != "" {
		how := mail.SMTPAuthAutoDiscover
		if m.o.Plaintext {
			how = mail.SMTPAuthPlainNoEnc // it does not leave this machine
		}
		options = append(options, mail.WithUsername(m.o.User), mail.WithPassword(m.o.Password.Reveal()), mail.WithSMTPAuth(how))
	}
	client, err := mail.NewClient(m.host, options...)
	if err == nil {
		if err = client.DialWithContext(ctx); err == nil {
			return client, nil
		}
	}
	if refused := (*guard.Error)(nil); errors.As(err, &refused) {
		return nil, &core.Error{Code: core.CodeForbidden, Op: "mail", Message: "not connected: " + refused.Why, Hint: "look at the target's server and allow_private"}
	}
	e := m.refused(err)
	if e.Code == core.CodeInvalid {
		e.Code, e.Hint = core.CodeForbidden, "the server does not want us at all: look at the target's server, and at what it says"
	}
	e.Scope = core.ScopeLane
	return nil, e
}

// refused says what an answer of the mail server means. The reason itself is told
// without addresses.
func (m *Mail) refused(err error) *core.Error {
	e := &core.Error{Code: core.CodeUnavailable, Op: "mail", Source: core.SourceVendor, Message: m.hide(err.Error())}
	code := 0
	if answer := (*textproto.Error)(nil); errors.As(err, &answer) {
		code = answer.Code
	}
	if sending := (*mail.SendError)(nil); errors.As(err, &sending) && code == 0 {
		code = sending.ErrorCode()
	}
	if code > 0 {
		e.Vendor = strconv.Itoa(code)
	}
	switch {
	case code == 535 || code == 534 || code == 530:
		e.Code, e.Hint = core.CodeUnauthenticated, "look at the target's user and password"
	case code >= 500:
		e.Code, e.Hint = core.CodeInvalid, "look at the target's from and to, and the members' email: an address is refused; others have got the mail"
	case strings.Contains(strings.ToLower(err.Error()), "starttls"):
		e.Code, e.Hint = core.CodeForbidden, "the server offers no TLS: take port 465, or plaintext = true for one on this machine"
	}
	return e
}

func (m *Mail) hide(text string) string {
	if p := m.o.Password.Reveal(); p != "" {
		text = strings.ReplaceAll(text, p, "[secret]")
	}
	words := strings.Fields(oneLine(text, 300))
	for i, w := range words {
		if strings.Contains(w, "@") {
			words[i] = "…@…"
		}
	}
	return strings.Join(words, " ")
}

func (m *Mail) has(key string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.had[key]
}

// note remembers who have theirs while a notice is to come again, or forgets them.
func (m *Mail) note(keys []string, again bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		switch {
		case !again:
			delete(m.had, key)
		case len(m.had) < maxHad:
			m.had[key] = true
		}
	}
}

// recipients are who is to get a notice.
func (m *Mail) recipients(e *core.Event) []string {
	to := slices.Clone(m.o.To)
	if a := e.Escalation.Assignee; a != nil && a.Email != "" && !slices.Contains(to, a.Email) {
		to = append(to, a.Email)
	}
	return to
}

// compose writes the mail.
func (m *Mail) compose(e *core.Event, to string) (*mail.Msg, *core.Error) {
	msg := mail.NewMsg()
	if err := errors.Join(msg.From(m.o.From), msg.To(to)); err != nil {
		return nil, &core.Error{Code: core.CodeInvalid, Op: "mail", Message: "an address cannot be used", Hint: "look at the target's from and to, and the members' email"}
	}
	sum := sha256.Sum256([]byte(e.Tenant + " " + e.ID))
	msg.SetMessageIDWithValue(hex.EncodeToString(sum[:16]) + "@wabridge.invalid")
	msg.SetDateWithValue(e.Time)
	msg.Subject(subject(e))
	msg.SetBodyString(mail.TypeTextPlain, m.body(e))
	return msg, nil
}

func subject(e *core.Event) string {
	x := e.Escalation
	parts := []string{}
	if x.Priority == "high" {
		parts = append(parts, "[high]")
	}
	about := x.Topic
	if about == "" {
		about = x.Reason
	}
	parts = append(parts, fmt.Sprintf("%s: %s", what(e), oneLine(about, 60)))
	if x.Team != "" {
		parts = append(parts, "for "+oneLine(x.Team, 40))
	}
	if e.Kind != core.KindEscalationClosed && !x.Deadline.IsZero() {
		parts = append(parts, "by "+x.Deadline.UTC().Format("Mon 15:04 UTC"))
	}
	return strings.Join(parts, " ")
}

func (m *Mail) body(e *core.Event) string {
	x := e.Escalation
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-10s %s\n", name+":", value)
		}
	}
	who := "somebody without a name"
	if e.Contact != nil {
		if e.Contact.Name != "" {
			who = oneLine(e.Contact.Name, 80)
		}
		if p := phone(e.Contact, m.o.Phone); p != "" {
			who += " (" + p + ")"
		}
	}
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format("2006-01-02 15:04 UTC")
	}
	line("Who", who)
	line("What", what(e))
	line("Why", oneLine(x.Reason, 300))
	line("Team", oneLine(x.Team, 60))
	if a := x.Assignee; a != nil {
		line("Given to", oneLine(a.Name+" "+a.ID, 80))
	}
	line("Since", at(x.Opened))
	if e.Kind == core.KindEscalationClosed {
		line("Ended", oneLine(x.Outcome+" by "+x.By, 80))
	} else {
		line("Answer by", at(x.Deadline))
	}
	line("Note", oneLine(x.Note, 1000))
	if m.o.Message && e.Message != nil && e.Message.Text != "" {
		fmt.Fprintf(&b, "\nThey wrote:\n\n  %s\n", oneLine(e.Message.Text, 2000))
	}
	fmt.Fprintf(&b, "\nwabridge escalation show %s\n", oneLine(x.ID, 60))
	return b.String()
}
