package broker

import (
	"context"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// Where a CRM gives a message an id of its own and finds it by no other, the bridge
// keeps what the connector says that it is (core.Result.MessageRef), for as long as it
// remembers sends, and hands it back with what becomes of the message. See
// docs/adr/0030.

const (
	bucketMessageRefs = "crm-messages" // <lane> <hash of the message's id> → what the CRM calls it

	// maxMessageRef is how long that may be.
	maxMessageRef = 512
)

// messageOf is the id of the message that an event is about, "" when it is about none.
func messageOf(e *core.Event) string {
	switch {
	case e.Status != nil:
		return e.Status.MessageID
	case e.Message != nil:
		return e.Message.ID
	}
	return ""
}

func (l *lane) messageRefKey(message string) store.Key {
	return store.Key{Tenant: l.t.ID, Bucket: bucketMessageRefs, Key: l.name + " " + hashKey(whatsapp.IntentHash("wamid:"+message))}
}

// rememberMessage keeps what the CRM calls a message.
func (l *lane) rememberMessage(s *store.Settlement, e *core.Event, r core.Result) {
	id := messageOf(e)
	if r.MessageRef == "" || id == "" || len(r.MessageRef) > maxMessageRef {
		return
	}
	l.names.Store(true)
	s.Put = append(s.Put, store.Put{Key: l.messageRefKey(id), Value: mustJSON(r.MessageRef), Expires: time.Now().Add(l.b.o.IntentRetention)})
}

// restoreNames finds out whether anything is kept of the lane's messages.
func (l *lane) restoreNames(ctx context.Context) error {
	entries, err := l.b.o.Store.Range(ctx, l.t.ID, bucketMessageRefs, l.name+" ", 1)
	if err == nil && len(entries) == 1 && strings.HasPrefix(entries[0].Key, l.name+" ") {
		l.names.Store(true)
	}
	return err
}

// recall fills in what the CRM calls the messages that events are about, as far as that
// is known.
func (l *lane) recall(ctx context.Context, ds []core.Delivery) *core.Error {
	var keys []store.Key
	var of []int
	for i := range ds {
		e := ds[i].Event
		id := messageOf(e)
		switch {
		case e.MessageRef != "" && e.Source == l.crmName():
			ds[i].MessageRef = e.MessageRef
		case l.names.Load() && id != "":
			keys, of = append(keys, l.messageRefKey(id)), append(of, i)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	values, err := l.b.o.Store.Get(ctx, keys...)
	if err != nil {
		e := core.Errorf(core.CodeUnavailable, "deliver", "what the CRM calls the messages could not be read: %w", err)
		e.Scope = core.ScopeLane
		return e
	}
	for k, i := range of {
		ref, _ := decode[string](values[k])
		ds[i].MessageRef = *ref
	}
	return nil
}
