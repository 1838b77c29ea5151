package hubspot_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

// many returns messages from n people.
func many(n int) []*core.Event {
	var events []*core.Event
	for i := range n {
		events = append(events, received(i))
	}
	return events
}

// wantOnly checks that just the events named failed, with code, and that HubSpot
// has every other message on its contact's timeline.
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
		if m, ok := messages[e.Message.ID]; !ok || len(m.Associated["contacts"]) != 1 {
			t.Errorf("%s is done, but HubSpot has it as %+v", e.ID, m)
		}
	}
}

func TestDeliver_FailsOnlyTheEventsOfARefusedRow(t *testing.T) {
	for _, version := range []string{"2026-09", "2026-03", "v3"} {
		for _, c := range []struct {
			name  string
			fault hubspotsim.Fault
			code  core.Code
			calls int // at most
		}{
			{"a contact by name", hubspotsim.Fault{Kind: hubspotsim.FaultRow, Match: "contacts/batch", Row: "c007"}, core.CodeInvalid, 3},
			{"a message by name", hubspotsim.Fault{Kind: hubspotsim.FaultRow, Match: "communications/batch/upsert", Row: "wamid.IN007"}, core.CodeInvalid, 4},
			{"a contact without a name", hubspotsim.Fault{Kind: hubspotsim.FaultUnnamed, Match: "contacts/batch", Row: "c007"}, core.CodeInvalid, 6},
			{"a whole batch of contacts", hubspotsim.Fault{Kind: hubspotsim.FaultRefuse, Match: "contacts/batch", Row: "c007"}, core.CodeInvalid, 20},
			{"a whole batch of messages", hubspotsim.Fault{Kind: hubspotsim.FaultRefuse, Match: "communications/batch/upsert", Row: "wamid.IN007"}, core.CodeInvalid, 20},
			{"a passing trouble of a row", hubspotsim.Fault{Kind: hubspotsim.FaultRow, Match: "contacts/batch", Row: "c007", Category: "INTERNAL_ERROR", Message: "internal error"}, core.CodeUnavailable, 3},
			{"a row that the answer leaves out", hubspotsim.Fault{Kind: hubspotsim.FaultMute, Match: "contacts/batch", Row: "c007"}, core.CodeUnknownOutcome, 3},
			{"an association by name", hubspotsim.Fault{Kind: hubspotsim.FaultRow, Match: "associate", Row: "3000000008"}, core.CodeInvalid, 3},
			{"an association without a name", hubspotsim.Fault{Kind: hubspotsim.FaultUnnamed, Match: "associate", Row: "3000000008"}, core.CodeInvalid, 6},
			{"all associations for one", hubspotsim.Fault{Kind: hubspotsim.FaultRefuse, Match: "associate", Row: "3000000008"}, core.CodeInvalid, 20},
			{"an association that the answer leaves out", hubspotsim.Fault{Kind: hubspotsim.FaultMute, Match: "associate", Row: "3000000008"}, core.CodeUnknownOutcome, 3},
		} {
			t.Run(version+" "+c.name, func(t *testing.T) {
				b := start(t, hubspotsim.Options{}, `{"api_version":"`+version+`"}`, nil).mustCheck()
				b.sim.Inject(c.fault)
				events := many(100)
				const looking = 3 // for a hundred new people: by the key, then by number, half at a time
				got := b.deliver(events...)
				wantOnly(t, b, got, events, c.code, "wamid.IN007")
				if n := len(b.calls()) - looking; n > c.calls {
					t.Errorf("%d calls, want at most %d", n, c.calls)
				}
				// Another attempt ends well.
				b.sim.Heal()
				wantOnly(t, b, b.deliver(events[7]), events[7:8], "")
			})
		}
	}
}

func TestDeliver_BoundsTheSearchForRowsThatAreNotNamed(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
	b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultRefuse, Match: "contacts/batch", Row: "c"})
	codes := map[core.Code]int{}
	for _, r := range b.deliver(many(100)...) {
		if r.Err == nil {
			t.Fatalf("%s is done", r.ID)
		}
		codes[r.Err.Code]++
	}
	if codes[core.CodeInvalid] == 0 || codes[core.CodeUnavailable] == 0 || len(codes) != 2 {
		t.Errorf("got %v, want some invalid and the others retried", codes)
	}
	if n := len(b.calls()); n != 27 { // 3 of them look for the people
		t.Errorf("%d calls, want 27", n)
	}
}

func TestDeliver_MatchesRowsByKeyWhenTracesAreNotRepeated(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
	b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultNoTrace})
	events := many(10)
	wantOnly(t, b, b.deliver(events...), events, "")
}

func TestDeliver_SaysWhichPropertyOfAScriptDoesNotExist(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
	events := many(3)
	events[1].Fields = map[string]any{"loyalty_tier": "gold"}
	got := b.deliver(events...)
	wantOnly(t, b, got, events, core.CodeInvalid, events[1].ID)
	if err := got[events[1].ID].Err; err.Vendor != "PROPERTY_DOESNT_EXIST" || !strings.Contains(err.Hint, "loyalty_tier") || err.Holds() != core.ScopeEvent {
		t.Errorf("got %+v, want a hint that names loyalty_tier, for the event alone", err)
	}
}

func TestDeliver_ObeysTheRulesOfTheAccountsAdministrator(t *testing.T) {
	b := start(t, hubspotsim.Options{Required: map[string][]string{"contacts": {"company"}}}, "", nil).mustCheck()
	without, with := received(1), received(2)
	with.Fields = map[string]any{"company": "Acme"}
	wantCodes(t, b.deliver(without, with), map[string]core.Code{without.ID: core.CodeInvalid, with.ID: ""})
}

func TestDeliver_TriesAgainWhenAnotherCallMadeTheRecordMeanwhile(t *testing.T) {
	for _, name := range []string{"wabridge_contact_id", "wa_message_id", "wabridge_escalation_id", "email"} {
		t.Run(name, func(t *testing.T) {
			b := start(t, hubspotsim.Options{}, `{"escalations":"tickets"}`, nil).mustCheck()
			b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultRow, Row: "001", Match: "batch/upsert", Message: fmt.Sprintf(
				`Property values were not valid: [{"isValid":false,"message":"7 already has that value","error":"CONFLICTING_UNIQUE_VALUE","name":%q}]`, name)})
			want := core.CodeUnavailable
			if name == "email" { // a value of the script's: it stays refused
				want = core.CodeInvalid
			}
			event := received(1)
			if name == "wabridge_escalation_id" {
				event = escalated(1, core.KindEscalation, nil)
			}
			wantCodes(t, b.deliver(event, received(2)), map[string]core.Code{event.ID: want, "wamid.IN002": ""})
		})
	}
}

func TestDeliver_MasksWhomAnErrorIsAbout(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
	b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultRow, Match: "contacts/batch", Row: "c001",
		Message: "+34600000001 (ana@example.com) was not\n valid " + strings.Repeat("…", 500)})
	err := b.deliver(received(1))["wamid.IN001"].Err
	if err == nil || strings.Contains(err.Message, "34600000001") || strings.Contains(err.Message, "ana@") ||
		strings.Contains(err.Message, "\n") || len(err.Message) > 310 {
		t.Errorf("got %v", err)
	}
}

func TestDeliver_MapsWhatHubSpotAnswersToTheWholeCall(t *testing.T) {
	type fault = hubspotsim.Fault
	for _, c := range []struct {
		name  string
		fault fault
		want  core.Error // Code, RetryAfter, Vendor
		holds core.Scope
	}{
		{"daily limit", fault{Kind: "status", Status: 429, Policy: "DAILY"}, core.Error{Code: core.CodeRateLimited, RetryAfter: 15 * time.Minute, Vendor: "DAILY"}, core.ScopeLane},
		{"ten seconds' limit", fault{Kind: "status", Status: 429, Policy: "TEN_SECONDLY_ROLLING"}, core.Error{Code: core.CodeRateLimited, RetryAfter: 10 * time.Second, Vendor: "TEN_SECONDLY_ROLLING"}, core.ScopeLane},
		{"second's limit", fault{Kind: "status", Status: 429, Policy: "SECONDLY"}, core.Error{Code: core.CodeRateLimited, RetryAfter: time.Second, Vendor: "SECONDLY"}, core.ScopeLane},
		{"limit with Retry-After", fault{Kind: "status", Status: 429, Policy: "SECONDLY", RetryAfter: "42"}, core.Error{Code: core.CodeRateLimited, RetryAfter: 42 * time.Second, Vendor: "SECONDLY"}, core.ScopeLane},
		{"locked", fault{Kind: "status", Status: 423, Category: "LOCKED"}, core.Error{Code: core.CodeUnavailable, RetryAfter: 2 * time.Second, Vendor: "LOCKED"}, core.ScopeEvent},
		{"migration", fault{Kind: "status", Status: 477, Category: "MIGRATION_IN_PROGRESS", RetryAfter: "90"}, core.Error{Code: core.CodeUnavailable, RetryAfter: 90 * time.Second, Vendor: "MIGRATION_IN_PROGRESS"}, core.ScopeEvent},
		{"internal error", fault{Kind: "status", Status: 500}, core.Error{Code: core.CodeUnavailable, Vendor: "INTERNAL_ERROR"}, core.ScopeEvent},
		{"bad gateway", fault{Kind: "status", Status: 502}, core.Error{Code: core.CodeUnavailable, Vendor: "INTERNAL_ERROR"}, core.ScopeEvent},
		{"cloudflare's timeout", fault{Kind: "status", Status: 524}, core.Error{Code: core.CodeUnavailable, Vendor: "INTERNAL_ERROR"}, core.ScopeEvent},
		{"revoked token", fault{Kind: "status", Status: 401, Category: "INVALID_AUTHENTICATION"}, core.Error{Code: core.CodeUnauthenticated, Vendor: "INVALID_AUTHENTICATION"}, core.ScopeLane},
		{"forbidden", fault{Kind: "status", Status: 403, Category: "BANNED"}, core.Error{Code: core.CodeForbidden, Vendor: "BANNED"}, core.ScopeLane},
		{"no such endpoint", fault{Kind: "status", Status: 404, Category: "OBJECT_NOT_FOUND"}, core.Error{Code: core.CodeForbidden, Vendor: "OBJECT_NOT_FOUND"}, core.ScopeLane},
		{"a page in place of an answer", fault{Kind: "garbage"}, core.Error{Code: core.CodeUnknownOutcome}, core.ScopeEvent},
		{"connection closed", fault{Kind: "drop"}, core.Error{Code: core.CodeUnknownOutcome}, core.ScopeEvent},
		{"answer lost", fault{Kind: "lost"}, core.Error{Code: core.CodeUnknownOutcome}, core.ScopeEvent},
	} {
		for _, path := range []string{"contacts/batch/upsert", "communications/batch/upsert", "associate"} {
			t.Run(c.name+" at "+path, func(t *testing.T) {
				b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
				c.fault.Match = path
				b.sim.Inject(c.fault)
				events := many(20)
				for id, r := range b.deliver(events...) {
					if r.Err == nil {
						t.Fatalf("%s is done", id)
					}
					if r.Err.Code != c.want.Code || r.Err.RetryAfter != c.want.RetryAfter || r.Err.Vendor != c.want.Vendor || r.Err.Holds() != c.holds {
						t.Fatalf("got %+v (holds %s), want %+v (holds %s)", r.Err, r.Err.Holds(), c.want, c.holds)
					}
				}
				b.sim.Heal()
				wantOnly(t, b, b.deliver(events...), events, "")
				for _, m := range b.messages() {
					if len(m.Associated["contacts"]) != 1 {
						t.Errorf("%s is associated with %v", m.Properties["wa_message_id"], m.Associated)
					}
				}
			})
		}
	}
}

func TestDeliver_NamesTheScopeThatTheTokenLacks(t *testing.T) {
	b := start(t, hubspotsim.Options{Scopes: []string{hubspotsim.ScopeRead}}, "", nil)
	b.known[received(1).Contact.ID] = "7"
	err := b.deliver(received(1))["wamid.IN001"].Err
	if err == nil || err.Code != core.CodeForbidden || !strings.Contains(err.Hint, hubspotsim.ScopeWrite) {
		t.Errorf("got %+v, want forbidden with a hint at %s", err, hubspotsim.ScopeWrite)
	}
}

func TestDeliver_TakesAnEdgesRefusalForAPassingOne(t *testing.T) {
	edge := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "<html>Sorry, you have been blocked</html>")
	})
	b := start(t, hubspotsim.Options{}, "", edge)
	wantCodes(t, b.deliver(received(1)), map[string]core.Code{"wamid.IN001": core.CodeUnavailable})
}

func TestDeliver_CarriesTheTokenNowhereElse(t *testing.T) {
	elsewhere := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.2/stolen", http.StatusTemporaryRedirect)
	})
	b := start(t, hubspotsim.Options{}, "", elsewhere)
	err := b.deliver(received(1))["wamid.IN001"].Err
	if err == nil || err.Code != core.CodeForbidden || !strings.Contains(err.Hint, "base_url") {
		t.Errorf("got %+v, want forbidden with a hint at base_url", err)
	}
	if len(b.calls()) != 1 {
		t.Errorf("the redirect was followed: %q", b.calls())
	}
}

func TestDeliver_BoundsTheAnswer(t *testing.T) {
	read := make(chan int, 1)
	flood := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		page := []byte(strings.Repeat(" ", 1<<20))
		n := 0
		for ; n < 64; n++ {
			if _, err := w.Write(page); err != nil {
				break
			}
		}
		read <- n
	})
	b := start(t, hubspotsim.Options{}, "", flood)
	b.known[received(1).Contact.ID] = "7"
	err := b.deliver(received(1))["wamid.IN001"].Err
	if err == nil || err.Code != core.CodeUnknownOutcome || !strings.Contains(err.Message, "larger than 16 MiB") {
		t.Errorf("got %v, want the answer refused for its size", err)
	}
	if n := <-read; n > 20 {
		t.Errorf("%d MiB were read of an answer that may have 16", n)
	}
}

func TestDeliver_DoesNotTrustASuccessWithoutRecords(t *testing.T) {
	for _, body := range []string{"", "{}", `{"status":"COMPLETE","results":[]}`, `{"results":[{"objectWriteTraceId":"wamid.IN001"}]}`,
		`{"results":[{"id":"7"}]}`, `{"results":[{"id":"7","objectWriteTraceId":"another"}]}`, `[]`, `null`, `{"results":{}}`, `{"results":[{"id":7,"objectWriteTraceId":"wamid.IN001"}]}`} {
		t.Run(body, func(t *testing.T) {
			b := start(t, hubspotsim.Options{}, "", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
			b.known[received(1).Contact.ID] = "7"
			wantCodes(t, b.deliver(received(1)), map[string]core.Code{"wamid.IN001": core.CodeUnknownOutcome})
		})
	}
}

func TestDeliver_AnErrorThatSaysNothingIsNoVerdict(t *testing.T) {
	for _, body := range []string{`{"results":[],"errors":[null]}`, `{"results":[],"numErrors":1,"errors":[{}]}`, `{"results":[],"errors":[{"context":{"objectWriteTraceId":["wamid.IN001"]}}]}`} {
		b := start(t, hubspotsim.Options{}, "", answering(http.StatusOK, body))
		b.known[received(1).Contact.ID] = "7"
		wantCodes(t, b.deliver(received(1)), map[string]core.Code{"wamid.IN001": core.CodeUnavailable})
	}
}

func TestDeliver_ReturnsWhenHubSpotHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, hubspotsim.Options{}, `{"timeout":"7s"}`, nil).mustCheck()
		b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultHang, Match: "contacts/batch/upsert"})
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

func TestDeliver_WaitsForASlowAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, hubspotsim.Options{Latency: 6 * time.Second}, `{"timeout":"7s"}`, nil).mustCheck()
		before := time.Now()
		wantCodes(t, b.deliver(received(1)), map[string]core.Code{"wamid.IN001": ""})
		if took := time.Since(before); took != 30*time.Second {
			t.Errorf("five calls took %v, want 30s", took)
		}
	})
}

func TestDeliver_FindsTheAccountWellAgainAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
		b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Status: 503, For: 5 * time.Second})
		events := many(10)
		for id, r := range b.deliver(events...) {
			if r.Err == nil || r.Err.Code != core.CodeUnavailable {
				t.Errorf("%s: %v, want unavailable", id, r.Err)
			}
		}
		time.Sleep(5 * time.Second)
		wantOnly(t, b, b.deliver(events...), events, "")
	})
}

func TestDeliver_AdoptsTheContactThatHasTheEmail(t *testing.T) {
	setup := func(t *testing.T, settings string) (*bench, *core.Event) {
		b := start(t, hubspotsim.Options{}, settings, nil).mustCheck()
		first := received(1)
		first.Fields = map[string]any{"email": "ana@example.com"}
		wantCodes(t, b.deliver(first), map[string]core.Code{first.ID: ""})
		second := received(2)
		second.Fields = map[string]any{"email": "ana@example.com", "city": "Lugo"}
		return b, second
	}
	t.Run("not when it is another WhatsApp contact", func(t *testing.T) {
		b, e := setup(t, "")
		got := b.deliver(e, received(3))
		wantCodes(t, got, map[string]core.Code{e.ID: core.CodeInvalid, received(3).ID: ""})
		if got[e.ID].Err.Vendor != "CONFLICT" || !strings.Contains(got[e.ID].Err.Hint, "merge") {
			t.Errorf("got %+v", got[e.ID].Err)
		}
		if c := b.contacts()["c001"]; c.Properties["city"] != "" {
			t.Errorf("another's contact was written: %v", c.Properties)
		}
	})
	t.Run("when nobody has it", func(t *testing.T) {
		b, e := setup(t, `{"contact_key":"wa_other_key"}`)
		// The same account with another key: its contacts are not ours yet.
		b.account.Settings = []byte(strings.Replace(string(b.account.Settings), "wa_other_key", "wabridge_contact_id", 1))
		b.mustCheck()
		wantCodes(t, b.deliver(e), map[string]core.Code{e.ID: ""})
		c := b.contacts()["c002"]
		if c.Properties["city"] != "Lugo" || c.Properties["wa_other_key"] != "c001" {
			t.Errorf("got %v, want the contact that was there", c.Properties)
		}
		if m := b.messages()[e.ID]; len(m.Associated["contacts"]) != 1 || m.Associated["contacts"][0] != c.ID {
			t.Errorf("the message is associated with %v, want %s", m.Associated, c.ID)
		}
	})
	t.Run("with the name that it has", func(t *testing.T) {
		for first, want := range map[string]string{"Ana María": "Ana María", "": "Person 2"} {
			b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
			id := b.edit(t, "", map[string]string{"firstname": first, "email": "ana@example.com"})
			e := received(2)
			e.Fields = map[string]any{"email": "ana@example.com"}
			wantCodes(t, b.deliver(e), map[string]core.Code{e.ID: ""})
			if c := b.contacts()["c002"]; c.ID != id || c.Properties["firstname"] != want {
				t.Errorf("record %s of %q is %v", id, first, c)
			}
			if b.known["c002"] != id {
				t.Errorf("the bridge was told of the record %q, want %s", b.known["c002"], id)
			}
		}
	})
	t.Run("not when the contact has a record already", func(t *testing.T) {
		b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
		b.deliver(received(2))
		other := b.edit(t, "", map[string]string{"firstname": "Ana María", "email": "ana@example.com"})
		e := received(2)
		e.Contact.Name, e.Fields = "", map[string]any{"email": "ana@example.com"}
		b.clear()
		got := b.deliver(e)
		wantCodes(t, got, map[string]core.Code{e.ID: core.CodeInvalid})
		if n := len(b.calls()); n != 3 { // written, read, written to the other
			t.Errorf("%d calls, want 3: %q", n, b.calls())
		}
		if err := got[e.ID].Err; err.Vendor != "CONFLICT" || !strings.Contains(err.Hint, "merge") {
			t.Errorf("got %+v", err)
		}
		for _, c := range b.sim.Records("contacts") {
			if c.ID == other && (c.Properties["firstname"] != "Ana María" || c.Properties["phone"] != "") {
				t.Errorf("the other record is %v", c.Properties)
			}
		}
	})
	t.Run("not when the owner does not want it", func(t *testing.T) {
		b, e := setup(t, `{"contact_key":"wa_other_key","on_conflict":"refuse"}`)
		b.account.Settings = []byte(strings.Replace(string(b.account.Settings), "wa_other_key", "wabridge_contact_id", 1))
		b.mustCheck()
		wantCodes(t, b.deliver(e), map[string]core.Code{e.ID: core.CodeInvalid})
	})
}

func TestDeliver_PausesTheLaneWhenTheAccountIsNotSetUp(t *testing.T) {
	for _, c := range []struct {
		name, settings, hint string
		prepare              func(*bench)
		code                 core.Code
	}{
		{"a setting that does not exist", `{"contact_kye":"x"}`, "contact_key", func(*bench) {}, core.CodeForbidden},
		{"no token", "", "secret token", func(b *bench) { b.account.Secrets = nil }, core.CodeUnauthenticated},
		{"no property for the key", `{"create_properties":false}`, "contact_key", func(*bench) {}, core.CodeForbidden},
		{"a key without unique values", `{"create_properties":false,"contact_key":"company"}`, "contact_key", func(*bench) {}, core.CodeForbidden},
		{"a status property that is gone", `{"create_properties":false}`, "direction_property", func(b *bench) {
			without := b.account.Settings
			b.account.Settings = []byte(`{"base_url":"http://127.0.0.1"}`)
			b.mustCheck()
			b.account.Settings = without
			b.sim.RemoveProperty("communications", "wa_direction")
		}, core.CodeForbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, hubspotsim.Options{}, c.settings, nil)
			c.prepare(b)
			for id, r := range b.deliver(received(1), received(2)) {
				if r.Err == nil || r.Err.Code != c.code || r.Err.Holds() != core.ScopeLane || !strings.Contains(r.Err.Hint, c.hint) {
					t.Errorf("%s: got %+v, want %s for the lane, hinting at %s", id, r.Err, c.code, c.hint)
				}
			}
		})
	}
}

func TestDeliver_MakesItsPropertiesWhenCheckNeverRan(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil)
	events := many(5)
	wantOnly(t, b, b.deliver(events...), events, "")
	b.clear()
	b.sim.RemoveProperty("communications", "wa_direction")
	wantOnly(t, b, b.deliver(events...), events, "")
}
