package scripts_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/phrase"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/scripts"
)

// labelled is a message of the corpus and what should become of it.
type labelled struct {
	topic, handOver, order, reply string
	first                         bool
	typ, text                     string
}

// corpus reads testdata/corpus/<part>-<language>.tsv. The parts "held-out" and
// "held-out-2" were written before the tables and are not to be looked at when
// these are changed: what they show is how messages fare that nobody has thought
// of. The second is of many trades (restaurants, hotels, clinics, garages,
// banks, schools) and harder than what a shop hears. The third, "held-out-3", was
// written last, after the tables and the examples.
func corpus(t *testing.T, part, language string) (all []labelled) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "corpus", part+"-"+language+".tsv"))
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimRight(string(data), "\n"), "\n") {
		c := strings.Split(line, "\t")
		if len(c) != 7 {
			t.Fatalf("%s-%s.tsv:%d has %d columns, not 7", part, language, i+1, len(c))
		}
		if i > 0 {
			all = append(all, labelled{c[0], c[1], c[2], c[3], c[4] == "yes", c[5], c[6]})
		}
	}
	return all
}

func (l labelled) message() core.Message {
	if kind, id, ok := strings.Cut(l.typ, ":"); ok && kind == "button" {
		return core.Message{Type: core.TypeInteractive, Text: l.text, Reply: &core.Reply{Kind: "button", ID: id, Title: l.text}}
	}
	return core.Message{Type: core.MessageType(l.typ), Text: l.text}
}

// decided is what the script made of a message.
type decided struct{ topic, handOver, order, reply string }

func decidedOf(d script.Decision, kinds map[string]string) decided {
	is := decided{topic: fmt.Sprint(d.Fields["topic"]), handOver: "-", order: "-", reply: "-"}
	for _, a := range d.Actions {
		switch {
		case a.Type == script.ActionEscalate:
			is.handOver = a.Topic
		case a.Type == script.ActionTag && a.Tag == "order-confirmed" && is.order == "-":
			is.order = "yes"
		case a.Type == script.ActionSetField && a.Name == "confirmed_order":
			is.order = a.Value
		case a.Type == script.ActionReply:
			is.reply = "unknown text"
			for begin, kind := range kinds {
				if strings.Contains(a.Text, begin) {
					is.reply = kind
				}
			}
		}
	}
	return is
}

// replyKinds are pieces of the default script's texts and what they are.
var replyKinds = func() map[string]string {
	kinds := map[string]string{}
	for kind, pieces := range map[string]string{
		"greeting":     "Thank you for your message|Gracias por su mensaje|Merci pour votre message|pela sua mensagem|感谢您的留言",
		"confirmation": "We have noted your confirmation|anotado su confirmación|noté votre confirmation|Registramos a sua confirmação|收到您的确认",
		"order":        "number of your order|noted your question|el número de su pedido|anotado su consulta|le numéro de votre commande|noté votre question|o número do seu pedido|Registramos a sua pergunta|请把订单号|记下您的问题",
		"hours":        "our opening hours|nuestro horario|nos horaires|Nosso horário|营业时间",
		"location":     "our address|nuestra dirección|notre adresse|Nosso endereço|我们的地址",
		"product":      "your interest|su interés|votre intérêt|pelo interesse|感谢您的关注",
		"thanks":       "You are welcome|¡De nada|Avec plaisir|De nada|不客气",
		"unclear":      "not quite understand|no hemos entendido|pas bien compris|não entendemos|没太明白",
		"complaint":    "sorry about that|Lo sentimos|désolés|Lamentamos|非常抱歉",
		"person":       "Of course|Por supuesto|Bien sûr|Claro|好的",
		"cancellation": "",
	} {
		for piece := range strings.SplitSeq(pieces, "|") {
			if piece != "" {
				kinds[piece] = kind
			}
		}
	}
	return kinds
}()

// tally counts what is right.
type tally struct {
	messages, topics, replies int
	confirmations, confirmed  int
	missed, needless          int
}

func (a *tally) add(b tally) {
	a.messages += b.messages
	a.topics += b.topics
	a.replies += b.replies
	a.confirmations += b.confirmations
	a.confirmed += b.confirmed
	a.missed += b.missed
	a.needless += b.needless
}

func share(n, of int) float64 { return 100 * float64(n) / float64(of) }

func (a *tally) String() string {
	return fmt.Sprintf("%4d messages, topics %.1f %%, hand-overs %.1f %% (%d missed, %d needless), confirmations %d of %d, replies %.1f %%",
		a.messages, share(a.topics, a.messages), share(a.messages-a.missed-a.needless, a.messages), a.missed, a.needless,
		a.confirmed, a.confirmations, share(a.replies, a.messages))
}

// The default script and its tables decide well about messages as people write
// them: go test ./scripts -run Corpus -v shows the confusion tables.
func TestCorpus_IsDecidedWell(t *testing.T) {
	e := engine(t, scripts.DefaultName, scripts.Default())
	for _, part := range []struct {
		name               string
		topics, replies    float64 // per cent at least
		handOvers          float64
		confirmations      float64
		missed             int // hand-overs at most
		showWhatIsNotRight bool
	}{
		{"tuning", 96.9, 97, 98.4, 100, 0, true},
		{"held-out", 95.5, 95.5, 97.8, 100, 0, false},
		{"held-out-2", 95, 94.5, 97, 100, 0, false},
		{"held-out-3", 89, 88, 92, 100, 9, false}, // as it was at first contact
	} {
		var sum tally
		for _, language := range []string{"en", "es", "fr", "pt", "zh"} {
			messages := corpus(t, part.name, language)
			calls := make([]script.Call, len(messages))
			for i, l := range messages {
				calls[i] = message{message: l.message(), old: !l.first, settings: map[string]any{"crm_fields": "all", "language": language}}.call(t)
			}
			confusion := map[string]map[string]int{}
			var one tally
			for i, d := range e.Decide(t.Context(), "shop", calls) {
				if d.Err != nil {
					t.Fatalf("%s: %v (%s)", messages[i].text, d.Err, d.Line)
				}
				l, is := messages[i], decidedOf(d, replyKinds)
				judge(t, &one, l, is, part.showWhatIsNotRight)
				if confusion[l.topic] == nil {
					confusion[l.topic] = map[string]int{}
				}
				confusion[l.topic][is.topic]++
			}
			t.Logf("%s, %s: %v\n%s", part.name, language, &one, table(confusion))
			sum.add(one)
		}
		t.Logf("%s, all: %v", part.name, &sum)
		if sum.missed > part.missed {
			t.Errorf("%s: %d hand-overs are missed, %d at most are wanted", part.name, sum.missed, part.missed)
		}
		for _, target := range []struct {
			what    string
			is, min float64
		}{
			{"topics", share(sum.topics, sum.messages), part.topics},
			{"hand-overs", share(sum.messages-sum.missed-sum.needless, sum.messages), part.handOvers},
			{"confirmations", share(sum.confirmed, sum.confirmations), part.confirmations},
			{"replies", share(sum.replies, sum.messages), part.replies},
		} {
			if target.is < target.min {
				t.Errorf("%s: %.2f %% of %s are right, at least %v are wanted", part.name, target.is, target.what, target.min)
			}
		}
	}
}

// The bridge's own words and the script together: what opts out or in is the
// bridge's, and nothing else is; the script says nothing about it.
func TestCorpus_OptingOutIsTheBridges(t *testing.T) {
	words := consent.NewWords(nil)
	for _, language := range []string{"en", "es", "fr", "pt", "zh"} {
		for _, part := range []string{"tuning", "held-out", "held-out-2", "held-out-3"} {
			for _, l := range corpus(t, part, language) {
				said := words.Message(l.text, language)
				switch {
				case l.topic == "opt-out" && said.Intent == "":
					t.Errorf("%s: the bridge does not know %q", language, l.text)
				case l.topic != "opt-out" && said.Intent == consent.StopAll:
					t.Errorf("%s: the bridge takes %q for opting out", language, l.text)
				}
			}
		}
	}
}

// The language in which the bridge itself answers is told from what people write.
func TestCorpus_LanguageIsToldOrLeftOpen(t *testing.T) {
	for _, part := range []string{"tuning", "held-out", "held-out-2", "held-out-3"} {
		right, wrong, all := 0, 0, 0
		for _, language := range phrase.Languages {
			for _, l := range corpus(t, part, language) {
				if l.typ != string(core.TypeText) {
					continue
				}
				all++
				switch phrase.Language(l.text) {
				case language:
					right++
				case "":
				default:
					wrong++
				}
			}
		}
		t.Logf("%s: of %d texts %.1f %% are told right and %.1f %% wrong", part, all, share(right, all), share(wrong, all))
		if share(right, all) < 80 || share(wrong, all) > 2 {
			t.Errorf("%s: %.1f %% right, 80 are wanted; %.1f %% wrong, 2 at most", part, share(right, all), share(wrong, all))
		}
	}
}

// What the script leaves to the bridge, the bridge must know: else nobody obeys
// or answers it.
func TestTables_LeaveToTheBridgeWhatItKnows(t *testing.T) {
	data := string(scripts.Tables()["tables/optout.csv"])
	_, rest, _ := strings.Cut(data, "(stop|")
	list, _, ok := strings.Cut(rest, ")")
	if !ok {
		t.Fatalf("optout.csv is not as it was: %q", data)
	}
	for text := range strings.SplitSeq("stop|"+list, "|") {
		if said := consent.NewWords(nil).Message(text, "zh"); said.Intent == "" {
			t.Errorf("the script leaves %q to the bridge, which does not know it", text)
		}
	}
}

// judge compares what should become of a message with what did.
func judge(t *testing.T, one *tally, l labelled, is decided, show bool) {
	one.messages++
	topic := l.topic
	if topic == "unclear" || topic == "media" || l.typ != string(core.TypeText) {
		topic, is.topic = "", "" // these have none
	}
	reply := l.reply
	if reply == "cancellation" {
		reply = "person" // the same text
	}
	right := reply == is.reply || reply == "unclear" && is.reply == "-"
	if topic == is.topic {
		one.topics++
	}
	if right {
		one.replies++
	}
	if l.order != "-" {
		one.confirmations++
		if l.order == is.order {
			one.confirmed++
		}
	}
	handOver := l.handOver == "-" && is.handOver == "-" || l.handOver != "-" && is.handOver != "-"
	switch {
	case l.handOver != "-" && is.handOver == "-":
		one.missed++
	case l.handOver == "-" && is.handOver != "-":
		one.needless++
	}
	if show && (topic != is.topic || !right || !handOver || l.order != is.order) {
		t.Logf("%q: want %s, hand-over %s, order %s, reply %s; got %+v", l.text, l.topic, l.handOver, l.order, l.reply, is)
	}
}

// table draws which topics were taken for which.
func table(confusion map[string]map[string]int) string {
	var b strings.Builder
	columns := map[string]bool{}
	for _, row := range confusion {
		for topic := range row {
			columns[topic] = true
		}
	}
	names := slices.Sorted(maps.Keys(columns))
	fmt.Fprintf(&b, "%-14s", "is \\ taken for")
	for _, c := range names {
		fmt.Fprintf(&b, "%13s", c)
	}
	for _, topic := range slices.Sorted(maps.Keys(confusion)) {
		fmt.Fprintf(&b, "\n%-14s", topic)
		for _, c := range names {
			if n := confusion[topic][c]; n > 0 {
				fmt.Fprintf(&b, "%13d", n)
			} else {
				fmt.Fprintf(&b, "%13s", ".")
			}
		}
	}
	return b.String()
}
