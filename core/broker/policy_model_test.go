package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store"
)

// modelStep is one thing that happens in a random history.
type modelStep struct {
	What  string
	Who   int
	Value string
	Again bool // once more, with the same id
}

// known is what a plain reading of the history says about one person.
type known struct {
	granted, asked, metaStopped, stopped, held bool
	lastIn                                     time.Time
	question                                   time.Time // when the open question was put
}

var modelPeople = []string{ana, berto}

var modelValues = map[string][]string{
	"write":    {"STOP", "baja", "start", "subscribe", "stop, o Zé não vem", "hello", "promo please", "yes"},
	"consent":  {"granted", "withdrawn"},
	"hold":     {"on", "off"},
	"meta":     {"withdrawn", "granted"},
	"category": {"marketing", "utility"},
	"send":     {"template promo", "template info", "template mystery", "an answer"},
	"wait":     {"1m", "3h", "3h", "3h", "25h", "25h", "200h"},
	"restart":  {""},
}

func drawSteps(rt *rapid.T) []modelStep {
	return rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) modelStep {
		what := rapid.SampledFrom([]string{"write", "write", "write", "consent", "hold", "meta", "category", "send", "send", "send", "wait", "restart"}).Draw(rt, "what")
		return modelStep{What: what, Who: rapid.IntRange(0, 1).Draw(rt, "who"),
			Value: rapid.SampledFrom(modelValues[what]).Draw(rt, "value"), Again: rapid.IntRange(0, 3).Draw(rt, "again") == 0}
	}), 3, 18).Draw(rt, "steps")
}

// Whatever happens, in whatever order and however often: no marketing without
// live consent by the category that the template has now, no free text outside the
// window, nothing to somebody suppressed but the one answer, nothing begun in the
// night, no more automatic replies than the cap; what was asked for and is not sent
// is in the trace, in words; and the ledger is whole, with one entry for each event.
func TestPolicy_HoldsInEveryHistory(t *testing.T) {
	sent := 0
	rapid.Check(t, func(rt *rapid.T) {
		steps := drawSteps(rt)
		quiet, double := rapid.Bool().Draw(rt, "quiet hours"), rapid.Bool().Draw(rt, "double opt-in")
		limit := rapid.SampledFrom([]int{1, 2, 1000}).Draw(rt, "reply cap")
		var failure string
		synctest.Test(t, func(t *testing.T) {
			m := &model{bridge: newBridge(t), quiet: quiet, double: double, limit: limit, people: make([]known, len(modelPeople)), category: "utility"}
			m.begin()
			for i, s := range steps {
				if failure = m.do(i, s); failure != "" {
					break
				}
			}
			if failure == "" && m.tenants["acme"].waiting.Load() > 0 {
				settled(13 * time.Hour) // what was put off comes
				failure = m.judge()
			}
			if failure == "" {
				failure = m.entries()
			}
			sent += m.judged
		})
		if failure != "" {
			rt.Fatal(failure)
		}
	})
	if sent*fewer < 50 {
		t.Errorf("only %d messages were sent in all histories: they show nothing", sent)
	}
}

type model struct {
	*bridge
	quiet    bool
	double   bool
	limit    int
	replies  map[string][]time.Time // automatic ones
	hours    consent.QuietHours
	people   []known
	category string // of the template info, as Meta has it
	judged   int
}

func (m *model) begin() {
	m.replies = map[string][]time.Time{}
	p := Policy{Templates: testTemplates, DoubleOptIn: m.double}
	if m.quiet {
		m.hours, _ = consent.ParseQuietHours("21:00-08:00")
		p.QuietHours = m.hours
	}
	m.change = func(o *Options) { o.Tenants[0].Policy, o.Tenants[0].ReplyCap = p, m.limit }
	m.bridge.scripts = func(e *core.Event) script.Decision {
		if e.Message.Text == "promo please" {
			return script.Decision{Actions: []script.Action{{Type: script.ActionReply, Message: &core.Message{Type: core.TypeTemplate, Template: &core.Template{Name: "promo", Language: "en"}}}}}
		}
		return script.Decision{Actions: []script.Action{{Type: script.ActionReply, Text: "auto"}}}
	}
	m.noSync = true
	m.start()
	settled(2 * time.Second)
}

// do takes one step, and says what is wrong after it.
func (m *model) do(i int, s modelStep) string {
	who, p, id := modelPeople[s.Who], &m.people[s.Who], fmt.Sprint("step-", i)
	times := 1
	if s.Again {
		times = 2
	}
	about := id
	for range times {
		switch s.What {
		case "write":
			m.accept(received(id, who, s.Value))
		case "consent", "hold":
			c := core.Consent{Level: "marketing", State: s.Value, Evidence: "form"}
			if s.What == "hold" {
				c = core.Consent{Suppression: "legal_hold", Lifted: s.Value == "off"}
			}
			if _, err := m.ChangeConsent(context.Background(), ConsentRequest{Tenant: "acme", Contact: who, Key: id, Consent: c}); err != nil {
				return err.Error()
			}
		case "meta":
			m.accept(metaChoice(id, who, s.Value))
		case "category":
			m.accept(core.Event{ID: id, Kind: core.KindTemplateChanged, Tenant: "acme", Time: time.Now(),
				TemplateChange: &core.TemplateChange{Name: "info", Language: "en", Category: s.Value}})
		case "send":
			about = m.order(id, who, s.Value)
		}
	}
	was := *p
	m.note(p, s)
	settled(2 * time.Second)
	switch s.What {
	case "wait":
		d, _ := time.ParseDuration(s.Value)
		settled(d)
	case "restart":
		m.stop()
		m.start()
	}
	if s.What == "write" && !was.stopped && (s.Value == "STOP" || s.Value == "baja") {
		if got := m.said(); len(got) == m.judged || !isStopText(got[len(got)-1]) {
			return fmt.Sprintf("step %d: %q was not answered: %q", i, s.Value, got[m.judged:])
		}
	}
	from := m.judged
	if why := m.judge(); why != "" {
		return fmt.Sprintf("after step %d, %+v: %s", i, s, why)
	}
	if s.What == "write" || s.What == "send" {
		sent := slices.ContainsFunc(m.wa.taken()[from:], func(tr try) bool { return core.RootID(tr.event.ID) == about })
		words := m.trace(about)
		if !sent && !strings.Contains(words, "refused: ") && !strings.Contains(words, "put off until") && !strings.Contains(words, "no answer") && !strings.Contains(words, "not asked") {
			return fmt.Sprintf("step %d, %+v: nothing was sent, and the trace says only %q", i, s, words)
		}
	}
	return ""
}

func isStopText(s string) bool {
	return slices.ContainsFunc(consent.Languages(), func(l string) bool { return consent.TextsFor(nil, l).Stop == s })
}

func isOwnText(s string) bool {
	return slices.ContainsFunc(consent.Languages(), func(l string) bool {
		t := consent.TextsFor(nil, l)
		return s == t.Stop || s == t.Start || s == t.Ask
	})
}

// note is the plain reading of a step.
func (m *model) note(p *known, s modelStep) {
	switch s.What {
	case "write":
		p.lastIn = time.Now()
		switch s.Value {
		case "STOP", "baja":
			p.stopped, p.granted, p.asked = true, false, false
		case "start":
			if p.stopped {
				p.stopped = false
				m.agrees(p)
			}
		case "subscribe":
			p.stopped = false
			m.agrees(p)
		case "yes":
			if p.asked && time.Since(p.question) <= defaultConfirmWithin {
				p.granted, p.asked = true, false
			}
		}
	case "consent":
		if s.Value == "granted" {
			m.agrees(p)
		} else {
			p.granted, p.asked = false, false
		}
	case "hold":
		p.held = s.Value == "on"
	case "meta":
		p.metaStopped = s.Value == "withdrawn"
	case "category":
		m.category = s.Value
	}
}

// agrees is somebody's word that the person does.
func (m *model) agrees(p *known) {
	if !m.double {
		p.granted = true
		return
	}
	if p.granted {
		return
	}
	open := p.asked && time.Since(p.question) <= defaultConfirmWithin
	if p.asked = true; !open {
		p.question = time.Time{}
		if !p.stopped && !p.held && !p.metaStopped && time.Since(p.lastIn) < window {
			p.question = time.Now()
		}
	}
}

// judge looks at what was sent since it last did.
func (m *model) judge() string {
	all := m.wa.taken()
	for _, tr := range all[m.judged:] {
		m.judged++
		msg := tr.event.Message
		p := &m.people[slices.Index(modelPeople, tr.event.Contact.Phone)]
		what := msg.Text
		marketing := false
		if msg.Type == core.TypeTemplate {
			what = "template " + msg.Template.Name
			marketing = msg.Template.Name != "info" || m.category == "marketing"
		}
		own := tr.event.Source == sourcePolicy
		switch {
		case own != isOwnText(what):
			return fmt.Sprintf("%q from %s", what, tr.event.Source)
		case own && !isStopText(what) && (p.stopped || p.held):
			return fmt.Sprintf("the bridge said %q to somebody suppressed: %+v", what, *p)
		case own:
		case p.stopped || p.held:
			return fmt.Sprintf("%q went to somebody suppressed: %+v", what, *p)
		case marketing && (!p.granted || p.metaStopped):
			return fmt.Sprintf("%q went without consent: %+v", what, *p)
		}
		if msg.Type != core.TypeTemplate && !p.lastIn.IsZero() && tr.at.Sub(p.lastIn) >= 24*time.Hour {
			return fmt.Sprintf("%q went outside the window", what)
		}
		if tr.event.Source == "script" {
			who := tr.event.Contact.Phone
			m.replies[who] = slices.DeleteFunc(append(m.replies[who], tr.at), func(at time.Time) bool { return tr.at.Sub(at) >= 10*time.Minute-time.Second })
			if n := len(m.replies[who]); n > m.limit {
				return fmt.Sprintf("%q is the automatic reply number %d within ten minutes, the cap is %d", what, n, m.limit)
			}
		}
		if m.quiet && marketing {
			t := m.tenants["acme"]
			if until := m.hours.Until(tr.at, t.zones(tr.event.Contact)...); until.Sub(tr.at) > time.Second {
				return fmt.Sprintf("%q went in the night: at %v, quiet until %v", what, tr.at, until)
			}
		}
	}
	return ""
}

// entries checks the ledgers: whole, and with one entry for each event.
func (m *model) entries() string {
	for _, name := range []string{logConsent, logSuppression} {
		ids := map[string]bool{}
		_, err := store.VerifyLog(context.Background(), m.store, store.LogID{Tenant: "acme", Name: name}, func(e store.LogEntry) error {
			c, ok := decode[consent.Entry](e.Data)
			if !ok || ids[c.ID] {
				return fmt.Errorf("entry %d is doubled or cannot be read", e.Seq)
			}
			ids[c.ID] = true
			return nil
		})
		if err != nil {
			return err.Error()
		}
	}
	return ""
}
