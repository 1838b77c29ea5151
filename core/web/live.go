package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"net/http"
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
)

// live tells every page that looks how the bridge is, once a second. The look is
// taken once for all, and not at all when nobody looks.
type live struct {
	bridge  Bridge
	version string

	mu   sync.Mutex
	subs map[chan []byte]bool
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
	l.mu.Lock()
	n := len(l.subs)
	l.mu.Unlock()
	if n == 0 {
		return
	}
	data := l.look()
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.subs {
		select {
		case c <- data:
		default:
		}
	}
}

// look is a snapshot as the page wants it.
func (l *live) look() []byte {
	data, err := json.Marshal(struct {
		broker.Snapshot
		Version string `json:"version"`
	}{l.bridge.Snapshot(), l.version})
	if err != nil {
		return []byte(`{}`)
	}
	return data
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
	if !send(l.look()) {
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
	if t, ok := s.authorized(r); !s.loopback && (!ok || t.tenant != "") {
		name = "assets/login.html"
	}
	data, err := assets.ReadFile(name)
	if err != nil {
		writeError(w, http.StatusInternalServerError, "internal", "the page is not in this program", "")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(data)
}

// login takes a token from the form and gives it to the browser to keep.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	sum := sha256.Sum256([]byte(r.PostFormValue("token")))
	ok := 0
	for _, t := range s.tokens {
		if t.tenant == "" {
			ok |= subtle.ConstantTimeCompare(sum[:], t.hash[:])
		}
	}
	if ok == 1 {
		http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever the browser came by TLS; on a plain address it would lock the owner out
			Name: cookieName, Value: r.PostFormValue("token"), Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
			Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https", MaxAge: 12 * 3600,
		})
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
