package broker

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/whatsapp"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

// twenty are templates of all shapes: positional and named, with headers, footers and
// buttons, in many scripts.
func twenty() []map[string]any {
	bodies := []string{
		"Your order is on its way.", "Hello {{1}}, your order {{2}} has left us.", "Hola {{1}}: su pedido llegará el {{2}}.",
		"Bonjour {{1}}, votre code est {{2}} ; à bientôt.", "亲爱的 {{1}} 您好， 感谢 您 的 购买， 您的 订单 {{2}} 已经 发货 了， 谢谢。", "Olá {{1}}! O seu pedido já está pronto: {{2}} 🎉 até logo.",
		"*Bold* _and_ ~struck~ words for {{1}} — and then {{2}}.", "Line one of {{1}}.\nLine two of {{2}}.\nThe end.", "Dear {{1}}, \"{{2}}\" & <more> \\ to come.", "مرحبا {{1}}، طلبك رقم {{2}} جاهز الآن في المتجر.",
	}
	var all []map[string]any
	for i := range 20 {
		body, format := bodies[i%len(bodies)], "POSITIONAL"
		example := map[string]any{"body_text": [][]string{{"Ann", "4711"}}}
		if i >= len(bodies) {
			format = "NAMED"
			body = strings.NewReplacer("{{1}}", "{{who}}", "{{2}}", "{{what}}").Replace(body)
			example = map[string]any{"body_text_named_params": []any{map[string]string{"param_name": "who", "example": "Ann"}, map[string]string{"param_name": "what", "example": "4711"}}}
		}
		b := map[string]any{"type": "BODY", "text": body}
		if strings.Contains(body, "{{") {
			b["example"] = example
		}
		var components []any
		if i%3 == 0 {
			components = append(components, map[string]any{"type": "HEADER", "format": "TEXT", "text": "News from Acme"})
		}
		components = append(components, b)
		if i%2 == 0 {
			components = append(components, map[string]any{"type": "FOOTER", "text": "Acme, 12 High Street"})
		}
		if i%4 == 0 {
			components = append(components, map[string]any{"type": "BUTTONS", "buttons": []any{map[string]any{"type": "QUICK_REPLY", "text": "Thanks"}}})
		}
		all = append(all, map[string]any{
			"name": fmt.Sprintf("twenty_%d", i), "language": "en", "category": "UTILITY", "parameter_format": format, "components": components,
		})
	}
	return all
}

// filledIn is the template as the person should read it, made here and nowhere else.
func filledIn(def map[string]any, who, what string) string {
	var lines []string
	for _, c := range def["components"].([]any) {
		if text, ok := c.(map[string]any)["text"].(string); ok {
			lines = append(lines, strings.NewReplacer("{{1}}", who, "{{who}}", who, "{{2}}", what, "{{what}}", what).Replace(text))
		}
	}
	return strings.Join(lines, "\n")
}

// Twenty templates go to fifty people each, while two sends of a hundred fail for a
// moment: all of them arrive, once, and read as they should, for the person and in the
// CRM.
func TestTemplates_TwentyToFiftyPeopleReadAsTheyShould(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.withPolicy(Policy{Templates: []Template{}})
		g := withGraph(b, whatsappsim.Options{StatusDelay: 20 * time.Millisecond, Seed: 7})
		defs := twenty()
		for _, def := range defs {
			body, err := json.Marshal(def)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(http.MethodPost, "/v25.0/"+waba+"/message_templates", strings.NewReader(string(body)))
			r.Header.Set("Authorization", "Bearer token")
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			if g.sim.ServeHTTP(w, r); w.Code != http.StatusOK {
				t.Fatalf("%s: %d %s", def["name"], w.Code, w.Body)
			}
		}
		manage, err := whatsapp.NewClient(whatsapp.ClientOptions{OpaqueKey: testKey, Log: slog.New(slog.DiscardHandler),
			Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				g.sim.ServeHTTP(w, r)
				return w.Result(), nil
			})})
		if err != nil {
			t.Fatal(err)
		}
		before := b.change
		b.change = func(o *Options) {
			before(o)
			o.Tenants[0].Numbers[0].Account = waba
			// With the default's three attempts one run in a hundred has a send that fails each time.
			o.Tenants[0].Numbers[0].Retry = []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, time.Minute}
			o.Tenants[0].Accounts = []Account{{ID: waba, Templates: manage.Templates(whatsapp.Account{ID: waba, AccessToken: func() core.Secret { return "token" }})}}
		}
		b.start()
		settled(time.Minute)
		g.sim.Fail(whatsappsim.Rule{Do: whatsappsim.DoError, Code: 133004, Chance: 0.02})
		want := map[string]map[string]string{} // person → intent → text
		phone := func(i int) string { return fmt.Sprintf("+1415555%04d", i) }
		for j := range 50 {
			if _, err := g.sim.AddPerson(whatsappsim.Person{Phone: phone(j)}); err != nil {
				t.Fatal(err)
			}
		}
		for i, def := range defs {
			for j := range 50 {
				who, what := fmt.Sprintf("Zoë %d-%d", i, j), fmt.Sprintf("№ %d/%d ¥", i, j)
				tpl := &core.Template{Name: def["name"].(string), Language: "en"}
				switch {
				case !strings.Contains(fmt.Sprint(def["components"]), "{{"):
				case def["parameter_format"] == "NAMED":
					tpl.Params = mustJSON(map[string]string{"what": what, "who": who})
				default:
					tpl.Params = mustJSON([]string{who, what})
				}
				id := b.order(fmt.Sprintf("k-%d-%d", i, j), phone(j), "", func(r *SendRequest) {
					r.Message.Type, r.Message.Template = core.TypeTemplate, tpl
				})
				if want[phone(j)] == nil {
					want[phone(j)] = map[string]string{}
				}
				want[phone(j)][id] = filledIn(def, who, what)
			}
		}
		settled(10 * time.Minute)

		inCRM := map[string]string{}
		for _, tr := range b.crm.taken() {
			if tr.event.Kind == core.KindMessageSent {
				inCRM[tr.event.Cause] = tr.event.Message.Text
			}
		}
		arrived := 0
		for who, texts := range want {
			w := httptest.NewRecorder()
			g.sim.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/_sim/chat?phone="+strings.TrimPrefix(who, "+"), nil))
			var chat struct {
				Lines []struct {
					Status   string
					Template struct{ Header, Body, Footer string }
				}
			}
			if err := json.Unmarshal(w.Body.Bytes(), &chat); err != nil {
				t.Fatalf("%v: %.200s", err, w.Body)
			}
			read := map[string]int{}
			for _, l := range chat.Lines {
				var lines []string
				for _, text := range []string{l.Template.Header, l.Template.Body, l.Template.Footer} {
					if text != "" {
						lines = append(lines, text)
					}
				}
				read[strings.Join(lines, "\n")]++
				if l.Status == "delivered" || l.Status == "read" {
					arrived++
				}
			}
			same := map[string]int{}
			for id, text := range texts {
				same[text]++
				if inCRM[id] != text {
					t.Errorf("the CRM has %q, want %q", inCRM[id], text)
				}
			}
			for text, n := range same {
				if read[text] != n {
					t.Errorf("%q was read %d times, want %d", text, read[text], n)
				}
			}
		}
		retried := 0
		for _, l := range b.Snapshot().Lanes {
			if l.Sink == "whatsapp" {
				retried += int(l.Retried)
			}
		}
		if retried < 5 {
			t.Errorf("only %d sends failed for a moment: this shows nothing", retried)
		}
		if arrived != 1000 {
			t.Errorf("%d of 1000 arrived", arrived)
		}
		if n := len(b.dead()); n != 0 {
			t.Errorf("%d dead letters", n)
		}
	})
}
