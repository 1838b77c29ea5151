package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core/app/rig"
)

// watched serves a CRM, and notes when it has answered for each message.
func (b *bridge) watched() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.crm.requests.Add(1)
		body, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		b.crm.ServeHTTP(sw, r)
		if r.Method == http.MethodGet || sw.status >= 300 || strings.Contains(r.URL.Path, "coql") {
			return
		}
		for _, prefix := range []string{"wamid.bench.", "wamid.beside."} {
			for rest := body; ; {
				i := bytes.Index(rest, []byte(prefix))
				if i < 0 || len(rest) < i+len(prefix)+8 {
					break
				}
				b.created(string(rest[i : i+len(prefix)+8]))
				rest = rest[i+len(prefix)+8:]
			}
		}
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets [http.ResponseController] reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// crmRate is how many messages a second go into each CRM, from so many customers, whom it
// knows: who is new costs searches, of which HubSpot takes five a second.
const (
	crmRate   = 200
	customers = 1000
)

// crms measures each CRM: messages into it, the calls that they take, a plugin's
// death, and how soon what is sent at the CRM is at WhatsApp.
func crms(ctx context.Context, o options) ([]result, error) {
	o.profile = ""
	var out []result
	var table strings.Builder
	fmt.Fprintf(&table, "%-28s %10s %10s %12s %12s %10s %10s\n", "", "p50", "p99", "calls/1,000", "after death", "push p50", "push p99")
	for _, vendor := range vendors {
		if !strings.Contains(vendor(0).name, o.crm) {
			continue
		}
		name, push, calls, gap := vendor(0).name, rig.Latencies(nil), int64(0), time.Duration(0)
		calm, err := measure(ctx, o, setup{
			vendor: vendor, known: customers,
			during:  func(b *bridge) { calls = -b.crm.requests.Load() },
			finally: func(b *bridge) (err error) { calls += b.crm.requests.Load(); push, err = b.pushes(ctx); return err },
		}, crmRate)
		if err != nil {
			return out, fmt.Errorf("%s: %w", name, err)
		}
		perThousand := float64(calls) * 1000 / float64(max(calm.Sent, 1))
		calm.Note = fmt.Sprintf("%s: %.0f calls for 1,000 messages; what is sent there is at WhatsApp p50 %v p99 %v", name, perThousand, ms(push.P(.5)), ms(push.P(.99)))
		if calm.OK && (calm.EndP50 >= 100*time.Millisecond || calm.EndP99 >= 500*time.Millisecond || push.P(.99) >= time.Second) {
			calm.OK, calm.Why = false, "it takes too long"
		}
		killed := make(chan time.Time, 1)
		dying, err := measure(ctx, o, setup{
			vendor: vendor, known: customers,
			during:  func(b *bridge) { time.AfterFunc(o.duration/2, func() { killed <- b.killPlugin() }) },
			finally: func(b *bridge) error { gap = b.pauseAfter(<-killed); return nil },
		}, crmRate)
		if err != nil {
			return out, fmt.Errorf("%s: %w", name, err)
		}
		dying.Note = fmt.Sprintf("%s: its process was killed, and for %v nothing was written", name, ms(gap))
		fmt.Fprintf(&table, "%-28s %10v %10v %12.0f %12v %10v %10v\n", name, ms(calm.EndP50), ms(calm.EndP99), perThousand, ms(gap), ms(push.P(.5)), ms(push.P(.99)))
		out = append(out, calm, dying)
	}
	return append(out, result{Rate: crmRate, OK: true, Note: table.String()}), nil
}

// killPlugin kills the process of the first lane, and returns when.
func (b *bridge) killPlugin() time.Time {
	rig.Kill(b.pid(), "plugin", "serve", b.crm.connector)
	return time.Now()
}

// pauseAfter is the longest time without a message written in the 20 s after at.
func (b *bridge) pauseAfter(at time.Time) (longest time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	landed := slices.SortedFunc(slices.Values(b.landed), time.Time.Compare)
	last := at
	for _, t := range landed {
		if t.Before(at) || t.Sub(at) > 20*time.Second {
			continue
		}
		longest, last = max(longest, t.Sub(last)), t
	}
	return longest
}
