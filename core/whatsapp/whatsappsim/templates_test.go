package whatsappsim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

const templatesPath = "/v25.0/102290129340398/message_templates"

// body is a good template, of which a test replaces what it is about.
func body(old, fresh string) string {
	const good = `{"name":"order","language":"en_US","category":"UTILITY","components":[
		{"type":"HEADER","format":"TEXT","text":"For {{1}}","example":{"header_text":["Ana"]}},
		{"type":"BODY","text":"Hello {{1}}, your order {{2}} is on its way to you.","example":{"body_text":[["Ana","A-17"]]}},
		{"type":"FOOTER","text":"Maple Bakery"},
		{"type":"BUTTONS","buttons":[{"type":"QUICK_REPLY","text":"Help"},{"type":"URL","text":"Track","url":"https://e.com/{{1}}","example":["https://e.com/7"]},{"type":"PHONE_NUMBER","text":"Call","phone_number":"+34600111222"}]}]}`
	if !strings.Contains(good, old) {
		panic("nothing to replace: " + old)
	}
	return strings.Replace(good, old, fresh, 1)
}

func TestTemplates_AreRefusedAsMetaRefusesThem(t *testing.T) {
	for _, test := range []struct {
		old, fresh string
		code, sub  int
	}{
		{`"name":"order"`, `"name":"Order"`, 100, 2388040},
		{"en_US", "english", 100, 0},
		{"UTILITY", "PROMO", 100, 0},
		{`"category"`, `"kategory"`, 100, 0},
		{"For {{1}}", "For {{1}} and {{2}}", 100, 2388047},
		{"For {{1}}", strings.Repeat("a", 61), 100, 2388047},
		{`"format":"TEXT"`, `"format":"IMAGE"`, 100, 2388047},
		{`"format":"TEXT"`, `"format":"GIF"`, 100, 0},
		{"Hello {{1}}", "{{1}}", 100, 2388299},
		{"way to you.", "way to you {{3}}", 100, 2388299},
		{", your order {{2}} is on its way to you.", " {{2}} there it is, all of it and more", 100, 2388073},
		{", your order {{2}} is on its way to you.", ", {{2}} ok.", 100, 2388293},
		{"{{2}}", "{{3}}", 100, 2388073},
		{`["Ana","A-17"]`, `["Ana"]`, 100, 2388072},
		{"Hello {{1}}, your order {{2}} is on its way to you.", strings.Repeat("a", 1025), 100, 2388040},
		{`{"type":"FOOTER","text":"Maple Bakery"}`, `{"type":"FOOTER","text":"{{1}} x"}`, 100, 2388073},
		{`{"type":"FOOTER","text":"Maple Bakery"}`, `{"type":"FOOT","text":"x"}`, 100, 0},
		{`{"type":"FOOTER","text":"Maple Bakery"}`, `{"type":"BODY","text":"x"}`, 100, 0},
		{`"text":"Help"`, `"text":"` + strings.Repeat("a", 26) + `"`, 100, 0},
		{`"phone_number":"+34600111222"}`, `"phone_number":"+34600111222"},{"type":"QUICK_REPLY","text":"x"}`, 100, 0},
		{`,"example":["https://e.com/7"]`, ``, 100, 2388072},
		{"https://e.com/{{1}}", "https://e.com/{{1}}/x", 100, 0},
	} {
		s := whatsappsim.New(whatsappsim.Options{})
		a := read(t, ask(s, http.MethodPost, templatesPath, body(test.old, test.fresh)))
		if a.Error.Code != test.code || a.Error.Subcode != test.sub {
			t.Errorf("%q for %q: %+v, want %d/%d", test.fresh, test.old, a.Error, test.code, test.sub)
		}
	}
}

// listed is what a list says of each template.
func listed(t *testing.T, s *whatsappsim.Sim) []string {
	t.Helper()
	w := ask(s, http.MethodGet, templatesPath+"?fields=name,status,category,quality_score", "")
	var a struct {
		Data []struct {
			ID, Name, Status, Category string
			Quality                    struct{ Score string } `json:"quality_score"`
		} `json:"data"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	var out []string
	for _, d := range a.Data {
		if d.Name != "hello_world" {
			out = append(out, fmt.Sprint(d.Name, " ", d.Status, " ", d.Category, " ", d.Quality.Score))
		}
	}
	return out
}

// told is what the webhooks told of templates.
func (b *bridge) toldOfTemplates(t *testing.T) []string {
	t.Helper()
	synctest.Wait()
	var out []string
	for _, p := range b.posts {
		var e struct {
			Entry []struct {
				ID      string
				Changes []struct {
					Field string
					Value map[string]any
				}
			}
		}
		if err := json.Unmarshal(p.body, &e); err != nil {
			t.Fatal(err)
		}
		c := e.Entry[0].Changes[0]
		if c.Field == "messages" {
			continue
		}
		what := strings.TrimSuffix(strings.ReplaceAll(strings.ReplaceAll(c.Field, "message_", ""), "template_", ""), "_update")
		for _, key := range []string{"event", "reason", "previous_category", "new_category", "correct_category", "new_quality_score"} {
			if v := c.Value[key]; v != nil && v != "NONE" {
				what += fmt.Sprint(" ", v)
			}
		}
		out = append(out, what)
	}
	return out
}

func TestTemplates_AreReviewedPausedAndRecategorised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bridge{}
		s := start(t, b, whatsappsim.Options{ReviewDelay: time.Minute})
		sendIt := func() int {
			return read(t, send(s, `{"messaging_product":"whatsapp","to":"+34600111222","type":"template","template":{"name":"order","language":{"code":"en_US"},"components":[
				{"type":"header","parameters":[{"type":"text","text":"Ana"}]},{"type":"body","parameters":[{"type":"text","text":"Ana"},{"type":"text","text":"7"}]},
				{"type":"button","sub_type":"url","index":"1","parameters":[{"type":"text","text":"7"}]}]}}`)).Error.Code
		}
		category := "UTILITY"
		want := func(code int, state string) {
			t.Helper()
			state = strings.Replace(state, "UTILITY", category, 1)
			if got := sendIt(); got != code {
				t.Errorf("a send is answered %d, want %d", got, code)
			}
			if got := listed(t, s); len(got) != 1 || got[0] != state {
				t.Errorf("listed %q, want %q", got, state)
			}
		}
		if w := ask(s, http.MethodPost, templatesPath, body("", "")); w.Code != 200 {
			t.Fatalf("%s", w.Body)
		}
		want(132001, "order PENDING UTILITY UNKNOWN")
		time.Sleep(time.Minute)
		want(0, "order APPROVED UTILITY UNKNOWN")
		change := func(c whatsappsim.TemplateChange) {
			c.Name = "order"
			if err := s.ChangeTemplate(c); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		for i, pause := range []time.Duration{3 * time.Hour, 6 * time.Hour} {
			change(whatsappsim.TemplateChange{Quality: "RED"})
			want(132015, "order PAUSED UTILITY RED")
			time.Sleep(pause - 2*time.Second)
			want(132015, "order PAUSED UTILITY RED")
			time.Sleep(2 * time.Second)
			want(0, "order APPROVED UTILITY RED")
			if i == 0 {
				change(whatsappsim.TemplateChange{Category: "marketing", Notice: "24h"})
				want(0, "order APPROVED UTILITY RED")
				time.Sleep(24 * time.Hour)
				category = "MARKETING"
				want(0, "order APPROVED UTILITY RED")
			}
			change(whatsappsim.TemplateChange{Quality: "YELLOW"})
		}
		change(whatsappsim.TemplateChange{Quality: "RED"})
		want(132016, "order DISABLED UTILITY RED")
		if a := read(t, ask(s, http.MethodDelete, templatesPath+"?name=order", "")); a.Error.Code != 100 {
			t.Errorf("a disabled one is deleted: %+v", a)
		}
		time.Sleep(time.Second)
		told := []string{
			"status APPROVED", "quality RED", "status PAUSED", "status APPROVED", "category UTILITY MARKETING", "category UTILITY MARKETING",
			"quality YELLOW", "quality RED", "status PAUSED", "status APPROVED", "quality YELLOW", "quality RED", "status DISABLED",
		}
		if got := b.toldOfTemplates(t); !slices.Equal(got, told) {
			t.Errorf("webhooks told\n%q, want\n%q", got, told)
		}
	})
}

func TestTemplates_ReviewersHaveRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bridge{}
		s := start(t, b, whatsappsim.Options{})
		ask(s, http.MethodPost, templatesPath, body("is on its way", "wins the lottery, and is"))
		time.Sleep(time.Second)
		if got := listed(t, s); len(got) != 1 || got[0] != "order REJECTED UTILITY UNKNOWN" {
			t.Errorf("listed %q", got)
		}
		ask(s, http.MethodPost, templatesPath, strings.Replace(body("is on its way", "is at half price now"), `"order"`, `"promo"`, 1))
		time.Sleep(time.Second)
		if got := b.toldOfTemplates(t); !slices.Equal(got, []string{"status REJECTED SCAM", "category UTILITY MARKETING", "status APPROVED"}) {
			t.Errorf("webhooks told %q", got)
		}
	})
}

func TestTemplates_SendsAreCheckedAgainstThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := whatsappsim.New(whatsappsim.Options{})
		if w := ask(s, http.MethodPost, templatesPath, body("Maple", "Maple")); w.Code != 200 {
			t.Fatal(w.Body)
		}
		time.Sleep(time.Second)
		const header, text = `{"type":"header","parameters":[{"type":"text","text":"Ana"}]}`, `{"type":"body","parameters":[{"type":"text","text":"Ana"},{"type":"text","text":"7"}]}`
		const button = `{"type":"button","sub_type":"url","index":1,"parameters":[{"type":"text","text":"7"}]}`
		for components, code := range map[string]int{
			header + "," + text + "," + button: 0,
			text + "," + button:                132000,
			header + "," + button:              132000,
			header + "," + text:                131008,
			header + "," + strings.Replace(text, "Ana", `A\na`, 1) + "," + button:  132018,
			`{"type":"foo"},` + header + "," + text + "," + button:                 100,
			strings.Replace(header, `"type":"header"`, `"typ":"header"`, 1) + text: 100,
		} {
			a := read(t, send(s, `{"messaging_product":"whatsapp","to":"+34600111222","type":"template","template":{"name":"order","language":{"code":"en_US"},"components":[`+components+`]}}`))
			if a.Error.Code != code {
				t.Errorf("%s: %+v, want %d", components, a.Error, code)
			}
		}
	})
}

// shop is a good template with cards of a kind, of which a test replaces what it is about.
func shop(header, buttons string) string {
	card := fmt.Sprintf(`{"components":[{"type":"HEADER",%s},{"type":"BUTTONS","buttons":[%s]}]}`, header, buttons)
	return `{"name":"shop","language":"en_US","category":"MARKETING","components":[{"type":"BODY","text":"See"},{"type":"CAROUSEL","cards":[` + card + "," + card + `]}]}`
}

const (
	ofImage   = `"format":"IMAGE","example":{"header_handle":["4::aW"]}`
	ofProduct = `"format":"PRODUCT"`
	more      = `{"type":"QUICK_REPLY","text":"More"}`
	see       = `{"type":"URL","text":"See","url":"https://e.com"}`
	view      = `{"type":"SPM","text":"View"}`
)

func TestTemplates_CardsAreRefusedAsMetaRefusesThem(t *testing.T) {
	says := func(lines string) string { return ofImage + `},{"type":"BODY","text":"` + lines + `"` }
	last := func(in, old, fresh string) string {
		i := strings.LastIndex(in, old)
		return in[:i] + fresh + in[i+len(old):]
	}
	for name, test := range map[string]struct {
		body string
		code int
	}{
		"images":                    {shop(ofImage, more+","+see), 0},
		"products":                  {shop(ofProduct, view), 0},
		"texts":                     {shop(says(strings.Repeat("a", 160)), more), 0},
		"texts that are too long":   {shop(says(strings.Repeat("a", 161)), more), 100},
		"documents":                 {shop(`"format":"DOCUMENT","example":{"header_handle":["4::aW"]}`, more), 100},
		"three buttons":             {shop(ofImage, more+","+more+","+see), 100},
		"a button of another kind":  {shop(ofImage, `{"type":"FLOW","text":"Go","flow_id":"1"}`), 100},
		"products to reply to":      {shop(ofProduct, more), 100},
		"products with two buttons": {shop(ofProduct, view+","+see), 100},
		"a footer":                  {shop(ofImage+`},{"type":"FOOTER","text":"f"`, more), 100},
		"cards that differ":         {last(shop(ofImage, more), more, see), 100},
		"a video among images":      {last(shop(ofImage, more), "IMAGE", "VIDEO"), 100},
		"a text on one":             {last(shop(ofImage, more), `},{"type":"BUTTONS"`, `},{"type":"BODY","text":"b"},{"type":"BUTTONS"`), 100},
		"no marketing":              {strings.Replace(shop(ofImage, more), "MARKETING", "UTILITY", 1), 100},
	} {
		s := whatsappsim.New(whatsappsim.Options{})
		if a := read(t, ask(s, http.MethodPost, templatesPath, test.body)); a.Error.Code != test.code {
			t.Errorf("%s: %+v, want %d", name, a.Error, test.code)
		}
	}
}

func TestTemplates_SendsOfCardsAreCheckedAgainstThem(t *testing.T) {
	card := func(i int, header string) string {
		return fmt.Sprintf(`{"card_index":%d,"components":[{"type":"header","parameters":[%s]}]}`, i, header)
	}
	const image, item = `{"type":"image","image":{"id":"1"}}`, `{"type":"product","product":{"product_retailer_id":"x","catalog_id":"7"}}`
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			name, body string
			cards      []string
			code       int
		}{
			{"as many", shop(ofImage, more), []string{card(0, image), card(1, image)}, 0},
			{"one more", shop(ofImage, more), []string{card(0, image), card(1, image), card(2, image)}, 132012},
			{"one of another kind", shop(ofImage, more), []string{card(0, image), card(1, item)}, 132012},
			{"the same twice", shop(ofImage, more), []string{card(0, image), card(0, image)}, 131009},
			{"more products", shop(ofProduct, view), []string{card(0, item), card(1, item), card(2, item)}, 0},
			{"one product", shop(ofProduct, view), []string{card(0, item)}, 132012},
		} {
			s := whatsappsim.New(whatsappsim.Options{})
			if w := ask(s, http.MethodPost, templatesPath, test.body); w.Code != 200 {
				t.Fatal(w.Body)
			}
			time.Sleep(time.Second)
			a := read(t, send(s, `{"messaging_product":"whatsapp","to":"+34600111222","type":"template","template":{"name":"shop","language":{"code":"en_US"},"components":[`+
				`{"type":"carousel","cards":[`+strings.Join(test.cards, ",")+`]}]}}`))
			if a.Error.Code != test.code {
				t.Errorf("%s: %+v, want %d", test.name, a.Error, test.code)
			}
		}
	})
}

func TestTemplates_AreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := whatsappsim.New(whatsappsim.Options{ManagementPerHour: 110, MaxTemplates: 1000})
		create := func(i int) answer {
			return read(t, ask(s, http.MethodPost, templatesPath, strings.Replace(body("Maple", "Maple"), `"order"`, fmt.Sprintf(`"order_%d"`, i), 1)))
		}
		for i := range 100 {
			if a := create(i); a.Error.Code != 0 {
				t.Fatalf("%d: %+v", i, a.Error)
			}
		}
		if a := create(100); a.Error.Code != 80007 {
			t.Errorf("the 101st within an hour: %+v", a.Error)
		}
		for range 9 {
			ask(s, http.MethodGet, templatesPath, "")
		}
		if a := read(t, ask(s, http.MethodGet, templatesPath, "")); a.Error.Code != 80007 {
			t.Errorf("the 111th call: %+v", a.Error)
		}
		time.Sleep(time.Hour)
		if a := create(5); a.Error.Subcode != 2388024 {
			t.Errorf("the same name and language: %+v", a.Error)
		}
		if a := read(t, ask(s, http.MethodDelete, templatesPath+"?name=order_5", "")); a.Error.Code != 0 {
			t.Errorf("%+v", a.Error)
		}
		if a := create(5); a.Error.Subcode != 2388023 {
			t.Errorf("a name that was deleted: %+v", a.Error)
		}
		time.Sleep(30 * 24 * time.Hour)
		if a := create(5); a.Error.Code != 0 {
			t.Errorf("after 30 days: %+v", a.Error)
		}
	})
}

func TestTemplates_AreSteeredOverHTTP(t *testing.T) {
	s := whatsappsim.New(whatsappsim.Options{})
	w := ask(s, http.MethodPost, "/_sim/templates", `{"name":"hello_world","status":"PAUSED"}`)
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"status":"PAUSED"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, wrong := range []string{`{"name":"nobody"}`, `{"name":"hello_world","notice":"soon"}`, `{"nam":"x"}`} {
		if w := ask(s, http.MethodPost, "/_sim/templates", wrong); w.Code != 400 {
			t.Errorf("%s: %d", wrong, w.Code)
		}
	}
	if w := ask(s, http.MethodGet, "/_sim/templates", ""); !strings.Contains(w.Body.String(), "hello_world") {
		t.Errorf("%s", w.Body)
	}
}
