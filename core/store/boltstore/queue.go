package boltstore

import (
	"container/heap"
	"time"

	"github.com/wabridge/wabridge/core/store"
)

// item is one item of a queue, in memory. What it waits for decides where else
// it is: in the ready list, in the due heap, in the lease heap, or only behind
// an earlier item of its order.
type item struct {
	q     *queue
	seq   uint64
	id    string
	order string
	mark  []byte
	data  []byte // nil when it did not fit into memory
	value any
	size  int

	attempt    int // attempts that counted so far
	added, due time.Time

	lease uint64 // 0 when not handed out
	until time.Time

	settling bool // in a commit that is under way
	held     bool // of one that is dropped: it was the first of its order

	at         int   // index in the heap that it is in, -1 for none
	behind     *item // the next of its order
	prev, next *item // by sequence number
}

func (it *item) delivery() store.Delivery {
	return store.Delivery{
		Queue: it.q.id, Seq: it.seq, Lease: it.lease, ID: it.id, Order: it.order, Data: it.data, Value: it.value,
		Attempt: it.attempt + 1, Mark: it.mark, Added: it.added,
	}
}

// order is the line of items of one conversation; only the first may be handed
// out.
type line struct{ first, last *item }

// queue is the index of one queue. The store's mutex guards it.
type queue struct {
	id          store.QueueID
	key         []byte
	items       map[uint64]*item
	lines       map[string]*line
	ready       ring
	due         itemHeap // by due time
	first, last *item    // by sequence number
	leased      int
	size        int64
	seq         uint64        // the last sequence number given out
	wake        chan struct{} // closed when something gets ready and somebody waits
	waiters     int
}

func newQueue(id store.QueueID) *queue {
	return &queue{
		id: id, key: queueKey(id), items: map[uint64]*item{}, lines: map[string]*line{},
		due: itemHeap{less: func(a, b *item) bool {
			return a.due.Before(b.due) || a.due.Equal(b.due) && a.seq < b.seq
		}}, wake: make(chan struct{}),
	}
}

func queueKey(id store.QueueID) []byte { return []byte(id.Tenant + "\x00" + id.Name) }

// insert adds an item at the end.
func (q *queue) insert(it *item, now time.Time) {
	it.q, it.at = q, -1
	q.items[it.seq] = it
	q.size += int64(it.size)
	if q.last == nil {
		q.first = it
	} else {
		q.last.next, it.prev = it, q.last
	}
	q.last = it
	if it.order == "" {
		q.release(it, now)
		return
	}
	l := q.lines[it.order]
	if l == nil {
		q.lines[it.order] = &line{it, it}
		q.release(it, now)
		return
	}
	l.last.behind, l.last = it, it
}

// release lets an item be handed out when it is due. What was due some time ago
// goes through the heap too, so that it comes in the order in which it was due:
// after a time without a process, everything is late.
func (q *queue) release(it *item, now time.Time) {
	if !it.due.IsZero() {
		heap.Push(&q.due, it)
		if !it.due.After(now) {
			q.wakeUp()
		}
		return
	}
	q.ready.push(it)
	q.wakeUp()
}

func (q *queue) wakeUp() {
	if q.waiters == 0 {
		return
	}
	close(q.wake)
	q.wake = make(chan struct{})
}

// ripen moves what is due to the ready list, and returns when the next is due.
func (q *queue) ripen(now time.Time) time.Time {
	for len(q.due.list) > 0 {
		it := q.due.list[0]
		if it.due.After(now) {
			return it.due
		}
		heap.Pop(&q.due)
		q.ready.push(it)
		q.wakeUp()
	}
	return time.Time{}
}

// withdraw takes an item out of what may be handed out, and reports whether it
// was there.
func (q *queue) withdraw(it *item) bool {
	if it.at >= 0 {
		q.due.remove(it)
		return true
	}
	return q.ready.take(it)
}

// remove takes a handed-out or withdrawn item away and releases the next of its order.
func (q *queue) remove(it *item, now time.Time) {
	delete(q.items, it.seq)
	q.size -= int64(it.size)
	if it.prev != nil {
		it.prev.next = it.next
	} else {
		q.first = it.next
	}
	if it.next != nil {
		it.next.prev = it.prev
	} else {
		q.last = it.prev
	}
	it.prev, it.next = nil, nil
	if it.order == "" {
		return
	}
	l := q.lines[it.order]
	if l.first != it { // dropped, out of the middle
		p := l.first
		for p.behind != it {
			p = p.behind
		}
		if p.behind = it.behind; l.last == it {
			l.last = p
		}
		return
	}
	l.first = it.behind
	if l.first == nil {
		delete(q.lines, it.order)
		return
	}
	q.release(l.first, now)
}

func (q *queue) stats(now time.Time) store.QueueStats {
	s := store.QueueStats{Queue: q.id, Depth: len(q.items), Leased: q.leased, DataSize: q.size}
	s.Waiting = len(q.items) - q.leased - q.ready.n
	if q.first != nil {
		s.Oldest = q.first.added
	}
	if len(q.due.list) > 0 && q.due.list[0].due.After(now) {
		s.NextDue = q.due.list[0].due
	}
	return s
}

// ring is a first-in first-out list that reuses its memory.
type ring struct {
	buf     []*item
	head, n int
}

func (r *ring) push(it *item) {
	if r.n == len(r.buf) {
		grown := make([]*item, max(16, 2*len(r.buf)))
		for i := range r.n {
			grown[i] = r.buf[(r.head+i)%len(r.buf)]
		}
		r.buf, r.head = grown, 0
	}
	r.buf[(r.head+r.n)%len(r.buf)] = it
	r.n++
}

func (r *ring) pop() *item {
	it := r.buf[r.head]
	r.buf[r.head] = nil
	r.head = (r.head + 1) % len(r.buf)
	r.n--
	if r.n == 0 && len(r.buf) > 4096 {
		r.buf, r.head = nil, 0
	}
	return it
}

// take takes an item out, and reports whether it was there.
func (r *ring) take(it *item) bool {
	found := false
	for n := r.n; n > 0; n-- {
		if other := r.pop(); other == it {
			found = true
		} else {
			r.push(other)
		}
	}
	return found
}

// itemHeap is a heap of items by some time.
type itemHeap struct {
	list []*item
	less func(a, b *item) bool
}

func (h *itemHeap) Len() int           { return len(h.list) }
func (h *itemHeap) Less(i, j int) bool { return h.less(h.list[i], h.list[j]) }
func (h *itemHeap) Swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.list[i].at, h.list[j].at = i, j
}

func (h *itemHeap) Push(x any) {
	it := x.(*item)
	it.at = len(h.list)
	h.list = append(h.list, it)
}

func (h *itemHeap) Pop() any {
	n := len(h.list) - 1
	it := h.list[n]
	h.list[n] = nil
	h.list = h.list[:n]
	it.at = -1
	return it
}

func (h *itemHeap) push(it *item) { heap.Push(h, it) }
func (h *itemHeap) fix(it *item)  { heap.Fix(h, it.at) }

func (h *itemHeap) remove(it *item) {
	if it.at >= 0 && it.at < len(h.list) && h.list[it.at] == it {
		heap.Remove(h, it.at)
	}
}
