package zoho

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// outcome is how Zoho says that something ended: a call, or a row of it.
type outcome struct {
	Code    string `json:"code"`
	Status  string `json:"status"`
	Message string `json:"message"`
	Action  string `json:"action"`
	Details struct {
		ID        string `json:"id"`
		Field     string `json:"api_name"`
		Path      string `json:"json_path"`
		Param     string `json:"param_name"`
		Type      string `json:"expected_data_type"`
		Length    int    `json:"maximum_length"`
		Duplicate struct {
			ID string `json:"id"`
		} `json:"duplicate_record"`
		// ModifiedBy is whose token it was, where a record was written.
		ModifiedBy struct {
			ID string `json:"id"`
		} `json:"Modified_By"`
	} `json:"details"`
}

// existing is the record that a DUPLICATE_DATA is about.
func (o *outcome) existing() string {
	if o.Details.Duplicate.ID != "" {
		return o.Details.Duplicate.ID
	}
	return o.Details.ID
}

// refusal is Zoho's no to a whole call.
type refusal struct {
	*core.Error
	outcome outcome
}

// budgetCredits are an organization's credits of 24 hours.
const budgetCredits = "credits"

// enter waits for a turn: Zoho limits how many calls an account makes at once, by its
// edition, and how many of them may be intense, in every edition. See
// https://www.zoho.com/crm/developer/docs/api/v8/api-limits.html.
func (x *session) enter(ctx context.Context, call *crm.Call) (leave func(), err *core.Error) {
	turns := []chan struct{}{x.known.slots}
	if intense(call) { // first of the few: who waits for these keeps no other call waiting
		turns = []chan struct{}{x.known.few, x.known.slots}
	}
	leave = func() {}
	for _, turn := range turns {
		before := leave
		select {
		case turn <- struct{}{}:
			leave = func() { <-turn; before() }
		case <-ctx.Done():
			leave()
			return nil, crm.Failure(core.CodeUnavailable, call.Op, "no turn to call Zoho: %v", ctx.Err())
		}
	}
	return leave, nil
}

// intense reports whether a call counts to Zoho's sub-concurrency: queries, a view's
// records, and writes of more than ten rows. Composite calls, searches and sorted lists
// would, too; none is made.
func intense(call *crm.Call) bool {
	path, query, _ := strings.Cut(call.URL, "?")
	return strings.HasSuffix(path, "/coql") || strings.Contains(query, "cvid=") || call.Method != http.MethodGet && call.Cost > 1
}

// call makes one request and hands the body of a success to read, which must not
// keep it; there is none when nothing was found. Answers of writes, which have a
// row for each row, are successes whatever their status.
func (x *session) call(ctx context.Context, op, method, path string, body []byte, read func([]byte) error) *refusal {
	return x.request(ctx, crm.Call{Op: op, Method: method, URL: x.api(path), Header: http.Header{}, Body: body}, read)
}

// request is call with header fields of its own.
func (x *session) request(ctx context.Context, call crm.Call, read func([]byte) error) *refusal {
	op := call.Op
	leave, err := x.enter(ctx, &call)
	if err != nil {
		return &refusal{Error: err}
	}
	defer leave()
	call.Header.Set("Authorization", "Zoho-oauthtoken "+x.token)
	call.Header.Set("Accept", "application/json")
	if call.Body != nil {
		call.Header.Set("Content-Type", "application/json")
	}
	caller := crm.Caller{Client: x.http, Timeout: time.Duration(x.Timeout), Setting: "data_centre"}
	var r *refusal
	call.Budget = budgetCredits
	err = caller.Do(ctx, call, func(resp *http.Response, body []byte) *core.Error {
		x.watchCredits(ctx, resp.Header)
		switch status := resp.StatusCode; {
		case status == http.StatusNoContent, status == http.StatusNotModified && call.Header.Get("If-Modified-Since") != "":
			return nil
		case status >= 200 && status < 300 && !isRefusal(body), status < 500 && !reads(&call) && hasRows(body):
			err := read(body)
			if err == nil && reads(&call) && !hasList(body) {
				err = errors.New("there is no list in it")
			}
			if err != nil {
				return crm.Failure(core.CodeUnknownOutcome, op, "answer %d is not what Zoho sends: %v", status, err)
			}
			return nil
		}
		r = x.refused(op, resp, body)
		return r.Error
	})
	if err != nil && r == nil {
		r = &refusal{Error: err}
	}
	return r
}

// hasRows reports whether an answer is about rows.
func hasRows(body []byte) bool {
	var a struct {
		Data   []outcome `json:"data"`
		Fields []outcome `json:"fields"`
		Watch  []outcome `json:"watch"`
		Tags   []outcome `json:"tags"`
	}
	return crm.Decode(body, &a) == nil && len(a.Data)+len(a.Fields)+len(a.Watch)+len(a.Tags) > 0
}

// isRefusal reports whether an answer is Zoho's no to a whole call, whatever its status.
func isRefusal(body []byte) bool {
	var o outcome
	return crm.Decode(body, &o) == nil && o.Code != "" && o.Status == "error"
}

// reads reports whether a call reads records, fields or users.
func reads(call *crm.Call) bool {
	return call.Method == http.MethodGet || strings.HasSuffix(call.URL, "/coql")
}

// hasList reports whether an answer lists something, as each to a read does: where there
// is nothing, Zoho sends no body. Else what cannot be read would be taken for nothing.
func hasList(body []byte) bool {
	var a map[string]json.RawMessage
	if json.Unmarshal(body, &a) != nil {
		return false
	}
	for _, v := range a {
		if len(v) > 0 && v[0] == '[' {
			return true
		}
	}
	return false
}

// watchCredits notes how many of the day's credits are left. Zoho says so from half
// of them on.
func (x *session) watchCredits(ctx context.Context, h http.Header) {
	n, err := strconv.Atoi(h.Get("X-API-CREDITS-REMAINING"))
	if err != nil {
		n = -1
	} else {
		core.Left(ctx, budgetCredits, max(0, n-x.CreditsReserve))
	}
	x.known.mu.Lock()
	defer x.known.mu.Unlock()
	x.known.credits, x.known.seen = n, time.Now()
}

// spare is how long the lane waits when only the reserve of credits is left. They
// come back hour by hour.
const spare = 15 * time.Minute

// reserved says that what is left of the credits is for others.
func (x *session) reserved() *core.Error {
	x.known.mu.Lock()
	defer x.known.mu.Unlock()
	wait := spare - time.Since(x.known.seen)
	if x.known.credits < 0 || x.known.credits >= x.CreditsReserve || wait <= 0 {
		return nil
	}
	return &core.Error{Code: core.CodeRateLimited, Op: "zoho", Source: core.SourcePlugin, Vendor: "X-API-CREDITS-REMAINING", RetryAfter: wait,
		Message: fmt.Sprintf("%d of the day's API credits are left, which are for others", x.known.credits),
		Hint:    "buy API credits in Zoho, or lower settings.credits_reserve"}
}

// refused explains an answer that is not a success.
func (x *session) refused(op string, resp *http.Response, body []byte) *refusal {
	r := &refusal{}
	status := resp.StatusCode
	readable := crm.Decode(body, &r.outcome) == nil && r.outcome.Code != ""
	o := &r.outcome
	e := &core.Error{Op: op, Source: core.SourceVendor, Vendor: o.Code, RetryAfter: crm.RetryAfter(resp.Header),
		Message: fmt.Sprintf("Zoho answered %d", status)}
	r.Error = e
	if o.Message != "" {
		e.Message += ": " + crm.VendorText(o.Message)
	}
	if e.Vendor == "" {
		e.Vendor = strconv.Itoa(status)
	}
	switch {
	case status == http.StatusTooManyRequests, o.Code == "TOO_MANY_REQUESTS", o.Code == "RATE_LIMIT_EXCEEDED":
		tooMany(e, o.Message)
	case o.Code == "OAUTH_SCOPE_MISMATCH":
		e.Code, e.Hint = core.CodeForbidden, "make a refresh token with the scope "+scopeFor(op)+" and set the secret refresh_token"
	case status == http.StatusUnauthorized, o.Code == "INVALID_TOKEN", o.Code == "AUTHENTICATION_FAILURE":
		e.Code, e.Hint = core.CodeUnauthenticated, "look at the secret refresh_token and at settings.data_centre"
	case o.Code == "NO_PERMISSION", o.Code == "AUTHORIZATION_FAILED":
		e.Code, e.Hint = core.CodeForbidden, "let the user whose refresh token it is do this: "+op
	case o.Code == "INVALID_MODULE":
		e.Code, e.Hint = core.CodeForbidden, "create the module in Zoho, or name another in the settings (wabridge check says which)"
	case status >= 500, status == http.StatusRequestTimeout:
		e.Code = core.CodeUnavailable
	case status >= 400 && status != http.StatusRequestEntityTooLarge && !readable:
		e.Code, e.Hint = core.CodeUnavailable, "Zoho's API does not answer like this: look at settings.data_centre, and at what is between it and the bridge"
	case status == http.StatusForbidden:
		e.Code, e.Hint = core.CodeForbidden, "look at the permissions of the user whose refresh token it is"
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status >= 300 && status < 400, o.Code == "INVALID_URL_PATTERN":
		e.Code, e.Hint = core.CodeForbidden, "look at settings.data_centre"
	default:
		*e = *x.rowError(op, o)
		e.Message = fmt.Sprintf("Zoho answered %d: %s", status, e.Message)
	}
	return r
}

// tooMany reads from the words of a 429 what there was too much of; the status does
// not tell.
func tooMany(e *core.Error, message string) {
	e.Code = core.CodeRateLimited
	text := strings.ToLower(message)
	switch {
	case strings.Contains(text, "concurren"):
		e.RetryAfter = max(e.RetryAfter, time.Second+rand.N(4*time.Second)) //nolint:gosec // jitter
		e.Hint = "lower settings.concurrency if this goes on"
		if strings.Contains(text, "sub-concurren") {
			e.Hint = "lower settings.sub_concurrency if this goes on"
		}
	case strings.Contains(text, "24 hour"), strings.Contains(text, "24-hour"), strings.Contains(text, "credit"), strings.Contains(text, "day"):
		e.RetryAfter = max(e.RetryAfter, time.Hour)
		e.Hint = "the day's API credits are used up: buy more in Zoho, or see which other integrations use them"
	default:
		e.RetryAfter = max(e.RetryAfter, 10*time.Second)
	}
}

// scopeFor names the scope that an operation needs.
func scopeFor(op string) string {
	for _, s := range []struct{ part, scope string }{
		{"list views", "ZohoCRM.settings.custom_views.READ"},
		{"campaign", "ZohoCRM.modules.campaigns.READ"},
		{"query Campaigns", "ZohoCRM.coql.READ, and ZohoCRM.modules.campaigns.READ"},
		{"user", "ZohoCRM.users.READ"},
		{"watch", "ZohoCRM.notifications.ALL"},
		{"query", "ZohoCRM.coql.READ, and ZohoCRM.modules.ALL"},
		{"field", "ZohoCRM.settings.fields.ALL"},
		{"contact tag", "ZohoCRM.modules.contacts.ALL, and ZohoCRM.settings.tags.ALL"},
		{"contact", "ZohoCRM.modules.contacts.ALL"},
		{"note", "ZohoCRM.modules.notes.ALL"},
		{"message", "ZohoCRM.modules.custom.ALL"},
		{"task", "ZohoCRM.modules.tasks.ALL"},
		{"case", "ZohoCRM.modules.cases.ALL"},
	} {
		if strings.Contains(op, s.part) {
			return s.scope
		}
	}
	return "ZohoCRM.modules.ALL"
}

// rowError makes the error for what Zoho refused as it is.
func (x *session) rowError(op string, o *outcome) *core.Error {
	e := &core.Error{Code: core.CodeInvalid, Op: op, Source: core.SourceVendor, Vendor: o.Code, Message: crm.VendorText(o.Message)}
	if e.Message == "" {
		e.Message = "refused without a reason"
	}
	field := o.Details.Field
	if field != "" {
		e.Message = crm.VendorText(field) + ": " + e.Message
	}
	switch o.Code {
	case "DUPLICATE_DATA":
		if field == x.ContactKey || field == x.MessageKey || field == x.EscalationKey {
			e.Code = core.CodeUnavailable // another call just wrote it: the next attempt finds it
			return e
		}
		e.Hint = "another record in Zoho has the same " + field + ": merge the two, or set settings.on_conflict"
	case "MANDATORY_NOT_FOUND":
		e.Hint = "return " + field + " from mapToCRM, or make the field optional in Zoho"
	case "INVALID_DATA":
		e.Hint = "look at what mapToCRM returns for " + field
		if o.Details.Type != "" {
			e.Message += ", want " + o.Details.Type
		}
		if o.Details.Length > 0 {
			e.Message += fmt.Sprintf(", at most %d characters", o.Details.Length)
		}
	case "RECORD_LOCKED":
		e.Hint = "unlock the record in Zoho, then replay the dead letter"
	case "LIMIT_EXCEEDED":
		e.Code, e.RetryAfter = core.CodeRateLimited, time.Minute
		e.Hint = "the account's limit is reached: look at its storage and API credits"
	case "TOO_MANY_REQUESTS", "RATE_LIMIT_EXCEEDED":
		tooMany(e, o.Message)
	case "AUTHORIZATION_FAILED", "NO_PERMISSION":
		e.Hint = "let the user whose refresh token it is write this record"
	case "DEPENDENT_SERVICE_ERROR", "INTERNAL_ERROR", "ALREADY_MODIFIED", "RECORD_MODIFIED", "RECORD_IN_BLUEPRINT_PROCESS":
		e.Code = core.CodeUnavailable
	}
	return e
}
