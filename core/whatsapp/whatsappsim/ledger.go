package whatsappsim

import (
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Ledger is what happened: the truth, for whoever checks a bridge.
type Ledger struct {
	// Sends are the messages that were accepted, in order.
	Sends []Send `json:"sends"`
	// Updates are the messages of customers and statuses that were webhooked, in
	// the order in which they came up.
	Updates []Update `json:"updates"`
	// Read are the messages that the business marked as read.
	Read []string `json:"read,omitempty"`
}

// Send is a message that was accepted.
type Send struct {
	ID     string `json:"id"` // wamid
	Number string `json:"number"`
	To     string `json:"to"` // as it was given
	Type   string `json:"type"`
	Text   string `json:"text,omitempty"` // body, caption, or template's name
	Opaque string `json:"opaque,omitempty"`
	// Intent is what the sends of one intent share: the part of the opaque text
	// before the attempt, in hexadecimal, or all of it when it has another form.
	Intent  string    `json:"intent,omitempty"`
	Context string    `json:"context,omitempty"`
	At      time.Time `json:"at"`
	// Lost says that the sender got no proper answer.
	Lost bool `json:"lost,omitempty"`
	// Status is how far the message has come.
	Status string `json:"status,omitempty"`

	index int
}

// Update is something that was webhooked.
type Update struct {
	// ID is the wamid of a customer's message; wamid + "/" + status of a status.
	ID     string    `json:"id"`
	From   string    `json:"from,omitempty"` // who wrote
	At     time.Time `json:"at"`             // when it came up
	Posted time.Time `json:"posted,omitzero"`
	// Acked is when a webhook with it was first answered with 200; zero when none
	// was yet.
	Acked time.Time `json:"acked,omitzero"`
	// Posts counts the webhooks with it, repeated ones among them, Acks those
	// answered with 200.
	Posts int `json:"posts"`
	Acks  int `json:"acks"`
}

// Twice returns the intents of which more than one message was accepted, with the
// messages' IDs. Sends without an opaque text are not looked at.
func (l *Ledger) Twice() map[string][]string {
	of := map[string][]string{}
	for i := range l.Sends {
		if in := l.Sends[i].Intent; in != "" {
			of[in] = append(of[in], l.Sends[i].ID)
		}
	}
	maps.DeleteFunc(of, func(_ string, ids []string) bool { return len(ids) < 2 })
	return of
}

// Stats count what a Sim did.
type Stats struct {
	Sends    int            `json:"sends"`              // accepted
	Updates  int            `json:"updates"`            // customers' messages and statuses
	Acked    int            `json:"acked"`              // of these
	Posts    int            `json:"posts"`              // webhooks sent
	Refused  int            `json:"refused"`            // webhooks not answered with 200
	GivenUp  int            `json:"given_up,omitempty"` // webhooks that are not repeated any more
	Pending  int            `json:"pending"`            // webhooks and statuses to come
	Read     int            `json:"read"`
	Errors   map[int]int    `json:"errors"` // sends refused, by code
	Faults   map[string]int `json:"faults"` // injected, by what they do
	Twice    int            `json:"twice"`  // sends beyond the first of an intent
	Statuses map[string]int `json:"statuses"`
}

// ledger is the Ledger as it grows.
type ledger struct {
	mu      sync.Mutex
	sends   []Send
	updates []Update
	reads   []string
	intents map[string]int
	stats   Stats
}

func (l *ledger) init() {
	l.intents = map[string]int{}
	l.stats = Stats{Errors: map[int]int{}, Faults: map[string]int{}, Statuses: map[string]int{}}
}

// Ledger returns the ledger as it stands.
func (s *Sim) Ledger() Ledger {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	return Ledger{slices.Clone(s.ledger.sends), slices.Clone(s.ledger.updates), slices.Clone(s.ledger.reads)}
}

// Stats returns the counts so far.
func (s *Sim) Stats() Stats {
	pending := s.out.count()
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	st := s.ledger.stats
	st.Sends, st.Updates, st.Read, st.Pending = len(s.ledger.sends), len(s.ledger.updates), len(s.ledger.reads), pending
	st.Errors, st.Faults, st.Statuses = maps.Clone(st.Errors), maps.Clone(st.Faults), maps.Clone(st.Statuses)
	return st
}

// accepted notes a send and returns its place.
func (l *ledger) accepted(s Send) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sends = append(l.sends, s)
	if s.Intent != "" {
		if l.intents[s.Intent]++; l.intents[s.Intent] > 1 {
			l.stats.Twice++
		}
	}
	return len(l.sends) - 1
}

// came notes something to be webhooked and returns its place.
func (l *ledger) came(u Update) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.updates = append(l.updates, u)
	return len(l.updates) - 1
}

// reached notes that a message has come to a status.
func (l *ledger) reached(send int, status string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sends[send].Status = status
	l.stats.Statuses[status]++
}

// posted notes that a webhook with these updates is sent.
func (l *ledger) posted(places []int, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Posts++
	for _, i := range places {
		u := &l.updates[i]
		if u.Posts++; u.Posts == 1 {
			u.Posted = at
		}
	}
}

// answered notes how a webhook with these updates was answered.
func (l *ledger) answered(places []int, ok bool, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok {
		l.stats.Refused++
		return
	}
	for _, i := range places {
		u := &l.updates[i]
		if u.Acks++; u.Acks == 1 {
			u.Acked = at
			l.stats.Acked++
		}
	}
}

// gaveUp notes that a webhook is not repeated any more.
func (l *ledger) gaveUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.GivenUp++
}

func (l *ledger) read(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads = append(l.reads, id)
}

func (l *ledger) refusal(code int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Errors[code]++
}

func (l *ledger) fault(do string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Faults[do]++
}

// latest returns the last sends to an address, newest first.
func (l *ledger) latest(to string, limit int) []Send {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []Send{}
	for i := len(l.sends) - 1; i >= 0 && len(out) < limit; i-- {
		if strings.Contains(l.sends[i].To, to) {
			out = append(out, l.sends[i])
		}
	}
	return out
}

// intentLength is the length of the name of an intent within an opaque text.
const intentLength = 16

// intentOf returns what names the intent in an opaque text.
func intentOf(opaque string) string {
	text, ok := strings.CutPrefix(opaque, "w1.")
	if !ok {
		return opaque
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < intentLength {
		return opaque
	}
	return hex.EncodeToString(b[:intentLength])
}
