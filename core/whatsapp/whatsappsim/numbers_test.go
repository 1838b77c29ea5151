package whatsappsim_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

// number path of the first number, below a version.
const line = "/v25.0/" + number

func TestNumber_IsVerifiedAndRegisteredAsAtMeta(t *testing.T) {
	s := whatsappsim.New(whatsappsim.Options{Numbers: []whatsappsim.Number{{ID: number, DisplayNumber: "15550783881", WABA: "7", New: true}}})
	expect := func(method, path, body string, status int, says string) {
		t.Helper()
		w := ask(s, method, path, body)
		if w.Code != status || !strings.Contains(w.Body.String(), says) {
			t.Errorf("%s %s %s: %d %s; want %d, %q", method, path, body, w.Code, w.Body, status, says)
		}
	}
	if w := send(s, text("")); !strings.Contains(w.Body.String(), "133010") {
		t.Errorf("it sends before it is registered: %s", w.Body)
	}
	expect("POST", line+"/register", `{"messaging_product":"whatsapp","pin":"123456"}`, 400, "133006")
	expect("POST", line+"/request_code?code_method=SMS&language=en_US", "", 200, `"success":true`) // as Meta's page has it
	expect("POST", line+"/request_code", `{"code_method":"FAX","language":"en"}`, 400, "code_method")
	expect("POST", line+"/request_code", `{"code_method":"VOICE"}`, 400, "language")
	code := s.Lines()[0].Code
	expect("POST", line+"/verify_code", `{"code":"x`+code+`"}`, 400, "136025")
	expect("POST", line+"/verify_code", fmt.Sprintf(`{"code":%q}`, code), 200, "success")
	expect("POST", line+"/verify_code", fmt.Sprintf(`{"code":%q}`, code), 400, "136025")
	expect("POST", line+"/register", `{"pin":"123456"}`, 400, "messaging_product")
	expect("POST", line+"/register", `{"messaging_product":"whatsapp","pin":"12345"}`, 400, "pin")
	expect("POST", line+"/register", `{"messaging_product":"whatsapp","pin":"123456"}`, 200, "success")
	expect("GET", line+"?fields=status,is_pin_enabled,code_verification_status", "", 200, `"status":"CONNECTED"`)
	expect("GET", line+"?fields=shoe_size", "", 400, "nonexisting field")
	expect("GET", "/v25.0/7/phone_numbers?fields=status,health_status", "", 200, `"can_send_message":"AVAILABLE"`)
	if w := send(s, text("")); w.Code != http.StatusOK {
		t.Errorf("registered, and yet %s", w.Body)
	}
	expect("POST", line+"/deregister", "", 200, "success")
	expect("POST", line+"/deregister", "", 400, "133010")
	expect("POST", line, `{"pin":"1"}`, 400, "pin")
}

func TestCode_LivesTenMinutes(t *testing.T) {
	for late, want := range map[time.Duration]int{0: http.StatusOK, time.Second: http.StatusBadRequest} {
		s := whatsappsim.New(whatsappsim.Options{Numbers: []whatsappsim.Number{{ID: number, DisplayNumber: "15550783881", New: true}}})
		s.StopClock()
		ask(s, "POST", line+"/request_code", `{"code_method":"SMS","language":"en"}`)
		s.Advance(10*time.Minute + late)
		if w := ask(s, "POST", line+"/verify_code", fmt.Sprintf(`{"code":%q}`, s.Lines()[0].Code)); w.Code != want {
			t.Errorf("%v too late: %d %s", late, w.Code, w.Body)
		}
	}
}

func TestChangeLine_TellsByTheWebhooksThatMetaHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bridge{}
		s := start(t, b, whatsappsim.Options{})
		told := func() (fields []string, bodies string) {
			synctest.Wait()
			for _, p := range b.posts {
				bodies += string(p.body)
				for _, f := range []string{"business_capability_update", "phone_number_quality_update", "phone_number_name_update", "account_update", "account_alerts"} {
					if strings.Contains(string(p.body), `"field":"`+f+`"`) {
						fields = append(fields, f)
					}
				}
			}
			b.posts = nil
			slices.Sort(fields)
			return fields, bodies
		}
		for _, c := range []struct {
			change whatsappsim.LineChange
			fields []string
			says   string
			send   string // the code that a template is refused with, "" when it is taken
		}{
			{whatsappsim.LineChange{Quality: "RED"}, nil, "", ""},
			{whatsappsim.LineChange{Status: "FLAGGED"}, []string{"account_alerts"}, "PHONE_NUMBER", ""},
			{whatsappsim.LineChange{Status: "RESTRICTED"}, []string{"account_update"}, "restriction_info", "368"},
			{whatsappsim.LineChange{Status: "BANNED"}, []string{"account_update"}, "DISABLE", "131031"},
			{whatsappsim.LineChange{Status: "CONNECTED", Quality: "GREEN"}, []string{"account_update"}, "REINSTATE", ""},
			{whatsappsim.LineChange{Limit: "TIER_2K", Throughput: "HIGH"}, []string{"business_capability_update", "phone_number_quality_update"}, "THROUGHPUT_UPGRADE", ""},
			{whatsappsim.LineChange{NameStatus: "DECLINED"}, []string{"phone_number_name_update"}, "DECLINED", ""},
			{whatsappsim.LineChange{Status: "DISCONNECTED", Silent: true}, nil, "", "133010"},
		} {
			if _, err := s.ChangeLine(c.change); err != nil {
				t.Fatal(err)
			}
			fields, bodies := told()
			if !slices.Equal(fields, c.fields) || !strings.Contains(bodies, c.says) {
				t.Errorf("%+v told %v: %s", c.change, fields, bodies)
			}
			w := send(s, `{"messaging_product":"whatsapp","to":"+34600111222","type":"template","template":{"name":"hello_world","language":{"code":"en_US"}}}`)
			if ok := w.Code == http.StatusOK; ok != (c.send == "") || !ok && !strings.Contains(w.Body.String(), c.send) {
				t.Errorf("%+v: a template meets %s", c.change, w.Body)
			}
			if err := s.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.posts = nil
		}
		if _, err := s.ChangeLine(whatsappsim.LineChange{Status: "SLEEPY"}); err == nil {
			t.Error("a status that Meta does not have is taken")
		}
	})
}

func TestProfile_IsAsStrictAsMetas(t *testing.T) {
	s := whatsappsim.New(whatsappsim.Options{})
	const path = line + "/whatsapp_business_profile"
	set := func(fields string) int {
		return ask(s, "POST", path, `{"messaging_product":"whatsapp",`+fields+`}`).Code
	}
	got := map[string]int{}
	for _, fields := range []string{
		`"about":"Hello","websites":["https://example.com"],"vertical":"RETAIL"`, `"about":""`, `"vertical":"SPACE"`, `"shoe":"1"`,
		`"websites":["https://a.example","https://b.example","https://c.example"]`, `"websites":["ftp://a.example"]`, `"email":7`,
		`"description":"` + strings.Repeat("x", 513) + `"`,
	} {
		got[fields] = set(fields)
	}
	for _, fields := range slices.Sorted(maps.Keys(got)) {
		want := http.StatusBadRequest
		if strings.HasPrefix(fields, `"about":"Hello"`) {
			want = http.StatusOK
		}
		if got[fields] != want {
			t.Errorf("%s: %d, want %d", fields, got[fields], want)
		}
	}
	w := ask(s, "GET", path+"?fields=about,websites,vertical", "")
	if want := `{"data":[{"about":"Hello","messaging_product":"whatsapp","vertical":"RETAIL","websites":["https://example.com"]}]}`; w.Body.String() != want {
		t.Errorf("got  %s\nwant %s", w.Body, want)
	}
}
