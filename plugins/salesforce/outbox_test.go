package salesforce_test

import (
	"fmt"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

// An event names a contact by a text, of 15 or of 18 characters. One that names nobody is
// told as what the bridge refuses, and keeps none back.
func TestListen_SendsToTheContactThatAnEventNames(t *testing.T) {
	ears(t, salesforcesim.Options{}, messages+`,"send_contact_field":"Contact__c"`, func(tl *teller) {
		tl.sim.Topic("/event/"+outbound, "Phone__c", "Contact__c", "Body__c")
		ana := tl.sim.Create("Contact", map[string]any{"LastName": "Ana", "MobilePhone": "+34600000001"})
		unreachable := tl.sim.Create("Contact", map[string]any{"LastName": "Bo"})
		for text, who := range map[string]string{"18": ana, "15": ana[:15], "none": "003000000000999AAA", "no number": unreachable, "no id": "003000000000555ZZZ", "no form": "Ana", "empty": ""} {
			tl.sim.Publish(outbound, map[string]any{"Contact__c": who, "Body__c": text})
		}
		to := map[string]string{}
		for range 4 {
			polled, err := tl.connector.Poll(tl.t.Context(), tl.account, tl.cursor)
			if err != nil {
				tl.t.Fatal(err)
			}
			tl.cursor = polled.Cursor
			for _, e := range polled.Events {
				if e.Kind != core.KindMessageSend || e.ID == "" || e.Message == nil {
					tl.t.Errorf("got %+v", e)
					continue
				}
				to[e.Message.Text] = e.Message.To.Value
			}
			if len(to) == 7 {
				break
			}
		}
		for text, want := range map[string]string{"18": "+34600000001", "15": "+34600000001", "none": "", "no number": "", "no id": "", "no form": "", "empty": ""} {
			if got, told := to[text]; got != want || !told {
				tl.t.Errorf("%s: to %q (told: %v), want %q", text, got, told, want)
			}
		}
	})
}

// What is malformed is told with the rest, however much of it there is.
func TestListen_IsHeldUpByNoNumberOfMalformedContacts(t *testing.T) {
	ears(t, salesforcesim.Options{}, messages+`,"send_contact_field":"Contact__c"`, func(tl *teller) {
		tl.sim.Topic("/event/"+outbound, "Phone__c", "Contact__c", "Body__c")
		ana := tl.sim.Create("Contact", map[string]any{"LastName": "Ana", "MobilePhone": "+34600000001"})
		for n := range 60 {
			tl.sim.Publish(outbound, map[string]any{"Contact__c": fmt.Sprintf("003000000000%dZZZ", 500+n), "Body__c": "lost"})
		}
		tl.sim.Publish(outbound, map[string]any{"Contact__c": ana, "Body__c": "hello"})
		told := map[string]int{}
		for range 4 {
			polled, err := tl.connector.Poll(tl.t.Context(), tl.account, tl.cursor)
			if err != nil {
				tl.t.Fatal(err)
			}
			tl.cursor = polled.Cursor
			for _, e := range polled.Events {
				told[e.Message.Text+" to "+e.Message.To.Value]++
			}
			if told["hello to +34600000001"] > 0 {
				break
			}
		}
		if told["lost to "] != 60 || told["hello to +34600000001"] != 1 {
			tl.t.Errorf("told %v", told)
		}
	})
}
