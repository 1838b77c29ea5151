package salesforcesim_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

// found asks a query and returns a field of what it finds, or the error's code.
func found(t *testing.T, sim *salesforcesim.Sim, soql, field string) string {
	t.Helper()
	_, body := ask(t, sim, "GET", data+"query?q="+url.QueryEscape(soql), "")
	var refused []struct{ ErrorCode string }
	if json.Unmarshal([]byte(body), &refused) == nil && len(refused) > 0 {
		return refused[0].ErrorCode
	}
	var answer struct{ Records []map[string]any }
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%s: %s", soql, body)
	}
	var all []string
	for _, r := range answer.Records {
		all = append(all, fmt.Sprint(r[field]))
	}
	return strings.Join(all, ",")
}

func TestCampaign_HasMembersAsLongAsTheyAreThere(t *testing.T) {
	sim := org(salesforcesim.Options{})
	ana := sim.Create("Contact", map[string]any{"LastName": "Ana"})
	bob := sim.Create("Contact", map[string]any{"LastName": "Bob"})
	cy := sim.Create("Lead", map[string]any{"LastName": "Cy", "Company": "C"})
	spring := sim.Create("Campaign", map[string]any{"Name": "Spring"})
	for field, who := range map[string][]string{"ContactId": {ana, bob}, "LeadId": {cy}} {
		for _, id := range who {
			if status, body := ask(t, sim, "POST", data+"sobjects/CampaignMember", fmt.Sprintf(`{"CampaignId":%q,%q:%q}`, spring, field, id)); status != 201 {
				t.Fatalf("%d %s", status, body)
			}
		}
	}
	for body, code := range map[string]string{
		fmt.Sprintf(`{"CampaignId":%q,"ContactId":%q}`, spring, ana): "DUPLICATE_VALUE",
		fmt.Sprintf(`{"CampaignId":%q}`, spring):                     "REQUIRED_FIELD_MISSING",
		fmt.Sprintf(`{"ContactId":%q}`, ana):                         "REQUIRED_FIELD_MISSING",
		fmt.Sprintf(`{"CampaignId":%q,"ContactId":%q}`, ana, bob):    "INVALID_CROSS_REFERENCE_KEY",
	} {
		if _, got := ask(t, sim, "POST", data+"sobjects/CampaignMember", body); !strings.Contains(got, code) {
			t.Errorf("%s: got %s, want %s", body, got, code)
		}
	}
	const members = "SELECT ContactId, Contact.Name FROM CampaignMember WHERE ContactId != null AND CampaignId = "
	if got := found(t, sim, members+"'"+spring+"' ORDER BY Id", "Contact"); !strings.Contains(got, "Name:Ana") || !strings.Contains(got, "Name:Bob") {
		t.Errorf("got %s", got)
	}
	counts := func(want string) {
		t.Helper()
		const soql = "SELECT NumberOfContacts, NumberOfLeads FROM Campaign WHERE IsActive = false"
		if got := found(t, sim, soql, "NumberOfContacts") + " " + found(t, sim, soql, "NumberOfLeads"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	counts("2 1")
	sim.Delete("Contact", bob)
	sim.Delete("Lead", cy)
	counts("1 0")
	sim.Delete("Campaign", spring)
	if got := found(t, sim, "SELECT Id FROM CampaignMember", "Id"); got != "" {
		t.Errorf("a campaign that was deleted has %s", got)
	}
	sim.RemoveObject("Campaign")
	if got := found(t, sim, "SELECT Id FROM Campaign", "Id"); got != "INVALID_TYPE" {
		t.Errorf("got %s, want INVALID_TYPE", got)
	}
}

func TestListView_IsDescribedByItsQuery(t *testing.T) {
	sim := org(salesforcesim.Options{})
	id := sim.AddView(salesforcesim.View{Object: "Contact", Name: "Berlin's", Where: `Department = 'Ber\'lin'`, Mine: true})
	opaque := sim.AddView(salesforcesim.View{Object: "Contact", Name: "Odd", Opaque: true})
	for path, want := range map[string]string{
		"Contact/listviews/" + id + "/describe":                `FROM Contact USING SCOPE mine WHERE Department = 'Ber\\'lin' ORDER BY Name ASC NULLS FIRST, Id ASC NULLS FIRST"`,
		"Contact/listviews/" + id:                              `"label":"Berlin's"`,
		"Contact/listviews/" + opaque + "/describe":            `"query":null`,
		"Lead/listviews/" + id + "/describe":                   "NOT_FOUND",
		"Contact/listviews/00B000000000999AAA/describe":        "NOT_FOUND",
		"Opportunity/listviews":                                "NOT_FOUND",
		"Contact/listviews/" + id + "/results":                 "NOT_FOUND",
		"ListView/" + id:                                       `"SobjectType":"Contact"`,
		"Contact/listviews/" + id + "/describe?anything=of+it": `"sobjectType":"Contact"`,
	} {
		if _, body := ask(t, sim, "GET", data+"sobjects/"+path, ""); !strings.Contains(body, want) {
			t.Errorf("%s: got %s, want %s", path, body, want)
		}
	}
	if status, body := ask(t, sim, "POST", data+"sobjects/ListView", `{"Name":"Mine","SobjectType":"Contact"}`); status != 400 {
		t.Errorf("a view was made by REST: %d %s", status, body)
	}
	if status, body := ask(t, sim, "DELETE", data+"sobjects/Contact/listviews/"+id, ""); status != 405 {
		t.Errorf("got %d %s", status, body)
	}
	if status, body := ask(t, sim, "POST", "/_sim/views", `{"object":"Contact","name":"No","where":"Nothing = 1"}`); status != 400 {
		t.Errorf("got %d %s", status, body)
	}
	for i := range 24 {
		if status, body := ask(t, sim, "POST", "/_sim/views", fmt.Sprintf(`{"object":"contact","name":"View %d"}`, i)); status != 200 {
			t.Fatalf("got %d %s", status, body)
		}
	}
	names := map[string]bool{}
	for path := data + "sobjects/Contact/listviews"; path != ""; {
		_, body := ask(t, sim, "GET", path, "")
		var page struct {
			NextRecordsURL string
			Listviews      []struct{ Label string }
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil || len(page.Listviews) > 25 {
			t.Fatalf("%v: %s", err, body)
		}
		for _, v := range page.Listviews {
			names[v.Label] = true
		}
		path = page.NextRecordsURL
	}
	if len(names) != 28 || !names["View 23"] || !names["All Contacts"] {
		t.Errorf("got %v", names)
	}
}

func TestQuery_HasScopes(t *testing.T) {
	sim := org(salesforcesim.Options{QueryPage: 3})
	sim.Create("Contact", map[string]any{"LastName": "Theirs"})
	sim.Create("Contact", map[string]any{"LastName": "Given", "OwnerId": salesforcesim.Integration})
	ask(t, sim, "POST", data+"sobjects/Contact", `{"LastName":"Ours"}`)
	ask(t, sim, "POST", data+"sobjects/Contact", `{"LastName":"Taken","OwnerId":"`+salesforcesim.Person+`"}`)
	for scope, want := range map[string]string{
		"": "Given,Ours,Taken", "USING SCOPE everything": "Given,Ours,Taken", "using scope Mine": "Given,Ours", "USING SCOPE theirs": "MALFORMED_QUERY", "USING mine": "MALFORMED_QUERY",
	} {
		if got := found(t, sim, "SELECT LastName FROM Contact "+scope+" WHERE Id != null ORDER BY LastName", "LastName"); got != want {
			t.Errorf("%s: got %s, want %s", scope, got, want)
		}
	}
}
