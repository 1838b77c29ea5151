package hubspotsim_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

// answer is what the sim said.
type answer struct {
	Status     int
	Header     http.Header
	Body       string
	Message    string
	Category   string
	PolicyName string
	NumErrors  int
	Total      int
	Errors     []struct {
		Category string
		Message  string
		Context  map[string][]string
		Errors   []struct{ Context map[string][]string }
	}
	Results []struct {
		ID         string
		New        bool
		Trace      string `json:"objectWriteTraceId"`
		Properties map[string]string
		From, To   struct{ ID string }
	}
	ID         string
	Properties map[string]string
	Paging     struct{ Next struct{ After string } }
}

// ask sends one request, without a network.
func ask(t testing.TB, s *hubspotsim.Sim, method, path, body string) answer {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer good")
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	a := answer{Status: w.Code, Header: w.Header(), Body: w.Body.String()}
	if strings.HasPrefix(a.Body, "{") {
		type plain answer
		p := plain(a)
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			var typ *json.UnmarshalTypeError
			if !asType(err, &typ) { // "status" is a text there
				t.Fatalf("%s %s: %v in %s", method, path, err, a.Body)
			}
		}
		p.Status = w.Code
		a = answer(p)
	}
	return a
}

func asType(err error, t **json.UnmarshalTypeError) bool {
	e := &json.UnmarshalTypeError{}
	ok := errors.As(err, &e)
	*t = e
	return ok
}

// prepared returns a sim with the unique properties that the tests use.
func prepared(t testing.TB, o hubspotsim.Options) *hubspotsim.Sim {
	t.Helper()
	s := hubspotsim.New(o)
	s.AddProperty("contacts", hubspotsim.Property{Name: "wa_id", Type: "string", HasUniqueValue: true})
	s.AddProperty("communications", hubspotsim.Property{Name: "wa_message_id", Type: "string", HasUniqueValue: true})
	s.AddProperty("communications", hubspotsim.Property{Name: "wa_status", Type: "string"})
	return s
}

const (
	upsertContacts = "/crm/objects/2026-09/contacts/batch/upsert"
	upsertMessages = "/crm/objects/2026-09/communications/batch/upsert"
)

func inputs(in ...string) string { return `{"inputs":[` + strings.Join(in, ",") + `]}` }

// row is an upsert input by wa_id, with a trace id.
func row(id, properties string) string {
	return fmt.Sprintf(`{"idProperty":"wa_id","id":%q,"objectWriteTraceId":"t-%s","properties":%s}`, id, id, properties)
}

func TestUpsert_MakesThenChangesOneRecord(t *testing.T) {
	for _, path := range []string{upsertContacts, "/crm/objects/2026-03/contacts/batch/upsert", "/crm/v3/objects/contacts/batch/upsert", "/crm/v3/objects/0-1/batch/upsert"} {
		t.Run(path, func(t *testing.T) {
			s := prepared(t, hubspotsim.Options{})
			first := ask(t, s, "POST", path, inputs(row("1", `{"firstname":"Ana"}`)))
			second := ask(t, s, "POST", path, inputs(row("1", `{"firstname":"Anna","wa_id":"1"}`)))
			if first.Status != 200 || !first.Results[0].New || first.Results[0].Trace != "t-1" || first.Results[0].Properties["wa_id"] != "1" {
				t.Errorf("first: %+v", first)
			}
			if second.Status != 200 || second.Results[0].New || second.Results[0].ID != first.Results[0].ID {
				t.Errorf("second: %+v", second)
			}
			got := s.Records("contacts")
			if len(got) != 1 || got[0].Properties["firstname"] != "Anna" || got[0].Writes != 2 {
				t.Errorf("ledger: %+v", got)
			}
		})
	}
}

func TestBatch_RefusesWhatHubSpotRefuses(t *testing.T) {
	var many []string
	for i := range 101 {
		many = append(many, row(fmt.Sprint(i), `{"firstname":"x"}`))
	}
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		category, message        string
	}{
		{"more than 100 inputs", "POST", upsertContacts, inputs(many...), 400, "VALIDATION_ERROR", "exceeds the maximum of 100"},
		{"no inputs", "POST", upsertContacts, `{}`, 400, "VALIDATION_ERROR", "[inputs]"},
		{"one id twice", "POST", upsertContacts, inputs(row("1", `{"firstname":"a"}`), row("1", `{"firstname":"b"}`)), 400, "VALIDATION_ERROR", "Duplicate IDs found in batch input: [1]"},
		{"a number as value", "POST", upsertContacts, inputs(row("1", `{"firstname":7}`)), 400, "VALIDATION_ERROR", "Cannot deserialize"},
		{"a boolean as value", "POST", upsertContacts, inputs(row("1", `{"firstname":true}`)), 400, "VALIDATION_ERROR", "Cannot deserialize"},
		{"no JSON", "POST", upsertContacts, `{"inputs":`, 400, "VALIDATION_ERROR", "Invalid input JSON"},
		{"no properties", "POST", upsertContacts, inputs(`{"idProperty":"wa_id","id":"1"}`), 400, "VALIDATION_ERROR", "inputs[0].properties"},
		{"no id", "POST", upsertContacts, inputs(`{"idProperty":"wa_id","properties":{}}`), 400, "VALIDATION_ERROR", "inputs[0].id"},
		{"a bad row without trace ids", "POST", upsertContacts, inputs(`{"idProperty":"wa_id","id":"1","properties":{"firstname":"a"}}`,
			`{"idProperty":"wa_id","id":"2","properties":{"nope":"a"}}`), 400, "VALIDATION_ERROR", "PROPERTY_DOESNT_EXIST"},
		{"a non-unique key", "POST", upsertContacts, inputs(`{"idProperty":"city","id":"1","properties":{}}`), 400, "VALIDATION_ERROR", "Unable to perform update/upsert by non-unique 0-1 property city"},
		{"a key misspelt is a record id", "POST", upsertContacts, inputs(`{"idproperty_":"wa_id","id":"1","properties":{}}`), 400, "OBJECT_NOT_FOUND", "Could not get some CONTACTS"},
		{"an object that is none", "POST", "/crm/objects/2026-09/llamas/batch/upsert", `{}`, 400, "VALIDATION_ERROR", "llamas"},
		{"a version that is none", "POST", "/crm/objects/2024-01/contacts/batch/upsert", `{}`, 404, "OBJECT_NOT_FOUND", ""},
		{"a path that is none", "POST", "/crm/objects/2026-09/contacts/batch/frobnicate", `{}`, 404, "OBJECT_NOT_FOUND", ""},
		{"associations at v3", "POST", "/crm/v3/associations/communications/contacts/batch/associate/default", `{}`, 404, "OBJECT_NOT_FOUND", ""},
		{"an association of nothing", "POST", "/crm/associations/2026-09/communications/contacts/batch/associate/default", `{"inputs":[{"from":{"id":"1"},"to":{}}]}`, 400, "VALIDATION_ERROR", "inputs[0]"},
		{"an association that makes no sense", "POST", "/crm/associations/2026-09/contacts/contacts/batch/associate/default", `{}`, 400, "VALIDATION_ERROR", "No default association"},
		{"a search without end", "POST", "/crm/objects/2026-09/contacts/search", `{"limit":201}`, 400, "VALIDATION_ERROR", "limit"},
		{"a search past the end", "POST", "/crm/objects/2026-09/contacts/search", `{"limit":100,"after":"9950"}`, 400, "VALIDATION_ERROR", "10000"},
		{"a search by a property that is none", "POST", "/crm/objects/2026-09/contacts/search", `{"filterGroups":[{"filters":[{"propertyName":"nope","operator":"EQ","value":"1"}]}]}`, 400, "VALIDATION_ERROR", "nope"},
		{"a search operator that is none", "POST", "/crm/objects/2026-09/contacts/search", `{"filterGroups":[{"filters":[{"propertyName":"city","operator":"LIKE","value":"1"}]}]}`, 400, "VALIDATION_ERROR", "LIKE"},
		{"a property that is there", "POST", "/crm/properties/2026-09/contacts", `{"name":"wa_id","label":"x","groupName":"contactinformation","type":"string","fieldType":"text"}`, 409, "OBJECT_ALREADY_EXISTS", "wa_id"},
		{"a property without a group", "POST", "/crm/properties/2026-09/contacts", `{"name":"x","label":"x","type":"string","fieldType":"text"}`, 400, "VALIDATION_ERROR", "groupName"},
		{"a property in no group", "POST", "/crm/properties/2026-09/contacts", `{"name":"x","label":"x","groupName":"y","type":"string","fieldType":"text"}`, 400, "VALIDATION_ERROR", "group y"},
		{"a property of no type", "POST", "/crm/properties/2026-09/contacts", `{"name":"x","label":"x","groupName":"contactinformation","type":"text","fieldType":"text"}`, 400, "VALIDATION_ERROR", "fieldType"},
		{"a property with a bad name", "POST", "/crm/properties/2026-09/contacts", `{"name":"X-1","label":"x","groupName":"contactinformation","type":"string","fieldType":"text"}`, 400, "VALIDATION_ERROR", "X-1"},
		{"a property that is missing", "GET", "/crm/properties/2026-09/contacts/nope", "", 404, "OBJECT_NOT_FOUND", "nope"},
		{"a record that is missing", "GET", "/crm/objects/2026-09/contacts/77", "", 404, "OBJECT_NOT_FOUND", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := prepared(t, hubspotsim.Options{})
			a := ask(t, s, c.method, c.path, c.body)
			if a.Status != c.status || a.Category != c.category || !strings.Contains(a.Message, c.message) {
				t.Errorf("got %d %s %q, want %d %s …%s…", a.Status, a.Category, a.Message, c.status, c.category, c.message)
			}
			if n := len(s.Records("contacts")); n != 0 {
				t.Errorf("%d contacts were made all the same", n)
			}
		})
	}
}

func TestUpsert_WritesTheGoodRowsOfATracedBatch(t *testing.T) {
	for version, status := range map[string]int{"/crm/objects/2026-09/": 200, "/crm/objects/2026-03/": 207, "/crm/v3/objects/": 207} {
		t.Run(version, func(t *testing.T) {
			s := prepared(t, hubspotsim.Options{})
			a := ask(t, s, "POST", version+"contacts/batch/upsert",
				inputs(row("1", `{"firstname":"a"}`), row("2", `{"firstname":"a","nope":"b"}`), row("3", `{"city":"nameless"}`), row("4", `{"firstname":"a","hs_object_id":"7"}`),
					row("5", `{"firstname":"a","lifecyclestage":"king"}`)))
			if a.Status != status || len(a.Results) != 1 || a.NumErrors != 4 {
				t.Fatalf("got %d with %d results and %d errors: %s", a.Status, len(a.Results), a.NumErrors, a.Body)
			}
			for i, want := range []struct{ trace, text string }{
				{"t-2", "PROPERTY_DOESNT_EXIST"}, {"t-3", "firstname"}, {"t-4", "READ_ONLY_VALUE"}, {"t-5", "INVALID_OPTION"},
			} {
				e := a.Errors[i]
				if !slices.Equal(e.Context["objectWriteTraceId"], []string{want.trace}) || !strings.Contains(e.Message, want.text) {
					t.Errorf("error %d is %+v, want %+v", i, e, want)
				}
			}
		})
	}
}

func TestUpsert_KeepsUniqueValuesUnique(t *testing.T) {
	s := prepared(t, hubspotsim.Options{})
	first := ask(t, s, "POST", upsertContacts, inputs(row("1", `{"firstname":"a","email":"a@example.com"}`)))
	a := ask(t, s, "POST", upsertContacts, inputs(row("2", `{"firstname":"b","email":"a@example.com"}`)))
	if a.NumErrors != 1 || a.Errors[0].Category != "CONFLICT" || a.Errors[0].Context["existingId"][0] != first.Results[0].ID {
		t.Errorf("an e-mail address twice: %s", a.Body)
	}
	single := ask(t, s, "POST", "/crm/v3/objects/contacts", `{"properties":{"email":"a@example.com"}}`)
	if single.Status != 409 || !strings.Contains(single.Message, "Existing ID: "+first.Results[0].ID) {
		t.Errorf("an e-mail address twice: %d %s", single.Status, single.Message)
	}
	moved := ask(t, s, "PATCH", "/crm/objects/2026-09/contacts/"+first.Results[0].ID, `{"properties":{"email":"b@example.com"}}`)
	if moved.Status != 200 || moved.Properties["email"] != "b@example.com" {
		t.Errorf("PATCH: %d %s", moved.Status, moved.Body)
	}
	if a := ask(t, s, "POST", upsertContacts, inputs(row("2", `{"firstname":"b","email":"a@example.com"}`))); a.NumErrors != 0 {
		t.Errorf("a value that is free again: %s", a.Body)
	}
}

func TestUpsert_OneRecordHoweverManyAskAtOnce(t *testing.T) {
	s := prepared(t, hubspotsim.Options{})
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			for i := range 20 {
				ask(t, s, "POST", upsertContacts, inputs(row(fmt.Sprint(i), `{"firstname":"a"}`)))
			}
		})
	}
	wait.Wait()
	got := s.Records("contacts")
	if len(got) != 20 {
		t.Fatalf("%d contacts, want 20", len(got))
	}
	for _, r := range got {
		if r.Writes != 16 {
			t.Errorf("%s was written %d times, want 16", r.Properties["wa_id"], r.Writes)
		}
	}
}

func TestCommunications_NeedWhatHubSpotNeeds(t *testing.T) {
	s := prepared(t, hubspotsim.Options{})
	message := func(properties string) string {
		return inputs(`{"idProperty":"wa_message_id","id":"m1","objectWriteTraceId":"t","properties":` + properties + `}`)
	}
	for _, lacking := range []string{
		`{"hs_communication_logged_from":"CRM","hs_timestamp":"1"}`,
		`{"hs_communication_channel_type":"WHATS_APP","hs_timestamp":"1"}`,
		`{"hs_communication_channel_type":"WHATS_APP","hs_communication_logged_from":"CRM"}`,
		`{"hs_communication_channel_type":"WHATSAPP","hs_communication_logged_from":"CRM","hs_timestamp":"1"}`,
		`{"hs_communication_channel_type":"WHATS_APP","hs_communication_logged_from":"CRM","hs_timestamp":"soon"}`,
	} {
		if a := ask(t, s, "POST", upsertMessages, message(lacking)); a.NumErrors != 1 {
			t.Errorf("taken: %s", lacking)
		}
	}
	full := `{"hs_communication_channel_type":"WHATS_APP","hs_communication_logged_from":"CRM","hs_timestamp":"2026-11-02T12:00:00Z"}`
	if a := ask(t, s, "POST", upsertMessages, message(full)); a.NumErrors != 0 {
		t.Errorf("refused: %s", a.Body)
	}
	// A record that exists may be changed in part; the ledger keeps the order.
	for _, status := range []string{"sent", "delivered", "sent"} {
		ask(t, s, "POST", upsertMessages, message(`{"wa_status":"`+status+`"}`))
	}
	var got []string
	for _, w := range s.Records("communications")[0].History {
		got = append(got, w.Value)
	}
	if diff := cmp.Diff([]string{"sent", "delivered", "sent"}, got); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

func TestAssociations_AreMadeOnceBothWays(t *testing.T) {
	for _, path := range []string{"/crm/associations/2026-09", "/crm/associations/2026-03", "/crm/v4/associations"} {
		t.Run(path, func(t *testing.T) {
			s := prepared(t, hubspotsim.Options{})
			c := ask(t, s, "POST", upsertContacts, inputs(row("1", `{"firstname":"a"}`))).Results[0].ID
			m := ask(t, s, "POST", upsertMessages, inputs(`{"idProperty":"wa_message_id","id":"m1","objectWriteTraceId":"t","properties":
				{"hs_communication_channel_type":"WHATS_APP","hs_communication_logged_from":"CRM","hs_timestamp":"1"}}`)).Results[0].ID
			for range 2 {
				a := ask(t, s, "POST", path+"/communications/contacts/batch/associate/default",
					fmt.Sprintf(`{"inputs":[{"from":{"id":%q},"to":{"id":%q}},{"from":{"id":"1"},"to":{"id":%q}}]}`, m, c, c))
				if len(a.Results) != 1 || a.Results[0].From.ID != m || a.NumErrors != 1 || a.Errors[0].Context["fromObjectId"][0] != "1" {
					t.Errorf("got %s", a.Body)
				}
			}
			if got := s.Records("communications")[0].Associated; !slices.Equal(got["contacts"], []string{c}) {
				t.Errorf("the message is associated with %v", got)
			}
			if got := s.Records("contacts")[0].Associated; !slices.Equal(got["communications"], []string{m}) {
				t.Errorf("the contact is associated with %v", got)
			}
			read := ask(t, s, "POST", path+"/contacts/communications/batch/read", inputs(fmt.Sprintf(`{"id":%q}`, c)))
			if !strings.Contains(read.Body, `"toObjectId":"`+m+`"`) {
				t.Errorf("read: %s", read.Body)
			}
		})
	}
}

func TestCreate_AssociatesInline(t *testing.T) {
	s := prepared(t, hubspotsim.Options{})
	c := ask(t, s, "POST", "/crm/v3/objects/contacts", `{"properties":{"firstname":"a"}}`)
	if c.Status != 201 {
		t.Fatalf("got %d %s", c.Status, c.Body)
	}
	m := ask(t, s, "POST", "/crm/v3/objects/communications", fmt.Sprintf(`{"properties":{"hs_communication_channel_type":"SMS","hs_communication_logged_from":"CRM","hs_timestamp":"1"},
		"associations":[{"to":{"id":%q},"types":[{"associationCategory":"HUBSPOT_DEFINED","associationTypeId":81}]}]}`, c.ID))
	if m.Status != 201 || !slices.Equal(s.Records("communications")[0].Associated["contacts"], []string{c.ID}) {
		t.Errorf("got %d %s", m.Status, m.Body)
	}
}

func TestProperties_UniqueOnesAreFew(t *testing.T) {
	s := hubspotsim.New(hubspotsim.Options{NoUniqueActivities: true})
	property := func(object, name string) answer {
		return ask(t, s, "POST", "/crm/properties/2026-09/"+object, fmt.Sprintf(
			`{"name":%q,"label":"x","groupName":"%sinformation","type":"string","fieldType":"text","hasUniqueValue":true}`, name, strings.TrimSuffix(object, "s")))
	}
	for i := range 10 {
		if a := property("contacts", fmt.Sprintf("p%d", i)); a.Status != 201 {
			t.Fatalf("property %d: %d %s", i, a.Status, a.Body)
		}
	}
	if a := property("contacts", "p10"); a.Status != 400 || !strings.Contains(a.Message, "limit of 10") {
		t.Errorf("the eleventh: %d %s", a.Status, a.Message)
	}
	if a := property("communications", "m"); a.Status != 400 {
		t.Errorf("on communications: %d %s", a.Status, a.Message)
	}
	if a := ask(t, s, "GET", "/crm/v3/properties/contacts/p3", ""); a.Status != 200 || !strings.Contains(a.Body, `"hasUniqueValue":true`) {
		t.Errorf("read back: %s", a.Body)
	}
}

func TestSearch_LagsBehindWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := prepared(t, hubspotsim.Options{SearchLag: 30 * time.Second})
		total := func(city string) int {
			return ask(t, s, "POST", "/crm/objects/2026-09/contacts/search", fmt.Sprintf(
				`{"filterGroups":[{"filters":[{"propertyName":"city","operator":"EQ","value":%q}]}],"limit":10,"after":"0","properties":["city"],"sorts":[]}`, city)).Total
		}
		ask(t, s, "POST", upsertContacts, inputs(row("1", `{"firstname":"a","city":"Vigo"}`)))
		if time.Sleep(29 * time.Second); total("vigo") != 0 {
			t.Error("search sees a record before its time")
		}
		if time.Sleep(time.Second); total("vigo") != 1 {
			t.Error("search does not see a record after its time")
		}
		ask(t, s, "POST", upsertContacts, inputs(row("1", `{"city":"Lugo"}`)))
		if total("vigo") != 1 || total("lugo") != 0 {
			t.Error("search sees a change at once")
		}
		if time.Sleep(30 * time.Second); total("vigo") != 0 || total("lugo") != 1 {
			t.Error("search does not see a change after its time")
		}
	})
}

func TestSearch_FiltersSortsAndPages(t *testing.T) {
	s := prepared(t, hubspotsim.Options{})
	for i := range 25 {
		ask(t, s, "POST", upsertContacts, inputs(row(fmt.Sprint(i), fmt.Sprintf(`{"firstname":"n%d","phone":"+34 600%03d","zip":"%d"}`, i, i, i))))
	}
	find := func(body string) (ids []string, a answer) {
		a = ask(t, s, "POST", "/crm/v3/objects/contacts/search", body)
		for _, r := range a.Results {
			ids = append(ids, r.Properties["firstname"])
		}
		return ids, a
	}
	ids, a := find(`{"filterGroups":[{"filters":[{"propertyName":"zip","operator":"GTE","value":"9"},{"propertyName":"zip","operator":"LT","value":"12"}]}],
		"sorts":[{"propertyName":"zip","direction":"DESCENDING"}],"limit":2,"properties":["firstname"]}`)
	if !slices.Equal(ids, []string{"n11", "n10"}) || a.Total != 3 || a.Paging.Next.After != "2" {
		t.Errorf("got %v of %d, after %q", ids, a.Total, a.Paging.Next.After)
	}
	ids, _ = find(`{"filterGroups":[{"filters":[{"propertyName":"phone","operator":"CONTAINS_TOKEN","value":"*007"}]},{"filters":[{"propertyName":"firstname","operator":"IN","values":["n3","n4"]}]}],"properties":["firstname"]}`)
	if !slices.Equal(ids, []string{"n3", "n4", "n7"}) {
		t.Errorf("got %v", ids)
	}
}

func TestLimits_AnswerInHubSpotsWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := prepared(t, hubspotsim.Options{TenSecondly: 3, SearchSecondly: 1})
		path := "/crm/objects/2026-09/contacts?limit=1"
		for i := range 3 {
			a := ask(t, s, "GET", path, "")
			if a.Status != 200 || a.Header.Get("X-HubSpot-RateLimit-Remaining") != fmt.Sprint(2-i) {
				t.Errorf("request %d: %d, %v", i, a.Status, a.Header)
			}
		}
		if a := ask(t, s, "GET", path, ""); a.Status != 429 || a.PolicyName != "TEN_SECONDLY_ROLLING" || !strings.Contains(a.Message, "ten_secondly_rolling limit") {
			t.Errorf("got %d %s", a.Status, a.Body)
		}
		if a := ask(t, s, "POST", "/crm/objects/2026-09/contacts/search", "{}"); a.Status != 200 || a.Header.Get("X-HubSpot-RateLimit-Max") != "" {
			t.Errorf("search counts for the ten seconds: %d %s", a.Status, a.Body)
		}
		if a := ask(t, s, "POST", "/crm/objects/2026-09/contacts/search", "{}"); a.Status != 429 || a.PolicyName != "SECONDLY" {
			t.Errorf("a second search: %d %s", a.Status, a.Body)
		}
		time.Sleep(10 * time.Second)
		if a := ask(t, s, "GET", path, ""); a.Status != 200 {
			t.Errorf("after ten seconds: %d %s", a.Status, a.Body)
		}
	})
}

func TestAuth_IsAsked(t *testing.T) {
	s := hubspotsim.New(hubspotsim.Options{Tokens: []string{"good"}, Scopes: []string{hubspotsim.ScopeRead}})
	if a := ask(t, s, "GET", "/crm/v3/objects/contacts", ""); a.Status != 200 {
		t.Errorf("a good token: %d %s", a.Status, a.Body)
	}
	a := ask(t, s, "POST", upsertContacts, "{}")
	if a.Status != 403 || a.Category != "MISSING_SCOPES" || a.Errors[0].Errors != nil || !strings.Contains(a.Body, hubspotsim.ScopeWrite) {
		t.Errorf("a scope too few: %d %s", a.Status, a.Body)
	}
	for _, header := range []string{"", "Bearer ", "Basic good", "Bearer bad"} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/crm/v3/objects/contacts", nil)
		r.Header.Set("Authorization", header)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != 401 {
			t.Errorf("%q: %d, want 401", header, w.Code)
		}
	}
}

func TestFaults_StrikeAsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := prepared(t, hubspotsim.Options{})
		status := func() int { return ask(t, s, "GET", "/crm/v3/objects/contacts", "").Status }
		s.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Status: 503, Match: "objects", Skip: 1, Count: 2})
		var got []int
		for range 5 {
			got = append(got, status())
		}
		if !slices.Equal(got, []int{200, 503, 503, 200, 200}) {
			t.Errorf("got %v", got)
		}
		s.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Status: 500, After: time.Second, For: 2 * time.Second})
		got = nil
		for range 5 {
			got = append(got, status())
			time.Sleep(time.Second)
		}
		if !slices.Equal(got, []int{200, 500, 500, 200, 200}) {
			t.Errorf("got %v", got)
		}
		s.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultSlow, Delay: time.Minute, Match: "objects"})
		before := time.Now()
		if status(); time.Since(before) != time.Minute {
			t.Errorf("slow took %v", time.Since(before))
		}
		s.Heal()
		if n := s.Stats().Faults["status"]; n != 4 {
			t.Errorf("%d faults counted, want 4", n)
		}
	})
}

func TestFaults_LoseAnAnswerButNotTheRecord(t *testing.T) {
	s := prepared(t, hubspotsim.Options{})
	server := httptest.NewServer(s)
	defer server.Close()
	s.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultLost, Count: 1})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+upsertContacts, strings.NewReader(inputs(row("1", `{"firstname":"a"}`))))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer good")
	req.Header.Set("Content-Type", "application/json")
	if resp, err := server.Client().Do(req); err == nil {
		resp.Body.Close()
		t.Fatalf("an answer came: %d", resp.StatusCode)
	}
	if n := len(s.Records("contacts")); n != 1 {
		t.Errorf("%d contacts, want 1", n)
	}
}

func TestControl_SteersFromAnotherProcess(t *testing.T) {
	s := prepared(t, hubspotsim.Options{Tokens: []string{"secret"}})
	do := func(method, path, body string) (int, string) {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
		return w.Code, w.Body.String()
	}
	if code, body := do("POST", "/_sim/faults", `[{"kind":"status","status":503,"for":1000000000}]`); code != 200 || !strings.Contains(body, `"status":503`) {
		t.Errorf("faults: %d %s", code, body)
	}
	if code, _ := do("POST", "/_sim/faults", `{"kind":"earthquake"}`); code != 400 {
		t.Errorf("an unknown fault: %d", code)
	}
	if a := ask(t, s, "GET", "/crm/v3/objects/contacts", ""); a.Status != 503 {
		t.Errorf("the fault does not strike: %d", a.Status)
	}
	if code, body := do("DELETE", "/_sim/faults", ""); code != 200 || strings.TrimSpace(body) != "[]" {
		t.Errorf("heal: %d %s", code, body)
	}
	if code, _ := do("POST", "/_sim/latency?d=-1s", ""); code != 400 {
		t.Errorf("a negative latency: %d", code)
	}
	if code, body := do("GET", "/_sim/stats", ""); code != 200 || !strings.Contains(body, `"503":1`) {
		t.Errorf("stats: %d %s", code, body)
	}
	if code, _ := do("GET", "/_sim/nothing", ""); code != 404 {
		t.Errorf("nothing: %d", code)
	}
}

func TestControl_TellsTheLedgerLineByLine(t *testing.T) {
	s := prepared(t, hubspotsim.Options{})
	for i := range 1200 {
		ask(t, s, "POST", upsertContacts, inputs(row(fmt.Sprint(i), `{"firstname":"a"}`)))
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/_sim/ledger?object=contacts", nil))
	lines := bufio.NewScanner(bytes.NewReader(w.Body.Bytes()))
	n := 0
	for ; lines.Scan(); n++ {
		var r hubspotsim.Record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil || r.Properties["wa_id"] != fmt.Sprint(n) {
			t.Fatalf("line %d is %s (%v)", n, lines.Text(), err)
		}
	}
	if n != 1200 {
		t.Errorf("%d lines, want 1200", n)
	}
}

func TestArchive_FreesTheKeyAndStaysInTheLedger(t *testing.T) {
	s := prepared(t, hubspotsim.Options{})
	id := ask(t, s, "POST", upsertContacts, inputs(row("1", `{"firstname":"a"}`))).Results[0].ID
	if a := ask(t, s, "DELETE", "/crm/v3/objects/contacts/"+id, ""); a.Status != 204 {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	if a := ask(t, s, "GET", "/crm/v3/objects/contacts/"+id, ""); a.Status != 404 {
		t.Errorf("an archived record is shown: %s", a.Body)
	}
	again := ask(t, s, "POST", upsertContacts, inputs(row("1", `{"firstname":"a"}`)))
	if !again.Results[0].New || again.Results[0].ID == id {
		t.Errorf("got %s", again.Body)
	}
	if got := s.Records("contacts"); len(got) != 2 || !got[0].Archived || got[1].Archived {
		t.Errorf("ledger: %+v", got)
	}
}
