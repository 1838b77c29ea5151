package salesforce_test

import (
	"fmt"
	"net"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/salesforce"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

const outbound = "WhatsApp_Outbound__e"

// listening is a teller at an org that tells at once.
func listening(t testing.TB) *teller {
	t.Helper()
	sim := salesforcesim.New(salesforcesim.Options{Tokens: []string{access}})
	sim.Topic("/event/"+outbound, "Phone__c", "Body__c")
	sim.Topic("/data/ContactChangeEvent")
	server, bus := httptest.NewServer(sim), grpc.NewServer()
	sim.ServePubSub(bus)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = bus.Serve(ln) }()
	b := &bench{t: t, sim: sim, connector: &salesforce.Connector{}, known: map[string]string{}}
	t.Cleanup(func() { b.connector.CloseIdleConnections(); bus.Stop(); server.Close() })
	b.account = core.Account{Tenant: "acme", Lane: "crm", Token: &core.Token{Secrets: map[string]core.Secret{"access": access},
		Values: map[string]string{"instance_url": server.URL, "user": salesforcesim.Integration, "org": "00D000000000simEAA"}}}
	b.account.Settings = fmt.Appendf(nil, `{"login_url":%q,"instance_host":%q,"client_id":"c","username":"u","pubsub_url":"http://%s",
		"send_event":%q,"change_topic":"/data/ContactChangeEvent","pull_fields":{"department":"Department"}}`,
		server.URL, server.Listener.Addr().String(), ln.Addr(), outbound)
	sim.Publish(outbound, map[string]any{"Phone__c": "+34600000009", "Body__c": "from before", "CreatedDate": time.Now().Add(-time.Minute).UnixMilli()})
	return &teller{bench: b, known: map[string]bool{}}
}

// hears asks, as the bridge does, until something new is told.
func (tl *teller) hears() []string {
	tl.t.Helper()
	for range 20 {
		polled, err := tl.connector.Poll(tl.t.Context(), tl.account, tl.cursor)
		if err != nil {
			tl.t.Fatal(err)
		}
		tl.cursor = polled.Cursor
		var fresh []core.Event
		for _, e := range polled.Events {
			if !tl.known[e.ID] {
				fresh = append(fresh, e)
			}
			tl.known[e.ID] = true
		}
		if len(fresh) > 0 {
			return brief(fresh)
		}
	}
	tl.t.Fatal("nothing is told")
	return nil
}

func (tl *teller) wantsToHear(what string, want ...string) {
	tl.t.Helper()
	if got := tl.hears(); !slices.Equal(got, want) {
		tl.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// What is published is told at once, in the order of places, and also what was while
// nobody listened or its place was forgotten; a change is found as soon as it rings.
func TestPoll_HearsAtOnceWhatSalesforceTells(t *testing.T) {
	tl := listening(t)
	polled, err := tl.connector.Poll(t.Context(), tl.account, nil) // it asks what was modified first
	if err != nil || len(polled.Events) > 0 || !polled.More {
		t.Fatalf("%+v, %v", polled, err)
	}
	tl.cursor = polled.Cursor
	say := func(text string) {
		tl.sim.Publish(outbound, map[string]any{"Phone__c": "+34600000001", "Body__c": text})
	}
	told := func(text string) string { return "message.send to +34600000001: " + text + " human" }
	go say("one")
	began := time.Now()
	tl.wantsToHear("while it listens", told("one"))
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("it took %v", d)
	}
	say("two")
	tl.wantsToHear("while nobody listened", told("two"))
	say("three")
	before := tl.cursor
	tl.wantsToHear("before it was stored", told("three"))
	tl.cursor, tl.known = before, map[string]bool{}
	tl.wantsToHear("after it died", told("three"))
	tl.sim.Create("Contact", map[string]any{"LastName": "Ana", "MobilePhone": "+34600000002", "Department": "Toys"})
	tl.wantsToHear("a change", "contact.changed +34600000002 map[department:Toys] []")
	tl.sim.EndStreams() // what was brought by one that goes on is not lost
	tl.sim.Create("Contact", map[string]any{"LastName": "Bob", "MobilePhone": "+34600000003"})
	tl.sim.Forget()
	tl.wantsToHear("a change whose event is lost", "contact.changed +34600000003 map[department:] []")
	// What cannot be read is told as what the bridge refuses, and keeps nothing back.
	tl.sim.Spoil("/event/" + outbound)
	say("four")
	var bad, good int
	for range 5 {
		polled, err := tl.connector.Poll(t.Context(), tl.account, tl.cursor)
		if err != nil {
			t.Fatal(err)
		}
		tl.cursor = polled.Cursor
		for _, e := range polled.Events {
			switch {
			case e.Kind == core.KindMessageSend && e.ID != "" && e.Message == nil:
				bad++
			case e.Message != nil && e.Message.Text == "four":
				good++
			}
		}
		if good > 0 {
			break
		}
	}
	if bad != 1 || good != 1 {
		t.Errorf("of an event that cannot be read and one that can, %d and %d were told", bad, good)
	}
	tl.sim.Revoke()
	say("five")   // it is with the next event that Salesforce looks at the token
	for range 5 { // another topic may bring something first
		if polled, err = tl.connector.Poll(t.Context(), tl.account, tl.cursor); err != nil {
			break
		}
		tl.cursor = polled.Cursor
	}
	if core.CodeOf(err) != core.CodeUnauthenticated {
		t.Errorf("without a token: %v", err)
	}
}
