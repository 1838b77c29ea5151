package broker

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

// Who looks into the log, or at the queues, learns why nothing is delivered, what to do
// about it, and that it is over. What passes by itself is not told of.
func TestLane_SaysThatItIsPaused(t *testing.T) {
	for name, tc := range map[string]struct {
		err   core.Error
		state LaneState
		lasts time.Duration
		want  []string // nil: nothing is told
	}{
		"credentials": {core.Error{Code: core.CodeUnauthenticated, Message: "the token is invalid", Hint: "renew secrets.token"}, LaneSignIn, time.Hour,
			[]string{"level=ERROR", "credentials", "the token is invalid; renew secrets.token"}},
		"no connection": {core.Error{Code: core.CodeUnavailable, Scope: core.ScopeLane, Message: "no connection"}, LaneDown, time.Hour,
			[]string{"level=WARN", "no connection"}},
		"a moment": {core.Error{Code: core.CodeUnavailable, Scope: core.ScopeLane, Message: "no connection"}, LaneDown, pauseTold - time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(b *bridge) {
				log := &lines{}
				b.change = func(o *Options) { o.Log = slog.New(slog.NewTextHandler(log, nil)) }
				var broken atomic.Bool
				broken.Store(true)
				b.crm.do = func(core.Delivery) core.Result {
					if err := tc.err; broken.Load() {
						return core.Result{Err: &err}
					}
					return core.Result{}
				}
				b.start()
				b.accept(received("wamid.1", "+14155550100", "hi"))
				settled(pauseTold - time.Second)
				if told := log.String(); strings.Contains(told, "a lane") {
					t.Errorf("told at once:\n%s", told)
				}
				var queue QueueStatus
				for _, q := range b.Snapshot().Queues {
					if q.Queue == "crm/crm" {
						queue = q
					} else if q.State != "" {
						t.Errorf("%+v is told to be paused, too", q)
					}
				}
				if queue.State != tc.state || !strings.Contains(queue.Why, tc.err.Message) {
					t.Errorf("queue: %+v", queue)
				}
				settled(tc.lasts - (pauseTold - time.Second))
				told := log.String()
				for _, want := range tc.want {
					if !strings.Contains(told, want) {
						t.Errorf("no %q in:\n%s", want, told)
					}
				}
				if n := strings.Count(told, "a lane is paused"); n > 1 || n == 1 != (tc.want != nil) {
					t.Errorf("told %d times:\n%s", n, told)
				}
				broken.Store(false)
				settled(10 * time.Minute)
				if got := strings.Contains(log.String(), "a lane delivers again"); got != (tc.want != nil) {
					t.Errorf("that it is over is told: %v:\n%s", got, log.String())
				}
				if n := b.depth(); n != 0 {
					t.Errorf("%d are left", n)
				}
			})
		})
	}
}
