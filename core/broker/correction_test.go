package broker

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
)

// wrote is a bridge whose script gave a contact a tag and fields.
func wrote(b *bridge) (contact string) {
	_, b.change = think(map[script.Hooks]func(*core.Event, *core.Contact) script.Decision{
		script.OnMessage: func(e *core.Event, _ *core.Contact) script.Decision {
			if e.Message.Text == "move" {
				return acts(script.Action{Type: script.ActionSetField, Name: "city", Value: "Faro"})
			}
			return acts(script.Action{Type: script.ActionTag, Tag: "vip"}, script.Action{Type: script.ActionSetField, Name: "city", Value: "Porto"},
				script.Action{Type: script.ActionSetField, Name: "size", Value: "9"}, says("hello"))
		},
	})
	b.start()
	b.accept(received("wamid.1", "+14155550100", "hi"))
	settled(2 * time.Second)
	return b.crm.taken()[0].event.Contact.ID
}

func correction(contact string) CorrectionRequest {
	return CorrectionRequest{Tenant: "acme", From: "v1", To: "v2", Contacts: []ContactCorrection{{Contact: contact, Number: number, Changes: []core.Change{
		{What: core.CorrectTag, Name: "vip", Was: true, Want: false},
		{What: core.CorrectTag, Name: "order", Was: false, Want: true},
		{What: core.CorrectField, Name: "city", Was: "Porto", Want: "Lisbon"},
		{What: core.CorrectField, Name: "size", Was: "9", Want: ""},
		{What: core.CorrectCRM, Name: "lead", Was: "hot", Want: nil},
		{What: core.CorrectEscalation, Was: "a complaint", Want: ""},
	}}}}
}

func (b *bridge) correct(r CorrectionRequest) CorrectionReceipt {
	b.Helper()
	out, err := b.Correct(context.Background(), r)
	if err != nil || len(out) != 1 {
		b.Fatalf("Correct: %+v, %v", out, err)
	}
	settled(2 * time.Second)
	return out[0]
}

func TestCorrection_TellsTheCRMsOnceAndSendsNothing(t *testing.T) {
	run(t, func(b *bridge) {
		contact := wrote(b)
		crm, sent := len(b.crm.taken()), len(b.wa.taken())
		r := correction(contact)
		r.DryRun = true
		if dry := b.correct(r); dry.Done || len(dry.Left) > 0 || len(b.crm.taken()) != crm {
			t.Fatalf("to be seen only: %+v, %d told", dry, len(b.crm.taken())-crm)
		}
		r.DryRun = false
		first := b.correct(r)
		told := b.crm.taken()[crm:]
		if first.Done || len(told) != 1 {
			t.Fatalf("%+v, and the CRM was told %d times", first, len(told))
		}
		e := told[0].event
		if e.Kind != core.KindContactChanged || e.Source != "correction" || e.Escalation == nil || e.Escalation.Reason != "" {
			t.Errorf("the CRM was told %+v", e)
		}
		if v, has := e.Fields["lead"]; !has || v != nil {
			t.Errorf("CRM properties %v", e.Fields)
		}
		if !slices.Equal(e.Contact.Tags, []string{"order"}) || !maps.Equal(e.Contact.Fields, map[string]string{"city": "Lisbon", "size": ""}) {
			t.Errorf("tags %q, fields %q", e.Contact.Tags, e.Contact.Fields)
		}
		view, err := b.Contact(context.Background(), "acme", contact)
		if err != nil || !slices.Equal(view.Contact.Tags, []string{"order"}) || !maps.Equal(view.Contact.Fields, map[string]string{"city": "Lisbon"}) {
			t.Errorf("the contact is %+v, %v", view.Contact, err)
		}
		// Again, and after a restart, nothing happens.
		b.stop()
		b.start()
		if again := b.correct(r); !again.Done || again.ID != first.ID || len(b.crm.taken()) != crm+1 {
			t.Errorf("the second time: %+v, the CRM was told %d times", again, len(b.crm.taken())-crm)
		}
		if len(b.wa.taken()) != sent {
			t.Error("a message was sent")
		}
		if got := b.notes(first.ID); !strings.Contains(got, `tag "vip": removed, as version v2 would have it`) {
			t.Errorf("the trace says %q", got)
		}
	})
}

func TestCorrection_LeavesAloneWhatWasChangedSince(t *testing.T) {
	run(t, func(b *bridge) {
		contact := wrote(b)
		b.accept(received("wamid.2", "+14155550100", "move"))
		settled(2 * time.Second)
		r := correction(contact)
		r.Contacts[0].Changes = r.Contacts[0].Changes[1:3]
		r.Contacts[0].Changes = append(r.Contacts[0].Changes, core.Change{What: core.CorrectTag, Name: "never", Was: true, Want: false})
		got := b.correct(r)
		if diff := cmp.Diff(map[int]string{1: "it was changed since", 2: "it is so already"}, got.Left); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		view, err := b.Contact(context.Background(), "acme", contact)
		if err != nil || view.Contact.Fields["city"] != "Faro" || !slices.Contains(view.Contact.Tags, "order") {
			t.Errorf("the contact is %+v, %v", view.Contact, err)
		}
	})
}

func TestCorrection_LeavesAloneWhatTheCRMChangedSince(t *testing.T) {
	run(t, func(b *bridge) {
		contact := wrote(b)
		wrong := time.Now()
		settled(time.Minute)
		b.accept(core.Event{ID: "crm-1", Kind: core.KindContactChanged, Tenant: "acme", Source: "crm", Time: time.Now(), Contact: &core.Contact{Phone: "+14155550100"},
			Fields: map[string]any{"lead": "sold", "stage": "9"}})
		settled(2 * time.Second)
		r := correction(contact)
		r.Contacts[0].Changes = []core.Change{
			{What: core.CorrectCRM, Name: "lead", Was: "hot", Want: "cold", At: wrong},
			{What: core.CorrectCRM, Name: "stage", Was: 9.0, Want: 3.0, At: wrong}, // told of, and still the same
			{What: core.CorrectCRM, Name: "other", Was: "x", Want: "y", At: wrong},
			{What: core.CorrectCRM, Name: "lead", Was: "hot", Want: "warm", At: time.Now()}, // written after the CRM's change
		}
		if diff := cmp.Diff(map[int]string{0: "the CRM changed it since"}, b.correct(r).Left); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		last := b.crm.taken()[len(b.crm.taken())-1].event
		if diff := cmp.Diff(map[string]any{"lead": "warm", "other": "y", "stage": 3.0}, last.Fields); diff != "" {
			t.Errorf("the CRM was told (-want +got)\n%s", diff)
		}
	})
}

func TestCorrection_OfSomebodyWhoIsGoneBringsNobodyBack(t *testing.T) {
	run(t, func(b *bridge) {
		wrote(b)
		crm := len(b.crm.taken())
		r := correction("c-nobody")
		if got := b.correct(r); len(got.Left) != len(r.Contacts[0].Changes) {
			t.Errorf("left alone: %v", got.Left)
		}
		// Decided although it was asked for while they were there.
		b.accept(core.Event{ID: "fix-1", Kind: core.KindCorrection, Tenant: "acme", Number: number, Conversation: number + ":c-nobody",
			Contact: &core.Contact{ID: "c-nobody"}, Correction: &core.Correction{To: "v2", Changes: r.Contacts[0].Changes}})
		settled(2 * time.Second)
		if _, err := b.Contact(context.Background(), "acme", "c-nobody"); err == nil || len(b.crm.taken()) != crm {
			t.Errorf("there is such a contact again, or the CRM was told: %v", err)
		}
	})
}

func TestCorrection_RefusesNonsense(t *testing.T) {
	run(t, func(b *bridge) {
		contact := wrote(b)
		for name, change := range map[string]func(*CorrectionRequest){
			"the same version":  func(r *CorrectionRequest) { r.To = r.From },
			"nobody":            func(r *CorrectionRequest) { r.Contacts = nil },
			"no tenant":         func(r *CorrectionRequest) { r.Tenant = "other" },
			"a tag's text":      func(r *CorrectionRequest) { r.Contacts[0].Changes[0].Want = "x" },
			"a field's number":  func(r *CorrectionRequest) { r.Contacts[0].Changes[2].Want = 4.0 },
			"what is no thing":  func(r *CorrectionRequest) { r.Contacts[0].Changes[0].What = "name" },
			"a nameless tag":    func(r *CorrectionRequest) { r.Contacts[0].Changes[0].Name = "" },
			"a value too large": func(r *CorrectionRequest) { r.Contacts[0].Changes[4].Want = strings.Repeat("x", 20<<10) },
		} {
			r := correction(contact)
			change(&r)
			if _, err := b.Correct(context.Background(), r); core.CodeOf(err) != core.CodeInvalid {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
