package customhttp_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

func TestLeft_PausesWhileNoRequestsAreLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, customhttpsim.Options{Quota: 3, QuotaPer: time.Minute},
			notes("none", table{"parallel": 1, "left": table{"header": "X-RateLimit-Remaining", "until": "X-RateLimit-Reset"}}), nil)
		ctx, meter := core.WithMeter(t.Context())
		results := b.deliverIn(ctx, many(5)...)
		waits := map[string]core.Code{received(3).ID: core.CodeRateLimited, received(4).ID: core.CodeRateLimited}
		wantCodes(t, results, waits)
		for id := range waits {
			if err := results[id].Err; err.RetryAfter <= 59*time.Second || err.RetryAfter > 61*time.Second || err.Holds() != core.ScopeLane {
				t.Errorf("got %+v", err)
			}
		}
		if spent, left := meter.Spent(); spent["requests"] != 3 || left["requests"] != 0 {
			t.Errorf("spent %v, left %v", spent, left)
		}
		time.Sleep(results[received(3).ID].Err.RetryAfter - 1)
		if err := b.one(received(3)); codeOf(err) != core.CodeRateLimited {
			t.Errorf("too early: %v", err)
		}
		time.Sleep(time.Nanosecond)
		wantCodes(t, b.deliver(received(3), received(4)), nil)
		if n := b.sim.Stats().Statuses[http.StatusTooManyRequests]; n != 0 {
			t.Errorf("%d refusals", n)
		}
		// Another account has its own.
		b.account.Lane = "other"
		if err := b.one(received(5)); err != nil {
			t.Errorf("another lane waits, too: %v", err)
		}
	})
}

func TestLeft_ReadsWhatAPIsWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is the year 2000, midnight
		at := time.Now().Add(30 * time.Second)
		for name, c := range map[string]struct {
			left, until, format string
			want                time.Duration // 0: no pause
		}{
			"seconds":                  {"0", "30", "auto", 30 * time.Second},
			"a date":                   {"0", at.UTC().Format(http.TimeFormat), "auto", 30 * time.Second},
			"milliseconds, said":       {"0", "1500", "milliseconds", 1500 * time.Millisecond},
			"some are left":            {"1", "30", "auto", 0},
			"nobody says until when":   {"0", "", "auto", 0},
			"no number":                {"many", "30", "auto", 0},
			"it is over":               {"0", "-1", "auto", 0},
			"more than a day is a day": {"0", "9999999", "auto", 24 * time.Hour},
		} {
			answered := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Left", c.left)
				w.Header().Set("X-Until", c.until)
			})
			b := start(t, customhttpsim.Options{}, notes("none", table{"left": table{"header": "X-Left", "until": "X-Until", "format": c.format}}), answered)
			if err := b.one(received(1)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			err := b.one(received(2))
			if (c.want == 0) != (err == nil) || err != nil && err.RetryAfter != c.want {
				t.Errorf("%s: got %v, want a pause of %v", name, err, c.want)
			}
		}
	})
}

func TestLeft_SettingsAreChecked(t *testing.T) {
	for want, s := range map[string]table{
		"left.header: want": {"until": "X-Until"},
		"left.until: want":  {"header": "X-Left"},
		"left.format: want": {"header": "X-Left", "until": "X-Until", "format": "days"},
	} {
		settings := good()
		settings["left"] = s
		if err := check(toJSON(t, settings), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
