package template

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
)

// order is a template with one of each.
func order(t *testing.T) *Definition {
	t.Helper()
	return draft(t, `{"name":"order","language":"en_US","category":"utility",
		"header":{"format":"image","example":"4::aW"},
		"body":"Hello {{1}}, your order {{2}} is on its way to you.","examples":["Ana","A-17"],
		"footer":"Thank you",
		"buttons":["Help",{"text":"Track","url":"https://example.com/o/{{1}}","example":"https://example.com/o/7"},
			{"text":"Call","phone":"+34600111222"},{"type":"copy_code","example":"SPRING"}]}`)
}

func draft(t *testing.T, raw string) *Definition {
	t.Helper()
	d, err := ParseDraft([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	out := d.Definition()
	return &out
}

const (
	image  = `{"type":"header","parameters":[{"type":"image","image":{"link":"https://example.com/i.png"}}]}`
	body   = `{"type":"body","parameters":[{"type":"text","text":"Ana"},{"type":"text","text":"A-17"}]}`
	track  = `{"type":"button","sub_type":"url","index":"1","parameters":[{"type":"text","text":"17"}]}`
	coupon = `{"type":"button","sub_type":"copy_code","index":3,"parameters":[{"type":"coupon_code","coupon_code":"SPRING"}]}`
)

func TestCheck_TakesWhatFits(t *testing.T) {
	d := order(t)
	if problems := Lint(d); len(problems) > 0 {
		t.Fatalf("the template itself: %+v", problems)
	}
	payload := `{"type":"button","sub_type":"quick_reply","index":"0","parameters":[{"type":"payload","payload":"help"}]}`
	for _, all := range []string{
		"[" + strings.Join([]string{image, body, track, coupon}, ",") + "]",
		"[" + strings.Join([]string{payload, image, coupon, body, track}, ",") + "]",
	} {
		if err := d.Check(json.RawMessage(all)); err != nil {
			t.Errorf("%s: %v", all, err)
		}
	}
	plain := draft(t, `{"name":"hello","language":"es","category":"utility","body":"Hola"}`)
	for _, nothing := range []string{"", "[]", `[{"type":"body","parameters":[]}]`} {
		if err := plain.Check(json.RawMessage(nothing)); err != nil {
			t.Errorf("%q for a template without variables: %v", nothing, err)
		}
	}
	named := draft(t, `{"name":"hi","language":"es","category":"utility","body":"Hola {{name}}, son {{sum}} en total","examples":{"name":"Ana","sum":"3"}}`)
	if err := named.Check(json.RawMessage(`[{"type":"body","parameters":[{"type":"text","parameter_name":"sum","text":"3"},{"type":"text","parameter_name":"name","text":"Ana"}]}]`)); err != nil {
		t.Errorf("named, in another order: %v", err)
	}
}

func TestCheck_SaysWhatDoesNotFit(t *testing.T) {
	d := order(t)
	named := draft(t, `{"name":"hi","language":"es","category":"utility","body":"Hola {{name}}, son {{sum}} en total","examples":{"name":"Ana","sum":"3"}}`)
	carousel := draft(t, `{"name":"c","language":"es","category":"marketing","components":[{"type":"BODY","text":"See"},{"type":"CAROUSEL","cards":[
		{"components":[{"type":"BODY","text":"One {{1}} here"}]},{"components":[{"type":"BODY","text":"Two"}]}]}]}`)
	with := func(parts ...string) string { return "[" + strings.Join(parts, ",") + "]" }
	for _, test := range []struct {
		d          *Definition
		components string
		want       string
	}{
		{d, `{"type":"body"}`, "not the Cloud API's array"},
		{d, with(body, track, coupon), "header wants one parameter of the type image, and has 0"},
		{d, with(strings.ReplaceAll(image, "image", "video"), body, track, coupon), `of the type image, not "video"`},
		{d, with(strings.Replace(image, `"link"`, `"id":"1","link"`, 1), body, track, coupon), "an id or a link, not both"},
		{d, with(image, track, coupon), "body has 0 parameters, and the template wants 2"},
		{d, with(image, `{"type":"body","parameters":[{"type":"text","text":"Ana"}]}`, track, coupon), "body has 1 parameter, and the template wants 2"},
		{d, with(image, body, body, track, coupon), "two components of the type body"},
		{d, with(image, strings.Replace(body, "Ana", `A\na`, 1), track, coupon), "parameter 1 of its body has line breaks"},
		{d, with(image, strings.Replace(body, "Ana", " ", 1), track, coupon), "parameter 1 of its body is empty"},
		{d, with(image, strings.Replace(body, `"type":"text","text":"Ana"`, `"type":"image","image":{"id":"1"}`, 1), track, coupon), `has the type "image"`},
		{d, with(image, strings.Replace(body, "Ana", strings.Repeat("a", 1024), 1), track, coupon), "more than 1024"},
		{d, with(image, strings.Replace(body, `"text":"Ana"`, `"text":"Ana","parameter_name":"x"`, 1), track, coupon), "the template counts them"},
		{d, with(image, body, coupon), "button 1 wants one parameter of the type text"},
		{d, with(image, body, strings.Replace(track, "url", "quick_reply", 1), coupon), "is a url button"},
		{d, with(image, body, track, track, coupon), "button 1 has two components"},
		{d, with(image, body, track), "coupon_code of at most 20"},
		{d, with(image, body, track, coupon, strings.Replace(track, `"1"`, `"9"`, 1)), "button 9, and the template has 4 buttons"},
		{d, with(image, body, track, coupon, `{"type":"footer"}`), "a footer takes no parameters"},
		{named, `[{"type":"body","parameters":[{"type":"text","text":"Ana"},{"type":"text","text":"3"}]}]`, `named "", and the template wants 2 parameters: name, sum`},
		{named, `[{"type":"body","parameters":[{"type":"text","parameter_name":"sum","text":"3"},{"type":"text","parameter_name":"sum","text":"3"}]}]`, "sum twice"},
		{carousel, `[]`, "carousel has 0 cards, and the template wants 2"},
		{carousel, `[{"type":"carousel","cards":[{"card_index":0,"components":[]},{"card_index":1}]}]`, "card 0: its body has 0 parameters"},
		{carousel, `[{"type":"carousel","cards":[{"card_index":1},{"card_index":1}]}]`, "each once"},
	} {
		err := test.d.Check(json.RawMessage(test.components))
		if core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s\n got %v\nwant one with %q", test.components, err, test.want)
		}
	}
}

func TestLint_SaysWhatMetaDoesNotTake(t *testing.T) {
	for _, test := range []struct{ draft, want string }{
		{`{"name":"Order-1","language":"en_US","category":"utility","body":"Hello"}`, `the name "Order-1" is not`},
		{`{"name":"a","language":"english","category":"utility","body":"Hello"}`, `the language "english"`},
		{`{"name":"a","language":"es","category":"promo","body":"Hello"}`, `the category "promo"`},
		{`{"name":"a","language":"es","category":"utility","footer":"Hello"}`, "no body"},
		{`{"name":"a","language":"es","category":"utility","body":"{{1}}, hello to you","examples":["A"]}`, "begins or ends with a variable"},
		{`{"name":"a","language":"es","category":"utility","body":"Hello to you, {{1}}","examples":["A"]}`, "begins or ends with a variable"},
		{`{"name":"a","language":"es","category":"utility","body":"Hello to you all {{1}} {{2}} there","examples":["A","B"]}`, "two variables that touch"},
		{`{"name":"a","language":"es","category":"utility","body":"Hello to you all {{2}} there","examples":["A"]}`, "{{1}} is not among them"},
		{`{"name":"a","language":"es","category":"utility","body":"Hello to you all {{Name}} there","examples":["A"]}`, "variable {{Name}}"},
		{`{"name":"a","language":"es","category":"utility","body":"Hello to you all {{name}} or {{1}} there","examples":["A","B"]}`, "variable {{1}}"},
		{`{"name":"a","language":"es","category":"utility","body":"Hello to you all {{1} there"}`, "braces that are no variable"},
		{`{"name":"a","language":"es","category":"utility","body":"Hello to you all {{1}} there"}`, "1 variable and 0 examples"},
		{`{"name":"a","language":"es","category":"utility","body":"Hi {{1}}!","examples":["A"]}`, "perhaps too few"},
		{`{"name":"a","language":"es","category":"utility","body":"` + strings.Repeat("a", 1025) + `"}`, "body has 1025 characters, more than 1024"},
		{`{"name":"a","language":"es","category":"utility","body":"Hello","footer":"by {{1}} us"}`, "footer has a variable"},
		{`{"name":"a","language":"es","category":"utility","body":"Hello","footer":"` + strings.Repeat("a", 61) + `"}`, "footer has 61"},
		{`{"name":"a","language":"es","category":"utility","body":"Hello","header":"For {{1}} and {{2}} only"}`, "header has 2 variables, and may have one"},
		{`{"name":"a","language":"es","category":"utility","body":"Hello","header":{"format":"video"}}`, "video without a sample"},
		{`{"name":"a","language":"es","category":"utility","body":"Hello","header":{"format":"gif"}}`, `format "GIF"`},
		{`{"name":"a","language":"es","category":"utility","body":"Hello","buttons":["1","2","3","4","5","6","7","8","9","10","11"]}`, "11 buttons"},
		{`{"name":"a","language":"es","category":"utility","body":"Hello","buttons":["` + strings.Repeat("a", 26) + `"]}`, "26 characters, more than 25"},
		{`{"name":"a","language":"es","category":"utility","body":"Hello","buttons":["A",{"text":"C","phone":"+34600111222"},"B"]}`, "between its quick replies"},
		{`{"name":"a","language":"es","category":"utility","body":"Hello","buttons":[{"text":"C","url":"https://e.com/{{1}}/x","example":"1"}]}`, "one variable, at its end"},
		{`{"name":"a","language":"es","category":"utility","body":"Hello","buttons":[{"text":"C","url":"e.com"}]}`, "no address of the web"},
		{`{"name":"a","language":"es","category":"utility","body":"Hello","buttons":[{"text":"C","url":"https://e.com/{{1}}"}]}`, "1 variable and 0 examples"},
		{`{"name":"a","language":"es","category":"utility","body":"Hello","buttons":[{"text":"C","phone":"1"},{"text":"D","phone":"2"}]}`, "2 buttons of the type phone_number, and may have 1"},
		{`{"name":"a","language":"es","category":"authentication","body":"Your code"}`, "Meta's"},
	} {
		problems := Lint(draft(t, test.draft))
		found := false
		for _, p := range problems {
			found = found || strings.Contains(p.Text, test.want)
		}
		if !found {
			t.Errorf("%s\n got %+v\nwant one with %q", test.draft, problems, test.want)
		}
	}
}

// shop is a draft with two cards of a kind.
func shop(header, buttons string) string {
	card := fmt.Sprintf(`{"components":[{"type":"HEADER",%s},{"type":"BUTTONS","buttons":[%s]}]}`, header, buttons)
	return `{"name":"shop","language":"es","category":"marketing","components":[{"type":"BODY","text":"See"},{"type":"CAROUSEL","cards":[` + card + "," + card + `]}]}`
}

func TestLint_SaysWhatMetaDoesNotTakeOfCards(t *testing.T) {
	const image, products = `"format":"IMAGE","example":{"header_handle":["4::aW"]}`, `"format":"PRODUCT"`
	const more, see, view = `{"type":"QUICK_REPLY","text":"More"}`, `{"type":"URL","text":"See","url":"https://e.com"}`, `{"type":"SPM","text":"View"}`
	says := func(lines string) string { return image + `},{"type":"BODY","text":"` + lines + `"` }
	last := func(in, old, fresh string) string {
		i := strings.LastIndex(in, old)
		return in[:i] + fresh + in[i+len(old):]
	}
	for _, test := range []struct{ draft, want string }{
		{shop(image, more+","+see), ""},
		{shop(products, view), ""},
		{shop(products, see), ""},
		{shop(says(strings.Repeat("a", 160)), more), ""},
		{shop(says(strings.Repeat("a", 161)), more), "card 0: the body has 161 characters, more than 160"},
		{shop(says(`1\n2\n3`), more), ""},
		{shop(says(`1\n2\n3\n4`), more), "card 0: the body has 3 line breaks: perhaps"},
		{strings.Replace(shop(image, more), "marketing", "utility", 1), "only marketing templates"},
		{shop(`"format":"TEXT","text":"a"`, more), `card 0: its header is of the format "TEXT"`},
		{last(shop(image, more), `{"type":"HEADER",`+image+"},", ""), "card 1: it has no header"},
		{shop(image+`},{"type":"FOOTER","text":"f"`, more), `of the type footer, and may have none`},
		{shop(products+`},{"type":"BODY","text":"b"`, view), `of the type body, and may have none`},
		{shop(image, more+","+more+","+see), "card 0: it has 3 buttons, and may have 2"},
		{shop(image, `{"type":"FLOW","text":"Go"}`), `card 0: button 0 is of the type "FLOW"`},
		{shop(products, more), `card 0: button 0 is of the type "QUICK_REPLY"`},
		{shop(products, view+","+see), "card 0: it has 2 buttons, and may have 1"},
		{shop(image, `{"type":"QUICK_REPLY","text":"`+strings.Repeat("a", 26)+`"}`), "26 characters, more than 25"},
		{last(shop(image, more), more, see), "card 1: it has header image, url button, and the first card header image, quick_reply button"},
		{last(shop(image, more), "IMAGE", "VIDEO"), "card 1: it has header video"},
		{last(shop(image, more), `},{"type":"BUTTONS"`, `},{"type":"BODY","text":"b"},{"type":"BUTTONS"`), "card 1: it has header image, body, quick_reply button"},
	} {
		problems := Lint(draft(t, test.draft))
		found := test.want == "" && len(problems) == 0
		for _, p := range problems {
			found = found || test.want != "" && strings.Contains(p.Text, test.want)
		}
		if !found {
			t.Errorf("%s\n got %+v\nwant one with %q", test.draft, problems, test.want)
		}
	}
}

func TestCheck_LooksAtCards(t *testing.T) {
	card := func(i int) string {
		return fmt.Sprintf(`{"card_index":%d,"components":[{"type":"header","parameters":[{"type":"product","product":{"product_retailer_id":"x","catalog_id":"7"}}]}]}`, i)
	}
	send := func(cards ...string) string {
		return `[{"type":"carousel","cards":[` + strings.Join(cards, ",") + `]}]`
	}
	says := func(text string) string {
		card := `{"card_index":%d,"components":[{"type":"body","parameters":[{"type":"text","text":"` + text + `"}]}]}`
		return send(fmt.Sprintf(card, 0), fmt.Sprintf(card, 1))
	}
	products := shop(`"format":"PRODUCT"`, `{"type":"SPM","text":"View"}`)
	const texts = `{"name":"c","language":"es","category":"marketing","components":[{"type":"BODY","text":"See"},{"type":"CAROUSEL","cards":[
		{"components":[{"type":"BODY","text":"One {{1}} here"}]},{"components":[{"type":"BODY","text":"One {{1}} here"}]}]}]}`
	for _, test := range []struct{ draft, components, want string }{
		{products, send(card(0), card(1)), ""},
		{products, send(card(0), card(1), card(2)), ""}, // as many as there are to show
		{products, send(card(0)), "1 card, and may have 2 to 10"},
		{products, send(card(0), card(2)), "card_index 2"},
		{texts, says(strings.Repeat("a", 151)), ""},
		{texts, says(strings.Repeat("a", 152)), "card 0: its body would have 161 characters, more than 160"},
	} {
		err := draft(t, test.draft).Check(json.RawMessage(test.components))
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.components, err, test.want)
		}
	}
}

func TestParseDraft_FindsFaultWithWhatItDoesNotKnow(t *testing.T) {
	for _, raw := range []string{`{"nam":"x"}`, `{"buttons":[{"typ":"url"}]}`, `{"header":{"forma":"x"}}`, `{"examples":3}`} {
		if _, err := ParseDraft([]byte(raw)); err == nil || strings.Contains(err.Error(), "json:") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestSame_SeesTextsOnly(t *testing.T) {
	a, b := order(t), order(t)
	b.ID, b.Category = "7", "marketing"
	for i := range b.Components {
		b.Components[i].Example = nil
	}
	if !Same(a, b) {
		t.Error("a definition differs by what nobody reads")
	}
	b.Component(Footer).Text = "Thanks"
	if Same(a, b) {
		t.Error("another footer is not seen")
	}
}

// What Meta returns of a template is read, whatever else is in it.
func TestDefinition_ReadsMetasForm(t *testing.T) {
	const raw = `{"id":"1","name":"n","language":"en","status":"APPROVED","category":"marketing","sub_category":"X","parameter_format":"NAMED","components":[
		{"type":"BODY","text":"Hi {{first_name}}!","example":{"body_text_named_params":[{"param_name":"first_name","example":"Ana"}]}},
		{"type":"BUTTONS","buttons":[{"type":"COPY_CODE","text":"Copy","example":"ABC"},{"type":"URL","text":"Go","url":"https://e.com/{{1}}","example":["https://e.com/1"]}]}]}`
	var d Definition
	if err := json.Unmarshal([]byte(raw), &d); err != nil {
		t.Fatal(err)
	}
	if b := d.Component(Buttons).Buttons; !d.Named() || d.Variables()[0] != "first_name" || b[0].Example[0] != "ABC" || b[1].Example[0] != "https://e.com/1" {
		t.Errorf("read as %+v", d)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(image))
	f.Add([]byte("[" + body + "," + track + "]"))
	f.Fuzz(func(t *testing.T, components []byte) {
		if err := order(t).Check(components); err != nil && core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("%q: %v", components, err)
		}
	})
}
