package whatsapp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wabridge/wabridge/core"
)

// The defaults of ClientOptions.
const (
	DefaultBaseURL    = "https://graph.facebook.com"
	DefaultAPIVersion = "v25.0"
	DefaultTimeout    = 30 * time.Second
)

// maxAnswer bounds the body of an answer.
const maxAnswer = 1 << 20

// minKey is the least length of ClientOptions.OpaqueKey.
const minKey = 16

// ClientOptions make a Client.
type ClientOptions struct {
	BaseURL    string            // without a trailing slash; "" is DefaultBaseURL
	APIVersion string            // "" is DefaultAPIVersion
	Transport  http.RoundTripper // required; see NewTransport
	Timeout    time.Duration     // of a whole call; 0 is DefaultTimeout
	// Files is what files are downloaded by, from addresses that Graph names; nil is
	// Transport. It should refuse to connect to private networks.
	Files http.RoundTripper
	// MediaHosts are where Meta has files, beside where the Graph API is: these, and what
	// is below them; nil is [DefaultMediaHosts]. Files are fetched with the number's token.
	MediaHosts []string
	// OpaqueKey authenticates what comes back with each status; at least 16
	// bytes. Whoever loses it does not know their own messages again.
	OpaqueKey  []byte
	Log        *slog.Logger          // required
	Registerer prometheus.Registerer // nil keeps the metrics to itself
}

// Client calls the Cloud API. Its methods may be called concurrently.
type Client struct {
	o    ClientOptions
	http *http.Client
	// files downloads; see ClientOptions.Files.
	files *http.Client
	m     *clientMetrics

	mu     sync.Mutex
	hourly map[string]*hourly // by business account
}

var apiVersion = regexp.MustCompile(`^v[0-9]{1,3}\.[0-9]{1,2}$`)

// NewClient returns a client. It does no I/O.
func NewClient(o ClientOptions) (*Client, error) {
	if o.BaseURL == "" {
		o.BaseURL = DefaultBaseURL
	}
	if o.APIVersion == "" {
		o.APIVersion = DefaultAPIVersion
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	o.BaseURL = strings.TrimRight(o.BaseURL, "/")
	switch {
	case !isWebAddress(o.BaseURL):
		return nil, wrongf("whatsapp.base_url is no http or https address: %q", o.BaseURL)
	case !apiVersion.MatchString(o.APIVersion):
		return nil, wrongf("whatsapp.api_version %q is not written like %s", o.APIVersion, DefaultAPIVersion)
	case o.Transport == nil || o.Log == nil:
		return nil, core.Errorf(core.CodeInternal, "whatsapp client", "it has no Transport or no Log")
	case len(o.OpaqueKey) < minKey:
		return nil, core.Errorf(core.CodeInternal, "whatsapp client", "the opaque key has fewer than %d bytes", minKey)
	}
	if o.Files == nil {
		o.Files = o.Transport
	}
	if o.MediaHosts == nil {
		o.MediaHosts = DefaultMediaHosts()
	}
	// Who follows a redirect sends twice, or shows the token to somebody else.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{
		o:     o,
		http:  &http.Client{Transport: o.Transport, CheckRedirect: stay},
		files: &http.Client{Transport: o.Files, CheckRedirect: stay},
		m:     newClientMetrics(o.Registerer),
	}, nil
}

// NewTransport returns a transport fit for a Client: hundreds of sends at once over
// connections that are kept, and HTTP/2 where it is spoken.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        1024,
		MaxIdleConnsPerHost: 512,
		TLSHandshakeTimeout: 10 * time.Second,
		// Shorter than servers keep a connection: one that they close in the moment
		// that a send begins makes an outcome unknown.
		IdleConnTimeout: 30 * time.Second,
	}
}

// call is one request and what became of it.
type call struct {
	op     string
	method string
	path   string // after the version
	body   []byte
	token  core.Secret
	// twice says that the call may be made twice, so that it does no harm not to
	// know its outcome.
	twice bool
}

// do makes a call and returns the answer's body. Of an error it says whether the
// call was made; of a body that came with a 2xx, the caller must see whether it
// is what it should be.
func (c *Client) do(ctx context.Context, k call) ([]byte, *core.Error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	// Nobody can act on a request that they do not have whole. Its headers count as
	// written before the last of it is flushed, so when they are not, it was not
	// sent. (That all of it was written is told too early over HTTP/1.1, and too
	// late over HTTP/2.)
	var began atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { began.Store(false) },
		WroteHeaders: func() { began.Store(true) },
	})
	req, err := http.NewRequestWithContext(traced, k.method, c.o.BaseURL+"/"+c.o.APIVersion+"/"+k.path, nil)
	if err != nil {
		return nil, core.Errorf(core.CodeInternal, k.op, "request: %w", err)
	}
	if k.body != nil {
		// Without GetBody, net/http has no means to send the body again. It must
		// not be given an Idempotency-Key either: Meta does not know it, but
		// net/http takes it for leave to repeat a POST unasked.
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(k.body)), int64(len(k.body))
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+k.token.Reveal())
	req.Header.Set("User-Agent", "wabridge")

	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.lost(k, err, began.Load())
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		switch {
		case err != nil:
			return nil, c.lost(k, err, true)
		case len(body) > maxAnswer:
			return nil, c.unknown(k, "the answer is larger than %d KiB", maxAnswer>>10)
		}
		return body, nil
	}
	return nil, c.refused(k, resp, body)
}

// lost explains a call without an answer.
func (c *Client) lost(k call, err error, sent bool) *core.Error {
	timeout := errors.Is(err, context.DeadlineExceeded)
	// The address in a client's error is a setting, and long.
	if address, ok := errors.AsType[*url.Error](err); ok {
		err = address.Err
	}
	if sent {
		if timeout {
			return c.unknown(k, "no answer within %v", c.o.Timeout)
		}
		return c.unknown(k, "the answer was lost: %w", err)
	}
	e := core.Errorf(core.CodeUnavailable, k.op, "not sent: %w", err)
	e.Hint, e.Source = "check whatsapp.base_url and the network", core.SourceBridge
	if dial, ok := errors.AsType[*net.OpError](err); timeout || ok && dial.Op == "dial" {
		e.Scope = core.ScopeLane // nobody else's message would get through
	}
	return e
}

// unknown makes the error of a call that may or may not have been made.
func (c *Client) unknown(k call, format string, args ...any) *core.Error {
	code := core.CodeUnknownOutcome
	if k.twice {
		code = core.CodeUnavailable
	}
	e := core.Errorf(code, k.op, format, args...)
	e.Source = core.SourceVendor
	return e
}

// refused explains an answer that is not a success.
func (c *Client) refused(k call, resp *http.Response, body []byte) *core.Error {
	status := resp.StatusCode
	// Graph repeats a token that it finds malformed.
	if token := k.token.Reveal(); token != "" {
		body = bytes.ReplaceAll(body, []byte(token), []byte("[secret]"))
	}
	if g, ok := parseGraphError(body); ok {
		e := ErrorFor(status, g)
		e.Op = k.op
		if e.Code == core.CodeUnknownOutcome && k.twice {
			e.Code = core.CodeUnavailable
		}
		if e.Code == core.CodeRateLimited {
			e.RetryAfter = max(e.RetryAfter, retryAfter(resp.Header))
		}
		return e
	}
	// No word of Graph's: something between it and us has answered. What refuses
	// with a 4xx, or sends elsewhere, has not passed the call on; a 408 or 5xx may
	// come after it did.
	if status < 300 || status == http.StatusRequestTimeout || status == 499 || status >= 500 {
		return c.unknown(k, "the answer is HTTP status %d without a word of Meta's", status)
	}
	e := core.Errorf(core.CodeUnavailable, k.op, "not sent: the answer is HTTP status %d without a word of Meta's", status)
	e.Hint, e.Source = "check whatsapp.base_url, and any proxy on the way to it", core.SourceVendor
	if status == http.StatusTooManyRequests {
		e.Code, e.RetryAfter = core.CodeRateLimited, retryAfter(resp.Header)
	}
	return e
}

// retryAfter reads a Retry-After in seconds, up to an hour.
func retryAfter(h http.Header) time.Duration {
	s, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || s < 0 {
		return 0
	}
	return time.Duration(min(s, 3600)) * time.Second
}

// accepted reads the id of the message that a send made; "" when there is none.
func accepted(body []byte) string {
	var answer struct {
		Messages []struct {
			ID string `json:"id"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Messages) == 0 {
		return ""
	}
	if id := answer.Messages[0].ID; len(id) <= maxMessageID {
		return id
	}
	return ""
}

// Profile is what Meta tells of a business number.
type Profile struct {
	DisplayNumber string `json:"display_phone_number"`
	VerifiedName  string `json:"verified_name"`
	Quality       string `json:"quality_rating"`
}

// profile asks for a number's profile: the cheapest call that proves the token.
func (c *Client) profile(ctx context.Context, number string, token core.Secret) (Profile, *core.Error) {
	k := call{
		op: "check", method: http.MethodGet, token: token, twice: true,
		path: url.PathEscape(number) + "?fields=display_phone_number,verified_name,quality_rating",
	}
	body, err := c.do(ctx, k)
	if err != nil {
		return Profile{}, err
	}
	var p Profile
	if json.Unmarshal(body, &p) != nil || p.DisplayNumber == "" {
		e := c.unknown(k, "the answer is not a phone number's profile")
		e.Hint = "check whatsapp.base_url"
		return Profile{}, e
	}
	return p, nil
}

// numberPath is the path of a number's messages.
func numberPath(number string) string { return fmt.Sprintf("%s/messages", url.PathEscape(number)) }
