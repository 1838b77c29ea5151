package whatsappsim_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

func TestPage_ShowsAPersonTheirChat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, &bridge{}, whatsappsim.Options{})
		control := func(path, body string) string {
			t.Helper()
			method := "POST"
			if body == "" {
				method = "GET"
			}
			w := ask(s, method, "/_sim/"+path, body)
			if w.Code != http.StatusOK {
				t.Fatalf("%s: %d %s", path, w.Code, w.Body)
			}
			return w.Body.String()
		}
		control("people", `{"phone":"+34600111222","name":"Ana","scenario":"username"}`)
		control("receive", `{"from":"+34600111222","text":"<b>hi</b>"}`)
		made := ask(s, "POST", "/v25.0/102290129340398/message_templates", `{"name":"order_info","language":"en","category":"UTILITY","components":[
			{"type":"HEADER","format":"TEXT","text":"Order"},
			{"type":"BODY","text":"Hello {{1}}, it is on its way.","example":{"body_text":[["Ana"]]}},
			{"type":"FOOTER","text":"Acme"},
			{"type":"BUTTONS","buttons":[{"type":"QUICK_REPLY","text":"Thanks"}]}]}`)
		if made.Code != http.StatusOK {
			t.Fatal(made.Body)
		}
		if err := s.ChangeTemplate(whatsappsim.TemplateChange{Name: "order_info", Language: "en", Status: "APPROVED"}); err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{
			text(""),
			`{"messaging_product":"whatsapp","to":"+34600111222","type":"interactive","interactive":{"type":"button","body":{"text":"choose"},"action":{"buttons":[{"type":"reply","reply":{"id":"a","title":"A"}}]}}}`,
			`{"messaging_product":"whatsapp","recipient":"US.134600111222","type":"template","template":{"name":"order_info","language":{"code":"en"},"components":[
				{"type":"body","parameters":[{"type":"text","text":"Ana"}]},{"type":"button","sub_type":"quick_reply","index":"0","parameters":[{"type":"payload","payload":"thx"}]}]}}`,
		} {
			if w := send(s, body); w.Code != http.StatusOK {
				t.Fatal(w.Body)
			}
		}
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		chat := control("chat?phone=34600111222", "")
		for _, want := range []string{
			`"object":{"body":"<b>hi</b>"}`, `"status":"read"`, `"title":"A"`,
			`"template":{"header":"Order","body":"Hello Ana, it is on its way.","footer":"Acme","buttons":[{"type":"quick_reply","text":"Thanks","payload":"thx"}]}`,
		} {
			if !strings.Contains(chat, want) {
				t.Errorf("nothing of %s in %s", want, chat)
			}
		}
		// Who blocked a number gets nothing; who reports it lowers its quality.
		for i, want := range []string{"YELLOW", "RED", "RED"} {
			control("block", `{"phone":"34600111222","block":true,"report":true}`)
			if line := s.Lines()[0]; line.Quality != want || (line.Status == "FLAGGED") != (i == 2) {
				t.Errorf("after %d reports %+v", i+1, line)
			}
		}
		send(s, text(""))
		control("block", `{"phone":"34600111222","block":false}`)
		send(s, text(""))
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		sends := s.Ledger().Sends
		if sends[3].Status != "failed" || sends[4].Status != "read" {
			t.Errorf("blocked: %s, and then %s", sends[3].Status, sends[4].Status)
		}
	})
}

func TestPage_RunsNothingFromElsewhere(t *testing.T) {
	s := whatsappsim.New(whatsappsim.Options{})
	for path, typ := range map[string]string{"/": "text/html", "/_sim/page/chat.js": "text/javascript", "/_sim/page/chat.css": "text/css"} {
		w := ask(s, "GET", path, "")
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), typ) || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		for _, bad := range []string{"innerHTML", "insertAdjacentHTML", "document.write", "onclick=", "http://", "https://"} {
			if strings.Contains(w.Body.String(), bad) {
				t.Errorf("%s has %s", path, bad)
			}
		}
	}
	if w := ask(s, "GET", "/_sim/page/../chat.go", ""); w.Code == http.StatusOK {
		t.Error("it serves what is no part of the page")
	}
}
