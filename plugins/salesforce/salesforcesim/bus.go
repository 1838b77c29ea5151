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

	"github.com/wabridge/wabridge/plugins/salesforce/pubsubpb"
)

// bus is what the Pub/Sub API tells: topics, with the events that are kept.
type bus struct {
	topics    map[string]*topic
	news      chan struct{} // closed, and made anew, with each event
	at        uint64        // the last place that was given away
	old       uint64        // places before this are too old
	delivered int           // events, to all subscriptions
	today     int           // as many of them, of the day's

	streams int           // how many subscriptions there were
	open    int           // how many there are
	deaf    int           // as many of them, the first, bring nothing any more
	broken  chan struct{} // closed, and made anew, when all are to end
}

// deliveries is what the limits say of an org's events where there is no limit.
const deliveries = 50_000

// retention is for how long events are kept.
const retention = 72 * time.Hour

type topic struct {
	schema string // its text
	codec  *avro.Schema
	id     string
	events []kept
}

// kept is an event, with its place and when it came.
type kept struct {
	*pubsubpb.ConsumerEvent
	at   uint64
	time time.Time
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
		s.bus.topics, s.bus.news, s.bus.broken = map[string]*topic{}, make(chan struct{}), make(chan struct{})
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
	t.events = append(t.events, kept{&pubsubpb.ConsumerEvent{ReplayId: place(s.bus.at), Event: &pubsubpb.ProducerEvent{
		Id: fmt.Sprintf("event-%d", s.bus.at), SchemaId: t.id, Payload: payload}}, s.bus.at, time.Now()})
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

// Gap tells, in place of changes of an object, that there were some whose events could
// not be made, as Salesforce does:
// https://developer.salesforce.com/docs/atlas.en-us.change_data_capture.meta/change_data_capture/cdc_other_events_gap.htm.
// Origin is what their changeOrigin would be.
func (s *Sim) Gap(object, origin string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publish("/data/"+strings.TrimSuffix(object, "__c")+"ChangeEvent", map[string]any{"ChangeEventHeader": map[string]any{"entityName": object, "recordIds": []string{},
		"changeType": "GAP_UPDATE", "changeOrigin": origin, "commitTimestamp": time.Now().UnixMilli(), "commitUser": Integration}})
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

// expire drops the events that are older than they are kept. The caller holds the lock.
func (s *Sim) expire(now time.Time) {
	for _, t := range s.bus.topics {
		n := 0
		for n < len(t.events) && now.Sub(t.events[n].time) > retention {
			n++
		}
		if n > 0 {
			s.bus.old = max(s.bus.old, t.events[n-1].at)
			t.events = t.events[n:]
		}
	}
}

// Silence has the subscriptions that there are bring nothing any more, as if what lies
// between had forgotten their connections. New ones are well.
func (s *Sim) Silence() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bus.deaf = s.bus.streams
}

// EndStreams ends all subscriptions, as a release of Salesforce's does.
func (s *Sim) EndStreams() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.bus.broken)
	s.bus.broken = make(chan struct{})
}

// Subscriptions is how many there are, and how many there ever were.
func (s *Sim) Subscriptions() (now, ever int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bus.open, s.bus.streams
}

// Delivered is how many events all subscriptions brought: an org may have so many in a
// day (see [Options]).
func (s *Sim) Delivered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bus.delivered
}

// place is a replay id: opaque for whoever gets it.
func place(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{7}, n) }

// placed reads a replay id that was given away.
func placed(id []byte) (n uint64, ok bool) {
	if len(id) != 9 || id[0] != 7 {
		return 0, false
	}
	return binary.BigEndian.Uint64(id[1:]), true
}

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
