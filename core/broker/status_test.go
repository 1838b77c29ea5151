package broker

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

func TestSnapshot_SaysWhatWaitsForALaneThatIsGone(t *testing.T) {
	run(t, func(b *bridge) {
		var down, log bytes.Buffer
		b.change = func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&down, nil)) }
		b.crm.do = func(core.Delivery) core.Result {
			return core.Result{Err: &core.Error{Code: core.CodeUnavailable, Message: "connection refused", Scope: core.ScopeLane}}
		}
		b.start()
		b.accept(received("wamid.1", "+14155550101", "hi"))
		settled(time.Minute)
		b.stop()

		var taken sink
		name := "renamed"
		b.change = func(o *Options) {
			o.Log = slog.New(slog.NewTextHandler(&log, nil))
			o.Tenants[0].Lanes = []Lane{{Name: name, Connector: "test", Sink: &taken, MaxBatch: 100}}
		}
		b.start()
		settled(time.Minute)
		queue := func() (found QueueStatus) {
			for _, q := range b.Snapshot().Queues {
				switch {
				case q.Queue == "crm/crm":
					found = q
				case q.Why != "":
					t.Errorf("%s: %s", q.Queue, q.Why)
				}
			}
			return found
		}
		if q := queue(); q.State != LaneStopped || q.Why != noLane || q.Depth == 0 {
			t.Errorf("what waits for a lane that is gone is %+v", q)
		}
		b.stop()
		if s := log.String(); strings.Count(s, "nobody delivers") != 1 || !strings.Contains(s, "lane=crm/crm") {
			t.Errorf("the log is %s", s)
		}

		name = "crm"
		b.start()
		settled(time.Minute)
		if q := queue(); q.Depth != 0 || len(taken.taken()) == 0 {
			t.Errorf("the lane is back, and %+v", q)
		}
		b.stop()
		if s := down.String(); strings.Contains(s, "nobody delivers") {
			t.Errorf("of a lane that is down the log says %s", s)
		}
	})
}
