package hubspot_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/connectortest"
	"github.com/wabridge/wabridge/plugins/hubspot"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

func TestMain(m *testing.M) {
	connectortest.ServeIfChild(map[string]core.Connector{"hubspot": hubspot.New()})
	os.Exit(m.Run())
}

func TestConnector_Conforms(t *testing.T) {
	for name, mode := range map[string]map[string]string{
		"2026-09": {"api_version": "2026-09"}, "v3": {"api_version": "v3"}, "inbox": {"log_messages": "inbox", "channel_id": "900", "inbox_id": "71"},
	} {
		sim := hubspotsim.New(hubspotsim.Options{Tokens: []string{token}})
		server := httptest.NewServer(sim)
		t.Cleanup(server.Close)
		settings := func(name, value string) json.RawMessage {
			m := map[string]string{"base_url": server.URL}
			maps.Copy(m, mode)
			m[name] = value
			b, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		target := connectortest.Target{
			Connector: hubspot.New(),
			Account: core.Account{Tenant: "acme", Lane: "crm", Settings: settings("timeout", "10s"),
				Secrets: map[string]core.Secret{"token": token, "client_secret": appSecret}},
			BadSettings: map[string]json.RawMessage{
				"base_url":    settings("base_url", "http://api.hubapi.com"),
				"api_version": settings("api_version", "v1"),
				"contact_key": settings("contact_key", ""),
				"tokn":        settings("tokn", "x"),
			},
			BadSecrets: map[string]core.Secret{"token": "pat-na1-revoked", "client_secret": "another-secret-of-an-app"},
			Records: func() map[string]int {
				n := map[string]int{}
				for _, m := range sim.InboxMessages() {
					n[m.Idempotency]++
				}
				for _, r := range sim.Records("communications") {
					if len(r.Associated["contacts"]) == 1 {
						n[r.Properties["wa_message_id"]]++
					}
				}
				return n
			},
			Fail: func(status int) {
				sim.Heal()
				if status != 0 {
					sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Status: status, RetryAfter: "7"})
				}
			},
			Stall: func(stalled bool) {
				if stalled {
					sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultHang})
				} else {
					sim.Heal()
				}
			},
		}
		sim.AddChannel(inboxChannel(""))
		var people []string
		for i := range 201 { // two pages
			id, err := sim.Edit("contacts", "", map[string]string{"firstname": "Member", "phone": fmt.Sprintf("+3469900%04d", i)})
			if err != nil {
				t.Fatal(err)
			}
			people = append(people, id)
		}
		sim.AddList(hubspotsim.List{Name: "Customers of Genève"}, people...)
		sim.AddList(hubspotsim.List{Name: "Nobody yet", ProcessingType: "DYNAMIC"})
		t.Run(fmt.Sprintf("%s in process", name), func(t *testing.T) { connectortest.Run(t, target) })
		t.Run(fmt.Sprintf("%s as a plugin", name), func(t *testing.T) {
			target.Connector = connectortest.Plugin(t, "hubspot")
			connectortest.Run(t, target)
		})
	}
}
