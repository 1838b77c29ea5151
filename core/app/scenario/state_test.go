package scenario

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/contact"
)

// driver is one CRM, imitated, in one of the modes of its connector.
type driver interface {
	http.Handler
	// name is the mode's, in the form of a tenant's id.
	name() string
	// lane is the lane's part of tenant.toml for a CRM at url; retry is a line of it.
	lane(url, retry string) string
	// trouble makes the CRM misbehave for a while; heal ends it.
	trouble(trouble)
	heal()
	// read tells everything that the CRM has.
	read() state
	// lacks are the fields of the normal form that this mode has no place for, as
	// "message.type".
	lacks() []string
	// calls is how many requests the CRM got.
	calls() int
}

// trouble is a way in which a CRM misbehaves.
type trouble int

const (
	storm   trouble = iota // too many requests: 429 with Retry-After
	lost                   // does things, and nobody hears of it
	partial                // some rows of a batch are refused, to be tried again
	expired                // the access token is not good any more
	outage                 // 503 to everything, until healed
)

// state is what a CRM has, in a form that is the same for all of them.
type state struct {
	contacts    map[string]person
	messages    map[string]message
	escalations map[string]escalation
	// order is the ids of the messages in the order in which they were made.
	order []string
	// talks says in which conversation each message was, where that is known.
	talks map[string]string
	// history is what statuses a message had, in order.
	history map[string][]string
	// twice are records that there are two of.
	twice []string
}

type person struct {
	Name, Phone, BSUID, Tags, Order string
	Marketing, Suppressed           string
}

type message struct {
	Contact   string
	Direction core.Direction
	Type      string
	Text      string // as [crm.MessageText] has it
	Time      string // of what customers wrote, RFC 3339
	Status    string
	// bare is Text without what is said of files and places.
	bare string
}

type escalation struct {
	Contact, Reason, Priority string
	Closed                    bool
}

func newState() state {
	return state{contacts: map[string]person{}, messages: map[string]message{}, escalations: map[string]escalation{}, history: map[string][]string{}, talks: map[string]string{}}
}

// contact, message and escalation add a record, once.
func (s *state) contact(id string, p person) {
	if _, ok := s.contacts[id]; ok {
		s.twice = append(s.twice, "contact "+id)
	}
	s.contacts[id] = p
}

func (s *state) message(id string, m message) {
	if _, ok := s.messages[id]; ok {
		s.twice = append(s.twice, "message "+id)
	} else {
		s.order = append(s.order, id)
	}
	s.messages[id] = m
}

func (s *state) escalation(id string, e escalation) {
	if _, ok := s.escalations[id]; ok {
		s.twice = append(s.twice, "escalation "+id)
	}
	s.escalations[id] = e
}

// fileLink is where a file of a message is, which the bridge signs anew.
var fileLink = regexp.MustCompile(` https?://[^ ]+/media/[^ ]+`)

// without drops the fields that a CRM has no place for.
func (s *state) without(lacks []string) {
	defer func() {
		for id, p := range s.contacts { // in whichever national form
			if a, err := core.ParseAddress(p.Phone); err == nil {
				p.Phone = contact.KeyOf(a).String()
				s.contacts[id] = p
			}
		}
		for id, m := range s.messages {
			m.bare = ""
			m.Text = fileLink.ReplaceAllString(m.Text, "")
			s.messages[id] = m
		}
	}()
	for _, field := range lacks {
		for id, p := range s.contacts {
			switch field {
			case "contact.bsuid":
				p.BSUID = ""
			case "contact.name":
				p.Name = ""
			}
			s.contacts[id] = p
		}
		for id, m := range s.messages {
			switch field {
			case "message.label":
				m.Text = m.bare
			case "message.type":
				m.Type = ""
			case "message.time":
				m.Time = ""
			case "message.delivered": // is sent, as far as the CRM is concerned
				if m.Status == string(core.StatusDelivered) {
					m.Status = string(core.StatusSent)
				}
			case "message.date": // only the day
				m.Time, _, _ = strings.Cut(m.Time, "T")
			}
			s.messages[id] = m
		}
	}
}

// recorded is what the bridge knows of a tenant's people, and what WhatsApp says
// became of its messages. It also returns the contacts that were merged into
// others, and what each reply answers.
func (w *world) recorded(tn *tenant) (s state, merged map[string]string) {
	w.t.Helper()
	s, merged = newState(), map[string]string{}
	at := map[string]time.Time{} // when each message was decided or sent
	b, ctx := w.broker, w.t.Context()
	sends := map[string]sent{}
	for _, send := range w.wa.Ledger().Sends {
		sends[send.ID] = sent{send.Text, send.Status}
	}
	for after := ""; ; {
		page, err := b.ContactRecords(ctx, tn.id, after, 500)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, c := range page.Contacts {
			x, err := b.ExportContact(ctx, tn.id, c.ID)
			if err != nil {
				w.t.Fatal(err)
			}
			if len(x.DeadLetters) > 0 {
				w.t.Errorf("%s: a dead letter: %s: %v", tn.id, x.DeadLetters[0].ID, &x.DeadLetters[0].Reason)
			}
			for _, m := range x.Contact.Merges {
				merged[m.ID] = c.ID
			}
			slices.Sort(c.Suppressed)
			s.contact(c.ID, person{
				Name: c.Name, Phone: c.Phone, BSUID: c.BSUID, Tags: strings.Join(c.Tags, ";"), Order: c.Fields["order"],
				Marketing: string(x.Contact.Consent.Levels[consent.Marketing].State), Suppressed: strings.Join(c.Suppressed, ";"),
			})
			for _, raw := range x.Escalations {
				var e broker.Escalation
				if err := json.Unmarshal(raw, &e); err != nil {
					w.t.Fatal(err)
				}
				s.escalation(e.ID, escalation{Contact: e.ContactID, Reason: e.Reason, Priority: cmp.Or(e.Priority, "normal"), Closed: e.Outcome != ""})
			}
			for _, raw := range x.History {
				var step broker.Step
				if err := json.Unmarshal(raw, &step); err != nil {
					w.t.Fatal(err)
				}
				if id := w.take(&s, c.ID, &step, sends); id != "" {
					at[id] = step.Time
				}
			}
		}
		if after = page.Next; after == "" {
			slices.SortStableFunc(s.order, func(a, b string) int { return at[a].Compare(at[b]) })
			return s, merged
		}
	}
}

// take adds the message that a step of the history is about, and returns its id; ""
// when that is no step of a message.
func (w *world) take(s *state, contact string, step *broker.Step, sends map[string]sent) string {
	switch {
	case step.Kind == core.KindMessageReceived && step.Step == "decided":
		m, ok := w.said(step.Event)
		if !ok {
			w.t.Errorf("the bridge has %s, and nobody wrote it", step.Event)
		}
		m.Contact, m.Direction = contact, core.Inbound
		s.message(step.Event, m)
		s.talks[step.Event] = step.Conversation
		return step.Event
	case step.Kind == core.KindMessageSend && (step.Step == "delivered" || step.Step == "settled"):
		return w.takeSent(s, contact, step.Ref, sends)
	case step.Kind == core.KindMessageStatus && slices.ContainsFunc(step.Notes, func(n string) bool { return strings.Contains(n, "held message was sent") }):
		// Nobody answered the send, and its status came late.
		id := step.Event // of the message and what became of it
		for i := strings.LastIndex(id, "/"); i > 0 && sends[id] == (sent{}); i = strings.LastIndex(id, "/") {
			id = id[:i]
		}
		return w.takeSent(s, contact, id, sends)
	}
	return ""
}

func (w *world) takeSent(s *state, contact, id string, sends map[string]sent) string {
	send, ok := sends[id]
	if !ok {
		w.t.Errorf("the bridge says that it sent %s, and WhatsApp has no such message", id)
	}
	s.message(id, message{Contact: contact, Direction: core.Outbound, Type: "text", Text: send.text, Status: send.status, bare: send.text})
	return id
}

// sent is a message of ours, as WhatsApp has it.
type sent struct{ text, status string }

// compare says what is wrong with what a CRM has. Of the contacts in merged it has
// nothing under their names; what was theirs is in no order with the rest.
func compare(name string, want, have state, merged map[string]string) (wrong []string) {
	complain := func(format string, args ...any) {
		if len(wrong) < 20 {
			wrong = append(wrong, name+": "+fmt.Sprintf(format, args...))
		}
	}
	for _, what := range have.twice {
		complain("TWICE: %s", what)
	}
	compareAll("contact", want.contacts, have.contacts, complain)
	compareAll("message", want.messages, have.messages, complain)
	compareAll("escalation", want.escalations, have.escalations, complain)
	joined := map[string]bool{}
	for _, into := range merged {
		joined[into] = true
	}
	for id, list := range have.history {
		for i := 1; i < len(list); i++ {
			if list[i] != list[i-1] && !core.StatusValue(list[i-1]).Advances(core.StatusValue(list[i])) {
				complain("BACKWARDS: the status of %s went from %s to %s", id, list[i-1], list[i])
			}
		}
	}
	place := map[string]int{}
	for i, id := range have.order {
		place[id] = i
	}
	last := map[string]string{} // of a conversation
	for _, id := range want.order {
		m := want.messages[id]
		if joined[m.Contact] {
			continue
		}
		if m.Direction != core.Inbound {
			if asked, ok := strings.CutPrefix(m.Text, "re "); ok && place[id] < place[asked] {
				complain("ORDER: the answer %s was made before %s, which it answers", id, asked)
			}
			continue
		}
		if before := last[want.talks[id]]; before != "" && place[id] < place[before] {
			complain("ORDER: %s was made before %s", id, before)
		}
		last[want.talks[id]] = id
	}
	return wrong
}

func compareAll[V comparable](what string, want, have map[string]V, complain func(string, ...any)) {
	for id, w := range want {
		h, ok := have[id]
		if !ok {
			complain("LOST: %s %s %+v", what, id, w)
		} else if h != w {
			complain("%s %s\n  is        %+v\n  should be %+v", what, id, h, w)
		}
	}
	for id, h := range have {
		if _, ok := want[id]; !ok {
			complain("%s %s is in the CRM, and not in the bridge's record: %+v", what, id, h)
		}
	}
}

// A comparison that cannot complain would prove nothing.
func TestCompare_FindsWhatIsWrong(t *testing.T) {
	good := func() state {
		s := newState()
		s.contact("ann", person{Name: "Ann", Phone: "+34600111222"})
		s.message("1", message{Contact: "ann", Direction: core.Inbound, Text: "Ask"})
		s.message("2", message{Contact: "ann", Direction: core.Outbound, Text: "re 1", Status: "read"})
		s.message("3", message{Contact: "ann", Direction: core.Inbound, Text: "Thanks"})
		s.escalation("e", escalation{Contact: "ann", Closed: true})
		s.history["2"] = []string{"sent", "sent", "read"}
		return s
	}
	if wrong := compare("x", good(), good(), map[string]string{"eve": "bob"}); len(wrong) != 0 {
		t.Errorf("complaints about nothing: %q", wrong)
	}
	for want, spoil := range map[string]func(*state){
		"LOST: message 3":      func(s *state) { delete(s.messages, "3") },
		"LOST: contact ann":    func(s *state) { delete(s.contacts, "ann") },
		"TWICE: message 1":     func(s *state) { s.message("1", s.messages["1"]) },
		"TWICE: contact ann":   func(s *state) { s.contact("ann", s.contacts["ann"]) },
		"TWICE: escalation e":  func(s *state) { s.escalation("e", s.escalations["e"]) },
		"contact bob is in":    func(s *state) { s.contact("bob", person{}) },
		"should be {Contact:a": func(s *state) { m := s.messages["2"]; m.Status = "sent"; s.messages["2"] = m },
		"BACKWARDS":            func(s *state) { s.history["2"] = []string{"read", "sent"} },
		"ORDER: 3 was made":    func(s *state) { s.order = []string{"3", "1", "2"} },
		"contact eve is in":    func(s *state) { s.contact("eve", person{Name: "Ann"}) },
		"ORDER: the answer 2":  func(s *state) { s.order = []string{"2", "1", "3"} },
	} {
		s := good()
		spoil(&s)
		if wrong := compare("x", good(), s, map[string]string{"eve": "bob"}); len(wrong) != 1 || !strings.Contains(wrong[0], want) {
			t.Errorf("complaints = %q, want one with %q", wrong, want)
		}
	}
}
