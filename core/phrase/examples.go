package phrase

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Limits of what is learnt from.
const (
	MaxExamples     = 20_000
	MaxExampleNames = 32
)

// Example is a message, and the name of what it is about.
type Example struct{ Name, Text string }

// Examples know from examples what messages are like: which words, pairs of
// words and parts of words those of each name have. They tell what a phrase for
// nobody thought of. The same examples in the same order give the same answers.
// Examples may be used by several goroutines.
type Examples struct {
	names   []string  // as they come first
	weights []float32 // of each feature, for each name
}

const (
	featureBits = 16 // features share 65536 places by their hash
	rounds      = 8
	firstRate   = 5
	shortest    = 4 // letters of a part of a word, its two ends being letters, too
	longest     = 6
)

// Learn reads examples: some ten microseconds for each, and a quarter of a MiB
// for each name.
func Learn(examples []Example) (*Examples, error) {
	if len(examples) > MaxExamples {
		return nil, fmt.Errorf("%d examples are too many: at most %d", len(examples), MaxExamples)
	}
	x := &Examples{}
	features, labels := make([][]feature, len(examples)), make([]int, len(examples))
	for i, e := range examples {
		features[i] = featuresOf(tokens(e.Text))
		if labels[i] = slices.Index(x.names, e.Name); labels[i] < 0 {
			labels[i] = len(x.names)
			x.names = append(x.names, e.Name)
		}
	}
	n := len(x.names)
	if n < 2 || n > MaxExampleNames {
		return nil, fmt.Errorf("there are examples of %d names: 2 are wanted at least, %d at most", n, MaxExampleNames)
	}
	x.weights = make([]float32, n<<featureBits)
	order, chances := make([]int, len(examples)), make([]float32, n)
	for i := range order {
		order[i] = i
	}
	random := uint64(1) // the same for everybody
	for round := range rounds {
		for i := len(order) - 1; i > 0; i-- {
			random = random*6364136223846793005 + 1442695040888963407
			j := int(random >> 33 % uint64(i+1))
			order[i], order[j] = order[j], order[i]
		}
		rate := firstRate * (1 - float32(round)/rounds)
		for _, i := range order {
			x.learn(features[i], labels[i], rate, chances)
		}
	}
	return x, nil
}

// learn takes a step of logistic regression towards an example. It, and what it
// calls, sees memory that is Learn's alone: the race detector would take ten times
// as long and find nothing.
//
//go:norace
func (x *Examples) learn(features []feature, label int, rate float32, chances []float32) {
	x.chances(features, chances)
	chances[label]--
	for j := range chances {
		chances[j] *= rate * scale(features)
	}
	for _, f := range features {
		w := x.of(f)
		for j, c := range chances {
			w[j] -= c
		}
	}
}

// of returns the weights of a feature.
//
//go:norace
func (x *Examples) of(f feature) []float32 {
	n := len(x.names)
	return x.weights[int(f.place)*n : int(f.place)*n+n]
}

// chances sets how likely each name is.
//
//go:norace
func (x *Examples) chances(features []feature, chances []float32) {
	clear(chances)
	for _, f := range features {
		for j, w := range x.of(f) {
			chances[j] += w
		}
	}
	top, sum := slices.Max(chances), float32(0)
	for j := range chances {
		chances[j] = float32(math.Exp(float64((chances[j] - top) * scale(features))))
		sum += chances[j]
	}
	for j := range chances {
		chances[j] /= sum
	}
}

// scale makes long messages weigh as much as short ones.
//
//go:norace
func scale(features []feature) float32 { return float32(1 / math.Sqrt(float64(len(features)+1))) }

// Names returns the names of the examples.
func (x *Examples) Names() []string { return slices.Clone(x.names) }

// Guess is what a message is about, as far as examples tell.
type Guess struct {
	Name    string
	Chances map[string]float64 // of each name; together 1
	// Words are up to three of the message that speak for the name more than the
	// others do, in its order.
	Words []string
}

// Guess says which examples a message is most like; false when it has no words.
func (x *Examples) Guess(t *Text) (Guess, bool) {
	features := featuresOf(t.tokens)
	if len(features) == 0 {
		return Guess{}, false
	}
	chances := make([]float32, len(x.names))
	x.chances(features, chances)
	g, best := Guess{Chances: make(map[string]float64, len(x.names))}, 0
	for j, c := range chances {
		g.Chances[x.names[j]] = float64(c)
		if c > chances[best] {
			best = j
		}
	}
	g.Name = x.names[best]
	g.Words = x.words(t.tokens, features, best)
	return g, true
}

// words returns those that speak most for a name.
func (x *Examples) words(list []token, features []feature, name int) []string {
	type weighed struct {
		at     int
		weight float32
	}
	by := make([]weighed, len(list))
	for _, f := range features {
		mean := float32(0)
		for _, w := range x.of(f) {
			mean += w / float32(len(x.names))
		}
		by[f.at].at = int(f.at)
		by[f.at].weight += x.of(f)[name] - mean
	}
	slices.SortStableFunc(by, func(a, b weighed) int { return cmp.Compare(b.weight, a.weight) })
	by = slices.DeleteFunc(by[:min(3, len(by))], func(w weighed) bool { return w.weight <= 0 })
	slices.SortFunc(by, func(a, b weighed) int { return cmp.Compare(a.at, b.at) })
	var words []string
	for i, w := range by {
		if i > 0 && list[w.at].kind == kindHan && by[i-1].at == w.at-1 {
			words[len(words)-1] += list[w.at].word
			continue
		}
		words = append(words, list[w.at].word)
	}
	return words
}

// feature is something that a message has: its place among the weights, and the
// token that it ends with.
type feature struct{ place, at uint32 }

// featuresOf returns each of a message's features once.
func featuresOf(list []token) []feature {
	all := make([]feature, 0, 16*len(list))
	before, last := "", "^"
	for i := range list {
		t := &list[i]
		word := t.word
		switch {
		case t.kind == kindComma:
			continue
		case t.number:
			word = "#"
		}
		add := func(kind byte, parts ...string) {
			all = append(all, feature{place: place(kind, parts...), at: uint32(i)})
		}
		add('1', word)
		add('2', last, word)
		switch {
		case before != "" && t.kind == kindHan:
			add('3', before, last, word)
		case before != "":
			add('_', before, word)
		}
		before, last = last, word
		if t.kind != kindWord || t.number {
			continue
		}
		word = "<" + word + ">"
		for n := shortest; n <= longest; n++ {
			for from := 0; from+n <= len(word); from++ {
				add('*', word[from:from+n])
			}
		}
	}
	slices.SortFunc(all, func(a, b feature) int { return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.at, b.at)) })
	return slices.CompactFunc(all, func(a, b feature) bool { return a.place == b.place })
}

// place is where the weights of a feature are (FNV-1a, then folded).
//
//go:norace
func place(kind byte, parts ...string) uint32 {
	const prime = 1099511628211
	h := (14695981039346656037 ^ uint64(kind)) * prime
	for _, p := range parts {
		for i := range len(p) {
			h = (h ^ uint64(p[i])) * prime
		}
		h = (h ^ ' ') * prime
	}
	h ^= h >> 32
	return uint32(h * 0x9e3779b97f4a7c15 >> (64 - featureBits))
}
