package zohosim_test

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

func TestRecord_IsReadChangedAndDeletedByItsID(t *testing.T) {
	a := open(t, zohosim.Options{})
	id := a.AddRecord("Contacts", map[string]any{"Last_Name": "Pérez", "First_Name": "Ana", "WA_Contact_ID": "c1"})
	got := a.ask("GET", "Contacts/"+id, "")
	if got.HTTP != 200 || got.Data[0]["Full_Name"] != "Ana Pérez" || got.Data[0]["Modified_Time"] == nil || got.Data[0]["Created_By"] == nil {
		t.Errorf("got %s", got.Body)
	}
	if got = a.ask("GET", "Contacts/"+id+"?fields=Last_Name", ""); len(got.Data) != 1 || len(got.Data[0]) != 2 {
		t.Errorf("some fields: %s", got.Body)
	}
	want(t, "update", a.ask("PUT", "Contacts/"+id, `{"data":[{"First_Name":"Anna"}]}`), 200, "SUCCESS")
	want(t, "two for one", a.ask("PUT", "Contacts/"+id, `{"data":[{"First_Name":"a"},{"First_Name":"b"}]}`), 400, "INVALID_DATA")
	if r := a.Records("Contacts")[0]; r.Values["First_Name"] != "Anna" {
		t.Errorf("got %+v", r)
	}
	want(t, "delete", a.ask("DELETE", "Contacts/"+id, ""), 200, "SUCCESS")
	want(t, "delete again", a.ask("DELETE", "Contacts/"+id, ""), 400, "INVALID_DATA")
	want(t, "read", a.ask("GET", "Contacts/"+id, ""), 204, "")
	want(t, "update", a.ask("PUT", "Contacts/"+id, `{"data":[{"First_Name":"Anna"}]}`), 400, "INVALID_DATA")
}

func TestSearch_TakesCriteriaEmailPhoneOrWord(t *testing.T) {
	a := open(t, zohosim.Options{})
	for i := range 3 {
		a.AddRecord("Contacts", map[string]any{"Last_Name": fmt.Sprintf("Name (%d)", i), "Email": fmt.Sprintf("n%d@example.com", i), "Phone": fmt.Sprintf("+3460000000%d", i)})
	}
	chain := "(Phone:starts_with:1)"
	for range 15 {
		chain = "(" + chain + "or(Phone:starts_with:1))"
	}
	for query, n := range map[string]int{
		"email=N1@example.com":                                1,
		"phone=0000000":                                       3,
		"word=name":                                           3,
		`criteria=(Last_Name:equals:\(1\))`:                   1,
		"criteria=(Email:equals:n1@example)":                  0,
		"criteria=(Email:in:n1@example.com,n2@example.com,x)": 2,
		"criteria=((Last_Name:starts_with:name)and(Email:not_equal:n0@example.com))":                                                      2,
		"criteria=((Email:equals:n0@example.com)or((Email:equals:n1@example.com)and(Phone:starts_with:+34)))":                             2,
		"criteria=((Email:equals:n0@example.com)or(Email:equals:n1@example.com)or(Email:equals:n2@example.com))&email=nobody@example.com": 3,
	} {
		name, value, _ := strings.Cut(query, "=")
		value, rest, _ := strings.Cut(value, "&")
		got := a.ask("GET", "Contacts/search?"+name+"="+url.QueryEscape(value)+"&"+rest, "")
		if len(got.Data) != n || n == 0 && got.HTTP != 204 {
			t.Errorf("%s: got %d %s, want %d", query, got.HTTP, got.Body, n)
		}
	}
	for query, code := range map[string]string{
		"":                                      "REQUIRED_PARAM_MISSING",
		"word=x":                                "INVALID_DATA",
		"email=x":                               "INVALID_DATA",
		"criteria=(Nobody:equals:1)":            "INVALID_QUERY",
		"criteria=(Description:equals:1)":       "INVALID_QUERY",
		"criteria=(Email:resembles:1)":          "INVALID_QUERY",
		"criteria=Email:equals:1":               "INVALID_QUERY",
		"criteria=(Email:equals:1":              "INVALID_QUERY",
		"criteria=((Email:equals:1)but(x:y:z))": "INVALID_QUERY",
		"criteria=" + chain:                     "INVALID_QUERY",
	} {
		want(t, query, a.ask("GET", "Contacts/search?"+query, ""), 400, code)
	}
}

func TestQuery_PassesOverRecordsAndSortsByFields(t *testing.T) {
	a := open(t, zohosim.Options{})
	for _, name := range []string{"b", "C", "a", "d"} {
		a.AddRecord("Contacts", map[string]any{"Last_Name": name})
	}
	for end, names := range map[string]string{
		"order by Last_Name":                       "[a b C d]",
		"order by Last_Name desc limit 2 offset 1": "[C b]",
		"limit 1, 2":                               "[C a]",
		"limit 0, 1":                               "[b]",
	} {
		var list []any
		for _, d := range a.query("select Last_Name from Contacts where id is not null " + end).Data {
			list = append(list, d["Last_Name"])
		}
		if fmt.Sprint(list) != names {
			t.Errorf("%s: %v, want %s", end, list, names)
		}
	}
	for end, code := range map[string]string{"order by Nobody": "INVALID_QUERY", "limit 1 offset 100001": "SYNTAX_ERROR", "limit 1 offset x": "SYNTAX_ERROR", "limit 1, 0": "SYNTAX_ERROR"} {
		want(t, end, a.query("select id from Contacts where id is not null "+end), 400, code)
	}
}

func TestToken_SaysWhereTheAPIIs(t *testing.T) {
	for host, domain := range map[string]string{"127.0.0.1:8093": "http://127.0.0.1:8093", "accounts.zoho.eu": "https://www.zohoapis.eu",
		"accounts.zoho.com.au": "https://www.zohoapis.com.au", "accounts.zohocloud.ca": "https://www.zohoapis.ca"} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "http://"+host+"/oauth/v2/token?grant_type=refresh_token&client_id=c&client_secret=s&refresh_token=r", nil)
		w := httptest.NewRecorder()
		zohosim.New(zohosim.Options{}).ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), `"api_domain":"`+domain+`"`) {
			t.Errorf("%s: %s", host, w.Body)
		}
	}
}

func TestControl_EndsAccessTokens(t *testing.T) {
	a := open(t, zohosim.Options{})
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/_sim/revoke", nil))
	want(t, "after", a.ask("GET", "settings/modules", ""), 401, "INVALID_TOKEN")
}
