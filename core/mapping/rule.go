package mapping

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/spelling"
)

// The words of a rule.
const (
	Both = "both"
	To   = "to"
	From = "from"

	Newest   = "newest"
	CRM      = "crm"
	WhatsApp = "whatsapp"
)

// Bounds of a mapping.
const (
	MaxRules  = 200
	maxName   = 100
	maxText   = 2000 // bytes of a value that comes from a CRM
	maxValues = 200
)

var (
	directions = []string{Both, To, From}
	conflicts  = []string{Newest, CRM, WhatsApp}
	steps      = []string{"trim", "upper", "lower", "digits", "number"}
	types      = []string{string(Text), string(Number), string(Bool), string(Date), string(Time)}
	formats    = []string{"date", "time", "seconds", "milliseconds"}
)

// Problem is what is wrong with a rule.
type Problem struct {
	Rule int    // its place
	Key  string // the setting
	Text string
}

// rule is a checked rule.
type rule struct {
	core.MapRule
	field    Field
	layout   string // of Format, when it is a pattern
	back     map[string]string
	property *core.Property // as the CRM describes it; nil when it does not
}

func (r *rule) writes() bool { return r.Direction != From }
func (r *rule) reads() bool  { return r.Direction != To }

// said is the rule with what it means, and without what means nothing for it.
func (r *rule) said() core.MapRule {
	m := r.MapRule
	if !r.reads() || r.field.Type == List || r.field.Type == Consent {
		m.Conflict = ""
	}
	if r.field.Type != List {
		m.Separator = ""
	}
	return m
}

// check makes rules of what was written, or says what is wrong with each.
func check(written []core.MapRule) ([]*rule, []Problem) {
	var rules []*rule
	var problems []Problem
	to, from := map[string]bool{}, map[string]bool{}
	for i, w := range written {
		bad := func(key, format string, args ...any) {
			problems = append(problems, Problem{i, key, fmt.Sprintf(format, args...)})
		}
		if i >= MaxRules {
			bad("field", "more than %d rules", MaxRules)
			break
		}
		r := &rule{MapRule: w}
		before := len(problems)
		r.check(bad)
		if len(problems) > before {
			continue
		}
		if property := strings.ToLower(r.Property); r.writes() && to[property] {
			bad("property", "another rule writes %s already", r.Property)
		} else if r.writes() {
			to[property] = true
		}
		if r.reads() && from[r.Field] {
			bad("field", "another rule reads %s already: give one of them direction = \"to\"", r.Field)
		} else if r.reads() {
			from[r.Field] = true
		}
		rules = append(rules, r)
	}
	return rules, problems
}

func (r *rule) check(bad func(key, format string, args ...any)) {
	oneOf := func(key, got string, want []string) {
		if slices.Contains(want, got) {
			return
		}
		if near := spelling.Nearest(got, want); near != "" {
			bad(key, "there is no %q; did you mean %s?", got, near)
			return
		}
		bad(key, "%q is none of %s", got, strings.Join(want, ", "))
	}
	var known bool
	if r.field, known = fieldOf(r.Field); !known {
		bad("field", "there is no field %.60q%s", r.Field, nearest(r.Field))
		return
	}
	if r.Property == "" || len(r.Property) > maxName {
		bad("property", "is missing, or longer than %d: it is the CRM's own name", maxName)
	}
	if r.Direction == "" {
		if r.Direction = Both; !r.field.FromCRM {
			r.Direction = To
		}
	}
	oneOf("direction", r.Direction, directions)
	if r.Type != "" && !strings.HasPrefix(r.Field, custom) {
		bad("type", "%s has its own: %s", r.Field, r.field.Type)
	} else if r.Type != "" {
		oneOf("type", r.Type, types)
		r.field.Type = Type(r.Type)
	}
	if r.reads() && !r.field.FromCRM {
		bad("direction", "%s is what the bridge knows itself: direction = \"to\" only", r.Field)
	}
	switch {
	case r.Conflict != "" && (r.field.Type == List || r.field.Type == Consent):
		bad("conflict", "%s has none: see conflicts in the documentation", r.Field)
	case r.Conflict != "" && !r.reads():
		bad("conflict", "the CRM does not change %s here (direction = %q)", r.Field, r.Direction)
	case r.Conflict == "":
		r.Conflict = Newest
	}
	oneOf("conflict", r.Conflict, conflicts)
	for _, step := range r.Transform {
		oneOf("transform", step, steps)
	}
	if len(r.Transform) > 10 {
		bad("transform", "at most 10 steps")
	}
	r.checkFormat(bad)
	if r.Separator == "" {
		r.Separator = ";"
	} else if r.field.Type != List {
		bad("separator", "is for lists, and %s is none", r.Field)
	}
	if r.Length < 0 || r.Length > 1<<20 || len(r.Default) > maxText || len(r.Separator) > 10 {
		bad("length", "want a length of 0 to 1048576, a default of at most %d and a separator of at most 10 bytes", maxText)
	}
	r.checkValues(bad)
}

func (r *rule) checkFormat(bad func(key, format string, args ...any)) {
	if r.Format == "" {
		return
	}
	if r.field.Type != Time && r.field.Type != Date {
		bad("format", "is for dates and times, and %s is none", r.Field)
	}
	if slices.Contains(formats, r.Format) {
		return
	}
	r.layout = strings.NewReplacer("YYYY", "2006", "MM", "01", "DD", "02", "hh", "15", "mm", "04", "ss", "05").Replace(r.Format)
	if rest := strings.Trim(strings.NewReplacer("YYYY", "", "MM", "", "DD", "", "hh", "", "mm", "", "ss", "").Replace(r.Format), " -/.:,T"); rest != "" || !strings.Contains(r.Format, "YYYY") {
		bad("format", `%.40q is none of %s, nor made of YYYY MM DD hh mm ss, like "DD.MM.YYYY"`, r.Format, strings.Join(formats, ", "))
	}
}

func (r *rule) checkValues(bad func(key, format string, args ...any)) {
	if len(r.Values) > maxValues {
		bad("values", "at most %d", maxValues)
	}
	r.back = make(map[string]string, len(r.Values))
	for _, ours := range slices.Sorted(maps.Keys(r.Values)) {
		theirs := r.Values[ours]
		if _, twice := r.back[theirs]; !twice { // the first in order is what comes back
			r.back[theirs] = ours
		}
		switch r.field.Type {
		case Bool:
			if ours != "true" && ours != "false" {
				bad("values", "%s is true or false, not %.40q", r.Field, ours)
			}
		case Consent:
			if !slices.Contains([]string{"granted", "asked", "withdrawn"}, ours) {
				bad("values", "%s is granted, asked or withdrawn, not %.40q", r.Field, ours)
			}
		}
	}
}

// fit says why the rule cannot be with the CRM as it describes itself, or "".
func (r *rule) fit(s *core.Schema) string {
	if r.property = s.Property(r.Property); r.property == nil {
		for i, p := range s.Objects[0].Properties { // some CRMs do not mind the case
			if strings.EqualFold(p.Name, r.Property) {
				r.property = &s.Objects[0].Properties[i]
				break
			}
		}
	}
	p := r.property
	if p == nil {
		names := make([]string, len(s.Objects[0].Properties))
		for i, q := range s.Objects[0].Properties {
			names[i] = q.Name
		}
		why := s.Objects[0].Name + " has no property " + r.Property
		if near := spelling.Nearest(r.Property, names); near != "" {
			why += "; did you mean " + near + "?"
		}
		return why
	}
	if !r.writes() {
		return ""
	}
	if p.ReadOnly {
		return r.Property + ` is read-only: only direction = "from" can be`
	}
	return r.fitType(p)
}

func (r *rule) fitType(p *core.Property) string {
	cannot := fmt.Sprintf("%s is a %s, and %s takes a %s", r.Field, r.field.Type, r.Property, p.Type)
	timely := r.field.Type == Time || r.field.Type == Date
	switch p.Type {
	case core.PropertyNumber:
		if timely && (r.Format == "seconds" || r.Format == "milliseconds") || r.field.Type == Number || r.field.Type == Bool ||
			r.field.Type == Text && (slices.Contains(r.Transform, "number") || len(r.Values) > 0) {
			return ""
		}
		return cannot + `: transform = ["number"] makes one of texts that are`
	case core.PropertyBool:
		if r.field.Type != Bool && len(r.Values) == 0 {
			return cannot + ": values = { … } says what is true and what false"
		}
	case core.PropertyDate, core.PropertyTime:
		if !timely {
			return cannot
		}
	case core.PropertyChoice:
		if r.field.Type == List {
			return cannot + ": one value only"
		}
	}
	if p.Type == core.PropertyChoice || p.Type == core.PropertyChoices {
		for _, ours := range slices.Sorted(maps.Keys(r.Values)) {
			if _, ok := choose(p, r.Values[ours]); !ok {
				return fmt.Sprintf("%s has no value %.60q: %s", r.Property, r.Values[ours], few(p.Values))
			}
		}
	}
	return ""
}

// choose finds a value among those of a choice.
func choose(p *core.Property, v string) (string, bool) {
	if slices.Contains(p.Values, v) {
		return v, true
	}
	for _, one := range p.Values {
		if strings.EqualFold(one, v) {
			return one, true
		}
	}
	return v, false
}

// few names some of the values that there are.
func few(values []string) string {
	if len(values) > 8 {
		return strings.Join(values[:8], ", ") + fmt.Sprintf(" and %d more", len(values)-8)
	}
	return strings.Join(values, ", ")
}
