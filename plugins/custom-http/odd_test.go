package customhttp_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

// proven are notes whose answers must have an id.
func proven() table {
	return notes("none", table{"response": table{"id": "id"}, "timeout": "2s"})
}

func TestOdd_AnAnswerThatUnpacksToMuchIsNotUnpacked(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(make([]byte, 1<<20))
	_ = w.Close()
	bomb := bytes.Repeat(packed.Bytes(), 256) // parts of one stream: RFC 1952, section 2.2
	b := start(t, customhttpsim.Options{}, proven(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb)
	}))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := b.one(received(1))
	runtime.ReadMemStats(&after)
	if codeOf(err) != core.CodeUnknownOutcome {
		t.Errorf("got %v", err)
	}
	if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 64 {
		t.Errorf("%d MiB were taken for it", used)
	}
}

func TestOdd_AnAnswerThatTricklesEndsWithTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, customhttpsim.Options{}, proven(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write([]byte(" ")); err != nil || http.NewResponseController(w).Flush() != nil {
					return
				}
				select {
				case <-time.After(100 * time.Millisecond):
				case <-r.Context().Done():
					return
				}
			}
		}))
		began := time.Now()
		if err := b.one(received(1)); codeOf(err) != core.CodeUnknownOutcome {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestOdd_RowsWithTheSameKeyAreTheirEventsInOrderOrProveNothing(t *testing.T) {
	unknown, invalid := core.CodeUnknownOutcome, core.CodeInvalid
	for name, c := range map[string]struct {
		key  string
		rows string
		want [3]core.Code
	}{
		"two rows for one event":          {"{{.message.id}}", `{"k":"wamid.IN000","status":200},{"k":"wamid.IN000","status":400},{"k":"wamid.IN001","status":200},{"k":"wamid.IN002","status":200}`, [3]core.Code{unknown, "", ""}},
		"two rows that say the same":      {"{{.message.id}}", `{"k":"wamid.IN000","status":200},{"k":"wamid.IN000","status":201},{"k":"wamid.IN001","status":400},{"k":"wamid.IN001","status":400},{"k":"wamid.IN002","status":200}`, [3]core.Code{"", unknown, ""}},
		"a row for each of the same key":  {"{{.message.type}}", `{"k":"text","status":200},{"k":"text","status":400},{"k":"text","status":200}`, [3]core.Code{"", invalid, ""}},
		"one row for three":               {"{{.message.type}}", `{"k":"text","status":200}`, [3]core.Code{"", "", ""}},
		"two rows for three":              {"{{.message.type}}", `{"k":"text","status":200},{"k":"text","status":200}`, [3]core.Code{unknown, unknown, unknown}},
		"rows of nobody":                  {"{{.message.id}}", `{"k":"x","status":200},{"k":"","status":200},{"k":null},7`, [3]core.Code{unknown, unknown, unknown}},
		"the same key twice in an object": {"{{.message.id}}", `{"k":"wamid.IN000","status":200,"status":400},{"k":"wamid.IN001","status":200},{"k":"wamid.IN002","status":"NaN"}`, [3]core.Code{invalid, "", unknown}},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, customhttpsim.Options{}, bulkWith(t, "none", nil, table{"match": "key", "key_path": "k", "key": c.key, "id": nil}), nil)
			b.sim.Inject(status(200, `{"results":[`+c.rows+`]}`))
			wantCodes(t, b.deliver(many(3)...), map[string]core.Code{"wamid.IN000": c.want[0], "wamid.IN001": c.want[1], "wamid.IN002": c.want[2]})
		})
	}
}

func TestOdd_ARequestToSendWithoutItsIDIsNotSent(t *testing.T) {
	row := func(id string) string {
		return `{"data":[{` + id + `"type":"outbox","phone":"+15550100001","text":"hello"}]}`
	}
	for body, want := range map[string]int{row(`"id":"7",`): 1, row(``): 0, row(`"id":null,`): 0, row(`"id":{},`): 0} {
		b := start(t, customhttpsim.Options{}, asking(nil), nil)
		b.account.Secrets["token"] = "any"
		b.sim.Inject(status(200, body))
		polled, err := b.connector.Poll(t.Context(), b.account, nil)
		if err != nil || len(polled.Events) != want {
			t.Errorf("%s: %+v, %v", body, polled.Events, err)
		}
	}
}

func TestOdd_ThatRequestsToSendHaveNoIDIsSaidOnceForAPage(t *testing.T) {
	b := start(t, customhttpsim.Options{}, asking(nil), nil)
	var log bytes.Buffer
	b.connector.Log = slog.New(slog.NewTextHandler(&log, nil))
	b.sim.Inject(status(200, `{"data":[`+strings.Repeat(`{"type":"outbox","phone":"+15550100001","text":"hello"},`, 50)+`{}]}`))
	if _, err := b.connector.Poll(t.Context(), b.account, nil); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "left out"); n != 1 || !strings.Contains(log.String(), "rows=50") {
		t.Errorf("it was said %d times: %.300s", n, log.String())
	}
}

func TestOdd_TimesOfUnixMayHaveFractions(t *testing.T) {
	now := time.Now().Unix()
	unix := func(ago int64, fraction string) string { return fmt.Sprintf("%d%s", now-ago, fraction) }
	for _, c := range []struct{ one, other, want string }{
		{unix(60, ".25"), unix(30, ".125"), unix(30, ".125")},
		{unix(30, ".125"), unix(60, ""), unix(30, ".125")},
		{unix(30, ".125"), unix(30, ".75"), unix(30, ".75")},
		{unix(30, ""), unix(-365*86400, ".5"), unix(30, "")},
		{unix(30, ""), `"NaN"`, unix(30, "")},
		{unix(30, ""), `"1e300"`, unix(30, "")},
	} {
		settings := asking(nil)
		settings["pull"].([]any)[0].(table)["format"] = "unix"
		b := start(t, customhttpsim.Options{}, settings, nil)
		b.sim.Inject(status(200, fmt.Sprintf(`{"data":[{"type":"contact","phone":"+15550100001","updated_at":%s},{"type":"contact","phone":"+15550100002","updated_at":%s}]}`, c.one, c.other)))
		polled, err := b.connector.Poll(t.Context(), b.account, nil)
		if err != nil || since(t, polled.Cursor) != c.want {
			t.Errorf("%s, %s: goes on at %s, want %s: %v", c.one, c.other, polled.Cursor, c.want, err)
		}
	}
}

// since is the place that the pull of asking reached.
func since(t *testing.T, cursor json.RawMessage) string {
	t.Helper()
	var at struct {
		Pulls map[string]struct{ Since string }
	}
	if err := json.Unmarshal(cursor, &at); err != nil {
		t.Fatal(err)
	}
	return at.Pulls["changes"].Since
}

func TestOdd_ATimeOfTheFutureHidesNoChanges(t *testing.T) {
	now := time.Now().UTC()
	at := func(t time.Time) string { return t.Format(time.RFC3339) }
	for name, c := range map[string]struct{ odd, want string }{
		"in many years":            {"9999-12-31T23:59:59Z", at(now)},
		"in a year":                {at(now.AddDate(1, 0, 0)), at(now)},
		"before there was any":     {"0001-01-01T00:00:00Z", at(now)},
		"where Windows begins":     {"1601-01-01T00:00:00Z", at(now)},
		"a clock that is ahead":    {at(now.Add(2 * time.Hour)), at(now.Add(2 * time.Hour))},
		"what is no time, but NaN": {"NaN", at(now)},
	} {
		for _, times := range [][]any{{at(now), c.odd}, {c.odd, at(now)}} {
			b := start(t, customhttpsim.Options{}, asking(nil), nil)
			b.sim.Inject(status(200, fmt.Sprintf(`{"data":[{"type":"contact","phone":"+15550100001","updated_at":%q},{"type":"contact","phone":"+15550100002","updated_at":%q}]}`, times...)))
			polled, err := b.connector.Poll(t.Context(), b.account, nil)
			if err != nil || len(polled.Events) != 2 {
				t.Fatalf("%s: %+v, %v", name, polled.Events, err)
			}
			if got := since(t, polled.Cursor); got != c.want {
				t.Errorf("%s: goes on at %q, want %q", name, got, c.want)
			}
		}
	}
}

func TestOdd_ATokenThatEndsAtNoTimeIsUsedUntilItIsRefused(t *testing.T) {
	for _, ends := range []string{`"NaN"`, `"-Inf"`, `-5`, `"soon"`, `null`, `[]`} {
		b := member(t, table{"expires": "ends"}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"token":"tok-1","ends":%s}`, ends)
		}))
		if got, err := b.connector.Authorize(t.Context(), b.account); err != nil || !got.Expires.IsZero() {
			t.Errorf("%s: ends %v, %v", ends, got.Expires, err)
		}
	}
}
