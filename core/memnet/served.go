package memnet

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"sync"
)

// Served is a handler on a network of its own that remembers what it was asked. All
// methods may be called concurrently.
type Served struct {
	*Net
	mu       sync.Mutex
	requests []Request
}

// Request is one that came.
type Request struct {
	Line   string // "GET /path?query"
	Header http.Header
	Body   []byte
}

// Serve serves a handler at 127.0.0.1, of every port, until the test ends.
func Serve(t interface {
	Helper()
	Cleanup(func())
	Fatal(...any)
}, h http.Handler,
) *Served {
	t.Helper()
	s := &Served{Net: New()}
	ln, err := s.Listen("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:gosec // nobody is slow in memory
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.requests = append(s.requests, Request{r.Method + " " + r.URL.RequestURI(), r.Header, body})
		s.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		h.ServeHTTP(w, r)
	})}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(ln) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	return s
}

// Requests returns those since the last Forget.
func (s *Served) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Lines are theirs.
func (s *Served) Lines() []string {
	var lines []string
	for _, r := range s.Requests() {
		lines = append(lines, r.Line)
	}
	return lines
}

// Forget begins anew.
func (s *Served) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}
