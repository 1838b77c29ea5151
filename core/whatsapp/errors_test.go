package whatsapp

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

// decisions is the whole table the other way round: for each decision, the codes
// that lead to it.
var decisions = map[string][]int{
	"unauthenticated lane": {0, 104, 190},
	"forbidden lane": {
		3, 10, 33, 200, 201, 250, 299, 131005, 131031, 131037, 131042, 131044, 131045, 133000, 133005, 133006, 133010, 134011,
		2388001, 2388012, 2388091, 2388093, 2388103, 2593079, 2593085,
	},
	"forbidden lane 1h0m0s":            {368},
	"rate_limited lane":                {130429},
	"rate_limited lane 15s":            {131057},
	"rate_limited lane 1m0s":           {2494100},
	"rate_limited lane 5m0s":           {4, 133009, 133015},
	"rate_limited account 5m0s":        {80007},
	"rate_limited lane 1h0m0s":         {131048, 133008, 133016},
	"rate_limited conversation 6s":     {131056},
	"rate_limited conversation 5m0s":   {131208, 134101},
	"rate_limited conversation 1h0m0s": {132069},
	"unknown_outcome event":            {1, 2, 131000, 131016},
	"unavailable event":                {133004, 139103},
	"undeliverable event": {
		130403, 130472, 130497, 131020, 131021, 131026, 131041, 131047, 131049, 131050, 131062, 131064, 132015, 137000,
	},
	"invalid event": {
		100, 131008, 131009, 131030, 131051, 131052, 131053, 131055, 131059, 131060, 131063, 131201, 131204, 131207, 131209, 131215,
		132000, 132001, 132005, 132007, 132008, 132012, 132016, 132018, 132068, 134100, 134102, 135000, 136024, 136025, 138000, 138006, 138018,
		139000, 139004, 139100, 139102, 147001, 147005, 200005, 200007, 1752041, 2388019, 2388040, 2388047, 2388072, 2388073,
		2388293, 2388299, 2593107, 2593108, 2593109,
	},
}

func decision(e *core.Error) string {
	s := fmt.Sprintf("%s %s", e.Code, e.Holds())
	if e.RetryAfter > 0 {
		s += " " + e.RetryAfter.String()
	}
	return s
}

func TestErrorFor_DecidesEachCodeOfTheTable(t *testing.T) {
	tested := map[int]bool{}
	for want, codes := range decisions {
		for _, code := range codes {
			for i, r := range rules {
				if code >= r.from && code <= r.to {
					tested[i] = true
				}
			}
			// The HTTP status does not change what a known code means.
			for _, status := range []int{400, 401, 403, 404, 429, 500, 503} {
				e := ErrorFor(status, GraphError{Code: code, Message: "the vendor's words"})
				if got := decision(e); got != want {
					t.Errorf("%d with HTTP status %d = %s, want %s", code, status, got, want)
				}
				if e.Vendor != fmt.Sprint(code) || e.Source != core.SourceVendor || !strings.Contains(e.Message, "the vendor's words") {
					t.Errorf("%d = %+v: want the vendor's code, source and words", code, e)
				}
			}
		}
	}
	for i, r := range rules {
		if !tested[i] {
			t.Errorf("the row of %d to %d is not tested", r.from, r.to)
		}
		if r.to < r.from || (i > 0 && r.from <= rules[i-1].to) {
			t.Errorf("the row of %d to %d is out of order", r.from, r.to)
		}
		if r.meaning == "" {
			t.Errorf("the row of %d to %d has no meaning", r.from, r.to)
		}
		if r.scope == lane && r.code != slower && r.hint == "" {
			t.Errorf("the row of %d to %d stops a lane without saying what to do", r.from, r.to)
		}
	}
}

func TestErrorFor_FindsTheMissingNumberInItsSubcode(t *testing.T) {
	e := ErrorFor(400, GraphError{Code: 100, Subcode: 33, Message: "Unsupported post request."})
	if decision(e) != "forbidden lane" || e.Vendor != "100/33" || !strings.Contains(e.Hint, "number's id") {
		t.Errorf("100/33 = %s, %+v", decision(e), e)
	}
}

func TestErrorFor_JudgesUnknownCodesByTheirStatus(t *testing.T) {
	for _, test := range []struct {
		status    int
		transient bool
		want      string
	}{
		{400, false, "invalid event"}, {400, true, "unavailable event"}, {401, false, "unauthenticated lane"},
		{403, false, "invalid event"}, {404, false, "invalid event"}, {408, false, "unknown_outcome event"},
		{429, false, "rate_limited lane"}, {500, false, "unknown_outcome event"}, {500, true, "unknown_outcome event"},
		{503, false, "unknown_outcome event"}, {302, false, "unknown_outcome event"},
	} {
		for _, code := range []int{-1, 777777, 131999, 1 << 30} {
			if got := decision(ErrorFor(test.status, GraphError{Code: code, Transient: test.transient})); got != test.want {
				t.Errorf("%d with HTTP status %d, transient %v = %s, want %s", code, test.status, test.transient, got, test.want)
			}
		}
	}
}

func TestErrorFor_RepeatsNothingPersonalAndNothingEndless(t *testing.T) {
	e := ErrorFor(400, GraphError{
		Code: 131009, Message: "x", Trace: "AbCdEfGhIjKlMnOpQrStUvW",
		Details: "(131009) 34600111222 and +34600111222,\nnot US.13491208655302741918 \x1b[31mEAAGm0PX4ZCpsBAKZCZBpZCpZBpZCpZBpZCpZBEAAG " + strings.Repeat("long ", 1000),
	})
	for _, bad := range []string{"34600111222", "1349120865", "EAAG", "\n", "\x1b"} {
		if strings.Contains(e.Message, bad) {
			t.Errorf("the message repeats %q: %s", bad, e.Message)
		}
	}
	for _, good := range []string{"131009", "AbCdEfGhIjKlMnOpQrStUvW"} {
		if !strings.Contains(e.Message, good) {
			t.Errorf("the message lacks %q: %s", good, e.Message)
		}
	}
	if len(e.Message) > 500 {
		t.Errorf("the message has %d characters", len(e.Message))
	}
}

func TestParseGraphError_ReadsWhatItCan(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want GraphError
		ok   bool
	}{
		"whole": {
			`{"error":{"message":"m","type":"OAuthException","code":131047,"error_subcode":5,"error_data":{"details":"d"},"fbtrace_id":"T","is_transient":true}}`,
			GraphError{Code: 131047, Subcode: 5, Message: "m", Details: "d", Trace: "T", Transient: true}, true,
		},
		"code as a string":    {`{"error":{"message":"m","code":"190"}}`, GraphError{Code: 190, Message: "m"}, true},
		"data as a string":    {`{"error":{"code":100,"error_data":"d"}}`, GraphError{Code: 100}, true},
		"words for users":     {`{"error":{"code":100,"error_user_msg":"u"}}`, GraphError{Code: 100, Details: "u"}, true},
		"a field of odd type": {`{"error":{"message":5,"code":100}}`, GraphError{Code: 100}, true},
		"code 0":              {`{"error":{"message":"AuthException","code":0}}`, GraphError{Message: "AuthException"}, true},
		"no error":            {`{"success":false}`, GraphError{}, false},
		"empty error":         {`{"error":{}}`, GraphError{}, false},
		"error as a word":     {`{"error":"busy"}`, GraphError{}, false},
		"a page":              {`<html>`, GraphError{}, false},
		"nothing":             {``, GraphError{}, false},
		"cut off":             {`{"error":{"message":"m","code":100`, GraphError{}, false},
	} {
		if got, ok := parseGraphError([]byte(test.body)); got != test.want || ok != test.ok {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, ok, test.want, test.ok)
		}
	}
}

func TestRetryAfter_IsBounded(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "1.5": 0, "-3": 0, "99999999": time.Hour,
		"Wed, 21 Oct 2026 07:28:00 GMT": 0, "5m": 0, "1e9": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {in}}); got != want {
			t.Errorf("Retry-After %q = %v, want %v", in, got, want)
		}
	}
}

func TestPairs_WaitLongerEachTimeAndForget(t *testing.T) {
	p := newPairs()
	ana, ben := core.Address{Kind: core.AddressPhone, Value: "+34600111222"}, core.Address{Kind: core.AddressPhone, Value: "+34600333444"}
	for _, seconds := range []int{6, 12, 24, 48, 96, 96, 96} {
		want := time.Duration(seconds) * time.Second
		if got := p.limited(ana); got != want {
			t.Errorf("Ana waits %v, want %v", got, want)
		}
	}
	if got := p.limited(ben); got != 6*time.Second {
		t.Errorf("Ben waits %v for Ana's sake", got)
	}
	p.passed(ana)
	if got := p.limited(ana); got != 6*time.Second {
		t.Errorf("after a message got through, Ana waits %v", got)
	}
	for i := range 3 * maxPairs {
		p.limited(core.Address{Kind: core.AddressPhone, Value: fmt.Sprintf("+346%08d", i)})
	}
	if len(p.refused) > maxPairs {
		t.Errorf("%d people are remembered", len(p.refused))
	}
}
