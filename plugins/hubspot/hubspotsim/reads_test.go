package hubspotsim_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

const contacts = "/crm/v3/objects/contacts"

// says asks and wants a status, and all of the texts in the answer but those that
// begin with "!".
func says(t *testing.T, s *hubspotsim.Sim, method, path, body string, status int, texts ...string) answer {
	t.Helper()
	a := ask(t, s, method, path, body)
	if a.Status != status {
		t.Errorf("%s %s: got %d %s, want %d", method, path, a.Status, a.Body, status)
	}
	for _, text := range texts {
		bare, not := strings.CutPrefix(text, "!")
		if strings.Contains(a.Body, bare) == not {
			t.Errorf("%s %s: %s in %s", method, path, text, a.Body)
		}
	}
	return a
}

func TestReads_ShowWhatIsAskedFor(t *testing.T) {
	s := prepared(t, hubspotsim.Options{History: []string{"phone"}})
	id := says(t, s, "POST", contacts, `{"properties":{"firstname":"Ana","email":"Ana@Example.com","phone":"1","wa_id":"c1"}}`, 201).ID
	says(t, s, "GET", contacts+"/"+id, "", 200, `"email":"ana@example.com"`, `"lastname":null`, `"createdate":"2`, "!wa_id", "!phone")
	says(t, s, "GET", contacts+"/"+id+"?properties=phone,lastname,nobody", "", 200, `"phone":"1"`, `"lastname":null`, "!firstname", "!nobody")
	says(t, s, "GET", contacts+"/"+id+"?properties=phone&properties=wa_id", "", 200, `"phone":"1"`, `"wa_id":"c1"`)
	says(t, s, "GET", contacts+"/ANA@example.com?idProperty=email&propertiesWithHistory=phone", "", 200, `"propertiesWithHistory":{"phone":[{"value":"1"`)
	says(t, s, "POST", contacts+"/batch/read", `{"inputs":[{"id":"`+id+`"}]}`, 200, `"firstname":"Ana"`, "!wa_id", "!new")
	says(t, s, "DELETE", contacts+"/"+id, "", 204)
	says(t, s, "GET", contacts+"/"+id, "", 404)
	says(t, s, "GET", contacts+"/"+id+"?archived=true", "", 200, `"archived":true`, `"archivedAt":"2`)
}

func TestWrites_WantJSONAndEmailAddresses(t *testing.T) {
	s := prepared(t, hubspotsim.Options{})
	for _, bad := range []string{"no", "a@b", "a b@c.d", "@c.d"} {
		says(t, s, "POST", contacts, `{"properties":{"email":"`+bad+`"}}`, 400, "INVALID_EMAIL")
	}
	says(t, s, "POST", contacts, `{"properties":{"email":"a@b.example"}}`, 201)
	says(t, s, "POST", contacts, `{"properties":{"email":"A@B.example"}}`, 409, "Existing ID: ")
	r := httptest.NewRequestWithContext(t.Context(), "POST", contacts, strings.NewReader(`{"properties":{"firstname":"a"}}`))
	r.Header.Set("Authorization", "Bearer good")
	r.Header.Set("Content-Type", "text/plain")
	w := httptest.NewRecorder()
	if s.ServeHTTP(w, r); w.Code != 415 {
		t.Errorf("text is taken: %d", w.Code)
	}
}

func TestProperties_AreChangedAndGoInBatches(t *testing.T) {
	s := prepared(t, hubspotsim.Options{})
	const properties = "/crm/properties/2026-09/contacts"
	p := func(name string) string {
		return `{"name":"` + name + `","label":"L","groupName":"contactinformation","type":"string","fieldType":"text"}`
	}
	says(t, s, "POST", properties+"/batch/create", `{"inputs":[`+p("a_note")+`,`+p("email")+`]}`, 200, `"name":"a_note"`, `"numErrors":1`)
	says(t, s, "POST", "/crm/v3/properties/contacts/batch/create", `{"inputs":[`+p("b_note")+`,`+p("email")+`]}`, 207, `"numErrors":1`)
	says(t, s, "POST", properties+"/batch/create", `{"inputs":[{"name":"x"}]}`, 400, "inputs[0].label")
	says(t, s, "POST", properties+"/batch/read", `{"inputs":[{"name":"a_note"},{"name":"nobody"}]}`, 200, `"label":"L"`, `nobody`, `"numErrors":1`)
	says(t, s, "PATCH", properties+"/a_note", `{"label":"M"}`, 200, `"label":"M"`, `"createdAt":"2`)
	says(t, s, "PATCH", properties+"/firstname", `{"label":"M"}`, 400)
	says(t, s, "DELETE", properties+"/firstname", "", 400)
	says(t, s, "DELETE", properties+"/a_note", "", 204)
	says(t, s, "GET", properties+"/a_note", "", 404)
	says(t, s, "POST", properties+"/batch/archive", `{"inputs":[{"name":"b_note"},{"name":"nobody"}]}`, 204)
	says(t, s, "PATCH", properties+"/b_note", `{"label":"M"}`, 404)
	says(t, s, "GET", properties+"/groups", "", 200, "contactinformation")
	says(t, s, "GET", properties+"/groups/none", "", 404)
}

func TestAssociations_OfOneRecordAreMadeReadAndEnded(t *testing.T) {
	for _, at := range []string{"/crm/v4/objects", "/crm/objects/2026-09"} {
		s := prepared(t, hubspotsim.Options{})
		id := says(t, s, "POST", contacts, `{"properties":{"firstname":"Ana"}}`, 201).ID
		company := says(t, s, "POST", "/crm/v3/objects/companies", `{"properties":{"name":"Acme"}}`, 201).ID
		of := at + "/contacts/" + id + "/associations"
		says(t, s, "PUT", of+"/default/companies/"+company, "", 200, `"associationTypeId":279`)
		says(t, s, "PUT", of+"/companies/"+company, `[{"associationCategory":"HUBSPOT_DEFINED","associationTypeId":279}]`, 201, `"toObjectId":"`+company)
		says(t, s, "PUT", of+"/companies/"+company, `[{"associationCategory":"HUBSPOT_DEFINED","associationTypeId":1}]`, 400)
		says(t, s, "PUT", of+"/default/companies/1", "", 404)
		says(t, s, "PUT", of+"/default/holograms/1", "", 400)
		says(t, s, "GET", of+"/companies", "", 200, `"toObjectId":"`+company, `"typeId":279`)
		says(t, s, "GET", contacts+"/"+id+"?associations=companies,tickets", "", 200, `"companies":{"results":[{"id":"`+company+`","type":"contact_to_company"}]}`, "!tickets")
		says(t, s, "DELETE", of+"/companies/"+company, "", 204)
		says(t, s, "GET", of+"/companies", "", 200, `"results":[]`)
		says(t, s, "PUT", of+"/default/companies/"+company, "", 200)
		says(t, s, "POST", "/crm/v4/associations/companies/contacts/batch/archive", `{"inputs":[{"from":{"id":"`+company+`"},"to":[{"id":"`+id+`"}]}]}`, 204)
		says(t, s, "GET", of+"/companies", "", 200, `"results":[]`)
	}
}

func TestSearch_SortsByNameOrObject(t *testing.T) {
	s := prepared(t, hubspotsim.Options{})
	for _, name := range []string{"b", "c", "a"} {
		says(t, s, "POST", contacts, `{"properties":{"firstname":"`+name+`"}}`, 201)
	}
	for sorts, first := range map[string]string{`"firstname"`: "a", `"-firstname"`: "c", `{"propertyName":"firstname","direction":"DESCENDING"}`: "c"} {
		if a := says(t, s, "POST", contacts+"/search", `{"sorts":[`+sorts+`]}`, 200); a.Results[0].Properties["firstname"] != first {
			t.Errorf("by %s: %s", sorts, a.Body)
		}
	}
	says(t, s, "POST", contacts+"/search", `{"sorts":["nobody"]}`, 400)
	says(t, s, "POST", contacts+"/search", `{"sorts":["firstname","phone"]}`, 400)
}

// Numbers are searched by as HubSpot keeps them, not as they are written.
func TestSearch_KnowsNumbersWithoutTheCountrysCode(t *testing.T) {
	s := hubspotsim.New(hubspotsim.Options{Country: "ES"})
	const search = "/crm/objects/2026-09/contacts/search"
	for _, phone := range []string{"600 100 200", "+34 600-100-201", "+44 20 7183 8750", "ext. 12"} {
		if _, err := s.Edit("contacts", "", map[string]string{"firstname": "Ana", "phone": phone}); err != nil {
			t.Fatal(err)
		}
	}
	in := func(property string, values ...string) string {
		return fmt.Sprintf(`{"filterGroups":[{"filters":[{"propertyName":%q,"operator":"IN","values":["%s"]}]}]}`, property, strings.Join(values, `","`))
	}
	const kept = "hs_searchable_calculated_phone_number"
	says(t, s, "POST", search, in(kept, "600100200", "600100201", "2071838750", "12"), 200, `"total":4`)
	says(t, s, "POST", search, in(kept, "+34600100200", "34600100201", "600 100 200", "02071838750"), 200, `"total":0`)
	says(t, s, "POST", search, in("hs_searchable_calculated_mobile_number", "600100200"), 200, `"total":0`)
	says(t, s, "POST", search, in("phone", "600 100 200"), 200, `"total":1`)
	says(t, s, "POST", search, in(kept, strings.Repeat("1", 3000)), 400, "3000")
	says(t, s, "POST", "/crm/objects/2026-09/contacts", `{"properties":{"firstname":"Ana","`+kept+`":"1"}}`, 400, "READ_ONLY")
}

func TestSearch_RefusesAFilterThatLacksItsValue(t *testing.T) {
	s := prepared(t, hubspotsim.Options{})
	for filter, lacks := range map[string]string{
		`"operator":"EQ"`:                                 "requires a value",
		`"operator":"IN","value":"600"`:                   "requires values",
		`"operator":"BETWEEN","value":"1","highValue":""`: "requires a highValue",
		`"operator":"LIKE","value":"600"`:                 "Invalid operator",
	} {
		says(t, s, "POST", "/crm/objects/2026-09/contacts/search", `{"filterGroups":[{"filters":[{"propertyName":"phone",`+filter+`}]}]}`, 400, lacks)
	}
	says(t, s, "POST", "/crm/objects/2026-09/contacts/search", `{"filterGroups":[{"filters":[{"propertyName":"phone","operator":"HAS_PROPERTY"}]}]}`, 200, `"total":0`)
}
