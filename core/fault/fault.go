// Package fault decides when the imitation of a vendor misbehaves: how often, for
// how long, and towards whom. What a fault does beyond the few things that all
// imitations do alike is the imitation's own business.
package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// The kinds of faults that all imitations have. Those of a List's other kinds are
// left to whoever takes them.
const (
	Slow    = "slow"    // waits for Delay, then goes on
	Hang    = "hang"    // never answers
	Drop    = "drop"    // closes the connection without doing anything
	Garbage = "garbage" // answers 200 with a page of HTML
)

// When says what a fault is, and which requests it strikes.
type When struct {
	Kind string
	// Match is a part of what is asked; empty strikes all.
	Match string
	// Count is how many requests it strikes; 0 has no end. Skip lets as many pass
	// first. Chance strikes by lot; 0 strikes always.
	Count, Skip int
	Chance      float64
	// After and For are its window, counted from when it was set; For 0 has no end.
	After, For time.Duration
	// Delay is for Slow.
	Delay time.Duration
}

// Fault is an imitation's own type of faults.
type Fault interface{ When() When }

// List holds the faults in force. All methods may be called concurrently.
type List[F Fault] struct {
	mu     sync.Mutex
	list   []*armed[F]
	random *rand.Rand
}

type armed[F Fault] struct {
	fault           F
	when            When
	since           time.Time
	skipped, struck int
}

func (a *armed[F]) over(now time.Time) bool {
	return a.when.Count > 0 && a.struck >= a.when.Count || a.when.For > 0 && now.Sub(a.since) >= a.when.After+a.when.For
}

// New returns an empty List; the seed is for faults with a chance.
func New[F Fault](seed uint64) *List[F] {
	return &List[F]{random: rand.New(rand.NewPCG(seed, 1))} //nolint:gosec // lots that can be drawn again
}

// Inject adds faults.
func (l *List[F]) Inject(list ...F) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range list {
		l.list = append(l.list, &armed[F]{fault: f, when: f.When(), since: time.Now()})
	}
}

// InForce returns the faults that are not over.
func (l *List[F]) InForce() []F {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	list := make([]F, 0, len(l.list))
	for _, a := range l.list {
		if !a.over(now) {
			list = append(list, a.fault)
		}
	}
	return list
}

// Heal ends all faults. Requests that hang already go on hanging.
func (l *List[F]) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = nil
}

// Take returns the faults that strike a request, and counts them.
func (l *List[F]) Take(what string) []F {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) == 0 {
		return nil
	}
	var struck []F
	now := time.Now()
	for _, a := range l.list {
		if !strings.Contains(what, a.when.Match) || a.over(now) || now.Sub(a.since) < a.when.After {
			continue
		}
		if a.skipped < a.when.Skip {
			a.skipped++
			continue
		}
		if a.when.Chance > 0 && l.random.Float64() >= a.when.Chance {
			continue
		}
		a.struck++
		struck = append(struck, a.fault)
	}
	l.list = slices.DeleteFunc(l.list, func(a *armed[F]) bool { return a.over(now) })
	return struck
}

// Strike does what a fault of one of the kinds above does; true when that was the
// answer. It panics with [http.ErrAbortHandler] where there is to be none.
func Strike(w http.ResponseWriter, r *http.Request, f When) (answered bool) {
	switch f.Kind {
	case Slow:
		Pause(r.Context(), f.Delay)
	case Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case Drop:
		panic(http.ErrAbortHandler)
	case Garbage:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html><body><h1>Just a moment…</h1></body></html>")
		return true
	}
	return false
}

// Pause waits for d, or until ctx ends.
func Pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// maxControl bounds what Control reads.
const maxControl = 1 << 20

// Control lets faults be seen (GET), added (POST, one or a list) and ended (DELETE).
// It answers with those in force. kinds are those that there are.
func (l *List[F]) Control(w http.ResponseWriter, r *http.Request, kinds []string) {
	switch r.Method {
	case http.MethodGet:
	case http.MethodDelete:
		l.Heal()
	case http.MethodPost:
		list, err := read[F](http.MaxBytesReader(w, r.Body, maxControl), kinds)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		l.Inject(list...)
	default:
		http.Error(w, "want GET, POST or DELETE", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(l.InForce()) //nolint:errchkjson // whoever asked may be gone
}

func read[F Fault](body io.Reader, kinds []string) ([]F, error) {
	b, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	if b = bytes.TrimSpace(b); !bytes.HasPrefix(b, []byte("[")) {
		b = fmt.Appendf(nil, "[%s]", b)
	}
	var list []F
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&list); err != nil {
		return nil, err
	}
	for _, f := range list {
		if kind := f.When().Kind; !slices.Contains(kinds, kind) {
			return nil, fmt.Errorf("no kind of fault is called %q: want one of %s", kind, strings.Join(kinds, ", "))
		}
	}
	return list, nil
}

// Unheard is where the answer of a lost request goes: everything happens, and
// nobody hears of it.
type Unheard struct{}

// Header implements [http.ResponseWriter].
func (Unheard) Header() http.Header { return http.Header{} }

// Write implements [http.ResponseWriter].
func (Unheard) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader implements [http.ResponseWriter].
func (Unheard) WriteHeader(int) {}
