package broker

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// WhatsApp says why it does not deliver in its answer to the send or, later, in a status
// that says failed, with the same codes. The status ends the message; it is not sent again
// by itself, since nobody knows whether it is still wanted. But what the code says of the
// person, of the template and of the number holds for what is sent next; and what was
// declared to go instead of the message goes.
//
// https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes

// newsOf is for how long a status says how a number is now, where its code does not.
const newsOf = time.Minute

// failedWith does what follows from the reasons of a failed status, beside that the message
// ends; in is what is known of the send, nil when it is none of ours.
func (t *tenant) failedWith(ctx context.Context, u *turn, in *intent) {
	st := u.e.Status
	for _, why := range st.Errors {
		switch code := strconv.Itoa(why.Code); {
		case code == vendorStopped:
			t.enter(u, consent.Entry{Source: consent.Meta, Level: consent.Marketing, State: consent.Withdrawn}, consent.Details{Evidence: stoppedAtMeta().Evidence})
		case why.Code == codeWithheld && u.contact.ID != "":
			until := t.withholds(&u.s, u.contact.ID, "", u.step.Time)
			u.note(whyWithheld + ": none is sent to them until " + until.Format(time.RFC3339))
		case code == codeFileRefused:
			t.fileLost(ctx, u, st.MessageID, in)
		case code == codeWindowClosed && in != nil && in.Instead:
			t.goesAfterwards(ctx, u, in)
		case strings.HasPrefix(code, "1320") && in != nil && in.Template != "":
			t.templateFailed(u, in, code)
		case in != nil:
			t.numberFailed(u, in, why)
		}
	}
}

// insteadKey is where is kept what goes instead of a message that was sent, until it is
// delivered or has failed, or for as long as a window lasts.
func insteadKey(tenant string, h [16]byte) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketIntents, Key: hashKey(h) + "w"}
}

// keepsInstead keeps what goes instead of a message, if WhatsApp should say by a status that
// the person's window was closed.
func (t *tenant) keepsInstead(s *store.Settlement, send *core.Event, in *intent) {
	m := t.instead(send.Message, send.Contact)
	if in.Instead = m != nil; !in.Instead {
		return
	}
	e := *send
	e.Message = m
	s.Put = append(s.Put, store.Put{Key: insteadKey(t.ID, whatsapp.IntentHash(in.ID)), Value: mustJSON(&e), Expires: in.At.Add(window)})
}

// goesAfterwards sends what goes instead of a message that was not delivered because the
// person's window was closed: once, as a send of its own.
func (t *tenant) goesAfterwards(ctx context.Context, u *turn, in *intent) {
	key := insteadKey(t.ID, whatsapp.IntentHash(in.ID))
	values, err := t.b.o.Store.Get(ctx, key)
	if err != nil {
		u.wait(time.Second, false)
		return
	}
	e, ok := decode[core.Event](values[0])
	if !ok || e.Message == nil || e.Message.Template == nil {
		return // a day is over, or the person was erased
	}
	code, _ := strconv.Atoi(codeWindowClosed)
	e.ID, e.Cause, e.Time = core.FollowID(in.ID, code), u.e.ID, u.step.Time
	u.s.Put = append(u.s.Put, store.Put{Key: key})
	u.s.Add = append(u.s.Add, store.Item{Queue: t.queue, ID: e.ID, Once: true, Order: e.Conversation, Class: classOf(e), Data: mustJSON(e), Value: e})
	u.step.Follows = append(u.step.Follows, e.ID)
	u.note(insteadNote(e.Message))
	u.afterwards(func(stored bool) {
		if stored {
			t.depth.Add(1)
		}
	})
}

// numberFailed takes note of a code that is about the whole number: it pauses as it does
// when the same is answered, so that what comes next waits, and does not fail as well.
func (t *tenant) numberFailed(u *turn, in *intent, why core.StatusError) {
	err := whatsapp.ErrorFor(0, whatsapp.GraphError{Code: why.Code, Message: why.Title, Details: why.Details})
	l := t.numbers[in.Number]
	wait := max(err.RetryAfter, newsOf)
	if l == nil || err.Code != core.CodeRateLimited || !holdsLane(err) || !u.step.Time.Before(u.e.Time.Add(wait)) {
		return
	}
	u.note("the number pauses: " + err.Message)
	u.afterwards(func(stored bool) {
		if stored {
			if err.RetryAfter > 0 {
				err.RetryAfter -= u.step.Time.Sub(u.e.Time)
			}
			l.gate.refuse(err)
			t.b.pauseAccount(l, err)
		}
	})
}
