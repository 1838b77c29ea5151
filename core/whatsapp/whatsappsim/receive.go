package whatsappsim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Inbound is a message that a simulated customer writes. The person is named by
// From or BSUID; what else is empty takes a sensible value.
type Inbound struct {
	// Number is the phone_number_id written to; "" is the first.
	Number string `json:"number,omitempty"`
	// From is the phone number, + or not. "" is somebody with a username, of whom
	// Meta tells the BSUID alone.
	From        string `json:"from,omitempty"`
	BSUID       string `json:"bsuid,omitempty"` // "" with From derives one
	ParentBSUID string `json:"parent_bsuid,omitempty"`
	Name        string `json:"name,omitempty"`
	Username    string `json:"username,omitempty"`
	// Also is another form of the number, in which the person is reached, too: as
	// Brazilian numbers with and without the ninth digit.
	Also string `json:"also,omitempty"`

	// ID is the wamid; "" makes one.
	ID   string    `json:"id,omitempty"`
	Time time.Time `json:"time,omitzero"` // zero is now
	// Type is as in webhooks; "" is told from what is set.
	Type string `json:"type,omitempty"`
	// Text is the body of a text, or the caption of media.
	Text     string           `json:"text,omitempty"`
	Reply    *InboundReply    `json:"reply,omitempty"`
	Media    *InboundMedia    `json:"media,omitempty"`
	Location *InboundLocation `json:"location,omitempty"`
	Reaction *InboundReaction `json:"reaction,omitempty"`
	// Context is the message answered.
	Context string `json:"context,omitempty"`
	// Forwarded marks it as forwarded.
	Forwarded bool `json:"forwarded,omitempty"`
	// Order, Edit, Revoke (the id of a message), Calls ("accept" or "reject") and
	// Unsupported (a type such as poll) are instead of a text.
	Order       *InboundOrder `json:"order,omitempty"`
	Edit        *InboundEdit  `json:"edit,omitempty"`
	Revoke      string        `json:"revoke,omitempty"`
	Calls       string        `json:"calls,omitempty"`
	Unsupported string        `json:"unsupported,omitempty"`
	// Product is what a text asks about, Referral the ad that the person came from.
	Product  *InboundProduct  `json:"product,omitempty"`
	Referral *InboundReferral `json:"referral,omitempty"`
	// Group is the group's id, of a message in one. Standby says that another app has the
	// conversation.
	Group   string `json:"group,omitempty"`
	Standby bool   `json:"standby,omitempty"`
	// Object is the type's object, of any type: {"type": Type, Type: Object}.
	Object json.RawMessage `json:"object,omitempty"`
	// Extra are further fields of the message, as Meta may think of next.
	Extra map[string]json.RawMessage `json:"extra,omitempty"`
}

// InboundReply is an answer to buttons, a list or a flow.
type InboundReply struct {
	// Kind is "button" (the default), "list", "template_button" or "flow".
	Kind        string `json:"kind,omitempty"`
	ID          string `json:"id,omitempty"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	Response    string `json:"response,omitempty"` // of a flow: JSON
}

// InboundMedia is a file.
type InboundMedia struct {
	ID       string `json:"id,omitempty"`
	MIMEType string `json:"mime_type,omitempty"`
	Filename string `json:"filename,omitempty"`
	Voice    bool   `json:"voice,omitempty"`
	// Data is what is in it; without it, Size bytes that look like its type.
	Data []byte `json:"data,omitempty"`
	Size int    `json:"size,omitempty"`
	// Do is what happens when it is downloaded (MediaOther, MediaCut, MediaDead), so many
	// Times; 0 is always.
	Do    string `json:"do,omitempty"`
	Times int    `json:"times,omitempty"`
}

// InboundLocation is a place.
type InboundLocation struct {
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
	Name      string  `json:"name,omitempty"`
	Address   string  `json:"address,omitempty"`
}

// InboundReaction is an emoji on a message; without one it is taken back.
type InboundReaction struct {
	MessageID string `json:"message_id"`
	Emoji     string `json:"emoji,omitempty"`
}

// Receive lets customers write: a webhook for each message. It returns the wamids.
// It panics at a number that the business does not have.
func (s *Sim) Receive(messages ...Inbound) []string { return s.receive(messages, 1, 0) }

// ReceiveBatch is Receive with up to 1,000 messages in each webhook.
func (s *Sim) ReceiveBatch(messages ...Inbound) []string { return s.receive(messages, maxBatch, 0) }

// receive puts up to size messages into each webhook, and sends each extra times
// more.
func (s *Sim) receive(messages []Inbound, size, extra int) []string {
	ids := make([]string, 0, len(messages))
	for len(messages) > 0 {
		n := min(len(messages), size)
		updates := make([]update, 0, n)
		for i := range n {
			u, id := s.inbound(&messages[i])
			if u.number != nil {
				updates = append(updates, u)
			}
			ids = append(ids, id)
		}
		if len(updates) > 0 {
			s.deliver(updates, extra)
		}
		messages = messages[n:]
	}
	return ids
}

// Notify sends any other webhook: a field with its value, as JSON.
func (s *Sim) Notify(number, field string, value json.RawMessage) {
	n := s.number(number)
	place := s.ledger.came(Update{ID: fmt.Sprintf("%s/%d", field, s.ids.Add(1)), At: s.clock.now()})
	s.deliver([]update{{place: place, number: n, field: field, value: value}}, 0)
}

// number returns a number by its ID, the first for "".
func (s *Sim) number(id string) *Number {
	if id == "" {
		id = s.o.Numbers[0].ID
	}
	n := s.numbers[id]
	if n == nil {
		panic("whatsappsim: no number " + id)
	}
	return n
}

// inbound makes the update of a customer's message: one without a number when the business
// has blocked the customer, and does not hear of it.
func (s *Sim) inbound(in *Inbound) (update, string) {
	n := s.number(in.Number)
	now := in.Time
	if now.IsZero() {
		now = s.clock.now()
	}
	who := person{WaID: digitsOf(in.From), BSUID: in.BSUID, ParentBSUID: in.ParentBSUID, Name: in.Name, Username: in.Username}
	who = s.people.as(who)
	if who.BSUID == "" {
		who.BSUID = s.people.byPhone(who.WaID).BSUID
	}
	who.Name = cmp.Or(who.Name, s.people.name(who.BSUID), "Customer "+cmp.Or(who.WaID, who.BSUID))
	opened := now
	if !in.opensWindow() {
		opened = time.Time{}
	}
	s.people.wrote(n.ID, who, digitsOf(in.Also), opened)

	id := in.ID
	if id == "" {
		id = s.newID()
	}
	m := map[string]any{"id": id, "timestamp": strconv.FormatInt(now.Unix(), 10), "from_user_id": who.BSUID}
	if who.WaID != "" {
		m["from"] = who.WaID
	}
	if who.ParentBSUID != "" {
		m["from_parent_user_id"] = who.ParentBSUID
	}
	if in.Context != "" {
		m["context"] = map[string]string{"from": n.DisplayNumber, "id": in.Context}
	}
	if in.Forwarded {
		m["context"] = map[string]bool{"forwarded": true}
	}
	if who.noID {
		delete(m, "from_user_id")
	}
	typ, object := in.content(s)
	m["type"] = typ
	if object != nil {
		m[typ] = object
	}
	in.adorn(m, n)
	for k, v := range in.Extra {
		m[k] = v
	}
	s.chats.put(who.BSUID, chatLine{ID: id, Number: n.ID, At: now, Type: typ, Object: marshal(object), Context: in.Context})
	if s.blocked.has(n.ID, who.BSUID) {
		return update{}, id
	}
	place := s.ledger.came(Update{ID: id, From: cmp.Or(who.WaID, who.BSUID), At: s.clock.now()})
	u := update{place: place, number: n, message: marshal(m), who: who.contact(true)}
	if typ == "system" {
		u.who = nil
	}
	if in.Standby {
		u.field, u.value = "standby", standby(n, u.message, u.who)
	}
	return u, id
}

// content returns the message's type and the type's object.
func (in *Inbound) content(s *Sim) (string, any) {
	if typ, object, ok := in.kind(s); ok {
		return typ, object
	}
	switch {
	case in.Object != nil:
		return in.Type, in.Object
	case in.Reply != nil:
		return in.Reply.content()
	case in.Media != nil:
		return in.Media.content(s, in)
	case in.Location != nil:
		return "location", in.Location
	case in.Reaction != nil:
		return "reaction", in.Reaction
	case in.Type == "" || in.Type == "text":
		return "text", map[string]string{"body": in.Text}
	}
	return in.Type, nil
}

func (r *InboundReply) content() (string, any) {
	switch r.Kind {
	case "template_button":
		return "button", map[string]string{"payload": r.ID, "text": r.Title}
	case "list":
		reply := map[string]string{"id": r.ID, "title": r.Title}
		if r.Description != "" {
			reply["description"] = r.Description
		}
		return "interactive", map[string]any{"type": "list_reply", "list_reply": reply}
	case "flow":
		return "interactive", map[string]any{"type": "nfm_reply", "nfm_reply": map[string]string{
			"name": "flow", "body": "Sent", "response_json": r.Response,
		}}
	}
	return "interactive", map[string]any{"type": "button_reply", "button_reply": map[string]string{"id": r.ID, "title": r.Title}}
}

func (f *InboundMedia) content(s *Sim, in *Inbound) (string, any) {
	typ := in.Type
	if typ == "" {
		typ = "image"
	}
	mimeType := f.MIMEType
	if mimeType == "" {
		mimeType = map[string]string{
			"image": "image/jpeg", "audio": "audio/ogg; codecs=opus", "video": "video/mp4",
			"document": "application/pdf", "sticker": "image/webp",
		}[typ]
	}
	data := f.Data
	if len(data) == 0 {
		data = sample(mimeType, cmp.Or(min(f.Size, maxUpload), 100))
	}
	times := f.Times
	if f.Do != "" && times == 0 {
		times = -1
	}
	file := &file{id: f.ID, number: cmp.Or(in.Number, s.o.Numbers[0].ID), mimeType: mimeType, data: data, expires: s.clock.now().Add(inboundLife), do: f.Do, times: times}
	s.media.put(file)
	o := map[string]any{"id": file.id, "mime_type": mimeType, "sha256": file.sha256}
	if in.Text != "" {
		o["caption"] = in.Text
	}
	if f.Filename != "" {
		o["filename"] = f.Filename
	}
	switch typ {
	case "audio":
		o["voice"] = f.Voice
	case "sticker":
		o["animated"] = false
	}
	return typ, o
}
