package hubspotsim_test

import (
	"testing"

	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

func TestGDPRDelete_IsStrictAndLeavesNothing(t *testing.T) {
	s := prepared(t, hubspotsim.Options{})
	const path = "/crm/objects/2026-09/contacts/gdpr-delete"
	ask(t, s, "POST", upsertContacts, inputs(row("c1", `{"firstname":"Ada","email":"ada@example.com"}`)))
	ask(t, s, "POST", upsertMessages, inputs(`{"idProperty":"wa_message_id","id":"m1","properties":{"hs_communication_channel_type":"WHATS_APP","hs_communication_logged_from":"CRM","hs_timestamp":"1700000000000"}}`))
	contact, message := s.Records("contacts")[0].ID, s.Records("communications")[0].ID
	ask(t, s, "POST", "/crm/associations/2026-09/communications/contacts/batch/associate/default",
		`{"inputs":[{"from":{"id":"`+message+`"},"to":{"id":"`+contact+`"}}]}`)
	for _, c := range []struct {
		path, body string
		status     int
	}{
		{path, `{}`, 400}, {path, `{"objectId":"` + contact + `","idProperty":"phone"}`, 400}, {path, `{"id":"` + contact + `"}`, 400},
		{path, `{"objectId":"77"}`, 404}, {"/crm/objects/2026-09/communications/gdpr-delete", `{"objectId":"` + message + `"}`, 404},
		{path, `{"objectId":"ada@example.com","idProperty":"email"}`, 204}, {path, `{"objectId":"` + contact + `"}`, 404},
	} {
		if got := ask(t, s, "POST", c.path, c.body); got.Status != c.status {
			t.Errorf("%s: %d %s, want %d", c.body, got.Status, got.Body, c.status)
		}
	}
	for _, object := range []string{"contacts", "communications"} {
		if r := s.Records(object)[0]; !r.Erased || len(r.Properties) != 0 {
			t.Errorf("%s: %+v", object, r)
		}
	}
	ask(t, s, "POST", upsertContacts, inputs(row("c1", `{"firstname":"Ada"}`)))
	if n := len(s.Records("contacts")); n != 2 {
		t.Errorf("the same key again: %d records, want a new one", n)
	}
}
