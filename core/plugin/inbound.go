package plugin

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin/internal/connectorpb"
)

// maxCursor bounds what a connector may have kept about where it is.
const maxCursor = 64 << 10

// Poll asks the connector what happened at the CRM: see [core.Poller]. Where the
// CRM refuses the account's token, it is asked once more with a new one. The
// events are as the plugin made them: nothing about them has been checked but
// that they can be read.
func (h *Host) Poll(ctx context.Context, cursor json.RawMessage) (core.Polled, error) {
	polled, err := withToken(ctx, h, func(a core.Account) (core.Polled, *core.Error) { return h.poll(ctx, a, cursor) })
	return polled, plain(err)
}

func (h *Host) poll(ctx context.Context, account core.Account, cursor json.RawMessage) (core.Polled, *core.Error) {
	h.learn(account)
	res, err := askPlugin(ctx, h, "poll", func(ctx context.Context, c connectorpb.Client) (*connectorpb.PollResponse, error) {
		return c.Poll(ctx, &connectorpb.PollRequest{Account: accountToWire(account), Cursor: cursor})
	})
	if err != nil {
		return core.Polled{}, err
	}
	meterFromWire(ctx, res.GetMeter())
	if err := h.redacted(cleanError(errorFromWire(res.GetError()))); err != nil {
		return core.Polled{}, err
	}
	polled := core.Polled{Cursor: res.GetCursor(), More: res.GetMore(), Watching: res.GetWatching()}
	why := oddCursor(polled.Cursor, polled.More)
	if why != "" {
		return core.Polled{}, h.odd("poll", why)
	}
	if polled.Events, why = eventsFromWire(res.GetEvents()); why != "" {
		return core.Polled{}, h.odd("poll", why)
	}
	return polled, nil
}

// oddCursor says what is wrong with where a plugin would go on.
func oddCursor(cursor json.RawMessage, more bool) string {
	switch {
	case len(cursor) > maxCursor || len(cursor) > 0 && !json.Valid(cursor):
		return fmt.Sprintf("its cursor is no JSON value of at most %d KiB", maxCursor>>10)
	case more && len(cursor) == 0:
		return "there is more, but no cursor to go on from"
	}
	return ""
}

// eventsFromWire reads what a plugin told of, or says what is wrong with it.
func eventsFromWire(wire [][]byte) ([]core.Event, string) {
	if len(wire) > core.MaxPolled {
		return nil, fmt.Sprintf("%d events at once, at most %d are taken", len(wire), core.MaxPolled)
	}
	events := make([]core.Event, len(wire))
	for i, data := range wire {
		if err := json.Unmarshal(data, &events[i]); err != nil {
			return nil, "an event cannot be read: " + clean(err.Error(), maxHint)
		}
	}
	return events, ""
}

// maxAnswer bounds the body that a plugin answers a CRM with.
const maxAnswer = 64 << 10

// Webhook has the connector read a request that the CRM made: see
// [core.Receiver].
func (h *Host) Webhook(ctx context.Context, r core.WebhookRequest) (core.WebhookAnswer, error) {
	account := h.account()
	token, err := h.keeper.current(ctx, nil)
	if err != nil {
		return core.WebhookAnswer{}, err
	}
	account.Token = token
	// What it refuses is the request, not our token: it is not asked again.
	answer, err := h.webhook(ctx, account, r)
	return answer, plain(err)
}

func (h *Host) webhook(ctx context.Context, account core.Account, r core.WebhookRequest) (core.WebhookAnswer, *core.Error) {
	h.learn(account)
	req := webhookToWire(r)
	req.Account = accountToWire(account)
	res, err := askPlugin(ctx, h, "webhook", func(ctx context.Context, c connectorpb.Client) (*connectorpb.WebhookResponse, error) {
		return c.Webhook(ctx, req)
	})
	if err != nil {
		return core.WebhookAnswer{}, err
	}
	meterFromWire(ctx, res.GetMeter())
	if err := h.redacted(cleanError(errorFromWire(res.GetError()))); err != nil {
		return core.WebhookAnswer{}, err
	}
	answer := core.WebhookAnswer{Status: int(res.GetStatus()), ContentType: clean(res.GetContentType(), maxWord), Body: res.GetBody()}
	if answer.Status == 0 {
		answer.Status = 200
	}
	if answer.Status < 200 || answer.Status > 599 || len(answer.Body) > maxAnswer {
		return core.WebhookAnswer{}, h.odd("webhook", fmt.Sprintf("it answers with status %d and %d bytes", answer.Status, len(answer.Body)))
	}
	var why string
	if answer.Events, why = eventsFromWire(res.GetEvents()); why != "" {
		return core.WebhookAnswer{}, h.odd("webhook", why)
	}
	return answer, nil
}

// Webhook implements [core.Receiver] for tests of plugins.
func (c connector) Webhook(ctx context.Context, a core.Account, r core.WebhookRequest) (core.WebhookAnswer, error) {
	answer, err := c.h.webhook(ctx, a, r)
	return answer, plain(err)
}

var _ core.Receiver = connector{}

// Poll implements [core.Poller] for tests of plugins.
func (c connector) Poll(ctx context.Context, a core.Account, cursor json.RawMessage) (core.Polled, error) {
	polled, err := c.h.poll(ctx, a, cursor)
	return polled, plain(err)
}

var _ core.Poller = connector{}
