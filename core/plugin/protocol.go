package plugin

import (
	"context"
	"errors"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

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
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.InitialWindowSize(window), grpc.InitialConnWindowSize(window))
}

func dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
	}
}
