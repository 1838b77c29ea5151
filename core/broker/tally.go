package broker

import (
	"context"
	"errors"
	"time"

	"github.com/wabridge/wabridge/core/store"
)

// What is counted comes from many places at once: from deciding, and from lanes. Each
// writes what it has to say into a queue, in the settlement of what happened. One loop
// takes from there and adds up, the ack and the sum in one settlement: everything
// counts once, whenever the process dies.

const (
	queueTally = "tally"
	tallyBatch = 256
	tallyLease = time.Minute
)

// tallied is one thing to be counted.
type tallied struct {
	Cost *booking `json:"cost,omitempty"`
	Row  *rowNews `json:"row,omitempty"`
}

// tally has something counted. id is for people.
func (t *tenant) tally(s *store.Settlement, id string, v tallied) {
	s.Add = append(s.Add, store.Item{Queue: queueOf(t.ID, queueTally), ID: id, Data: mustJSON(v), Value: v})
}

// tallyLoop adds up.
func (t *tenant) tallyLoop(ctx context.Context) {
	for ctx.Err() == nil {
		ds, err := t.b.o.Store.Fetch(ctx, queueOf(t.ID, queueTally), tallyBatch, tallyLease)
		if err != nil {
			return // ctx ended or the store gave up
		}
		if err := t.addUp(ctx, ds); err != nil {
			if ctx.Err() == nil && !errors.Is(err, store.ErrStale) {
				t.b.log.Error("tally", "tenant", t.ID, "error", err)
			}
			t.giveBack(ctx, ds)
		}
	}
}

// addUp adds a batch.
func (t *tenant) addUp(ctx context.Context, ds []store.Delivery) error {
	var costs []booking
	var news []rowNews
	for _, d := range ds {
		v, ok := d.Value.(tallied)
		if !ok {
			read, _ := decode[tallied](d.Data) // what cannot be read counts nothing
			v = *read
		}
		if v.Cost != nil {
			costs = append(costs, *v.Cost)
		}
		if v.Row != nil {
			news = append(news, *v.Row)
		}
	}
	s := store.Settlement{Ack: ds}
	if err := t.addCosts(ctx, &s, costs); err != nil {
		return err
	}
	if len(news) > 0 {
		if err := t.campaigns.take(ctx); err != nil {
			return err
		}
		defer t.campaigns.give()
	}
	changed, err := t.addRows(ctx, &s, news)
	if err != nil {
		return err
	}
	t.b.failpoint("tally-before-commit")
	if _, err := t.b.settle(ctx, s); err != nil {
		return err
	}
	t.b.failpoint("tally-after-commit")
	if len(changed) > 0 {
		t.took(changed...)
	}
	t.b.countCosts(t.ID, costs)
	return nil
}
