// Package connectortest says whether a connector does what every
// [core.Connector] must do. A connector's tests run it twice, in their own
// process and through a real plugin process:
//
//	func TestMain(m *testing.M) {
//		connectortest.ServeIfChild(map[string]core.Connector{"acme": acme.New()})
//		os.Exit(m.Run())
//	}
//
//	func TestConnector_Conforms(t *testing.T) {
//		sim := acmesim.New()
//		server := httptest.NewServer(sim)
//		t.Cleanup(server.Close)
//		target := connectortest.Target{
//			Connector: acme.New(),
//			Account: core.Account{
//				Tenant: "shop", Lane: "crm",
//				Settings: json.RawMessage(fmt.Sprintf(`{"base_url":%q}`, server.URL)),
//				Secrets:  map[string]core.Secret{"token": "good-token"},
//			},
//			BadSettings: map[string]json.RawMessage{"base_url": json.RawMessage(`{"base_url":"not a url"}`)},
//			BadSecrets:  map[string]core.Secret{"token": "wrong-token"},
//			Records:     sim.CountByEvent,
//			Stall:       sim.Stall,
//		}
//		t.Run("in process", func(t *testing.T) { connectortest.Run(t, target) })
//		t.Run("as a plugin", func(t *testing.T) {
//			target.Connector = connectortest.Plugin(t, "acme")
//			connectortest.Run(t, target)
//		})
//	}
//
// The package does not import testing, so that a program can run the same rules
// with [Suite].
package connectortest
