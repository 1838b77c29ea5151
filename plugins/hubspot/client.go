package hubspot

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// refusal is HubSpot's no: the error for the bridge, and the answer it came with.
type refusal struct {
	*core.Error
	status int
	answer apiError
}

// The budgets that HubSpot counts apart.
const (
	budgetAPI    = "api"
	budgetSearch = "search"
)

// call makes one request and hands a successful answer's body to read, which must
// not keep it. The error is nil, or says what happens next to all of the request.
func (x *session) call(ctx context.Context, op, method, path string, body []byte, read func([]byte) error) *refusal {
	header := http.Header{"Authorization": {"Bearer " + x.token}, "Accept": {"application/json"}}
	if body != nil {
		header.Set("Content-Type", "application/json")
	}
	caller := crm.Caller{Client: x.http, Timeout: time.Duration(x.Timeout), Setting: "base_url"}
	var r *refusal
	budget := budgetAPI
	if strings.HasSuffix(path, "/contacts/search") {
		budget = budgetSearch // which does not count to the other; the search of lists does
	}
	// All that is written has a key of its own, but for an account of a channel.
	once := method == http.MethodPost && strings.HasSuffix(path, "/channel-accounts")
	err := caller.Do(ctx, crm.Call{Op: op, Method: method, URL: x.BaseURL + path, Header: header, Body: body, Budget: budget, Once: once}, func(resp *http.Response, body []byte) *core.Error {
		if n, err := strconv.Atoi(resp.Header.Get("X-HubSpot-RateLimit-Daily-Remaining")); err == nil {
			core.Left(ctx, budgetAPI, n)
		}
		if resp.StatusCode < 200 || resp.StatusCode > 299 {
			r = x.refused(op, resp, body)
			return r.Error
		}
		if err := read(body); err != nil {
			return crm.Failure(core.CodeUnknownOutcome, op, "answer %d is not what HubSpot sends: %v", resp.StatusCode, err)
		}
		return nil
	})
	if err != nil && r == nil {
		r = &refusal{Error: err}
	}
	return r
}

// refused explains an answer that is not a success.
func (x *session) refused(op string, resp *http.Response, body []byte) *refusal {
	answer, ok := readError(body)
	status := resp.StatusCode
	r := &refusal{status: status, answer: answer, Error: &core.Error{
		Op: op, Source: core.SourceVendor, Vendor: answer.code(),
		RetryAfter: crm.RetryAfter(resp.Header),
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
			r.Vendor = crm.Clip(policy, maxCode)
			r.RetryAfter = max(r.RetryAfter, wait)
		}
	case (status == http.StatusUnauthorized || status == http.StatusForbidden) && !ok:
		r.Code = core.CodeUnavailable // an edge before HubSpot, not HubSpot
	case status == http.StatusUnauthorized:
		r.Code, r.Hint = core.CodeUnauthenticated, "renew the secret token"
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
	case status == http.StatusRequestEntityTooLarge, status == http.StatusRequestURITooLong:
		r.Code, r.Hint = core.CodeInvalid, "it is more than HubSpot takes at once"
	case status >= 400: // without a word, whoever says so has not looked at what was sent
		r.Error = x.rowError(op, answer)
		r.Message = fmt.Sprintf("HubSpot answered %d: %s", status, r.Message)
		r.Vendor = cmp.Or(r.Vendor, fmt.Sprint(status))
	default:
		r.Code = core.CodeUnknownOutcome
	}
	return r
}
