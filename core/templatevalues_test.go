package core_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
)

// What is said in short is what the Cloud API's page on sending templates writes.
func TestTemplate_InShortIsTheCloudAPIs(t *testing.T) {
	for _, test := range []struct{ name, short, want string }{
		{"nothing", `{}`, ``},
		{"by order", `{"params":["Ann","5 €"]}`, `[{"type":"body","parameters":[{"type":"text","text":"Ann"},{"type":"text","text":"5 €"}]}]`},
		{"by name", `{"params":{"b":"2","a":"1"}}`, `[{"type":"body","parameters":[{"type":"text","parameter_name":"a","text":"1"},{"type":"text","parameter_name":"b","text":"2"}]}]`},
		{"a header's text", `{"header":{"text":"4711"},"params":[]}`, `[{"type":"header","parameters":[{"type":"text","text":"4711"}]}]`},
		{"a header's name", `{"header":{"text":{"order":"4711"}}}`, `[{"type":"header","parameters":[{"type":"text","parameter_name":"order","text":"4711"}]}]`},
		{"an image", `{"header":{"image":{"link":"https://a.example/i.png"}}}`, `[{"type":"header","parameters":[{"type":"image","image":{"link":"https://a.example/i.png"}}]}]`},
		{"a document", `{"header":{"document":{"id":"9","filename":"a.pdf"}}}`, `[{"type":"header","parameters":[{"type":"document","document":{"id":"9","filename":"a.pdf"}}]}]`},
		{"a place", `{"header":{"location":{"latitude":40.5,"longitude":-3.25,"name":"Sol"}}}`, `[{"type":"header","parameters":[{"type":"location","location":{"latitude":"40.5","longitude":"-3.25","name":"Sol"}}]}]`},
		{"buttons", `{"buttons":[{"index":0,"payload":"yes"},{"index":1,"url":"4711"},{"index":2,"code":"SAVE5"}]}`,
			`[{"type":"button","sub_type":"quick_reply","index":"0","parameters":[{"type":"payload","payload":"yes"}]},` +
				`{"type":"button","sub_type":"url","index":"1","parameters":[{"type":"text","text":"4711"}]},` +
				`{"type":"button","sub_type":"copy_code","index":"2","parameters":[{"type":"coupon_code","coupon_code":"SAVE5"}]}]`},
		{"a flow", `{"buttons":[{"index":0,"flow":"t","flow_data":{"x":1}}]}`,
			`[{"type":"button","sub_type":"flow","index":"0","parameters":[{"type":"action","action":{"flow_action_data":{"x":1},"flow_token":"t"}}]}]`},
		{"a catalog", `{"buttons":[{"index":0,"catalog":"sku1"}]}`,
			`[{"type":"button","sub_type":"catalog","index":"0","parameters":[{"type":"action","action":{"thumbnail_product_retailer_id":"sku1"}}]}]`},
		{"an offer", `{"offer_ends":"2026-03-01T00:00:00Z"}`,
			`[{"type":"limited_time_offer","parameters":[{"type":"limited_time_offer","limited_time_offer":{"expiration_time_ms":1772323200000}}]}]`},
		{"cards", `{"cards":[{"header":{"video":{"id":"1"}},"params":["a"]},{"header":{"video":{"id":"2"}},"buttons":[{"index":0,"payload":"p"}]}]}`,
			`[{"type":"carousel","cards":[{"card_index":0,"components":[{"type":"header","parameters":[{"type":"video","video":{"id":"1"}}]},{"type":"body","parameters":[{"type":"text","text":"a"}]}]},` +
				`{"card_index":1,"components":[{"type":"header","parameters":[{"type":"video","video":{"id":"2"}}]},{"type":"button","sub_type":"quick_reply","index":"0","parameters":[{"type":"payload","payload":"p"}]}]}]}]`},
		{"as it was", `{"components":[{"type":"body"}]}`, `[{"type":"body"}]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got core.Template
			if err := json.Unmarshal([]byte(test.short), &got); err != nil {
				t.Fatal(err)
			}
			if string(got.Components) != test.want || got.Params != nil || got.Header != nil || got.Buttons != nil || got.Cards != nil || !got.OfferEnds.IsZero() {
				t.Errorf("components\n%s, want\n%s\n%+v", got.Components, test.want, got)
			}
			// Read again, it stays as it is.
			data, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			var again core.Template
			if err := json.Unmarshal(data, &again); err != nil || string(again.Components) != test.want {
				t.Errorf("again: %v\n%s", err, again.Components)
			}
		})
	}
}

func TestTemplate_InShortSaysWhatIsWrong(t *testing.T) {
	for _, test := range []struct{ short, want string }{
		{`{"params":["a\nb"]}`, "line breaks"},
		{`{"params":["a     b"]}`, "four spaces"},
		{`{"params":[" "]}`, "is empty"},
		{`{"params":[1]}`, "texts, in a list or by name"},
		{`{"params":["a"],"components":[{"type":"body"}]}`, "not both"},
		{`{"header":{}}`, "one of text, image"},
		{`{"header":{"text":"a","image":{"id":"1"}}}`, "not 2"},
		{`{"header":{"image":{"id":"1","link":"https://a.example"}}}`, "an id or a link"},
		{`{"buttons":[{"index":0}]}`, "buttons[0]: wants one of payload"},
		{`{"buttons":[{"index":10,"payload":"x"}]}`, "0 to 9, not 10"},
		{`{"cards":[{"buttons":[{"index":0,"payload":"x","url":"y"}]}]}`, "cards[0]: buttons[0]: wants one"},
		{`{"params":[` + strings.Repeat(`"a",`, 100) + `"a"]}`, "101 params"},
	} {
		var got core.Template
		if err := json.Unmarshal([]byte(test.short), &got); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.short, err, test.want)
		}
	}
}
