package declare

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/table"
)

// use is a call that names something, with the beginning of its first argument.
var use = regexp.MustCompile(`\b(tag|untag|setField|timer|cancelTimer)\(\s*(?:"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)'|` + "`((?:[^`\\\\$]|\\\\.)*)`" + `|[^)])\s*([+?,)]?)`)

// topic is an escalation's, as far as it is written out.
var topic = regexp.MustCompile(`\btopic:\s*(?:"([^"\\\n]*)"|'([^'\\\n]*)'|.)`)

// Learn adds the names that a script which is at work gives: what it writes out.
// A kind of which it computes names is open.
func (n *Names) Learn(src script.Source) {
	files := map[string][]byte{src.Name: src.Code}
	maps.Copy(files, src.Files)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		switch ext := path.Ext(name); {
		case ext == ".js" || ext == ".ts":
			n.learnCode(string(files[name]))
		case table.Is(name):
			n.learnTable(name, files[name])
		}
	}
}

func (n *Names) learnCode(code string) {
	for _, m := range use.FindAllStringSubmatch(code, -1) {
		set := &n.Tags
		switch m[1] {
		case "setField":
			set = &n.Fields
		case "timer", "cancelTimer":
			set = &n.Timers
		}
		text := m[2] + m[3] + m[4]
		if text == "" || strings.Contains(text, `\`) || m[5] != "," && m[5] != ")" {
			set.Open = true
			continue
		}
		set.Add(text)
	}
	for _, m := range topic.FindAllStringSubmatch(code, -1) {
		n.Topics.Add(m[1] + m[2])
		n.Topics.Open = n.Topics.Open || m[1]+m[2] == ""
	}
}

// learnTable adds what a decision table gives. What is wrong with one is not said
// here: whoever loads it does.
func (n *Names) learnTable(name string, data []byte) {
	if _, ok := script.PhraseRows(name, data); ok {
		return
	}
	if _, ok := script.ExampleNames(name, data); ok {
		return
	}
	t, err := table.Parse(name, data)
	if err != nil {
		return
	}
	for i := range t.Rows {
		r := &t.Rows[i]
		n.Tags.Add(r.Tags...)
		n.Topics.Add(r.Topic)
		for _, f := range r.Fields {
			n.Fields.Add(f.Name)
		}
	}
}

// Import notes which tables a script may import, and what they are.
func (n *Names) Import(src script.Source) {
	n.Modules = map[string]Module{}
	for name, data := range src.Files {
		if !table.Is(name) {
			continue
		}
		m := Module{}
		if m.Rows, m.Phrases = script.PhraseRows(name, data); !m.Phrases {
			m.Rows, m.Examples = script.ExampleNames(name, data)
		}
		n.Modules[name] = m
	}
}
