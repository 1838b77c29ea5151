//go:build linux

package script

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dop251/goja"

	"github.com/wabridge/wabridge/core"
)

// BenchmarkDecide is the cost of one event, through a real worker. Beside the
// time on the clock it reports the CPU time of both processes, which a busy
// machine changes less.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("frame=%d", n), func(b *testing.B) {
			e := New(Options{Command: []string{"/proc/self/exe", "script-worker"}})
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error)
			go func() { done <- e.Run(ctx) }()
			defer func() { cancel(); <-done }()
			if _, err := e.Load(ctx, "shop", Source{Name: "script.js", Code: []byte(benchmarkScript)}); err != nil {
				b.Fatal(err)
			}
			calls := make([]Call, n)
			for i := range calls {
				calls[i] = benchmarkCall(b, "what a nice day it is, thanks for all of this")
				if i%3 == 0 {
					calls[i] = benchmarkCall(b, "please confirm order 1234")
				}
			}
			pid := e.tenants["shop"].idle[0].proc.Pid
			theirs, _ := cpuTimeOf(pid)
			ours := cpuTime()
			b.ReportAllocs()
			for b.Loop() {
				for _, d := range e.Decide(ctx, "shop", calls) {
					if d.Err != nil || len(d.Fields) != 15 {
						b.Fatal(d.Err, len(d.Fields))
					}
				}
			}
			perEvent := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(b.N*n) }
			after, _ := cpuTimeOf(pid)
			b.ReportMetric(perEvent(b.Elapsed()), "ns/event")
			b.ReportMetric(perEvent(cpuTime()-ours), "bridge-cpu-ns/event")
			b.ReportMetric(perEvent(after-theirs), "worker-cpu-ns/event")
		})
	}
}

// BenchmarkBeside is the same script and the same events in three ways, in turn,
// so that a busy machine slows all of them alike: goja in this process, in a fresh
// virtual machine for each event; and through a worker, 64 events a frame, and one.
func BenchmarkBeside(b *testing.B) {
	const n = 64
	e := New(Options{Command: []string{"/proc/self/exe", "script-worker"}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	defer func() { cancel(); <-done }()
	if _, err := e.Load(ctx, "shop", Source{Name: "script.js", Code: []byte(benchmarkScript)}); err != nil {
		b.Fatal(err)
	}
	program := goja.MustCompile("script.js", plainScript, true)
	calls := make([]Call, n)
	for i := range calls {
		calls[i] = benchmarkCall(b, "what a nice day it is, thanks for all of this")
		if i%3 == 0 {
			calls[i] = benchmarkCall(b, "please confirm order 1234")
		}
	}
	var inProcess, batched, single time.Duration
	for b.Loop() {
		began := time.Now()
		for i := range calls {
			if out := plainGoja(b, program, &calls[i]); len(out) < 100 {
				b.Fatal(out)
			}
		}
		plain := time.Now()
		if ds := e.Decide(ctx, "shop", calls); ds[n-1].Err != nil || len(ds[n-1].Fields) != 15 {
			b.Fatal(ds[n-1].Err)
		}
		frame := time.Now()
		for i := range calls {
			if ds := e.Decide(ctx, "shop", calls[i:i+1]); ds[0].Err != nil || len(ds[0].Fields) != 15 {
				b.Fatal(ds[0].Err)
			}
		}
		inProcess, batched, single = inProcess+plain.Sub(began), batched+frame.Sub(plain), single+time.Since(frame)
	}
	perEvent := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(b.N*n) }
	b.ReportMetric(perEvent(inProcess), "goja-µs/event")
	b.ReportMetric(perEvent(batched), "batched-µs/event")
	b.ReportMetric(perEvent(single), "single-µs/event")
	b.ReportMetric(float64(batched)/float64(inProcess), "batched/goja")
	b.ReportMetric(float64(single)/float64(inProcess), "single/goja")
	b.ReportMetric(0, "ns/op")
}

// plainScript is the benchmark's script for an interpreter that knows nothing of
// the bridge.
var plainScript = `(function (event, context) {
const reply = (text) => ({ type: "reply", text }), tag = (tag) => ({ type: "tag", tag });
` + strings.ReplaceAll(benchmarkScript, "export ", "") + `
return [onMessage(event, context), mapToCRM(event, context)]; })`

// plainGoja makes a call as who embeds goja would: JSON in, JSON out, nothing kept.
func plainGoja(b *testing.B, program *goja.Program, c *Call) string {
	b.Helper()
	vm := goja.New()
	f, err := vm.RunProgram(program)
	if err != nil {
		b.Fatal(err)
	}
	json := vm.Get("JSON").(*goja.Object)
	call := func(v goja.Value, args ...goja.Value) goja.Value {
		run, ok := goja.AssertFunction(v)
		if !ok {
			b.Fatal("not a function")
		}
		out, err := run(goja.Undefined(), args...)
		if err != nil {
			b.Fatal(err)
		}
		return out
	}
	parse := func(data []byte) goja.Value { return call(json.Get("parse"), vm.ToValue(string(data))) }
	return call(json.Get("stringify"), call(f, parse(c.Event), parse(c.Context))).String()
}

// benchmarkCall is a call as the broker makes it.
func benchmarkCall(b *testing.B, text string) Call {
	b.Helper()
	now := time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)
	event, err := json.Marshal(core.Event{
		ID: "wamid.HBgLMTU1NTAxMDAxMjMVAgASGBQzQTdCQjJDRUY4OTVFN0U2N0JBNAA=", Kind: core.KindMessageReceived,
		Tenant: "shop", Number: "100000000000001", Conversation: "100000000000001:c-0123456789abcdef",
		Time: now, Accepted: now, Source: "whatsapp",
		Contact: &core.Contact{ID: "c-0123456789abcdef", Name: "Zoe", Phone: "+15550100123", Tags: []string{"vip"},
			Fields: map[string]string{"size": "M"}},
		Message: &core.Message{ID: "wamid.HBgLMTU1NTAxMDAxMjMVAgASGBQzQTdCQjJDRUY4OTVFN0U2N0JBNAA=",
			Direction: core.Inbound, Type: core.TypeText, Text: text},
	})
	if err != nil {
		b.Fatal(err)
	}
	return Call{
		Event: event, Hooks: OnMessage | MapToCRM, Now: now, Seed: 42,
		Context: []byte(`{"contact":{"id":"c-0123456789abcdef","name":"Zoe","tags":["vip"]},"conversation":{"id":"100000000000001:c-0123456789abcdef",` +
			`"new":true,"mode":"bot","started":"2026-11-23T09:30:00Z","messages":1,"replies":0},"tenant":{"id":"shop","name":"The Shop"},` +
			`"settings":{"greeting":"Hi","limit":3,"on":true}}`),
	}
}

// benchmarkScript reads 20 fields, writes 15 and answers some messages.
const benchmarkScript = `
export function onMessage(event, context) {
  const text = event.message.text.toLowerCase();
  if (context.conversation.mode !== "bot") return;
  if (/\b(confirm|order)\b/.test(text)) {
    return [reply("Thank you, " + event.contact.name + ": noted."), tag("order")];
  }
}
export function mapToCRM(event, context) {
  const m = event.message, c = event.contact;
  return {
    message_id: m.id, text: m.text, type: m.type, direction: m.direction, sent_at: event.time,
    contact_id: c.id, name: c.name, phone: c.phone, tag: c.tags[0], size: c.fields.size,
    tenant: context.tenant.name, number: event.number, source: event.source,
    is_new: context.conversation.new, count: context.conversation.messages,
  };
}
`
