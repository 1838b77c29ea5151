package broker

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
)

// A script's timers go round slowly, and not for ever while nobody writes.
func TestTimer_OfATimerEndsSomeDay(t *testing.T) {
	run(t, func(b *bridge) {
		var rings, longest atomic.Int64
		again := acts(script.Action{Type: script.ActionTimer, Name: "again"})
		_, b.change = think(map[script.Hooks]func(*core.Event, *core.Contact) script.Decision{
			script.OnMessage: func(*core.Event, *core.Contact) script.Decision { return again },
			script.OnTimer: func(e *core.Event, _ *core.Contact) script.Decision {
				rings.Add(1)
				longest.Store(max(longest.Load(), int64(len(e.ID))))
				return again
			},
		})
		b.noSync = true
		b.start()
		b.accept(received("wamid.1", ana, "hi"))
		settled(10 * time.Second)
		if n := rings.Load(); n < 9 || n > 11 {
			t.Errorf("%d rings in ten seconds, want about one a second", n)
		}
		settled(time.Hour)
		if n := rings.Load(); n != maxRings {
			t.Errorf("%d rings while nobody writes, want %d", n, maxRings)
		}
		if got := b.notes("wamid.1"); !strings.Contains(got, "as often as they may") {
			t.Errorf("the trace does not say why they ended: …%s", got[max(0, len(got)-200):])
		}
		if n := longest.Load(); n > 40 {
			t.Errorf("an id has %d bytes: it grows with the timers", n)
		}
		b.accept(received("wamid.2", ana, "hello?"))
		settled(5 * time.Second)
		if rings.Load() <= maxRings {
			t.Error("they do not begin again when the person writes")
		}
	})
}

// What a script gives a contact to carry has bounds, and what is over them is
// refused in words.
func TestContact_CarriesSoMuchAndNoMore(t *testing.T) {
	run(t, func(b *bridge) {
		var count atomic.Int64
		b.scripts = func(*core.Event) script.Decision {
			var actions []script.Action
			for range 30 {
				n := count.Add(1)
				actions = append(actions, script.Action{Type: script.ActionTag, Tag: fmt.Sprint("tag-", n)},
					script.Action{Type: script.ActionSetField, Name: fmt.Sprint("field-", n), Value: strings.Repeat("x", 3000)})
			}
			return script.Decision{Actions: actions}
		}
		b.start()
		for i := range 10 {
			b.write(fmt.Sprint("wamid.", i), ana, "hi")
		}
		var c core.Contact
		for _, tr := range b.crm.taken() {
			if tr.event.Kind == core.KindContactChanged {
				c = *tr.event.Contact
			}
		}
		size := 0
		for name, value := range c.Fields {
			size += len(name) + len(value)
		}
		if len(c.Tags) != maxContactTags || size > maxContactBytes || size < maxContactBytes/2 {
			t.Errorf("%d tags, %d bytes of fields", len(c.Tags), size)
		}
		b.wantNotes("wamid.9", `tag "tag-300" refused: the contact has 200 tags`)
		b.wantNotes("wamid.9", `setField "field-300" refused: the contact's fields would have`)
	})
}

// A script cannot take back what the person ended, whatever evidence it makes up.
func TestConsent_AScriptCannotUndoThePersonsWord(t *testing.T) {
	for name, end := range map[string]func(b *bridge){
		"a word":      func(b *bridge) { b.write("wamid.1", ana, "stop promotions") },
		"STOP":        func(b *bridge) { b.write("wamid.1", ana, "stop") },
		"in WhatsApp": func(b *bridge) { b.accept(metaChoice("wh-1", ana, "withdrawn")); settled(2 * time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(b *bridge) {
				b.withPolicy(Policy{})
				b.scripts = func(*core.Event) script.Decision {
					return script.Decision{Actions: []script.Action{{Type: script.ActionConsent, Level: "marketing", State: "granted", Evidence: "they want it, surely"},
						{Type: script.ActionReply, Message: &core.Message{Type: core.TypeTemplate, Template: &core.Template{Name: "promo", Language: "en"}}}}}
				}
				b.start()
				end(b)
				b.write("wamid.2", ana, "where is my order?")
				if st, err := b.Consent(context.Background(), "acme", ana); err != nil || st.MayMarket {
					t.Errorf("%+v, %v", st, err)
				}
				b.wantNotes("wamid.2", "consent refused: the person ended marketing themselves")
				b.wantNotes("wamid.2", "reply refused: ")
			})
		})
	}
}
