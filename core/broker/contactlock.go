package broker

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/wabridge/wabridge/core/store"
)

// contactLocks see to it that what is about one contact happens one at a time:
// two turns of its conversations with two numbers, or a turn and a merge. The
// queue alone orders no more than one conversation.
//
// A batch takes what is free and comes back for the rest, and holds nothing
// while it waits; so it cannot be in anybody's way for longer than its own
// settlement. The zero value is ready.
type contactLocks struct {
	mu     sync.Mutex
	held   map[string]bool
	wanted map[string]int // by callers of takeAll, who would else wait for ever
	freed  chan struct{}  // closed when something is released and somebody waits
}

// take takes those of a batch whose contact is free, one of each contact, and
// returns the others as well. It waits until there is at least one. Deliveries
// without a contact are always free.
func (l *contactLocks) take(ctx context.Context, ds []store.Delivery) (free, busy []store.Delivery, err error) {
	for {
		l.mu.Lock()
		if l.held == nil {
			l.held, l.wanted = map[string]bool{}, map[string]int{}
		}
		for _, d := range ds {
			switch id := contactOf(d); {
			case id == "":
			case l.held[id] || l.wanted[id] > 0:
				busy = append(busy, d)
				continue
			default:
				l.held[id] = true
			}
			if len(free) == 0 {
				free = make([]store.Delivery, 0, len(ds))
			}
			free = append(free, d)
		}
		if len(free) > 0 || len(ds) == 0 {
			l.mu.Unlock()
			return free, busy, nil
		}
		busy = nil
		if err := l.wait(ctx); err != nil {
			return nil, nil, err
		}
	}
}

// takeAll takes several contacts at once, and waits until all of them are free.
func (l *contactLocks) takeAll(ctx context.Context, ids ...string) error {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	l.mu.Lock()
	if l.held == nil {
		l.held, l.wanted = map[string]bool{}, map[string]int{}
	}
	for _, id := range ids {
		l.wanted[id]++
	}
	for slices.ContainsFunc(ids, func(id string) bool { return l.held[id] }) {
		if err := l.wait(ctx); err != nil {
			l.mu.Lock()
			l.want(ids, -1)
			l.wakeUp()
			l.mu.Unlock()
			return err
		}
		l.mu.Lock()
	}
	l.want(ids, -1)
	for _, id := range ids {
		l.held[id] = true
	}
	l.mu.Unlock()
	return nil
}

// want counts those who wait for contacts. Callers hold mu.
func (l *contactLocks) want(ids []string, n int) {
	for _, id := range ids {
		if l.wanted[id] += n; l.wanted[id] == 0 {
			delete(l.wanted, id)
		}
	}
}

// wait waits until something is released. Callers hold mu, which it gives up.
func (l *contactLocks) wait(ctx context.Context) error {
	if l.freed == nil {
		l.freed = make(chan struct{})
	}
	freed := l.freed
	l.mu.Unlock()
	select {
	case <-freed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// release gives contacts back.
func (l *contactLocks) release(ids ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		delete(l.held, id)
	}
	l.wakeUp()
}

func (l *contactLocks) wakeUp() {
	if l.freed != nil {
		close(l.freed)
		l.freed = nil
	}
}

// contactOf is the contact that a delivery is about, "" for none.
func contactOf(d store.Delivery) string {
	if e := eventOf(d); e.Contact != nil {
		return e.Contact.ID
	}
	return ""
}

func contactsOf(ds []store.Delivery) []string {
	ids := make(map[string]bool, len(ds))
	for _, d := range ds {
		ids[contactOf(d)] = true
	}
	return slices.Collect(maps.Keys(ids))
}
