package phrase_test

import (
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core/phrase"
)

func words(t testing.TB, lists ...string) *phrase.Words {
	t.Helper()
	w := phrase.New()
	for i := 0; i < len(lists); i += 2 {
		if err := w.List(lists[i], strings.Split(lists[i+1], "; ")...); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func set(t testing.TB, w *phrase.Words, rows ...string) *phrase.Set {
	t.Helper()
	s := w.NewSet()
	for i, row := range rows {
		for p := range strings.SplitSeq(row, "; ") {
			if err := s.Add(i, p); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

func TestSet_FindsWhatIsMeant(t *testing.T) {
	const lists = "order; parcel; order number; 订单"
	for _, test := range []struct {
		phrases, text string
		want          bool
	}{
		{"opening hours", "your OPENING  Hours?", true},
		{"opening hours", "opening the hours", false},
		{"opening hours", "opening. Hours", false},
		{"opening hours", "opening, hours", false},
		{"complain*", "complaining", true},
		{"complain*", "complai", false},
		{"never … arrived", "it never has arrived", true},
		{"never … arrived", "never arrived", true},
		{"never … arrived", "never one two three four arrived", true},
		{"never … arrived", "never one two three four five arrived", false},
		{"never … arrived", "never. arrived", false},
		{"never … arrived", "never, sadly, arrived", true},
		{"(not|never) received", "never received", true},
		{"(not|never) received", "received", false},
		{"where is [my|the] order", "where is order", true},
		{"where is [my|the] order", "where is the order", true},
		{"where is [my|the] order", "where is your order", false},
		{"no (more)? calls", "no calls", true},
		{"where … {order}", "where is my order number", true},
		{"where … {order}", "我的订单 where 订单", true},
		{"where {order}?", "where", true},
		{"{order} #", "parcel AB12", true},
		{"{order} #", "parcel abc", false},
		{"^ stop $", "  Stop!! 😡", true},
		{"^ stop $", "stop it", false},
		{"^ stop $", "don't stop", false},
		{"dont", "don’t", true},
		{"l article", "l'article", true},
		{"quelqu un", "quelqu’un", true},
		{"cafe", "CAFÉ", true},
		{"hello", "Heeello", true},
		{"ola", "olaaa", true},
		{"没收到 … 货", "沒收到我的貨", true},
		{"没 [有] 收到", "没有收到", true},
		{"😡", "😡😡", true},
		{"👍", "👍🏽", true},
		{"cancel … ?", "can I cancel it?", true},
		{"cancel … ?", "cancel it", false},
		{"refunds", "refnuds", true},    // swapped
		{"damaged", "dammaged", true},   // one too many
		{"complaint", "complant", true}, // one missing
		{"disappointed", "disappointid", true},
		{"confirmo", "confirma", false},      // the last letter is grammar
		{"order", "older", false},            // too short to guess
		{"pedido; perdido", "perdido", true}, // a word itself
		{"complaint; -no complaints; -no complaint", "no complaint at all", false},
		{"complaint; -no complaint", "no complaint, but now I have a complaint", true},
		{"cancel; -dont … cancel", "please don't ever cancel", false},
		{"cancel; -dont … cancel", "don't confirm, cancel", true},
	} {
		w := words(t, "order", lists)
		if got := set(t, w, test.phrases).Find(w.Read(test.text)) >= 0; got != test.want {
			t.Errorf("%q in %q: %v, want %v", test.phrases, test.text, got, test.want)
		}
	}
}

func TestSet_FindsTheFirstRow(t *testing.T) {
	w := words(t)
	s := set(t, w, "refund", "money; cash", "refund")
	for text, want := range map[string]int{"cash refund": 0, "cash": 1, "nothing": -1, "": -1} {
		if got := s.Find(w.Read(text)); got != want {
			t.Errorf("%q is of row %d, want %d", text, got, want)
		}
	}
}

func TestSet_RefusesWhatCannotBeMeant(t *testing.T) {
	for p, want := range map[string]string{
		"(a|b": "without )", "[a": "without ]", "{x}": "no list {x}", "{x": "without }", "a)": "has no beginning",
		"… a": "cannot begin with …", "": "has no words", "[a]": "has no words", "^ $": "has no words", "abc*d": "only at the end",
		"a*": "two letters", "[a] … b": "begins with what may be missing", strings.Repeat("a", 3000): "at most",
		strings.Repeat("(", 50) + "a": "nested too deeply", strings.Repeat("(a|b)", 200): "too long",
	} {
		if err := words(t).NewSet().Add(0, p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", p, err, want)
		}
	}
	if err := words(t).List("a", "-b"); err == nil {
		t.Error("a list took an exception")
	}
}

func TestText_TellsItsLanguage(t *testing.T) {
	w := words(t)
	for text, want := range map[string]string{
		"where is my order": "en", "¿dónde está mi pedido?": "es", "où est ma commande": "fr", "cadê o meu pedido, não chegou": "pt",
		"我的订单在哪": "zh", "???": "", "12345": "", "Hola, where is my order please": "en", "xyzzy": "",
		"I'm waiting, please call me": "en", "quiero cambiar la talla, gracias": "es", "c’est pas possible": "fr", "obrigada, bom dia": "pt",
		"訂單 4711": "zh", "注文はどこですか": "", "4711": "", "": "", "ok": "", "pedido": "",
	} {
		if got := w.Read(text).Language(); got != want || phrase.Language(text) != want {
			t.Errorf("%q is %q or %q, want %q", text, got, phrase.Language(text), want)
		}
	}
}

// A message cannot make the search slow, whatever the phrases are.
func TestSet_BoundsItsWork(t *testing.T) {
	w := words(t, "a", "a; a b; b a b")
	s := set(t, w, strings.TrimSuffix(strings.Repeat("{a} … ", 20), "… ")+" b", strings.Repeat("[a] ", 1)+"a b")
	text := w.Read(strings.Repeat("a ", 5000) + "b")
	if got := s.Find(text); got >= 0 {
		t.Errorf("found row %d behind the words that are read", got)
	}
}

func FuzzSet(f *testing.F) {
	f.Add("where … [my] {order}", "where is my order")
	f.Add("-(a|b)? c*", "a. b, c 订单 😡")
	f.Add("[[(a|)]] …?", "'’´")
	f.Fuzz(func(t *testing.T, p, text string) {
		w := words(t, "order", "order; parcel")
		s := w.NewSet()
		if s.Add(0, p) != nil {
			return
		}
		if row := s.Find(w.Read(text)); row > 0 {
			t.Errorf("row %d", row)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	w := words(b, "order", "order; parcel")
	s := set(b, w, "where … {order}; never … arrived; complain*; damaged; refunds")
	for b.Loop() {
		s.Find(w.Read("Hello, my parcel has never really arrived and nobody ansers, what now?"))
	}
}
