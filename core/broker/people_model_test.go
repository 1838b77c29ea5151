package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// soul is a person of the model's world: what WhatsApp knows them by.
type soul struct{ phone, bsuid string }

// world is a small place in which people change numbers, and numbers people; of
// everything that happens WhatsApp sends webhooks.
type world struct {
	souls    []soul
	handed   map[string]bool // numbers that were another's before
	silent   map[string]bool // numbers that somebody changed to without a user id
	at       time.Time
	n        int
	messages int
	hooks    [][]byte
	says     map[string]string // of each, in short
	apart    [][2]string       // contacts that were taken apart, and not merged by hand since
}

func newWorld(people int) *world {
	w := &world{at: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), handed: map[string]bool{}, silent: map[string]bool{}, says: map[string]string{}}
	for i := range people {
		w.souls = append(w.souls, soul{fmt.Sprintf("346000000%02d", i), fmt.Sprintf("ES.%d", i)})
	}
	return w
}

// deed is something that happens, or is done. A and B say to whom, modulo how
// many there are.
type deed struct {
	Do   string
	A, B int
	Back bool
}

var (
	hookDeeds = []string{"phone", "user id", "both", "both", "changes number", "changes user id", "changes both", "leaves"}
	allDeeds  = append([]string{"again", "merge", "merge", "unmerge"}, hookDeeds...)
)

func deeds(of []string, atMost int) *rapid.Generator[[]deed] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) deed {
		n := rapid.IntRange(0, 99)
		return deed{rapid.SampledFrom(of).Draw(t, "do"), n.Draw(t, "a"), n.Draw(t, "b"), rapid.Bool().Draw(t, "back")}
	}), 1, atMost)
}

func pick[T any](of []T, n int) T { return of[n%len(of)] }

// happens makes something happen, and returns the webhook about it.
func (w *world) happens(d deed) []byte {
	w.n++
	w.at = w.at.Add(7 * time.Minute)
	id := fmt.Sprintf("w%d", w.n)
	s := &w.souls[d.A%len(w.souls)]
	var hook []byte
	switch d.Do {
	case "phone":
		hook = who{phone: s.phone}.wrote(id, w.at, "escalate=returns timer=20m")
		w.messages++
	case "user id":
		hook = who{bsuid: s.bsuid}.wrote(id, w.at, "tag="+id)
		w.messages++
	case "both":
		hook = who{s.phone, s.bsuid, ""}.wrote(id, w.at, "field="+id+" timer=45m")
		w.messages++
	case "changes number", "changes both":
		// Who had a number, and when, a change without user ids does not say: such
		// numbers are never another's here, before or after.
		old, was := s.phone, s.bsuid
		s.phone = fmt.Sprintf("346000009%02d", w.n)
		system := map[string]any{"type": "user_changed_number", "wa_id": s.phone}
		if d.Do == "changes both" || w.handed[old] {
			s.bsuid = fmt.Sprintf("ES.n%d", w.n)
			system["user_id"], system["previous_user_id"] = s.bsuid, was
		} else {
			w.silent[s.phone] = true
		}
		hook = changed(id, w.at, map[string]any{"from": old}, system)
	case "changes user id":
		was := s.bsuid
		s.bsuid = fmt.Sprintf("ES.n%d", w.n)
		hook = changed(id, w.at, nil, map[string]any{"type": "user_changed_user_id", "user_id": s.bsuid, "previous_user_id": was})
	case "leaves": // and somebody else comes, who gets the number
		number := fmt.Sprintf("346000009%02d", w.n)
		if !w.silent[s.phone] {
			number = s.phone
			w.handed[number] = true
		}
		*s = soul{number, fmt.Sprintf("ES.n%d", w.n)}
		hook = who{s.phone, s.bsuid, ""}.wrote(id, w.at, "tag="+id)
		w.messages++
	}
	w.says[string(hook)] = fmt.Sprintf("%s: %s, now %s %s", id, d.Do, s.phone, s.bsuid)
	w.hooks = append(w.hooks, hook)
	return hook
}

// messagesIn are the messages of all conversations that are anybody's.
func (b *bridge) messagesIn() int {
	b.Helper()
	n := 0
	for _, p := range b.people() {
		talks, err := b.tenants["acme"].conversationsOf(context.Background(), p.ID)
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range talks {
			n += c.In
		}
	}
	return n
}

// Whatever WhatsApp says and people do about it: no two contacts share an
// identity, every key leads to whose it is, no message and no escalation is lost.
func TestPeople_NoTwoShareAnIdentity(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(4)
		var story []string
		bad := ""
		history := deeds(allDeeds, 25).Draw(rt, "history")
		synctest.Test(t, func(t *testing.T) {
			b := newBridge(t)
			b.scripts = busy
			b.desk(deskSettings())
			b.start()
			for _, d := range history {
				if bad = b.step(d, w, &story); bad != "" || t.Failed() {
					break
				}
			}
			if now := b.Snapshot(); now.OnTheWay() != 0 {
				n := now.OnTheWay()
				bad += fmt.Sprintf("%d events wait", n)
			}
			b.stop()
		})
		if t.Failed() || bad != "" {
			rt.Fatalf("%s\n%s", bad, strings.Join(story, "\n"))
		}
	})
}

// step does one thing: what WhatsApp says, or a merge, or one taken back.
func (b *bridge) step(d deed, w *world, story *[]string) string {
	ctx := context.Background()
	tell := func(format string, args ...any) { *story = append(*story, fmt.Sprintf(format, args...)) }
	people := b.people()
	switch d.Do {
	case "again":
		if len(w.hooks) > 0 {
			tell("again %s", w.says[string(pick(w.hooks, d.A))])
			b.webhooks(pick(w.hooks, d.A))
		}
	case "merge":
		if len(people) < 2 || d.A%len(people) == d.B%len(people) {
			break
		}
		x, y := pick(people, d.A).ID, pick(people, d.B).ID
		tell("merge %s %s", x, y)
		before := []string{b.dossier(x), b.dossier(y)}
		b.merge(x, y)
		b.checkAliases()
		b.checkDesk()
		if d.Back {
			tell("unmerge %s", y)
			b.unmerge(y)
			for i, id := range []string{x, y} {
				if was, is := withoutApart(before[i]), withoutApart(b.dossier(id)); was != is {
					return fmt.Sprintf("%s is\n%s\nand was\n%s", id, is, was)
				}
			}
		}
	case "unmerge":
		entries, err := b.store.Range(ctx, "acme", bucketMerges, "", 1000)
		if err != nil || len(entries) == 0 {
			break
		}
		id := pick(entries, d.A).Key
		if _, err := b.tenants["acme"].mergeToUndo(ctx, id); err != nil {
			break // its survivor was merged, too
		}
		tell("unmerge %s", id)
		before := len(people)
		w.apart = append(w.apart, [2]string{b.unmerge(id).Survivor, id})
		if after := len(b.people()); after != before+1 {
			return fmt.Sprintf("of %d people became %d", before, after)
		}
	default:
		hook := w.happens(d)
		sleepUntil(w.at)
		tell("%s", w.says[string(hook)])
		b.webhooks(hook)
	}
	settled(time.Second)
	b.checkAliases()
	b.checkDesk()
	if together := b.together(w.apart); len(together) > 0 && d.Do == "merge" {
		w.apart = slices.DeleteFunc(w.apart, func(p [2]string) bool { return slices.Contains(together, p) })
	} else if len(together) > 0 {
		return fmt.Sprintf("taken apart, and together again: %v", together)
	}
	if n := b.messagesIn(); n != w.messages {
		return fmt.Sprintf("%d messages came, and %d are in conversations", w.messages, n)
	}
	return ""
}

// together are those of some pairs of contacts that are one.
func (b *bridge) together(pairs [][2]string) (out [][2]string) {
	b.Helper()
	for _, p := range pairs {
		x, _, err := b.tenants["acme"].survivor(context.Background(), p[0])
		if err != nil {
			b.Fatal(err)
		}
		if y, _, err := b.tenants["acme"].survivor(context.Background(), p[1]); err != nil || x == y {
			out = append(out, p)
		}
	}
	return out
}

func withoutApart(dossier string) string {
	if i := strings.Index(dossier, `,"apart":[`); i >= 0 {
		if j := strings.Index(dossier[i:], "]"); j >= 0 {
			return dossier[:i] + dossier[i+j+1:]
		}
	}
	return dossier
}

// Who is who in the end does not depend on the order in which webhooks come, nor
// on how often.
func TestPeople_AreTheSameInEveryOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(3)
		for _, d := range deeds(hookDeeds, 8).Draw(rt, "history") {
			w.happens(d)
		}
		other := rapid.Permutation(w.hooks).Draw(rt, "order")
		for range rapid.IntRange(0, 2).Draw(rt, "doubled") {
			other = append(other, rapid.SampledFrom(w.hooks).Draw(rt, "hook"))
		}
		var parts [2][]string
		for i, hooks := range [][][]byte{w.hooks, other} {
			synctest.Test(t, func(t *testing.T) {
				b := newBridge(t)
				b.noSync = true
				b.start()
				b.webhooks(hooks...)
				b.checkAliases()
				parts[i] = keysOf(b.people())
				b.stop()
			})
		}
		if !slices.Equal(parts[0], parts[1]) {
			var order []string
			for _, h := range other {
				order = append(order, w.says[string(h)])
			}
			rt.Fatalf("in order they are\n%s\nand in the order\n%s\n%s", strings.Join(parts[0], "\n"), strings.Join(order, "\n"), strings.Join(parts[1], "\n"))
		}
	})
}

// WhatsApp says again what once merged two whom a person has taken apart since.
func TestPeople_TakenApartStayApart(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		b.webhooks(who{phone: "34600111222"}.wrote("1", hour(1), "a"), who{bsuid: "ES.1"}.wrote("2", hour(2), "b"), ruiz.wrote("3", hour(3), "c"))
		merges := b.merges(b.whoIs("ES.1"))
		if len(merges) != 1 {
			b.Fatalf("merges %+v", merges)
		}
		b.unmerge(merges[0].ID)
		b.wantPeople("bsuid:ES.1", "phone:+34600111222")
		b.webhooks(ruiz.wrote("4", hour(4), "d"), changed("5", hour(5), map[string]any{"from": "34600111222"},
			map[string]any{"type": "user_changed_number", "wa_id": "34600999888", "user_id": "ES.1"}))
		if together := b.together([][2]string{{merges[0].ID, merges[0].Survivor}}); len(together) > 0 {
			b.Errorf("they are one again: %q", keysOf(b.people()))
		}
		// The number is theirs who is named beside it.
		b.wantPeople("", "bsuid:ES.1 phone:+34600111222 phone:+34600999888")
		// A person may change their mind.
		b.merge(merges[0].Survivor, merges[0].ID)
		b.wantPeople("bsuid:ES.1 phone:+34600111222 phone:+34600999888")
	})
}

func (b *bridge) merges(id string) []Merge {
	b.Helper()
	v, err := b.Contact(context.Background(), "acme", id)
	if err != nil {
		b.Fatal(err)
	}
	return v.Merges
}

func TestJoin_LeavesTheClocksOfAnEscalationThatEnds(t *testing.T) {
	esc := func(id string, due time.Time) *Escalation {
		e := &Escalation{}
		e.ID, e.Deadline = id, due
		return e
	}
	overdue := &conversation{Escalation: esc("e1", hour(1))}
	waits := &conversation{Escalation: esc("e2", hour(2)), LastTimer: 2,
		Timers: map[string]timer{timerEscalation: {Generation: 1, Due: hour(2)}, "mine": {Generation: 2, Due: hour(3)}}}
	c, ended := joinConversations(overdue, waits, 5)
	if ended == nil || ended.ID != "e2" || c.Escalation.ID != "e1" || len(c.Timers) != 1 || c.Timers["mine"].Generation != 7 {
		t.Errorf("joined %+v, ended %+v", c, ended)
	}
	if c, _ = joinConversations(waits, overdue, 5); c.Escalation.ID != "e1" || len(c.Timers) != 1 || c.Timers["mine"].Generation != 2 {
		t.Errorf("the other way round %+v", c)
	}
}
