package crm

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
)

// OnMerge are the values of the setting on_merge, the first is the default: what a
// connector does when two contacts became one and the CRM has a record of each.
//
//   - "ours" makes one of two when one of them is the bridge's own, which goes; else a
//     person is told.
//   - "merge" makes one of two whoever made them.
//   - "keep" leaves both.
var OnMerge = []string{"ours", "merge", "keep"}

// Record is a CRM's record of a contact. The zero Record is none.
type Record struct {
	ID string
	// Ours says that the bridge made it, for the contact, and that nobody changed it since,
	// as far as the CRM tells.
	Ours bool
}

// MadeFor reports whether a record that was made at a time may have been made for a
// contact that the bridge knows since another. Clocks differ a little.
func MadeFor(made, since time.Time) bool {
	const apart = time.Minute
	return !made.IsZero() && !since.IsZero() && made.After(since.Add(-apart))
}

// Merging is what a connector does to make one record of those of two contacts that
// became one.
type Merging struct {
	// CRM is its name, for people.
	CRM string
	// Both reads the records of the contact that stays and of the one that went.
	Both func(context.Context, *core.Event) (kept, gone Record, _ *core.Error)
	// Into gives all that hangs on a record to another and takes the record away. It
	// returns what the other is called then. It may be called again after any part of it
	// was done.
	Into func(ctx context.Context, from, to string) (record string, _ *core.Error)
	// Key makes a record the contact's.
	Key func(ctx context.Context, record, contact string) *core.Error
}

// Do does what an event asks, and returns the record that stays, "" when there is none
// or the owner wants both kept.
func (m *Merging) Do(ctx context.Context, onMerge string, e *core.Event) (record string, _ *core.Error) {
	if e.Merge == nil || e.Contact == nil || e.Contact.ID == "" || e.Merge.Contact.ID == "" {
		return "", Failure(core.CodeInvalid, "merge", "the event does not say which contacts")
	}
	if onMerge == "keep" {
		return "", nil
	}
	kept, gone, err := m.Both(ctx, e)
	if err != nil {
		return "", notAllowed(err)
	}
	stays, goes, err := oneOf(onMerge, m.CRM, kept, gone)
	if err != nil || stays == "" {
		return "", err
	}
	record = stays
	if goes != "" {
		if record, err = m.Into(ctx, goes, stays); err != nil {
			return "", notAllowed(err)
		}
	}
	if stays == kept.ID {
		return record, nil
	}
	return record, notAllowed(m.Key(ctx, record, e.Contact.ID))
}

// oneOf says which of the records of two contacts that became one stays, and which
// goes; "" is none. of is the CRM's name. The error is a person's to see to.
func oneOf(onMerge, of string, kept, gone Record) (stays, goes string, _ *core.Error) {
	switch {
	case gone.ID == "" || gone.ID == kept.ID:
		return kept.ID, "", nil
	case kept.ID == "":
		return gone.ID, "", nil
	case gone.Ours:
		return kept.ID, gone.ID, nil
	case kept.Ours:
		return gone.ID, kept.ID, nil
	case onMerge == "merge":
		return kept.ID, gone.ID, nil
	}
	return "", "", &core.Error{
		Code: core.CodeUndeliverable, Scope: core.ScopeEvent, Op: "merge", Source: core.SourcePlugin,
		Message: "two contacts are one person, and " + of + " has records of both that the bridge did not make, or that somebody changed: " + kept.ID + " and " + gone.ID,
		Hint:    "merge " + gone.ID + " into " + kept.ID + " by hand, and resolve this; or set settings.on_merge to \"merge\", which cannot be undone, and replay it",
	}
}

// notAllowed gives a merge to a person where the CRM does not let us: the lane has other
// work.
func notAllowed(err *core.Error) *core.Error {
	if err == nil || err.Code != core.CodeForbidden {
		return err
	}
	given := *err
	given.Code, given.Scope = core.CodeUndeliverable, core.ScopeEvent
	if given.Hint != "" {
		given.Hint += ", and replay this; or "
	}
	given.Hint += "merge the two records by hand, and resolve this"
	return &given
}

// CheckOnMerge says what is wrong with the setting.
func CheckOnMerge(op, value string) *core.Error {
	if !slices.Contains(OnMerge, value) {
		return BadSetting(op, "on_merge", "want one of %s", strings.Join(OnMerge, ", "))
	}
	return nil
}
