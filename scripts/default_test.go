package scripts_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/scripts"
)

// The test binary is the worker, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "script-worker" {
		script.WorkerMain()
		return
	}
	os.Exit(m.Run())
}

// engine runs an engine with one script until the test ends.
func engine(t testing.TB, name string, code []byte) *script.Engine {
	t.Helper()
	e := script.New(script.Options{
		Command: []string{"/proc/self/exe", "script-worker"}, Soft: 5 * time.Second, Hard: 20 * time.Second, // not about speed
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	if _, err := e.Load(t.Context(), "shop", script.Source{Name: name, Code: code, Files: scripts.Tables()}); err != nil {
		t.Fatal(err)
	}
	return e
}

var now = time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)

// message is one message, and what the bridge knows about its sender.
type message struct {
	message  core.Message
	contact  core.Contact
	old      bool // not the conversation's first message
	human    bool
	settings map[string]any
	at       time.Time
}

func text(s string) core.Message { return core.Message{Type: core.TypeText, Text: s} }

func (m message) call(t testing.TB) script.Call {
	t.Helper()
	encode := func(v any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if m.at.IsZero() {
		m.at = now
	}
	if m.contact.ID == "" {
		m.contact.ID, m.contact.Name = "c1", "Ana María Ruiz"
	}
	m.message.ID, m.message.Direction = "wamid.1", core.Inbound
	mode := "bot"
	if m.human {
		mode = "human"
	}
	settings := m.settings
	if settings == nil {
		settings = map[string]any{}
	}
	return script.Call{
		Event: encode(core.Event{
			ID: "wamid.1", Kind: core.KindMessageReceived, Tenant: "shop", Number: "100", Conversation: "100:c1",
			Time: m.at, Accepted: m.at, Source: "whatsapp", Contact: &m.contact, Message: &m.message,
		}),
		Context: encode(map[string]any{
			"contact": m.contact, "tenant": map[string]any{"id": "shop", "name": "The Shop"}, "settings": settings,
			"conversation": map[string]any{"id": "100:c1", "new": !m.old, "mode": mode, "started": m.at, "messages": 1, "replies": 0},
		}),
		Hooks: script.OnMessage | script.MapToCRM, Now: m.at, Seed: 1,
	}
}

func decide(t testing.TB, e *script.Engine, m message) script.Decision {
	t.Helper()
	d := e.Decide(t.Context(), "shop", []script.Call{m.call(t)})[0]
	if d.Err != nil {
		t.Fatalf("%v (%s)", d.Err, d.Line)
	}
	return d
}

// said describes actions in short: reply texts are cut to their beginning.
func said(actions []script.Action) []string {
	var out []string
	for _, a := range actions {
		switch a.Type {
		case script.ActionReply:
			out = append(out, "reply "+a.Text)
		case script.ActionEscalate:
			out = append(out, strings.TrimSpace("escalate "+a.Reason+", "+a.Priority+" "+a.Team))
		case script.ActionSetField:
			out = append(out, "set "+a.Name+"="+a.Value)
		default:
			out = append(out, a.Type+" "+a.Tag)
		}
	}
	return out
}

func TestDefault_AnswersAsItPromises(t *testing.T) {
	confirmed := func(reply, number string) []string {
		all := []string{"reply " + reply, "tag order-confirmed"}
		if number != "" {
			all = append(all, "set confirmed_order="+number)
		}
		return all
	}
	complaint := func(reply string) []string {
		return []string{"reply " + reply, "tag complaint", "escalate complaint, high"}
	}
	person := func(reply string) []string {
		return []string{"reply " + reply, "tag wants-person", "escalate asked for a person, normal"}
	}
	e := engine(t, scripts.DefaultName, scripts.Default())
	for _, test := range []struct {
		name string
		in   message
		want []string
	}{
		{"greets a new conversation", message{message: text("Hi there")},
			[]string{"reply Hello Ana! Thank you for your message. How can we help you?"}},
		{"greets in the language it is greeted in", message{message: text("¡Buenos días!")},
			[]string{"reply ¡Hola Ana! Gracias por su mensaje. ¿En qué podemos ayudarle?"}},
		{"greets in Chinese", message{message: text("你好")},
			[]string{"reply Ana您好！感谢您的留言，请问有什么可以帮您？"}},
		{"greets in the tenant's language who cannot be told", message{message: text("???"), settings: map[string]any{"language": "fr"}},
			[]string{"reply Bonjour Ana ! Merci pour votre message. Comment pouvons-nous vous aider ?"}},
		{"greets as the tenant says", message{message: text("hi"), settings: map[string]any{"greeting": "Howdy"}}, []string{"reply Howdy"}},
		{"greets nobody when told so", message{message: text("hi"), settings: map[string]any{"greeting": ""}}, nil},
		{"greets who sends a picture first", message{message: core.Message{Type: core.TypeImage}, contact: core.Contact{ID: "c2"}},
			[]string{"reply Hello! Thank you for your message. How can we help you?"}},
		{"greets once", message{message: text("hi"), old: true}, nil},
		{"keeps silent when a person has the conversation", message{message: text("I confirm my order 123"), human: true}, nil},

		{"notes a confirmation with its number", message{message: text("I confirm order #10234, thanks"), old: true},
			confirmed("Thank you, Ana! We have noted your confirmation of order 10234.", "10234")},
		{"notes a confirmation in a first message, instead of greeting", message{message: text("Please confirm my order")},
			confirmed("Thank you, Ana! We have noted your confirmation.", "")},
		{"notes a confirmation of two lines", message{message: text("Order 4712\nconfirmed!"), old: true},
			confirmed("Thank you, Ana! We have noted your confirmation of order 4712.", "4712")},
		{"notes a confirmation in Spanish", message{message: text("Confirmo el pedido 555"), old: true},
			confirmed("¡Gracias, Ana! Hemos anotado su confirmación del pedido 555.", "555")},
		{"notes a confirmation in French", message{message: text("Je confirme la commande n°4711"), old: true},
			confirmed("Merci, Ana ! Nous avons noté votre confirmation de la commande 4711.", "4711")},
		{"notes a confirmation in Portuguese", message{message: text("Confirmo a encomenda 9001"), old: true},
			confirmed("Obrigado, Ana! Registramos a sua confirmação do pedido 9001.", "9001")},
		{"notes a confirmation in Chinese", message{message: text("确认订单 12345"), old: true},
			confirmed("Ana谢谢您！我们已收到您的确认，订单号 12345。", "12345")},
		{"notes a button", message{message: core.Message{Type: core.TypeInteractive, Text: "Yes", Reply: &core.Reply{Kind: "button", ID: "confirm_777"}}, old: true},
			confirmed("Thank you, Ana! We have noted your confirmation of order 777.", "777")},
		{"notes a shopping basket", message{message: core.Message{Type: "order"}},
			[]string{"reply Thank you, Ana! We have received your order and will confirm it shortly.", "tag order"}},
		{"is not confirmed by a refusal", message{message: text("I do not confirm this order"), old: true}, []string{"reply Thank you, Ana. Please send us the number of your order, and we will look into it.", "tag asked-order"}},
		{"is not confirmed by a question", message{message: text("Did you confirm my order?"), old: true}, []string{"reply Thank you, Ana. Please send us the number of your order, and we will look into it.", "tag asked-order"}},
		{"is not confirmed by the word alone", message{message: text("can you confirm your address"), old: true},
			[]string{"reply You find our address in our WhatsApp profile: tap our name at the top.", "tag asked-location"}},

		{"hands a complaint over", message{message: text("My parcel never arrived!"), old: true},
			complaint("We are sorry about that, Ana. A colleague will look into it and write to you here.")},
		{"takes a complaint about an order for a complaint", message{message: text("I confirm that order 123 is damaged"), old: true},
			complaint("We are sorry about that, Ana. A colleague will look into it and write to you here.")},
		{"hands a complaint in Spanish over", message{message: text("¡Mi pedido no llegó!"), old: true},
			complaint("Lo sentimos, Ana. Un compañero lo revisará y le escribirá por aquí.")},
		{"hands a complaint in French over", message{message: text("L'article est arrivé cassé, c'est inacceptable."), old: true},
			complaint("Nous en sommes désolés, Ana. Un collègue s'en occupe et vous écrira ici.")},
		{"hands a complaint in Portuguese over", message{message: text("O produto chegou com defeito")},
			complaint("Lamentamos o ocorrido, Ana. Um colega vai verificar e escrever para você por aqui.")},
		{"hands a complaint in Chinese over", message{message: text("我要退款"), old: true},
			complaint("Ana非常抱歉，我们的同事会尽快处理并在这里联系您。")},
		{"knows the team for complaints", message{message: text("refund please"), old: true, settings: map[string]any{"complaints_team": "care"}},
			[]string{"reply We are sorry about that, Ana. A colleague will look into it and write to you here.", "tag complaint", "escalate complaint, high care"}},

		{"hands over to who asks for a person", message{message: text("Can I talk to a person please"), old: true},
			person("Of course, Ana. A colleague will write to you here.")},
		{"hands over in French", message{message: text("Je voudrais parler à un conseiller")},
			person("Bien sûr, Ana. Un collègue vous écrira ici.")},
		{"hands a cancellation over", message{message: text("please cancel order 12"), old: true},
			[]string{"reply Of course, Ana. A colleague will write to you here.", "tag wants-person", "escalate wants to cancel an order, normal"}},

		{"answers who asks for a product", message{message: text("do you have this in blue"), old: true},
			[]string{"reply Thank you for your interest, Ana. Please tell us which product you mean: a colleague will answer you here.", "tag asked-product"}},
		{"answers as the settings say", message{message: text("¿a qué hora abren?"), old: true,
			settings: map[string]any{"answers": map[string]any{"hours": map[string]any{"en": "9 to 5", "es": "De 9 a 17"}}}},
			[]string{"reply De 9 a 17", "tag asked-hours"}},
		{"answers nothing when told so", message{message: text("what time do you open"), old: true,
			settings: map[string]any{"answers": map[string]any{"hours": ""}}}, nil},
		{"looks for an order by its number", message{message: text("where is order AB-77?"), old: true},
			[]string{"reply Thank you, Ana. We have noted your question of order AB-77 and will answer you here.", "tag asked-order", "set asked_order=AB-77"}},
		{"asks when it does not understand", message{message: text("and the other one?"), old: true},
			[]string{`reply Sorry, Ana, we did not quite understand. Could you say it in other words? Write "person" to talk to somebody.`, "tag not-understood"}},
		{"gives up when it does not understand twice", message{message: text("and the other one?"), old: true, contact: core.Contact{ID: "c1", Tags: []string{"not-understood"}}},
			[]string{"untag not-understood", "escalate not understood twice,"}},
		{"leaves opting out to the bridge", message{message: text("STOP"), old: true}, nil},
		{"leaves what is no question to people", message{message: text("my name is John"), old: true}, nil},
		{"leaves reactions alone", message{message: core.Message{Type: core.TypeReaction, Reaction: &core.Reaction{MessageID: "w", Emoji: "👍"}}, old: true}, nil},
		{"stands a very long text", message{message: text(strings.Repeat("order confirm ", 4000)), old: true},
			confirmed("Thank you, Ana! We have noted your confirmation.", "")},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := decide(t, e, test.in)
			if diff := cmp.Diff(test.want, said(d.Actions)); diff != "" {
				t.Errorf("actions (-want +got):\n%s", diff)
			}
			if d.Fields != nil {
				t.Errorf("fields without settings: %v", d.Fields)
			}
		})
	}
}

func TestDefault_GivesTheCRMWhatTheSettingsAskFor(t *testing.T) {
	e := engine(t, scripts.DefaultName, scripts.Default())
	m := message{
		message: core.Message{Type: core.TypeImage, Text: "Where is my order 12?", Media: &core.Media{MIMEType: "image/png"},
			Referral: &core.Referral{URL: "https://example.com/ad"}},
		contact:  core.Contact{ID: "c1", Name: "Ana María Ruiz", Phone: "+15550100123", Username: "ana", Tags: []string{"a", "b"}},
		settings: map[string]any{"crm_fields": "all"},
	}
	want := map[string]any{
		"contact_id": "c1", "name": "Ana María Ruiz", "first_name": "Ana María", "last_name": "Ruiz", "phone": "+15550100123",
		"username": "ana", "tags": "a;b", "topic": "order", "last_message": "Where is my order 12?", "last_message_type": "image",
		"last_message_at": "2026-11-23T09:30:00Z", "last_attachment": "image/png", "came_from": "https://example.com/ad",
		"messages": 1.0, "conversation_started": "2026-11-23T09:30:00Z", "business_number": "100",
	}
	if diff := cmp.Diff(want, decide(t, e, m).Fields); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	m.settings = map[string]any{"crm_fields": map[string]any{"wa_topic": "topic", "wa_text": "last_message"}}
	want = map[string]any{"wa_topic": "order", "wa_text": "Where is my order 12?"}
	if diff := cmp.Diff(want, decide(t, e, m).Fields); diff != "" {
		t.Errorf("some (-want +got):\n%s", diff)
	}
	m.settings = map[string]any{"crm_fields": map[string]any{"wa_topic": "tpoic"}}
	d := e.Decide(t.Context(), "shop", []script.Call{m.call(t)})[0]
	if d.Err == nil || !strings.Contains(d.Err.Message, `wa_topic = "tpoic": there is no such field, there are contact_id, `) {
		t.Errorf("misspelt: %v", d.Err)
	}
}

func TestExamples_DoWhatTheyShow(t *testing.T) {
	ad := &core.Referral{ID: "77", Type: "ad"}
	for _, test := range []struct {
		file, name string
		in         message
		want       []string
	}{
		{"office-hours.ts", "open", message{message: text("hi")}, nil},
		{"office-hours.ts", "closed", message{message: text("hi"), at: now.Add(12 * time.Hour)},
			[]string{"reply We are here Monday to Friday, 9:00 to 18:00, and will answer then.", "set told_hours=2026-11-23"}},
		{"office-hours.ts", "closed, told", message{message: text("hi"), at: now.Add(12 * time.Hour),
			contact: core.Contact{ID: "c", Fields: map[string]string{"told_hours": "2026-11-23"}}}, nil},
		{"order-buttons.js", "asks", message{message: text("my order")}, []string{"reply "}},
		{"order-buttons.js", "status", message{message: core.Message{Type: core.TypeInteractive, Reply: &core.Reply{ID: "status"}}},
			[]string{"reply Please send us the number of your order.", "set waiting_for=order-number"}},
		{"order-buttons.js", "number", message{message: text("12345"), contact: core.Contact{ID: "c", Fields: map[string]string{"waiting_for": "order-number"}}},
			[]string{"reply Thank you. We look up order 12345.", "set waiting_for=", "escalate status of order 12345, low"}},
		{"ad-leads.js", "from an ad", message{message: core.Message{Type: core.TypeText, Text: "hi", Referral: ad}},
			[]string{"tag ad-lead", "set ad=77", "escalate new lead from an ad, high"}},
	} {
		t.Run(test.file+" "+test.name, func(t *testing.T) {
			code, err := fs.ReadFile(scripts.Files(), "examples/"+test.file)
			if err != nil {
				t.Fatal(err)
			}
			d := decide(t, engine(t, test.file, code), test.in)
			if diff := cmp.Diff(test.want, said(d.Actions)); diff != "" {
				t.Errorf("actions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExamples_AreAllTested(t *testing.T) {
	source, err := os.ReadFile("default_test.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(scripts.Files(), "examples/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("examples: %v, %v", files, err)
	}
	for _, f := range files {
		if !strings.Contains(string(source), `{"`+path.Base(f)+`"`) {
			t.Errorf("%s has no test", f)
		}
	}
}

// What the types tell authors is what package core has.
func TestTypes_AreThoseOfTheEvent(t *testing.T) {
	blocks := regexp.MustCompile(`(?s)\n  interface (\w+) \{\n(.*?)\n  \}`).FindAllStringSubmatch(string(scripts.Types()), -1)
	member := regexp.MustCompile(`(?m)^    (?:readonly )?(\w+)\??:`)
	declared := map[string][]string{}
	for _, b := range blocks {
		var names []string
		for _, m := range member.FindAllStringSubmatch(b[2], -1) {
			names = append(names, m[1])
		}
		slices.Sort(names)
		declared[b[1]] = names
	}
	for name, v := range map[string]any{
		"Event": core.Event{}, "Contact": core.Contact{}, "Message": core.Message{}, "Media": core.Media{}, "Location": core.Location{},
		"Reaction": core.Reaction{}, "Reply": core.Reply{}, "MessageContext": core.MessageContext{}, "Template": core.Template{},
		"Status": core.Status{}, "StatusError": core.StatusError{}, "Escalation": core.Escalation{}, "Timer": core.Timer{},
		"Consent": core.Consent{}, "TemplateChange": core.TemplateChange{}, "Referral": core.Referral{}, "Order": core.Order{},
		"OrderItem": core.OrderItem{}, "Product": core.Product{},
	} {
		if diff := cmp.Diff(jsonKeys(v), declared[name]); diff != "" {
			t.Errorf("interface %s in wabridge.d.ts (-core +declared):\n%s", name, diff)
		}
	}
}

// Where no phrase fits, the examples decide: the hand-over says by which words,
// who is unsure asks, and a tenant that does not want them has the phrases alone.
func TestDefault_GoesByExamplesWhereNoPhraseFits(t *testing.T) {
	e := engine(t, scripts.DefaultName, scripts.Default())
	const odd = "the bracelet turned my arm green"
	d := decide(t, e, message{message: text(odd), old: true})
	var reason string
	for _, a := range d.Actions {
		if a.Type == script.ActionEscalate {
			reason = a.Reason
		}
	}
	_, words, ok := strings.Cut(reason, "complaint, by examples: ")
	if !ok || words == "" {
		t.Fatalf("%q: %q", odd, said(d.Actions))
	}
	for word := range strings.SplitSeq(words, ", ") {
		if !strings.Contains(odd, word) {
			t.Errorf("%q is no word of %q", word, odd)
		}
	}
	d = decide(t, e, message{message: text(odd), old: true, settings: map[string]any{"examples": false}})
	if len(d.Actions) > 0 {
		t.Errorf("without examples: %q", said(d.Actions))
	}
	d = decide(t, e, message{message: text("I confirm we come on Saturday at 1 for 6 people"), old: true})
	if got := said(d.Actions); len(got) != 2 || got[1] != "tag order-confirmed" {
		t.Errorf("a time and people are no order's number: %q", got)
	}
}
