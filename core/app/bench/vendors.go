package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

// vendor is a CRM, imitated, behind a lane.
type vendor struct {
	name, connector string
	http.Handler
	// lane is the lane's part of tenant.toml for a CRM at url.
	lane func(url string) string
	// field is how the fields that the script maps are called there: %d counts them.
	field string
	// down has it answer 503, from so long from now on, for a while.
	down func(after, lasts time.Duration)
	// begin starts what the CRM is beside its API, until ctx ends; nil where it is no more.
	begin func(ctx context.Context, b *bridge) error
	// ready reports whether the CRM tells the bridge of what happens; nil where it always does.
	ready func() bool
	// ask has somebody at the CRM write to a contact, and the CRM tell the bridge.
	ask func(ctx context.Context, b *bridge, phone, text string) error

	requests atomic.Int64
}

// mapped is how many fields the script maps beside the name.
const mapped = 14

// crmSecret signs what CRMs tell.
const crmSecret = "bench-crm-secret"

// vendors make the CRMs of which the measurement crms tells.
var vendors = []func(latency time.Duration) *vendor{
	func(l time.Duration) *vendor { return newHubspot("hubspot", l) },
	func(l time.Duration) *vendor { return newHubspot("hubspot, 190 calls in 10 s", l) },
	func(l time.Duration) *vendor { return newSalesforce("object", l) },
	func(l time.Duration) *vendor { return newSalesforce("task", l) },
	func(l time.Duration) *vendor { return newZoho("module", l) },
	func(l time.Duration) *vendor { return newZoho("notes", l) },
	newCustom,
}

func newHubspot(name string, latency time.Duration) *vendor {
	sim := hubspotsim.New(hubspotsim.Options{Latency: latency, History: []string{"wa_send_text"}})
	v := &vendor{name: name, connector: "hubspot", Handler: sim, field: "wa_f%d"}
	for i := range mapped {
		sim.AddProperty("contacts", hubspotsim.Property{Name: fmt.Sprintf(v.field, i+1), Label: "f", GroupName: "contactinformation", Type: "string", FieldType: "text"})
	}
	sim.AddProperty("contacts", hubspotsim.Property{Name: "wa_send_text", Label: "f", GroupName: "contactinformation", Type: "string", FieldType: "text"})
	budgets := `{ name = "api", calls = 1000000, per = "10s" }, { name = "search", calls = 1000000, per = "10s" }`
	if strings.Contains(name, "190") { // and 5 searches in a second, as it declares
		budgets = `{ name = "api", calls = 190, per = "10s" }`
	}
	v.lane = func(url string) string {
		return fmt.Sprintf(`[[lanes]]
connector = "hubspot"
secrets = { token = "bench-token", client_secret = %q }
budgets = [%s]
[lanes.settings]
base_url = %q
send_property = "wa_send_text"
`, crmSecret, budgets, url)
	}
	v.down = func(after, lasts time.Duration) {
		sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Status: 503, After: after, For: lasts})
	}
	ids := map[string]string{} // by phone number, as they were looked for last
	v.ask = func(ctx context.Context, b *bridge, phone, text string) error {
		if ids[phone] == "" {
			for _, r := range sim.Records("contacts") {
				ids[r.Properties["phone"]] = r.ID
			}
		}
		if _, err := sim.Edit("contacts", ids[phone], map[string]string{"wa_send_text": text}); err != nil {
			return fmt.Errorf("%q to %s: %w", text, phone, err)
		}
		id, err := strconv.ParseInt(ids[phone], 10, 64)
		if err != nil {
			return err
		}
		r, err := hubspotsim.Hook(ctx, b.hook(), crmSecret, hubspotsim.HookEvent{
			SubscriptionType: "contact.propertyChange", ObjectID: id, PropertyName: "wa_send_text", PropertyValue: text,
		})
		if err != nil {
			return err
		}
		return b.post(r)
	}
	return v
}

func newSalesforce(mode string, latency time.Duration) *vendor {
	sim := salesforcesim.New(salesforcesim.Options{Daily: 1 << 30, Latency: latency})
	v := &vendor{name: "salesforce, " + mode, connector: "salesforce", Handler: sim, field: "WA_F%d__c"}
	for i := range mapped {
		sim.AddField("Contact", salesforcesim.Text(fmt.Sprintf(v.field, i+1), 255))
	}
	const event = "WhatsApp_Outbound__e"
	sim.Topic("/event/"+event, "Phone__c", "Body__c")
	bus := "" // where its Pub/Sub API is
	v.begin = func(ctx context.Context, b *bridge) error {
		ln, err := listen()
		if err != nil {
			return err
		}
		bus = "http://" + ln.Addr().String()
		b.sims.Go(func() { _ = sim.RunPubSub(ctx, ln) })
		return nil
	}
	v.ask = func(_ context.Context, _ *bridge, phone, text string) error {
		sim.Publish(event, map[string]any{"Phone__c": phone, "Body__c": text})
		return nil
	}
	v.lane = func(url string) string {
		return fmt.Sprintf(`[[lanes]]
connector = "salesforce"
secrets = { client_secret = "bench-secret" }
budgets = [{ name = "api", calls = 1000000000, per = "24h" }]
[lanes.settings]
login_url = %q
instance_host = %q
auth = "client_credentials"
client_id = "bench"
mode = %q
send_event = %q
pubsub_url = %q
`, url, strings.TrimPrefix(url, "http://"), mode, event, bus)
	}
	return v
}

func newZoho(mode string, latency time.Duration) *vendor {
	sim := zohosim.New(zohosim.Options{Latency: latency})
	v := &vendor{name: "zoho, " + mode, connector: "zoho", Handler: sim, field: "WA_F%d"}
	for i := range mapped {
		sim.AddField("Contacts", zohosim.Field{Name: fmt.Sprintf(v.field, i+1), Type: "text", Length: 255, Custom: true})
	}
	const outbox = "WhatsApp_Outbox"
	sim.AddModule(outbox)
	sim.AddField(outbox, zohosim.Field{Name: "Phone", Type: "phone", Length: 50, Custom: true})
	sim.AddField(outbox, zohosim.Field{Name: "Body", Type: "textarea", Length: 4096, Custom: true})
	v.begin = func(ctx context.Context, b *bridge) error {
		b.sims.Go(func() { sim.Run(ctx, &b.client) })
		return nil
	}
	v.ready = func() bool { return len(sim.Channels()) > 0 }
	v.ask = func(_ context.Context, _ *bridge, phone, text string) error {
		_, err := sim.Edit(zohosim.Person, outbox, "", map[string]any{"Name": text, "Phone": phone, "Body": text})
		return err
	}
	v.lane = func(url string) string {
		return fmt.Sprintf(`[[lanes]]
connector = "zoho"
secrets = { client_id = "bench", client_secret = "bench", refresh_token = "bench" }
budgets = [{ name = "credits", calls = 1000000000, per = "24h" }]
[lanes.settings]
api_url = %q
accounts_url = %q
mode = %q
send_module = %q
`, url, url, mode, outbox)
	}
	return v
}

// newCustom is an API behind the example that ships for those that take many
// records at once.
func newCustom(latency time.Duration) *vendor {
	sim := customhttpsim.New(customhttpsim.Options{Key: "bench-key", Latency: latency})
	v := &vendor{name: "custom-http, bulk", connector: "custom-http", Handler: sim, field: "f%d"}
	v.lane = func(url string) string {
		example, err := os.ReadFile("plugins/custom-http/testdata/bulk.toml")
		if err != nil {
			return err.Error() + " (bench runs at the top of the repository)" // no TOML: the bridge does not start
		}
		return strings.NewReplacer(
			`"https://warehouse.example.com/v1"`, `"`+url+`/v1"`+"\nallowed_hosts = [\"127.0.0.1\"]",
			`api_key = "env:WAREHOUSE_KEY"`, `api_key = "bench-key", webhook = "`+crmSecret+`"`,
			`name = "warehouse"`, "name = \"custom-http\"\nbudgets = [{ name = \"requests\", calls = 1000000, per = \"1s\" }]",
		).Replace(string(example)) + `
[lanes.settings.webhook]
verify = { type = "hmac", name = "X-Signature" }
events = [{ kind = "message.send", id = "id", phone = "phone", text = "text", author = "human" }]
`
	}
	v.ask = func(ctx context.Context, b *bridge, phone, text string) error {
		body := fmt.Appendf(nil, `{"id":%q,"phone":%q,"text":%q}`, text, phone, text)
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.hook(), bytes.NewReader(body))
		if err != nil {
			return err
		}
		mac := hmac.New(sha256.New, []byte(crmSecret))
		_, _ = mac.Write(body)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Signature", hex.EncodeToString(mac.Sum(nil)))
		return b.post(r)
	}
	return v
}
