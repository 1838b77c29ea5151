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

// crms measures each CRM: messages into it, the calls that they take, a plugin's
// death, and how soon what is sent at the CRM is at WhatsApp.
func crms(ctx context.Context, o options) ([]result, error) {
	o.profile = ""
	var out []result
	var table strings.Builder
	fmt.Fprintf(&table, "%-28s %10s %10s %12s %12s %10s\n", "", "p50", "p99", "calls/1,000", "after death", "push p99")
	for _, vendor := range vendors {
		name, push, calls, gap := vendor(0).name, rig.Latencies(nil), int64(0), time.Duration(0)
		calm, err := measure(ctx, o, setup{
			vendor:  vendor,
			during:  func(b *bridge) { calls = -b.crm.requests.Load() },
			finally: func(b *bridge) (err error) { calls += b.crm.requests.Load(); push, err = b.pushes(ctx); return err },
		}, 200)
		if err != nil {
			return out, fmt.Errorf("%s: %w", name, err)
		}
		perThousand := float64(calls) * 1000 / float64(max(calm.Sent, 1))
		calm.Note = fmt.Sprintf("%s: %.0f calls for 1,000 messages", name, perThousand)
		if calm.OK && (calm.EndP50 >= 100*time.Millisecond || calm.EndP99 >= 500*time.Millisecond || push.P(.99) >= time.Second) {
			calm.OK, calm.Why = false, "it takes too long"
		}
		killed := make(chan time.Time, 1)
		dying, err := measure(ctx, o, setup{
			vendor:  vendor,
			during:  func(b *bridge) { time.AfterFunc(o.duration/2, func() { killed <- b.killPlugin() }) },
			finally: func(b *bridge) error { gap = b.pauseAfter(<-killed); return nil },
		}, 200)
		if err != nil {
			return out, fmt.Errorf("%s: %w", name, err)
		}
		dying.Note = fmt.Sprintf("%s: its process was killed, and for %v nothing was written", name, ms(gap))
		pushed := "-"
		if len(push) > 0 {
			pushed = ms(push.P(.99)).String()
		}
		fmt.Fprintf(&table, "%-28s %10v %10v %12.0f %12v %10s\n", name, ms(calm.EndP50), ms(calm.EndP99), perThousand, ms(gap), pushed)
		out = append(out, calm, dying)
	}
	return append(out, result{Rate: 200, OK: true, Note: table.String()}), nil
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

// pushed is how many messages people at the CRM send.
const pushed = 200

// pushes has people at the CRM write to customers, and returns how long each
// message took from the CRM's call to WhatsApp.
func (b *bridge) pushes(ctx context.Context) (rig.Latencies, error) {
	if b.crm.ask == nil {
		return nil, nil
	}
	load := rig.Load{People: people}
	asked := make([]time.Time, pushed)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := range asked {
		<-tick.C
		r, err := b.crm.ask(ctx, b.url+"/webhooks/crm/bench/"+b.crm.connector, "+"+load.Person(n), fmt.Sprintf("push %d.", n))
		if err != nil {
			return nil, err
		}
		asked[n] = time.Now()
		resp, err := b.client.Do(r)
		if err != nil {
			return nil, err
		}
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		_ = resp.Body.Close()
		if resp.StatusCode >= 300 {
			return nil, fmt.Errorf("the bridge answers %s to what the CRM tells: %s", resp.Status, text)
		}
	}
	var took rig.Latencies
	err := b.wait(ctx, 20*time.Second, func() bool {
		took = took[:0]
		for _, s := range b.wa.Ledger().Sends {
			var n int
			if _, err := fmt.Sscanf(s.Text, "push %d.", &n); err == nil && n < pushed {
				took = append(took, s.At.Sub(asked[n]))
			}
		}
		return len(took) >= pushed
	})
	if err != nil {
		return nil, fmt.Errorf("of %d messages sent at the CRM %d are at WhatsApp: %w", pushed, len(took), err)
	}
	return took, nil
}
