package broker

import (
	"context"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// Receiver is what a sink has when its CRM may call the bridge: see
// [core.Receiver].
type Receiver interface {
	Webhook(ctx context.Context, r core.WebhookRequest) (core.WebhookAnswer, error)
}

// maxHooks is how many requests of one CRM are read at a time: reading one may
// mean to ask the CRM.
const maxHooks = 16

// CRMWebhook hands a request that came for a lane to its connector, stores what
// it tells of, and returns what to answer. CodeUnauthenticated means that the
// request is not the CRM's. A tenant or lane that is not there, or takes no
// requests, is [store.ErrNotFound].
func (b *Broker) CRMWebhook(ctx context.Context, tenant, name string, r core.WebhookRequest) (core.WebhookAnswer, error) {
	var l *lane
	if t := b.tenants[tenant]; t != nil {
		l = t.crmLane(name)
	}
	if l == nil || !l.receives.Load() {
		return core.WebhookAnswer{}, core.Errorf(core.CodeInvalid, "webhook", "no lane takes requests here: %w", store.ErrNotFound)
	}
	select {
	case l.hooks <- struct{}{}:
		defer func() { <-l.hooks }()
	default:
		err := core.Errorf(core.CodeRateLimited, "webhook", "%d requests of this CRM are being read", maxHooks)
		err.RetryAfter = hookRetry
		return core.WebhookAnswer{}, err
	}
	cctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	if err := l.untilFitted(cctx); err != nil {
		return core.WebhookAnswer{}, err
	}
	cctx, meter := core.WithMeter(cctx)
	answer, err := l.sink.(Receiver).Webhook(cctx, r)
	l.budgets.end(time.Now(), nil, meter)
	if err != nil {
		l.told("failed", 1)
		l.sawError("", core.AsError(err))
		return core.WebhookAnswer{}, err
	}
	if err := l.tell(ctx, answer.Events, store.Settlement{}); err != nil {
		return core.WebhookAnswer{}, err
	}
	return answer, nil
}
