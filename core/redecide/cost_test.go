package redecide

import (
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
)

func TestDiff_ForecastsWhatMessagesCost(t *testing.T) {
	prices := &Prices{Currency: "EUR", Message: 0.01, Category: func(name, _ string) string { return map[string]string{"sale": "marketing"}[name] },
		Rates: []Rate{{Category: "marketing", Cost: 0.5}, {Prefix: "+1", Cost: 0.02}, {Category: "marketing", Prefix: "+1", Cost: 0.25},
			{Category: "service", Prefix: "+34", Cost: 9}, {Category: "marketing", Prefix: "+1415", Cost: 0.125}}}
	tr := traffic{
		record(t, 1, "a", "bot", `[{"type":"reply","text":"x"},{"type":"reply","text":"y"},{"type":"tag","tag":"t"}]`, nil),
		record(t, 2, "b", "human", `[{"type":"reply","text":"x"}]`, nil),
	}
	r, err := Diff(t.Context(), Options{Traffic: tr, Prices: prices, New: decide(func(string) script.Decision {
		return script.Decision{Actions: []script.Action{{Type: script.ActionReply, Message: &core.Message{Template: &core.Template{Name: "sale"}}}}}
	})})
	if err != nil {
		t.Fatal(err)
	}
	// The contact is not in these records' contexts: no prefix fits.
	if r.Currency != "EUR" || r.Old.Cost != 0.02 || r.New.Cost != 0.5 {
		t.Errorf("%s: was %v, would be %v", r.Currency, r.Old.Cost, r.New.Cost)
	}
	text, sale := &script.Action{Type: script.ActionReply, Text: "x"}, &script.Action{Type: script.ActionReply, Message: &core.Message{Template: &core.Template{Name: "sale"}}}
	for _, tc := range []struct {
		action *script.Action
		phone  string
		want   float64
	}{{text, "+14155550100", 0.02}, {sale, "+14155550100", 0.125}, {sale, "+12125550100", 0.25}, {sale, "+34600111222", 0.5}, {text, "+34600111222", 9}, {text, "", 0.01}} {
		if got := prices.of(tc.action, tc.phone); got != tc.want {
			t.Errorf("%s to %s costs %v, want %v", tc.action.Type, tc.phone, got, tc.want)
		}
	}
	if r, err := Diff(t.Context(), Options{Traffic: tr, New: decide(func(string) script.Decision { return script.Decision{} })}); err != nil || r.Currency != "" || r.Old.Cost != 0 {
		t.Errorf("without prices: %+v, %v", r, err)
	}
}
