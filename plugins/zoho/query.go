package zoho

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// What a query may hold (api/v8/COQL-Limitations.html). It is made over the table as
// it is; Zoho's search lags behind.
const (
	maxIn       = 100
	maxCriteria = 25
	maxSelect   = 50
	maxFound    = 200 // for one credit
)

// found is a record that a query returned, by field.
type found map[string]any

func (f found) id() string              { return plain(f["id"]) }
func (f found) text(name string) string { return plain(f[name]) }

// quote writes a text in a query. Neither quotes nor anything that could end it stay
// in it: ids and numbers have none, and what has is not found.
func quote(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == '\\' {
			return -1
		}
		return r
	}, s)
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// in is the condition that a field has one of some values.
func in(name string, values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quote(v)
	}
	return name + " in (" + strings.Join(quoted, ",") + ")"
}

// any joins conditions the way Zoho wants them: bracketed in pairs.
func anyOf(conditions []string) string {
	text := conditions[0]
	for i, c := range conditions[1:] {
		text += " or " + c
		if i < len(conditions)-2 {
			text = "(" + text + ")"
		}
	}
	return text
}

// hintQuery is the hint where Zoho refuses a query itself.
const hintQuery = "look at the fields and modules that the settings name"

// query returns up to maxFound records of a module that fulfil a condition.
func (x *session) query(ctx context.Context, module, where string, names ...string) ([]found, *core.Error) {
	return x.queryUpTo(ctx, maxFound, module, where, names...)
}

// queryUpTo is query with another limit; an order may follow the condition.
func (x *session) queryUpTo(ctx context.Context, limit int, module, where string, names ...string) ([]found, *core.Error) {
	text := fmt.Sprintf("select %s from %s where %s limit %d", strings.Join(names, ","), module, where, limit)
	body, _ := json.Marshal(map[string]string{"select_query": text}) //nolint:errchkjson // texts
	var a struct {
		Data []found `json:"data"`
	}
	r := x.call(ctx, "query "+module, http.MethodPost, "coql", body, func(b []byte) error { return crm.Decode(b, &a) })
	if r == nil {
		return a.Data, nil
	}
	if r.Code == core.CodeInvalid { // the query is ours, no event's
		r.Code, r.Scope, r.Hint = core.CodeForbidden, core.ScopeLane, hintQuery
	}
	return nil, r.Error
}

// byKey returns the records of a module that have one of the keys.
func (x *session) byKey(ctx context.Context, fs *fields, key string, keys []string, names ...string) (map[string]found, *core.Error) {
	records := map[string]found{}
	wanted := slices.Compact([]string{"id", key})
	for _, name := range names {
		f := fs.byName[name]
		if f != nil && len(wanted) < maxSelect && slices.Contains(queryable, f.Type) && !slices.Contains(wanted, name) {
			wanted = append(wanted, name)
		}
	}
	for part := range slices.Chunk(keys, maxIn) {
		list, err := x.query(ctx, fs.module, in(key, part), wanted...)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			records[r.text(key)] = r
		}
	}
	return records, nil
}
