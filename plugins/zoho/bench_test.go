package zoho_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/zoho"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

// BenchmarkDeliver measures batches of 100 messages of varied people with 15 mapped
// fields, over loopback: connector, HTTP and sim together, per event.
func BenchmarkDeliver(b *testing.B) {
	sim := zohosim.New(zohosim.Options{})
	server := httptest.NewServer(sim)
	defer server.Close()
	c := &zoho.Connector{}
	account := core.Account{Tenant: "acme", Lane: "crm", Secrets: secrets,
		Settings: []byte(`{"api_url":"` + server.URL + `","accounts_url":"` + server.URL + `","adopt":false}`)}
	token, err := c.Authorize(b.Context(), account)
	if err != nil {
		b.Fatal(err)
	}
	account.Token = &token
	for i := range 15 {
		sim.AddField("Contacts", zohosim.Field{Name: fmt.Sprintf("Field_%d", i), Type: "text", Length: 255})
	}
	const size, people = 100, 20_000
	var batches [][]core.Delivery
	for n := 0; n < people; n += size {
		var batch []core.Delivery
		for i := range size {
			e := received(n + i)
			e.Message.Text = "an ordinary message of some sixty characters, as people write"
			e.Fields = map[string]any{}
			for f := range 15 {
				e.Fields[fmt.Sprintf("Field_%d", f)] = fmt.Sprintf("value %d of %d", f, n)
			}
			data, err := json.Marshal(e)
			if err != nil {
				b.Fatal(err)
			}
			batch = append(batch, core.Delivery{Event: e, Data: data})
		}
		batches = append(batches, batch)
	}
	for _, form := range []string{"event", "data"} {
		b.Run(form, func(b *testing.B) {
			n := 0
			for b.Loop() {
				batch := batches[n%len(batches)]
				if form == "data" {
					batch = append([]core.Delivery(nil), batch...)
					for i := range batch {
						batch[i].Event = nil
					}
				}
				for _, r := range c.Deliver(b.Context(), account, batch) {
					if r.Err != nil {
						b.Fatal(r.Err)
					}
				}
				n++
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n*size), "µs/event")
		})
	}
}
