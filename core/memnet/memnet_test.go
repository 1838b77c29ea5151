package memnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core/memnet"
)

func listen(t *testing.T, n *memnet.Net, name string) net.Listener {
	t.Helper()
	l, err := n.Listen(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestNet_CarriesHTTPInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		l := listen(t, n, "graph.example")
		server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(3 * time.Hour)
			body, _ := io.ReadAll(r.Body)
			_, _ = w.Write(append([]byte(r.Host+" "+r.RemoteAddr+" "), body...))
		})}
		served := make(chan error)
		go func() { served <- server.Serve(l) }()

		transport := &http.Transport{DialContext: n.DialContext}
		client := &http.Client{Transport: transport}
		start := time.Now()
		resp, err := client.Post("http://graph.example/x", "text/plain", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if want := "graph.example client "; string(body) != want || err != nil {
			t.Errorf("body = %q, %v; want %q", body, err, want)
		}
		if took := time.Since(start); took != 3*time.Hour {
			t.Errorf("took %v, want 3h of virtual time", took)
		}
		transport.CloseIdleConnections()
		if err := server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
}

func TestNet_PrefersTheExactPort(t *testing.T) {
	n := memnet.New()
	host, port := listen(t, n, "a.example"), listen(t, n, "a.example:9")
	for address, want := range map[string]net.Listener{"a.example:9": port, "a.example:80": host, "a.example": host} {
		accepted := make(chan net.Conn, 1)
		go func() {
			c, _ := want.Accept()
			accepted <- c
		}()
		c, err := n.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.RemoteAddr().String(); got != want.Addr().String() {
			t.Errorf("dialing %s reached %s, want %s", address, got, want.Addr())
		}
		_ = (<-accepted).Close()
		_ = c.Close()
	}
}

func TestNet_RefusesWhereNobodyListens(t *testing.T) {
	n := memnet.New()
	refused := func(when string) {
		t.Helper()
		_, err := n.DialContext(t.Context(), "tcp", "a.example:80")
		var op *net.OpError
		if !errors.Is(err, syscall.ECONNREFUSED) || !errors.As(err, &op) || op.Op != "dial" {
			t.Errorf("%s: err = %v, want a dial that was refused", when, err)
		}
	}
	refused("nobody ever listened")
	l := listen(t, n, "a.example")
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Errorf("Close twice: %v", err)
	}
	refused("closed")
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	listen(t, n, "a.example") // free again
	if _, err := n.Listen("a.example"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("second Listen: %v, want address in use", err)
	}
}

func TestNet_StopsDialingWhenTheContextOrTheListenerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		l := listen(t, n, "busy.example")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.DialContext(ctx, "tcp", "busy.example:80"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v, want the deadline", err)
		}
		failed := make(chan error)
		go func() {
			_, err := n.DialContext(t.Context(), "tcp", "busy.example:80")
			failed <- err
		}()
		synctest.Wait()
		_ = l.Close()
		if err := <-failed; !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("err = %v, want a refusal", err)
		}
	})
}
