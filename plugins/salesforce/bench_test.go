package salesforce_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/salesforce"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

// BenchmarkDeliver measures batches of 200 messages of varied people with 15 mapped
// fields, over loopback: connector, HTTP and sim together, per event.
func BenchmarkDeliver(b *testing.B) {
	sim := salesforcesim.New(salesforcesim.Options{Tokens: []string{access}, Daily: 1 << 40})
	server := httptest.NewServer(sim)
	defer server.Close()
	c := &salesforce.Connector{}
	settings, err := json.Marshal(map[string]any{"login_url": server.URL, "instance_host": server.Listener.Addr().String(), "client_id": clientID, "username": username})
	if err != nil {
		b.Fatal(err)
	}
	account := core.Account{Tenant: "acme", Lane: "crm", Settings: settings, Token: &core.Token{
		Secrets: map[string]core.Secret{"access": access}, Values: map[string]string{"instance_url": server.URL}}}
	for i := range 15 {
		sim.AddField("Contact", salesforcesim.Text(fmt.Sprintf("Field_%d__c", i), 255))
	}
	const size, people = 200, 4000
	var batches [][]core.Delivery
	for n := 0; n < people; n += size {
		var batch []core.Delivery
		for i := range size {
			e := received(n + i)
			e.Accepted = time.Now().Add(time.Hour)
			e.Message.Text = "an ordinary message of some sixty characters, as people write"
			e.Fields = map[string]any{}
			for f := range 15 {
				e.Fields[fmt.Sprintf("Field_%d__c", f)] = fmt.Sprintf("value %d of %d", f, n)
			}
			batch = append(batch, core.Delivery{Event: e, Attempt: 1})
		}
		batches = append(batches, batch)
	}
	n := 0
	deliver := func() {
		for _, r := range c.Deliver(b.Context(), account, batches[n%len(batches)]) {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
		}
		n++
	}
	for range batches { // the people become known
		deliver()
	}
	n = 0
	for b.Loop() {
		deliver()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n*size), "µs/event")
}
