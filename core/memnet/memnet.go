// Package memnet is a network in memory: listeners by name and connections
// between them, made of [net.Pipe]. Tests run servers and clients on it in a
// testing/synctest bubble, where real sockets would stop virtual time.
//
// A connection has no buffer: a write waits for the read. What one side wrote
// before it closed, the other has read.
package memnet

import (
	"context"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
)

// Net is a network of its own: its listeners can be reached through its
// DialContext only. All methods may be called concurrently.
type Net struct {
	mu        sync.Mutex
	listeners map[string]*listener
}

// New returns a network without listeners. In a synctest bubble, call it there.
func New() *Net { return &Net{listeners: map[string]*listener{}} }

// Listen opens a listener with a name: a host ("graph.example"), reached at every
// port, or a host and a port ("graph.example:443"). A name can be listened on
// again once its listener is closed.
func (n *Net) Listen(name string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[name] != nil {
		return nil, opError("listen", name, os.NewSyscallError("bind", syscall.EADDRINUSE))
	}
	l := &listener{net: n, name: addr(name), accept: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[name] = l
	return l, nil
}

// DialContext connects to a listener, and waits until it accepts. It has the form
// of [net.Dialer.DialContext]; an address that nobody listens on is refused as
// there.
func (n *Net) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[address]
	if l == nil {
		host, _, _ := strings.Cut(address, ":")
		l = n.listeners[host]
	}
	n.mu.Unlock()
	if l == nil {
		return nil, opError("dial", address, os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	client, server := net.Pipe()
	select {
	case l.accept <- &conn{Conn: server, local: l.name, remote: "client"}:
		return &conn{Conn: client, local: "client", remote: l.name}, nil
	case <-l.closed:
		return nil, opError("dial", address, os.NewSyscallError("connect", syscall.ECONNREFUSED))
	case <-ctx.Done():
		return nil, opError("dial", address, ctx.Err())
	}
}

func opError(op, name string, err error) error {
	return &net.OpError{Op: op, Net: "mem", Addr: addr(name), Err: err}
}

type listener struct {
	net    *Net
	name   addr
	accept chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, opError("accept", string(l.name), net.ErrClosed)
	}
}

// Close refuses further connections. Those that were accepted go on.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.net.mu.Lock()
		delete(l.net.listeners, string(l.name))
		l.net.mu.Unlock()
		close(l.closed)
	})
	return nil
}

func (l *listener) Addr() net.Addr { return l.name }

type conn struct {
	net.Conn
	local, remote addr
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

type addr string

func (addr) Network() string  { return "mem" }
func (a addr) String() string { return string(a) }
