package hubspot

import (
	"encoding/json"
	"html"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wabridge/wabridge/core"
)

// maxValue is how many bytes of text a property takes: HubSpot's limit is 65,536
// characters.
const maxValue = 60_000

// messageText says in one text what a person would have seen.
func messageText(m *core.Message) string {
	var parts []string
	add := func(s string) {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if m.Type != core.TypeText && m.Type != core.TypeInteractive && m.Type != core.TypeButton {
		label := string(m.Type)
		if m.Template != nil {
			label += " " + m.Template.Name
		}
		add("[" + strings.TrimSpace(label) + "]")
	}
	if r := m.Reaction; r != nil {
		if r.Emoji == "" {
			add("(taken back)")
		}
		add(r.Emoji)
	}
	add(m.Text)
	if m.Text == "" && m.Reply != nil {
		add(m.Reply.Title)
	}
	if l := m.Location; l != nil {
		add(l.Name)
		add(l.Address)
		add(strconv.FormatFloat(l.Latitude, 'f', -1, 64) + "," + strconv.FormatFloat(l.Longitude, 'f', -1, 64))
	}
	if m.Media != nil {
		add(m.Media.Filename)
	}
	if len(parts) == 0 {
		return "[" + string(m.Type) + "]"
	}
	return strings.Join(parts, " ")
}

// timelineHTML makes text safe for a property that HubSpot shows as HTML: the words
// of a stranger must not become markup on an agent's screen.
func timelineHTML(text string) string {
	if !strings.ContainsAny(text, "&<>\"'\n\r") {
		return clip(text)
	}
	text = html.EscapeString(clip(text))
	return clip(strings.NewReplacer("\r\n", "<br>", "\n", "<br>", "\r", "<br>").Replace(text))
}

// clip cuts s to what a property takes, at the end of a character.
func clip(s string) string {
	if len(s) <= maxValue {
		return s
	}
	cut := maxValue
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}

// propertyValue writes a value that a script returned the way HubSpot wants it: as
// a string; lists joined by ";", as in properties with several options; nil empties
// the property.
func propertyValue(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return clip(v)
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case json.Number:
		return v.String()
	case []string:
		return clip(strings.Join(v, ";"))
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = propertyValue(e)
		}
		return clip(strings.Join(parts, ";"))
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return clip(string(b))
}

// sortedKeys returns the keys of m in order: a request body must not depend on
// Go's map order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
