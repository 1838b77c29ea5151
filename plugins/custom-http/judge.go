package customhttp

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
)

// response is a compiled [responseSettings].
type response struct {
	success                 []statusRange
	ok                      condition
	id, contact             path
	errorCode, errorMessage path
}

func compileResponse(s *responseSettings, where string, p *problems) response {
	r := response{
		success: []statusRange{{200, 299}}, id: parsePath(s.ID), contact: parsePath(s.Contact),
		errorCode: parsePath(s.ErrorCode), errorMessage: parsePath(s.ErrorMessage),
	}
	if s.Success != nil {
		r.success = parseStatuses(s.Success, where+".success", p)
		if len(s.Success) == 0 {
			p.addf(where+".success", "without a status nothing ever succeeds")
		}
	}
	if s.OK != nil {
		r.ok = compileCondition(*s.OK, where+".ok", p)
		if !r.ok.reading {
			p.addf(where+".ok", "want a path, and one of equals, in, matches and exists")
		}
	}
	r.id.check(where+".id", p)
	r.contact.check(where+".contact", p)
	r.errorCode.check(where+".error_code", p)
	r.errorMessage.check(where+".error_message", p)
	return r
}

// reads reports whether success shows in the body only.
func (r *response) reads() bool { return r.ok.reading || r.id != nil }

// rule is a compiled [errorSettings].
type rule struct {
	status   []statusRange // nil is any
	contains []byte
	when     condition
	then     string
	hint     string
}

// consequences are what a rule may say, and what becomes of the event.
var consequences = map[string]core.Code{
	"ok": "", "ignore": "", "duplicate": "", // it is there
	"retry":        core.CodeUnavailable,
	"rate_limited": core.CodeRateLimited,
	"reauth":       core.CodeUnauthenticated,
	"forbidden":    core.CodeForbidden,
	"permanent":    core.CodeInvalid,
	"unknown":      core.CodeUnknownOutcome,
}

func (c *planner) rules(where string, list []errorSettings) []rule {
	rules := make([]rule, 0, len(list))
	for i, s := range list {
		at := fmt.Sprintf("%s[%d]", where, i)
		r := rule{contains: []byte(s.Contains), then: s.Then, hint: clip(s.Hint, 300)}
		if s.Status != nil {
			r.status = parseStatuses(s.Status, at+".status", c.problems)
		}
		r.when = compileCondition(s.conditionSettings, at, c.problems)
		if len(r.status) == 0 && s.Contains == "" && !r.when.reading {
			c.addf(at, "without status, contains or path it would be for everything")
		}
		if _, ok := consequences[s.Then]; !ok {
			c.addf(at+".then", "want one of %s%s", strings.Join(sortedKeys(consequences), ", "), suggest(s.Then, sortedKeys(consequences)))
		}
		rules = append(rules, r)
	}
	return rules
}

// verdict is what an answer or a row of it says.
type verdict struct {
	err *core.Error // nil is success
	ref string
	// contact is the contact's record, where the answer tells.
	contact string
	// rows says that the rows of the answer are to be judged one by one.
	rows bool
	// split says that one event may have spoilt the others' request, which was
	// refused whole.
	split bool
}

// judge decides what an answer means for the whole request.
func (x *session) judge(op *operation, a *answer) verdict {
	good := anyHas(op.response.success, a.status)
	for i := range op.errors {
		r := &op.errors[i]
		// A customer's text in the answer to a success must not match a rule
		// about errors: there a rule has to name the status.
		if (!good || r.status != nil) && r.holds(a.status, a.body, a.json) {
			return x.rule(op, r, a)
		}
	}
	if !good {
		return x.byStatus(op, a)
	}
	rows := op.batch != nil && op.batch.results != nil
	if (op.response.reads() || rows) && !a.isJSON() {
		return verdict{err: x.unknown(op, fmt.Sprintf("answered %d without the JSON that shows what happened: %s", a.status, x.quote(a)))}
	}
	if op.response.ok.reading && !op.response.ok.holds(a.json()) {
		for i := range op.errors {
			if r := &op.errors[i]; r.holds(a.status, a.body, a.json) {
				return x.rule(op, r, a)
			}
		}
		err := x.refusal(op, a, core.CodeInvalid)
		err.Hint = "a rule in settings.errors can say what this answer means"
		return verdict{err: err, split: true}
	}
	if rows {
		return verdict{rows: true}
	}
	ref := a.text(op.response.id)
	if op.response.id != nil && ref == "" {
		return verdict{err: x.unknown(op, fmt.Sprintf("answered %d without the id that proves it: %s", a.status, x.quote(a)))}
	}
	return verdict{ref: ref, contact: a.text(op.response.contact)}
}

func (r *rule) holds(status int, raw []byte, body func() any) bool {
	return (r.status == nil || anyHas(r.status, status)) && bytes.Contains(raw, r.contains) &&
		(!r.when.reading || r.when.holds(body()))
}

func (x *session) rule(op *operation, r *rule, a *answer) verdict {
	code := consequences[r.then]
	if code == "" {
		return verdict{ref: a.text(op.response.id)}
	}
	err := x.refusal(op, a, code)
	if code == core.CodeUnknownOutcome {
		err.Code = x.unknownCode()
	}
	if err.Hint = r.hint; r.hint == "" && code == core.CodeUnauthenticated {
		err.Hint = x.renew()
	}
	return verdict{err: err, split: code == core.CodeInvalid}
}

// byStatus is for answers that no rule is about.
func (x *session) byStatus(op *operation, a *answer) verdict {
	switch s := a.status; {
	case s == http.StatusTooManyRequests:
		return verdict{err: x.refusal(op, a, core.CodeRateLimited)}
	case s == http.StatusUnauthorized:
		err := x.refusal(op, a, core.CodeUnauthenticated)
		err.Hint = x.renew()
		return verdict{err: err}
	case s == http.StatusForbidden:
		err := x.refusal(op, a, core.CodeForbidden)
		err.Hint = "look at what the account may do"
		return verdict{err: err}
	case s >= 300 && s < 400:
		err := x.refusal(op, a, core.CodeForbidden)
		err.Hint = "redirects are not followed: correct settings.base_url, or the path in " + op.name
		return verdict{err: err}
	case s == http.StatusMethodNotAllowed:
		err := x.refusal(op, a, core.CodeForbidden)
		err.Hint = "correct method or path in " + op.name
		return verdict{err: err}
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusServiceUnavailable:
		// By their definition these say that the request was not handled.
		return verdict{err: x.refusal(op, a, core.CodeUnavailable)}
	case s >= 400 && s < 500:
		split := s == http.StatusBadRequest || s == http.StatusRequestEntityTooLarge || s == http.StatusUnprocessableEntity
		return verdict{err: x.refusal(op, a, core.CodeInvalid), split: split}
	}
	return verdict{err: x.refusal(op, a, x.unknownCode())}
}

// refusal makes the error of an answer.
func (x *session) refusal(op *operation, a *answer, code core.Code) *core.Error {
	err := &core.Error{
		Code: code, Op: op.kind, Source: core.SourceVendor,
		Vendor:  clip(x.hide(a.text(op.response.errorCode)), 60),
		Message: fmt.Sprintf("answered %d", a.status),
	}
	if err.Vendor == "" {
		err.Vendor = strconv.Itoa(a.status)
	}
	why := clip(x.hide(a.text(op.response.errorMessage)), maxQuote)
	if why == "" {
		why = x.quote(a)
	}
	err.Message += ": " + why
	if code == core.CodeRateLimited || code == core.CodeUnavailable || code == core.CodeUnknownOutcome {
		err.RetryAfter = x.retryAfter.wait(a.header)
	}
	return err
}

// unknownCode is for requests that may have had their effect. Where that can be
// repeated without harm it is as good as not done.
func (x *session) unknownCode() core.Code {
	if x.idempotency.Safe() {
		return core.CodeUnavailable
	}
	return core.CodeUnknownOutcome
}

func (x *session) unknown(op *operation, message string) *core.Error {
	return &core.Error{Code: x.unknownCode(), Op: op.kind, Source: core.SourceVendor, Message: message}
}

// maxWait caps what an API can ask for.
const maxWait = 24 * time.Hour

// wait returns how long the answer asks to wait; 0 when it does not.
func (s retryAfterSettings) wait(h http.Header) time.Duration {
	return waitFor(strings.TrimSpace(h.Get(s.Header)), s.Format, h)
}

// waitFormats are those of a header that says how long to wait.
var waitFormats = []string{"auto", "seconds", "milliseconds", "epoch"}

// waitFor reads how long to wait from a header's text; 0 when it says nothing.
func waitFor(text, format string, h http.Header) time.Duration {
	if text == "" {
		return 0
	}
	// The API's clock counts, where it shows.
	now := time.Now()
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	var wait float64 // seconds
	n, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil:
		date, err := http.ParseTime(text)
		if err != nil || format != "auto" {
			return 0
		}
		wait = date.Sub(now).Seconds()
	case format == "milliseconds":
		wait = n / 1000
	case format == "epoch":
		wait = n - float64(now.UnixMilli())/1000
	default:
		wait = n
	}
	if !(wait > 0) { // NaN too
		return 0
	}
	return time.Duration(min(wait, maxWait.Seconds()) * float64(time.Second))
}
