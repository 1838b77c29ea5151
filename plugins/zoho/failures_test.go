package zoho_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

// wantOnly checks that just the events named failed, with code, and that Zoho has
// every other message with its contact.
func wantOnly(t *testing.T, b *bench, got map[string]core.Result, events []*core.Event, code core.Code, failed ...string) {
	t.Helper()
	messages := b.messages()
	bad := map[string]bool{}
	for _, id := range failed {
		bad[id] = true
	}
	for _, e := range events {
		if bad[e.ID] {
			wantCodes(t, got, map[string]core.Code{e.ID: code})
			continue
		}
		wantCodes(t, got, map[string]core.Code{e.ID: ""})
		if messages[e.Message.ID].Values["Contact"] == "" {
			t.Errorf("%s is done, but Zoho has it as %+v", e.ID, messages[e.Message.ID])
		}
	}
}

const (
	contactsUpsert = "Contacts/upsert"
	messagesUpsert = "WhatsApp_Messages/upsert"
)

func TestDeliver_FailsOnlyTheEventsOfARefusedRow(t *testing.T) {
	row := func(match, text, code string, details map[string]any) zohosim.Fault {
		return zohosim.Fault{Kind: zohosim.FaultRow, Match: match, Row: text, Code: code, Message: "refused", Details: details}
	}
	for _, c := range []struct {
		name  string
		fault zohosim.Fault
		code  core.Code
		wants string // in the message or the hint
	}{
		{"a contact with bad data", row(contactsUpsert, `"c007"`, "INVALID_DATA", map[string]any{"api_name": "Phone", "expected_data_type": "phone"}), core.CodeInvalid, "want phone"},
		{"a message with bad data", row(messagesUpsert, "wamid.IN007", "INVALID_DATA", map[string]any{"api_name": "Body", "maximum_length": 10}), core.CodeInvalid, "at most 10"},
		{"a field that must be there", row(contactsUpsert, `"c007"`, "MANDATORY_NOT_FOUND", map[string]any{"api_name": "Account_Name"}), core.CodeInvalid, "Account_Name"},
		{"a double of something unique", row(contactsUpsert, `"c007"`, "DUPLICATE_DATA", map[string]any{"api_name": "Email", "id": "1"}), core.CodeInvalid, "on_conflict"},
		{"a double of our key", row(contactsUpsert, `"c007"`, "DUPLICATE_DATA", map[string]any{"api_name": "WA_Contact_ID"}), core.CodeUnavailable, ""},
		{"a locked record", row(contactsUpsert, `"c007"`, "RECORD_LOCKED", nil), core.CodeInvalid, "unlock"},
		{"a service behind", row(contactsUpsert, `"c007"`, "DEPENDENT_SERVICE_ERROR", nil), core.CodeUnavailable, ""},
		{"a limit", row(messagesUpsert, "wamid.IN007", "LIMIT_EXCEEDED", nil), core.CodeRateLimited, "credits"},
		{"no right to a record", row(contactsUpsert, `"c007"`, "AUTHORIZATION_FAILED", nil), core.CodeInvalid, "user"},
		{"a code that nobody knows", row(contactsUpsert, `"c007"`, "HOLOGRAM", nil), core.CodeInvalid, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, zohosim.Options{}, `{"adopt":false}`, nil).mustCheck()
			b.sim.Inject(c.fault)
			events := many(100)
			got := b.deliver(events...)
			wantOnly(t, b, got, events, c.code, "wamid.IN007")
			if e := got["wamid.IN007"].Err; e != nil && (e.Vendor != c.fault.Code || !strings.Contains(e.Message+" "+e.Hint, c.wants)) {
				t.Errorf("got %+v, want %s and %q", e, c.fault.Code, c.wants)
			}
			if e := got["wamid.IN007"].Err; e != nil && e.Holds() == core.ScopeLane {
				t.Errorf("got %+v, which holds up the lane: Zoho took the other rows", e)
			}
			if n := len(b.calls()); n > 4 {
				t.Errorf("%d calls", n)
			}
			b.sim.Heal()
			wantOnly(t, b, b.deliver(events[7]), events[7:8], "")
		})
	}
}

func TestDeliver_TrustsNoAnswerThatLacksARow(t *testing.T) {
	b := start(t, zohosim.Options{}, `{"adopt":false}`, nil).mustCheck()
	b.sim.Inject(zohosim.Fault{Kind: zohosim.FaultMute, Match: messagesUpsert, Row: "wamid.IN002"})
	events := many(5)
	for id, r := range b.deliver(events...) {
		if r.Err == nil || r.Err.Code != core.CodeUnknownOutcome {
			t.Errorf("%s: %v, want an unknown outcome: nothing says whose rows those are", id, r.Err)
		}
	}
	b.sim.Heal()
	wantOnly(t, b, b.deliver(events...), events, "")
	for _, body := range []string{"", "{}", "[]", "null", `{"data":[]}`, `{"data":[{"status":"success","code":"SUCCESS","details":{}}]}`} {
		b := start(t, zohosim.Options{}, `{"mode":"none"}`, nil)
		other := start(t, zohosim.Options{}, `{"mode":"none","adopt":false}`, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/upsert") {
				fmt.Fprint(w, body)
				return
			}
			b.sim.ServeHTTP(w, r)
		}))
		other.account.Token = b.account.Token
		wantCodes(t, other.deliver(received(1)), map[string]core.Code{"wamid.IN001": core.CodeUnknownOutcome})
	}
}

func TestDeliver_FindsTheRowForWhichAWholeCallIsRefused(t *testing.T) {
	for _, path := range []any{"$.data[7].Phone", nil} {
		b := start(t, zohosim.Options{}, "", nil).mustCheck()
		refuse := func(w http.ResponseWriter, r *http.Request, body string) bool {
			before, _, found := strings.Cut(body, `"c007"`)
			if !strings.HasSuffix(r.URL.Path, contactsUpsert) || !found {
				return false
			}
			at := "null"
			if path != nil {
				at = fmt.Sprintf(`"$.data[%d].Phone"`, strings.Count(before, "},{"))
			}
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"code":"INVALID_DATA","details":{"api_name":"Phone","json_path":%s},"message":"invalid data","status":"error"}`, at)
			return true
		}
		other := start(t, zohosim.Options{}, `{"adopt":false}`, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var text strings.Builder
			if r.Body != nil {
				buf := make([]byte, 1<<20)
				n, _ := r.Body.Read(buf)
				text.Write(buf[:n])
			}
			if !refuse(w, r, text.String()) {
				r.Body = http.NoBody
				r2 := r.Clone(r.Context())
				r2.Body = readCloser{strings.NewReader(text.String())}
				b.sim.ServeHTTP(w, r2)
			}
		}))
		other.account.Token = b.account.Token
		events := many(30)
		wantOnly(t, b, other.deliver(events...), events, core.CodeInvalid, "wamid.IN007")
		if n := len(other.calls()); path != nil && n > 8 {
			t.Errorf("%d calls for a row that was named", n)
		}
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

func TestDeliver_MapsWholeRequestErrors(t *testing.T) {
	status := func(status int, code, message string) zohosim.Fault {
		return zohosim.Fault{Kind: zohosim.FaultStatus, Status: status, Code: code, Message: message}
	}
	for _, c := range []struct {
		name     string
		fault    zohosim.Fault
		code     core.Code
		holds    core.Scope
		from, to time.Duration // RetryAfter
	}{
		{"the day's credits", status(429, "TOO_MANY_REQUESTS", "You have exceeded the maximum number of requests in a 24 hour window"), core.CodeRateLimited, core.ScopeLane, time.Hour, time.Hour},
		{"the day's credits, in newer words", status(429, "RATE_LIMIT_EXCEEDED", "API credits exhausted"), core.CodeRateLimited, core.ScopeLane, time.Hour, time.Hour},
		{"concurrency", status(429, "TOO_MANY_REQUESTS", "You have exceeded the maximum concurrency limit"), core.CodeRateLimited, core.ScopeLane, time.Second, 5 * time.Second},
		{"too many of something", status(429, "TOO_MANY_REQUESTS", "slow down"), core.CodeRateLimited, core.ScopeLane, 10 * time.Second, 10 * time.Second},
		{"a token that is over", status(401, "INVALID_TOKEN", "invalid oauth token"), core.CodeUnauthenticated, core.ScopeLane, 0, 0},
		{"authentication", status(401, "AUTHENTICATION_FAILURE", "Authentication failed"), core.CodeUnauthenticated, core.ScopeLane, 0, 0},
		{"a scope", status(401, "OAUTH_SCOPE_MISMATCH", "invalid oauth scope to access this URL"), core.CodeForbidden, core.ScopeLane, 0, 0},
		{"a scope, as 403", status(403, "OAUTH_SCOPE_MISMATCH", "invalid oauth scope to access this URL"), core.CodeForbidden, core.ScopeLane, 0, 0},
		{"a right", status(403, "NO_PERMISSION", "permission denied to create"), core.CodeForbidden, core.ScopeLane, 0, 0},
		{"a module", status(400, "INVALID_MODULE", "the module name given seems to be invalid"), core.CodeForbidden, core.ScopeLane, 0, 0},
		{"an endpoint", status(404, "INVALID_URL_PATTERN", "Please check if the URL is a correct one"), core.CodeForbidden, core.ScopeLane, 0, 0},
		{"an internal error", status(500, "INTERNAL_ERROR", "Internal Server Error"), core.CodeUnavailable, core.ScopeEvent, 0, 0},
		{"a bad gateway", status(502, "", ""), core.CodeUnavailable, core.ScopeEvent, 0, 0},
		{"a page in place of an answer", zohosim.Fault{Kind: zohosim.FaultGarbage}, core.CodeUnknownOutcome, core.ScopeEvent, 0, 0},
		{"a connection closed", zohosim.Fault{Kind: zohosim.FaultDrop}, core.CodeUnknownOutcome, core.ScopeEvent, 0, 0},
		{"an answer lost", zohosim.Fault{Kind: zohosim.FaultLost}, core.CodeUnknownOutcome, core.ScopeEvent, 0, 0},
	} {
		for _, path := range []string{"coql", contactsUpsert, messagesUpsert} {
			t.Run(c.name+" at "+path, func(t *testing.T) {
				b := start(t, zohosim.Options{}, `{"adopt":false}`, nil).mustCheck()
				c.fault.Match = path
				b.sim.Inject(c.fault)
				events := many(20)
				for id, r := range b.deliver(events...) {
					if r.Err == nil {
						t.Fatalf("%s is done", id)
					}
					if r.Err.Code != c.code || r.Err.Holds() != c.holds || r.Err.RetryAfter < c.from || r.Err.RetryAfter > c.to {
						t.Fatalf("got %+v (holds %s), want %s (holds %s) and %v to %v", r.Err, r.Err.Holds(), c.code, c.holds, c.from, c.to)
					}
				}
				b.sim.Heal()
				wantOnly(t, b, b.deliver(events...), events, "")
			})
		}
	}
}

func TestDeliver_NamesTheScopeThatTheTokenLacks(t *testing.T) {
	b := start(t, zohosim.Options{Scopes: []string{zohosim.ScopeFields, zohosim.ScopeCOQL, zohosim.ScopeContacts}}, "", nil)
	err := b.deliver(received(1))["wamid.IN001"].Err
	if err == nil || err.Code != core.CodeForbidden || !strings.Contains(err.Hint, "ZohoCRM.modules.custom.ALL") {
		t.Errorf("got %+v, want forbidden with a hint at the scope", err)
	}
}

func TestDeliver_LeavesAReserveOfCredits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, zohosim.Options{Credits: 60}, `{"credits_reserve":50,"adopt":false}`, nil).mustCheck()
		for i := range 10 {
			got := b.deliver(received(i))
			if r := got[received(i).ID]; r.Err != nil {
				if r.Err.Code != core.CodeRateLimited || r.Err.RetryAfter <= 0 || r.Err.RetryAfter > 15*time.Minute || !strings.Contains(r.Err.Hint, "credits_reserve") {
					t.Fatalf("got %+v", r.Err)
				}
				if used := b.sim.Stats().Credits; used < 30 || used > 33 {
					t.Errorf("%d of 60 credits were used, want some 30: Zoho tells what is left from half of them on", used)
				}
				b.clear()
				b.deliver(received(i))
				if len(b.calls()) != 0 {
					t.Error("Zoho was asked although only the reserve is left")
				}
				time.Sleep(r.Err.RetryAfter)
				if b.deliver(received(i)); len(b.calls()) == 0 {
					t.Error("Zoho was not asked after the wait")
				}
				return
			}
		}
		t.Error("the reserve was used")
	})
}

func TestDeliver_KeepsWithinTheConcurrencyOfTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, zohosim.Options{Concurrency: 3, Latency: 100 * time.Millisecond}, `{"concurrency":3}`, nil).mustCheck()
		results := make(chan map[string]core.Result)
		for i := range 12 {
			go func() { results <- b.deliver(received(i)) }()
		}
		for range 12 {
			for id, r := range <-results {
				if r.Err != nil {
					t.Errorf("%s: %v", id, r.Err)
				}
			}
		}
	})
}

// Queries, and writes of many rows, are ten at once in every edition, whoever makes them.
func TestCalls_KeepWithinTheSubConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, zohosim.Options{Concurrency: 20, SubConcurrency: 10, Latency: 100 * time.Millisecond},
			`{"concurrency":20,"pull_fields":{"city":"Mailing_City"}}`, nil).mustCheck()
		const lanes, rows = 14, 11
		ended := make(chan error)
		for i := range lanes {
			go func() {
				var batch []*core.Event
				for n := range rows {
					batch = append(batch, received(i*rows+n))
				}
				var errs []error
				for _, r := range b.deliver(batch...) {
					if r.Err != nil {
						errs = append(errs, r.Err)
					}
				}
				ended <- errors.Join(errs...)
			}()
			go func() {
				_, err := b.connector.Poll(t.Context(), b.account, nil)
				ended <- err
			}()
		}
		for range 2 * lanes {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if n := len(b.messages()); n != lanes*rows {
			t.Errorf("%d messages, want %d", n, lanes*rows)
		}
	})
}

// Who waits for a turn among the few keeps none from others: a call of another kind passes.
func TestCalls_OfOtherKindsPassThoseThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, zohosim.Options{Concurrency: 3, SubConcurrency: 1}, `{"concurrency":3,"sub_concurrency":1}`, nil).mustCheck()
		b.sim.Inject(zohosim.Fault{Kind: zohosim.FaultHang, Match: "/coql"})
		ctx, give := context.WithTimeout(t.Context(), 10*time.Second)
		defer give()
		var waiting sync.WaitGroup
		for i := range 8 {
			waiting.Go(func() { b.connector.Deliver(ctx, b.account, []core.Delivery{{Event: received(i)}}) })
		}
		synctest.Wait()
		began := time.Now()
		if _, err := b.connector.Describe(t.Context(), b.account); err != nil || time.Since(began) > time.Second {
			t.Errorf("it took %v: %v", time.Since(began), err)
		}
		waiting.Wait()
	})
}

func TestDeliver_AdoptsTheRecordThatHasTheEmail(t *testing.T) {
	for conflict, code := range map[string]core.Code{"adopt": "", "refuse": core.CodeInvalid} {
		b := start(t, zohosim.Options{}, `{"on_conflict":"`+conflict+`"}`, nil).mustCheck()
		id := b.sim.AddRecord("Contacts", map[string]any{"Last_Name": "Ana", "Email": "ana@example.com"})
		e := received(1)
		e.Fields = map[string]any{"Email": "ana@example.com"}
		wantCodes(t, b.deliver(e), map[string]core.Code{e.ID: code})
		if code == "" && b.contacts()["c001"].ID != id {
			t.Errorf("got %v, want the record that has the address", b.contacts())
		}
		other := received(2) // never one that is another contact's
		other.Fields = e.Fields
		wantCodes(t, b.deliver(other, received(3)), map[string]core.Code{other.ID: core.CodeInvalid, received(3).ID: ""})
	}
}

func TestDeliver_ReturnsWhenZohoHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, zohosim.Options{}, `{"timeout":"7s"}`, nil).mustCheck()
		b.sim.Inject(zohosim.Fault{Kind: zohosim.FaultHang, Match: "upsert"})
		before := time.Now()
		err := b.deliver(received(1))["wamid.IN001"].Err
		if err == nil || err.Code != core.CodeUnknownOutcome || !strings.Contains(err.Message, "7s") {
			t.Errorf("got %v, want an unknown outcome after 7s", err)
		}
		if took := time.Since(before); took != 7*time.Second {
			t.Errorf("it took %v, want 7s", took)
		}
	})
}

func TestDeliver_CarriesTheTokenNowhereElse(t *testing.T) {
	b := start(t, zohosim.Options{}, "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Header.Get("Authorization"), "Zoho-oauthtoken 1000.") {
			t.Errorf("Authorization is %q", r.Header.Get("Authorization"))
		}
		http.Redirect(w, r, "http://127.0.0.2/stolen", http.StatusTemporaryRedirect)
	}))
	wantCodes(t, b.deliver(received(1)), map[string]core.Code{"wamid.IN001": core.CodeForbidden})
	if len(b.calls()) != 1 {
		t.Errorf("the redirect was followed: %q", b.calls())
	}
}

func TestDeliver_PausesTheLaneWhenTheAccountIsNotSetUp(t *testing.T) {
	for settings, hint := range map[string]string{
		`{"contact_kye":"x"}`:        "contact_key",
		`{"contact_key":"No_Field"}`: "contact_key",
		`{"message_key":"No_Field"}`: "message_key",
		`{"status_field":"Nothing"}`: "status_field",
		`{"message_module":"Chats"}`: "settings",
	} {
		b := start(t, zohosim.Options{}, "", nil)
		b.account.Settings = []byte(`{"api_url":"http://127.0.0.1",` + settings[1:])
		for id, r := range b.deliver(received(1), received(2)) {
			if r.Err == nil || r.Err.Code != core.CodeForbidden || r.Err.Holds() != core.ScopeLane || !strings.Contains(r.Err.Hint, hint) {
				t.Errorf("%s: %s: got %+v, want forbidden for the lane, hinting at %s", settings, id, r.Err, hint)
			}
		}
	}
}

func TestDeliver_MakesNoContactThatItCouldNotLookFor(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil).mustCheck()
	id := b.sim.AddRecord("Contacts", map[string]any{"Last_Name": "By Hand", "Phone": received(1).Contact.Phone})
	b.sim.Inject(zohosim.Fault{Kind: zohosim.FaultStatus, Status: 503, Match: "coql", Skip: 1, Count: 1})
	wantCodes(t, b.deliver(received(1)), map[string]core.Code{"wamid.IN001": core.CodeUnavailable})
	b.done(received(1))
	if contacts := b.contacts(); len(contacts) != 1 || contacts["c001"].ID != id {
		t.Errorf("got %v, want the record made by hand and no other", contacts)
	}
}
