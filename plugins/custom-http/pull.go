package customhttp

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
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
	// The templates see .since, too.
	listingSettings
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

	Events []eventSettings `json:"events"`
}

// pull is a compiled [pullSettings].
type pull struct {
	listing
	name     string
	since    path
	format   string
	start    string
	lookback time.Duration
	tellers  []teller
}

// pullWords are what a request that asks for changes can say.
var pullWords = pagingWords("a request for changes", map[string]*word{"since": {zero: ""}})

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
		listing: c.listing(where, "pull "+s.Name, s.listingSettings, pullWords),
		name:    s.Name, since: parsePath(s.Since), format: cmp.Or(s.Format, "rfc3339"), start: "now",
	}
	q.since.check(where+".since", c.problems)
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
	q.tellers = c.tellers(where+".events", s.Events)
	return q
}

// order reads a value of Since: what is later is larger. It counts nanoseconds,
// thousandths of what unix and unix_ms count, and a number as it is.
func (q *pull) order(text string) (int64, bool) {
	if q.format == "rfc3339" {
		t, err := time.Parse(time.RFC3339Nano, text)
		return nanos(t), err == nil
	}
	if q.format == "sql" {
		t, err := readSQL(text)
		return nanos(t), err == nil
	}
	if q.format != "number" {
		n, ok := readUnix(text)
		return int64(math.Floor(n * 1000)), ok
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// nanos is [time.Time.UnixNano] that has an order outside 1678 to 2261, too.
func nanos(t time.Time) int64 {
	switch {
	case t.Year() < 1678:
		return math.MinInt64
	case t.Year() > 2261:
		return math.MaxInt64
	}
	return t.UnixNano()
}

// ahead reports whether a value of Since is of a time that is not to come for long: to go
// on there would hide all changes until then. A clock, or a zone that is not said, may be
// off by a day.
func (q *pull) ahead(text string, now time.Time) bool {
	var t time.Time
	switch q.format {
	case "number":
		return false
	case "sql":
		t, _ = readSQL(text)
	default:
		t = timeOf(text)
	}
	return t.After(now.Add(48 * time.Hour))
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
		return strconv.FormatInt(n/1000-int64(q.lookback/time.Second), 10)
	}
	return strconv.FormatInt(n/1000-q.lookback.Milliseconds(), 10)
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
	// pageAt is where this round is.
	pageAt
}

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
	rows, err := x.ask(ctx, &q.listing, map[string]any{"since": q.asked(at.Since)}, &at.pageAt)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for _, row := range rows {
		text := q.since.text(row)
		n, ok := q.order(text)
		if !ok || q.ahead(text, now) {
			continue
		}
		if high, ok := q.order(at.High); !ok || n > high {
			at.High = text
		}
	}
	if at.Pages == 0 { // the round ends
		at.Since, at.High = cmp.Or(at.High, at.Since), ""
	}
	return x.tell(q.tellers, rows), nil
}
