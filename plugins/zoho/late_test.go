package zoho_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

// A message that is delivered late, as when a person replays it, brings back nothing that
// was edited or taken back since.
func TestDeliver_KeepsWhatBecameOfAMessage(t *testing.T) {
	for _, settings := range []string{"", `{"status_field":"","status_time_field":"","status_error_field":""}`, `{"mode":"notes"}`} {
		t.Run(settings, func(t *testing.T) {
			b := start(t, zohosim.Options{}, settings, nil).mustCheck()
			late := func(n int) *core.Event {
				e := sent(n)
				e.Accepted = time.Now().Add(-time.Hour)
				return e
			}
			edited, revoked := sent(1), sent(2)
			edited.ID, edited.Kind, edited.Message.Text = "edit", core.KindMessageEdited, "hello again"
			revoked.ID, revoked.Kind, revoked.Message.Type, revoked.Message.Text = "revoke", core.KindMessageRevoked, core.TypeRevoke, ""
			b.done(sent(1))
			b.done(edited, revoked, status(3, core.StatusRead)) // of the second nothing was written before, of the third but a status
			b.done(late(1), late(2), late(3), late(4))
			again := late(4)
			again.Message.Text = "older"
			both := sent(4)
			both.ID, both.Kind, both.Message.Text = "edit4", core.KindMessageEdited, "newer"
			b.done(again, both) // what is told with it counts
			for n, want := range []string{1: "hello again", 2: "[taken back by who wrote it]", 3: "hello back", 4: "newer"} {
				if n == 0 {
					continue
				}
				id, got := fmt.Sprintf("wamid.OUT%03d", n), ""
				if m, ok := b.messages()[id]; ok {
					got = m.Values["Body"]
					if name := m.Values["Name"]; name != "→ "+want {
						t.Errorf("%s is called %q", id, name)
					}
				}
				for _, note := range b.sim.Records("Notes") {
					if strings.HasSuffix(note.Values["Note_Title"], id) {
						got = note.Values["Note_Content"]
					}
				}
				if got != want {
					t.Errorf("%s says %q, want %q", id, got, want)
				}
			}
		})
	}
}
