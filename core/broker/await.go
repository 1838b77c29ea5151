package broker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// WhatsApp keeps no order among messages: a picture may overtake the text that it
// belongs to. Where a message asks for it ([core.Message].Await), the next one of its
// conversation goes only once this one was sent or delivered, has failed, or has had its
// time.
//
// https://developers.facebook.com/documentation/business-messaging/whatsapp/messages/send-messages

const bucketAwaits = "awaits" // conversation → what its next message waits for

// sweepAwaits is how many are remembered before those whose time is over are forgotten.
const sweepAwaits = 1000

// await is what the next message of a conversation waits for. When its contact is merged
// into another, the next one of theirs waits for it, too: they share it.
type await struct {
	Intent string           `json:"intent"`
	Want   core.StatusValue `json:"want"`
	Since  time.Time        `json:"since"`
	Until  time.Time        `json:"until"`

	heard bool // what was waited for has come
}

func awaitKey(tenant, conversation string) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketAwaits, Key: conversation}
}

// waits reports whether it is still waited for.
func (a *await) waits(now time.Time) bool { return !a.heard && now.Before(a.Until) }

// over reports whether a message of this status is waited for no longer.
func (a *await) over(v core.StatusValue) bool {
	return v == core.StatusFailed || v == a.Want || a.Want.Advances(v)
}

// awaits has the next message of the conversation wait for this one, which was sent.
func (l *lane) awaits(ctx context.Context, s *store.Settlement, e *core.Event, now time.Time) {
	if e.Message == nil || e.Message.Await == "" {
		return
	}
	a := &await{Intent: e.ID, Want: e.Message.Await, Since: now, Until: now.Add(l.t.Policy.AwaitFor)}
	s.Put = append(s.Put, store.Put{Key: awaitKey(l.t.ID, e.Conversation), Value: mustJSON(a), Expires: a.Until})
	wait := func(conversation string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.waitFor(a, now, conversation)
	}
	wait(e.Conversation) // first, so that a merge that comes now sees it
	if current, err := l.t.conversationNow(ctx, e.Conversation); err == nil {
		wait(current)
	}
}

// waitFor has a conversation wait for a message. The caller holds the lane's lock.
func (l *lane) waitFor(a *await, now time.Time, conversation string) {
	if l.awaiting == nil {
		l.awaiting = map[string][]*await{}
	}
	if len(l.awaiting) >= sweepAwaits { // of whom nothing was told, and nothing more is sent to
		maps.DeleteFunc(l.awaiting, func(_ string, all []*await) bool {
			return !slices.ContainsFunc(all, func(a *await) bool { return a.waits(now) })
		})
	}
	if conversation == "" || slices.Contains(l.awaiting[conversation], a) {
		return
	}
	still := slices.DeleteFunc(l.awaiting[conversation], func(a *await) bool { return !a.waits(now) })
	l.awaiting[conversation] = append(still, a)
}

// conversationNow is the conversation of whom a conversation's contact was merged into since,
// or that conversation; "" when the person was erased.
func (t *tenant) conversationNow(ctx context.Context, conversation string) (string, error) {
	number, id, _ := strings.Cut(conversation, ":")
	p, err := t.personNow(ctx, id)
	if err != nil || p == nil {
		return "", err
	}
	return core.ConversationID(number, p.ID), nil
}

// awaited returns what a message of the conversation still waits for, and when to look
// again; the zero time when there is nothing.
func (l *lane) awaited(conversation string, now time.Time) (again time.Time, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.DeleteFunc(l.awaiting[conversation], func(a *await) bool { return !a.waits(now) })
	if len(all) == 0 {
		delete(l.awaiting, conversation)
		return time.Time{}, ""
	}
	l.awaiting[conversation] = all
	a := all[0]
	again = now.Add(min(max(now.Sub(a.Since)/4, 100*time.Millisecond), 5*time.Second))
	if again.After(a.Until) {
		again = a.Until
	}
	return again, fmt.Sprintf("%s is to be %s first, for %s at most", a.Intent, a.Want, a.Until.Sub(a.Since))
}

// isHeardOf takes note of a message's status: what waited for it goes.
func (t *tenant) isHeardOf(in *intent, v core.StatusValue) {
	l := t.numbers[in.Number]
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.awaiting[in.Conversation] {
		a.heard = a.heard || a.Intent == in.ID && a.over(v)
	}
}

// awaitsNothing forgets what a conversation's next message waits for.
func (l *lane) awaitsNothing(conversation string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.awaiting, conversation)
}

// awaitsOf has the next message of a contact wait for what the next one of another does, who
// was merged into it. What waits under the other's name goes on to.
func (t *tenant) awaitsOf(contact, other string) {
	now := time.Now()
	for _, l := range t.numbers {
		l.mu.Lock()
		for _, a := range l.awaiting[core.ConversationID(l.number(), other)] {
			l.waitFor(a, now, core.ConversationID(l.number(), contact))
		}
		l.mu.Unlock()
	}
}

// restoreAwaits remembers what was waited for when the bridge stopped.
func (l *lane) restoreAwaits(ctx context.Context) error {
	now := time.Now()
	var all []store.Entry
	prefix := l.number() + ":"
	err := eachEntry(ctx, l.b.o.Store, l.t.ID, bucketAwaits, prefix, func(e store.Entry) bool {
		if !strings.HasPrefix(e.Key, prefix) {
			return false
		}
		all = append(all, e)
		return true
	})
	if err != nil {
		return err
	}
	for _, e := range all {
		a, ok := decode[await](e.Value)
		if !ok || now.After(a.Until) {
			continue
		}
		values, err := l.b.o.Store.Get(ctx, statusKey(l.t.ID, whatsapp.IntentHash(a.Intent)))
		if err != nil {
			return err
		}
		if st, _ := decode[delivered](values[0]); a.over(st.Value) {
			continue
		}
		current, err := l.t.conversationNow(ctx, e.Key)
		if err != nil {
			return err
		}
		l.mu.Lock()
		l.waitFor(a, now, e.Key)
		l.waitFor(a, now, current)
		l.mu.Unlock()
	}
	return nil
}
