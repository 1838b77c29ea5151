package scenario

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

var conversations = flag.Int("scenario.n", 8, "how many customers write to each business")

// drivers are all connectors, each in its modes.
func drivers() []driver {
	return []driver{newSalesforce("object"), newSalesforce("task"), newHubspot("communications"), newHubspot("inbox"), newZoho("module"), newZoho("notes"), newCustom()}
}

// lines are what customers write.
var lines = []string{
	"Hello %d", "Ask %d", "Ask again %d", "Order %d", "<b>%d</b> & \"more\" of 1 < 2", "Línea uno\nlínea dos %d 你好 🙂",
	"News yes %d", "News no %d",
}

// rarely is what one in four writes, too: to want a person, after which the bot
// keeps silent, or no more messages.
var rarely = []string{"STOP", "START", "Human %d", "Human %d"}

// knows is a driver whose CRM may have people before the bridge is there, made by hand.
type knows interface {
	makes(name, phone string) error
}

// clientele has every third customer be in the CRM already, their number written as people do,
// and those whose numbers have variants.
func (w *world) clientele(tn *tenant) {
	crm, ok := tn.driver.(knows)
	if !ok {
		return
	}
	for _, v := range variants {
		if err := crm.makes("Pat", v[0]); err != nil {
			w.t.Fatal(err)
		}
	}
	ways := []string{"(415) 555-%04d", "+1 415 555 %04d", "415.555.%04d", "+1415555%04d"}
	for n := 0; n < *conversations; n += 3 {
		if err := crm.makes(fmt.Sprintf("Customer %d", n), fmt.Sprintf(ways[n/3%len(ways)], n)); err != nil {
			w.t.Fatal(err)
		}
	}
}

// customer is one of a business's, as random as their number.
func (w *world) customer(tn *tenant, n int, long time.Duration) {
	random := rand.New(rand.NewPCG(uint64(n), 99))
	phone := fmt.Sprintf("1415555%04d", n)
	for step := range 3 + random.IntN(4) {
		if step > 0 {
			<-time.After(time.Duration(random.Int64N(int64(long / 3))))
		}
		in := whatsappsim.Inbound{
			Number: tn.number, From: phone, Name: fmt.Sprintf("Customer %d", n),
			ID: fmt.Sprintf("wamid.scen.%s.%d.%d", tn.id, n, step),
		}
		switch random.IntN(8) {
		case 0:
			in.Media, in.Text = &whatsappsim.InboundMedia{Filename: "plan.pdf"}, fmt.Sprintf("my plan %d", step)
			in.Type = "document"
		case 1:
			in.Location = &whatsappsim.InboundLocation{Latitude: 40.4, Longitude: -3.7, Name: "Here"}
		default:
			in.Text = lines[random.IntN(len(lines))]
			if n%4 == 0 {
				in.Text = slices.Concat(lines[:2], rarely)[random.IntN(2+len(rarely))]
			}
			if strings.Contains(in.Text, "%d") {
				in.Text = fmt.Sprintf(in.Text, step)
			}
		}
		answered := w.hurl(in)
		if random.IntN(4) > 0 { // otherwise the next may overtake it
			<-answered
		}
	}
}

// disturb makes the CRM misbehave in each way, kills the connector's process a few
// times, and lets everything be well in the end.
func (w *world) disturb(tn *tenant, long time.Duration) {
	part := long / 8
	for i, what := range []trouble{lost, storm, partial, expired, outage} {
		if what == expired && long < time.Minute {
			continue // a token that is refused when it is young is given another half minute
		}
		tn.trouble(what)
		<-time.After(part)
		if i%2 == 1 || long >= time.Minute && i < 4 { // one death more, and it would be left dead for ten minutes
			w.killPlugin(tn)
		}
	}
	<-time.After(2 * part) // of an outage
	tn.heal()
}

// killPlugin kills the process of a tenant's lane.
func (w *world) killPlugin(tn *tenant) {
	if p, err := os.FindProcess(w.log.plugin(tn.id)); err == nil {
		_ = p.Kill()
	}
}

func TestScenario_TheCRMEndsEqualToTheBridgesRecord(t *testing.T) {
	o := options{
		retry:  `["100ms", "300ms", "1s", "1s", "2s"]`,
		unruly: whatsappsim.Webhooks{Double: 0.2, Reorder: 0.2, HoldBack: 100 * time.Millisecond, Escape: 0.2},
	}
	long := 3 * time.Second
	if *conversations >= 100 {
		o.retry, long = "", 90*time.Second
	}
	w := begin(t, o, drivers()...)
	w.wa.Fail(
		whatsappsim.Rule{Do: whatsappsim.DoLost, Chance: 0.05}, whatsappsim.Rule{Do: whatsappsim.DoFail, Code: 131026, Chance: 0.05},
		whatsappsim.Rule{Do: whatsappsim.DoSlow, Delay: 80 * time.Millisecond, Chance: 0.2},
	)
	for _, tn := range w.tenants {
		w.clientele(tn)
	}
	began := time.Now()
	var busy sync.WaitGroup
	for _, tn := range w.tenants {
		busy.Go(func() { w.disturb(tn, long) })
		busy.Go(func() { w.people(tn) })
		if d, ok := tn.driver.(interface {
			agents(w *world, tn *tenant, long time.Duration)
		}); ok {
			busy.Go(func() { d.agents(w, tn, long) })
		}
		for n := range *conversations {
			busy.Go(func() { w.customer(tn, n, long) })
		}
	}
	busy.Wait()
	w.closeSome()
	w.settled(5 * time.Minute)
	t.Logf("settled after %v", time.Since(began).Round(time.Millisecond))
	for _, tn := range w.tenants {
		busy.Go(func() { w.check(tn) })
	}
	busy.Wait()
}

// closeSome has people close every second escalation.
func (w *world) closeSome() {
	w.t.Helper()
	for i, e := range w.broker.Escalations("") {
		if i%2 == 0 {
			if _, err := w.broker.CloseEscalation(w.t.Context(), e.Tenant, e.ID, "scenario", "done"); err != nil {
				w.t.Error(err)
			}
		}
	}
}

// check compares what a CRM has with the bridge's record, and the record with what
// customers wrote.
func (w *world) check(tn *tenant) {
	w.t.Helper()
	want, have := w.equal(tn)
	w.t.Logf("%-18s %4d people, %4d messages, %3d escalations; %d calls", tn.id, len(want.contacts), len(want.messages), len(want.escalations), tn.calls())
	written := 0
	for id := range w.written {
		if strings.HasPrefix(id, "wamid.scen."+tn.id+".") {
			written++
			if _, ok := want.messages[id]; !ok {
				w.t.Errorf("%s: LOST: the bridge has no record of %s", tn.id, id)
			}
		}
	}
	if written == 0 || len(want.messages) <= written || len(have.history) == 0 {
		w.t.Errorf("%s: %d messages were written, %d recorded, %d have a status: this proves little", tn.id, written, len(want.messages), len(have.history))
	}
}

// equal compares what a CRM has with the bridge's record, and returns both.
func (w *world) equal(tn *tenant) (want, have state) {
	w.t.Helper()
	want, merged := w.recorded(tn)
	have = tn.read()
	want.without(tn.lacks())
	have.without(tn.lacks())
	for _, s := range compare(tn.id, want, have, merged) {
		w.t.Error(s)
	}
	return want, have
}
