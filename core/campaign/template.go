package campaign

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
)

// Template is what a campaign sends. In any text of Components there may be slots:
//
//	{{name}}          the contact's name
//	{{first_name}}    its first word, or what is after the comma ("García, Ana")
//	{{field.city}}    a field of the contact
//	{{column.Code}}   a column of the list
//	{{name|friend}}   the same, with what stands there if it is empty
type Template struct {
	Name     string `json:"name"`
	Language string `json:"language"`
	// Components is the Cloud API's components array.
	Components json.RawMessage `json:"components,omitempty"`
	// Slots are those in Components, each once; the bridge fills them in.
	Slots []string `json:"slots,omitempty"`
}

const (
	maxSlots      = 100
	maxComponents = 32 << 10
	maxValue      = 1024 // characters
)

var slot = regexp.MustCompile(`\{\{([^{}]*)\}\}`)

// FindSlots checks a template's components and fills in its slots.
func (t *Template) FindSlots() error {
	t.Slots = nil
	if len(t.Components) == 0 {
		return nil
	}
	if len(t.Components) > maxComponents {
		return core.Errorf(core.CodeInvalid, "components", "more than %d bytes", maxComponents)
	}
	var v []any
	if err := json.Unmarshal(t.Components, &v); err != nil {
		return core.Errorf(core.CodeInvalid, "components", "want the Cloud API's components, a JSON array: %w", err)
	}
	var wrong error
	eachText(v, func(s string) string {
		for _, m := range slot.FindAllStringSubmatch(s, -1) {
			if _, _, err := parse(m[1]); err != nil && wrong == nil {
				wrong = err
			}
			if !slices.Contains(t.Slots, m[1]) {
				t.Slots = append(t.Slots, m[1])
			}
		}
		return s
	})
	if wrong == nil && len(t.Slots) > maxSlots {
		wrong = core.Errorf(core.CodeInvalid, "components", "%d slots are too many: at most %d", len(t.Slots), maxSlots)
	}
	return wrong
}

// parse reads what is between the braces: where the value is from, and what stands there
// if it is empty.
func parse(inner string) (from, otherwise string, err error) {
	from, otherwise, _ = strings.Cut(inner, "|")
	from = strings.TrimSpace(from)
	kind, name, below := strings.Cut(from, ".")
	switch {
	case !below && (from == "name" || from == "first_name"), below && (kind == "field" || kind == "column") && name != "":
		return from, strings.TrimSpace(otherwise), nil
	}
	return "", "", core.Errorf(core.CodeInvalid, "components", "{{%.60s}}: want {{name}}, {{first_name}}, {{field.<name>}} or {{column.<header>}}, with |<otherwise> or not", inner)
}

// Columns are the columns of the list that the template needs.
func (t *Template) Columns() []string {
	var out []string
	for _, s := range t.Slots {
		from, _, _ := parse(s)
		if name, ok := strings.CutPrefix(from, "column."); ok && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// Freeze returns the values of the slots for a person; missing names the first that has
// none. WhatsApp takes no line ends, tabs or runs of spaces in them: each becomes a space.
func (t *Template) Freeze(c *core.Contact, columns map[string]string) (values []string, missing string) {
	for _, s := range t.Slots {
		from, otherwise, _ := parse(s)
		kind, name, _ := strings.Cut(from, ".")
		v := ""
		switch kind {
		case "name":
			v = c.Name
		case "first_name":
			v = c.Fields["first_name"]
			if v == "" {
				v, _ = contact.Names(c.Name)
			}
		case "field":
			v = c.Fields[name]
		case "column":
			v = columns[name]
		}
		v = strings.Join(strings.Fields(v), " ")
		if v == "" {
			v = otherwise
		}
		if v == "" {
			return nil, "{{" + s + "}}"
		}
		if r := []rune(v); len(r) > maxValue {
			v = string(r[:maxValue])
		}
		values = append(values, v)
	}
	return values, ""
}

// Render makes the template of a row from its frozen values.
func (t *Template) Render(values []string) (*core.Template, error) {
	out := &core.Template{Name: t.Name, Language: t.Language}
	if len(t.Slots) == 0 || len(t.Components) == 0 {
		out.Components = t.Components
		return out, nil
	}
	if len(values) != len(t.Slots) {
		return nil, fmt.Errorf("%d values for %d slots", len(values), len(t.Slots))
	}
	var v any
	if err := json.Unmarshal(t.Components, &v); err != nil {
		return nil, err
	}
	v = eachText(v, func(s string) string {
		return slot.ReplaceAllStringFunc(s, func(m string) string {
			if i := slices.Index(t.Slots, m[2:len(m)-2]); i >= 0 {
				return values[i]
			}
			return m
		})
	})
	data, err := json.Marshal(v)
	out.Components = data
	return out, err
}

// eachText puts every text of a JSON value through f.
func eachText(v any, f func(string) string) any {
	switch v := v.(type) {
	case string:
		return f(v)
	case []any:
		for i := range v {
			v[i] = eachText(v[i], f)
		}
	case map[string]any:
		for k := range v {
			v[k] = eachText(v[k], f)
		}
	}
	return v
}
