package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store"
)

const (
	ana   = "+14155550100"
	berto = "+34600111222"
)

var testTemplates = []Template{
	{Name: "promo", Category: consent.CategoryMarketing}, {Name: "info", Category: consent.CategoryUtility},
	{Name: "otp", Category: consent.CategoryAuthentication}, {Name: "loan", Category: consent.CategoryUtility, Topics: []string{"loans"}},
}

// withPolicy sets the tenant's policy.
func (b *bridge) withPolicy(p Policy) {
	if p.Templates == nil {
		p.Templates = testTemplates
	}
	b.change = func(o *Options) { o.Tenants[0].Policy = p }
}

func to(phone string) core.Address { return core.Address{Kind: core.AddressPhone, Value: phone} }

// order sends by the API: text, or a template by its name.
func (b *bridge) order(key, phone, what string, edit ...func(*SendRequest)) string {
	b.Helper()
	r := SendRequest{Tenant: "acme", Key: key, Message: core.Message{Type: core.TypeText, Text: what, To: to(phone)}}
	if name, ok := strings.CutPrefix(what, "template "); ok {
		r.Message.Type, r.Message.Text, r.Message.Template = core.TypeTemplate, "", &core.Template{Name: name, Language: "en"}
	}
	for _, f := range edit {
		f(&r)
	}
	receipt, err := b.Send(context.Background(), r)
	if err != nil {
		b.Fatal(err)
	}
	return receipt.ID
}

func (b *bridge) write(id, phone, text string) {
	b.Helper()
	b.accept(received(id, phone, text))
	settled(2 * time.Second)
}

func (b *bridge) change1(key, phone string, c core.Consent) ConsentStatus {
	b.Helper()
	st, err := b.ChangeConsent(context.Background(), ConsentRequest{Tenant: "acme", Contact: phone, Key: key, Consent: c})
	if err != nil {
		b.Fatal(err)
	}
	return st
}

// said is what went to WhatsApp: texts and templates' names.
func (b *bridge) said() []string {
	out := []string{}
	for _, tr := range b.wa.taken() {
		if m := tr.event.Message; m.Type == core.TypeTemplate {
			out = append(out, m.Template.Name)
		} else {
			out = append(out, m.Text)
		}
	}
	return out
}

func (b *bridge) wantSaid(want ...string) {
	b.Helper()
	if got := b.said(); !slices.Equal(got, want) {
		b.Errorf("said %q\nwant %q", got, want)
	}
}

// trace is the words of the trace about an event.
func (b *bridge) trace(id string) string {
	b.Helper()
	story, err := b.Why(context.Background(), "acme", id)
	if err != nil {
		b.Fatal(err)
	}
	var notes []string
	for _, s := range story.Steps {
		notes = append(notes, s.Notes...)
	}
	return strings.Join(notes, "; ")
}

func (b *bridge) wantNotes(id, want string) {
	b.Helper()
	if got := b.trace(id); !strings.Contains(got, want) {
		b.Errorf("the trace of %s says %q, not %q", id, got, want)
	}
}

func (b *bridge) consents() []string {
	var out []string
	for _, tr := range b.crm.taken() {
		if c := tr.event.Consent; tr.event.Kind == core.KindConsentChanged {
			out = append(out, fmt.Sprint(or(c.Level+" "+c.State, ""), c.Suppression, " ", c.Source, " → ", c.Marketing, c.Suppressed))
		}
	}
	return out
}

func (b *bridge) ledger(name string) []string {
	b.Helper()
	var out []string
	_, err := store.VerifyLog(context.Background(), b.store, store.LogID{Tenant: "acme", Name: name}, func(e store.LogEntry) error {
		c, _ := decode[consent.Entry](e.Data)
		out = append(out, strings.TrimSpace(string(c.Level)+" "+string(c.State)+string(c.Reason)))
		if strings.Contains(string(e.Data), "1415555") || strings.Contains(string(e.Data), "wamid") {
			b.Errorf("the entry names somebody: %s", e.Data)
		}
		return nil
	})
	if err != nil {
		b.Error(err)
	}
	return out
}

func TestPolicy_StopIsAnsweredOnceAndThenThereIsSilence(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.scripts = reply("hello")
		b.start()
		texts := consent.TextsFor(nil, "en")
		b.write("wamid.1", ana, "hi")
		b.write("wamid.2", ana, "Stop!")
		b.accept(received("wamid.2", ana, "Stop!")) // redelivered
		b.write("wamid.3", ana, "STOP")
		b.write("wamid.4", ana, "what about my order?")
		refused := b.order("k1", ana, "template info")
		b.order("k2", ana, "an answer", func(r *SendRequest) { r.Author = core.AuthorHuman })
		settled(2 * time.Second)
		b.wantSaid("hello", texts.Stop)
		b.wantNotes(refused, "refused: suppressed: the person asked us to stop since ")
		b.wantNotes("wamid.4", "reply refused: suppressed")
		if got, want := b.ledger(logConsent), []string{"transactional granted", "marketing withdrawn", "marketing withdrawn"}; !slices.Equal(got, want) {
			t.Errorf("ledger: %q, want %q: one entry for each STOP, none for one that came twice", got, want)
		}
		b.stop()
		b.start()
		b.write("wamid.5", ana, "start")
		b.write("wamid.6", ana, "thanks")
		b.wantSaid("hello", texts.Stop, texts.Start, "hello")
		if got, want := b.consents(), []string{"marketing withdrawn word → withdrawn[stop]", " stop word → withdrawn[stop]", " stop word → granted[]", "marketing granted word → granted[]"}; !slices.Equal(got, want) {
			t.Errorf("the CRM was told %q\nwant %q", got, want)
		}
	})
}

func TestPolicy_ASentenceWithStopIsASentence(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.scripts = reply("hello")
		b.start()
		b.write("wamid.1", "+5511912345678", "stop, o Zé não vem")
		b.write("wamid.2", "+5511912345678", "start") // nobody stopped: a word like others
		b.wantSaid("hello", "hello")
		b.write("wamid.3", "+5511912345678", "stop")
		if got := b.said()[2]; got != consent.TextsFor(nil, "pt").Stop {
			t.Errorf("answered a Brazilian number with %q", got)
		}
	})
}

func TestPolicy_ButtonsAndOwnWordsAndTextsCount(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{Words: consent.NewWords(map[consent.Intent][]string{consent.StopAll: {"fuera"}}), Texts: map[string]consent.Texts{"es": {Stop: "adiós"}}})
		b.scripts = reply("hello")
		b.start()
		press := received("wamid.1", ana, "No more offers please")
		press.Message.Type, press.Message.Reply = core.TypeButton, &core.Reply{Kind: "template_button", ID: "STOP_PROMOTIONS", Title: "No more offers please"}
		b.accept(press)
		settled(time.Second)
		b.write("wamid.2", ana, "hi")
		b.write("wamid.3", berto, "¡Fuera!")
		b.wantSaid(consent.TextsFor(nil, "en").StopMarketing, "hello", "adiós")
	})
}

func TestPolicy_MarketingNeedsConsentByMetasCategory(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.start()
		b.write("wamid.1", ana, "hi")
		promo := b.order("k1", ana, "template promo")
		unknown := b.order("k2", ana, "template never-heard-of")
		b.order("k3", ana, "template info")
		settled(2 * time.Second)
		b.wantSaid("info")
		b.wantNotes(promo, "refused: the template promo is marketing: no marketing consent")
		b.wantNotes(unknown, "never-heard-of is marketing")
		if _, err := b.ChangeConsent(context.Background(), ConsentRequest{Tenant: "acme", Contact: ana, Key: "g0", Consent: core.Consent{Level: "marketing", State: "granted"}}); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("a grant without evidence: %v", err)
		}
		settled(time.Second)
		if st := b.change1("g1", ana, core.Consent{Level: "marketing", State: "granted", Evidence: "form /join, 2 March"}); !st.MayMarket {
			t.Errorf("after the grant: %+v", st)
		}
		b.order("k4", ana, "template promo")
		settled(2 * time.Second)
		// Meta changes the category, a day after its notice.
		b.change1("g2", ana, core.Consent{Level: "marketing", State: "withdrawn"})
		change := func(id string, c core.TemplateChange) {
			b.accept(core.Event{ID: id, Kind: core.KindTemplateChanged, Tenant: "acme", Time: time.Now(), TemplateChange: &c})
			settled(time.Second)
		}
		change("wh-1", core.TemplateChange{Name: "info", Language: "en", Category: "utility", Next: "marketing", NextAt: time.Now().Add(24 * time.Hour)})
		b.order("k5", ana, "template info")
		settled(24 * time.Hour)
		b.stop()
		b.start()
		late := b.order("k6", ana, "template info")
		settled(2 * time.Second)
		b.wantSaid("info", "promo", "info")
		b.wantNotes(late, "info is marketing: marketing consent was withdrawn")
		change("wh-2", core.TemplateChange{Name: "info", Language: "en", Category: "utility", Status: "APPROVED"})
		change("wh-3", core.TemplateChange{Name: "info", Language: "en", Status: "FLAGGED"})
		b.order("k7", ana, "template info")
		settled(2 * time.Second)
		b.wantSaid("info", "promo", "info", "info")
	})
}

func metaChoice(id, phone, state string) core.Event {
	return core.Event{ID: id, Kind: core.KindConsentChanged, Number: number, Time: time.Now(), Contact: &core.Contact{Phone: phone},
		Consent: &core.Consent{Level: "marketing", State: state, Source: "meta"}}
}

func TestPolicy_MetasResumeClearsMetasStopOnly(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.start()
		b.change1("g1", ana, core.Consent{Level: "marketing", State: "granted", Evidence: "form"})
		step := func(id, state string, may bool) {
			t.Helper()
			settled(2 * time.Second)
			b.accept(metaChoice(id, ana, state))
			settled(2 * time.Second)
			if st, err := b.Consent(context.Background(), "acme", ana); err != nil || st.MayMarket != may {
				t.Errorf("after %s: %+v, %v", id, st, err)
			}
		}
		step("wh-1", "withdrawn", false)
		step("wh-2", "granted", true)
		b.change1("g2", ana, core.Consent{Level: "marketing", State: "withdrawn"})
		step("wh-3", "withdrawn", false)
		step("wh-4", "granted", false)
	})
}

func TestPolicy_Error131050WithdrawsMarketing(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		ok := b.wa.do
		b.wa.do = func(d core.Delivery) core.Result {
			if d.Event.Contact.Phone == ana {
				return core.Result{Err: &core.Error{Code: core.CodeUndeliverable, Message: "stopped", Vendor: "131050"}}
			}
			return ok(d)
		}
		b.start()
		for i, phone := range []string{ana, berto} {
			b.change1(fmt.Sprint("g", i), phone, core.Consent{Level: "marketing", State: "granted", Evidence: "form"})
			settled(2 * time.Second)
			b.order(fmt.Sprint("k", i), phone, "template promo")
		}
		settled(2 * time.Second)
		e := statusOf(b.wa.taken()[1].event.ID, "wamid.out.1", core.StatusFailed)
		e.Contact, e.Status.Errors = &core.Contact{Phone: berto}, []core.StatusError{{Code: 131050}}
		b.accept(e)
		settled(2 * time.Second)
		for _, phone := range []string{ana, berto} {
			if st, err := b.Consent(context.Background(), "acme", phone); err != nil || st.MayMarket || st.MetaStop == nil {
				t.Errorf("%+v, %v", st, err)
			}
		}
	})
}

func TestPolicy_DoubleOptInTakesTwoWords(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{DoubleOptIn: true})
		b.scripts = reply("hello")
		b.start()
		texts := consent.TextsFor(nil, "en")
		b.write("wamid.1", ana, "yes") // to what?
		b.write("wamid.2", ana, "subscribe")
		promo := b.order("k1", ana, "template promo")
		settled(2 * time.Second)
		b.write("wamid.3", ana, "YES!")
		b.order("k2", ana, "template promo")
		settled(2 * time.Second)
		b.wantSaid("hello", texts.Ask, texts.Start, "promo")
		b.wantNotes(promo, "asked for and not confirmed")
		st := b.change1("g1", berto, core.Consent{Level: "marketing", State: "granted", Evidence: "form"})
		if st.MayMarket || st.Levels[consent.Marketing].State != consent.Asked {
			t.Errorf("granted by the API: %+v", st)
		}
	})
}

func TestPolicy_SuppressionIsApartFromConsentAndGranular(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.start()
		b.change1("g", ana, core.Consent{Level: "marketing", State: "granted", Evidence: "form"})
		b.change1("s", ana, core.Consent{Suppression: "request", Scope: "topic:loans"})
		loan := b.order("k1", ana, "template loan")
		b.order("k2", ana, "template promo")
		settled(2 * time.Second)
		b.change1("h", ana, core.Consent{Suppression: "legal_hold", Evidence: "case 17", By: "maria"})
		held := b.order("k3", ana, "template otp")
		settled(2 * time.Second)
		b.change1("l", ana, core.Consent{Suppression: "legal_hold", Lifted: true})
		b.order("k4", ana, "template promo")
		settled(2 * time.Second)
		b.wantSaid("promo", "promo")
		b.wantNotes(loan, "suppressed for the topic loans")
		b.wantNotes(held, "suppressed: legal hold")
	})
}

func TestPolicy_WhatWaitedInALaneIsLookedAtAgain(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.scripts = func(*core.Event) script.Decision { return script.Decision{} }
		ok := b.wa.do
		var down atomic.Bool
		down.Store(true)
		b.wa.do = func(d core.Delivery) core.Result {
			if down.Load() {
				return core.Result{Err: &core.Error{Code: core.CodeUnavailable, Message: "down", Scope: core.ScopeLane}}
			}
			return ok(d)
		}
		b.start()
		b.write("wamid.1", ana, "hi")
		b.write("wamid.2", berto, "hola")
		id := b.order("k1", ana, "your order is on its way")
		b.order("k2", berto, "your order is on its way")
		settled(time.Minute)
		b.write("wamid.3", ana, "stop")
		tries := len(b.wa.taken())
		down.Store(false)
		settled(time.Minute)
		var got []string
		for _, tr := range b.wa.taken()[tries:] {
			got = append(got, tr.event.Contact.Phone+" "+tr.event.Message.Text)
		}
		slices.Sort(got)
		if want := []string{ana + " " + consent.TextsFor(nil, "en").Stop, berto + " your order is on its way"}; !slices.Equal(got, want) {
			t.Errorf("sent %q, want %q", got, want)
		}
		b.wantNotes(id, "refused while it waited to be sent: suppressed")
		if b.depth() != 0 || len(b.dead()) != 0 {
			t.Errorf("%d left, %d dead", b.depth(), len(b.dead()))
		}
	})
}

func TestPolicy_QuietHoursPutOffWhatTheBusinessBegins(t *testing.T) {
	run(t, func(b *bridge) {
		quiet, err := consent.ParseQuietHours("21:00-08:00")
		if err != nil {
			t.Fatal(err)
		}
		b.withPolicy(Policy{QuietHours: quiet})
		b.scripts = reply("hello")
		b.start()
		madrid, err := time.LoadLocation("Europe/Madrid")
		if err != nil {
			t.Fatal(err)
		}
		settled(time.Until(time.Date(2000, 1, 3, 20, 59, 59, 0, madrid)))
		b.order("k1", berto, "template info")
		settled(999 * time.Millisecond)
		b.wantSaid("info") // one tick before
		settled(time.Millisecond)
		late := b.order("k2", berto, "template info")
		b.order("k3", berto, "template otp")
		settled(time.Hour)
		b.write("wamid.1", berto, "¿hola?")
		b.order("k4", berto, "an answer", func(r *SendRequest) { r.Author, r.By = core.AuthorHuman, "maria" })
		settled(time.Second)
		b.wantSaid("info", "otp", "hello", "an answer")
		b.wantNotes(late, "put off until 2000-01-04T07:00:00Z")
		b.stop()
		settled(time.Hour)
		b.start() // a put-off message survives
		settled(time.Until(time.Date(2000, 1, 4, 8, 0, 0, 0, madrid)) - time.Millisecond)
		b.wantSaid("info", "otp", "hello", "an answer")
		settled(10 * time.Second)
		b.wantSaid("info", "otp", "hello", "an answer", "info")
		// What was put off is decided anew: they wrote STOP in the night.
		settled(time.Until(time.Date(2000, 1, 4, 23, 0, 0, 0, madrid)))
		b.order("k5", berto, "template info")
		settled(time.Second)
		b.write("wamid.2", berto, "baja")
		settled(24 * time.Hour)
		b.wantSaid("info", "otp", "hello", "an answer", "info", consent.TextsFor(nil, "es").Stop)
	})
}

func TestPolicy_AnyPersonSilencesTheBotUntilReleased(t *testing.T) {
	for name, human := range map[string]func(b *bridge){
		"api": func(b *bridge) { b.order("h", ana, "maria here", func(r *SendRequest) { r.Author = core.AuthorHuman }) },
		"phone app": func(b *bridge) {
			b.accept(core.Event{ID: "wamid.echo", Kind: core.KindMessageSent, Number: number, Time: time.Now(), Source: "phone", Author: core.AuthorHuman,
				Contact: &core.Contact{Phone: ana}, Message: &core.Message{ID: "wamid.echo", Direction: core.Outbound, Type: core.TypeText, Text: "maria here", To: to(ana)}})
		},
		"crm": func(b *bridge) {
			b.accept(core.Event{ID: "crm-1", Kind: core.KindMessageSend, Number: number, Tenant: "acme", Source: "hubspot", Contact: &core.Contact{Phone: ana},
				Message: &core.Message{Direction: core.Outbound, Type: core.TypeText, Text: "maria here", To: to(ana)}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(b *bridge) {
				b.withPolicy(Policy{})
				b.scripts = reply("bot")
				b.start()
				b.write("wamid.1", ana, "hi")
				human(b)
				settled(time.Second)
				b.write("wamid.2", ana, "hello maria")
				if got := slices.DeleteFunc(b.said(), func(s string) bool { return s == "maria here" }); !slices.Equal(got, []string{"bot"}) {
					t.Errorf("said %q", got)
				}
				b.wantNotes("wamid.2", "a person has this conversation")
				conversation := b.crm.taken()[0].event.Conversation
				if err := b.Release(context.Background(), "acme", conversation, "maria"); err != nil {
					t.Fatal(err)
				}
				b.write("wamid.3", ana, "and the bot?")
				if got := b.said(); got[len(got)-1] != "bot" {
					t.Errorf("released: said %q", got)
				}
				if err := b.Release(context.Background(), "acme", number+":nobody", ""); core.CodeOf(err) != core.CodeInvalid {
					t.Errorf("a conversation that is none: %v", err)
				}
			})
		})
	}
	t.Run("automatic sends do not", func(t *testing.T) {
		run(t, func(b *bridge) {
			b.scripts = reply("bot")
			b.start()
			b.order("k", ana, "your order left")
			settled(time.Second)
			b.write("wamid.1", ana, "great")
			b.wantSaid("your order left", "bot")
		})
	})
}

func TestPolicy_AskingForAPersonCannotBeScriptedAway(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{AfterMessages: 6})
		b.scripts = reply("there is no human here")
		b.start()
		b.write("wamid.1", ana, "A person, please!")
		for i := range 7 {
			b.write(fmt.Sprint("wamid.b", i), berto, []string{"hola", "tengo una pregunta sobre mi pedido", "lo hice ayer por la noche",
				"todavía no llega el paquete", "la dirección es calle mayor cinco", "¿cuándo sale de vuestra tienda?", "gracias"}[i])
		}
		var topics []string
		for _, tr := range b.crm.taken() {
			if tr.event.Kind == core.KindEscalation {
				topics = append(topics, tr.event.Cause+" "+tr.event.Escalation.Topic)
			}
		}
		if want := []string{"wamid.1 request", "wamid.b5 messages"}; !slices.Equal(topics, want) {
			t.Errorf("handed over %q, want %q", topics, want)
		}
	})
}

func TestPolicy_AnUnsureReplyIsAPersons(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{MinConfidence: 0.7})
		sure := map[string]float64{"wamid.1": 0.69, "wamid.2": 0.7}
		b.scripts = func(e *core.Event) script.Decision {
			c := sure[e.ID]
			return script.Decision{Actions: []script.Action{{Type: script.ActionReply, Text: "perhaps", Confidence: &c}}}
		}
		b.start()
		b.write("wamid.1", ana, "is it so?")
		b.write("wamid.2", berto, "is it so?")
		b.wantSaid("perhaps")
		b.wantNotes("wamid.1", "less than 0.70 (min_confidence)")
		over := slices.IndexFunc(b.crm.taken(), func(tr try) bool { return tr.event.Kind == core.KindEscalation })
		if over < 0 || b.crm.taken()[over].event.Escalation.Topic != "low_confidence" {
			t.Errorf("no hand-over: %v", b.crm.kinds())
		}
	})
}

func TestConsent_OfAScriptNeedsEvidence(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.scripts = func(e *core.Event) script.Decision {
			return script.Decision{Actions: []script.Action{{Type: script.ActionConsent, Level: "marketing", State: "granted", Evidence: e.Message.Text}}}
		}
		b.start()
		b.write("wamid.1", ana, "send me your newsletter")
		none := received("wamid.2", berto, "")
		b.accept(none)
		settled(time.Second)
		for phone, want := range map[string]bool{ana: true, berto: false} {
			if st, err := b.Consent(context.Background(), "acme", phone); err != nil || st.MayMarket != want {
				t.Errorf("%+v, %v", st, err)
			}
		}
		b.wantNotes("wamid.2", "consent refused: ")
	})
}

func TestConsent_IsProvenAndForgotten(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.start()
		b.write("wamid.1", ana, "hi")
		b.write("wamid.2", ana, "subscribe")
		b.write("wamid.3", berto, "hola")
		b.change1("h", ana, core.Consent{Suppression: "legal_hold", By: "maria"})
		b.change1("h", ana, core.Consent{Suppression: "legal_hold", By: "maria"}) // the same key
		proof, err := b.ProveConsent(context.Background(), "acme", ana)
		if err != nil || !proof.Whole || len(proof.Entries) != 3 {
			t.Fatalf("%+v, %v", proof, err)
		}
		e := proof.Entries[1]
		if !e.Genuine || e.Details.Evidence != "subscribe" || e.Details.Event != "wamid.2" || e.State != consent.Granted || e.Seq != 2 {
			t.Errorf("entry %+v, details %+v", e, e.Details)
		}
		puts := b.detailsOf(proof.Status.Contact)
		if len(puts) != 3 {
			t.Fatalf("%d to delete", len(puts))
		}
		if _, err := b.store.Settle(context.Background(), store.Settlement{Put: puts}); err != nil {
			t.Fatal(err)
		}
		proof, err = b.ProveConsent(context.Background(), "acme", ana)
		if err != nil || !proof.Whole || len(proof.Entries) != 3 || proof.Entries[1].Details != nil {
			t.Errorf("forgotten: %+v, %v", proof, err)
		}
		if other, err := b.ProveConsent(context.Background(), "acme", berto); err != nil || len(other.Entries) != 1 || !other.Entries[0].Genuine {
			t.Errorf("the other person: %+v, %v", other, err)
		}
	})
}

func TestConsent_OfPersonsFoundToBeOneIsProvenForBoth(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.start()
		const bsuid = "US.13491208655302741918"
		b.write("wamid.1", ana, "subscribe")
		only := received("wamid.2", "", "stop")
		only.Contact.BSUID = bsuid
		b.accept(only)
		settled(2 * time.Second)
		both := received("wamid.3", ana, "hi")
		both.Contact.BSUID, both.Source = bsuid, "whatsapp"
		b.accept(both)
		settled(2 * time.Second)
		proof, err := b.ProveConsent(context.Background(), "acme", ana)
		if err != nil || !proof.Whole {
			t.Fatalf("%+v, %v", proof, err)
		}
		words := map[string]bool{}
		for _, e := range proof.Entries {
			if e.Genuine {
				words[e.Details.Evidence] = true
			}
		}
		if !words["subscribe"] || !words["stop"] || proof.Status.MayMarket {
			t.Errorf("the proof has %v of both, may market: %v", words, proof.Status.MayMarket)
		}
	})
}
