package scripts_test

import (
	"testing"

	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/scripts"
)

// naturalMix is what a shop is written about, in per cent of its messages.
// Three quarters are contacts as shops count them
// (https://www.kriseena.com/blog/ecommerce-customer-service, 2026: where is my
// order 35-45 %, returns 15-20, damaged or wrong 8-12, cancellations 6-10,
// products 8-12, account and payment 5-8; half of who returns something asks how
// to, the other half is with the complaints). The last quarter is our guess of
// what chats have and tickets do not: greetings, thanks, confirmations, "ok".
var naturalMix = map[string]float64{
	"order": 30, "product": 16.5, "complaint": 13.5, "cancellation": 6, "person": 3, "hours": 2.5, "location": 2.5,
	"confirmation": 5, "greeting": 7, "thanks": 7, "ok": 5, "other": 2,
}

// Of a natural mix of messages, people get a fifth or so: go test ./scripts -run
// Mix -v shows the shares.
func TestCorpus_NaturalMixLeavesPeopleTheirShare(t *testing.T) {
	e := engine(t, scripts.DefaultName, scripts.Default())
	of, human, automatic := map[string]float64{}, map[string]float64{}, map[string]float64{}
	for _, part := range []string{"held-out", "held-out-2"} {
		for _, language := range []string{"en", "es", "fr", "pt", "zh"} {
			messages := corpus(t, part, language)
			calls := make([]script.Call, len(messages))
			for i, l := range messages {
				calls[i] = message{message: l.message(), old: !l.first, settings: map[string]any{"crm_fields": "all", "language": language}}.call(t)
			}
			for i, d := range e.Decide(t.Context(), "shop", calls) {
				if d.Err != nil {
					t.Fatalf("%s: %v", messages[i].text, d.Err)
				}
				topic, is := messages[i].topic, decidedOf(d, replyKinds)
				of[topic]++
				switch {
				case is.handOver != "-":
					human[topic]++
				case is.reply != "-":
					automatic[topic]++
				}
			}
		}
	}
	var people, script, weights float64
	for topic, weight := range naturalMix {
		if of[topic] == 0 {
			t.Fatalf("there are no messages of topic %s", topic)
		}
		weights += weight
		people += weight * human[topic] / of[topic]
		script += weight * automatic[topic] / of[topic]
	}
	t.Logf("of a natural mix %.1f %% go to people, %.1f %% get an automatic reply, %.1f %% (such as \"ok\") none", people, script, weights-people-script)
	if weights != 100 || people < 15 || people > 25 {
		t.Errorf("%.1f of %.0f %% go to people, 15 to 25 are wanted", people, weights)
	}
}
