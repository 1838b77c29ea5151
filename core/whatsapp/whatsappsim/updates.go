package whatsappsim

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// update is one thing to tell: an element of messages or statuses, or the value of
// another field.
type update struct {
	place   int // in the ledger
	number  *Number
	field   string // "" is messages
	message json.RawMessage
	status  json.RawMessage
	value   json.RawMessage // of another field
	who     *contact
}

type (
	contact struct {
		Profile struct {
			Name     string `json:"name"`
			Username string `json:"username,omitempty"`
		} `json:"profile"`
		WaID         string `json:"wa_id,omitempty"`
		UserID       string `json:"user_id,omitempty"`
		ParentUserID string `json:"parent_user_id,omitempty"`
	}
	metadata struct {
		Display string `json:"display_phone_number"`
		ID      string `json:"phone_number_id"`
	}
	value struct {
		Product  string            `json:"messaging_product"`
		Metadata metadata          `json:"metadata"`
		Contacts []*contact        `json:"contacts,omitempty"`
		Messages []json.RawMessage `json:"messages,omitempty"`
		Statuses []json.RawMessage `json:"statuses,omitempty"`
	}
	change struct {
		Value any    `json:"value"`
		Field string `json:"field"`
	}
	entry struct {
		ID      string   `json:"id"`
		Time    int64    `json:"time,omitempty"` // of other fields than messages
		Changes []change `json:"changes"`
	}
	envelope struct {
		Object string  `json:"object"`
		Entry  []entry `json:"entry"`
	}
)

// encode writes the body of a webhook: an entry for each account, a change for
// each number with messages, one with statuses, and one for each other thing.
func (s *Sim) encode(updates []update) []byte {
	type key struct {
		number *Number
		status bool
	}
	body := envelope{Object: "whatsapp_business_account"}
	entries := map[string]int{}
	values := map[key]*value{}
	known := map[key]map[contact]bool{}
	for _, u := range updates {
		i, ok := entries[u.number.WABA]
		if !ok {
			i = len(body.Entry)
			entries[u.number.WABA] = i
			body.Entry = append(body.Entry, entry{ID: u.number.WABA})
		}
		if u.field != "" {
			body.Entry[i].Time = s.clock.now().Unix()
			body.Entry[i].Changes = append(body.Entry[i].Changes, change{Value: u.value, Field: u.field})
			continue
		}
		k := key{u.number, u.status != nil}
		v := values[k]
		if v == nil {
			v = &value{Product: "whatsapp", Metadata: metadata{u.number.DisplayNumber, u.number.ID}}
			values[k], known[k] = v, map[contact]bool{}
			body.Entry[i].Changes = append(body.Entry[i].Changes, change{Value: v, Field: "messages"})
		}
		if u.who != nil && !known[k][*u.who] {
			known[k][*u.who] = true
			v.Contacts = append(v.Contacts, u.who)
		}
		if u.status != nil {
			v.Statuses = append(v.Statuses, u.status)
		} else {
			v.Messages = append(v.Messages, u.message)
		}
	}
	return marshal(&body)
}

func (p person) contact(username bool) *contact {
	c := &contact{WaID: p.WaID, UserID: p.BSUID, ParentUserID: p.ParentBSUID}
	c.Profile.Name = p.Name
	if p.noID {
		c.UserID, c.ParentUserID = "", ""
	}
	if username {
		c.Profile.Username = p.Username
	}
	return c
}

// The life of a message.
const (
	statusSent      = "sent"
	statusDelivered = "delivered"
	statusRead      = "read"
	statusFailed    = "failed"
)

// scheduleStatuses sets out the life of an accepted message.
func (s *Sim) scheduleStatuses(m *message) {
	steps := []string{statusSent, statusDelivered, statusRead}
	switch {
	case m.failing != 0:
		steps = []string{statusFailed}
	case m.Type == "reaction":
		steps = []string{statusSent}
	}
	w := s.unruly()
	due := s.clock.now()
	list := make([]item, 0, len(steps))
	for _, status := range steps {
		due = due.Add(s.o.StatusDelay)
		if s.chance(w.DropStatus) {
			continue
		}
		at := due
		if window := s.o.BatchStatuses; window > 0 {
			at = due.Truncate(window).Add(window) // all of a window are due at once
		}
		list = append(list, item{due: at, step: &step{m, status}})
	}
	s.out.put(len(list), list...)
}

type (
	status struct {
		ID              string         `json:"id"`
		Status          string         `json:"status"`
		Timestamp       string         `json:"timestamp"`
		RecipientID     string         `json:"recipient_id,omitempty"`
		RecipientUserID string         `json:"recipient_user_id,omitempty"`
		RecipientParent string         `json:"recipient_parent_user_id,omitempty"`
		Opaque          string         `json:"biz_opaque_callback_data,omitempty"`
		Pricing         *pricing       `json:"pricing,omitempty"`
		Errors          []statusReason `json:"errors,omitempty"`
	}
	pricing struct {
		Billable bool   `json:"billable"`
		Model    string `json:"pricing_model"`
		Type     string `json:"type"`
		Category string `json:"category"`
	}
	statusReason struct {
		Code    int    `json:"code"`
		Title   string `json:"title"`
		Message string `json:"message"`
		Data    struct {
			Details string `json:"details"`
		} `json:"error_data"`
		Href string `json:"href"`
	}
)

// statusUpdate makes the update of a status.
func (s *Sim) statusUpdate(st *step) update {
	m := st.m
	now := s.clock.now()
	out := status{ID: m.ID, Status: st.status, Timestamp: strconv.FormatInt(now.Unix(), 10), Opaque: m.Opaque}
	u := update{number: s.numbers[m.Number]}
	out.RecipientID = m.person.WaID
	if st.status == statusFailed {
		// Nothing of contacts, and of a phone number no user id either.
		if !m.byPhone {
			out.RecipientUserID = m.person.BSUID
		}
		e := errorOf(m.failing, "")
		reason := statusReason{Code: e.code, Title: e.message, Message: e.message, Href: "/documentation/business-messaging/whatsapp/support/error-codes"}
		reason.Data.Details = e.details
		if reason.Data.Details == "" {
			reason.Data.Details = e.message
		}
		out.Errors = []statusReason{reason}
	} else {
		out.RecipientUserID, out.RecipientParent = m.person.BSUID, m.person.ParentBSUID
		u.who = m.person.contact(st.status != statusSent)
		if m.person.noID {
			out.RecipientUserID, out.RecipientParent = "", ""
		}
	}
	if st.status == statusSent || st.status == statusDelivered {
		out.Pricing = &pricing{Billable: m.category != "service", Model: "PMP", Type: "regular", Category: m.category}
		if m.category == "service" {
			out.Pricing.Type = "free_customer_service"
		}
	}
	u.status = marshal(&out)
	s.ledger.reached(m.index, st.status)
	u.place = s.ledger.came(Update{ID: m.ID + "/" + st.status, At: now})
	return u
}

// escapeASCII writes JSON in the form that Meta has used for webhooks: everything
// beyond ASCII as \u escapes in lower case, and slashes escaped.
func escapeASCII(b []byte) []byte {
	const hexDigits = "0123456789abcdef"
	out := make([]byte, 0, len(b)+len(b)/8)
	unit := func(u rune) {
		out = append(out, '\\', 'u', hexDigits[u>>12&15], hexDigits[u>>8&15], hexDigits[u>>4&15], hexDigits[u&15])
	}
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		b = b[size:]
		switch {
		case r == '/':
			out = append(out, '\\', '/')
		case r < utf8.RuneSelf:
			out = append(out, byte(r))
		case r > 0xffff:
			r -= 0x10000
			unit(0xd800 + r>>10)
			unit(0xdc00 + r&0x3ff)
		default:
			unit(r)
		}
	}
	return out
}
