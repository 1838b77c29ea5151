package salesforce

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/avro"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/salesforce/pubsubpb"
)

// A subscription goes on from one Poll to the next as long as the cursor that comes is the
// one that was given: that proves that what it brought is stored. So what is published
// comes at once, nothing comes twice, and Salesforce can show now and then, by an answer
// without events, that it lives and how far it is. Where a cursor is another one, the
// process is new or the subscription has ended, it begins anew from there. See
// https://developer.salesforce.com/docs/platform/pub-sub-api/references/methods/subscribe-rpc.html.

const (
	// streamWait is how long a Poll listens.
	streamWait = 40 * time.Second
	// maxEvents is how many events are asked for at a time: Salesforce gives no more.
	maxEvents = 100
	// maxFrame is how large an answer may be: 100 events of 1 MB.
	maxFrame = 110 << 20
	// silence is how long a subscription that brings nothing is believed to live:
	// Salesforce shows it every 270 s.
	silence = 5 * time.Minute
	// unheard is how long one goes on when no Poll comes: the lane is paused, or gone.
	unheard = time.Minute
	// maxEars is how many lanes are listened to between their Polls.
	maxEars = 64
)

// streams keeps connections, subscriptions between Polls, and the forms of events, which
// never change.
type streams struct {
	mu      sync.Mutex
	conns   map[string]*grpc.ClientConn
	schemas map[string]*avro.Schema
	ears    map[string]*ear // by lane
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

// hangUp ends the connection to an address: nothing comes by it any more.
func (k *streams) hangUp(address string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if conn := k.conns[address]; conn != nil {
		_ = conn.Close()
		delete(k.conns, address)
	}
}

func (k *streams) close() {
	k.mu.Lock()
	conns, ears := k.conns, k.ears
	k.conns, k.ears = nil, nil
	k.mu.Unlock()
	for _, e := range ears {
		e.close()
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
}

// keep has an ear listen on until the lane's next Poll.
func (k *streams) keep(e *ear) {
	k.mu.Lock()
	before := k.ears[e.lane]
	kept := before != nil || len(k.ears) < maxEars
	if kept {
		if k.ears == nil {
			k.ears = map[string]*ear{}
		}
		k.ears[e.lane] = e
		e.idle = time.AfterFunc(unheard, func() {
			if k.take(e.lane, e) == e {
				e.close()
			}
		})
	}
	k.mu.Unlock()
	switch {
	case !kept:
		e.close()
	case before != nil: // of a Poll that came while another was made
		before.close()
	}
}

// take returns the ear that was kept for a lane, which it is no longer; nil when there is
// none, or not that one, where only one will do.
func (k *streams) take(lane string, only *ear) *ear {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.ears[lane]
	if e == nil || only != nil && e != only {
		return nil
	}
	delete(k.ears, lane)
	e.idle.Stop()
	return e
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

// ear is what listens to the topics of a lane. One Poll at a time has it.
type ear struct {
	lane, address, token string
	topics               map[string]*heard
	came                 chan came
	stop                 context.CancelFunc
	reading              sync.WaitGroup
	broken               bool        // one of the subscriptions has ended
	idle                 *time.Timer // closes it when no Poll comes
}

// heard is how far a topic was handed out.
type heard struct {
	stream grpc.ClientStream
	replay []byte
	left   int       // how many events were asked for and not handed out
	last   time.Time // when something came
}

// listen waits for what topics bring, until something has come or the time is over. begun
// says that the subscriptions are new.
func (x *session) listen(ctx context.Context, from map[string]spot) (all []came, begun bool, _ *core.Error) {
	wait := streamWait
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end)*3/4)
	}
	over := time.NewTimer(wait)
	defer over.Stop()
	e := x.streams.take(x.lane, nil)
	if e != nil && !e.fits(x, from) {
		e.close()
		e = nil
	}
	for {
		if begun = begun || e == nil; e == nil {
			var problem *core.Error
			if e, problem = x.open(ctx, from); problem != nil {
				return nil, begun, problem
			}
		}
		e.more()
		all, problem := e.hear(ctx, over.C)
		switch {
		case problem == nil && !e.broken:
			if e.silent(time.Now()) { // what lies between has forgotten the connection
				e.close()
				x.streams.hangUp(e.address)
				return all, begun, nil
			}
			x.streams.keep(e)
			return all, begun, nil
		case problem == nil || ctx.Err() != nil || begun:
			e.close()
			return all, begun, problem
		}
		// It ended while nobody listened, or a release of Salesforce's ended it.
		e.close()
		e = nil
	}
}

// open subscribes to topics. poll is the Poll's, which may end sooner.
func (x *session) open(poll context.Context, from map[string]spot) (*ear, *core.Error) {
	conn, err := x.streams.conn(x.connector, x.PubSubURL)
	if err != nil {
		return nil, core.Errorf(core.CodeUnavailable, "listen", "%w", err)
	}
	ctx, stop := context.WithCancel(metadata.AppendToOutgoingContext(context.Background(), "accesstoken", x.token, "instanceurl", x.instance, "tenantid", x.org))
	defer context.AfterFunc(poll, stop)()
	e := &ear{lane: x.lane, address: x.PubSubURL, token: x.token, topics: map[string]*heard{}, came: make(chan came, maxEvents*len(from)), stop: stop}
	for topic, at := range from {
		request := &pubsubpb.FetchRequest{TopicName: topic, NumRequested: maxEvents}
		switch {
		case len(at.Replay) > 0:
			request.ReplayPreset, request.ReplayId = pubsubpb.ReplayPreset_CUSTOM, at.Replay
		case strings.HasPrefix(topic, "/event/"):
			request.ReplayPreset = pubsubpb.ReplayPreset_EARLIEST
		}
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, pubsubpb.Subscribe)
		if err == nil {
			if err = stream.SendMsg(request); errors.Is(err, io.EOF) {
				err = nil // what is wrong is said when receiving
			}
		}
		if err != nil {
			e.close()
			return nil, broken(topic, "", x.token, err)
		}
		e.topics[topic] = &heard{stream: stream, replay: at.Replay, left: maxEvents, last: time.Now()}
		form := func(id string) (*avro.Schema, *core.Error) { return x.streams.form(ctx, conn, x.org, x.token, id) }
		e.reading.Go(func() { e.read(ctx, topic, stream, form) })
	}
	return e, nil
}

// fits reports whether an ear goes on from where it is to be listened to.
func (e *ear) fits(x *session, from map[string]spot) bool {
	if e.address != x.PubSubURL || e.token != x.token || len(e.topics) != len(from) {
		return false
	}
	for topic, at := range from {
		if h := e.topics[topic]; h == nil || !bytes.Equal(h.replay, at.Replay) {
			return false
		}
	}
	return true
}

// more asks for more events where half of those that were asked for have come.
func (e *ear) more() {
	for _, h := range e.topics {
		if n := maxEvents - h.left; n >= maxEvents/2 {
			h.left = maxEvents
			_ = h.stream.SendMsg(&pubsubpb.FetchRequest{NumRequested: int32(n)})
		}
	}
}

// hear waits for something to tell, and takes all that there is.
func (e *ear) hear(ctx context.Context, over <-chan time.Time) (all []came, _ *core.Error) {
	take := func(c came) *core.Error {
		h := e.topics[c.topic]
		if len(c.replay) == 0 {
			c.replay = h.replay
		}
		if c.err == nil && !c.lost {
			h.replay, h.left, h.last = c.replay, h.left-len(c.events), time.Now()
		} else {
			e.broken = true
		}
		if c.err == nil {
			all = append(all, c)
		}
		return c.err
	}
	tells := func(c came) bool { return len(c.events) > 0 || c.lost }
	for !slices.ContainsFunc(all, tells) {
		select {
		case c := <-e.came:
			if err := take(c); err != nil {
				return all, err
			}
		case <-over:
			return all, nil
		case <-ctx.Done():
			return nil, core.Errorf(core.CodeUnavailable, "listen", "%w", ctx.Err())
		}
	}
	for {
		select {
		case c := <-e.came:
			if _ = take(c); e.broken { // it is told of what came; what is wrong shows at once again
				return all, nil
			}
		default:
			return all, nil
		}
	}
}

// silent reports whether one of the topics brought nothing for too long.
func (e *ear) silent(now time.Time) bool {
	for _, h := range e.topics {
		if now.Sub(h.last) > silence {
			return true
		}
	}
	return false
}

// close ends the subscriptions, and waits until nothing is read any more.
func (e *ear) close() {
	e.stop()
	e.reading.Wait()
}

// read puts what a topic brings into came, until ctx ends or the stream breaks.
func (e *ear) read(ctx context.Context, topic string, stream grpc.ClientStream, form func(id string) (*avro.Schema, *core.Error)) {
	put := func(c came) bool {
		c.topic = topic
		select {
		case e.came <- c:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for {
		var answer pubsubpb.FetchResponse
		if err := stream.RecvMsg(&answer); err != nil {
			reason := strings.Join(stream.Trailer().Get("error-code"), " ")
			if strings.Contains(reason, "fetch.replayid") {
				put(came{lost: true})
				return
			}
			put(came{err: broken(topic, reason, e.token, err)})
			return
		}
		c := came{replay: answer.GetLatestReplayId()}
		for _, event := range answer.GetEvents() {
			schema, problem := form(event.GetEvent().GetSchemaId())
			if problem != nil {
				put(came{err: problem})
				return
			}
			c.replay = event.GetReplayId()
			// What cannot be read will not be later either: it has no fields, and does not
			// keep back what comes after it.
			r := record{id: event.GetEvent().GetId()}
			if schema != nil {
				r.fields = fieldsOf(schema, event.GetEvent().GetPayload())
			}
			c.events = append(c.events, r)
		}
		if !put(c) {
			return
		}
	}
}

// form returns a schema, which is asked for once; nil where it is none.
func (k *streams) form(ctx context.Context, conn *grpc.ClientConn, org, token, id string) (*avro.Schema, *core.Error) {
	key := org + " " + id
	k.mu.Lock()
	schema := k.schemas[key]
	k.mu.Unlock()
	if schema != nil {
		return schema, nil
	}
	var info pubsubpb.SchemaInfo
	if err := conn.Invoke(ctx, pubsubpb.GetSchema, &pubsubpb.SchemaRequest{SchemaId: id}, &info); err != nil {
		return nil, broken("schemas", "", token, err)
	}
	if schema = parsed(info.GetSchemaJson()); schema == nil {
		return nil, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.schemas == nil || len(k.schemas) >= maxSchemas {
		k.schemas = map[string]*avro.Schema{}
	}
	k.schemas[key] = schema
	return schema, nil
}
