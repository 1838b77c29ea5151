package crm_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

func TestMessageText_HasAllThatAPersonWouldHaveSeen(t *testing.T) {
	for name, c := range map[string]struct {
		message core.Message
		want    string
	}{
		"a text": {core.Message{Type: core.TypeText, Text: "hello"}, "hello"},
		"cards": {core.Message{Type: core.TypeContacts, Contacts: json.RawMessage(`[
			{"name":{"formatted_name":"Ana Gil","first_name":"Ana"},"org":{"company":"Acme"},"phones":[{"phone":"+34 600 000 001","wa_id":"34600000001"},{"wa_id":"34600000002"}],"emails":[{"email":"a@x.example"}]},
			{"name":{"first_name":"Bo","last_name":"Li"}}]`)}, "[contacts] Ana Gil, Acme, +34 600 000 001, 34600000002, a@x.example; Bo Li"},
		"cards that are none": {core.Message{Type: core.TypeContacts, Contacts: json.RawMessage(`"?"`)}, "[contacts]"},
		"buttons": {core.Message{Type: core.TypeInteractive, Interactive: json.RawMessage(`{"type":"button","header":{"type":"text","text":"Hours"},"body":{"text":"When?"},"footer":{"text":"Acme"},
			"action":{"buttons":[{"type":"reply","reply":{"id":"a","title":"Today"}},{"type":"reply","reply":{"id":"b","title":"Later"}}]}}`)}, "Hours\nWhen?\nAcme\n[Today | Later]"},
		"buttons whose text is known": {core.Message{Type: core.TypeInteractive, Text: "When?", Interactive: json.RawMessage(`{"body":{"text":"When?"},"action":{"buttons":[{"reply":{"title":"Today"}}]}}`)}, "When?\n[Today]"},
		"a list": {core.Message{Type: core.TypeInteractive, Interactive: json.RawMessage(`{"type":"list","body":{"text":"Which?"},"action":{"button":"Show","sections":[{"rows":[{"id":"1","title":"Red"}]},{"rows":[{"id":"2","title":"Blue"}]}]}}`)},
			"Which?\n[Red | Blue]"},
		"a link":                {core.Message{Type: core.TypeInteractive, Interactive: json.RawMessage(`{"type":"cta_url","body":{"text":"Pay"},"action":{"name":"cta_url","parameters":{"display_text":"Here","url":"https://x.example"}}}`)}, "Pay\n[Here https://x.example]"},
		"one that is unknown":   {core.Message{Type: core.TypeInteractive, Interactive: json.RawMessage(`{"type":"hologram","body":"?"}`)}, "[interactive]"},
		"one that is no object": {core.Message{Type: core.TypeInteractive, Text: "kept", Interactive: json.RawMessage(`[]`)}, "kept"},
		"a choice":              {core.Message{Type: core.TypeInteractive, Text: "Red", Reply: &core.Reply{Kind: "list", Title: "Red", Description: "like a rose"}}, "Red like a rose"},
		"a form":                {core.Message{Type: core.TypeInteractive, Text: "Sent", Reply: &core.Reply{Kind: "flow", Title: "Sent", Response: `{"flow_token":"secret","size":"L","colors":["red","blue"],"note":null}`}}, "Sent colors: red;blue\nsize: L"},
		"a form that is none":   {core.Message{Type: core.TypeInteractive, Text: "Sent", Reply: &core.Reply{Kind: "flow", Response: `{"size":`}}, "Sent"},
		"a place":               {core.Message{Type: core.TypeLocation, Location: &core.Location{Latitude: 1.5, Longitude: -2, Name: "Shop"}}, "[location] Shop 1.5,-2"},
		"a reaction":            {core.Message{Type: core.TypeReaction, Reaction: &core.Reaction{Emoji: "👍"}}, "[reaction] 👍"},
		"one that went":         {core.Message{Type: core.TypeReaction, Reaction: &core.Reaction{}}, "[reaction] (taken back)"},
	} {
		if got := crm.MessageText(&c.message); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	if got := crm.MessageText(&core.Message{Type: core.TypeInteractive, Reply: &core.Reply{Response: `{"flow_token":"secret"}`}}); strings.Contains(got, "secret") {
		t.Errorf("got %q", got)
	}
}
