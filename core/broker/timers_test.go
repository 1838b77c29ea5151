package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/wabridge/wabridge/core"
)

// inTurn does something to a conversation as a turn would, in a settlement of
// its own.
func (b *bridge) inTurn(event, contact string, do func(t *tenant, u *turn)) {
	b.Helper()
	t := b.tenants["acme"]
	e := &core.Event{ID: event, Kind: core.KindMessageReceived, Tenant: t.ID, Number: number,
		Conversation: core.ConversationID(number, contact), Contact: &core.Contact{ID: contact}}
	turns := []turn{{e: e, person: &person{Contact: core.Contact{ID: contact}}, step: Step{Time: time.Now().UTC(), Event: event, Tenant: t.ID, Step: "set"}}}
	if err := t.load(context.Background(), turns); err != nil {
		b.Fatal(err)
	}
	do(t, &turns[0])
	t.save(&turns[0])
	if _, err := b.settle(context.Background(), turns[0].s); err != nil {
		b.Fatal(err)
	}
	turns[0].finish(true)
}

func (b *bridge) setTimer(event, contact, name string, after time.Duration) error {
	b.Helper()
	var err error
	b.inTurn(event, contact, func(t *tenant, u *turn) {
		err = t.setTimer(u, name, u.step.Time.Add(after), json.RawMessage(`{"n":1}`))
	})
	return err
}

// rung returns what the history says came of timers, in order: the notes, with
// the time.
func (b *bridge) rung(root string) []string {
	b.Helper()
	recs, err := b.store.Find(context.Background(), "acme", root)
	if err != nil {
		b.Fatal(err)
	}
	var out []string
	for _, r := range recs {
		var step Step
		if err := json.Unmarshal(r.Data, &step); err != nil {
			b.Fatal(err)
		}
		if step.Kind == core.KindTimer {
			out = append(out, fmt.Sprintf("%s %s", step.Time.Format(time.TimeOnly), strings.Join(step.Notes, "; ")))
		}
	}
	return out
}

func TestTimer_RingsWhenDueAndOnce(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		if err := b.setTimer("root", "c1", "a", time.Minute); err != nil {
			t.Fatal(err)
		}
		settled(time.Minute - time.Nanosecond)
		b.wantKinds(b.rung("root"))
		settled(time.Nanosecond)
		b.wantKinds(b.rung("root"), "00:01:00 the timer a is due")
		b.stop()
		b.start()
		settled(time.Hour)
		b.wantKinds(b.rung("root"), "00:01:00 the timer a is due")
		b.wantKinds(b.crm.kinds())
	})
}

func TestTimer_CancelledOrReplacedDoesNotRing(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		for i, after := range []time.Duration{time.Minute, 3 * time.Minute} {
			if err := b.setTimer(core.FollowID("root", i), "c1", "again", after); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.setTimer("root#2", "c1", "never", 2*time.Minute); err != nil {
			t.Fatal(err)
		}
		b.inTurn("root#3", "c1", func(t *tenant, u *turn) {
			if !t.cancelTimer(u, "never") || t.cancelTimer(u, "unheard of") {
				b.Error("cancelTimer does not know what there is")
			}
		})
		settled(time.Hour)
		b.wantKinds(b.rung("root"), "00:01:00 the timer again was cancelled or set anew",
			"00:02:00 the timer never was cancelled or set anew", "00:03:00 the timer again is due")
	})
}

func TestTimer_HasBounds(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		for i := range maxTimers {
			if err := b.setTimer(core.FollowID("root", i), "c1", fmt.Sprint(i), time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		for name, err := range map[string]error{
			"one too many":   b.setTimer("more", "c1", "more", time.Hour),
			"no name":        b.setTimer("noname", "c2", "", time.Hour),
			"long name":      b.setTimer("long", "c2", strings.Repeat("x", maxTimerName+1), time.Hour),
			"too far":        b.setTimer("far", "c2", "far", maxTimerAhead+time.Nanosecond),
			"escalation":     nil,
			"replaces":       b.setTimer("replaces", "c1", "3", time.Hour),
			"just in time":   b.setTimer("just", "c2", "just", maxTimerAhead),
			"own escalation": b.setTimer("own", "c1", timerEscalation, time.Hour),
		} {
			if refused := err != nil; refused != slices.Contains([]string{"one too many", "no name", "long name", "too far"}, name) {
				t.Errorf("%s: %v", name, err)
			}
		}
		b.tenants["acme"].waiting.Store(maxTenantTimers)
		if err := b.setTimer("tenant", "c3", "x", time.Hour); err == nil {
			t.Error("a tenant may have any number of timers")
		}
	})
}

func TestTimer_CountsWhatWaits(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		for i := range 3 {
			if err := b.setTimer(core.FollowID("root", i), "c1", fmt.Sprint(i), time.Duration(i+1)*time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		settled(time.Hour)
		if n := b.tenants["acme"].waiting.Load(); n != 2 {
			t.Errorf("%d wait, want 2", n)
		}
		b.stop()
		b.start()
		if n := b.tenants["acme"].waiting.Load(); n != 2 {
			t.Errorf("after a restart %d wait, want 2", n)
		}
	})
}

// timerOp is one step of a schedule: a timer set or cancelled, time that goes
// by, or the end of the process, at a step of its work or at rest, for a while.
type timerOp struct {
	Do    string
	Name  string
	After time.Duration
	Point string
}

var timerOps = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) timerOp {
	return timerOp{
		Do:    rapid.SampledFrom([]string{"set", "set", "set", "cancel", "wait", "kill"}).Draw(t, "do"),
		Name:  rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "name"),
		After: time.Duration(rapid.IntRange(0, 90).Draw(t, "after")) * time.Second,
		Point: rapid.SampledFrom([]string{"", "timers-before-commit", "timers-after-commit", "decide-before-commit", "decide-after-commit"}).Draw(t, "point"),
	}
}), 30, 60)

// timerModel is what timers should do: the latest of each name rings when it is
// due, those due at the same time in the order in which they were set.
type timerModel struct {
	set   map[string]modelTimer
	n     int
	rings []string
}

type modelTimer struct {
	due time.Time
	n   int
}

// until lets everything ring that is due by then, in order.
func (m *timerModel) until(now time.Time) {
	for {
		first := ""
		for name, tm := range m.set {
			if tm.due.After(now) {
				continue
			}
			if f := m.set[first]; first == "" || tm.due.Before(f.due) || tm.due.Equal(f.due) && tm.n < f.n {
				first = name
			}
		}
		if first == "" {
			return
		}
		m.rings = append(m.rings, "the timer "+first+" is due")
		delete(m.set, first)
	}
}

// sleepTo sleeps until it is next so long after a whole second.
func sleepTo(after time.Duration) {
	now := time.Now()
	next := now.Truncate(time.Second).Add(after)
	if !next.After(now) {
		next = next.Add(time.Second)
	}
	time.Sleep(next.Sub(now))
}

func TestTimers_RingOnceInOrderAcrossKills(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ops := timerOps.Draw(rt, "ops")
		var got, want []string
		synctest.Test(t, func(t *testing.T) {
			got, want = playTimers(newBridge(t), ops)
		})
		if !slices.Equal(got, want) {
			rt.Fatalf("rang %q\nwant %q", got, want)
		}
	})
}

// playTimers does what the operations say to a bridge and to the model, and
// returns what rang in either.
func playTimers(b *bridge, ops []timerOp) (got, want []string) {
	var point atomic.Pointer[string]
	var killed atomic.Bool
	b.noSync = true
	b.change = func(o *Options) {
		o.Failpoint = func(name string) {
			if p := point.Load(); p != nil && *p == name && point.CompareAndSwap(p, nil) {
				killed.Store(true)
				b.kill()
			}
		}
	}
	m := timerModel{set: map[string]modelTimer{}}
	b.start()
	defer func() { b.stop() }()
	revive := func() {
		for killed.Swap(false) {
			b.stop()
			b.start()
			settled(10 * time.Millisecond)
		}
	}
	for i, op := range ops {
		// A commit takes a little: what is done is done on the second, what
		// rings does so half a second later.
		sleepTo(750 * time.Millisecond)
		revive()
		sleepTo(0)
		now := time.Now()
		m.until(now)
		switch op.Do {
		case "set":
			op.After += 500 * time.Millisecond
			if err := b.setTimer(core.FollowID("root", i), "c1", op.Name, op.After); err != nil {
				b.Fatal(err)
			}
			m.n++
			m.set[op.Name] = modelTimer{now.Add(op.After), m.n}
		case "cancel":
			b.inTurn(core.FollowID("root", i), "c1", func(t *tenant, u *turn) { t.cancelTimer(u, op.Name) })
			delete(m.set, op.Name)
		case "wait":
			time.Sleep(op.After)
		case "kill":
			if point.Store(&op.Point); op.Point == "" {
				b.stop()
				time.Sleep(op.After)
				b.start()
			}
		}
		settled(10 * time.Millisecond)
		revive()
		m.until(time.Now())
	}
	for _, line := range b.rung("root") {
		if _, rang, _ := strings.Cut(line, " "); strings.HasSuffix(rang, "is due") {
			got = append(got, rang)
		}
	}
	return got, m.rings
}

// sleepUntil sleeps, in virtual time.
func sleepUntil(t time.Time) { time.Sleep(time.Until(t)) }
