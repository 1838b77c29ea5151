package consent

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/wabridge/wabridge/core"
)

var t0 = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)

func TestWords_AreWholeMessages(t *testing.T) {
	for text, want := range map[string]Intent{
		"STOP": StopAll, "stop": StopAll, " Stop. ": StopAll, "STOP!!!": StopAll, "*stop*": StopAll, "« STOP »": StopAll, "stop 🙏": StopAll,
		"ＳＴＯＰ": StopAll, "Unsubscribe": StopAll, "opt-out": StopAll, "Baja": StopAll, "DAR DE BAJA": StopAll, "Désabonner": StopAll,
		"désabonnez-moi": StopAll, "arrêter": StopAll, "Descadastrar": StopAll, "não quero mais mensagens": StopAll, "退订": StopAll, "退訂。": StopAll, "TD": StopAll,
		"Stop promotions": StopMarketing, "stop pub": StopMarketing, "不要广告": StopMarketing,
		"start": Start, "Reanudar": Start, "恢复": Start, "SUBSCRIBE": Subscribe, "Alta": Subscribe, "m’abonner": Subscribe, "订阅": Subscribe,
		"yes": Confirm, "Sí!": Confirm, "oui": Confirm, "sim": Confirm, "同意": Confirm,
		"agent": HumanPlease, "A person, please": HumanPlease, "a person please": HumanPlease, "Quiero hablar con una persona": HumanPlease, "puis-je parler à un conseiller ?": HumanPlease,
		"falar com atendente": HumanPlease, "转人工": HumanPlease, "人工客服！": HumanPlease,
		// Sentences, and words in other words.
		"stop, o Zé não vem": "", "please don't stop sending": "", "the bus stop": "", "stop by at 5": "", "no": "", "baja el precio": "", "quiero la planta baja": "",
		"I am an agent of the crown": "", "我要退订单": "", "alto ahí amigo": "", "": "", "   ": "", "🛑": "", "!": "", "parar no posto": "", "arrêt de bus": "",
		"stop\nI mean it, o Zé": "", strings.Repeat("stop ", 100): "",
	} {
		if got := (Words{}).Message(text, ""); got.Intent != want {
			t.Errorf("%q = %q, want %q", text, got.Intent, want)
		}
	}
}

func TestWords_AreSentencesThatSayNothingElse(t *testing.T) {
	for text, want := range map[string]Intent{
		"No quiero recibir más mensajes.": StopAll, "je ne veux plus recevoir vos messages !": StopAll, "取消关注": StopAll, "不要再给我发信息了！": StopAll,
		"I don’t want to receive any more messages": StopAll, "Não quero mais receber mensagens": StopAll, "Ich möchte keine Nachrichten mehr": StopAll,
		"Non voglio più ricevere messaggi": StopAll, "Afmelden": StopAll, "СТОП": StopAll, "إلغاء الاشتراك": StopAll, "配信停止": StopAll, "請不要再傳訊息": StopAll,
		"please unsubscribe": StopAll, "stop, thank you": StopAll, "Baja, por favor": StopAll, "désabonnez-moi s’il vous plaît": StopAll, "退订，谢谢": StopAll,
		// They contain the words, and say something else.
		"no quiero recibir más mensajes de voz, escríbanme": "", "no quiero recibir más mensajes hasta que llegue mi pedido": "", "ya no quiero recibir mensajes de la otra tienda": "",
		"je ne veux plus recevoir vos messages le soir": "", "je ne veux plus recevoir ce produit, remboursez-moi": "", "pourquoi je ne veux plus de messages ?": "",
		"i don't want to receive any more damaged boxes": "", "do you want to end it": "", "the end": "", "remove the second item": "", "please": "", "thanks": "", "": "",
		"não quero mais receber esse produto": "", "não quero receber mensagens de áudio": "", "ich möchte keine Nachrichten mehr verpassen": "", "stopp das Paket": "",
		"non voglio ricevere messaggi la notte": "", "取消关注了怎么办": "", "怎么取消关注": "", "不要再给我发信息了，我已经付款了": "", "我要取消订单": "", "cancel": "", "cancel my order please": "",
		"quiero salir de dudas": "", "a qué hora es la salida": "", "стоп машина": "", "me envían el end cap": "",
	} {
		if got := (Words{}).Message(text, ""); got.Intent != want {
			t.Errorf("%q = %q, want %q", text, got.Intent, want)
		}
	}
}

func TestWords_OneLetterMeansItInChineseOnly(t *testing.T) {
	for language, want := range map[string]Intent{"zh": StopAll, "": "", "en": "", "es": ""} {
		if got := (Words{}).Message(" t ", language); got.Intent != want {
			t.Errorf("T in %q = %q, want %q", language, got.Intent, want)
		}
	}
	if got := (Words{}).Message("T恤", "zh"); got.Intent != "" {
		t.Errorf("a T-shirt: %+v", got)
	}
	if got := NewWords(map[Intent][]string{StopAll: {"T"}}).Message("t", "en"); got.Intent != StopAll {
		t.Errorf("a tenant's own word: %+v", got)
	}
}

func TestWords_HaveFiveOfEachPerLanguage(t *testing.T) {
	for _, v := range vocabulary[:5] {
		for _, intent := range []Intent{StopAll, HumanPlease, Confirm} {
			if n := len(strings.Split(v.words[intent], "|")); n < 5 {
				t.Errorf("%s %s: %d words", v.language, intent, n)
			}
		}
		for intent, words := range v.words {
			for w := range strings.SplitSeq(words, "|") {
				if got := (Words{}).Message(strings.ToUpper(w), v.language); got.Intent != intent || got.Language != v.language {
					t.Errorf("%s %q: found %+v, want %s", v.language, w, got, intent)
				}
			}
		}
		if TextsFor(nil, v.language) == TextsFor(nil, "") && v.language != "en" {
			t.Errorf("no texts in %s", v.language)
		}
	}
	for _, v := range vocabulary {
		if !slices.Contains(Languages(), v.language) {
			continue
		}
		// What the texts tell people to write, the bridge must understand.
		texts := TextsFor(nil, v.language)
		for text, want := range map[string]Intent{texts.Stop: Start, texts.StopMarketing: Subscribe, texts.Start: StopAll, texts.Ask: Confirm} {
			found := false
			for _, w := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" .:“”。，", r) }) {
				said := (Words{}).Message(w, v.language)
				found = found || said.Intent == want && (v.language == "zh" || w == strings.ToUpper(w))
			}
			if !found {
				t.Errorf("%s: %q names no word of %q", v.language, text, want)
			}
		}
	}
}

func TestWords_OfButtonsAreInTheirPayloads(t *testing.T) {
	for _, c := range []struct {
		payload, title string
		want           Intent
	}{
		{"STOP", "Nicht mehr", StopAll}, {"UNSUBSCRIBE", "", StopAll}, {"OPT_OUT", "x", StopAll}, {"STOP_PROMOTIONS", "", StopMarketing},
		{"stop.promotions", "", StopMarketing}, {"OPT_IN", "", Subscribe}, {"btn-7", "Stop promotions", StopMarketing}, {"b2", "Darme de baja", StopAll},
		{"order-7", "Track my order", ""}, {"HUMAN", "", HumanPlease}, {"stop_the_order_7", "Cancel order", ""},
	} {
		if got := (Words{}).Button(c.payload, c.title, "en"); got.Intent != c.want {
			t.Errorf("%q %q = %q, want %q", c.payload, c.title, got.Intent, c.want)
		}
	}
}

func TestWords_TakeATenantsOwn(t *testing.T) {
	w := NewWords(map[Intent][]string{StopAll: {"Fuera!"}, Confirm: {"stop"}})
	if got := w.Message("fuera", "es"); got.Intent != StopAll || got.Language != "es" {
		t.Errorf("own word: %+v", got)
	}
	if got := w.Message("STOP", "es"); got.Intent != Confirm {
		t.Errorf("a tenant's word does not come before ours: %+v", got)
	}
	if got := (Words{}).Message("stop", "pt"); got.Language != "pt" {
		t.Errorf("the conversation's language does not count: %+v", got)
	}
}

func entry(level Level, state State, source Source, at time.Duration) Entry {
	return Entry{ID: fmt.Sprint(level, state, source, at), Level: level, State: state, Source: source, At: t0.Add(at)}
}

func TestSummary_MarketingTakesAnExplicitWord(t *testing.T) {
	var s Summary
	if s.Refuses(Transactional) != "" || s.Refuses(Marketing) == "" {
		t.Error("of a stranger")
	}
	step := func(e Entry, marketing bool) {
		t.Helper()
		if isNew, _ := s.Apply(e); !isNew {
			t.Errorf("%+v is not new", e)
		}
		if got := s.Refuses(Marketing) == ""; got != marketing {
			t.Errorf("after %s: marketing allowed = %v (%s)", e.ID, got, s.Refuses(Marketing))
		}
	}
	step(entry(Transactional, Granted, FirstContact, 0), false)
	step(entry(Marketing, Asked, API, time.Minute), false)
	step(entry(Marketing, Granted, Word, 2*time.Minute), true)
	step(entry(Marketing, Withdrawn, Meta, 3*time.Minute), false)
	step(entry(Marketing, Granted, API, 4*time.Minute), false) // the business cannot undo what the person chose at Meta
	step(entry(Marketing, Granted, Meta, 5*time.Minute), true)
	step(entry(Marketing, Withdrawn, Word, 6*time.Minute), false)
	step(entry(Marketing, Granted, Meta, 7*time.Minute), false) // Meta's resume clears Meta's stop only
	if isNew, changed := s.Apply(entry(Marketing, Withdrawn, Word, 6*time.Minute)); isNew || changed {
		t.Error("a redelivered entry counts")
	}
	step(entry(Marketing, Granted, API, 5*time.Minute), false) // late: it happened before the withdrawal
}

func TestSummary_SuppressesWithinItsScope(t *testing.T) {
	var s Summary
	add := func(r Reason, scope string, lifted bool, at time.Duration) {
		s.Apply(Entry{ID: fmt.Sprint(r, scope, lifted, at), Reason: r, Scope: scope, Lifted: lifted, At: t0.Add(at)})
	}
	plain, ad, loan := Outgoing{}, Outgoing{Marketing: true}, Outgoing{Topics: []string{"loans"}}
	check := func(when string, want ...bool) {
		t.Helper()
		if got := []bool{s.Suppresses(plain) != "", s.Suppresses(ad) != "", s.Suppresses(loan) != ""}; !slices.Equal(got, want) {
			t.Errorf("%s: plain, ad, loan are suppressed: %v, want %v", when, got, want)
		}
	}
	check("nothing", false, false, false)
	add(OnRequest, "topic:loans", false, 1)
	check("a topic", false, false, true)
	add(OnRequest, ScopeMarketing, false, 2)
	check("and marketing", false, true, true)
	add(LegalHold, "", false, 3)
	add(Stop, ScopeAll, false, 4)
	check("all", true, true, true)
	add(Stop, ScopeAll, true, 5)
	check("START does not end a legal hold", true, true, true)
	add(LegalHold, ScopeAll, true, 2)
	check("lifted before it began", true, true, true)
	add(LegalHold, ScopeAll, true, 6)
	check("lifted", false, true, true)
	if n := len(s.Live()); n != 2 {
		t.Errorf("%d live reasons", n)
	}
}

// Whatever the order in which entries arrive, and however often, they add up to
// the same, and marketing is only allowed where the last word allows it.
func TestSummary_DoesNotDependOnOrderOrRepetition(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var all []Entry
		for i := range rapid.IntRange(1, 8).Draw(rt, "n") {
			e := Entry{ID: fmt.Sprint("e", i), At: t0.Add(time.Duration(rapid.IntRange(0, 4).Draw(rt, "at")) * time.Second),
				Source: rapid.SampledFrom([]Source{Word, API, Meta}).Draw(rt, "source")}
			if rapid.Bool().Draw(rt, "suppression") {
				e.Reason, e.Scope = rapid.SampledFrom(Reasons()[:2]).Draw(rt, "reason"), rapid.SampledFrom([]string{ScopeAll, ScopeMarketing, ""}).Draw(rt, "scope")
				e.Lifted = rapid.Bool().Draw(rt, "lifted")
			} else {
				e.Level, e.State = rapid.SampledFrom(Levels()).Draw(rt, "level"), rapid.SampledFrom([]State{Asked, Granted, Withdrawn}).Draw(rt, "state")
			}
			all = append(all, e)
		}
		fold := func(es []Entry) Summary {
			var s Summary
			for _, e := range es {
				s.Apply(e)
			}
			return s
		}
		want := fold(all)
		mixed := rapid.Permutation(slices.Concat(all, all[:len(all)/2])).Draw(rt, "order")
		if diff := cmp.Diff(want, fold(mixed), cmpopts.IgnoreFields(Summary{}, "Seen")); diff != "" {
			rt.Fatalf("another order adds up to another standing:\n%s", diff)
		}
		if want.Refuses(Marketing) == "" {
			last := Entry{}
			for _, e := range all {
				if e.Level == Marketing && e.Source != Meta && (e.At.After(last.At) || e.At.Equal(last.At) && e.State.rank() < last.State.rank()) {
					last = e
				}
			}
			if last.State != Granted {
				rt.Fatalf("marketing is allowed on %+v", last)
			}
		}
	})
}

func TestKey_HidesWhoAndWhat(t *testing.T) {
	a, b := NewKey([]byte("secret"), "acme"), NewKey([]byte("secret"), "other")
	if a.Subject("c1") == b.Subject("c1") || a.Subject("c1") == a.Subject("c2") || a.Subject("c1") != NewKey([]byte("secret"), "acme").Subject("c1") {
		t.Error("subjects do not tell tenants and people apart, or do not stay")
	}
	d := Details{Event: "wamid.1", Evidence: "STOP"}
	if a.DetailsHash("e", d) == a.DetailsHash("e", Details{Event: "wamid.1", Evidence: "START"}) {
		t.Error("the evidence is not bound")
	}
	if a.DetailsHash("e", Details{Event: "ab", Evidence: "c"}) == a.DetailsHash("e", Details{Event: "a", Evidence: "bc"}) {
		t.Error("parts shift")
	}
}

func TestQuietHours_EndInTheMorningOfTheRecipient(t *testing.T) {
	q, err := ParseQuietHours("21:00-08:00")
	if err != nil {
		t.Fatal(err)
	}
	zone := func(name string) *time.Location {
		z, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	madrid, york, tokyo := zone("Europe/Madrid"), zone("America/New_York"), zone("Asia/Tokyo")
	at := func(z *time.Location, s string) time.Time {
		v, err := time.ParseInLocation("2006-01-02 15:04", s, z)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct {
		now, want time.Time
		zones     []*time.Location
	}{
		{at(madrid, "2026-03-02 20:59"), time.Time{}, []*time.Location{madrid}},
		{at(madrid, "2026-03-02 21:00"), at(madrid, "2026-03-03 08:00"), []*time.Location{madrid}},
		{at(madrid, "2026-03-03 07:59"), at(madrid, "2026-03-03 08:00"), []*time.Location{madrid}},
		{at(madrid, "2026-03-03 08:00"), time.Time{}, []*time.Location{madrid}},
		// The clocks go forward and back in the night.
		{at(madrid, "2026-03-28 23:00"), at(madrid, "2026-03-29 08:00"), []*time.Location{madrid}},
		{at(madrid, "2026-10-24 23:00"), at(madrid, "2026-10-25 08:00"), []*time.Location{madrid}},
		{at(madrid, "2026-12-31 22:00"), at(madrid, "2027-01-01 08:00"), []*time.Location{madrid}},
		// It is 08:00 in New York when it is 21:00 or 22:00 in Tokyo.
		{at(york, "2026-03-02 07:30"), at(tokyo, "2026-03-03 08:00"), []*time.Location{york, tokyo}},
		{at(york, "2026-03-02 22:00"), at(york, "2026-03-02 22:00"), nil},
	} {
		got := q.Until(c.now, c.zones...)
		if len(c.zones) == 0 {
			c.want = time.Time{}
		}
		if len(c.zones) == 2 { // never before Tokyo's morning, and never in somebody's night
			if got.Before(c.want) || !q.end(got, york).Equal(got) || !q.end(got, tokyo).Equal(got) {
				t.Errorf("%v for both: %v", c.now, got)
			}
			continue
		}
		if !got.Equal(c.want) {
			t.Errorf("at %v until %v, want %v", c.now, got, c.want)
		}
	}
	day, err := ParseQuietHours("12:00-14:30")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := day.Until(at(madrid, "2026-03-02 14:00"), madrid), at(madrid, "2026-03-02 14:30"); !got.Equal(want) {
		t.Errorf("until %v, want %v", got, want)
	}
	for _, s := range []string{"21-8", "21:00", "25:00-08:00", "08:00-08:00", "21:00-", "a-b"} {
		if _, err := ParseQuietHours(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}

// Quiet hours end at the wall clock's time, after now, within a day and an hour,
// in every zone and around every change of the clocks.
func TestQuietHours_AlwaysEnd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.SampledFrom([]string{"Europe/London", "America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York", "Africa/Cairo", "UTC"}).Draw(rt, "zone")
		z, err := time.LoadLocation(name)
		if err != nil {
			rt.Fatal(err)
		}
		from, to := rapid.IntRange(0, 1439).Draw(rt, "from"), rapid.IntRange(0, 1439).Draw(rt, "to")
		if from == to {
			return
		}
		q, err := ParseQuietHours(fmt.Sprintf("%02d:%02d-%02d:%02d", from/60, from%60, to/60, to%60))
		if err != nil {
			rt.Fatal(err)
		}
		now := time.Unix(rapid.Int64Range(1.7e9, 1.9e9).Draw(rt, "now"), 0)
		end := q.Until(now, z)
		if end.IsZero() {
			return
		}
		if !end.After(now) || end.Sub(now) > 27*time.Hour {
			rt.Fatalf("at %v until %v", now.In(z), end.In(z))
		}
		if again := q.Until(end, z); !again.IsZero() && again.Sub(now) > 27*time.Hour {
			rt.Fatalf("at its end %v it is quiet until %v", end.In(z), again.In(z))
		}
	})
}

func TestLoop_TellsMachinesFromPeople(t *testing.T) {
	run := func(gap time.Duration, texts ...string) string {
		var seen []Exchange
		why := ""
		for i, text := range texts {
			seen = Remember(seen, NewExchange(text, t0.Add(time.Duration(i)*(gap+time.Second)), gap))
			if why = Loop(seen); why != "" {
				break
			}
		}
		return why
	}
	queue := make([]string, 10)
	worded := []string{
		"Thanks for contacting Acme Plumbing, we will be with you soon", "Our office hours are nine to five, Monday to Friday",
		"Did you know that you can book online at any time?", "All our engineers are busy at the moment, please hold on",
		"Your call is important to us and will be answered shortly", "For emergencies please press one or dial the hotline number",
		"We have received your message and opened a ticket for it", "A member of the team is going to look into this today",
		"Please tell us your postcode so that we find the nearest branch", "Rate your experience from one to five stars below",
	}
	for i := range queue {
		queue[i] = fmt.Sprintf("Thank you for your message. You are number %d in the queue.", 40-i)
	}
	machines := map[string]string{
		"a counter": run(30*time.Minute/8, queue...), "the same": run(time.Minute, slices.Repeat([]string{"I am out of office until Monday, back soon"}, 10)...),
		"chinese": run(time.Minute, slices.Repeat([]string{"您好，我现在不在，稍后会回复您的消息。"}, 10)...), "paraphrases": run(2*time.Second, worded...),
	}
	for name, why := range machines {
		if why == "" {
			t.Errorf("%s is not found", name)
		}
	}
	people := map[string]string{
		"worded, slowly": run(40*time.Second, worded...), "a menu": run(2*time.Second, "1", "3", "2", "yes", "1", "4", "2", "5", "1", "2"),
		"a chat": run(20*time.Second, "hi", "I need help with my order", "order 4711", "where is it?", "ok", "thanks", "no wait", "can I change the address?", "main street 5", "great"),
		"oks":    run(20*time.Second, "ok", "ok", "where is it", "ok", "ok", "fine", "ok"),
		"daily":  run(2*time.Hour, slices.Repeat([]string{"what is the menu today please"}, 10)...),
	}
	for name, why := range people {
		if why != "" {
			t.Errorf("%s is taken for a machine: %s", name, why)
		}
	}
}

func TestCheckChange_NamesWhatThereIs(t *testing.T) {
	if err := CheckChange("marketing", "granted"); err != nil {
		t.Error(err)
	}
	for _, err := range []error{CheckChange("ads", "granted"), CheckChange("marketing", "yes"), CheckSuppression("mood", ""), CheckSuppression("stop", "topic:"), CheckSuppression("stop", "some")} {
		if core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("err = %v", err)
		}
	}
	if err := CheckSuppression("legal_hold", "topic:loans"); err != nil {
		t.Error(err)
	}
}
