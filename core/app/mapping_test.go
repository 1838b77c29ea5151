package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/mapping"
	"github.com/wabridge/wabridge/core/memnet"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store/boltstore"
	customhttp "github.com/wabridge/wabridge/plugins/custom-http"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
	"github.com/wabridge/wabridge/plugins/hubspot"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
	"github.com/wabridge/wabridge/plugins/salesforce"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
	"github.com/wabridge/wabridge/plugins/zoho"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

// side is a CRM, imitated, with its connector.
type side struct {
	sim       http.Handler
	connector core.Connector
	account   core.Account
	// city, email, count and last are the properties of the test.
	city, email, count, last string
	rules                    []core.MapRule // nil is what the connector suggests
	// read returns the contact as the CRM has it, edit is what a person does to it.
	read func() map[string]any
	edit func(t *testing.T, properties map[string]string)
	// drop takes the property that counts away, as an administrator may.
	drop func()
}

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// firstOf are the values of the only contact.
func firstOf[R any](records []R, fields func(R) map[string]any) map[string]any {
	if len(records) != 1 {
		return map[string]any{"records": len(records)}
	}
	return fields(records[0])
}

func anys(texts map[string]string) map[string]any {
	out := map[string]any{}
	for name, v := range texts {
		out[name] = v
	}
	return out
}

var sides = map[string]func(dial dialer) side{
	"hubspot": func(dial dialer) side {
		sim := hubspotsim.New(hubspotsim.Options{History: []string{"city", "email"}})
		sim.AddProperty("contacts", hubspotsim.Property{Name: "wa_messages_in", Type: "number", FieldType: "number"})
		sim.AddProperty("contacts", hubspotsim.Property{Name: "wa_last_inbound", Type: "datetime", FieldType: "date"})
		return side{
			sim: sim, connector: &hubspot.Connector{DialContext: dial}, city: "city", email: "email", count: "wa_messages_in", last: "wa_last_inbound",
			account: core.Account{Settings: json.RawMessage(`{"base_url":"http://127.0.0.1"}`), Secrets: map[string]core.Secret{"token": "pat"}},
			drop:    func() { sim.RemoveProperty("contacts", "wa_messages_in") },
			read: func() map[string]any {
				return firstOf(sim.Records("contacts"), func(r hubspotsim.Record) map[string]any { return anys(r.Properties) })
			},
			edit: func(t *testing.T, properties map[string]string) {
				if _, err := sim.Edit("contacts", sim.Records("contacts")[0].ID, properties); err != nil {
					t.Fatal(err)
				}
			},
		}
	},
	"salesforce": func(dial dialer) side {
		sim := salesforcesim.New(salesforcesim.Options{Tokens: []string{"access"}})
		sim.AddField("Contact", salesforcesim.Text("MailingCity", 5))
		sim.AddField("Contact", salesforcesim.Typed("WA_Messages_In__c", "double"))
		sim.AddField("Contact", salesforcesim.Typed("WA_Last_Inbound__c", "datetime"))
		return side{
			sim: sim, connector: &salesforce.Connector{DialContext: dial}, city: "MailingCity", email: "Email", count: "WA_Messages_In__c", last: "WA_Last_Inbound__c",
			account: core.Account{
				Settings: json.RawMessage(`{"login_url":"http://127.0.0.1","instance_host":"127.0.0.1","client_id":"c","username":"u"}`),
				Token:    &core.Token{Secrets: map[string]core.Secret{"access": "access"}, Values: map[string]string{"instance_url": "http://127.0.0.1"}},
			},
			drop: func() { sim.RemoveField("Contact", "WA_Messages_In__c") },
			read: func() map[string]any {
				return firstOf(sim.Records("Contact"), func(r salesforcesim.Record) map[string]any { return r.Fields })
			},
			edit: func(_ *testing.T, properties map[string]string) {
				sim.Edit("Contact", sim.Records("Contact")[0].ID, anys(properties))
			},
		}
	},
	"zoho": func(dial dialer) side {
		sim := zohosim.New(zohosim.Options{TokenLife: 24 * time.Hour})
		sim.AddField("Contacts", zohosim.Field{Name: "WA_Messages_In", Type: "integer", Custom: true})
		sim.AddField("Contacts", zohosim.Field{Name: "WA_Last_Inbound", Type: "datetime", Custom: true})
		return side{
			sim: sim, connector: &zoho.Connector{DialContext: dial}, city: "Mailing_City", email: "Email", count: "WA_Messages_In", last: "WA_Last_Inbound",
			account: core.Account{Settings: json.RawMessage(`{"api_url":"http://127.0.0.1","accounts_url":"http://127.0.0.1"}`),
				Secrets: map[string]core.Secret{"client_id": "c", "client_secret": "s", "refresh_token": "r"}},
			drop: func() { sim.RemoveField("Contacts", "WA_Messages_In") },
			read: func() map[string]any {
				return firstOf(sim.Records("Contacts"), func(r zohosim.Record) map[string]any { return anys(r.Values) })
			},
			edit: func(t *testing.T, properties map[string]string) {
				if _, err := sim.Edit(zohosim.Person, "Contacts", sim.Records("Contacts")[0].ID, anys(properties)); err != nil {
					t.Fatal(err)
				}
			},
		}
	},
	"custom-http": func(dial dialer) side {
		sim := customhttpsim.New(customhttpsim.Options{})
		settings := `{"base_url":"http://127.0.0.1/v1","allowed_hosts":["127.0.0.1"],"idempotency":"upsert","auth":{"type":"none"},
			"operations":{"*":{"skip":true},
				"message.received":{"method":"PUT","path":"/contacts/{{.contact.id}}","body":"{\"fields\": {{json .fields}}}"},
				"contact.changed":{"method":"PUT","path":"/contacts/{{.contact.id}}","body":"{\"fields\": {{json .fields}}}"}},
			"pull":[{"name":"changes","path":"/changes","rows":"data","since":"updated_at","start":"","query":{"updated_after":"{{.since}}"},
				"events":[{"kind":"contact.changed","phone":"phone","time":"updated_at"}]}]}`
		return side{
			sim: sim, connector: &customhttp.Connector{DialContext: dial}, city: "city", email: "form", count: "count", last: "last",
			rules: []core.MapRule{{Field: "city", Property: "city"}, {Field: "email", Property: "form"},
				{Field: "messages_in", Property: "count"}, {Field: "last_inbound", Property: "last"}},
			account: core.Account{Settings: json.RawMessage(settings)},
			read: func() map[string]any {
				all := map[string]any{} // what an API would have that keeps what is not mentioned
				for _, r := range sim.Requests() {
					var put struct{ Fields map[string]any }
					if r.Method == http.MethodPut && json.Unmarshal([]byte(r.Body), &put) == nil {
						maps.Copy(all, put.Fields)
					}
				}
				return all
			},
			edit: func(_ *testing.T, properties map[string]string) {
				sim.Change(customhttpsim.Entry{ID: "1", Type: "contact", Phone: "+34600111222", City: new(properties["city"]), Form: properties["form"]})
			},
		}
	},
}

// at is a connector as a lane has it: with its account, and what its mapping reads.
type at struct {
	side
	table *mapping.Table
}

func (c *at) now(ctx context.Context) core.Account {
	a := c.account
	a.Tenant, a.Lane, a.Properties = "acme", "crm", c.table.Reads()
	if auth, ok := c.connector.(core.Authorizer); ok && a.Token == nil {
		token, err := auth.Authorize(ctx, a)
		if err != nil {
			panic(err)
		}
		a.Token = &token
		c.account.Token = &token
	}
	return a
}

func (c *at) Info(context.Context) (core.ConnectorInfo, error) {
	info := c.connector.Info()
	_, info.Polls = c.connector.(core.Poller)
	_, info.Describes = c.connector.(core.Describer)
	return info, nil
}

func (c *at) Deliver(ctx context.Context, batch []core.Delivery) []core.Result {
	return c.connector.Deliver(ctx, c.now(ctx), batch)
}

func (c *at) Check(ctx context.Context) error { return c.connector.Check(ctx, c.now(ctx)) }

func (c *at) Describe(ctx context.Context) (core.Schema, error) {
	return c.connector.(core.Describer).Describe(ctx, c.now(ctx))
}

func (c *at) Poll(ctx context.Context, cursor json.RawMessage) (core.Polled, error) {
	return c.connector.(core.Poller).Poll(ctx, c.now(ctx), cursor)
}

// moves is a script that knows where a person lives when they say so.
type moves struct{}

func (moves) Version(string) (script.Version, bool) {
	return script.Version{Hash: "v1", Hooks: script.OnMessage}, true
}

func (moves) Decide(_ context.Context, _ string, calls []script.Call) []script.Decision {
	out := make([]script.Decision, len(calls))
	for i, c := range calls {
		var e core.Event
		if err := json.Unmarshal(c.Event, &e); err != nil {
			panic(err)
		}
		if city, ok := strings.CutPrefix(e.Message.Text, "I live in "); ok {
			out[i].Actions = []script.Action{{Type: script.ActionSetField, Name: "city", Value: city}}
		}
	}
	return out
}

type nowhere struct{}

func (nowhere) Deliver(context.Context, []core.Delivery) []core.Result { return nil }

func TestMapping_GoesBothWaysWithEachCRM(t *testing.T) {
	for name, of := range sides {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { bothWays(t, of) }) })
	}
}

func bothWays(t *testing.T, of func(dialer) side) {
	network := memnet.New()
	crm := of(network.DialContext)
	ln, err := network.Listen("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // a pipe has no buffer
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		crm.sim.ServeHTTP(w, r)
	})}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(ln) }()
	table, problems := mapping.New(crm.rules, crm.rules == nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	lane := &at{crm, table}
	if err := lane.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := boltstore.Open(t.TempDir(), boltstore.Options{MinFree: -1, BallastSize: -1, UnsafeNoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	b, err := broker.New(broker.Options{
		Store: st, Scripts: moves{}, OpaqueKey: []byte("0123456789abcdef0123456789abcdef"),
		Tenants: []broker.Tenant{{
			ID: "acme", Name: "Acme", Numbers: []broker.Number{{ID: "1065", Sink: nowhere{}}},
			Lanes: []broker.Lane{{Name: "crm", Connector: "crm", Sink: lane, Pull: time.Minute, Mapping: table, Idempotency: core.IdempotencyUpsert}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := [2]chan error{make(chan error, 1), make(chan error, 1)}
	sctx, stopStore := context.WithCancel(context.Background())
	go func() { stopped[0] <- st.Run(sctx) }()
	go func() { stopped[1] <- b.Run(ctx) }()
	defer func() {
		stop()
		<-stopped[1]
		stopStore()
		if err := errors.Join(<-stopped[0], st.Close(), server.Close()); err != nil {
			t.Error(err)
		}
		<-served
		if c, ok := crm.connector.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}()
	wait := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
	wait(2 * time.Minute)
	n := 0
	says := func(text string) {
		n++
		id := fmt.Sprint("wamid.", n)
		err := b.Accept(t.Context(), []core.Event{{
			ID: id, Kind: core.KindMessageReceived, Number: "1065", Time: time.Now(), Contact: &core.Contact{Phone: "+34600111222", Name: "Ana Ruiz"},
			Message: &core.Message{ID: id, Direction: core.Inbound, Type: core.TypeText, Text: text},
		}})
		if err != nil {
			t.Fatal(err)
		}
		wait(5 * time.Second)
	}
	want := func(what, city string, count int) {
		t.Helper()
		got := crm.read()
		if fmt.Sprint(got[crm.city]) != city || fmt.Sprint(got[crm.count]) != fmt.Sprint(count) || !strings.HasPrefix(fmt.Sprint(got[crm.last]), "20") {
			t.Errorf("%s: the CRM has %v", what, got)
		}
		dead, err := b.Dead(t.Context(), "", "", 10)
		if err != nil || len(dead) > 0 {
			t.Errorf("%s: dead letters %+v, %v", what, dead, err)
		}
	}
	fields := func() map[string]string {
		c, err := b.Contact(t.Context(), "acme", "+34600111222")
		if err != nil {
			t.Fatal(err)
		}
		return c.Fields
	}
	says("I live in Soria")
	want("with the first message", "Soria", 1)
	defer func() {
		if crm.drop == nil {
			return
		}
		crm.drop()
		says("still there?")
		wait(5 * time.Minute)
		says("and now?")
		wait(time.Minute)
		dead, err := b.Dead(t.Context(), "", "", 10)
		if err != nil || len(dead) > 0 || b.Snapshot().Lanes[1].Depth > 0 {
			t.Errorf("when a property is gone: dead letters %+v, %+v, %v", dead, b.Snapshot().Lanes[1], err)
		}
	}()
	if _, polls := crm.connector.(core.Poller); !polls || crm.edit == nil {
		return
	}
	crm.edit(t, map[string]string{crm.city: "Cadiz", crm.email: "Ana@example.com"})
	wait(3 * time.Minute)
	if f := fields(); f["city"] != "Cadiz" || !strings.EqualFold(f["email"], "ana@example.com") {
		t.Errorf("the contact has %v ", f)
	}
	says("hi")
	if got := fmt.Sprint(crm.read()[crm.count]); got != "2" {
		t.Errorf("after the second message the CRM has counted %s", got)
	}
	says("I live in Lugo")
	wait(3 * time.Minute)
	want("with a city that is newer", "Lugo", 3)
	if f := fields(); f["city"] != "Lugo" {
		t.Errorf("the contact has %v", f)
	}
	before := b.Snapshot().Totals
	wait(time.Hour)
	after := b.Snapshot().Totals
	if after.Duplicates = before.Duplicates; after != before { // what is told again counts once
		t.Errorf("nobody does anything, and %+v becomes %+v", before, after)
	}
}
