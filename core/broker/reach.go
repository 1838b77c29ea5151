package broker

import (
	"slices"
	"time"

	"github.com/wabridge/wabridge/core"
)

// undeliverable is what WhatsApp says when a number is not on it, or cannot get
// messages for a reason that it does not tell (error 131026).
const undeliverable = 131026

// reachable takes note that the person wrote: their number works.
func (u *turn) reachable() {
	if !u.person.Undeliverable.IsZero() {
		u.person.Undeliverable, u.contactChanged = time.Time{}, true
	}
}

// reached takes note of what a status says of the person's number.
func (u *turn) reached(st *core.Status) {
	switch {
	case st.Value == core.StatusDelivered || st.Value == core.StatusRead:
		u.reachable()
	case st.Value == core.StatusFailed && slices.ContainsFunc(st.Errors, func(e core.StatusError) bool { return e.Code == undeliverable }):
		u.person.Undeliverable, u.contactChanged = u.step.Time, true
	}
}
