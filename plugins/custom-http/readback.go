package customhttp

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/wabridge/wabridge/core"
)

// Where an API takes the same event twice and makes two records of it, but can be asked
// what it has, an operation says by find how its record is asked for. It is, each time
// before the record is made: what was made in an attempt whose outcome nobody knows is
// found, and not made again (idempotency = "search", [core.IdempotencySearch]).

// readBackSettings ask whether what an operation makes is there already.
type readBackSettings struct {
	// The templates see the event and .key.
	listingSettings
	// Key is what tells the event's record from others, {{.id}} unless set, and KeyPath
	// leads to it in a row.
	Key     string `json:"key"`
	KeyPath string `json:"key_path"`
	// ID and Contact lead in a row to the record's id, and to that of the contact's.
	ID      string `json:"id"`
	Contact string `json:"contact"`
}

// readBack is a compiled [readBackSettings].
type readBack struct {
	listing
	key         *tmpl
	keyPath     path
	id, contact path
}

func (c *planner) readBack(where string, s *readBackSettings) *readBack {
	fields := maps.Clone(vocabulary().fields)
	fields["key"] = &word{zero: ""}
	maps.Copy(fields, pagingWords("", nil).fields)
	words := &word{fields: fields, only: " (a search for the record of an event knows the event, .key, .page, .offset, .cursor and .size)"}
	q := &readBack{
		listing: c.listing(where, "find", s.listingSettings, words),
		key:     compileTemplate(cmp.Or(s.Key, idOnly), inText, where+".key", vocabulary(), c.problems),
		keyPath: c.path(where+".key_path", s.KeyPath), id: c.path(where+".id", s.ID), contact: c.path(where+".contact", s.Contact),
	}
	q.oneRow = true
	c.turns(where, &q.listing)
	if s.KeyPath == "" {
		c.addf(where+".key_path", "missing: the path in a row to what shows that it is this event's")
	}
	if q.key.fixed() {
		c.addf(where+".key", "is the same for all events")
	}
	if !q.op.says(".key") {
		c.addf(where, "does not say what it looks for: put {{.key}} into path, query or body")
	}
	return q
}

// makesTwo are the kinds whose events are records of their own.
var makesTwo = map[string]bool{string(core.KindMessageReceived): true, string(core.KindMessageSent): true, "*": true}

// readBacks checks that what cannot be repeated is looked for.
func (c *planner) readBacks(p *plan) {
	some := false
	for _, kind := range slices.Sorted(maps.Keys(p.operations)) {
		op := p.operations[kind]
		some = some || op.readBack != nil
		switch where := op.name + ".find"; {
		case op.readBack != nil && p.idempotency != core.IdempotencySearch:
			c.addf(where, `is for settings.idempotency = "search"`)
		case op.readBack == nil && p.idempotency == core.IdempotencySearch && !op.skip && makesTwo[string(kind)] && op.method == http.MethodPost:
			c.addf(where, "missing: how to ask whether the event's record is there already, or another POST makes another")
		}
	}
	if p.idempotency == core.IdempotencySearch && !some {
		c.addf("settings.idempotency", `"search" wants an operation with find`)
	}
}

// settleWhatIsThere looks for the records of events, and settles those that are there.
// What cannot be looked for now is not written now.
func (x *session) settleWhatIsThere(ctx context.Context, items []*item) {
	var looks []func()
	for _, it := range items {
		op := x.operationFor(it.kind)
		if it.data == nil || op == nil || op.readBack == nil {
			continue
		}
		looks = append(looks, func() {
			if ctx.Err() != nil {
				it.data = nil // it has no more time
				return
			}
			v, there := x.isThere(ctx, op.readBack, it)
			if there || v.err != nil {
				it.settle(v)
				it.data = nil
			}
		})
	}
	x.run(looks)
}

// isThere asks for the record of an event. The verdict is of what was found, or an error.
func (x *session) isThere(ctx context.Context, q *readBack, it *item) (_ verdict, there bool) {
	key, data, err := q.question(it)
	if err != nil {
		return verdict{err: err}, false
	}
	var v verdict
	others := 0
	there, err = x.seek(ctx, &q.listing, data, func(row any) bool {
		if q.keyPath.text(row) != key {
			others++
			return false
		}
		v = verdict{ref: q.id.text(row), contact: q.contact.text(row)}
		return true
	})
	if err == nil && !there && others > 0 && q.paging == "none" {
		// It may be among those that were not shown.
		err = &core.Error{Code: core.CodeForbidden, Scope: core.ScopeLane, Op: q.op.kind, Source: core.SourceVendor,
			Message: fmt.Sprintf("the search gives %d records, and none with the key that is looked for", others),
			Hint:    "have " + q.op.name + " look for the whole key, correct its key_path, or say its paging"}
	}
	if err != nil {
		return verdict{err: err}, false
	}
	return v, there
}

// question is what the request for an event's record sees.
func (q *readBack) question(it *item) (key string, data map[string]any, err *core.Error) {
	if key, err = q.key.render(it, maxHeaderValue); err != nil {
		return "", nil, err
	}
	if key == "" {
		return "", nil, refuse(q.key, "is empty for this event")
	}
	event, ok := it.fields().(map[string]any)
	if !ok {
		return "", nil, refuse(q.key, "the event is no JSON object")
	}
	data = maps.Clone(event)
	data["key"] = key
	return key, data, nil
}
