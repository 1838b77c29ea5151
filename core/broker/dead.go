package broker

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// Dead lists dead letters, oldest first, of a tenant ("" for all), from after (a
// dead letter's ID, exclusive) on.
func (b *Broker) Dead(ctx context.Context, tenant, after string, limit int) ([]DeadLetter, error) {
	return DeadLetters(ctx, b.o.Store, tenant, after, limit)
}

// DeadLetters lists dead letters from the store alone.
func DeadLetters(ctx context.Context, s store.Store, tenant, after string, limit int) ([]DeadLetter, error) {
	dead, err := s.Dead(ctx, tenant, after, limit)
	if err != nil {
		return nil, err
	}
	out := make([]DeadLetter, len(dead))
	for i, d := range dead {
		out[i] = deadLetter(d)
	}
	return out, nil
}

// DeadLetter returns one dead letter; CodeInvalid when there is none.
func (b *Broker) DeadLetter(ctx context.Context, id string) (DeadLetter, error) {
	d, err := b.o.Store.DeadLetter(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return DeadLetter{}, core.Errorf(core.CodeInvalid, "dead letter", "no dead letter %q: %w", id, err)
	}
	return deadLetter(d), err
}

func deadLetter(d store.DeadLetter) DeadLetter {
	r := reasonOf(d.Reason)
	out := DeadLetter{
		ID: d.ID, Tenant: d.Queue.Tenant, Lane: d.Queue.Name, Event: json.RawMessage(d.Data), Reason: r.Error,
		Attempts: d.Attempts, Died: d.Died, Deadline: d.Deadline, Held: r.Held,
	}
	if !json.Valid(d.Data) {
		out.Event = json.RawMessage(`null`)
	}
	return out
}

// Replay returns dead letters to their lanes, for a fresh round of attempts.
// Replaying a held one sends it, perhaps for the second time: the person who
// asks for it has decided so.
func (b *Broker) Replay(ctx context.Context, ids ...string) error {
	return b.settleDead(ctx, ids, "replayed", "")
}

// Resolve drops dead letters; the note says why, for the trace.
func (b *Broker) Resolve(ctx context.Context, note string, ids ...string) error {
	return b.settleDead(ctx, ids, "resolved", note)
}

func (b *Broker) settleDead(ctx context.Context, ids []string, what, note string) error {
	var s store.Settlement
	now := time.Now().UTC()
	for _, id := range ids {
		d, err := b.o.Store.DeadLetter(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			return core.Errorf(core.CodeInvalid, what, "no dead letter %q: %w", id, err)
		}
		if err != nil {
			return err
		}
		if what == "replayed" {
			if err := b.replayable(d.Queue); err != nil {
				return err
			}
			s.Replay = append(s.Replay, id)
			// The lane writes its own mark again; until then no status waits for it.
			s.Put = append(s.Put, store.Put{Key: intentKey(d.Queue.Tenant, whatsapp.IntentHash(d.Item))})
		} else {
			s.Resolve = append(s.Resolve, id)
		}
		e := eventOf(store.Delivery{Queue: d.Queue, ID: d.Item, Data: d.Data})
		step := Step{
			Time: now, Event: d.Item, Kind: e.Kind, Tenant: d.Queue.Tenant, Conversation: e.Conversation,
			Step: what, Lane: d.Queue.Name, Attempt: d.Attempts,
		}
		if note != "" {
			step.Notes = []string{note}
		}
		s.Record = append(s.Record, record(&step, e))
	}
	_, err := b.settle(ctx, s)
	if errors.Is(err, store.ErrNotFound) {
		return core.Errorf(core.CodeInvalid, what, "a dead letter was settled by somebody else meanwhile: %w", err)
	}
	return err
}

// Peek lists what waits in a queue, oldest first.
func (b *Broker) Peek(ctx context.Context, tenant, queue string, after uint64, limit int) ([]QueueItem, error) {
	return QueueItems(ctx, b.o.Store, tenant, queue, after, limit)
}

// QueueItems lists what waits in a queue from the store alone.
func QueueItems(ctx context.Context, s store.Store, tenant, queue string, after uint64, limit int) ([]QueueItem, error) {
	ds, err := s.Peek(ctx, queueOf(tenant, queue), after, limit)
	if err != nil {
		return nil, err
	}
	out := make([]QueueItem, len(ds))
	for i, d := range ds {
		out[i] = QueueItem{Seq: d.Seq, ID: d.ID, Order: d.Order, Attempt: d.Attempt, Added: d.Added, Event: json.RawMessage(d.Data)}
		if !json.Valid(d.Data) {
			out[i].Event = json.RawMessage(`null`)
		}
	}
	return out, nil
}

// watchDead keeps count of the dead letters past their deadline, and says so in
// the log when there are more than before.
func (b *Broker) watchDead(ctx context.Context) {
	const page, most = 500, 20_000
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		now := time.Now()
		var overdue int64
		after := ""
		for n := 0; n < most; n += page {
			dead, err := b.o.Store.Dead(ctx, "", after, page)
			if err != nil || len(dead) == 0 {
				break
			}
			for _, d := range dead {
				if now.After(d.Deadline) {
					overdue++
				}
			}
			after = dead[len(dead)-1].ID
		}
		if old := b.overdue.Swap(overdue); overdue > old {
			b.log.Warn("dead letters are past their deadline: see `wabridge dead list`", "overdue", overdue)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
