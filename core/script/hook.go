package script

import "strings"

// Hooks is a set of a script's functions. Each is called with an event and its
// context.
type Hooks uint16

// The hooks. Of the first four a call asks for one at most: they return actions.
const (
	OnMessage       Hooks = 1 << iota // a message came
	OnStatus                          // a message of ours moved forward
	OnTimer                           // a timer is due
	OnContactChange                   // a contact changed, not by this script
	MapToCRM                          // fields for the CRM that go with a message
	MapFromCRM                        // what a change at the CRM means for the contact
	Route                             // where a hand-over goes (event.escalation)
	BeforeSend                        // a veto against a message (event.message)
)

const allHooks = BeforeSend<<1 - 1

// actionHooks are those that return actions.
const actionHooks = OnMessage | OnStatus | OnTimer | OnContactChange

// hookNames are the names in scripts, in the order of the bits.
var hookNames = []string{
	"onMessage", "onStatus", "onTimer", "onContactChange", "mapToCRM", "mapFromCRM", "route", "beforeSend",
}

// Has reports whether one of the given hooks is in the set.
func (h Hooks) Has(one Hooks) bool { return h&one != 0 }

// Names returns the names that scripts use.
func (h Hooks) Names() []string {
	var names []string
	for i, name := range hookNames {
		if h.Has(1 << i) {
			names = append(names, name)
		}
	}
	return names
}

// String returns the names, separated by commas.
func (h Hooks) String() string { return strings.Join(h.Names(), ", ") }
