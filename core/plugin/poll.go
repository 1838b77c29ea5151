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
	if err := h.redacted(cleanError(errorFromWire(res.GetError()))); err != nil {
		return core.Polled{}, err
	}
	polled := core.Polled{Cursor: res.GetCursor(), More: res.GetMore(), Events: make([]core.Event, len(res.GetEvents()))}
	switch {
	case len(polled.Events) > core.MaxPolled:
		return core.Polled{}, h.odd("poll", fmt.Sprintf("%d events at once, at most %d are taken", len(polled.Events), core.MaxPolled))
	case len(polled.Cursor) > maxCursor || len(polled.Cursor) > 0 && !json.Valid(polled.Cursor):
		return core.Polled{}, h.odd("poll", fmt.Sprintf("its cursor is no JSON value of at most %d KiB", maxCursor>>10))
	case polled.More && len(polled.Cursor) == 0:
		return core.Polled{}, h.odd("poll", "there is more, but no cursor to go on from")
	}
	for i, data := range res.GetEvents() {
		if err := json.Unmarshal(data, &polled.Events[i]); err != nil {
			return core.Polled{}, h.odd("poll", "an event cannot be read: "+clean(err.Error(), maxHint))
		}
	}
	return polled, nil
}

// Poll implements [core.Poller] for tests of plugins.
func (c connector) Poll(ctx context.Context, a core.Account, cursor json.RawMessage) (core.Polled, error) {
	polled, err := c.h.poll(ctx, a, cursor)
	return polled, plain(err)
}

var _ core.Poller = connector{}
