package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

// traffic is the demo's customers.
type traffic struct {
	sim  *whatsappsim.Sim
	send func(context.Context, broker.SendRequest) (broker.SendReceipt, error)
	rate int // messages a minute

	mu     sync.Mutex
	wamids []string
}

// ids are the wamids of all that was written.
func (t *traffic) ids() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wamids
}

// most is how many customers write at once.
const most = 1000

// run lets customers write until ctx ends: each on their own, with pauses.
func (t *traffic) run(ctx context.Context) {
	var people sync.WaitGroup
	defer people.Wait()
	lines := 0
	for _, talk := range talks {
		lines += len(talk.lines)
	}
	// As many begin as makes the rate of messages.
	every := time.Minute / time.Duration(t.rate) * time.Duration(lines) / time.Duration(len(talks))
	places := make(chan struct{}, most)
	for n := 0; ; n++ {
		pick := talks[rand.IntN(len(talks))] //nolint:gosec // whoever writes next
		number, tenant := bakeryNumber, "bakery"
		if n%3 == 2 {
			number, tenant = ciclosNumber, "ciclos"
		}
		select {
		case places <- struct{}{}:
			people.Go(func() {
				defer func() { <-places }()
				t.converse(ctx, customer(n, number), tenant, pick)
			})
		default: // they are slower to finish than to begin
		}
		if !pause(ctx, every) {
			return
		}
	}
}

// converse is one customer's talk.
func (t *traffic) converse(ctx context.Context, who whatsappsim.Inbound, tenant string, talk talk) {
	for i, line := range talk.lines {
		if i > 0 && !pause(ctx, time.Second+rand.N(4*time.Second)) { //nolint:gosec // the time to type
			return
		}
		who.Text = say(line)
		ids := t.sim.Receive(who)
		t.mu.Lock()
		t.wamids = append(t.wamids, ids...)
		t.mu.Unlock()
	}
	if talk.later == "" || who.From == "" || !pause(ctx, 3*time.Second) {
		return
	}
	// The shop's own system writes too.
	_, _ = t.send(ctx, broker.SendRequest{
		Tenant: tenant, Number: who.Number, Key: fmt.Sprintf("ready-%s-%d", who.From, time.Now().UnixNano()),
		Message: core.Message{Type: core.TypeText, Text: talk.later, To: core.Address{Kind: core.AddressPhone, Value: who.From}},
	})
}

// pause waits, and reports false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
