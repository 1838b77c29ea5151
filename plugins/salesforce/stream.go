package salesforce

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/avro"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/wabridge/wabridge/core"
)

// Salesforce tells by its Pub/Sub API at once. An event of settings.send_event is a
// message to send. Change events only say that it is time to ask what was modified:
// that alone decides what is told, so that nothing depends on their having come. See
// https://developer.salesforce.com/docs/platform/pub-sub-api/guide/intro.html.

// pullEvery is how often is asked what was modified where Salesforce tells at once.
const pullEvery = 15 * time.Minute

// spot is how far a topic was read; without a replay id it is not known.
type spot struct {
	Replay []byte    `json:"replay,omitempty"`
	Began  time.Time `json:"began"`
}

// broken explains why a stream has ended, or a call failed. token is left out of it.
func broken(topic, reason, token string, err error) *core.Error {
	s := status.Convert(err)
	e := &core.Error{Code: core.CodeUnavailable, Op: "listen to " + topic, Source: core.SourceVendor, Vendor: cmp.Or(reason, s.Code().String()),
		Message: "Salesforce ended it: " + strings.ReplaceAll(s.Message(), token, "[secret]")}
	switch {
	case strings.Contains(reason, "auth.error"), s.Code() == codes.Unauthenticated:
		e.Code = core.CodeUnauthenticated
	case strings.Contains(reason, "limit.exceeded"), s.Code() == codes.ResourceExhausted:
		e.Code, e.RetryAfter = core.CodeRateLimited, pullEvery
		e.Hint = "the org's events of a day are used up: " + eventsOfADay.hint
	case s.Code() == codes.NotFound, s.Code() == codes.PermissionDenied, s.Code() == codes.InvalidArgument:
		e.Code, e.RetryAfter = core.CodeForbidden, time.Minute
		e.Hint = "look at settings.send_event and settings.change_topic, and whether the user may read them"
	case s.Code() == codes.Unavailable:
		e.Hint = "it is reached at settings.pubsub_url"
	}
	return e
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
	list, begun, err := x.listen(ctx, topics)
	if err != nil {
		return nil, err
	}
	var asked []asking
	var unreadable []core.Event
	missed := begun && x.ChangeTopic != "" && len(at.Topics[x.ChangeTopic].Replay) == 0 // what was before it began
	for _, c := range list {
		s := at.Topics[c.topic]
		if s.Replay = c.replay; c.lost {
			s.Replay = nil
			missed = missed || c.topic == x.ChangeTopic
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
			asked = append(asked, asking{id: id, at: made, fields: e.fields, once: true})
		}
	}
	if missed {
		at.Pulled = time.Time{}
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
