package broker

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/whatsapp"
)

const spare = "106540352242999"

// line is a number that WhatsApp can be asked about.
type line struct {
	*sink
	health atomic.Pointer[whatsapp.Health]
	asked  atomic.Int32
}

func (l *line) Health(context.Context) (whatsapp.Health, error) {
	l.asked.Add(1)
	return *l.health.Load(), nil
}

func (l *line) is(status, quality string) {
	l.health.Store(&whatsapp.Health{DisplayNumber: "+1 555 0100", Status: status, Quality: quality, Limit: "TIER_2K", PeoplePerDay: 2000})
}

// pairOfNumbers starts a bridge with a number and its fallback.
func pairOfNumbers(b *bridge, change func(*Options)) (first, second *line) {
	first, second = &line{sink: b.wa}, &line{sink: &sink{}}
	second.do = func(d core.Delivery) core.Result { return core.Result{Ref: "wamid.by.spare." + d.Event.ID} }
	first.is("CONNECTED", "GREEN")
	second.is("CONNECTED", "GREEN")
	b.noSync = true
	b.change = func(o *Options) {
		o.Tenants[0].Policy.Templates = []Template{{Name: "info", Category: "utility"}}
		o.Tenants[0].Numbers = []Number{{ID: number, Sink: first, Rate: 1000, Fallback: Fallback{Number: spare}}, {ID: spare, Sink: second, Rate: 1000}}
		if change != nil {
			change(o)
		}
	}
	b.start()
	return first, second
}

func fromFirst(r *SendRequest) { r.Number, r.Author, r.By = number, core.AuthorHuman, "maria" }

func went(s *sink) string {
	var out []string
	for _, try := range s.taken() {
		m := try.event.Message
		text := m.Text
		if m.Template != nil {
			text = m.Template.Name
		}
		out = append(out, text)
	}
	return strings.Join(out, ",")
}

func (b *bridge) whyOf(id string) string {
	b.Helper()
	story, err := b.Why(context.Background(), "", id)
	if err != nil {
		b.Fatal(err)
	}
	return fmt.Sprintf("%+v", story)
}

func TestFallback_TakesOverAndGivesBackByTheRule(t *testing.T) {
	run(t, func(b *bridge) {
		first, second := pairOfNumbers(b, nil)
		b.write("wamid.1", ana, "hi")
		b.order("k1", ana, "template info", fromFirst)
		settled(time.Second)
		first.is("BANNED", "RED")
		b.AskNumbers("acme")
		settled(15 * time.Second)
		s := b.Numbers("acme")[0]
		if s.Trouble != whatsapp.TroubleBanned || s.GoesBy != spare || !strings.Contains(s.Why, "BANNED") || s.Health.Limit != "TIER_2K" {
			t.Fatalf("the number is %+v", s)
		}
		moved := b.order("k2", berto, "template info", fromFirst)
		stays := b.order("k3", ana, "see you soon", fromFirst)
		settled(time.Minute)
		if got := went(b.wa) + " | " + went(second.sink); got != "info | info" {
			t.Fatalf("sent %s", got)
		}
		e := second.taken()[0].event
		if e.Number != spare || e.Conversation != core.ConversationID(spare, e.Contact.ID) {
			t.Errorf("it went by %s in conversation %s", e.Number, e.Conversation)
		}
		if why := b.whyOf(moved); !strings.Contains(why, "goes by number "+spare+" (fallback)") {
			t.Errorf("why it moved: %s", why)
		}
		if why := b.whyOf(stays); !strings.Contains(why, "no open window with the fallback") {
			t.Errorf("why it stays: %s", why)
		}
		// Whoever writes to the other number may be answered there.
		there := received("wamid.2", ana, "are you there?")
		there.Number = spare
		b.accept(there)
		settled(2 * time.Minute)
		if got := went(second.sink); got != "info,see you soon" {
			t.Errorf("by the fallback went %s", got)
		}
		first.is("CONNECTED", "YELLOW")
		settled(6 * time.Minute) // it is asked every five
		b.order("k4", berto, "template info", fromFirst)
		settled(time.Second)
		if s := b.Numbers("acme")[0]; s.Trouble != "" || s.GoesBy != spare || s.BackAt.IsZero() {
			t.Errorf("well again for a moment, the number is %+v", s)
		}
		settled(31 * time.Minute)
		b.order("k5", berto, "template info", fromFirst)
		settled(time.Second)
		if got := went(b.wa) + " | " + went(second.sink); got != "info,info | info,see you soon,info" {
			t.Errorf("in the end %s", got)
		}
		if s := b.Numbers("acme")[0]; s.GoesBy != "" {
			t.Errorf("half an hour later the number is %+v", s)
		}
		if len(b.dead()) != 0 || b.Snapshot().Totals.DoubleSend != 0 {
			t.Errorf("dead letters %+v", b.dead())
		}
	})
}

// What may have been sent is not sent by the other number; what was refused is, once;
// also over a restart.
func TestFallback_NobodyGetsTheSameTwice(t *testing.T) {
	run(t, func(b *bridge) {
		first, second := pairOfNumbers(b, nil)
		wamids := 0
		b.wa.do = func(d core.Delivery) core.Result {
			switch {
			case d.Event.Message.To.Value == ana:
				return core.Result{Err: core.Errorf(core.CodeUnknownOutcome, "send", "the answer was lost")}
			case wamids > 0: // from the second on
				return core.Result{Err: whatsapp.ErrorFor(403, whatsapp.GraphError{Code: 131031})}
			}
			wamids++
			return core.Result{Ref: fmt.Sprint("wamid.", wamids)}
		}
		lost := b.order("k1", ana, "template info", fromFirst)
		b.order("k2", berto, "template info", fromFirst)
		settled(time.Second)
		first.is("BANNED", "")
		b.order("k3", berto, "template info", fromFirst)
		settled(time.Second)
		b.order("k4", ana, "template info", fromFirst) // after the one that is unknown
		settled(10 * time.Second)
		b.stop()
		b.start()
		settled(time.Minute)
		if each, _ := b.sentTo(); each[ana] != 1 || each[berto] != 2 { // one of berto's was refused
			t.Errorf("by the number itself: %v", each)
		}
		if got := went(second.sink); got != "info" {
			t.Errorf("by the fallback, before the unknown one is settled: %s", got)
		}
		settled(3 * time.Minute)
		dead := b.dead()
		if len(dead) != 1 || !dead[0].Held || !strings.Contains(string(dead[0].Event), lost) {
			t.Fatalf("dead letters: %+v", dead)
		}
		if got := went(second.sink); got != "info,info" {
			t.Errorf("by the fallback, after it is settled: %s", got)
		}
	})
}

func TestFallback_OfAFlaggedNumberAndOfTwoInTrouble(t *testing.T) {
	run(t, func(b *bridge) {
		first, second := pairOfNumbers(b, nil)
		b.write("wamid.1", ana, "hi")
		first.is("FLAGGED", "RED")
		b.AskNumbers("acme")
		settled(15 * time.Second)
		b.order("k1", ana, "a reply", fromFirst)
		b.order("k2", berto, "template info", fromFirst)
		settled(time.Minute)
		if got := went(b.wa) + " | " + went(second.sink); got != "a reply | info" {
			t.Errorf("flagged: sent %s", got)
		}
		first.is("BANNED", "")
		second.is("RESTRICTED", "")
		b.AskNumbers("acme")
		settled(15 * time.Second)
		b.order("k3", berto, "template info", fromFirst)
		late := b.order("k4", ana, "too late", fromFirst)
		settled(time.Hour)
		if got := went(b.wa) + " | " + went(second.sink); got != "a reply | info" {
			t.Errorf("both in trouble: sent %s", got)
		}
		settled(24 * time.Hour)
		dead := b.dead()
		if len(dead) != 1 || dead[0].Reason.Code != core.CodeUndeliverable || !strings.Contains(string(dead[0].Event), late) {
			t.Errorf("when the window has closed: %+v", dead)
		}
		second.is("CONNECTED", "GREEN")
		settled(10 * time.Minute)
		if got := went(second.sink); got != "info,info" {
			t.Errorf("the fallback is well: %s", got)
		}
	})
}

func TestHealth_IsAskedSeldom(t *testing.T) {
	run(t, func(b *bridge) {
		first, _ := pairOfNumbers(b, nil)
		settled(24*time.Hour + time.Minute)
		if n := first.asked.Load(); n != 25 {
			t.Errorf("asked %d times on a day, want one an hour", n)
		}
		for range 100 {
			b.AskNumbers("acme")
		}
		settled(time.Minute)
		if n := first.asked.Load(); n != 26 {
			t.Errorf("a hundred news made %d questions", n-25)
		}
		s, err := b.Number(context.Background(), "acme", number, true)
		if err != nil || s.Asked.IsZero() || first.asked.Load() != 27 {
			t.Errorf("asked by a person: %+v, %v", s, err)
		}
		if _, err := b.Number(context.Background(), "other", number, false); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("another tenant's number: %v", err)
		}
	})
}

// A fallback that WhatsApp has stopped takes nothing over, until that is over.
func TestFallback_ThatIsStoppedTakesNothing(t *testing.T) {
	run(t, func(b *bridge) {
		first, second := pairOfNumbers(b, nil)
		settled(time.Second)
		until := time.Now().Add(2 * time.Hour)
		b.accept(core.Event{ID: "wh-1", Kind: core.KindAccountChanged, Tenant: "acme", Number: spare, Time: time.Now(), Source: "whatsapp",
			AccountChange: &core.AccountChange{Text: "restricted", Alarm: "critical", About: "account", Stops: &[]core.Stop{{What: core.StopBegins, Until: until}}}})
		first.is("BANNED", "")
		b.AskNumbers("acme")
		settled(15 * time.Second)
		id := b.order("k1", berto, "template info", fromFirst)
		settled(time.Hour)
		if got := went(b.wa) + " | " + went(second.sink); got != " | " {
			t.Errorf("sent %s", got)
		}
		if why := b.whyOf(id); !strings.Contains(why, "its fallback, is stopped, too: restricted") {
			t.Errorf("why it stays: %s", why)
		}
		settled(2 * time.Hour)
		if got := went(b.wa) + " | " + went(second.sink); got != " | info" {
			t.Errorf("when that is over: %s", got)
		}
	})
}
