package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// again is a bridge with a send whose first call got no answer, so that it will be made
// once more two minutes after. It calls f when the bridge has waited for a second, and at
// each of the bridge's steps.
func again(t *testing.T, at func(b *bridge, id, step string), f func(b *bridge, id string)) {
	againThen(t, func(*bridge, string) core.Result { return core.Result{Ref: "wamid.out.2"} }, at, f)
}

// againThen is again with what becomes of the second call.
func againThen(t *testing.T, second func(b *bridge, id string) core.Result, at func(b *bridge, id, step string), f func(b *bridge, id string)) {
	run(t, func(b *bridge) {
		b.noSync = true
		calls := atomic.Int64{}
		b.wa.do = func(d core.Delivery) core.Result {
			if calls.Add(1) > 1 {
				return second(b, d.Event.ID)
			}
			return unknown(d)
		}
		var id atomic.Value
		b.change = func(o *Options) {
			o.Tenants[0].Policy = Policy{RetryUnknown: []core.Class{core.ClassTransaction}, Templates: testTemplates}
			o.Failpoint = func(step string) {
				if id, ok := id.Load().(string); ok && at != nil {
					at(b, id, step)
				}
			}
		}
		b.start()
		mine := b.order("k1", ana, "template info")
		settled(time.Second)
		if n := len(b.wa.taken()); n != 1 {
			t.Fatalf("%d calls at first", n)
		}
		id.Store(mine)
		f(b, mine)
	})
}

// wantOnce says that a send was made by its first call, and that everybody knows.
func (b *bridge) wantOnce(id string) {
	b.Helper()
	if n := len(b.wa.taken()); n != 1 {
		b.Errorf("called %d times", n)
	}
	b.wantKinds(b.crm.kinds(), "message.sent "+id+"#1", "message.status wamid.out.1/delivered")
	if got := b.wamidOf(id); got != "wamid.out.1" {
		b.Errorf("the CRM has it as %s", got)
	}
	if n := len(b.dead()); n != 0 || b.depth() != 0 || b.tenants["acme"].waiting.Load() != 0 || b.Snapshot().Totals.DoubleSend != 0 {
		b.Errorf("%d dead, %d left, %d double", n, b.depth(), b.Snapshot().Totals.DoubleSend)
	}
	if n := len(b.tenants["acme"].overheard.wamid); n != 0 {
		b.Errorf("%d are overheard still", n)
	}
}

func TestAgain_AStatusThatCameBeforeStopsTheSecondCall(t *testing.T) {
	const due = 2*time.Minute - time.Second
	for _, wait := range []time.Duration{0, due - time.Millisecond, due - time.Nanosecond} {
		again(t, nil, func(b *bridge, id string) {
			<-time.After(wait)
			b.accept(statusOf(id, "wamid.out.1", core.StatusDelivered))
			settled(time.Hour)
			b.wantOnce(id)
		})
	}
	// The last moments, whether or not anything is decided meanwhile.
	for _, last := range []string{"send-before-mark", "send-after-mark", "send-before-call"} {
		for _, slow := range []bool{false, true} {
			came := atomic.Bool{}
			again(t, func(b *bridge, id, step string) {
				switch {
				case step == last && !came.Swap(true):
					b.accept(statusOf(id, "wamid.out.1", core.StatusDelivered))
				case step == "decide-before-commit" && slow:
					<-time.After(time.Minute)
				}
			}, func(b *bridge, id string) {
				settled(time.Hour)
				b.wantOnce(id)
				if !came.Load() {
					t.Errorf("%s was not reached", last)
				}
			})
		}
	}
}

// While the number may not send, the send waits in its lane; while
// marketing is kept from the person, out of it. The status is decided all the same, and nothing of the person's waits for it.
func TestAgain_AStatusTakesOutWhatWaits(t *testing.T) {
	for _, where := range []string{"lane", "timers"} {
		again(t, nil, func(b *bridge, id string) {
			l := b.tenants["acme"].numbers[number]
			settled(time.Minute)
			switch where {
			case "lane":
				l.gate.refuse(&core.Error{Code: core.CodeRateLimited, Message: "slower", RetryAfter: 10 * time.Hour})
			case "timers":
				b.template("wh-1", core.TemplateChange{Name: "info", Category: "marketing"})
				p, _, err := whom(context.Background(), b.store, "acme", ana, "")
				if err != nil {
					t.Fatal(err)
				}
				var s store.Settlement
				b.tenants["acme"].withholds(&s, p.ID, "", time.Now())
				if _, err := b.store.Settle(context.Background(), s); err != nil {
					t.Fatal(err)
				}
			}
			settled(2 * time.Minute)
			b.accept(statusOf(id, "wamid.out.1", core.StatusDelivered))
			b.write("wamid.1", ana, "thanks")
			if got := b.crm.kinds(); len(got) != 3 {
				t.Errorf("a moment later the CRM has %q", got)
			}
			settled(24 * time.Hour)
			b.wantNotes(id, "it is not sent once more")
			if n := len(b.wa.taken()); n != 1 {
				t.Errorf("%s: called %d times", where, n)
			}
		})
	}
}

// What the process had overheard is heard again by the next, before it sends.
func TestAgain_AStatusThatTheProcessBeforeTookStopsTheSecondCall(t *testing.T) {
	stopped := atomic.Bool{}
	again(t, func(_ *bridge, _, step string) {
		if step == "decide-before-commit" && !stopped.Load() {
			<-time.After(time.Hour)
		}
	}, func(b *bridge, id string) {
		b.tenants["acme"].numbers[number].gate.refuse(&core.Error{Code: core.CodeRateLimited, Message: "slower", RetryAfter: time.Hour})
		settled(3 * time.Minute)
		var busy []core.Event // as many as both loops that decide take, then one more
		for i := range 2*decideBatch + 1 {
			busy = append(busy, received(fmt.Sprintf("wamid.%d", i), fmt.Sprintf("+3460011%04d", i), "hello"))
			if i == 0 || i == decideBatch {
				b.accept(busy...)
				settled(time.Second)
				busy = nil
			}
		}
		b.accept(busy...)
		b.accept(statusOf(id, "wamid.out.1", core.StatusDelivered))
		copied := b.crashed()
		stopped.Store(true)
		b.stop()

		next := newBridge(t)
		next.dir, next.noSync, next.change = copied, true, b.change
		decided := make(chan struct{})
		change := b.change
		next.change = func(o *Options) {
			change(o)
			o.Failpoint = func(step string) {
				if step == "decide-before-commit" {
					<-decided // nothing is, until the number could have sent long since
				}
			}
		}
		next.start()
		defer next.stop()
		settled(time.Minute)
		close(decided)
		settled(time.Minute)
		if n := len(next.wa.taken()); n != 0 {
			t.Errorf("called %d times more", n)
		}
		next.wantKinds(slices.DeleteFunc(next.crm.kinds(), func(k string) bool { return strings.HasPrefix(k, "message.received") }),
			"message.sent "+id+"#1", "message.status wamid.out.1/delivered")
	})
}

// A status that comes while the second call is under way is too late for it: both are
// counted. When that call fails, the first counts.
func TestAgain_AStatusDuringTheSecondCall(t *testing.T) {
	for _, answer := range []core.Code{"", core.CodeUnavailable, core.CodeInvalid, core.CodeUnknownOutcome} {
		againThen(t, func(b *bridge, id string) core.Result {
			b.accept(statusOf(id, "wamid.out.1", core.StatusDelivered))
			<-time.After(time.Second)
			if answer != "" {
				return core.Result{Err: &core.Error{Code: answer, Message: "no"}}
			}
			return core.Result{Ref: "wamid.out.2"}
		}, nil, func(b *bridge, _ string) {
			settled(time.Hour)
			if n := len(b.wa.taken()); n != 2 {
				t.Errorf("%s: called %d times", answer, n)
			}
			want := map[bool]uint64{true: 1, false: 0}[answer == ""]
			if got := b.Snapshot().Totals.DoubleSend; got != want || len(b.dead()) != 0 || b.depth() != 0 {
				t.Errorf("%s: %d double sends, %d dead, %d left", answer, got, len(b.dead()), b.depth())
			}
		})
	}
}
