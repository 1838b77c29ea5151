package salesforce

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/twmb/avro"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/salesforce/pubsubpb"
)

// Salesforce tells by its Pub/Sub API at once. An event of settings.send_event is a
// message to send. Change events only say that it is time to ask what was modified:
// that alone decides what is told, so that nothing depends on their having come. See
// https://developer.salesforce.com/docs/platform/pub-sub-api/guide/intro.html.

const (
	// streamWait is how long a Poll listens.
	streamWait = 40 * time.Second
	// streamGather is how long is waited for more after the first events.
	streamGather = 20 * time.Millisecond
	// pullEvery is how often is asked what was modified where Salesforce tells at once.
	pullEvery = 15 * time.Minute
	// maxEvents is how many events are asked for at a time: Salesforce gives no more.
	maxEvents = 100
	// maxFrame is how large an answer may be: 100 events of 1 MB.
	maxFrame = 110 << 20
)

// spot is how far a topic was read; without a replay id it is not known.
type spot struct {
	Replay []byte    `json:"replay,omitempty"`
	Began  time.Time `json:"began"`
}

// streams keeps connections and the forms of events, which never change.
type streams struct {
	mu      sync.Mutex
	conns   map[string]*grpc.ClientConn
	schemas map[string]*avro.Schema
}

func (k *streams) conn(c *Connector, address string) (*grpc.ClientConn, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if conn := k.conns[address]; conn != nil {
		return conn, nil
	}
	scheme, host, _ := strings.Cut(address, "://")
	secure := insecure.NewCredentials()
	if scheme == "https" {
		secure = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	}
	dial := c.DialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(host, map[string]string{"https": "443", "http": "80"}[scheme])
	}
	conn, err := grpc.NewClient("passthrough:///"+host, grpc.WithTransportCredentials(secure), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxFrame)),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return dial(ctx, "tcp", addr) }))
	if err != nil {
		return nil, err
	}
	if k.conns == nil {
		k.conns = map[string]*grpc.ClientConn{}
	}
	k.conns[address] = conn
	return conn, nil
}

func (k *streams) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, conn := range k.conns {
		_ = conn.Close()
	}
	k.conns = nil
}

// came is what a topic brought.
type came struct {
	topic  string
	events []record
	replay []byte
	lost   bool // the place is no longer known there
	err    *core.Error
}

// record is an event: its fields, and its own id. One that cannot be read has none.
type record struct {
	id     string
	fields found
}

// listen waits for what topics bring, until something has come or the time is over.
func (x *session) listen(ctx context.Context, from map[string]spot) ([]came, *core.Error) {
	conn, dialErr := x.streams.conn(x.connector, x.PubSubURL)
	if dialErr != nil {
		return nil, core.Errorf(core.CodeUnavailable, "listen", "%w", dialErr)
	}
	wait := streamWait
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end)*3/4)
	}
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, wait)
	ctx = metadata.AppendToOutgoingContext(ctx, "accesstoken", x.token, "instanceurl", x.instance, "tenantid", x.org)
	out := make(chan came, 2*len(from))
	var listening sync.WaitGroup
	defer listening.Wait()
	defer cancel()
	for topic, at := range from {
		listening.Go(func() { x.subscribe(ctx, conn, topic, at, out) })
	}
	var all []came
	var gathered <-chan time.Time
	for {
		select {
		case c := <-out:
			if c.err != nil {
				if len(all) > 0 { // it is told of what came; what is wrong shows at once again
					return all, nil
				}
				return nil, c.err
			}
			if all = append(all, c); gathered == nil && (len(c.events) > 0 || c.lost) {
				gathered = time.After(streamGather)
			}
		case <-gathered:
			return all, nil
		case <-ctx.Done():
			if outer.Err() != nil {
				return nil, core.Errorf(core.CodeUnavailable, "listen", "%w", outer.Err())
			}
			return all, nil
		}
	}
}

// subscribe hands on what one topic brings, until ctx ends or the stream breaks.
func (x *session) subscribe(ctx context.Context, conn *grpc.ClientConn, topic string, at spot, out chan<- came) {
	hand := func(c came) bool {
		c.topic = topic
		select {
		case out <- c:
			return true
		case <-ctx.Done():
			return false
		}
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, pubsubpb.Subscribe)
	request := &pubsubpb.FetchRequest{TopicName: topic, NumRequested: maxEvents}
	switch {
	case len(at.Replay) > 0:
		request.ReplayPreset, request.ReplayId = pubsubpb.ReplayPreset_CUSTOM, at.Replay
	case strings.HasPrefix(topic, "/event/"):
		request.ReplayPreset = pubsubpb.ReplayPreset_EARLIEST
	}
	if err == nil {
		if err = stream.SendMsg(request); errors.Is(err, io.EOF) {
			err = nil // what is wrong is said when receiving
		}
	}
	for err == nil {
		var answer pubsubpb.FetchResponse
		if err = stream.RecvMsg(&answer); err != nil {
			break
		}
		c := came{replay: answer.GetLatestReplayId()}
		for _, e := range answer.GetEvents() {
			c.replay = e.GetReplayId()
			fields, problem := x.decode(ctx, conn, e.GetEvent())
			if problem != nil {
				c.err = problem
				break
			}
			c.events = append(c.events, record{e.GetEvent().GetId(), fields})
		}
		if !hand(c) || c.err != nil {
			return
		}
		if answer.GetPendingNumRequested() == 0 && len(answer.GetEvents()) > 0 {
			return // all that was asked for has come
		}
	}
	if ctx.Err() != nil {
		return
	}
	reason := ""
	if stream != nil {
		reason = strings.Join(stream.Trailer().Get("error-code"), " ")
	}
	if strings.Contains(reason, "replayid") && len(at.Replay) > 0 {
		hand(came{lost: true})
		return
	}
	hand(came{err: x.broken(topic, reason, err)})
}

// broken explains why a stream has ended, or a call failed.
func (x *session) broken(topic, reason string, err error) *core.Error {
	s := status.Convert(err)
	e := &core.Error{Code: core.CodeUnavailable, Op: "listen to " + topic, Source: core.SourceVendor, Vendor: cmp.Or(reason, s.Code().String()),
		Message: "Salesforce ended it: " + strings.ReplaceAll(s.Message(), x.token, "[secret]")}
	switch {
	case strings.Contains(reason, "auth.error"), s.Code() == codes.Unauthenticated:
		e.Code = core.CodeUnauthenticated
	case strings.Contains(reason, "limit.exceeded"), s.Code() == codes.ResourceExhausted:
		e.Code, e.RetryAfter = core.CodeRateLimited, pullEvery
		e.Hint = "the org's events of a day are used up: listen to less, with settings.change_topic a channel of its own or none"
	case s.Code() == codes.NotFound, s.Code() == codes.PermissionDenied, s.Code() == codes.InvalidArgument:
		e.Code, e.RetryAfter = core.CodeForbidden, time.Minute
		e.Hint = "look at settings.send_event and settings.change_topic, and whether the user may read them"
	case s.Code() == codes.Unavailable:
		e.Hint = "it is reached at settings.pubsub_url"
	}
	return e
}

// decode reads an event by its schema, which is asked for once. What cannot be read
// will not be later either: it is nil, and no error, so that it does not keep back what
// comes after it.
func (x *session) decode(ctx context.Context, conn *grpc.ClientConn, e *pubsubpb.ProducerEvent) (found, *core.Error) {
	key := x.org + " " + e.GetSchemaId()
	x.streams.mu.Lock()
	schema := x.streams.schemas[key]
	x.streams.mu.Unlock()
	if schema == nil {
		var info pubsubpb.SchemaInfo
		if err := conn.Invoke(ctx, pubsubpb.GetSchema, &pubsubpb.SchemaRequest{SchemaId: e.GetSchemaId()}, &info); err != nil {
			return nil, x.broken("schemas", "", err)
		}
		if schema = parsed(info.GetSchemaJson()); schema == nil {
			return nil, nil
		}
		x.streams.mu.Lock()
		if x.streams.schemas == nil || len(x.streams.schemas) >= maxSchemas {
			x.streams.schemas = map[string]*avro.Schema{}
		}
		x.streams.schemas[key] = schema
		x.streams.mu.Unlock()
	}
	return fieldsOf(schema, e.GetPayload()), nil
}

// parsed is a schema; nil where it is none.
func parsed(text string) *avro.Schema {
	schema, err := avro.Parse(text)
	if err != nil {
		return nil
	}
	return schema
}

// fieldsOf reads an event; nil where it is not of the schema.
func fieldsOf(schema *avro.Schema, payload []byte) found {
	var values map[string]any
	if _, err := schema.Decode(payload, &values); err != nil {
		return nil
	}
	f := found{}
	for name, v := range values {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil
		}
		f[name] = raw
	}
	return f
}

// rings says whether a change event is of somebody else's doing: ours bear the name
// that each call gives (Sforce-Call-Options).
func rings(f found) bool {
	var header struct {
		Origin string `json:"changeOrigin"`
		Type   string `json:"changeType"`
	}
	raw := f["ChangeEventHeader"]
	return json.Unmarshal(raw, &header) != nil || strings.HasPrefix(header.Type, "GAP_") || !strings.Contains(header.Origin, "client=wabridge")
}

// hear listens to the topics, and tells of the messages that somebody wants sent.
// Where a change was heard of, or may have been missed, it has asking begin anew.
func (x *session) hear(ctx context.Context, at *reached) ([]core.Event, *core.Error) {
	topics := map[string]spot{}
	for _, topic := range x.topics() {
		topics[topic] = at.Topics[topic]
	}
	list, err := x.listen(ctx, topics)
	if err != nil {
		return nil, err
	}
	var asked []asking
	var unreadable []core.Event
	for _, c := range list {
		s := at.Topics[c.topic]
		missed := c.lost || len(s.Replay) == 0
		if s.Replay = c.replay; c.lost {
			s.Replay = nil
		}
		at.Topics[c.topic] = s
		for _, e := range c.events {
			if c.topic == x.ChangeTopic {
				missed = missed || rings(e.fields)
				continue
			}
			id := eventID("event", cmp.Or(e.id, fmt.Sprintf("%x", c.replay)), x.SendEvent)
			if e.fields == nil { // the bridge refuses it, and says so in its story
				unreadable = append(unreadable, core.Event{ID: id, Kind: core.KindMessageSend, Time: time.Now().UTC()})
				continue
			}
			made := e.fields.millis("CreatedDate")
			if made.Before(s.Began) {
				continue // from before anything was listened to
			}
			asked = append(asked, asking{id: id, at: made, fields: e.fields})
		}
		if c.topic == x.ChangeTopic && missed {
			at.Pulled = time.Time{}
		}
	}
	if s, ok := at.Topics[x.ChangeTopic]; ok && len(s.Replay) == 0 {
		at.Pulled = time.Time{} // what is between this call and the next is not heard of
	}
	events, err := x.requests(ctx, asked)
	return append(unreadable, events...), err
}

// millis reads a time that is a number of milliseconds.
func (f found) millis(field string) time.Time {
	var ms int64
	if json.Unmarshal(f[field], &ms) != nil {
		return time.Now().UTC()
	}
	return time.UnixMilli(ms).UTC()
}

// topics are what is listened to.
func (x *session) topics() (list []string) {
	if x.SendEvent != "" {
		list = append(list, "/event/"+x.SendEvent)
	}
	if x.ChangeTopic != "" {
		list = append(list, x.ChangeTopic)
	}
	return list
}
