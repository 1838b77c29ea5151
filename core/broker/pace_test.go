package broker

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

// sentTo counts what went to each person, and to all.
func (b *bridge) sentTo() (each map[string]int, all int) {
	each = map[string]int{}
	for _, t := range b.wa.taken() {
		each[t.event.Message.To.Value]++
		all++
	}
	return each, all
}

func TestPace_OnePersonGetsNoMoreThanWhatsAppTakes(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.start()
		b.write("wamid.1", ana, "hi")
		b.write("wamid.2", berto, "hi")
		settled(time.Second)
		last := ""
		for i := range 50 {
			last = b.order(fmt.Sprint("k", i), ana, fmt.Sprint("message ", i), fromPersonAPI)
		}
		b.order("other", berto, "hello", fromPersonAPI)
		settled(3 * time.Second)
		before, _ := b.sentTo()
		if before[ana] != 45 || before[berto] != 1 {
			t.Errorf("sent at once: %v, want 45 to the one who gets many, and the other's", before)
		}
		story, err := b.Why(context.Background(), "", last)
		if err != nil || len(story.Steps) == 0 {
			t.Fatal(err)
		}
		settled(6 * time.Second)
		if now, _ := b.sentTo(); now[ana] < 46 || now[ana] > 47 {
			t.Errorf("%d after nine seconds, want 46", now[ana])
		}
		settled(time.Minute)
		texts := []string{}
		for _, try := range b.wa.taken() {
			if try.event.Message.To.Value == ana {
				texts = append(texts, try.event.Message.Text)
			}
		}
		if len(texts) != 50 {
			t.Fatalf("%d of 50 came in the end", len(texts))
		}
		for i, text := range texts {
			if text != fmt.Sprint("message ", i) {
				t.Fatalf("out of order: %v", texts)
			}
		}
		if s := b.Snapshot().Lanes[0]; s.Dead != 0 || s.Retried != 0 {
			t.Errorf("waiting counted as failing: %+v", s)
		}
	})
}

func fromPersonAPI(r *SendRequest) { r.Author, r.By = core.AuthorHuman, "maria" }

// Templates to so many people a day who have not written, whatever the restarts; those
// who have, and those who were written to, are not counted again.
func TestPace_SoManyNewPeopleADay(t *testing.T) {
	for name, told := range map[string]bool{"the owner's": false, "WhatsApp's": true} {
		t.Run(name, func(t *testing.T) {
			run(t, func(b *bridge) {
				b.noSync = true
				b.change = func(o *Options) {
					o.Tenants[0].Policy.Templates = []Template{{Name: "info", Category: "utility"}}
					if !told {
						o.Tenants[0].Limits.PeoplePerDay = 3
					}
				}
				b.start()
				if told {
					b.accept(core.Event{ID: "wh-1", Kind: core.KindLimitChanged, Tenant: "acme", Time: time.Now(), LimitChange: &core.LimitChange{PeoplePerDay: 3}})
				}
				b.write("wamid.1", "+14155550199", "hi")
				settled(time.Second)
				ids := map[int]string{}
				for i := range 5 {
					ids[i] = b.order(fmt.Sprint("k", i), fmt.Sprintf("+1415555020%d", i), "template info")
					settled(time.Second)
				}
				b.order("again", "+14155550200", "template info")
				b.order("known", "+14155550199", "template info")
				settled(time.Minute)
				if each, all := b.sentTo(); all != 5 || each["+14155550203"] != 0 || each["+14155550204"] != 0 {
					t.Errorf("sent %v, want three new people, one of them twice, and one who wrote", each)
				}
				story, err := b.Why(context.Background(), "", ids[3])
				if err != nil || !strings.Contains(fmt.Sprint(story), "3 people were written to within a day") || !strings.Contains(fmt.Sprint(story), "until 2000-01-0") {
					t.Errorf("why: %v, %+v", err, story)
				}
				b.stop()
				b.start()
				settled(23*time.Hour + 50*time.Minute)
				if _, all := b.sentTo(); all != 5 {
					t.Errorf("%d were sent before the day was over", all)
				}
				settled(20 * time.Minute)
				if each, all := b.sentTo(); all != 7 || each["+14155550203"] != 1 || each["+14155550204"] != 1 {
					t.Errorf("when it was over: %v", each)
				}
			})
		})
	}
}

func TestPace_ATenantsPlan(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.change = func(o *Options) { o.Tenants[0].Limits.MessagesPerMinute = 300 }
		b.start()
		for i := range 400 {
			b.order(fmt.Sprint("k", i), fmt.Sprintf("+1415556%04d", i), "hello", fromPersonAPI)
		}
		settled(time.Minute)
		if _, all := b.sentTo(); all > 300 || all < 260 {
			t.Errorf("%d in a minute, of 300", all)
		}
	})
}

// fastest is the most that went within any second, of all after the first n.
func (b *bridge) fastest(n int) (most int) {
	all := b.wa.taken()[n:]
	for i := range all {
		in := 0
		for _, t := range all[i:] {
			if t.at.Sub(all[i].at) < time.Second {
				in++
			}
		}
		most = max(most, in)
	}
	return most
}

func TestPace_ANumberIsAsFastAsWhatsAppSays(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.change = func(o *Options) {
			o.Tenants[0].Numbers[0].Display, o.Tenants[0].Numbers[0].Rate = "+49 30 1234", 0
		}
		b.start()
		batch := func(n, want int) {
			t.Helper()
			_, before := b.sentTo()
			for i := range n {
				b.order(fmt.Sprint(before, "-", i), fmt.Sprintf("+1415%07d", before+i), "hello", fromPersonAPI)
			}
			settled(time.Minute)
			if got := b.fastest(before); got > want+want/50 || got < want-want/10 {
				t.Errorf("%d in a second, of %d", got, want)
			}
		}
		batch(300, 80)
		b.accept(core.Event{ID: "wh-1", Kind: core.KindLimitChanged, Tenant: "acme", Time: time.Now(),
			LimitChange: &core.LimitChange{Display: "49301234", MessagesPerSecond: 250, Event: "THROUGHPUT_UPGRADE"}})
		settled(time.Second)
		batch(500, 250)
		b.stop()
		b.start()
		batch(500, 250)
	})
}

// Who is erased is not kept among those who were written to, either.
func TestPace_ForgetsWhoIsErased(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.change = func(o *Options) { o.Tenants[0].Policy.Templates = []Template{{Name: "info", Category: "utility"}} }
		b.start()
		b.order("k1", ana, "template info")
		settled(time.Second)
		reached := func() int {
			entries, err := b.o.Store.Range(context.Background(), "acme", bucketReached, "", 10)
			if err != nil {
				t.Fatal(err)
			}
			return len(entries)
		}
		if n := reached(); n != 1 {
			t.Fatalf("%d people were written to, want one", n)
		}
		b.erase(ana)
		settled(time.Minute)
		if n := reached(); n != 0 {
			t.Errorf("%d are kept of one who was erased", n)
		}
	})
}
