package whatsappsim_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

// action is an interactive object with a body, and its action.
func action(typ, more, action string) string {
	return fmt.Sprintf(`{"type":%q,"body":{"text":"?"}%s,"action":{%s}}`, typ, more, action)
}

func TestSim_RefusesInteractiveMessagesThatMetaRefuses(t *testing.T) {
	s := whatsappsim.New(whatsappsim.Options{AccessTokens: []string{"token"}})
	const title = `,"header":{"type":"text","text":"h"}`
	items := func(n int) string {
		return `"catalog_id":"7","sections":[{"title":"a","product_items":[` + strings.TrimSuffix(strings.Repeat(`{"product_retailer_id":"x"},`, n), ",") + `]}]`
	}
	card := func(n int, header string) string {
		return fmt.Sprintf(`{"card_index":%d,"type":"cta_url","header":%s,"body":{"text":"c"},"action":{"name":"cta_url","parameters":{"display_text":"See","url":"https://a.example"}}}`, n, header)
	}
	answers := func(n int, buttons string) string {
		return fmt.Sprintf(`{"card_index":%d,"type":"cta_url","header":{"type":"image","image":{"id":"1"}},"action":{"buttons":[%s]}}`, n, buttons)
	}
	const more = `{"type":"quick_reply","quick_reply":{"id":"a","title":"More"}}`
	image, video := `{"type":"image","image":{"id":"1"}}`, `{"type":"video","video":{"id":"1"}}`
	cards := func(list ...string) string { return `"cards":[` + strings.Join(list, ",") + `]` }
	flow := func(more string) string {
		return `"name":"flow","parameters":{"flow_message_version":"3","flow_cta":"Go"` + more + `}`
	}
	for _, test := range []struct {
		name, object string
		code         int
		message      string
	}{
		{"flow by id", action("flow", title, flow(`,"flow_id":"1","flow_action":"navigate"`)), 0, ""},
		{"draft of a flow by name", action("flow", "", flow(`,"flow_name":"f","mode":"draft"`)), 0, ""},
		{"flow by nothing", action("flow", "", flow("")), 100, "flow_id or flow_name"},
		{"flow by both", action("flow", "", flow(`,"flow_name":"f","flow_id":"1"`)), 100, "flow_id or flow_name"},
		{"flow of another action", action("flow", "", flow(`,"flow_id":"1","flow_action":"swim"`)), 100, "flow_action"},
		{"flow without button", action("flow", "", `"name":"flow","parameters":{"flow_message_version":"3","flow_id":"1"}`), 100, "flow_cta"},
		{"flow of another name", action("flow", "", `"name":"river","parameters":{}`), 131009, "must be flow"},
		{"product", `{"type":"product","action":{"catalog_id":"7","product_retailer_id":"x"}}`, 0, ""},
		{"product with header", action("product", title, `"catalog_id":"7","product_retailer_id":"x"`), 100, "header"},
		{"product of no catalog", action("product", "", `"product_retailer_id":"x"`), 100, "catalog_id"},
		{"30 products", action("product_list", title, items(30)), 0, ""},
		{"31 products", action("product_list", title, items(31)), 131009, "1 to 30"},
		{"products without header", action("product_list", "", items(1)), 100, "header"},
		{"catalog", action("catalog_message", "", `"name":"catalog_message"`), 0, ""},
		{"where are you", action("location_request_message", "", `"name":"send_location"`), 0, ""},
		{"where, of another name", action("location_request_message", "", `"name":"location"`), 131009, "send_location"},
		{"address", action("address_message", "", `"name":"address_message","parameters":{"country":"IN"}`), 0, ""},
		{"address of no country", action("address_message", "", `"name":"address_message","parameters":{}`), 100, "country"},
		{"may we call", action("call_permission_request", "", `"name":"call_permission_request"`), 0, ""},
		{"who are you", action("contact_request", "", `"name":"request_contact_info"`), 0, ""},
		{"who are you, by its other name", action("request_contact_info", "", `"name":"request_contact_info"`), 0, ""},
		{"order without reference", action("order_status", "", `"name":"review_order","parameters":{}`), 100, "reference_id"},
		{"two cards", action("carousel", "", cards(card(0, image), card(1, image))), 0, ""},
		{"one card", action("carousel", "", cards(card(0, image))), 131009, "Min allowed: 2"},
		{"cards out of order", action("carousel", "", cards(card(1, image), card(0, image))), 131009, "card_index"},
		{"cards of two kinds", action("carousel", "", cards(card(0, image), card(1, video))), 131009, "other cards"},
		{"a card of four lines", action("carousel", "", cards(card(0, image), strings.Replace(card(1, image), `"text":"c"`, `"text":"1\n2\n3\n4"`, 1))), 131009, "2 line breaks"},
		{"card without header", action("carousel", "", cards(card(0, "null"), card(1, image))), 100, "header"},
		{"cards with a footer", action("carousel", `,"footer":{"text":"f"}`, cards(card(0, image), card(1, image))), 100, "footer"},
		{"cards with quick replies", action("carousel", "", cards(answers(0, more), answers(1, more))), 0, ""},
		{"cards with buttons of another kind", action("carousel", "", cards(answers(0, `{"type":"reply","reply":{"id":"a","title":"More"}}`), answers(1, `{"type":"reply","reply":{"id":"a","title":"More"}}`))), 131009, "must be quick_reply"},
		{"cards with more buttons than others", action("carousel", "", cards(answers(0, more), answers(1, more+","+more))), 131009, "as many buttons"},
		{"cards with a button without a title", action("carousel", "", cards(answers(0, `{"type":"quick_reply","quick_reply":{"id":"a"}}`), answers(1, more))), 100, "title"},
		{"header of a kind that is none", action("flow", `,"header":{"type":"soul"}`, flow(`,"flow_id":"1"`)), 100, "TEXT, IMAGE"},
		{"header of an image that is none", action("flow", `,"header":{"type":"image"}`, flow(`,"flow_id":"1"`)), 100, "either id or link"},
	} {
		a := read(t, send(s, `{"messaging_product":"whatsapp","to":"+34600111222","type":"interactive","interactive":`+test.object+`}`))
		if a.Error.Code != test.code || !strings.Contains(a.Error.Message+" "+a.Error.Data.Details, test.message) {
			t.Errorf("%s: code %d, %q, %q; want %d and %q", test.name, a.Error.Code, a.Error.Message, a.Error.Data.Details, test.code, test.message)
		}
	}
}
