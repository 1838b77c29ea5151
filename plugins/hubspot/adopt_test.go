package hubspot_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/connectortest"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

// byHand makes a contact as people do, and returns its id.
func (b *bench) byHand(properties map[string]string) string {
	b.t.Helper()
	id, err := b.sim.Edit("contacts", "", properties)
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

// from is a message from somebody with a number.
func from(n int, phone string) *core.Event {
	e := received(n)
	e.Contact.Phone = phone
	return e
}

// wantAdopted delivers and wants each event to be at the record that was there before.
func (b *bench) wantAdopted(records map[string]string, events ...*core.Event) {
	b.t.Helper()
	before := len(b.sim.Records("contacts"))
	for id, r := range b.deliver(events...) {
		if r.Err != nil {
			b.t.Fatalf("%s: %v", id, r.Err)
		}
	}
	if n := len(b.sim.Records("contacts")); n != before {
		b.t.Errorf("there are %d contacts, and were %d", n, before)
	}
	for _, e := range events {
		want := records[e.Contact.ID]
		if got := b.contacts()[e.Contact.ID]; got.ID != want {
			b.t.Errorf("%s is the record %q, want %q", e.Contact.ID, got.ID, want)
		}
		if m := b.messages()[e.Message.ID]; len(m.Associated["contacts"]) != 1 || m.Associated["contacts"][0] != want {
			b.t.Errorf("%s is associated with %v, want %q", e.Message.ID, m.Associated, want)
		}
		if b.known[e.Contact.ID] != want {
			b.t.Errorf("the bridge was told of %q as %s's record, want %q", b.known[e.Contact.ID], e.Contact.ID, want)
		}
	}
}

// A number is written in many ways; whoever has it in HubSpot gets no second record.
func TestAdopt_TakesTheRecordThatIsThere(t *testing.T) {
	type way struct{ country, phone, property, written string }
	var ways []way
	for phone, all := range connectortest.Written {
		for i, written := range all {
			ways = append(ways, way{contact.Country(contact.Number(phone)), phone, []string{"phone", "mobilephone"}[i%2], written})
		}
	}
	for _, c := range append(ways, []way{ // also where HubSpot does not know the country
		{"", "+34600100200", "mobilephone", "+34600100200"},
		{"", "+34600100200", "phone", "(600) 100 200"},
		{"", "+34600100200", "phone", "\u202a+34 600 100 200\u202c"},
		{"", "+5511987654321", "phone", "+55 (11) 8765-4321"},
		{"", "+5491123456789", "phone", "+54 11 2345 6789"},
	}...) {
		t.Run(c.phone+" as "+c.written, func(t *testing.T) {
			b := start(t, hubspotsim.Options{Country: c.country}, "", nil).mustCheck()
			b.byHand(map[string]string{"firstname": "Other", "phone": "+442071838750"})
			id := b.byHand(map[string]string{"firstname": "María", "lastname": "López", c.property: c.written})
			b.wantAdopted(map[string]string{"c001": id}, from(1, c.phone))
			if got := b.contacts()["c001"].Properties; got["firstname"] != "María" || got["lastname"] != "López" || got["phone"] != c.phone {
				t.Errorf("the record has %v", got)
			}
			if n := len(b.calls()); n != 6 {
				t.Errorf("%d calls, want 6: %q", n, b.calls())
			}
			b.clear()
			b.wantAdopted(map[string]string{"c001": id}, from(1, c.phone))
			if n := len(b.calls()); n != 3 {
				t.Errorf("then %d calls, want 3: %q", n, b.calls())
			}
		})
	}
}

func TestAdopt_NobodyIsDoubled(t *testing.T) {
	b := start(t, hubspotsim.Options{Country: "ES"}, "", nil).mustCheck()
	records := map[string]string{}
	var events []*core.Event
	for i := range 300 {
		e := received(i)
		n := strings.TrimPrefix(e.Contact.Phone, "+34")
		records[e.Contact.ID] = b.byHand(map[string]string{"firstname": "P", "phone": []string{n, "+34" + n, n[:3] + " " + n[3:6] + " " + n[6:]}[i%3]})
		events = append(events, e)
	}
	for i := 0; i < len(events); i += 100 {
		b.wantAdopted(records, events[i:i+100]...)
	}
	if n := len(b.calls()); n > 3*10 {
		t.Errorf("%d calls, want at most 10 for each hundred: %q", n, b.calls())
	}
	for range 3 { // who knows HubSpot's records from before, as after a restore
		clear(b.known)
		b.clear()
		b.wantAdopted(records, events[:100]...)
		if n := len(b.calls()); n != 4 {
			t.Errorf("%d calls for those who have the key, want 4: %q", n, b.calls())
		}
	}
}

// What HubSpot told of needs no search, which would be late.
func TestAdopt_TakesTheRecordThatHubSpotToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, hubspotsim.Options{SearchLag: time.Hour}, "", nil).mustCheck()
		older := b.byHand(map[string]string{"firstname": "Ana", "phone": "600 100 200"})
		time.Sleep(time.Minute)
		told := b.byHand(map[string]string{"firstname": "Ana", "phone": "600 100 200"})
		b.hinted["c001"] = told
		b.wantAdopted(map[string]string{"c001": told}, from(1, "+34600100200"))

		time.Sleep(2 * time.Hour) // the search sees both
		another := b.byHand(map[string]string{"firstname": "Bo", "phone": "600 100 999"})
		for n, ref := range map[int]string{2: another, 3: told, 4: "404", 5: "not an id"} {
			e := from(n, fmt.Sprintf("+3460010030%d", n))
			b.hinted[e.Contact.ID] = ref
			b.deliver(e)
			if got := b.contacts()[e.Contact.ID].ID; got == "" || got == ref {
				t.Errorf("told of %q, %s is the record %q: want one of its own", ref, e.Contact.ID, got)
			}
		}
		b.wantAdopted(map[string]string{"c006": older}, from(6, "+34600100200")) // the one that nobody has
	})
}

// Of several the oldest counts, and none that is another contact's.
func TestAdopt_LeavesToOthersWhatIsTheirs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
		var ids []string
		for range 3 {
			ids = append(ids, b.byHand(map[string]string{"firstname": "Ana", "phone": "+34600100200"}))
			time.Sleep(time.Minute)
		}
		b.wantAdopted(map[string]string{"c001": ids[0]}, from(1, "+34600100200"))
		b.wantAdopted(map[string]string{"c002": ids[1], "c003": ids[2]}, from(2, "+34600100200"), from(3, "+34600100200"))
		b.deliver(from(4, "+34600100200"))
		if n := len(b.sim.Records("contacts")); n != 4 {
			t.Errorf("there are %d contacts, want a new one for the fourth", n)
		}
	})
}

// Whoever cannot be looked for is not written, so that nobody is doubled.
func TestAdopt_WhoCannotBeLookedForIsNotWritten(t *testing.T) {
	for _, at := range []string{"contacts/batch/read", "contacts/search", "contacts/batch/update"} {
		for _, f := range []hubspotsim.Fault{{Kind: "status", Status: 503}, {Kind: "garbage"}, {Kind: "drop"}, {Kind: "status", Status: 429, Category: "RATE_LIMITS"}, {Kind: "status", Status: 400, Category: "VALIDATION_ERROR"}} {
			if f.Status == 400 && at != "contacts/batch/read" {
				continue // by which properties is searched is a setting; what is written is the event's
			}
			t.Run(fmt.Sprint(at, " ", f.Kind, " ", f.Status), func(t *testing.T) {
				b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
				id := b.byHand(map[string]string{"firstname": "María", "phone": "600 100 200"})
				known := received(7)
				b.deliver(known)
				f.Match = at
				b.sim.Inject(f)
				got := b.deliver(from(1, "+34600100200"), known)
				if err := got["wamid.IN001"].Err; err == nil || !slices.Contains([]core.Code{core.CodeUnavailable, core.CodeRateLimited, core.CodeUnknownOutcome}, err.Code) {
					t.Errorf("got %v, want an error for another attempt", err)
				}
				if got[known.ID].Err != nil {
					t.Errorf("of whom the record is known: %v", got[known.ID].Err)
				}
				b.sim.Heal()
				b.wantAdopted(map[string]string{"c001": id}, from(1, "+34600100200"))
			})
		}
	}
}

func TestAdopt_ARecordThatWentMeanwhile(t *testing.T) {
	var b *bench
	var id string
	var sim http.Handler
	b = start(t, hubspotsim.Options{}, "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "contacts/batch/update") {
			if err := b.sim.Delete("contacts", id); err != nil {
				t.Error(err)
			}
		}
		sim.ServeHTTP(w, r)
	}))
	sim = b.sim
	b.mustCheck()
	id = b.byHand(map[string]string{"firstname": "María", "phone": "600 100 200"})
	if err := b.deliver(from(1, "+34600100200"))["wamid.IN001"].Err; err == nil || err.Code != core.CodeUnavailable {
		t.Fatalf("got %v, want unavailable", err)
	}
	wantCodes(t, b.deliver(from(1, "+34600100200")), map[string]core.Code{"wamid.IN001": ""})
	if got := b.contacts()["c001"].ID; got == "" || got == id {
		t.Errorf("then the record is %q, want a new one", got)
	}
}

func TestAdopt_ByPropertiesOfTheAccountsOwn(t *testing.T) {
	b := start(t, hubspotsim.Options{}, `{"adopt_by":["wa_number"]}`, nil)
	for what, err := range map[string]error{"check": b.check(), "deliver": b.deliver(from(1, "+34600100200"))["wamid.IN001"].Err} {
		if e := core.AsError(err); err == nil || e.Code != core.CodeForbidden || e.Holds() != core.ScopeLane || !strings.Contains(e.Hint, "adopt_by") {
			t.Errorf("%s: %+v, want the lane to wait, and a hint at adopt_by", what, err)
		}
	}
	b.sim.AddProperty("contacts", hubspotsim.Property{Name: "wa_number", Type: "string"})
	b.mustCheck()
	id := b.byHand(map[string]string{"firstname": "María", "wa_number": "+34600100200"})
	b.wantAdopted(map[string]string{"c001": id}, from(1, "+34600100200"))

	none := start(t, hubspotsim.Options{}, `{"adopt_by":[]}`, nil).mustCheck()
	none.byHand(map[string]string{"firstname": "María", "phone": "+34600100200"})
	none.deliver(from(1, "+34600100200"))
	if n := len(none.sim.Records("contacts")); n != 2 {
		t.Errorf("there are %d contacts, though none is to be adopted", n)
	}
	for _, bad := range []string{`{"adopt_by":["Phone"]}`, `{"adopt_by":["a","b","c","d","e","f"]}`, `{"adopt_by":[""]}`} {
		if err := start(t, hubspotsim.Options{}, bad, nil).check(); err == nil || !strings.Contains(err.Error(), "adopt_by") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// A name that is in HubSpot stays; one that only stands in for a name does not.
func TestAdopt_Names(t *testing.T) {
	for name, c := range map[string]struct {
		has  map[string]string
		want string
	}{
		"of their own":       {map[string]string{"firstname": "María"}, "María"},
		"the last name only": {map[string]string{"lastname": "López"}, ""},
		"none":               {map[string]string{"email": "m@example.com"}, "Person 1"},
		"the number":         {map[string]string{"firstname": "+34600100200"}, "Person 1"},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
			has := maps.Clone(c.has)
			has["phone"] = "+34600100200"
			id := b.byHand(has)
			b.wantAdopted(map[string]string{"c001": id}, from(1, "+34600100200"))
			if got := b.contacts()["c001"].Properties["firstname"]; got != c.want {
				t.Errorf("the first name is %q, want %q", got, c.want)
			}
		})
	}
}

// A record that goes between the look and the write is made anew, with the name that it must have.
func TestAdopt_WhoseRecordGoesAfterTheLookIsMadeAnew(t *testing.T) {
	var b *bench
	var sim http.Handler
	gone := ""
	b = start(t, hubspotsim.Options{}, "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gone != "" && strings.HasSuffix(r.URL.Path, "contacts/batch/upsert") {
			if err := b.sim.Delete("contacts", gone); err != nil {
				t.Error(err)
			}
			gone = ""
		}
		sim.ServeHTTP(w, r)
	}))
	sim = b.sim
	b.mustCheck()
	b.deliver(received(1))
	gone = b.known["c001"]
	was := gone
	clear(b.known) // as after a restore
	wantCodes(t, b.deliver(received(1)), map[string]core.Code{"wamid.IN001": ""})
	records := slices.DeleteFunc(b.sim.Records("contacts"), func(r hubspotsim.Record) bool { return r.Archived })
	if len(records) != 1 || records[0].ID == was || records[0].Properties["firstname"] != "Person 1" {
		t.Errorf("the records are %+v", records)
	}
}
