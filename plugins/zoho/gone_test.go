package zoho_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

func TestPoll_TellsWhichRecordsAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, zohosim.Options{TokenLife: 24 * time.Hour}, `{"pull_fields":{"city":"Mailing_City"}}`)
		var ids []string
		for i := range 3 {
			ids = append(ids, b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": fmt.Sprint(i), "Phone": fmt.Sprintf("+3460011122%d", i)}))
		}
		if err := b.sim.Delete(zohosim.Person, "Contacts", ids[0]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		b.edit(zohosim.Person, "Contacts", ids[2], map[string]any{"Last_Name": "later"})
		r := b.reader()
		gone := func(id string) core.Event {
			return core.Event{Kind: core.KindContactGone, Time: now(), ContactRef: id}
		}
		if err := b.sim.Delete(zohosim.Person, "Contacts", ids[1]); err != nil {
			t.Fatal(err)
		}
		r.wants("deleted", gone(ids[1]))
		r.wants("nothing more")
		// Of two that are merged, one is gone, and the other has what it took from it.
		one := b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "one", "Phone": "+34600111333", "Mailing_City": "Lyon"})
		r.news()
		if err := b.sim.Merge(zohosim.Person, "Contacts", ids[2], one); err != nil {
			t.Fatal(err)
		}
		r.wants("merged", core.Event{Kind: core.KindContactChanged, Time: now(), Contact: &core.Contact{Phone: "+34600111222", Fields: map[string]string{"city": "Lyon"}},
			Fields: map[string]any{"id": ids[2], "Mailing_City": "Lyon"}}, gone(one))
		// However many at once.
		var many []string
		for i := range 450 {
			many = append(many, b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": fmt.Sprint(i)}))
		}
		r.news()
		for _, id := range many {
			if err := b.sim.Delete(zohosim.Person, "Contacts", id); err != nil {
				t.Fatal(err)
			}
		}
		var told []string
		for _, e := range r.news() {
			told = append(told, e.ContactRef)
		}
		slices.Sort(told)
		slices.Sort(many)
		if diff := cmp.Diff(many, told); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestChannel_TellsWhichRecordsAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, zohosim.Options{}, `{"pull_fields":{"city":"Mailing_City"}}`)
		n := listen(t, b)
		b.round(nil)
		time.Sleep(2 * time.Second)
		id := b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "Ana", "Phone": "+34600111222"})
		n.take()
		if err := b.sim.Delete(zohosim.Person, "Contacts", id); err != nil {
			t.Fatal(err)
		}
		events := n.take()
		if len(events) != 1 || events[0].Kind != core.KindContactGone || events[0].ContactRef != id || events[0].ID == "" {
			t.Fatalf("told %+v", events)
		}
		// What is there is not gone, whatever a notification says.
		there := b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "Bo", "Phone": "+34600111333"})
		n.take()
		var forged map[string]any
		if err := json.Unmarshal(n.bodies[len(n.bodies)-1], &forged); err != nil {
			t.Fatal(err)
		}
		forged["operation"], forged["ids"] = "delete", []string{there}
		body, err := json.Marshal(forged)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.connector.Webhook(t.Context(), b.account, core.WebhookRequest{Method: "POST", Body: body}); err != nil || len(got.Events) != 0 {
			t.Errorf("told %+v, %v", got.Events, err)
		}
	})
}

func TestPoll_LooksForDeletedOnesUnlessTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, zohosim.Options{}, `{"pull_fields":{"city":"Mailing_City"},"pull_deleted":false}`)
		n := listen(t, b)
		r := b.reader()
		id := b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "Ana"})
		if err := b.sim.Delete(zohosim.Person, "Contacts", id); err != nil {
			t.Fatal(err)
		}
		r.wants("deleted")
		n.take()
		if calls := b.sim.Stats().Requests["GET /crm/v8/Contacts/deleted"]; calls != 0 {
			t.Errorf("asked %d times", calls)
		}
	})
}

// The record is named once, when it was made or found.
func TestDeliver_NamesTheContactsRecord(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil).mustCheck()
	adopted := b.sim.AddRecord("Contacts", map[string]any{"Last_Name": "Ana", "Phone": person(2).Phone})
	first := b.deliver(received(1), received(2))
	made := b.contacts()[person(1).ID].ID
	if got := first[received(1).ID].ContactRef; got != made || made == "" {
		t.Errorf("made %q, named %q", made, got)
	}
	if got := first[received(2).ID].ContactRef; got != adopted {
		t.Errorf("adopted %q, named %q", adopted, got)
	}
	again := received(1)
	again.ID, again.Message.ID = "other", "wamid.other"
	for _, try := range []struct {
		d    core.Delivery
		want string
	}{
		{core.Delivery{Event: again, Attempt: 1}, made}, // there, and the bridge does not know
		{core.Delivery{Event: again, Attempt: 1, ContactRef: made}, ""},
		{core.Delivery{Event: again, Attempt: 2, ContactRef: made}, made}, // an attempt may have made it
	} {
		if got := b.connector.Deliver(t.Context(), b.account, []core.Delivery{try.d})[0].ContactRef; got != try.want {
			t.Errorf("attempt %d, known as %q: named %q, want %q", try.d.Attempt, try.d.ContactRef, got, try.want)
		}
	}
}
