package salesforcesim_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

// says asks below the API's version and wants a status, and all of the texts in the
// answer but those that begin with "!".
func says(t *testing.T, sim *salesforcesim.Sim, method, path, body string, status int, texts ...string) string {
	t.Helper()
	code, got := ask(t, sim, method, data+path, body)
	if code != status {
		t.Errorf("%s %s: got %d %s, want %d", method, path, code, got, status)
	}
	for _, text := range texts {
		bare, not := strings.CutPrefix(text, "!")
		if strings.Contains(got, bare) == not {
			t.Errorf("%s %s: %s in %s", method, path, text, got)
		}
	}
	return got
}

var idOf = regexp.MustCompile(`"id":"([^"]+)"`)

func TestRecord_IsMadeReadChangedAndBinned(t *testing.T) {
	sim := org(salesforcesim.Options{})
	id := idOf.FindStringSubmatch(says(t, sim, "POST", "sobjects/Contact", `{"LastName":"Pérez","FirstName":"Ana","WA_Contact_Id__c":"c1"}`, 201, `"success":true`, "!created"))[1]
	says(t, sim, "GET", "sobjects/Contact/"+id, "", 200, `"Name":"Ana Pérez"`, `"Email":null`)
	says(t, sim, "GET", "sobjects/Contact/WA_Contact_Id__c/C1?fields=LastName", "", 200, `"LastName":"Pérez"`, "!Email")
	says(t, sim, "GET", "sobjects/Contact/"+id+"?fields=Nobody", "", 400, "INVALID_FIELD")
	says(t, sim, "PATCH", "sobjects/Contact/"+id, `{"Email":"a@example.com"}`, 204)
	says(t, sim, "PATCH", "sobjects/Contact/"+id, `{"Id":"`+id+`","Email":"a@example.com"}`, 400, "INVALID_FIELD")
	says(t, sim, "PATCH", "sobjects/Contact/WA_Contact_Id__c/c1", `{"Department":"A"}`, 200, `"created":false`)
	says(t, sim, "PATCH", "sobjects/Contact/WA_Contact_Id__c/c2", `{"LastName":"B"}`, 201, `"created":true`)
	says(t, sim, "PATCH", "sobjects/Contact/Email/a@example.com", `{"LastName":"B"}`, 404, "external ID")
	says(t, sim, "POST", "sobjects/Contact", `{"FirstName":"x"}`, 400, `"errorCode":"REQUIRED_FIELD_MISSING"`, `"fields":["LastName"]`)
	says(t, sim, "POST", "sobjects/Contact", `{"LastName":"x","WA_Contact_Id__c":"C1"}`, 400, "DUPLICATE_VALUE")
	says(t, sim, "PUT", "sobjects/Contact/"+id, `{}`, 405, "METHOD_NOT_ALLOWED")
	says(t, sim, "DELETE", "sobjects/Contact/"+id, "", 204)
	says(t, sim, "DELETE", "sobjects/Contact/"+id, "", 404, "NOT_FOUND")
	says(t, sim, "GET", "query?q=SELECT+Id+FROM+Contact", "", 200, `"totalSize":1`, "!"+id)
	says(t, sim, "GET", "queryAll?q=SELECT+Id,IsDeleted+FROM+Contact", "", 200, `"totalSize":2`, `"IsDeleted":true`)
	says(t, sim, "PATCH", "sobjects/Contact/WA_Contact_Id__c/c1", `{"LastName":"another"}`, 201)
}

func TestCollection_MakesReadsDeletesAndStandsTogether(t *testing.T) {
	sim := org(salesforcesim.Options{})
	person := func(name string) string { return `{"attributes":{"type":"Contact"},"LastName":"` + name + `"}` }
	got := says(t, sim, "POST", "composite/sobjects", records(person("A"), person("")), 200, `"success":true`, "REQUIRED_FIELD_MISSING", "!created")
	id := idOf.FindStringSubmatch(got)[1]
	says(t, sim, "POST", "composite/sobjects", records(`{"attributes":{"type":"Contact"},"LastName":"x","id":"`+id+`"}`), 200, "cannot specify Id in an insert call")
	says(t, sim, "POST", "composite/sobjects", `{"allOrNone":true,"records":[`+person("B")+`,`+person("")+`]}`, 200, "ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING")
	if n := len(sim.Records("Contact")); n != 1 {
		t.Errorf("%d contacts, want the one that stood alone", n)
	}
	says(t, sim, "POST", "composite/sobjects", `{"allOrNone":true,"records":[`+person("B")+`,`+person("C")+`]}`, 200, "!false")
	says(t, sim, "POST", "composite/sobjects/Contact", `{"ids":["`+id+`","003000000999999AAA"],"fields":["LastName"]}`, 200, `"LastName":"A"`, "},null]")
	says(t, sim, "GET", "composite/sobjects/Contact?fields=LastName&ids="+id, "", 200, `"LastName":"A"`)
	says(t, sim, "POST", "composite/sobjects/Contact", `{"ids":["003000000999999AAA"],"fields":["Nobody"]}`, 400, "INVALID_FIELD")
	says(t, sim, "DELETE", "composite/sobjects?allOrNone=true&ids="+id+",003000000999999AAA", "", 200, "ALL_OR_NONE_OPERATION_ROLLED_BACK", "ENTITY_IS_DELETED")
	says(t, sim, "DELETE", "composite/sobjects?ids="+id+",003000000999999AAA", "", 200, `"success":true`, "ENTITY_IS_DELETED")
	says(t, sim, "GET", "sobjects/Contact/"+id, "", 404)
}

func TestQuery_GoesInPages(t *testing.T) {
	sim := org(salesforcesim.Options{})
	for i := range 2001 {
		sim.Create("Contact", map[string]any{"LastName": fmt.Sprintf("L%04d", i)})
	}
	first := says(t, sim, "GET", "query?q=SELECT+LastName+FROM+Contact+ORDER+BY+LastName+DESC", "", 200, `"totalSize":2001`, `"done":false`, "!L0000")
	next := regexp.MustCompile(`"nextRecordsUrl":"/services/data/v68.0/([^"]+)"`).FindStringSubmatch(first)
	if next == nil {
		t.Fatal("no next page")
	}
	says(t, sim, "GET", next[1], "", 200, `"done":true`, "L0000", "!L0001")
	says(t, sim, "GET", "query/01g000000999999AAA-2000", "", 400, "INVALID_QUERY_LOCATOR")
	says(t, sim, "GET", "query?q=SELECT+COUNT()+FROM+Contact+WHERE+LastName+LIKE+'L00%25'", "", 200, `"totalSize":100`, `"records":[]`)
	says(t, sim, "GET", "query?q=SELECT+LastName+FROM+Contact+ORDER+BY+LastName+LIMIT+1+OFFSET+7", "", 200, "L0007", `"totalSize":1`)
	says(t, sim, "GET", "query?q=SELECT+LastName+FROM+Contact+OFFSET+2001", "", 400, "MALFORMED_QUERY")
	says(t, sim, "GET", "query?q=SELECT+LastName+FROM+Contact+WHERE+LastName+NOT+IN+('L0000')+AND+LastName+%3C+'L0002'", "", 200, `"totalSize":1`)
}

func TestQuery_ComparesNumbers(t *testing.T) {
	sim := org(salesforcesim.Options{})
	sim.AddField("Contact", salesforcesim.Typed("Score__c", "double"))
	for _, score := range []float64{3, 7, 11} {
		sim.Create("Contact", map[string]any{"LastName": "x", "Score__c": score})
	}
	for where, n := range map[string]int{"> 3": 2, ">= 3": 3, "< 11": 2, "<= 3": 1, "= 7": 1, "!= 7": 2} {
		says(t, sim, "GET", "query?q="+url.QueryEscape("SELECT COUNT() FROM Contact WHERE Score__c "+where), "", 200, fmt.Sprintf(`"totalSize":%d`, n))
	}
	says(t, sim, "GET", "query?q=SELECT+Id+FROM+Contact+WHERE+Score__c+=+'7'", "", 400, "must be of type double")
	says(t, sim, "GET", "query?q=SELECT+Score__c+FROM+Contact+ORDER+BY+Score__c+DESC+LIMIT+1", "", 200, `"Score__c":11`)
}

func TestQuery_KnowsTimesHoweverTheyAreWritten(t *testing.T) {
	sim := org(salesforcesim.Options{})
	sim.Create("WhatsApp_Message__c", map[string]any{"WA_Id__c": "w1", "Time__c": "2026-11-01T10:00:00Z"})
	sim.Create("WhatsApp_Message__c", map[string]any{"WA_Id__c": "w2"})
	for where, n := range map[string]int{"= 2026-11-01T11:00:00%2B01:00": 1, ">= 2026-11-01T10:00:00.000Z": 1, "> 2026-11-01T10:00:00Z": 0,
		"< 2026-11-01T10:00:00.001%2B0000": 1, "!= 2026-11-01T10:00:00Z": 1, "IN (2026-11-01T10:00:00Z)": 1, "= null": 1} {
		says(t, sim, "GET", "query?q=SELECT+COUNT()+FROM+WhatsApp_Message__c+WHERE+Time__c+"+strings.ReplaceAll(where, " ", "+"), "", 200, fmt.Sprintf(`"totalSize":%d`, n))
	}
	says(t, sim, "GET", "query?q=SELECT+Time__c+FROM+WhatsApp_Message__c", "", 200, `"Time__c":"2026-11-01T10:00:00.000+0000"`)
}

func TestRelationships_AreShownAndWritten(t *testing.T) {
	sim := org(salesforcesim.Options{})
	ana := sim.Create("Contact", map[string]any{"LastName": "Ana", "WA_Contact_Id__c": "c1"})
	message := func(key, contact string) string {
		return `{"attributes":{"type":"WhatsApp_Message__c"},"WA_Id__c":"` + key + `","Contact__r":{"WA_Contact_Id__c":"` + contact + `"}}`
	}
	says(t, sim, "PATCH", "composite/sobjects/WhatsApp_Message__c/WA_Id__c", records(message("w1", "C1"), message("w2", "nobody")), 200,
		`"success":true`, "Foreign key external ID: nobody not found for field WA_Contact_Id__c in entity Contact")
	says(t, sim, "PATCH", "composite/sobjects/WhatsApp_Message__c/WA_Id__c", records(`{"attributes":{"type":"WhatsApp_Message__c"},"WA_Id__c":"w3","Contact__r":{"Email":"x"}}`), 400, "not an External ID")
	if got := sim.Records("WhatsApp_Message__c"); len(got) != 1 || got[0].Fields["Contact__c"] != ana {
		t.Errorf("got %+v", got)
	}
	sim.Create("Case", map[string]any{"Subject": "nobody's"})
	says(t, sim, "GET", "query?q=SELECT+Contact__r.LastName,Contact__r.Email+FROM+WhatsApp_Message__c", "", 200, `"LastName":"Ana"`, `"Email":null`)
	says(t, sim, "GET", "query?q=SELECT+Contact.LastName+FROM+Case", "", 200, `"Contact":null`)
	says(t, sim, "GET", "query?q=SELECT+Nobody.LastName+FROM+Case", "", 400, "Didn't understand relationship 'Nobody'")
	says(t, sim, "GET", "query?q=SELECT+Contact.Nobody+FROM+Case", "", 400, "INVALID_FIELD")
}

func TestOrg_SaysWhatThereIsAndEndsTokens(t *testing.T) {
	sim := org(salesforcesim.Options{Username: "b@example.com"})
	says(t, sim, "GET", "sobjects", "", 200, `"name":"WhatsApp_Message__c"`)
	says(t, sim, "GET", "sobjects/Contact", "", 200, `"keyPrefix":"003"`)
	says(t, sim, "GET", "", "", 200, `"queryAll":"/services/data/v66.0/queryAll"`)
	for path, text := range map[string]string{"/services/data/": `"version":"66.0"`, "/id/00D000000000simEAA/005000000000simAAA": `"username":"b@example.com"`} {
		if code, body := ask(t, sim, "GET", path, ""); code != http.StatusOK || !strings.Contains(body, text) {
			t.Errorf("%s: got %d %s", path, code, body)
		}
	}
	if code, _ := ask(t, sim, "POST", "/services/oauth2/revoke?token=nobody", ""); code != http.StatusBadRequest {
		t.Errorf("a token of nobody is revoked: %d", code)
	}
	if code, _ := ask(t, sim, "POST", "/services/oauth2/revoke?token="+access, ""); code != http.StatusOK {
		t.Errorf("revoke: %d", code)
	}
	says(t, sim, "GET", "limits", "", 401, "INVALID_SESSION_ID")
}
