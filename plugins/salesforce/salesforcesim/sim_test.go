package salesforcesim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

const access = "00D!token"

// ask makes one request of a sim.
func ask(t *testing.T, sim *salesforcesim.Sim, method, path, body string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+access)
	r.Header.Set("Content-Type", "application/json")
	if strings.HasSuffix(path, "/token") {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	sim.ServeHTTP(w, r)
	return w.Code, strings.TrimSpace(w.Body.String())
}

func org(o salesforcesim.Options) *salesforcesim.Sim {
	o.Tokens = append(o.Tokens, access)
	return salesforcesim.New(o)
}

const data = "/services/data/v66.0/"

// records is a collection's body.
func records(list ...string) string {
	return `{"allOrNone":false,"records":[` + strings.Join(list, ",") + `]}`
}

func contact(key, more string) string {
	return fmt.Sprintf(`{"attributes":{"type":"Contact"},"WA_Contact_Id__c":%q%s}`, key, more)
}

const byKey = data + "composite/sobjects/Contact/WA_Contact_Id__c"

func TestCollection_AnswersEachRow(t *testing.T) {
	sim := org(salesforcesim.Options{})
	status, body := ask(t, sim, "PATCH", byKey, records(
		contact("c1", `,"LastName":"Ana"`), contact("c2", ``), contact("c3", `,"LastName":"`+strings.Repeat("x", 81)+`"`),
		contact("c4", `,"LastName":"D","Email":"no"`), contact("c5", `,"LastName":"E"`), contact("C5", `,"LastName":"F"`), contact("", `,"LastName":"G"`),
		contact("c8", `,"LastName":"H","OwnerId":"003000000000001AAA"`)))
	var rows []struct {
		ID      string
		Success bool
		Created *bool
		Errors  []struct {
			StatusCode string
			Fields     []string
		}
	}
	if err := json.Unmarshal([]byte(body), &rows); err != nil || status != http.StatusOK || len(rows) != 8 {
		t.Fatalf("%d %s", status, body)
	}
	for i, code := range []string{"", "REQUIRED_FIELD_MISSING", "STRING_TOO_LONG", "INVALID_EMAIL_ADDRESS", "DUPLICATE_VALUE", "DUPLICATE_VALUE", "MISSING_ARGUMENT", "INVALID_CROSS_REFERENCE_KEY"} {
		if code == "" && (!rows[i].Success || rows[i].Created == nil || !*rows[i].Created) || code != "" && (rows[i].Success || rows[i].Errors[0].StatusCode != code) {
			t.Errorf("row %d: got %+v, want %q", i, rows[i], code)
		}
	}
	// The key finds the record, whatever its case; a name is not needed then.
	if _, body := ask(t, sim, "PATCH", byKey, records(contact("C1", `,"Phone":"1"`))); !strings.Contains(body, `"created":false`) || len(sim.Records("Contact")) != 1 {
		t.Errorf("got %s", body)
	}
	id := sim.Records("Contact")[0].ID
	if _, body := ask(t, sim, "PATCH", data+"composite/sobjects", records(`{"attributes":{"type":"Contact"},"id":"`+id+`","LastName":"Bea"}`)); !strings.Contains(body, `"success":true`) {
		t.Errorf("got %s", body)
	}
	if r := sim.Records("Contact")[0]; r.Fields["LastName"] != "Bea" || r.Writes != 3 {
		t.Errorf("got %+v", r)
	}
}

func TestCollection_RefusesWhatIsNoCollection(t *testing.T) {
	sim := org(salesforcesim.Options{})
	many := make([]string, 201)
	for i := range many {
		many[i] = contact(fmt.Sprint(i), `,"LastName":"x"`)
	}
	for _, c := range []struct {
		path, body string
		status     int
		code       string
	}{
		{byKey, `{`, 400, "JSON_PARSER_ERROR"},
		{byKey, records(), 400, "REQUIRED_FIELD_MISSING"},
		{byKey, records(many...), 400, "EXCEEDED_MAX_SOBJECTS_LIMIT"},
		{byKey, records(`{"LastName":"x"}`), 400, "INVALID_INPUT"},
		{byKey, records(`{"attributes":{"type":"Case"},"LastName":"x"}`), 400, "INVALID_TYPE"},
		{byKey, records(contact("c1", `,"Nothing__c":"x"`)), 400, "INVALID_FIELD"},
		{byKey, records(contact("c1", `,"HasOptedOutOfEmail":"true"`)), 400, "JSON_PARSER_ERROR"},
		{byKey, records(contact("c1", `,"Birthdate":"tomorrow"`)), 400, "JSON_PARSER_ERROR"},
		{data + "composite/sobjects/Contact/Phone", records(contact("c1", ``)), 400, "NOT_FOUND"},
		{"/services/data/v45.0/composite/sobjects/Contact/WA_Contact_Id__c", records(contact("c1", ``)), 405, "METHOD_NOT_ALLOWED"},
		{"/services/data/v30.0/composite/sobjects/Contact/WA_Contact_Id__c", records(contact("c1", ``)), 410, "UNSUPPORTED_API_VERSION"},
		{"/services/data/v66.0/composite/sobjects/Contact/WA_Contact_Id__c?x=" + strings.Repeat("x", 16_384), records(contact("c1", ``)), 414, ""},
		{"/services/data/v99.0/composite/sobjects/Contact/WA_Contact_Id__c", records(contact("c1", ``)), 404, "NOT_FOUND"},
	} {
		status, body := ask(t, sim, "PATCH", c.path, c.body)
		if status != c.status || c.code != "" && !strings.Contains(body, `"errorCode":"`+c.code+`"`) {
			t.Errorf("%.90s %.60s: got %d %s, want %d %s", c.path, c.body, status, body, c.status, c.code)
		}
	}
	if n := len(sim.Records("Contact")); n != 0 {
		t.Errorf("%d contacts, want none", n)
	}
}

func TestQuery_ReadsSOQL(t *testing.T) {
	sim := org(salesforcesim.Options{})
	for _, c := range [][2]string{{"Ana", "+34 600 1"}, {"O'Hara", "600%1"}, {`Back\slash`, ""}, {"Über", "12"}} {
		sim.Create("Contact", map[string]any{"LastName": c[0], "Phone": c[1]})
	}
	for where, names := range map[string]string{
		`LastName = 'ana'`:                                       "Ana",
		`LastName = 'O\'Hara'`:                                   "O'Hara",
		`LastName = 'Back\\slash'`:                               `Back\slash`,
		`Phone LIKE '%6%0%0%1'`:                                  "Ana,O'Hara",
		`Phone LIKE '%6%0%0%1%'`:                                 "Ana,O'Hara",
		`Phone LIKE '%1%6%'`:                                     "",
		`Phone LIKE '600\%1'`:                                    "O'Hara",
		`Phone LIKE '1_'`:                                        "Über",
		`Phone = null`:                                           `Back\slash`,
		`Phone != null AND LastName != 'Ana'`:                    "O'Hara,Über",
		`LastName IN ('Ana', 'über')`:                            "Ana,Über",
		`Phone = null OR (Phone = '12')`:                         `Back\slash,Über`,
		`NOT (Phone != null)`:                                    `Back\slash`,
		`IsDeleted = false AND LastName > 'O'`:                   "O'Hara,Über",
		`CreatedDate >= 2000-01-01T00:00:00Z`:                    `Ana,Back\slash,O'Hara,Über`,
		`CreatedDate > 2000-01-01T00:00:00.000+01:00`:            `Ana,Back\slash,O'Hara,Über`,
		`LastName = 'x\' OR LastName LIKE \'%'`:                  "",
		`(LastName = 'Ana' OR Phone = '12') AND Phone LIKE '%2'`: "Über",
	} {
		status, body := ask(t, sim, "GET", data+"query?q="+url.QueryEscape("SELECT Id, LastName FROM Contact WHERE "+where+" ORDER BY LastName LIMIT 10"), "")
		var answer struct {
			TotalSize int
			Records   []struct{ LastName string }
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK {
			t.Errorf("%s: %d %s", where, status, body)
			continue
		}
		var got []string
		for _, r := range answer.Records {
			got = append(got, r.LastName)
		}
		if strings.Join(got, ",") != names || answer.TotalSize != len(got) {
			t.Errorf("%s: got %q, want %q", where, got, names)
		}
	}
	for q, code := range map[string]string{
		``:               "MALFORMED_QUERY",
		`SELECT Id FROM`: "MALFORMED_QUERY",
		`SELECT Id FROM Contact WHERE LastName = 'x`:                                                       "MALFORMED_QUERY",
		`SELECT Id FROM Contact WHERE LastName = '\q'`:                                                     "MALFORMED_QUERY",
		`SELECT Id FROM Contact WHERE LastName = 'a' 'b'`:                                                  "MALFORMED_QUERY",
		`SELECT Id FROM Contact WHERE Id = '1' AND Id = '2' OR Id = '3'`:                                   "MALFORMED_QUERY",
		`SELECT Id FROM Contact LIMIT x`:                                                                   "MALFORMED_QUERY",
		`SELECT Id FROM Contact; DELETE`:                                                                   "MALFORMED_QUERY",
		`SELECT Nothing FROM Contact`:                                                                      "INVALID_FIELD",
		`SELECT Id FROM Contact WHERE Nothing = 'x'`:                                                       "INVALID_FIELD",
		`SELECT Id FROM Contact WHERE Description = 'x'`:                                                   "INVALID_FIELD",
		`SELECT Id FROM Contact WHERE CreatedDate > '2000-01-01T00:00:00Z'`:                                "should not be enclosed in quotes",
		`SELECT Id FROM Contact WHERE CreatedDate > 2000-01-01`:                                            "must be of type dateTime",
		`SELECT Id FROM Contact WHERE Birthdate > 2000-01-01T00:00:00Z`:                                    "must be of type date",
		`SELECT Id FROM Contact WHERE HasOptedOutOfEmail = 'true'`:                                         "must be of type boolean",
		`SELECT Id FROM Contact WHERE (LastName = 'a' AND NOT LastName IN ('b', 7))`:                       "must be of type string and should be enclosed in quotes",
		`SELECT Id FROM Contact WHERE Id = '1'`:                                                            "INVALID_QUERY_FILTER_OPERATOR",
		`SELECT Id FROM Nothing`:                                                                           "INVALID_TYPE",
		`SELECT Id FROM Contact WHERE ` + strings.Repeat("(", 100) + `Id = '1'` + strings.Repeat(")", 100): "MALFORMED_QUERY",
	} {
		if status, body := ask(t, sim, "GET", data+"query?q="+url.QueryEscape(q), ""); status != 400 || !strings.Contains(body, code) {
			t.Errorf("%s: got %d %s, want %s", q, status, body, code)
		}
	}
}

func FuzzQuery_NeverFails(f *testing.F) {
	f.Add(`SELECT Id FROM Contact WHERE LastName LIKE '%a\'_' AND (Phone IN ('1', null)) ORDER BY Id LIMIT 3`)
	f.Fuzz(func(t *testing.T, q string) {
		if status, body := ask(t, org(salesforcesim.Options{}), "GET", data+"query?q="+url.QueryEscape(q), ""); status != 200 && status != 400 {
			t.Errorf("%q: %d %s", q, status, body)
		}
	})
}

func TestComposite_HoldsFiveQueries(t *testing.T) {
	sim := org(salesforcesim.Options{})
	body := func(n int, ref string) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`{"method":"GET","url":"%squery?q=SELECT+Id+FROM+Contact","referenceId":"%s%d"}`, data, ref, i))
		}
		return `{"compositeRequest":[` + strings.Join(list, ",") + `]}`
	}
	if status, answer := ask(t, sim, "POST", data+"composite", body(5, "q")); status != 200 || strings.Count(answer, `"httpStatusCode":200`) != 5 {
		t.Errorf("got %d %s", status, answer)
	}
	for _, wrong := range []string{body(6, "q"), `{}`, strings.ReplaceAll(body(2, "q"), "q1", "q0")} {
		if status, answer := ask(t, sim, "POST", data+"composite", wrong); status != 400 {
			t.Errorf("got %d %s, want 400", status, answer)
		}
	}
}

func TestAccess_EndsWhenItWasNotUsedOrIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := org(salesforcesim.Options{SessionLife: time.Hour})
		try := func() int { status, _ := ask(t, sim, "GET", data+"limits", ""); return status }
		for range 3 { // each use moves the end
			time.Sleep(59 * time.Minute)
			if got := try(); got != 200 {
				t.Fatalf("got %d, want 200", got)
			}
		}
		time.Sleep(61 * time.Minute)
		if got := try(); got != 401 {
			t.Errorf("got %d, want 401", got)
		}
		sim = org(salesforcesim.Options{})
		sim.Revoke()
		if got := try(); got != 401 {
			t.Errorf("got %d, want 401", got)
		}
	})
}

func TestDaily_RequestsAreCountedAndEnd(t *testing.T) {
	sim := org(salesforcesim.Options{Daily: 2})
	for i := range 3 {
		r := httptest.NewRequest(http.MethodGet, data+"limits", nil)
		r.Header.Set("Authorization", "Bearer "+access)
		w := httptest.NewRecorder()
		sim.ServeHTTP(w, r)
		body, _ := io.ReadAll(w.Body)
		if i < 2 && (w.Code != 200 || w.Header().Get("Sforce-Limit-Info") != fmt.Sprintf("api-usage=%d/2", i+1)) ||
			i == 2 && (w.Code != 403 || !strings.Contains(string(body), "TotalRequests Limit exceeded.")) {
			t.Errorf("request %d: %d %s %s", i, w.Code, w.Header().Get("Sforce-Limit-Info"), body)
		}
	}
}

func TestToken_IsForTheAppOnly(t *testing.T) {
	sim := org(salesforcesim.Options{ClientID: "app", ClientSecret: "s", RefreshTokens: []string{"r"}, RotateRefresh: true})
	for _, c := range []struct{ form, want string }{
		{"grant_type=client_credentials&client_id=app&client_secret=s", `"access_token"`},
		{"grant_type=client_credentials&client_id=app", "invalid_client"},
		{"grant_type=client_credentials&client_id=other&client_secret=s", "invalid_client_id"},
		{"grant_type=password&username=a&password=b", "unsupported_grant_type"},
		{"", "unsupported_grant_type"},
		{"grant_type=refresh_token&client_id=app&refresh_token=r", `"refresh_token"`},
		{"grant_type=refresh_token&client_id=app&refresh_token=r", "invalid_grant"},
		{"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=a.b", "invalid_grant"},
		{"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=eyJhbGciOiJub25lIn0.e30.", "invalid_grant"},
	} {
		if _, body := ask(t, sim, "POST", "/services/oauth2/token", c.form); !strings.Contains(body, c.want) {
			t.Errorf("%s: got %s, want %s", c.form, body, c.want)
		}
	}
}

func TestControl_SetsFaults(t *testing.T) {
	sim := org(salesforcesim.Options{})
	if status, body := ask(t, sim, "POST", "/_sim/faults", `{"kind":"earthquake"}`); status != 400 {
		t.Errorf("got %d %s", status, body)
	}
	ask(t, sim, "POST", "/_sim/faults", `[{"kind":"status","status":503,"code":"SERVER_UNAVAILABLE","count":1}]`)
	for _, want := range []int{503, 200} {
		if status, _ := ask(t, sim, "GET", data+"limits", ""); status != want {
			t.Errorf("got %d, want %d", status, want)
		}
	}
	if status, body := ask(t, sim, "GET", "/_sim/stats", ""); status != 200 || !strings.Contains(body, `"faults":{"status":1}`) {
		t.Errorf("got %d %s", status, body)
	}
	sim.Create("Contact", map[string]any{"LastName": "Ana"})
	if status, body := ask(t, sim, "GET", "/_sim/ledger?object=contact", ""); status != 200 || !strings.Contains(body, `"LastName":"Ana"`) {
		t.Errorf("got %d %s", status, body)
	}
	if status, body := ask(t, sim, "GET", "/_sim/ledger?object=opportunity", ""); status != 400 || !strings.Contains(body, "WhatsApp_Message__c") {
		t.Errorf("got %d %s", status, body)
	}
}
