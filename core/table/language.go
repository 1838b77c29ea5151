package table

import (
	"strings"
	"unicode"
)

// small are the words that say most about the language of a short text: common
// ones that the other languages do not have.
var small = map[string]string{}

func init() {
	for language, words := range map[string]string{
		"en": "the and you your is are my this that with what when where how please thanks thank hello hi have want need can could would i it it's i'm don't order",
		"es": "el los las y usted tu mi mis este esta con qué que cuándo cuando dónde donde cómo gracias hola tengo quiero necesito puedo pueden está están por favor muy pero buenos días pedido",
		"fr": "le les des et vous votre mon mes ce cette avec quand où comment merci bonjour salut j'ai je suis veux voudrais besoin puis pouvez est c'est n'est pas s'il plaît commande ma ça",
		"pt": "os as você seu meu minha isto isso com quando onde obrigado obrigada olá oi tenho quero preciso posso podem está não muito mas bom dia pedido uma meus vocês tá",
	} {
		for w := range strings.FieldsSeq(words) {
			if _, both := small[w]; both {
				small[w] = "" // says nothing
				continue
			}
			small[w] = language
		}
	}
}

// Language guesses which of Languages a text is in; "" when it cannot be told.
// It looks at the first 100 words.
func Language(text string) string {
	var han, kana, letters int
	for _, r := range text {
		switch {
		case unicode.Is(unicode.Han, r):
			han++
		case unicode.Is(unicode.Hiragana, r), unicode.Is(unicode.Katakana, r):
			kana++
		case unicode.IsLetter(r):
			letters++
		}
	}
	if han > 0 && kana == 0 && 4*han >= letters {
		return "zh"
	}
	seen := map[string]int{}
	n := 0
	for w := range strings.FieldsSeq(strings.ToLower(text)) {
		if n++; n > 100 {
			break
		}
		w = strings.TrimFunc(strings.ReplaceAll(w, "’", "'"), func(r rune) bool { return !unicode.IsLetter(r) })
		if l := small[w]; l != "" {
			seen[l]++
		}
	}
	best, most, tie := "", 0, false
	for _, l := range Languages {
		switch k := seen[l]; {
		case k > most:
			best, most, tie = l, k, false
		case k == most && k > 0:
			tie = true
		}
	}
	if tie {
		return ""
	}
	return best
}
