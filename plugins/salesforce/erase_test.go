package salesforce_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

// erased asks to erase person n.
func erased(n int) *core.Event {
	return &core.Event{ID: fmt.Sprint("erasure#", n), Kind: core.KindContactErased, Tenant: "acme", Time: noon, Source: "bridge", Contact: &core.Contact{ID: person(n).ID, Phone: person(n).Phone}}
}

// there counts the records that are not in the bin.
func (b *bench) there(object string) (n int) {
	for _, r := range b.sim.Records(object) {
		if r.Fields["IsDeleted"] != true {
			n++
		}
	}
	return n
}

func TestErase_TakesAPersonsRecordsAndNobodyElses(t *testing.T) {
	for settings, gone := range map[string]bool{`{}`: true, `{"mode":"task","escalations":"task"}`: true, `{"erase":"keep"}`: false} {
		b := start(t, salesforcesim.Options{}, settings)
		messages, escalations := "WhatsApp_Message__c", "Case"
		if strings.Contains(settings, "task") {
			messages, escalations = "Task", "Task"
		}
		b.mustDeliver(many(3)...)
		for n := range 450 { // more than are deleted at once
			e := received(1)
			e.ID = fmt.Sprint("wamid.more", n)
			e.Message.ID = e.ID
			b.mustDeliver(e)
		}
		b.mustDeliver(escalated(1, core.KindEscalation, core.Escalation{ID: "e1", Reason: "complaint"}), escalated(2, core.KindEscalation, core.Escalation{ID: "e2", Reason: "complaint"}))
		all := b.there(messages) + b.there(escalations)
		b.mustDeliver(erased(1), received(0))
		contacts := b.there("Contact")
		switch left := b.there(messages) + b.there(escalations); {
		case gone && messages == "Task" && left != all-2*452, gone && messages != "Task" && left != all-452, gone && contacts != 2:
			t.Errorf("%s: %d contacts, %d of %d records are left", settings, contacts, left, all)
		case !gone && (left != all || contacts != 3):
			t.Errorf("%s: %d contacts, %d of %d records are left", settings, contacts, left, all)
		}
		b.mustDeliver(erased(1), erased(99)) // once more, and somebody whom nobody knows
	}
}

// What Salesforce does not let us delete is a person's to see to, and what may pass is
// tried again.
func TestErase_IsAPersonsWhereSalesforceDoesNotLetUs(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	b.mustDeliver(received(1))
	id := b.record("Contact", "WA_Contact_Id__c", "c001")["Id"]
	b.sim.Create("Case", map[string]any{"Subject": "a person's", "ContactId": id}) // Salesforce deletes no contact that has one
	err := b.deliver(erased(1))[erased(1).ID].Err
	if err == nil || err.Code != core.CodeUndeliverable || err.Holds() != core.ScopeEvent || err.Vendor != "DELETE_FAILED" || !strings.Contains(err.Hint, "by hand") {
		t.Errorf("got %+v, want what to do by hand", err)
	}
	for _, c := range []struct {
		status int
		code   string
		want   core.Code
	}{{403, "INSUFFICIENT_ACCESS", core.CodeUndeliverable}, {503, "", core.CodeUnavailable}, {401, "INVALID_SESSION_ID", core.CodeUnauthenticated}, {403, "REQUEST_LIMIT_EXCEEDED", core.CodeRateLimited}} {
		b.sim.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultStatus, Match: "v66.0/composite/sobjects", Status: c.status, Code: c.code})
		if err := b.deliver(erased(1))[erased(1).ID].Err; err == nil || err.Code != c.want {
			t.Errorf("%d %s: got %v, want %s", c.status, c.code, err, c.want)
		}
		b.sim.Heal()
	}
}

// What Salesforce does not say is done is not done; what somebody else did is.
func TestErase_GoesByWhatSalesforceSays(t *testing.T) {
	for answer, done := range map[string]bool{
		`[]`: false, `[{}]`: false, `[{"success":true},{"success":true}]`: false, `{}`: false, `[{"success":false,"errors":[{"statusCode":"UNABLE_TO_LOCK_ROW","message":"locked"}]}]`: false,
		`[{"success":false,"errors":[{"statusCode":"ENTITY_IS_DELETED","message":"entity is deleted"}]}]`: true,
	} {
		b := start(t, salesforcesim.Options{}, `{"mode":"none","escalations":"none"}`)
		b.mustDeliver(received(1))
		b.behind(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodDelete {
				_, _ = w.Write([]byte(answer))
				return
			}
			next.ServeHTTP(w, r)
		})
		if err := b.deliver(erased(1))[erased(1).ID].Err; done != (err == nil) || err != nil && (err.Code == core.CodeInvalid || err.Code == core.CodeUndeliverable) {
			t.Errorf("%s: got %v", answer, err)
		}
	}
	// Salesforce does not tell small letters in a key from capitals.
	b := start(t, salesforcesim.Options{}, "")
	b.mustDeliver(received(1))
	other := erased(1)
	other.Contact.ID = strings.ToUpper(other.Contact.ID)
	b.mustDeliver(other)
	if n := b.there("Contact"); n != 1 {
		t.Errorf("%d contacts, want the one whom nobody asked to erase", n)
	}
}
