package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

// talk is what one customer of the demo writes, line by line.
type talk struct {
	lines []string
	// later is what the shop's own system writes after it, if anything.
	later string
}

// talks are what people write to the demo's businesses, in several languages.
// #### becomes a number.
var talks = []talk{
	{lines: []string{"Hi, are you open today?", "Great, see you later"}},
	{lines: []string{"Good morning! Do you have rye bread?", "I confirm order ####"}, later: "Your order is ready. See you soon!"},
	{lines: []string{"I confirm my order ####, thank you"}, later: "Your order is ready. See you soon!"},
	{lines: []string{"Hello", "My order #### arrived broken, I want a refund"}},
	{lines: []string{"Can I talk to a real person please?"}},
	{lines: []string{"Hola, ¿hacen envíos?", "Perfecto. Confirmo el pedido ####"}, later: "Su pedido está listo. ¡Hasta pronto!"},
	{lines: []string{"Buenos días", "Mi pedido #### no ha llegado, es inaceptable"}},
	{lines: []string{"Confirmo mi pedido ####"}, later: "Su pedido está listo. ¡Hasta pronto!"},
	{lines: []string{"Bonjour, vous livrez le samedi ?", "Je confirme la commande ####, merci"}, later: "Votre commande est prête. À bientôt !"},
	{lines: []string{"Bonsoir", "Je voudrais annuler ma commande ####"}},
	{lines: []string{"Olá, tudo bem?", "Quero confirmar meu pedido ####"}, later: "O seu pedido está pronto. Até já!"},
	{lines: []string{"Bom dia! O produto veio quebrado 😕"}},
	{lines: []string{"你好", "我确认订单 ####"}, later: "您的订单已准备好，期待您的光临！"},
	{lines: []string{"您好，请转人工客服"}},
	{lines: []string{"How much is the sourdough?", "👍", "ok order #### confirmed"}, later: "Your order is ready. See you soon!"},
}

var names = []string{
	"Amélie Laurent", "Ben Okafor", "Camila Rojas", "Dmitri Volkov", "Elena Petrova", "Fatima Zahra", "Grace Kim", "Hiro Tanaka",
	"Inês Carvalho", "João Silva", "Kateryna Bondar", "李娜", "Mateo García", "Noor Haddad", "Olivia Brown", "Priya Nair",
	"Quentin Moreau", "Rosa Jiménez", "Søren Holm", "Thandiwe Dube", "Ulrich Weber", "Valentina Cruz", "王伟", "Yusuf Demir",
}

// customer is the n-th person of the demo. Their numbers are those that the
// telephone companies keep for films; every ninth shows a username instead.
func customer(n int, number string) whatsappsim.Inbound {
	in := whatsappsim.Inbound{Number: number, Name: names[n%len(names)]}
	if n%9 == 8 {
		in.BSUID = fmt.Sprintf("US.1349120865530274%04d", n)
		in.Username = fmt.Sprintf("guest.%d", n)
		return in
	}
	in.From = fmt.Sprintf("+1%d55501%02d", 201+n/100%700, n%100)
	return in
}

// say returns a line with a number of its own.
func say(line string) string {
	out := []byte(line)
	for i, c := range out {
		if c == '#' {
			out[i] = byte('1' + rand.IntN(9)) //nolint:gosec // an order number
		}
	}
	return string(out)
}
