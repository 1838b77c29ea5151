package script

import (
	"fmt"
	"strings"

	"github.com/wabridge/wabridge/core"
)

// Describe says what an action does, with the texts that it has: for the author
// of the script, not for logs.
func (a Action) Describe() string {
	switch a.Type {
	case ActionReply:
		return "reply " + describeMessage(a)
	case ActionTag, ActionUntag:
		return fmt.Sprintf("%s %q", a.Type, a.Tag)
	case ActionSetField:
		return fmt.Sprintf("setField %q = %q", a.Name, clip(a.Value, 80))
	case ActionEscalate:
		words := []string{a.Type}
		if a.Team != "" {
			words = append(words, "to "+a.Team)
		}
		if a.Priority != "" {
			words = append(words, a.Priority)
		}
		return strings.Join(words, " ") + fmt.Sprintf(" %q", clip(a.Reason, 80))
	}
	return a.String()
}

func describeMessage(a Action) string {
	m := a.Message
	switch {
	case m == nil:
		return fmt.Sprintf("%q", clip(a.Text, 80))
	case m.Type == core.TypeTemplate && m.Template != nil:
		return fmt.Sprintf("template %s (%s)", m.Template.Name, m.Template.Language)
	case m.Text != "":
		return fmt.Sprintf("%q", clip(m.Text, 80))
	}
	return string(m.Type)
}
