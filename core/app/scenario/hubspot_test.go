package scenario

import (
	"fmt"
	"html"
	"net/http"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

// hubspotCRM is HubSpot with messages as communications, or in its inbox, and
// escalations as tickets.
type hubspotCRM struct {
	*hubspotsim.Sim
	mode string
	// wamid says which message on WhatsApp has a text, "" when none has.
	wamid func(text string) string
}

func newHubspot(mode string) driver {
	sim := hubspotsim.New(hubspotsim.Options{Seed: 5, Country: "US"})
	for _, name := range []string{"wa_order", "wa_consent", "wa_suppressed"} {
		sim.AddProperty("contacts", hubspotsim.Property{Name: name, Label: name, GroupName: "contactinformation", Type: "string", FieldType: "text"})
	}
	sim.AddChannel(hubspotsim.Channel{ID: "900", Name: "WhatsApp", Capabilities: hubspotsim.Capabilities{
		DeliveryIdentifierTypes: []string{hubspotsim.IdentifierPhone, hubspotsim.IdentifierOpaque}, AllowOutgoingMessages: true,
	}})
	return &hubspotCRM{Sim: sim, mode: mode}
}

func (h *hubspotCRM) name() string { return "hubspot-" + h.mode }

func (h *hubspotCRM) lane(url, retry string) string {
	return fmt.Sprintf(`[[lanes]]
connector = "hubspot"
secrets = { token = "scenario-token", client_secret = "scenario-app" }
budgets = [{ name = "api", calls = 100000, per = "10s" }]
%s
[lanes.settings]
base_url = %q
escalations = "tickets"
consent_property = "wa_consent"
suppressed_property = "wa_suppressed"
contact_fields = { order = "wa_order" }
log_messages = %q
channel_id = "900"
inbox_id = "71"
`, retry, url, h.mode)
}

func (h *hubspotCRM) trouble(what trouble) {
	switch what {
	case storm:
		h.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Status: 429, Policy: "SECONDLY", RetryAfter: "1", Count: 3})
	case lost:
		h.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultLost, Chance: 0.1, Count: 20})
	case partial:
		h.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Match: "/messages", Status: 500, Chance: 0.1, Count: 20},
			hubspotsim.Fault{Kind: hubspotsim.FaultRow, Match: "/communications/", Category: "RATE_LIMITS", Row: "7", Count: 2},
			hubspotsim.Fault{Kind: hubspotsim.FaultMute, Match: "/communications/", Row: "3", Count: 2})
	case expired: // its tokens do not expire
	case outage:
		h.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Status: 503})
	}
}

func (h *hubspotCRM) heal() { h.Heal() }
func (h *hubspotCRM) lacks() []string {
	if h.mode == "inbox" {
		return []string{"message.type", "message.delivered"}
	}
	return []string{"message.type"}
}
func (h *hubspotCRM) calls() int { return total(h.Stats().Requests) }

func total(requests map[string]int) (n int) {
	for _, count := range requests {
		n += count
	}
	return n
}

func (h *hubspotCRM) makes(name, phone string) error {
	_, err := h.Edit("contacts", "", map[string]string{"firstname": name, "phone": phone})
	return err
}

func (h *hubspotCRM) read() state {
	s, who := newState(), map[string]string{}
	for _, r := range h.Records("contacts") {
		p := r.Properties
		if r.Archived {
			continue
		}
		who[r.ID] = p["wabridge_contact_id"]
		s.contact(p["wabridge_contact_id"], person{
			Name: p["firstname"], Phone: p["phone"], BSUID: p["wa_bsuid"], Tags: p["wabridge_tags"], Order: p["wa_order"],
			Marketing: p["wa_consent"], Suppressed: p["wa_suppressed"],
		})
	}
	for _, r := range h.Records("communications") {
		p, id := r.Properties, r.Properties["wa_message_id"]
		m := message{Contact: who[only(r.Associated["contacts"])], Direction: core.Direction(p["wa_direction"]), Status: p["wa_status"]}
		body := html.UnescapeString(strings.ReplaceAll(p["hs_communication_body"], "<br>", "\n"))
		m.Text = strings.TrimPrefix(strings.TrimPrefix(body, "← "), "→ ")
		if m.Direction == core.Inbound {
			m.Time = fromMillis(p["hs_timestamp"])
		}
		s.message(id, m)
		for _, w := range r.History {
			s.history[id] = append(s.history[id], w.Value)
		}
	}
	h.readInbox(&s, who)
	for _, r := range h.Records("tickets") {
		p := r.Properties
		s.escalation(p["wabridge_escalation_id"], escalation{
			Contact: who[only(r.Associated["contacts"])], Reason: strings.TrimPrefix(p["subject"], "request: "),
			Priority: strings.ToLower(p["hs_ticket_priority"]), Closed: p["hs_pipeline_stage"] == "4",
		})
	}
	return s
}

// readInbox reads the messages of the inbox; what became of one comes after it.
func (h *hubspotCRM) readInbox(s *state, who map[string]string) {
	words := map[string]string{"SENT": "sent", "READ": "read", "FAILED": "failed"}
	for _, im := range h.InboxMessages() {
		id := core.RootID(im.Idempotency)
		m := message{Contact: who[im.Contact], Direction: core.Inbound, Text: im.Text}
		if im.Agent != "" {
			id = h.wamid(im.Text)
		}
		switch {
		case im.Status == "FAILED" && (id == "" || strings.Contains(im.Idempotency, "#")):
			continue // it was never sent
		case id == "":
			s.twice = append(s.twice, fmt.Sprintf("an agent's message that was neither sent nor failed: %+v", im))
			continue
		case id != im.Idempotency && im.Direction == "INCOMING": // its file
			if m = s.messages[id]; m.Text == "" {
				s.twice = append(s.twice, "the file of "+id+", and not the message")
			}
			m.Text = im.Text
			s.messages[id] = m
			continue
		case im.Direction == "OUTGOING":
			m.Direction, m.Status = core.Outbound, words[im.Status]
		default:
			m.Time, _, _ = strings.Cut(im.Time, ".")
			m.Time += "Z"
		}
		s.message(id, m)
		for _, word := range im.Statuses {
			s.history[id] = append(s.history[id], words[word])
		}
	}
}

// agents has people at HubSpot answer in some threads of the inbox. They are told of by
// webhooks, each more than once, and so is now and then what the bridge itself published.
func (h *hubspotCRM) agents(w *world, tn *tenant, long time.Duration) {
	h.wamid = func(text string) string {
		for _, send := range w.wa.Ledger().Sends {
			if send.Text == text {
				return send.ID
			}
		}
		return ""
	}
	if h.mode != "inbox" {
		return
	}
	client := http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	tell := func(id string) {
		for range 40 { // the bridge may be busy
			r, err := h.Tell(w.t.Context(), id, "scenario-app")
			if err != nil {
				w.t.Error(err)
				return
			}
			resp, err := client.Do(r)
			if err == nil {
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					return
				}
			}
			<-time.After(long / 20)
		}
		w.t.Errorf("%s: the bridge never took what an agent wrote", tn.id)
	}
	h.SetWebhook("900", "http://"+w.address+"/webhooks/crm/"+tn.id+"/hubspot")
	answers, told := 2+*conversations/4, map[string]bool{}
	for n := range answers {
		var from []hubspotsim.InboxMessage
		for len(from) == 0 {
			<-time.After(long / time.Duration(max(10, answers)))
			for i, m := range h.InboxMessages() {
				switch {
				case m.Direction == "INCOMING" && strings.HasPrefix(m.Senders[0].Identifier.Value, "+1415555"):
					// Of those who have two numbers, what is written to one makes that the first.
					from = append(from, m)
				case m.Agent == "" && i%5 == 0 && !told[m.ID]:
					told[m.ID] = true
					tell(m.ID)
				}
			}
		}
		id, err := h.Answer(from[7*n%len(from)].Thread, hubspotsim.Answer{Text: fmt.Sprintf("agent %d", n)})
		if err != nil {
			w.t.Error(err)
			return
		}
		tell(id)
		tell(id)
	}
}

// only returns the one of a list that must have one.
func only(list []string) string {
	if len(list) != 1 {
		return fmt.Sprintf("%d of them", len(list))
	}
	return list[0]
}

func fromMillis(text string) string {
	var ms int64
	if _, err := fmt.Sscan(text, &ms); err != nil {
		return text
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05Z")
}
