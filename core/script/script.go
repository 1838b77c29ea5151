// Package script lets a tenant's JavaScript or TypeScript decide about events.
//
// A script is a function from an event and its context to actions. It has no
// network, no files, no clock but the one it is given, no randomness but the
// seeded one, and no memory from one event to the next: the same call gives the
// same decision, today and in a replay. It decides; the bridge acts.
//
// No line of a script is ever parsed, compiled or run in the bridge's own
// process. Each tenant has a worker process, which the [Engine] starts from the
// bridge's own executable and feeds over a socket pair. A worker has an empty
// environment, a bounded memory, no files and no network; a script that loops
// is interrupted, then its worker is killed, and only the event that caused it
// is affected. What a worker says is checked like anything else from outside.
//
// The contract for authors of scripts is in scripts/README.md and
// scripts/wabridge.d.ts.
package script

import (
	"time"

	"github.com/wabridge/wabridge/core"
)

// Limits of what goes in and out of a worker.
const (
	MaxSource = 1 << 20   // bytes of a script, all files together
	MaxInput  = 256 << 10 // bytes of one call's event and context together
	MaxOutput = 256 << 10 // bytes of one call's decision

	MaxActions = 32   // actions of one call
	MaxFields  = 200  // fields of one mapToCRM
	MaxText    = 4096 // characters of a reply, a field's value or a note
	MaxCaption = 1024 // characters of a file's caption
	MaxName    = 100  // characters of a tag, a field's name or a team
	MaxData    = 4096 // bytes of a timer's data, as JSON
	MaxAfter   = 366 * 24 * time.Hour
	MaxLog     = 20 // console lines of one call; MaxLogLine bytes each
	MaxLogLine = 500
)

// Version is a script that was checked and is in use.
type Version struct {
	// Hash is short and the same for the same Source.
	Hash string
	Name string
	// Hooks are those that the script has: only these need to be asked for.
	Hooks    Hooks
	LoadedAt time.Time
}

// Call asks for one decision.
type Call struct {
	// Event is the JSON of a core.Event.
	Event []byte
	// Context is a JSON object; the hooks see it with `now` added.
	Context []byte
	// Hooks are those to run; those that the script does not have are left out.
	Hooks Hooks
	// Now is the time that the script sees.
	Now time.Time
	// Seed makes Math.random.
	Seed int64
	// Version, unless empty, is the hash of the version that is to decide. It does
	// if it is the one loaded, or that was before; otherwise the one loaded does.
	Version string
}

// Decision is what the hooks of one call decided.
type Decision struct {
	// Actions are what onMessage, onStatus, onTimer or onContactChange asked for;
	// none when Err is set.
	Actions []Action
	// Answer is what that hook returned, as JSON that the script made; empty when
	// it returned nothing.
	Answer string
	// Changes are mapFromCRM's: tag, untag and setField.
	Changes []Action
	// Veto is beforeSend's reason against the message, or empty.
	Veto string
	// Route is what route says about a hand-over; nil when it says nothing.
	Route *Routing
	// Fields are mapToCRM's: strings, float64s, bools and nils. They can be
	// there when onMessage failed.
	Fields map[string]any
	// Version is the hash of the script that ran; empty when none did.
	Version string
	// Log holds what the script wrote to its console.
	Log []string
	// Err says why the call failed: CodeInvalid for the script's own mistakes
	// (it threw, took too long, returned nonsense), CodeInternal when its worker
	// died or had to be killed or the script is switched off, CodeUnavailable
	// when there was no worker to ask.
	Err *core.Error
	// Line is where it threw or was stopped: "script.ts:12".
	Line string
	// Ran is how long the hooks took, Waited how long the call waited for a
	// worker before.
	Ran    time.Duration
	Waited time.Duration
}

// Routing is where a hand-over goes. What is empty stays as it was.
type Routing struct {
	Team     string
	Owner    string // one person
	Priority string // "low", "normal" or "high"
	// Deadline is by when a person should have answered, from now on; 0 is the
	// team's.
	Deadline time.Duration
}

// The types of actions.
const (
	ActionReply       = "reply"
	ActionTag         = "tag"
	ActionUntag       = "untag"
	ActionSetField    = "setField"
	ActionEscalate    = "escalate"
	ActionTimer       = "timer"
	ActionCancelTimer = "cancelTimer"
	ActionConsent     = "consent"
)

// Action is one thing that a script asks for. Which fields are set depends on
// Type.
type Action struct {
	Type string
	// Text is a plain reply's.
	Text string
	// Message is a reply that is more than text: a template or an interactive
	// message.
	Message *core.Message
	// Confidence says how sure the script is of a reply, 0 to 1; nil when it does
	// not say.
	Confidence *float64
	// Tag is what to add or to remove.
	Tag string
	// Name and Value are a contact's field; an empty Value removes it. Name is a
	// timer's, too.
	Name  string
	Value string
	// After is when a timer is due, Data the JSON that it brings back, or nil.
	After time.Duration
	Data  []byte
	// Topic, Team, Reason, Note and Priority are an escalation's. Topic is
	// "complaint", "request", "keyword", "messages", "low_confidence", the
	// script's own word or "". Priority is "", "low", "normal" or "high".
	Topic    string
	Team     string
	Reason   string
	Note     string
	Priority string
	// Level, State and Evidence are what a contact said about being written to:
	// "marketing", and "granted" or "withdrawn".
	Level    string
	State    string
	Evidence string
	// Line is where in the script the action was made, "script.ts:12", or
	// empty.
	Line string
}
