package whatsapp

import (
	"cmp"
	"encoding/json"
	"strings"

	"github.com/wabridge/wabridge/core"
)

// modelled reports whether an event holds all that the message says.
func (m *message) modelled() bool {
	if !usableID(m.ID) || m.Timestamp.IsZero() || m.GroupID != "" && !usableID(m.GroupID) || (phone(string(m.From)) == "" && bsuid(m.FromUserID) == "") {
		return false
	}
	if c := m.Context; c != nil && c.ReferredProduct != nil && c.ReferredProduct.ID == "" {
		return false
	}
	if m.Type == typeEdit {
		return m.edited() != nil && m.Edit.Message.contentModelled()
	}
	return m.contentModelled()
}

// contentModelled reports whether an event holds all that the message is made of.
func (m *message) contentModelled() bool {
	if (len(m.Errors) > 0) != (m.Type == string(core.TypeUnsupported)) || len(m.Errors) > 1 {
		return false
	}
	switch core.MessageType(m.Type) {
	case core.TypeText:
		return m.Text != nil
	case core.TypeImage, core.TypeAudio, core.TypeVideo, core.TypeDocument, core.TypeSticker:
		return m.file() != nil
	case core.TypeLocation:
		return m.Location != nil && m.Location.known()
	case core.TypeContacts:
		return len(m.Contacts) > 0
	case core.TypeButton:
		return m.Button != nil
	case core.TypeReaction:
		return m.Reaction != nil && m.Reaction.MessageID != ""
	case core.TypeInteractive:
		i := m.Interactive
		return i != nil && (i.ButtonReply != nil || i.ListReply != nil || i.FlowReply != nil || i.Calls != nil)
	case core.TypeOrder:
		return m.Order != nil && m.Order.known()
	case core.TypeSystem:
		return m.System != nil && m.System.known()
	case core.TypeRevoke:
		return m.revoked() != ""
	case core.TypeUnsupported, core.TypeRequestWelcome:
		return true
	}
	return false
}

// modelled reports whether an event holds all that the status says.
func (s *status) modelled() bool {
	return usableID(s.ID) && usableID(s.eventID()) && !s.Timestamp.IsZero() && s.isStep() && len(s.Conversation) == 0
}

// participant names the one of a group that it is about, or nobody.
func (s *status) participant() string { return cmp.Or(string(s.ParticipantID), s.ParticipantUserID) }

// eventID is the ID of its event.
func (s *status) eventID() string {
	if p := s.participant(); p != "" {
		return s.ID + "/" + s.Status + "/" + p
	}
	return s.ID + "/" + s.Status
}

// isStep reports whether it is a step in the life of a message.
func (s *status) isStep() bool {
	if s.Type != "" && s.Type != "message" {
		return false
	}
	switch core.StatusValue(s.Status) {
	case core.StatusSent, core.StatusDelivered, core.StatusRead, core.StatusPlayed, core.StatusFailed:
		return true
	}
	return false
}

// usableID reports whether a vendor's id can be part of an event's ID.
func usableID(s string) bool {
	if s == "" || len(s) > maxMessageID {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '#' { // # is what core.FollowID puts
			return false
		}
	}
	return true
}

// phone returns the E.164 form of a wa_id, or "".
func phone(waID string) string {
	p := "+" + strings.TrimPrefix(waID, "+")
	if (core.Address{Kind: core.AddressPhone, Value: p}).Validate() != nil {
		return ""
	}
	return p
}

// bsuid returns a business-scoped user id, or "". Its exact form has changed
// before and may again: what is of sound length and characters is taken.
func bsuid(s string) string {
	if len(s) > 256 || !usableID(s) || !strings.Contains(s, ".") {
		return ""
	}
	return s
}

// message makes the update of a message. The raw JSON is kept when it is given:
// there is more to the message than m could hold.
func (o *origin) message(m *message, raw []byte) Update {
	e := core.Event{
		ID: m.ID, Kind: core.KindMessageReceived, Time: m.Timestamp.Time, Raw: raw,
		Contact: o.contact(string(m.From), m.FromUserID, m.FromParentUserID),
		Message: m.content(),
	}
	switch of := m.edited(); {
	case of != nil:
		e.Kind, e.Message = core.KindMessageEdited, of
	case m.revoked() != "":
		e.Kind, e.Message.ID = core.KindMessageRevoked, m.revoked()
	}
	if m.GroupID != "" && usableID(m.GroupID) {
		e.Group = m.GroupID
	}
	if m.System != nil && e.Message.Type == core.TypeSystem {
		e.Change = m.System.change()
		if e.Contact == nil {
			e.Contact = o.contact(cmp.Or(string(m.System.WaID), string(m.System.NewWaID)), m.System.UserID, m.System.ParentUserID)
		}
	}
	if e.Contact == nil || m.GroupID != "" && e.Group == "" {
		// From nobody that could be answered, or into a group that cannot be told from
		// others: not for whoever answers messages.
		e.Kind = core.KindUnknown
	}
	if !usableID(m.ID) {
		e.ID, e.Kind, e.Message.ID = hashID(o.waba(), fieldMessages, raw, o.entry.Time), core.KindUnknown, ""
	}
	return o.update(e)
}

// contact makes the person with these ids, nil without any.
func (o *origin) contact(waID, userID, parent string) *core.Contact {
	c := core.Contact{Phone: phone(waID), BSUID: bsuid(userID), ParentBSUID: bsuid(parent)}
	if p := o.profileOf(waID, userID); p != nil {
		c.Name, c.Username = p.Profile.Name, p.Profile.Username
		c.Phone = cmp.Or(c.Phone, phone(string(p.WaID)))
		c.BSUID = cmp.Or(c.BSUID, bsuid(p.UserID))
		c.ParentBSUID = cmp.Or(c.ParentBSUID, bsuid(p.ParentUserID))
	}
	if c.Phone == "" && c.BSUID == "" {
		return nil
	}
	return &c
}

// reachedAt is the address of a person; none where it has a form that the bridge could
// not read again: a user id may be of a new one.
func reachedAt(c *core.Contact) core.Address {
	if a := c.Address(); a.Validate() == nil {
		return a
	}
	return core.Address{}
}

// profileOf finds the profile of the person with these ids.
func (o *origin) profileOf(waID, userID string) *profile {
	for i := range o.contacts {
		p := &o.contacts[i]
		if (userID != "" && p.UserID == userID) || (waID != "" && string(p.WaID) == waID) {
			return p
		}
	}
	// A single profile beside a single message is its author's, unless it says
	// that it is somebody else's.
	if o.only && len(o.contacts) == 1 {
		p := &o.contacts[0]
		if (waID == "" || p.WaID == "") && (userID == "" || p.UserID == "") {
			return p
		}
	}
	return nil
}

// known reports whether the change is of a type that holds no more than its addresses.
func (s *msgSystem) known() bool {
	return s.Type == "user_changed_number" || s.Type == "user_changed_user_id"
}

// change is what WhatsApp tells of a person's addresses.
func (s *msgSystem) change() *core.IdentityChange {
	return &core.IdentityChange{
		Type:  s.Type[:min(len(s.Type), maxTypeName)],
		Phone: phone(cmp.Or(string(s.WaID), string(s.NewWaID))), BSUID: bsuid(s.UserID), ParentBSUID: bsuid(s.ParentUserID),
		PreviousBSUID: bsuid(s.PreviousUserID),
	}
}

// given returns JSON that is there, and not null.
func given(raw json.RawMessage) json.RawMessage {
	if isNull(raw) {
		return nil
	}
	return raw
}

func (l *msgLocation) known() bool { return l.Latitude.ok && l.Longitude.ok }

// file returns the media object of the message's type.
func (m *message) file() *msgMedia {
	switch core.MessageType(m.Type) {
	case core.TypeImage:
		return m.Image
	case core.TypeAudio:
		return m.Audio
	case core.TypeVideo:
		return m.Video
	case core.TypeDocument:
		return m.Document
	case core.TypeSticker:
		return m.Sticker
	}
	return nil
}

// content makes the message of an event.
func (m *message) content() *core.Message {
	out := &core.Message{ID: m.ID, Direction: core.Inbound, Type: m.kind(), Referral: m.Referral.event()}
	if c := m.Context; c != nil {
		out.Context = &core.MessageContext{ID: c.ID, From: c.From, Forwarded: c.Forwarded || c.FrequentlyForwarded, Often: c.FrequentlyForwarded}
		if p := c.ReferredProduct; p != nil && p.ID != "" {
			out.Context.Product = &core.Product{Catalog: string(p.Catalog), ID: string(p.ID)}
		}
	}
	if f := m.file(); f != nil {
		out.Text = f.Caption
		out.Media = &core.Media{
			ID: f.ID, MIMEType: f.MIMEType, SHA256: f.SHA256, Filename: f.Filename, Voice: f.Voice, Animated: f.Animated,
		}
	}
	if m.Text != nil {
		out.Text = m.Text.Body
	}
	if l := m.Location; l != nil && l.known() {
		out.Location = &core.Location{Latitude: l.Latitude.value, Longitude: l.Longitude.value, Name: l.Name, Address: l.Address, URL: l.URL}
	}
	out.Contacts = given(m.Contacts)
	if r := m.Reaction; r != nil {
		out.Reaction = &core.Reaction{MessageID: r.MessageID, Emoji: r.Emoji}
	}
	if b := m.Button; b != nil {
		out.Reply, out.Text = &core.Reply{Kind: "template_button", ID: b.Payload, Title: b.Text}, b.Text
	}
	if i := m.Interactive; i != nil {
		if c := i.Calls; c != nil {
			out.Calls = &core.CallPermission{Granted: c.Response == "accept", Until: c.Until.Time, Permanent: c.Permanent, Source: c.Source}
		} else {
			out.Reply = i.reply()
			out.Text = out.Reply.Title
		}
	}
	if m.Order != nil && out.Type == core.TypeOrder {
		out.Order = m.Order.event()
		out.Text = orderText(out.Order)
	}
	if m.System != nil && out.Type == core.TypeSystem {
		out.Text = m.System.Body
	}
	if out.Type == core.TypeUnsupported {
		if m.Unsupported != nil {
			out.Unsupported = m.Unsupported.Type[:min(len(m.Unsupported.Type), maxTypeName)]
		}
		if len(m.Errors) > 0 {
			why := m.Errors[0].reason()
			out.Error = &why
		}
	}
	return out
}

// maxTypeName bounds the name of a type that we do not know.
const maxTypeName = 64

// kind is the message's type, told from its contents when it does not say.
func (m *message) kind() core.MessageType {
	switch {
	case m.Type != "" && len(m.Type) <= maxTypeName:
		return core.MessageType(m.Type)
	case m.Text != nil:
		return core.TypeText
	case m.Location != nil:
		return core.TypeLocation
	case len(m.Contacts) > 0:
		return core.TypeContacts
	case m.Interactive != nil:
		return core.TypeInteractive
	case m.Reaction != nil:
		return core.TypeReaction
	}
	return core.TypeUnsupported
}

func (i *msgInteractive) reply() *core.Reply {
	switch {
	case i.ButtonReply != nil:
		return &core.Reply{Kind: "button", ID: i.ButtonReply.ID, Title: i.ButtonReply.Title, Description: i.ButtonReply.Description}
	case i.ListReply != nil:
		return &core.Reply{Kind: "list", ID: i.ListReply.ID, Title: i.ListReply.Title, Description: i.ListReply.Description}
	case i.FlowReply != nil:
		f := i.FlowReply
		return &core.Reply{Kind: cmp.Or(f.Name, "flow"), Title: f.Body, Response: f.Response}
	}
	return &core.Reply{Kind: i.Type}
}

// status makes the update of a status. The raw JSON is kept when it is given.
func (o *origin) status(s *status, raw []byte) Update {
	waID, userID, parent := string(s.RecipientID), s.RecipientUserID, cmp.Or(s.RecipientParent, s.RecipientParentOld)
	if s.participant() != "" || s.RecipientType == "group" {
		waID, userID, parent = string(s.ParticipantID), s.ParticipantUserID, s.ParticipantParent
	}
	e := core.Event{ID: s.eventID(), Kind: core.KindMessageStatus, Time: s.Timestamp.Time, Raw: raw}
	e.Contact = o.contact(waID, userID, parent)
	if s.RecipientType == "group" && usableID(string(s.RecipientID)) {
		e.Group = string(s.RecipientID)
	}
	if !s.isStep() || !usableID(s.ID) || !usableID(e.ID) {
		if !usableID(e.ID) || s.Type != "" {
			e.ID = hashID(o.waba(), "statuses", raw, o.entry.Time)
		}
		e.Kind = core.KindUnknown
		return o.update(e)
	}
	st := &core.Status{MessageID: s.ID, Value: core.StatusValue(s.Status), Opaque: s.Opaque, Pricing: given(s.Pricing)}
	for i := range s.Errors {
		st.Errors = append(st.Errors, s.Errors[i].reason())
	}
	e.Status = st
	return o.update(e)
}

func (e *statusError) reason() core.StatusError {
	out := core.StatusError{
		Code: int(e.Code), Title: cmp.Or(e.Title, e.Message), Details: cmp.Or(e.Data.Details, e.Details),
	}
	if out.Details == "" && e.Message != out.Title {
		out.Details = e.Message
	}
	return out
}
