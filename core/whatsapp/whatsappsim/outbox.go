package whatsappsim

import (
	"bytes"
	"container/heap"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Webhooks says how unruly webhooks are. The zero Webhooks come once each, in plain
// UTF-8, and as soon as there is something to tell.
type Webhooks struct {
	// Double is the share of webhooks that come twice.
	Double float64 `json:"double,omitempty"`
	// Reorder is the share of webhooks that are held back, for up to HoldBack (0 is
	// 2 s), so that later ones overtake them.
	Reorder  float64       `json:"reorder,omitempty"`
	HoldBack time.Duration `json:"-"`
	// DropStatus is the share of statuses that never come.
	DropStatus float64 `json:"drop_status,omitempty"`
	// Escape is the share of bodies in the other form that Meta has used: ASCII
	// only, everything else and slashes escaped.
	Escape float64 `json:"escape,omitempty"`
}

// SetWebhooks says how unruly webhooks are from now on.
func (s *Sim) SetWebhooks(w Webhooks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.webhooks = w
}

func (s *Sim) unruly() Webhooks {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.webhooks
}

// post is one webhook: a body, and the places in the ledger of what it tells.
type post struct {
	body    []byte
	places  []int
	first   time.Time // when it was first made
	attempt int       // how often it was made since
}

// step is one status on its way.
type step struct {
	m      *message
	status string
}

// item is something due: a step, a post, or something else that happens.
type item struct {
	due  time.Time
	seq  uint64
	step *step
	post *post
	do   func()
}

type items []item //nolint:recvcheck // as heap.Interface asks: only Push and Pop change the length

func (h items) Len() int { return len(h) }
func (h items) Less(i, j int) bool {
	if !h[i].due.Equal(h[j].due) {
		return h[i].due.Before(h[j].due)
	}
	return h[i].seq < h[j].seq
}
func (h items) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *items) Push(x any)   { *h = append(*h, x.(item)) }
func (h *items) Pop() any {
	old := *h
	last := len(old) - 1
	x := old[last]
	old[last] = item{}
	*h = old[:last]
	return x
}

// outbox holds what is to be told. Meta keeps it for days; the sim until Run ends.
type outbox struct {
	mu      sync.Mutex
	later   items
	ready   []*post // from head on
	head    int
	seq     uint64
	pending int
	idle    chan struct{} // closed while nothing is pending
	due     chan struct{} // wakes the scheduler
	work    chan struct{} // wakes a worker
}

func (o *outbox) init() {
	o.idle, o.due, o.work = make(chan struct{}), make(chan struct{}, 1), make(chan struct{}, 1)
	close(o.idle)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// count returns how much is to be told, and not yet acknowledged.
func (o *outbox) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pending
}

// add counts n more, or fewer. The caller holds the lock.
func (o *outbox) add(n int) {
	if o.pending == 0 && n > 0 {
		o.idle = make(chan struct{})
	}
	if o.pending += n; o.pending == 0 && n < 0 {
		close(o.idle)
	}
}

// done counts something as told for good.
func (o *outbox) done() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.add(-1)
}

// put adds what is due later; n is how much of it is new.
func (o *outbox) put(n int, list ...item) {
	o.mu.Lock()
	o.add(n)
	for _, it := range list {
		o.seq++
		it.seq = o.seq
		heap.Push(&o.later, it)
	}
	o.mu.Unlock()
	wake(o.due)
}

// send adds posts to be made at once; n is how many of them are new.
func (o *outbox) send(n int, posts ...*post) {
	o.mu.Lock()
	o.add(n)
	o.ready = append(o.ready, posts...)
	o.mu.Unlock()
	wake(o.work)
}

// take waits for a post to make; false when ctx ends.
func (o *outbox) take(ctx context.Context) (*post, bool) {
	for {
		o.mu.Lock()
		if o.head < len(o.ready) {
			p := o.ready[o.head]
			o.ready[o.head] = nil
			if o.head++; o.head == len(o.ready) {
				o.ready, o.head = o.ready[:0], 0
			} else {
				wake(o.work) // there is more: for the next worker
			}
			o.mu.Unlock()
			return p, true
		}
		o.mu.Unlock()
		select {
		case <-o.work:
		case <-ctx.Done():
			return nil, false
		}
	}
}

// Wait waits until all messages have come to their last status and all webhooks
// were answered with 200.
func (s *Sim) Wait(ctx context.Context) error {
	s.out.mu.Lock()
	idle := s.out.idle
	s.out.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// schedule makes what is due happen, until ctx ends.
func (s *Sim) schedule(ctx context.Context) {
	o := &s.out
	for {
		var steps []*step
		var dos []func()
		var wait time.Duration
		o.mu.Lock()
		for len(o.later) > 0 {
			var comes bool
			if wait, comes = s.clock.until(o.later[0].due); wait > 0 {
				if !comes {
					wait = time.Hour // or until the clock is moved on
				}
				break
			}
			it := heap.Pop(&o.later).(item)
			switch {
			case it.post != nil:
				o.ready = append(o.ready, it.post)
				wake(o.work)
			case it.do != nil:
				dos = append(dos, it.do)
			default:
				steps = append(steps, it.step)
			}
		}
		empty := len(o.later) == 0
		o.mu.Unlock()
		for _, do := range dos {
			do()
		}
		if len(steps) > 0 {
			s.tell(steps)
		}
		if len(steps)+len(dos) > 0 {
			continue
		}
		if empty {
			wait = time.Hour // or until there is something
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-o.due:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// maxBatch is how many updates Meta puts into one webhook at most.
const maxBatch = 1000

// tell makes webhooks of statuses.
func (s *Sim) tell(steps []*step) {
	size := 1
	if s.o.BatchStatuses > 0 {
		size = maxBatch
	}
	for len(steps) > 0 {
		n := min(size, len(steps))
		updates := make([]update, n)
		for i, st := range steps[:n] {
			updates[i] = s.statusUpdate(st)
		}
		s.deliver(updates, 0)
		for range n {
			s.out.done() // the webhook counts in their stead
		}
		steps = steps[n:]
	}
}

// deliver makes one webhook of updates, as unruly as it is to be, and extra more
// with the same body.
func (s *Sim) deliver(updates []update, extra int) {
	if s.o.WebhookURL == "" || len(updates) == 0 {
		return
	}
	w := s.unruly()
	p := post{body: s.encode(updates), first: s.clock.now(), places: make([]int, len(updates))}
	for i := range updates {
		p.places[i] = updates[i].place
	}
	if s.chance(w.Escape) {
		p.body = escapeASCII(p.body)
	}
	times := 1 + extra
	if s.chance(w.Double) {
		times++
	}
	for range times {
		twin := p
		if s.chance(w.Reorder) {
			s.out.put(1, item{due: s.clock.now().Add(s.holdBack(w.HoldBack)), post: &twin})
		} else {
			s.out.send(1, &twin)
		}
	}
}

// holdBack draws how long a webhook is held back.
func (s *Sim) holdBack(most time.Duration) time.Duration {
	if most <= 0 {
		most = 2 * time.Second
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.random.Int64N(int64(most)))
}

// work makes posts until ctx ends.
func (s *Sim) work(ctx context.Context) {
	for {
		p, ok := s.out.take(ctx)
		if !ok {
			return
		}
		s.ledger.posted(p.places, s.clock.now())
		err := s.post(ctx, p.body)
		s.ledger.answered(p.places, err == nil, s.clock.now())
		if err == nil {
			s.out.done()
			continue
		}
		due, again := s.repeat(p, s.clock.now())
		if !again {
			s.ledger.gaveUp()
			s.out.done()
			continue
		}
		p.attempt++
		s.out.put(0, item{due: due, post: p})
	}
}

// post makes one webhook request; the error is nil after a 200 only.
func (s *Sim) post(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.o.WebhookURL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "facebookexternalua")
	req.Header.Set("X-Hub-Signature-256", Sign(s.o.AppSecret, body))
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return &statusError{resp.StatusCode}
	}
	return err
}

type statusError struct{ status int }

func (e *statusError) Error() string { return "answered " + http.StatusText(e.status) }

// Sign returns the X-Hub-Signature-256 of a body.
func Sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// Verify asks the webhook whether it is the one that was set up, as Meta does when
// its address is entered.
func (s *Sim) Verify(ctx context.Context) error {
	const challenge = "1158201444"
	q := url.Values{"hub.mode": {"subscribe"}, "hub.challenge": {challenge}, "hub.verify_token": {s.o.VerifyToken}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.o.WebhookURL+"?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || string(body) != challenge {
		return &statusError{resp.StatusCode}
	}
	return nil
}
