package zoho_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/connectortest"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

func TestDeliver_AdoptsANumberHoweverItIsWritten(t *testing.T) {
	for number, forms := range connectortest.Written {
		for i, form := range forms {
			b := start(t, zohosim.Options{SearchLag: time.Hour}, "", nil)
			id := b.sim.AddRecord("Contacts", map[string]any{"Last_Name": "By Hand", []string{"Phone", "Mobile"}[i%2]: form})
			b.mustCheck()
			b.sim.AddRecord("Contacts", map[string]any{"Last_Name": "Later", "Phone": form})
			b.sim.AddRecord("Contacts", map[string]any{"Last_Name": "Another", "Phone": "+33 6 12 34 56 78"})
			e := received(1)
			e.Contact.Phone = number
			got := b.deliver(e)[e.ID]
			if c := b.contacts()["c001"]; got.Err != nil || got.ContactRef != id || c.ID != id || c.Values["Last_Name"] != "By Hand" {
				t.Errorf("%q, found by %s: %+v is of %+v", form, number, got, c)
			}
			if n := len(b.sim.Records("Contacts")); n != 3 {
				t.Errorf("%q: %d contacts, want 3", form, n)
			}
		}
	}
}

func TestDeliver_DoublesNobodyOf300WhoWereThere(t *testing.T) {
	b := start(t, zohosim.Options{SearchLag: time.Hour}, "", nil)
	var events []*core.Event
	for i := range 300 {
		e := received(i)
		events = append(events, e)
		n := e.Contact.Phone
		form := []string{n[3:6] + " " + n[6:9] + " " + n[9:], n[3:6] + "-" + n[6:], "(" + n[3:6] + ") " + n[6:8] + " " + n[8:10] + " " + n[10:], n[:3] + " " + n[3:]}[i%4]
		b.sim.AddRecord("Contacts", map[string]any{"Last_Name": fmt.Sprintf("Hand %d", i), "Mobile": form})
	}
	b.mustCheck()
	before := b.sim.Stats().Credits
	for part := range slices.Chunk(events, 100) {
		b.done(part...)
	}
	if n := len(b.sim.Records("Contacts")); n != 300 {
		t.Errorf("%d contacts, want 300", n)
	}
	for key, c := range b.contacts() {
		if !strings.HasPrefix(c.Values["Last_Name"], "Hand ") || key == "" {
			t.Errorf("%q is %v", key, c.Values)
		}
	}
	// Of each 100: who has a key, nine queries for numbers, ten credits for contacts, ten
	// for messages; once the fields of messages.
	if credits := b.sim.Stats().Credits - before; credits > 3*31 {
		t.Errorf("%d credits, want 93 at most", credits)
	}
}

// More records may be found than an answer holds: what one query is asked of is halved.
func TestDeliver_AdoptsWhereMoreIsFoundThanFitsAnAnswer(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil)
	shared := b.sim.AddRecord("Contacts", map[string]any{"Last_Name": "Shared", "Phone": person(1).Phone})
	for i := range 250 {
		b.sim.AddRecord("Contacts", map[string]any{"Last_Name": fmt.Sprint(i), "Phone": person(1).Phone})
	}
	last := b.sim.AddRecord("Contacts", map[string]any{"Last_Name": "Last", "Phone": person(2).Phone})
	b.mustCheck()
	b.done(received(1), received(2), received(3))
	if c := b.contacts(); c["c001"].ID != shared || c["c002"].ID != last || c["c003"].ID == "" || len(b.sim.Records("Contacts")) != 253 {
		t.Errorf("got %v, %v and %v of %d", c["c001"], c["c002"], c["c003"], len(b.sim.Records("Contacts")))
	}
}

func TestDeliver_MakesNobodyWhoCannotBeLookedFor(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil).mustCheck()
	b.sim.AddRecord("Contacts", map[string]any{"Last_Name": "By Hand", "Phone": "600-000001"})
	b.done(received(2)) // the fields are read
	b.sim.Inject(zohosim.Fault{Kind: zohosim.FaultStatus, Status: 503, Match: "/coql", Skip: 1, Count: 1})
	if got := b.deliver(received(1))["wamid.IN001"]; got.Err == nil || got.Err.Code != core.CodeUnavailable {
		t.Errorf("got %+v, want unavailable", got)
	}
	b.done(received(1))
	if c := b.contacts(); len(c) != 2 || c["c001"].Values["Last_Name"] != "By Hand" {
		t.Errorf("got %v", c)
	}
}

// Zoho's pages do not say that like takes % within a text.
func TestCheck_TriesWhetherNumbersAreFoundByTheirDigits(t *testing.T) {
	for _, within := range []string{"refused", "literal"} {
		b := start(t, zohosim.Options{LikeWithin: within}, "", nil)
		if err := b.check(); err != nil {
			t.Errorf("%s: %v, of no contacts", within, err)
		}
		b.sim.AddRecord("Contacts", map[string]any{"Last_Name": "By Hand", "Phone": "600 00 00 01"})
		e := core.AsError(b.check())
		if e == nil || e.Holds() != core.ScopeLane || !strings.Contains(e.Hint, `adopt_search = "endings"`) {
			t.Errorf("%s: %+v, want an error that names the setting", within, e)
		}
		b = start(t, zohosim.Options{LikeWithin: within}, `{"adopt_search":"endings"}`, nil)
		id := b.sim.AddRecord("Contacts", map[string]any{"Last_Name": "By Hand", "Phone": "600 00 00 01"})
		b.mustCheck().done(received(1))
		if c := b.contacts()["c001"]; c.ID != id {
			t.Errorf("%s: found by its ending is %v", within, c)
		}
	}
}

func TestDeliver_AdoptsTheRecordThatZohoToldOf(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil)
	hand := func(values map[string]any) string {
		values["Last_Name"] = "By Hand"
		return b.sim.AddRecord("Contacts", values)
	}
	b.mustCheck()
	older := hand(map[string]any{"Phone": "600 000 001"})
	told := hand(map[string]any{"Phone": "600-000001"})
	byUser := hand(map[string]any{"WA_BSUID": "ES.12345"})
	moved := hand(map[string]any{"Phone": "+34 611 111 111"}) // it has another number by now
	taken := hand(map[string]any{"Phone": "600 000 004", "WA_Contact_ID": "other"})
	gone := hand(map[string]any{"Phone": "600 000 005"})
	if err := b.sim.Delete(zohosim.Person, "Contacts", gone); err != nil {
		t.Fatal(err)
	}
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
		if c := b.contacts()[fmt.Sprintf("c%03d", i+1)]; r.Err != nil || r.ContactRef == "" || c.ID != r.ContactRef {
			t.Errorf("%d: got %+v for %v", i+1, r, c)
		}
	}
	c := b.contacts()
	if c["c001"].ID != told || c["c002"].ID != byUser || c["c005"].ID != numbered {
		t.Errorf("got %v, %v and %v, want what was told of, the user's, and the one with the number", c["c001"], c["c002"], c["c005"])
	}
	for key, not := range map[string]string{"c001": older, "c003": moved, "c004": taken} {
		if c[key].ID == not || c[key].ID == "" {
			t.Errorf("%s is %v", key, c[key])
		}
	}
	// By key, what was told of, one query for the other numbers, contacts and messages,
	// whose fields are read.
	if n := len(b.calls()); n > 7 {
		t.Errorf("%d calls, want 7 at most: %q", n, b.calls())
	}
}
