package script_test

import (
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
)

func TestAction_DescribesAllThatADiffShows(t *testing.T) {
	sure := 0.35
	for want, a := range map[string]script.Action{
		`reply "Hello"`:                               {Type: script.ActionReply, Text: "Hello"},
		`reply "Hello" with confidence 0.35`:          {Type: script.ActionReply, Text: "Hello", Confidence: &sure},
		`reply template sale (en)`:                    {Type: script.ActionReply, Message: &core.Message{Type: core.TypeTemplate, Template: &core.Template{Name: "sale", Language: "en"}}},
		`reply image https://x.example/a.png "A"`:     {Type: script.ActionReply, Message: &core.Message{Type: core.TypeImage, Text: "A", Media: &core.Media{Link: "https://x.example/a.png"}}},
		`tag "order"`:                                 {Type: script.ActionTag, Tag: "order"},
		`untag "order"`:                               {Type: script.ActionUntag, Tag: "order"},
		`setField "city" = "Porto"`:                   {Type: script.ActionSetField, Name: "city", Value: "Porto"},
		`escalate "why"`:                              {Type: script.ActionEscalate, Reason: "why"},
		`escalate to care about complaint high "why"`: {Type: script.ActionEscalate, Team: "care", Topic: "complaint", Priority: "high", Reason: "why"},
		`timer "remind" in 2h`:                        {Type: script.ActionTimer, Name: "remind", After: 2 * time.Hour},
		`timer "remind" in 1d12h with {"n":1}`:        {Type: script.ActionTimer, Name: "remind", After: 36 * time.Hour, Data: []byte(`{"n":1}`)},
		`timer "remind" in 30m`:                       {Type: script.ActionTimer, Name: "remind", After: 30 * time.Minute},
		`timer "remind" in 2d`:                        {Type: script.ActionTimer, Name: "remind", After: 48 * time.Hour},
		`timer "remind" in 1m30s`:                     {Type: script.ActionTimer, Name: "remind", After: 90 * time.Second},
		`timer "remind" in 0s`:                        {Type: script.ActionTimer, Name: "remind"},
		`cancelTimer "remind"`:                        {Type: script.ActionCancelTimer, Name: "remind"},
		`consent to marketing granted by "the form"`:  {Type: script.ActionConsent, Level: "marketing", State: "granted", Evidence: "the form"},
		`consent to marketing withdrawn`:              {Type: script.ActionConsent, Level: "marketing", State: "withdrawn"},
	} {
		if got := a.Describe(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
