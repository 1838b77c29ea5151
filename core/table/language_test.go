package table_test

import (
	"testing"

	"github.com/wabridge/wabridge/core/table"
)

func TestLanguage_IsToldByTheSmallWords(t *testing.T) {
	for text, want := range map[string]string{
		"Hello, where is my order?":                 "en",
		"I'm waiting, please call me":               "en",
		"Hola, ¿cuándo llega mi pedido?":            "es",
		"quiero cambiar la talla, gracias":          "es",
		"Bonjour, j'ai un problème avec ma facture": "fr",
		"c’est pas possible":                        "fr",
		"Olá, não recebi o meu pedido":              "pt",
		"obrigada, bom dia":                         "pt",
		"我的订单在哪里？":                                  "zh",
		"訂單 4711":                                   "zh",
		"注文はどこですか":                                  "",
		"4711":                                      "",
		"":                                          "",
		"ok":                                        "",
		"pedido":                                    "", // Spanish and Portuguese
	} {
		if got := table.Language(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
