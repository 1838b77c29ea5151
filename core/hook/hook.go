// Package hook tells an HTTP endpoint of events, as Standard Webhooks
// (https://www.standardwebhooks.com) prescribes it: a JSON body and the headers
// webhook-id, webhook-timestamp and webhook-signature. It is the sink behind a
// subscription's lane, so that attempts, pauses and dead letters are as
// everywhere else.
package hook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/guard"
)

const (
	timeout = 15 * time.Second // of one call
	maxURL  = 2048
	// maxBody bounds what is sent in one call, maxAnswer what is read of an answer.
	maxBody   = 1 << 20
	maxAnswer = 64 << 10
	maxWait   = time.Hour // that an endpoint may ask for

	privateHint = "set subscriptions.allow_private = true if endpoints of one's own network are meant"
)

// Options make a Sink.
type Options struct {
	URL string
	// Secrets sign each call: see [Secret].
	Secrets []Secret
	// Batch says that a call tells of several events.
	Batch bool
	// AllowPrivate lets URL be plain http, and in a private network.
	AllowPrivate bool
	// Roots are who may sign certificates; nil are the machine's.
	Roots *x509.CertPool
}

// Sink delivers events to one endpoint. What it delivers twice has the same
// webhook-id.
type Sink struct {
	o      Options
	client *http.Client
}

var _ core.Sink = (*Sink)(nil)

// New returns a Sink, or says what is wrong with the URL. What a name leads to is
// seen only when it is connected to.
func New(o Options) (*Sink, error) {
	if err := checkURL(o.URL, o.AllowPrivate); err != nil {
		return nil, err
	}
	return &Sink{o: o, client: &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext: guard.Dial(o.AllowPrivate, privateHint), ForceAttemptHTTP2: true, TLSHandshakeTimeout: timeout,
			TLSClientConfig: &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute,
			MaxResponseHeaderBytes: maxAnswer,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close closes the connections that are not in use.
func (s *Sink) Close() { s.client.CloseIdleConnections() }

// checkURL says what is wrong with an address. It is not repeated: it may hold a
// token.
func checkURL(text string, private bool) error {
	wrong := func(format string, args ...any) error {
		return core.Errorf(core.CodeInvalid, "subscription", "url: "+format, args...)
	}
	u, err := url.Parse(text)
	switch {
	case text == "" || len(text) > maxURL:
		return wrong("want 1 to %d bytes", maxURL)
	case err != nil || u.Host == "" || u.Opaque != "":
		return wrong("not an address like https://hooks.example.com/whatsapp")
	case u.User != nil:
		return wrong("a user or password does not belong there: calls are signed")
	case u.Fragment != "":
		return wrong("what follows # is never sent: leave it out")
	case u.Scheme == "http" && !private:
		return wrong("want https: people's messages would cross the network for all to read (for one's own network %s)", privateHint)
	case u.Scheme != "https" && u.Scheme != "http":
		return wrong("want https")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		if why := guard.Refusal(ip, private, privateHint); why != "" {
			return wrong("%s", why)
		}
	}
	return nil
}

// Deliver implements [core.Sink]. Where an endpoint refuses several events
// together, it is told of each alone, so that the one it cannot take does not
// stop the others.
func (s *Sink) Deliver(ctx context.Context, batch []core.Delivery) []core.Result {
	results := make([]core.Result, len(batch))
	for i, d := range batch {
		results[i].ID = d.Event.ID
	}
	for from := 0; from < len(batch); {
		to := s.next(batch, from)
		err := s.tell(ctx, batch[from:to])
		for i := from; i < to; i++ {
			if results[i].Err = err; err != nil && err.Code == core.CodeInvalid && to-from > 1 {
				results[i].Err = s.tell(ctx, batch[i:i+1])
			}
		}
		if from = to; err != nil && err.Holds() == core.ScopeLane {
			for i := from; i < len(batch); i++ {
				results[i].Err = err // the rest would fare no better
			}
			break
		}
	}
	return results
}

// next returns the end of the part of a batch, from an event on, that goes into
// one call.
func (s *Sink) next(batch []core.Delivery, from int) int {
	size := len(batch[from].Data)
	to := from + 1
	for s.o.Batch && to < len(batch) && size+len(batch[to].Data) < maxBody-envelope {
		size += len(batch[to].Data) + 1
		to++
	}
	return to
}

func (s *Sink) tell(ctx context.Context, part []core.Delivery) *core.Error {
	id, body, err := message(part, s.o.Batch)
	if err != nil {
		return core.Errorf(core.CodeInvalid, "subscription", "the event cannot be read any more: %w", err)
	}
	if len(body) > maxBody {
		return core.Errorf(core.CodeInvalid, "subscription", "the event has %d bytes, more than the %d that are told", len(body), maxBody)
	}
	_, failed := s.post(ctx, id, body)
	return failed
}

// Test makes one call that tells of nothing, and returns the status that the
// endpoint answered, 0 when it did not.
func (s *Sink) Test(ctx context.Context, subscription string) (int, error) {
	id, body, err := testMessage(subscription, time.Now().UTC())
	if err != nil {
		return 0, err
	}
	status, failed := s.post(ctx, id, body)
	if failed != nil {
		return status, failed
	}
	return status, nil
}

// post makes one call.
func (s *Sink) post(ctx context.Context, id string, body []byte) (int, *core.Error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.o.URL, bytes.NewReader(body))
	if err != nil {
		return 0, core.Errorf(core.CodeForbidden, "subscription", "url: not an address to call")
	}
	now := time.Now()
	at := strconv.FormatInt(now.Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "wabridge")
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", at)
	req.Header.Set("Webhook-Signature", sign(s.o.Secrets, now, id, at, body))
	res, err := s.client.Do(req)
	if err != nil {
		return 0, noAnswer(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer)) // so that the connection can be used again
	return res.StatusCode, judge(res)
}

// noAnswer explains a call without an answer. Telling twice is harmless.
func noAnswer(err error) *core.Error {
	if outer, ok := errors.AsType[*url.Error](err); ok { // its text has the address, which may hold a token
		err = outer.Err
	}
	if refused := (*guard.Error)(nil); errors.As(err, &refused) {
		return &core.Error{Code: core.CodeForbidden, Op: "subscription", Message: "not connected: " + refused.Why, Hint: "correct the subscription's url"}
	}
	why := "no connection"
	if late := net.Error(nil); errors.As(err, &late) && late.Timeout() {
		why = "no answer in time"
	}
	text := strings.ToValidUTF8(err.Error(), "\uFFFD")
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return &core.Error{Code: core.CodeUnavailable, Op: "subscription", Message: why + ": " + text, Hint: "look at the subscription's url and who listens there"}
}

// judge says what an answer means.
func judge(res *http.Response) *core.Error {
	s := res.StatusCode
	if s >= 200 && s < 300 {
		return nil
	}
	e := &core.Error{
		Code: core.CodeInvalid, Op: "subscription", Source: core.SourceVendor, Vendor: strconv.Itoa(s), Message: fmt.Sprintf("the endpoint answered %d", s),
		RetryAfter: retryAfter(res.Header.Get("Retry-After"), time.Now()),
	}
	switch {
	case s >= 300 && s < 400:
		e.Code, e.Hint = core.CodeForbidden, "redirects are not followed: correct the subscription's url"
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		e.Code, e.Hint = core.CodeForbidden, "the endpoint does not take the signature: rotate the subscription's secret"
	case s == http.StatusGone:
		e.Code, e.Hint = core.CodeForbidden, "the endpoint wants no more: the subscription has ended"
	case s == http.StatusNotFound, s == http.StatusMethodNotAllowed:
		e.Code, e.Hint = core.CodeForbidden, "nobody listens there: correct the subscription's url"
	case s == http.StatusTooManyRequests:
		e.Code = core.CodeRateLimited
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s >= 500:
		if e.Code = core.CodeUnavailable; e.RetryAfter > 0 {
			e.Scope = core.ScopeLane
		}
	}
	return e
}

// retryAfter reads how long an endpoint asks to wait: seconds, or a date.
func retryAfter(text string, now time.Time) time.Duration {
	var wait time.Duration
	if n, err := strconv.ParseInt(text, 10, 32); err == nil {
		wait = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxWait)
}
