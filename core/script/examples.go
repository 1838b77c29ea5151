package script

import (
	"fmt"
	"slices"

	"github.com/dop251/goja"

	"github.com/wabridge/wabridge/core/phrase"
)

// A table of examples is a CSV file with the columns name and example: a script
// that imports it is told which of them a message is like.
const exampleColumn = "example"

// addExamples makes a module of a table of examples and returns its number.
func (b *bundler) addExamples(name string, rows []map[string]string) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	book, err := b.book()
	if err != nil {
		return 0, err
	}
	examples := make([]phrase.Example, len(rows))
	for i, row := range rows {
		if row["name"] == "" || row[exampleColumn] == "" {
			return 0, fmt.Errorf("%s: an example has a name and a text", row["line"])
		}
		examples[i] = phrase.Example{Name: row["name"], Text: row[exampleColumn]}
	}
	if book.total += len(rows); book.total > maxPhrases {
		return 0, fmt.Errorf("%s: the script has more than %d phrases and examples", name, maxPhrases)
	}
	learnt, err := phrase.Learn(examples)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	book.examples = append(book.examples, learnt)
	return len(book.examples) - 1, nil
}

// guess calls an imported table of examples: host(hostExamples, n, event). It
// returns {name, sure, chances, words, language}, or undefined when there is no text.
func (r *run) guess(call goja.FunctionCall) goja.Value {
	n := call.Argument(1).ToInteger()
	if r.c.phrases == nil || n < 0 || n >= int64(len(r.c.phrases.examples)) {
		panic(r.vm.NewTypeError("there is no such table"))
	}
	text := r.textOf(call.Argument(2))
	g, ok := r.c.phrases.examples[n].Guess(text)
	if !ok {
		return goja.Undefined()
	}
	chances := r.vm.NewObject()
	for _, name := range r.c.phrases.examples[n].Names() {
		_ = chances.Set(name, g.Chances[name])
	}
	words := make([]any, len(g.Words))
	for i, w := range g.Words {
		words[i] = w
	}
	found := r.vm.NewObject()
	_ = found.Set("name", g.Name)
	_ = found.Set("sure", g.Chances[g.Name])
	_ = found.Set("chances", chances)
	_ = found.Set("words", r.vm.NewArray(words...))
	_ = found.Set("language", text.Language())
	return found
}

// ExampleNames returns what the examples of a table are about; false when the
// file is no table of examples.
func ExampleNames(name string, data []byte) ([]string, bool) {
	rows, column, err := readRows(name, data)
	if err != nil || column != exampleColumn {
		return nil, false
	}
	var names []string
	for _, row := range rows {
		if !slices.Contains(names, row["name"]) {
			names = append(names, row["name"])
		}
	}
	return names, true
}
