package broker

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
)

func (b *bridge) marketing(phone string) consent.State {
	b.Helper()
	st, err := b.Consent(context.Background(), "acme", phone)
	if err != nil {
		b.Fatal(err)
	}
	return st.Levels[consent.Marketing].State
}

// Asked, pending, "yes", granted: in each language, with what shows it, and told to
// the CRM.
func TestOptIn_TakesTwoWordsInEachLanguage(t *testing.T) {
	for language, c := range map[string]struct{ phone, please, yes string }{
		"en": {"+14155550100", "subscribe", "YES!"}, "es": {"+34600111222", "alta", "Sí, por favor"}, "fr": {"+33612345678", "je m'abonne", "oui"},
		"pt": {"+5511912345678", "quero receber ofertas", "Sim"}, "zh": {"+8613800138000", "订阅", "同意"},
		"de": {"+491701234567", "anmelden", "Ja"}, "it": {"+393331234567", "iscrivimi", "accetto"},
	} {
		run(t, func(b *bridge) {
			b.withPolicy(Policy{DoubleOptIn: true})
			b.start()
			texts := consent.TextsFor(nil, language)
			b.write("wamid.1", c.phone, c.please)
			b.write("wamid.2", c.phone, c.please) // not asked twice
			b.wantSaid(texts.Ask)
			if st := b.marketing(c.phone); st != consent.Asked {
				t.Errorf("%s: %s before the answer", language, st)
			}
			b.write("wamid.3", c.phone, c.yes)
			b.write("wamid.4", c.phone, c.please) // has it already
			b.wantSaid(texts.Ask, texts.Start)
			proof, err := b.ProveConsent(context.Background(), "acme", c.phone)
			if err != nil || !proof.Whole {
				t.Fatalf("%+v, %v", proof, err)
			}
			var entries []string
			for _, e := range proof.Entries {
				if e.Level == consent.Marketing && e.Genuine {
					entries = append(entries, string(e.State)+" "+e.Details.Evidence+" "+e.Details.Language)
				}
			}
			if want := []string{"asked " + c.please + " " + language, "asked " + c.please + " " + language, "granted " + c.yes + " " + language}; !slices.Equal(entries, want) {
				t.Errorf("%s: the ledger has %q, want %q", language, entries, want)
			}
			if got, want := b.consents(), []string{"marketing asked word → asked[]", "marketing granted word → granted[]"}; !slices.Equal(got, want) {
				t.Errorf("%s: the CRM was told %q, want %q", language, got, want)
			}
		})
	}
}

func TestOptIn_AnAnswerCountsForSomeDays(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		want  consent.State
	}{{48 * time.Hour, consent.Granted}, {48*time.Hour + time.Second, consent.Asked}} {
		run(t, func(b *bridge) {
			b.withPolicy(Policy{DoubleOptIn: true, ConfirmWithin: 48 * time.Hour})
			b.scripts = reply("hello")
			b.start()
			asked := time.Now()
			b.accept(received("wamid.1", ana, "subscribe"))
			sleepUntil(asked.Add(c.after))
			b.write("wamid.2", ana, "yes")
			if st := b.marketing(ana); st != c.want {
				t.Errorf("a yes after %v: %s, want %s", c.after, st, c.want)
			}
			if c.want == consent.Granted {
				return
			}
			texts := consent.TextsFor(nil, "en")
			b.wantSaid(texts.Ask, "hello") // a word like others
			b.wantNotes("wamid.2", "no answer any more")
			b.write("wamid.3", ana, "subscribe") // asked anew, and again it takes a word
			b.write("wamid.4", ana, "yes")
			b.wantSaid(texts.Ask, "hello", texts.Ask, texts.Start)
			if st := b.marketing(ana); st != consent.Granted {
				t.Errorf("after the second question: %s", st)
			}
		})
	}
}

// Who agreed elsewhere is asked by a template where texts may not be sent, at a
// decent hour, and a button answers.
func TestOptIn_OfAFormIsAskedByATemplate(t *testing.T) {
	madrid, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		t.Fatal(err)
	}
	quiet, err := consent.ParseQuietHours("21:00-08:00")
	if err != nil {
		t.Fatal(err)
	}
	form := core.Consent{Level: "marketing", State: "granted", Evidence: "form /join"}
	policy := Policy{DoubleOptIn: true, QuietHours: quiet, Texts: map[string]consent.Texts{"es": {AskTemplate: "ask_offers/es_ES"}}}
	t.Run("asked", func(t *testing.T) {
		run(t, func(b *bridge) {
			b.withPolicy(policy)
			b.start()
			sleepUntil(time.Date(2000, 1, 3, 23, 0, 0, 0, madrid))
			b.change1("g", berto, form)
			settled(8 * time.Hour)
			b.change1("g", berto, form) // the same request
			b.wantSaid()
			settled(2 * time.Hour)
			b.wantSaid("ask_offers")
			if at := b.wa.taken()[0]; at.event.Message.Template.Language != "es_ES" || at.at.In(madrid).Hour() != 8 {
				t.Errorf("%+v at %s", at.event.Message.Template, at.at.In(madrid))
			}
			press := received("wamid.1", berto, "Sí")
			press.Message.Type, press.Message.Reply = core.TypeButton, &core.Reply{Kind: "template_button", ID: "CONFIRM_OPT_IN", Title: "Claro que sí"}
			b.accept(press)
			settled(time.Second)
			if st := b.marketing(berto); st != consent.Granted {
				t.Errorf("after the button: %s", st)
			}
		})
	})
	t.Run("not asked who said stop in the night", func(t *testing.T) {
		run(t, func(b *bridge) {
			b.withPolicy(policy)
			b.start()
			sleepUntil(time.Date(2000, 1, 3, 23, 0, 0, 0, madrid))
			b.change1("g", berto, form)
			b.write("wamid.1", berto, "baja")
			settled(24 * time.Hour)
			b.change1("g2", berto, form)
			settled(24 * time.Hour)
			b.wantSaid(consent.TextsFor(nil, "es").Stop)
		})
	})
	t.Run("cannot be asked", func(t *testing.T) {
		run(t, func(b *bridge) {
			b.withPolicy(policy)
			b.start()
			b.change1("g", ana, form) // no template in English
			settled(24 * time.Hour)
			b.wantSaid()
			if st := b.marketing(ana); st != consent.Asked {
				t.Errorf("%s", st)
			}
			promo := b.order("k", ana, "template promo")
			settled(24 * time.Hour)
			if got := b.trace(promo); !strings.Contains(got, "asked for and not confirmed") {
				t.Errorf("the trace says %q", got)
			}
		})
	})
}

// An old question is not answered by a "yes" to something else, once the person
// said stop and somebody else says that they agree.
func TestOptIn_StopClosesTheQuestion(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{DoubleOptIn: true})
		b.start()
		b.write("wamid.1", ana, "subscribe")
		b.write("wamid.2", ana, "stop")
		b.change1("g", ana, core.Consent{Level: "marketing", State: "granted", Evidence: "form"})
		settled(time.Second)
		b.write("wamid.3", ana, "yes")
		texts := consent.TextsFor(nil, "en")
		b.wantSaid(texts.Ask, texts.Stop)
		if st := b.marketing(ana); st != consent.Asked {
			t.Errorf("%s", st)
		}
	})
}

func TestOptIn_WhoConfirmedNeedNotDoSoAgain(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{DoubleOptIn: true})
		b.start()
		b.write("wamid.1", ana, "subscribe")
		b.write("wamid.2", ana, "yes")
		if st := b.change1("g", ana, core.Consent{Level: "marketing", State: "granted", Evidence: "form"}); !st.MayMarket {
			t.Errorf("%+v", st)
		}
	})
}
