package broker

import (
	"testing"

	"github.com/wabridge/wabridge/core/consent"
)

// The bridge's own words are in the language of the conversation, whatever the
// number's country, and English words are everybody's.
func TestPolicy_AnswersInTheLanguageOfTheConversation(t *testing.T) {
	for _, c := range []struct {
		phone string
		texts []string
		want  string
	}{
		{ana, []string{"Hola, ¿cuándo llega mi pedido?", "unsubscribe"}, "es"},
		{ana, []string{"Hola, ¿cuándo llega mi pedido?", "désabonner"}, "fr"},
		{ana, []string{"unsubscribe"}, "en"},
		{berto, []string{"stop"}, "es"},
		{berto, []string{"Hello, where is my order please", "stop"}, "en"},
		{berto, []string{"我的订单在哪里", "T"}, "zh"},
		{"+491701234567", []string{"wo ist es", "stop"}, "de"},
		{"+393331234567", []string{"Non voglio più ricevere messaggi"}, "it"},
	} {
		run(t, func(b *bridge) {
			b.withPolicy(Policy{})
			b.start()
			for i, text := range c.texts {
				b.write("wamid."+string(rune('a'+i)), c.phone, text)
			}
			b.wantSaid(consent.TextsFor(nil, c.want).Stop)
		})
	}
}
