package consent

import (
	"strings"
)

// Template is what a template says, to be linted.
type Template struct {
	Category Category
	Body     string
	Footer   string
	Buttons  []string
	// Sender are the names by which the business is known; one of them must be in
	// a marketing message.
	Sender []string
}

// Lint says what is wrong with a template: who gets marketing must see who
// writes, and how to end it. A template whose texts are not known is not judged.
func Lint(t Template) []string {
	if t.Category.Level() != Marketing || t.Body == "" && t.Footer == "" {
		return nil
	}
	var out []string
	text := " " + Fold(t.Body+" "+t.Footer) + " "
	named := false
	for _, s := range t.Sender {
		if f := Fold(s); f != "" && (strings.Contains(text, " "+f+" ") || hasHan(f) && strings.Contains(text, f)) {
			named = true
		}
	}
	if !named {
		out = append(out, "it does not say who writes: put the business's name into the body or the footer (or the name that you use into sender_names)")
	}
	if !hasWayOut(text, t.Buttons) {
		out = append(out, "it has no way out: add a quick-reply button such as \"Stop promotions\", or say in the footer what to write, such as \"Reply STOP to end\"")
	}
	return out
}

// hasWayOut reports whether a button ends messages, or the text names a word that
// does.
func hasWayOut(text string, buttons []string) bool {
	for _, b := range buttons {
		if said := (Words{}).Button(b, b, ""); said.Intent == StopAll || said.Intent == StopMarketing {
			return true
		}
	}
	for _, cue := range wayOutCues {
		if strings.Contains(text, cue) {
			return true
		}
	}
	return false
}

// wayOutCues are how footers say, folded, how to end messages.
var wayOutCues = []string{
	" reply stop ", " text stop ", " write stop ", " send stop ", " answer stop ", " stop to ", " unsubscribe ", " opt out ", " stop promotions ",
	" responde baja ", " escribe baja ", " envia baja ", " baja para ", " responde stop ", " darte de baja ", " dejar de recibir ",
	" repondez stop ", " envoyez stop ", " ecrivez stop ", " stop pour ", " stop au ", " vous desabonner ", " desabonner ",
	" responda sair ", " responda parar ", " envie sair ", " envie parar ", " escreva parar ", " responda pare ", " para sair ", " descadastrar ", " deixar de receber ", " cancelar inscricao ",
	"退订", "退訂", "取消订阅", "取消訂閱", " abmelden ", " antworten sie stopp ",
}

func hasHan(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r > 0x2E80 })
}
