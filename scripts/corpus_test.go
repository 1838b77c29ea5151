package scripts_test

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/scripts"
)

// labelled is a message as a customer wrote it, and what is right about it. The
// held-out files are never looked at while words are chosen.
type labelled struct {
	topic, handOver, kind, text string
	first                       bool
}

var handOvers = []string{"-", "complaint", "request", "cancellation"}

// corpus reads the labelled messages of a language.
func corpus(t *testing.T, language string) (all []labelled) {
	t.Helper()
	for _, part := range []string{"tuning", "held-out"} {
		path := filepath.Join("testdata", "corpus", part+"-"+language+".tsv")
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(f)
		for n := 1; lines.Scan(); n++ {
			c := strings.Split(lines.Text(), "\t")
			if n == 1 || lines.Text() == "" || strings.HasPrefix(lines.Text(), "#") {
				continue
			}
			if len(c) != 7 || !slices.Contains(handOvers, c[1]) || (c[4] != "yes" && c[4] != "no") {
				t.Fatalf("%s:%d: %q", path, n, lines.Text())
			}
			all = append(all, labelled{topic: c[0], handOver: c[1], first: c[4] == "yes", kind: c[5], text: c[6]})
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func (l labelled) message() message {
	m := message{message: text(l.text), old: !l.first}
	if id, ok := strings.CutPrefix(l.kind, "button:"); ok {
		m.message = core.Message{Type: core.TypeInteractive, Text: l.text, Reply: &core.Reply{Kind: "button", ID: id, Title: l.text}}
	} else if l.kind != "text" {
		m.message.Type = core.MessageType(l.kind)
	}
	return m
}

// floor is what the default script gets right at least, in hundredths: of the
// messages that a person must have, of those that no person need have, and of the
// confirmations that must be answered. It only goes up.
var floor = map[string][3]int{
	"en": {34, 97, 52}, "es": {26, 97, 50}, "fr": {23, 98, 49}, "pt": {25, 97, 49}, "zh": {22, 97, 53},
}

func TestCorpus_TheDefaultScriptDoesNotGetWorse(t *testing.T) {
	e := engine(t, scripts.DefaultName, scripts.Default())
	for _, language := range []string{"en", "es", "fr", "pt", "zh"} {
		all := corpus(t, language)
		if len(all) < 300 {
			t.Errorf("%s: %d messages", language, len(all))
		}
		var right, of [3]int
		for _, l := range all {
			d := e.Decide(t.Context(), "shop", []script.Call{l.message().call(t)})[0]
			if d.Err != nil {
				t.Fatalf("%q: %v", l.text, d.Err)
			}
			handed := slices.ContainsFunc(d.Actions, func(a script.Action) bool { return a.Type == script.ActionEscalate })
			confirmed := slices.ContainsFunc(d.Actions, func(a script.Action) bool { return a.Tag == "order-confirmed" })
			class := 1
			if l.handOver != "-" {
				class = 0
			}
			of[class]++
			if handed == (class == 0) {
				right[class]++
			}
			if l.topic == "confirmation" && l.handOver == "-" {
				of[2]++
				if confirmed {
					right[2]++
				}
			}
		}
		var got [3]int
		for i := range got {
			got[i] = 100 * right[i] / max(1, of[i])
			if got[i] < floor[language][i] {
				t.Errorf("%s: %d %% right, want %d %% at least", language, got[i], floor[language][i])
			}
		}
		t.Logf("%s: %d messages; handed over %d of %d, left to the bot %d of %d, confirmations answered %d of %d",
			language, len(all), right[0], of[0], right[1], of[1], right[2], of[2])
	}
}
