package salesforce

import "testing"

func TestReadView_SaysWhoIsInIt(t *testing.T) {
	const order = " ORDER BY Name ASC NULLS FIRST, Id ASC NULLS FIRST"
	for query, want := range map[string]view{
		"SELECT name, tolabel(type), owner.alias, id FROM Account WHERE CreatedDate = THIS_WEEK" + order: {"Account", "", "CreatedDate = THIS_WEEK"},
		"SELECT Name FROM Contact USING SCOPE mine" + order:                                              {"Contact", "mine", ""},
		"SELECT Name FROM Contact": {"Contact", "", ""},
		"select (SELECT Id FROM Cases), Name from Contact where (A = 'x' OR B = 'y') AND C = LAST_N_DAYS:30 order by C": {"Contact", "", "(A = 'x' OR B = 'y') AND C = LAST_N_DAYS:30"},
		`SELECT Name FROM Contact WHERE Name = 'a \' FROM b) LIMIT 1 ORDER BY' AND Über__c = 'ü'` + order:               {"Contact", "", `Name = 'a \' FROM b) LIMIT 1 ORDER BY' AND Über__c = 'ü'`},
		"SELECT Name FROM Contact WHERE Id IN (SELECT ContactId FROM CampaignMember WHERE A = 'x' LIMIT 5)" + order:     {"Contact", "", "Id IN (SELECT ContactId FROM CampaignMember WHERE A = 'x' LIMIT 5)"},
		"SELECT Name FROM Contact USING SCOPE mine\nWHERE\nNOT(Phone = null)\nORDER BY Name":                            {"Contact", "mine", "NOT(Phone = null)"},
	} {
		if got, ok := readView(query); !ok || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", query, got, ok, want)
		}
	}
	for _, query := range []string{
		"", "SELECT", "SELECT Name", "SELECT Name FROM", "FROM Contact", "SELECT Name FROM Contact WHERE", "SELECT Name FROM Contact WHERE ORDER BY Name",
		"SELECT Name FROM Contact USING SCOPE", "SELECT Name FROM Contact USING mine", "SELECT Name FROM Contact c WHERE c.Name = 'x'",
		"SELECT Name FROM Contact ORDER BY Name LIMIT 10", "SELECT Name FROM Contact WHERE A = 1 LIMIT 10", "SELECT Name FROM Contact LIMIT 10",
		"SELECT Name FROM Contact WHERE A = 1 GROUP BY Name", "SELECT Name FROM Contact FOR VIEW", "SELECT Name FROM Contact WHERE A = 1 ALL ROWS",
		"SELECT Name FROM Contact WHERE A = 'x", `SELECT Name FROM Contact WHERE A = 'x\'`, "SELECT Name FROM Contact WHERE (A = 1", "SELECT Name FROM Contact WHERE A = 1) OR (B = 2",
		"SELECT Name FROM Contact WHERE A = 1 WITH SECURITY_ENFORCED",
	} {
		if got, ok := readView(query); ok {
			t.Errorf("%s: got %+v, want it refused", query, got)
		}
	}
}
