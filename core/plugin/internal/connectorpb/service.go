// Package connectorpb is the wire form of the plugin contract, connector.proto:
// the messages are generated, the calls are written by hand below. Only
// package plugin imports it, so that the wire can change under plugin authors.
package connectorpb

import (
	"context"

	"google.golang.org/grpc"
)

//go:generate go run ./generate ../../connector.proto connector.pb.go

// Service is the gRPC name of the service.
const Service = "wabridge.plugin.v1.Connector"

// Full names of the calls.
const (
	MethodInfo    = "/" + Service + "/Info"
	MethodCheck   = "/" + Service + "/Check"
	MethodDeliver = "/" + Service + "/Deliver"

	MethodAuthorize = "/" + Service + "/Authorize"
	MethodPoll      = "/" + Service + "/Poll"
	MethodWebhook   = "/" + Service + "/Webhook"
	MethodDescribe  = "/" + Service + "/Describe"
	MethodSegments  = "/" + Service + "/Segments"
	MethodMembers   = "/" + Service + "/Members"
)

// Server is what a plugin serves.
type Server interface {
	Info(context.Context, *InfoRequest) (*InfoResponse, error)
	Check(context.Context, *CheckRequest) (*CheckResponse, error)
	Deliver(context.Context, *DeliverRequest) (*DeliverResponse, error)
	Authorize(context.Context, *AuthorizeRequest) (*AuthorizeResponse, error)
	Poll(context.Context, *PollRequest) (*PollResponse, error)
	Webhook(context.Context, *WebhookRequest) (*WebhookResponse, error)
	Describe(context.Context, *DescribeRequest) (*DescribeResponse, error)
	Segments(context.Context, *SegmentsRequest) (*SegmentsResponse, error)
	Members(context.Context, *MembersRequest) (*MembersResponse, error)
}

// Register adds s to a gRPC server.
func Register(r grpc.ServiceRegistrar, s Server) {
	r.RegisterService(&grpc.ServiceDesc{
		ServiceName: Service,
		HandlerType: (*Server)(nil),
		Methods: []grpc.MethodDesc{
			unary("Info", Server.Info),
			unary("Check", Server.Check),
			unary("Deliver", Server.Deliver),
			unary("Authorize", Server.Authorize),
			unary("Poll", Server.Poll),
			unary("Webhook", Server.Webhook),
			unary("Describe", Server.Describe),
			unary("Segments", Server.Segments),
			unary("Members", Server.Members),
		},
		Metadata: "connector.proto",
	}, s)
}

func unary[Req, Res any](name string, call func(Server, context.Context, *Req) (*Res, error)) grpc.MethodDesc {
	full := "/" + Service + "/" + name
	return grpc.MethodDesc{
		MethodName: name,
		Handler: func(s any, ctx context.Context, decode func(any) error, icept grpc.UnaryServerInterceptor) (any, error) {
			req := new(Req)
			if err := decode(req); err != nil {
				return nil, err
			}
			if icept == nil {
				return call(s.(Server), ctx, req)
			}
			info := &grpc.UnaryServerInfo{Server: s, FullMethod: full}
			return icept(ctx, req, info, func(ctx context.Context, req any) (any, error) {
				return call(s.(Server), ctx, req.(*Req))
			})
		},
	}
}

// Client makes the calls.
type Client struct{ Conn grpc.ClientConnInterface }

// Info calls [Server].Info.
func (c Client) Info(ctx context.Context, req *InfoRequest) (*InfoResponse, error) {
	return invoke[InfoResponse](ctx, c.Conn, MethodInfo, req)
}

// Check calls [Server].Check.
func (c Client) Check(ctx context.Context, req *CheckRequest) (*CheckResponse, error) {
	return invoke[CheckResponse](ctx, c.Conn, MethodCheck, req)
}

// Deliver calls [Server].Deliver.
func (c Client) Deliver(ctx context.Context, req *DeliverRequest) (*DeliverResponse, error) {
	return invoke[DeliverResponse](ctx, c.Conn, MethodDeliver, req)
}

// Authorize calls [Server].Authorize.
func (c Client) Authorize(ctx context.Context, req *AuthorizeRequest) (*AuthorizeResponse, error) {
	return invoke[AuthorizeResponse](ctx, c.Conn, MethodAuthorize, req)
}

// Poll calls [Server].Poll.
func (c Client) Poll(ctx context.Context, req *PollRequest) (*PollResponse, error) {
	return invoke[PollResponse](ctx, c.Conn, MethodPoll, req)
}

// Webhook calls [Server].Webhook.
func (c Client) Webhook(ctx context.Context, req *WebhookRequest) (*WebhookResponse, error) {
	return invoke[WebhookResponse](ctx, c.Conn, MethodWebhook, req)
}

// Describe calls [Server].Describe.
func (c Client) Describe(ctx context.Context, req *DescribeRequest) (*DescribeResponse, error) {
	return invoke[DescribeResponse](ctx, c.Conn, MethodDescribe, req)
}

// Segments calls [Server].Segments.
func (c Client) Segments(ctx context.Context, req *SegmentsRequest) (*SegmentsResponse, error) {
	return invoke[SegmentsResponse](ctx, c.Conn, MethodSegments, req)
}

// Members calls [Server].Members.
func (c Client) Members(ctx context.Context, req *MembersRequest) (*MembersResponse, error) {
	return invoke[MembersResponse](ctx, c.Conn, MethodMembers, req)
}

func invoke[Res any](ctx context.Context, conn grpc.ClientConnInterface, method string, req any) (*Res, error) {
	res := new(Res)
	if err := conn.Invoke(ctx, method, req, res, grpc.StaticMethod()); err != nil {
		return nil, err
	}
	return res, nil
}
