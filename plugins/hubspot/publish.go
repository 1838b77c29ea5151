package hubspot

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// A message is published with WhatsApp's id as its integrationIdempotencyId, so that
// HubSpot takes a repeated one for the same. HubSpot's id of it, by which alone its
// status can be written, the bridge keeps ([core.Result].MessageRef), and with it how
// far the status has come, so that it never goes back.

const (
	// together is how many requests of a batch are made at a time: there is none for
	// several messages.
	together = 6
	// troubles is after how many that went unanswered the rest of a batch waits.
	troubles = 3
	// maxReason is how much an agent is told of why a message failed.
	maxReason = 500
)

// post is what an event has the inbox hold.
type post struct {
	publish bool
	key     string // integrationIdempotencyId
	ref     messageRef
	status  string // HubSpot's word, "" for none
	reason  string
}

// messageRef is what HubSpot calls a message, and what is known of it.
type messageRef struct {
	id     string
	part   bool   // it is a further message on WhatsApp of one that an agent wrote
	status string // the furthest that was written
}

// parseRef reads the text form: the id, "/part" for a part, "/SENT" for the status.
func parseRef(s string) (r messageRef) {
	r.id, s, _ = strings.Cut(s, "/")
	for word := range strings.SplitSeq(s, "/") {
		switch word {
		case "part":
			r.part = true
		case "SENT", "READ", "FAILED":
			r.status = word
		}
	}
	return r
}

func (r messageRef) String() string {
	s := r.id
	if r.part {
		s += "/part"
	}
	if r.status != "" {
		s += "/" + r.status
	}
	return s
}

// statuses are HubSpot's words for ours: it has none for a message that was delivered
// and not read. See
// https://developers.hubspot.com/docs/api-reference/2026-03/conversations/custom-channels/messages/update-custom-channel.
var statuses = map[core.StatusValue]string{
	core.StatusSent: "SENT", core.StatusDelivered: "SENT", core.StatusRead: "READ", core.StatusPlayed: "READ", core.StatusFailed: "FAILED",
}

// advances reports whether a message in a status moves on by another.
func (r messageRef) advances(to string) bool {
	if r.part {
		return to == "FAILED" && r.status != to
	}
	rank := map[string]int{"": 0, "SENT": 1, "FAILED": 2, "READ": 3}
	return to != "" && rank[to] > rank[r.status]
}

// layPost reads what an event means to the inbox; nil when nothing.
func (s *settings) layPost(e *core.Event, ref string) *post {
	p := &post{ref: parseRef(ref)}
	switch {
	case e.Kind == core.KindMessageStatus:
		p.status = statuses[e.Status.Value]
		p.key, p.reason = e.Status.MessageID, failure(e.Status.Errors)
		// What could not be sent at all is shown to have failed.
		p.publish = p.ref.id == "" && e.Message != nil && e.Status.Value == core.StatusFailed
		if p.ref.id == "" && !p.publish || !p.publish && !p.ref.advances(p.status) {
			return nil
		}
	case amended(e): // it cannot be changed: what it is now comes after it
		p.publish, p.key, p.ref = true, e.ID, messageRef{}
	case p.ref.id != "":
		return p // it is there: an agent wrote it, or it was published before
	default:
		p.publish, p.key = true, e.Message.ID
	}
	return p
}

// failure says to an agent why a message did not arrive.
func failure(errs []core.StatusError) string {
	var parts []string
	for _, e := range errs {
		text := strings.Trim(e.Title+": "+e.Details, ": ")
		if e.Code != 0 {
			text = strings.TrimSuffix(strconv.Itoa(e.Code)+": "+text, ": ")
		}
		if text != "" {
			parts = append(parts, text)
		}
	}
	return crm.Clip(strings.Join(parts, "; "), maxReason)
}

// participant is a sender or recipient.
type participant struct {
	Name       string     `json:"name,omitempty"`
	Identifier identifier `json:"deliveryIdentifier"`
}

// egg is a message to publish.
type egg struct {
	Text        string        `json:"text"`
	Timestamp   string        `json:"timestamp"`
	Direction   string        `json:"messageDirection"`
	AccountID   string        `json:"channelAccountId"`
	Senders     []participant `json:"senders"`
	Recipients  []participant `json:"recipients"`
	Attachments []string      `json:"attachments"`
	Thread      string        `json:"integrationThreadId,omitempty"`
	Key         string        `json:"integrationIdempotencyId"`
	Contact     int64         `json:"associateWithContactId,omitempty"`
}

func (x *session) hatch(e *core.Event, p *post, record string, a channelAccount) (*egg, *core.Error) {
	var who core.Address
	name := ""
	if e.Contact != nil {
		who, name = e.Contact.Address(), crm.Name(e.Contact)
	}
	if who == (core.Address{}) {
		who = e.Message.To
	}
	if who == (core.Address{}) {
		return nil, crm.Failure(core.CodeInvalid, "publish", "the event says nobody's address")
	}
	at := e.Time
	if at.IsZero() {
		at = e.Accepted
	}
	person, us := participant{name, x.identify(who)}, participant{crm.Clip(e.By, 100), a.Identifier}
	m := &egg{Text: clip(crm.MessageText(e.Message)), Timestamp: at.UTC().Format("2006-01-02T15:04:05.000Z"), AccountID: a.ID,
		Direction: "INCOMING", Senders: []participant{person}, Recipients: []participant{us}, Attachments: []string{}, Key: p.key}
	if e.Kind == core.KindMessageStatus || outbound(e) {
		m.Direction, m.Senders, m.Recipients = "OUTGOING", []participant{us}, []participant{person}
	}
	if x.InboxThreads == "conversation" {
		m.Thread = e.Conversation
	}
	m.Contact, _ = strconv.ParseInt(record, 10, 64)
	return m, nil
}

// post publishes the messages of the steps that are still good, and writes statuses.
func (x *session) post(ctx context.Context, p *plan) {
	var todo []*step
	for i := range p.steps {
		if st := &p.steps[i]; st.err == nil && st.post != nil && (st.post.publish || st.post.status != "") {
			todo = append(todo, st)
		}
	}
	var (
		mu     sync.Mutex
		all    *core.Error // what holds for the rest, too
		failed int
		wait   sync.WaitGroup
	)
	places := make(chan struct{}, together)
	for _, st := range todo {
		places <- struct{}{}
		mu.Lock()
		st.err = all
		mu.Unlock()
		if st.err != nil {
			<-places
			continue
		}
		wait.Go(func() {
			defer func() { <-places }()
			st.err = x.postOne(ctx, st)
			mu.Lock()
			defer mu.Unlock()
			switch err := st.err; {
			case err == nil:
			case err.Holds() == core.ScopeLane:
				all = err
			case err.Code == core.CodeUnavailable || err.Code == core.CodeUnknownOutcome:
				if failed++; failed >= troubles {
					all = err
				}
			}
		})
	}
	wait.Wait()
}

func (x *session) postOne(ctx context.Context, st *step) *core.Error {
	p, e := st.post, st.event
	if p.publish {
		a, err := x.accountOf(ctx, e.Number)
		if err != nil {
			return err
		}
		record := ""
		if st.contact != nil {
			record = st.contact.id
		}
		m, err := x.hatch(e, p, record, a)
		if err != nil {
			return err
		}
		if err := x.publish(ctx, m, p); err != nil {
			return err
		}
	}
	if p.ref.id == "" || !p.ref.advances(p.status) {
		return nil
	}
	body, _ := json.Marshal(struct { //nolint:errchkjson // texts
		Status string `json:"statusType"`
		Error  string `json:"errorMessage,omitempty"`
	}{p.status, p.reason})
	r := x.call(ctx, "message status", http.MethodPatch, x.channel("/messages/"+url.PathEscape(p.ref.id)), body, ignore)
	switch {
	case r != nil && r.status == http.StatusNotFound: // people deleted its thread
	case r != nil && r.Code == core.CodeUnknownOutcome: // written twice it is the same
		r.Code = core.CodeUnavailable
		return r.Error
	case r != nil:
		return r.Error
	}
	p.ref.status = p.status
	return nil
}

// publish publishes a message and takes note of what it is called.
func (x *session) publish(ctx context.Context, m *egg, p *post) *core.Error {
	body, err := json.Marshal(m)
	if err != nil {
		return core.Errorf(core.CodeInternal, "publish", "%w", err)
	}
	var made struct {
		ID string `json:"id"`
	}
	r := x.call(ctx, "publish", http.MethodPost, x.channel("/messages"), body, func(b []byte) error { return crm.Decode(b, &made) })
	switch {
	case r == nil && made.ID == "":
		return crm.Failure(core.CodeUnknownOutcome, "publish", "the answer holds no message")
	case r == nil:
		p.ref = messageRef{id: made.ID}
		return nil
	case r.status == http.StatusConflict: // it was there; its id HubSpot may say
		p.ref = messageRef{id: r.answer.existing()}
		return nil
	case r.status == http.StatusNotFound:
		x.accounts.forget()
		r.Hint = "look at settings.channel_id, and whether the channel account is still there"
	case r.Code == core.CodeInvalid:
		x.accounts.forget()
		r.Hint = "look at the channel's capabilities, and at settings.inbox_identifier and settings.inbox_threads"
	}
	return r.Error
}

// posted ends a step of the inbox: the message's id, and what the bridge is to keep.
func (st *step) posted(r *core.Result) {
	p := st.post
	if p.ref.id == "" {
		return
	}
	r.Ref = p.ref.id
	if !amended(st.event) {
		r.MessageRef = p.ref.String()
	}
}

// inboxTime reads a time of HubSpot's.
func inboxTime(s string) time.Time {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return at
}
