// Package consent knows what a person agreed to, and why we may not write to
// them at all: the words that people use, the entries of the ledger, and how
// entries add up to a standing. It is pure: it stores nothing and sends nothing.
//
// Consent and suppression are two things. Consent has levels: what a person
// bought may be talked about from the first contact on (transactional), but
// advertising only after they said so (marketing). A suppression says why nothing
// is sent, whatever was agreed: the person died, the number is another's, they
// wrote STOP.
//
// Standings do not depend on the order in which entries arrive, nor on how often:
// of two entries the later one (by the time at which it happened) counts, and of
// two at the same time the one that allows less.
package consent

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
)

// Level is what a person agrees to.
type Level string

// The levels.
const (
	Transactional Level = "transactional" // about what the person asked for or bought
	Marketing     Level = "marketing"     // anything else
)

// Levels lists every level.
func Levels() []Level { return []Level{Transactional, Marketing} }

// State is where a level stands.
type State string

// The states. The zero State is that nothing was said.
const (
	// Asked: the first half of a double opt-in; nothing may be sent on it.
	Asked     State = "asked"
	Granted   State = "granted"
	Withdrawn State = "withdrawn"
)

// Source says where an entry came from.
type Source string

// The sources.
const (
	FirstContact Source = "first contact"
	Word         Source = "word"   // a whole message, such as STOP
	Button       Source = "button" // a button of ours, by payload or title
	// Meta is the person's choice in WhatsApp itself, told by a preference event
	// or error 131050. It stops marketing beside what the business recorded:
	// taking it back grants nothing that was not granted.
	Meta   Source = "meta"
	API    Source = "api"
	Script Source = "script"
	CRM    Source = "crm"
	File   Source = "file"   // a list that was imported
	Person Source = "person" // somebody of the business, by command or console
)

// Entry is one entry of the ledger of consent, or of the one of suppressions.
// It names nobody: Subject and ID are keyed hashes, and what might name somebody
// (the words, who recorded it) is in its Details, which can be erased while the
// chain stays whole.
type Entry struct {
	// ID is the keyed hash of the event that it comes from: the same event makes
	// the same entry.
	ID      string    `json:"id"`
	Subject string    `json:"subject"`
	At      time.Time `json:"at"` // when it happened, as its source says
	Source  Source    `json:"source"`

	// Of consent:
	Level Level `json:"level,omitempty"`
	State State `json:"state,omitempty"`

	// Of suppression: Lifted says that the reason is gone.
	Reason Reason `json:"reason,omitempty"`
	Scope  string `json:"scope,omitempty"`
	Lifted bool   `json:"lifted,omitempty"`

	// Details is the keyed hash of the entry's [Details].
	Details string `json:"details"`
}

// Details are an entry's erasable part.
type Details struct {
	Event string `json:"event"` // the event's ID
	// Evidence is what shows it: the words, the payload, the form's address.
	Evidence string `json:"evidence,omitempty"`
	// By is who recorded it.
	By       string `json:"by,omitempty"`
	Language string `json:"language,omitempty"`
	Number   string `json:"number,omitempty"` // of the business
}

// MaxEvidence bounds the evidence of one entry, in bytes.
const MaxEvidence = 2000

// Key makes the keyed hashes of a tenant's ledger.
type Key struct {
	secret []byte
	tenant string
}

// NewKey derives a tenant's key from a secret of the bridge.
func NewKey(secret []byte, tenant string) Key { return Key{secret, tenant} }

func (k Key) hash(what string, parts ...string) string {
	h := hmac.New(sha256.New, k.secret)
	for _, p := range append([]string{"consent", k.tenant, what}, parts...) {
		sum := sha256.Sum256([]byte(p)) // of fixed length, so that the parts cannot shift
		_, _ = h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Subject names a contact in the ledger.
func (k Key) Subject(contact string) string { return k.hash("subject", contact) }

// EntryID names an entry by its event and what it is about.
func (k Key) EntryID(event string, e *Entry) string {
	return k.hash("entry", event, string(e.Level), string(e.State), string(e.Reason), e.Scope)
}

// DetailsHash is what an entry keeps of its details.
func (k Key) DetailsHash(entry string, d Details) string {
	return k.hash("details", entry, d.Event, d.Evidence, d.By, d.Language, d.Number)
}

// Standing is where one level stands, and since when.
type Standing struct {
	State  State     `json:"state"`
	Since  time.Time `json:"since"`
	Source Source    `json:"source"`
	Entry  string    `json:"entry"` // its ID in the ledger
}

// Summary is what the entries about one person add up to. The zero Summary is
// that of a person about whom there are none.
type Summary struct {
	Levels map[Level]Standing `json:"levels,omitempty"`
	// MetaStop is the person's own stop of marketing in WhatsApp.
	MetaStop *Standing `json:"meta_stop,omitempty"`
	// Suppressed are the reasons for which nothing is sent, those that were
	// lifted included.
	Suppressed []Suppression `json:"suppressed,omitempty"`
	// Seen are the IDs of the latest entries.
	Seen []string `json:"seen,omitempty"`
}

// maxSeen bounds how many entries a person's record remembers. An event comes
// again within days, a person changes their mind less often.
const maxSeen = 32

// rank orders the states by how much they allow, the least first.
func (s State) rank() int {
	switch s {
	case Withdrawn:
		return 1
	case Granted:
		return 2
	case Asked: // of a question and its answer in one second the answer counts
		return 3
	}
	return 4
}

// wins reports whether a standing is replaced by another.
func (s Standing) wins(now Standing) bool {
	if !s.Since.Equal(now.Since) {
		return s.Since.After(now.Since)
	}
	if s.State != now.State {
		return s.State.rank() < now.State.rank()
	}
	return s.Entry < now.Entry
}

// Apply adds an entry. It reports whether it is new, and whether anything stands
// otherwise after it.
func (s *Summary) Apply(e Entry) (isNew, changed bool) {
	if slices.Contains(s.Seen, e.ID) {
		return false, false
	}
	s.Seen = append(s.Seen, e.ID)
	if n := len(s.Seen) - maxSeen; n > 0 {
		s.Seen = slices.Clone(s.Seen[n:])
	}
	if e.Reason != "" {
		return true, s.suppress(e)
	}
	next := Standing{State: e.State, Since: e.At, Source: e.Source, Entry: e.ID}
	if e.Source == Meta {
		if s.MetaStop != nil && !next.wins(*s.MetaStop) {
			return true, false
		}
		changed = s.metaStopped() != (next.State == Withdrawn)
		s.MetaStop = &next
		return true, changed
	}
	now, found := s.Levels[e.Level]
	if found && !next.wins(now) {
		return true, false
	}
	if s.Levels == nil {
		s.Levels = map[Level]Standing{}
	}
	s.Levels[e.Level] = next
	return true, now.State != next.State
}

func (s *Summary) metaStopped() bool { return s.MetaStop != nil && s.MetaStop.State == Withdrawn }

// StoppedAtMeta reports whether the person stopped marketing in WhatsApp itself.
func (s *Summary) StoppedAtMeta() bool { return s.metaStopped() }

// State returns where a level stands, the person's choice in WhatsApp included.
func (s *Summary) State(l Level) State {
	if l == Marketing && s.metaStopped() {
		return Withdrawn
	}
	return s.Levels[l].State
}

// Refuses says in words why a message of the level may not be sent, or "".
func (s *Summary) Refuses(l Level) string {
	since := func(st Standing) string { return " on " + st.Since.UTC().Format(time.DateOnly) }
	st := s.Levels[l]
	switch {
	case l == Marketing && s.metaStopped():
		return "the person stopped marketing in WhatsApp" + since(*s.MetaStop)
	case st.State == Withdrawn:
		return string(l) + " consent was withdrawn" + since(st)
	case l == Transactional || st.State == Granted:
		return ""
	case st.State == Asked:
		return "marketing consent was asked for and not confirmed yet"
	}
	return "no marketing consent: it takes the person's explicit word"
}

// Category is a template's, as Meta has it.
type Category string

// The categories. An unknown template is taken for marketing: the strictest.
const (
	CategoryMarketing      Category = "marketing"
	CategoryUtility        Category = "utility"
	CategoryAuthentication Category = "authentication"
)

// ParseCategory reads a category in Meta's letters or ours; what is unknown is
// marketing.
func ParseCategory(s string) Category {
	switch c := Category(strings.ToLower(strings.TrimSpace(s))); c {
	case CategoryUtility, CategoryAuthentication:
		return c
	}
	return CategoryMarketing
}

// Level is the consent that a message of the category needs.
func (c Category) Level() Level {
	if c == CategoryUtility || c == CategoryAuthentication {
		return Transactional
	}
	return Marketing
}

// CheckChange says what is wrong with a level and a state that somebody asked
// for.
func CheckChange(level, state string) error {
	if !slices.Contains(Levels(), Level(level)) {
		return core.Errorf(core.CodeInvalid, "consent", "%.40q is no level: there are transactional and marketing", level)
	}
	if s := State(state); s != Asked && s != Granted && s != Withdrawn {
		return core.Errorf(core.CodeInvalid, "consent", "%.40q is no state: there are asked, granted and withdrawn", state)
	}
	return nil
}
