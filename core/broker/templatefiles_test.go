package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/campaign"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

// cardsOf are components with a card for each picture.
func cardsOf(hashes ...string) json.RawMessage {
	cards := make([]string, len(hashes))
	for i, h := range hashes {
		cards[i] = fmt.Sprintf(`{"card_index":%d,"components":[{"type":"header","parameters":[{"type":"image","image":{"hash":%q}}]}]}`, i, h)
	}
	return json.RawMessage(`[{"type":"carousel","cards":[` + strings.Join(cards, ",") + `]}]`)
}

func (b *bridge) sendCards(key string, components json.RawMessage) error {
	_, err := b.Send(context.Background(), SendRequest{Tenant: "acme", Key: key, Message: core.Message{
		To: to(ana), Type: core.TypeTemplate, Template: &core.Template{Name: "hello_world", Language: "en_US", Components: components},
	}})
	return err
}

// withCards is a bridge that sends a template whose cards have files.
func withCards(b *bridge) *graph {
	b.withPolicy(Policy{Templates: []Template{{Name: "hello_world", Category: consent.CategoryUtility}}})
	return withUploader(b)
}

// The files of a carousel's cards are uploaded once for all messages with them, and once more
// when WhatsApp has them no longer.
func TestTemplateFiles_AreUploadedOnceForAllCards(t *testing.T) {
	run(t, func(b *bridge) {
		g := withCards(b)
		bread, cake := b.keep("bread.png", png(5000)), b.keep("cake.png", png(6000))
		want := func(what string, sends int, uploads uint64) {
			t.Helper()
			settled(time.Minute)
			if n := len(g.sim.Ledger().Sends); n != sends || g.sim.Uploads() != uploads || len(b.dead()) != 0 {
				t.Errorf("%s: %d sends of %d, %d uploads of %d; dead %+v", what, n, sends, g.sim.Uploads(), uploads, b.dead())
			}
		}
		for i := range 3 {
			if err := b.sendCards(fmt.Sprint("k", i), cardsOf(bread, cake, bread)); err != nil {
				t.Fatal(err)
			}
		}
		want("three of them", 3, 2)
		for _, tr := range b.crm.taken() {
			if m := tr.event.Message; tr.event.Kind == core.KindMessageSent && len(m.Template.Files()) != 2 {
				t.Errorf("the CRM is told of %s", m.Template.Components)
			}
		}
		g.sim.Fail(whatsappsim.Rule{Do: whatsappsim.DoError, Code: 131053, Count: 1})
		if err := b.sendCards("refused", cardsOf(bread, cake)); err != nil {
			t.Fatal(err)
		}
		want("refused in the answer", 4, 4)
		g.sim.Fail(whatsappsim.Rule{Do: whatsappsim.DoFail, Code: 131053, Count: 1})
		if err := b.sendCards("failed", cardsOf(bread, cake)); err != nil {
			t.Fatal(err)
		}
		want("refused by a status", 5, 4)
		if err := b.sendCards("next", cardsOf(bread, cake)); err != nil {
			t.Fatal(err)
		}
		want("the next", 6, 6)
		// Each message keeps its files for as long again.
		for range 3 {
			b.off(b.o.Media.Keep - aDay)
			if err := b.sendCards(time.Now().String(), cardsOf(bread, cake)); err != nil {
				t.Fatal(err)
			}
			settled(time.Minute)
		}
		b.off(b.o.Media.Keep + aDay)
		settled(2 * time.Hour) // what is over is swept
		if err := b.sendCards("late", cardsOf(bread, cake)); err == nil {
			t.Error("a file whose time is over is sent")
		}
	})
}

func TestTemplateFiles_ThatAreNotThereAreRefusedAtOnce(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = func(e *core.Event) script.Decision {
			return script.Decision{Actions: []script.Action{{Type: script.ActionReply, Message: &core.Message{
				Type: core.TypeTemplate, Template: &core.Template{Name: "hello_world", Language: "en_US", Components: cardsOf(e.Message.Text, e.Message.Text)},
			}}}}
		}
		g := withCards(b)
		bread, pdf := b.keep("bread.png", png(5000)), b.keep("prices.pdf", []byte("%PDF-1.7"))
		for want, hash := range map[string]string{
			"no file with the hash": strings.Repeat("0", 64), "takes no file of type": pdf, "not 64 of 0-9 and a-f": "../../secret",
		} {
			if err := b.sendCards("k", cardsOf(bread, hash)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
		b.write("wamid.1", ana, strings.Repeat("0", 64))
		b.wantNotes("wamid.1", "no file with the hash")
		b.write("wamid.2", ana, bread)
		settled(time.Minute)
		if n := len(g.sim.Ledger().Sends); n != 1 || g.sim.Uploads() != 1 {
			t.Errorf("%d sends, %d uploads", n, g.sim.Uploads())
		}
	})
}

// A campaign is not planned without its files; those of its rows may be other ones each.
func TestTemplateFiles_OfACampaign(t *testing.T) {
	run(t, func(b *bridge) {
		g := withCards(b)
		bread, cake := b.keep("bread.png", png(5000)), b.keep("cake.png", png(6000))
		pictured := func(hashes ...string) campaign.Template {
			return campaign.Template{Name: "hello_world", Language: "en_US", Components: cardsOf(hashes...)}
		}
		b.newCampaign(CampaignRequest{Name: "lost", Template: pictured(bread, strings.Repeat("0", 64))}, entries(1)...)
		if _, err := b.SetCampaign(b.Context(), "acme", "lost", CampaignPlan, "maria", ""); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("it is planned: %v", err)
		}
		people := entries(3)
		for i := range people {
			people[i].Columns = map[string]string{"Picture": []string{bread, cake, bread}[i]}
		}
		b.newCampaign(CampaignRequest{Name: "spring", Template: pictured(bread, "{{column.Picture}}")}, people...)
		b.planIt("spring")
		b.set("spring", CampaignStart)
		settled(time.Minute)
		if n := len(g.sim.Ledger().Sends); n != 3 || g.sim.Uploads() != 2 {
			t.Errorf("%d sends, %d uploads; %+v", n, g.sim.Uploads(), b.rows("spring"))
		}
	})
}
