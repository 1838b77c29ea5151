package zoho_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/connectortest"
	"github.com/wabridge/wabridge/plugins/zoho"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

func TestMain(m *testing.M) {
	connectortest.ServeIfChild(map[string]core.Connector{"zoho": zoho.New()})
	os.Exit(m.Run())
}

func TestConnector_Conforms(t *testing.T) {
	for _, mode := range []string{"module", "notes"} {
		sim := zohosim.New(zohosim.Options{ClientID: "1000.CLIENT", ClientSecret: "very-secret", RefreshToken: "1000.refresh"})
		server := httptest.NewServer(sim)
		t.Cleanup(server.Close)
		settings := func(name, value string) json.RawMessage {
			m := map[string]any{"api_url": server.URL, "accounts_url": server.URL, "mode": mode, "pull_tags": true,
				"pull_fields": map[string]string{"city": "Mailing_City"}}
			m[name] = value
			b, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		ids := make([]string, 250)
		for i := range ids {
			ids[i] = sim.AddRecord("Contacts", map[string]any{"Last_Name": "Member", "Phone": fmt.Sprintf("+3460111%04d", i)})
		}
		sim.AddView("Contacts", zohosim.View{Name: "Customers of Genève", Members: ids})
		sim.AddCampaign("Winter Fair", ids...)
		target := connectortest.Target{
			Connector: zoho.New(),
			Account:   core.Account{Tenant: "acme", Lane: "crm", Settings: settings("timeout", "10s"), Secrets: secrets},
			BadSettings: map[string]json.RawMessage{
				"api_url":     settings("api_url", "http://www.zohoapis.com"),
				"data_centre": settings("data_centre", "mars"),
				"contact_key": settings("contact_key", ""),
				"mode":        settings("mode", "fax"),
				"tokn":        settings("tokn", "x"),
				"send_module": settings("send_module", "no module"),
			},
			BadSecrets: map[string]core.Secret{"client_id": "1000.CLIENT", "client_secret": "very-secret", "refresh_token": "1000.revoked"},
			Records: func() map[string]int {
				n := map[string]int{}
				if mode == "notes" {
					for _, r := range sim.Records("Notes") {
						if _, id, _ := strings.Cut(r.Values["Note_Title"], " · "); !r.Deleted {
							n[id]++
						}
					}
					return n
				}
				for _, r := range sim.Records("WhatsApp_Messages") {
					if r.Values["Contact"] != "" {
						n[r.Values["WA_Message_ID"]]++
					}
				}
				return n
			},
			Fail: func(status int) {
				sim.Heal()
				if status != 0 {
					sim.Inject(zohosim.Fault{Kind: zohosim.FaultStatus, Status: status})
				}
			},
			Stall: func(stalled bool) {
				if stalled {
					sim.Inject(zohosim.Fault{Kind: zohosim.FaultHang})
				} else {
					sim.Heal()
				}
			},
		}
		t.Run(mode+" in process", func(t *testing.T) { connectortest.Run(t, target) })
		t.Run(mode+" as a plugin", func(t *testing.T) {
			target.Connector = connectortest.Plugin(t, "zoho")
			connectortest.Run(t, target)
		})
	}
}
