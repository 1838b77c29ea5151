package whatsapp

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/wabridge/wabridge/core"
)

// upgraded is the throughput of a number that Meta has upgraded, messages a second.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/throughput
const upgraded = 1000

// limits reads what a number or a business may send now.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/phone_number_quality_update
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/business_capability_update
func (o *origin) limits(field string, value []byte) ([]Update, bool) {
	var v struct {
		Display string          `json:"display_phone_number"`
		Event   string          `json:"event"`
		Most    json.RawMessage `json:"max_daily_conversations_per_business"`
		Current string          `json:"current_limit"`                    // until February 2026
		Each    json.RawMessage `json:"max_daily_conversation_per_phone"` // until v24
	}
	if json.Unmarshal(value, &v) != nil {
		return nil, false
	}
	c := &core.LimitChange{Display: v.Display, Event: v.Event, PeoplePerDay: peoplePerDay(strings.Trim(string(v.Most), `"`))}
	for _, older := range []string{v.Current, strings.Trim(string(v.Each), `"`)} {
		if c.PeoplePerDay == 0 {
			c.PeoplePerDay = peoplePerDay(older)
		}
	}
	if v.Event == "THROUGHPUT_UPGRADE" && v.Display != "" {
		c.MessagesPerSecond = upgraded
	}
	var updates []Update
	if v.Event == "FLAGGED" || v.Event == "UNFLAGGED" {
		updates, _ = o.account(field, value, flagged)
		updates[0].Event.ID += "/flag"
	}
	if c.PeoplePerDay == 0 && c.MessagesPerSecond == 0 {
		return updates, len(updates) > 0
	}
	var t flexTime
	_ = t.UnmarshalJSON(o.entry.Time)
	return append(updates, o.update(core.Event{
		ID: hashID(o.waba(), field, value, o.entry.Time), Kind: core.KindLimitChanged, Time: t.Time, LimitChange: c, Raw: bytes.Clone(value),
	})), true
}

// flagged reads that people complain of a number, or do not any more.
func flagged(value []byte) *core.AccountChange {
	var v struct {
		Display flexID `json:"display_phone_number"`
		Event   string `json:"event"`
	}
	_ = json.Unmarshal(value, &v) // was read before
	c := &core.AccountChange{Event: v.Event, Display: string(v.Display), About: "quality", Text: "people block or report the number: its limit may be lowered"}
	if c.Alarm = warning; v.Event == "UNFLAGGED" {
		c.Alarm, c.Over, c.Text = "", true, "the number's quality is good again"
	}
	return c
}

// peoplePerDay reads a messaging limit: a number, -1 for any, or a tier; 0 is neither.
func peoplePerDay(s string) int {
	tier, ok := strings.CutPrefix(s, "TIER_")
	if !ok {
		n, err := strconv.Atoi(s)
		if err != nil || n < -1 {
			return 0
		}
		return n
	}
	if tier == "UNLIMITED" {
		return -1
	}
	digits, thousands := strings.CutSuffix(tier, "K")
	n, err := strconv.Atoi(digits)
	if err != nil || n <= 0 || n > 1_000_000 {
		return 0
	}
	if thousands {
		n *= 1000
	}
	return n
}
