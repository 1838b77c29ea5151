package salesforcesim_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/avro"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/wabridge/wabridge/plugins/salesforce/pubsubpb"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

const (
	orders  = "/event/Order__e"
	changes = "/data/ContactChangeEvent"
)

// listener is a plain client of the Pub/Sub API.
type listener struct {
	t    *testing.T
	conn *grpc.ClientConn
	sim  *salesforcesim.Sim
	head []string
}

// bus runs a test against an org's Pub/Sub API in virtual time.
func bus(t *testing.T, o salesforcesim.Options, test func(*listener)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sim := org(o)
		sim.Topic(orders, "Text__c")
		sim.Topic(changes)
		ln := bufconn.Listen(1 << 16)
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- sim.RunPubSub(ctx, ln) }()
		conn, err := grpc.NewClient("passthrough:///org", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = conn.Close()
			stop()
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
		test(&listener{t, conn, sim, []string{"accesstoken", access, "instanceurl", "http://org.example", "tenantid", "00D000000000simEAA"}})
	})
}

func (l *listener) say(texts ...string) {
	for _, text := range texts {
		l.sim.Publish("Order__e", map[string]any{"Text__c": text})
	}
}

// subscription is a stream, whose answers are read as they come.
type listening struct {
	l       *listener
	stream  grpc.ClientStream
	answers chan *pubsubpb.FetchResponse
	over    chan error
}

func (l *listener) subscribe(req *pubsubpb.FetchRequest) *listening {
	l.t.Helper()
	ctx := metadata.AppendToOutgoingContext(l.t.Context(), l.head...)
	stream, err := l.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/eventbus.v1.PubSub/Subscribe")
	if err != nil {
		l.t.Fatal(err)
	}
	s := &listening{l, stream, make(chan *pubsubpb.FetchResponse, 100), make(chan error, 1)}
	s.ask(req)
	go func() {
		for {
			answer := new(pubsubpb.FetchResponse)
			if err := stream.RecvMsg(answer); err != nil {
				s.over <- err
				return
			}
			s.answers <- answer
		}
	}()
	synctest.Wait()
	return s
}

func (s *listening) ask(req *pubsubpb.FetchRequest) {
	s.l.t.Helper()
	if err := s.stream.SendMsg(req); err != nil && !errors.Is(err, io.EOF) {
		s.l.t.Fatal(err)
	}
	synctest.Wait()
}

// wants expects one answer by now, with these texts and so many events still to come,
// and returns its place.
func (s *listening) wants(pending int32, texts ...string) []byte {
	s.l.t.Helper()
	synctest.Wait()
	select {
	case answer := <-s.answers:
		got := []string{}
		for _, e := range answer.GetEvents() {
			got = append(got, s.l.text(e))
		}
		if !slices.Equal(got, texts) && len(got)+len(texts) > 0 || answer.GetPendingNumRequested() != pending {
			s.l.t.Errorf("got %q and %d to come, want %q and %d", got, answer.GetPendingNumRequested(), texts, pending)
		}
		return answer.GetLatestReplayId()
	default:
		s.l.t.Fatalf("nothing came, want %q", texts)
		return nil
	}
}

func (s *listening) wantsNothing() {
	s.l.t.Helper()
	synctest.Wait()
	select {
	case answer := <-s.answers:
		s.l.t.Errorf("got an answer with %d events", len(answer.GetEvents()))
	case err := <-s.over:
		s.l.t.Errorf("it ended: %v", err)
	default:
	}
}

// wantsEnd expects that the stream has ended for a reason.
func (s *listening) wantsEnd(code codes.Code, reason string) {
	s.l.t.Helper()
	synctest.Wait()
	select {
	case err := <-s.over:
		if got := strings.Join(s.stream.Trailer().Get("error-code"), " "); status.Code(err) != code || got != reason && got != "sfdc.platform.eventbus.grpc."+reason {
			s.l.t.Errorf("it ended with %v (%s), want %v (%s)", err, got, code, reason)
		}
	default:
		s.l.t.Errorf("it has not ended, want %v (%s)", code, reason)
	}
}

// text reads an event by its schema.
func (l *listener) text(e *pubsubpb.ConsumerEvent) string {
	l.t.Helper()
	var info pubsubpb.SchemaInfo
	ctx := metadata.AppendToOutgoingContext(l.t.Context(), l.head...)
	if err := l.conn.Invoke(ctx, "/eventbus.v1.PubSub/GetSchema", &pubsubpb.SchemaRequest{SchemaId: e.GetEvent().GetSchemaId()}, &info); err != nil {
		l.t.Fatal(err)
	}
	var fields map[string]any
	if _, err := avro.MustParse(info.GetSchemaJson()).Decode(e.GetEvent().GetPayload(), &fields); err != nil {
		l.t.Fatal(err)
	}
	text, _ := fields["Text__c"].(string)
	return text
}

func from(topic string, preset pubsubpb.ReplayPreset, n int32) *pubsubpb.FetchRequest {
	return &pubsubpb.FetchRequest{TopicName: topic, ReplayPreset: preset, NumRequested: n}
}

func after(place []byte, n int32) *pubsubpb.FetchRequest {
	return &pubsubpb.FetchRequest{TopicName: orders, ReplayPreset: pubsubpb.ReplayPreset_CUSTOM, ReplayId: place, NumRequested: n}
}

const (
	latest   = pubsubpb.ReplayPreset_LATEST
	earliest = pubsubpb.ReplayPreset_EARLIEST
	custom   = pubsubpb.ReplayPreset_CUSTOM
)

func TestSubscribe_BeginsWhereItIsAskedTo(t *testing.T) {
	bus(t, salesforcesim.Options{}, func(l *listener) {
		l.say("one", "two")
		tip := l.subscribe(from(orders, latest, 10))
		all := l.subscribe(from(orders, earliest, 10))
		place := all.wants(8, "one", "two")
		tip.wantsNothing()
		l.say("three")
		tip.wants(9, "three")
		all.wants(7, "three")
		l.subscribe(after(place, 10)).wants(9, "three")
	})
}

// Never more comes than was asked for, and a hundred at most.
func TestSubscribe_BringsAsManyAsAreAskedFor(t *testing.T) {
	bus(t, salesforcesim.Options{}, func(l *listener) {
		l.say("one", "two", "three")
		s := l.subscribe(from(orders, earliest, 2))
		s.wants(0, "one", "two")
		s.wantsNothing()
		s.ask(&pubsubpb.FetchRequest{NumRequested: 3, ReplayPreset: earliest}) // where to begin counts once
		s.wants(2, "three")
		s.ask(from(orders, latest, 5)) // in addition to what is to come
		l.say("four")
		s.wants(6, "four")
		s.ask(&pubsubpb.FetchRequest{NumRequested: 1000})
		l.say("five")
		s.wants(99, "five")
	})
}

func TestSubscribe_LivesWhileItIsAskedForMore(t *testing.T) {
	bus(t, salesforcesim.Options{}, func(l *listener) {
		l.say("one")
		s := l.subscribe(from(orders, earliest, 1))
		s.wants(0, "one")
		<-time.After(59 * time.Second)
		s.wantsNothing()
		s.ask(&pubsubpb.FetchRequest{NumRequested: 1})
		<-time.After(2 * time.Minute)
		s.wantsNothing()
		l.say("two")
		s.wants(0, "two")
		<-time.After(61 * time.Second)
		s.wantsEnd(codes.DeadlineExceeded, "")
	})
}

// An empty answer shows that a subscription lives, and its place is one to go on from:
// nothing that came before is told again, and nothing that comes later is missed.
func TestSubscribe_ShowsThatItLives(t *testing.T) {
	bus(t, salesforcesim.Options{}, func(l *listener) {
		s := l.subscribe(from(orders, latest, 5))
		<-time.After(200 * time.Second)
		l.sim.Create("Contact", map[string]any{"LastName": "Ana"}) // of another topic
		s.wantsNothing()
		<-time.After(69 * time.Second)
		s.wantsNothing()
		<-time.After(2 * time.Second)
		place := s.wants(5)
		l.say("one")
		s.wants(4, "one")
		l.subscribe(after(place, 5)).wants(4, "one")
	})
}

func TestSubscribe_RefusesWhatIsNoSubscription(t *testing.T) {
	const old = "\x07\x00\x00\x00\x00\x00\x00\x00\x03"
	for _, test := range []struct {
		name   string
		req    *pubsubpb.FetchRequest
		code   codes.Code
		reason string
	}{
		{"no topic", from("", latest, 1), codes.InvalidArgument, "topic.validation.empty"},
		{"another topic", from("/event/Orders__e", latest, 1), codes.NotFound, "topic.not.found"},
		{"nothing asked for", from(orders, latest, 0), codes.InvalidArgument, "subscription.fetch.requested.events.invalid"},
		{"no place", from(orders, custom, 1), codes.InvalidArgument, "subscription.fetch.replayid.validation.failed"},
		{"a place that is none", after([]byte("7"), 1), codes.InvalidArgument, "subscription.fetch.replayid.corrupted"},
		{"a place that was never given", after([]byte("\x07\x00\x00\x00\x00\x00\x00\xff\xff"), 1), codes.InvalidArgument, "subscription.fetch.replayid.corrupted"},
		{"a place that is forgotten", after([]byte(old), 1), codes.InvalidArgument, "subscription.fetch.replayid.corrupted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bus(t, salesforcesim.Options{}, func(l *listener) {
				l.say("one")
				l.sim.Forget()
				l.subscribe(test.req).wantsEnd(test.code, test.reason)
			})
		})
	}
	t.Run("another topic later", func(t *testing.T) {
		bus(t, salesforcesim.Options{}, func(l *listener) {
			s := l.subscribe(from(orders, latest, 1))
			s.ask(from(changes, latest, 1))
			s.wantsEnd(codes.InvalidArgument, "subscription.fetch.topic.mismatch")
		})
	})
	t.Run("nothing asked for later", func(t *testing.T) {
		bus(t, salesforcesim.Options{}, func(l *listener) {
			s := l.subscribe(from(orders, latest, 1))
			s.ask(&pubsubpb.FetchRequest{NumRequested: -1})
			s.wantsEnd(codes.InvalidArgument, "subscription.fetch.requested.events.invalid")
		})
	})
}

// Events are kept for three days.
func TestSubscribe_ForgetsAfterThreeDays(t *testing.T) {
	bus(t, salesforcesim.Options{}, func(l *listener) {
		l.say("one")
		first := l.subscribe(from(orders, earliest, 1)).wants(0, "one")
		<-time.After(24 * time.Hour)
		l.say("two")
		<-time.After(47 * time.Hour)
		l.subscribe(after(first, 1)).wants(0, "two")
		l.say("three")
		second := l.subscribe(from(orders, earliest, 2)).wants(0, "one", "two")
		<-time.After(26 * time.Hour)
		l.subscribe(after(first, 1)).wantsEnd(codes.InvalidArgument, "subscription.fetch.replayid.corrupted")
		l.subscribe(after(second, 1)).wants(0, "three")
		l.subscribe(from(orders, earliest, 9)).wants(8, "three")
	})
}

// A subscription outlives its session's time, which it extends, and ends with its token.
func TestSubscribe_EndsWithItsToken(t *testing.T) {
	bus(t, salesforcesim.Options{SessionLife: 10 * time.Minute}, func(l *listener) {
		s := l.subscribe(from(orders, latest, 5))
		for range 10 {
			<-time.After(270 * time.Second)
			s.wants(5)
		}
		l.sim.Revoke()
		l.say("one")
		s.wantsEnd(codes.Unauthenticated, "service.auth.error")
		l.subscribe(from(orders, latest, 5)).wantsEnd(codes.Unauthenticated, "service.auth.error")
	})
}

func TestCalls_NameTheOrgAndBearAToken(t *testing.T) {
	for _, test := range []struct {
		name, reason string
		head         []string
	}{
		{"no headers", "service.auth.headers.invalid", nil},
		{"no org", "service.auth.headers.invalid", []string{"accesstoken", access, "instanceurl", "http://org.example"}},
		{"an org that is none", "service.auth.headers.invalid", []string{"accesstoken", access, "instanceurl", "http://org.example", "tenantid", "00D0"}},
		{"no address", "service.auth.headers.invalid", []string{"accesstoken", access, "tenantid", "00D000000000simEAA"}},
		{"another token", "service.auth.error", []string{"accesstoken", "00D!x", "instanceurl", "http://org.example", "tenantid", "00D000000000simEAA"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			bus(t, salesforcesim.Options{}, func(l *listener) {
				l.head = test.head
				l.subscribe(from(orders, latest, 5)).wantsEnd(codes.Unauthenticated, test.reason)
				err := l.conn.Invoke(metadata.AppendToOutgoingContext(l.t.Context(), l.head...), "/eventbus.v1.PubSub/GetSchema", &pubsubpb.SchemaRequest{SchemaId: "schema-0"}, &pubsubpb.SchemaInfo{})
				if status.Code(err) != codes.Unauthenticated {
					l.t.Errorf("a schema: %v", err)
				}
			})
		})
	}
}

func TestGetSchema_KnowsThoseOfTheTopics(t *testing.T) {
	bus(t, salesforcesim.Options{}, func(l *listener) {
		ctx := metadata.AppendToOutgoingContext(l.t.Context(), l.head...)
		for id, reason := range map[string]string{"": "schema.validation.failed", "another": "schema.meta.permission"} {
			var trailer metadata.MD
			err := l.conn.Invoke(ctx, "/eventbus.v1.PubSub/GetSchema", &pubsubpb.SchemaRequest{SchemaId: id}, &pubsubpb.SchemaInfo{}, grpc.Trailer(&trailer))
			if got := strings.Join(trailer.Get("error-code"), " "); status.Code(err) != codes.InvalidArgument || got != "sfdc.platform.eventbus.grpc."+reason {
				l.t.Errorf("%q: %v, %s", id, err, got)
			}
		}
	})
}

func TestSubscribe_EndsWhenTheOrgHasHadItsEvents(t *testing.T) {
	bus(t, salesforcesim.Options{Deliveries: 1}, func(l *listener) {
		s := l.subscribe(from(orders, latest, 5))
		l.say("one")
		s.wants(4, "one")
		l.say("two")
		s.wantsEnd(codes.ResourceExhausted, "subscription.limit.exceeded")
	})
}

func TestSubscribe_MayFallSilentOrEnd(t *testing.T) {
	bus(t, salesforcesim.Options{}, func(l *listener) {
		s := l.subscribe(from(orders, latest, 5))
		l.sim.Silence()
		l.say("one")
		<-time.After(time.Hour)
		s.wantsNothing()
		next := l.subscribe(from(orders, earliest, 5))
		next.wants(4, "one")
		l.sim.EndStreams()
		s.wantsEnd(codes.Unavailable, "service.unavailable")
		next.wantsEnd(codes.Unavailable, "service.unavailable")
		l.subscribe(from(orders, earliest, 5)).wants(4, "one")
		if now, ever := l.sim.Subscriptions(); now != 1 || ever != 3 {
			l.t.Errorf("%d subscriptions, %d ever", now, ever)
		}
		if n := l.sim.Delivered(); n != 2 {
			l.t.Errorf("%d events were brought", n)
		}
	})
}

// Also where something is published at the same moment.
func TestSubscribe_EndsWhateverElseHappens(t *testing.T) {
	bus(t, salesforcesim.Options{}, func(l *listener) {
		for range 20 {
			s := l.subscribe(from(orders, latest, 5))
			l.sim.EndStreams()
			l.say("one")
			s.wantsEnd(codes.Unavailable, "service.unavailable")
		}
	})
}
