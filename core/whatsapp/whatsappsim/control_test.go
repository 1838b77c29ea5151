package whatsappsim_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

func TestRule_StrikesWhomItShould(t *testing.T) {
	struck := func(s *whatsappsim.Sim, n int, body string) string {
		var out strings.Builder
		for range n {
			if send(s, body).Code == 200 {
				out.WriteByte('.')
			} else {
				out.WriteByte('x')
			}
		}
		return out.String()
	}
	for _, test := range []struct {
		name string
		rule whatsappsim.Rule
		want string
	}{
		{"all", whatsappsim.Rule{}, "xxxxxxxxxx"},
		{"the third", whatsappsim.Rule{Skip: 2, Count: 1}, "..x......."},
		{"each third", whatsappsim.Rule{Nth: 3}, "..x..x..x."},
		{"two of each second", whatsappsim.Rule{Nth: 2, Count: 2}, ".x.x......"},
		{"of this person", whatsappsim.Rule{To: "600111", Count: 4}, "xxxx......"},
		{"of another person", whatsappsim.Rule{To: "999"}, ".........."},
		{"of this type", whatsappsim.Rule{Type: "text", Number: number, Text: "ell", Count: 1}, "x........."},
		{"of another type", whatsappsim.Rule{Type: "image"}, ".........."},
		{"of another number", whatsappsim.Rule{Number: "1"}, ".........."},
	} {
		s := whatsappsim.New(whatsappsim.Options{})
		test.rule.Do, test.rule.Code = whatsappsim.DoError, 131009
		s.Fail(test.rule)
		if got := struck(s, 10, text("")); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
		s.Heal()
		if got := struck(s, 2, text("")); got != ".." || len(s.Rules()) != 0 {
			t.Errorf("%s: healed, yet %s", test.name, got)
		}
	}
	s := whatsappsim.New(whatsappsim.Options{Seed: 5})
	s.Fail(whatsappsim.Rule{Do: whatsappsim.DoError, Code: 131009, Chance: .3})
	if n := strings.Count(struck(s, 1000, text("")), "x"); n < 230 || n > 370 {
		t.Errorf("a chance of .3 struck %d of 1000", n)
	}
	if st := s.Stats(); st.Errors[131009] == 0 || st.Faults["error"] != st.Errors[131009] {
		t.Errorf("stats: %+v", st)
	}
}

func TestLedger_SeesWhatWasSentTwice(t *testing.T) {
	s := whatsappsim.New(whatsappsim.Options{})
	// As a bridge writes it: 16 bytes of intent, one of the attempt, and more.
	opaque := func(intent, attempt byte) string {
		b := append(bytes.Repeat([]byte{intent}, 16), attempt, 1, 2, 3, 4, 5, 6, 7, 8)
		return fmt.Sprintf(`,"biz_opaque_callback_data":"w1.%s"`, base64url(b))
	}
	send(s, text(opaque(1, 1)))
	send(s, text(opaque(2, 1)))
	send(s, text(opaque(1, 2)))
	send(s, text(`,"biz_opaque_callback_data":"mine"`))
	send(s, text(""))
	send(s, text(""))
	l := s.Ledger()
	want := map[string][]string{strings.Repeat("01", 16): {l.Sends[0].ID, l.Sends[2].ID}}
	if diff := cmp.Diff(want, l.Twice()); diff != "" {
		t.Errorf("twice (-want +got):\n%s", diff)
	}
	if got := s.Stats().Twice; got != 1 {
		t.Errorf("stats say %d", got)
	}
	if l.Sends[3].Intent != "mine" || l.Sends[4].Intent != "" {
		t.Errorf("intents %q, %q", l.Sends[3].Intent, l.Sends[4].Intent)
	}
}

func TestSim_IsSteeredOverHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bridge{}
		s := start(t, b, whatsappsim.Options{})
		control := func(method, path, body string, v any) int {
			t.Helper()
			w := ask(s, method, "/_sim/"+path, body)
			if v != nil {
				if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
					t.Fatalf("%s %s: %v: %s", method, path, err, w.Body)
				}
			}
			return w.Code
		}
		var got struct{ IDs []string }
		control("POST", "receive", `{"from":"+34600111222","name":"Ana","text":"number {n}","count":3,"dup":1,"batch":true}`, &got)
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(got.IDs) != 3 || len(b.posts) != 2 || !bytes.Contains(b.posts[1].body, []byte("number 3")) || len(s.Ledger().Updates) != 3 {
			t.Errorf("ids %v in %d webhooks", got.IDs, len(b.posts))
		}
		var rules []map[string]any
		control("POST", "fail", `{"do":"slow","delay":"1.5s","to":"600","count":2}`, &rules)
		if diff := cmp.Diff([]map[string]any{{"do": "slow", "delay": "1.5s", "to": "600", "count": 2.0}}, rules); diff != "" {
			t.Errorf("rules (-want +got):\n%s", diff)
		}
		began := time.Now()
		send(s, text(""))
		if took := time.Since(began); took != 1500*time.Millisecond {
			t.Errorf("the slow one took %v", took)
		}
		control("DELETE", "fail", "", &rules)
		if len(rules) != 0 {
			t.Errorf("rules %v", rules)
		}
		control("POST", "latency?d=2s", "", nil)
		began = time.Now()
		send(s, text(""))
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("with latency it took %v", took)
		}
		control("POST", "latency?d=0", "", nil)
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		control("POST", "webhooks", `{"double":1}`, nil)
		control("POST", "notify", `{"field":"account_alerts","value":{"entity_type":"BUSINESS"}}`, nil)
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if last := values(t, b.posts[len(b.posts)-1].body); last[0].Alert != "BUSINESS" {
			t.Errorf("notified %s", b.posts[len(b.posts)-1].body)
		}
		var messages []whatsappsim.Send
		control("GET", "messages?to=600111&limit=1", "", &messages)
		if len(messages) != 1 || messages[0].Text != "hello" {
			t.Errorf("messages %+v", messages)
		}
		var ledger whatsappsim.Ledger
		control("GET", "ledger", "", &ledger)
		if diff := cmp.Diff(s.Ledger(), ledger, cmp.AllowUnexported(whatsappsim.Send{}), cmp.FilterPath(func(p cmp.Path) bool {
			return p.Last().String() == ".index"
		}, cmp.Ignore())); diff != "" {
			t.Errorf("ledger (-want +got):\n%s", diff)
		}
		var stats whatsappsim.Stats
		control("GET", "stats", "", &stats)
		if diff := cmp.Diff(s.Stats(), stats); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
		for _, bad := range [][3]string{
			{"POST", "receive", `{"text":"from nobody"}`}, {"POST", "receive", `{"form":"+34600111222"}`}, {"POST", "receive", `{"from":"1","number":"9"}`},
			{"POST", "receive", `{"from":"1","count":1000000}`}, {"POST", "receive", `{"from":"1","dup":-1}`}, {"POST", "receive", `{"from":"1","id":"x","count":2}`},
			{"POST", "fail", `{"do":"dance"}`}, {"POST", "fail", `{"do":"fail"}`}, {"POST", "fail", `{"do":"slow","delay":"long"}`}, {"POST", "fail", `{"do":"hang","too":"x"}`},
			{"POST", "webhooks", `{"dubble":1}`}, {"POST", "latency?d=fast", ""}, {"POST", "notify", `{}`}, {"POST", "notify", `{"field":"x","value":1,"number":"9"}`},
		} {
			if got := control(bad[0], bad[1], bad[2], nil); got != 400 {
				t.Errorf("%v: %d, want 400", bad, got)
			}
		}
		if got := control("GET", "nowhere", "", nil); got != 404 {
			t.Errorf("nowhere: %d", got)
		}
	})
}

func TestSim_KeepsFiles(t *testing.T) {
	s := whatsappsim.New(whatsappsim.Options{AccessTokens: []string{"token"}})
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	_ = w.WriteField("messaging_product", "whatsapp")
	_ = w.WriteField("type", "image/png")
	part, err := w.CreateFormFile("file", "a.png")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write([]byte("\x89PNG\r\n\x1a\npixels"))
	_ = w.Close()
	var file struct{ ID, URL, MIMEType, SHA256 string }
	decode := func(r *httptest.ResponseRecorder) int {
		_ = json.Unmarshal(r.Body.Bytes(), &file)
		return r.Code
	}
	if got := decode(ask(s, "POST", "/v25.0/"+number+"/media", form.String(), "Content-Type", w.FormDataContentType())); got != 200 || file.ID == "" {
		t.Fatalf("upload: %d, id %q", got, file.ID)
	}
	if got := decode(ask(s, "GET", "/v25.0/"+file.ID, "")); got != 200 || file.URL == "" {
		t.Fatalf("get: %d, url %q", got, file.URL)
	}
	if got := ask(s, "GET", file.URL, ""); got.Code != 200 || !strings.HasSuffix(got.Body.String(), "pixels") || got.Header().Get("Content-Type") != "image/png" {
		t.Errorf("download: %d %q", got.Code, got.Body)
	}
	if got := ask(s, "GET", file.URL, "", "Authorization", "Bearer tok"); got.Code != 404 {
		t.Errorf("download by a stranger: %d", got.Code)
	}
	if got := ask(s, "DELETE", "/v25.0/"+file.ID, ""); got.Code != 200 {
		t.Errorf("delete: %d", got.Code)
	}
	if got := read(t, ask(s, "GET", "/v25.0/"+file.ID, "")); got.Error.Subcode != 33 {
		t.Errorf("get after delete: %+v", got)
	}
	if got := read(t, ask(s, "POST", "/v25.0/"+number+"/media", "{}")); got.Error.Code != 100 {
		t.Errorf("no form: %+v", got)
	}
}
