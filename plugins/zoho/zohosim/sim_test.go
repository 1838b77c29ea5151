package zohosim_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

// row is what became of a row, or of a call.
type row struct {
	Code, Status, Message, Action string
	Field                         string `json:"duplicate_field"`
	Details                       map[string]any
}

// answer is what the sim said.
type answer struct {
	row
	HTTP   int
	Header http.Header
	Body   string
	Data   []map[string]any
	Rows   []row
	Fields []map[string]any
	Info   struct {
		More bool `json:"more_records"`
	}
	Error  string
	Access string `json:"access_token"`
	Domain string `json:"api_domain"`
}

// account is a sim and a token of it.
type account struct {
	*zohosim.Sim
	t     testing.TB
	token string
}

func open(t testing.TB, o zohosim.Options) *account {
	t.Helper()
	a := &account{Sim: zohosim.New(o), t: t}
	a.token = a.refresh().Access
	return a
}

func (a *account) refresh() answer {
	a.t.Helper()
	return a.send("POST", "/oauth/v2/token", "grant_type=refresh_token&client_id=c&client_secret=s&refresh_token=r", "application/x-www-form-urlencoded")
}

func (a *account) send(method, path, body, contentType string) answer {
	a.t.Helper()
	r := httptest.NewRequestWithContext(a.t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Authorization", "Zoho-oauthtoken "+a.token)
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	got := answer{HTTP: w.Code, Header: w.Header(), Body: w.Body.String()}
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			a.t.Fatalf("%s %s: %v in %s", method, path, err, got.Body)
		}
		var rows struct{ Data []row }
		if json.Unmarshal(w.Body.Bytes(), &rows) == nil {
			got.Rows = rows.Data
		}
	}
	return got
}

func (a *account) ask(method, path, body string) answer {
	a.t.Helper()
	return a.send(method, "/crm/v8/"+path, body, "application/json")
}

func (a *account) query(q string) answer {
	a.t.Helper()
	b, _ := json.Marshal(map[string]string{"select_query": q})
	return a.ask("POST", "coql", string(b))
}

func want(t *testing.T, what string, got answer, status int, code string) {
	t.Helper()
	have := got.Code
	if have == "" && len(got.Rows) > 0 {
		have = got.Rows[0].Code
	}
	if got.HTTP != status || have != code {
		t.Errorf("%s: got %d %s, want %d %s: %s", what, got.HTTP, have, status, code, got.Body)
	}
}

func TestToken_TakesFormsAndReportsErrorsWithStatus200(t *testing.T) {
	a := open(t, zohosim.Options{ClientID: "c", ClientSecret: "s", RefreshToken: "r", APIDomain: "https://www.zohoapis.eu"})
	values := url.Values{"grant_type": {"refresh_token"}, "client_id": {"c"}, "client_secret": {"s"}, "refresh_token": {"r"}}
	var multi bytes.Buffer
	w := multipart.NewWriter(&multi)
	for name := range values {
		_ = w.WriteField(name, values.Get(name))
	}
	_ = w.Close()
	for what, got := range map[string]answer{
		"a form":           a.refresh(),
		"a query":          a.send("POST", "/oauth/v2/token?"+values.Encode(), "", ""),
		"a multipart form": a.send("POST", "/oauth/v2/token", multi.String(), w.FormDataContentType()),
	} {
		if got.HTTP != 200 || !strings.HasPrefix(got.Access, "1000.") || got.Domain != "https://www.zohoapis.eu" {
			t.Errorf("%s: got %d %s", what, got.HTTP, got.Body)
		}
	}
	for name, code := range map[string]string{"client_id": "invalid_client", "client_secret": "invalid_client_secret", "refresh_token": "invalid_code", "grant_type": "unsupported_grant_type"} {
		bad := url.Values{}
		for k := range values {
			bad.Set(k, values.Get(k))
		}
		bad.Set(name, "wrong")
		if got := a.send("POST", "/oauth/v2/token?"+bad.Encode(), "", ""); got.HTTP != 200 || got.Error != code {
			t.Errorf("wrong %s: got %d %q, want 200 %s", name, got.HTTP, got.Error, code)
		}
	}
}

func TestToken_IsThrottledExpiresAndDiesOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := open(t, zohosim.Options{TokensIn10Min: 3, LiveTokens: 2})
		first := a.token
		for range 2 {
			a.token = a.refresh().Access
		}
		want(t, "the youngest", a.query("select id from Contacts where id is not null"), 204, "")
		youngest := a.token
		a.token = first
		want(t, "one too old", a.query("select id from Contacts where id is not null"), 401, "INVALID_TOKEN")
		if got := a.refresh(); got.HTTP != 400 || got.Error != "Access Denied" {
			t.Errorf("the fourth in ten minutes: got %d %s", got.HTTP, got.Body)
		}
		time.Sleep(10 * time.Minute)
		if got := a.refresh(); got.Access == "" {
			t.Errorf("ten minutes later: %s", got.Body)
		}
		a.token = youngest
		time.Sleep(50*time.Minute - time.Nanosecond)
		want(t, "just before an hour", a.query("select id from Contacts where id is not null"), 204, "")
		time.Sleep(time.Nanosecond)
		want(t, "after an hour", a.query("select id from Contacts where id is not null"), 401, "INVALID_TOKEN")
		a.token = ""
		want(t, "none", a.query("select id from Contacts where id is not null"), 401, "AUTHENTICATION_FAILURE")
	})
}

func TestUpsert_IsStrict(t *testing.T) {
	a := open(t, zohosim.Options{})
	upsert := func(body string) answer { return a.ask("POST", "Contacts/upsert", body) }
	got := upsert(`{"data":[{"Last_Name":"Ana","WA_Contact_ID":"c1"},{"Last_Name":"Bea","WA_Contact_ID":"c2","Nobody_Knows":"kept silent"}],"duplicate_check_fields":["WA_Contact_ID"]}`)
	if got.HTTP != 200 || got.Rows[0].Action != "insert" || got.Rows[1].Code != "SUCCESS" {
		t.Fatalf("got %s", got.Body)
	}
	got = upsert(`{"data":[{"WA_Contact_ID":"C1","Phone":"+34600000001"}],"duplicate_check_fields":["WA_Contact_ID"]}`)
	if got.Rows[0].Action != "update" || got.Rows[0].Field != "WA_Contact_ID" {
		t.Errorf("a key in other letters: %s", got.Body)
	}
	for what, c := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"no name":            {`{"data":[{"WA_Contact_ID":"c3"}],"duplicate_check_fields":["WA_Contact_ID"]}`, 400, "MANDATORY_NOT_FOUND"},
		"some good":          {`{"data":[{"WA_Contact_ID":"c3"},{"WA_Contact_ID":"c2"}],"duplicate_check_fields":["WA_Contact_ID"]}`, 207, "MANDATORY_NOT_FOUND"},
		"keys are no list":   {`{"data":[{"WA_Contact_ID":"c1"}],"duplicate_check_fields":"WA_Contact_ID"}`, 400, "INVALID_DATA"},
		"a key with doubles": {`{"data":[{"WA_Contact_ID":"c1"}],"duplicate_check_fields":["Phone"]}`, 400, "INVALID_DATA"},
		"no rows":            {`{"data":[]}`, 400, "MANDATORY_NOT_FOUND"},
		"too many rows":      {`{"data":[` + strings.Repeat(`{},`, 100) + `{}]}`, 400, "LIMIT_EXCEEDED"},
		"no JSON":            {`{"data"`, 400, "INVALID_DATA"},
		"a long name":        {`{"data":[{"Last_Name":"` + strings.Repeat("x", 81) + `"}]}`, 400, "INVALID_DATA"},
		"letters as phone":   {`{"data":[{"Last_Name":"x","Phone":"call me"}]}`, 400, "INVALID_DATA"},
		"a number as text":   {`{"data":[{"Last_Name":7}]}`, 400, "INVALID_DATA"},
		"an id that is none": {`{"data":[{"id":"7","Last_Name":"x"}]}`, 400, "INVALID_DATA"},
		"11 keys":            {`{"data":[{"WA_Contact_ID":"c1"}],"duplicate_check_fields":["WA_Contact_ID"` + strings.Repeat(`,"Email"`, 10) + `]}`, 400, "INVALID_DATA"},
		"an odd trigger":     {`{"data":[{"WA_Contact_ID":"c1"}],"duplicate_check_fields":["WA_Contact_ID"],"trigger":"workflow"}`, 400, "INVALID_DATA"},
	} {
		want(t, what, upsert(c.body), c.status, c.code)
	}
	want(t, "no double is inserted", a.ask("POST", "Contacts", `{"data":[{"Last_Name":"x","WA_Contact_ID":"c1"}]}`), 400, "DUPLICATE_DATA")
	want(t, "no upsert of tasks", a.ask("POST", "Tasks/upsert", `{"data":[{"Subject":"x"}]}`), 400, "NOT_SUPPORTED")
	want(t, "no such module", a.ask("POST", "Holograms", `{"data":[{"Subject":"x"}]}`), 400, "INVALID_MODULE")
	want(t, "no such path", a.ask("GET", "Contacts/1/2/3/4", ""), 404, "INVALID_URL_PATTERN")
	want(t, "a note of nobody", a.ask("POST", "Notes", `{"data":[{"Note_Content":"x","Parent_Id":{"id":"1","module":{"api_name":"Contacts"}}}]}`), 400, "INVALID_DATA")
	want(t, "a message of nobody", a.ask("POST", "WhatsApp_Messages", `{"data":[{"Name":"x","Contact":{"id":"1"}}]}`), 400, "INVALID_DATA")
	got = upsert(`{"data":[{"Last_Name":"Ana","WA_Contact_ID":"c1","Email":"ana@example.com"}]}`)
	if got.Rows[0].Field != "WA_Contact_ID" {
		t.Errorf("without keys, those that people made are looked at after Zoho's own: %s", got.Body)
	}
	if got = upsert(`{"data":[{"Last_Name":"Ana","Email":"ana@example.com","WA_Contact_ID":"c1"}]}`); got.Rows[0].Field != "Email" {
		t.Errorf("without keys, Zoho's own is looked at first: %s", got.Body)
	}
	a.Lock("Contacts", a.Records("Contacts")[0].ID)
	want(t, "a locked record", upsert(`{"data":[{"WA_Contact_ID":"c1"}],"duplicate_check_fields":["WA_Contact_ID"]}`), 400, "RECORD_LOCKED")
}

func TestCOQL_KnowsItsLimits(t *testing.T) {
	a := open(t, zohosim.Options{})
	for i := range 3 {
		a.AddRecord("Contacts", map[string]any{"Last_Name": fmt.Sprintf("O'Brien %d", i), "Phone": fmt.Sprintf("+3460000000%d", i)})
	}
	for query, n := range map[string]int{
		"select id, Last_Name from Contacts where Last_Name = 'O''Brien 1'":                                          1,
		"SELECT id FROM Contacts WHERE Phone LIKE '%00000002' or Phone like '%00000001'":                             2,
		"select id from Contacts where Phone in ('+34600000000','+34600000001','none')":                              2,
		"select id from Contacts where (Phone is not null and Email is null) limit 2":                                2,
		"select id from Contacts where ((Phone like '%0' or Phone like '%1') or Phone like '%2')":                    3,
		"select id from Contacts where Phone like '%3%4%6%0%2%' or Phone like '+%1'":                                 2,
		"select id from Contacts where Phone like '%2%1%' or Phone like '+%1%2'":                                     0,
		"select id from Contacts where Phone = 'nobody'":                                                             0,
		"select id from Contacts where Phone = '' or Last_Name like 'o%'":                                            3,
		"select id from Contacts where id in (" + strings.TrimSuffix(strings.Repeat("'1',", 100), ",") + ") limit 1": 0,
	} {
		if got := a.query(query); len(got.Data) != n || n > 0 && got.HTTP != 200 || n == 0 && got.HTTP != 204 {
			t.Errorf("%s: got %d %s, want %d records", query, got.HTTP, got.Body, n)
		}
	}
	var many []string
	for i := range 101 {
		many = append(many, fmt.Sprintf("'%d'", i))
	}
	chain := "Phone like '%0'"
	for range 25 {
		chain = "(" + chain + " or Phone like '%1')"
	}
	for _, query := range []string{
		"select id from Contacts where Phone = '1' or Phone = '2' or Phone = '3'",
		"select id from Contacts where Nothing = '1'",
		"select Nothing from Contacts where id is not null",
		"select id from Nowhere where id is not null",
		"select id from Notes where id is not null",
		"select id from Contacts",
		"select id from Contacts where Description like '%x'",
		"select id from Contacts where Phone = 'open",
		"select id from Contacts where Phone in (" + strings.Join(many, ",") + ")",
		"select id from Contacts where " + chain,
		"select id from Contacts where id is not null limit 2001",
		"delete from Contacts where id is not null",
	} {
		code := "SYNTAX_ERROR"
		if strings.Contains(query, "Nothing") || strings.Contains(query, "Description") || strings.Contains(query, "from No") {
			code = "INVALID_QUERY"
		}
		want(t, query, a.query(query), 400, code)
	}
	within := "select id from Contacts where Phone like '%3%4%'"
	for how, status := range map[string]int{"": 200, "refused": 400, "literal": 204} {
		other := open(t, zohosim.Options{LikeWithin: how})
		other.AddRecord("Contacts", map[string]any{"Last_Name": "Ana", "Phone": "+34600000000"})
		if got := other.query(within).HTTP; got != status {
			t.Errorf("%q: %d, want %d", how, got, status)
		}
	}
}

func TestSearch_LagsAndQueriesDoNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := open(t, zohosim.Options{SearchLag: time.Minute})
		a.AddRecord("Contacts", map[string]any{"Last_Name": "Ana", "Home_Phone": "600 123 456"})
		search := func() int { return a.ask("GET", "Contacts/search?fields=id&phone=600%20123", "").HTTP }
		if got := search(); got != 204 {
			t.Errorf("at once: %d", got)
		}
		if got := a.query("select id from Contacts where Home_Phone like '%456'"); got.HTTP != 200 {
			t.Errorf("a query at once: %d", got.HTTP)
		}
		time.Sleep(time.Minute)
		if got := search(); got != 200 {
			t.Errorf("after the lag: %d", got)
		}
		want(t, "two digits", a.ask("GET", "Contacts/search?fields=id&phone=60", ""), 400, "INVALID_DATA")
	})
}

func TestLimits_CountCreditsAndCallsAtOnce(t *testing.T) {
	a := open(t, zohosim.Options{Credits: 12})
	rows := strings.TrimSuffix(strings.Repeat(`{"Last_Name":"x"},`, 50), ",")
	if got := a.ask("POST", "Contacts", `{"data":[`+rows+`]}`); got.HTTP != 201 || got.Header.Get("X-API-CREDITS-REMAINING") != "" {
		t.Errorf("5 of 12: got %d, %q left", got.HTTP, got.Header.Get("X-API-CREDITS-REMAINING"))
	}
	if got := a.ask("GET", "settings/fields?module=Contacts", ""); got.Header.Get("X-API-CREDITS-REMAINING") != "6" {
		t.Errorf("6 of 12: %q left, want 6", got.Header.Get("X-API-CREDITS-REMAINING"))
	}
	for range 6 {
		want(t, "within", a.ask("GET", "settings/modules", ""), 200, "")
	}
	got := a.ask("GET", "settings/modules", "")
	want(t, "beyond", got, 429, "TOO_MANY_REQUESTS")
	if !strings.Contains(got.Message, "24 hour") {
		t.Errorf("got %q", got.Message)
	}

	synctest.Test(t, func(t *testing.T) {
		for message, o := range map[string]zohosim.Options{"maximum concurrency": {Concurrency: 3}, "sub-concurrency": {SubConcurrency: 3}} {
			a := open(t, zohosim.Options{Latency: time.Second, Concurrency: o.Concurrency, SubConcurrency: o.SubConcurrency})
			var wait sync.WaitGroup
			answers := make([]answer, 8)
			for i := range answers {
				wait.Go(func() { answers[i] = a.query("select id from Contacts where id is not null") })
			}
			wait.Wait()
			good := 0
			for _, got := range answers {
				if got.HTTP == 204 {
					good++
				} else if got.HTTP != 429 || !strings.Contains(got.Message, message) {
					t.Errorf("got %d %s, want %q", got.HTTP, got.Body, message)
				}
			}
			if good != 3 {
				t.Errorf("%d of 8 at once, want 3 (%s)", good, message)
			}
		}
	})
}

func TestScopes_AreAskedFor(t *testing.T) {
	a := open(t, zohosim.Options{Scopes: []string{zohosim.ScopeNotes}})
	for method, path := range map[string]string{"GET": "settings/fields?module=Contacts", "POST": "coql", "PUT": "Contacts"} {
		body := `{"select_query":"select id from Contacts where id is not null","data":[{"id":"1"}]}`
		want(t, path, a.ask(method, path, body), 401, "OAUTH_SCOPE_MISMATCH")
	}
}

func TestRecords_TagsNotesAndDeletion(t *testing.T) {
	a := open(t, zohosim.Options{})
	id := a.AddRecord("Contacts", map[string]any{"Last_Name": "Ana", "WA_Contact_ID": "c1"})
	want(t, "add", a.ask("POST", "Contacts/actions/add_tags", `{"tags":[{"name":"vip"},{"name":"order"}],"ids":["`+id+`"]}`), 200, "SUCCESS")
	want(t, "remove", a.ask("POST", "Contacts/actions/remove_tags", `{"tags":[{"name":"vip"}],"ids":["`+id+`"]}`), 200, "SUCCESS")
	want(t, "a long one", a.ask("POST", "Contacts/actions/add_tags", `{"tags":[{"name":"`+strings.Repeat("x", 26)+`"}],"ids":["`+id+`"]}`), 400, "INVALID_DATA")
	before := a.Stats().Credits
	a.ask("POST", "Contacts/actions/add_tags", `{"tags":[{"name":"order"}],"ids":["`+id+`"`+strings.Repeat(`,"1"`, 50)+`]}`)
	if n := a.Stats().Credits - before; n != 2 {
		t.Errorf("a tag for 51 records costs %d credits, want one for each 50", n)
	}
	if tags := a.Records("Contacts")[0].Tags; len(tags) != 1 || tags[0] != "order" {
		t.Errorf("tags %q", tags)
	}
	for i := range 3 {
		want(t, "note", a.ask("POST", "Notes", fmt.Sprintf(`{"data":[{"Note_Title":"n%d","Note_Content":"x","Parent_Id":{"id":"%s","module":{"api_name":"Contacts"}}}]}`, i, id)), 201, "SUCCESS")
	}
	got := a.ask("GET", "Contacts/"+id+"/Notes?fields=Note_Title&per_page=2", "")
	if len(got.Data) != 2 || !got.Info.More || got.Data[0]["Note_Title"] != "n2" {
		t.Errorf("the first page: %s", got.Body)
	}
	if got = a.ask("GET", "Contacts/"+id+"/Notes?fields=Note_Title&per_page=2&page=2", ""); len(got.Data) != 1 || got.Info.More {
		t.Errorf("the second page: %s", got.Body)
	}
	want(t, "no fields", a.ask("GET", "Contacts/"+id+"/Notes", ""), 400, "REQUIRED_PARAM_MISSING")
	want(t, "delete", a.ask("DELETE", "Contacts?ids="+id, ""), 200, "SUCCESS")
	want(t, "delete again", a.ask("DELETE", "Contacts?ids="+id, ""), 207, "INVALID_DATA")
	want(t, "the key is free again", a.ask("POST", "Contacts", `{"data":[{"Last_Name":"x","WA_Contact_ID":"c1"}]}`), 201, "SUCCESS")
}

func TestFields_AreToldAndMade(t *testing.T) {
	a := open(t, zohosim.Options{Bare: true})
	add := func(name string) answer {
		return a.ask("POST", "settings/fields?module=Contacts", `{"fields":[{"field_label":"`+name+`","data_type":"text","length":255,"unique":{"casesensitive":false}}]}`)
	}
	if got := add("WA Contact ID"); got.HTTP != 201 {
		t.Errorf("got %s", got.Body)
	}
	if got := add("WA Contact ID"); got.HTTP != 400 || !strings.Contains(got.Body, "DUPLICATE_DATA") {
		t.Errorf("twice: %s", got.Body)
	}
	for _, f := range a.ask("GET", "settings/fields?module=Contacts", "").Fields {
		unique, _ := f["unique"].(map[string]any)
		if name := f["api_name"]; (len(unique) > 0) != (name == "WA_Contact_ID" || name == "Email") {
			t.Errorf("%v: unique is %v", name, unique)
		}
	}
	want(t, "no module", a.ask("GET", "settings/fields?module=Nothing", ""), 400, "INVALID_MODULE")
}

func TestControl_SteersFromOutside(t *testing.T) {
	a := open(t, zohosim.Options{})
	control := func(method, path, body string) (int, string) {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, "/_sim/"+path, strings.NewReader(body)))
		return w.Code, w.Body.String()
	}
	if code, body := control("POST", "faults", `{"kind":"status","status":503,"count":1}`); code != 200 {
		t.Fatalf("got %d %s", code, body)
	}
	want(t, "struck", a.query("select id from Contacts where id is not null"), 503, "INTERNAL_ERROR")
	want(t, "not any more", a.query("select id from Contacts where id is not null"), 204, "")
	for _, c := range []struct {
		method, path, body string
		code               int
		wants              string
	}{
		{"POST", "faults", `{"kind":"gremlin"}`, 400, "gremlin"},
		{"POST", "faults", `[{"kind":"drop","match":"coql"},{"kind":"row","row":"x"}]`, 200, "coql"},
		{"GET", "faults", "", 200, "coql"},
		{"DELETE", "faults", "", 200, "[]"},
		{"POST", "latency?d=1ms", "", 200, "1ms"},
		{"POST", "latency?d=soon", "", 400, "200ms"},
		{"GET", "ledger?module=Nothing", "", 400, "module"},
		{"GET", "stats", "", 200, `"requests"`},
		{"GET", "nothing", "", 404, ""},
	} {
		if code, body := control(c.method, c.path, c.body); code != c.code || !strings.Contains(body, c.wants) {
			t.Errorf("%s %s: got %d %s, want %d and %q", c.method, c.path, code, body, c.code, c.wants)
		}
	}
	a.AddRecord("Contacts", map[string]any{"Last_Name": "Ana"})
	if _, body := control("GET", "ledger?module=Contacts", ""); !strings.Contains(body, `"Last_Name":"Ana"`) {
		t.Errorf("ledger: %s", body)
	}
}
