package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin/internal/connectorpb"
)

// service answers the bridge's calls with a connector, in the plugin's process.
type service struct{ connector core.Connector }

var _ connectorpb.Server = (*service)(nil)

func (s *service) Info(context.Context, *connectorpb.InfoRequest) (res *connectorpb.InfoResponse, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = status.Error(codes.Internal, describePanic("Info", r))
		}
	}()
	info := s.connector.Info()
	_, info.Authorizes = s.connector.(core.Authorizer)
	_, info.Polls = s.connector.(core.Poller)
	_, info.Receives = s.connector.(core.Receiver)
	_, info.Describes = s.connector.(core.Describer)
	_, info.Segments = s.connector.(core.Segmenter)
	return infoToWire(info), nil
}

func (s *service) Check(ctx context.Context, req *connectorpb.CheckRequest) (res *connectorpb.CheckResponse, err error) {
	defer func() {
		if r := recover(); r != nil {
			res, err = &connectorpb.CheckResponse{Error: errorToWire(panicked("Check", r, core.CodeInternal))}, nil
		}
	}()
	if err := s.connector.Check(ctx, accountFromWire(req.GetAccount())); err != nil {
		return &connectorpb.CheckResponse{Error: errorToWire(cleanError(asPluginError(err)))}, nil
	}
	return &connectorpb.CheckResponse{}, nil
}

func (s *service) Authorize(ctx context.Context, req *connectorpb.AuthorizeRequest) (res *connectorpb.AuthorizeResponse, err error) {
	authorizer, ok := s.connector.(core.Authorizer)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the connector has no Authorize")
	}
	defer func() {
		if r := recover(); r != nil {
			res, err = &connectorpb.AuthorizeResponse{Error: errorToWire(panicked("Authorize", r, core.CodeInternal))}, nil
		}
	}()
	token, err := authorizer.Authorize(ctx, accountFromWire(req.GetAccount()))
	if err != nil {
		return &connectorpb.AuthorizeResponse{Error: errorToWire(cleanError(asPluginError(err)))}, nil
	}
	return &connectorpb.AuthorizeResponse{Token: tokenToWire(&token)}, nil
}

func (s *service) Poll(ctx context.Context, req *connectorpb.PollRequest) (res *connectorpb.PollResponse, err error) {
	poller, ok := s.connector.(core.Poller)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the connector has no Poll")
	}
	defer func() {
		if r := recover(); r != nil {
			res, err = &connectorpb.PollResponse{Error: errorToWire(panicked("Poll", r, core.CodeInternal))}, nil
		}
	}()
	ctx, cancel := leaveTime(ctx)
	defer cancel()
	ctx, meter := core.WithMeter(ctx)
	defer func() {
		if res != nil {
			res.Meter = meterToWire(meter)
		}
	}()
	polled, err := poller.Poll(ctx, accountFromWire(req.GetAccount()), req.GetCursor())
	if err != nil {
		return &connectorpb.PollResponse{Error: errorToWire(cleanError(asPluginError(err)))}, nil
	}
	events, err := eachAsJSON(polled.Events)
	if err != nil {
		return &connectorpb.PollResponse{Error: errorToWire(cleanError(asPluginError(err)))}, nil
	}
	return &connectorpb.PollResponse{Events: events, Cursor: polled.Cursor, More: polled.More, Watching: polled.Watching}, nil
}

func (s *service) Webhook(ctx context.Context, req *connectorpb.WebhookRequest) (res *connectorpb.WebhookResponse, err error) {
	receiver, ok := s.connector.(core.Receiver)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the connector has no Webhook")
	}
	defer func() {
		if r := recover(); r != nil {
			res, err = &connectorpb.WebhookResponse{Error: errorToWire(panicked("Webhook", r, core.CodeInternal))}, nil
		}
	}()
	ctx, cancel := leaveTime(ctx)
	defer cancel()
	ctx, meter := core.WithMeter(ctx)
	defer func() {
		if res != nil {
			res.Meter = meterToWire(meter)
		}
	}()
	answer, err := receiver.Webhook(ctx, accountFromWire(req.GetAccount()), webhookFromWire(req))
	if err != nil {
		return &connectorpb.WebhookResponse{Error: errorToWire(cleanError(asPluginError(err)))}, nil
	}
	events, err := eachAsJSON(answer.Events)
	if err != nil {
		return &connectorpb.WebhookResponse{Error: errorToWire(cleanError(asPluginError(err)))}, nil
	}
	return &connectorpb.WebhookResponse{
		Events: events, Status: int32(answer.Status), ContentType: strings.ToValidUTF8(answer.ContentType, ""), Body: answer.Body,
	}, nil
}

func (s *service) Deliver(ctx context.Context, req *connectorpb.DeliverRequest) (*connectorpb.DeliverResponse, error) {
	batch := make([]core.Delivery, 0, len(req.GetDeliveries()))
	var unreadable []core.Result
	for _, d := range req.GetDeliveries() {
		event := new(core.Event)
		err := json.Unmarshal(d.GetEvent(), event)
		if err == nil && event.ID != d.GetId() {
			err = errors.New("the event's id is not the delivery's")
		}
		if err != nil {
			unreadable = append(unreadable, core.Result{ID: d.GetId(), Err: cleanError(&core.Error{
				Code: core.CodeInvalid, Op: "plugin", Source: core.SourceBridge,
				Message: "the event cannot be read: " + err.Error(),
				Hint:    "a plugin built against an older wabridge must be rebuilt",
			})})
			continue
		}
		batch = append(batch, core.Delivery{Event: event, Data: d.GetEvent(), Attempt: int(d.GetAttempt()), ContactRef: d.GetContactRef(), ToldRef: d.GetToldRef(), MessageRef: d.GetMessageRef()})
	}
	ctx, cancel := leaveTime(ctx)
	defer cancel()
	ctx, meter := core.WithMeter(ctx)
	var results []core.Result
	if len(batch) > 0 {
		// What is wrong with the results as a whole is found again, and logged,
		// by the bridge, except for what the mending here hides.
		var odd string
		results, odd = settle(batch, s.deliver(ctx, accountFromWire(req.GetAccount()), batch))
		if odd != "" {
			logger().Warn("Deliver's results do not match its batch", "found", odd)
		}
	}
	return &connectorpb.DeliverResponse{Results: resultsToWire(append(results, unreadable...)), Meter: meterToWire(meter)}, nil
}

// deliver calls the connector. A panic becomes the result of the whole batch: a
// bug to retry where twice is harmless, an unknown outcome where it is not.
func (s *service) deliver(ctx context.Context, account core.Account, batch []core.Delivery) (results []core.Result) {
	defer func() {
		if r := recover(); r != nil {
			code := core.CodeUnknownOutcome
			if s.idempotent() {
				code = core.CodeInternal
			}
			err := panicked("Deliver", r, code)
			logger().Error("the connector panicked", "panic", err.Message)
			results = failAll(batch, err)
		}
	}()
	return s.connector.Deliver(ctx, account, batch)
}

// leaveTime returns a context that ends a little before ctx does, so that what a
// connector knows of its batch by then still gets to the bridge.
func leaveTime(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-min(time.Until(deadline)/10, 500*time.Millisecond)))
}

func (s *service) idempotent() (safe bool) {
	defer func() { _ = recover() }() // Info panics too: then nothing is known to be safe
	return s.connector.Info().Idempotency.Safe()
}

// asPluginError is [core.AsError] for errors that a connector returned: one
// without a code is the plugin's, not the bridge's.
func asPluginError(err error) *core.Error {
	if e, ok := errors.AsType[*core.Error](err); ok {
		return e
	}
	return &core.Error{Code: core.CodeInternal, Source: core.SourcePlugin, Message: err.Error()}
}

func panicked(call string, value any, code core.Code) *core.Error {
	return &core.Error{Code: code, Op: "plugin", Source: core.SourcePlugin, Vendor: "panic", Message: describePanic(call, value)}
}

// describePanic says what panicked and where. It must be called by the deferred
// function that recovered. The text of a panic can hold anything, secrets too,
// so only the runtime's own texts are told.
func describePanic(call string, value any) string {
	what := fmt.Sprintf("%T", value)
	if e, ok := value.(runtime.Error); ok {
		what = e.Error()
	}
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	where := "unknown place"
	for found := false; ; {
		f, more := frames.Next()
		if found && !strings.HasPrefix(f.Function, "runtime.") {
			where = fmt.Sprintf("%s:%d (%s)", filepath.Base(f.File), f.Line, f.Function)
			break
		}
		found = found || f.Function == "runtime.gopanic"
		if !more {
			break
		}
	}
	return fmt.Sprintf("panic in %s: %s at %s", call, what, where)
}

// gate counts the calls in flight and, once closed, lets no more in.
type gate struct {
	mu     sync.Mutex
	calls  int
	closed bool
	idle   chan struct{} // closed when closed and no calls are left
}

func newGate() *gate { return &gate{idle: make(chan struct{})} }

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.calls++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls--
	if g.closed && g.calls == 0 {
		close(g.idle)
	}
}

// close lets no more calls in and returns a channel that is closed when the last
// has left.
func (g *gate) close() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.closed = true
		if g.calls == 0 {
			close(g.idle)
		}
	}
	return g.idle
}

// intercept refuses calls when the gate is closed: with ABORTED, which tells the
// bridge that the call did not begin.
func (g *gate) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if strings.HasPrefix(info.FullMethod, "/"+connectorpb.Service+"/") {
		if !g.enter() {
			return nil, status.Error(codes.Aborted, "the plugin is stopping")
		}
		defer g.leave()
	}
	return next(ctx, req)
}
