package phrase

import (
	"strings"
	"unicode"
)

// languageWords are small words that say which language a message is in.
var languageWords = map[string]string{
	"en": "the is are you i my your it and to of for in what where when how do does have has can could please thanks thank hello hi hey with this that not dont order want need was im we they on at good morning yes no one me order confirm open much price",
	"es": "el la los las que de y en un una mi su es esta estan por para con no si sin a hola gracias donde cuando cuanto cuesta como quiero pedido buenos buenas dias tardes tienen me se lo ya muy pero confirmo favor porfa abren hacen puedo hasta hora orden llego usted ustedes del al nadie todo bien",
	"fr": "le la les de des du et en un une mon ma mes votre vos est c j je vous nous il elle ne pas que qui pour avec bonjour merci salut bonsoir ou quand combien comment quel quelle commande svp oui non sur dans au aux ce cette suis ai avez etes toujours tres mais plus fait ca l d n",
	"pt": "o a os as de do da dos das e em no na um uma meu minha seu sua que com nao sim oi ola obrigado obrigada onde quando quanto custa como quero pedido bom boa dia tarde tem voces voce vcs vc foi esta ta por para pra mas favor hora dias muito ja encomenda pfv eu isso esse confirmo horas chegou ate ainda",
}

// accents are letters that only some of the languages have.
var accents = map[string]string{"es": "ñ¿¡", "pt": "ãõ", "fr": "êèùûîœ"}

var languagesOf = func() map[string][]string {
	m := map[string][]string{}
	for _, l := range []string{"en", "es", "fr", "pt"} {
		for word := range strings.FieldsSeq(languageWords[l]) {
			m[word] = append(m[word], l)
		}
	}
	return m
}()

// Languages are those that are told apart.
var Languages = []string{"en", "es", "fr", "pt", "zh"}

// Language guesses which of [Languages] a text is in; "" when that cannot be told.
func Language(text string) string { return languageOf(tokens(text), strings.ToLower(clip(text))) }

// Language guesses which of [Languages] a message is in; "" when that cannot be
// told.
func (t *Text) Language() string { return languageOf(t.tokens, t.lower) }

func languageOf(list []token, lower string) string {
	han, words := 0, 0
	score := map[string]int{}
	for i := range list {
		switch list[i].kind {
		case kindHan:
			han++
		case kindWord:
			words++
			of := languagesOf[list[i].word]
			for _, l := range of {
				score[l] += 12 / len(of)
			}
		default:
		}
	}
	if han > 0 && strings.ContainsFunc(lower, kana) {
		return "" // Japanese
	}
	if han > 0 && han >= words {
		return "zh"
	}
	for l, letters := range accents {
		if strings.ContainsAny(lower, letters) {
			score[l] += 8
		}
	}
	best, second := "", 0
	for _, l := range []string{"en", "es", "fr", "pt"} {
		switch s := score[l]; {
		case best == "" || s > score[best]:
			if best != "" {
				second = max(second, score[best])
			}
			best = l
		default:
			second = max(second, s)
		}
	}
	if score[best] == 0 || score[best] == second {
		return ""
	}
	return best
}

func kana(r rune) bool { return unicode.In(r, unicode.Hiragana, unicode.Katakana) }
