package core

// KindContactErased asks a CRM to erase what it has of a contact: the person, or
// the law, wants it. Contact has the ID and the addresses by which a CRM may
// know the contact, and nothing else.
const KindContactErased Kind = "contact.erased"

// KindContactGone comes from a CRM: its record of a contact, ContactRef, was deleted
// there, or merged into another. The contact stays; what is next written of it goes
// to a new record, or to the one that was kept. A record that the bridge knows
// nothing of is no news.
const KindContactGone Kind = "contact.gone"

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
