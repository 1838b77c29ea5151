package broker

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
)

// many are sends of a class, each to another person.
func many(class core.Class, n int) []core.Event {
	out := make([]core.Event, n)
	for i := range out {
		phone := fmt.Sprintf("+1212%07d", i)
		out[i] = core.Event{
			ID: fmt.Sprintf("%s-%d", class, i), Kind: core.KindMessageSend, Tenant: "acme", Number: number, Source: "api", Time: time.Now(), Class: class,
			Contact: &core.Contact{Phone: phone},
			Message: &core.Message{Direction: core.Outbound, Type: core.TypeText, Text: "hello", To: core.Address{Kind: core.AddressPhone, Value: phone}},
		}
	}
	return out
}

// replyDelays lets somebody write every three quarters of a second, and returns how long each
// answer took to be at WhatsApp, the longest last.
func (b *bridge) replyDelays(n int) []time.Duration {
	b.Helper()
	wrote := map[string]time.Time{}
	for i := range n {
		id := fmt.Sprint("wamid.in.", time.Now().UnixNano(), ".", i)
		wrote[id+"#1"] = time.Now()
		b.accept(received(id, fmt.Sprintf("+4930%06d", i), "hi"))
		settled(750*time.Millisecond + time.Duration(i)*time.Millisecond)
	}
	settled(time.Second)
	var out []time.Duration
	for _, t := range b.wa.taken() {
		if at, ok := wrote[t.event.ID]; ok {
			out = append(out, t.at.Sub(at))
		}
	}
	if len(out) != n {
		b.Fatalf("%d of %d were answered", len(out), n)
	}
	slices.Sort(out)
	return out
}

// A campaign delays a reply by no more than one turn of the number's, and goes on.
func TestPriority_ACampaignDelaysAReplyByOneTurn(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.scripts = reply("hello")
		b.change = func(o *Options) { o.Tenants[0].Numbers[0].Rate = 80 }
		b.start()
		idle := b.replyDelays(20)
		const backlog = 3000
		for part := range slices.Chunk(many(core.ClassCampaign, backlog), 500) {
			b.accept(part...)
		}
		_, before := b.sentTo()
		began := time.Now()
		busy := b.replyDelays(30)
		_, after := b.sentTo()
		const turn = time.Second / 80
		if slowest := busy[len(busy)-1]; slowest > idle[len(idle)-1]+turn {
			t.Errorf("the slowest reply took %v beside a campaign, %v without", slowest, idle[len(idle)-1])
		}
		if rate := float64(after-before) / time.Since(began).Seconds(); rate < 76 || rate > 80.5 {
			t.Errorf("%.1f messages a second went out meanwhile, of 80", rate)
		}
	})
}

// While replies never end, a campaign gets its share, and a transaction its own.
func TestPriority_NobodyStarves(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.change = func(o *Options) { o.Tenants[0].Numbers[0].Rate = 80 }
		b.start()
		for _, c := range core.Classes() {
			for part := range slices.Chunk(many(c, 1000), 500) {
				for i := range part {
					to := part[i].Contact.Phone[:5] + map[core.Class]string{core.ClassReply: "1", core.ClassTransaction: "2", core.ClassCampaign: "3"}[c] + part[i].Contact.Phone[6:]
					part[i].Contact.Phone, part[i].Message.To.Value = to, to
				}
				b.accept(part...)
			}
		}
		settled(10 * time.Second)
		n := map[core.Class]int{}
		for _, t := range b.wa.taken() {
			n[t.event.Class]++
		}
		if n[core.ClassReply] < 600 || n[core.ClassTransaction] < 75 || n[core.ClassCampaign] < 75 {
			t.Errorf("of 800 in ten seconds: %v", n)
		}
	})
}

// A reply does not overtake what was to go to the same person before, and need not: that
// goes as soon as the reply may.
func TestPriority_TakesWhatIsBeforeAReplyAlong(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.scripts = reply("hello")
		b.change = func(o *Options) { o.Tenants[0].Numbers[0].Rate = 80 }
		b.start()
		b.accept(many(core.ClassCampaign, 1000)...)
		synctest.Wait()
		time.Sleep(100 * time.Millisecond)
		b.accept(received("wamid.in", "+12120000900", "hi"))
		settled(200 * time.Millisecond)
		var got []string
		for _, t := range b.wa.taken() {
			if t.event.Contact.Phone == "+12120000900" {
				got = append(got, t.event.ID)
			}
		}
		b.wantKinds(got, "campaign-900", "wamid.in#1")
	})
}

// A number that somebody also uses with the phone app sends 20 a second.
func TestPriority_CoexistenceIsSlower(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.change = func(o *Options) { o.Tenants[0].Numbers[0].Rate = 0 }
		b.start()
		b.accept(core.Event{ID: "wamid.echo", Kind: core.KindMessageSent, Source: "phone", Author: core.AuthorHuman, Number: number, Time: time.Now(),
			Contact: &core.Contact{Phone: ana}, Message: &core.Message{ID: "wamid.echo", Direction: core.Outbound, Type: core.TypeText, Text: "it's me"}})
		settled(time.Second)
		b.stop()
		b.start()
		b.accept(many(core.ClassTransaction, 100)...)
		settled(10 * time.Second)
		if most := b.fastest(0); most > 20 || most < 19 {
			t.Errorf("%d in a second, of 20", most)
		}
	})
}
