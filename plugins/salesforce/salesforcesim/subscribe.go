package salesforcesim

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/wabridge/wabridge/plugins/salesforce/pubsubpb"
)

// How a subscription lives, by Salesforce's pages on the method Subscribe, on flow
// control and on errors:
// https://developer.salesforce.com/docs/platform/pub-sub-api/references/methods/subscribe-rpc.html.
const (
	// mostRequested is how many events a subscription may have asked for and not got:
	// who asks for more has asked for these.
	mostRequested = 100
	// unasked is how long it lives when all that was asked for has come.
	unasked = 60 * time.Second
	// keepalive is how long one that waits for events is silent at most.
	keepalive = 270 * time.Second
)

// refused is an error of the API, with the code that it has in the trailer.
func refused(trail func(metadata.MD), code codes.Code, reason, message string) error {
	const rpc = "00000000-0000-4000-8000-000000000000"
	trail(metadata.Pairs("error-code", "sfdc.platform.eventbus.grpc."+reason, "rpc-id", rpc))
	return status.Error(code, message+" rpcId: "+rpc)
}

// known refuses a call whose headers do not name the org, or whose token does not work.
// A subscription keeps its session alive:
// https://developer.salesforce.com/docs/platform/pub-sub-api/guide/supported-auth.html.
func (s *Sim) known(ctx context.Context, trail func(metadata.MD)) error {
	md, _ := metadata.FromIncomingContext(ctx)
	one := func(name string) string { return strings.Join(md.Get(name), "") }
	token, org := one("accesstoken"), one("tenantid")
	if token == "" || !strings.HasPrefix(one("instanceurl"), "http") || !strings.HasPrefix(org, "00D") || len(org) != 15 && len(org) != 18 {
		return refused(trail, codes.Unauthenticated, "service.auth.headers.invalid", "an authentication header is invalid or blank.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	last, ok := s.tokens[token]
	if !ok || s.opts.SessionLife > 0 && time.Since(last) > s.opts.SessionLife {
		delete(s.tokens, token)
		return refused(trail, codes.Unauthenticated, "service.auth.error", "An authentication exception occurred. Provide valid authentication via metadata headers.")
	}
	s.tokens[token] = time.Now()
	return nil
}

func (s *Sim) schemaOf(ctx context.Context, req *pubsubpb.SchemaRequest) (*pubsubpb.SchemaInfo, error) {
	trail := func(md metadata.MD) { _ = grpc.SetTrailer(ctx, md) }
	if err := s.known(ctx, trail); err != nil {
		return nil, err
	}
	if req.GetSchemaId() == "" {
		return nil, refused(trail, codes.InvalidArgument, "schema.validation.failed", "The schema ID is blank.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.bus.topics {
		if t.id == req.GetSchemaId() {
			return &pubsubpb.SchemaInfo{SchemaJson: t.schema, SchemaId: t.id}, nil
		}
	}
	return nil, refused(trail, codes.InvalidArgument, "schema.meta.permission", "The schema does not exist, or may not be read.")
}

// subscription is one stream.
type subscription struct {
	sim    *Sim
	stream grpc.ServerStream
	name   string
	topic  *topic
	number int
	broken <-chan struct{} // closed when it is to end
	after  uint64          // the place that was reached
	left   int             // how many events were asked for and did not come
	heard  time.Time       // when either side said something last
}

// subscribe serves one subscription.
func (s *Sim) subscribe(stream grpc.ServerStream) error {
	if err := s.known(stream.Context(), stream.SetTrailer); err != nil {
		return err
	}
	asked, ended := requests(stream)
	s.opens(1)
	defer s.opens(-1)
	sub := &subscription{sim: s, stream: stream}
	select {
	case req := <-asked:
		if err := sub.begin(req); err != nil {
			return err
		}
	case err := <-ended:
		return err
	}
	for {
		news, err := sub.deliver(false)
		if err != nil {
			return err
		}
		quiet := time.NewTimer(time.Until(sub.heard.Add(sub.patience())))
		select {
		case req := <-asked:
			err = sub.more(req)
		case <-news:
		case <-sub.broken:
			err = refused(stream.SetTrailer, codes.Unavailable, "service.unavailable", "The service is unavailable.")
		case <-quiet.C:
			if sub.left == 0 {
				err = status.Error(codes.DeadlineExceeded, "no request came for 60 seconds")
				break
			}
			_, err = sub.deliver(true)
		case err = <-ended:
			return err // the client is done
		}
		if quiet.Stop(); err != nil {
			return err
		}
	}
}

func (s *Sim) opens(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bus.open += n
}

// requests reads what a client asks, until the stream is over.
func requests(stream grpc.ServerStream) (<-chan *pubsubpb.FetchRequest, <-chan error) {
	asked, ended := make(chan *pubsubpb.FetchRequest), make(chan error, 1)
	go func() {
		for {
			req := new(pubsubpb.FetchRequest)
			if err := stream.RecvMsg(req); err != nil {
				if errors.Is(err, io.EOF) {
					err = nil
				}
				ended <- err
				return
			}
			select {
			case asked <- req:
			case <-stream.Context().Done():
				ended <- stream.Context().Err()
				return
			}
		}
	}()
	return asked, ended
}

func (sub *subscription) patience() time.Duration {
	if sub.left == 0 {
		return unasked
	}
	if d := sub.sim.opts.Keepalive; d > 0 {
		return d
	}
	return keepalive
}

func (sub *subscription) invalid(reason, message string) error {
	return refused(sub.stream.SetTrailer, codes.InvalidArgument, reason, message)
}

// begin takes the first request: only that says where to begin.
func (sub *subscription) begin(req *pubsubpb.FetchRequest) error {
	s := sub.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(time.Now())
	s.bus.streams++
	sub.broken = s.bus.broken
	sub.number, sub.name, sub.topic, sub.after = s.bus.streams, req.GetTopicName(), s.bus.topics[req.GetTopicName()], s.bus.at
	switch {
	case sub.name == "":
		return sub.invalid("topic.validation.empty", "The topic name is blank.")
	case sub.topic == nil:
		return refused(sub.stream.SetTrailer, codes.NotFound, "topic.not.found", "The topic does not exist, or the user may not read it.")
	}
	switch req.GetReplayPreset() {
	case pubsubpb.ReplayPreset_LATEST:
	case pubsubpb.ReplayPreset_EARLIEST:
		sub.after = 0
	case pubsubpb.ReplayPreset_CUSTOM:
		at, ok := placed(req.GetReplayId())
		switch {
		case len(req.GetReplayId()) == 0:
			return sub.invalid("subscription.fetch.replayid.validation.failed", "The replay preset is CUSTOM and there is no Replay ID.")
		case !ok || at < s.bus.old || at > s.bus.at:
			return sub.invalid("subscription.fetch.replayid.corrupted", "The Replay ID validation failed. Ensure that the Replay ID is valid and refers to an event that is within the retention window.")
		}
		sub.after = at
	}
	return sub.ask(req)
}

// more takes a later request.
func (sub *subscription) more(req *pubsubpb.FetchRequest) error {
	if name := req.GetTopicName(); name != "" && name != sub.name {
		return sub.invalid("subscription.fetch.topic.mismatch", "The topic is not that of the first request.")
	}
	return sub.ask(req)
}

func (sub *subscription) ask(req *pubsubpb.FetchRequest) error {
	if req.GetNumRequested() < 1 {
		return sub.invalid("subscription.fetch.requested.events.invalid", "The number of requested events must be greater than 0.")
	}
	sub.left, sub.heard = min(mostRequested, sub.left+int(req.GetNumRequested())), time.Now()
	return nil
}

// deliver sends what there is and was asked for; where that is nothing, an empty answer
// if it is to be. It returns what to wait for.
func (sub *subscription) deliver(empty bool) (news <-chan struct{}, err error) {
	s := sub.sim
	s.mu.Lock()
	news = s.bus.news
	if sub.number <= s.bus.deaf {
		s.mu.Unlock()
		sub.heard = time.Now()
		return nil, nil
	}
	answer := &pubsubpb.FetchResponse{RpcId: "00000000-0000-4000-8000-000000000000"}
	for _, e := range sub.topic.events {
		if e.at <= sub.after {
			continue
		}
		if sub.left == 0 {
			break
		}
		answer.Events = append(answer.Events, e.ConsumerEvent)
		sub.after, sub.left = e.at, sub.left-1
	}
	s.bus.delivered += len(answer.GetEvents())
	s.bus.today += len(answer.GetEvents())
	over := s.opts.Deliveries > 0 && s.bus.today > s.opts.Deliveries
	if sub.left > 0 {
		sub.after = s.bus.at // an advanced position: other topics' events lie between
	}
	answer.LatestReplayId, answer.PendingNumRequested = place(sub.after), int32(sub.left)
	s.mu.Unlock()
	if len(answer.GetEvents()) == 0 && !empty {
		return news, nil
	}
	if err := s.known(sub.stream.Context(), sub.stream.SetTrailer); err != nil {
		return nil, err
	}
	if over {
		return nil, refused(sub.stream.SetTrailer, codes.ResourceExhausted, "subscription.limit.exceeded", "You have exceeded the event delivery limit for your org.")
	}
	sub.heard = time.Now()
	return news, sub.stream.SendMsg(answer)
}
