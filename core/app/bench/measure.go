package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core/app/rig"
)

// measurement is one question asked of a fresh bridge.
type measurement struct {
	name, what string
	run        func(context.Context, options) ([]result, error)
}

var measurements = []measurement{
	{"sustained", "the highest rate with ack p99 < 200 ms, nothing refused and no backlog at the end", sustained},
	{"sustained-slow-peers", "the same with a CRM that takes 200 ms and a Graph API that takes 150 ms", sustainedSlow},
	{"at-1000", "1,000 msg/s: ack p99 < 20 ms and end to end p99 < 100 ms are wanted", at(1000)},
	{"at-500", "500 msg/s: the first answer p90 < 1 s and p99 < 5 s are wanted", at(500)},
	{"at-83", "5,000 a minute: end to end p50 < 10 ms is wanted", at(83)},
	{"crms", "200 msg/s into each CRM: p50 < 100 ms and p99 < 500 ms are wanted, and what people send there at WhatsApp within 1 s", crms},
	{"requests", "100 messages a second that the API asks for: at WhatsApp p99 < 250 ms is wanted", requests(100, 1000, 250*time.Millisecond)},
	{"thousand", "1,000 messages a second that the API asks for, of a number that may send as many: never more in any second", requests(1000, 1000, 5*time.Second)},
	{"script-diff", "1,000,000 recorded messages decided again in less than 5 minutes, twice the same, in bounded memory", scriptDiff},
	{"outage", "200 msg/s while the CRM answers 503 for 5 s: nothing lost, recovered within 1 s of its end", outage},
	{"beside-hostile", "300 msg/s beside a tenant whose script does harm: p99 within 1.2 times of the same beside a good one", besideHostile},
}

// result is what one load did.
type result struct {
	Measurement string  `json:"measurement"`
	Rate        float64 `json:"rate"` // offered, messages per second
	OK          bool    `json:"ok"`
	Why         string  `json:"why,omitempty"` // it is not ok
	Sent        int     `json:"sent"`
	Refused     int     `json:"refused"`
	Lost        int     `json:"lost"` // acknowledged, and not in the CRM at the end
	Replies     int     `json:"replies"`

	AckP50, AckP99, EndP50, EndP99 time.Duration
	// ReplyP50 and the others are from a message to its answer at WhatsApp.
	ReplyP50, ReplyP90, ReplyP99 time.Duration
	// Drained is how long after the last message the CRM had everything.
	Drained time.Duration `json:"drained"`
	// CPUPer1000 is processor time of the bridge and its children for 1,000
	// messages; memory is at the end of the load.
	CPUPer1000           time.Duration `json:"cpu_per_1000"`
	PSS, Anon, BridgeRSS int64
	Note                 string `json:"note,omitempty"`
}

func (r result) text() string {
	if r.Sent == 0 && r.Note != "" && r.OK {
		return r.Note
	}
	ok := "ok"
	if !r.OK {
		ok = "NOT OK: " + r.Why
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  %6.0f msg/s  ack p50 %v p99 %v  end to end p50 %v p99 %v  drained in %v  %s\n",
		r.Rate, ms(r.AckP50), ms(r.AckP99), ms(r.EndP50), ms(r.EndP99), ms(r.Drained), ok)
	fmt.Fprintf(&b, "               %d sent, %d refused, %d lost, %d replies  CPU %v per 1,000  memory %d MiB (all processes, PSS; %d MiB not file-backed)\n",
		r.Sent, r.Refused, r.Lost, r.Replies, ms(r.CPUPer1000), r.PSS>>20, r.Anon>>20)
	if r.Replies > 0 {
		fmt.Fprintf(&b, "               answers p50 %v p90 %v p99 %v\n", ms(r.ReplyP50), ms(r.ReplyP90), ms(r.ReplyP99))
	}
	if r.Note != "" {
		fmt.Fprintf(&b, "               %s\n", r.Note)
	}
	return b.String()
}

func ms(d time.Duration) time.Duration {
	if d > 100*time.Millisecond {
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}

// sustained raises the rate until it is too much, then tries between.
func sustained(ctx context.Context, o options) ([]result, error) {
	return climb(ctx, o, setup{})
}

func sustainedSlow(ctx context.Context, o options) ([]result, error) {
	o.profile = ""
	return climb(ctx, o, setup{crm: 200 * time.Millisecond, graph: 150 * time.Millisecond})
}

func climb(ctx context.Context, o options, s setup) ([]result, error) {
	var out []result
	good, bad := 0.0, 0.0
	for rate := o.start; ; {
		r, err := measure(ctx, o, s, rate)
		if err != nil {
			return out, err
		}
		out = append(out, r)
		if r.OK {
			good = rate
		} else {
			bad = rate
		}
		switch {
		case bad == 0:
			rate *= 1.4
		case good == 0:
			rate /= 2
			if rate < 50 {
				return out, nil
			}
		case bad/good < 1.12:
			best := result{Rate: good, OK: true, Note: fmt.Sprintf("sustained: %.0f msg/s", good)}
			for _, r := range out {
				if r.OK && r.Rate == good {
					best.AckP50, best.AckP99, best.EndP50, best.EndP99, best.CPUPer1000 = r.AckP50, r.AckP99, r.EndP50, r.EndP99, r.CPUPer1000
					best.PSS, best.Anon, best.Sent, best.Replies, best.Drained = r.PSS, r.Anon, r.Sent, r.Replies, r.Drained
					best.ReplyP50, best.ReplyP90, best.ReplyP99 = r.ReplyP50, r.ReplyP90, r.ReplyP99
				}
			}
			return append(out, best), nil
		default:
			rate = (good + bad) / 2
		}
	}
}

func at(rate float64) func(context.Context, options) ([]result, error) {
	return func(ctx context.Context, o options) ([]result, error) {
		o.profile = ""
		r, err := measure(ctx, o, setup{}, rate)
		return []result{r}, err
	}
}

func outage(ctx context.Context, o options) ([]result, error) {
	o.profile = ""
	const after, lasts = 3 * time.Second, 5 * time.Second
	s := setup{during: func(b *bridge) {
		b.crm.down(after, lasts)
		b.healed = time.Now().Add(after + lasts)
	}}
	r, err := measure(ctx, o, s, 200)
	if err != nil {
		return nil, err
	}
	return []result{r}, nil
}

// setup is what a measurement changes about its bridge and the sims.
type setup struct {
	crm, graph time.Duration
	// known is how many customers there are, all of whom have written before; 0 is people,
	// of whom hardly any has.
	known int
	// perSecond is what the number may send; 0 is more than is tried.
	perSecond float64
	// vendor makes the CRM, given its latency; nil is HubSpot.
	vendor func(time.Duration) *vendor
	// during is called when the load begins, finally once the CRM has everything.
	during  func(*bridge)
	finally func(*bridge) error
	// beside, when set, runs another tenant's traffic until ctx ends, and returns
	// how many of its messages were acknowledged.
	beside func(context.Context, *bridge) int
}

// people is how many customers write.
const people = 50_000

// begin is what people want: a third asks for an answer.
func begin(n int) string {
	switch {
	case n%3 == 0:
		return "Ask"
	case n%50 == 1:
		return "Complain"
	}
	return "Message"
}

func measure(ctx context.Context, o options, s setup, rate float64) (result, error) {
	b, err := start(ctx, o, s)
	if err != nil {
		return result{}, err
	}
	defer func() { _ = b.close() }()
	load := &rig.Load{
		URL: b.url + "/webhooks/whatsapp", Secret: secret, Number: number, Rate: rate, Duration: o.duration,
		People: people, Begin: begin, Prefix: "bench",
		Sending: func(n int, id string, at time.Time) { b.sending(n, id, at) },
		Acked:   func(int, string, time.Time) { b.acked.Add(1) },
	}
	b.expect(int(rate*o.duration.Seconds()) + 1)
	warm := *load
	warm.Prefix, warm.Rate, warm.Duration, warm.Sending, warm.Acked = "warm", min(rate, 300), 2*time.Second, nil, nil
	if s.known > 0 {
		load.People, warm.People = s.known, s.known
		warm.Duration = time.Duration(float64(s.known) / warm.Rate * float64(time.Second))
	}
	warm.Run(ctx)
	if err := b.wait(ctx, 20*time.Second, func() bool { return b.idle() }); err != nil {
		return result{}, fmt.Errorf("warming up: %w", err)
	}
	before := rig.UsageOf(b.pid())
	replies := b.replies.Load()
	if s.during != nil {
		s.during(b)
	}
	bctx, stop := context.WithCancel(ctx)
	defer stop()
	beside := make(chan int, 1)
	go func() {
		if s.beside != nil {
			beside <- s.beside(bctx, b)
			return
		}
		beside <- 0
	}()
	res := load.Run(ctx)
	end := time.Now()
	after := rig.UsageOf(b.pid())
	drainErr := b.wait(ctx, 30*time.Second, func() bool { return b.written() >= res.Acked })
	drained := time.Since(end)
	stop()
	others := <-beside
	if err := b.wait(ctx, 60*time.Second, func() bool { return int(b.beside.Load()) >= others }); err != nil {
		return result{}, fmt.Errorf("%d of the other tenant's %d messages did not reach the CRM: %w", others-int(b.beside.Load()), others, err)
	}
	replies = b.replies.Load() - replies
	if s.finally != nil {
		if err := s.finally(b); err != nil {
			return result{}, err
		}
	}
	lat, answers := b.latencies(), b.answers()
	r := result{
		Rate: rate, Sent: res.Sent, Refused: res.Refused + res.Failed, Lost: res.Acked - b.written(),
		Replies: int(replies), Drained: drained,
		AckP50: res.Acks.P(.5), AckP99: res.Acks.P(.99), EndP50: lat.P(.5), EndP99: lat.P(.99),
		ReplyP50: answers.P(.5), ReplyP90: answers.P(.9), ReplyP99: answers.P(.99),
		PSS: after.PSS, Anon: after.Anon, BridgeRSS: after.RSS,
	}
	if n, within := b.handOvers(ctx); n > 0 {
		r.Note = fmt.Sprintf("complaints: %d handed over, 99 %% of them within %v of being accepted", n, within)
	}
	if others > 0 {
		r.Note = fmt.Sprintf("the tenant beside: %d messages acknowledged, all in the CRM", others)
	}
	if res.Sent > 0 {
		r.CPUPer1000 = (after.CPU - before.CPU) * 1000 / time.Duration(res.Sent)
	}
	switch {
	case drainErr != nil:
		r.Why = fmt.Sprintf("%d messages were not in the CRM after 30 s", r.Lost)
	case r.Refused > 0:
		r.Why = fmt.Sprintf("%d were refused", r.Refused)
	case r.AckP99 >= 200*time.Millisecond:
		r.Why = "ack p99"
	case s.during == nil && drained > 2*time.Second:
		r.Why = "a backlog was left"
	default:
		r.OK = true
	}
	if !b.healed.IsZero() {
		recovered := b.recovered()
		r.Note = fmt.Sprintf("recovered %v after the end of the outage: the queue was as short as before", ms(recovered))
		if recovered > time.Second {
			r.OK, r.Why = false, "recovery"
		}
	}
	return r, nil
}
