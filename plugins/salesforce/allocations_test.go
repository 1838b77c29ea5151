package salesforce_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/salesforce"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

// words has a connector write what it is told of into a buffer.
func words(c *salesforce.Connector) func() []string {
	var said bytes.Buffer
	c.Log = slog.New(slog.NewTextHandler(&said, nil))
	return func() (list []string) {
		for line := range strings.Lines(said.String()) {
			list = append(list, line)
		}
		said.Reset()
		return list
	}
}

func wantsWords(t testing.TB, what string, got []string, parts ...string) {
	t.Helper()
	if len(parts) == 0 && len(got) > 0 || len(parts) > 0 && len(got) != 1 {
		t.Fatalf("%s: it says %q, want what has %q", what, got, parts)
	}
	for _, part := range parts {
		if !strings.Contains(got[0], part) {
			t.Errorf("%s: it says %q, want %q in it", what, got, part)
		}
	}
}

// The owner is told once when four fifths of the day's events are used up, by whomever, and
// once when all are; and again on another day.
func TestAllocations_OfEventsAreWatched(t *testing.T) {
	ears(t, salesforcesim.Options{Deliveries: 10}, messages, func(tl *teller) {
		said := words(tl.connector)
		for n := range 2 {
			for i := range 7 {
				tl.say(fmt.Sprint(n, " ", i))
			}
			tl.listens(time.Hour)
			wantsWords(tl.t, "at 7 of 10", said())
			tl.say(fmt.Sprint(n, " last"))
			tl.listens(time.Hour)
			wantsWords(tl.t, "at 8 of 10", said(), "level=WARN", "events delivered to listeners", "used=8 of=10", "settings.change_topic")
			tl.listens(time.Hour)
			wantsWords(tl.t, "an hour later", said())
			tl.sim.NextDay()
			tl.listens(time.Hour)
			wantsWords(tl.t, "on another day", said())
		}
	})
}

// Once an org's events are used up, changes come by asking and messages wait; nothing is
// lost, and nothing comes twice.
func TestListen_GoesOnWhenTheEventsAreUsedUp(t *testing.T) {
	ears(t, salesforcesim.Options{Deliveries: 2}, messages+","+contacts, func(tl *teller) {
		said := words(tl.connector)
		refused := 0
		// during makes Polls as the bridge does, which waits for as long as an error says.
		during := func(d time.Duration) (told []string) {
			for end := time.Now().Add(d); time.Now().Before(end); {
				polled, err := tl.connector.Poll(tl.t.Context(), tl.account, tl.cursor)
				if err != nil {
					if e := core.AsError(err); e.Code != core.CodeRateLimited || !strings.Contains(e.Hint, "every quarter of an hour") {
						tl.t.Fatalf("%+v", e)
					}
					refused++
					<-time.After(core.AsError(err).RetryAfter)
					continue
				}
				tl.cursor = polled.Cursor
				for _, e := range polled.Events {
					if known := tl.known[e.ID]; known && e.Message != nil {
						tl.t.Errorf("told twice: %v", brief([]core.Event{e}))
					} else if known {
						continue
					}
					tl.known[e.ID] = true
					if e.Message != nil {
						told = append(told, e.Message.Text)
					} else {
						told = append(told, e.Contact.Phone)
					}
				}
			}
			return told
		}
		tl.say("one", "two")
		if told := during(time.Minute); !slices.Equal(told, []string{"one", "two"}) || refused > 0 {
			tl.t.Errorf("told %q, refused %d times", told, refused)
		}
		tl.say("three")
		tl.sim.Create("Contact", map[string]any{"LastName": "Ana", "MobilePhone": "+34600000002"})
		if told := during(31 * time.Minute); !slices.Equal(told, []string{"+34600000002"}) || refused == 0 {
			tl.t.Errorf("told %q, refused %d times", told, refused)
		}
		tl.sim.Create("Contact", map[string]any{"LastName": "Bob", "MobilePhone": "+34600000003"})
		if told := during(16 * time.Minute); !slices.Equal(told, []string{"+34600000003"}) {
			tl.t.Errorf("told %q", told)
		}
		wantsWords(tl.t, "when all is used up", said(), "events delivered to listeners", "of=2")
		tl.sim.NextDay()
		if told := during(16 * time.Minute); !slices.Equal(told, []string{"three"}) {
			tl.t.Errorf("told %q on another day", told)
		}
	})
}

// What may not be read is said, and nothing else comes of it.
func TestAllocations_NeedNotBeReadable(t *testing.T) {
	ears(t, salesforcesim.Options{}, messages, func(tl *teller) {
		tl.sim.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultStatus, Match: "/limits", Status: http.StatusForbidden, Code: "INSUFFICIENT_ACCESS", Message: "no"})
		tl.reborn()
		said := words(tl.connector)
		tl.clear()
		for range 3 {
			if err := tl.connector.Check(tl.t.Context(), tl.account); err != nil {
				tl.t.Errorf("a check: %v", err)
			}
		}
		if n := strings.Count(strings.Join(tl.calls(), "\n"), "/limits"); n != 1 {
			tl.t.Errorf("three checks asked %d times, want once in a quarter of an hour", n)
		}
		wantsWords(tl.t, "a check", said(), "not watched", "View Setup and Configuration")
		tl.say("one")
		if told := tl.listens(time.Hour); !slices.Equal(told, []string{"one"}) {
			tl.t.Errorf("told %q", told)
		}
		wantsWords(tl.t, "an hour later", said())
	})
}

func TestAllocations_OfRequestsAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, salesforcesim.Options{Daily: 1000}, "")
		said := words(b.connector)
		deliver := func(n int) { b.deliver(received(n)) }
		b.sim.UseUp(700)
		deliver(1)
		wantsWords(t, "at 70 %", said())
		b.sim.UseUp(100)
		deliver(2)
		deliver(3)
		wantsWords(t, "at 80 %", said(), "API requests", "of=1000", "settings.daily_share")
	})
}

// What an app may use is another allocation, of which Salesforce tells in the same header.
func TestAllocations_OfTheAppAreNotTheOrgs(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	for _, info := range []string{"per-app-api-usage=250/250(appName=x); api-usage=2/1000", "api-usage=2/1000; per-app-api-usage=250/250(appName=x)", "per-app-api-usage=250/250(appName=x)"} {
		b.behind(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			w = &limitInfo{w, info}
			next.ServeHTTP(w, r)
		})
		b.mustDeliver(received(1))
	}
}

// limitInfo replaces the header that tells of allocations.
type limitInfo struct {
	http.ResponseWriter
	info string
}

func (w *limitInfo) WriteHeader(status int) {
	w.Header().Set("Sforce-Limit-Info", w.info)
	w.ResponseWriter.WriteHeader(status)
}
