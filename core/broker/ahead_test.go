package broker

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/campaign"
	"github.com/wabridge/wabridge/core/store"
)

// slowDisk is a store whose commits take a while, one after another: what comes during one
// is in the next.
type slowDisk struct {
	store.Store
	least, most time.Duration

	mu      sync.Mutex
	random  *rand.Rand
	running bool
	waiting int
	next    chan struct{} // closed when the commit that has not begun has ended
}

func newSlowDisk(s store.Store, least, most time.Duration) *slowDisk {
	return &slowDisk{Store: s, least: least, most: most, random: rand.New(rand.NewPCG(1, 2)), next: make(chan struct{})}
}

func (d *slowDisk) Settle(ctx context.Context, s store.Settlement) (store.Outcome, error) {
	if !s.Lazy {
		d.mu.Lock()
		d.waiting++
		mine := d.next
		if !d.running {
			d.running = true
			go d.commit()
		}
		d.mu.Unlock()
		<-mine
	}
	return d.Store.Settle(ctx, s)
}

// commit commits until there is nothing to.
func (d *slowDisk) commit() {
	for {
		d.mu.Lock()
		if d.waiting == 0 {
			d.running = false
			d.mu.Unlock()
			return
		}
		this := d.next
		d.next, d.waiting = make(chan struct{}), 0
		took := d.least + time.Duration(d.random.Int64N(int64(d.most-d.least)+1))
		d.mu.Unlock()
		time.Sleep(took)
		close(this)
	}
}

// onSlowDisk runs f with a bridge whose number has a rate and whose commits take so long.
func onSlowDisk(t *testing.T, b func(t *testing.T) *bridge, rate float64, least, most time.Duration, f func(b *bridge)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := b(t)
		b.noSync = true
		before, send := b.change, b.wa.do
		b.change = func(o *Options) {
			if before != nil {
				before(o)
			}
			o.Store = newSlowDisk(o.Store, least, most)
			o.Tenants[0].Numbers[0].Rate = rate
		}
		b.wa.do = func(d core.Delivery) core.Result {
			time.Sleep(120 * time.Millisecond)
			return send(d)
		}
		b.start()
		f(b)
		b.stop()
	})
}

// wantPace wants all of n to have gone, at the rate and never above.
func (b *bridge) wantPace(n int, rate float64) {
	b.Helper()
	var at []time.Time
	for _, t := range b.wa.taken() {
		at = append(at, t.at)
	}
	slices.SortFunc(at, time.Time.Compare)
	if len(at) != n {
		b.Fatalf("%d of %d were sent", len(at), n)
	}
	if got := float64(n-1) / at[n-1].Sub(at[0]).Seconds(); got < 0.95*rate {
		b.Errorf("%.1f messages a second, of %v", got, rate)
	}
	if most := b.fastest(0); float64(most) > rate {
		b.Errorf("%d within a second, of %v", most, rate)
	}
}

// However slow the disk, a number sends as much as it may.
func TestAhead_ANumberKeepsItsRateOnASlowDisk(t *testing.T) {
	for name, c := range map[string]struct {
		rate        float64
		least, most time.Duration
	}{
		"WhatsApp's usual": {80, 30 * time.Millisecond, 100 * time.Millisecond},
		"a slower number":  {20, 30 * time.Millisecond, 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			onSlowDisk(t, newBridge, c.rate, c.least, c.most, func(b *bridge) {
				n := int(12 * c.rate)
				for part := range slices.Chunk(many(core.ClassTransaction, n), 500) {
					b.accept(part...)
				}
				settled(time.Minute)
				b.wantPace(n, c.rate)
			})
		})
	}
}

func TestAhead_ACampaignKeepsItsRateOnASlowDisk(t *testing.T) {
	onSlowDisk(t, func(t *testing.T) *bridge { return campaigning(t, Policy{}) }, 80, 30*time.Millisecond, 100*time.Millisecond, func(b *bridge) {
		const n = 800
		b.newCampaign(CampaignRequest{Name: "spring", Template: greeting}, entries(n)...)
		b.set("spring", CampaignPlan)
		settled(time.Minute)
		b.set("spring", CampaignStart)
		settled(time.Minute)
		b.wantState("spring", campaign.Done, "")
		b.wantPace(n, 80)
	})
}

// When the lane pauses, what is marked by then does not go all the same.
func TestAhead_WhatIsMarkedStopsWithTheLane(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.change = func(o *Options) {
			o.Store = newSlowDisk(o.Store, 100*time.Millisecond, 100*time.Millisecond)
			o.Tenants[0].Numbers[0].Rate = 80
		}
		n, send := 0, b.wa.do
		b.wa.do = func(d core.Delivery) core.Result {
			if n++; n == 100 {
				return core.Result{Err: &core.Error{Code: core.CodeRateLimited, Message: "slower", RetryAfter: time.Minute, Scope: core.ScopeLane}}
			}
			return send(d)
		}
		b.start()
		b.accept(many(core.ClassTransaction, 200)...)
		settled(30 * time.Second)
		if got := len(b.wa.taken()); got != 100 {
			t.Errorf("%d were tried, want none after the one that was too much", got)
		}
		settled(2 * time.Minute)
		if got := len(b.wa.taken()); got != 201 || len(b.dead()) != 0 {
			t.Errorf("%d were tried in the end, and %v given up, want each once and the one that was refused again", got, b.dead())
		}
		b.stop()
	})
}
