package core

import "encoding/json"

// KindTimer says that a timer of a conversation is due (Timer is set). The
// bridge makes such events itself; no sink gets them.
const KindTimer Kind = "timer.due"

// KindEscalationHanded says that a target has an escalation. The bridge makes
// such events itself, where it is not at once clear; no sink gets them.
const KindEscalationHanded Kind = "escalation.handed"

// Assignee is the person of a team that an escalation is given to.
type Assignee struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	// Email and CRMOwner say how the person is reached, and what they are called
	// in the CRM.
	Email    string `json:"email,omitempty"`
	CRMOwner string `json:"crm_owner,omitempty"`
}

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
