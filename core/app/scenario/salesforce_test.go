package scenario

import (
	"fmt"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

// salesforceCRM is Salesforce with messages as records of an object, or as tasks;
// escalations are the other, or cases.
type salesforceCRM struct {
	*salesforcesim.Sim
	mode string // "object" or "task"
}

func newSalesforce(mode string) driver {
	sim := salesforcesim.New(salesforcesim.Options{ClientID: "client", ClientSecret: "secret", Daily: 1_000_000, Seed: 5})
	for _, name := range []string{"WA_Order__c", "WA_Consent__c", "WA_Suppressed__c"} {
		sim.AddField("Contact", salesforcesim.Text(name, 255))
	}
	return salesforceCRM{sim, mode}
}

func (c salesforceCRM) name() string { return "salesforce-" + c.mode }

func (c salesforceCRM) lane(url, retry string) string {
	return fmt.Sprintf(`[[lanes]]
connector = "salesforce"
secrets = { client_secret = "secret" }
%s
[lanes.settings]
login_url = %q
instance_host = %q
auth = "client_credentials"
client_id = "client"
mode = %q
escalations = %q
consent_field = "WA_Consent__c"
suppressed_field = "WA_Suppressed__c"
contact_fields = { order = "WA_Order__c" }
`, retry, url, strings.TrimPrefix(url, "http://"), c.mode, map[string]string{"object": "case", "task": "task"}[c.mode])
}

func (c salesforceCRM) trouble(what trouble) {
	switch what {
	case storm:
		c.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultStatus, Match: "/composite/", Status: 403, Code: "REQUEST_LIMIT_EXCEEDED", Message: "ConcurrentPerOrgLongTxn Limit exceeded.", Count: 3})
	case lost:
		c.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultLost, Match: "/composite/", Chance: 0.1, Count: 20})
	case partial:
		c.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultRow, Code: "UNABLE_TO_LOCK_ROW", Row: "7", Count: 3})
	case expired:
		c.Revoke()
	case outage:
		c.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultStatus, Status: 503, Code: "SERVER_UNAVAILABLE", Message: "down"})
	}
}

func (c salesforceCRM) heal()      { c.Heal() }
func (c salesforceCRM) calls() int { return total(c.Stats().Requests) }

func (c salesforceCRM) lacks() []string {
	if c.mode == "task" {
		return []string{"message.type", "message.date"}
	}
	return nil
}

func (c salesforceCRM) makes(name, phone string) error {
	c.Create("Contact", map[string]any{"LastName": name, "Phone": phone})
	return nil
}

func (c salesforceCRM) read() state {
	s, who := newState(), map[string]string{}
	get := func(r salesforcesim.Record, name string) string { v, _ := r.Fields[name].(string); return v }
	for _, r := range c.Records("Contact") {
		id := get(r, "WA_Contact_Id__c")
		if r.Fields["IsDeleted"] == true {
			continue
		}
		who[r.ID] = id
		name := get(r, "LastName")
		s.contact(id, person{
			Name: name, Phone: get(r, "MobilePhone"), BSUID: get(r, "WA_BSUID__c"), Tags: get(r, "WA_Tags__c"),
			Order: get(r, "WA_Order__c"), Marketing: get(r, "WA_Consent__c"), Suppressed: get(r, "WA_Suppressed__c"),
		})
	}
	noted := func(id string, r salesforcesim.Record) {
		for _, w := range r.History {
			s.history[id] = append(s.history[id], w.Value)
		}
	}
	if c.mode == "task" {
		for _, r := range c.Records("Task") {
			if id := get(r, "WA_Escalation_Id__c"); id != "" {
				s.escalation(id, c.escalation(r, who[get(r, "WhoId")]))
				continue
			}
			id := get(r, "WA_Id__c")
			m := message{Contact: who[get(r, "WhoId")], Direction: core.Direction(get(r, "WA_Direction__c")), Text: get(r, "Description"), Status: get(r, "WA_Status__c")}
			if m.Direction == core.Inbound {
				m.Time = get(r, "ActivityDate")
			}
			s.message(id, m)
			noted(id, r)
		}
		return s
	}
	for _, r := range c.Records("WhatsApp_Message__c") {
		id := get(r, "WA_Id__c")
		m := message{
			Contact: who[get(r, "Contact__c")], Direction: core.Direction(get(r, "Direction__c")), Type: get(r, "Type__c"),
			Text: get(r, "Body__c"), Status: get(r, "Status__c"),
		}
		if m.Direction == core.Inbound {
			m.Time = strings.Replace(get(r, "Time__c"), ".000Z", "Z", 1)
		}
		s.message(id, m)
		noted(id, r)
	}
	for _, r := range c.Records("Case") {
		s.escalation(get(r, "WA_Escalation_Id__c"), c.escalation(r, who[get(r, "ContactId")]))
	}
	return s
}

func (c salesforceCRM) escalation(r salesforcesim.Record, contact string) escalation {
	text := func(name string) string { v, _ := r.Fields[name].(string); return v }
	return escalation{
		Contact: contact, Reason: strings.TrimPrefix(text("Subject"), "WhatsApp: "), Priority: strings.ToLower(text("Priority")),
		Closed: text("Status") == "Closed" || text("Status") == "Completed",
	}
}
