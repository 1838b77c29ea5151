//go:build linux

package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

// BenchmarkStart is the time from nothing to a process that is ready.
func BenchmarkStart(b *testing.B) {
	l := child("actor")
	var r redactor
	for b.Loop() {
		in, err := start(b.Context(), &l, newLogs(slog.New(slog.DiscardHandler), &r, func() {}))
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		in.process.kill()
		in.end(0)
		b.StartTimer()
	}
}

// kibibyte is a batch of n received messages whose JSON is 1 KiB each.
func kibibyte(n int) []core.Delivery {
	batch := make([]core.Delivery, n)
	for i := range batch {
		id := fmt.Sprintf("wamid.HBgLMTY1MDU1NTEyMzQVAgASGBQzQTdGN0E3%08d", i)
		at := time.Date(2026, 3, 14, 15, 9, 26, 535e6, time.UTC)
		e := &core.Event{
			ID: id, Kind: core.KindMessageReceived, Tenant: "shop", Number: "106540352242922",
			Conversation: fmt.Sprint("106540352242922:c-", i), Time: at, Accepted: at, Source: "whatsapp",
			Contact: &core.Contact{ID: fmt.Sprint("c-", i), Name: "Ana Lima", Phone: "+5511987654321", BSUID: "BR.13491208655302741918", Tags: []string{"vip"}},
			Message: &core.Message{ID: id, Direction: core.Inbound, Type: core.TypeText},
			Fields: map[string]any{
				"firstname": "Ana", "lastname": "Lima", "phone": "+5511987654321", "hs_lead_status": "OPEN", "lifecyclestage": "lead",
				"wa_last_message_at": at.Format(time.RFC3339), "wa_opt_in": true, "wa_messages": 12,
			},
		}
		data, _ := json.Marshal(e)
		e.Message.Text = "ok " + strings.Repeat("x", max(0, 1024-len(data)-3-len(`,"text":""`)))
		data, _ = json.Marshal(e)
		batch[i] = core.Delivery{Event: e, Data: data, Attempt: 1}
	}
	return batch
}

// BenchmarkDeliver is a call with n messages of 1 KiB; ns/msg is its time for
// each, of both processes.
func BenchmarkDeliver(b *testing.B) {
	h, _ := run(b, HostOptions{Launch: child("actor"), Log: slog.New(slog.DiscardHandler)})
	await(b, h, "running", running)
	for _, n := range []int{1, 10, 100} {
		batch := kibibyte(n)
		deliver := func() {
			for _, r := range h.Deliver(context.Background(), batch) {
				if r.Err != nil {
					b.Fatal(r.Err)
				}
			}
		}
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				deliver()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/msg")
		})
		b.Run(fmt.Sprintf("batch=%d/in-flight=4", n), func(b *testing.B) {
			var calls sync.WaitGroup
			for k := range 4 {
				calls.Go(func() {
					for i := k; i < b.N; i += 4 {
						deliver()
					}
				})
			}
			calls.Wait()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/msg")
		})
	}
}

// BenchmarkSettle is what looking at the results of a batch costs the bridge.
func BenchmarkSettle(b *testing.B) {
	batch := kibibyte(100)
	answers := make([]core.Result, len(batch))
	for i := range batch {
		answers[len(batch)-1-i] = core.Result{ID: batch[i].Event.ID, Ref: "12345678901"}
	}
	b.ReportAllocs()
	for b.Loop() {
		settle(batch, answers)
	}
}
