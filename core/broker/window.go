package broker

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// OutsideWindow is the template that goes instead of free text when the 24-hour window
// is closed.
type OutsideWindow struct {
	Name, Language string
	// Params are the values of its body's variables: {text} stands for the text, {name}
	// for the person's name.
	Params []string
}

// codeWindowClosed is WhatsApp's error for free text outside the window.
const codeWindowClosed = "131047"

// maxWindowText is how much of a text goes into a template, whose body has at most
// 1,024 characters in all.
const maxWindowText = 700

// isFree reports whether a message is one that only goes inside the window.
func isFree(m *core.Message) bool {
	return m.Type != core.TypeTemplate && m.Type != core.TypeRead && m.Type != core.TypeReaction
}

// instead returns what goes in place of a free message outside the window, nil when
// nothing was declared: the template that the message brings along, or for a text that
// of the settings.
func (t *tenant) instead(m *core.Message, c *core.Contact) *core.Message {
	if m == nil || !isFree(m) {
		return nil
	}
	out := &core.Message{Direction: core.Outbound, Type: core.TypeTemplate, To: m.To, Await: m.Await}
	o := t.Policy.OutsideWindow
	switch {
	case m.Fallback != nil:
		own := *m.Fallback
		out.Template = &own
	case o != nil && m.Type == core.TypeText:
		name := ""
		if c != nil {
			name = core.FitParam(c.Name)
		}
		fill := strings.NewReplacer("{text}", clipRunes(core.FitParam(m.Text), maxWindowText), "{name}", clipRunes(name, 100))
		params := make([]string, len(o.Params))
		for i, p := range o.Params {
			params[i] = strings.TrimSpace(fill.Replace(p))
			if params[i] == "" { // nobody told a name
				params[i] = "-"
			}
		}
		data, err := json.Marshal(params)
		if err != nil {
			return nil
		}
		out.Template = &core.Template{Name: o.Name, Language: o.Language}
		if len(params) > 0 {
			out.Template.Params = data
		}
	default:
		return nil
	}
	if out.Template.Expand() != nil {
		return nil
	}
	return out
}

func clipRunes(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// windowClosed says that free text may not be sent now, or "". Where the bridge has
// never seen the person write, WhatsApp knows better, and decides about what was asked
// for.
func windowClosed(lastIn time.Time, m *core.Message, asked bool, now time.Time) string {
	if !isFree(m) || asked && lastIn.IsZero() || now.Sub(lastIn) < window {
		return ""
	}
	if lastIn.IsZero() {
		return "the person has not written within 24 hours: only a template may be sent"
	}
	return "the 24-hour window closed at " + lastIn.Add(window).Format(time.RFC3339) + ": only a template may be sent"
}

// outsideWindow has the declared template go in place of a free message, if the window
// is closed, and reports whether it did.
func (t *tenant) outsideWindow(u *turn, p *send) bool {
	if p.message == nil || windowClosed(u.conv.LastIn, p.message, p.asked, u.step.Time) == "" {
		return false
	}
	m := t.instead(p.message, u.contact)
	if m == nil {
		return false
	}
	p.message = m
	if p.event != nil {
		e := *p.event
		e.Message = m
		p.event, p.data = &e, nil
	}
	return true
}

func insteadNote(m *core.Message) string {
	return fmt.Sprintf("the 24-hour window is closed: the template %s (%s) goes instead", m.Template.Name, m.Template.Language)
}

// goesInstead has a send decided anew as the template that goes outside the window, if
// one was declared.
func (l *lane) goesInstead(s *store.Settlement, d store.Delivery, e *core.Event, now time.Time, step *Step) bool {
	m := l.t.instead(e.Message, e.Contact)
	if m == nil {
		return false
	}
	again := *e
	again.Message = m
	step.Step, step.Notes = "retry", append(step.Notes, insteadNote(m))
	s.Ack = append(s.Ack, d)
	l.t.later(s, &again, now)
	return true
}
