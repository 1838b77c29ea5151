package phrase

import (
	"fmt"
	"slices"
	"strings"
)

// Words is a dictionary: the words of all phrases that are looked for in the
// same messages. Lists and sets are added first; then it is read only.
type Words struct {
	ids      map[string]int32
	prefixes map[string]int32
	longest  int // prefix
	words    int32
	// near finds a word by what is left when one letter is taken out.
	near  map[string][]int32
	text  []string // of an id
	lists []*list
	named map[string]int
}

// list is a named list of phrases, or the phrases of a set.
type list struct {
	name    string
	phrases []*program
	first   map[int32][]int32 // phrases by their possible first words
	loose   []int32           // phrases that may begin with anything
	filling bool
}

const (
	idNumber int32 = iota // any word with a digit
	idFirst
)

// New returns an empty dictionary.
func New() *Words {
	return &Words{
		ids: map[string]int32{}, prefixes: map[string]int32{}, words: idFirst,
		near: map[string][]int32{}, text: []string{"#"}, named: map[string]int{},
	}
}

// List adds phrases to the list of a name, which later phrases can use as
// {name}.
func (w *Words) List(name string, phrases ...string) error {
	i, ok := w.named[name]
	if !ok {
		i = len(w.lists)
		w.named[name] = i
		w.lists = append(w.lists, &list{name: name, first: map[int32][]int32{}})
	}
	l := w.lists[i]
	l.filling = true
	defer func() { l.filling = false }()
	for _, p := range phrases {
		prog, err := w.compile(p)
		if err != nil {
			return err
		}
		if prog.except {
			return fmt.Errorf("%q: a list of words has no exceptions, a table has", p)
		}
		w.add(l, prog)
	}
	return nil
}

// HasList reports whether there is a list of this name.
func (w *Words) HasList(name string) bool { _, ok := w.named[name]; return ok }

func (w *Words) add(l *list, p *program) {
	n := int32(len(l.phrases))
	l.phrases = append(l.phrases, p)
	ids := map[int32]bool{}
	if w.firsts(p, ids) {
		l.loose = append(l.loose, n)
		return
	}
	for id := range ids {
		l.first[id] = append(l.first[id], n)
	}
}

// id is the number of a word or of a prefix ("complain*").
func (w *Words) id(word string) int32 {
	table := w.ids
	if stem, ok := strings.CutSuffix(word, "*"); ok {
		word, table = stem, w.prefixes
		w.longest = max(w.longest, len(stem))
	}
	if id, ok := table[word]; ok {
		return id
	}
	id := w.words
	w.words++
	table[word] = id
	w.text = append(w.text, word)
	if len(table) == len(w.ids) && w.ids[word] == id && fuzzy(word) {
		for i := range len(word) {
			key := word[:i] + word[i+1:]
			w.near[key] = append(w.near[key], id)
		}
	}
	return id
}

// minFuzzy is how long a word must be to be found with a typo.
const minFuzzy = 6

func fuzzy(word string) bool {
	if len(word) < minFuzzy {
		return false
	}
	for i := range len(word) {
		if word[i] < 'a' || word[i] > 'z' {
			return false
		}
	}
	return true
}

// resolve finds the words that a token may be.
func (w *Words) resolve(t *token, buf []int32) []int32 {
	at := len(buf)
	if t.number {
		buf = append(buf, idNumber)
	}
	id, known := w.ids[t.word]
	word := t.word
	if !known && t.kind == kindWord && !t.number {
		for _, s := range [2]string{squeeze(t.word, 3, 1), squeeze(t.word, 3, 2)} {
			if s == t.word {
				break
			}
			if id, known = w.ids[s]; known {
				word = s
				break
			}
		}
		if n := len(t.word); !known && n > 2 && t.word[n-1] == t.word[n-2] {
			if id, known = w.ids[t.word[:n-1]]; known {
				word = t.word[:n-1]
			}
		}
	}
	if known {
		buf = append(buf, id)
	}
	prefixed := false
	if t.kind == kindWord {
		for n := min(len(word), w.longest); n >= minPrefix; n-- {
			if id, ok := w.prefixes[word[:n]]; ok {
				buf, prefixed = append(buf, id), true
			}
		}
		if !known && !prefixed && !t.number {
			buf = w.typo(t.word, buf)
		}
	}
	t.ids = buf[at:len(buf):len(buf)]
	return buf
}

// typo adds the words that a word may be with one letter missing, too many,
// wrong or swapped with its neighbour.
func (w *Words) typo(word string, buf []int32) []int32 {
	if len(word) < minFuzzy-1 || len(word) > 20 || !fuzzy(word+"a") {
		return buf
	}
	at := len(buf)
	add := func(id int32) {
		if len(buf)-at < 4 && !slices.Contains(buf[at:], id) && mistaken(word, w.text[id]) {
			buf = append(buf, id)
		}
	}
	for _, id := range w.near[word] {
		add(id)
	}
	var key [20]byte
	for i := range len(word) {
		copy(key[:], word[:i])
		copy(key[i:], word[i+1:])
		k := key[:len(word)-1]
		if id, ok := w.ids[string(k)]; ok && len(k) >= minFuzzy {
			add(id)
		}
		for _, id := range w.near[string(k)] {
			add(id)
		}
	}
	return buf
}

// mistaken reports whether a word is likely meant as another, which has the same
// letters but one. The first and the last letter are rarely mistyped, and the
// last one carries the grammar (confirmo, confirma).
func mistaken(typed, meant string) bool {
	if typed[0] != meant[0] {
		return false
	}
	a, b := typed, meant
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	last := typed[len(typed)-1] == meant[len(meant)-1]
	switch {
	case len(a) == 0 && len(b) == 1, len(a) == 1 && len(b) == 0:
		return last
	case len(a) == 1 && len(b) == 1:
		return last && sameSound(a[0], b[0])
	case len(a) == 2 && len(b) == 2: // swapped
		return a[0] == b[1] && a[1] == b[0]
	}
	return false
}

func sameSound(a, b byte) bool {
	for _, set := range [...]string{"aeiouy", "cszkqx", "bvw", "gj", "mn", "dt", "sz", "lr", "bp"} {
		if strings.IndexByte(set, a) >= 0 && strings.IndexByte(set, b) >= 0 {
			return true
		}
	}
	return false
}
