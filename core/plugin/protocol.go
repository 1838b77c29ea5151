package plugin

import (
	"context"
	"errors"
	"fmt"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/wabridge/wabridge/core/plugin/internal/connectorpb"
)

// maxMessage caps a gRPC message, in both directions.
const maxMessage = 8 << 20

// window is the HTTP/2 flow control window: a batch fits in, so that no call
// waits for a window update.
const window = 4 << 20

// dispensed is the name of the contract within go-plugin.
const dispensed = "connector"

// handshake is how both sides know that a process was started to be a plugin.
var handshake = goplugin.HandshakeConfig{
	MagicCookieKey:   "WABRIDGE_PLUGIN",
	MagicCookieValue: "connector",
}

// versions are the versions of the contract that this side speaks: the highest
// that both speak is used. A version is a set of its own, so that a change that
// old plugins cannot follow gets the next number, beside this one.
func versions(service connectorpb.Server) map[int]goplugin.PluginSet {
	return map[int]goplugin.PluginSet{
		1: {dispensed: &contract{service: service}},
	}
}

// contract is version 1 of the contract, as go-plugin wants to have it. Service
// is nil on the bridge's side.
type contract struct {
	goplugin.NetRPCUnsupportedPlugin
	service connectorpb.Server
}

var _ goplugin.GRPCPlugin = (*contract)(nil)

func (c *contract) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	if c.service == nil {
		return errors.New("nothing to serve")
	}
	connectorpb.Register(s, c.service)
	return nil
}

func (c *contract) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return connectorpb.Client{Conn: conn}, nil
}

func serverOptions(o []grpc.ServerOption) []grpc.ServerOption {
	return append(o,
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage), grpc.ForceServerCodecV2(exactCodec{}),
		grpc.InitialWindowSize(window), grpc.InitialConnWindowSize(window))
}

func dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage),
			grpc.ForceCodecV2(exactCodec{})),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
	}
}

// exactCodec writes and reads each message in memory of its own size. gRPC's own
// codec takes a buffer of a whole MiB for whatever is larger than 32 KiB, and its
// pool keeps as many of them as there were calls at once.
type exactCodec struct{}

func (exactCodec) Name() string { return grpcproto.Name }

func (exactCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is no message", v)
	}
	data, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(data)}, nil
}

func (exactCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no message", v)
	}
	return proto.Unmarshal(data.Materialize(), m)
}
