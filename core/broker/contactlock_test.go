package broker

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store"
)

func about(contacts ...string) []store.Delivery {
	var out []store.Delivery
	for i, id := range contacts {
		e := &core.Event{Contact: &core.Contact{ID: id}}
		if id == "" {
			e.Contact = nil
		}
		out = append(out, store.Delivery{Seq: uint64(i + 1), Value: e})
	}
	return out
}

func seqs(ds []store.Delivery) []uint64 {
	var out []uint64
	for _, d := range ds {
		out = append(out, d.Seq)
	}
	return out
}

func TestContactLocks_GiveOneTurnOfEachContact(t *testing.T) {
	var l contactLocks
	ctx := context.Background()
	free, busy, err := l.take(ctx, about("a", "b", "a", "", "c", "b", ""))
	if err != nil || !slices.Equal(seqs(free), []uint64{1, 2, 4, 5, 7}) || !slices.Equal(seqs(busy), []uint64{3, 6}) {
		t.Errorf("free %v, busy %v, %v", seqs(free), seqs(busy), err)
	}
	free, busy, err = l.take(ctx, about("c", "d"))
	if err != nil || !slices.Equal(seqs(free), []uint64{2}) || !slices.Equal(seqs(busy), []uint64{1}) {
		t.Errorf("while c is held: free %v, busy %v, %v", seqs(free), seqs(busy), err)
	}
}

func TestContactLocks_WaitForWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l contactLocks
		ctx := context.Background()
		if err := l.takeAll(ctx, "a", "b", "a"); err != nil {
			t.Fatal(err)
		}
		got := make(chan []uint64, 1)
		go func() {
			free, _, _ := l.take(ctx, about("a", "b"))
			got <- seqs(free)
		}()
		synctest.Wait()
		select {
		case ids := <-got:
			t.Fatalf("got %v while both are held", ids)
		default:
		}
		l.release("b")
		if ids := <-got; !slices.Equal(ids, []uint64{2}) {
			t.Errorf("got %v, want the second", ids)
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if err := l.takeAll(ended, "a"); err == nil {
			t.Error("a was taken twice")
		}
		if l.release("a"); len(l.wanted) != 0 {
			t.Errorf("%v are wanted by nobody", l.wanted)
		}
	})
}

// Whoever needs two contacts gets them, however many batches come in between.
func TestContactLocks_DoNotStarveAMerge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l contactLocks
		ctx, stop := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for _, id := range []string{"a", "b"} {
			wg.Go(func() {
				for ctx.Err() == nil {
					free, _, err := l.take(ctx, about(id))
					if err != nil {
						return
					}
					time.Sleep(3 * time.Millisecond)
					l.release(contactsOf(free)...)
				}
			})
			time.Sleep(time.Millisecond)
		}
		began := time.Now()
		if err := l.takeAll(ctx, "a", "b"); err != nil || time.Since(began) > 3*time.Millisecond {
			t.Errorf("took %v, %v", time.Since(began), err)
		}
		l.release("a", "b")
		stop()
		wg.Wait()
	})
}

// Two numbers hear from one person at the same moment. Each turn changes the
// contact, and neither loses what the other did.
func TestDecide_TurnsOfOneContactDoNotOverlap(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = func(e *core.Event) script.Decision {
			time.Sleep(time.Millisecond) // long enough for the other loop to come by
			return script.Decision{Version: "v1", Actions: []script.Action{{Type: script.ActionTag, Tag: e.Message.Text}}}
		}
		const other = "106540352242923"
		b.change = func(o *Options) {
			o.Tenants[0].Numbers = append(o.Tenants[0].Numbers, Number{ID: other, Sink: b.wa, Rate: 1000})
		}
		b.start()
		var want []string
		for _, tag := range []string{"a", "b", "c", "d", "e", "f"} {
			e := received("wamid."+tag, "+14155550100", tag)
			if len(want)%2 == 1 {
				e.Number = other
			}
			want = append(want, tag)
			b.accept(e)
		}
		settled(time.Second)
		id := b.crm.taken()[0].event.Contact.ID
		got, err := b.store.Get(context.Background(), contactKey("acme", id))
		if err != nil {
			b.Fatal(err)
		}
		var p person
		if err := json.Unmarshal(got[0], &p); err != nil || !slices.Equal(p.Tags, want) {
			b.Errorf("the contact has the tags %q, want %q: %v", p.Tags, want, err)
		}
	})
}
