package web

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core/broker"
)

//go:embed assets
var assets embed.FS

const (
	liveEvery       = time.Second
	maxSubscribers  = 64
	subscriberQueue = 2 // pages that are slower than that miss a beat
	maxPast         = 300
)

// live tells every page that looks how the bridge is, once a second. The look is
// taken once for all. The rates of the last five minutes are kept for pages that
// come later.
type live struct {
	bridge  Bridge
	version string

	mu   sync.Mutex
	subs map[chan []byte]bool
	past []float64 // messages per minute, one for each second
}

func newLive(b Bridge, version string) *live {
	return &live{bridge: b, version: version, subs: map[chan []byte]bool{}}
}

func (l *live) run(ctx context.Context) {
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			l.mu.Lock()
			for c := range l.subs {
				close(c)
			}
			l.subs = nil
			l.mu.Unlock()
			return
		case <-tick.C:
			l.tell()
		}
	}
}

func (l *live) tell() {
	snap := l.bridge.Snapshot()
	l.mu.Lock()
	if len(l.past) == maxPast {
		l.past = append(l.past[:0], l.past[1:]...)
	}
	l.past = append(l.past, snap.MessagesPerMinute)
	n := len(l.subs)
	l.mu.Unlock()
	if n == 0 {
		return
	}
	data := l.word(snap, nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.subs {
		select {
		case c <- data:
		default:
		}
	}
}

// first is what a page that has just come is told.
func (l *live) first() []byte {
	l.mu.Lock()
	past := slices.Clone(l.past)
	l.mu.Unlock()
	return l.word(l.bridge.Snapshot(), past)
}

// word is a snapshot as the page wants it.
func (l *live) word(snap broker.Snapshot, past []float64) []byte {
	data, err := json.Marshal(struct {
		broker.Snapshot
		Version string    `json:"version"`
		Past    []float64 `json:"past,omitempty"`
		People  people    `json:"people"`
	}{snap, l.version, past, l.people()})
	if err != nil {
		return []byte(`{}`)
	}
	return data
}

// people are who waits for a person to answer.
type people struct {
	Waiting int `json:"waiting"`
	Overdue int `json:"overdue"`
	// First are those whose deadlines are the nearest.
	First []broker.Escalation `json:"first"`
}

// maxWaiting is how many of them a page shows.
const maxWaiting = 8

func (l *live) people() people {
	p := people{First: []broker.Escalation{}}
	for _, e := range l.bridge.Escalations("") { // by their deadlines
		if e.State != broker.StateWaiting {
			continue
		}
		p.Waiting++
		if e.Overdue {
			p.Overdue++
		}
		if len(p.First) < maxWaiting {
			p.First = append(p.First, e)
		}
	}
	return p
}

func (l *live) subscribe() (chan []byte, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.subs == nil || len(l.subs) >= maxSubscribers {
		return nil, false
	}
	c := make(chan []byte, subscriberQueue)
	l.subs[c] = true
	return c, true
}

func (l *live) unsubscribe(c chan []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.subs, c)
}

// events streams snapshots as server-sent events.
func (l *live) events(w http.ResponseWriter, r *http.Request) {
	c, ok := l.subscribe()
	if !ok {
		w.Header().Set("Retry-After", "10")
		writeError(w, http.StatusServiceUnavailable, "unavailable", "too many pages are looking", "")
		return
	}
	defer l.unsubscribe(c)
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	send := func(data []byte) bool {
		// The server's write timeout is for whole answers; this one never ends.
		if err := rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return false
		}
		if _, err := w.Write(append(append([]byte("data: "), data...), "\n\n"...)); err != nil {
			return false
		}
		return rc.Flush() == nil
	}
	if !send(l.first()) {
		return
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case data, ok := <-c:
			if !ok || !send(data) {
				return
			}
		}
	}
}

// page is the live page, or the way to sign in to it.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	name := "assets/index.html"
	if !s.mayLook(r) {
		name = "assets/login.html"
	}
	data, err := assets.ReadFile(name)
	if err != nil {
		writeError(w, http.StatusInternalServerError, "internal", "the page is not in this program", "")
		return
	}
	if r.URL.Query().Has(denied) {
		data = bytes.Replace(data, []byte("<!-- denied -->"), []byte(`<p class="denied" role="alert">That is not a token for all tenants.</p>`), 1)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(data)
}

// denied is the page's query after a wrong token.
const denied = "denied"

// login takes a token from the form and gives it to the browser to keep.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	t, ok := s.o.Access.Find(r.Context(), r.PostFormValue("token"))
	to := "/?" + denied
	if ok && seesAll(t) {
		to = "/"
		http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever the browser came by TLS; on a plain address it would lock the owner out
			Name: cookieName, Value: r.PostFormValue("token"), Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
			Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https", MaxAge: 12 * 3600,
		})
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}
