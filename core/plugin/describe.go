package plugin

import (
	"context"
	"encoding/json"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin/internal/connectorpb"
)

// Describe asks the connector what the CRM's records hold: see [core.Describer].
// Where the CRM refuses the account's token, it is asked once more with a new one.
func (h *Host) Describe(ctx context.Context) (core.Schema, error) {
	schema, err := withToken(ctx, h, func(a core.Account) (core.Schema, *core.Error) { return h.describe(ctx, a) })
	return schema, plain(err)
}

func (h *Host) describe(ctx context.Context, account core.Account) (core.Schema, *core.Error) {
	h.learn(account)
	res, err := askPlugin(ctx, h, "describe", func(ctx context.Context, c connectorpb.Client) (*connectorpb.DescribeResponse, error) {
		return c.Describe(ctx, &connectorpb.DescribeRequest{Account: accountToWire(account)})
	})
	if err != nil {
		return core.Schema{}, err
	}
	if err := h.redacted(cleanError(errorFromWire(res.GetError()))); err != nil {
		return core.Schema{}, err
	}
	var schema core.Schema
	if err := json.Unmarshal(res.GetSchema(), &schema); err != nil {
		return core.Schema{}, h.odd("describe", "its schema cannot be read: "+clean(err.Error(), maxHint))
	}
	n := 0
	for _, o := range schema.Objects {
		n += len(o.Properties)
	}
	if n == 0 || n > core.MaxProperties || len(schema.Mapping) > core.MaxProperties {
		return core.Schema{}, h.odd("describe", fmt.Sprintf("it has %d properties: want 1 to %d", n, core.MaxProperties))
	}
	return schema, nil
}

// Describe implements [core.Describer] for tests of plugins.
func (c connector) Describe(ctx context.Context, a core.Account) (core.Schema, error) {
	schema, err := c.h.describe(ctx, a)
	return schema, plain(err)
}

var _ core.Describer = connector{}

func (s *service) Describe(ctx context.Context, req *connectorpb.DescribeRequest) (res *connectorpb.DescribeResponse, err error) {
	describer, ok := s.connector.(core.Describer)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the connector has no Describe")
	}
	defer func() {
		if r := recover(); r != nil {
			res, err = &connectorpb.DescribeResponse{Error: errorToWire(panicked("Describe", r, core.CodeInternal))}, nil
		}
	}()
	ctx, cancel := leaveTime(ctx)
	defer cancel()
	schema, err := describer.Describe(ctx, accountFromWire(req.GetAccount()))
	if err != nil {
		return &connectorpb.DescribeResponse{Error: errorToWire(cleanError(asPluginError(err)))}, nil
	}
	data, err := json.Marshal(schema)
	if err != nil {
		return &connectorpb.DescribeResponse{Error: errorToWire(cleanError(asPluginError(err)))}, nil
	}
	return &connectorpb.DescribeResponse{Schema: data}, nil
}
