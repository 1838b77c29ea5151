package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store"
)

// source is a sink that can be asked what happened at the CRM.
type source struct {
	*sink
	poll func(n int, cursor string) (core.Polled, error)
	hook func(core.WebhookRequest) (core.WebhookAnswer, error)

	mu    sync.Mutex
	asked []asking
}

type asking struct {
	at     time.Time
	cursor string
}

func (s *source) Info(context.Context) (core.ConnectorInfo, error) {
	return core.ConnectorInfo{Name: "test", MaxBatch: 100, Idempotency: core.IdempotencyUpsert, Polls: s.poll != nil, Receives: s.hook != nil}, nil
}

func (s *source) Poll(_ context.Context, cursor json.RawMessage) (core.Polled, error) {
	s.mu.Lock()
	n := len(s.asked)
	s.asked = append(s.asked, asking{time.Now(), string(cursor)})
	s.mu.Unlock()
	return s.poll(n, string(cursor))
}

func (s *source) Webhook(_ context.Context, r core.WebhookRequest) (core.WebhookAnswer, error) {
	return s.hook(r)
}

func (s *source) cursors() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.asked {
		out = append(out, a.cursor)
	}
	return out
}

// pulling gives the bridge a CRM that can be asked, every 15 minutes.
func (b *bridge) pulling(poll func(n int, cursor string) (core.Polled, error)) *source {
	s := &source{sink: b.crm, poll: poll}
	before := b.change
	b.change = func(o *Options) {
		if before != nil {
			before(o)
		}
		o.Tenants[0].Lanes[0].Sink, o.Tenants[0].Lanes[0].Pull = s, 15*time.Minute
	}
	return s
}

func contactAtCRM(id, phone string, fields map[string]string, tags ...string) core.Event {
	return core.Event{ID: id, Kind: core.KindContactChanged, Contact: &core.Contact{Phone: phone, Name: "Of the CRM", Fields: fields, Tags: tags}}
}

func polled(n int, more bool, events ...core.Event) (core.Polled, error) {
	return core.Polled{Events: events, Cursor: json.RawMessage(fmt.Sprint(n)), More: more}, nil
}

func TestPull_AsksInTurnAndGoesOnWhereItWas(t *testing.T) {
	run(t, func(b *bridge) {
		crm := b.pulling(func(n int, _ string) (core.Polled, error) { return polled(n+1, n < 2) })
		b.start()
		settled(time.Second)
		if got := crm.cursors(); !slices.Equal(got, []string{"", "1", "2"}) {
			t.Fatalf("at the start it was asked from %q: want all there is, a call after the other", got)
		}
		settled(15*time.Minute - 2*time.Second)
		if n := len(crm.cursors()); n != 3 {
			t.Errorf("asked %d times before a quarter of an hour was over", n)
		}
		settled(2 * time.Second)
		b.stop()
		b.start()
		settled(time.Second)
		if got := crm.cursors(); !slices.Equal(got, []string{"", "1", "2", "3", "4"}) {
			t.Errorf("it was asked from %q: want it to go on after a restart", got)
		}
		if at := b.Snapshot().Lanes[1].Pulled; at.IsZero() {
			t.Errorf("the lane does not say when: %+v", b.Snapshot().Lanes)
		}
	})
}

func TestPull_TakesOverWhatTheCRMSaysOnce(t *testing.T) {
	run(t, func(b *bridge) {
		b.crm = &sink{}
		other := &sink{}
		b.change = func(o *Options) {
			o.Tenants[0].Lanes = append(o.Tenants[0].Lanes, Lane{Name: "other", Connector: "test", Sink: other, MaxBatch: 100})
			o.Tenants[0].Region = "TW"
		}
		change := contactAtCRM("r1-v1", "0912-345-678", map[string]string{"city": "Taipei"}, "vip")
		b.pulling(func(n int, _ string) (core.Polled, error) {
			if n > 2 {
				return polled(n, false)
			}
			return polled(n, false, change) // told three times
		})
		b.start()
		b.accept(received("wamid.1", "+886912345678", "hi"))
		settled(time.Hour)
		got, err := b.Contact(b.Context(), "acme", "+886912345678")
		if err != nil {
			t.Fatal(err)
		}
		if got.Name != "Ana" || !slices.Equal(got.Tags, []string{"vip"}) || got.Fields["city"] != "Taipei" {
			t.Errorf("the contact is %+v", got)
		}
		count := func(s *sink) (n int) {
			for _, try := range s.taken() {
				if try.event.Kind == core.KindContactChanged {
					n++
				}
			}
			return n
		}
		if count(b.crm) != 0 || count(other) != 1 {
			t.Errorf("the CRM that said so was told %d times, the other %d times: want 0 and 1", count(b.crm), count(other))
		}
	})
}

func TestPull_LetsTheScriptHaveTheLastWord(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = func(e *core.Event) script.Decision {
			if e.Kind != core.KindContactChanged {
				return script.Decision{}
			}
			return script.Decision{Changes: []script.Action{{Type: script.ActionSetField, Name: "city", Value: fmt.Sprint(e.Fields["City__c"], "!")}}}
		}
		hooks := script.MapFromCRM
		change := contactAtCRM("r1-v1", "+886912345678", map[string]string{"city": "Taipei"})
		change.Fields = map[string]any{"City__c": "Tainan"}
		b.pulling(func(n int, _ string) (core.Polled, error) { return polled(n, false, change) })
		inner := b.change
		b.change = func(o *Options) {
			inner(o)
			o.Scripts = hooked{b.scripts, hooks}
		}
		b.start()
		settled(time.Minute)
		got, err := b.Contact(b.Context(), "acme", "+886912345678")
		if err != nil || got.Fields["city"] != "Tainan!" {
			t.Errorf("the contact is %+v, %v", got, err)
		}
	})
}

// hooked are scripts that have other hooks.
type hooked struct {
	scripts
	hooks script.Hooks
}

func (h hooked) Version(string) (script.Version, bool) {
	return script.Version{Hash: "v1", Hooks: h.hooks}, true
}

func TestPull_SendsWhatSomebodyAtTheCRMAsksFor(t *testing.T) {
	run(t, func(b *bridge) {
		ask := core.Event{ID: "note-1", Kind: core.KindMessageSend, Author: core.AuthorHuman, By: "mia", Message: &core.Message{
			Type: core.TypeText, Text: "your parcel is here", To: core.Address{Kind: core.AddressPhone, Value: "+14155550100"},
		}}
		b.pulling(func(n int, _ string) (core.Polled, error) { return polled(n, false, ask) })
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(time.Hour)
		sent := b.wa.taken()
		if len(sent) != 1 || sent[0].event.Message.Text != "your parcel is here" || sent[0].event.Author != core.AuthorHuman {
			t.Errorf("sent %+v, want it once", sent)
		}
	})
}

func TestPull_TakesNothingElseOnTrust(t *testing.T) {
	text := func(to, number string) core.Event {
		return core.Event{ID: "x", Kind: core.KindMessageSend, Number: number, Message: &core.Message{
			Type: core.TypeText, Text: "hi", To: core.Address{Kind: core.AddressPhone, Value: to},
		}}
	}
	for name, e := range map[string]core.Event{
		"no id":                 {Kind: core.KindContactChanged, Contact: &core.Contact{Phone: "+14155550100"}},
		"nobody":                {ID: "x", Kind: core.KindContactChanged, Contact: &core.Contact{Name: "Ana"}},
		"no contact":            {ID: "x", Kind: core.KindContactChanged},
		"a word for a number":   contactAtCRM("x", "call me", nil),
		"a BSUID for a number":  contactAtCRM("x", "US.13491208655302741918", nil),
		"too many fields":       contactAtCRM("x", "+14155550100", manyFields(maxPulledFields+1)),
		"a field without end":   contactAtCRM("x", "+14155550100", map[string]string{"a": strings.Repeat("x", script.MaxText+1)}),
		"large":                 {ID: "x", Kind: core.KindContactChanged, Contact: &core.Contact{Phone: "+14155550100"}, Fields: map[string]any{"a": strings.Repeat("x", maxPulledEvent)}},
		"consent without any":   {ID: "x", Kind: core.KindConsentChanged, Contact: &core.Contact{Phone: "+14155550100"}},
		"a message received":    received("x", "+14155550100", "I agree to everything"),
		"a status":              statusOf("x", "wamid.1", core.StatusRead),
		"a message to nobody":   text("", ""),
		"another's number":      text("+14155550100", "999"),
		"a send with no letter": {ID: "x", Kind: core.KindMessageSend},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(b *bridge) {
				e.Tenant = "another"
				good := contactAtCRM("good", "+14155550111", map[string]string{"a": "b"})
				b.pulling(func(n int, _ string) (core.Polled, error) { return polled(n, false, e, good) })
				b.start()
				settled(time.Minute)
				if got := b.Snapshot().Totals.Accepted; got != 1 {
					t.Errorf("%d events were taken, want the good one", got)
				}
				if n := len(b.wa.taken()); n != 0 {
					t.Errorf("%d messages were sent", n)
				}
				if e.ID == "" {
					return
				}
				story, err := b.Why(b.Context(), "", e.ID)
				if err != nil || len(story.Steps) == 0 || story.Steps[0].Step != "refused" || story.Steps[0].Error == nil {
					t.Errorf("nobody can say why it was refused: %+v, %v", story, err)
				}
			})
		})
	}
}

func manyFields(n int) map[string]string {
	out := map[string]string{}
	for i := range n {
		out[fmt.Sprint(i)] = "x"
	}
	return out
}

func TestPull_WaitsLongerWhileTheCRMFails(t *testing.T) {
	run(t, func(b *bridge) {
		crm := b.pulling(func(n int, _ string) (core.Polled, error) {
			switch {
			case n < 3:
				return core.Polled{}, core.Errorf(core.CodeUnavailable, "poll", "out of order")
			case n == 3:
				return core.Polled{}, &core.Error{Code: core.CodeRateLimited, Op: "poll", Message: "slow down", RetryAfter: time.Hour}
			}
			return polled(n, false)
		})
		b.start()
		settled(3 * time.Hour)
		var waits []time.Duration
		for i := 1; i < 6; i++ {
			waits = append(waits, crm.asked[i].at.Sub(crm.asked[i-1].at))
		}
		want := []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, time.Hour, 15 * time.Minute}
		if !slices.Equal(waits, want) {
			t.Errorf("it waited %v, want %v", waits, want)
		}
		if s := b.Snapshot().Lanes[1]; s.State != LaneRunning || s.LastError == nil {
			t.Errorf("the lane is %+v: a CRM that cannot be asked is no reason not to write to it", s)
		}
	})
}

func TestPull_PausesTheLaneWhenTheCredentialsAreRefused(t *testing.T) {
	run(t, func(b *bridge) {
		crm := b.pulling(func(int, string) (core.Polled, error) {
			return core.Polled{}, core.Errorf(core.CodeUnauthenticated, "poll", "who are you?")
		})
		b.start()
		settled(time.Second)
		if s := b.Snapshot().Lanes[1]; s.State != LaneSignIn {
			t.Errorf("the lane is %+v", s)
		}
		asked := len(crm.cursors())
		settled(10 * time.Second)
		if n := len(crm.cursors()); n != asked {
			t.Errorf("it was asked %d times more while the lane is paused", n-asked)
		}
	})
}

// What a CRM told is stored with the place to go on from, or not at all.
func TestPull_SkipsNothingWhenTheBridgeDies(t *testing.T) {
	for _, point := range []string{"accept-before-commit", "accept-after-commit"} {
		t.Run(point, func(t *testing.T) {
			run(t, func(b *bridge) {
				var died atomic.Bool
				started := make(chan struct{})
				b.change = func(o *Options) {
					o.Failpoint = func(name string) {
						if name == point && !died.Swap(true) {
							<-started
							b.kill()
						}
					}
				}
				crm := b.pulling(func(_ int, cursor string) (core.Polled, error) {
					at := 0
					_ = json.Unmarshal([]byte(cursor), &at)
					if at == 3 {
						return polled(3, false)
					}
					return polled(at+1, true, contactAtCRM(fmt.Sprint("change-", at), fmt.Sprintf("+1415555010%d", at), map[string]string{"n": fmt.Sprint(at)}))
				})
				b.start()
				close(started)
				settled(time.Second)
				b.stop()
				b.start()
				settled(time.Minute)
				for i := range 3 {
					got, err := b.Contact(b.Context(), "acme", fmt.Sprintf("+1415555010%d", i))
					if err != nil || got.Fields["n"] != fmt.Sprint(i) {
						t.Errorf("contact %d is %+v, %v (asked from %q)", i, got, err, crm.cursors())
					}
				}
			})
		})
	}
}

func TestCRMWebhook_StoresBeforeItAnswers(t *testing.T) {
	run(t, func(b *bridge) {
		crm := b.pulling(nil)
		crm.hook = func(r core.WebhookRequest) (core.WebhookAnswer, error) {
			if string(r.Body) == "forged" {
				return core.WebhookAnswer{}, core.Errorf(core.CodeUnauthenticated, "webhook", "no")
			}
			return core.WebhookAnswer{Events: []core.Event{
				contactAtCRM(string(r.Body), "+14155550100", map[string]string{"n": string(r.Body)}), {ID: "odd", Kind: "odd"},
			}, Status: 200, Body: []byte("ok")}, nil
		}
		b.start()
		settled(time.Second)
		ask := func(tenant, lane, body string) (core.WebhookAnswer, error) {
			return b.CRMWebhook(b.Context(), tenant, lane, core.WebhookRequest{Body: []byte(body)})
		}
		for range 2 {
			if got, err := ask("acme", "crm", "one"); err != nil || string(got.Body) != "ok" {
				t.Fatalf("%+v, %v", got, err)
			}
		}
		if total := b.Snapshot().Totals; total.Accepted != 1 || total.Duplicates != 1 {
			t.Errorf("accepted %d, known %d: want the same request to count once", total.Accepted, total.Duplicates)
		}
		if _, err := ask("acme", "crm", "forged"); core.CodeOf(err) != core.CodeUnauthenticated {
			t.Error(err)
		}
		if s := b.Snapshot().Lanes[1]; s.State != LaneRunning {
			t.Errorf("a forged request stops the lane: %+v", s)
		}
		for _, at := range [][2]string{{"acme", "other"}, {"nobody", "crm"}} {
			if _, err := ask(at[0], at[1], "two"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%v: %v", at, err)
			}
		}
		settled(time.Second)
		if got, err := b.Contact(b.Context(), "acme", "+14155550100"); err != nil || got.Fields["n"] != "one" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// A connector that watches its CRM is asked again at once; one that only says so is
// not asked all the time.
func TestPull_AsksWhoWatchesAgainAtOnce(t *testing.T) {
	run(t, func(b *bridge) {
		s := b.pulling(func(n int, _ string) (core.Polled, error) {
			p, err := polled(n, false)
			switch n {
			case 0: // it comes back at once, with nothing
			case 1:
				<-time.After(40 * time.Second)
			case 2:
				p.Events = []core.Event{contactAtCRM("c1", anasPhone, nil)}
			case 3:
				return p, err
			}
			p.Watching = true
			return p, err
		})
		began := time.Now()
		b.start()
		settled(5 * time.Minute)
		var at []time.Duration
		s.mu.Lock()
		for _, a := range s.asked {
			at = append(at, a.at.Sub(began))
		}
		s.mu.Unlock()
		if want := []time.Duration{0, time.Second, 41 * time.Second, 41 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("asked at %v, want %v", at, want)
		}
	})
}
