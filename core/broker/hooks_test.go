package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
)

// brain is a script with a func for each hook.
type brain struct {
	version string
	hooks   map[script.Hooks]func(e *core.Event, contact *core.Contact) script.Decision

	mu     sync.Mutex
	rounds []int // calls of each
}

func (b *brain) Version(string) (script.Version, bool) {
	v := script.Version{Hash: b.version}
	for h := range b.hooks {
		v.Hooks |= h
	}
	return v, true
}

func (b *brain) Decide(_ context.Context, _ string, calls []script.Call) []script.Decision {
	b.mu.Lock()
	b.rounds = append(b.rounds, len(calls))
	b.mu.Unlock()
	out := make([]script.Decision, len(calls))
	for i, c := range calls {
		var e core.Event
		var ctx struct{ Contact core.Contact }
		if err := json.Unmarshal(c.Event, &e); err != nil {
			panic(err)
		}
		if err := json.Unmarshal(c.Context, &ctx); err != nil {
			panic(err)
		}
		for h, f := range b.hooks {
			if c.Hooks.Has(h) {
				out[i] = f(&e, &ctx.Contact)
			}
		}
		if out[i].Version == "" {
			out[i].Version = b.version
		}
	}
	return out
}

func think(hooks map[script.Hooks]func(*core.Event, *core.Contact) script.Decision) (*brain, func(*Options)) {
	b := &brain{version: "v1", hooks: hooks}
	return b, func(o *Options) { o.Scripts = b }
}

func acts(actions ...script.Action) script.Decision { return script.Decision{Actions: actions} }

func says(text string) script.Action { return script.Action{Type: script.ActionReply, Text: text} }

// notes are all that the trace says about an event.
func (b *bridge) notes(id string) string {
	b.Helper()
	story, err := b.Why(context.Background(), "acme", id)
	if err != nil {
		b.Fatal(err)
	}
	var notes []string
	for _, s := range story.Steps {
		notes = append(notes, s.Notes...)
	}
	return strings.Join(notes, "; ")
}

func (b *bridge) ask(key, text string) string {
	b.Helper()
	r, err := b.Send(context.Background(), SendRequest{Tenant: "acme", Key: key, Message: core.Message{
		Type: core.TypeText, Text: text, To: core.Address{Kind: core.AddressPhone, Value: "+14155550100"}}})
	if err != nil {
		b.Fatal(err)
	}
	return r.ID
}

func TestHooks_BeforeSendStopsWhoeverAsked(t *testing.T) {
	run(t, func(b *bridge) {
		_, b.change = think(map[script.Hooks]func(*core.Event, *core.Contact) script.Decision{
			script.OnMessage: func(_ *core.Event, _ *core.Contact) script.Decision {
				return acts(says("the price is 5"), says("welcome"))
			},
			script.BeforeSend: func(e *core.Event, _ *core.Contact) script.Decision {
				if strings.Contains(e.Message.Text, "price") {
					return script.Decision{Veto: "no prices in writing"}
				}
				return script.Decision{}
			},
		})
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(time.Second)
		stopped, passed := b.ask("k1", "our prices"), b.ask("k2", "good morning")
		settled(time.Second)
		b.wantKinds(b.wa.kinds(), "message.send wamid.1#2", "message.send "+passed)
		for _, id := range []string{"wamid.1", stopped} {
			if got := b.notes(id); !strings.Contains(got, "the script's beforeSend: no prices in writing") {
				t.Errorf("why %s: %s", id, got)
			}
		}
		b.wantKinds(b.crm.kinds(), "message.received wamid.1", "message.sent wamid.1#2#1",
			"message.status "+core.FollowID(stopped, 1), "message.sent "+core.FollowID(passed, 1))
	})
}

func TestHooks_BeforeSendThatFailsMakesAReplyAPersons(t *testing.T) {
	run(t, func(b *bridge) {
		_, b.change = think(map[script.Hooks]func(*core.Event, *core.Contact) script.Decision{
			script.OnMessage: func(*core.Event, *core.Contact) script.Decision { return acts(says("hello")) },
			script.BeforeSend: func(*core.Event, *core.Contact) script.Decision {
				return script.Decision{Err: core.Errorf(core.CodeInvalid, "script", "it throws")}
			},
		})
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(time.Second)
		b.wantKinds(b.wa.kinds())
		b.wantKinds(b.crm.kinds(), "message.received wamid.1", "escalation.opened wamid.1#2")
		id := b.ask("k1", "a person writes")
		settled(time.Second)
		b.wantKinds(b.wa.kinds(), "message.send "+id)
		if got := b.notes(id); !strings.Contains(got, "sent without it") {
			t.Errorf("why: %s", got)
		}
	})
}

func TestHooks_RouteSaysWhereAHandOverGoes(t *testing.T) {
	run(t, func(b *bridge) {
		brain, change := think(map[script.Hooks]func(*core.Event, *core.Contact) script.Decision{
			script.OnMessage: func(*core.Event, *core.Contact) script.Decision {
				return acts(script.Action{Type: script.ActionEscalate, Reason: "asks"})
			},
			script.Route: func(e *core.Event, _ *core.Contact) script.Decision {
				if e.Escalation.Team != "front-desk" || e.Escalation.Reason != "asks" || e.Message.Text == "" {
					t.Errorf("route was asked about %+v", e)
				}
				if e.Message.Text == "broken" {
					return script.Decision{Err: core.Errorf(core.CodeInvalid, "script", "it throws")}
				}
				return script.Decision{Route: &script.Routing{Team: "night", Priority: "high", Deadline: 90 * time.Minute}}
			},
		})
		b.change = change
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"), received("wamid.2", "+14155550101", "broken"))
		settled(time.Second)
		got := map[string]core.Escalation{}
		for _, tr := range b.crm.taken() {
			if tr.event.Kind == core.KindEscalation {
				got[tr.event.Cause] = *tr.event.Escalation
			}
		}
		if e := got["wamid.1"]; e.Team != "night" || e.Priority != "high" || e.Deadline.Sub(e.Opened) != 90*time.Minute {
			t.Errorf("routed to %+v", e)
		}
		if e := got["wamid.2"]; e.Team != "front-desk" || e.Priority != "normal" {
			t.Errorf("with a route that fails: %+v", e)
		}
		if len(brain.rounds) != 2 {
			t.Errorf("asked in %d rounds, want 2: %v", len(brain.rounds), brain.rounds)
		}
	})
}

func TestHooks_AChangeAtTheCRMIsTakenOverThenLookedAt(t *testing.T) {
	run(t, func(b *bridge) {
		_, b.change = think(map[script.Hooks]func(*core.Event, *core.Contact) script.Decision{
			script.MapFromCRM: func(e *core.Event, _ *core.Contact) script.Decision {
				return script.Decision{Changes: []script.Action{{Type: script.ActionSetField, Name: "stage", Value: e.Fields["lifecycle"].(string)}}}
			},
			script.OnContactChange: func(_ *core.Event, c *core.Contact) script.Decision {
				return acts(script.Action{Type: script.ActionTag, Tag: "is-" + c.Fields["stage"]})
			},
			script.OnMessage: func(_ *core.Event, c *core.Contact) script.Decision {
				return acts(says(strings.Join(c.Tags, " ") + " " + c.Fields["stage"]))
			},
		})
		b.start()
		b.accept(core.Event{ID: "crm-1", Kind: core.KindContactChanged, Tenant: "acme", Number: number, Source: "api",
			Contact: &core.Contact{Phone: "+14155550100"}, Fields: map[string]any{"lifecycle": "customer"}})
		settled(time.Second)
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(time.Second)
		if got := b.wa.taken(); len(got) != 1 || got[0].event.Message.Text != "is-customer customer" {
			t.Errorf("sent %+v", b.wa.kinds())
		}
	})
}

func TestHooks_OnStatusSeesEachStepForwardOnce(t *testing.T) {
	run(t, func(b *bridge) {
		var seen []core.StatusValue
		_, b.change = think(map[script.Hooks]func(*core.Event, *core.Contact) script.Decision{
			script.OnMessage: func(*core.Event, *core.Contact) script.Decision { return acts(says("hello")) },
			script.OnStatus: func(e *core.Event, _ *core.Contact) script.Decision {
				seen = append(seen, e.Status.Value)
				return acts(script.Action{Type: script.ActionTag, Tag: "status-" + string(e.Status.Value)})
			},
		})
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(time.Second)
		b.accept(statusOf("wamid.1#1", "wamid.out.1", core.StatusRead), statusOf("wamid.1#1", "wamid.out.1", core.StatusDelivered))
		settled(time.Second)
		if len(seen) != 1 || seen[0] != core.StatusRead {
			t.Errorf("onStatus saw %v", seen)
		}
		last := b.crm.taken()[len(b.crm.taken())-1].event
		if last.Kind != core.KindContactChanged || len(last.Contact.Tags) != 1 || last.Contact.Tags[0] != "status-read" {
			t.Errorf("the CRM was last told %s of %+v", last.Kind, last.Contact)
		}
	})
}

func TestHooks_OneVersionDecidesAllOfAnEvent(t *testing.T) {
	run(t, func(b *bridge) {
		brain, change := think(nil)
		deployed := false
		brain.hooks = map[script.Hooks]func(*core.Event, *core.Contact) script.Decision{
			script.OnMessage: func(*core.Event, *core.Contact) script.Decision {
				d := acts(says("from " + brain.version))
				d.Version = brain.version
				if !deployed {
					deployed, brain.version = true, "v2"
				}
				return d
			},
			script.BeforeSend: func(*core.Event, *core.Contact) script.Decision { return script.Decision{} },
		}
		b.change = change
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(time.Second)
		if got := b.wa.taken(); len(got) != 1 || got[0].event.Message.Text != "from v2" {
			t.Errorf("sent %d, the last: %+v", len(got), got)
		}
	})
}

// deploying is an engine to which a new version comes after each first round. It
// still has the one before.
type deploying struct {
	hooks script.Hooks
	now   int
	asked []string // versions wanted of the second round
}

func (d *deploying) version() string { return fmt.Sprintf("v%d", d.now) }

func (d *deploying) Version(string) (script.Version, bool) {
	return script.Version{Hash: d.version(), Hooks: d.hooks}, true
}

func (d *deploying) Decide(_ context.Context, _ string, calls []script.Call) []script.Decision {
	out := make([]script.Decision, len(calls))
	for i, c := range calls {
		if out[i].Version = c.Version; c.Version == "" {
			out[i] = acts(says("from " + d.version()))
			out[i].Version = d.version()
		} else {
			d.asked = append(d.asked, c.Version)
		}
	}
	d.now++
	return out
}

func TestHooks_WhatBeganWithAVersionIsFinishedWithIt(t *testing.T) {
	run(t, func(b *bridge) {
		d := &deploying{hooks: script.OnMessage | script.BeforeSend}
		b.change = func(o *Options) { o.Scripts = d }
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(time.Second)
		if got := b.wa.taken(); len(got) != 1 || got[0].event.Message.Text != "from v0" || !slices.Equal(d.asked, []string{"v0"}) {
			t.Errorf("sent %+v, asked %q", got, d.asked)
		}
	})
}

func TestHooks_TimersOfAScriptRingInItsOnTimer(t *testing.T) {
	run(t, func(b *bridge) {
		timer := func(name string, after time.Duration, data string) script.Action {
			return script.Action{Type: script.ActionTimer, Name: name, After: after, Data: []byte(data)}
		}
		_, b.change = think(map[script.Hooks]func(*core.Event, *core.Contact) script.Decision{
			script.OnMessage: func(e *core.Event, _ *core.Contact) script.Decision {
				if e.Message.Text == "never mind" {
					return acts(script.Action{Type: script.ActionCancelTimer, Name: "remind"})
				}
				return acts(timer("remind", 2*time.Hour, `{"about":"`+e.Message.Text+`"}`), timer(timerEscalation, time.Hour, `{}`))
			},
			script.OnTimer: func(e *core.Event, c *core.Contact) script.Decision {
				return acts(says(e.Timer.Name + string(e.Timer.Data) + c.Phone))
			},
		})
		b.start()
		b.accept(received("wamid.1", "+14155550100", "shoes"), received("wamid.2", "+14155550101", "hats"))
		settled(time.Hour)
		b.accept(received("wamid.3", "+14155550101", "never mind"))
		settled(59 * time.Minute)
		b.wantKinds(b.wa.kinds())
		settled(time.Minute)
		if got := b.wa.taken(); len(got) != 1 || got[0].event.Message.Text != `remind{"about":"shoes"}+14155550100` {
			t.Errorf("sent %q", b.wa.kinds())
		}
		if got := b.notes("wamid.1"); !strings.Contains(got, "are the bridge's own") {
			t.Errorf("why: %s", got)
		}
	})
}
