package connectortest

import (
	"context"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin"
)

// deliverReplaced delivers again what another process has delivered: whoever remembers
// what it wrote, instead of asking the CRM, doubles it.
func deliverReplaced(ctx context.Context, p *probe) {
	info := p.Connector.Info()
	switch {
	case !plugin.IsPlugin(p.remote):
		p.skip("the connector runs in no process of its own: see Plugin")
		return
	case !info.Idempotency.Safe() && info.Idempotency != core.IdempotencySearch:
		p.skip("Info.Idempotency promises nothing")
		return
	}
	delay := info.SearchDelay
	if info.Idempotency != core.IdempotencySearch {
		delay = 0
	} else if !soonFound(p, delay) {
		return
	}
	b := batch(p.events(min(3, p.max()))...)
	results := p.deliver(ctx, p.Account, b)
	if err := plugin.Replace(ctx, p.remote); err != nil {
		p.failf("another process does not start: %v", err)
		return
	}
	if !pause(ctx, delay) {
		return
	}
	for i := range b {
		b[i].Attempt, b[i].ContactRef = b[i].Attempt+1, results[b[i].Event.ID].ContactRef
	}
	p.mustDeliver(ctx, b)
	p.wantOnce(b)
	if p.Records == nil {
		p.skip("the target has no Records: only the results were looked at")
	}
}
