package customhttp_test

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	customhttp "github.com/wabridge/wabridge/plugins/custom-http"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

// lookedFor are settings whose notes are looked for before they are made.
func lookedFor(find table) table {
	q := table{"path": "/notes", "query": table{"ref": "{{.key}}"}, "rows": "data", "key_path": "ref", "id": "id"}
	maps.Copy(q, find)
	s := notes("search", nil)
	s["operations"] = table{"message.received": table{"path": "/notes", "body": `{"ref": {{.id}}, "text": {{.message.text}}}`, "find": q}}
	return s
}

// inBatches changes lookedFor to one request for many.
func inBatches(s table) table {
	op := s["operations"].(table)["message.received"].(table)
	op["path"] = "/notes/bulk"
	op["batch"] = table{"max_items": 50, "wrap": "items", "results": table{"path": "results", "match": "index", "status": "status", "id": "id"}}
	return s
}

func TestReadBack_FindsWhatALostAnswerMade(t *testing.T) {
	for name, settings := range map[string]table{"one by one": lookedFor(nil), "in batches": inBatches(lookedFor(nil))} {
		t.Run(name, func(t *testing.T) {
			b := start(t, customhttpsim.Options{}, settings, nil)
			b.sim.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultLost, Match: "/notes", Skip: 10, Count: 7})
			first := b.deliver(many(10)...)
			unknown := 0
			for _, r := range first {
				switch codeOf(r.Err) {
				case core.CodeUnknownOutcome:
					unknown++
				case "":
				default:
					t.Errorf("%s: %v", r.ID, r.Err)
				}
			}
			if unknown == 0 {
				t.Fatal("no answer was lost after a write")
			}
			b.sim.Heal()
			for _, r := range b.deliver(many(10)...) {
				if r.Err != nil || r.Ref == "" {
					t.Errorf("again: %+v", r)
				}
			}
			for id, n := range b.sim.Count("note") {
				if n != 1 {
					t.Errorf("%s was written %d times", id, n)
				}
			}
			if n := len(b.sim.Records("note")); n != 10 {
				t.Errorf("%d notes", n)
			}
		})
	}
}

func TestReadBack_WritesNothingWhileItCannotBeSure(t *testing.T) {
	for name, c := range map[string]struct {
		find  table
		fault customhttpsim.Fault
		want  core.Code
	}{
		"the search is refused":         {nil, customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 404}, core.CodeForbidden},
		"the search is away":            {nil, customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 502}, core.CodeUnavailable},
		"the search answers with HTML":  {nil, customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 200, Body: "<html>"}, core.CodeForbidden},
		"its answer is cut":             {nil, customhttpsim.Fault{Kind: customhttpsim.FaultCut}, core.CodeUnavailable},
		"it looks for nothing":          {table{"query": table{}, "headers": table{"X-Ref": "{{.key}}"}}, customhttpsim.Fault{}, core.CodeForbidden},
		"its pages do not end":          {table{"query": table{"page": "{{.page}}", "limit": "{{.size}}"}, "headers": table{"X-Ref": "{{.key}}"}, "paging": table{"type": "page", "size": 1}}, customhttpsim.Fault{}, core.CodeForbidden},
		"nobody, as the settings say":   {table{"errors": []any{table{"status": []any{404}, "then": "ignore"}}}, customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 404, Count: 1}, ""},
		"an empty list is nobody":       {nil, customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 200, Body: `{"data":[]}`, Count: 1}, ""},
		"the key is empty":              {table{"key": "{{.group}}"}, customhttpsim.Fault{}, core.CodeInvalid},
		"others' records, on all pages": {table{"query": table{"ref": "{{.key}}", "page": "{{.page}}"}, "paging": table{"type": "page"}}, customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 200, Body: `{"data":[{"ref":"wamid.IN0010","id":"n"}]}`, Count: 1}, ""},
		"another's record, on one page": {nil, customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 200, Body: `{"data":[{"ref":"wamid.IN0010","id":"n"}]}`}, core.CodeForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, customhttpsim.Options{}, lookedFor(c.find), nil)
			for range 30 { // what others made
				b.sim.Note("somebody", "else")
			}
			if c.fault.Kind != "" {
				b.sim.Inject(c.fault)
			}
			err := b.one(received(1))
			if codeOf(err) != c.want {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if n := b.sim.Count("note")[received(1).ID]; (n == 1) != (c.want == "") {
				t.Errorf("it was written %d times", n)
			}
		})
	}
}

func TestReadBack_LooksByAKeyOfTheOwners(t *testing.T) {
	b := start(t, customhttpsim.Options{}, lookedFor(table{"key": "{{.message.text}}"}), nil)
	id := b.sim.Note("order 1", "by hand")
	if r := b.deliver(received(1))[received(1).ID]; r.Err != nil || r.Ref != id {
		t.Errorf("got %+v, want the record %s", r, id)
	}
	if n := len(b.sim.Records("note")); n != 1 {
		t.Errorf("%d notes", n)
	}
}

func TestReadBack_TheTimeThatIsLeftIsForOther(t *testing.T) {
	b := start(t, customhttpsim.Options{Latency: time.Hour}, lookedFor(nil), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for _, r := range b.deliverIn(ctx, many(20)...) {
		if codeOf(r.Err) != core.CodeUnavailable {
			t.Errorf("%s: %v, want unavailable: nothing was written", r.ID, r.Err)
		}
	}
}

func TestReadBack_WhatHasNoTimeIsNotAskedFor(t *testing.T) {
	b := start(t, customhttpsim.Options{}, lookedFor(nil), nil)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, r := range b.deliverIn(ended, many(3)...) {
		if codeOf(r.Err) != core.CodeUnavailable || r.Err.Hint != "" || !strings.Contains(r.Err.Message, "time for the batch ran out") {
			t.Errorf("%s: %+v: want no word about the network", r.ID, r.Err)
		}
	}
}

func TestSettings_ALaneThatPromisesMoreThanTheyDoIsRefused(t *testing.T) {
	key, upsert, search, none := core.IdempotencyKey, core.IdempotencyUpsert, core.IdempotencySearch, core.IdempotencyNone
	for settings, good := range map[core.Idempotency]map[core.Idempotency]bool{
		none:   {"": true, none: true, search: false, key: false, upsert: false},
		search: {"": true, none: true, search: true, key: false, upsert: false},
		key:    {"": true, none: true, search: true, key: true, upsert: true},
		upsert: {"": true, none: true, search: true, key: true, upsert: true},
	} {
		for lane, want := range good {
			s := notes(string(settings), nil)
			if settings == search {
				s = lookedFor(nil)
			}
			b := start(t, customhttpsim.Options{}, s, nil)
			b.account.Idempotency = lane
			err := b.connector.Check(t.Context(), b.account)
			if want && err != nil || !want && (core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), "settings.idempotency")) {
				t.Errorf("lane %q, settings %q: %v", lane, settings, err)
			}
			switch got := codeOf(b.one(received(1))); {
			case want && got != "", !want && got != core.CodeForbidden:
				t.Errorf("lane %q, settings %q: delivers with %q", lane, settings, got)
			case !want && len(b.sim.Records("note")) > 0:
				t.Errorf("lane %q, settings %q: a note was made", lane, settings)
			}
		}
	}
}

func TestReadBack_SettingsThatCannotWorkAreRefused(t *testing.T) {
	with := func(change func(s, op table)) table {
		s := lookedFor(nil)
		change(s, s["operations"].(table)["message.received"].(table))
		return s
	}
	for want, s := range map[string]table{
		`operations."message.received".find: is for settings.idempotency = "search"`:                   with(func(s, _ table) { s["idempotency"] = "none" }),
		`operations."message.received".find: missing: how to ask`:                                      with(func(_, op table) { delete(op, "find") }),
		`settings.idempotency: "search" wants an operation with find`:                                  with(func(_, op table) { delete(op, "find"); op["method"] = "PUT" }),
		`operations."message.received".find.key_path: missing`:                                         lookedFor(table{"key_path": ""}),
		`operations."message.received".find: does not say what it looks for: put {{.key}}`:             lookedFor(table{"query": table{"ref": "{{.id}}"}}),
		`operations."message.received".find.key: is the same for all events`:                           lookedFor(table{"key": "always"}),
		`operations."message.received".find.query.ref: unknown field .keys, did you mean key?`:         lookedFor(table{"query": table{"ref": "{{.keys}}"}}),
		`operations."message.received".find.paging.type: the request does not say which page it wants`: lookedFor(table{"paging": table{"type": "page"}}),
		`operations."message.received".skip: leaves nothing to do for the rest`:                        with(func(_, op table) { op["skip"] = true }),
		`operations."message.received".find.ref: unknown setting`:                                      lookedFor(table{"ref": "id"}),
	} {
		b := start(t, customhttpsim.Options{}, s, nil)
		err := b.connector.Check(t.Context(), b.account)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestRenderFind_ShowsHowTheRecordIsLookedFor(t *testing.T) {
	b := start(t, customhttpsim.Options{}, lookedFor(nil), nil)
	all, err := customhttp.RenderFind(b.account.Settings, received(1))
	if err != nil || len(all) != 1 || all[0].URL != "http://crm.test/v1/notes?ref=wamid.IN001" {
		t.Errorf("got %+v, %v", all, err)
	}
}
