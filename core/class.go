package core

// Class says how urgent a message to send is: what goes first when not everything can
// go at once. Within a conversation the order stays as it is: a message of a conversation
// in which somebody waits for a reply goes as soon as the reply.
type Class string

// The classes, the most urgent first.
const (
	// ClassReply answers somebody who waits: what a script says to a message, and what a
	// person writes.
	ClassReply Class = "reply"
	// ClassTransaction is about something that one person did or gets: what the API and
	// CRMs send, unless they say otherwise.
	ClassTransaction Class = "transaction"
	// ClassCampaign is one of many, and can wait.
	ClassCampaign Class = "campaign"
)

// Classes lists the classes, the most urgent first.
func Classes() []Class { return []Class{ClassReply, ClassTransaction, ClassCampaign} }

// Validate reports whether the class is one of Classes.
func (c Class) Validate() error {
	switch c {
	case ClassReply, ClassTransaction, ClassCampaign:
		return nil
	}
	return Errorf(CodeInvalid, "class", "%.40q is none: want reply, transaction or campaign", string(c))
}
