package broker

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// Whatever a message waits for: it can be asked what, and it goes when it was said to.
func TestLimits_SayWhyAndUntilWhen(t *testing.T) {
	type ask struct {
		limits Limits
		rate   float64
		refuse int // code of what is answered to the first send
		send   func(b *bridge) (id string)
		want   string
		slack  time.Duration
	}
	last := func(b *bridge, n int, to func(i int) string, what string) (id string) {
		for i := range n {
			if i == n-1 {
				settled(5 * time.Millisecond) // those before it are before it in the lane, too
			}
			id = b.order(fmt.Sprint("k", i), to(i), what)
		}
		return id
	}
	each := func(i int) string { return fmt.Sprintf("+1415556%04d", i) }
	same := func(int) string { return ana }
	for name, c := range map[string]ask{
		"throughput": {rate: 10, want: LimitThroughput, slack: 300 * time.Millisecond, send: func(b *bridge) string {
			id := last(b, 30, each, "hello")
			b.accept(many(core.ClassCampaign, 100)...) // are less urgent, and get one turn of ten
			settled(100 * time.Millisecond)
			return id
		}},
		"person": {rate: 1000, want: LimitPerson, send: func(b *bridge) string {
			id := last(b, 46, same, "hello")
			settled(time.Second)
			return id
		}},
		"people": {limits: Limits{PeoplePerDay: 3}, rate: 1000, want: LimitPeople, send: func(b *bridge) string {
			id := last(b, 4, each, "template info")
			settled(time.Minute)
			return id
		}},
		"plan": {limits: Limits{MessagesPerMinute: 60}, rate: 1000, want: LimitPlan, slack: 2 * time.Second, send: func(b *bridge) string {
			id := last(b, 30, each, "hello")
			settled(100 * time.Millisecond)
			return id
		}},
		"pause": {rate: 80, refuse: 131048, want: LimitPause, slack: time.Second, send: func(b *bridge) string {
			b.order("first", berto, "hello")
			settled(time.Second)
			return last(b, 1, same, "hello")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(b *bridge) {
				b.noSync = true
				b.change = func(o *Options) {
					o.Tenants[0].Limits, o.Tenants[0].Numbers[0].Rate = c.limits, c.rate
					o.Tenants[0].Policy.Templates = []Template{{Name: "info", Category: "utility"}}
				}
				refused := c.refuse == 0
				b.wa.do = func(core.Delivery) core.Result {
					if !refused {
						refused = true
						return core.Result{Err: whatsapp.ErrorFor(400, whatsapp.GraphError{Code: c.refuse})}
					}
					return core.Result{Ref: fmt.Sprint("wamid.", time.Now().UnixNano())}
				}
				b.start()
				id := c.send(b)
				settled(50 * time.Millisecond)
				r, err := b.Limits(context.Background(), "", id)
				if err != nil || r.Event == nil || r.Event.State != "waits" || r.Event.Limit != c.want || r.Event.Why == "" || r.Event.Until.IsZero() {
					t.Fatalf("%v: %+v", err, r.Event)
				}
				settled(time.Until(r.Event.Until) + c.slack + 50*time.Millisecond)
				for _, try := range b.wa.taken() {
					if try.event.ID != id {
						continue
					}
					if d := try.at.Sub(r.Event.Until); d < -c.slack || d > c.slack+50*time.Millisecond {
						t.Errorf("went %v after it was to: %+v", d, r.Event)
					}
					after, err := b.Limits(context.Background(), "acme", id)
					if err != nil || after.Event.State != "over" {
						t.Errorf("when it has gone: %v, %+v", err, after.Event)
					}
					return
				}
				t.Errorf("did not go: %+v", r.Event)
			})
		})
	}
}

func TestLimits_ListWhatThereIs(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.change = func(o *Options) {
			o.Tenants[0].Numbers[0].Rate = 10
			o.Tenants[0].Limits = Limits{PeoplePerDay: 250, MessagesPerMinute: 6000, Portfolio: "group"}
		}
		b.start()
		b.accept(append(many(core.ClassCampaign, 20), many(core.ClassTransaction, 10)[0])...)
		settled(100 * time.Millisecond)
		r, err := b.Limits(context.Background(), "acme", "")
		if err != nil {
			t.Fatal(err)
		}
		byLimit := map[string]LimitStatus{}
		for _, l := range r.Limits {
			byLimit[l.Limit] = l
		}
		through, people := byLimit[LimitThroughput], byLimit[LimitPeople]
		if through.Most != 10 || through.By != "settings" || through.Waiting.Campaign < 15 || through.Waiting.Transaction > 1 || through.Until.IsZero() {
			t.Errorf("throughput: %+v", through)
		}
		if people.Of != "group" || people.Most != 250 || people.By != "settings" || byLimit[LimitPlan].Most != 6000 || byLimit[LimitPerson].AtOnce != 45 {
			t.Errorf("%+v", byLimit)
		}
		if _, err := b.Limits(context.Background(), "acme", "nothing"); err == nil || !strings.Contains(err.Error(), "nothing is remembered") {
			t.Errorf("of an unknown event: %v", err)
		}
		if _, err := b.Limits(context.Background(), "nobody", ""); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("of an unknown tenant: %v", err)
		}
	})
}
