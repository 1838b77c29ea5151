package broker

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store"
)

// BenchmarkDecide is the broker's own work for a batch of 64 messages, each with
// a reply and a tag: without the script's time and without commits.
func BenchmarkDecide(b *testing.B) {
	br, err := New(Options{
		Store: noStore{}, OpaqueKey: testKey,
		Scripts: scripts(func(*core.Event) script.Decision {
			return script.Decision{Version: "v1", Fields: map[string]any{"firstname": "Ana"}, Actions: []script.Action{
				{Type: script.ActionReply, Text: "hello"}, {Type: script.ActionTag, Tag: "new"}}}
		}),
		Tenants: []Tenant{{ID: "acme", Numbers: []Number{{ID: number, Sink: &sink{}}}, Lanes: []Lane{{Name: "crm", Sink: &sink{}}}}},
	})
	if err != nil {
		b.Fatal(err)
	}
	t := br.tenants["acme"]
	ds := make([]store.Delivery, decideBatch)
	for i := range ds {
		e := received(fmt.Sprintf("wamid.%d", i), fmt.Sprintf("+1415555%04d", i), "hi")
		e.Tenant, e.Contact.ID, e.Accepted = "acme", fmt.Sprint("c", i), time.Now()
		e.Conversation = core.ConversationID(number, e.Contact.ID)
		ds[i] = store.Delivery{Queue: t.queue, ID: e.ID, Data: mustJSON(e), Value: &e, Attempt: 1}
	}
	added.Store(0)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if _, err := t.decideFree(context.Background(), ds, looks{rounds: map[uint64]int{}}); err != nil {
			b.Fatal(err)
		}
		n++
	}
	if want := int64(3 * n * len(ds)); added.Load() != want {
		b.Errorf("%d events followed, want %d", added.Load(), want)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*len(ds)), "ns/event")
}

// noStore takes everything and keeps nothing.
type noStore struct{ store.Store }

var added atomic.Int64

func (noStore) Stats() store.Stats { return store.Stats{} }

func (noStore) Range(context.Context, string, string, string, int) ([]store.Entry, error) {
	return nil, nil
}

func (noStore) Peek(context.Context, store.QueueID, uint64, int) ([]store.Delivery, error) {
	return nil, nil
}

func (noStore) Get(_ context.Context, keys ...store.Key) ([][]byte, error) {
	return make([][]byte, len(keys)), nil
}

func (noStore) Settle(_ context.Context, s store.Settlement) (store.Outcome, error) {
	added.Add(int64(len(s.Add)))
	return store.Outcome{Added: make([]bool, len(s.Add))}, nil
}
