package customhttp_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

// status is an answer without any effect.
func status(code int, body string) customhttpsim.Fault {
	return customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: code, Body: body}
}

func TestAnswer_MeansWhatItsStatusSays(t *testing.T) {
	for code, want := range map[int]core.Code{
		200: "", 201: "", 204: "", 299: "",
		301: core.CodeForbidden, 302: core.CodeForbidden, 307: core.CodeForbidden, 304: core.CodeForbidden,
		400: core.CodeInvalid, 404: core.CodeInvalid, 409: core.CodeInvalid, 410: core.CodeInvalid, 413: core.CodeInvalid, 422: core.CodeInvalid,
		401: core.CodeUnauthenticated, 403: core.CodeForbidden, 405: core.CodeForbidden,
		408: core.CodeUnavailable, 425: core.CodeUnavailable, 503: core.CodeUnavailable,
		429: core.CodeRateLimited,
		500: core.CodeUnknownOutcome, 502: core.CodeUnknownOutcome, 504: core.CodeUnknownOutcome, 599: core.CodeUnknownOutcome,
	} {
		for mode, safe := range map[string]bool{"none": false, "key": true, "upsert": true} {
			b := start(t, customhttpsim.Options{}, notes(mode, nil), nil)
			b.sim.Inject(status(code, ""))
			err := b.one(received(1))
			want := want
			if safe && want == core.CodeUnknownOutcome {
				want = core.CodeUnavailable
			}
			if codeOf(err) != want {
				t.Errorf("%s, %d: %v, want %q", mode, code, err, want)
			}
			if err != nil && (err.Vendor != fmt.Sprint(code) || err.Source != core.SourceVendor || err.Op != "message.received") {
				t.Errorf("%d: %+v", code, err)
			}
		}
	}
}

func TestAnswer_MeansWhatARuleSays(t *testing.T) {
	rules := []any{
		table{"status": []any{"4xx"}, "path": "error.code", "equals": "duplicate", "then": "duplicate"},
		table{"status": []any{422}, "contains": "try later", "then": "retry", "hint": "it is slow"},
		table{"path": "error.code", "matches": "^QUOTA_", "then": "rate_limited"},
		table{"path": "error.code", "in": []any{"E7", 7}, "then": "reauth"},
		table{"path": "error.fatal", "exists": true, "then": "permanent"},
		table{"status": []any{"500-501"}, "then": "forbidden"},
		table{"status": []any{404}, "then": "ignore"},
		table{"status": []any{410}, "then": "ok"},
		table{"status": []any{503}, "then": "unknown"},
		table{"contains": "boom", "then": "permanent"},
		table{"status": []any{202}, "contains": "queued but lost", "then": "retry"},
	}
	for _, c := range []struct {
		status int
		body   string
		want   core.Code
		hint   string
	}{
		{409, `{"error":{"code":"duplicate"}}`, "", ""},
		{500, `{"error":{"code":"duplicate"}}`, core.CodeForbidden, ""},
		{422, `please TRY LATER`, core.CodeInvalid, ""},
		{422, `please try later`, core.CodeUnavailable, "it is slow"},
		{400, `{"error":{"code":"QUOTA_DAY"}}`, core.CodeRateLimited, ""},
		{400, `{"error":{"code":"NOQUOTA_DAY"}}`, core.CodeInvalid, ""},
		{400, `{"error":{"code":7}}`, core.CodeUnauthenticated, "secrets"},
		{400, `{"error":{"code":"E7"}}`, core.CodeUnauthenticated, "secrets"},
		{502, `{"error":{"fatal":1}}`, core.CodeInvalid, ""},
		{502, `{"error":{"fatal":null}}`, core.CodeUnavailable, ""},
		{502, `[]`, core.CodeUnavailable, ""},
		{404, ``, "", ""},
		{410, `<html>`, "", ""},
		{503, ``, core.CodeUnavailable, ""}, // unknown, and the key makes it safe
		{418, `boom`, core.CodeInvalid, ""},
		// A success may quote what a person wrote: rules without a status leave it alone.
		{200, `{"text":"boom"}`, "", ""},
		{200, `{"error":{"code":"QUOTA_DAY"}}`, "", ""},
		{202, `queued but lost`, core.CodeUnavailable, ""},
	} {
		b := start(t, customhttpsim.Options{}, notes("key", table{"errors": rules, "auth": table{"type": "bearer"}}), nil)
		b.sim.Inject(status(c.status, c.body))
		err := b.one(received(1))
		if codeOf(err) != c.want {
			t.Errorf("%d %s: %v, want %q", c.status, c.body, err, c.want)
		} else if err != nil && !strings.Contains(err.Hint, c.hint) {
			t.Errorf("%d %s: hint %q, want %q", c.status, c.body, err.Hint, c.hint)
		}
	}
}

func TestAnswer_AnOperationsRulesComeFirst(t *testing.T) {
	settings := notes("key", table{"errors": []any{table{"status": []any{404}, "then": "permanent"}}})
	op := settings["operations"].(table)["message.received"].(table)
	op["errors"] = []any{table{"status": []any{404}, "then": "retry"}}
	b := start(t, customhttpsim.Options{}, settings, nil)
	b.sim.Inject(status(404, ""))
	if err := b.one(received(1)); codeOf(err) != core.CodeUnavailable {
		t.Errorf("got %v", err)
	}
}

func TestAnswer_IsBelievedByItsBodyWhereTheSettingsSaySo(t *testing.T) {
	rpc := func(mode string) table {
		s := notes(mode, table{
			"response": table{"ok": table{"path": "ok", "equals": true}, "id": "id", "error_code": "error", "error_message": "text"},
			"errors":   []any{table{"path": "error", "equals": "busy", "then": "retry"}},
		})
		s["operations"] = table{"message.received": table{"path": "/rpc", "body": `{"ref": {{.contact.username}}, "text": {{.message.text}}}`}}
		return s
	}
	b := start(t, customhttpsim.Options{}, rpc("none"), nil)
	e := received(1)
	err := b.one(e) // without a username the API refuses, with status 200
	if codeOf(err) != core.CodeInvalid || err.Vendor != "required" || err.Message != "answered 200: ref is required" || err.Hint == "" {
		t.Errorf("got %+v", err)
	}
	e.Contact.Username = "ada"
	if got := b.deliver(e)[e.ID]; got.Err != nil || got.Ref != "n_1" {
		t.Errorf("got %+v", got)
	}
	for _, c := range []struct {
		fault customhttpsim.Fault
		want  core.Code // with "none"; with "upsert" it is unavailable
	}{
		{status(200, `{"ok":false,"error":"busy"}`), core.CodeUnavailable},
		{status(200, `{"ok":true,"id":7}`), ""},
		{status(200, `{"ok":true}`), core.CodeUnknownOutcome},
		{status(200, `{"ok":true,"id":""}`), core.CodeUnknownOutcome},
		{status(200, `{"ok":true,"id":"x"} {}`), core.CodeUnknownOutcome},
		{status(200, ``), core.CodeUnknownOutcome},
		{status(204, ``), core.CodeUnknownOutcome},
		{status(200, `{"ok":true,"id":"x","more":"`+strings.Repeat("x", 2<<20)+`"}`), core.CodeUnknownOutcome},
		{customhttpsim.Fault{Kind: customhttpsim.FaultGarbage}, core.CodeUnknownOutcome},
		{customhttpsim.Fault{Kind: customhttpsim.FaultCut}, core.CodeUnknownOutcome},
		{customhttpsim.Fault{Kind: customhttpsim.FaultDrop}, core.CodeUnknownOutcome},
		{status(201, `{"ok":"true","id":"x"}`), ""},
	} {
		for _, mode := range []string{"none", "upsert"} {
			want := c.want
			if mode == "upsert" && want == core.CodeUnknownOutcome {
				want = core.CodeUnavailable
			}
			b := start(t, customhttpsim.Options{}, rpc(mode), nil)
			b.sim.Inject(c.fault)
			err := b.one(e)
			if codeOf(err) != want {
				t.Errorf("%s: %s %d %.60s: %v, want %q", mode, c.fault.Kind, c.fault.Status, c.fault.Body, err, want)
			}
			if err != nil && len(err.Message) > 500 {
				t.Errorf("a message of %d bytes", len(err.Message))
			}
		}
	}
}

func TestAnswer_IsNoIDUnlessTheSettingsSayWhereItIs(t *testing.T) {
	b := start(t, customhttpsim.Options{}, notes("none", nil), nil)
	b.sim.Inject(status(200, `"created"`))
	if got := b.deliver(received(1))["wamid.IN001"]; got.Err != nil || got.Ref != "" {
		t.Errorf("got %+v", got)
	}
}

func TestAnswer_WithoutAProofIsBelievedByItsStatus(t *testing.T) {
	b := start(t, customhttpsim.Options{}, notes("none", nil), nil)
	b.sim.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultCut})
	if err := b.one(received(1)); err != nil {
		t.Errorf("half an answer with status 201: %v", err)
	}
}

func TestAnswer_SaysWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the time is midnight UTC 2000-01-01
		now := time.Now()
		for _, c := range []struct {
			format, value, date string
			status              int
			want                time.Duration
		}{
			{"", "7", "", 429, 7 * time.Second},
			{"", "1.5", "", 429, 1500 * time.Millisecond},
			{"", "7", "", 503, 7 * time.Second},
			{"", "7", "", 400, 0},
			{"", "", "", 429, 0},
			{"", "-5", "", 429, 0},
			{"", "NaN", "", 429, 0},
			{"", "soon", "", 429, 0},
			{"", "1e300", "", 429, 24 * time.Hour},
			{"", now.Add(90 * time.Second).UTC().Format(http.TimeFormat), "", 429, 90 * time.Second},
			{"", now.Add(-90 * time.Second).UTC().Format(http.TimeFormat), "", 429, 0},
			// The API's clock is an hour ahead of ours.
			{"", now.Add(61 * time.Minute).UTC().Format(http.TimeFormat), now.Add(time.Hour).UTC().Format(http.TimeFormat), 429, time.Minute},
			{"seconds", "7", "", 429, 7 * time.Second},
			{"milliseconds", "250", "", 429, 250 * time.Millisecond},
			{"epoch", fmt.Sprint(now.Unix() + 30), "", 429, 30 * time.Second},
			{"epoch", fmt.Sprint(now.Unix() - 30), "", 429, 0},
		} {
			header, retry := "Retry-After", table{}
			if c.format != "" {
				header, retry = "X-Ratelimit-Reset", table{"header": "x-ratelimit-reset", "format": c.format}
			}
			b := start(t, customhttpsim.Options{}, notes("key", table{"retry_after": retry}), nil)
			b.sim.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: c.status, Header: map[string]string{header: c.value, "Date": c.date}})
			if err := b.one(received(1)); err == nil || err.RetryAfter != c.want {
				t.Errorf("%s %q at %q, status %d: %v after %v, want %v", c.format, c.value, c.date, c.status, err, err.RetryAfter, c.want)
			}
		}
	})
}

func TestAnswer_IsQuotedWithoutSecretsAndPhoneNumbers(t *testing.T) {
	for _, body := range []string{
		"your token " + token + " and +491511234567 \x1b[31m\n are wrong",
		`{"error":{"code":"` + token + `","message":"token ` + token + `\n\u0007 and +491511234567"}}`,
		strings.Repeat("x", 290) + token + strings.Repeat("y", 5000) + "+491511234567",
		strings.Repeat(" ", 20<<10) + token,
	} {
		b := start(t, customhttpsim.Options{}, notes("none", table{"auth": table{"type": "bearer"}}), nil)
		b.sim.Inject(status(400, body))
		err := b.one(received(1))
		if err == nil {
			t.Fatal("no error")
		}
		text := fmt.Sprintf("%v %+v", err, *err)
		if strings.Contains(text, token[:9]) || strings.Contains(text, "491511234567") || strings.ContainsAny(err.Message+err.Vendor, "\n\x1b\x07") || len(err.Message) > 400 {
			t.Errorf("%.60q became %s", body, text)
		}
	}
}

func TestAnswer_IsQuotedWithoutSecretsInTheFormsInWhichTheyAreSent(t *testing.T) {
	b := start(t, customhttpsim.Options{}, notes("none", table{"auth": table{"type": "api_key", "in": "query", "name": "key"}}), nil)
	b.sim.Inject(status(400, "GET /v1/notes?key="+url.QueryEscape(apiKey)+" and /"+url.PathEscape(apiKey)+" and "+apiKey))
	err := b.one(received(1))
	if want := `answered 400: "GET /v1/notes?key=[secret] and /[secret] and [secret]"`; err == nil || err.Message != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAnswer_SuccessIsWhatTheSettingsSay(t *testing.T) {
	for code, want := range map[int]core.Code{200: core.CodeUnknownOutcome, 201: "", 409: "", 410: core.CodeInvalid} {
		s := notes("none", nil)
		maps.Copy(s, table{"response": table{"success": []any{201, "409"}}})
		b := start(t, customhttpsim.Options{}, s, nil)
		b.sim.Inject(status(code, "{}"))
		if err := b.one(received(1)); codeOf(err) != want {
			t.Errorf("%d: %v, want %q", code, err, want)
		}
	}
}
