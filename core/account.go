package core

import "time"

// KindAccountChanged is what WhatsApp says of a business account or of one of its
// numbers (AccountChange is set).
const KindAccountChanged Kind = "account.changed"

// AccountChange is what WhatsApp says of a business account or of a number.
type AccountChange struct {
	// Field is the webhook's: "account_update", "security", …; Event is WhatsApp's own
	// word, such as ACCOUNT_RESTRICTION.
	Field string `json:"field"`
	Event string `json:"event,omitempty"`
	// Account is the id of the business account, and Display the number that it is about,
	// as people write it; empty for the whole account.
	Account string `json:"account,omitempty"`
	Display string `json:"display,omitempty"`
	// Text says what happened, for people.
	Text string `json:"text"`
	// Alarm is set when somebody should look: "warning", or "critical" when messages are
	// not sent, or somebody may be taking the account over. About names what it is about,
	// so that what is said later of the same replaces it; with Over it is over.
	Alarm string `json:"alarm,omitempty"`
	About string `json:"about,omitempty"`
	Over  bool   `json:"over,omitempty"`
	// Stops are what may not be sent. They replace those that were told of before; nil
	// says nothing of them.
	Stops *[]Stop `json:"stops,omitempty"`
}

// Stop is what WhatsApp does not let a business send.
type Stop struct {
	// What is "all", "begins" (what the business begins: outside of service windows) or
	// "replies" (within them).
	What string `json:"what"`
	// Until is when it ends by itself; zero when WhatsApp does not say.
	Until time.Time `json:"until,omitzero"`
}

// The values of Stop.What.
const (
	StopAll     = "all"
	StopBegins  = "begins"
	StopReplies = "replies"
)
