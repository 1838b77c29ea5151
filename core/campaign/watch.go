package campaign

import "fmt"

// Counts are how many rows are in which state.
type Counts map[RowState]int

// Move takes a row from one state to another; "" is none.
func (c Counts) Move(from, to RowState) {
	if from != "" {
		if c[from]--; c[from] <= 0 {
			delete(c, from)
		}
	}
	if to != "" {
		c[to]++
	}
}

// Stops says when a campaign stops by itself: it is paused until a person looks.
type Stops struct {
	// Failed is which percentage of what was sent may fail, Blocked which may be
	// refused by WhatsApp because people do not want it (131049, 131050); 0 is 20 and 5.
	Failed  float64 `json:"failed,omitempty"`
	Blocked float64 `json:"blocked,omitempty"`
	// Least is how many must have been sent before a share means anything; 0 is 20.
	Least int `json:"least,omitempty"`
}

// Lately counts what came of the rows that were sent lately: older ones weigh less and
// less, so that trouble in the middle of a long campaign shows.
type Lately struct {
	Sent    int `json:"sent"`
	Failed  int `json:"failed,omitempty"`
	Blocked int `json:"blocked,omitempty"`
}

const memory = 1000 // rows after which all counts are halved

// Saw takes note of a row's step.
func (l *Lately) Saw(from, to RowState, code int) {
	switch {
	case to == RowFailed:
		l.Failed++
		if from != RowSent {
			l.Sent++
		}
		if blocked(code) {
			l.Blocked++
		}
	case (from == RowQueued || from == RowUnknown) && to != RowUnknown && to != RowExcluded:
		l.Sent++
	}
	if l.Sent >= memory {
		l.Sent, l.Failed, l.Blocked = l.Sent/2, l.Failed/2, l.Blocked/2
	}
}

// blocked reports whether WhatsApp refused a message because the person, or people at
// large, do not want it.
func blocked(code int) bool { return code == 131049 || code == 131050 }

// AtOnce says why a campaign stops at an error, whatever the shares: the number or the
// template is in trouble, and each further message makes it worse. "" is none of these.
//
// https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes
func AtOnce(code int) string {
	switch code {
	case 131048:
		return "WhatsApp has the number for spam: people block or report it (131048)"
	case 368, 131031:
		return fmt.Sprintf("WhatsApp has restricted the account (%d)", code)
	case 131042:
		return "WhatsApp wants a way to be paid (131042)"
	case 131064:
		return "WhatsApp has restricted the account's templates for a wrong category (131064)"
	case 132015:
		return "WhatsApp has paused the template, or held its messages back, for its quality (132015)"
	case 132016:
		return "WhatsApp has disabled the template for good (132016)"
	case 130497:
		return "WhatsApp does not let the account write to people of a country (130497)"
	}
	return ""
}

// Trouble says why a campaign must stop, or "".
func (s *Stops) Trouble(l Lately) string {
	if l.Sent < or(s.Least, 20) {
		return ""
	}
	return s.share(l)
}

// Judge is Trouble of the rows that went first, however few they are.
func (s *Stops) Judge(l Lately) string {
	if l.Sent == 0 {
		return ""
	}
	return s.share(l)
}

func (s *Stops) share(l Lately) string {
	percent := func(n int) float64 { return 100 * float64(n) / float64(l.Sent) }
	switch failed, blocked := percent(l.Failed), percent(l.Blocked); {
	case blocked > or(s.Blocked, 5):
		return fmt.Sprintf("of %d that were sent lately WhatsApp refused %d because people do not want them (131049, 131050): %.1f %%, more than %v %%", l.Sent, l.Blocked, blocked, or(s.Blocked, 5))
	case failed > or(s.Failed, 20):
		return fmt.Sprintf("of %d that were sent lately %d failed: %.1f %%, more than %v %%", l.Sent, l.Failed, failed, or(s.Failed, 20))
	}
	return ""
}

func or[T int | float64](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}
