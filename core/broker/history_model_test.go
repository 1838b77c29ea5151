package broker

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

var histories = flag.Int("histories", 12, "how many random histories TestHistory_HoldsAtWhatsApp lives through")

// happening is one step of a random history.
type happening struct {
	What  string
	Who   int
	Again bool
}

var happenings = []string{
	"writes", "writes", "writes", "stops", "starts", "text", "text", "info", "promo", "promo", "grant", "withdraw",
	"answers lost", "answers cut", "too fast", "pair", "withheld", "heals", "unruly", "crash", "crash", "restart", "minute", "hours", "day",
}

// standing is what a plain reading of the history says about a person, from when on.
type standing struct {
	stopped, granted bool
	since            time.Time // when it last changed
	lastIn           time.Time
	wasGranted       bool // before that
}

// Whatever happens, in whatever order, however often, and whenever the bridge is cut off in
// the middle: no marketing without live consent, nothing outside the window but templates,
// nothing to who said STOP, no message twice, no status backwards, and each message that was
// asked for ended in one way.
func TestHistory_HoldsAtWhatsApp(t *testing.T) {
	sent, crashes := 0, 0
	gen := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) happening {
		return happening{rapid.SampledFrom(happenings).Draw(rt, "what"), rapid.IntRange(0, 1).Draw(rt, "who"), rapid.IntRange(0, 3).Draw(rt, "again") == 0}
	}), 10, 25)
	for seed := range *histories {
		steps := gen.Example(seed)
		synctest.Test(t, func(t *testing.T) {
			h := beginHistory(t)
			for i, s := range steps {
				h.do(i, s)
				if s.What == "crash" {
					crashes++
				}
			}
			if bad := h.judge(); bad != "" {
				t.Errorf("%s, in the history %d: %v", bad, seed, steps)
			}
			sent += len(h.sim.Ledger().Sends)
			h.stop()
		})
	}
	if sent < 50 || crashes < 5 {
		t.Errorf("%d messages and %d crashes in all histories: they show nothing", sent, crashes)
	}
}

type history struct {
	*graph
	people []standing
	asked  map[string]bool // ids of what the API asked for
	judged int             // how many of what was sent
	bad    string
}

func beginHistory(t *testing.T) *history {
	b := newBridge(t)
	b.noSync = true
	b.scripts = func(*core.Event) script.Decision {
		return script.Decision{Actions: []script.Action{{Type: script.ActionReply, Text: "auto"}}}
	}
	b.withPolicy(Policy{Templates: testTemplates, NoLoops: true})
	var ts []whatsappsim.Template
	for _, tpl := range testTemplates {
		ts = append(ts, whatsappsim.Template{Name: tpl.Name, Language: "en", Category: string(tpl.Category)})
	}
	g := withGraph(b, whatsappsim.Options{Seed: 3, Templates: ts, EnforceWindow: true, StatusDelay: 20 * time.Millisecond, RetryMax: 10 * time.Second})
	b.start()
	settled(time.Second)
	return &history{graph: g, people: make([]standing, len(modelPeople)), asked: map[string]bool{}}
}

func (h *history) do(i int, s happening) {
	h.Helper()
	who, p, id := modelPeople[s.Who], &h.people[s.Who], fmt.Sprint("step-", i)
	says := func(text string) {
		in := whatsappsim.Inbound{From: who, ID: "wamid." + id, Text: text, Time: time.Now()}
		h.sim.Receive(in)
		if s.Again {
			h.sim.Receive(in)
		}
		p.lastIn = time.Now()
	}
	changes := func(f func()) {
		p.wasGranted = p.granted
		f()
		p.since = time.Now()
	}
	pass := 2 * time.Second
	switch s.What {
	case "writes":
		says("hello")
	case "stops":
		says("STOP")
		changes(func() { p.stopped, p.granted = true, false })
		pass = 30 * time.Second // whatever holds the webhook back
	case "starts":
		says("START")
		changes(func() { p.granted = p.granted || p.stopped; p.stopped = false })
		pass = 30 * time.Second
	case "text", "info", "promo":
		what := "template " + s.What
		if s.What == "text" {
			what = "an answer " + id
		}
		h.asked[h.order(id, who, what)] = true
		if s.Again {
			h.order(id, who, what)
		}
	case "grant", "withdraw":
		state := map[string]string{"grant": "granted", "withdraw": "withdrawn"}[s.What]
		h.change1(id, who, core.Consent{Level: "marketing", State: state, Source: "api", Evidence: "form"})
		changes(func() { p.granted = s.What == "grant" })
	case "answers lost":
		h.sim.Fail(whatsappsim.Rule{Do: whatsappsim.DoLost, Count: 2})
	case "answers cut":
		h.sim.Fail(whatsappsim.Rule{Do: whatsappsim.DoCut, Count: 2})
	case "too fast":
		h.sim.Fail(whatsappsim.Rule{Do: whatsappsim.DoError, Code: 130429, Count: 2})
	case "pair":
		h.sim.Fail(whatsappsim.Rule{Do: whatsappsim.DoError, Code: 131056, Count: 2})
	case "withheld":
		h.sim.Fail(whatsappsim.Rule{Do: whatsappsim.DoError, Code: 131049, Type: "template", Count: 1})
	case "heals":
		h.sim.Heal()
		h.sim.SetWebhooks(whatsappsim.Webhooks{})
	case "unruly":
		h.sim.SetWebhooks(whatsappsim.Webhooks{Double: 0.3, Reorder: 0.5, HoldBack: 5 * time.Second, Escape: 0.3})
	case "crash":
		time.Sleep(time.Duration(s.Who*7) * time.Millisecond) // in the middle of what came before, or after it
		h.crash()
	case "restart":
		h.stop()
		h.start()
	case "minute":
		pass = time.Minute
	case "hours":
		pass = 5 * time.Hour
	case "day":
		pass = 25 * time.Hour
	}
	if s.Again && (s.What == "text" || s.What == "promo" || s.What == "writes") {
		pass = 3 * time.Millisecond // and the next thing happens while this does
	}
	settled(pass)
	h.look()
}

// judge lets everything end, and looks at what came of it.
func (h *history) judge() string {
	h.sim.Heal()
	h.sim.SetWebhooks(whatsappsim.Webhooks{})
	settled(time.Hour)
	h.look()
	for range 4 { // what Meta kept from somebody for a day is tried once more
		settled(12*time.Hour + 30*time.Minute)
		h.look()
	}
	now := h.Snapshot()
	if n := now.OnTheWay(); n > 0 {
		return fmt.Sprintf("%d events never come to an end", n)
	}
	ledger := h.sim.Ledger()
	if twice := ledger.Twice(); len(twice) > 0 {
		return fmt.Sprintf("sent twice: %v", twice)
	}
	if h.bad != "" {
		return h.bad
	}
	last := map[string]core.StatusValue{}
	for _, tr := range h.crm.taken() {
		st := tr.event.Status
		if st == nil {
			continue
		}
		if was, ok := last[st.MessageID]; ok && was != st.Value && !was.Advances(st.Value) {
			return fmt.Sprintf("the CRM was told that %s is %s, and then %s", st.MessageID, was, st.Value)
		}
		last[st.MessageID] = st.Value
	}
	return h.endings()
}

// look judges what was sent since it last did, by what was said before.
func (h *history) look() {
	const known = 10 * time.Second // a webhook may be held back for half as long
	all := h.sim.Ledger().Sends
	for _, send := range all[h.judged:] {
		h.judged++
		p := h.people[slices.Index(modelPeople, send.To)]
		what := fmt.Sprintf("%s %q to %s at %v", send.Type, send.Text, send.To, send.At)
		switch settled := send.At.After(p.since.Add(known)); {
		case send.Type == "text" && isOwnText(send.Text):
		case p.stopped && settled:
			h.bad = what + ": they said STOP"
		case send.Type == "text" && send.At.Sub(p.lastIn) >= window:
			h.bad = what + ": the window is closed"
		case send.Type == "template" && send.Text == "promo" && !p.granted && (settled || !p.wasGranted):
			h.bad = what + ": without consent"
		}
	}
}

// endings checks that each message that was asked for ended, in one way.
func (h *history) endings() string {
	for id := range h.asked {
		story, err := h.Why(context.Background(), "acme", id)
		if err != nil {
			return err.Error()
		}
		ends := 0
		for _, s := range story.Steps {
			if s.Event == id && (s.Step == "delivered" || s.Step == "settled" || s.Step == "dead" || s.Step == "held") {
				ends++
			}
		}
		if ends == 0 {
			return fmt.Sprintf("%s never ended: %+v", id, story.Steps)
		}
	}
	return ""
}
