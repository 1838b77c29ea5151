package core

import "time"

// KindCorrection takes back what a version of the script wrote of a contact, where
// it still is what that version wrote (Correction is set). The bridge makes such
// events itself; no sink gets them, but what follows from them: a contact.changed
// with CRM properties in Fields, and with an Escalation when the reason of the last
// one, which a sink may keep beside the contact, was another. Nobody is called.
const KindCorrection Kind = "contact.correct"

// What a correction may change.
const (
	CorrectTag        = "tag"        // Was and Want say whether the contact has it
	CorrectField      = "field"      // of the contact: texts, "" is none
	CorrectCRM        = "crm"        // a property that mapToCRM gave the CRM; nil is none
	CorrectEscalation = "escalation" // the reason of the last escalation at the CRM
)

// Correction is what another version of the script would have written.
type Correction struct {
	// From is the version that decided, To the one that would have decided
	// otherwise.
	From    string   `json:"from"`
	To      string   `json:"to"`
	Changes []Change `json:"changes"`
}

// Change is one thing of a contact that is to be another.
type Change struct {
	What string `json:"what"`
	Name string `json:"name,omitempty"`
	// Was is what was written, Want what would have been.
	Was  any `json:"was"`
	Want any `json:"want"`
	// At is when it was written: what the CRM told of since is not overwritten.
	At time.Time `json:"at,omitzero"`
}
