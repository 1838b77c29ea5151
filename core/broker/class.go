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

// classOf is the class of an event in a queue. Whoever wrote, or is answered, waits;
// nobody waits for what is told of a message of ours.
func classOf(e *core.Event) int {
	switch {
	case e.Class == core.ClassCampaign:
		return 2
	case e.Class == core.ClassTransaction || e.Kind == core.KindMessageStatus:
		return 1
	}
	return 0
}
