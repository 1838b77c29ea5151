package customhttpsim

import (
	"context"
	"encoding/base64"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"
)

// Proxy is a forward proxy as companies have: it makes tunnels with CONNECT
// (https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6) and passes plain requests on.
// Set its fields before it serves. Methods may be called concurrently.
type Proxy struct {
	// User and Password are asked for, unless Password is empty.
	User, Password string
	// Lets says which host:port may be reached; nil is all.
	Lets func(address string) bool
	// Dial connects to them; required.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu    sync.Mutex
	asked []string
}

// Asked returns what was let through: CONNECT host:port, or a method and an address.
func (p *Proxy) Asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.asked...)
}

// ServeHTTP implements [http.Handler]. The server must speak HTTP/1.1.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	address := r.URL.Host
	if r.Method == http.MethodConnect {
		address = r.Host
	}
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(p.User+":"+p.Password))
	switch {
	case address == "":
		http.Error(w, "this is a proxy", http.StatusBadRequest)
		return
	case p.Password != "" && !same(r.Header.Get("Proxy-Authorization"), want):
		w.Header().Set("Proxy-Authenticate", `Basic realm="sim"`)
		http.Error(w, "who asks? not "+r.Header.Get("Proxy-Authorization"), http.StatusProxyAuthRequired)
		return
	case p.Lets != nil && !p.Lets(address):
		http.Error(w, "not to "+address, http.StatusForbidden)
		return
	}
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.RequestURI)
	p.mu.Unlock()
	if r.Method != http.MethodConnect {
		p.pass(w, r)
		return
	}
	there, err := p.Dial(r.Context(), "tcp", address)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer there.Close()
	w.WriteHeader(http.StatusOK)
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err) // HTTP/2, or no server at all
	}
	defer here.Close()
	_ = here.SetDeadline(time.Time{})
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(there, buffered); _ = there.Close() })
	both.Go(func() { _, _ = io.Copy(here, there); _ = here.Close() })
	both.Wait()
}

// pass sends a plain request on, without what was for the proxy.
func (p *Proxy) pass(w http.ResponseWriter, r *http.Request) {
	there := r.Clone(r.Context())
	there.RequestURI = ""
	there.Header.Del("Proxy-Authorization")
	there.Header.Del("Proxy-Connection")
	transport := &http.Transport{DialContext: p.Dial, DisableKeepAlives: true}
	answer, err := transport.RoundTrip(there)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	maps.Copy(w.Header(), answer.Header)
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, answer.Body)
}
