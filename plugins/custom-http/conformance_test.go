package customhttp_test

import (
	"encoding/json"
	"maps"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/connectortest"
	customhttp "github.com/wabridge/wabridge/plugins/custom-http"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

// declared is the connector with what the owner of a lane says of it.
type declared struct {
	core.Segmenter
	idempotency core.Idempotency
}

func (d declared) Info() core.ConnectorInfo {
	info := d.Segmenter.Info()
	info.Idempotency, info.SearchDelay = d.idempotency, 100*time.Millisecond
	return info
}

var connectors = map[string]core.Connector{
	"one-by-one": declared{&customhttp.Connector{}, core.IdempotencyKey},
	"bulk":       declared{&customhttp.Connector{}, core.IdempotencyUpsert},
	"search":     declared{&customhttp.Connector{}, core.IdempotencySearch},
	"undeclared": customhttp.New(),
}

func TestMain(m *testing.M) {
	connectortest.ServeIfChild(connectors)
	os.Exit(m.Run())
}

func TestConnector_ConformsWithTheExamples(t *testing.T) {
	for name, connector := range connectors {
		file := name
		if name == "undeclared" {
			file = "one-by-one"
		}
		t.Run(name, func(t *testing.T) {
			sim := customhttpsim.New(customhttpsim.Options{Token: token, Key: apiKey, Shuffle: true, SearchDelay: 100 * time.Millisecond})
			sim.SetList(customhttpsim.List{ID: "a/b?c", Name: "Très importants", Type: "contacts", Members: people(230)})
			sim.SetList(customhttpsim.List{ID: "firms", Name: "Très importantes", Type: "companies"})
			sim.SetList(customhttpsim.List{ID: "7", Name: "New ones", Type: "contacts"})
			server := httptest.NewServer(sim)
			t.Cleanup(server.Close)
			settings := func(change table) json.RawMessage {
				s := maps.Clone(example(t, file))
				s["base_url"], s["allowed_hosts"] = server.URL+"/v1", []string{"127.0.0.1"}
				s["segments"] = example(t, "two-way")["segments"]
				maps.Copy(s, change)
				return toJSON(t, s)
			}
			target := connectortest.Target{
				Connector: connector,
				Account:   core.Account{Tenant: "acme", Lane: "crm", Settings: settings(nil), Secrets: secrets()},
				BadSettings: map[string]json.RawMessage{
					"base_url":    settings(table{"base_url": "http://crm.example.com"}),
					"timeout":     settings(table{"timeout": 10}),
					"idempotency": settings(table{"idempotency": nil}),
					"auth.type":   settings(table{"auth": table{"type": "magic"}}),
					"segments":    settings(table{"segments": table{}}),
					"time_out":    settings(table{"time_out": "10s"}),
				},
				BadSecrets: map[string]core.Secret{"token": "revoked-token", "api_key": "revoked-key"},
				Records: func() map[string]int {
					n := sim.Count("message")
					maps.Copy(n, sim.Count("event"))
					maps.Copy(n, sim.Count("note"))
					return n
				},
				Fail: func(status int) {
					sim.Heal()
					if status != 0 {
						sim.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: status, Header: map[string]string{"Retry-After": "7", "X-Retry-In": "7000"}})
					}
				},
				Stall: func(stalled bool) {
					if stalled {
						sim.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultHang})
					} else {
						sim.Heal()
					}
				},
			}
			t.Run("in process", func(t *testing.T) { connectortest.Run(t, target) })
			t.Run("as a plugin", func(t *testing.T) {
				target.Connector = connectortest.Plugin(t, name)
				connectortest.Run(t, target)
			})
		})
	}
}
