package crm

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
)

// cards says whom shared contact cards are of, and how these people are reached. See
// https://developers.facebook.com/docs/whatsapp/cloud-api/messages/contacts-messages.
func cards(raw json.RawMessage) string {
	var list []struct {
		Name struct {
			Formatted string `json:"formatted_name"`
			First     string `json:"first_name"`
			Last      string `json:"last_name"`
		} `json:"name"`
		Org struct {
			Company string `json:"company"`
		} `json:"org"`
		Phones []struct {
			Phone string `json:"phone"`
			ID    string `json:"wa_id"`
		} `json:"phones"`
		Emails []struct {
			Email string `json:"email"`
		} `json:"emails"`
	}
	if len(raw) == 0 || Decode(raw, &list) != nil {
		return ""
	}
	people := make([]string, len(list))
	for i, c := range list {
		name := c.Name.Formatted
		if name == "" {
			name = strings.TrimSpace(c.Name.First + " " + c.Name.Last)
		}
		parts := []string{name, c.Org.Company}
		for _, p := range c.Phones {
			if p.Phone == "" {
				p.Phone = p.ID
			}
			parts = append(parts, p.Phone)
		}
		for _, e := range c.Emails {
			parts = append(parts, e.Email)
		}
		people[i] = strings.Join(filled(parts), ", ")
	}
	return strings.Join(filled(people), "; ")
}

// offered is what an interactive message of ours shows: its texts, and what may be
// chosen. See
// https://developers.facebook.com/docs/whatsapp/cloud-api/messages/interactive-reply-buttons-messages.
func offered(raw json.RawMessage, text string) string {
	type part struct {
		Text string `json:"text"`
	}
	var shown struct {
		Header part `json:"header"`
		Body   part `json:"body"`
		Footer part `json:"footer"`
		Action struct {
			Button  string `json:"button"`
			Buttons []struct {
				Reply struct {
					Title string `json:"title"`
				} `json:"reply"`
			} `json:"buttons"`
			Sections []struct {
				Rows []struct {
					Title string `json:"title"`
				} `json:"rows"`
			} `json:"sections"`
			Parameters json.RawMessage `json:"parameters"`
		} `json:"action"`
	}
	if len(raw) == 0 || Decode(raw, &shown) != nil {
		return text
	}
	body := shown.Body.Text
	if body == "" || strings.Contains(text, body) {
		body = text
	}
	var choices []string
	for _, b := range shown.Action.Buttons {
		choices = append(choices, b.Reply.Title)
	}
	for _, s := range shown.Action.Sections {
		for _, r := range s.Rows {
			choices = append(choices, r.Title)
		}
	}
	var link struct {
		Text string `json:"display_text"`
		URL  string `json:"url"`
		Flow string `json:"flow_cta"`
	}
	_ = Decode(shown.Action.Parameters, &link) // of other kinds it has other parameters
	choices = append(choices, link.Flow, strings.TrimSpace(link.Text+" "+link.URL))
	lines := filled([]string{shown.Header.Text, body, shown.Footer.Text})
	if choices = filled(choices); len(choices) > 0 {
		lines = append(lines, "["+strings.Join(choices, " | ")+"]")
	}
	return strings.Join(lines, "\n")
}

// filledIn is what somebody filled into a form.
func filledIn(r *core.Reply) string {
	var form map[string]any
	if r == nil || r.Response == "" || json.Unmarshal([]byte(r.Response), &form) != nil {
		return ""
	}
	delete(form, "flow_token") // names the form that was sent, and is nothing that they said
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(form)) {
		if text := FieldText(form[name]); text != "" {
			lines = append(lines, name+": "+text)
		}
	}
	return strings.Join(lines, "\n")
}

// filled returns the texts that are not empty.
func filled(texts []string) []string {
	return slices.DeleteFunc(texts, func(s string) bool { return strings.TrimSpace(s) == "" })
}
