package broker

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/campaign"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// A send towards WhatsApp cannot be made idempotent: there is no key, and the
// id of the message comes only in the answer. So the bridge writes down that it
// is about to try, tries, and writes down what came of it. When that is not
// known (the answer was lost, the process died), nothing is sent again: the
// status webhook, which brings our own id back, says that it was sent; if none
// comes, a person decides.

// intentState is how far a send has come.
type intentState string

const (
	intentStarted intentState = "started" // an attempt was begun; what came of it is not known yet
	intentSent    intentState = "sent"
	intentRefused intentState = "refused" // not sent, and not going to be unless a person replays it
	intentHeld    intentState = "held"    // unknown, and before a person
	intentAgain   intentState = "again"   // unknown, and made once more
)

// intent is what the number's lane remembers of a send. Only the lane writes
// it, with one exception: deciding a late status of a held one.
type intent struct {
	ID           string      `json:"id"` // of the message.send event
	Conversation string      `json:"conversation,omitempty"`
	Number       string      `json:"number"`
	State        intentState `json:"state"`
	MessageID    string      `json:"message_id,omitempty"` // wamid
	Attempt      int         `json:"attempt"`
	Campaign     string      `json:"campaign,omitempty"`
	// Template is <name>/<language> of what was sent; Instead says that something goes
	// instead, if the person's window was closed.
	Template string    `json:"template,omitempty"`
	Files    []string  `json:"files,omitempty"` // that the template named, by their hashes
	Instead  bool      `json:"instead,omitempty"`
	At       time.Time `json:"at"`

	lease uint64 // of the attempt that was begun
}

// delivered is what deciding remembers of a message's statuses.
type delivered struct {
	Value core.StatusValue `json:"value"`
	At    time.Time        `json:"at"`
	// Booked is what was booked for the message, once WhatsApp had said so.
	Booked *booking `json:"booked,omitempty"`
}

func hashKey(h [16]byte) string { return base64.RawURLEncoding.EncodeToString(h[:]) }

func intentKey(tenant string, h [16]byte) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketIntents, Key: hashKey(h) + "i"}
}

func statusKey(tenant string, h [16]byte) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketIntents, Key: hashKey(h) + "s"}
}

// sentMessage is what is known of the message that a status is about.
type sentMessage struct {
	hash   [16]byte
	intent *intent // nil when the message is not ours, or long ago
	status delivered
}

// begun returns what is known of a send that is under way at one of the tenant's
// numbers.
func (t *tenant) begun(hash [16]byte) *intent {
	for _, l := range t.numbers {
		if in := l.begun(hash); in != nil {
			return in
		}
	}
	return nil
}

// sentMessage names the message of a status: by our own id when it came back
// and is authentic, else by WhatsApp's.
func (t *tenant) sentMessage(st *core.Status) *sentMessage {
	if in, ok := whatsapp.ParseOpaque(t.b.o.OpaqueKey, st.Opaque); ok {
		return &sentMessage{hash: in.Hash}
	}
	return &sentMessage{hash: whatsapp.IntentHash("wamid:" + st.MessageID)}
}

// take reads what is stored of the message. A send that is under way again, as
// when a person replays it, is under way whatever is stored.
func (m *sentMessage) take(t *tenant, in, status []byte) {
	if v, ok := decode[intent](in); ok {
		m.intent = v
	}
	if v := t.begun(m.hash); v != nil {
		m.intent = v
	}
	if v, ok := decode[delivered](status); ok {
		m.status = *v
	}
}

func (m *sentMessage) putStatus(t *tenant, now time.Time) store.Put {
	return store.Put{Key: statusKey(t.ID, m.hash), Value: mustJSON(m.status), Expires: now.Add(t.b.o.IntentRetention)}
}

// status decides a status of a message of ours. Only a step forward counts. A
// status that overtook the answer to its own send waits until the lane has
// written that answer down; if the lane is waiting for just this news, it is
// told. It reports whether the message moved forward.
func (t *tenant) status(ctx context.Context, u *turn) bool {
	st := u.e.Status
	if st == nil {
		return false
	}
	m := u.sent
	if in := m.intent; in != nil {
		switch in.State {
		case intentStarted:
			wait := 25 * time.Millisecond
			if u.step.Time.Sub(in.At) > 2*time.Second {
				wait = time.Second
			}
			u.wait(wait, false)
			t.overhear(m.hash, in, st.MessageID)
			if l := t.numbers[in.Number]; l != nil {
				l.learned(m.hash, st.MessageID)
			}
			return false
		case intentHeld:
			t.settleHeld(ctx, u, in)
		case intentAgain:
			t.overhear(m.hash, in, st.MessageID)
			if !t.callOff(ctx, u, in) {
				u.wait(25*time.Millisecond, false)
				return false
			}
		}
		u.afterwards(func(stored bool) {
			if stored {
				t.overheard.forget(m.hash)
			}
		})
		if in.MessageID != "" && in.MessageID != st.MessageID {
			t.b.totals.doubleSend.Add(1)
			t.b.m.doubleSends.WithLabelValues(t.ID).Inc()
			t.b.log.Error("one intent became two messages", "tenant", t.ID, "intent", in.ID)
			u.note("a second message of the same intent: it was sent twice")
		}
	}
	booked := t.priced(u)
	if !m.status.Value.Advances(st.Value) {
		if booked {
			u.s.Put = append(u.s.Put, m.putStatus(t, u.step.Time))
		}
		u.note("no step forward from " + string(m.status.Value) + ": dropped")
		u.tell = nil
		return false
	}
	t.watchLocks(u)
	if st.Value == core.StatusFailed {
		if t.failedWith(ctx, u, m.intent); u.again != nil {
			return false
		}
	}
	if in := m.intent; in != nil {
		if in.Instead && core.StatusFailed.Advances(st.Value) {
			u.s.Put = append(u.s.Put, store.Put{Key: insteadKey(t.ID, m.hash)})
		}
		u.afterwards(func(stored bool) {
			if stored {
				t.isHeardOf(in, st.Value)
			}
		})
	}
	u.reached(st)
	m.status.Value, m.status.At = st.Value, u.e.Time
	u.s.Put = append(u.s.Put, m.putStatus(t, u.step.Time))
	if in := m.intent; in != nil && (st.Intent == "" || in.Conversation != u.e.Conversation) {
		e, cs := *u.e, *st
		cs.Intent = in.ID
		e.Status = &cs
		// The CRMs have the message under the contact that it was sent to, which may
		// be merged into another by now, and its statuses come after each other.
		if _, id, ok := strings.Cut(in.Conversation, ":"); ok && e.Contact != nil && id != e.Contact.ID {
			e.Conversation, e.Contact = in.Conversation, &core.Contact{ID: id, Name: e.Contact.Name}
		}
		u.tell, u.data = &e, nil
	}
	if e := u.tell; e != nil && e.Contact != nil && u.contact != nil {
		if c := reachedNow(e.Contact, u.contact); c != e.Contact {
			own := *e
			own.Contact = c
			u.tell, u.data = &own, nil
		}
	}
	t.rowStatus(u, m.intent)
	return true
}

// settleHeld closes the case of a send that was before a person, now that its
// status says it was sent.
func (t *tenant) settleHeld(ctx context.Context, u *turn, in *intent) {
	const page, pages = 100, 100
	after := ""
	for range pages {
		dead, err := t.b.o.Store.Dead(ctx, t.ID, after, page)
		if err != nil || len(dead) == 0 {
			break
		}
		for _, d := range dead {
			if d.Item != in.ID {
				continue
			}
			send := eventOf(store.Delivery{Queue: d.Queue, ID: d.Item, Data: d.Data})
			u.s.Resolve = append(u.s.Resolve, d.ID)
			in.State, in.MessageID, in.At = intentSent, u.e.Status.MessageID, u.step.Time
			t.sent(&u.s, send, in)
			u.note("the status says that the held message was sent: case closed")
			return
		}
		after = dead[len(dead)-1].ID
	}
}

// sent adds what follows from a send that WhatsApp accepted: the intent's end
// and the message for the CRMs, which it returns; nil when nobody is told.
func (t *tenant) sent(s *store.Settlement, send *core.Event, in *intent) *core.Event {
	in.Campaign = send.Campaign
	if m := send.Message; m != nil && m.Template != nil {
		in.Template = m.Template.Name + "/" + m.Template.Language
		for _, f := range m.Template.Files() {
			in.Files = append(in.Files, f.Hash)
		}
	}
	t.keepsInstead(s, send, in)
	t.rowBecame(s, send, rowNews{State: campaign.RowSent, Message: in.MessageID})
	s.Put = append(s.Put, store.Put{
		Key: intentKey(t.ID, whatsapp.IntentHash(in.ID)), Value: mustJSON(in), Expires: in.At.Add(t.b.o.IntentRetention),
	})
	if send.Message == nil || send.Message.Type == core.TypeRead {
		return nil
	}
	m := *send.Message
	m.ID = in.MessageID
	t.sentFile(s, send, &m, in.At)
	if len(t.crm) == 0 && len(t.subscriptions.live()) == 0 {
		return nil
	}
	if m.Template != nil && m.Text == "" {
		if d := t.definition(send.Number, m.Template); d != nil { // so that the CRMs have what was read
			m.Text = d.Text(m.TemplateComponents())
		}
	}
	e := &core.Event{
		ID: core.FollowID(send.ID, 1), Kind: core.KindMessageSent, Tenant: send.Tenant, Number: send.Number,
		Conversation: send.Conversation, Time: in.At, Accepted: send.Accepted, Source: send.Source, Cause: send.ID,
		Class: send.Class, Campaign: send.Campaign, Contact: send.Contact, Message: &m, MessageRef: send.MessageRef,
	}
	t.tellSent(s, e)
	return e
}
