package salesforce

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// outcome is Salesforce's answer to one row.
type outcome struct {
	ID      string     `json:"id"`
	Success bool       `json:"success"`
	Created bool       `json:"created"`
	Errors  []apiError `json:"errors"`
}

// upsert writes rows by the object's external id field; each ends with an id or an
// error.
func (x *session) upsert(ctx context.Context, object, key string, rs []*row) {
	x.collect(ctx, object, "upsert", "composite/sobjects/"+object+"/"+key, rs, func(r *row) map[string]any {
		return x.record(object, key, r.key, r)
	})
}

// update writes rows to the records that they have an id of.
func (x *session) update(ctx context.Context, object, key string, rs []*row) {
	ids := make(map[*row]string, len(rs))
	for _, r := range rs {
		ids[r] = r.id
	}
	x.collect(ctx, object, "update", "composite/sobjects", rs, func(r *row) map[string]any {
		record := x.record(object, "id", ids[r], r)
		record[key] = r.key
		return record
	})
}

func (x *session) record(object, key, value string, r *row) map[string]any {
	record := maps.Clone(r.fields)
	record["attributes"] = map[string]string{"type": object}
	record[key] = value
	return record
}

// maxCuts is how often texts are cut that are too long: each of several, and one that
// Salesforce takes for longer than it is, by its line breaks.
const maxCuts = 4

// collect writes rows, and again those with a text that was too long.
func (x *session) collect(ctx context.Context, object, what, path string, rs []*row, record func(*row) map[string]any) {
	calls := crm.MaxTries
	send := func(rs []*row) {
		for _, given := range []bool{false, true} {
			some := slices.DeleteFunc(slices.Clone(rs), func(r *row) bool { return r.assign != given })
			for part := range slices.Chunk(some, maxBatch) {
				crm.Isolate(part, &calls,
					func(rs []*row) ([]*row, *core.Error) {
						return x.collectOnce(ctx, assigned(object, given), object+" "+what, path, rs, record)
					},
					func(r *row, err *core.Error) { r.err = err })
			}
		}
	}
	send(rs)
	for range maxCuts {
		rs = slices.DeleteFunc(slices.Clone(rs), func(r *row) bool { return !x.shorten(r) })
		send(rs)
	}
}

// assigned says whether the org's rules give away the records that are written. Unless it
// is told not to, Salesforce has them do so with each write of a case or lead, also where
// there are none, and takes it from whoever had it. See
// https://developer.salesforce.com/docs/platform/api-rest/guide/headers-autoassign.html.
func assigned(object string, given bool) http.Header {
	if !byRules(object) {
		return nil
	}
	return http.Header{"Sforce-Auto-Assign": {strings.ToUpper(strconv.FormatBool(given))}}
}

// byRules reports whether an org may have rules that say whose records of an object are.
func byRules(object string) bool {
	return strings.EqualFold(object, "Case") || strings.EqualFold(object, "Lead")
}

// shorten cuts what people wrote to what the fields take; false when that is not
// why the row was refused. What a script returned is refused instead.
func (x *session) shorten(r *row) bool {
	size := r.refused.tooLong()
	if r.err == nil || size == 0 || len(r.refused.Fields) == 0 {
		return false
	}
	for _, name := range r.refused.Fields {
		text, ok := r.fields[name].(string)
		if !ok || !slices.Contains([]string{x.MessageBody, x.MessageError, x.NameField, x.TagsField, x.UsernameField, "Subject", "Description"}, name) {
			return false
		}
		to := size
		if n := crm.Length(text); n <= size {
			to = n * 3 / 4
		}
		r.fields[name] = cut(text, to)
	}
	return true
}

// collectOnce makes one request. It returns the rows that the answer did not decide.
func (x *session) collectOnce(ctx context.Context, header http.Header, op, path string, rs []*row, record func(*row) map[string]any) ([]*row, *core.Error) {
	records := make([]map[string]any, len(rs))
	for i, r := range rs {
		r.err, r.refused = nil, apiError{}
		records[i] = record(r)
	}
	body, err := json.Marshal(map[string]any{"allOrNone": false, "records": records})
	if err != nil {
		return rs, crm.Failure(core.CodeInvalid, op, "the fields cannot be written: %v", err)
	}
	var outcomes []outcome
	refused := x.callWith(ctx, header, op, http.MethodPatch, path, body, func(b []byte) error { return crm.Decode(b, &outcomes) })
	if refused != nil {
		if len(rs) == 1 {
			rs[0].refused = refused.answer
		}
		if refused.Vendor == "INVALID_TYPE" {
			return rs, noObject(refused.Error)
		}
		return rs, refused.Error
	}
	if len(outcomes) != len(rs) {
		return rs, &core.Error{Code: core.CodeUnknownOutcome, Op: op, Source: core.SourceVendor, Message: "the answer has another number of rows than the request"}
	}
	var heavy []*row
	for i, r := range rs {
		switch o := outcomes[i]; {
		case o.Success && o.ID != "":
			r.id, r.created = o.ID, r.created || o.Created
		case len(o.Errors) > 0 && len(rs) > 1 && o.Errors[0].tooMuch():
			heavy = append(heavy, r)
		case len(o.Errors) > 0:
			r.refused, r.err = o.Errors[0], x.rowError(op, o.Errors[0])
		default:
			r.err = &core.Error{Code: core.CodeUnknownOutcome, Op: op, Source: core.SourceVendor, Message: "the answer says nothing of this row"}
		}
	}
	if len(heavy) > 0 { // half of them at a time
		return heavy, crm.Failure(core.CodeInvalid, op, "a trigger or flow of the org's does too much")
	}
	return nil, nil
}
