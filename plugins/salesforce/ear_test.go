package salesforce_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/salesforce"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

const (
	orgID    = "00D000000000simEAA"
	messages = `"send_event":"` + outbound + `"`
	contacts = `"change_topic":"/data/ContactChangeEvent","pull_fields":{"department":"Department"}`
)

// ears runs a test in virtual time, of a lane that listens as the settings say and has
// asked what was modified.
func ears(t *testing.T, o salesforcesim.Options, settings string, test func(*teller)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, o, `{"pubsub_url":"http://127.0.0.1:7443",`+settings+`}`)
		b.account.Token.Values["user"], b.account.Token.Values["org"] = salesforcesim.Integration, orgID
		b.sim.Topic("/event/"+outbound, "Phone__c", "Body__c")
		b.sim.Topic("/data/ContactChangeEvent")
		ln, err := b.served.Listen("127.0.0.1:7443")
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- b.sim.RunPubSub(ctx, ln) }()
		t.Cleanup(func() {
			stop()
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
		tl := &teller{bench: b, known: map[string]bool{}}
		if fresh := tl.next(); len(fresh) > 0 {
			t.Fatalf("told at first: %v", fresh)
		}
		test(tl)
	})
}

func (tl *teller) say(texts ...string) {
	for _, text := range texts {
		tl.sim.Publish(outbound, map[string]any{"Phone__c": "+34600000001", "Body__c": text})
	}
}

// next makes one Poll, and returns what it tells.
func (tl *teller) next() (told []string) {
	tl.t.Helper()
	polled, err := tl.connector.Poll(tl.t.Context(), tl.account, tl.cursor)
	if err != nil {
		tl.t.Fatal(err)
	}
	tl.cursor = polled.Cursor
	for _, e := range polled.Events {
		twice := tl.known[e.ID]
		tl.known[e.ID] = true
		switch {
		case twice && e.Message == nil: // what was modified is asked for more than once
			continue
		case twice:
			tl.t.Errorf("told twice: %v", brief([]core.Event{e}))
		}
		if e.Message != nil {
			told = append(told, e.Message.Text)
		} else {
			told = append(told, e.Contact.Phone)
		}
	}
	return told
}

// listens makes Polls for some time, and returns what they tell.
func (tl *teller) listens(d time.Duration) (told []string) {
	tl.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		told = append(told, tl.next()...)
	}
	return told
}

func (tl *teller) wantsNext(want ...string) {
	tl.t.Helper()
	began := time.Now()
	if got := tl.next(); !slices.Equal(got, want) || time.Since(began) > time.Second && len(want) > 0 {
		tl.t.Errorf("after %v: got %q, want %q at once", time.Since(began), got, want)
	}
}

func (tl *teller) wantsSubscriptions(now, ever int) {
	tl.t.Helper()
	synctest.Wait()
	if n, all := tl.sim.Subscriptions(); n != now || all != ever {
		tl.t.Errorf("%d subscriptions, %d ever; want %d and %d", n, all, now, ever)
	}
}

// reborn is a new process with the same cursor.
func (tl *teller) reborn() {
	tl.connector.CloseIdleConnections()
	synctest.Wait() // the org knows
	tl.connector = &salesforce.Connector{DialContext: tl.served.DialContext}
	tl.t.Cleanup(tl.connector.CloseIdleConnections)
}

// One subscription brings everything, each event once, more than Salesforce gives at a
// time, and never more than a hundred that are not stored.
func TestListen_GoesOnFromOnePollToTheNext(t *testing.T) {
	ears(t, salesforcesim.Options{}, messages, func(tl *teller) {
		var want, got []string
		for n := range 250 {
			want = append(want, fmt.Sprint("n", n))
		}
		tl.say(want[:130]...)
		for len(got) < 130 {
			told := tl.next()
			if len(told) > 100 {
				t.Errorf("%d at once", len(told))
			}
			got = append(got, told...)
		}
		tl.say(want[130:]...)
		for len(got) < 250 {
			got = append(got, tl.next()...)
		}
		if !slices.Equal(got, want) {
			tl.t.Errorf("told %q", got)
		}
		if n := tl.sim.Delivered(); n != 250 {
			tl.t.Errorf("the org counts %d deliveries of 250 events", n)
		}
		tl.wantsSubscriptions(1, 1)
	})
}

// An answer without events moves the cursor on: however long a topic is quiet, the place
// that a new process begins from is known, and nothing is asked for but every quarter of an
// hour.
func TestListen_MovesOnWhileNothingHappens(t *testing.T) {
	ears(t, salesforcesim.Options{}, messages+","+contacts, func(tl *teller) {
		tl.say("one")
		tl.wantsNext("one")
		tl.sim.Forget() // as what is older than three days
		if told := tl.listens(2 * time.Hour); len(told) > 0 {
			tl.t.Errorf("told %q", told)
		}
		tl.wantsSubscriptions(2, 2)
		if n := len(tl.calls()); n > 20 {
			tl.t.Errorf("%d calls in two quiet hours: %q", n, tl.calls())
		}
		tl.reborn()
		tl.say("two")
		tl.wantsNext("two")
		if n := tl.sim.Delivered(); n != 2 {
			tl.t.Errorf("the org counts %d deliveries of 2 events", n)
		}
		tl.wantsSubscriptions(2, 4)
	})
}

// What a subscription brought and the bridge did not store comes again.
func TestListen_BeginsAnewFromAnotherPlace(t *testing.T) {
	const another = "00D000000000sim!another"
	ears(t, salesforcesim.Options{Tokens: []string{another}}, messages, func(tl *teller) {
		tl.say("one")
		before := tl.cursor
		tl.wantsNext("one")
		tl.cursor, tl.known = before, map[string]bool{}
		tl.say("two")
		tl.wantsNext("one", "two")
		tl.wantsSubscriptions(1, 2)
		tl.account.Token.Secrets["access"] = another
		tl.say("two and a half")
		tl.wantsNext("two and a half")
		tl.wantsSubscriptions(1, 3)
		tl.sim.Revoke() // the host then gets another token
		tl.say("three")
		if _, err := tl.connector.Poll(tl.t.Context(), tl.account, tl.cursor); core.CodeOf(err) != core.CodeUnauthenticated {
			tl.t.Errorf("without a token: %v", err)
		}
		tl.wantsSubscriptions(0, 3)
	})
}

func TestListen_SurvivesTheEndOfItsSubscriptions(t *testing.T) {
	ears(t, salesforcesim.Options{}, messages+","+contacts, func(tl *teller) {
		tl.say("one")
		tl.wantsNext("one")
		tl.listens(10 * time.Minute)
		tl.sim.EndStreams()
		tl.say("two")
		tl.wantsNext("two")
		time.AfterFunc(10*time.Second, tl.sim.EndStreams)
		time.AfterFunc(20*time.Second, func() { tl.say("three") })
		if told := tl.listens(21 * time.Second); !slices.Equal(told, []string{"three"}) {
			tl.t.Errorf("told %q", told)
		}
		tl.wantsSubscriptions(2, 6)
	})
}

// One that brings nothing, not even that it lives, is given up, and its connection: what
// it did not bring comes by another.
func TestListen_GivesUpWhatIsSilent(t *testing.T) {
	ears(t, salesforcesim.Options{}, messages, func(tl *teller) {
		dials := 0
		tl.connector.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			dials++
			return tl.served.DialContext(ctx, network, address)
		}
		tl.listens(10 * time.Minute)
		tl.wantsSubscriptions(1, 1)
		tl.sim.Silence()
		tl.say("one")
		began := time.Now()
		if told := tl.listens(11 * time.Minute); !slices.Equal(told, []string{"one"}) {
			tl.t.Errorf("told %q", told)
		}
		if d := time.Since(began); d > 12*time.Minute {
			tl.t.Errorf("it took %v", d)
		}
		if dials != 2 {
			tl.t.Errorf("%d connections were made, want 2", dials)
		}
		tl.wantsSubscriptions(1, 2)
	})
}

// A place that is no longer known is forgotten: messages are read from the oldest on, and
// changes are asked for.
func TestListen_ForgetsAPlaceThatIsUnknown(t *testing.T) {
	ears(t, salesforcesim.Options{}, messages+","+contacts, func(tl *teller) {
		tl.sim.Create("Contact", map[string]any{"LastName": "Ana", "MobilePhone": "+34600000002"})
		tl.say("one")
		if told := tl.listens(time.Second); !slices.Equal(told, []string{"one", "+34600000002"}) && !slices.Equal(told, []string{"+34600000002", "one"}) {
			tl.t.Fatalf("told %q", told)
		}
		tl.sim.EndStreams()
		synctest.Wait() // they bring nothing more
		tl.sim.Create("Contact", map[string]any{"LastName": "Bob", "MobilePhone": "+34600000003"})
		tl.sim.Forget()
		tl.say("two")
		began, told := time.Now(), []string(nil)
		for range 6 {
			told = append(told, tl.next()...)
			if len(told) >= 2 {
				break
			}
		}
		slices.Sort(told)
		if d := time.Since(began); !slices.Equal(told, []string{"+34600000003", "two"}) || d > time.Second {
			tl.t.Errorf("told %q after %v", told, d)
		}
	})
}

// Where Salesforce could not make the events of changes it says so, and they are asked for
// at once, whoever may have made them.
func TestListen_AsksForChangesWhoseEventsCouldNotBeMade(t *testing.T) {
	ears(t, salesforcesim.Options{}, contacts, func(tl *teller) {
		tl.listens(time.Minute)
		for _, origin := range []string{"", "com/salesforce/api/rest/66.0;client=wabridge"} {
			tl.clear()
			tl.sim.Gap("Contact", origin)
			began := time.Now()
			tl.next() // it hears of them
			tl.next()
			if got := strings.Join(tl.calls(), " "); !strings.Contains(got, "/queryAll") || time.Since(began) > time.Second {
				tl.t.Errorf("of a gap from %q, after %v, it asked %q", origin, time.Since(began), got)
			}
			tl.listens(time.Minute)
		}
	})
}

// What changed before the first subscription began, or in another process's time, is
// asked for: a topic of changes begins at its end.
func TestListen_AsksForWhatWasBeforeItBegan(t *testing.T) {
	ears(t, salesforcesim.Options{}, contacts, func(tl *teller) {
		tl.sim.Create("Contact", map[string]any{"LastName": "Ana", "MobilePhone": "+34600000002"})
		if told := tl.listens(time.Minute); !slices.Equal(told, []string{"+34600000002"}) {
			tl.t.Errorf("told %q", told)
		}
		tl.reborn() // before anything came by the topic
		tl.sim.Create("Contact", map[string]any{"LastName": "Bob", "MobilePhone": "+34600000003"})
		if told := tl.listens(10 * time.Minute); !slices.Equal(told, []string{"+34600000003"}) {
			tl.t.Errorf("told %q", told)
		}
		tl.sim.EndStreams()
		synctest.Wait() // they bring nothing more
		tl.sim.Create("Contact", map[string]any{"LastName": "Cy", "MobilePhone": "+34600000004"})
		tl.sim.Forget()
		tl.next() // the place is unknown now
		tl.wantsNext("+34600000004")
	})
}

// A lane that is paused or gone is not listened to any more.
func TestListen_EndsWhenNobodyAsks(t *testing.T) {
	ears(t, salesforcesim.Options{}, messages+","+contacts, func(tl *teller) {
		tl.next()
		tl.wantsSubscriptions(2, 2)
		<-time.After(59 * time.Second)
		tl.wantsSubscriptions(2, 2)
		<-time.After(2 * time.Second)
		tl.wantsSubscriptions(0, 2)
		tl.say("one")
		if told := tl.listens(time.Second); !slices.Equal(told, []string{"one"}) {
			tl.t.Errorf("told %q", told)
		}
		tl.wantsSubscriptions(2, 4)
		tl.reborn()
		tl.wantsSubscriptions(0, 4)
	})
}

func TestListen_SaysWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		o        salesforcesim.Options
		settings string
		code     core.Code
		says     string
	}{
		"a topic that there is not": {salesforcesim.Options{}, `"send_event":"Other__e"`, core.CodeForbidden, "settings.send_event"},
		"the day's events are over": {salesforcesim.Options{Deliveries: 1}, messages, core.CodeRateLimited, "the org's events of a day"},
		"nobody is there":           {salesforcesim.Options{}, messages + `,"pubsub_url":"http://127.0.0.1:7444"`, core.CodeUnavailable, "settings.pubsub_url"},
	} {
		t.Run(name, func(t *testing.T) {
			ears(t, test.o, test.settings, func(tl *teller) {
				tl.say("one", "two")
				_, err := tl.connector.Poll(tl.t.Context(), tl.account, tl.cursor)
				if e := core.AsError(err); err == nil || e.Code != test.code || !strings.Contains(e.Hint, test.says) {
					tl.t.Errorf("%v (%+v)", err, e)
				}
				tl.wantsSubscriptions(0, map[bool]int{true: 1}[name != "nobody is there"])
			})
		})
	}
}
