package core

import (
	"context"
	"encoding/json"
)

// Segmenter is a Connector whose CRM keeps segments, that is, named lists of contacts,
// to which campaigns are sent. What each CRM calls a segment (a list, a view, a
// campaign's members) the connector's documentation says.
type Segmenter interface {
	Connector
	// Segments returns the segments of contacts whose name has the text name in it, in
	// whatever case, and the one with that ID, if there is one; all for "". It
	// returns at most [MaxSegments]. Errors are those of Check; CodeInvalid says that the
	// account has none, by its settings.
	Segments(ctx context.Context, account Account, name string) ([]Segment, error)
	// Members returns the next members of the segment with an ID, after cursor. Each
	// comes once where the CRM's pages allow that, in whatever order; who joins or leaves
	// meanwhile may be missed. A member that cannot be written to (it has no number, or one
	// that is none) is a member nevertheless: the bridge says so of it. The cursor is the
	// connector's own, a JSON value of at most 64 KiB that begins as nil. A segment that
	// does not exist (any more) is CodeInvalid.
	//
	// It is called while a campaign is planned, one page after the other; a page that
	// failed is asked for again.
	Members(ctx context.Context, account Account, segment string, cursor json.RawMessage) (Members, error)
}

// MaxSegments is how many segments are returned at most, MaxMembers how many members a
// page has.
const (
	MaxSegments = 1000
	MaxMembers  = 500
)

// Segment is a named list of contacts at a CRM.
type Segment struct {
	// ID is the CRM's own. Where a CRM has several kinds of segments, the connector puts
	// the kind into it: "campaign:7018d00000abc".
	ID string `json:"id"`
	// Name is what people see.
	Name string `json:"name"`
	// Kind is what the CRM calls it, for people: "static list", "campaign".
	Kind string `json:"kind,omitempty"`
	// Size is how many members it has; 0 when the CRM does not say.
	Size int `json:"size,omitempty"`
}

// Members is a page of a segment's members.
type Members struct {
	Members []Member
	// Cursor is where the next page begins.
	Cursor json.RawMessage
	// More says that there is a next page. A page may be empty and have a next one.
	More bool
}

// Member is somebody in a segment.
type Member struct {
	// ContactRef is the CRM's record, as in [Event].
	ContactRef string `json:"contact_ref"`
	// Contact is who it is, as in a contact.changed event, as far as the CRM knows: Name,
	// Phone and BSUID. What else is in it is not read.
	Contact Contact `json:"contact"`
}
