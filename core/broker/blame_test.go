package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

// office is a CRM that may be away and can be asked whether it is. What it took is in
// order.
type office struct {
	mu      sync.Mutex
	refuses func(batch []core.Delivery) *core.Error // the whole call, nil for nothing
	away    error                                   // what Check answers
	safe    core.Idempotency
	took    []string
	calls   int
	asked   int
}

func (o *office) Info(context.Context) (core.ConnectorInfo, error) {
	return core.ConnectorInfo{Name: "office", MaxBatch: 100, Idempotency: o.safe, SearchDelay: time.Second}, nil
}

func (o *office) Check(context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	return o.away
}

func (o *office) Deliver(_ context.Context, batch []core.Delivery) []core.Result {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls++
	results := make([]core.Result, len(batch))
	var err *core.Error
	if o.refuses != nil {
		err = o.refuses(batch)
	}
	for i, d := range batch {
		if results[i] = (core.Result{ID: d.Event.ID, Err: err}); err == nil {
			o.took = append(o.took, d.Event.ID)
		}
	}
	return results
}

// goes takes the CRM away, or brings it back with nil.
func (o *office) goes(err *core.Error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refuses, o.away = nil, nil
	if err != nil {
		o.refuses = func([]core.Delivery) *core.Error { return err }
		o.away = err
	}
}

// poison has the CRM refuse every call that has one of some events.
func (o *office) poison(err *core.Error, ids ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.away = nil
	o.refuses = func(batch []core.Delivery) *core.Error {
		if slices.ContainsFunc(batch, func(d core.Delivery) bool { return slices.Contains(ids, d.Event.ID) }) {
			return err
		}
		return nil
	}
}

func (o *office) seen() (took []string, calls, asked int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.took), o.calls, o.asked
}

// atOffice runs a bridge whose only lane is one to an office.
func atOffice(t *testing.T, safe core.Idempotency, f func(b *bridge, o *office)) {
	t.Helper()
	run(t, func(b *bridge) {
		o := &office{safe: safe}
		b.noSync = true
		b.change = func(opts *Options) { opts.Tenants[0].Lanes[0].Sink = o }
		b.start()
		f(b, o)
	})
}

func writes(n int) core.Event {
	return received(fmt.Sprintf("wamid.%d", n), fmt.Sprintf("+1415555%04d", n), "hi")
}

// deadOf says which events were given up.
func (b *bridge) deadOf() []string {
	b.Helper()
	var ids []string
	for _, d := range b.dead() {
		e := new(core.Event)
		if err := json.Unmarshal(d.Event, e); err != nil {
			b.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	return ids
}

var (
	errBusy         = &core.Error{Code: core.CodeUnavailable, Message: "answered 503"}
	errNoAnswer     = &core.Error{Code: core.CodeUnknownOutcome, Message: "no answer"}
	errNoConnection = &core.Error{Code: core.CodeUnavailable, Message: "no connection", Scope: core.ScopeLane}
	errToken        = &core.Error{Code: core.CodeUnauthenticated, Message: "the token is invalid"}
	errNotAllowed   = &core.Error{Code: core.CodeForbidden, Message: "you may not read fields"}
	errTooMany      = &core.Error{Code: core.CodeRateLimited, Message: "slower", RetryAfter: time.Minute}
	errDied         = &core.Error{Code: core.CodeUnknownOutcome, Message: "the plugin died", Vendor: vendorCrashed}
)

func TestBlame_AnOutageMakesNoDeadLettersHoweverFewMessagesCome(t *testing.T) {
	for name, c := range map[string]struct {
		err    *core.Error
		safe   core.Idempotency
		people int
	}{
		"one message, 503": {errBusy, core.IdempotencyUpsert, 1},
		"four people, 503": {errBusy, core.IdempotencyUpsert, 4},
		"no answer":        {errNoAnswer, core.IdempotencyUpsert, 1},
		"no answer, of a CRM that must be searched": {errNoAnswer, core.IdempotencySearch, 2},
		"503, of a CRM that takes everything twice": {errBusy, core.IdempotencyNone, 1},
		"no connection": {errNoConnection, core.IdempotencyUpsert, 1},
	} {
		t.Run(name, func(t *testing.T) {
			atOffice(t, c.safe, func(b *bridge, o *office) {
				o.goes(c.err)
				var want []string
				for i := range c.people {
					b.accept(writes(i))
					settled(10 * time.Minute)
					want = append(want, fmt.Sprintf("wamid.%d", i))
				}
				settled(3 * time.Hour)
				var lane LaneStatus
				for _, s := range b.Snapshot().Lanes {
					if s.Lane == "crm/crm" {
						lane = s
					}
				}
				story, err := b.Why(context.Background(), "acme", "wamid.0")
				if err != nil || len(story.Waiting) != 1 || !strings.Contains(story.Waiting[0], "paused (down): ") || !strings.Contains(story.Waiting[0], c.err.Message) {
					t.Errorf("nobody says why it waits: %q %v", story.Waiting, err)
				}
				if lane.State != LaneDown || !strings.Contains(lane.Why, c.err.Message) {
					t.Errorf("the lane says %+v", lane)
				}
				b.off(time.Hour) // what was learned is lost
				settled(2 * time.Hour)
				o.goes(nil)
				settled(32 * time.Second)
				took, _, _ := o.seen()
				slices.Sort(took) // at one moment; the order of a conversation is the store's
				b.wantKinds(took, want...)
				if dead := b.deadOf(); len(dead) > 0 || b.depth() != 0 {
					t.Errorf("dead: %v, left: %d", dead, b.depth())
				}
			})
		})
	}
}

func TestBlame_AnEventThatAloneFailsIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		before *core.Error // how the CRM is away for an hour, first
		err    *core.Error
		check  *core.Error // what Check answers then
		safe   core.Idempotency
	}{
		"alone":                       {nil, errBusy, nil, core.IdempotencyUpsert},
		"alone, never with an answer": {nil, errNoAnswer, nil, core.IdempotencyUpsert},
		"after an outage":             {errBusy, errBusy, nil, core.IdempotencyUpsert},
		"after no connection":         {errNoConnection, errBusy, nil, core.IdempotencyUpsert},
		"after a token that was over": {errToken, errBusy, nil, core.IdempotencyUpsert},
		"at a CRM that is searched":   {errNoConnection, errNoAnswer, nil, core.IdempotencySearch},
		"at one where Check may less": {nil, errBusy, errNotAllowed, core.IdempotencyUpsert},
		"at one that takes all twice": {errNoConnection, errBusy, nil, core.IdempotencyNone},
	} {
		t.Run(name, func(t *testing.T) {
			atOffice(t, c.safe, func(b *bridge, o *office) {
				if c.before != nil {
					o.goes(c.before)
					b.accept(writes(7))
					settled(time.Hour)
					if dead := b.deadOf(); len(dead) > 0 {
						t.Fatalf("given up while the CRM was away: %v", dead)
					}
				}
				o.poison(c.err, "wamid.7")
				if c.check != nil {
					o.away = c.check
				}
				if c.before == nil {
					b.accept(writes(7))
				}
				settled(6 * time.Minute) // the lane may be paused for five
				if dead := b.deadOf(); len(dead) > 0 {
					t.Fatalf("given up though nothing shows that the CRM takes others: %v", dead)
				}
				b.accept(writes(6))
				settled(6 * time.Minute)
				if dead := b.deadOf(); !slices.Equal(dead, []string{"wamid.7"}) {
					t.Fatalf("given up: %v, left: %d", dead, b.depth())
				}
				for _, s := range b.Snapshot().Lanes {
					if s.State != LaneRunning {
						t.Errorf("the lane says %+v", s)
					}
				}
				b.accept(writes(8))
				settled(time.Second)
				if took, _, _ := o.seen(); !slices.Equal(took, []string{"wamid.6", "wamid.8"}) {
					t.Errorf("the CRM took %v", took)
				}
			})
		})
	}
}

func TestBlame_WaitsForACRMThatCanBeReadHoweverFewMessagesCome(t *testing.T) {
	for name, c := range map[string]struct {
		err  *core.Error
		safe core.Idempotency
	}{
		"500":       {errBusy, core.IdempotencyUpsert},
		"no answer": {errNoAnswer, core.IdempotencyUpsert},
		"no answer, of a CRM that must be searched": {errNoAnswer, core.IdempotencySearch},
		"500, of a CRM that takes everything twice": {errBusy, core.IdempotencyNone},
	} {
		t.Run(name, func(t *testing.T) {
			atOffice(t, c.safe, func(b *bridge, o *office) {
				o.goes(c.err)
				o.away = nil
				b.accept(writes(1))
				settled(time.Hour)
				b.off(time.Minute)
				settled(2 * time.Hour)
				if dead := b.deadOf(); len(dead) > 0 {
					t.Fatalf("given up: %v", dead)
				}
				if story, err := b.Why(context.Background(), "acme", "wamid.1"); err != nil || len(story.Waiting) != 1 || !strings.Contains(story.Waiting[0], c.err.Message) {
					t.Errorf("nobody says why it waits: %q %v", story.Waiting, err)
				}
				if _, calls, asked := o.seen(); calls > 500 || asked > 500 {
					t.Errorf("it was called %d times and asked %d times", calls, asked)
				}
				o.goes(nil)
				settled(2 * time.Minute)
				if took, _, _ := o.seen(); !slices.Equal(took, []string{"wamid.1"}) || b.depth() != 0 {
					t.Errorf("the CRM took %v, left: %d", took, b.depth())
				}
			})
		})
	}
}

func TestBlame_WhatAloneFailsForHoursIsGivenUp(t *testing.T) {
	atOffice(t, core.IdempotencyUpsert, func(b *bridge, o *office) {
		o.poison(errBusy, "wamid.7")
		b.accept(writes(7))
		settled(aloneFor - time.Minute)
		if dead := b.deadOf(); len(dead) > 0 {
			t.Fatalf("given up: %v", dead)
		}
		settled(10 * time.Minute)
		if dead := b.deadOf(); !slices.Equal(dead, []string{"wamid.7"}) {
			t.Errorf("given up: %v", dead)
		}
	})
}

// What no CRM said shows nothing of one.
func TestBlame_WhatFailsInTheConnectorIsGivenUpThoughItIsAlone(t *testing.T) {
	for name, err := range map[string]*core.Error{
		"its own error": {Code: core.CodeUnavailable, Source: core.SourcePlugin, Message: "no turn"},
		"a bug":         {Code: core.CodeInternal, Source: core.SourceVendor, Message: "a bug"},
	} {
		t.Run(name, func(t *testing.T) {
			atOffice(t, core.IdempotencyUpsert, func(b *bridge, o *office) {
				o.poison(err, "wamid.7")
				b.accept(writes(7))
				settled(6 * time.Minute)
				if dead := b.deadOf(); !slices.Equal(dead, []string{"wamid.7"}) {
					t.Errorf("given up: %v, left: %d", dead, b.depth())
				}
			})
		})
	}
}

func TestBlame_APoisonEventDoesNotStopItsNeighbours(t *testing.T) {
	for name, ids := range map[string][]string{"one": {"wamid.7"}, "two": {"wamid.7", "wamid.8"}} {
		t.Run(name, func(t *testing.T) {
			atOffice(t, core.IdempotencyUpsert, func(b *bridge, o *office) {
				o.poison(errBusy, ids...)
				var want []string
				for i := range 20 {
					began := time.Now()
					b.accept(writes(i))
					settled(15 * time.Second)
					if id := fmt.Sprintf("wamid.%d", i); !slices.Contains(ids, id) {
						want = append(want, id)
						if took, _, _ := o.seen(); !slices.Contains(took, id) {
							t.Errorf("%s was not delivered within %v", id, time.Since(began))
						}
					}
				}
				dead := b.deadOf()
				slices.Sort(dead)
				took, _, _ := o.seen()
				b.wantKinds(dead, ids...)
				b.wantKinds(took, want...)
			})
		})
	}
}

func TestBlame_FindsTheEventForWhichTheCRMRefusesWholeCalls(t *testing.T) {
	for _, n := range []int{3, 30} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			atOffice(t, core.IdempotencyUpsert, func(b *bridge, o *office) {
				b.stop()
				// While the lane starts all gather, and later are due at once.
				o.goes(errNoConnection)
				b.start()
				for i := range n {
					b.accept(writes(i))
				}
				settled(time.Hour)
				o.poison(errBusy, "wamid.2")
				settled(10 * time.Minute)
				took, _, _ := o.seen()
				slices.Sort(took)
				if dead := b.deadOf(); !slices.Equal(dead, []string{"wamid.2"}) || len(slices.Compact(took)) != n-1 || len(took) != n-1 {
					t.Errorf("dead: %v, the CRM took %v, left: %d", dead, took, b.depth())
				}
			})
		})
	}
}

func TestBlame_WaitsForACRMThatIsThereAndTakesNothing(t *testing.T) {
	atOffice(t, core.IdempotencyUpsert, func(b *bridge, o *office) {
		o.goes(errBusy)
		o.away = nil // it can be read
		for i := range 3 {
			b.accept(writes(i))
		}
		settled(6 * time.Hour)
		_, calls, asked := o.seen()
		if most := 6*120 + 100; calls > most || asked > most {
			t.Errorf("it was called %d times and asked %d times, want at most every 30 s", calls, asked)
		}
		o.goes(nil)
		settled(time.Minute)
		if took, _, _ := o.seen(); len(took) != 3 || len(b.dead()) > 0 {
			t.Errorf("the CRM took %v, dead: %v", took, b.deadOf())
		}
	})
}

func TestBlame_WaitsAsLongAsTheCRMAsksWhenItIsAsked(t *testing.T) {
	atOffice(t, core.IdempotencyUpsert, func(b *bridge, o *office) {
		o.goes(errBusy)
		o.away = errTooMany
		b.accept(writes(1))
		settled(20 * time.Minute)
		if dead := b.deadOf(); len(dead) > 0 {
			t.Errorf("given up: %v", dead)
		}
		o.goes(nil)
		settled(time.Minute)
		if took, _, _ := o.seen(); len(took) != 1 {
			t.Errorf("the CRM took %v", took)
		}
	})
}

func TestBlame_AsksNothingWhileOthersAreDelivered(t *testing.T) {
	atOffice(t, core.IdempotencyUpsert, func(b *bridge, o *office) {
		o.refuses = func(batch []core.Delivery) *core.Error {
			if batch[0].Event.ID != "wamid.1" {
				return nil
			}
			o.mu.Unlock()
			<-time.After(time.Second) // in virtual time
			o.mu.Lock()
			return errBusy
		}
		b.accept(writes(1))
		for i := range 400 {
			settled(100 * time.Millisecond)
			b.accept(writes(2 + i))
		}
		if _, _, asked := o.seen(); asked > 0 || len(b.dead()) != 1 {
			t.Errorf("it was asked %d times whether it is there; dead: %v", asked, b.deadOf())
		}
	})
}

func TestBridge_ADeathOfThePluginCostsOneMoreCall(t *testing.T) {
	atOffice(t, core.IdempotencyUpsert, func(b *bridge, o *office) {
		deaths := 1
		o.refuses = func([]core.Delivery) *core.Error {
			if deaths--; deaths < 0 {
				return nil
			}
			return errDied
		}
		events := make([]core.Event, 30)
		for i := range events {
			events[i] = writes(i)
		}
		b.accept(events...)
		settled(time.Minute)
		if took, calls, _ := o.seen(); len(took) != 30 || calls > 3 {
			t.Errorf("the CRM took %d events in %d calls", len(took), calls)
		}
	})
}

func TestBridge_TheEventThatKillsThePluginKillsItFourTimes(t *testing.T) {
	for _, n := range []int{1, 3, 30} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			atOffice(t, core.IdempotencyUpsert, func(b *bridge, o *office) {
				deaths := 0
				o.poison(errDied, "wamid.0")
				kills := o.refuses
				o.refuses = func(batch []core.Delivery) *core.Error {
					err := kills(batch)
					if err != nil {
						deaths++
					}
					return err
				}
				events := make([]core.Event, n)
				for i := range events {
					events[i] = writes(i)
				}
				b.accept(events...)
				settled(5 * time.Minute)
				took, _, _ := o.seen()
				slices.Sort(took)
				if dead := b.deadOf(); !slices.Equal(dead, []string{"wamid.0"}) || len(took) != n-1 || len(slices.Compact(took)) != n-1 {
					t.Errorf("dead: %v, the CRM took %v", dead, took)
				}
				if deaths > 4 { // of five within five minutes a plugin is quarantined
					t.Errorf("the plugin died %d times", deaths)
				}
			})
		})
	}
}

// silent does not answer when it is asked whether it is there, and does not mind its
// context's words.
type silent struct{ office }

func (s *silent) Check(ctx context.Context) error {
	<-ctx.Done()
	return errors.New("interrupted")
}

func TestBlame_ACRMThatDoesNotAnswerTheQuestionIsAway(t *testing.T) {
	run(t, func(b *bridge) {
		s := &silent{office{safe: core.IdempotencyUpsert}}
		s.goes(errBusy)
		b.change = func(o *Options) { o.Tenants[0].Lanes[0].Sink = s }
		b.start()
		b.accept(writes(1))
		settled(20 * time.Minute)
		if dead := b.deadOf(); len(dead) > 0 {
			t.Errorf("given up: %v", dead)
		}
		s.goes(nil)
		settled(2 * time.Minute)
		if took, _, _ := s.seen(); len(took) != 1 {
			t.Errorf("the CRM took %v", took)
		}
	})
}

// hanging takes nothing of one event, and all time there is for it.
type hanging struct{ office }

func (h *hanging) Deliver(ctx context.Context, batch []core.Delivery) []core.Result {
	if batch[0].Event.ID == "wamid.7" {
		<-ctx.Done()
		return failed(batch, errNoAnswer)
	}
	return h.office.Deliver(ctx, batch)
}

func TestBridge_GivesUpWhatTakesAllTheTimeThereIs(t *testing.T) {
	run(t, func(b *bridge) {
		h := &hanging{office{safe: core.IdempotencyUpsert}}
		b.change = func(o *Options) { o.Tenants[0].Lanes[0].Sink = h }
		b.start()
		b.accept(writes(7))
		settled(time.Minute)
		b.accept(writes(8))
		settled(5 * time.Minute)
		if dead := b.dead(); len(dead) != 1 || dead[0].Attempts != 3 {
			t.Errorf("dead letters: %+v, left %d", dead, b.depth())
		}
	})
}
