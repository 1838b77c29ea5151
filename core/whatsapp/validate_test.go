package whatsapp_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/whatsapp"
)

var toAna = core.Address{Kind: core.AddressPhone, Value: "+34600111222"}

func text(n int) string { return strings.Repeat("ñ", n) } // characters, not bytes

// buttons writes an interactive object with so many buttons.
func buttons(n, title int) json.RawMessage {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`{"type":"reply","reply":{"id":"b%d","title":%q}}`, i, text(title))
	}
	return fmt.Appendf(nil, `{"type":"button","body":{"text":"?"},"action":{"buttons":[%s]}}`, strings.Join(list, ","))
}

// list writes an interactive object with so many sections of so many rows.
func list(sections, rows int) json.RawMessage {
	var all []string
	for s := range sections {
		var in []string
		for r := range rows {
			in = append(in, fmt.Sprintf(`{"id":"%d.%d","title":"row"}`, s, r))
		}
		all = append(all, fmt.Sprintf(`{"title":"section","rows":[%s]}`, strings.Join(in, ",")))
	}
	return fmt.Appendf(nil, `{"type":"list","body":{"text":"?"},"action":{"button":"choose","sections":[%s]}}`, strings.Join(all, ","))
}

func interactive(format string, args ...any) core.Message {
	return core.Message{Type: core.TypeInteractive, Interactive: fmt.Appendf(nil, format, args...)}
}

func cards(n int) json.RawMessage {
	return json.RawMessage("[" + strings.TrimSuffix(strings.Repeat(`{"name":{"formatted_name":"x"}},`, n), ",") + "]")
}

func TestValidate_KnowsTheLimits(t *testing.T) {
	media := func(t core.MessageType, m core.Media, caption string) core.Message {
		return core.Message{Type: t, Media: &m, Text: caption}
	}
	place := func(lat, long float64) core.Message {
		return core.Message{Type: core.TypeLocation, Location: &core.Location{Latitude: lat, Longitude: long}}
	}
	tpl := func(t core.Template) core.Message { return core.Message{Type: core.TypeTemplate, Template: &t} }
	inter := func(raw json.RawMessage) core.Message {
		return core.Message{Type: core.TypeInteractive, Interactive: raw}
	}
	for _, test := range []struct {
		name string
		m    core.Message
		want string // part of the error; "" is fine
	}{
		{"text", core.Message{Type: core.TypeText, Text: "hi"}, ""},
		{"text of 4096", core.Message{Type: core.TypeText, Text: text(4096)}, ""},
		{"text of 4097", core.Message{Type: core.TypeText, Text: text(4097)}, "text has 4097 characters, more than 4096"},
		{"no text", core.Message{Type: core.TypeText}, "text is empty"},
		{"no type", core.Message{Text: "hi"}, `type "" cannot be sent`},
		{"inbound type", core.Message{Type: core.TypeOrder}, `type "order" cannot be sent`},
		{"reply to what is too long", core.Message{Type: core.TypeText, Text: "x", Context: &core.MessageContext{ID: text(600)}}, "context.id"},

		{"image by id", media(core.TypeImage, core.Media{ID: "1"}, text(1024)), ""},
		{"image by link", media(core.TypeImage, core.Media{Link: "https://a.example/b.png"}, ""), ""},
		{"image by both", media(core.TypeImage, core.Media{ID: "1", Link: "https://a.example"}, ""), "not both"},
		{"image by nothing", media(core.TypeImage, core.Media{}, ""), "an id or a link"},
		{"no media", core.Message{Type: core.TypeVideo}, "an id or a link"},
		{"long caption", media(core.TypeDocument, core.Media{ID: "1"}, text(1025)), "1024"},
		{"file as link", media(core.TypeImage, core.Media{Link: "file:///etc/passwd"}, ""), "media.link"},
		{"words as link", media(core.TypeImage, core.Media{Link: "a picture"}, ""), "media.link"},
		{"long link", media(core.TypeImage, core.Media{Link: "https://a.example/" + strings.Repeat("a", 2048)}, ""), "media.link"},
		{"audio", media(core.TypeAudio, core.Media{ID: "1", Voice: true}, ""), ""},
		{"audio with caption", media(core.TypeAudio, core.Media{ID: "1"}, "listen"), "no caption"},
		{"sticker with caption", media(core.TypeSticker, core.Media{ID: "1"}, "look"), "no caption"},
		{"long filename", media(core.TypeDocument, core.Media{ID: "1", Filename: text(241)}, ""), "filename"},

		{"location", place(-90, 180), ""},
		{"north of the pole", place(90.1, 0), "not on earth"},
		{"no number", place(0, math.NaN()), "not on earth"},
		{"no location", core.Message{Type: core.TypeLocation}, "location is missing"},

		{"257 cards", core.Message{Type: core.TypeContacts, Contacts: cards(257)}, ""},
		{"258 cards", core.Message{Type: core.TypeContacts, Contacts: cards(258)}, "1 to 257, not 258"},
		{"no cards", core.Message{Type: core.TypeContacts, Contacts: cards(0)}, "1 to 257, not 0"},
		{"cards missing", core.Message{Type: core.TypeContacts}, "not an array"},
		{"card without name", core.Message{Type: core.TypeContacts, Contacts: json.RawMessage(`[{}]`)}, "formatted_name"},
		{"cards that are none", core.Message{Type: core.TypeContacts, Contacts: json.RawMessage(`{"name":1}`)}, "not an array"},

		{"reaction", core.Message{Type: core.TypeReaction, Reaction: &core.Reaction{MessageID: "wamid.1", Emoji: "👍"}}, ""},
		{"reaction taken back", core.Message{Type: core.TypeReaction, Reaction: &core.Reaction{MessageID: "wamid.1"}}, ""},
		{"reaction to nothing", core.Message{Type: core.TypeReaction, Reaction: &core.Reaction{Emoji: "👍"}}, "must name a message"},
		{"no reaction", core.Message{Type: core.TypeReaction}, "must name a message"},
		{"reaction of words", core.Message{Type: core.TypeReaction, Reaction: &core.Reaction{MessageID: "w", Emoji: text(33)}}, "emoji"},

		{"read", core.Message{Type: core.TypeRead, Context: &core.MessageContext{ID: "wamid.1"}}, ""},
		{"read what", core.Message{Type: core.TypeRead}, "context.id"},

		{"three buttons", inter(buttons(3, 20)), ""},
		{"four buttons", inter(buttons(4, 20)), "1 to 3, not 4"},
		{"no buttons", inter(buttons(0, 20)), "1 to 3, not 0"},
		{"long title", inter(buttons(1, 21)), "title of a button has 21"},
		{"empty title", inter(buttons(1, 0)), "an id and a title"},
		{"one id twice", interactive(`{"type":"button","body":{"text":"?"},"action":{"buttons":[{"type":"reply","reply":{"id":"a","title":"A"}},{"type":"reply","reply":{"id":"a","title":"B"}}]}}`), "only one of its kind"},
		{"long id", interactive(`{"type":"button","body":{"text":"?"},"action":{"buttons":[{"type":"reply","reply":{"id":%q,"title":"A"}}]}}`, text(257)), "id of a button"},
		{"button of another type", interactive(`{"type":"button","body":{"text":"?"},"action":{"buttons":[{"type":"url"}]}}`), "must be reply"},
		{"no body", interactive(`{"type":"button","action":{"buttons":[]}}`), "body.text is empty"},
		{"long body", interactive(`{"type":"button","body":{"text":%q},"action":{}}`, text(1025)), "1024"},
		{"long footer", interactive(`{"type":"button","body":{"text":"?"},"footer":{"text":%q},"action":{}}`, text(61)), "footer"},
		{"long header", interactive(`{"type":"list","body":{"text":"?"},"header":{"type":"text","text":%q},"action":{}}`, text(61)), "header"},
		{"ten rows", inter(list(2, 5)), ""},
		{"eleven rows", inter(list(1, 11)), "1 to 10 rows in all, not 11"},
		{"eleven sections", inter(list(11, 1)), "1 to 10, not 11"},
		{"no rows", inter(list(1, 0)), "1 to 10 rows in all, not 0"},
		{"no button", interactive(`{"type":"list","body":{"text":"?"},"action":{"sections":[{"rows":[{"id":"1","title":"t"}]}]}}`), "action.button is empty"},
		{"sections without titles", interactive(`{"type":"list","body":{"text":"?"},"action":{"button":"b","sections":[{"rows":[{"id":"1","title":"t"}]},{"title":"x","rows":[]}]}}`), "each needs one"},
		{"one row id twice", interactive(`{"type":"list","body":{"text":"?"},"action":{"button":"b","sections":[{"rows":[{"id":"1","title":"t"},{"id":"1","title":"u"}]}]}}`), "id of its own"},
		{"long row", interactive(`{"type":"list","body":{"text":"?"},"action":{"button":"b","sections":[{"rows":[{"id":"1","title":%q}]}]}}`, text(25)), "title of a row"},
		{"long description", interactive(`{"type":"list","body":{"text":"?"},"action":{"button":"b","sections":[{"rows":[{"id":"1","title":"t","description":%q}]}]}}`, text(73)), "description of a row"},
		{"long section", interactive(`{"type":"list","body":{"text":"?"},"action":{"button":"b","sections":[{"title":%q,"rows":[{"id":"1","title":"t"}]}]}}`, text(25)), "title of a section"},
		{"link button", interactive(`{"type":"cta_url","body":{"text":"?"},"action":{"name":"cta_url","parameters":{"display_text":"See","url":"https://a.example"}}}`), ""},
		{"link button to nowhere", interactive(`{"type":"cta_url","body":{"text":"?"},"action":{"parameters":{"display_text":"See","url":"javascript:1"}}}`), "display_text and a url"},
		{"long link button", interactive(`{"type":"cta_url","body":{"text":"?"},"action":{"parameters":{"display_text":%q,"url":"https://a.example"}}}`, text(21)), "display_text"},
		{"link button of another name", interactive(`{"type":"cta_url","body":{"text":"?"},"action":{"parameters":{"display_text":"See","url":"https://a.example"}}}`), "must be cta_url"},
		{"an image above", interactive(`{"type":"cta_url","header":{"type":"image","image":{"link":"https://a.example/i.png"}},"body":{"text":"?"},"action":{"name":"cta_url","parameters":{"display_text":"See","url":"https://a.example"}}}`), ""},
		{"an image that is none", interactive(`{"type":"cta_url","header":{"type":"image","video":{"id":"1"}},"body":{"text":"?"},"action":{"name":"cta_url","parameters":{"display_text":"See","url":"https://a.example"}}}`), "an id or a link"},
		{"a header of sound", interactive(`{"type":"list","body":{"text":"?"},"header":{"type":"audio"},"action":{}}`), "header.type"},
		{"a flow", interactive(`{"type":"flow","body":{"text":"?"},"action":{"name":"flow","parameters":{"flow_message_version":"3","flow_id":"1","flow_token":"t","flow_cta":"Book","flow_action":"navigate","flow_action_payload":{"screen":"S"}}}}`), ""},
		{"a flow without a word", interactive(`{"type":"flow","body":{"text":"?"},"action":{"name":"flow","parameters":{"flow_message_version":"3","flow_id":"1"}}}`), "flow_cta"},
		{"a flow of two names", interactive(`{"type":"flow","body":{"text":"?"},"action":{"name":"flow","parameters":{"flow_message_version":"3","flow_id":"1","flow_name":"n","flow_cta":"Book"}}}`), "a flow_id or flow_name"},
		{"a flow that flies", interactive(`{"type":"flow","body":{"text":"?"},"action":{"name":"flow","parameters":{"flow_message_version":"3","flow_id":"1","flow_cta":"Book","flow_action":"fly"}}}`), "navigate or data_exchange"},
		{"a product", interactive(`{"type":"product","action":{"catalog_id":"1","product_retailer_id":"a"}}`), ""},
		{"a product of no catalog", interactive(`{"type":"product","action":{"product_retailer_id":"a"}}`), "catalog_id"},
		{"a product with a header", interactive(`{"type":"product","header":{"type":"text","text":"h"},"action":{"catalog_id":"1","product_retailer_id":"a"}}`), "has none"},
		{"thirty products", inter(products(30)), ""},
		{"one more", inter(products(31)), "not 31"},
		{"no products", inter(products(0)), "not 0"},
		{"products without a header", interactive(`{"type":"product_list","body":{"text":"?"},"action":{"catalog_id":"1","sections":[{"product_items":[{"product_retailer_id":"a"}]}]}}`), "header must be a text"},
		{"a catalog", interactive(`{"type":"catalog_message","body":{"text":"?"},"action":{"name":"catalog_message","parameters":{"thumbnail_product_retailer_id":"a"}}}`), ""},
		{"where are you", interactive(`{"type":"location_request_message","body":{"text":"?"},"action":{"name":"send_location"}}`), ""},
		{"where are you not", interactive(`{"type":"location_request_message","body":{"text":"?"},"action":{"name":"location"}}`), "send_location"},
		{"an address", interactive(`{"type":"address_message","body":{"text":"?"},"action":{"name":"address_message","parameters":{"country":"IN"}}}`), ""},
		{"an address anywhere", interactive(`{"type":"address_message","body":{"text":"?"},"action":{"name":"address_message","parameters":{}}}`), "country"},
		{"may we call", interactive(`{"type":"call_permission_request","body":{"text":"?"},"action":{"name":"call_permission_request"}}`), ""},
		{"who are you", interactive(`{"type":"contact_request","body":{"text":"?"},"action":{"name":"request_contact_info"}}`), ""},
		{"who are you, by its other name", interactive(`{"type":"request_contact_info","body":{"text":"?"},"action":{"name":"request_contact_info"}}`), ""},
		{"cards with quick replies", inter(quickReplies(`{"type":"quick_reply","quick_reply":{"id":"a","title":"A"}}`, `{"type":"quick_reply","quick_reply":{"id":"b","title":"B"}}`)), ""},
		{"cards with a reply button", inter(quickReplies(`{"type":"reply","reply":{"id":"a","title":"A"}}`, `{"type":"reply","reply":{"id":"b","title":"B"}}`)), "must be of type quick_reply"},
		{"cards with long titles", inter(quickReplies(`{"type":"quick_reply","quick_reply":{"id":"a","title":"`+text(21)+`"}}`, `{"type":"quick_reply","quick_reply":{"id":"b","title":"B"}}`)), "title of a button has 21"},
		{"cards with neither a link nor a button", inter(quickReplies("", "")), "quick replies, or parameters"},
		{"cards of a product of no catalog", interactive(`{"type":"carousel","body":{"text":"?"},"action":{"cards":[{"card_index":0,"type":"product","action":{"product_retailer_id":"x"}},{"card_index":1,"type":"product"}]}}`), "catalog_id"},
		{"cards of which one has no button", inter(quickReplies(`{"type":"quick_reply","quick_reply":{"id":"a","title":"A"}}`, "")), "all have as many"},
		{"two cards", inter(carousel(2, "image")), ""},
		{"one card", inter(carousel(1, "image")), "2 to 10, not 1"},
		{"eleven cards", inter(carousel(11, "image")), "2 to 10, not 11"},
		{"cards of two kinds", interactive(`{"type":"carousel","body":{"text":"?"},"action":{"cards":[{"card_index":0,"type":"cta_url","header":{"type":"image","image":{"id":"1"}},"action":{"name":"cta_url","parameters":{"display_text":"See","url":"https://a.example"}}},{"card_index":1,"type":"cta_url","header":{"type":"video","video":{"id":"1"}},"action":{"name":"cta_url","parameters":{"display_text":"See","url":"https://a.example"}}}]}}`), "another type than the first"},
		{"a card of three lines", inter(cardText("1\\n2\\n3")), ""},
		{"a card of four lines", inter(cardText("1\\n2\\n3\\n4")), "cards[0].body.text has more than 2 line breaks"},
		{"cards out of order", interactive(`{"type":"carousel","body":{"text":"?"},"action":{"cards":[{"card_index":1},{"card_index":0}]}}`), "card_index must be 0"},
		{"what comes next", interactive(`{"type":"hologram","depth":3}`), ""},
		{"interactive without type", interactive(`{}`), "interactive is not"},
		{"interactive that is none", interactive(`[1]`), "interactive is not"},
		{"no interactive", core.Message{Type: core.TypeInteractive}, "interactive must be"},
		{"huge interactive", inter(json.RawMessage(`{"type":"x","y":"` + strings.Repeat("y", 64<<10) + `"}`)), "at most 64 KiB"},

		{"template", tpl(core.Template{Name: "offer", Language: "es", Components: json.RawMessage(`[{"type":"body","parameters":[]}]`)}), ""},
		{"template without parameters", tpl(core.Template{Name: "offer", Language: "es"}), ""},
		{"template without name", tpl(core.Template{Language: "es"}), "template.name is empty"},
		{"template without language", tpl(core.Template{Name: "offer"}), "template.language is empty"},
		{"template with words", tpl(core.Template{Name: "offer", Language: "es", Components: json.RawMessage(`"x"`)}), "template.components"},
		{"template of long name", tpl(core.Template{Name: text(513), Language: "es"}), "template.name"},
		{"no template", core.Message{Type: core.TypeTemplate}, "template.name is empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := test.m
			if m.Type != core.TypeRead {
				m.To = toAna
			}
			err := whatsapp.Validate(&m)
			if test.want == "" {
				if err != nil {
					t.Fatalf("Validate = %v, want nil", err)
				}
				return
			}
			if core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Validate = %v (%s), want CodeInvalid with %q", err, core.CodeOf(err), test.want)
			}
		})
	}
}

func TestValidate_WantsAnAddress(t *testing.T) {
	for _, to := range []core.Address{
		{}, {Kind: core.AddressPhone, Value: "34600111222"}, {Kind: core.AddressPhone, Value: "US.1349"},
		{Kind: core.AddressBSUID, Value: "+34600111222"}, {Kind: "group", Value: "x"},
	} {
		if err := whatsapp.Validate(&core.Message{Type: core.TypeText, Text: "x", To: to}); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("to %v: %v, want CodeInvalid", to, err)
		}
	}
	if err := whatsapp.Validate(nil); core.CodeOf(err) != core.CodeInvalid {
		t.Errorf("no message: %v", err)
	}
}

func products(n int) json.RawMessage {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf(`{"product_retailer_id":"p%d"}`, i)
	}
	return json.RawMessage(`{"type":"product_list","header":{"type":"text","text":"h"},"body":{"text":"?"},"action":{"catalog_id":"1","sections":[{"title":"s","product_items":[` +
		strings.Join(items, ",") + `]}]}}`)
}

// quickReplies is a carousel of cards with such buttons.
func quickReplies(cards ...string) json.RawMessage {
	for i, buttons := range cards {
		cards[i] = fmt.Sprintf(`{"card_index":%d,"type":"cta_url","header":{"type":"image","image":{"id":"1"}},"action":{"buttons":[%s]}}`, i, buttons)
	}
	return json.RawMessage(`{"type":"carousel","body":{"text":"?"},"action":{"cards":[` + strings.Join(cards, ",") + `]}}`)
}

// cardText is a carousel whose cards say something.
func cardText(text string) json.RawMessage {
	return json.RawMessage(strings.ReplaceAll(string(carousel(2, "image")), `"text":"b"`, `"text":"`+text+`"`))
}

func carousel(n int, kind string) json.RawMessage {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`{"card_index":%d,"type":"cta_url","header":{"type":%q,%[2]q:{"link":"https://a.example/%[1]d"}},"body":{"text":"b"},"action":{"name":"cta_url","parameters":{"display_text":"See","url":"https://a.example"}}}`, i, kind)
	}
	return json.RawMessage(`{"type":"carousel","body":{"text":"?"},"action":{"cards":[` + strings.Join(all, ",") + `]}}`)
}
