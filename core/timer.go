package core

import "encoding/json"

// KindTimer says that a timer of a conversation is due (Timer is set). The
// bridge makes such events itself; no sink gets them.
const KindTimer Kind = "timer.due"

// Timer is what was set to happen later in a conversation.
type Timer struct {
	// Name is unique within the conversation: setting it again replaces it.
	Name string `json:"name"`
	// Data is what whoever set the timer wants to find again.
	Data json.RawMessage `json:"data,omitempty"`
	// Generation tells a timer from one of the same name that was set before
	// and replaced or cancelled since.
	Generation int `json:"generation,omitempty"`
}
