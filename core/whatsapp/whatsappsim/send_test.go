package whatsappsim_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

func TestSim_RefusesWhatMetaRefuses(t *testing.T) {
	s := whatsappsim.New(whatsappsim.Options{
		AccessTokens: []string{"token"},
		Templates:    []whatsappsim.Template{{Name: "offer", Language: "es", BodyParameters: 2}, {Name: "any", Language: "es", BodyParameters: -1}},
	})
	long := func(n int) string { return strings.Repeat("ñ", n) }
	inter := func(object string) string {
		return `{"messaging_product":"whatsapp","to":"+34600111222","type":"interactive","interactive":` + object + `}`
	}
	button := func(id, title string) string {
		return fmt.Sprintf(`{"type":"reply","reply":{"id":%q,"title":%q}}`, id, title)
	}
	buttons := func(list ...string) string {
		return inter(`{"type":"button","body":{"text":"?"},"action":{"buttons":[` + strings.Join(list, ",") + `]}}`)
	}
	of := func(typ, object string) string {
		return fmt.Sprintf(`{"messaging_product":"whatsapp","to":"+34600111222","type":%q,%q:%s}`, typ, typ, object)
	}
	for _, test := range []struct {
		name    string
		body    string
		status  int
		code    int
		message string // a part of the message or details
	}{
		{"good", text(""), 200, 0, ""},
		{"with all that is common", text(`,"recipient_type":"individual","context":{"message_id":"wamid.Q"},"biz_opaque_callback_data":"x"`), 200, 0, ""},
		{"no product", `{"to":"+34600111222","text":{"body":"x"}}`, 400, 100, "messaging_product is required"},
		{"another product", `{"messaging_product":"signal","to":"+34600111222","text":{"body":"x"}}`, 400, 100, "must be one of {WHATSAPP}"},
		{"no recipient", `{"messaging_product":"whatsapp","type":"text","text":{"body":"x"}}`, 400, 100, "The parameter to is required"},
		{"a group", text(`,"recipient_type":"group"`), 400, 100, "recipient_type"},
		{"words as recipient", `{"messaging_product":"whatsapp","to":"me","text":{"body":"x"}}`, 400, 131009, "not a phone number"},
		{"a number as recipient", `{"messaging_product":"whatsapp","to":34600111222,"text":{"body":"x"}}`, 400, 100, "Param to must be a string"},
		{"a BSUID that is none", `{"messaging_product":"whatsapp","recipient":"+34600111222","text":{"body":"x"}}`, 400, 131009, "business-scoped"},
		{"itself", `{"messaging_product":"whatsapp","to":"+15550783881","text":{"body":"x"}}`, 400, 131021, "Recipient cannot be sender"},
		{"unknown key", text(`,"priority":"high"`), 400, 100, `Unexpected key "priority"`},
		{"unknown type", of("hologram", `{}`), 400, 100, `Unexpected key "hologram"`},
		{"unknown type alone", `{"messaging_product":"whatsapp","to":"+34600111222","type":"hologram"}`, 400, 100, "type must be one of"},
		{"type without object", `{"messaging_product":"whatsapp","to":"+34600111222","type":"image"}`, 400, 131008, "mandatory"},
		{"object of another type", text(`,"image":{"id":"1"}`), 400, 100, "Unexpected key"},
		{"not JSON", `{"messaging_product":`, 400, 100, "Invalid JSON"},
		{"two values", text("") + text(""), 400, 100, "Invalid JSON"},
		{"long opaque", text(fmt.Sprintf(`,"biz_opaque_callback_data":%q`, strings.Repeat("x", 513))), 400, 100, "512"},
		{"empty context", text(`,"context":{}`), 400, 100, "message_id"},

		{"empty text", of("text", `{"body":""}`), 400, 100, "text['body'] is required"},
		{"text of 4096", of("text", fmt.Sprintf(`{"body":%q}`, long(4096))), 200, 0, ""},
		{"text of 4097", of("text", fmt.Sprintf(`{"body":%q}`, long(4097))), 400, 100, "at most 4096"},
		{"text with unknown key", of("text", `{"body":"x","bold":true}`), 400, 100, "bold"},
		{"image", of("image", `{"link":"https://a.example/b.png","caption":"c"}`), 200, 0, ""},
		{"image of nothing", of("image", `{}`), 400, 100, "either id or link"},
		{"image of a word", of("image", `{"link":"here"}`), 400, 131009, "URL"},
		{"audio with caption", of("audio", `{"id":"1","caption":"c"}`), 400, 100, "caption"},
		{"image with filename", of("image", `{"id":"1","filename":"c"}`), 400, 100, "filename"},
		{"video with voice", of("video", `{"id":"1","voice":true}`), 400, 100, "voice"},
		{"long caption", of("image", fmt.Sprintf(`{"id":"1","caption":%q}`, long(1025))), 400, 100, "1024"},
		{"location", of("location", `{"latitude":1,"longitude":"2.5"}`), 200, 0, ""},
		{"half a location", of("location", `{"latitude":1}`), 400, 100, "longitude"},
		{"location in space", of("location", `{"latitude":91,"longitude":0}`), 400, 131009, "earth"},
		{"contacts", of("contacts", `[{"name":{"formatted_name":"x"}}]`), 200, 0, ""},
		{"contacts without name", of("contacts", `[{"phones":[]}]`), 400, 100, "formatted_name"},
		{"no contacts", of("contacts", `[]`), 400, 131009, "1 to 257"},
		{"contacts as one", of("contacts", `{}`), 400, 100, "array"},
		{"reaction", of("reaction", `{"message_id":"wamid.Q","emoji":""}`), 200, 0, ""},
		{"reaction without emoji", of("reaction", `{"message_id":"wamid.Q"}`), 400, 100, "emoji"},
		{"reaction to nothing", of("reaction", `{"emoji":"x"}`), 400, 100, "message_id"},
		{"reaction in answer", `{"messaging_product":"whatsapp","to":"+34600111222","type":"reaction","context":{"message_id":"w"},"reaction":{"message_id":"w","emoji":"x"}}`, 400, 100, "context"},

		{"buttons", buttons(button("a", "A"), button("b", "B"), button("c", "C")), 200, 0, ""},
		{"four buttons", buttons(button("a", "A"), button("b", "B"), button("c", "C"), button("d", "D")), 400, 131009, "Max allowed buttons: 3"},
		{"no buttons", buttons(), 400, 131009, "Min allowed buttons: 1"},
		{"one id twice", buttons(button("a", "A"), button("a", "B")), 400, 131009, "Duplicated"},
		{"long title", buttons(button("a", long(21))), 400, 100, "20"},
		{"no body", inter(`{"type":"button","action":{"buttons":[]}}`), 400, 100, "interactive['body']['text'] is required"},
		{"long footer", inter(fmt.Sprintf(`{"type":"button","body":{"text":"?"},"footer":{"text":%q},"action":{}}`, long(61))), 400, 100, "footer"},
		{"long header", inter(fmt.Sprintf(`{"type":"button","body":{"text":"?"},"header":{"type":"text","text":%q},"action":{}}`, long(61))), 400, 100, "header"},
		{"list", inter(`{"type":"list","body":{"text":"?"},"action":{"button":"b","sections":[{"rows":[{"id":"1","title":"t"}]}]}}`), 200, 0, ""},
		{"eleven rows", inter(`{"type":"list","body":{"text":"?"},"action":{"button":"b","sections":[{"rows":[` + rows(11) + `]}]}}`), 400, 131009, "Total row count"},
		{"list without button", inter(`{"type":"list","body":{"text":"?"},"action":{"sections":[{"rows":[` + rows(1) + `]}]}}`), 400, 100, "button"},
		{"link button", inter(`{"type":"cta_url","body":{"text":"?"},"action":{"name":"cta_url","parameters":{"display_text":"See","url":"https://a.example"}}}`), 200, 0, ""},
		{"link button to nowhere", inter(`{"type":"cta_url","body":{"text":"?"},"action":{"name":"cta_url","parameters":{"display_text":"See"}}}`), 400, 100, "url"},
		{"no such interactive", inter(`{"type":"hologram","body":{"text":"?"},"action":{}}`), 400, 131009, "hologram"},
		{"interactive without action", inter(`{"type":"button","body":{"text":"?"}}`), 400, 100, "action"},

		{"template", of("template", `{"name":"offer","language":{"code":"es"},"components":[{"type":"body","parameters":[{"type":"text","text":"1"},{"type":"text","text":"2"}]}]}`), 200, 0, ""},
		{"template, any parameters", of("template", `{"name":"any","language":{"code":"es"},"components":[{"type":"BODY","parameters":[{}]},{"type":"button","sub_type":"url","index":"0","parameters":[]}]}`), 200, 0, ""},
		{"template with too few", of("template", `{"name":"offer","language":{"code":"es"}}`), 400, 132000, "number of localizable_params (0)"},
		{"template in no such language", of("template", `{"name":"offer","language":{"code":"de"}}`), 404, 132001, "does not exist in de"},
		{"template without language", of("template", `{"name":"offer"}`), 400, 100, "language"},
		{"template with odd parts", of("template", `{"name":"any","language":{"code":"es"},"components":[{"type":"soul"}]}`), 400, 100, "soul"},

		{"read", `{"messaging_product":"whatsapp","status":"read","message_id":"wamid.Q","typing_indicator":{"type":"text"}}`, 200, 0, ""},
		{"unread", `{"messaging_product":"whatsapp","status":"unread","message_id":"wamid.Q"}`, 400, 100, "READ"},
		{"read what", `{"messaging_product":"whatsapp","status":"read"}`, 400, 100, "message_id"},
		{"a message id on a send", text(`,"message_id":"wamid.Q"`), 400, 100, "message_id"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := s.Stats()
			w := send(s, test.body)
			a := read(t, w)
			if w.Code != test.status || a.Error.Code != test.code || !strings.Contains(a.Error.Message+" "+a.Error.Data.Details, test.message) {
				t.Errorf("%d %s, want %d with code %d and %q", w.Code, w.Body, test.status, test.code, test.message)
			}
			if (a.Error.Trace != "") != (test.status != 200) {
				t.Errorf("fbtrace_id %q", a.Error.Trace)
			}
			after := s.Stats()
			if took := after.Sends + after.Read - before.Sends - before.Read; (took == 1) != (test.status == 200) {
				t.Errorf("it took %d", took)
			}
		})
	}
}

func rows(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`{"id":"%d","title":"t"}`, i))
	}
	return strings.Join(list, ",")
}

func TestSim_ChecksWhoAsksAndWhere(t *testing.T) {
	s := whatsappsim.New(whatsappsim.Options{AccessTokens: []string{"token", "other"}})
	messages := "/v25.0/" + number + "/messages"
	for _, test := range []struct {
		name, method, path, auth, contentType string
		status, code, subcode                 int
	}{
		{"good", "POST", messages, "Bearer token", "application/json", 200, 0, 0},
		{"the other token", "POST", messages, "Bearer other", "application/json; charset=utf-8", 200, 0, 0},
		{"another version", "POST", "/v26.0/" + number + "/messages", "Bearer token", "application/json", 200, 0, 0},
		{"no token", "POST", messages, "", "application/json", 401, 104, 0},
		{"another scheme", "POST", messages, "Basic token", "application/json", 401, 104, 0},
		{"wrong token", "POST", messages, "Bearer tok", "application/json", 401, 190, 0},
		{"form", "POST", messages, "Bearer token", "application/x-www-form-urlencoded", 400, 100, 0},
		{"no type", "POST", messages, "Bearer token", "", 400, 100, 0},
		{"unknown number", "POST", "/v25.0/1/messages", "Bearer token", "application/json", 400, 100, 33},
		{"unknown edge", "POST", "/v25.0/" + number + "/letters", "Bearer token", "application/json", 400, 100, 33},
		{"GET messages", "GET", messages, "Bearer token", "", 400, 100, 33},
		{"profile", "GET", "/v25.0/" + number + "?fields=display_phone_number,verified_name", "Bearer token", "", 200, 0, 0},
		{"profile of a stranger", "GET", "/v25.0/" + number, "Bearer tok", "", 401, 190, 0},
		{"no such field", "GET", "/v25.0/" + number + "?fields=soul", "Bearer token", "", 400, 100, 0},
	} {
		w := ask(s, test.method, test.path, text(""), "Authorization", test.auth, "Content-Type", test.contentType)
		a := read(t, w)
		if w.Code != test.status || a.Error.Code != test.code || a.Error.Subcode != test.subcode {
			t.Errorf("%s: %d %s; want %d with code %d/%d", test.name, w.Code, w.Body, test.status, test.code, test.subcode)
		}
	}
}

func TestSim_AnswersAsMetaDoes(t *testing.T) {
	s := whatsappsim.New(whatsappsim.Options{})
	phone := read(t, send(s, text("")))
	if diff := cmp.Diff([]map[string]string{{"input": "+34600111222", "wa_id": "34600111222"}}, phone.Contacts); diff != "" {
		t.Errorf("contacts (-want +got):\n%s", diff)
	}
	bsuid := read(t, send(s, `{"messaging_product":"whatsapp","recipient":"GB.42","text":{"body":"x"}}`))
	if diff := cmp.Diff([]map[string]string{{"input": "GB.42", "user_id": "GB.42"}}, bsuid.Contacts); diff != "" {
		t.Errorf("contacts of a BSUID (-want +got):\n%s", diff)
	}
	both := read(t, send(s, text(`,"recipient":"GB.42"`)))
	if diff := cmp.Diff(phone.Contacts, both.Contacts); diff != "" {
		t.Errorf("with both, to wins (-want +got):\n%s", diff)
	}
	tpl := read(t, send(s, `{"messaging_product":"whatsapp","to":"+34600111222","type":"template","template":{"name":"hello_world","language":{"code":"en_US"}}}`))
	if tpl.Messages[0]["message_status"] != "accepted" || phone.Messages[0]["message_status"] != "" {
		t.Errorf("template: %v, text: %v", tpl.Messages, phone.Messages)
	}
	// Without a + the number is taken for one of the business's own country.
	national := read(t, send(s, `{"messaging_product":"whatsapp","to":"600 111 222","text":{"body":"x"}}`))
	if got := national.Contacts[0]["wa_id"]; got != "1600111222" {
		t.Errorf("without a + it went to %s", got)
	}
	ids := map[string]bool{}
	for _, x := range s.Ledger().Sends {
		ids[x.ID] = true
	}
	for _, x := range whatsappsim.New(whatsappsim.Options{}).Receive(whatsappsim.Inbound{From: "1"}) {
		ids[x] = true // of another Sim
	}
	if len(ids) != 6 {
		t.Errorf("%d different ids, want 6", len(ids))
	}
}

func TestSim_KeepsTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, &bridge{}, whatsappsim.Options{EnforceWindow: true})
		code := func(body string) int { return read(t, send(s, body)).Error.Code }
		template := `{"messaging_product":"whatsapp","to":"+34600111222","type":"template","template":{"name":"hello_world","language":{"code":"en_US"}}}`
		if got := code(text("")); got != 131047 {
			t.Errorf("to somebody who never wrote: %d, want 131047", got)
		}
		if got := code(template); got != 0 {
			t.Errorf("a template: %d", got)
		}
		s.Receive(whatsappsim.Inbound{From: "34600111222", BSUID: "ES.1", Text: "hi"})
		time.Sleep(24*time.Hour - time.Nanosecond)
		if got := code(text("")); got != 0 {
			t.Errorf("a tick before the end: %d", got)
		}
		if got := code(`{"messaging_product":"whatsapp","recipient":"ES.1","text":{"body":"x"}}`); got != 0 {
			t.Errorf("the same person by BSUID: %d", got)
		}
		time.Sleep(time.Nanosecond)
		if got := code(text("")); got != 131047 {
			t.Errorf("at the end: %d, want 131047", got)
		}
	})
}
