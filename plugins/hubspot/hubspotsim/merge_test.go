package hubspotsim_test

import (
	"testing"

	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

func TestMerge_MakesOneContactWithAllThatBothHad(t *testing.T) {
	s := prepared(t, hubspotsim.Options{})
	const path = "/crm/objects/2026-09/contacts/merge"
	ask(t, s, "POST", upsertContacts, inputs(row("c1", `{"firstname":"Ada"}`), row("c2", `{"firstname":"Eda","email":"eda@example.com"}`)))
	ask(t, s, "POST", upsertMessages, inputs(`{"idProperty":"wa_message_id","id":"m1","properties":{"hs_communication_channel_type":"WHATS_APP","hs_communication_logged_from":"CRM","hs_timestamp":"1700000000000"}}`))
	one, two, message := s.Records("contacts")[0].ID, s.Records("contacts")[1].ID, s.Records("communications")[0].ID
	ask(t, s, "POST", "/crm/associations/2026-09/communications/contacts/batch/associate/default",
		`{"inputs":[{"from":{"id":"`+message+`"},"to":{"id":"`+two+`"}}]}`)
	whole := `{"primaryObjectId":"` + one + `","objectIdToMerge":"` + two + `"}`
	for _, c := range []struct {
		path, body string
		status     int
	}{
		{path, `{}`, 400}, {path, `{"primaryObjectId":"` + one + `","objectIdToMerge":"` + one + `"}`, 400}, {path, `{"primaryObjectId":"` + one + `","vid":"2"}`, 400},
		{path, `{"primaryObjectId":"` + one + `","objectIdToMerge":"77"}`, 404}, {"/crm/objects/2026-09/communications/merge", whole, 404},
		{path, whole, 200}, {path, whole, 404},
	} {
		if got := ask(t, s, "POST", c.path, c.body); got.Status != c.status {
			t.Errorf("%s: %d %s, want %d", c.body, got.Status, got.Body, c.status)
		}
	}
	all := s.Records("contacts")
	if len(all) != 3 || !all[0].Archived || !all[1].Archived || all[2].Archived {
		t.Fatalf("the contacts are %+v", all)
	}
	made := all[2]
	if made.Properties["firstname"] != "Ada" || made.Properties["email"] != "eda@example.com" || len(made.Associated["communications"]) != 1 {
		t.Errorf("it is %+v", made)
	}
	if got := s.Records("communications")[0].Associated["contacts"]; len(got) != 1 || got[0] != made.ID {
		t.Errorf("the message is %v's, want %s's", got, made.ID)
	}
}
