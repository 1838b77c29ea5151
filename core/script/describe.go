package script

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
)

// Describe says what an action does, with the texts that it has: for the author
// of the script, not for logs.
func (a Action) Describe() string {
	switch a.Type {
	case ActionReply:
		text := "reply " + describeMessage(a)
		if a.Confidence != nil {
			text += " with confidence " + strconv.FormatFloat(*a.Confidence, 'f', -1, 64)
		}
		return text
	case ActionTag, ActionUntag:
		return fmt.Sprintf("%s %q", a.Type, a.Tag)
	case ActionSetField:
		return fmt.Sprintf("setField %q = %q", a.Name, clip(a.Value, 80))
	case ActionEscalate:
		words := []string{a.Type}
		if a.Team != "" {
			words = append(words, "to "+a.Team)
		}
		if a.Topic != "" {
			words = append(words, "about "+a.Topic)
		}
		if a.Priority != "" {
			words = append(words, a.Priority)
		}
		return strings.Join(words, " ") + fmt.Sprintf(" %q", clip(a.Reason, 80))
	case ActionTimer:
		text := fmt.Sprintf("timer %q in %s", a.Name, span(a.After))
		if len(a.Data) > 0 {
			text += " with " + clip(string(a.Data), 80)
		}
		return text
	case ActionCancelTimer:
		return fmt.Sprintf("cancelTimer %q", a.Name)
	case ActionConsent:
		text := "consent to " + a.Level + " " + a.State
		if a.Evidence != "" {
			text += fmt.Sprintf(" by %q", clip(a.Evidence, 80))
		}
		return text
	}
	return a.String()
}

// span writes a time as scripts do: 2h, 1d12h, 90s.
func span(d time.Duration) string {
	text := ""
	if days := d / (24 * time.Hour); days > 0 {
		text, d = fmt.Sprintf("%dd", days), d%(24*time.Hour)
	}
	if d > 0 || text == "" {
		rest := d.String()
		for _, zero := range []string{"m0s", "h0m"} { // 2h0m0s
			if short, ok := strings.CutSuffix(rest, zero); ok {
				rest = short + zero[:1]
			}
		}
		text += rest
	}
	return text
}

func describeMessage(a Action) string {
	m := a.Message
	switch {
	case m == nil:
		return fmt.Sprintf("%q", clip(a.Text, 80))
	case m.Type == core.TypeTemplate && m.Template != nil:
		return fmt.Sprintf("template %s (%s)", m.Template.Name, m.Template.Language)
	case m.Media != nil:
		text := fmt.Sprintf("%s %s", m.Type, clip(m.Media.Link+m.Media.Hash, 80))
		if m.Text != "" {
			text += fmt.Sprintf(" %q", clip(m.Text, 80))
		}
		return text
	case m.Text != "":
		return fmt.Sprintf("%q", clip(m.Text, 80))
	}
	return string(m.Type)
}
