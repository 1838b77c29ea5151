package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

// requestTasks is how many requests are under way at once, at most.
const requestTasks = 128

// requests measures messages that somebody asks for: from the moment that a request is
// made until WhatsApp has the message. The number may send perSecond, and never does more.
func requests(rate, perSecond float64, within time.Duration) func(context.Context, options) ([]result, error) {
	return func(ctx context.Context, o options) ([]result, error) {
		o.profile = ""
		b, err := start(ctx, o, setup{perSecond: perSecond})
		if err != nil {
			return nil, err
		}
		n := int(rate * o.duration.Seconds())
		due, refused := b.ask(ctx, n, rate)
		r := result{Rate: rate, OK: true, Sent: n, Refused: refused}
		ended := time.Now()
		_ = b.wait(ctx, 30*time.Second, func() bool { return b.wa.Stats().Sends >= n-refused })
		r.Drained = time.Since(ended)
		took, most := arrived(b.wa.Ledger().Sends, due)
		if r.Lost = n - refused - len(took); len(took) > 0 {
			r.EndP50, r.EndP99 = took[len(took)/2], took[len(took)*99/100]
		}
		r.Note = fmt.Sprintf("asked for by the API, until WhatsApp has it: p50 %v p99 %v; at most %d in a second", ms(r.EndP50), ms(r.EndP99), most)
		switch {
		case refused > 0 || r.Lost > 0:
			r.OK, r.Why = false, "not all were sent"
		case r.EndP99 >= within:
			r.OK, r.Why = false, fmt.Sprintf("p99 is not below %v", within)
		case float64(most) > perSecond:
			r.OK, r.Why = false, "more in a second than the number may send"
		}
		return []result{r}, b.close()
	}
}

// ask makes n requests at a rate, and returns when each was due and how many were refused.
func (b *bridge) ask(ctx context.Context, n int, rate float64) (due []time.Time, refused int) {
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: requestTasks}}
	defer client.CloseIdleConnections()
	due = make([]time.Time, n)
	began := time.Now()
	for i := range due {
		due[i] = began.Add(time.Duration(float64(i) / rate * float64(time.Second)))
	}
	var next, no atomic.Int64
	var tasks sync.WaitGroup
	for range requestTasks {
		tasks.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				<-time.After(time.Until(due[i]))
				if !b.asked(ctx, &client, i) {
					no.Add(1)
				}
			}
		})
	}
	tasks.Wait()
	return due, int(no.Load())
}

// asked makes the i-th request, and reports whether it was accepted.
func (b *bridge) asked(ctx context.Context, client *http.Client, i int) bool {
	body, err := json.Marshal(map[string]any{"tenant": "bench", "message": map[string]any{
		"to": fmt.Sprintf("phone:+1415%07d", i), "type": "text", "text": strconv.Itoa(i),
	}})
	if err != nil {
		return false
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+"/api/v1/messages", bytes.NewReader(body))
	if err != nil {
		return false
	}
	r.Header.Set("Authorization", "Bearer "+apiToken)
	r.Header.Set("Idempotency-Key", fmt.Sprint("bench-", i))
	resp, err := client.Do(r)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusAccepted
}

// arrived returns how long each message took, from when it was due, and the most that came
// within any second.
func arrived(sends []whatsappsim.Send, due []time.Time) (took []time.Duration, most int) {
	at := make([]time.Time, 0, len(sends))
	for _, s := range sends {
		if i, err := strconv.Atoi(s.Text); err == nil && i < len(due) {
			took, at = append(took, s.At.Sub(due[i])), append(at, s.At)
		}
	}
	slices.Sort(took)
	slices.SortFunc(at, time.Time.Compare)
	for i, j := 0, 0; i < len(at); i++ {
		for at[i].Sub(at[j]) >= time.Second {
			j++
		}
		most = max(most, i-j+1)
	}
	return took, most
}
