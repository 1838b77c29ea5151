package hubspot_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

func TestPoll_TellsWhichContactsWereDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, hubspotsim.Options{})
		var ids []string
		for i := range 350 {
			ids = append(ids, b.edit(t, "", map[string]string{"firstname": fmt.Sprint(i)}))
		}
		remove := func(from, to int) {
			for _, id := range ids[from:to] {
				if err := b.sim.Delete("contacts", id); err != nil {
					t.Fatal(err)
				}
			}
		}
		remove(0, 20) // before anybody asked
		time.Sleep(time.Minute)
		_, cursor := b.round(t, nil)
		known := map[string]bool{}
		// gone asks after a while, and returns the records that are told.
		gone := func(after time.Duration) map[string]bool {
			time.Sleep(after)
			var events []core.Event
			events, cursor = b.round(t, cursor)
			out := map[string]bool{}
			for _, e := range news(events, known) {
				if e.Kind == core.KindContactGone {
					out[e.ContactRef] = true
					if e.ID == "" || time.Since(e.Time) > 3*time.Hour {
						t.Errorf("it is %+v", e)
					}
				}
			}
			return out
		}
		remove(20, 30)
		if got := gone(50 * time.Minute); len(got) != 0 {
			t.Errorf("too soon: %v", got)
		}
		if got := gone(20 * time.Minute); len(got) != 10 || !got[ids[25]] {
			t.Errorf("told: %v", got)
		}
		remove(30, 330) // on several pages
		if got := gone(61 * time.Minute); len(got) != 300 || !got[ids[30]] || !got[ids[329]] {
			t.Errorf("%d were told, want 300", len(got))
		}
		if got := gone(61 * time.Minute); len(got) != 0 {
			t.Errorf("told anew: %v", got)
		}
		var settings map[string]any
		if err := json.Unmarshal(b.account.Settings, &settings); err != nil {
			t.Fatal(err)
		}
		settings["pull_deleted"] = false
		b.account.Settings, _ = json.Marshal(settings)
		remove(330, 340)
		if got := gone(3 * time.Hour); len(got) != 0 {
			t.Errorf("though nobody wants to know: %v", got)
		}
	})
}
