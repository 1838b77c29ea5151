package hubspot

import (
	"html"
	"strings"

	"github.com/wabridge/wabridge/core/crm"
)

// maxValue is how many bytes of text a property takes: HubSpot's limit is 65,536
// characters.
const maxValue = 60_000

// timelineHTML makes text safe for a property that HubSpot shows as HTML: the words
// of a stranger must not become markup on an agent's screen.
func timelineHTML(text string) string {
	if !strings.ContainsAny(text, "&<>\"'\n\r") {
		return clip(text)
	}
	text = html.EscapeString(clip(text))
	return clip(strings.NewReplacer("\r\n", "<br>", "\n", "<br>", "\r", "<br>").Replace(text))
}

// clip cuts s to what a property takes.
func clip(s string) string { return crm.Clip(s, maxValue) }
