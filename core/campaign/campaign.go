// Package campaign is the arithmetic of campaigns: one template to many people. It
// knows how far a campaign and each of its rows have come, what a row's parameters are,
// which rows go first, and when a campaign must stop by itself. It stores nothing and
// sends nothing.
package campaign

import (
	"slices"
	"time"

	"github.com/wabridge/wabridge/core/rate"
)

// State is how far a campaign has come.
type State string

// The states of a campaign.
const (
	Draft    State = "draft"    // rows may be added
	Planning State = "planning" // who gets it is being found out
	Planned  State = "planned"  // who gets it is known, and nobody has
	Canary   State = "canary"   // the first share is being sent, and looked at
	Running  State = "running"
	Paused   State = "paused" // by a person, or by itself: Campaign.Why says
	Done     State = "done"
	Stopped  State = "stopped" // for good
)

// Live reports whether rows are sent, now or once it is resumed.
func (s State) Live() bool { return s == Canary || s == Running || s == Paused }

// Over reports whether nothing will ever change any more but what statuses tell.
func (s State) Over() bool { return s == Done || s == Stopped }

// RowState is how far a row has come.
type RowState string

// The states of a row.
const (
	RowListed    RowState = "listed"    // nobody has looked whether it may be sent
	RowPlanned   RowState = "planned"   // it is to be sent
	RowExcluded  RowState = "excluded"  // it is not sent: Row.Why says
	RowQueued    RowState = "queued"    // on its way
	RowUnknown   RowState = "unknown"   // it may have been sent; a person decides
	RowSent      RowState = "sent"      // WhatsApp has it
	RowDelivered RowState = "delivered" // the person has it
	RowRead      RowState = "read"
	RowFailed    RowState = "failed" // Row.Why says
)

// RowStates are all of them, in the order in which a row comes to them.
func RowStates() []RowState {
	return []RowState{RowListed, RowPlanned, RowExcluded, RowQueued, RowUnknown, RowSent, RowDelivered, RowRead, RowFailed}
}

var nexts = map[RowState][]RowState{
	RowQueued:    {RowExcluded, RowUnknown, RowSent, RowDelivered, RowRead, RowFailed},
	RowUnknown:   {RowSent, RowDelivered, RowRead, RowFailed},
	RowFailed:    {RowSent, RowDelivered, RowRead}, // sent again by a person
	RowExcluded:  {RowSent, RowDelivered, RowRead}, // likewise
	RowSent:      {RowDelivered, RowRead, RowFailed},
	RowDelivered: {RowRead},
}

// Advances reports whether news of next is a step forward for a row that was sent off:
// news comes doubled, and statuses in any order.
func (s RowState) Advances(next RowState) bool { return slices.Contains(nexts[s], next) }

// Ended reports whether nothing of the row is on its way.
func (s RowState) Ended() bool {
	return s != RowListed && s != RowPlanned && s != RowQueued
}

// Reasons why a row is not sent, to count by.
const (
	Invalid    = "invalid"    // the list is wrong there
	Duplicate  = "duplicate"  // the person has another row
	NoConsent  = "no consent" // to what the template's category needs
	Suppressed = "suppressed" // STOP, a complaint, a block
	NoAddress  = "no address" // that the template may be sent to
	NoValue    = "no value"   // for a parameter
	NoTemplate = "template"   // WhatsApp sends nothing with it, or the message does not fit
	Erased     = "erased"
	Refused    = "refused" // by the policy, when it was to be sent
)

// Row is one recipient. Its values are as they were when it was planned.
type Row struct {
	// N is its place in the list: the line of the file, or counted.
	N int `json:"n"`
	// Contact is the person's ID, To the address that the list has if it is not the
	// contact's first.
	Contact string `json:"contact,omitempty"`
	To      string `json:"to,omitempty"`
	// Ref is the CRM's record that it comes from, where the audience is a CRM's segment.
	Ref string `json:"ref,omitempty"`
	// Columns are the list's own, as far as the template needs them.
	Columns map[string]string `json:"columns,omitempty"`
	// Bad is what is wrong with the row whatever else is true, Reason its kind.
	Bad string `json:"bad,omitempty"`
	// Values are the template's parameters, frozen: one for each of Template.Slots.
	Values []string `json:"values,omitempty"`
	// Ordinal counts the rows that are to be sent, from 0.
	Ordinal int      `json:"ordinal,omitempty"`
	State   RowState `json:"state"`
	// Reason is the kind of Why; both say why it was excluded or failed.
	Reason string `json:"reason,omitempty"`
	Why    string `json:"why,omitempty"`
	// Code is WhatsApp's error.
	Code int `json:"code,omitempty"`
	// NotBefore is until when it is night where the person is.
	NotBefore time.Time `json:"not_before,omitzero"`
	// MessageID is WhatsApp's (wamid), Event ours: see `wabridge why`.
	MessageID string    `json:"message_id,omitempty"`
	Event     string    `json:"event,omitempty"`
	At        time.Time `json:"at,omitzero"` // of the latest step
}

// First says which share of a campaign goes first, and what must come of it.
type First struct {
	// Percent of the rows, or so many Rows, are sent first; both 0 is none.
	Percent float64 `json:"percent,omitempty"`
	Rows    int     `json:"rows,omitempty"`
	// Wait is how long to wait for what becomes of them, such as "30m"; "" is an hour.
	Wait string `json:"wait,omitempty"`
}

// WaitFor is Wait.
func (f *First) WaitFor() time.Duration {
	if d, err := time.ParseDuration(f.Wait); err == nil {
		return d
	}
	return time.Hour
}

// Count is how many of so many rows go first.
func (f *First) Count(planned int) int {
	n := f.Rows
	if n == 0 && f.Percent > 0 {
		n = max(1, int(float64(planned)*f.Percent/100))
	}
	return min(n, planned)
}

// GoesFirst reports whether the row of an ordinal is one of the first of so many: they
// are spread evenly over the list, so that they are like the others.
func GoesFirst(ordinal, first, planned int) bool {
	return first > 0 && (ordinal+1)*first/planned > ordinal*first/planned
}

// Plan is what a dry run found.
type Plan struct {
	At   time.Time `json:"at"`
	Rows int       `json:"rows"`
	// Planned are to be sent, Excluded are not, by reason.
	Planned  int            `json:"planned"`
	Excluded map[string]int `json:"excluded,omitempty"`
	// Night is for how many of those it is night now: they wait until NightEnds.
	Night     int       `json:"night,omitempty"`
	NightEnds time.Time `json:"night_ends,omitzero"`
	// Begins are people whom the business has to begin with, because their service
	// window is closed: so many a day WhatsApp allows.
	Begins int `json:"begins,omitempty"`
	// Category is the template's at WhatsApp now.
	Category string    `json:"category"`
	Cost     rate.Cost `json:"cost"`
	// Finishes is when it would be done if it were started at once, Bounds what it
	// waits for.
	Finishes time.Time `json:"finishes,omitzero"`
	Bounds   []string  `json:"bounds,omitempty"`
}
