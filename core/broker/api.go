package broker

import (
	"encoding/json"
	"time"

	"github.com/wabridge/wabridge/core"
)

// SendRequest asks for a message to be sent to a person.
type SendRequest struct {
	// Tenant and Number say who writes. Number may be empty when the tenant has
	// just one.
	Tenant string `json:"tenant"`
	Number string `json:"number,omitempty"`
	// Key makes the request idempotent: the same key sends once. Required.
	Key string `json:"-"`
	// Author is "human" when a person wrote it: the bot then keeps silent. By says
	// who.
	Author string `json:"author,omitempty"`
	By     string `json:"by,omitempty"`
	// Class is how urgent it is: "reply", "transaction" or "campaign". Left out, it is a
	// reply when a person wrote it, else a transaction.
	Class core.Class `json:"class,omitempty"`
	// Message is what to send: To and Type are required.
	Message core.Message `json:"message"`
}

// SendReceipt says that a message will be sent.
type SendReceipt struct {
	// ID is the event's: `wabridge why ID` tells what became of it.
	ID string `json:"id"`
	// Duplicate says that a request with this key was accepted before.
	Duplicate bool `json:"duplicate"`
}

// LaneState says whether a lane delivers.
type LaneState string

// The states of a lane.
const (
	LaneStarting LaneState = "starting" // the connector is not up yet
	LaneRunning  LaneState = "running"
	LaneWaiting  LaneState = "waiting" // asked to slow down
	LaneDown     LaneState = "down"    // the sink is out of reach; probing
	LaneSignIn   LaneState = "sign_in" // credentials refused; a person must renew them
	LaneStopped  LaneState = "stopped" // WhatsApp lets the number send nothing: see the alarms; or no lane has the queue
)

// LaneStatus describes a lane at one moment.
type LaneStatus struct {
	Tenant string    `json:"tenant"`
	Lane   string    `json:"lane"` // "wa/<number>" or "crm/<name>"
	Sink   string    `json:"sink"` // "whatsapp" or the connector's name
	State  LaneState `json:"state"`
	// Why and Until explain a state that is not running.
	Why   string    `json:"why,omitempty"`
	Until time.Time `json:"until,omitzero"`
	Since time.Time `json:"since"`

	Depth    int       `json:"depth"`
	InFlight int       `json:"in_flight"`       // deliveries at the sink now
	Limit    int       `json:"in_flight_limit"` // calls at once, adapted to how the sink bears it
	Held     int       `json:"held"`            // sends whose outcome is unknown
	Oldest   time.Time `json:"oldest,omitzero"`

	Delivered uint64     `json:"delivered"`
	Retried   uint64     `json:"retried"`
	Dead      uint64     `json:"dead"`
	LastError *LaneError `json:"last_error,omitempty"`
	// Budgets are what may still be spent at the CRM.
	Budgets []BudgetStatus `json:"budgets,omitempty"`
	// Pulled is when the CRM last said what happened there.
	Pulled time.Time `json:"pulled,omitzero"`
	// Mapping says how many rules of the lane's mapping are at work, if it has one.
	Mapping string `json:"mapping,omitempty"`
}

// LaneError is the last error that a lane saw.
type LaneError struct {
	Time  time.Time  `json:"time"`
	Event string     `json:"event,omitempty"`
	Error core.Error `json:"error"`
}

// QueueStatus describes a queue at one moment.
type QueueStatus struct {
	Tenant  string    `json:"tenant"`
	Queue   string    `json:"queue"`
	Depth   int       `json:"depth"`
	Leased  int       `json:"leased"`
	Waiting int       `json:"waiting"`
	Oldest  time.Time `json:"oldest,omitzero"`
	NextDue time.Time `json:"next_due,omitzero"`
	// State and Why are the lane's, where it is one that does not deliver now, or is
	// not in the configuration any more.
	State LaneState `json:"state,omitempty"`
	Why   string    `json:"why,omitempty"`
}

// Totals count since the start of the process.
type Totals struct {
	Accepted   uint64 `json:"accepted"`    // events stored
	Duplicates uint64 `json:"duplicates"`  // events dropped as seen before
	Decided    uint64 `json:"decided"`     // events decided
	Sent       uint64 `json:"sent"`        // messages WhatsApp accepted
	Written    uint64 `json:"written"`     // events CRMs took
	Dead       uint64 `json:"dead"`        // deliveries given up on
	ScriptErrs uint64 `json:"script_errs"` // decisions that fell back
	DoubleSend uint64 `json:"double_send"` // intents for which two wamids appeared
	Quarantine uint64 `json:"quarantine"`  // events of unknown numbers
	Messages   uint64 `json:"messages"`    // message.received accepted
}

// Snapshot describes the whole bridge at one moment.
type Snapshot struct {
	Time              time.Time     `json:"time"`
	Started           time.Time     `json:"started"`
	MessagesPerMinute float64       `json:"messages_per_minute"` // inbound, over the last minute
	Totals            Totals        `json:"totals"`
	Queues            []QueueStatus `json:"queues"`
	Lanes             []LaneStatus  `json:"lanes"`
	Tenants           []TenantInfo  `json:"tenants"`
	// Alarms are what somebody should look at.
	Alarms    []Alarm `json:"alarms"`
	Dead      int     `json:"dead"`    // dead letters waiting for a person
	Overdue   int     `json:"overdue"` // of these, past their deadline
	Full      bool    `json:"full"`    // the store refuses new events
	FileSize  int64   `json:"file_size"`
	FreeDisk  int64   `json:"free_disk"`
	CommitP99 float64 `json:"commit_p99_ms"`
}

// OnTheWay is how many events wait to be decided or delivered; timers, which
// wait for their time, are not among them.
func (s *Snapshot) OnTheWay() int {
	n := 0
	for _, q := range s.Queues {
		if q.Queue != queueTimers {
			n += q.Depth
		}
	}
	return n
}

// TenantInfo names a tenant and the script version that decides for it.
type TenantInfo struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Script string `json:"script,omitempty"` // version hash; empty without a script
	// ScriptState is "", "off" (switched off after hard kills) or "refused"
	// (the newest file was refused and the version before goes on).
	ScriptState string `json:"script_state,omitempty"`
	ScriptError string `json:"script_error,omitempty"`
	// Shadow is the version that decides beside it, nil when none does.
	Shadow *ShadowInfo `json:"shadow,omitempty"`
	// Plugins are the processes behind its CRM lanes.
	Plugins []PluginInfo `json:"plugins,omitempty"`
}

// PluginInfo describes the process behind a lane.
type PluginInfo struct {
	Lane      string `json:"lane"`
	Connector string `json:"connector"`
	// Phase is starting, running, backoff, quarantined, disabled or stopped.
	Phase   string `json:"phase"`
	Version string `json:"version,omitempty"`
	// SHA256 is what the process was started from: empty for what is built in.
	// Wanted is what the next one is started from.
	SHA256  string `json:"sha256,omitempty"`
	Wanted  string `json:"wanted,omitempty"`
	PID     int    `json:"pid,omitempty"`
	Starts  int    `json:"starts"`
	Crashes int    `json:"crashes"`
	// Error is why the last of the crashes happened, Refused why a new version is not
	// taken up: the one before goes on.
	Error   string `json:"error,omitempty"`
	Refused string `json:"refused,omitempty"`
}

// ShadowInfo describes a version whose decisions are compared and thrown away.
type ShadowInfo struct {
	Version string    `json:"version"`
	Until   time.Time `json:"until"`
	Decided int       `json:"decided"`
	Changed int       `json:"changed"` // of these, other than the version at work
	Failed  int       `json:"failed"`  // of these, because it failed
}

// DeadLetter is a delivery given up on, as people see it.
type DeadLetter struct {
	ID       string          `json:"id"`
	Tenant   string          `json:"tenant"`
	Lane     string          `json:"lane"`
	Event    json.RawMessage `json:"event"`
	Reason   core.Error      `json:"reason"`
	Attempts int             `json:"attempts"`
	Died     time.Time       `json:"died"`
	Deadline time.Time       `json:"deadline"`
	// Held says that the outcome is unknown: replaying may send twice.
	Held bool `json:"held,omitempty"`
}

// Story is everything the bridge remembers about one event and what followed.
type Story struct {
	ID    string `json:"id"`
	Root  string `json:"root"`
	Steps []Step `json:"steps"`
	// Waiting lists what is still on its way.
	Waiting []string `json:"waiting,omitempty"`
}

// Step is one entry of the trace: one thing that was done to one event.
type Step struct {
	Time         time.Time `json:"time"`
	Event        string    `json:"event"`
	Kind         core.Kind `json:"kind"`
	Tenant       string    `json:"tenant"`
	Conversation string    `json:"conversation,omitempty"`
	// Step is "accepted", "decided", "delivered", "waits", "retry", "held", "dead",
	// "settled", "resolved" or "dropped".
	Step string `json:"step"`
	Lane string `json:"lane,omitempty"`
	// Written is when the event happened, as its source says, Accepted when the
	// bridge took it; of the first step of an event that came from outside.
	Written  time.Time `json:"written,omitzero"`
	Accepted time.Time `json:"accepted,omitzero"`
	Source   string    `json:"source,omitempty"`
	// Who says whose the event is, and by what they were recognised.
	Who string `json:"who,omitempty"`
	// Attempt is the attempt that ended.
	Attempt int `json:"attempt,omitempty"`
	// Script is the version that decided; Line where in it.
	Script string `json:"script,omitempty"`
	Line   string `json:"line,omitempty"`
	// Notes say why, in words: what the policy did, what the script logged.
	Notes []string `json:"notes,omitempty"`
	// Follows are the IDs of the events that this step made.
	Follows []string `json:"follows,omitempty"`
	// Ref is what the sink calls what it made.
	Ref   string      `json:"ref,omitempty"`
	Error *core.Error `json:"error,omitempty"`
	// Until is when something that waits is due, and Limit the limit that it waits for, if
	// it is one.
	Until time.Time `json:"until,omitzero"`
	Limit string    `json:"limit,omitempty"`
	// Took is how long the step took, in milliseconds.
	Took float64 `json:"took_ms,omitempty"`
	// Recorded is what the script was asked and answered, of a step in which it
	// was.
	Recorded *Recorded `json:"recorded,omitempty"`
}

// The operations of a Broker that people and the HTTP API use:
//
//	Accept(ctx, []core.Event) error               store events (webhooks); nil means durable
//	Send(ctx, SendRequest) (SendReceipt, error)   POST /api/v1/messages
//	Why(ctx, tenant, id) (Story, error)           tenant "" looks in all
//	Decisions(ctx, DecisionQuery) (DecisionPage, error)  recorded decisions
//	Snapshot() Snapshot                           cheap enough for each second
//	Dead(ctx, tenant, after, limit) ([]DeadLetter, error)
//	DeadLetter(ctx, id) (DeadLetter, error)
//	Replay(ctx, ids...) error, Resolve(ctx, note, ids...) error
//	Peek(ctx, tenant, queue, after, limit) ([]QueueItem, error)
//	Ready() error                                 nil when events are accepted

// QueueItem is an event waiting in a queue.
type QueueItem struct {
	Seq     uint64          `json:"seq"`
	ID      string          `json:"id"`
	Order   string          `json:"order,omitempty"`
	Attempt int             `json:"attempt"`
	Added   time.Time       `json:"added"`
	Event   json.RawMessage `json:"event"`
}
