package customhttp

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/wabridge/wabridge/core"
)

// listingSettings are a request whose answer is a list of rows, a page at a time.
type listingSettings struct {
	// Method is GET unless set. Path, the values of Query and Headers, and Body
	// are templates over .page, .offset, .cursor and .size.
	Method   string            `json:"method"`
	Path     string            `json:"path"`
	Query    map[string]string `json:"query"`
	Headers  map[string]string `json:"headers"`
	Body     *string           `json:"body"`
	Response *responseSettings `json:"response"`
	Errors   []errorSettings   `json:"errors"`
	// Rows leads to the array of rows; "" is the answer itself.
	Rows   string         `json:"rows"`
	Paging pagingSettings `json:"paging"`
}

type pagingSettings struct {
	// Type is "none", "page" ({{.page}} counts from First, 1 unless set), "offset"
	// ({{.offset}}), "cursor" ({{.cursor}} is what Path led to in the page before),
	// "keyset" ({{.cursor}} is what Path leads to in the last row of the page before)
	// or "next_url" (Path leads to the next page's address, or, without one, the
	// header Link does, rel="next").
	Type  string `json:"type"`
	Path  string `json:"path"`
	First *int   `json:"first"`
	// Size is {{.size}}, how many rows a page has; 100 unless set. For page and offset,
	// a page with fewer is the last; or Total leads to how many rows all pages have
	// together, for APIs that may give fewer than are asked for.
	// With keyset an empty page is the last, and where Size is set, one with fewer.
	Size  int    `json:"size"`
	Total string `json:"total"`
	// MaxPages is how many pages there can be: with more, something is wrong.
	MaxPages int `json:"max_pages"`
}

// listing is a compiled [listingSettings].
type listing struct {
	op     *operation
	rows   path
	paging string
	next   path
	total  path
	first  int
	size   int
	pages  int  // the most that there can be
	short  bool // a page of fewer rows than size is the last of a keyset
	most   int  // rows of one answer
	oneRow bool // the rows may be one, and no list
}

// pagingWords are what a request for pages can say, and more.
func pagingWords(who string, more map[string]*word) *word {
	number := &word{zero: json.Number("0")}
	w := &word{fields: map[string]*word{"cursor": {zero: ""}, "page": number, "offset": number, "size": number}}
	names := sortedKeys(more)
	for _, name := range names {
		w.fields[name] = more[name]
	}
	w.only = fmt.Sprintf(" (%s knows .%s, .page, .offset, .cursor and .size)", who, strings.Join(names, ", ."))
	return w
}

var pagingTypes = []string{"none", "page", "offset", "cursor", "keyset", "next_url"}

func (c *planner) listing(where, kind string, s listingSettings, words *word) listing {
	l := listing{
		rows: parsePath(s.Rows), paging: cmp.Or(s.Paging.Type, "none"), next: parsePath(s.Paging.Path), total: parsePath(s.Paging.Total),
		first: 1, size: cmp.Or(s.Paging.Size, 100), short: s.Paging.Size != 0, pages: cmp.Or(s.Paging.MaxPages, maxPages), most: maxRows,
	}
	l.op = c.request(where, kind, operationSettings{
		Method: cmp.Or(s.Method, http.MethodGet), Path: s.Path, Query: s.Query, Headers: s.Headers,
	}, words)
	switch {
	case s.Body == nil || *s.Body == "":
		l.op.noBody = true
	case l.op.method == http.MethodGet:
		c.addf(where+".body", "GET has no body")
	default:
		l.op.body = compileTemplate(*s.Body, inBody, where+".body", words, c.problems)
	}
	l.op.response = compileResponse(cmp.Or(s.Response, c.settings.Response, new(responseSettings)), where+".response", c.problems)
	l.op.response.id = nil // rows have theirs
	l.op.errors = append(c.rules(where+".errors", s.Errors), c.rules("settings.errors", c.settings.Errors)...)
	l.rows.check(where+".rows", c.problems)
	l.next.check(where+".paging.path", c.problems)
	if !slices.Contains(pagingTypes, l.paging) {
		c.addf(where+".paging.type", "want one of %s", strings.Join(pagingTypes, ", "))
	}
	if l.paging == "cursor" && s.Paging.Path == "" {
		c.addf(where+".paging.path", "missing: the path to the next page's cursor")
	}
	if l.paging == "keyset" && s.Paging.Path == "" {
		c.addf(where+".paging.path", "missing: the path in a row to what the next page begins after")
	}
	if l.pages < 1 || l.pages > maxPages {
		c.addf(where+".paging.max_pages", "want 1 to %d", maxPages)
	}
	if l.total.check(where+".paging.total", c.problems); l.total != nil && l.paging != "page" && l.paging != "offset" {
		c.addf(where+".paging.total", "is for page and offset: with others the API says where the end is")
	}
	if s.Paging.First != nil {
		l.first = *s.Paging.First
	}
	if l.size < 1 || l.size > maxRows {
		c.addf(where+".paging.size", "want 1 to %d", maxRows)
	}
	return l
}

// pageAt is where the asking for pages is; the zero place is before the first.
type pageAt struct {
	// Pages are those that were read, Next leads to the next one.
	Pages int    `json:"pages,omitempty"`
	Next  string `json:"next,omitempty"`
	// Seen is how many rows they had, where that is counted.
	Seen int `json:"seen,omitempty"`
}

// maxPages bounds how many are read: an API whose pages do not end is wrong.
const maxPages = 10_000

// ask asks for one page and moves the place on: after the last page it is the zero
// place again. The templates see data, and where the asking is.
func (x *session) ask(ctx context.Context, l *listing, data map[string]any, at *pageAt) ([]any, *core.Error) {
	r, err := x.askFor(l, data, *at, x.cred)
	if err != nil {
		return nil, err
	}
	a, err := x.do(ctx, l.op, r)
	if err == nil && a.status != http.StatusNotModified && a.status != http.StatusNoContent {
		err = x.judge(l.op, a).err
	}
	if err != nil {
		if err.Code == core.CodeUnknownOutcome {
			err.Code = core.CodeUnavailable // it was only a question
		}
		return nil, err
	}
	if a.status == http.StatusNotModified || a.status == http.StatusNoContent || !anyHas(l.op.response.success, a.status) {
		*at = pageAt{} // a rule says that there is nothing: some APIs answer 404 after the last page
		return nil, nil
	}
	rows, err := x.rowsOf(l, a)
	if err != nil {
		return nil, err
	}
	next, last, seen := "", true, 0
	switch l.paging {
	case "page", "offset":
		if last = len(rows) < l.size; l.total != nil {
			total, numErr := strconv.Atoi(a.text(l.total))
			if numErr != nil {
				return nil, x.odd(l, a, "there is no number of all rows", "paging.total")
			}
			seen = at.Seen + len(rows)
			last = len(rows) == 0 || seen >= total
		}
	case "cursor":
		next = a.text(l.next)
		last = next == ""
	case "keyset":
		if last = len(rows) == 0 || l.short && len(rows) < l.size; !last {
			if next = l.next.text(rows[len(rows)-1]); next == "" {
				return nil, x.odd(l, a, "the last row does not say what the next page begins after", "paging.path")
			}
		}
	case "next_url":
		if next = a.text(l.next); l.next == nil {
			next = linkNext(a.header)
		}
		last = next == ""
	}
	if len(next) > maxURL {
		return nil, x.odd(l, a, "the next page's cursor is too long", "paging.path")
	}
	switch before := *at; {
	case last:
		*at = pageAt{}
	case before.Pages+1 >= l.pages, next != "" && next == before.Next:
		return nil, &core.Error{Code: core.CodeForbidden, Op: l.op.kind, Source: core.SourceVendor,
			Message: fmt.Sprintf("its pages do not end: %d were read", before.Pages+1), Hint: "look at paging, and its max_pages, in " + l.op.name}
	default:
		*at = pageAt{Pages: before.Pages + 1, Next: next, Seen: seen}
	}
	return rows, nil
}

// askFor makes the request for the page after a place.
func (p *plan) askFor(l *listing, data map[string]any, at pageAt, cred credentials) (Request, *core.Error) {
	data["cursor"], data["size"], data["page"], data["offset"] = at.Next, l.size, l.first+at.Pages, l.size*at.Pages
	if l.total != nil {
		data["offset"] = at.Seen
	}
	var body []byte
	if l.op.body != nil {
		text, err := l.op.body.render(data, maxRequestBody)
		if err != nil {
			return Request{}, err
		}
		if err := l.op.body.validJSON([]byte(text)); err != nil {
			return Request{}, err
		}
		body = []byte(text)
	}
	r, err := p.requestFor(l.op, data, body, cred)
	if err == nil && l.paging == "next_url" && at.Next != "" {
		r.URL, err = p.nextURL(l, at.Next, cred)
	}
	return r, err
}

// rowsOf returns the rows of an answer.
func (x *session) rowsOf(l *listing, a *answer) ([]any, *core.Error) {
	odd := func(why string) ([]any, *core.Error) { return nil, x.odd(l, a, why, "rows, and at paging.size,") }
	if !a.isJSON() {
		if a.broken {
			return nil, &core.Error{Code: core.CodeUnavailable, Op: l.op.kind, Source: core.SourceVendor,
				Message: fmt.Sprintf("the answer broke off after %d bytes", len(a.body)), Hint: "look at settings.timeout and the network"}
		}
		return odd(fmt.Sprintf("the answer is no whole JSON (%d bytes of it were read)", len(a.body)))
	}
	v, _ := l.rows.find(a.json())
	rows, ok := v.([]any)
	if one, isRow := v.(map[string]any); isRow && l.oneRow {
		return []any{one}, nil
	}
	switch {
	case !ok && v == nil && l.rows != nil:
		return nil, nil // some leave an empty list out
	case !ok:
		return odd("there is no list of rows")
	case len(rows) > l.most:
		return odd(fmt.Sprintf("%d rows, at most %d are read", len(rows), l.most))
	}
	return rows, nil
}

// odd is the error of an answer that the settings do not fit.
func (x *session) odd(l *listing, a *answer, why, setting string) *core.Error {
	return &core.Error{Code: core.CodeForbidden, Op: l.op.kind, Source: core.SourceVendor, Message: why + ": " + x.quote(a),
		Hint: "look at " + setting + " in " + l.op.name}
}

var linkPattern = regexp.MustCompile(`<([^<>]*)>\s*((?:;\s*[^,;]*)*)`)

// linkNext returns the address that a header Link names rel="next".
func linkNext(h http.Header) string {
	for _, line := range h.Values("Link") {
		for _, m := range linkPattern.FindAllStringSubmatch(line, 50) {
			for part := range strings.SplitSeq(m[2], ";") {
				name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
				if strings.EqualFold(name, "rel") && slices.Contains(strings.Fields(strings.ToLower(strings.Trim(value, `"`))), "next") {
					return m[1]
				}
			}
		}
	}
	return ""
}

// nextURL is the address that an answer gave for the next page: of the same
// server, and nowhere above base_url.
func (p *plan) nextURL(l *listing, next string, cred credentials) (string, *core.Error) {
	u, err := p.base.Parse(next)
	if err != nil || u.Scheme != p.base.Scheme || u.Host != p.base.Host || u.User != nil || climbs(u.EscapedPath()) ||
		!strings.HasPrefix(u.EscapedPath()+"/", strings.TrimSuffix(p.base.EscapedPath(), "/")+"/") {
		return "", &core.Error{Code: core.CodeForbidden, Op: l.op.kind, Source: core.SourcePlugin,
			Message: "the next page is said to be elsewhere than at settings.base_url", Hint: "look at paging in " + l.op.name}
	}
	if cred.query.name != "" {
		query := u.Query()
		query.Set(cred.query.name, cred.query.value)
		u.RawQuery = query.Encode()
	}
	u.Fragment = ""
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}).String(), nil
}
