package hubspot

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// upsertAnswer is what is read of the answer to a batch upsert.
type upsertAnswer struct {
	Results []struct {
		ID    string `json:"id"`
		New   bool   `json:"new"`
		Trace string `json:"objectWriteTraceId"`
	} `json:"results"`
	NumErrors int        `json:"numErrors"`
	Errors    []apiError `json:"errors"`
}

// keyedAnswer is read as well when HubSpot did not repeat the trace ids.
type keyedAnswer struct {
	Results []struct {
		ID         string                     `json:"id"`
		New        bool                       `json:"new"`
		Properties map[string]json.RawMessage `json:"properties"`
	} `json:"results"`
}

// write upserts the rows of an object; each ends with an id or an error.
func (x *session) write(ctx context.Context, o object, rs []*row) {
	x.upsert(ctx, o, rs)
	if x.CreateProperties && ctx.Err() == nil {
		// A property of ours is gone, or Check never ran on this account.
		lacking := pick(rs, func(r *row) bool {
			return r.err != nil && r.err.Vendor == "PROPERTY_DOESNT_EXIST" && r.err.Code == core.CodeForbidden
		})
		if len(lacking) > 0 && x.prepare(ctx, o) == nil {
			x.again(ctx, o, lacking)
		}
	}
	theirs := func(r *row) bool { return r.err != nil && r.existing != "" && x.OnConflict == "adopt" }
	second := pick(rs, func(r *row) bool {
		return len(r.onCreate) > 0 && !r.fresh && (r.isNew || r.err != nil && r.err.Code == core.CodeInvalid) && !theirs(r)
	})
	for _, r := range second {
		r.fresh = true
	}
	x.again(ctx, o, second)
	for _, r := range pick(rs, theirs) {
		x.adopt(ctx, o, r)
	}
}

// again upserts rows a second time.
func (x *session) again(ctx context.Context, o object, rs []*row) {
	for _, r := range rs {
		r.id, r.err = "", nil
	}
	x.upsert(ctx, o, rs)
}

// upsert writes rows by the object's key, and those that name a record to that.
func (x *session) upsert(ctx context.Context, o object, rs []*row) {
	calls := crm.MaxTries
	isTo := func(r *row) bool { return r.record != "" }
	for _, rs := range [][]*row{pick(rs, isTo), pick(rs, func(r *row) bool { return !isTo(r) })} {
		for rs := range slices.Chunk(rs, maxBatch) {
			crm.Isolate(rs, &calls,
				func(rs []*row) ([]*row, *core.Error) { return x.upsertOnce(ctx, o, rs) },
				func(r *row, err *core.Error) { r.err = err })
		}
	}
}

// upsertOnce makes one request, for rows that are all by key or all to records. It returns
// those that the answer did not decide.
func (x *session) upsertOnce(ctx context.Context, o object, rs []*row) ([]*row, *core.Error) {
	op, verb := o.singular+" upsert", "/batch/upsert"
	if rs[0].record != "" {
		op, verb = o.singular+" adopt", "/batch/update"
	}
	body := appendUpsert(make([]byte, 0, 512*len(rs)+64), o.key, rs)
	open := make(map[string]*row, len(rs)) // by trace id
	for _, r := range rs {
		open[r.trace] = r
	}
	// decide ends the rows that an error names; false when it names none.
	decide := func(e apiError) bool {
		named := false
		for _, trace := range e.traces() {
			if r := open[trace]; r != nil {
				named = true
				r.err, r.existing = x.refusedRow(op, r, e), e.existing()
				delete(open, trace)
			}
		}
		if ids := e.values("ids"); !named && len(ids) > 0 {
			for _, r := range rs {
				for _, id := range ids {
					if open[r.trace] == r && id == cmp.Or(r.record, r.key) {
						named = true
						r.err = x.refusedRow(op, r, e)
						delete(open, r.trace)
					}
				}
			}
		}
		return named
	}
	var unnamed []apiError
	refused := x.call(ctx, op, http.MethodPost, x.path("objects", o.name+verb), body, func(b []byte) error {
		done := func(id, trace []byte, isNew bool) {
			if r := open[string(trace)]; r != nil {
				r.id, r.isNew = string(id), r.isNew || isNew
				delete(open, r.trace)
			}
		}
		if scanResults(b, done) {
			return nil
		}
		var a upsertAnswer
		if err := crm.Decode(b, &a); err != nil {
			return err
		}
		traced := true
		for _, res := range a.Results {
			if res.Trace == "" {
				traced = false
			} else if r := open[res.Trace]; r != nil && res.ID != "" {
				r.id, r.isNew = res.ID, r.isNew || res.New
				delete(open, res.Trace)
			}
		}
		if !traced {
			x.readByKey(b, o, open)
		}
		for _, e := range a.Errors {
			if !decide(e) {
				unnamed = append(unnamed, e)
			}
		}
		return nil
	})
	if refused != nil {
		if refused.Code == core.CodeInvalid || refused.notThere() {
			named := false
			for _, e := range append(refused.answer.Errors, refused.answer) {
				named = decide(e) || named
			}
			if named {
				refused.Code = core.CodeInvalid // for these: the others may do without them
			}
			if len(rs) == 1 && len(open) == 1 {
				rs[0].existing = refused.answer.existing()
			}
		}
		return remaining(rs, open), refused.Error
	}
	rest := remaining(rs, open)
	if len(rest) == 0 {
		return nil, nil
	}
	if len(unnamed) > 0 {
		return rest, x.rowError(op, unnamed[0])
	}
	return rest, &core.Error{Code: core.CodeUnknownOutcome, Op: op, Source: core.SourceVendor,
		Message: "HubSpot's answer does not mention this row"}
}

// refusedRow is the error of a row: a record that went since it was found is looked for anew.
func (x *session) refusedRow(op string, r *row, e apiError) *core.Error {
	err := x.rowError(op, e)
	if r.record != "" && e.Category == "OBJECT_NOT_FOUND" {
		err.Code, err.Hint = core.CodeUnavailable, ""
	}
	return err
}

// readByKey matches results to rows by the value of the key.
func (x *session) readByKey(body []byte, o object, open map[string]*row) {
	var a keyedAnswer
	if crm.Decode(body, &a) != nil {
		return
	}
	byKey := make(map[string]*row, len(open))
	for _, r := range open {
		byKey[r.key] = r
	}
	for _, res := range a.Results {
		var key string
		if json.Unmarshal(res.Properties[o.key], &key) != nil {
			continue
		}
		if r := byKey[key]; r != nil && res.ID != "" {
			r.id, r.isNew = res.ID, r.isNew || res.New
			delete(open, r.trace)
		}
	}
}

func remaining(rs []*row, open map[string]*row) []*row {
	if len(open) == 0 {
		return nil
	}
	return pick(rs, func(r *row) bool { return open[r.trace] == r })
}

func pick(rs []*row, want func(*row) bool) []*row {
	var found []*row
	for _, r := range rs {
		if want(r) {
			found = append(found, r)
		}
	}
	return found
}

// adopt writes a refused row to the record it conflicts with, and with it our key:
// the record that HubSpot already has of this person becomes the contact's. A record
// that belongs to another contact of ours is left alone.
func (x *session) adopt(ctx context.Context, o object, r *row) {
	op := o.singular + " adopt"
	path := x.path("objects", o.name+"/"+r.existing)
	var found pulled
	read := func(b []byte) error { found = pulled{}; return crm.Decode(b, &found) }
	names := []string{o.key}
	if o.name == "contacts" {
		names = x.looked()
	}
	if err := x.call(ctx, op, http.MethodGet, path+"?properties="+strings.Join(names, ","), nil, read); err != nil {
		if err.status != http.StatusNotFound {
			r.err = err.Error
		}
		return
	}
	if owner := found.text(o.key); owner != "" && owner != r.key {
		return // the conflict stands
	}
	x.has(r, &found)
	r.fresh = false // what is for new records only is not for this one
	body := append(appendProperties([]byte(`{"properties":`), o.key, r), '}')
	if err := x.call(ctx, op, http.MethodPatch, path, body, read); err != nil {
		if !x.raced(err.answer) { // else another record has the key: the conflict stands
			r.err = err.Error
		}
		return
	}
	if found.ID == "" {
		r.err = &core.Error{Code: core.CodeUnknownOutcome, Op: op, Source: core.SourceVendor, Message: "the answer holds no record"}
		return
	}
	r.id, r.err = found.ID, nil
}

// pair is one association to make: a communication or a ticket with a contact.
type pair struct {
	from, to string
	err      *core.Error
}

// associate makes the default association of each pair. Made twice, it is one.
func (x *session) associate(ctx context.Context, object string, pairs []*pair) {
	calls := crm.MaxTries
	for len(pairs) > 0 {
		n := min(len(pairs), maxBatch)
		crm.Isolate(pairs[:n], &calls,
			func(ps []*pair) ([]*pair, *core.Error) { return x.associateOnce(ctx, object, ps) },
			func(p *pair, err *core.Error) { p.err = err })
		pairs = pairs[n:]
	}
}

func (x *session) associateOnce(ctx context.Context, object string, pairs []*pair) ([]*pair, *core.Error) {
	op := strings.TrimSuffix(object, "s") + " associate"
	type end struct {
		ID string `json:"id"`
	}
	type key struct{ from, to string }
	open := make(map[key]*pair, len(pairs))
	for _, p := range pairs {
		open[key{p.from, p.to}] = p
	}
	left := func() []*pair {
		var rest []*pair
		for _, p := range pairs {
			if open[key{p.from, p.to}] == p {
				rest = append(rest, p)
			}
		}
		return rest
	}
	// decide ends the pair that an error names; false when it names none.
	decide := func(e apiError) bool {
		from, to := e.values("fromObjectId"), e.values("toObjectId")
		if len(from) != 1 || len(to) != 1 || open[key{from[0], to[0]}] == nil {
			return false
		}
		err := x.rowError(op, e)
		if e.Category == "OBJECT_NOT_FOUND" { // it went since it was written: the next attempt makes another
			err.Code, err.Hint = core.CodeUnavailable, ""
		}
		open[key{from[0], to[0]}].err = err
		delete(open, key{from[0], to[0]})
		return true
	}
	var unnamed []apiError
	body := appendPairs(make([]byte, 0, 64*len(pairs)), pairs)
	refused := x.call(ctx, op, http.MethodPost, x.path("associations", object+"/contacts/batch/associate/default"), body, func(b []byte) error {
		var a struct {
			Results []struct{ From, To end } `json:"results"`
			Errors  []apiError               `json:"errors"`
		}
		if err := crm.Decode(b, &a); err != nil {
			return err
		}
		// Both directions are reported, or one.
		for _, res := range a.Results {
			delete(open, key{res.From.ID, res.To.ID})
			delete(open, key{res.To.ID, res.From.ID})
		}
		for _, e := range a.Errors {
			if !decide(e) {
				unnamed = append(unnamed, e)
			}
		}
		return nil
	})
	switch {
	case refused != nil:
		if refused.Code == core.CodeInvalid || refused.notThere() {
			for _, e := range append(refused.answer.Errors, refused.answer) {
				if decide(e) {
					refused.Code = core.CodeInvalid // for this one: the others may do without it
				}
			}
		}
		return left(), refused.Error
	case len(open) == 0:
		return nil, nil
	case len(unnamed) > 0:
		return left(), x.rowError(op, unnamed[0])
	}
	return left(), &core.Error{Code: core.CodeUnknownOutcome, Op: op, Source: core.SourceVendor,
		Message: "HubSpot's answer does not mention this association"}
}
