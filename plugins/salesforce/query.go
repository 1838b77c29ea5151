package salesforce

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

const (
	// maxQuery is how long a query may be, in its encoded form: more than that in
	// an address some servers on the way do not take.
	maxQuery = 12_000
	// maxQueries is how many queries go into one composite request.
	maxQueries = 5
)

// quoted makes a text a SOQL literal that is nothing but this text.
func quoted(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\b", `\b`, "\f", `\f`, `"`, `\"`).Replace(text) + "'"
}

// found is one record of a query's answer.
type found map[string]json.RawMessage

func (f found) text(field string) string {
	for name, raw := range f {
		var s string
		if strings.EqualFold(name, field) && json.Unmarshal(raw, &s) == nil {
			return s
		}
	}
	return ""
}

// query asks for records: begin, some of parts with between in between, and end make
// as many queries as need be.
func (x *session) query(ctx context.Context, op, begin string, parts []string, between, end string) ([]found, *core.Error) {
	var queries []string
	for len(parts) > 0 {
		text, n := begin+parts[0], 1
		size := len(url.QueryEscape(begin + parts[0] + end))
		for ; n < len(parts); n++ {
			if size += len(url.QueryEscape(between + parts[n])); size > maxQuery {
				break
			}
			text += between + parts[n]
		}
		queries, parts = append(queries, text+end), parts[n:]
	}
	var all []found
	for some := range slices.Chunk(queries, maxQueries) {
		records, err := x.composite(ctx, op, some)
		if err != nil {
			return nil, err
		}
		all = append(all, records...)
	}
	return all, nil
}

// composite asks several queries in one request, and returns all that they find.
func (x *session) composite(ctx context.Context, op string, queries []string) ([]found, *core.Error) {
	pages, err := x.pages(ctx, op, queries)
	if err != nil {
		return nil, unread(err)
	}
	var all []found
	for _, p := range pages {
		if p.err != nil {
			return nil, unread(p.err)
		}
		records, err := x.toEnd(ctx, op, p)
		if err != nil {
			return nil, err
		}
		all = append(all, records...)
	}
	return all, nil
}

// toEnd returns the records of a page, and of all that come after it.
func (x *session) toEnd(ctx context.Context, op string, p page) (all []found, err *core.Error) {
	all = p.records
	for n := 0; !p.whole; n++ {
		if p, err = x.further(ctx, op, p.next); err != nil {
			return nil, err
		}
		if n == maxPages {
			return nil, crm.Failure(core.CodeUnavailable, op, "the answer has no end")
		}
		all = append(all, p.records...)
	}
	return all, nil
}

// unread is an error for events that could not be written because of a query: that is
// refused for what the settings name, whatever the events are.
func unread(err *core.Error) *core.Error {
	switch {
	case err.Code != core.CodeInvalid:
	case err.Vendor == "INVALID_TYPE":
		return noObject(err)
	case strings.HasPrefix(err.Vendor, "INVALID_FIELD"): // one that is encrypted may not be looked in
		err.Code, err.Scope = core.CodeForbidden, core.ScopeLane
		err.Hint = "look at the fields of settings.adopt_by and of the keys: they must be ones that queries may filter by"
	default:
		err.Code = core.CodeUnavailable
	}
	return err
}

// page is the answer to a query.
type page struct {
	records []found
	whole   bool   // there are no more
	next    string // where there are
	err     *core.Error
}

// maxPages is how many further pages of an answer are read: a page has 200 records at
// least, where there are more, and no query asks for more than 10,000.
const maxPages = 50

// answered is a page as Salesforce sends it.
type answered struct {
	Records []found `json:"records"`
	Done    bool    `json:"done"`
	Next    string  `json:"nextRecordsUrl"`
}

// page is an error where there is nothing, and yet more to come: that is no answer.
func (a *answered) page(op string) (page, *core.Error) {
	if len(a.Records) == 0 && !a.Done {
		return page{}, crm.Failure(core.CodeUnavailable, op, "the answer has neither records nor an end")
	}
	return page{records: a.Records, whole: a.Done, next: a.Next}, nil
}

// further reads what comes after a page. Salesforce gives fewer records at a time than
// are asked for as it likes. See
// https://developer.salesforce.com/docs/platform/api-rest/guide/headers-queryoptions.html.
func (x *session) further(ctx context.Context, op, next string) (page, *core.Error) {
	_, rest, ok := strings.Cut(next, "/query/")
	if !ok || strings.ContainsAny(rest, "/?#%") {
		return page{}, crm.Failure(core.CodeUnavailable, op, "the answer does not say where it goes on")
	}
	var a answered
	if r := x.call(ctx, op, http.MethodGet, "query/"+rest, nil, func(b []byte) error { return crm.Decode(b, &a) }); r != nil {
		return page{}, unread(r.Error)
	}
	return a.page(op)
}

// pages asks several queries, [maxQueries] at most, in one request, and returns the first
// page of each.
func (x *session) pages(ctx context.Context, op string, queries []string) ([]page, *core.Error) {
	type sub struct {
		Method string `json:"method"`
		URL    string `json:"url"`
		Ref    string `json:"referenceId"`
	}
	var request struct {
		AllOrNone bool  `json:"allOrNone"`
		Requests  []sub `json:"compositeRequest"`
	}
	for i, q := range queries {
		request.Requests = append(request.Requests, sub{http.MethodGet, x.path("query?q=" + url.QueryEscape(q)), fmt.Sprintf("q%d", i)})
	}
	body, _ := json.Marshal(request) //nolint:errchkjson // texts
	var answer struct {
		Responses []struct {
			Status int             `json:"httpStatusCode"`
			Body   json.RawMessage `json:"body"`
		} `json:"compositeResponse"`
	}
	if r := x.call(ctx, op, http.MethodPost, "composite", body, func(b []byte) error { return crm.Decode(b, &answer) }); r != nil {
		return nil, r.Error
	}
	if len(answer.Responses) != len(queries) {
		return nil, crm.Failure(core.CodeUnavailable, op, "the answer has another number of parts than the request")
	}
	pages := make([]page, len(queries))
	for i, res := range answer.Responses {
		if res.Status != http.StatusOK {
			pages[i].err = x.refused(op, &http.Response{StatusCode: res.Status, Header: http.Header{}}, res.Body).Error
			continue
		}
		var list answered
		if err := crm.Decode(res.Body, &list); err != nil {
			return nil, crm.Failure(core.CodeUnavailable, op, "the answer is not what Salesforce sends: %v", err)
		}
		var err *core.Error
		if pages[i], err = list.page(op); err != nil {
			return nil, err
		}
	}
	return pages, nil
}
