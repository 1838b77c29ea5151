package crm

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/wabridge/wabridge/core"
)

// MessageText says in one text what a person would have seen.
func MessageText(m *core.Message) string {
	if m.Type == core.TypeRevoke {
		return "[taken back by who wrote it]"
	}
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
		if m.Unsupported != "" {
			label += ": " + m.Unsupported
		}
		add("[" + strings.TrimSpace(label) + "]")
	}
	if r := m.Reaction; r != nil {
		if r.Emoji == "" {
			add("(taken back)")
		}
		add(r.Emoji)
	}
	add(offered(m.Interactive, m.Text))
	if r := m.Reply; r != nil {
		if m.Text == "" {
			add(r.Title)
		}
		add(r.Description)
		add(filledIn(r))
	}
	add(cards(m.Contacts))
	if l := m.Location; l != nil {
		add(l.Name)
		add(l.Address)
		add(strconv.FormatFloat(l.Latitude, 'f', -1, 64) + "," + strconv.FormatFloat(l.Longitude, 'f', -1, 64))
	}
	if m.Media != nil {
		add(m.Media.Filename)
		add(m.Media.Link)
	}
	if c := m.Calls; c != nil {
		add(map[bool]string{true: "[calls allowed]", false: "[calls declined]"}[c.Granted])
	}
	if len(parts) == 0 {
		return "[" + string(m.Type) + "]"
	}
	return strings.Join(parts, " ")
}

// StatusErrors says why WhatsApp could not deliver.
func StatusErrors(errs []core.StatusError) string {
	parts := make([]string, len(errs))
	for i, e := range errs {
		parts[i] = fmt.Sprint(e.Code)
		for _, text := range []string{e.Title, e.Details} {
			if text != "" {
				parts[i] += ": " + text
			}
		}
	}
	return strings.Join(slices.Compact(parts), "; ")
}

// Name returns a name for a record that must have one: what the person calls
// themselves, or what else is known of them.
func Name(c *core.Contact) string {
	for _, name := range []string{c.Name, c.Username, c.Phone} {
		if name = strings.TrimSpace(name); name != "" {
			return name
		}
	}
	return "WhatsApp " + core.MaskAddress(c.ID)
}

// Clip cuts s to size bytes, at the end of a character.
func Clip(s string, size int) string {
	if len(s) <= size {
		return s
	}
	cut := size
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}

// Length is how long CRMs take a text to be: as Java counts, in UTF-16 units. What needs two
// of them, such as an emoji, is two characters long.
func Length(text string) (n int) {
	for _, r := range text {
		n += utf16.RuneLen(r)
	}
	return n
}

// Cut shortens a text that is longer than size, by [Length]; it then ends with the mark,
// which is no longer than that.
func Cut(text string, size int, mark string) string {
	if len(text) <= size { // in bytes, which are no fewer
		return text
	}
	n, end, room := 0, 0, size-Length(mark)
	for i, r := range text {
		if n <= room {
			end = i
		}
		if n += utf16.RuneLen(r); n > size {
			return text[:end] + mark
		}
	}
	return text
}

var (
	longNumber  = regexp.MustCompile(`\+[0-9](?:[ ()./-]{0,2}[0-9]){6,}|[0-9]{7,}`)
	mailAddress = regexp.MustCompile(`[^\s"'<>\[\]:,]+@[^\s"'<>\[\]:,]+`)
)

// VendorText makes what a CRM said fit for an error: one line, not too long, with
// what may be a phone number or an address masked.
func VendorText(text string) string {
	text = mailAddress.ReplaceAllString(text, "…@…")
	text = longNumber.ReplaceAllStringFunc(text, core.MaskAddress)
	text = strings.Join(strings.Fields(text), " ")
	if cut := Clip(text, 300); cut != text {
		text = cut + "…"
	}
	return text
}

// FieldText writes a value that a script returned as a text; lists are joined by
// ";", nil is empty, and what is no plain value is JSON.
func FieldText(v any) string {
	return core.ValueText(v, func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return string(b)
	})
}
