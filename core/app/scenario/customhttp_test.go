package scenario

import (
	"encoding/json"
	"os"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

// customCRM is an API of a company's own, behind the example that ships for those
// that take many records at once: messages from customers are records, everything
// else is an event as it is.
type customCRM struct {
	*customhttpsim.Sim
	example string
}

func newCustom() driver {
	example, err := os.ReadFile("../../../plugins/custom-http/testdata/bulk.toml")
	if err != nil {
		panic(err)
	}
	return customCRM{customhttpsim.New(customhttpsim.Options{Key: "scenario-key", Shuffle: true}), string(example)}
}

func (customCRM) name() string { return "custom-http" }

func (c customCRM) lane(url, retry string) string {
	return strings.NewReplacer(
		`"https://warehouse.example.com/v1"`, `"`+url+`/v1"`+"\nallowed_hosts = [\"127.0.0.1\"]",
		`"env:WAREHOUSE_KEY"`, `"scenario-key"`,
		`max_batch = 100`, "max_batch = 100\n"+retry,
	).Replace(c.example)
}

func (c customCRM) trouble(what trouble) {
	switch what {
	case storm:
		c.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 429, Header: map[string]string{"X-Retry-In": "1000"}, Count: 3})
	case lost:
		c.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultLost, Chance: 0.1, Count: 20}, customhttpsim.Fault{Kind: customhttpsim.FaultCut, Skip: 30, Count: 2})
	case partial:
		c.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultRow, Match: "/messages/", Status: 423, Code: "locked", Row: "7", Count: 3},
			customhttpsim.Fault{Kind: customhttpsim.FaultMute, Match: "/messages/", Row: "3", Count: 2})
	case expired: // its key does not expire
	case outage:
		c.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 503})
	}
}

func (c customCRM) heal()         { c.Heal() }
func (customCRM) lacks() []string { return []string{"contact.bsuid", "message.label"} }
func (c customCRM) calls() int    { return total(c.Stats().Requests) }

func (c customCRM) read() state {
	s := newState()
	type told struct {
		person
		id string
	}
	people, became := map[string]*told{}, map[string]string{}
	know := func(id, name, phone string) *told {
		p := people[id]
		if p == nil {
			p = &told{id: id}
			people[id] = p
		}
		p.Name = name
		if phone != "" {
			p.Phone = phone
		}
		return p
	}
	for _, r := range c.Records("") {
		if r.Object == "message" {
			text := func(name string) string { v, _ := r.Fields[name].(string); return v }
			who, _ := r.Fields["contact"].(map[string]any)
			id, _ := who["external_id"].(string)
			name, _ := who["name"].(string)
			phone, _ := who["phone"].(string)
			know(id, name, phone)
			s.message(r.ExternalID, message{
				Contact: id, Direction: core.Direction(text("direction")), Type: text("type"), Text: text("text"), bare: text("text"),
				Time: strings.Replace(text("sent_at"), ".000Z", "Z", 1),
			})
			continue
		}
		var e core.Event
		data, err := json.Marshal(r.Fields)
		if err == nil {
			err = json.Unmarshal(data, &e)
		}
		if err != nil {
			panic(err)
		}
		if e.Contact != nil && e.Contact.ID != "" && e.Kind != core.KindMessageStatus {
			p := know(e.Contact.ID, e.Contact.Name, e.Contact.Phone)
			p.BSUID = e.Contact.BSUID
			if p.Tags = strings.Join(e.Contact.Tags, ";"); e.Contact.Fields["order"] != "" {
				p.Order = e.Contact.Fields["order"]
			}
			if e.Consent != nil {
				slices.Sort(e.Consent.Suppressed)
				p.Marketing, p.Suppressed = e.Consent.Marketing, strings.Join(e.Consent.Suppressed, ";")
			}
		}
		switch e.Kind {
		case core.KindContactMerged: // as whoever takes the events would
			became[e.Merge.Contact.ID] = e.Contact.ID
		case core.KindMessageSent:
			m := message{Contact: e.Contact.ID, Direction: core.Outbound, Type: string(e.Message.Type), Text: e.Message.Text, bare: e.Message.Text}
			s.message(e.Message.ID, m)
		case core.KindMessageStatus:
			s.history[e.Status.MessageID] = append(s.history[e.Status.MessageID], string(e.Status.Value))
		case core.KindEscalation, core.KindEscalationMoved, core.KindEscalationClosed:
			priority := e.Escalation.Priority
			if priority == "" {
				priority = "normal"
			}
			s.escalations[e.Escalation.ID] = escalation{
				Contact: e.Contact.ID, Reason: e.Escalation.Reason, Priority: priority, Closed: e.Kind == core.KindEscalationClosed,
			}
		}
	}
	is := func(id string) string {
		for became[id] != "" {
			id = became[id]
		}
		return id
	}
	for id, p := range people {
		if is(id) == id {
			s.contact(id, p.person)
		}
	}
	for id, m := range s.messages {
		m.Contact = is(m.Contact)
		s.messages[id] = m
	}
	for id, e := range s.escalations {
		e.Contact = is(e.Contact)
		s.escalations[id] = e
	}
	for id, list := range s.history {
		m := s.messages[id]
		m.Status = list[len(list)-1]
		s.messages[id] = m
	}
	return s
}
