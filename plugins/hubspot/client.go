package hubspot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
)

// maxAnswer bounds an answer's body, unpacked: 100 records of some kilobytes.
const maxAnswer = 16 << 20

var answers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// refusal is HubSpot's no: the error for the bridge, and the answer it came with.
type refusal struct {
	*core.Error
	status int
	answer apiError
}

// call makes one request and hands a successful answer's body to read, which must
// not keep it. The error is nil, or says what happens next to all of the request.
func (x *session) call(ctx context.Context, op, method, path string, body []byte, read func([]byte) error) *refusal {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(x.Timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, x.BaseURL+path, bytes.NewReader(body))
	if err != nil {
		return x.refuse(core.CodeInternal, op, "request: %v", err)
	}
	req.Header.Set("Authorization", "Bearer "+x.token)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	// All our requests may be made twice. An empty Idempotency-Key is not sent; it
	// tells net/http that it may repeat the request when an idle connection turns
	// out to be closed.
	req.Header["Idempotency-Key"] = nil

	resp, err := x.http.Do(req)
	if err != nil {
		return x.noAnswer(op, err)
	}
	defer resp.Body.Close()
	buf := answers.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= 1<<20 {
			answers.Put(buf)
		}
	}()
	buf.Reset()
	if _, err := buf.ReadFrom(io.LimitReader(resp.Body, maxAnswer+1)); err != nil {
		return x.noAnswer(op, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return x.refused(op, resp, buf.Bytes())
	}
	if buf.Len() > maxAnswer {
		return x.refuse(core.CodeUnknownOutcome, op, "the answer is larger than %d MiB", maxAnswer>>20)
	}
	if err := read(buf.Bytes()); err != nil {
		return x.refuse(core.CodeUnknownOutcome, op, "answer %d is not what HubSpot sends: %v", resp.StatusCode, err)
	}
	return nil
}

// refuse makes an error for a whole request.
func (x *session) refuse(code core.Code, op, format string, args ...any) *refusal {
	e := core.Errorf(code, op, format, args...)
	e.Source = core.SourcePlugin
	return &refusal{Error: e}
}

// noAnswer explains a request without an answer. What was not sent did not happen;
// what may have been is of unknown outcome, and safe to repeat.
func (x *session) noAnswer(op string, err error) *refusal {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		r := x.refuse(core.CodeUnavailable, op, "no connection: %v", cause(err))
		r.Hint = "check settings.base_url and the network"
		return r
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return x.refuse(core.CodeUnknownOutcome, op, "no answer within %v", time.Duration(x.Timeout))
	}
	return x.refuse(core.CodeUnknownOutcome, op, "no answer: %v", cause(err))
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

// refused explains an answer that is not a success.
func (x *session) refused(op string, resp *http.Response, body []byte) *refusal {
	answer, ok := readError(body)
	status := resp.StatusCode
	r := &refusal{status: status, answer: answer, Error: &core.Error{
		Op: op, Source: core.SourceVendor, Vendor: answer.Category,
		RetryAfter: retryAfter(resp.Header),
		Message:    fmt.Sprintf("HubSpot answered %d", status),
	}}
	if r.Vendor == "" {
		r.Vendor = fmt.Sprint(status)
	}
	if text := answer.text(); text != "" {
		r.Message += ": " + text
	}
	switch {
	case status == http.StatusTooManyRequests:
		r.Code = core.CodeRateLimited
		if policy, wait := answer.limit(); policy != "" {
			r.Vendor = policy
			r.RetryAfter = max(r.RetryAfter, wait)
		}
	case status == http.StatusUnauthorized:
		r.Code, r.Hint = core.CodeUnauthenticated, "renew the secret token"
	case status == http.StatusForbidden && !ok:
		r.Code = core.CodeUnavailable // an edge before HubSpot, not HubSpot
	case status == http.StatusForbidden:
		r.Code, r.Hint = core.CodeForbidden, "look at the token's scopes and the account in HubSpot"
		if scopes := answer.scopes(); scopes != "" {
			r.Hint = "give the token the scope " + scopes
		}
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status >= 300 && status < 400:
		r.Code, r.Hint = core.CodeForbidden, "look at settings.base_url and settings.api_version"
	case status == 423:
		r.Code, r.RetryAfter = core.CodeUnavailable, max(r.RetryAfter, 2*time.Second)
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == 477, status >= 500:
		r.Code = core.CodeUnavailable
	case status >= 400:
		r.Error = x.rowError(op, answer)
		r.Message = fmt.Sprintf("HubSpot answered %d: %s", status, r.Message)
	default:
		r.Code = core.CodeUnknownOutcome
	}
	return r
}
