package phrase_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core/phrase"
)

var fewExamples = []phrase.Example{
	{Name: "complaint", Text: "the handle broke on the first day"},
	{Name: "complaint", Text: "your driver shouted at my mother"},
	{Name: "complaint", Text: "杯子碎了"},
	{Name: "order", Text: "when will my parcel be here"},
	{Name: "order", Text: "has it been shipped yet?"},
	{Name: "order", Text: "包裹什么时候到"},
	{Name: "hours", Text: "when do you open on sundays"},
	{Name: "hours", Text: "几点开门"},
}

func learn(t *testing.T, examples []phrase.Example) *phrase.Examples {
	t.Helper()
	x, err := phrase.Learn(examples)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestExamples_TellWhatAMessageIsLike(t *testing.T) {
	x, w := learn(t, fewExamples), phrase.New()
	for text, want := range map[string]string{
		"The handles BROKE, on day one":   "complaint",
		"the drivers were shouting":       "complaint",
		"这个杯子是碎的":                         "complaint",
		"was it shipped, my parcel":       "order",
		"do you open on Sunday":           "hours",
		"你们几点开":                           "hours",
		strings.Repeat("open sunday ", 9): "hours",
	} {
		g, ok := x.Guess(w.Read(text))
		if !ok || g.Name != want {
			t.Errorf("%q is like %s (%v), want %s", text, g.Name, g.Chances, want)
		}
		sum := 0.0
		for _, c := range g.Chances {
			sum += c
		}
		if len(g.Chances) != 3 || math.Abs(sum-1) > 1e-4 || g.Chances[g.Name] < 1./3 {
			t.Errorf("%q: chances %v", text, g.Chances)
		}
	}
	if g, ok := x.Guess(w.Read(" ,, ")); ok {
		t.Errorf("a message without words is like %v", g)
	}
	if got := x.Names(); !slices.Equal(got, []string{"complaint", "order", "hours"}) {
		t.Errorf("names %q", got)
	}
}

// A decision is explained by the words that speak for it, in their order.
func TestExamples_SayWhichWordsSpeakForIt(t *testing.T) {
	x, w := learn(t, fewExamples), phrase.New()
	for text, want := range map[string][]string{
		"xyz the driver shouted": {"driver", "shouted"},
		"杯子是碎了":                  {"杯子", "碎了"},
	} {
		g, _ := x.Guess(w.Read(text))
		for _, word := range want {
			if !slices.ContainsFunc(g.Words, func(s string) bool { return strings.Contains(word, s) || strings.Contains(s, word) }) {
				t.Errorf("%q: %q speak for %s, want %q among them", text, g.Words, g.Name, want)
			}
		}
		if len(g.Words) > 3 {
			t.Errorf("%q: %d words", text, len(g.Words))
		}
		at := 0
		for _, word := range g.Words {
			next := strings.Index(text[at:], word)
			if next < 0 {
				t.Fatalf("%q: %q are not in its order", text, g.Words)
			}
			at += next
		}
	}
}

// Every worker learns by itself, and all must decide the same.
func TestExamples_AreLearntTheSameEveryTime(t *testing.T) {
	w := phrase.New()
	one, _ := learn(t, fewExamples).Guess(w.Read("the parcel broke"))
	two, _ := learn(t, fewExamples).Guess(w.Read("the parcel broke"))
	if a, b := fmt.Sprint(one), fmt.Sprint(two); a != b {
		t.Errorf("%s and %s", a, b)
	}
}

func TestExamples_AreBounded(t *testing.T) {
	many := make([]phrase.Example, phrase.MaxExamples+1)
	var names []phrase.Example
	for i := range phrase.MaxExampleNames + 1 {
		names = append(names, phrase.Example{Name: fmt.Sprint(i), Text: "x"})
	}
	for want, examples := range map[string][]phrase.Example{
		"at most 20000":         many,
		"of 33 names":           names,
		"of 1 names: 2 are":     fewExamples[:2],
		"of 0 names: 2 are wan": nil,
	} {
		if _, err := phrase.Learn(examples); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := phrase.Learn(names[1:]); err != nil {
		t.Error(err)
	}
}
