package whatsappsim_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

// Who is blocked neither writes nor is written to; each of a request is an outcome of its own.
func TestBlockUsers_KeepsBothSidesFromWriting(t *testing.T) {
	s := whatsappsim.New(whatsappsim.Options{})
	expect := func(method, path, body string, status int, says string) {
		t.Helper()
		w := ask(s, method, line+path, body)
		if w.Code != status || !strings.Contains(w.Body.String(), says) {
			t.Errorf("%s %s %s: %d %s; want %d, %q", method, path, body, w.Code, w.Body, status, says)
		}
	}
	users := func(list string) string { return `{"messaging_product":"whatsapp","block_users":[` + list + `]}` }
	const ana, sam = `{"user":"+34600111222"}`, `{"user_id":"GB.42"}`
	s.Receive(whatsappsim.Inbound{From: "34600111222", Text: "hi"}, whatsappsim.Inbound{BSUID: "GB.42", Text: "hi"})
	came := s.Stats().Updates
	expect("GET", "/block_users", "", 200, `"data":[]`)
	expect("POST", "/block_users", `{"block_users":[`+ana+`]}`, 400, "messaging_product")
	expect("POST", "/block_users", users(""), 400, "1 to 1000")
	expect("POST", "/block_users", users(`{"phone":"1"}`), 400, "unknown field")
	expect("POST", "/block_users", users(strings.TrimSuffix(strings.Repeat(ana+",", 1001), ",")), 400, "1 to 1000")
	// Who did not write in the last day cannot be blocked.
	expect("POST", "/block_users", users(ana+`,{"user":"+34600999999"}`), 400, `"code":131047`)
	expect("POST", "/block_users", users(sam), 200, `"added_users":[{"input":"GB.42","user_id":"GB.42"}]`)
	expect("GET", "/block_users?limit=1", "", 200, `"data":[{"messaging_product":"whatsapp","wa_id":"34600111222"}]`)
	expect("GET", "/block_users?limit=1&after=1", "", 200, `"user_id":"GB.42"`)
	if w := send(s, text("")); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "130403") {
		t.Errorf("sent to whom the business has blocked: %d %s", w.Code, w.Body)
	}
	if ids := s.Receive(whatsappsim.Inbound{From: "34600111222", Text: "hello?"}); len(ids) != 1 || s.Stats().Updates != came {
		t.Errorf("%v: the business is told of somebody whom it has blocked", ids)
	}
	expect("DELETE", "/block_users", users(ana+`,{"user":"1"}`), 400, `"removed_users":[{"input":"+34600111222","wa_id":"34600111222"}]`)
	expect("DELETE", "/block_users", users(sam), 200, "removed_users")
	expect("GET", "/block_users", "", 200, `"data":[]`)
	if w := send(s, text("")); w.Code != http.StatusOK {
		t.Errorf("unblocked, and yet %s", w.Body)
	}
	if s.Receive(whatsappsim.Inbound{From: "34600111222", Text: "hello!"}); s.Stats().Updates != came+1 {
		t.Error("the business is not told of somebody whom it has unblocked")
	}
}

func TestBlockUsers_HasARefusalOfTheVendorsForm(t *testing.T) {
	s := whatsappsim.New(whatsappsim.Options{})
	w := ask(s, "POST", line+"/block_users", `{"messaging_product":"whatsapp","block_users":[{"user":"34600111222"}]}`)
	for _, want := range []string{`"added_users":[]`, `"failed_users":[{"input":"34600111222"`, `"error":{"message":"(#139100)`, `"details":"Failed to block some users`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("nothing of %s in %s", want, w.Body)
		}
	}
}

func TestSettings_AreKeptObjectByObject(t *testing.T) {
	s := whatsappsim.New(whatsappsim.Options{})
	for _, test := range []struct {
		body   string
		status int
		says   string
	}{
		{`{"calling":{"status":"ENABLED","call_icon_visibility":"DEFAULT"}}`, 200, "success"},
		{`{"user_identity_change":{"enable_identity_key_check":true}}`, 200, "success"},
		{`{"calling":{"callback_permission_status":"ENABLED"}}`, 200, "success"},
		{`{"calling":{"status":"on"}}`, 400, "ENABLED, DISABLED"},
		{`{"calling":{"colour":"red"}}`, 400, "colour"},
		{`{"calling":true}`, 400, "JSON object"},
		{`{"colour":{}}`, 400, "colour"},
		{`{}`, 400, "At least one"},
	} {
		if w := ask(s, "POST", line+"/settings", test.body); w.Code != test.status || !strings.Contains(w.Body.String(), test.says) {
			t.Errorf("%s: %d %s", test.body, w.Code, w.Body)
		}
	}
	got := fmt.Sprint(ask(s, "GET", line+"/settings", "").Body)
	for _, want := range []string{`"status":"ENABLED"`, `"callback_permission_status":"ENABLED"`, `"call_icon_visibility":"DEFAULT"`, `"enable_identity_key_check":true`, `"storage_configuration"`} {
		if !strings.Contains(got, want) {
			t.Errorf("nothing of %s in %s", want, got)
		}
	}
}

// Graph takes calls without a version, and some clients rely on it.
func TestSim_TakesCallsWithoutAVersion(t *testing.T) {
	s := whatsappsim.New(whatsappsim.Options{})
	for path, want := range map[string]int{
		"/" + number + "?fields=status": 200, "/" + number + "/settings": 200, "/v25.0/" + number + "?fields=status": 200,
		"/999/settings": 400, "/v25/" + number: 400, "/me/messages": 400,
	} {
		if w := ask(s, "GET", path, ""); w.Code != want {
			t.Errorf("GET %s: %d %s", path, w.Code, w.Body)
		}
	}
}
