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
	"time"

	"github.com/wabridge/wabridge/core"
)

// pullSettings ask the API what changed there, one page at a time.
type pullSettings struct {
	// Name tells several apart; their places are kept by it.
	Name string `json:"name"`
	// Method is GET unless set. Path, the values of Query and Headers, and Body
	// are templates over .since, .page, .offset, .cursor and .size.
	Method   string            `json:"method"`
	Path     string            `json:"path"`
	Query    map[string]string `json:"query"`
	Headers  map[string]string `json:"headers"`
	Body     *string           `json:"body"`
	Response *responseSettings `json:"response"`
	Errors   []errorSettings   `json:"errors"`
	// Rows leads to the array of rows; "" is the answer itself.
	Rows string `json:"rows"`
	// Since leads to what the API orders or filters changes by, in a row: the
	// latest seen is {{.since}} of the next round. Format is how it is written:
	// "rfc3339" unless set, "sql" (2026-11-27 10:00:00.123Z, UTC if it does not say),
	// "unix", "unix_ms" or "number". Start is {{.since}} of
	// the first round: "now" unless set. Lookback asks for that much more, for
	// changes that the API shows late.
	Since    string  `json:"since"`
	Format   string  `json:"format"`
	Start    *string `json:"start"`
	Lookback string  `json:"lookback"`

	Paging pagingSettings  `json:"paging"`
	Events []eventSettings `json:"events"`
}

type pagingSettings struct {
	// Type is "none", "page" ({{.page}} counts from First, 1 unless set), "offset"
	// ({{.offset}}), "cursor" ({{.cursor}} is what Path led to in the page before)
	// or "next_url" (Path leads to the next page's address, or, without one, the
	// header Link does, rel="next").
	Type  string `json:"type"`
	Path  string `json:"path"`
	First *int   `json:"first"`
	// Size is {{.size}}, how many rows a page has; 100 unless set. A page with
	// fewer is the last, for page and offset.
	Size int `json:"size"`
}

// pull is a compiled [pullSettings].
type pull struct {
	name     string
	op       *operation
	rows     path
	since    path
	format   string
	start    string
	lookback time.Duration
	paging   string
	next     path
	first    int
	size     int
	tellers  []teller
}

// pullWords are what a request that asks for changes can say.
var pullWords = &word{fields: map[string]*word{
	"since": {zero: ""}, "cursor": {zero: ""}, "page": {zero: json.Number("0")}, "offset": {zero: json.Number("0")}, "size": {zero: json.Number("0")},
}, only: " (a request for changes knows .since, .page, .offset, .cursor and .size)"}

var pagingTypes = []string{"none", "page", "offset", "cursor", "next_url"}

func (c *planner) pulls() []*pull {
	out := make([]*pull, 0, len(c.Pull))
	names := map[string]bool{}
	for i, s := range c.Pull {
		where := fmt.Sprintf("settings.pull[%d]", i)
		if s.Name == "" || names[s.Name] || len(s.Name) > 40 {
			c.addf(where+".name", "want a name of its own, of at most 40 letters: its place is kept by it")
		}
		names[s.Name] = true
		out = append(out, c.pull(where, s))
	}
	if len(c.Pull) > 20 {
		c.addf("settings.pull", "want 20 at most")
	}
	return out
}

func (c *planner) pull(where string, s pullSettings) *pull {
	q := &pull{
		name: s.Name, rows: parsePath(s.Rows), since: parsePath(s.Since), format: cmp.Or(s.Format, "rfc3339"), start: "now",
		paging: cmp.Or(s.Paging.Type, "none"), next: parsePath(s.Paging.Path), first: 1, size: cmp.Or(s.Paging.Size, 100),
	}
	q.op = c.request(where, "pull "+s.Name, operationSettings{
		Method: cmp.Or(s.Method, http.MethodGet), Path: s.Path, Query: s.Query, Headers: s.Headers,
	}, pullWords)
	switch {
	case s.Body == nil || *s.Body == "":
		q.op.noBody = true
	case q.op.method == http.MethodGet:
		c.addf(where+".body", "GET has no body")
	default:
		q.op.body = compileTemplate(*s.Body, inBody, where+".body", pullWords, c.problems)
	}
	q.op.response = compileResponse(orElse(s.Response, c.settings.Response), where+".response", c.problems)
	q.op.response.id = nil // rows have theirs
	q.op.errors = append(c.rules(where+".errors", s.Errors), c.rules("settings.errors", c.settings.Errors)...)
	q.rows.check(where+".rows", c.problems)
	q.since.check(where+".since", c.problems)
	q.next.check(where+".paging.path", c.problems)
	if !slices.Contains([]string{"rfc3339", "sql", "unix", "unix_ms", "number"}, q.format) {
		c.addf(where+".format", "want rfc3339, sql, unix, unix_ms or number")
	}
	if s.Start != nil {
		q.start = *s.Start
		if _, ok := q.order(q.start); !ok && q.start != "" && q.start != "now" {
			c.addf(where+".start", `want "now", "" or what a row has, in the format %s`, q.format)
		}
	}
	if s.Lookback != "" {
		var err error
		if q.lookback, err = time.ParseDuration(s.Lookback); err != nil || q.lookback < 0 || q.lookback > 7*24*time.Hour {
			c.addf(where+".lookback", `want a duration to "168h"`)
		}
		if q.format == "number" {
			c.addf(where+".lookback", "is for times")
		}
	}
	if !slices.Contains(pagingTypes, q.paging) {
		c.addf(where+".paging.type", "want one of %s", strings.Join(pagingTypes, ", "))
	}
	if q.paging == "cursor" && s.Paging.Path == "" {
		c.addf(where+".paging.path", "missing: the path to the next page's cursor")
	}
	if s.Paging.First != nil {
		q.first = *s.Paging.First
	}
	if q.size < 1 || q.size > maxRows {
		c.addf(where+".paging.size", "want 1 to %d", maxRows)
	}
	q.tellers = c.tellers(where+".events", s.Events)
	return q
}

func orElse(a, b *responseSettings) *responseSettings {
	if a != nil {
		return a
	}
	if b != nil {
		return b
	}
	return new(responseSettings)
}

// order reads a value of Since: what is later is larger.
func (q *pull) order(text string) (int64, bool) {
	if q.format == "rfc3339" {
		t, err := time.Parse(time.RFC3339Nano, text)
		return t.UnixNano(), err == nil
	}
	if q.format == "sql" {
		t, err := readSQL(text)
		return t.UnixNano(), err == nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// sqlTime is how databases write a time; many leave the zone out.
const sqlTime = "2006-01-02 15:04:05.000"

func readSQL(text string) (time.Time, error) {
	t, err := time.Parse("2006-01-02 15:04:05Z07:00", text) // with a fraction, too
	if err != nil {
		t, err = time.Parse(time.DateTime, text)
	}
	return t, err
}

// asked is {{.since}} for a place that was reached.
func (q *pull) asked(since string) string {
	n, ok := q.order(since)
	if !ok || q.lookback == 0 {
		return since
	}
	switch q.format {
	case "rfc3339":
		return time.Unix(0, n).UTC().Add(-q.lookback).Format(time.RFC3339Nano)
	case "sql":
		at := time.Unix(0, n).UTC().Add(-q.lookback).Format(sqlTime)
		if strings.HasSuffix(since, "Z") {
			at += "Z"
		}
		return at
	case "unix":
		return strconv.FormatInt(n-int64(q.lookback/time.Second), 10)
	}
	return strconv.FormatInt(n-q.lookback.Milliseconds(), 10)
}

// begins is {{.since}} of the first round.
func (q *pull) begins(now time.Time) string {
	if q.start != "now" {
		return q.start
	}
	switch q.format {
	case "rfc3339":
		return now.UTC().Format(time.RFC3339)
	case "sql":
		return now.UTC().Format(sqlTime)
	case "unix":
		return strconv.FormatInt(now.Unix(), 10)
	case "unix_ms":
		return strconv.FormatInt(now.UnixMilli(), 10)
	}
	return ""
}

// reached is where the asking is, by the names of the pulls.
type reached struct {
	// At is the pull whose turn it is.
	At    int             `json:"at,omitempty"`
	Pulls map[string]spot `json:"pulls,omitempty"`
}

// spot is where one pull is.
type spot struct {
	// Since is what the last round reached, High what this one has so far.
	Since string `json:"since"`
	High  string `json:"high,omitempty"`
	// Pages are those of this round, Next leads to the next one.
	Pages int    `json:"pages,omitempty"`
	Next  string `json:"next,omitempty"`
}

// maxPages bounds a round: an API whose pages do not end is wrong.
const maxPages = 10_000

var _ core.Poller = (*Connector)(nil)

// Poll implements [core.Poller]: one page of one of settings.pull.
func (c *Connector) Poll(ctx context.Context, account core.Account, cursor json.RawMessage) (core.Polled, error) {
	x, err := c.open(account)
	if err != nil {
		return core.Polled{}, err
	}
	var at reached
	if len(cursor) > 0 {
		if err := json.Unmarshal(cursor, &at); err != nil {
			return core.Polled{}, core.Errorf(core.CodeInternal, "poll", "the place reached cannot be read: %w", err)
		}
	}
	if len(x.pulls) == 0 {
		return core.Polled{Cursor: cursor}, nil
	}
	if at.At < 0 || at.At >= len(x.pulls) { // the settings changed
		at.At = 0
	}
	q := x.pulls[at.At]
	where, known := at.Pulls[q.name]
	if !known {
		where.Since = q.begins(time.Now())
	}
	events, err := x.page(ctx, q, &where)
	if err != nil {
		return core.Polled{}, err
	}
	if at.Pulls == nil {
		at.Pulls = map[string]spot{}
	}
	at.Pulls[q.name] = where
	more := where.Pages > 0
	if !more {
		at.At++
		if more = at.At < len(x.pulls); !more {
			at.At = 0
		}
	}
	next, jsonErr := json.Marshal(at)
	if jsonErr != nil {
		return core.Polled{}, jsonErr
	}
	return core.Polled{Events: events, Cursor: next, More: more}, nil
}

// page asks for one page, and moves the place on.
func (x *session) page(ctx context.Context, q *pull, at *spot) ([]core.Event, *core.Error) {
	data := map[string]any{
		"since": q.asked(at.Since), "cursor": at.Next, "size": q.size, "page": q.first + at.Pages, "offset": q.size * at.Pages,
	}
	var body []byte
	if q.op.body != nil {
		text, err := q.op.body.render(data, maxRequestBody)
		if err != nil {
			return nil, err
		}
		if err := q.op.body.validJSON([]byte(text)); err != nil {
			return nil, err
		}
		body = []byte(text)
	}
	r, err := x.requestFor(q.op, data, body, x.cred)
	if err != nil {
		return nil, err
	}
	if q.paging == "next_url" && at.Next != "" {
		if r.URL, err = x.nextURL(q, at.Next); err != nil {
			return nil, err
		}
	}
	a, err := x.do(ctx, q.op, r)
	if err == nil && a.status != http.StatusNotModified && a.status != http.StatusNoContent {
		err = x.judge(q.op, a).err
	}
	if err != nil {
		if err.Code == core.CodeUnknownOutcome {
			err.Code = core.CodeUnavailable // it was only a question
		}
		return nil, err
	}
	if a.status == http.StatusNotModified || a.status == http.StatusNoContent {
		at.finish()
		return nil, nil
	}
	rows, err := x.rowsOf(q, a)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		text := q.since.text(row)
		n, ok := q.order(text)
		if !ok {
			continue
		}
		if high, ok := q.order(at.High); !ok || n > high {
			at.High = text
		}
	}
	last := true
	switch q.paging {
	case "page", "offset":
		last = len(rows) < q.size
	case "cursor":
		at.Next = a.text(q.next)
		last = at.Next == ""
	case "next_url":
		if at.Next = a.text(q.next); q.next == nil {
			at.Next = linkNext(a.header)
		}
		last = at.Next == ""
	}
	if at.Pages++; at.Pages >= maxPages {
		return nil, &core.Error{Code: core.CodeForbidden, Op: q.op.kind, Source: core.SourceVendor,
			Message: fmt.Sprintf("its pages do not end: %d were read", at.Pages), Hint: "look at paging in " + q.op.name}
	}
	if len(at.Next) > maxURL {
		return nil, x.unknown(q.op, "the next page's cursor is too long")
	}
	if last {
		at.finish()
	}
	return tell(q.tellers, rows), nil
}

// finish ends a round.
func (p *spot) finish() {
	if p.High != "" {
		p.Since = p.High
	}
	p.High, p.Pages, p.Next = "", 0, ""
}

// rowsOf returns the rows of an answer.
func (x *session) rowsOf(q *pull, a *answer) ([]any, *core.Error) {
	odd := func(why string) ([]any, *core.Error) {
		return nil, &core.Error{Code: core.CodeForbidden, Op: q.op.kind, Source: core.SourceVendor, Message: why + ": " + x.quote(a),
			Hint: "look at rows, and at paging.size, in " + q.op.name}
	}
	if !a.isJSON() {
		return odd("the answer is no whole JSON")
	}
	v, _ := q.rows.find(a.json())
	rows, ok := v.([]any)
	switch {
	case !ok && v == nil && q.rows != nil:
		return nil, nil // some leave an empty list out
	case !ok:
		return odd("there is no list of rows")
	case len(rows) > maxRows:
		return odd(fmt.Sprintf("%d rows, at most %d are read", len(rows), maxRows))
	}
	return rows, nil
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
func (x *session) nextURL(q *pull, next string) (string, *core.Error) {
	u, err := x.base.Parse(next)
	if err != nil || u.Scheme != x.base.Scheme || u.Host != x.base.Host || u.User != nil || climbs(u.EscapedPath()) ||
		!strings.HasPrefix(u.EscapedPath()+"/", strings.TrimSuffix(x.base.EscapedPath(), "/")+"/") {
		return "", &core.Error{Code: core.CodeForbidden, Op: q.op.kind, Source: core.SourcePlugin,
			Message: "the next page is said to be elsewhere than at settings.base_url", Hint: "look at paging in " + q.op.name}
	}
	if x.cred.query.name != "" {
		query := u.Query()
		query.Set(x.cred.query.name, x.cred.query.value)
		u.RawQuery = query.Encode()
	}
	u.Fragment = ""
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}).String(), nil
}
