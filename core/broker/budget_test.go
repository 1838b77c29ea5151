package broker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

// spender is a CRM whose connector declares budgets and spends on each delivery.
type spender struct {
	*sink
	info  core.ConnectorInfo
	spend func(context.Context)
}

func (s *spender) Info(context.Context) (core.ConnectorInfo, error) { return s.info, nil }

func (s *spender) Deliver(ctx context.Context, batch []core.Delivery) []core.Result {
	s.spend(ctx)
	return s.sink.Deliver(ctx, batch)
}

// spending gives the bridge a CRM that bears only so much.
func (b *bridge) spending(own []core.Budget, spend func(context.Context), declared ...core.Budget) {
	info := core.ConnectorInfo{Name: "test", MaxBatch: 1, Idempotency: core.IdempotencyUpsert, Budgets: declared}
	b.change = func(o *Options) {
		o.Tenants[0].Lanes = []Lane{{Name: "crm", Connector: "test", Budgets: own, Sink: &spender{b.crm, info, spend}}}
	}
}

// people is one message each of so many people.
func people(n int) (events []core.Event) {
	for i := range n {
		events = append(events, received(fmt.Sprint("wamid.", i), fmt.Sprintf("+1415555%04d", i), "hi"))
	}
	return events
}

func TestBudget_ALaneSpendsNoMoreThanItsCRMBears(t *testing.T) {
	run(t, func(b *bridge) {
		b.spending(nil, func(ctx context.Context) {
			core.Spend(ctx, "api", 2)
			core.Spend(ctx, "unheard-of", 1000)
		}, core.Budget{Name: "api", Calls: 100, Per: 10 * time.Second})
		b.start()
		b.accept(people(200)...) // 400 calls: 40 seconds' worth
		settled(10 * time.Second)
		if n := len(b.crm.taken()); n > 50 || n < 35 {
			t.Errorf("%d deliveries of 2 calls in ten seconds, of 100 calls", n)
		}
		if s := b.Snapshot().Lanes[1]; s.State != LaneWaiting || !strings.Contains(s.Why, "100 api calls in 10s") || s.Until.IsZero() || len(s.Budgets) != 1 {
			t.Errorf("the lane does not say what it waits for: %+v", s)
		}
		settled(50 * time.Second)
		if n := len(b.crm.taken()); n != 200 {
			t.Errorf("%d of 200 were delivered in the end", n)
		}
	})
}

func TestBudget_OfADayOutlivesARestart(t *testing.T) {
	day := core.Budget{Name: "api", Calls: 48, Per: 24 * time.Hour} // 24 at once, and one an hour
	for name, c := range map[string]struct {
		own  []core.Budget
		left int // what the CRM says after the first call
		want int // deliveries of one call, within two hours
	}{
		"declared":          {nil, -1, 26},
		"the owner's":       {[]core.Budget{{Name: "api", Calls: 24, Per: 24 * time.Hour}}, -1, 13},
		"others spend, too": {nil, 3, 7}, // four at once are begun before the first answer
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(b *bridge) {
				var first sync.Once
				b.spending(c.own, func(ctx context.Context) {
					core.Spend(ctx, "api", 1)
					told := false
					first.Do(func() {
						core.Left(ctx, "api", c.left)
						told = true
					})
					if !told { // the others' answers come when what the first one says is known
						<-time.After(time.Second)
					}
				}, day)
				b.start()
				b.accept(people(60)...)
				settled(61 * time.Minute)
				b.stop()
				b.start()
				settled(61 * time.Minute)
				if n := len(b.crm.taken()); n < c.want-2 || n > c.want+2 {
					t.Errorf("%d deliveries in two hours with a restart between, want %d", n, c.want)
				}
			})
		})
	}
}

func TestBudget_LanesAtOneAccountShareIt(t *testing.T) {
	for name, c := range map[string]struct {
		accounts [2]string
		want     int // deliveries to both in ten seconds, of two calls each
	}{
		"one account":  {[2]string{"org", "org"}, 50},
		"two accounts": {[2]string{"org", "other"}, 100},
		"none named":   {[2]string{}, 100},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(b *bridge) {
				info := core.ConnectorInfo{Name: "test", MaxBatch: 1, Idempotency: core.IdempotencyUpsert,
					Budgets: []core.Budget{{Name: "api", Calls: 100, Per: 10 * time.Second}, {Name: "api", Calls: 10_000, Per: 24 * time.Hour}}}
				spend := func(ctx context.Context) { core.Spend(ctx, "api", 2) }
				second := &sink{}
				b.change = func(o *Options) {
					o.Tenants[0].Lanes = []Lane{
						{Name: "crm", Connector: "test", Account: c.accounts[0], Sink: &spender{b.crm, info, spend}},
						{Name: "second", Connector: "test", Account: c.accounts[1], Sink: &spender{second, info, spend}},
					}
				}
				b.start()
				b.accept(people(200)...)
				settled(10 * time.Second)
				if n := len(b.crm.taken()) + len(second.taken()); n > c.want || n < c.want*7/10 {
					t.Errorf("%d deliveries in ten seconds, want %d at most", n, c.want)
				}
				lanes := b.Snapshot().Lanes
				if a, b := lanes[1].Budgets[1].Left, lanes[2].Budgets[1].Left; c.want == 50 && a != b {
					t.Errorf("of a day %d and %d are left", a, b)
				}
				b.stop()
				b.start()
				settled(10 * time.Minute)
				if n, m := len(b.crm.taken()), len(second.taken()); n != 200 || m != 200 {
					t.Errorf("%d and %d of 200 were delivered in the end", n, m)
				}
			})
		})
	}
}
