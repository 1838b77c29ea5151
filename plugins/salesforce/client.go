package salesforce

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// refusal is Salesforce's no: the error for the bridge, and the answer it came with.
type refusal struct {
	*core.Error
	status int
	answer apiError
}

// budgetAPI are the org's requests of a day.
const budgetAPI = "api"

// call makes one request and hands a successful answer's body to read, which must
// not keep it. Path begins after the version. Once the share of the org's daily
// requests is used up it makes none any more.
func (x *session) call(ctx context.Context, op, method, path string, body []byte, read func([]byte) error) *refusal {
	return x.callWith(ctx, nil, op, method, path, body, read)
}

// callWith is call with headers of its own.
func (x *session) callWith(ctx context.Context, own http.Header, op, method, path string, body []byte, read func([]byte) error) *refusal {
	if x.spent != nil {
		return &refusal{Error: x.spent}
	}
	header := http.Header{
		"Authorization": {"Bearer " + x.token}, "Accept": {"application/json"},
		// Change events carry this name: what we wrote ourselves can be told apart.
		"Sforce-Call-Options": {"client=wabridge"},
	}
	if body != nil {
		header.Set("Content-Type", "application/json")
	}
	if x.AllowDuplicates {
		header.Set("Sforce-Duplicate-Rule-Header", "allowSave=true")
	}
	maps.Copy(header, own)
	caller := crm.Caller{Client: x.http, Timeout: time.Duration(x.Timeout), Setting: "login_url"}
	var r *refusal
	err := caller.Do(ctx, crm.Call{Op: op, Method: method, URL: x.instance + x.path(path), Header: header, Body: body, Budget: budgetAPI}, func(resp *http.Response, body []byte) *core.Error {
		if resp.StatusCode < 200 || resp.StatusCode > 299 {
			r = x.refused(op, resp, body)
			return r.Error
		}
		x.watch(ctx, resp.Header)
		if err := read(body); err != nil {
			return crm.Failure(core.CodeUnknownOutcome, op, "answer %d is not what Salesforce sends: %v", resp.StatusCode, err)
		}
		return nil
	})
	if err != nil && r == nil {
		r = &refusal{Error: err}
	}
	return r
}

func (x *session) path(rest string) string { return "/services/data/" + x.APIVersion + "/" + rest }

var apiUsage = regexp.MustCompile(`(?:^|[;, ])api-usage=([0-9]{1,12})/([0-9]{1,12})`) // there is per-app-api-usage, too

// dailyWait is how long to wait once the daily requests are used up: they come back
// over 24 hours, which is asking at most 96 times.
const dailyWait = 15 * time.Minute

// watch reads how many of the org's daily requests are used up. Others need them too.
func (x *session) watch(ctx context.Context, h http.Header) {
	m := apiUsage.FindStringSubmatch(h.Get("Sforce-Limit-Info"))
	if m == nil {
		return
	}
	used, _ := strconv.ParseFloat(m[1], 64)
	limit, _ := strconv.ParseFloat(m[2], 64)
	if limit > 0 {
		core.Left(ctx, budgetAPI, int(max(0, limit*x.DailyShare-used)))
	}
	x.used(ctx, requestsOfADay, used, limit)
	if limit > 0 && used >= limit*x.DailyShare {
		x.spent = &core.Error{Code: core.CodeRateLimited, Op: "daily requests", Source: core.SourcePlugin, Vendor: "REQUEST_LIMIT_EXCEEDED", RetryAfter: dailyWait,
			Message: fmt.Sprintf("%s of the org's %s daily API requests are used up", m[1], m[2]),
			Hint:    "buy more API requests, or leave fewer of them to others with settings.daily_share"}
	}
}

// refused explains an answer that is not a success.
func (x *session) refused(op string, resp *http.Response, body []byte) *refusal {
	answer, ok := readError(body)
	status := resp.StatusCode
	r := &refusal{status: status, answer: answer, Error: &core.Error{
		Op: op, Source: core.SourceVendor, Vendor: answer.code(),
		RetryAfter: crm.RetryAfter(resp.Header), Message: fmt.Sprintf("Salesforce answered %d", status),
	}}
	if r.Vendor == "" {
		r.Vendor = fmt.Sprint(status)
	}
	if text := answer.text(); text != "" {
		r.Message += ": " + text
	}
	has := func(part string) bool { return strings.Contains(answer.Message, part) }
	switch {
	case status == http.StatusUnauthorized && (has("not attached to Agent") || has("not valid for use with the REST API")):
		r.Code, r.Hint = core.CodeForbidden, "the app's token may not use the REST API: give it the scope api" // a new token would fare no better
	case status == http.StatusUnauthorized, r.Vendor == "INVALID_SESSION_ID":
		r.Code, r.Hint = core.CodeUnauthenticated, "the session has ended; look at settings.auth and the lane's secrets when it goes on"
	case r.Vendor == "REQUEST_LIMIT_EXCEEDED", status == http.StatusTooManyRequests, status == 420:
		r.Code = core.CodeRateLimited
		if has("TotalRequests") {
			r.RetryAfter = max(r.RetryAfter, dailyWait)
		} else {
			r.RetryAfter = max(r.RetryAfter, 5*time.Second)
		}
	case status == http.StatusForbidden && !ok:
		r.Code = core.CodeUnavailable // an edge before Salesforce, not Salesforce
	case status == http.StatusForbidden:
		r.Code, r.Hint = core.CodeForbidden, "look at the user's profile and permission sets in Salesforce: API Enabled, and access to the objects"
	case status == http.StatusRequestURITooLong: // only the names of fields make a query so long
		r.Code, r.Scope, r.Hint = core.CodeForbidden, core.ScopeLane, "read fewer fields, with settings.pull_fields and the mapping"
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status == http.StatusGone, status >= 300 && status < 400:
		r.Code, r.Scope = core.CodeForbidden, core.ScopeLane
		r.Hint = "look at settings.api_version, settings.contact_object and settings.message_object, and whether the user may see these objects and fields"
	case status == http.StatusRequestTimeout, status >= 500:
		r.Code = core.CodeUnavailable
	case status >= 400 && !ok && status != http.StatusRequestEntityTooLarge:
		r.Code = core.CodeUnavailable // what stands before Salesforce says nothing of the event
	case status >= 400:
		r.Error = x.rowError(op, answer)
		r.Message = fmt.Sprintf("Salesforce answered %d: %s", status, r.Message)
	default:
		r.Code = core.CodeUnknownOutcome
	}
	return r
}
