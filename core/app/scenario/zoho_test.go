package scenario

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

// zohoCRM is Zoho with messages in a module of their own, or as notes; escalations
// are cases or tasks.
type zohoCRM struct {
	*zohosim.Sim
	mode string // "module" or "notes"
}

func newZoho(mode string) driver {
	sim := zohosim.New(zohosim.Options{RefreshToken: "refresh", Concurrency: 20, SubConcurrency: 10, History: []string{"Status", "Note_Title"}})
	for _, name := range []string{"WA_Order", "WA_Consent", "WA_Suppressed"} {
		sim.AddField("Contacts", zohosim.Field{Name: name, Type: "text", Length: 255, Custom: true})
	}
	return zohoCRM{sim, mode}
}

func (c zohoCRM) name() string { return "zoho-" + c.mode }

func (c zohoCRM) lane(url, retry string) string {
	return fmt.Sprintf(`[[lanes]]
connector = "zoho"
secrets = { client_id = "client", client_secret = "secret", refresh_token = "refresh" }
%s
[lanes.settings]
api_url = %q
accounts_url = %q
mode = %q
escalations = %q
consent_field = "WA_Consent"
suppressed_field = "WA_Suppressed"
contact_fields = { order = "WA_Order" }
`, retry, url, url, c.mode, map[string]string{"module": "cases", "notes": "tasks"}[c.mode])
}

func (c zohoCRM) trouble(what trouble) {
	switch what {
	case storm:
		c.Inject(zohosim.Fault{Kind: zohosim.FaultStatus, Match: "/crm/", Status: 429, Code: "TOO_MANY_REQUESTS", Message: "You have reached the maximum number of concurrent requests", Count: 2})
	case lost:
		c.Inject(zohosim.Fault{Kind: zohosim.FaultLost, Match: "/crm/", Chance: 0.1, Count: 20})
	case partial:
		c.Inject(zohosim.Fault{Kind: zohosim.FaultRow, Row: "7", Code: "INTERNAL_ERROR", Message: "Internal Server Error", Count: 3},
			zohosim.Fault{Kind: zohosim.FaultMute, Row: "3", Count: 2})
	case expired:
		c.Inject(zohosim.Fault{Kind: zohosim.FaultStatus, Match: "/crm/", Status: 401, Code: "INVALID_TOKEN", Message: "invalid oauth token", Count: 1})
	case outage:
		c.Inject(zohosim.Fault{Kind: zohosim.FaultStatus, Match: "/crm/", Status: 503})
	}
}

func (c zohoCRM) heal()      { c.Heal() }
func (c zohoCRM) calls() int { return total(c.Stats().Requests) }

func (c zohoCRM) lacks() []string {
	if c.mode == "notes" {
		return []string{"message.type", "message.time"}
	}
	return nil
}

func (c zohoCRM) makes(name, phone string) error {
	_, err := c.Edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": name, "Phone": phone})
	return err
}

func (c zohoCRM) read() state {
	s, who := newState(), map[string]string{}
	for _, r := range c.Records("Contacts") {
		v := r.Values
		if r.Deleted {
			continue
		}
		who[r.ID] = v["WA_Contact_ID"]
		tags := slices.Sorted(slices.Values(r.Tags))
		if want := v["WA_Tags"]; strings.Join(tags, ";") != want {
			s.twice = append(s.twice, "tags "+strings.Join(tags, ";")+" beside "+want)
		}
		s.contact(v["WA_Contact_ID"], person{
			Name: v["Last_Name"], Phone: v["Phone"], BSUID: v["WA_BSUID"], Tags: v["WA_Tags"], Order: v["WA_Order"],
			Marketing: v["WA_Consent"], Suppressed: v["WA_Suppressed"],
		})
	}
	if c.mode == "notes" {
		for _, r := range c.Records("Notes") {
			if r.Deleted {
				continue
			}
			c.note(&s, r, who)
		}
	}
	for _, r := range c.Records("WhatsApp_Messages") {
		v, id := r.Values, r.Values["WA_Message_ID"]
		m := message{Contact: who[v["Contact"]], Direction: core.Direction(v["Direction"]), Type: v["Type"], Text: v["Body"], Status: v["Status"]}
		if m.Direction == core.Inbound {
			m.Time = strings.Replace(v["Message_Time"], "+00:00", "Z", 1)
		}
		s.message(id, m)
		for _, w := range r.History {
			s.history[id] = append(s.history[id], w.Value)
		}
	}
	for _, object := range []struct{ module, contact string }{{"Tasks", "Who_Id"}, {"Cases", "Related_To"}} {
		for _, r := range c.Records(object.module) {
			v := r.Values
			parts := strings.Split(v["Subject"], " · ") // WhatsApp · reason · team
			reason := v["Subject"]
			if len(parts) == 3 {
				reason = parts[1]
			}
			s.escalation(v["WA_Escalation_ID"], escalation{
				Contact: who[v[object.contact]], Reason: reason, Priority: strings.ToLower(v["Priority"]),
				Closed: v["Status"] == "Closed" || v["Status"] == "Completed",
			})
		}
	}
	return s
}

// note reads a message's note: "WhatsApp → [status] · id", the text and, of one that failed, why.
func (c zohoCRM) note(s *state, r zohosim.Record, who map[string]string) {
	split := func(title string) (arrow, status, id string) {
		head, id, _ := strings.Cut(title, " · ")
		words := append(strings.Fields(head), "", "", "")
		return words[1], words[2], id
	}
	arrow, status, id := split(r.Values["Note_Title"])
	m := message{Contact: who[r.Values["Parent_Id"]], Direction: core.Inbound, Text: r.Values["Note_Content"], Status: status}
	if arrow == "→" {
		m.Direction = core.Outbound
	}
	if n := strings.LastIndexByte(m.Text, '\n'); n >= 0 && status == string(core.StatusFailed) {
		m.Text = m.Text[:n] // the last line says why
	}
	s.message(id, m)
	for _, w := range r.History {
		if _, status, _ := split(w.Value); status != "" {
			s.history[id] = append(s.history[id], status)
		}
	}
}
