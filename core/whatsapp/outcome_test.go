package whatsapp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/whatsapp"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

var read = core.Message{Type: core.TypeRead, Context: &core.MessageContext{ID: "wamid.IN"}}

// TestSink_KnowsWhatItDoesNotKnow holds the classes of outcomes: made, not made,
// and unknown. The sim knows which it was.
func TestSink_KnowsWhatItDoesNotKnow(t *testing.T) {
	for _, test := range []struct {
		name  string
		rule  whatsappsim.Rule
		code  core.Code // of a send; "" is sent
		read  core.Code // of marking as read, which may be repeated
		sends int       // how many the sim accepted
		took  time.Duration
	}{
		{"answer lost", whatsappsim.Rule{Do: whatsappsim.DoLost}, core.CodeUnknownOutcome, core.CodeUnavailable, 1, 0},
		{"cut before it was made", whatsappsim.Rule{Do: whatsappsim.DoCut}, core.CodeUnknownOutcome, core.CodeUnavailable, 0, 0},
		{"hangs", whatsappsim.Rule{Do: whatsappsim.DoHang}, core.CodeUnknownOutcome, core.CodeUnavailable, 0, 30 * time.Second},
		{"hangs after accepting", whatsappsim.Rule{Do: whatsappsim.DoHang, Accept: true}, core.CodeUnknownOutcome, core.CodeUnavailable, 1, 30 * time.Second},
		{"slow, in time", whatsappsim.Rule{Do: whatsappsim.DoSlow, Delay: 29 * time.Second}, "", "", 1, 29 * time.Second},
		{"slow, too slow", whatsappsim.Rule{Do: whatsappsim.DoSlow, Delay: 31 * time.Second}, core.CodeUnknownOutcome, core.CodeUnavailable, 1, 30 * time.Second},
		{"200 with a page", whatsappsim.Rule{Do: whatsappsim.DoGarbage}, core.CodeUnknownOutcome, core.CodeUnavailable, 0, 0},
		{"200 with a page, accepted", whatsappsim.Rule{Do: whatsappsim.DoGarbage, Accept: true}, core.CodeUnknownOutcome, core.CodeUnavailable, 1, 0},
		{"200 with nothing", whatsappsim.Rule{Do: whatsappsim.DoEmpty}, core.CodeUnknownOutcome, core.CodeUnavailable, 0, 0},
		{"502 of an edge", whatsappsim.Rule{Do: whatsappsim.DoHTML}, core.CodeUnknownOutcome, core.CodeUnavailable, 0, 0},
		{"504 of an edge, accepted", whatsappsim.Rule{Do: whatsappsim.DoHTML, Status: 504, Accept: true}, core.CodeUnknownOutcome, core.CodeUnavailable, 1, 0},
		{"408 of an edge", whatsappsim.Rule{Do: whatsappsim.DoHTML, Status: 408}, core.CodeUnknownOutcome, core.CodeUnavailable, 0, 0},
		{"404 of an edge", whatsappsim.Rule{Do: whatsappsim.DoHTML, Status: 404}, core.CodeUnavailable, core.CodeUnavailable, 0, 0},
		{"429 of an edge", whatsappsim.Rule{Do: whatsappsim.DoHTML, Status: 429, RetryAfter: "7"}, core.CodeRateLimited, core.CodeRateLimited, 0, 0},
		{"307 of an edge", whatsappsim.Rule{Do: whatsappsim.DoHTML, Status: 307}, core.CodeUnavailable, core.CodeUnavailable, 0, 0},
		{"unknown failure of Meta's", whatsappsim.Rule{Do: whatsappsim.DoError, Code: 131000}, core.CodeUnknownOutcome, core.CodeUnavailable, 0, 0},
		{"unknown failure, accepted", whatsappsim.Rule{Do: whatsappsim.DoError, Code: 131016, Accept: true}, core.CodeUnknownOutcome, core.CodeUnavailable, 1, 0},
		{"API unknown, as 400", whatsappsim.Rule{Do: whatsappsim.DoError, Code: 1}, core.CodeUnknownOutcome, core.CodeUnavailable, 0, 0},
		{"throughput", whatsappsim.Rule{Do: whatsappsim.DoError, Code: 130429}, core.CodeRateLimited, core.CodeRateLimited, 0, 0},
		{"window closed", whatsappsim.Rule{Do: whatsappsim.DoError, Code: 131047}, core.CodeUndeliverable, core.CodeUndeliverable, 0, 0},
		{"token expired", whatsappsim.Rule{Do: whatsappsim.DoError, Code: 190}, core.CodeUnauthenticated, core.CodeUnauthenticated, 0, 0},
		{"not registered, as 500", whatsappsim.Rule{Do: whatsappsim.DoError, Code: 131045}, core.CodeForbidden, core.CodeForbidden, 0, 0},
		{"a code nobody knows, as 500", whatsappsim.Rule{Do: whatsappsim.DoError, Code: 999999, Status: 500}, core.CodeUnknownOutcome, core.CodeUnavailable, 0, 0},
		{"fails later", whatsappsim.Rule{Do: whatsappsim.DoFail, Code: 131026}, "", "", 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := whatsappsim.New(whatsappsim.Options{})
				r := newRig(t, sim)
				r.send(hello) // so that the connection is one that was used before
				sim.Fail(test.rule)
				start := time.Now()
				got := r.send(hello)
				if core.CodeOf(errOf(got)) != test.code || (got.Ref != "") != (test.code == "") {
					t.Errorf("send = %q, %v; want code %q", got.Ref, got.Err, test.code)
				}
				if took := time.Since(start); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
				synctest.Wait() // the sim goes on when we have given up
				if n := len(sim.Ledger().Sends) - 1; n != test.sends {
					t.Errorf("the sim took the message %d times, want %d", n, test.sends)
				}
				if n := len(r.requests); n != 2 {
					t.Errorf("%d requests were made, want 2", n)
				}
				for _, req := range r.requests {
					if req.GetBody != nil || req.Header.Get("Idempotency-Key") != "" || req.Header.Get("X-Idempotency-Key") != "" {
						t.Error("net/http may make the request again unasked")
					}
				}
				if got := r.send(read); core.CodeOf(errOf(got)) != test.read {
					t.Errorf("marking as read = %v, want code %q", got.Err, test.read)
				}
			})
		})
	}
}

// errOf returns a result's error, without the trap of a nil pointer in it.
func errOf(r core.Result) error {
	if r.Err == nil {
		return nil
	}
	return r.Err
}

func TestSink_ReportsWhatTheErrorSays(t *testing.T) {
	sim := whatsappsim.New(whatsappsim.Options{})
	r := newRig(t, sim)
	sim.Fail(whatsappsim.Rule{Do: whatsappsim.DoError, Code: 80007, RetryAfter: "1200", Details: "for 34600111222, token " + token})
	err := r.send(hello).Err
	if err == nil || err.RetryAfter != 20*time.Minute || err.Vendor != "80007" || err.Op != "send" || err.Source != core.SourceVendor {
		t.Errorf("err = %+v", err)
	}
	if !strings.Contains(err.Message, "[secret]") || !strings.Contains(err.Message, "fbtrace_id") {
		t.Errorf("message %q", err.Message)
	}
}

func TestSink_WaitsLongerForEachPairRateLimit(t *testing.T) {
	sim := whatsappsim.New(whatsappsim.Options{})
	r := newRig(t, sim)
	sim.Fail(whatsappsim.Rule{Do: whatsappsim.DoError, Code: 131056, Count: 3})
	for _, seconds := range []int{6, 12, 24} {
		want := time.Duration(seconds) * time.Second
		err := r.send(hello).Err
		if err == nil || err.Code != core.CodeRateLimited || err.Holds() != core.ScopeConversation || err.RetryAfter != want {
			t.Errorf("err = %+v, want the conversation to wait %v", err, want)
		}
	}
	if res := r.send(hello); res.Err != nil {
		t.Fatal(res.Err)
	}
	sim.Fail(whatsappsim.Rule{Do: whatsappsim.DoError, Code: 131056})
	if err := r.send(hello).Err; err == nil || err.RetryAfter != 6*time.Second {
		t.Errorf("after a message got through: %+v", err)
	}
}

// What never reached a server is not sent, and no fault of the message's.
func TestSink_KnowsWhatWasNotSent(t *testing.T) {
	for name, dial := range map[string]func(end <-chan struct{}) (net.Conn, error){
		"refused": func(<-chan struct{}) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		},
		"unknown name": func(<-chan struct{}) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "graph.example", IsNotFound: true}}
		},
		"dial hangs": func(end <-chan struct{}) (net.Conn, error) {
			<-end
			return nil, errors.New("the test is over")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				end := make(chan struct{})
				defer close(end)
				r := newRig(t, http.NotFoundHandler())
				r.client = r.newClientAlone(&http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
					return dial(end)
				}})
				r.sink = r.client.Sink(whatsapp.Number{ID: numberID, AccessToken: func() core.Secret { return token }})
				for range 2 {
					err := r.send(hello).Err
					if err == nil || err.Code != core.CodeUnavailable || !strings.Contains(err.Message, "not sent") || !strings.Contains(err.Hint, "base_url") {
						t.Errorf("err = %+v, want CodeUnavailable: not sent", err)
					} else if err.Holds() != core.ScopeLane {
						t.Errorf("%+v is taken for the message's own trouble", err)
					}
				}
			})
		})
	}
}

// newClientAlone makes a client without metrics or log.
func (r *rig) newClientAlone(transport http.RoundTripper) *whatsapp.Client {
	r.t.Helper()
	client, err := whatsapp.NewClient(whatsapp.ClientOptions{
		BaseURL: "http://graph.example", Transport: transport, OpaqueKey: opaqueKey, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return client
}

// The request is at the server, which says nothing, or not enough.
func TestSink_DoesNotKnowWhatCameOfARequest(t *testing.T) {
	answers := map[string]string{
		"reads a little":      "",
		"closes":              "",
		"half a status line":  "HTTP/1.1 20",
		"half a body":         "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"messages\":[{\"id\":\"wamid.1\"}]}",
		"no HTTP":             "SSH-2.0-OpenSSH_9.6\r\n",
		"a body without end":  "HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + strings.Repeat(" ", 2_000_000),
		"an id of no message": "HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{\"messages\":[{\"id\":\"\"}]}",
		"an id without end":   "HTTP/1.1 200 OK\r\nContent-Length: 1022\r\n\r\n{\"messages\":[{\"id\":\"" + strings.Repeat("a", 998) + "\"}]}",
		"no messages":         "HTTP/1.1 201 Created\r\nContent-Length: 15\r\n\r\n{\"messages\":[]}",
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, http.NotFoundHandler())
				l, err := r.net.Listen("raw.example")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				go func() {
					c, err := l.Accept()
					if err != nil {
						return
					}
					if name == "reads a little" {
						_, _ = io.ReadFull(c, make([]byte, 20))
					} else {
						_ = readRequest(c)
					}
					_, _ = io.WriteString(c, answer)
					_ = c.Close()
				}()
				transport := &http.Transport{DialContext: func(ctx context.Context, n, _ string) (net.Conn, error) {
					return r.net.DialContext(ctx, n, "raw.example:80")
				}}
				defer transport.CloseIdleConnections()
				r.sink = r.newClientAlone(transport).Sink(whatsapp.Number{ID: numberID, AccessToken: func() core.Secret { return token }})
				if res := r.send(hello); res.Err == nil || res.Err.Code != core.CodeUnknownOutcome || res.Ref != "" {
					t.Errorf("result = %+v, want CodeUnknownOutcome", res)
				}
			})
		})
	}
}

// readRequest reads one request of a connection, its body included.
func readRequest(c net.Conn) error {
	var got []byte
	b := make([]byte, 4096)
	for {
		n, err := c.Read(b)
		got = append(got, b[:n]...)
		head, body, whole := strings.Cut(string(got), "\r\n\r\n")
		if err != nil {
			return err
		}
		if !whole {
			continue
		}
		_, length, _ := strings.Cut(head, "Content-Length: ")
		var want int
		if _, err := fmt.Sscanf(length, "%d", &want); err != nil {
			return err
		}
		if len(body) >= want {
			return nil
		}
	}
}

func TestSink_EndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := whatsappsim.New(whatsappsim.Options{})
		sim.Fail(whatsappsim.Rule{Do: whatsappsim.DoHang})
		r := newRig(t, sim)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		m := hello
		m.To = toAna
		deliver := func() core.Result {
			return r.sink.Deliver(ctx, []core.Delivery{{Event: &core.Event{ID: "e", Kind: core.KindMessageSend, Message: &m}, Attempt: 1}})[0]
		}
		start := time.Now()
		if res := deliver(); res.Err == nil || res.Err.Code != core.CodeUnknownOutcome || time.Since(start) != 2*time.Second {
			t.Errorf("after %v: %+v, want CodeUnknownOutcome after 2 s", time.Since(start), res)
		}
		// From now on nothing can be sent any more.
		if res := deliver(); res.Err == nil || res.Err.Code != core.CodeUnavailable {
			t.Errorf("with a context that has ended: %+v, want CodeUnavailable", res)
		}
	})
}

// TestSink_SendsOnceWhenAKeptConnectionBreaks is about a trap: net/http repeats a
// POST by itself, when it may, if a connection that was used before breaks. It runs
// over real sockets, with HTTP/1.1 and HTTP/2.
func TestSink_SendsOnceWhenAKeptConnectionBreaks(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			var served atomic.Int64
			sim := whatsappsim.New(whatsappsim.Options{})
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				served.Add(1)
				if got := r.ProtoMajor == 2; got != http2 {
					t.Errorf("spoke %s", r.Proto)
				}
				sim.ServeHTTP(w, r)
			}))
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
			server.EnableHTTP2 = http2
			server.StartTLS()
			defer server.Close()
			transport := whatsapp.NewTransport()
			defer transport.CloseIdleConnections()
			transport.ForceAttemptHTTP2 = http2
			transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
			if !http2 {
				transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
			}
			client, err := whatsapp.NewClient(whatsapp.ClientOptions{
				BaseURL: server.URL, Transport: transport, OpaqueKey: opaqueKey, Log: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			sink := client.Sink(whatsapp.Number{ID: numberID, AccessToken: func() core.Secret { return token }})
			m := hello
			m.To = toAna
			send := func(id string) core.Result {
				return sink.Deliver(t.Context(), []core.Delivery{{Event: &core.Event{ID: id, Kind: core.KindMessageSend, Message: &m}, Attempt: 1}})[0]
			}
			if res := send("first"); res.Err != nil {
				t.Fatal(res.Err)
			}
			sim.Fail(whatsappsim.Rule{Do: whatsappsim.DoLost, Count: 1})
			if res := send("second"); res.Err == nil || res.Err.Code != core.CodeUnknownOutcome {
				t.Errorf("the lost one = %+v, want CodeUnknownOutcome", res)
			}
			if res := send("third"); res.Err != nil {
				t.Errorf("the next one = %v", res.Err)
			}
			l := sim.Ledger()
			if served.Load() != 3 || len(l.Sends) != 3 || len(l.Twice()) != 0 {
				t.Errorf("served %d requests and took %d messages, twice: %v; want 3, 3 and none", served.Load(), len(l.Sends), l.Twice())
			}
		})
	}
}
