package hubspot

import (
	"strings"

	"github.com/wabridge/wabridge/core/crm"
)

// maxValue is how many characters a property takes, by [crm.Length]: HubSpot is written in Java.
const maxValue = 65_536

var markup = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;", "\r\n", "<br>", "\n", "<br>", "\r", "<br>")

// timelineHTML makes text safe for a property that HubSpot shows as HTML: the words
// of a stranger must not become markup on an agent's screen.
func timelineHTML(text string) string {
	if !strings.ContainsAny(text, "&<>\"'\n\r") {
		return clip(text)
	}
	return fit(text, markup.Replace)
}

// clip cuts s to what a property takes. Its last character then is "…".
func clip(s string) string {
	if len(s) <= maxValue {
		return s
	}
	return fit(s, func(s string) string { return s })
}

// fit writes as much of a text in some form as a property takes.
func fit(text string, form func(string) string) string {
	whole := form(text)
	if crm.Length(whole) <= maxValue {
		return whole
	}
	n := len("…") // more than it counts
	for i, r := range text {
		if n += crm.Length(form(string(r))); n > maxValue {
			return form(text[:i]) + "…"
		}
	}
	return whole
}
