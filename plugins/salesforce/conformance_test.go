package salesforce_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/connectortest"
	"github.com/wabridge/wabridge/plugins/salesforce"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

func TestMain(m *testing.M) {
	connectortest.ServeIfChild(map[string]core.Connector{"salesforce": salesforce.New()})
	os.Exit(m.Run())
}

func TestConnector_Conforms(t *testing.T) {
	for _, mode := range []string{"object", "task"} {
		sim := salesforcesim.New(salesforcesim.Options{ClientID: clientID, Username: username, PublicKey: &privateKey(t).PublicKey})
		campaign := sim.Create("Campaign", map[string]any{"Name": "50% off"})
		for i := range 3 {
			member := sim.Create("Contact", map[string]any{"LastName": fmt.Sprint("Member ", i), "Phone": fmt.Sprint("+3461100000", i)})
			sim.Create("CampaignMember", map[string]any{"CampaignId": campaign, "ContactId": member})
		}
		server := httptest.NewServer(sim)
		t.Cleanup(server.Close)
		settings := func(name, value string) json.RawMessage {
			m := map[string]any{"login_url": server.URL, "instance_host": server.Listener.Addr().String(), "client_id": clientID, "username": username,
				"mode": mode, "escalations": map[string]string{"object": "case", "task": "task"}[mode]}
			m[name] = value
			b, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		target := connectortest.Target{
			Connector: salesforce.New(),
			Account: core.Account{Tenant: "acme", Lane: "crm", Settings: settings("timeout", "10s"),
				Secrets: map[string]core.Secret{"private_key": privatePEM(t, privateKey(t))}},
			BadSettings: map[string]json.RawMessage{
				"login_url":   settings("login_url", "http://login.salesforce.com"),
				"api_version": settings("api_version", "66"),
				"contact_key": settings("contact_key", ""),
				"usrname":     settings("usrname", "x"),
			},
			BadSecrets: map[string]core.Secret{"private_key": privatePEM(t, otherKey(t))},
			Records: func() map[string]int {
				n := map[string]int{}
				object, link := "WhatsApp_Message__c", "Contact__c"
				if mode == "task" {
					object, link = "Task", "WhoId"
				}
				for _, r := range sim.Records(object) {
					if r.Fields[link] != nil {
						n[fmt.Sprint(r.Fields["WA_Id__c"])]++
					}
				}
				return n
			},
			Fail: func(status int) {
				sim.Heal()
				if status != 0 {
					sim.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultStatus, Status: status})
				}
			},
			Stall: func(stalled bool) {
				if stalled {
					sim.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultHang})
				} else {
					sim.Heal()
				}
			},
		}
		t.Run(mode+" in process", func(t *testing.T) { connectortest.Run(t, target) })
		t.Run(mode+" as a plugin", func(t *testing.T) {
			target.Connector = connectortest.Plugin(t, "salesforce")
			connectortest.Run(t, target)
		})
	}
}
