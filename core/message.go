package core

import (
	"encoding/json"
	"time"
)

// MessageType is the type of a message in the words of the Cloud API.
type MessageType string

// The message types that the bridge models. Inbound messages of other types
// keep their type's name and are passed on with [Event.Raw].
const (
	TypeText        MessageType = "text"
	TypeImage       MessageType = "image"
	TypeAudio       MessageType = "audio"
	TypeVideo       MessageType = "video"
	TypeDocument    MessageType = "document"
	TypeSticker     MessageType = "sticker"
	TypeLocation    MessageType = "location"
	TypeContacts    MessageType = "contacts"
	TypeButton      MessageType = "button"      // inbound: quick reply of a template
	TypeInteractive MessageType = "interactive" // inbound: button or list reply; outbound: any interactive object
	TypeReaction    MessageType = "reaction"
	TypeOrder       MessageType = "order"
	TypeSystem      MessageType = "system"
	TypeUnsupported MessageType = "unsupported"
	TypeTemplate    MessageType = "template" // outbound only
	TypeRead        MessageType = "read"     // outbound only: mark Context.ID as read
)

// Direction says who wrote a message.
type Direction string

// The two directions, seen from the business.
const (
	Inbound  Direction = "in"
	Outbound Direction = "out"
)

// Message is what is said.
type Message struct {
	// ID is WhatsApp's id (wamid); empty until WhatsApp has accepted it.
	ID        string      `json:"id,omitempty"`
	Direction Direction   `json:"direction"`
	Type      MessageType `json:"type"`
	// To is where an outbound message goes.
	To Address `json:"to,omitzero"`
	// Text is what a person would read: the body, a caption, the title of the
	// button pressed.
	Text       string `json:"text,omitempty"`
	PreviewURL bool   `json:"preview_url,omitempty"`
	// Typing has a message of TypeRead also show that somebody is typing, until there
	// is an answer or for 25 s.
	Typing bool `json:"typing,omitempty"`

	// Media is the message's file; with a template, by its Hash, the file of its header.
	Media    *Media          `json:"media,omitempty"`
	Location *Location       `json:"location,omitempty"`
	Reaction *Reaction       `json:"reaction,omitempty"`
	Reply    *Reply          `json:"reply,omitempty"`
	Context  *MessageContext `json:"context,omitempty"`
	Template *Template       `json:"template,omitempty"`
	// Await has the conversation's next message wait until this one is StatusSent or
	// StatusDelivered, has failed, or has had its time: WhatsApp keeps no order.
	Await StatusValue `json:"await,omitempty"`
	// Fallback is the template that goes instead of a message that is none, if the
	// 24-hour window is closed when it is sent.
	Fallback *Template `json:"fallback,omitempty"`
	// Contacts holds shared contact cards, as the Cloud API writes them.
	Contacts json.RawMessage `json:"contacts,omitempty"`
	// Interactive is the Cloud API's interactive object of an outbound message.
	Interactive json.RawMessage `json:"interactive,omitempty"`
	// Referral says which ad a person came from.
	Referral *Referral       `json:"referral,omitempty"`
	Order    *Order          `json:"order,omitempty"`
	Calls    *CallPermission `json:"calls,omitempty"`
	// Of a message of TypeUnsupported, Unsupported is WhatsApp's word for what it was,
	// such as poll, and Error says why there is nothing to be seen.
	Unsupported string       `json:"unsupported,omitempty"`
	Error       *StatusError `json:"error,omitempty"`
}

// Media describes a file; the bytes are fetched apart.
type Media struct {
	ID string `json:"id,omitempty"` // media id, lives 7 days when inbound
	// Link is an address: outbound, one that WhatsApp fetches; on [KindMessageMedia], where
	// the bridge has the file. Who has it may fetch the file, until it expires.
	Link     string `json:"link,omitempty"`
	MIMEType string `json:"mime_type,omitempty"`
	SHA256   string `json:"sha256,omitempty"` // base64, as the Cloud API gives it
	Filename string `json:"filename,omitempty"`
	Voice    bool   `json:"voice,omitempty"`
	Animated bool   `json:"animated,omitempty"`
	// Hash names the file in the bridge's store: its SHA-256, in lower-case hexadecimal. A
	// message to be sent may have it instead of ID and Link, of a file that was put there.
	// Size is in bytes.
	Hash string `json:"hash,omitempty"`
	Size int64  `json:"size,omitempty"`
}

// Location is a point on the map.
type Location struct {
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
	Name      string  `json:"name,omitempty"`
	Address   string  `json:"address,omitempty"`
	URL       string  `json:"url,omitempty"`
}

// Reaction is an emoji on an earlier message. An empty Emoji takes it back.
type Reaction struct {
	MessageID string `json:"message_id"`
	Emoji     string `json:"emoji,omitempty"`
}

// Reply is the answer to buttons, a list or a form that we sent.
type Reply struct {
	// Kind is "button", "list", "template_button", "flow" or the Cloud API's
	// own word for a newer one.
	Kind        string `json:"kind"`
	ID          string `json:"id,omitempty"` // ours: button or row id, template payload
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	// Response is the JSON text of a form's answer.
	Response string `json:"response,omitempty"`
}

// MessageContext points to the message that this one answers or forwards.
type MessageContext struct {
	ID        string `json:"id,omitempty"`
	From      string `json:"from,omitempty"`
	Forwarded bool   `json:"forwarded,omitempty"`
	// Often says that it was forwarded many times, Product what a question is about.
	Often   bool     `json:"often,omitempty"`
	Product *Product `json:"product,omitempty"`
}

// Template is an outbound template message.
type Template struct {
	Name     string `json:"name"`
	Language string `json:"language"`
	// Components is the Cloud API's components array. Whoever asks for a message may
	// say it in short instead, by the fields below: a template that is read has
	// Components, and they are empty.
	Components json.RawMessage `json:"components,omitempty"`
	// Params are the values of the body's variables: a list of texts in their order,
	// or an object of texts by their names.
	Params json.RawMessage `json:"params,omitempty"`
	// Header is what its header holds.
	Header *TemplateHeader `json:"header,omitempty"`
	// Buttons are values of the buttons that have variables.
	Buttons []TemplateButton `json:"buttons,omitempty"`
	// Cards are those of a carousel, in order.
	Cards []TemplateCard `json:"cards,omitempty"`
	// OfferEnds is when a limited-time offer does.
	OfferEnds time.Time `json:"offer_ends,omitzero"`
}
