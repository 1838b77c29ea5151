package salesforce_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/connectortest"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

func TestDeliver_AdoptsANumberHoweverItIsWritten(t *testing.T) {
	for number, forms := range connectortest.Written {
		for i, form := range forms {
			b := start(t, salesforcesim.Options{}, "")
			id := b.sim.Create("Contact", map[string]any{"LastName": "By Hand", []string{"Phone", "MobilePhone"}[i%2]: form})
			b.sim.Create("Contact", map[string]any{"LastName": "Later", "Phone": form})
			b.sim.Create("Contact", map[string]any{"LastName": "Another", "Phone": "+33 6 12 34 56 78"})
			e := received(1)
			e.Contact.Phone = number
			got := b.deliver(e)[e.ID]
			if c := b.record("Contact", "WA_Contact_Id__c", "c001"); got.Err != nil || got.ContactRef != id || c["Id"] != id || c["LastName"] != "By Hand" {
				t.Errorf("%q, found by %s: %+v is of %v", form, number, got, c)
			}
			if n := len(b.sim.Records("Contact")); n != 3 {
				t.Errorf("%q: %d contacts, want 3", form, n)
			}
		}
	}
}

func TestDeliver_DoublesNobodyOf300WhoWereThere(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	var events []*core.Event
	for i := range 300 {
		e := received(i)
		events = append(events, e)
		n := e.Contact.Phone
		form := []string{n[3:6] + " " + n[6:9] + " " + n[9:], n[3:6] + "-" + n[6:], "(" + n[3:6] + ") " + n[6:8] + " " + n[8:10] + " " + n[10:], n[:3] + " " + n[3:]}[i%4]
		b.sim.Create("Contact", map[string]any{"LastName": fmt.Sprintf("Hand %d", i), "Phone": form})
	}
	b.clear()
	for part := range slices.Chunk(events, 200) {
		b.mustDeliver(part...)
	}
	records := b.sim.Records("Contact")
	if len(records) != 300 {
		t.Errorf("%d contacts, want 300", len(records))
	}
	for _, r := range records {
		if name, _ := r.Fields["LastName"].(string); !strings.HasPrefix(name, "Hand ") || r.Fields["WA_Contact_Id__c"] == nil {
			t.Errorf("got %v", r.Fields)
		}
	}
	// Of each batch: who is new, the search, those adopted, and the messages.
	if n := len(b.calls()); n != 2*4 {
		t.Errorf("%d calls, want 8: %q", n, b.calls())
	}
}

// More may be found than a query returns: it is asked of half of the people then.
func TestDeliver_AdoptsWhereMoreIsFoundThanAQueryReturns(t *testing.T) {
	b := start(t, salesforcesim.Options{QueryPage: 10}, "")
	shared := b.sim.Create("Contact", map[string]any{"LastName": "Shared", "Phone": person(1).Phone})
	for i := range 20 {
		b.sim.Create("Contact", map[string]any{"LastName": fmt.Sprint(i), "Phone": person(1).Phone})
	}
	last := b.sim.Create("Contact", map[string]any{"LastName": "Last", "Phone": person(2).Phone})
	b.mustDeliver(received(1), received(2), received(3))
	for key, id := range map[string]string{"c001": shared, "c002": last} {
		want(t, b.record("Contact", "WA_Contact_Id__c", key), map[string]any{"Id": id})
	}
	if n := len(b.sim.Records("Contact")); n != 23 {
		t.Errorf("%d contacts, want 23", n)
	}
}

func TestDeliver_MakesNobodyWhoCannotBeLookedFor(t *testing.T) {
	for what, told := range map[string]bool{"a number": false, "what was told of": true} {
		b := start(t, salesforcesim.Options{}, "")
		id := b.sim.Create("Contact", map[string]any{"LastName": "By Hand", "Phone": "600-000001"})
		d := core.Delivery{Event: received(1), Attempt: 1}
		if told {
			d.ToldRef = id
		}
		b.sim.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultStatus, Status: http.StatusServiceUnavailable, Match: "composite", Skip: 1, Count: 1})
		got := b.connector.Deliver(t.Context(), b.account, []core.Delivery{d})[0]
		if got.Err == nil || got.Err.Code != core.CodeUnavailable || len(b.sim.Records("Contact")) != 1 {
			t.Errorf("%s: got %+v, want unavailable", what, got)
		}
		b.mustDeliver(received(1))
		want(t, b.record("Contact", "WA_Contact_Id__c", "c001"), map[string]any{"Id": id})
	}
}

func TestDeliver_AdoptsTheRecordThatSalesforceToldOf(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	hand := func(fields map[string]any) string {
		fields["LastName"] = "By Hand"
		return b.sim.Create("Contact", fields)
	}
	older := hand(map[string]any{"Phone": "600 000 001"})
	told := hand(map[string]any{"Phone": "600-000001"})
	byUser := hand(map[string]any{"WA_BSUID__c": "ES.12345"})
	moved := hand(map[string]any{"Phone": "+34 611 111 111"}) // it has another number by now
	taken := hand(map[string]any{"Phone": "600 000 004", "WA_Contact_Id__c": "other"})
	gone := hand(map[string]any{"Phone": "600 000 005"})
	b.sim.Delete("Contact", gone)
	numbered := hand(map[string]any{"Phone": "600.000.005"})
	refs := []string{told, byUser, moved, taken, gone, "no id"}
	var batch []core.Delivery
	for i, ref := range refs {
		e := received(i + 1)
		if ref == byUser {
			e.Contact.Phone, e.Contact.BSUID = "", "ES.12345"
		}
		batch = append(batch, core.Delivery{Event: e, Attempt: 1, ToldRef: ref})
	}
	b.clear()
	for i, r := range b.connector.Deliver(t.Context(), b.account, batch) {
		if r.Err != nil {
			t.Fatalf("%d: %v (%s)", i+1, r.Err, r.Err.Hint)
		}
		want(t, b.record("Contact", "WA_Contact_Id__c", fmt.Sprintf("c%03d", i+1)), map[string]any{"Id": r.ContactRef})
	}
	for key, id := range map[string]string{"c001": told, "c002": byUser, "c005": numbered} {
		want(t, b.record("Contact", "WA_Contact_Id__c", key), map[string]any{"Id": id, "LastName": "By Hand"})
	}
	for key, not := range map[string]string{"c001": older, "c003": moved, "c004": taken} {
		if got := b.record("Contact", "WA_Contact_Id__c", key)["Id"]; got == not {
			t.Errorf("%s is %v", key, got)
		}
	}
	// Who is new, what was told of, the numbers of the others, those adopted, those made,
	// and the messages.
	if n := len(b.calls()); n != 6 {
		t.Errorf("%d calls, want 6: %q", n, b.calls())
	}
}

func TestDeliver_NamesTheContactsRecordUntilItIsKnown(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	made := b.deliver(received(1))["wamid.IN001"].ContactRef
	for known, want := range map[string]string{"": made, made: ""} {
		got := b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Event: received(1), Attempt: 1, ContactRef: known}})[0]
		if got.ContactRef != want || made == "" {
			t.Errorf("known as %q: named %q, want %q", known, got.ContactRef, want)
		}
	}
}

// What stands in for a name makes way for it, once it is known; what people wrote does not.
func TestDeliver_NamesWhoHadNoName(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	nameless := received(1)
	nameless.Contact.Name = ""
	made := b.deliver(nameless)["wamid.IN001"].ContactRef
	again := func() {
		t.Helper()
		got := b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Event: received(1), Attempt: 1, ToldRef: made}})[0]
		if got.Err != nil || got.ContactRef != made {
			t.Errorf("got %+v", got)
		}
	}
	want(t, b.record("Contact", "WA_Contact_Id__c", "c001"), map[string]any{"LastName": person(1).Phone})
	again()
	want(t, b.record("Contact", "WA_Contact_Id__c", "c001"), map[string]any{"LastName": person(1).Name})
	b.sim.Edit("Contact", made, map[string]any{"LastName": "López"})
	again()
	want(t, b.record("Contact", "WA_Contact_Id__c", "c001"), map[string]any{"LastName": "López"})
}
