package customhttp

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/wabridge/wabridge/core"
)

func TestConnector_CompilesSettingsOnce(t *testing.T) {
	settings := func(i int) json.RawMessage {
		return json.RawMessage(fmt.Sprintf(`{"base_url":"https://crm.example.com/%d","idempotency":"none","operations":{"*":{}}}`, i))
	}
	c := new(Connector)
	first, err := c.plan(core.Account{Settings: settings(1)})
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := c.plan(core.Account{Settings: settings(1)}); again != first {
		t.Error("the same settings were compiled twice")
	}
	if other, _ := c.plan(core.Account{Settings: settings(2)}); other == first {
		t.Error("other settings made the same plan")
	}
	for i := range 10 * maxPlans {
		if p, err := c.plan(core.Account{Settings: settings(i)}); err != nil || p == nil {
			t.Fatal(err)
		}
	}
	if len(c.plans) > maxPlans {
		t.Errorf("%d plans are kept, at most %d should be", len(c.plans), maxPlans)
	}
	if p, err := c.plan(core.Account{Settings: json.RawMessage(`{}`)}); err == nil || p != nil {
		t.Error("bad settings made a plan")
	}
}

func FuzzCompile_RefusesOrMakesAPlan(f *testing.F) {
	f.Add([]byte(`{"base_url":"https://crm.example.com","idempotency":"none","operations":{"*":{"path":"/{{.id}}","body":"{{if .message}}{{.message.text}}{{end}}"}}}`))
	f.Add([]byte(`{"base_url":"https://a","idempotency":{"mode":"key"},"timeout":"1s","operations":{"unknown":{"batch":{"max_items":1,"results":{"match":"key","key_path":"a.0","status":"s"}}}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := compile(raw)
		if (p == nil) == (err == nil) {
			t.Errorf("%s: %v and %v", raw, p, err)
		}
		if err == nil && (p.base == nil || p.timeout <= 0 || p.parallel < 1) {
			t.Errorf("%s: %+v", raw, p)
		}
	})
}
