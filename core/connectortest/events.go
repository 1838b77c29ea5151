package connectortest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
)

// The people of the rules' events. The number is of the range kept for fiction.
const (
	samplePhone = "+12025550123"
	sampleBSUID = "US.13491208655302741918"
	sampleLink  = "https://bridge.example/media/acme/5e5e5e?exp=1790000000&sig=conformance"
)

// event returns a new message from a person who has a phone number.
func (s *session) event() *core.Event {
	s.mu.Lock()
	s.serial++
	n := s.serial
	s.mu.Unlock()
	// Times lie close together and in the past, as they do in life.
	at := time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC).Add(time.Duration(n) * time.Second)
	contact := fmt.Sprintf("c-%s-%d", s.id, n)
	id := fmt.Sprintf("wamid.CT%s%04d", s.id, n)
	return &core.Event{
		ID: id, Kind: core.KindMessageReceived, Tenant: s.Account.Tenant, Number: "106540352242922",
		Conversation: core.ConversationID("106540352242922", contact),
		Time:         at, Accepted: at.Add(800 * time.Millisecond), Source: "whatsapp",
		// Each person is another: a batch has no conversation twice.
		Contact: &core.Contact{ID: contact, Name: "Conformance Test", Phone: fmt.Sprintf("+1202555%04d", n%10000)},
		Message: &core.Message{ID: id, Direction: core.Inbound, Type: core.TypeText, Text: "Where is my order 1234?"},
	}
}

// follow turns an event into one of another kind, as the bridge derives them.
func follow(e *core.Event, kind core.Kind) *core.Event {
	e.Kind, e.Cause, e.ID = kind, e.ID, core.FollowID(e.ID, 1)
	switch kind {
	case core.KindMessageSent:
		e.Message.Direction, e.Message.To, e.Message.Text = core.Outbound, e.Contact.Address(), "It is on its way."
	case core.KindMessageEdited:
		e.Message.Text = "Where is my order 1235?"
	case core.KindMessageRevoked:
		e.Message.Type, e.Message.Text = core.TypeRevoke, ""
	case core.KindMessageMedia:
		e.Message.Type = core.TypeImage
		e.Message.Media = &core.Media{MIMEType: "image/jpeg", Size: 4096, Hash: strings.Repeat("5e", 32), Link: sampleLink}
	case core.KindMessageStatus:
		e.Status = &core.Status{MessageID: e.Message.ID, Value: core.StatusDelivered, Intent: e.Cause}
		e.Message = nil
	case core.KindContactChanged:
		e.Message, e.Contact.Tags, e.Contact.Fields = nil, []string{"vip"}, map[string]string{"city": "Lyon"}
	case core.KindConsentChanged:
		e.Message = nil
		e.Consent = &core.Consent{Level: "marketing", State: "withdrawn", Source: "word", Evidence: "STOP", Marketing: "withdrawn", Suppressed: []string{"stop"}}
	case core.KindContactErased:
		e.Message, e.Conversation, e.Number, e.Source = nil, "", "", "bridge"
		e.Contact = &core.Contact{ID: e.Contact.ID, Phone: e.Contact.Phone, BSUID: e.Contact.BSUID}
		e.Fields = map[string]any{"records": []string{"1001"}}
	case core.KindContactMerged:
		e.Message, e.Source = nil, "bridge"
		e.Merge = &core.ContactMerge{Contact: core.Contact{ID: e.Contact.ID + "-went", Name: "Conformance Test", BSUID: sampleBSUID + "7"}, Since: e.Time, KeptSince: e.Time}
	case core.KindEscalation:
		e.Escalation = &core.Escalation{Reason: "complaint", Team: "support", Note: "asks for a person", Priority: "high"}
		e.Message = nil
	case core.KindUnknown:
		e.Message, e.Raw = nil, json.RawMessage(`{"type":"hologram","hologram":{"x":1}}`)
	}
	return e
}

// kinds are the events that a CRM gets.
var kinds = []core.Kind{
	core.KindMessageReceived, core.KindMessageSent, core.KindMessageEdited, core.KindMessageRevoked, core.KindMessageMedia, core.KindMessageStatus, core.KindContactChanged, core.KindConsentChanged, core.KindEscalation, core.KindContactErased,
	core.KindContactMerged, core.KindUnknown,
}

func (s *session) events(n int) []*core.Event {
	events := make([]*core.Event, n)
	for i := range events {
		events[i] = s.event()
	}
	return events
}

// batch puts events on their way.
func batch(events ...*core.Event) []core.Delivery {
	deliveries := make([]core.Delivery, len(events))
	for i, e := range events {
		deliveries[i] = core.Delivery{Event: e, Data: []byte(asJSON(e)), Attempt: 1}
	}
	return deliveries
}

// reread is the same batch, with events of its own.
func reread(b []core.Delivery) []core.Delivery {
	own := slices.Clone(b)
	for i := range own {
		own[i].Event = new(core.Event)
		if err := json.Unmarshal(own[i].Data, own[i].Event); err != nil {
			panic(err) // it was marshalled by batch
		}
	}
	return own
}

// hostile are texts that people send by accident or on purpose.
var hostile = map[string]string{
	"empty":              "",
	"spaces":             " \t\n ",
	"control characters": "a\x00b\x01\x1b[31mc\x7f\r\nd",
	"64 KiB":             strings.Repeat("wabridge ", 64<<10/9),
	"right to left":      "\u202eevil\u202c שלום مرحبا",
	"emoji":              "👩‍👩‍👧‍👦🏳️‍🌈🇺🇳 e\u0301",
	"quotes and braces":  `"'{{.Key}}${x}<script>alert(1)</script>\";--` + "`",
	"line separators":    "a\u2028b\u2029c\u0085d",
	"not characters":     "\ufffe\uffff\U0001ffff",
	"header injection":   "x\r\nAuthorization: Bearer y\r\n\r\n",
}
