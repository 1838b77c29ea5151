package core

import "time"

// KindContactErased asks a CRM to erase what it has of a contact: the person, or
// the law, wants it. Contact has the ID and the addresses by which a CRM may
// know the contact, and nothing else.
const KindContactErased Kind = "contact.erased"

// KindContactGone comes from a CRM: its record of a contact, ContactRef, was deleted
// there, or merged into another. The contact stays; what is next written of it goes
// to a new record, or to the one that was kept. A record that the bridge knows
// nothing of is no news.
const KindContactGone Kind = "contact.gone"

// KindContactMerged says that two contacts turned out to be one person (Merge is set):
// Contact is the one that stays, Merge.Contact the one that went. Where a CRM has a
// record of each, it is to end with one. What is written afterwards is of the one that
// stays; what was on its way of the other is delivered before.
const KindContactMerged Kind = "contact.merged"

// ContactMerge says which contact became another.
type ContactMerge struct {
	// Contact is the one that went, as it was: a CRM may have a record under its ID.
	Contact Contact `json:"contact"`
	// Ref is what the CRM calls its record of that contact, where the bridge knows.
	Ref string `json:"ref,omitempty"`
	// Since is when the bridge came to know the contact that went, KeptSince the one that
	// stays. The record of a contact that was there before the bridge knew of them is
	// not of its making.
	Since     time.Time `json:"since,omitzero"`
	KeptSince time.Time `json:"kept_since,omitzero"`
}

// IdentityChange says that a person is reached otherwise than before. It comes
// with a message of type "system" that WhatsApp writes itself.
type IdentityChange struct {
	// Type is WhatsApp's word: "user_changed_number", "user_changed_user_id" or
	// "customer_identity_changed".
	Type string `json:"type"`
	// Phone, BSUID and ParentBSUID are what is so from now on, where it says.
	Phone       string `json:"phone,omitempty"`
	BSUID       string `json:"bsuid,omitempty"`
	ParentBSUID string `json:"parent_bsuid,omitempty"`
	// PreviousBSUID is what the user id was. What the phone number was is the
	// event's Contact.Phone.
	PreviousBSUID string `json:"previous_bsuid,omitempty"`
}
