package broker

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

var sends = flag.Int("sends", 2500/fewer, "how many sends TestSends_NoneTwice makes")

// perSecond is the most that the sim took within any second.
func perSecond(all []whatsappsim.Send) (most int) {
	at := make([]time.Time, len(all))
	for i := range all {
		at[i] = all[i].At
	}
	slices.SortFunc(at, time.Time.Compare)
	for i, j := 0, 0; i < len(at); i++ {
		for at[i].Sub(at[j]) >= time.Second {
			j++
		}
		most = max(most, i-j+1)
	}
	return most
}

// Of many sends one in a hundred has an unknown outcome: sent or not, nobody says. None is
// sent twice; those that were sent are known to be by their statuses, the others are before a
// person; and in no second are there more than the number may send.
func TestSends_NoneTwice(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.change = func(o *Options) {
			o.Tenants[0].Numbers[0].Rate = 1000
			o.Tenants[0].DeadAfter = 10 * 24 * time.Hour
		}
		g := withGraph(b, whatsappsim.Options{Seed: 7, BatchStatuses: time.Second, StatusDelay: 100 * time.Millisecond, Latency: func() time.Duration { return 50 * time.Millisecond }})
		b.start()
		g.sim.Fail(whatsappsim.Rule{Do: whatsappsim.DoLost, Chance: 0.006, Count: 1 << 30})
		g.sim.Fail(whatsappsim.Rule{Do: whatsappsim.DoCut, Chance: 0.006, Count: 1 << 30})
		began := time.Now()
		var fed time.Duration
		const part = 1000
		for n := 0; n < *sends; n += part {
			all := many(core.ClassTransaction, min(part, *sends-n))
			for i := range all {
				phone := fmt.Sprintf("+1%010d", 2_000_000_000+n+i)
				all[i].ID = fmt.Sprintf("send-%d", n+i)
				all[i].Contact, all[i].Message.To.Value = &core.Contact{Phone: phone}, phone
			}
			b.accept(all...)
			time.Sleep(time.Second)
			fed = time.Since(began)
		}
		settled(5 * time.Minute)
		stats := g.sim.Stats()
		held := b.Snapshot().Dead
		t.Logf("%d sends in %v: %d at WhatsApp, of %d the outcome was unknown, %d are before a person, at most %d in a second",
			*sends, fed, stats.Sends, stats.Faults[whatsappsim.DoLost]+stats.Faults[whatsappsim.DoCut], held, perSecond(g.sim.Ledger().Sends))
		if stats.Twice != 0 || b.Snapshot().Totals.DoubleSend != 0 {
			t.Errorf("%d were sent twice", stats.Twice)
		}
		if unknown := stats.Faults[whatsappsim.DoLost] + stats.Faults[whatsappsim.DoCut]; unknown < *sends/200 {
			t.Errorf("only %d outcomes were unknown: it shows little", unknown)
		}
		if stats.Sends+held != *sends || held != stats.Faults[whatsappsim.DoCut] {
			t.Errorf("%d at WhatsApp and %d before a person, of %d; %d did not arrive", stats.Sends, held, *sends, stats.Faults[whatsappsim.DoCut])
		}
		if most := perSecond(g.sim.Ledger().Sends); most > 1000 {
			t.Errorf("%d in a second, of 1,000", most)
		}
		if rate := float64(*sends) / fed.Seconds(); *sends >= 10_000 && rate < 980 {
			t.Errorf("%.0f a second, of 1,000", rate)
		}
		if n := b.depth(); n != 0 {
			t.Errorf("%d events are still on their way", n)
		}
		b.stop()
		synctest.Wait()
	})
}
