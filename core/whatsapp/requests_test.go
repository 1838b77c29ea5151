package whatsapp_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/template"
	"github.com/wabridge/wabridge/core/whatsapp"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

const requestsFile = "testdata/requests.txtar"

// sent is a message, and the name of its request in the golden file.
type sent struct {
	name string
	m    core.Message
}

// sends are messages of every kind that can be sent, with all that each may hold.
func sends(t *testing.T) []sent {
	t.Helper()
	answer := &core.MessageContext{ID: "wamid.Q"}
	file := func(kind core.MessageType, m core.Media, caption string) core.Message {
		return core.Message{Type: kind, Media: &m, Text: caption}
	}
	all := []sent{
		{"text", core.Message{Type: core.TypeText, Text: "¿Sí? <b> & \"c\"\n\u2028📦"}},
		{"text with preview, in answer", core.Message{Type: core.TypeText, Text: "https://a.example", PreviewURL: true, Context: answer}},
		{"text to a user id", core.Message{To: core.Address{Kind: core.AddressBSUID, Value: "GB.42"}, Type: core.TypeText, Text: "x"}},
		{"image by id", file(core.TypeImage, core.Media{ID: "7", Filename: "not for images"}, "look")},
		{"image by link, in answer", core.Message{Type: core.TypeImage, Media: &core.Media{Link: "https://a.example/i.png?a=1&b=2"}, Context: answer}},
		{"template with a picture that was put here", core.Message{Type: core.TypeTemplate, Media: &core.Media{ID: "7", Hash: "0a", MIMEType: "image/png", Filename: "not for images"},
			Template: &core.Template{Name: "offer", Language: "es", Components: []byte(`[{"type":"body","parameters":[{"type":"text","text":"Ana"}]}]`)}}},
		{"template with a document that was put here", core.Message{Type: core.TypeTemplate, Media: &core.Media{ID: "7", Hash: "0a", MIMEType: "application/pdf", Filename: "i.pdf"},
			Template: &core.Template{Name: "offer", Language: "es"}}},
		{"audio by id", file(core.TypeAudio, core.Media{ID: "7"}, "")},
		{"voice by link", file(core.TypeAudio, core.Media{Link: "https://a.example/a.ogg", Voice: true}, "")},
		{"video by id", file(core.TypeVideo, core.Media{ID: "7"}, "")},
		{"video by link", file(core.TypeVideo, core.Media{Link: "https://a.example/v.mp4"}, "look")},
		{"document by id", file(core.TypeDocument, core.Media{ID: "7", Filename: "i.pdf"}, "")},
		{"document by link", file(core.TypeDocument, core.Media{Link: "https://a.example/i", Filename: "i.pdf"}, "yours")},
		{"sticker by id", file(core.TypeSticker, core.Media{ID: "7"}, "")},
		{"sticker by link", file(core.TypeSticker, core.Media{Link: "https://a.example/s.webp"}, "")},
		{"location", core.Message{Type: core.TypeLocation, Location: &core.Location{Latitude: 40.5, Longitude: -3.25, Name: "Sol", Address: "Puerta del Sol 1"}}},
		{"null island", core.Message{Type: core.TypeLocation, Location: &core.Location{}}},
		{"contacts", core.Message{Type: core.TypeContacts, Contacts: json.RawMessage(`[{"name":{"formatted_name":"Luis Gil","first_name":"Luis","last_name":"Gil"},` +
			`"phones":[{"phone":"+34600111333","wa_id":"34600111333","type":"CELL"}],"emails":[{"email":"l@a.example","type":"WORK"}],"birthday":"1990-01-02",` +
			`"addresses":[{"street":"Sol 1","city":"Madrid","state":"M","zip":"28013","country":"Spain","country_code":"ES","type":"WORK"}],` +
			`"org":{"company":"Maple","department":"Bread","title":"Baker"},"urls":[{"url":"https://a.example","type":"WORK"}]}]`)}},
		{"reaction", core.Message{Type: core.TypeReaction, Reaction: &core.Reaction{MessageID: "wamid.Q", Emoji: "👍"}, Context: answer}},
		{"reaction taken back", core.Message{Type: core.TypeReaction, Reaction: &core.Reaction{MessageID: "wamid.Q"}}},
		{"read", core.Message{Type: core.TypeRead, Context: &core.MessageContext{ID: "wamid.IN"}}},
		{"read, and typing", core.Message{Type: core.TypeRead, Typing: true, Context: &core.MessageContext{ID: "wamid.IN"}}},
	}
	for name, object := range interactives {
		all = append(all, sent{"interactive: " + name, core.Message{Type: core.TypeInteractive, Interactive: json.RawMessage(object)}})
	}
	for name, short := range templates {
		var m core.Template
		if err := json.Unmarshal([]byte(short), &m); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, sent{"template: " + name, core.Message{Type: core.TypeTemplate, Template: &m}})
	}
	slices.SortStableFunc(all[len(all)-len(interactives)-len(templates):], func(a, b sent) int { return strings.Compare(a.name, b.name) })
	return all
}

// interactives are objects of every type, from Meta's pages on each:
// https://developers.facebook.com/documentation/business-messaging/whatsapp/messages/send-messages
var interactives = map[string]string{
	"buttons": `{"type":"button","header":{"type":"document","document":{"id":"7"}},"body":{"text":"?"},"footer":{"text":"f"},` +
		`"action":{"buttons":[{"type":"reply","reply":{"id":"a","title":"A"}},{"type":"reply","reply":{"id":"b","title":"B"}}]}}`,
	"list": `{"type":"list","header":{"type":"text","text":"h"},"body":{"text":"?"},"footer":{"text":"f"},"action":{"button":"choose","sections":[` +
		`{"title":"one","rows":[{"id":"1","title":"a","description":"d"}]},{"title":"two","rows":[{"id":"2","title":"b"}]}]}}`,
	"link": `{"type":"cta_url","header":{"type":"image","image":{"link":"https://a.example/i.png"}},"body":{"text":"?"},"footer":{"text":"f"},` +
		`"action":{"name":"cta_url","parameters":{"display_text":"See","url":"https://a.example"}}}`,
	"flow by id": `{"type":"flow","header":{"type":"text","text":"h"},"body":{"text":"?"},"action":{"name":"flow","parameters":{"flow_message_version":"3",` +
		`"flow_token":"t","flow_id":"1","flow_cta":"Go","flow_action":"navigate","flow_action_payload":{"screen":"S","data":{"k":"v"}}}}}`,
	"draft of a flow by name": `{"type":"flow","body":{"text":"?"},"action":{"name":"flow","parameters":{"flow_message_version":"3","flow_name":"f","flow_cta":"Go","mode":"draft"}}}`,
	"product":                 `{"type":"product","body":{"text":"?"},"footer":{"text":"f"},"action":{"catalog_id":"7","product_retailer_id":"x"}}`,
	"products": `{"type":"product_list","header":{"type":"text","text":"h"},"body":{"text":"?"},"action":{"catalog_id":"7","sections":[` +
		`{"title":"a","product_items":[{"product_retailer_id":"x"}]},{"title":"b","product_items":[{"product_retailer_id":"y"}]}]}}`,
	"catalog":       `{"type":"catalog_message","body":{"text":"?"},"action":{"name":"catalog_message","parameters":{"thumbnail_product_retailer_id":"x"}}}`,
	"where are you": `{"type":"location_request_message","body":{"text":"?"},"action":{"name":"send_location"}}`,
	"address":       `{"type":"address_message","body":{"text":"?"},"action":{"name":"address_message","parameters":{"country":"IN","values":{"name":"Asha","phone_number":"+919876543210"}}}}`,
	"may we call":   `{"type":"call_permission_request","body":{"text":"?"},"action":{"name":"call_permission_request"}}`,
	"call us":       `{"type":"voice_call","body":{"text":"?"},"action":{"name":"voice_call","parameters":{"display_text":"Call"}}}`,
	"who are you":   `{"type":"contact_request","body":{"text":"?"},"action":{"name":"request_contact_info"}}`,
	"cards with quick replies": `{"type":"carousel","body":{"text":"?"},"action":{"cards":[` +
		`{"card_index":0,"type":"cta_url","header":{"type":"video","video":{"link":"https://a.example/1"}},"body":{"text":"c"},"action":{"buttons":[{"type":"quick_reply","quick_reply":{"id":"a","title":"A"}}]}},` +
		`{"card_index":1,"type":"cta_url","header":{"type":"video","video":{"link":"https://a.example/2"}},"body":{"text":"d"},"action":{"buttons":[{"type":"quick_reply","quick_reply":{"id":"b","title":"B"}}]}}]}}`,
	"order details": `{"type":"order_details","body":{"text":"?"},"action":{"name":"review_and_pay","parameters":{"reference_id":"r","type":"digital-goods","currency":"INR",` +
		`"payment_configuration":"p","payment_type":"upi","total_amount":{"value":21000,"offset":100},"order":{"status":"pending","items":[` +
		`{"retailer_id":"x","name":"Bread","amount":{"value":21000,"offset":100},"quantity":1}],"subtotal":{"value":21000,"offset":100}}}}}`,
	"order status": `{"type":"order_status","body":{"text":"?"},"action":{"name":"review_order","parameters":{"reference_id":"r","order":{"status":"processing","description":"soon"}}}}`,
	"cards with links": `{"type":"carousel","body":{"text":"?"},"action":{"cards":[` +
		`{"card_index":0,"type":"cta_url","header":{"type":"image","image":{"id":"1"}},"body":{"text":"c"},"action":{"name":"cta_url","parameters":{"display_text":"See","url":"https://a.example/1"}}},` +
		`{"card_index":1,"type":"cta_url","header":{"type":"image","image":{"id":"2"}},"action":{"name":"cta_url","parameters":{"display_text":"See","url":"https://a.example/2"}}}]}}`,
	"cards with products": `{"type":"carousel","body":{"text":"?"},"action":{"cards":[` +
		`{"card_index":0,"type":"product","action":{"product_retailer_id":"x","catalog_id":"7"}},{"card_index":1,"type":"product","action":{"product_retailer_id":"y","catalog_id":"7"}}]}}`,
}

// templates are messages of templates as whoever asks for one writes them, in short.
var templates = map[string]string{
	"nothing":    `{"name":"offer","language":"en_US"}`,
	"in order":   `{"name":"offer","language":"es","params":["Ana","4711"]}`,
	"by name":    `{"name":"offer","language":"es","header":{"text":{"shop":"Maple"}},"params":{"name":"Ana","order":"4711"}}`,
	"image":      `{"name":"offer","language":"es","header":{"image":{"link":"https://a.example/i.png"}}}`,
	"video":      `{"name":"offer","language":"es","header":{"video":{"id":"7"}}}`,
	"document":   `{"name":"offer","language":"es","header":{"document":{"id":"7","filename":"a.pdf"}}}`,
	"place":      `{"name":"offer","language":"es","header":{"location":{"latitude":40.5,"longitude":-3.25,"name":"Sol","address":"Sol 1"}}}`,
	"product":    `{"name":"offer","language":"es","header":{"product":{"product_retailer_id":"x","catalog_id":"7"}}}`,
	"buttons":    `{"name":"offer","language":"es","buttons":[{"index":0,"payload":"yes"},{"index":1,"url":"4711"},{"index":2,"code":"ANA10"}]}`,
	"flow":       `{"name":"offer","language":"es","buttons":[{"index":0,"flow":"t","flow_data":{"k":"v"}}]}`,
	"catalog":    `{"name":"offer","language":"es","buttons":[{"index":0,"catalog":"x"}]}`,
	"offer ends": `{"name":"offer","language":"es","params":["Ana"],"offer_ends":"2026-12-01T10:00:00Z","buttons":[{"index":0,"code":"ANA10"},{"index":1,"url":"a"}]}`,
	"code":       `{"name":"offer","language":"es","params":["493821"],"buttons":[{"index":0,"url":"493821"}]}`,
	"cards": `{"name":"offer","language":"es","params":["Ana"],"cards":[{"header":{"image":{"id":"1"}},"params":["a"],"buttons":[{"index":0,"payload":"p"},{"index":1,"url":"u"}]},` +
		`{"header":{"image":{"id":"2"}},"params":["b"],"buttons":[{"index":0,"payload":"q"},{"index":1,"url":"v"}]}]}`,
	"products, in the Cloud API's words": `{"name":"offer","language":"es","components":[{"type":"button","sub_type":"mpm","index":"0","parameters":[{"type":"action","action":` +
		`{"thumbnail_product_retailer_id":"x","sections":[{"title":"a","product_items":[{"product_retailer_id":"x"}]}]}}]}]}`,
}

// definitions are templates as people write them.
var definitions = map[string]string{
	"counted variables and an image": `{"name":"counted","language":"es","category":"marketing","header":{"format":"image","example":"4::aW"},
		"body":"Hello {{1}}, your order {{2}} is on its way to you.","examples":["Ana","A-17"],"footer":"Thank you",
		"buttons":["Help",{"text":"Track","url":"https://example.com/o/{{1}}","example":"https://example.com/o/7"},{"text":"Call","phone":"+34600111222"},{"type":"copy_code","example":"SPRING"}]}`,
	"a header's variable and a flow": `{"name":"flow","language":"es","category":"utility","header":{"text":"Order {{1}}","example":"A-17"},"body":"Tell us what you want.",
		"buttons":[{"type":"flow","text":"Begin","flow_id":"1","screen":"FIRST"}]}`,
	"a code": `{"name":"code","language":"es","category":"authentication","ttl":300,"components":[{"type":"BODY","add_security_recommendation":true},
		{"type":"FOOTER","code_expiration_minutes":10},{"type":"BUTTONS","buttons":[{"type":"OTP","otp_type":"COPY_CODE","text":"Copy"}]}]}`,
	"cards": `{"name":"cards","language":"es","category":"marketing","components":[{"type":"BODY","text":"New in our shop"},{"type":"CAROUSEL","cards":[
		{"components":[{"type":"HEADER","format":"IMAGE","example":{"header_handle":["4::aW"]}},{"type":"BODY","text":"Bread"},{"type":"BUTTONS","buttons":[{"type":"QUICK_REPLY","text":"More"}]}]},
		{"components":[{"type":"HEADER","format":"IMAGE","example":{"header_handle":["4::aW"]}},{"type":"BODY","text":"Cake"},{"type":"BUTTONS","buttons":[{"type":"QUICK_REPLY","text":"More"}]}]}]}]}`,
}

// recorder keeps requests for the golden file.
type recorder struct {
	*rig
	made, bodied int
	names        *strings.Replacer // of what the sim made up
	golden       txtar.Archive
}

// keep has the next request under a name.
func (r *recorder) keep(name string) {
	r.t.Helper()
	if len(r.requests) == r.made {
		r.t.Fatalf("%s: nothing was asked for", name)
	}
	req := r.requests[r.made]
	r.made++
	var body []byte
	if req.Body != nil {
		body = r.bodies[r.bodied]
		r.bodied++
	}
	data := written(r.t, req, body)
	if r.names != nil {
		data = []byte(r.names.Replace(string(data)))
	}
	r.golden.Files = append(r.golden.Files, txtar.File{Name: name, Data: data})
}

// TestClient_AsksMetaAsItsPagesSay holds every kind of request still: what
// testdata/requests.txtar has was compared with the vendor's pages and examples, and so
// must be what differs from it. The sim takes each of them.
func TestClient_AsksMetaAsItsPagesSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := whatsappsim.New(whatsappsim.Options{
			AccessTokens: []string{token}, ReviewDelay: time.Hour,
			Numbers:   []whatsappsim.Number{{ID: numberID, DisplayNumber: "15550783881", WABA: waba, New: true}},
			Templates: []whatsappsim.Template{{Name: "offer", Language: "es", BodyParameters: -1}, {Name: "offer", Language: "en_US"}},
		})
		r := &recorder{rig: newRig(t, sim)}
		r.golden.Comment = []byte("Every request that the client makes. Compare what changes here with Meta's page on that request.\n\n")
		r.takesANumberToService(sim)
		r.handlesFiles()
		r.handlesTemplates(sim)
		for _, s := range sends(t) {
			got := r.send(s.m)
			r.keep(s.name)
			if got.Err != nil || (got.Ref == "") != (s.m.Type == core.TypeRead) {
				t.Errorf("%s: %+v", s.name, got)
			}
			if sends := sim.Ledger().Sends; got.Ref != "" && sends[len(sends)-1].ID != got.Ref {
				t.Errorf("%s: the message is %s, and the sim gave %s", s.name, got.Ref, sends[len(sends)-1].ID)
			}
		}
		if len(r.requests) != r.made {
			t.Errorf("%d requests, of which %d are known", len(r.requests), r.made)
		}
		got := txtar.Format(&r.golden)
		if flag.Lookup("update").Value.String() == "true" {
			if err := os.WriteFile(requestsFile, got, 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		want, err := os.ReadFile(requestsFile)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("requests (-want +got; -update rewrites):\n%s", diff)
		}
	})
}

func (r *recorder) must(name string, err error) {
	r.t.Helper()
	r.keep(name)
	if err != nil {
		r.t.Fatalf("%s: %v", name, err)
	}
}

func (r *recorder) takesANumberToService(sim *whatsappsim.Sim) {
	ctx, m := r.t.Context(), r.manager()
	r.must("number: request code", m.RequestCode(ctx, whatsapp.CodeByVoice, "pt_BR"))
	code := sim.Lines()[0].Code
	r.names = strings.NewReplacer(code, "000000")
	r.must("number: verify", m.Verify(ctx, code))
	r.must("number: register", m.Register(ctx, "123456", ""))
	r.must("number: deregister", m.Deregister(ctx))
	r.must("number: register in a region", m.Register(ctx, "123456", "DE"))
	r.must("number: pin", m.SetPIN(ctx, "123456"))
	r.must("number: check", r.sink.Check(ctx))
	_, err := r.sink.Health(ctx)
	r.must("number: health", err)
	r.must("number: set profile", m.SetBusinessProfile(ctx, map[string]string{
		"about": "Open & fresh", "address": "Sol 1", "description": "Bread", "email": "a@a.example", "websites": "https://a.example https://b.example", "vertical": "RETAIL",
	}))
	_, err = m.BusinessProfile(ctx)
	r.must("number: profile", err)
}

func (r *recorder) handlesFiles() {
	const png = "\x89PNG\r\n\x1a\n"
	ctx := r.t.Context()
	m := r.client.Media(whatsapp.Number{Tenant: "acme", ID: numberID, AccessToken: func() core.Secret { return token }})
	id, err := m.Upload(ctx, `a "picture".png`, "image/png", int64(len(png)), strings.NewReader(png))
	r.must("file: upload", err)
	f, err := m.Fetch(ctx, id)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = f.Body.Close()
	r.names = strings.NewReplacer(id, "ID", r.requests[r.made+1].URL.RawQuery, "…")
	r.keep("file: where it is")
	r.keep("file: download")
}

func (r *recorder) handlesTemplates(sim *whatsappsim.Sim) {
	ctx, api := r.t.Context(), r.templates(whatsapp.Account{})
	d := order()
	d.TTL = 600
	made, err := api.Create(ctx, d)
	r.must("template: create", err)
	r.names = strings.NewReplacer(made.ID, "ID")
	time.Sleep(2 * time.Hour) // until it is reviewed
	_, err = api.Find(ctx, d.Name)
	r.must("template: find", err)
	_, err = api.List(ctx)
	r.must("template: list", err)
	becomes := func(status string) {
		if err := sim.ChangeTemplate(whatsappsim.TemplateChange{Name: d.Name, Status: status}); err != nil {
			r.t.Fatal(err)
		}
	}
	r.must("template: edit", api.Edit(ctx, made.ID, "", d))
	becomes("PAUSED")
	r.must("template: unpause", api.Unpause(ctx, made.ID))
	becomes("REJECTED")
	r.must("template: edit with its category", api.Edit(ctx, made.ID, "marketing", d))
	r.must("template: delete one", api.Delete(ctx, d.Name, made.ID))
	for name, raw := range definitions {
		draft, err := template.ParseDraft([]byte(raw))
		if err != nil {
			r.t.Fatalf("%s: %v", name, err)
		}
		d := draft.Definition()
		if problems := template.Lint(&d); len(problems) > 0 {
			r.t.Errorf("%s: %+v", name, problems)
		}
		_, err = api.Create(ctx, d)
		r.must("template: create with "+name, err)
	}
	slices.SortFunc(r.golden.Files[len(r.golden.Files)-len(definitions):], func(a, b txtar.File) int { return strings.Compare(a.Name, b.Name) })
	r.must("template: delete all of a name", api.Delete(ctx, "code", ""))
}

// written is a request as people read it: what says nothing of its shape is left out.
func written(t *testing.T, req *http.Request, body []byte) []byte {
	t.Helper()
	h := req.Header.Clone()
	if got := h.Get("Authorization"); got != "Bearer "+token {
		t.Errorf("authorized with %q", got)
	}
	if got := h.Get("User-Agent"); got != "wabridge" {
		t.Errorf("user agent %q", got)
	}
	if req.GetBody != nil {
		t.Error("the request has GetBody: net/http may send it twice")
	}
	h.Del("Authorization")
	h.Del("User-Agent")
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s\n", req.Method, req.URL.RequestURI())
	kind, params, _ := mime.ParseMediaType(h.Get("Content-Type"))
	if kind == "multipart/form-data" {
		h.Set("Content-Type", kind)
	}
	if err := h.Write(&b); err != nil {
		t.Fatal(err)
	}
	switch kind {
	case "application/json":
		if !json.Valid(body) {
			t.Errorf("no JSON: %s", body)
		}
		fmt.Fprintf(&b, "%s\n", body)
	case "multipart/form-data":
		for parts := multipart.NewReader(bytes.NewReader(body), params["boundary"]); ; {
			p, err := parts.NextRawPart()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			data, _ := io.ReadAll(p)
			fmt.Fprintf(&b, "part %s; %s: %q\n", p.Header.Get("Content-Disposition"), p.Header.Get("Content-Type"), data)
		}
	}
	return b.Bytes()
}
