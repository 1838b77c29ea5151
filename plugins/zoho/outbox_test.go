package zoho_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

// The bridge knows for eight days what it was told.
func TestPoll_SendsNothingAnewThatIsChangedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const week = 7 * 24 * time.Hour
		b := watching(t, zohosim.Options{TokenLife: 5 * week}, sending).mustCheck()
		r := b.reader()
		ask := func(body string) string {
			return b.edit(zohosim.Person, "WhatsApp_Outbox", "", map[string]any{"Name": "1", "Phone": "+34600111222", "Body": body})
		}
		sent := ask("Your parcel is here")
		late := ask("")
		began := time.Now()
		if events := r.news(); len(events) != 1 {
			t.Fatalf("got %+v, want one message", events)
		}
		time.Sleep(week - time.Since(began) - 3*time.Second)
		b.edit(zohosim.Person, "WhatsApp_Outbox", late, map[string]any{"Body": "just in time"})
		if events := r.news(); len(events) != 1 || events[0].Message.Text != "just in time" {
			t.Errorf("got %+v, want what has a text within a week", events)
		}
		for range 2 {
			time.Sleep(week)
			clear(r.known) // as the bridge forgets
			b.edit(zohosim.Person, "WhatsApp_Outbox", sent, map[string]any{"Params": time.Now().String()})
			if events := r.news(); len(events) != 0 {
				t.Errorf("it is sent once more: %+v", events)
			}
		}
	})
}

func TestDeliver_WritesWhatBecameOfAMessageToWhatAskedForIt(t *testing.T) {
	for _, mode := range []string{"module", "notes", "none"} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := watching(t, zohosim.Options{}, `{"mode":"`+mode+`","send_module":"WhatsApp_Outbox","send_status_field":"Status","send_error_field":"Why"}`)
				for _, name := range []string{"Status", "Why"} {
					b.sim.AddField("WhatsApp_Outbox", zohosim.Field{Name: name, Type: "text", Length: 255, Custom: true})
				}
				b.mustCheck()
				time.Sleep(time.Second)
				r := b.reader()
				id := b.edit(zohosim.Person, "WhatsApp_Outbox", "", map[string]any{"Name": "1", "Phone": "+34600000001", "Body": "Hola"})
				asked := r.news()
				if len(asked) != 1 || asked[0].MessageRef != id {
					t.Fatalf("got %+v, want a message that names its record", asked)
				}
				deliver := func(e *core.Event) core.Result {
					t.Helper()
					results := b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Event: e, Attempt: 1, MessageRef: id}})
					if len(results) != 1 || results[0].Err != nil {
						t.Fatalf("got %+v", results)
					}
					return results[0]
				}
				if got := deliver(sent(1)); got.MessageRef != id {
					t.Errorf("got %+v, want that statuses come with the record's id", got)
				}
				is := func(status, why string, writes int) {
					t.Helper()
					for _, rec := range b.sim.Records("WhatsApp_Outbox") {
						if rec.Values["Status"] != status || rec.Values["Why"] != why || rec.Writes != writes {
							t.Errorf("got %+v, want %s %s by %d writes", rec, status, why, writes)
						}
					}
				}
				failed := status(1, core.StatusFailed)
				failed.Status.Errors = []core.StatusError{{Code: 131026, Title: "Message undeliverable"}}
				deliver(failed)
				is("failed", "131026: Message undeliverable", 2)
				deliver(status(1, core.StatusRead))
				is("read", "131026: Message undeliverable", 3)
				deliver(status(1, core.StatusDelivered)) // late
				is("read", "131026: Message undeliverable", 3)
				if events := r.news(); len(events) != 0 {
					t.Errorf("what the bridge wrote is told: %+v", events)
				}
				if err := b.sim.Delete(zohosim.Person, "WhatsApp_Outbox", id); err != nil {
					t.Fatal(err)
				}
				deliver(status(1, core.StatusPlayed))
			})
		})
	}
}
