package salesforcesim

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"strings"
	"time"

	"github.com/twmb/avro"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/wabridge/wabridge/plugins/salesforce/pubsubpb"
)

// bus is what the Pub/Sub API tells: topics, with the events that are kept.
type bus struct {
	topics map[string]*topic
	news   chan struct{} // closed, and made anew, with each event
	at     uint64        // the last place that was given away
	old    uint64        // places up to here are too old
}

type topic struct {
	schema string // its text
	codec  *avro.Schema
	id     string
	events []*pubsubpb.ConsumerEvent
}

// changeSchema is that of change events, as far as they are looked at.
const changeSchema = `{"type":"record","name":"%sChangeEvent","namespace":"com.sforce.eventbus","fields":[{"name":"ChangeEventHeader","type":{"type":"record","name":"ChangeEventHeader","fields":[` +
	`{"name":"entityName","type":"string"},{"name":"recordIds","type":{"type":"array","items":"string"}},{"name":"changeType","type":"string"},{"name":"changeOrigin","type":"string"},` +
	`{"name":"commitTimestamp","type":"long"},{"name":"commitUser","type":"string"}]}}]}`

// Topic adds a topic: of change events of an object where the name is
// /data/ContactChangeEvent, else a platform event with texts as fields.
func (s *Sim) Topic(name string, fields ...string) {
	var text string
	if object, ok := strings.CutPrefix(name, "/data/"); ok {
		text = fmt.Sprintf(changeSchema, strings.TrimSuffix(object, "ChangeEvent"))
	} else {
		list := []map[string]any{{"name": "CreatedDate", "type": "long"}, {"name": "CreatedById", "type": "string"}}
		for _, f := range fields {
			list = append(list, map[string]any{"name": f, "type": []string{"null", "string"}, "default": nil})
		}
		b, err := json.Marshal(map[string]any{"type": "record", "name": strings.TrimPrefix(name, "/event/"), "namespace": "com.sforce.eventbus", "fields": list})
		if err != nil {
			panic(err)
		}
		text = string(b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bus.topics == nil {
		s.bus.topics, s.bus.news = map[string]*topic{}, make(chan struct{})
	}
	s.bus.topics[name] = &topic{schema: text, codec: avro.MustParse(text), id: fmt.Sprintf("schema-%d", len(s.bus.topics))}
}

// Publish publishes a platform event, as a flow at the org does.
func (s *Sim) Publish(name string, fields map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	values := map[string]any{"CreatedDate": time.Now().UnixMilli(), "CreatedById": Person}
	maps.Copy(values, fields)
	s.publish("/event/"+name, values)
}

func (s *Sim) hasTopic(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bus.topics[name] != nil
}

// Spoil publishes an event whose payload is not of its schema.
func (s *Sim) Spoil(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publishRaw(s.bus.topics[topic], []byte{0xff, 0xff})
}

// publish adds an event to a topic. The caller holds the lock.
func (s *Sim) publish(name string, values map[string]any) {
	t := s.bus.topics[name]
	if t == nil {
		panic("no topic " + name)
	}
	payload, err := t.codec.Encode(values)
	if err != nil {
		panic(err)
	}
	s.publishRaw(t, payload)
}

func (s *Sim) publishRaw(t *topic, payload []byte) {
	s.bus.at += 3 // nobody is to count on places being next to each other
	t.events = append(t.events, &pubsubpb.ConsumerEvent{ReplayId: place(s.bus.at), Event: &pubsubpb.ProducerEvent{
		Id: fmt.Sprintf("event-%d", s.bus.at), SchemaId: t.id, Payload: payload}})
	close(s.bus.news)
	s.bus.news = make(chan struct{})
}

// changed tells of a change, where the org does. The caller holds the lock.
func (s *Sim) changed(t *table, rec *record, kind string) {
	name := "/data/" + strings.TrimSuffix(t.name, "__c") + "ChangeEvent"
	if s.bus.topics[name] == nil {
		return
	}
	origin := ""
	if !s.person {
		origin = "com/salesforce/api/rest/66.0;client=wabridge"
	}
	s.publish(name, map[string]any{"ChangeEventHeader": map[string]any{"entityName": t.name, "recordIds": []string{rec.id}, "changeType": kind,
		"changeOrigin": origin, "commitTimestamp": time.Now().UnixMilli(), "commitUser": s.actor()}})
}

// Forget drops all events: places that were given away are too old from now on.
func (s *Sim) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.bus.topics {
		t.events = nil
	}
	s.bus.at++
	s.bus.old = s.bus.at
}

func place(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{7}, n) }

// RunPubSub serves the Pub/Sub API, without TLS, until ctx ends.
func (s *Sim) RunPubSub(ctx context.Context, ln net.Listener) error {
	server := grpc.NewServer()
	s.ServePubSub(server)
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	if err := server.Serve(ln); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// ServePubSub adds the Pub/Sub API to a gRPC server.
func (s *Sim) ServePubSub(r grpc.ServiceRegistrar) {
	r.RegisterService(&grpc.ServiceDesc{ServiceName: pubsubpb.Service, HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "GetSchema", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			req := new(pubsubpb.SchemaRequest)
			if err := decode(req); err != nil {
				return nil, err
			}
			return s.schemaOf(ctx, req)
		}}},
		Streams: []grpc.StreamDesc{{StreamName: "Subscribe", ServerStreams: true, ClientStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			return s.subscribe(stream)
		}}},
	}, s)
}

// refusedBy is an error of the API, with the code that it has in the trailer.
func refusedBy(stream grpc.ServerStream, code codes.Code, reason, message string) error {
	stream.SetTrailer(metadata.Pairs("error-code", "sfdc.platform.eventbus.grpc."+reason))
	return status.Error(code, message)
}

// known says whether a call bears a token that works, and names the org.
func (s *Sim) known(ctx context.Context) bool {
	md, _ := metadata.FromIncomingContext(ctx)
	one := func(name string) string { return strings.Join(md.Get(name), "") }
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.tokens[one("accesstoken")]
	return ok && strings.HasPrefix(one("instanceurl"), "http") && strings.HasPrefix(one("tenantid"), "00D")
}

func (s *Sim) schemaOf(ctx context.Context, req *pubsubpb.SchemaRequest) (*pubsubpb.SchemaInfo, error) {
	if !s.known(ctx) {
		return nil, status.Error(codes.Unauthenticated, "authentication exception occurred")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.bus.topics {
		if t.id == req.GetSchemaId() {
			return &pubsubpb.SchemaInfo{SchemaJson: t.schema, SchemaId: t.id}, nil
		}
	}
	return nil, status.Error(codes.InvalidArgument, "the schema does not exist")
}

// subscribe serves one subscription: never more events than were asked for.
func (s *Sim) subscribe(stream grpc.ServerStream) error {
	if !s.known(stream.Context()) {
		return refusedBy(stream, codes.Unauthenticated, "service.auth.error", "authentication exception occurred")
	}
	var req pubsubpb.FetchRequest
	if err := stream.RecvMsg(&req); err != nil {
		return err
	}
	if n := req.GetNumRequested(); n < 1 || n > 100 {
		return refusedBy(stream, codes.InvalidArgument, "subscription.fetch.requested.events.invalid", "num_requested must be 1 to 100")
	}
	s.mu.Lock()
	t, after := s.bus.topics[req.GetTopicName()], s.bus.at
	switch req.GetReplayPreset() {
	case pubsubpb.ReplayPreset_EARLIEST:
		after = 0
	case pubsubpb.ReplayPreset_CUSTOM:
		if len(req.GetReplayId()) == 9 {
			after = binary.BigEndian.Uint64(req.GetReplayId()[1:])
		}
		if len(req.GetReplayId()) != 9 || after < s.bus.old {
			s.mu.Unlock()
			return refusedBy(stream, codes.InvalidArgument, "subscription.fetch.replayid.corrupted", "the replay id is corrupted, or too old")
		}
	}
	s.mu.Unlock()
	if t == nil {
		return refusedBy(stream, codes.NotFound, "topic.not.found", "the topic does not exist or the user may not read it")
	}
	for left := req.GetNumRequested(); ; {
		s.mu.Lock()
		news := s.bus.news
		answer := &pubsubpb.FetchResponse{LatestReplayId: place(s.bus.at)}
		for _, e := range t.events {
			if n := binary.BigEndian.Uint64(e.GetReplayId()[1:]); n > after && left > 0 {
				answer.Events = append(answer.Events, e)
				after, left = n, left-1
			}
		}
		s.mu.Unlock()
		if answer.PendingNumRequested = left; len(answer.GetEvents()) > 0 {
			if err := stream.SendMsg(answer); err != nil {
				return err
			}
		}
		select {
		case <-news:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}
