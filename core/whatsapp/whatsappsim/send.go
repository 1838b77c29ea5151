package whatsappsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

// sendBody is the body of POST /{phone_number_id}/messages.
type sendBody struct {
	Product       string `json:"messaging_product"`
	RecipientType string `json:"recipient_type"`
	To            string `json:"to"`
	Recipient     string `json:"recipient"`
	Type          string `json:"type"`
	Context       *struct {
		MessageID string `json:"message_id"`
	} `json:"context"`
	Opaque      string          `json:"biz_opaque_callback_data"`
	Text        json.RawMessage `json:"text"`
	Image       json.RawMessage `json:"image"`
	Audio       json.RawMessage `json:"audio"`
	Video       json.RawMessage `json:"video"`
	Document    json.RawMessage `json:"document"`
	Sticker     json.RawMessage `json:"sticker"`
	Location    json.RawMessage `json:"location"`
	Contacts    json.RawMessage `json:"contacts"`
	Reaction    json.RawMessage `json:"reaction"`
	Interactive json.RawMessage `json:"interactive"`
	Template    json.RawMessage `json:"template"`
	// Marking as read.
	Status    string          `json:"status"`
	MessageID string          `json:"message_id"`
	Typing    json.RawMessage `json:"typing_indicator"`
}

// messages answers POST /{phone_number_id}/messages.
func (s *Sim) messages(w http.ResponseWriter, r *http.Request, n *Number) {
	// The body comes first: only after it does the server notice that a client left.
	raw, ok := readBody(w, r)
	if !ok {
		s.refused(w, &graphError{status: http.StatusRequestEntityTooLarge, code: 100, message: "The request is too large"})
		return
	}
	if s.o.Latency != nil {
		pause(r.Context(), s.o.Latency())
	}
	pause(r.Context(), s.setLatency(-1))
	body, refusal := readSend(r.Header.Get("Content-Type"), raw)
	if refusal != nil {
		s.refused(w, refusal)
		return
	}
	if body.Status != "" {
		s.markRead(w, r, n, body)
		return
	}
	m, refusal := s.judge(n, body)
	if refusal == nil && m.file != "" && s.media.gave(m.file) {
		if _, ok := s.media.get(m.file, s.clock.now()); !ok {
			refusal = errorOf(131053, "There is no media with the id "+m.file)
		}
	}
	if refusal != nil {
		s.refused(w, refusal)
		return
	}
	f := s.faults.take(subject{number: n.ID, to: m.to(), typ: m.Type, text: m.Text})
	if f != nil && s.misbehave(w, r, f, m) {
		return
	}
	if refusal := s.cannotSend(n, m.Type == "template"); refusal != nil {
		s.refused(w, refusal)
		return
	}
	if s.blocked.has(n.ID, m.person.BSUID) {
		s.refused(w, errorOf(130403, ""))
		return
	}
	if s.o.EnforceWindow && m.Type != "template" && !s.people.windowOpen(n.ID, m.person, s.clock.now()) {
		s.refused(w, errorOf(131047, ""))
		return
	}
	if refusal := s.limited(n, m); refusal != nil {
		s.refused(w, refusal)
		return
	}
	reply(w, http.StatusOK, s.accept(m, f, false))
}

// readSend decodes a body as strictly as Graph does.
func readSend(contentType string, raw []byte) (*sendBody, *graphError) {
	if media, _, err := mime.ParseMediaType(contentType); err != nil || media != "application/json" {
		return nil, invalid("The parameter messaging_product is required.") // Graph does not read other bodies
	}
	var body sendBody
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	err := dec.Decode(&body)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			return nil, invalid("Invalid JSON: more than one value")
		}
	}
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrongType):
		return nil, invalid("Param %s must be a %s", wrongType.Field, wrongType.Type.Kind())
	case err != nil && strings.Contains(err.Error(), "unknown field"):
		return nil, invalid("Unexpected key %s", strings.TrimPrefix(err.Error(), "json: unknown field "))
	case err != nil:
		return nil, invalid("Invalid JSON: %v", err)
	case body.Product == "":
		return nil, invalid("The parameter messaging_product is required.")
	case body.Product != "whatsapp":
		return nil, invalid("Param messaging_product must be one of {WHATSAPP}")
	}
	return &body, nil
}

// markRead answers the marking of a message as read.
func (s *Sim) markRead(w http.ResponseWriter, r *http.Request, n *Number, body *sendBody) {
	switch {
	case body.Status != "read":
		s.refused(w, invalid("Param status must be one of {READ}"))
		return
	case body.MessageID == "" || body.To != "" || body.Type != "":
		s.refused(w, invalid("The parameter message_id is required."))
		return
	}
	f := s.faults.take(subject{number: n.ID, typ: "read"})
	if f != nil && s.misbehave(w, r, f, nil) {
		return
	}
	s.ledger.read(body.MessageID)
	reply(w, http.StatusOK, map[string]bool{"success": true})
}

// message is a send that was found good.
type message struct {
	Send
	person   person
	category string // pricing
	object   json.RawMessage
	failing  int // the code of the failed status that it is to get
	byPhone  bool
	file     string // the id of the file that it is
}

// to returns the address as it was given.
func (m *message) to() string { return m.To }

// judge finds a body good, or says why not.
func (s *Sim) judge(n *Number, b *sendBody) (*message, *graphError) {
	m := &message{Send: Send{Number: n.ID, Type: b.Type, Opaque: b.Opaque, At: s.clock.now()}, category: "service"}
	if b.Type == "" {
		m.Type = "text"
	}
	switch {
	case b.RecipientType != "" && b.RecipientType != "individual":
		return nil, invalid("Param recipient_type must be one of {INDIVIDUAL}")
	case len(b.Opaque) > 512:
		return nil, invalid("Param biz_opaque_callback_data must be at most 512 characters long.")
	case b.MessageID != "" || len(b.Typing) > 0:
		return nil, invalid("Param message_id is for marking messages as read")
	case b.Context != nil && b.Context.MessageID == "":
		return nil, invalid("The parameter context['message_id'] is required.")
	case b.Context != nil && m.Type == "reaction":
		return nil, invalid("Unexpected key \"context\" on a reaction")
	}
	if b.Context != nil {
		m.Context = b.Context.MessageID
	}
	if err := s.address(n, b, m); err != nil {
		return nil, err
	}
	if err := s.contents(b, m); err != nil {
		return nil, err
	}
	return m, nil
}

// address finds the recipient.
func (s *Sim) address(n *Number, b *sendBody, m *message) *graphError {
	switch {
	case b.To != "": // wins over recipient
		digits := digitsOf(b.To)
		m.To, m.byPhone = b.To, true
		if !strings.HasPrefix(strings.TrimSpace(b.To), "+") {
			// As Meta does it: a number without + is taken for a national one.
			if !strings.HasPrefix(digits, n.CountryCode) || len(digits) < 11 {
				digits = n.CountryCode + digits
			}
		}
		if len(digits) < 6 {
			return wrongValue("The parameter to is not a phone number")
		}
		if digits == n.DisplayNumber {
			return errorOf(131021, "Recipient and sender phone number is the same")
		}
		m.person = s.people.byPhone(digits)
		// A BSUID in the wrong field is taken for a phone number that nobody has.
		if strings.ContainsFunc(b.To, isLetter) {
			m.failing = 131026
		}
	case b.Recipient != "":
		if !bsuidPattern.MatchString(b.Recipient) {
			return wrongValue("The parameter recipient is not a business-scoped user ID")
		}
		m.To = b.Recipient
		m.person = s.people.byBSUID(b.Recipient)
	default:
		return invalid("The parameter to is required.")
	}
	return nil
}

func isLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

func digitsOf(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

type (
	sendAnswer struct {
		Product  string        `json:"messaging_product"`
		Contacts []sendContact `json:"contacts"`
		Messages []sendMessage `json:"messages"`
	}
	sendContact struct {
		Input  string `json:"input"`
		WaID   string `json:"wa_id,omitempty"`
		UserID string `json:"user_id,omitempty"`
	}
	sendMessage struct {
		ID     string `json:"id"`
		Status string `json:"message_status,omitempty"`
	}
)

// accept takes a message: from here on it is sent, whatever becomes of the answer.
func (s *Sim) accept(m *message, f *Rule, lost bool) sendAnswer {
	m.ID, m.Intent, m.Lost = s.newID(), intentOf(m.Opaque), lost
	if f != nil && f.Do == DoFail {
		m.failing = f.Code
	}
	if s.people.blocks(m.Number, m.person.BSUID) { // Meta does not say why
		m.failing = 131026
	}
	m.index = s.ledger.accepted(m.Send)
	s.sentTo(m)
	s.scheduleStatuses(m)
	answer := sendAnswer{Product: "whatsapp", Messages: []sendMessage{{ID: m.ID}}}
	c := sendContact{Input: m.To}
	if m.byPhone {
		c.WaID = m.person.WaID
	} else {
		c.UserID = m.To
	}
	answer.Contacts = []sendContact{c}
	if m.Type == "template" {
		answer.Messages[0].Status = "accepted"
	}
	return answer
}

// setLatency sets the additional latency, unless d is negative, and returns it.
func (s *Sim) setLatency(d time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d >= 0 {
		s.latency = d
	}
	return s.latency
}
