package whatsappsim

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// What a Rule does to a send.
const (
	DoError   = "error"   // refuses it with the Graph error Code
	DoFail    = "fail"    // accepts it; its status is failed, with Code
	DoSlow    = "slow"    // takes Delay longer
	DoHang    = "hang"    // never answers
	DoCut     = "cut"     // closes the connection without doing anything
	DoLost    = "lost"    // accepts it, then closes the connection
	DoGarbage = "garbage" // answers 200 with a page of HTML
	DoHTML    = "html"    // answers Status (502) with a page of HTML
	DoEmpty   = "empty"   // answers 200 with an empty JSON object
)

// Rule is one way to misbehave. The first rule in force that fits a send strikes.
type Rule struct { //nolint:recvcheck // MarshalJSON is for values too
	Do string `json:"do"`
	// Code is the error of DoError and DoFail; Status overrules its HTTP status.
	Code    int    `json:"code,omitempty"`
	Subcode int    `json:"subcode,omitempty"`
	Details string `json:"details,omitempty"`
	Status  int    `json:"status,omitempty"`
	// RetryAfter is the header of DoError and DoHTML, as it is written there.
	RetryAfter string `json:"retry_after,omitempty"`
	// Delay is how much longer DoSlow takes; in JSON as in "1.5s".
	Delay time.Duration `json:"-"`
	// Accept says that the message is accepted all the same: of DoError, DoHang,
	// DoGarbage, DoHTML and DoEmpty.
	Accept bool `json:"accept,omitempty"`
	// Number, To and Type are those of the sends meant: To is a part of the
	// address, Type that of the message, "read" for marking as read. Text is a
	// part of the text. Empty means all.
	Number string `json:"number,omitempty"`
	To     string `json:"to,omitempty"`
	Type   string `json:"type,omitempty"`
	Text   string `json:"text,omitempty"`
	// Skip lets as many pass first; Nth strikes each so many-th only; Count is how
	// many it strikes in all, 0 without end; Chance strikes by lot, 0 always.
	Skip   int     `json:"skip,omitempty"`
	Nth    int     `json:"nth,omitempty"`
	Count  int     `json:"count,omitempty"`
	Chance float64 `json:"chance,omitempty"`
}

// ruleJSON is a Rule with its Delay in words.
type ruleJSON struct {
	plainRule
	Delay string `json:"delay,omitempty"`
}

type plainRule Rule

// MarshalJSON implements [json.Marshaler].
func (r Rule) MarshalJSON() ([]byte, error) {
	j := ruleJSON{plainRule: plainRule(r)}
	if r.Delay != 0 {
		j.Delay = r.Delay.String()
	}
	return json.Marshal(j)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (r *Rule) UnmarshalJSON(b []byte) error {
	var j ruleJSON
	if err := strictly(b, &j); err != nil {
		return err
	}
	*r = Rule(j.plainRule)
	if j.Delay != "" {
		d, err := time.ParseDuration(j.Delay)
		if err != nil {
			return fmt.Errorf("delay: %w", err)
		}
		r.Delay = d
	}
	return r.check()
}

func (r *Rule) check() error {
	switch r.Do {
	case DoError, DoFail:
		if r.Code == 0 && r.Do == DoFail {
			return fmt.Errorf("%s: no code", r.Do)
		}
	case DoSlow, DoHang, DoCut, DoLost, DoGarbage, DoHTML, DoEmpty:
	default:
		return fmt.Errorf("do %q: want one of error, fail, slow, hang, cut, lost, garbage, html, empty", r.Do)
	}
	return nil
}

// faults are the rules in force.
type faults struct {
	mu     sync.Mutex
	rules  []*armed
	random *rand.Rand
}

// armed is a rule with what it has seen.
type armed struct {
	Rule
	seen, struck int
}

func (f *faults) init(seed uint64) { f.random = rand.New(rand.NewPCG(seed, 2)) }

// Fail puts rules in force, after those that are. It panics at a rule that says
// nothing known.
func (s *Sim) Fail(rules ...Rule) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	for _, r := range rules {
		if err := r.check(); err != nil {
			panic(err)
		}
		s.faults.rules = append(s.faults.rules, &armed{Rule: r})
	}
}

// Rules returns the rules in force.
func (s *Sim) Rules() []Rule {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	rules := make([]Rule, len(s.faults.rules))
	for i, r := range s.faults.rules {
		rules[i] = r.Rule
	}
	return rules
}

// Heal ends all rules. Requests that hang go on hanging.
func (s *Sim) Heal() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.rules = nil
}

// subject is what of a send rules look at.
type subject struct{ number, to, typ, text string }

// take returns the rule that strikes a send, if any.
func (f *faults) take(s subject) *Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, r := range f.rules {
		if (r.Number != "" && r.Number != s.number) || !strings.Contains(s.to, r.To) ||
			(r.Type != "" && r.Type != s.typ) || !strings.Contains(s.text, r.Text) {
			continue
		}
		r.seen++
		if r.seen <= r.Skip || (r.Nth > 0 && (r.seen-r.Skip)%r.Nth != 0) || (r.Chance > 0 && f.random.Float64() >= r.Chance) {
			continue
		}
		r.struck++
		rule := r.Rule
		if r.Count > 0 && r.struck >= r.Count {
			f.rules = slices.Delete(f.rules, i, i+1)
		}
		return &rule
	}
	return nil
}

// htmlPage is what an edge answers.
const htmlPage = "<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Sorry, something went wrong.</h1></body></html>"

// misbehave does what a rule says to a send, or to marking as read when m is nil;
// true when that was all.
func (s *Sim) misbehave(w http.ResponseWriter, r *http.Request, f *Rule, m *message) bool {
	s.ledger.fault(f.Do)
	switch f.Do {
	case DoSlow:
		pause(r.Context(), f.Delay)
		return false
	case DoFail:
		return false // see accept
	}
	if m != nil && (f.Do == DoLost || f.Accept) {
		s.accept(m, f, true)
	}
	switch f.Do {
	case DoError:
		e := errorOf(f.Code, f.Details)
		e.subcode = f.Subcode
		if f.Status != 0 {
			e.status = f.Status
		}
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		s.refused(w, e)
	case DoHang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case DoCut, DoLost:
		panic(http.ErrAbortHandler)
	case DoEmpty:
		reply(w, http.StatusOK, struct{}{})
	case DoGarbage, DoHTML:
		status := http.StatusOK
		if f.Do == DoHTML {
			status = http.StatusBadGateway
			if f.Status != 0 {
				status = f.Status
			}
		}
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(htmlPage))
	}
	return true
}
