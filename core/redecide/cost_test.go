package redecide

import (
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/rate"
	"github.com/wabridge/wabridge/core/script"
)

// A diff prices what a script sends by the rate card that holds, the person's country, and
// the template's category at WhatsApp.
func TestDiff_ForecastsWhatMessagesCost(t *testing.T) {
	card := func(from time.Time, text string) *rate.Card {
		c, err := rate.ReadCard(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		c.From, c.FreeUtility = from, true
		return c
	}
	prices := &Prices{
		Book: rate.NewBook(
			card(noon.Add(-time.Hour), "Market,Currency,Marketing,Utility,Service\nNorth America,EUR,0.50,0.02,0.01\n"),
			card(noon.Add(time.Hour), "Market,Currency,Marketing,Utility,Service\nNorth America,EUR,9,9,9\n")),
		At: noon,
		Category: func(name, _ string) rate.Category {
			return map[string]rate.Category{"sale": rate.Marketing, "info": rate.Utility, "code": rate.Authentication}[name]
		},
	}
	template := func(name string) script.Action {
		return script.Action{Type: script.ActionReply, Message: &core.Message{Template: &core.Template{Name: name}}}
	}
	tr := traffic{
		record(t, 1, "a", "bot", `[{"type":"reply","text":"x"},{"type":"reply","text":"y"},{"type":"tag","tag":"t"}]`, nil),
		record(t, 2, "b", "human", `[{"type":"reply","text":"x"}]`, nil),
	}
	r, err := Diff(t.Context(), Options{Traffic: tr, Prices: prices, New: decide(func(string) script.Decision {
		return script.Decision{Actions: []script.Action{template("sale"), template("info"), template("code")}}
	})})
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Old.Cost; c.High.String() != "0.02" || c.Currency != "EUR" || c.Unknown != 0 {
		t.Errorf("it was %+v, want two messages of 0.01 EUR, and nothing of the conversation that a person has", *c)
	}
	if c := r.New.Cost; c.High.String() != "0.50" || c.Unknown != 1 || len(c.Why) != 1 || !strings.Contains(c.Why[0], "no price for authentication") {
		t.Errorf("it would be %+v, want the marketing, utility free in the window, and authentication without a price", *c)
	}
	info := template("info")
	if p := prices.of(&info, "US", core.KindTimer); p.High.String() != "0.02" {
		t.Errorf("utility outside of the window: %+v", p)
	}
	if r, err := Diff(t.Context(), Options{Traffic: tr, New: decide(func(string) script.Decision { return script.Decision{} })}); err != nil || r.Old.Cost != nil {
		t.Errorf("without prices: %+v, %v", r, err)
	}
}
