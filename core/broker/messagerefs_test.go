package broker

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

// namer is a CRM that has a name of its own for each message: it says so when the
// message is written, and writes down what it is told of a message's name.
type namer struct {
	mu   sync.Mutex
	told []string
}

func (n *namer) do(d core.Delivery) core.Result {
	n.mu.Lock()
	defer n.mu.Unlock()
	what := string(d.Event.Kind)
	if d.Event.Status != nil {
		what += " " + string(d.Event.Status.Value)
	}
	n.told = append(n.told, what+" "+d.MessageRef)
	switch {
	case d.MessageRef != "":
		return core.Result{MessageRef: d.MessageRef}
	case d.Event.Kind == core.KindMessageSent || d.Event.Kind == core.KindMessageReceived:
		return core.Result{MessageRef: "n-" + d.Event.Message.ID}
	}
	return core.Result{}
}

func (n *namer) heard() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.told)
}

func TestMessageRefs_AreHandedBackWithWhatBecomesOfTheMessage(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = reply("hello")
		crm, other := &namer{}, &sink{}
		b.crm.do = crm.do
		var others []string
		other.do = func(d core.Delivery) core.Result {
			others = append(others, d.MessageRef)
			return core.Result{}
		}
		b.change = func(o *Options) {
			o.Tenants[0].Lanes = append(o.Tenants[0].Lanes, Lane{Name: "other", Connector: "test", Sink: other, MaxBatch: 1})
		}
		b.start()
		b.accept(received("wamid.1", anasPhone, "hi"))
		settled(time.Second)
		b.accept(statusOf("wamid.1#1", "wamid.out.1", core.StatusSent))
		settled(time.Second)
		b.stop()
		b.start()
		edited := received("wamid.1", anasPhone, "hi there")
		edited.ID, edited.Kind = "wamid.1/edit", core.KindMessageEdited
		b.accept(edited)
		settled(time.Second)
		b.accept(statusOf("wamid.1#1", "wamid.out.1", core.StatusRead), statusOf("", "wamid.strange", core.StatusRead))
		settled(time.Second)
		want := []string{
			"message.received ", "message.sent ", "message.status sent n-wamid.out.1", "message.edited n-wamid.1",
			"message.status read n-wamid.out.1", "message.status read ",
		}
		if got := crm.heard(); !slices.Equal(got, want) {
			t.Errorf("the CRM was told\n%q, want\n%q", got, want)
		}
		if slices.ContainsFunc(others, func(ref string) bool { return ref != "" }) || len(others) != len(want) {
			t.Errorf("another CRM was told %q", others)
		}
		b.off(31 * 24 * time.Hour)
		settled(2 * time.Hour) // the store looks now and then what has expired
		b.accept(statusOf("wamid.1#1", "wamid.out.1", core.StatusPlayed))
		settled(time.Second)
		if got := crm.heard(); got[len(got)-1] != "message.status played " {
			t.Errorf("after a month the CRM was told %q", got[len(got)-1])
		}
	})
}

// What somebody wrote at the CRM has its name there from the beginning, though it be
// never sent.
func TestMessageRefs_OfWhatWasWrittenAtTheCRM(t *testing.T) {
	run(t, func(b *bridge) {
		crm, other := &namer{}, &namer{}
		n := 0
		at := b.pulling(func(int, string) (core.Polled, error) {
			n++
			return polled(n, false, core.Event{ID: fmt.Sprint("note-", n), Kind: core.KindMessageSend, MessageRef: fmt.Sprint("r-", n), Message: &core.Message{
				Type: core.TypeText, Text: "Hello", To: core.Address{Kind: core.AddressPhone, Value: anasPhone},
			}})
		})
		at.do = crm.do
		before := b.change
		b.change = func(o *Options) {
			before(o)
			o.Tenants[0].Lanes = append(o.Tenants[0].Lanes, Lane{Name: "other", Connector: "test", Sink: &sink{do: other.do}, MaxBatch: 1})
		}
		b.wa.do = func(core.Delivery) core.Result {
			if n > 1 {
				return core.Result{Err: &core.Error{Code: core.CodeUndeliverable, Message: "not on WhatsApp"}}
			}
			return core.Result{Ref: "wamid.out.1"}
		}
		b.start()
		b.accept(received("wamid.0", anasPhone, "hi"))
		settled(time.Second)
		sends := b.wa.taken()
		if len(sends) != 1 {
			t.Fatalf("%d sends", len(sends))
		}
		b.accept(statusOf(sends[0].event.ID, "wamid.out.1", core.StatusRead))
		settled(15 * time.Minute)
		want := []string{"message.received ", "message.sent r-1", "message.status read r-1", "message.status failed r-2"}
		got := crm.heard()
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("the CRM was told\n%q, want\n%q", got, want)
		}
		for _, told := range other.heard() {
			if told == "message.sent r-1" || told == "message.status failed r-2" {
				t.Errorf("another CRM was told %q", told)
			}
		}
	})
}
