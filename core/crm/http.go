package crm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
)

// MaxAnswer bounds an answer's body, unpacked.
const MaxAnswer = 16 << 20

// Dialer connects to a server, in the form of [net.Dialer.DialContext].
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// NewClient returns a client that all accounts share; a nil dial is a plain one. It
// follows no redirects: they would carry the token to wherever an answer points.
func NewClient(dial Dialer) *http.Client {
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dial,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    10 * time.Second,
			MaxIdleConns:           256,
			MaxIdleConnsPerHost:    64,
			MaxConnsPerHost:        128,
			IdleConnTimeout:        60 * time.Second,
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Caller makes calls to one account's server.
type Caller struct {
	Client  *http.Client
	Timeout time.Duration // of each call, answer included
	Setting string        // the one that holds the server's address
}

// Call is one request.
type Call struct {
	Op, Method, URL string
	Header          http.Header // as it is sent
	Body            []byte      // nil: none
	// Budget is what the request counts to, and Cost how much: 1 unless it says more.
	Budget string
	Cost   int
	// Once says that the request must not be made twice. All others net/http may
	// repeat, when an idle connection turns out to be closed.
	Once bool
}

var answers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// Do makes a request and hands the answer to read, which must not keep its body.
// Without an answer it returns an error that says whether the request can have been
// carried out, otherwise what read returns.
func (c *Caller) Do(ctx context.Context, call Call, read func(resp *http.Response, body []byte) *core.Error) *core.Error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, call.Method, call.URL, bytes.NewReader(call.Body))
	if err != nil {
		return Failure(core.CodeInternal, call.Op, "request: %v", err)
	}
	if call.Header != nil {
		req.Header = call.Header
	}
	if call.Once {
		req.GetBody = nil
	} else {
		// An empty Idempotency-Key is not sent; it tells net/http to repeat.
		req.Header["Idempotency-Key"] = nil
	}
	core.Spend(ctx, call.Budget, max(1, call.Cost))
	resp, err := c.Client.Do(req)
	if err != nil {
		return c.noAnswer(call.Op, err)
	}
	defer resp.Body.Close()
	buf := answers.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= 1<<20 {
			answers.Put(buf)
		}
	}()
	buf.Reset()
	if _, err := buf.ReadFrom(io.LimitReader(resp.Body, MaxAnswer+1)); err != nil {
		return c.noAnswer(call.Op, err)
	}
	if buf.Len() > MaxAnswer && resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return Failure(core.CodeUnknownOutcome, call.Op, "the answer is larger than %d MiB", MaxAnswer>>20)
	}
	return read(resp, buf.Bytes())
}

// Failure makes an error of the connector's own.
func Failure(code core.Code, op, format string, args ...any) *core.Error {
	e := core.Errorf(code, op, format, args...)
	e.Source = core.SourcePlugin
	return e
}

// noAnswer explains a request without an answer. What was not sent did not happen;
// what may have been is of unknown outcome.
func (c *Caller) noAnswer(op string, err error) *core.Error {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		e := Failure(core.CodeUnavailable, op, "no connection: %v", cause(err))
		e.Scope = core.ScopeLane // nobody else's event would get through
		e.Hint = "check settings." + c.Setting + " and the network"
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Failure(core.CodeUnknownOutcome, op, "no answer within %v", c.Timeout)
	}
	return Failure(core.CodeUnknownOutcome, op, "no answer: %v", cause(err))
}

// cause drops the address from a client's error: it is in the settings.
func cause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// RetryAfter reads the header of that name, at most a day.
func RetryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	var d time.Duration
	if n, err := strconv.ParseFloat(v, 64); err == nil && n > 0 {
		d = time.Duration(min(n, 86400) * float64(time.Second))
	} else if at, err := http.ParseTime(v); err == nil {
		d = time.Until(at)
	}
	return min(max(d, 0), 24*time.Hour)
}

// Decode reads JSON as far as it fits: a field of another type than expected is
// passed over, only what is no JSON at all is an error.
func Decode(body []byte, v any) error {
	err := json.Unmarshal(body, v)
	var t *json.UnmarshalTypeError
	if errors.As(err, &t) && t.Field != "" {
		return nil
	}
	return err
}
