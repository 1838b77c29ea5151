package core

import "time"

// What people do in WhatsApp beside writing messages.

// KindMessageEdited says that a message is another now (Message is set: its ID is that
// of the message, and the rest what it now is). Direction says whose it is.
const KindMessageEdited Kind = "message.edited"

// KindMessageRevoked says that who wrote a message took it back. Message has its ID,
// its direction and the type [TypeRevoke], and no text.
const KindMessageRevoked Kind = "message.revoked"

// KindMessageMedia says that the bridge has the file of an earlier message (Message is set:
// the message as it was, and in its Media the Link, Hash and Size of the file). The message
// itself was told before, since files take their time.
const KindMessageMedia Kind = "message.media"

// KindThreadMoved says that the conversation is another app's now, or ours again
// (Standby says which). Messages that come while it is another app's have Standby, too.
const KindThreadMoved Kind = "thread.moved"

// KindGroupChanged says what became of a group (Group and GroupChange are set).
const KindGroupChanged Kind = "group.changed"

// GroupChange is what became of a group.
type GroupChange struct {
	// Type is WhatsApp's word, such as group_create.
	Type        string    `json:"type"`
	Subject     string    `json:"subject,omitempty"`
	Description string    `json:"description,omitempty"`
	Joined      []Address `json:"joined,omitempty"`
	Left        []Address `json:"left,omitempty"`
}

// Further message types.
const (
	TypeRevoke         MessageType = "revoke"
	TypeRequestWelcome MessageType = "request_welcome" // the person opened the chat for the first time
)

// Order is what a person ordered from the catalog.
type Order struct {
	Catalog string      `json:"catalog,omitempty"`
	Note    string      `json:"note,omitempty"` // what they wrote with it
	Items   []OrderItem `json:"items"`
	// Total is the sum of the items in Currency, exact; empty when they are not all
	// of one currency, or a price is missing.
	Total    string `json:"total,omitempty"`
	Currency string `json:"currency,omitempty"`
}

// OrderItem is a product of an order.
type OrderItem struct {
	Product  string  `json:"product"` // the business's own id of it (product_retailer_id)
	Quantity float64 `json:"quantity"`
	Price    string  `json:"price,omitempty"` // of one, as WhatsApp wrote the number
	Currency string  `json:"currency,omitempty"`
}

// Product is one of the catalog, which a message is about.
type Product struct {
	Catalog string `json:"catalog,omitempty"`
	ID      string `json:"id"` // the business's own (product_retailer_id)
}

// Referral is the ad or post that led a person to write. Its JSON has the names of the
// Cloud API.
type Referral struct {
	URL string `json:"source_url,omitempty"`
	ID  string `json:"source_id,omitempty"`
	// Type is "ad" or "post".
	Type      string `json:"source_type,omitempty"`
	Headline  string `json:"headline,omitempty"`
	Body      string `json:"body,omitempty"`
	MediaType string `json:"media_type,omitempty"`
	ImageURL  string `json:"image_url,omitempty"`
	VideoURL  string `json:"video_url,omitempty"`
	Thumbnail string `json:"thumbnail_url,omitempty"`
	// Click is WhatsApp's id of the click, which ads are told of conversions by; not
	// all placements have one.
	Click string `json:"ctwa_clid,omitempty"`
	// Welcome is what the chat greeted the person with.
	Welcome string `json:"welcome,omitempty"`
}

// CallPermission answers whether the business may call.
type CallPermission struct {
	Granted bool `json:"granted"`
	// Until is when it ends; zero when WhatsApp does not say. Permanent has no end.
	Until     time.Time `json:"until,omitzero"`
	Permanent bool      `json:"permanent,omitempty"`
	// Source is WhatsApp's word, such as user_action or automatic.
	Source string `json:"source,omitempty"`
}
