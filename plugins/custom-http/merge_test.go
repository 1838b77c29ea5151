package customhttp_test

import (
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

func became(gone, kept *core.Event) *core.Event {
	return &core.Event{ID: "merge-1#identity#1", Kind: core.KindContactMerged, Tenant: "acme", Source: "bridge", Contact: kept.Contact,
		Merge: &core.ContactMerge{Contact: *gone.Contact}}
}

func TestMerge_DoesWhatTheSettingsSay(t *testing.T) {
	b := start(t, customhttpsim.Options{Token: token}, example(t, "one-by-one"), nil)
	one, two := received(1), received(2)
	b.deliver(one, two)
	e := became(two, one)
	for range 2 { // twice is once
		if r := b.deliver(e)[e.ID]; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	for _, r := range b.sim.Records("") {
		if text := string(toJSON(t, r)); strings.Contains(text, two.Contact.ID) || !strings.Contains(text, one.Contact.ID) {
			t.Errorf("left: %s", text)
		}
	}
	never := became(received(8), one)
	never.ID = "merge-2#identity#1"
	if b.deliver(never)[never.ID].Err != nil {
		t.Error("somebody whom the API never knew is no error")
	}
}

func TestMerge_IsAPersonsWithoutAnOperation(t *testing.T) {
	settings := example(t, "one-by-one")
	delete(settings["operations"].(table), "contact.merged")
	b := start(t, customhttpsim.Options{Token: token}, settings, nil)
	e := became(received(2), received(1))
	if r := b.deliver(e)[e.ID]; r.Err == nil || r.Err.Code != core.CodeUndeliverable || !strings.Contains(r.Err.Hint, "skip = true") {
		t.Errorf("got %+v", r)
	}
	settings["operations"].(table)["contact.merged"] = table{"skip": true}
	b = start(t, customhttpsim.Options{Token: token}, settings, nil)
	if r := b.deliver(e)[e.ID]; r.Err != nil {
		t.Errorf("skipped on purpose: %v", r.Err)
	}
}
