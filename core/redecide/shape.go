package redecide

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
)

// Shape says in a line what was decided, without what differs from message to
// message: numbers are #.
func (o *Outcome) Shape() string {
	if o.Failed != "" {
		return "fails: " + numbers.ReplaceAllString(clip(o.Failed, 120), "#")
	}
	if len(o.Actions) == 0 {
		return "nothing"
	}
	parts := make([]string, len(o.Actions))
	for i, a := range o.Actions {
		parts[i] = shape(a)
	}
	return strings.Join(parts, ", ")
}

// shape is an action without what differs from message to message. When a timer is
// due and how sure a reply is are the script's own numbers.
func shape(a script.Action) string {
	sure := ""
	switch a.Type {
	case script.ActionSetField:
		return "setField " + strconv.Quote(a.Name) // values differ
	case script.ActionTimer:
		a.Name, a.Data = numbers.ReplaceAllString(a.Name, "#"), nil
		return a.Describe()
	case script.ActionReply:
		if a.Confidence != nil {
			sure, a.Confidence = " with confidence "+strconv.FormatFloat(*a.Confidence, 'f', -1, 64), nil
		}
	}
	return numbers.ReplaceAllString(a.Describe(), "#") + sure
}

// Lines says what was decided, an action each, with all that it says and where
// in the script it was made.
func (o *Outcome) Lines() []string {
	if o.Failed != "" {
		return []string{"fails: " + o.Failed}
	}
	out := make([]string, 0, len(o.Actions)+1)
	for _, a := range o.Actions {
		line := a.Describe()
		if a.Line != "" {
			line += "  (" + a.Line + ")"
		}
		out = append(out, line)
	}
	if len(out) == 0 {
		out = append(out, "nothing")
	}
	return out
}

var (
	numbers = regexp.MustCompile(`\d+`)
	phones  = regexp.MustCompile(`\+?[0-9]{7,}`)
)

// Masked hides what may be a phone number in a text of a person's, and shortens
// it.
func Masked(s string) string {
	return phones.ReplaceAllStringFunc(clip(strings.Join(strings.Fields(s), " "), 80), core.MaskAddress)
}

// clip cuts a text to n characters.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// crmFields are the names of mapToCRM's fields that differ.
func (p *Pair) crmFields() []string {
	names := map[string]bool{}
	for _, side := range []map[string]any{p.Old.Fields, p.New.Fields} {
		for name := range side {
			a, had := p.Old.Fields[name]
			b, has := p.New.Fields[name]
			if had != has || !reflect.DeepEqual(a, b) {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}
