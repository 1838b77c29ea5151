package redecide

import (
	"testing"
	"time"

	"github.com/wabridge/wabridge/core/script"
)

func TestShape_HidesWhatDiffersAndKeepsWhatTheScriptSays(t *testing.T) {
	sure := 0.4
	o := Outcome{Actions: []script.Action{
		{Type: script.ActionReply, Text: "noted 4711", Confidence: &sure}, {Type: script.ActionTag, Tag: "order-4711"},
		{Type: script.ActionSetField, Name: "order", Value: "4711"}, {Type: script.ActionTimer, Name: "remind-4711", After: 2 * time.Hour, Data: []byte(`{"n":4711}`)},
		{Type: script.ActionEscalate, Team: "care", Topic: "complaint", Reason: "order 4711"},
	}}
	want := `reply "noted #" with confidence 0.4, tag "order-#", setField "order", timer "remind-#" in 2h, escalate to care about complaint "order #"`
	if got := o.Shape(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
