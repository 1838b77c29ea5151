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
	class int
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
	in         *fifo // the list of what is ready that it is in, nil for none
	fore, aft  *item // in that list
	behind     *item // the next of its order
	prev, next *item // by sequence number
}

func (it *item) delivery() store.Delivery {
	return store.Delivery{
		Queue: it.q.id, Seq: it.seq, Lease: it.lease, ID: it.id, Order: it.order, Data: it.data, Value: it.value,
		Attempt: it.attempt + 1, Mark: it.mark, Added: it.added,
	}
}

// line is the line of items of one conversation; only the first may be handed out. It
// is as urgent as the most urgent in it.
type line struct {
	first, last *item
	classes     [store.Classes]int // how many there are of each
}

func (l *line) class() int {
	for c, n := range l.classes {
		if n > 0 {
			return c
		}
	}
	return store.Classes - 1
}

// queue is the index of one queue. The store's mutex guards it.
type queue struct {
	id          store.QueueID
	key         []byte
	items       map[uint64]*item
	lines       map[string]*line
	ready       [store.Classes]fifo
	passed      [store.Classes]int // how many of others were taken while some of the class were ready
	classes     [store.Classes]int // how many items of each
	due         itemHeap           // by due time
	first, last *item              // by sequence number
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
	q.classes[it.class]++
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
		l = &line{first: it, last: it}
		q.lines[it.order] = l
		l.classes[it.class]++
		q.release(it, now)
		return
	}
	l.last.behind, l.last = it, it
	l.classes[it.class]++
	if f, to := l.first, &q.ready[l.class()]; f.in != nil && f.in != to { // somebody more urgent is behind it now
		f.in.take(f)
		to.push(f)
	}
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
	q.ripe(it)
}

// ripe puts an item among those that are ready.
func (q *queue) ripe(it *item) {
	class := it.class
	if it.order != "" {
		class = q.lines[it.order].class()
	}
	q.ready[class].push(it)
	q.wakeUp()
}

// readied is how many are ready.
func (q *queue) readied() int {
	n := 0
	for c := range q.ready {
		n += q.ready[c].n
	}
	return n
}

// next takes the item that goes next of those that are ready, of which there are some:
// the most urgent, unless others were taken before another class as often as may be.
func (q *queue) next() *item {
	const often = store.Share - (store.Classes - 1) // all others of the class may be late at once
	class := -1
	for c := range q.ready {
		if q.ready[c].n > 0 && (class < 0 || q.passed[c] >= often && q.passed[c] > q.passed[class]) {
			class = c
		}
	}
	for c := range q.ready {
		if q.passed[c]++; c == class || q.ready[c].n == 0 {
			q.passed[c] = 0
		}
	}
	return q.ready[class].pop()
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
		q.ripe(it)
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
	if it.in == nil {
		return false
	}
	it.in.take(it)
	return true
}

// remove takes a handed-out or withdrawn item away and releases the next of its order.
func (q *queue) remove(it *item, now time.Time) {
	delete(q.items, it.seq)
	q.size -= int64(it.size)
	q.classes[it.class]--
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
	l.classes[it.class]--
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
	s := store.QueueStats{Queue: q.id, Depth: len(q.items), Leased: q.leased, DataSize: q.size, ByClass: q.classes}
	s.Waiting = len(q.items) - q.leased - q.readied()
	if q.first != nil {
		s.Oldest = q.first.added
	}
	if len(q.due.list) > 0 && q.due.list[0].due.After(now) {
		s.NextDue = q.due.list[0].due
	}
	return s
}

// fifo is a first-in first-out list, out of the middle of which items can be taken.
type fifo struct {
	first, last *item
	n           int
}

func (f *fifo) push(it *item) {
	it.in, it.fore, it.aft = f, f.last, nil
	if f.last == nil {
		f.first = it
	} else {
		f.last.aft = it
	}
	f.last = it
	f.n++
}

func (f *fifo) pop() *item {
	it := f.first
	f.take(it)
	return it
}

func (f *fifo) take(it *item) {
	if it.fore != nil {
		it.fore.aft = it.aft
	} else {
		f.first = it.aft
	}
	if it.aft != nil {
		it.aft.fore = it.fore
	} else {
		f.last = it.fore
	}
	it.in, it.fore, it.aft = nil, nil, nil
	f.n--
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
