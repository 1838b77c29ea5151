package salesforce_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

func unbase64(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantOnly checks that just one event failed, with code, and that Salesforce has every
// other message.
func wantOnly(t *testing.T, b *bench, got map[string]core.Result, events []*core.Event, code core.Code, failed string) {
	t.Helper()
	for _, e := range events {
		err := got[e.ID].Err
		switch {
		case e.ID == failed && (err == nil || err.Code != code):
			t.Errorf("%s: got %v, want %s", e.ID, err, code)
		case e.ID != failed && err != nil:
			t.Errorf("%s: got %v, want done", e.ID, err)
		case e.ID != failed:
			b.record("WhatsApp_Message__c", "WA_Id__c", e.Message.ID)
		}
	}
}

func TestDeliver_FailsOnlyTheEventsOfARefusedRow(t *testing.T) {
	for _, c := range []struct {
		code, message string
		want          core.Code
		hint          string
	}{
		{"UNABLE_TO_LOCK_ROW", "", core.CodeUnavailable, ""},
		{"DUPLICATE_VALUE", "duplicate value found: WA_Id__c duplicates value on record with id: a00000000000009", core.CodeUnavailable, ""},
		{"DUPLICATE_VALUE", "duplicate value found: WA_Contact_Id__c duplicates value on record with id: 003000000000009", core.CodeUnavailable, ""},
		{"DUPLICATE_VALUE", "duplicate value found: Passport__c duplicates value on record with id: 003000000000009", core.CodeInvalid, "mapToCRM"},
		{"DUPLICATES_DETECTED", "Use one of these records?", core.CodeInvalid, "allow_duplicates"},
		{"FIELD_CUSTOM_VALIDATION_EXCEPTION", "Please say where they live", core.CodeInvalid, "validation rule"},
		{"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "Trigger: execution of BeforeInsert", core.CodeInvalid, "trigger"},
		{"INVALID_EMAIL_ADDRESS", "Email: invalid email address: x", core.CodeInvalid, "Email"},
		{"CANNOT_EXECUTE_FLOW_TRIGGER", "The record couldn't be saved because it failed to trigger a flow.", core.CodeInvalid, "flow"},
		{"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "Trigger: execution of AfterInsert caused by: System.DmlException: first error: UNABLE_TO_LOCK_ROW, unable to obtain", core.CodeUnavailable, ""},
		{"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "Trigger: System.LimitException: Too many SOQL queries: 101", core.CodeUnavailable, "with many records"},
		{"DUPLICATE_VALUE", "duplicate value found: <unknown> duplicates value on record with id: <unknown>", core.CodeUnavailable, "may not see"},
		{"DUPLICATE_EXTERNAL_ID", "more than one record found for external id field: [003000000000001AAA, 003000000000002AAA]", core.CodeInvalid, "merge"},
		{"INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "bad value for restricted picklist field: gold", core.CodeInvalid, "Restrict picklist"},
		{"ENTITY_IS_DELETED", "entity is deleted", core.CodeUnavailable, ""},
		{"INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id", core.CodeInvalid, "sharing"},
	} {
		for _, object := range []string{"Contact", "WhatsApp_Message__c"} {
			t.Run(c.code+" of a "+object, func(t *testing.T) {
				b := start(t, salesforcesim.Options{}, "")
				events := many(200)
				b.mustDeliver(events[:100]...)
				fields := []string(nil)
				if c.code == "INVALID_EMAIL_ADDRESS" {
					fields = []string{"Email"}
				}
				row := map[string]string{"Contact": "c007", "WhatsApp_Message__c": "wamid.IN007"}[object]
				b.sim.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultRow, Match: "sobjects/" + object, Row: row, Code: c.code, Message: c.message, Fields: fields})
				got := b.deliver(events...)
				wantOnly(t, b, got, events, c.want, "wamid.IN007")
				if err := got["wamid.IN007"].Err; err != nil && (err.Vendor != c.code || !strings.Contains(err.Hint, c.hint) || err.Holds() != core.ScopeEvent) {
					t.Errorf("got %+v, want %s and a hint with %q, for the event alone", err, c.code, c.hint)
				}
				b.sim.Heal()
				b.mustDeliver(events[7])
			})
		}
	}
}

func TestDeliver_FindsTheRowThatHasARequestRefused(t *testing.T) {
	b := start(t, salesforcesim.Options{}, `{"contact_fields":{"born":"Birthdate"}}`)
	events := many(5)
	events[3].Contact.Fields = map[string]string{"born": "not a date"}
	wantOnly(t, b, b.deliver(events...), events, core.CodeInvalid, "wamid.IN003")
}

func TestDeliver_WritesWhatTheSettingsWantOfNewContactsAsTheFieldsTakeIt(t *testing.T) {
	b := start(t, salesforcesim.Options{}, `{"on_create":{"HasOptedOutOfEmail":"true","score__c":"12","Birthdate":"1990-01-01","Department":"Web"}}`)
	b.sim.AddField("Contact", salesforcesim.Typed("Score__c", "double"))
	b.mustDeliver(many(3)...)
	want(t, b.record("Contact", "WA_Contact_Id__c", "c001"), map[string]any{"HasOptedOutOfEmail": true, "Score__c": 12.0, "Birthdate": "1990-01-01", "Department": "Web", "LastName": "Person 1"})
	if err := b.connector.Check(t.Context(), b.account); err != nil {
		t.Error(err)
	}

	// A wrong value is no event's fault.
	b = start(t, salesforcesim.Options{}, `{"on_create":{"HasOptedOutOfEmail":"perhaps"}}`)
	if err := b.deliver(received(1))["wamid.IN001"].Err; err == nil || err.Code != core.CodeForbidden || err.Holds() != core.ScopeLane || !strings.Contains(err.Hint, "settings.on_create.HasOptedOutOfEmail") {
		t.Errorf("got %+v, want forbidden for the lane", err)
	}
	if err := core.AsError(b.connector.Check(t.Context(), b.account)); err == nil || !strings.Contains(err.Hint, "settings.on_create.HasOptedOutOfEmail") {
		t.Errorf("the check says %v", err)
	}
}

func TestDeliver_MapsWhatARequestIsAnswered(t *testing.T) {
	status := func(status int, code, message string) salesforcesim.Fault {
		return salesforcesim.Fault{Kind: salesforcesim.FaultStatus, Status: status, Code: code, Message: message}
	}
	for _, c := range []struct {
		fault salesforcesim.Fault
		code  core.Code
		wait  time.Duration
	}{
		{status(401, "INVALID_SESSION_ID", "Session expired or invalid"), core.CodeUnauthenticated, 0},
		{status(401, "INVALID_SESSION_ID", "This session is not valid for use with the REST API"), core.CodeForbidden, 0},
		{status(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), core.CodeRateLimited, 15 * time.Minute},
		{status(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded."), core.CodeRateLimited, 5 * time.Second},
		{status(403, "API_DISABLED_FOR_ORG", "API is not enabled for this Organization or Partner"), core.CodeForbidden, 0},
		{status(403, "", ""), core.CodeUnavailable, 0},
		{status(404, "NOT_FOUND", "The requested resource does not exist"), core.CodeForbidden, 0},
		{status(302, "", ""), core.CodeForbidden, 0},
		{status(420, "", ""), core.CodeRateLimited, 5 * time.Second},
		{status(429, "", ""), core.CodeRateLimited, 5 * time.Second},
		{status(400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record"), core.CodeUnavailable, 0},
		{status(400, "QUERY_TIMEOUT", "Your query request was running for too long."), core.CodeUnavailable, 0},
		{status(400, "REQUEST_RUNNING_TOO_LONG", "Your request was running for too long, and has been stopped."), core.CodeUnavailable, 0},
		{status(401, "INVALID_SESSION_ID", "Connected app is not attached to Agent"), core.CodeForbidden, 0},
		{status(500, "UNKNOWN_EXCEPTION", "An unexpected error occurred."), core.CodeUnavailable, 0},
		{status(502, "", ""), core.CodeUnavailable, 0},
		{status(503, "SERVER_UNAVAILABLE", "server too busy"), core.CodeUnavailable, 0},
		{salesforcesim.Fault{Kind: salesforcesim.FaultGarbage}, core.CodeUnknownOutcome, 0},
		{salesforcesim.Fault{Kind: salesforcesim.FaultDrop}, core.CodeUnknownOutcome, 0},
		{salesforcesim.Fault{Kind: salesforcesim.FaultLost}, core.CodeUnknownOutcome, 0},
	} {
		t.Run(fmt.Sprintf("%s %d %s", c.fault.Kind, c.fault.Status, c.fault.Message), func(t *testing.T) {
			b := start(t, salesforcesim.Options{}, "")
			b.sim.Inject(c.fault)
			for id, r := range b.deliver(received(1), received(2)) {
				if r.Err == nil || r.Err.Code != c.code || r.Err.RetryAfter != c.wait {
					t.Errorf("%s: got %+v, want %s after %v", id, r.Err, c.code, c.wait)
				}
			}
			b.sim.Heal()
			b.mustDeliver(received(1), received(2))
			if n := len(b.sim.Records("WhatsApp_Message__c")); n != 2 {
				t.Errorf("%d messages, want 2", n)
			}
		})
	}
}

func TestDeliver_MakesNobodyNewWhileTheSearchFails(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	b.sim.Create("Contact", map[string]any{"LastName": "Known", "Phone": "+34600000001"})
	b.sim.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultStatus, Match: "v66.0/composite", Skip: 1, Count: 1, Status: 503})
	if err := b.deliver(received(1))["wamid.IN001"].Err; err == nil || err.Code != core.CodeUnavailable {
		t.Fatalf("got %v, want unavailable", err)
	}
	b.mustDeliver(received(1))
	if n := len(b.sim.Records("Contact")); n != 1 {
		t.Errorf("%d contacts, want the one that was there", n)
	}
}

func TestDeliver_GivesAKnownContactThatIsRefusedNoNewNameNorRecord(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	b.mustDeliver(received(1))
	b.sim.Create("Contact", map[string]any{"LastName": "Twin", "Phone": "+34600000001"})
	b.sim.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultRow, Match: "sobjects/Contact", Row: "c001", Count: 1, Code: "FIELD_CUSTOM_VALIDATION_EXCEPTION", Message: "no"})
	renamed := received(1)
	renamed.Contact.Name = "Renamed"
	if err := b.deliver(renamed)["wamid.IN001"].Err; err == nil || err.Code != core.CodeInvalid {
		t.Errorf("got %v, want invalid", err)
	}
	want(t, b.record("Contact", "WA_Contact_Id__c", "c001"), map[string]any{"LastName": "Person 1"})
	want(t, b.record("Contact", "LastName", "Twin"), map[string]any{"WA_Contact_Id__c": nil})

	// One that is new is made all the same, when the rule wanted a name.
	b.sim.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultRow, Match: "sobjects/Contact", Row: "c002", Count: 1, Code: "FIELD_CUSTOM_VALIDATION_EXCEPTION", Message: "no"})
	b.mustDeliver(received(2))
}

func TestDeliver_WritesNoLateStatusThatItCannotCompare(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	b.mustDeliver(received(1), status(1, core.StatusRead))
	late := status(1, core.StatusSent)
	late.Accepted = time.Now().Add(-time.Hour)
	b.sim.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultStatus, Match: "v66.0/composite", Skip: 3, Count: 1, Status: 503})
	got := b.deliver(late, received(2))
	if err := got[late.ID].Err; err == nil || err.Code != core.CodeUnavailable {
		t.Errorf("got %v, want unavailable", err)
	}
	if err := got["wamid.IN002"].Err; err != nil {
		t.Errorf("got %v, want the message done all the same", err)
	}
	want(t, b.record("WhatsApp_Message__c", "WA_Id__c", "wamid.IN001"), map[string]any{"Status__c": "read"})
}

func TestDeliver_TriesAgainToLinkAMessageThatAStatusMade(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	b.sim.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultRow, Match: "sobjects/Contact", Row: "c001"})
	sent := status(1, core.StatusSent)
	if err := b.deliver(sent)[sent.ID].Err; err == nil || err.Code != core.CodeUnavailable {
		t.Fatalf("got %v, want unavailable", err)
	}
	b.sim.Heal()
	batch := []core.Delivery{{Event: sent, Attempt: 2}}
	if r := b.connector.Deliver(t.Context(), b.account, batch)[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	want(t, b.record("WhatsApp_Message__c", "WA_Id__c", "wamid.IN001"), map[string]any{"Contact__c": b.record("Contact", "WA_Contact_Id__c", "c001")["Id"]})
}

func TestDeliver_AllowsDuplicatesWhenTheSettingsDo(t *testing.T) {
	for _, allow := range []bool{false, true} {
		b := start(t, salesforcesim.Options{DuplicateRule: true}, fmt.Sprintf(`{"allow_duplicates":%v,"adopt_by":[]}`, allow))
		b.sim.Create("Contact", map[string]any{"LastName": "Person 1", "MobilePhone": "+34600000001"})
		err := b.deliver(received(1))["wamid.IN001"].Err
		if allow && err != nil || !allow && (err == nil || err.Vendor != "DUPLICATES_DETECTED") {
			t.Errorf("allow_duplicates = %v: got %v", allow, err)
		}
	}
}

func TestDeliver_LeavesDailyRequestsToOthers(t *testing.T) {
	b := start(t, salesforcesim.Options{Daily: 1000}, `{"daily_share":0.5}`)
	b.mustDeliver(received(1))
	b.sim.UseUp(496)
	b.clear()
	for _, want := range []int{1, 1} {
		err := b.deliver(received(1))["wamid.IN001"].Err
		if err == nil || err.Code != core.CodeRateLimited || err.RetryAfter != 15*time.Minute || err.Holds() != core.ScopeLane || !strings.Contains(err.Hint, "daily_share") {
			t.Fatalf("got %+v, want rate limited for a quarter of an hour", err)
		}
		if n := len(b.calls()); n != want {
			t.Errorf("%d requests, want %d: %q", n, want, b.calls())
		}
		b.clear()
	}
}

func TestDeliver_SaysWhichOfItsFieldsIsGone(t *testing.T) {
	opened := escalated(1, core.KindEscalation, core.Escalation{ID: "e1", Reason: "complaint", Priority: "high"})
	for _, c := range []struct {
		settings, object, field, setting string
		event                            *core.Event
	}{
		{"", "WhatsApp_Message__c", "Type__c", "settings.message_type", received(1)},
		{"", "Case", "Priority", "settings.escalations", opened},
		{"", "Case", "ContactId", "settings.escalations", opened},
		{`{"escalations":"task"}`, "Task", "WhoId", "settings.escalations", opened},
		{`{"owners":{"support":"00G000000000001AAA"}}`, "Case", "OwnerId", "settings.owners", escalated(1, core.KindEscalation, core.Escalation{ID: "e1", Reason: "complaint", Team: "support"})},
		{`{"mode":"task"}`, "Task", "Subject", "settings.mode", received(1)},
		{`{"on_create":{"Description":"new"}}`, "Contact", "Description", "settings.on_create", received(1)},
	} {
		b := start(t, salesforcesim.Options{}, c.settings)
		b.sim.RemoveField(c.object, c.field)
		err := b.deliver(c.event, received(2))[c.event.ID].Err
		if err == nil || err.Code != core.CodeForbidden || err.Holds() != core.ScopeLane || !strings.Contains(err.Hint, c.setting) {
			t.Errorf("%s.%s: got %+v, want forbidden for the lane, naming %s", c.object, c.field, err, c.setting)
		}
		if err := core.AsError(b.connector.Check(t.Context(), b.account)); err == nil || !strings.Contains(err.Message, c.field) {
			t.Errorf("%s.%s: the check says %v", c.object, c.field, err)
		}
	}
	// A field of a script's that is gone is that event's.
	b := start(t, salesforcesim.Options{}, "")
	b.sim.AddField("Contact", salesforcesim.Text("Subject", 80))
	scripted := received(1)
	scripted.Fields = map[string]any{"Subject": "x"}
	b.mustDeliver(scripted)
	b.sim.RemoveField("Contact", "Subject")
	wantOnly(t, b, b.deliver(scripted, received(2)), []*core.Event{scripted, received(2)}, core.CodeInvalid, scripted.ID)
}

func TestCheck_SaysAllThatIsMissing(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	if err := b.connector.Check(t.Context(), b.account); err != nil {
		t.Fatal(err)
	}
	plain := salesforcesim.Text("WA_Id__c", 255)
	for name, c := range map[string]struct {
		settings string
		spoil    func(*salesforcesim.Sim)
		wants    []string
	}{
		"nothing is there": {``, nil, []string{"WA_Contact_Id__c (Text, 255, External ID, Unique; settings.contact_key)",
			"the object WhatsApp_Message__c (settings.message_object)", "Contact__c (Lookup to Contact; settings.message_contact)", "Long Text Area", "WA_Escalation_Id__c"}},
		"task mode":         {`{"mode":"task"}`, nil, []string{"on Task WA_Id__c"}},
		"not unique":        {``, func(s *salesforcesim.Sim) { s.AddField("WhatsApp_Message__c", plain) }, []string{"another WA_Id__c", "settings.message_key"}},
		"not a lookup":      {`{"message_contact":"Body__c","message_body":""}`, func(*salesforcesim.Sim) {}, []string{"settings.message_contact"}},
		"not a time":        {`{"message_time":"Body__c","message_body":""}`, func(*salesforcesim.Sim) {}, []string{"settings.message_time"}},
		"a name to do with": {`{"name_field":"FirstName"}`, func(*salesforcesim.Sim) {}, []string{"settings.name_field"}},
		"not to be seen":    {``, func(s *salesforcesim.Sim) { s.RemoveField("Contact", "WA_Tags__c") }, []string{"WA_Tags__c", "settings.tags_field"}},
	} {
		b := start(t, salesforcesim.Options{Bare: c.spoil == nil}, c.settings)
		if c.spoil != nil {
			c.spoil(b.sim)
		}
		err := core.AsError(b.connector.Check(t.Context(), b.account))
		if err == nil || err.Code != core.CodeForbidden {
			t.Errorf("%s: got %v, want forbidden", name, err)
			continue
		}
		for _, wants := range c.wants {
			if !strings.Contains(err.Hint, wants) {
				t.Errorf("%s: the hint %q lacks %q", name, err.Hint, wants)
			}
		}
	}
	b.sim.Revoke()
	if err := b.connector.Check(t.Context(), b.account); core.CodeOf(err) != core.CodeUnauthenticated {
		t.Errorf("got %v, want unauthenticated", err)
	}
}

func TestSettings_WantTheOrgsDomainForClientCredentials(t *testing.T) {
	for login, good := range map[string]bool{"https://login.salesforce.com": false, "https://test.salesforce.com/": false, "https://acme.my.salesforce.com": true} {
		b := start(t, salesforcesim.Options{}, fmt.Sprintf(`{"auth":"client_credentials","login_url":%q}`, login))
		err := core.AsError(b.connector.Check(t.Context(), b.account))
		if good != (err == nil) || !good && (err.Code != core.CodeInvalid || !strings.Contains(err.Hint, "login_url")) {
			t.Errorf("%s: got %v", login, err)
		}
	}
}

func TestSettings_NameWhatIsWrong(t *testing.T) {
	for setting, value := range map[string]string{
		"auth": `"password"`, "mode": `"chatter"`, "escalations": `"mail"`, "client_id": `""`, "username": `""`, "api_version": `"66"`, "timeout": `"0s"`,
		"daily_share": `2`, "audience": `"x"`, "login_url": `"ftp://x"`, "contact_key": `"a b"`, "phone_field": `"LastName"`, "message_object": `"X' OR"`,
		"adopt_by": `["Phone) OR (Id != null"]`, "owners": `{"support":"ann"}`, "contact_fields": `{"city":"a.b"}`,
	} {
		b := start(t, salesforcesim.Options{}, fmt.Sprintf(`{%q:%s}`, setting, value))
		err := core.AsError(b.connector.Check(t.Context(), b.account))
		if err == nil || err.Code != core.CodeInvalid || !strings.Contains(err.Hint, setting) {
			t.Errorf("%s: got %+v, want invalid, naming it", setting, err)
		}
	}
}
