package zohosim_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

// crowd makes contacts and returns their ids.
func (a *account) crowd(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = a.AddRecord("Contacts", map[string]any{"Last_Name": fmt.Sprintf("%04d", n-i)})
	}
	return ids
}

func (got answer) ids() []string {
	var list []string
	for _, r := range got.Data {
		list = append(list, r["id"].(string))
	}
	return list
}

func TestViews_AreListedByModule(t *testing.T) {
	a := open(t, zohosim.Options{})
	id := a.AddView("Contacts", zohosim.View{Name: "Winter", Label: "Invierno"})
	got := a.ask("GET", "settings/custom_views?module=Contacts&page=1&per_page=1", "")
	if got.HTTP != 200 || !strings.Contains(got.Body, `"name":"All Contacts"`) || !strings.Contains(got.Body, `"system_defined":true`) || !got.Info.More {
		t.Errorf("the first: %d %s", got.HTTP, got.Body)
	}
	got = a.ask("GET", "settings/custom_views?module=Contacts&page=2&per_page=1", "")
	if !strings.Contains(got.Body, `"id":"`+id+`"`) || !strings.Contains(got.Body, `"display_value":"Invierno"`) || got.Info.More {
		t.Errorf("the second: %s", got.Body)
	}
	if got := a.ask("GET", "settings/custom_views?module=Contacts&page=3&per_page=1", ""); got.HTTP != 204 {
		t.Errorf("the third: %d", got.HTTP)
	}
	want(t, "no module", a.ask("GET", "settings/custom_views", ""), 400, "REQUIRED_PARAM_MISSING")
	want(t, "no such module", a.ask("GET", "settings/custom_views?module=People", ""), 400, "INVALID_MODULE")
	want(t, "a page too large", a.ask("GET", "settings/custom_views?module=Contacts&per_page=201", ""), 400, "INVALID_DATA")
	want(t, "page 0", a.ask("GET", "settings/custom_views?module=Contacts&page=0", ""), 400, "INVALID_DATA")
	want(t, "without the scope", open(t, zohosim.Options{Scopes: []string{zohosim.ScopeContacts, zohosim.ScopeFields}}).
		ask("GET", "settings/custom_views?module=Contacts", ""), 401, "OAUTH_SCOPE_MISMATCH")
	for _, scope := range []string{zohosim.ScopeViews, "ZohoCRM.settings.custom_views.ALL", "ZohoCRM.settings.ALL"} {
		want(t, scope, open(t, zohosim.Options{Scopes: []string{scope}}).ask("GET", "settings/custom_views?module=Contacts", ""), 200, "")
	}
}

// next is the token after a page.
func next(got answer) string {
	_, rest, _ := strings.Cut(got.Body, `"next_page_token":"`)
	token, _, _ := strings.Cut(rest, `"`)
	return token
}

func TestList_GoesOnByTokenWhoeverLeaves(t *testing.T) {
	for what, path := range map[string]func(*account, []string) string{
		"a module": func(*account, []string) string { return "Contacts?" },
		"by time":  func(*account, []string) string { return "Contacts?sort_by=Created_Time&sort_order=desc&" },
		"a view": func(a *account, ids []string) string {
			return "Contacts?cvid=" + a.AddView("Contacts", zohosim.View{Name: "v", Members: ids}) + "&"
		},
		"a campaign": func(a *account, ids []string) string { return "Campaigns/" + a.AddCampaign("k", ids...) + "/Contacts?" },
		"a view by name": func(a *account, ids []string) string {
			return "Contacts?cvid=" + a.AddView("Contacts", zohosim.View{Name: "v", Members: append(ids, ids[0], "1"), SortBy: "Last_Name", Ascending: true}) + "&"
		},
	} {
		a := open(t, zohosim.Options{})
		ids := a.crowd(6)
		at := path(a, slices.Clone(ids)) + "fields=Last_Name&per_page=2"
		first := a.ask("GET", at, "")
		for _, id := range []string{ids[5], ids[4], ids[3]} { // all of the first page, and the first of the second
			if err := a.Delete(zohosim.Person, "Contacts", id); err != nil {
				t.Fatal(err)
			}
		}
		second := a.ask("GET", at+"&page_token="+next(first), "")
		third := a.ask("GET", at+"&page_token="+next(second), "")
		if got := slices.Concat(first.ids(), second.ids(), third.ids()); !slices.Equal(got, []string{ids[5], ids[4], ids[2], ids[1], ids[0]}) || third.Info.More {
			t.Errorf("%s: %v of %v", what, got, ids)
		}
	}
}

func TestList_RefusesWhatZohoRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := open(t, zohosim.Options{TokenLife: 100 * time.Hour, TokenRecords: 4})
		ids := a.crowd(6)
		view := a.AddView("Contacts", zohosim.View{Name: "v"})
		const at = "Contacts?fields=id&per_page=2"
		token := next(a.ask("GET", at, ""))
		fair := a.AddCampaign("Fair", ids...)
		for what, c := range map[string]struct {
			path   string
			status int
			code   string
		}{
			"no fields":                       {"Contacts?cvid=" + view, 400, "REQUIRED_PARAM_MISSING"},
			"51 fields":                       {"Contacts?fields=id" + strings.Repeat(",Phone", 50), 400, "LIMIT_EXCEEDED"},
			"a page too large":                {"Contacts?fields=id&per_page=201", 400, "INVALID_DATA"},
			"page 0":                          {"Contacts?fields=id&page=0", 400, "INVALID_DATA"},
			"the 2,001st by number":           {"Contacts?fields=id&page=11", 400, "DISCRETE_PAGINATION_LIMIT_EXCEEDED"},
			"no such view":                    {"Contacts?fields=id&cvid=1", 400, "INVALID_DATA"},
			"another module's view":           {"Tasks?fields=id&cvid=" + view, 400, "INVALID_DATA"},
			"a view in an order of one's own": {"Contacts?fields=id&sort_by=id&cvid=" + view, 400, "AMBIGUITY_DURING_PROCESSING"},
			"an order by a name":              {"Contacts?fields=id&sort_by=Last_Name", 400, "INVALID_DATA"},
			"a token and a page":              {at + "&page=2&page_token=" + token, 400, "AMBIGUITY_DURING_PROCESSING"},
			"a token nobody gave":             {at + "&page_token=x", 400, "TOKEN_BOUND_DATA_MISMATCH"},
			"another size":                    {"Contacts?fields=id&per_page=3&page_token=" + token, 400, "TOKEN_BOUND_DATA_MISMATCH"},
			"other fields":                    {"Contacts?fields=id,Phone&per_page=2&page_token=" + token, 400, "TOKEN_BOUND_DATA_MISMATCH"},
			"a view instead":                  {at + "&cvid=" + view + "&page_token=" + token, 400, "TOKEN_BOUND_DATA_MISMATCH"},
			"no such campaign":                {"Campaigns/1/Contacts?fields=id", 404, "INVALID_DATA"},
			"no such relation":                {"Campaigns/" + fair + "/Tasks?fields=id", 400, "INVALID_DATA"},
			"a campaign without fields":       {"Campaigns/" + fair + "/Contacts", 400, "REQUIRED_PARAM_MISSING"},
		} {
			want(t, what, a.ask("GET", c.path, ""), c.status, c.code)
		}
		second := a.ask("GET", at+"&page_token="+token, "")
		want(t, "more than tokens lead to", a.ask("GET", at+"&page_token="+next(second), ""), 400, "PAGINATION_LIMIT_EXCEEDED")
		time.Sleep(24*time.Hour - time.Second)
		want(t, "in time", a.ask("GET", at+"&page_token="+token, ""), 200, "")
		time.Sleep(time.Second)
		want(t, "after a day", a.ask("GET", at+"&page_token="+token, ""), 400, "EXPIRED_VALUE")
	})
	few := open(t, zohosim.Options{Scopes: []string{zohosim.ScopeCampaigns}})
	want(t, "a campaign without the scope for contacts", few.ask("GET", "Campaigns/"+few.AddCampaign("k")+"/Contacts?fields=id", ""), 401, "OAUTH_SCOPE_MISMATCH")
	few = open(t, zohosim.Options{Scopes: []string{zohosim.ScopeContacts}})
	want(t, "a campaign without the scope for campaigns", few.ask("GET", "Campaigns/"+few.AddCampaign("k")+"/Contacts?fields=id", ""), 401, "OAUTH_SCOPE_MISMATCH")
}

func TestCampaigns_MayHaveNumberedPagesOnly(t *testing.T) {
	a := open(t, zohosim.Options{NumberedMembers: true})
	ids := a.crowd(3)
	at := "Campaigns/" + a.AddCampaign("k", ids...) + "/Contacts?fields=id&per_page=2"
	first, second := a.ask("GET", at, ""), a.ask("GET", at+"&page=2", "")
	if strings.Contains(first.Body, "token") || strings.Contains(first.Body, "sort") || !first.Info.More || second.Info.More ||
		!slices.Equal(slices.Concat(first.ids(), second.ids()), []string{ids[2], ids[1], ids[0]}) {
		t.Errorf("got %s and %s", first.Body, second.Body)
	}
}

func TestControl_MakesViewsAndCampaigns(t *testing.T) {
	a := open(t, zohosim.Options{})
	id := a.crowd(1)[0]
	var made struct{ ID string }
	for path, body := range map[string]string{"view?module=Contacts": `{"name":"Summer","members":["` + id + `"]}`, "campaign?name=Fair": `["` + id + `"]`} {
		got := a.send("POST", "/_sim/"+path, body, "")
		if err := json.Unmarshal([]byte(got.Body), &made); err != nil || made.ID == "" {
			t.Fatalf("%s: %d %s", path, got.HTTP, got.Body)
		}
		at := "Contacts?fields=id&cvid=" + made.ID
		if strings.HasPrefix(path, "campaign") {
			at = "Campaigns/" + made.ID + "/Contacts?fields=id"
		}
		if got := a.ask("GET", at, "").ids(); !slices.Equal(got, []string{id}) {
			t.Errorf("%s has %v", path, got)
		}
	}
	for path, body := range map[string]string{"view?module=People": `{"name":"x"}`, "view?module=Contacts": `{}`, "campaign?name=": `[]`, "campaign?name=x": `{}`} {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/_sim/"+path, strings.NewReader(body)))
		if w.Code != 400 {
			t.Errorf("%s with %s: %d", path, body, w.Code)
		}
	}
}
