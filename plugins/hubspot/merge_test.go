package hubspot_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/connectortest"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

func TestMerge_LeavesOneRecordAndLosesNothing(t *testing.T) {
	for _, c := range connectortest.MergeCases() {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprint(c.Name, ", an answer lost: ", lost), func(t *testing.T) {
				b := start(t, hubspotsim.Options{}, `{"on_merge":"`+c.OnMerge+`"}`, nil).mustCheck()
				b.deliver(received(1), received(2))
				connectortest.CheckMerge(t, c, lost, connectortest.MergeBench{
					Deliver: b.merges, People: b.people, Heal: b.sim.Heal,
					Lose: func() { b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultLost, Match: "contacts/merge", Count: 1}) },
				})
			})
		}
	}
}

// merges delivers a merge.
func (b *bench) merges(e *core.Event) core.Result {
	b.t.Helper()
	return b.connector.Deliver(b.t.Context(), b.account, []core.Delivery{{Event: e, Attempt: 1}})[0]
}

// people are the names by contact, and the contacts by message.
func (b *bench) people() (names, messages map[string]string) {
	names, messages = map[string]string{}, map[string]string{}
	key := map[string]string{}
	for _, r := range b.sim.Records("contacts") {
		if !r.Archived {
			key[r.ID] = r.Properties["wabridge_contact_id"]
			names[key[r.ID]] = r.Properties["firstname"]
		}
	}
	for _, r := range b.sim.Records("communications") {
		var of []string
		for _, id := range r.Associated["contacts"] {
			of = append(of, key[id])
		}
		messages[r.Properties["wa_message_id"]] = strings.Join(of, " ")
	}
	return names, messages
}
