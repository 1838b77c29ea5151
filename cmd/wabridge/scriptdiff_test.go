package main

import (
	"context"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/rate"
)

// toldTemplates is a bridge that says what WhatsApp told it of templates.
type toldTemplates struct {
	looker
	list broker.TemplateList
}

func (t toldTemplates) Templates(context.Context, string) (broker.TemplateList, error) {
	return t.list, nil
}

// A diff prices a template by the category that it has at WhatsApp, which changes them.
func TestScriptDiff_PricesByWhatsAppsCategory(t *testing.T) {
	card, err := rate.ReadCard(strings.NewReader("Market,Currency,Marketing,Utility\nSpain,EUR,0.05,0.01\n"))
	if err != nil {
		t.Fatal(err)
	}
	tgt := &target{tenant: config.Tenant{ID: "demo", Book: rate.NewBook(card), Templates: []config.MessageTemplate{
		{Name: "moved", Language: "es", Category: "utility"}, {Name: "kept", Language: "es", Category: "utility"}}}}
	p, err := tgt.prices(t.Context(), toldTemplates{list: broker.TemplateList{Templates: []broker.TemplateStatus{
		{TemplateChange: core.TemplateChange{Name: "moved", Language: "es", Category: "MARKETING"}},
		{TemplateChange: core.TemplateChange{Name: "kept", Language: "en", Category: "MARKETING"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]rate.Category{"moved": rate.Marketing, "kept": rate.Utility, "nobody's": rate.Marketing} {
		if got := p.Category(name, "es"); got != want {
			t.Errorf("%s is priced as %s, want %s", name, got, want)
		}
	}
	tgt.tenant.Book = nil
	if p, err := tgt.prices(t.Context(), toldTemplates{}); p != nil || err != nil {
		t.Errorf("without a card: %+v, %v", p, err)
	}
}
