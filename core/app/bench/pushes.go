package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/wabridge/wabridge/core/app/rig"
)

const (
	// pushed is how many messages people at the CRM send, pushEvery apart, beside as
	// much as the measurement crms has.
	pushed    = 200
	pushEvery = 20 * time.Millisecond
)

// pushes has people at the CRM write to customers while others write to the business, and
// returns how long each message took from there to WhatsApp.
func (b *bridge) pushes(ctx context.Context) (rig.Latencies, error) {
	if b.crm.ready != nil {
		if err := b.wait(ctx, 20*time.Second, b.crm.ready); err != nil {
			return nil, fmt.Errorf("the CRM would tell nobody: %w", err)
		}
	}
	load := rig.Load{
		URL: b.url + "/webhooks/whatsapp", Secret: secret, Number: number, Rate: crmRate, Duration: (pushed + 25) * pushEvery,
		People: customers, Begin: begin, Prefix: "meanwhile",
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		load.Run(ctx)
	}()
	defer func() { <-done }()
	asked := make([]time.Time, pushed)
	tick := time.NewTicker(pushEvery)
	defer tick.Stop()
	for n := range asked {
		<-tick.C
		asked[n] = time.Now()
		if err := b.crm.ask(ctx, b, "+"+load.Person(n), fmt.Sprintf("push %d.", n)); err != nil {
			return nil, err
		}
	}
	<-done
	var took rig.Latencies
	err := b.wait(ctx, 20*time.Second, func() bool {
		took = took[:0]
		for _, s := range b.wa.Ledger().Sends {
			var n int
			if _, err := fmt.Sscanf(s.Text, "push %d.", &n); err == nil && n < pushed {
				took = append(took, s.At.Sub(asked[n]))
			}
		}
		return len(took) >= pushed
	})
	if err != nil {
		return nil, fmt.Errorf("of %d messages sent at the CRM %d are at WhatsApp: %w", pushed, len(took), err)
	}
	return took, nil
}

// post makes a request of the CRM's, which the bridge has to take.
func (b *bridge) post(r *http.Request) error {
	resp, err := b.client.Do(r)
	if err != nil {
		return err
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	_ = resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("the bridge answers %s to what the CRM tells: %s", resp.Status, text)
	}
	return nil
}

// hook is where a CRM calls the bridge.
func (b *bridge) hook() string { return b.url + "/webhooks/crm/bench/" + b.crm.connector }
