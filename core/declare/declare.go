// Package declare writes wabridge.d.ts for one tenant: the types of what a script
// sees and returns, with the names of the tenant's own templates, teams, fields
// and files, so that an editor underlines a wrong one.
//
// Names come from settings, from people's spreadsheets and from the traffic: in
// what is written they are string literals, escaped, and nothing else.
package declare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/scripts"
)

// FileName is what the types are called, beside a script.
const FileName = "wabridge.d.ts"

// Bounds of what is declared: more than these is left open.
const (
	maxNames   = 2000 // of a kind
	maxName    = 200  // bytes
	maxDepth   = 4    // of settings
	maxModules = 64
)

// Names are what a tenant has names for. A kind of which nothing is known is any
// string.
type Names struct {
	Templates []Template
	Teams     Set
	Owners    Set // members of teams
	Topics    Set // the bridge's own among them
	Fields    Set
	Tags      Set
	Timers    Set
	// Settings are the tenant's: context.settings.
	Settings map[string]any
	// Modules are the tables that the script may import, by their paths.
	Modules map[string]Module
}

// Template is a template as WhatsApp, or the settings, have it.
type Template struct {
	Name     string
	Language string // "" is all
	// Params are how many parameters the body has, or their names; nil is not
	// known.
	Params any
}

// Module is what a table is when it is imported.
type Module struct {
	// Phrases says that it recognizes what a message is about; Rows are what it
	// may say then. Otherwise it decides.
	Phrases bool
	// Examples says that it tells from examples, which have these names.
	Examples bool
	Rows     []string
}

// Set is the names of one kind. The zero Set has none.
type Set struct {
	names map[string]bool
	// Open says that there are others, too: names that a script computes.
	Open bool
}

// Add adds names; empty and overlong ones are left out.
func (s *Set) Add(names ...string) {
	if s.names == nil {
		s.names = map[string]bool{}
	}
	for _, n := range names {
		switch {
		case n == "" || len(n) > maxName || s.names[n]:
		case len(s.names) >= maxNames:
			s.Open = true
		default:
			s.names[n] = true
		}
	}
}

// Sorted returns the names.
func (s *Set) Sorted() []string { return slices.Sorted(maps.Keys(s.names)) }

// union is the type of a name.
func (s *Set) union() string {
	switch {
	case len(s.names) == 0:
		return "string"
	case s.Open:
		return literals(s.Sorted()) + " | (string & {})" // completed, not checked
	}
	return literals(s.Sorted())
}

// Types returns wabridge.d.ts with these names.
func Types(n *Names) []byte {
	text := scripts.Types()
	text = between(text, "// names:", "// names end", n.declare())
	return between(text, "// files:", "// files end", n.modules())
}

// between puts lines in the place of those between two marks, which stay. The
// marks are in the file that ships, so that they are there.
func between(text []byte, from, to, lines string) []byte {
	i, j := bytes.Index(text, []byte(from)), bytes.Index(text, []byte(to))
	if i < 0 || j < i {
		panic("declare: wabridge.d.ts lacks the mark " + from)
	}
	begin := i + bytes.IndexByte(text[i:], '\n') + 1
	end := bytes.LastIndexByte(text[:j], '\n') + 1
	return slices.Concat(text[:begin], []byte(lines), text[end:])
}

func (n *Names) declare() string {
	topics := n.Topics
	if len(topics.names) == 0 {
		topics.Add("complaint", "request", "keyword", "messages", "low_confidence", "script")
		topics.Open = true
	}
	var b strings.Builder
	line := func(name, is string) { fmt.Fprintf(&b, "  type %s = %s;\n", name, is) }
	line("Team", n.Teams.union())
	line("Owner", n.Owners.union())
	line("Topic", topics.union())
	line("Tag", n.Tags.union())
	line("Field", n.Fields.union())
	line("TimerName", n.Timers.union())
	line("Settings", settings(n.Settings, 0))
	line("TemplateMessage", templates(n.Templates))
	return b.String()
}

// templates is the type of a template to send: one member for each name and
// number of parameters, so that what does not fit is said of that template.
func templates(all []Template) string {
	if len(all) == 0 || len(all) > maxNames {
		return "AnyTemplate"
	}
	type shape struct{ name, params string }
	languages := map[shape]*Set{}
	for _, t := range all {
		k := shape{t.Name, params(t.Params)}
		if languages[k] == nil {
			languages[k] = new(Set)
		}
		if languages[k].Add(t.Language); t.Language == "" {
			languages[k].Open = true
		}
	}
	var b strings.Builder
	for _, k := range slices.SortedFunc(maps.Keys(languages), func(x, y shape) int {
		return strings.Compare(x.name+"\x00"+x.params, y.name+"\x00"+y.params)
	}) {
		fmt.Fprintf(&b, "\n    | TemplateOf<%s, %s, %s>", literal(k.name), languages[k].union(), k.params)
	}
	return b.String()
}

// params is the type of a template's parameters.
func params(p any) string {
	switch v := p.(type) {
	case int:
		return tuple(v)
	case int64:
		return tuple(int(v))
	case []any:
		var names []string
		for _, name := range v {
			if s, ok := name.(string); ok {
				names = append(names, s)
			}
		}
		var b strings.Builder
		for _, name := range names {
			fmt.Fprintf(&b, "readonly %s: string; ", literal(name))
		}
		if len(names) == 0 {
			return tuple(0)
		}
		// By their names, or in their order.
		return "{ " + b.String() + "} | " + tuple(len(names))
	}
	return "AnyParams"
}

func tuple(n int) string {
	if n == 0 {
		return "NoParams"
	}
	return "readonly [" + strings.TrimSuffix(strings.Repeat("string, ", min(max(n, 0), 100)), ", ") + "]"
}

// settings is the type of a table of settings: keys are completed, and texts are
// any, because a script may compare them with what they are not now.
func settings(m map[string]any, depth int) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(m)) {
		is := "any"
		switch v := m[key].(type) {
		case map[string]any:
			if depth < maxDepth {
				is = settings(v, depth+1)
			}
		case []any:
			is = "readonly any[]"
		case int64, int, float64:
			is = "number"
		}
		fmt.Fprintf(&b, "readonly %s?: %s; ", literal(key), is)
	}
	if b.Len() == 0 {
		return "Readonly<Record<string, any>>"
	}
	return "{ " + b.String() + "readonly [key: string]: any }"
}

// modules declares each table that can be imported, and what is left.
func (n *Names) modules() string {
	var b strings.Builder
	byBase := map[string][]string{}
	for path := range n.Modules {
		base := path[strings.LastIndexByte(path, '/')+1:]
		byBase[base] = append(byBase[base], path)
	}
	declared := 0
	for _, base := range slices.Sorted(maps.Keys(byBase)) {
		paths := byBase[base]
		// TypeScript knows a file by the end of its path alone, and takes one
		// star.
		if len(paths) > 1 || strings.Contains(base, "*") || declared == maxModules {
			continue
		}
		declared++
		fmt.Fprintf(&b, "declare module %s {\n  const table: %s;\n  export default table;\n}\n", literal("*/"+base), n.Modules[paths[0]].typ())
	}
	b.WriteString(`declare module "*.csv" {
  const table: wabridge.AnyTable;
  export default table;
}
declare module "*.toml" {
  const table: wabridge.Table;
  export default table;
}
declare module "*.json" {
  const value: any;
  export default value;
}
`)
	return b.String()
}

func (m Module) typ() string {
	var rows Set
	rows.Add(m.Rows...)
	switch {
	case m.Phrases:
		return "wabridge.Phrases<" + rows.union() + ">"
	case m.Examples:
		return "wabridge.Examples<" + rows.union() + ">"
	}
	return "wabridge.Table"
}

func literals(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = literal(n)
	}
	return strings.Join(quoted, " | ")
}

// literal is a name as a string literal: JSON's are TypeScript's, line separators
// escaped.
func literal(s string) string {
	data, err := json.Marshal(strings.ToValidUTF8(s, "�"))
	if err != nil {
		return `""` // texts can always be written
	}
	return string(data)
}
