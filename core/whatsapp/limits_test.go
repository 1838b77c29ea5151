package whatsapp_test

import (
	"fmt"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/whatsapp"
)

func TestParse_ReadsWhatABusinessMaySend(t *testing.T) {
	const quality, capability = "phone_number_quality_update", "business_capability_update"
	for _, tc := range []struct {
		field, value string
		want         core.LimitChange
	}{
		{quality, `{"display_phone_number":"15550783881","event":"ONBOARDING","max_daily_conversations_per_business":"TIER_2K"}`,
			core.LimitChange{Display: "15550783881", Event: "ONBOARDING", PeoplePerDay: 2000}},
		{quality, `{"display_phone_number":"15550783881","event":"THROUGHPUT_UPGRADE","max_daily_conversations_per_business":"TIER_UNLIMITED"}`,
			core.LimitChange{Display: "15550783881", Event: "THROUGHPUT_UPGRADE", PeoplePerDay: -1, MessagesPerSecond: 1000}},
		{quality, `{"display_phone_number":"15550783881","event":"UPGRADE","old_limit":"TIER_250","current_limit":"TIER_1K"}`,
			core.LimitChange{Display: "15550783881", Event: "UPGRADE", PeoplePerDay: 1000}},
		{capability, `{"max_daily_conversations_per_business":2000,"max_phone_numbers_per_business":25}`, core.LimitChange{PeoplePerDay: 2000}},
		{capability, `{"max_daily_conversations_per_business":-1,"max_phone_numbers_per_waba":25}`, core.LimitChange{PeoplePerDay: -1}},
	} {
		body := fmt.Sprintf(`{"object":"whatsapp_business_account","entry":[{"id":"102","time":1739321024,"changes":[{"field":%q,"value":%s}]}]}`, tc.field, tc.value)
		updates, err := whatsapp.Parse([]byte(body))
		if err != nil || len(updates) != 1 {
			t.Fatalf("%s: %v, %v", tc.value, updates, err)
		}
		u := updates[0]
		if u.Event.Kind != core.KindLimitChanged || u.WABA != "102" || u.Event.Time.Unix() != 1739321024 || u.Event.LimitChange == nil || *u.Event.LimitChange != tc.want {
			t.Errorf("%s: %+v %+v", tc.value, u, u.Event.LimitChange)
		}
	}
	// What says nothing that the bridge understands is passed on whole.
	for _, value := range []string{`{"display_phone_number":"1","event":"DOWNGRADE","current_limit":"TIER_SOME"}`, `{"max_phone_numbers_per_business":25}`, `{"max_daily_conversations_per_business":{"a":1}}`} {
		body := fmt.Sprintf(`{"object":"whatsapp_business_account","entry":[{"id":"102","changes":[{"field":%q,"value":%s}]}]}`, quality, value)
		updates, err := whatsapp.Parse([]byte(body))
		if err != nil || len(updates) != 1 || updates[0].Event.Kind != core.KindUnknown || len(updates[0].Event.Raw) == 0 {
			t.Errorf("%s: %+v, %v", value, updates, err)
		}
	}
}
