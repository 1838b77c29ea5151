package broker

import (
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/whatsapp"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

// A file of before a number was connected becomes its message's, whichever comes first, and
// nobody is asked about it. Whose it is the placeholder says.
func TestPlaceholder_BecomesTheMessageWithItsFile(t *testing.T) {
	for _, fileFirst := range []bool{false, true} {
		run(t, func(b *bridge) {
			sim := b.withFiles(nil)
			asked := 0
			b.scripts = func(*core.Event) script.Decision { asked++; return script.Decision{} }
			files := b.change
			b.change = func(o *Options) { files(o); o.Tenants[0].Policy = Policy{Reads: []Reading{ReadEdits}} }
			b.start()
			placed := received("wamid.1", ana, "")
			placed.Kind, placed.Author, placed.Source, placed.Time = core.KindMessageSent, core.AuthorHuman, whatsapp.SourceHistory, time.Now().Add(-time.Hour)
			placed.Message.Direction, placed.Message.Type = core.Outbound, whatsapp.TypePlaceholder
			file := b.picture(sim, "wamid.1", ana, whatsappsim.InboundMedia{Data: png(4000)})
			file.ID, file.Kind, file.Source, file.Time = "wamid.1:file", core.KindMessageEdited, whatsapp.SourceHistory, placed.Time
			b.accept(received("wamid.0", ana, "hello"))
			settled(time.Second)
			before, told := asked, len(b.crm.taken())
			events := []core.Event{placed, file}
			want := "message.sent media_placeholder, message.edited image the parcel, message.media image the parcel"
			if fileFirst {
				events = []core.Event{file, placed}
				want = "message.edited image the parcel, message.media image the parcel"
			}
			for _, e := range events {
				b.accept(e)
				settled(2 * time.Second)
			}
			b.accept(file) // WhatsApp repeats itself
			settled(time.Minute)
			var got []string
			for _, tr := range b.crm.taken()[told:] {
				m := tr.event.Message
				got = append(got, strings.TrimSpace(string(tr.event.Kind)+" "+string(m.Type)+" "+m.Text))
				if m.ID != "wamid.1" || m.Direction != core.Outbound && !fileFirst {
					t.Errorf("told of %s, %s", m.ID, m.Direction)
				}
			}
			if s := strings.Join(got, ", "); s != want {
				t.Errorf("the CRM is told of %s\nwant %s", s, want)
			}
			if links := b.links("wamid.1"); len(links) != 1 {
				t.Errorf("links %q", links)
			} else if _, err := b.open(links[0]); err != nil {
				t.Errorf("%s: %v", links[0], err)
			}
			if asked != before {
				t.Errorf("the script was asked %d times", asked-before)
			}
			if n := len(b.dead()); n != 0 {
				t.Errorf("%d dead letters", n)
			}
		})
	}
}
