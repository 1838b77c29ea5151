package broker

import "github.com/wabridge/wabridge/core"

// classAsked returns the class of a message that the API or a CRM asks for: the one
// that they say, or what follows from its author.
func classAsked(said core.Class, author string) (core.Class, error) {
	switch {
	case said != "":
		return said, said.Validate()
	case author == core.AuthorHuman:
		return core.ClassReply, nil
	}
	return core.ClassTransaction, nil
}
