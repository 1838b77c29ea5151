package zoho

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// writing is one kind of write.
type writing struct {
	op     string
	method string
	path   string
	// key is the unique field that rows are found by; "" where they have ids, or are
	// new.
	key string
	// upsert lets Zoho find out whether a row's record exists.
	upsert bool
	// once says that a row written twice is two records.
	once bool
	// refused is told of what Zoho said of a row, before it becomes an error; true
	// when it took care of it.
	refused func(r *row, o *outcome) bool
}

// write writes rows, each ends with an id or an error. values are what to write of
// each.
func (x *session) write(ctx context.Context, w writing, list []*row, values map[*row][]value) {
	calls := crm.MaxTries
	for len(list) > 0 {
		n := min(len(list), maxBatch)
		crm.Isolate(list[:n], &calls,
			func(part []*row) ([]*row, *core.Error) { return x.writeOnce(ctx, w, part, values) },
			func(r *row, err *core.Error) { r.err = err })
		list = list[n:]
	}
}

// rowsPerCredit is how many rows of a write Zoho takes for a credit.
const rowsPerCredit = 10

// rowPath finds the row that an error about a whole call is about.
var rowPath = regexp.MustCompile(`^\$\.data\[([0-9]{1,3})\]`)

// writeOnce makes one call. It returns the rows that the answer did not decide.
func (x *session) writeOnce(ctx context.Context, w writing, list []*row, values map[*row][]value) ([]*row, *core.Error) {
	body := append(make([]byte, 0, 512*len(list)+64), `{"data":[`...)
	for i, r := range list {
		if i > 0 {
			body = append(body, ',')
		}
		body = appendRow(body, r, w.key, values[r])
	}
	body = append(body, ']')
	if w.upsert {
		body = append(append(append(body, `,"duplicate_check_fields":["`...), w.key...), `"]`...)
	}
	if !x.RunWorkflows {
		body = append(body, `,"trigger":[]`...)
	}
	body = append(body, '}')
	var answered []outcome
	credits := (len(list) + rowsPerCredit - 1) / rowsPerCredit
	refused := x.request(ctx, crm.Call{Op: w.op, Method: w.method, URL: x.api(w.path), Header: http.Header{}, Body: body, Once: w.once, Cost: credits}, func(b []byte) error {
		var a struct {
			Data []outcome `json:"data"`
		}
		err := crm.Decode(b, &a)
		answered = a.Data
		return err
	})
	if refused != nil {
		m := rowPath.FindStringSubmatch(refused.outcome.Details.Path)
		if refused.Code != core.CodeInvalid || m == nil || len(list) == 1 {
			return list, refused.Error
		}
		if i, _ := strconv.Atoi(m[1]); i < len(list) {
			x.refusedRow(w, list[i], &refused.outcome)
			list = append(append([]*row{}, list[:i]...), list[i+1:]...)
		}
		return list, refused.Error
	}
	if len(answered) != len(list) {
		// Answers are in the order of the rows, and nothing else says whose they are.
		return list, &core.Error{Code: core.CodeUnknownOutcome, Op: w.op, Source: core.SourceVendor,
			Message: "Zoho's answer does not have a row for each row"}
	}
	for i, r := range list {
		o := &answered[i]
		switch {
		case o.Status == "success" && (o.Details.ID != "" || r.id != ""):
			x.isUser(o.Details.ModifiedBy.ID)
			if o.Details.ID != "" {
				r.id = o.Details.ID
			}
			r.err = nil
		case o.Status == "success", o.Status == "" && o.Code == "":
			r.err = &core.Error{Code: core.CodeUnknownOutcome, Op: w.op, Source: core.SourceVendor, Message: "Zoho's answer holds no record"}
		default:
			x.refusedRow(w, r, o)
		}
	}
	if slices.ContainsFunc(list, func(r *row) bool { return r.err == nil }) {
		for _, r := range list {
			if r.err != nil && r.err.Code == core.CodeRateLimited {
				r.err.Scope = core.ScopeConversation // the account is not at its limit: others were written
			}
		}
	}
	return nil, nil
}

func (x *session) refusedRow(w writing, r *row, o *outcome) {
	r.err = x.rowError(w.op, o)
	if x.isGone(r, o) {
		r.err = goneMeanwhile(w.op, o)
	}
	if w.refused != nil {
		w.refused(r, o)
	}
}

func goneMeanwhile(op string, o *outcome) *core.Error {
	return &core.Error{Code: core.CodeUnavailable, Op: op, Source: core.SourceVendor, Vendor: o.Code,
		Message: "a record is not there any more: the next attempt finds another, or makes it"}
}

// isGone reports whether a row was refused because a record was deleted, or merged into
// another, since it was read: its own, or the one that it points to.
func (x *session) isGone(r *row, o *outcome) bool {
	switch o.Details.Field {
	case "", "id":
		return o.Code == "INVALID_DATA" && r.id != "" && (o.Details.ID == r.id || strings.Contains(o.Message, "id given seems to be invalid"))
	case x.MessageContact, x.work().contact, "Parent_Id":
		return o.Code == "INVALID_DATA"
	}
	return false
}

// valuesFor returns the values of a row as the module's fields take them. With
// changed, those are left out that the record has already.
func valuesFor(fs *fields, r *row, changed bool) []value {
	var list []value
	for _, v := range r.values {
		f := fs.byName[v.name]
		if f == nil {
			continue
		}
		made := value{v.name, f.value(v.v)}
		if have, read := r.have[v.name]; changed && read && f.same(have, made.v) {
			continue
		}
		list = append(list, made)
	}
	return list
}

// withName adds the field that a module's records must have, though it stays as it
// is: an upsert is refused without it.
func withName(fs *fields, r *row, name string, list []value) []value {
	for _, v := range list {
		if v.name == name {
			return list
		}
	}
	if r.have != nil && r.have.text(name) != "" {
		return append(list, value{name, r.have.text(name)})
	}
	for _, v := range r.fresh {
		if f := fs.byName[v.name]; f != nil {
			list = append(list, value{v.name, f.value(v.v)})
		}
	}
	return list
}
