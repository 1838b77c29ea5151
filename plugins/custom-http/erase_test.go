package customhttp_test

import (
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

func erased(contact string) *core.Event {
	return &core.Event{ID: "erasure-1#1", Kind: core.KindContactErased, Tenant: "acme", Source: "bridge",
		Contact: &core.Contact{ID: contact, Phone: "+12025550123"}, Fields: map[string]any{"records": []string{"7"}}}
}

func TestErase_DoesWhatTheSettingsSay(t *testing.T) {
	b := start(t, customhttpsim.Options{Token: token}, example(t, "one-by-one"), nil)
	hello := received(1)
	b.deliver(hello, received(2))
	if n := len(b.sim.Records("message")); n != 2 {
		t.Fatalf("%d messages", n)
	}
	if r := b.deliver(erased(hello.Contact.ID))["erasure-1#1"]; r.Err != nil {
		t.Error(r.Err)
	}
	if left := b.sim.Records("message"); len(left) != 1 || strings.Contains(string(toJSON(t, left)), hello.Contact.ID) {
		t.Errorf("left: %+v", left)
	}
	if r := b.deliver(erased(hello.Contact.ID))["erasure-1#1"]; r.Err != nil {
		t.Errorf("again: %v", r.Err)
	}
}

func TestErase_IsAPersonsWithoutAnOperation(t *testing.T) {
	settings := example(t, "one-by-one")
	delete(settings["operations"].(table), "contact.erased")
	b := start(t, customhttpsim.Options{Token: token}, settings, nil)
	if r := b.deliver(erased("c1"))["erasure-1#1"]; r.Err == nil || r.Err.Code != core.CodeUndeliverable || !strings.Contains(r.Err.Hint, "by hand") {
		t.Errorf("got %+v", r)
	}
	settings["operations"].(table)["contact.erased"] = table{"skip": true}
	b = start(t, customhttpsim.Options{Token: token}, settings, nil)
	if r := b.deliver(erased("c1"))["erasure-1#1"]; r.Err != nil {
		t.Errorf("skipped on purpose: %v", r.Err)
	}
}
