package plugin

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
)

func TestClean_CutsBetweenCharacters(t *testing.T) {
	for _, tc := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 10, ""},
		{"plain", 5, "plain"},
		{"plain text", 8, "plain…"},
		{"ééééé", 10, "ééééé"},
		{"éééééé", 10, "ééé…"},
		{"a👩👩👩", 10, "a👩…"},
		{"a\x00b\nc\x7f\u0085d\u2028e", 40, "a b c  d e"},
		{"bad \xff\xfe bytes", 40, "bad ? bytes"},
		{strings.Repeat("\x80", 20), 10, "?…"},
	} {
		if got := clean(tc.in, tc.limit); got != tc.want {
			t.Errorf("clean(%q, %d) is %q, want %q", tc.in, tc.limit, got, tc.want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x00b", 10)
	f.Add("👩‍👩‍👧‍👦 \xf0\x9f", 7)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 8 + (limit&0xffff)%1000
		got := clean(s, limit)
		switch {
		case len(got) > limit:
			t.Errorf("%d bytes, want at most %d: %q", len(got), limit, got)
		case !utf8.ValidString(got):
			t.Errorf("not valid UTF-8: %q", got)
		case strings.ContainsFunc(got, unicode.IsControl):
			t.Errorf("control characters: %q", got)
		case clean(got, limit) != got:
			t.Errorf("clean again changes %q to %q", got, clean(got, limit))
		}
	})
}

func TestSettle_GivesOneResultForEachDelivery(t *testing.T) {
	var batch []core.Delivery
	for _, id := range []string{"a", "b", "c"} {
		batch = append(batch, core.Delivery{Event: &core.Event{ID: id}})
	}
	e1, e2 := &core.Error{Code: core.CodeInvalid, Message: "1"}, &core.Error{Code: core.CodeInternal, Message: "2"}
	lost := &core.Error{
		Code: core.CodeUnknownOutcome, Op: "plugin", Source: core.SourcePlugin, Message: "the connector gave no result for this event",
	}
	for _, tc := range []struct {
		name    string
		answers []core.Result
		want    []core.Result
		odd     string
	}{
		{"in order", []core.Result{{ID: "a"}, {ID: "b", Err: e1}, {ID: "c", Ref: "3"}}, []core.Result{{ID: "a"}, {ID: "b", Err: e1}, {ID: "c", Ref: "3"}}, ""},
		{"in any order", []core.Result{{ID: "c"}, {ID: "a", Ref: "1"}, {ID: "b"}}, []core.Result{{ID: "a", Ref: "1"}, {ID: "b"}, {ID: "c"}}, ""},
		{"none", nil, []core.Result{{ID: "a", Err: lost}, {ID: "b", Err: lost}, {ID: "c", Err: lost}}, "0 results for ids not asked for, 0 doubled, 3 missing"},
		{
			"one foreign, one missing", []core.Result{{ID: "a"}, {ID: "x"}, {ID: "c"}},
			[]core.Result{{ID: "a"}, {ID: "b", Err: lost}, {ID: "c"}}, "1 results for ids not asked for, 0 doubled, 1 missing",
		},
		{
			"of two an error wins", []core.Result{{ID: "a"}, {ID: "a", Err: e1}, {ID: "b", Err: e1}, {ID: "b"}, {ID: "c", Err: e2}, {ID: "c", Err: e1}},
			[]core.Result{{ID: "a", Err: e1}, {ID: "b", Err: e1}, {ID: "c", Err: e2}}, "0 results for ids not asked for, 3 doubled, 0 missing",
		},
		{"an empty id", []core.Result{{ID: ""}, {ID: "b"}, {ID: "c"}}, []core.Result{{ID: "a", Err: lost}, {ID: "b"}, {ID: "c"}}, "1 results for ids not asked for, 0 doubled, 1 missing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, odd := settle(batch, tc.answers)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("results (-want +got):\n%s", diff)
			}
			if odd != tc.odd {
				t.Errorf("odd is %q, want %q", odd, tc.odd)
			}
		})
	}
}

func TestWire_CarriesErrorsUnchanged(t *testing.T) {
	for _, code := range core.Codes() {
		for _, scope := range []core.Scope{"", core.ScopeEvent, core.ScopeConversation, core.ScopeLane} {
			want := &core.Error{
				Code: code, Op: "o", Message: "m", Hint: "h", Source: core.SourceVendor, Vendor: "131047", RetryAfter: 90 * time.Second, Scope: scope,
			}
			if diff := cmp.Diff(want, cleanError(errorFromWire(errorToWire(want)))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
	}
	if got := errorFromWire(errorToWire(&core.Error{RetryAfter: time.Microsecond})).RetryAfter; got != time.Millisecond {
		t.Errorf("a wait of 1 µs becomes %v, want 1 ms", got)
	}
	if errorFromWire(errorToWire(nil)) != nil {
		t.Error("no error becomes one")
	}
}

func TestValidateInfo_SaysWhatIsWrong(t *testing.T) {
	good := core.ConnectorInfo{Name: "acme", MaxBatch: 1, Idempotency: core.IdempotencyNone}
	for _, tc := range []struct {
		want  string // "" is fine
		alter func(*core.ConnectorInfo)
	}{
		{"", func(*core.ConnectorInfo) {}},
		{"", func(i *core.ConnectorInfo) { i.MaxBatch = 1000 }},
		{"name", func(i *core.ConnectorInfo) { i.Name = "" }},
		{"name", func(i *core.ConnectorInfo) { i.Name = "../x" }},
		{"max_batch is 0", func(i *core.ConnectorInfo) { i.MaxBatch = 0 }},
		{"max_batch is 1001", func(i *core.ConnectorInfo) { i.MaxBatch = 1001 }},
		{"idempotency", func(i *core.ConnectorInfo) { i.Idempotency = "" }},
		{"calls_per_second", func(i *core.ConnectorInfo) { i.CallsPerSecond = -1 }},
		{"calls_per_second", func(i *core.ConnectorInfo) { i.CallsPerSecond = math.NaN() }},
		{"none empty", func(i *core.ConnectorInfo) { i.Secrets = []string{"a", ""} }},
	} {
		i := good
		tc.alter(&i)
		err := ValidateInfo(i)
		if tc.want == "" {
			if err != nil {
				t.Errorf("%+v: %v", i, err)
			}
			continue
		}
		if core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want invalid with %q", i, err, tc.want)
		}
	}
}
