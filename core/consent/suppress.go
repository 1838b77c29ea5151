package consent

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
)

// Reason is why nothing is sent to a person.
type Reason string

// The reasons.
const (
	Stop        Reason = "stop" // the person wrote STOP, or pressed such a button
	Complaint   Reason = "complaint"
	Blocked     Reason = "blocked" // by the person, or by the business
	WrongNumber Reason = "wrong_number"
	Deceased    Reason = "deceased"
	LegalHold   Reason = "legal_hold"
	OnRequest   Reason = "request" // asked for in another way
)

// Reasons lists every reason.
func Reasons() []Reason {
	return []Reason{Stop, Complaint, Blocked, WrongNumber, Deceased, LegalHold, OnRequest}
}

// words says a reason to people.
func (r Reason) words() string {
	switch r {
	case Stop:
		return "the person asked us to stop"
	case Complaint:
		return "the person complained"
	case Blocked:
		return "blocked"
	case WrongNumber:
		return "the number is another person's"
	case Deceased:
		return "the person has died"
	case LegalHold:
		return "legal hold"
	}
	return "the person asked not to be written to"
}

// Scopes of a suppression. Beside these there are topics: "topic:loans" is about
// templates that are configured with the topic loans.
const (
	ScopeAll       = "all"
	ScopeMarketing = "marketing"
	topicPrefix    = "topic:"
)

// Suppression is one reason, within one scope.
type Suppression struct {
	Reason Reason    `json:"reason"`
	Scope  string    `json:"scope"`
	Since  time.Time `json:"since"`
	Lifted bool      `json:"lifted,omitempty"`
	Source Source    `json:"source"`
	Entry  string    `json:"entry"`
}

func (s Suppression) same(o Suppression) bool { return s.Reason == o.Reason && s.Scope == o.Scope }

func (s Suppression) compare(o Suppression) int {
	return cmp.Or(cmp.Compare(s.Reason, o.Reason), cmp.Compare(s.Scope, o.Scope))
}

// maxSuppressions bounds the reasons of one person.
const maxSuppressions = 64

// suppress takes over an entry about a suppression.
func (s *Summary) suppress(e Entry) bool {
	next := Suppression{Reason: e.Reason, Scope: cmp.Or(e.Scope, ScopeAll), Since: e.At, Lifted: e.Lifted, Source: e.Source, Entry: e.ID}
	i := slices.IndexFunc(s.Suppressed, next.same)
	if i < 0 {
		if len(s.Suppressed) >= maxSuppressions {
			next.Scope = ScopeAll // rather too much than too little
			if i = slices.IndexFunc(s.Suppressed, func(o Suppression) bool { return !o.Lifted }); i < 0 {
				i = 0
			}
			s.Suppressed[i] = next
			return true
		}
		s.Suppressed = append(s.Suppressed, next)
		slices.SortFunc(s.Suppressed, Suppression.compare)
		return !next.Lifted
	}
	now := s.Suppressed[i]
	if next.Since.Before(now.Since) || next.Since.Equal(now.Since) && (next.Lifted && !now.Lifted || next.Lifted == now.Lifted && next.Entry >= now.Entry) {
		return false
	}
	s.Suppressed[i] = next
	return now.Lifted != next.Lifted
}

// Outgoing is what suppression asks of a message.
type Outgoing struct {
	Marketing bool
	Topics    []string // of its template
}

// Suppresses says in words why the message may not be sent, or "".
func (s *Summary) Suppresses(o Outgoing) string {
	for _, p := range s.Suppressed {
		if p.Lifted {
			continue
		}
		since := " since " + p.Since.UTC().Format(time.DateOnly)
		topic, isTopic := strings.CutPrefix(p.Scope, topicPrefix)
		switch {
		case p.Scope == ScopeAll:
			return "suppressed: " + p.Reason.words() + since
		case p.Scope == ScopeMarketing && o.Marketing:
			return "suppressed for marketing: " + p.Reason.words() + since
		case isTopic && slices.Contains(o.Topics, topic):
			return "suppressed for the topic " + topic + ": " + p.Reason.words() + since
		}
	}
	return ""
}

// Live are the reasons that were not lifted.
func (s *Summary) Live() []Suppression {
	var out []Suppression
	for _, p := range s.Suppressed {
		if !p.Lifted {
			out = append(out, p)
		}
	}
	return out
}

// CheckSuppression says what is wrong with a reason and a scope that somebody
// asked for.
func CheckSuppression(reason, scope string) error {
	if !slices.Contains(Reasons(), Reason(reason)) {
		return core.Errorf(core.CodeInvalid, "suppression", "%.40q is no reason: there are %s", reason, list(Reasons()))
	}
	topic, isTopic := strings.CutPrefix(scope, topicPrefix)
	if scope != "" && scope != ScopeAll && scope != ScopeMarketing && (!isTopic || !core.TenantPattern.MatchString(topic)) {
		return core.Errorf(core.CodeInvalid, "suppression", "%.40q is no scope: there are all, marketing and topic:<name>", scope)
	}
	return nil
}

func list[T ~string](all []T) string {
	words := make([]string, len(all))
	for i, w := range all {
		words[i] = string(w)
	}
	return strings.Join(words, ", ")
}
