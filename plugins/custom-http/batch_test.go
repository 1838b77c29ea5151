package customhttp_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

// bulkWith changes the batch of testdata/bulk.toml's messages.
func bulkWith(t *testing.T, mode string, batch, results table) table {
	t.Helper()
	s := bulk(t)
	s["idempotency"] = mode
	delete(s, "auth")
	b := s["operations"].(table)["message.received"].(table)["batch"].(table)
	maps.Copy(b, batch)
	maps.Copy(b["results"].(table), results)
	for k, v := range b["results"].(table) {
		if v == nil {
			delete(b["results"].(table), k)
		}
	}
	return s
}

func TestBatch_GivesEachEventTheResultOfItsRow(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault customhttpsim.Fault
		none  core.Code // with idempotency none
		safe  core.Code
	}{
		{"refused", customhttpsim.Fault{Kind: customhttpsim.FaultRow, Status: 422, Code: "invalid"}, core.CodeInvalid, core.CodeInvalid},
		{"forbidden", customhttpsim.Fault{Kind: customhttpsim.FaultRow, Status: 403, Code: "not_yours"}, core.CodeInvalid, core.CodeInvalid},
		{"too fast", customhttpsim.Fault{Kind: customhttpsim.FaultRow, Status: 429, Code: "slow_down"}, core.CodeRateLimited, core.CodeRateLimited},
		{"failed", customhttpsim.Fault{Kind: customhttpsim.FaultRow, Status: 500, Code: "oops"}, core.CodeUnavailable, core.CodeUnavailable},
		{"by a rule", customhttpsim.Fault{Kind: customhttpsim.FaultRow, Status: 422, Code: "locked"}, core.CodeUnavailable, core.CodeUnavailable},
		{"left out", customhttpsim.Fault{Kind: customhttpsim.FaultMute}, core.CodeUnknownOutcome, core.CodeUnavailable},
	} {
		for _, mode := range []string{"none", "upsert"} {
			t.Run(mode+" "+c.name, func(t *testing.T) {
				b := start(t, customhttpsim.Options{Shuffle: true}, bulkWith(t, mode, nil, nil), nil)
				c.fault.Row = "wamid.IN007"
				b.sim.Inject(c.fault)
				want := map[string]core.Code{"wamid.IN007": c.safe}
				if mode == "none" {
					want["wamid.IN007"] = c.none
				}
				events := many(100)
				got := b.deliver(events...)
				wantCodes(t, got, want)
				if c.fault.Kind == customhttpsim.FaultRow {
					if err := got["wamid.IN007"].Err; err.Vendor != c.fault.Code || err.Message != "refused: refused" {
						t.Errorf("got %+v", err)
					}
				}
				records := map[string]string{}
				for _, r := range b.sim.Records("message") {
					records[r.ExternalID] = r.ID
				}
				for id, r := range got {
					if r.Err == nil && r.Ref != records[id] {
						t.Errorf("%s is %q, want %q", id, r.Ref, records[id])
					}
				}
				if n := len(b.sim.Requests()); n != 1 {
					t.Errorf("%d requests", n)
				}
				// Another attempt of it alone ends well.
				b.sim.Heal()
				wantCodes(t, b.deliver(events[7]), nil)
				for id, n := range b.sim.Count("message") {
					if n != 1 {
						t.Errorf("%s is there %d times", id, n)
					}
				}
			})
		}
	}
}

func TestBatch_MatchesRowsByIndexOnlyWhenAllAreThere(t *testing.T) {
	byIndex := table{"match": "index", "key": nil, "key_path": nil}
	b := start(t, customhttpsim.Options{}, bulkWith(t, "none", nil, byIndex), nil)
	b.sim.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultRow, Status: 422, Row: "IN001"})
	wantCodes(t, b.deliver(many(3)...), map[string]core.Code{"wamid.IN001": core.CodeInvalid})
	b.sim.Heal()
	b.sim.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultMute, Row: "IN001"})
	unknown := core.CodeUnknownOutcome
	all := map[string]core.Code{"wamid.IN000": unknown, "wamid.IN001": unknown, "wamid.IN002": unknown}
	wantCodes(t, b.deliver(many(3)...), all)
	b.sim.Heal()
	b.sim.Inject(status(200, answerTo(4)))
	wantCodes(t, b.deliver(many(3)...), all)
}

func TestBatch_JudgesRowsInEveryWayTheSettingsKnow(t *testing.T) {
	unknown, invalid := core.CodeUnknownOutcome, core.CodeInvalid
	for _, c := range []struct {
		name    string
		results table
		rows    string
		want    [2]core.Code
	}{
		{"success beats status", table{"success": table{"path": "ok", "equals": "yes"}}, `[{"ok":"yes","status":500,"id":1},{"ok":"no","status":200,"id":1}]`, [2]core.Code{"", invalid}},
		{"by the absence of an error", table{"status": nil}, `[{"id":1},{"error":{"code":"E","message":"M"}}]`, [2]core.Code{"", invalid}},
		{"a null error is none", table{"status": nil}, `[{"id":1,"error":null},{"id":2,"error":{"code":null}}]`, [2]core.Code{"", ""}},
		{"a status as text", nil, `[{"id":1,"status":"201"},{"id":1,"status":"404"}]`, [2]core.Code{"", invalid}},
		{"a row without a status", nil, `[{"id":1},{"id":1,"status":200}]`, [2]core.Code{unknown, ""}},
		{"a good row without the id", nil, `[{"status":200},{"id":"x","status":200}]`, [2]core.Code{unknown, ""}},
		{"rows that are no tables", nil, `[1,null]`, [2]core.Code{unknown, unknown}},
		{"rows that are no list", nil, `{}`, [2]core.Code{unknown, unknown}},
		{"a rule that says duplicate", table{"errors": []any{table{"status": []any{409}, "then": "duplicate"}}}, `[{"status":409,"id":7},{"status":410}]`, [2]core.Code{"", invalid}},
		{"a rule that says unknown", table{"errors": []any{table{"contains": "maybe", "then": "unknown"}}}, `[{"status":409,"x":"maybe"},{"status":200,"id":"maybe"}]`, [2]core.Code{unknown, ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			results := table{"match": "index", "key": nil, "key_path": nil}
			maps.Copy(results, c.results)
			b := start(t, customhttpsim.Options{}, bulkWith(t, "none", nil, results), nil)
			b.sim.Inject(status(200, `{"results":`+c.rows+`}`))
			wantCodes(t, b.deliver(many(2)...), map[string]core.Code{"wamid.IN000": c.want[0], "wamid.IN001": c.want[1]})
		})
	}
}

func TestBatch_SharesWhatTheWholeAnswerSays(t *testing.T) {
	for _, c := range []struct {
		fault      customhttpsim.Fault
		none, safe core.Code
		written    int
	}{
		{status(429, ""), core.CodeRateLimited, core.CodeRateLimited, 0},
		{status(401, ""), core.CodeUnauthenticated, core.CodeUnauthenticated, 0},
		{status(500, ""), core.CodeUnknownOutcome, core.CodeUnavailable, 0},
		{status(500, "down for maintenance"), core.CodeUnavailable, core.CodeUnavailable, 0},
		{status(200, "{}"), core.CodeUnknownOutcome, core.CodeUnavailable, 0},
		{customhttpsim.Fault{Kind: customhttpsim.FaultLost}, core.CodeUnknownOutcome, core.CodeUnavailable, 5},
		{customhttpsim.Fault{Kind: customhttpsim.FaultCut}, core.CodeUnknownOutcome, core.CodeUnavailable, 5},
		{customhttpsim.Fault{Kind: customhttpsim.FaultGarbage}, core.CodeUnknownOutcome, core.CodeUnavailable, 0},
	} {
		for mode, want := range map[string]core.Code{"none": c.none, "upsert": c.safe} {
			b := start(t, customhttpsim.Options{}, bulkWith(t, mode, nil, nil), nil)
			b.sim.Inject(c.fault)
			for id, r := range b.deliver(many(5)...) {
				if codeOf(r.Err) != want {
					t.Errorf("%s: %s %d: %s: %v, want %s", mode, c.fault.Kind, c.fault.Status, id, r.Err, want)
				}
			}
			if n := len(b.sim.Records("message")); n != c.written {
				t.Errorf("%s %d: %d written, want %d", c.fault.Kind, c.fault.Status, n, c.written)
			}
		}
	}
}

// events are settings for the sim's endpoint that takes all or nothing.
func eventsAllOrNothing(more table) table {
	batch := table{"max_items": 100, "wrap": "events"}
	maps.Copy(batch, more)
	return notes("upsert", table{"operations": table{"message.received": table{"path": "/events/bulk", "batch": batch}}})
}

func TestBatch_NarrowsARefusalDownToTheEventsThatCausedIt(t *testing.T) {
	for _, code := range []int{400, 413, 422} {
		b := start(t, customhttpsim.Options{}, eventsAllOrNothing(nil), nil)
		for _, row := range []string{"IN007", "IN063"} {
			b.sim.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultRow, Row: row, Status: code, Code: "poison"})
		}
		wantCodes(t, b.deliver(many(100)...), map[string]core.Code{"wamid.IN007": core.CodeInvalid, "wamid.IN063": core.CodeInvalid})
		if n := len(b.sim.Records("event")); n != 98 {
			t.Errorf("%d: %d written, want 98", code, n)
		}
		if n := len(b.sim.Requests()); n > 30 {
			t.Errorf("%d: %d requests", code, n)
		}
	}
	// A rule can say that another status is such a refusal.
	settings := eventsAllOrNothing(nil)
	settings["errors"] = []any{table{"status": []any{409}, "then": "permanent"}}
	b := start(t, customhttpsim.Options{}, settings, nil)
	b.sim.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultRow, Row: "IN007", Status: 409, Code: "poison"})
	wantCodes(t, b.deliver(many(10)...), map[string]core.Code{"wamid.IN007": core.CodeInvalid})
	// What is wrong with the request and not with an event is not asked again.
	b = start(t, customhttpsim.Options{}, eventsAllOrNothing(nil), nil)
	b.sim.Inject(status(404, ""))
	for id, r := range b.deliver(many(100)...) {
		if codeOf(r.Err) != core.CodeInvalid {
			t.Errorf("%s: %v", id, r.Err)
		}
	}
	if n := len(b.sim.Requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestBatch_IsNoLargerThanAllowed(t *testing.T) {
	sizes := func(b *bench) (items []int, most int) {
		for _, r := range b.sim.Requests() {
			var body struct {
				Events []json.RawMessage `json:"events"`
			}
			if err := json.Unmarshal([]byte(r.Body), &body); err != nil {
				t.Error(err)
			}
			items = append(items, len(body.Events))
			most = max(most, len(r.Body))
		}
		return items, most
	}
	b := start(t, customhttpsim.Options{}, eventsAllOrNothing(table{"max_items": 40}), nil)
	b.account.Settings = json.RawMessage(strings.Replace(string(b.account.Settings), `"operations"`, `"parallel":1,"operations"`, 1))
	wantCodes(t, b.deliver(many(100)...), nil)
	if items, _ := sizes(b); !cmp.Equal(items, []int{40, 40, 20}) {
		t.Errorf("requests of %v events", items)
	}

	b = start(t, customhttpsim.Options{}, eventsAllOrNothing(table{"max_bytes": 10_000}), nil)
	events := many(100)
	events[50].Message.Text = strings.Repeat("x", 10_000)
	got := b.deliver(events...)
	wantCodes(t, got, map[string]core.Code{"wamid.IN050": core.CodeInvalid})
	if hint := got["wamid.IN050"].Err.Hint; !strings.Contains(hint, "max_bytes") {
		t.Errorf("hint %q", hint)
	}
	if items, most := sizes(b); most > 10_000+len(`{"events":[]}`) || len(items) > 8 {
		t.Errorf("requests of %v events, up to %d bytes", items, most)
	}
}

func TestBatch_GoesIntoATemplate(t *testing.T) {
	settings := eventsAllOrNothing(table{"wrap": "", "body": `{"n":{{.count}},"events":{{.items}}}`, "max_items": 10})
	b := start(t, customhttpsim.Options{}, settings, nil)
	b.sim.Inject(status(200, "{}"))
	wantCodes(t, b.deliver(many(3)...), nil)
	var body struct {
		N      int          `json:"n"`
		Events []core.Event `json:"events"`
	}
	if err := json.Unmarshal([]byte(b.sim.Requests()[0].Body), &body); err != nil || body.N != 3 || len(body.Events) != 3 || body.Events[2].ID != "wamid.IN002" {
		t.Errorf("%v: %s", err, b.sim.Requests()[0].Body)
	}
	for wrap, want := range map[string]string{"": `[`, "a.b": `{"a":{"b":[`} {
		b := start(t, customhttpsim.Options{}, eventsAllOrNothing(table{"wrap": wrap}), nil)
		b.sim.Inject(status(200, "{}"))
		wantCodes(t, b.deliver(many(2)...), nil)
		if got := b.sim.Requests()[0].Body; !strings.HasPrefix(got, want) || !json.Valid([]byte(got)) {
			t.Errorf("wrap %q: %s", wrap, got)
		}
	}
}

func TestBatch_RunsSeveralAtOnceAndEndsWithTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, customhttpsim.Options{Latency: time.Second}, eventsAllOrNothing(table{"max_items": 10}), nil)
		began := time.Now()
		wantCodes(t, b.deliver(many(100)...), nil)
		if took, n := time.Since(began), b.sim.Stats().InFlight; took != 2*time.Second || n != 8 {
			t.Errorf("ten requests took %v with %d at once, want 2s with 8", took, n)
		}
	})
}

func TestBatch_LeavesOutEventsThatCannotBeWritten(t *testing.T) {
	b := start(t, customhttpsim.Options{}, bulkWith(t, "upsert", nil, nil), nil)
	events := many(5)
	events[2].Message = nil
	wantCodes(t, b.deliver(events...), map[string]core.Code{"wamid.IN002": core.CodeInvalid})
	if n := len(b.sim.Records("message")); n != 4 {
		t.Errorf("%d written, want 4", n)
	}
	if n := len(b.deliver(events[2])); n != 1 || len(b.sim.Requests()) != 1 {
		t.Errorf("nothing to send made %d requests", len(b.sim.Requests())-1)
	}
}

func BenchmarkDeliver(b *testing.B) {
	oneByOne := notes("key", table{"parallel": 8})
	for name, settings := range map[string]table{
		"batch of 100 as they are": eventsAllOrNothing(nil),
		"batch of 100 by template": bulk(b),
		"100 one by one":           oneByOne,
	} {
		b.Run(name, func(b *testing.B) {
			bench := start(b, customhttpsim.Options{Key: apiKey}, settings, nil)
			bench.sim.Inject(status(200, answerTo(100)))
			batch := make([]core.Delivery, 100)
			for i, e := range many(100) {
				e.Message.Text = strings.Repeat("Where is my order? ", 30)
				batch[i] = core.Delivery{Event: e, Data: toJSON(b, e), Attempt: 1}
			}
			b.ReportAllocs()
			for b.Loop() {
				for _, r := range bench.connector.Deliver(b.Context(), bench.account, batch) {
					if r.Err != nil {
						b.Fatal(r.Err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(batch)), "µs/event")
			b.ReportMetric(float64(len(batch[0].Data)), "B/event")
		})
	}
}

// answerTo is what the sim answers to a batch of n.
func answerTo(n int) string {
	rows := make([]string, n)
	for i := range rows {
		rows[i] = fmt.Sprintf(`{"external_id":"wamid.IN%03d","status":201,"id":"m_%d"}`, i, i)
	}
	return `{"ok":true,"results":[` + strings.Join(rows, ",") + `]}`
}
