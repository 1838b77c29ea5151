package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/guard"
)

// WebhookOptions make a Webhook.
type WebhookOptions struct {
	URL    string
	Secret core.Secret
	// AllowPrivate lets URL be in a private network.
	AllowPrivate bool
	// Message puts what the person wrote into the notice.
	Message bool
	// Phone puts the whole number there; else its last digits.
	Phone bool
	// Roots are who may sign certificates; nil are the machine's.
	Roots *x509.CertPool
}

// Webhook is a sink that POSTs each notice as JSON. The header Wabridge-Signature
// is "sha256=" and the HMAC-SHA256, in hexadecimal, of the secret over the header
// Wabridge-Timestamp (seconds since 1970), a dot and the raw body; Wabridge-Id is
// the notice's id, the same for each attempt.
type Webhook struct {
	o      WebhookOptions
	client *http.Client
}

var _ core.Sink = (*Webhook)(nil)

// NewWebhook returns a Webhook.
func NewWebhook(o WebhookOptions) *Webhook {
	return &Webhook{o: o, client: &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext: guard.Dial(o.AllowPrivate, privateHint), ForceAttemptHTTP2: true, TLSHandshakeTimeout: timeout,
			TLSClientConfig: &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Notice is the body of a webhook.
type Notice struct {
	ID     string    `json:"id"`
	Kind   core.Kind `json:"kind"`
	What   string    `json:"what"` // "opened", "moved up", "changed", "overdue", "taken", "answered" or "closed"
	Tenant string    `json:"tenant"`
	Time   time.Time `json:"time"`

	Escalation   *core.Escalation `json:"escalation"`
	Conversation string           `json:"conversation,omitempty"`
	Number       string           `json:"number,omitempty"`
	ContactID    string           `json:"contact_id,omitempty"`
	ContactName  string           `json:"contact_name,omitempty"`
	Phone        string           `json:"phone,omitempty"` // its last digits, unless the owner wants all
	// Message is what the person wrote, where the owner wants it to be told.
	Message string `json:"message,omitempty"`
}

// Deliver implements [core.Sink].
func (w *Webhook) Deliver(ctx context.Context, batch []core.Delivery) []core.Result {
	results := make([]core.Result, len(batch))
	for i, d := range batch {
		results[i] = core.Result{ID: d.Event.ID}
		if concerns(d.Event) {
			results[i].Err = w.tell(ctx, d.Event)
		}
	}
	return results
}

func (w *Webhook) tell(ctx context.Context, e *core.Event) *core.Error {
	n := Notice{
		ID: e.ID, Kind: e.Kind, What: what(e), Tenant: e.Tenant, Time: e.Time.UTC(), Escalation: e.Escalation, Conversation: e.Conversation, Number: e.Number,
	}
	if e.Contact != nil {
		n.ContactID, n.ContactName = e.Contact.ID, e.Contact.Name
		n.Phone = phone(e.Contact, w.o.Phone)
	}
	if w.o.Message && e.Message != nil {
		n.Message = e.Message.Text
	}
	body, err := json.Marshal(n)
	if err != nil {
		return core.Errorf(core.CodeInvalid, "webhook", "%w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.o.URL, bytes.NewReader(body))
	if err != nil {
		return &core.Error{Code: core.CodeForbidden, Op: "webhook", Message: "not an address to call", Hint: "look at the target's url"}
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(w.o.Secret.Reveal()))
	_, _ = mac.Write([]byte(at + "."))
	_, _ = mac.Write(body)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "wabridge")
	req.Header.Set("Wabridge-Id", e.ID)
	req.Header.Set("Wabridge-Timestamp", at)
	req.Header.Set("Wabridge-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	res, err := w.client.Do(req)
	if err != nil {
		return noAnswer(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	return judge(res)
}

// Check connects to the server, with TLS, and asks nothing.
func (w *Webhook) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	u, err := url.Parse(w.o.URL)
	if err != nil {
		return &core.Error{Code: core.CodeForbidden, Op: "webhook", Message: "not an address to call", Hint: "look at the target's url"}
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	conn, err := guard.Dial(w.o.AllowPrivate, privateHint)(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return noAnswer(err)
	}
	defer func() { _ = conn.Close() }()
	if u.Scheme != "https" {
		return nil
	}
	c := &tls.Config{ServerName: u.Hostname(), RootCAs: w.o.Roots, MinVersion: tls.VersionTLS12}
	if err := tls.Client(conn, c).HandshakeContext(ctx); err != nil {
		return noAnswer(err)
	}
	return nil
}

// Problem says what is wrong with the settings, without asking anybody.
func (w *Webhook) Problem() error {
	u, err := url.Parse(w.o.URL)
	if err != nil {
		return core.Errorf(core.CodeInvalid, "webhook", "url: not an address to call")
	}
	return refusedAddress("webhook", "url", u.Hostname(), w.o.AllowPrivate)
}

// noAnswer explains a call without an answer. Telling twice is harmless.
func noAnswer(err error) *core.Error {
	if outer, ok := errors.AsType[*url.Error](err); ok { // its text has the address, which may hold a token
		err = outer.Err
	}
	if refused := (*guard.Error)(nil); errors.As(err, &refused) {
		return &core.Error{Code: core.CodeForbidden, Op: "webhook", Message: "not connected: " + refused.Why, Hint: "look at the target's url and allow_private"}
	}
	why := "no connection"
	if timedOut := net.Error(nil); errors.As(err, &timedOut) && timedOut.Timeout() {
		why = "no answer in time"
	}
	return &core.Error{Code: core.CodeUnavailable, Op: "webhook", Message: why + ": " + oneLine(err.Error(), 200), Hint: "look at the target's url and who listens there"}
}

// judge says what an answer means.
func judge(res *http.Response) *core.Error {
	s := res.StatusCode
	if s >= 200 && s < 300 {
		return nil
	}
	e := &core.Error{Code: core.CodeInvalid, Op: "webhook", Source: core.SourceVendor, Vendor: strconv.Itoa(s), Message: fmt.Sprintf("answered %d", s)}
	switch {
	case s >= 300 && s < 400:
		e.Code, e.Hint = core.CodeForbidden, "redirects are not followed: correct the target's url"
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		e.Code, e.Hint = core.CodeForbidden, "whoever listens there does not take the signature: look at the target's secret"
	case s == http.StatusNotFound, s == http.StatusMethodNotAllowed, s == http.StatusGone:
		e.Code, e.Hint = core.CodeForbidden, "nobody listens there: look at the target's url"
	case s == http.StatusTooManyRequests:
		e.Code = core.CodeRateLimited
		if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && n > 0 {
			e.RetryAfter = min(time.Duration(n)*time.Second, time.Hour)
		}
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s >= 500:
		e.Code = core.CodeUnavailable
	}
	return e
}
