package customhttp

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/wabridge/wabridge/core"
)

// results is a compiled [resultsSettings].
type results struct {
	where   string
	path    path
	keyPath path  // nil matches by index
	key     *tmpl // what the event's row has at keyPath
	status  path
	success condition
	id      path
	contact path
	code    path
	message path
	errors  []rule
}

func (c *planner) results(where string, s *resultsSettings) *results {
	r := &results{
		where: where, path: parsePath(s.Path), status: parsePath(s.Status), id: parsePath(s.ID), contact: parsePath(s.Contact),
		code: parsePath(s.ErrorCode), message: parsePath(s.ErrorMessage),
	}
	for name, q := range map[string]path{
		"path": r.path, "status": r.status, "id": r.id, "contact": r.contact, "error_code": r.code, "error_message": r.message,
	} {
		q.check(where+"."+name, c.problems)
	}
	switch s.Match {
	case "index":
		if s.Key != "" || s.KeyPath != "" {
			c.addf(where, `key and key_path are for match = "key"`)
		}
	case "key":
		if r.keyPath = parsePath(s.KeyPath); r.keyPath == nil {
			c.addf(where+".key_path", "missing: the path in a row to what tells whose it is")
		}
		r.keyPath.check(where+".key_path", c.problems)
		r.key = compileTemplate(cmp.Or(s.Key, idOnly), inText, where+".key", vocabulary(), c.problems)
	default:
		c.addf(where+".match", `want "index" (rows come in the order of the events) or "key"`)
	}
	if s.Success != nil {
		if r.success = compileCondition(*s.Success, where+".success", c.problems); !r.success.reading {
			c.addf(where+".success", "want a path, and one of equals, in, matches and exists")
		}
	}
	if s.Success == nil && s.Status == "" && s.ErrorCode == "" {
		c.addf(where, "say how a good row shows: success, status or error_code")
	}
	r.errors = c.rules(where+".errors", s.Errors)
	return r
}

// judgeRows gives each item the verdict of its row.
func (x *session) judgeRows(op *operation, a *answer, items []*item) {
	r := op.batch.results
	found, _ := r.path.find(a.json())
	rows, ok := found.([]any)
	if !ok {
		failAll(items, x.unknown(op, fmt.Sprintf("answered %d without results at %s", a.status, r.where+".path")))
		return
	}
	if r.keyPath == nil {
		if len(rows) != len(items) {
			failAll(items, x.unknown(op, fmt.Sprintf("answered with %d results to %d events", len(rows), len(items))))
			return
		}
		for i, it := range items {
			it.settle(x.judgeRow(op, a, rows[i]))
		}
		return
	}
	byKey := make(map[string][]any, len(rows))
	for _, row := range rows {
		if key := r.keyPath.text(row); key != "" {
			byKey[key] = append(byKey[key], row)
		}
	}
	of := make(map[string][]*item, len(items))
	for _, it := range items {
		of[it.key] = append(of[it.key], it)
	}
	for key, same := range of {
		rows := byKey[key]
		for i, it := range same {
			switch {
			case len(rows) == len(same): // several in their order
				it.settle(x.judgeRow(op, a, rows[i]))
			case len(rows) == 1: // it is about all
				it.settle(x.judgeRow(op, a, rows[0]))
			case len(rows) == 0:
				it.settle(verdict{err: x.unknown(op, "answered without a result for this event")})
			case len(same) == 1 && !slices.ContainsFunc(rows, func(row any) bool { return x.judgeRow(op, a, row).err != nil }):
				it.settle(x.judgeRow(op, a, rows[0])) // all say that it is done
			default:
				it.settle(verdict{err: x.unknown(op, fmt.Sprintf("answered with %d results to %d events of the same key", len(rows), len(same)))})
			}
		}
	}
}

// judgeRow decides what a row means for its event. What a row refuses did not
// happen, whatever its status.
func (x *session) judgeRow(op *operation, a *answer, row any) verdict {
	r := op.batch.results
	status, _ := strconv.Atoi(r.status.text(row))
	var good bool
	switch {
	case r.success.reading:
		good = r.success.holds(row)
	case r.status != nil && status == 0:
		return verdict{err: x.unknown(op, "answered with a result that has no status")}
	case r.status != nil:
		good = status >= 200 && status <= 299
	default:
		good = r.code.text(row) == ""
	}
	if good {
		ref := r.id.text(row)
		if r.id != nil && ref == "" {
			return verdict{err: x.unknown(op, "answered with a result without the id that proves it")}
		}
		return verdict{ref: ref, contact: r.contact.text(row)}
	}
	raw, encErr := json.Marshal(row)
	if encErr != nil {
		raw = nil // decoded JSON: it does not happen
	}
	err := &core.Error{
		Code: core.CodeInvalid, Op: op.kind, Source: core.SourceVendor,
		Vendor:  clip(x.hide(r.code.text(row)), 60),
		Message: "refused: ",
	}
	if err.Vendor == "" && status != 0 {
		err.Vendor = strconv.Itoa(status)
	}
	if why := r.message.text(row); why != "" {
		err.Message += clip(x.hide(why), maxQuote)
	} else {
		err.Message += clip(x.hide(string(raw)), maxQuote)
	}
	switch {
	case status == http.StatusTooManyRequests:
		err.Code = core.CodeRateLimited
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusLocked, status >= 500:
		err.Code = core.CodeUnavailable
	}
	for i := range r.errors {
		rule := &r.errors[i]
		if !rule.holds(status, raw, func() any { return row }) {
			continue
		}
		code := consequences[rule.then]
		if code == "" {
			return verdict{ref: r.id.text(row)}
		}
		if code == core.CodeUnknownOutcome {
			code = x.unknownCode()
		}
		err.Code, err.Hint = code, rule.hint
		break
	}
	if err.Code == core.CodeRateLimited || err.Code == core.CodeUnavailable {
		err.RetryAfter = x.retryAfter.wait(a.header)
	}
	return verdict{err: err}
}
