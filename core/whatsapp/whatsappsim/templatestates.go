package whatsappsim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// How long a template of poor quality is paused, the first time and the second.
var pausedFor = []time.Duration{3 * time.Hour, 6 * time.Hour}

// ChangeTemplate has Meta do something to a template in all accounts that have it. It
// is an error if none has it.
func (s *Sim) ChangeTemplate(c TemplateChange) error {
	st := &s.templates
	st.mu.Lock()
	defer st.mu.Unlock()
	now := s.clock.now()
	s.templatesAt(now)
	if c.Notice != "" {
		if d, err := time.ParseDuration(c.Notice); err != nil || d <= 0 || c.Category == "" {
			return fmt.Errorf("notice is how long before a category changes, as in 24h")
		}
	}
	found := false
	for _, t := range st.all {
		if t.name == c.Name && (c.Language == "" || c.Language == t.language) {
			found = true
			s.changeTemplate(t, c, now)
		}
	}
	if !found {
		return fmt.Errorf("there is no template %q", c.Name)
	}
	return nil
}

// changeTemplate changes a template and tells of it. The caller holds the lock.
func (s *Sim) changeTemplate(t *storedTemplate, c TemplateChange, now time.Time) {
	if c.Quality != "" && c.Quality != t.quality {
		was := t.quality
		t.quality = c.Quality
		if !c.Silent {
			s.tellTemplate(t, "message_template_quality_update", map[string]any{"previous_quality_score": cmp.Or(was, "UNKNOWN"), "new_quality_score": t.quality})
		}
		if c.Quality == "RED" && c.Status == "" {
			c.Status, c.Title = templateDisabled, "DISABLED"
			if t.pauses < len(pausedFor) {
				c.Status, c.Title = templatePaused, []string{"FIRST_PAUSE", "SECOND_PAUSE"}[t.pauses]
				defer s.by(t, pausedFor[t.pauses], TemplateChange{Status: templateApproved, Title: "UNPAUSE"})
			}
			t.pauses++
		}
	}
	if category := strings.ToUpper(c.Category); category != "" && category != t.category {
		if d, _ := time.ParseDuration(c.Notice); d > 0 {
			if !c.Silent {
				s.tellTemplate(t, "template_category_update", map[string]any{"new_category": t.category, "correct_category": category, "category_update_timestamp": now.Add(d).Unix()})
			}
			s.by(t, d, TemplateChange{Category: category, Silent: c.Silent})
		} else {
			was := t.category
			t.category = category
			if !c.Silent {
				s.tellTemplate(t, "template_category_update", map[string]any{"previous_category": was, "new_category": category})
			}
		}
	}
	if c.Status != "" && c.Status != t.status {
		t.status, t.reason = c.Status, c.Reason
		if !c.Silent {
			s.tellStatus(t, c.Status, c.Reason, c.Title)
		}
	}
}

func (s *Sim) tellStatus(t *storedTemplate, event, reason, title string) {
	v := map[string]any{"event": event, "reason": cmp.Or(reason, "NONE"), "message_template_category": t.category}
	if event == templateRejected {
		v["rejection_info"] = map[string]string{"reason": reason, "recommendation": "Change the template so that it follows the policies."}
	}
	if title != "" {
		v["other_info"] = map[string]string{"title": title, "description": "The template's quality decides about it."}
	}
	s.tellTemplate(t, "message_template_status_update", v)
}

// tellTemplate sends a webhook about a template.
func (s *Sim) tellTemplate(t *storedTemplate, field string, value map[string]any) {
	i := slices.IndexFunc(s.o.Numbers, func(n Number) bool { return n.WABA == t.waba })
	if i < 0 {
		return
	}
	id, _ := strconv.ParseInt(t.id, 10, 64)
	value["message_template_id"], value["message_template_name"], value["message_template_language"] = id, t.name, t.language
	s.Notify(s.o.Numbers[i].ID, field, marshal(value))
}

// sends finds the template of a send, and says why it cannot be sent.
func (s *Sim) sends(waba, name, language string) (*storedTemplate, *graphError) {
	st := &s.templates
	st.mu.Lock()
	defer st.mu.Unlock()
	s.templatesAt(s.clock.now())
	for _, t := range st.all {
		if t.waba != waba || t.name != name || t.language != language {
			continue
		}
		switch t.status {
		case templatePaused:
			return nil, errorOf(132015, "Template is paused due to low quality so it cannot be sent in a template message.")
		case templateDisabled:
			return nil, errorOf(132016, "Template has been paused too many times due to low quality and is now permanently disabled.")
		case templateApproved, "FLAGGED", "REINSTATED":
			found := *t
			return &found, nil
		}
		return nil, errorOf(132001, fmt.Sprintf("template name (%s) is not approved in %s", name, language))
	}
	return nil, errorOf(132001, fmt.Sprintf("template name (%s) does not exist in %s", name, language))
}

func (s *Sim) controlTemplates() any {
	st := &s.templates
	st.mu.Lock()
	defer st.mu.Unlock()
	s.templatesAt(s.clock.now())
	out := []any{}
	for _, t := range st.all {
		v, _ := t.show("name,language,status,category,quality_score,rejected_reason,components")
		out = append(out, v)
	}
	return out
}

func (s *Sim) controlChangeTemplate(body []byte) (any, error) {
	var c TemplateChange
	if err := strictly(body, &c); err != nil {
		return nil, err
	}
	if err := s.ChangeTemplate(c); err != nil {
		return nil, err
	}
	return s.controlTemplates(), nil
}

// sentTemplate is a template as a send has it.
type sentTemplate struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Language  *struct {
		Code   string `json:"code"`
		Policy string `json:"policy"`
	} `json:"language"`
	Components []sentPart `json:"components"`
}

type sentPart struct {
	Type       string            `json:"type"`
	SubType    string            `json:"sub_type"`
	Index      json.RawMessage   `json:"index"`
	Parameters []json.RawMessage `json:"parameters"`
	Cards      json.RawMessage   `json:"cards"`
}

type sentParameter struct {
	Type string `json:"type"`
	Name string `json:"parameter_name"`
	Text string `json:"text"`
}

// read reads the parameters, as far as they are checked.
func (p *sentPart) read() []sentParameter {
	out := make([]sentParameter, len(p.Parameters))
	for i, raw := range p.Parameters {
		_ = json.Unmarshal(raw, &out[i]) // what is no object has no type
	}
	return out
}

func (s *Sim) checkTemplate(raw json.RawMessage, m *message) *graphError {
	var o sentTemplate
	if err := decode("template", raw, &o); err != nil {
		return err
	}
	if err := required("template['name']", o.Name); err != nil {
		return err
	}
	if o.Language == nil || o.Language.Code == "" {
		return invalid("The parameter template['language']['code'] is required.")
	}
	m.Text = o.Name
	for _, c := range o.Components {
		switch strings.ToLower(c.Type) {
		case "header", "body", "button", "carousel", "limited_time_offer", "order_status":
		default:
			return invalid("Param template['components'] has an unknown type %q", c.Type)
		}
	}
	t, refusal := s.sends(s.number(m.Number).WABA, o.Name, o.Language.Code)
	if refusal != nil {
		return refusal
	}
	m.category = strings.ToLower(t.category)
	if !t.loose {
		return t.checkSend(o.Components)
	}
	got := 0
	for _, c := range o.Components {
		if strings.EqualFold(c.Type, "body") {
			got = len(c.Parameters)
		}
	}
	if t.parameters >= 0 && got != t.parameters {
		return wrongCount("body", got, t.parameters)
	}
	return nil
}

func wrongCount(what string, got, want int) *graphError {
	return errorOf(132000, fmt.Sprintf("%s: number of localizable_params (%d) does not match the expected number of params (%d)", what, got, want))
}

// checkSend checks a send against the template's definition.
func (t *storedTemplate) checkSend(sent []sentPart) *graphError { return t.checkParts(t.parts, sent) }

// checkParts checks the components of a send, or of a card.
func (t *storedTemplate) checkParts(parts []part, sent []sentPart) *graphError {
	of := func(kind string) []sentParameter {
		for _, c := range sent {
			if strings.EqualFold(c.Type, kind) {
				return c.read()
			}
		}
		return nil
	}
	for i := range parts {
		p := &parts[i]
		switch p.Type {
		case "CAROUSEL":
			if err := t.checkCards(p, sent); err != nil {
				return err
			}
		case "HEADER":
			if p.Format != "TEXT" {
				if got := of("header"); len(got) != 1 || !strings.EqualFold(got[0].Type, p.Format) {
					return errorOf(132012, fmt.Sprintf("header: Format mismatch, expected %s, received UNKNOWN", p.Format))
				}
				continue
			}
			if err := t.checkText("header", p.Text, of("header")); err != nil {
				return err
			}
		case "BODY":
			if err := t.checkText("body", p.Text, of("body")); err != nil {
				return err
			}
		case "BUTTONS":
			for n, b := range p.Buttons {
				i := slices.IndexFunc(sent, func(c sentPart) bool {
					return strings.EqualFold(c.Type, "button") && strings.Trim(string(c.Index), `"`) == strconv.Itoa(n)
				})
				has := i >= 0 && len(sent[i].Parameters) > 0
				needs := b.Type == "URL" && strings.Contains(b.URL, "{{") || b.Type == "COPY_CODE" || b.Type == "OTP"
				if needs && !has {
					return errorOf(131008, fmt.Sprintf("buttons: Button at index %d of type %s requires a parameter", n, b.Type))
				}
				if i >= 0 && b.Type == "URL" && !needs && has {
					return errorOf(132018, fmt.Sprintf("buttons: Button at index %d takes no parameter", n))
				}
			}
		}
	}
	return nil
}

func (t *storedTemplate) checkText(what, text string, got []sentParameter) *graphError {
	want := variablesOf(text)
	if len(got) != len(want) {
		return wrongCount(what, len(got), len(want))
	}
	for _, p := range got {
		if t.format == "NAMED" && !slices.Contains(want, p.Name) {
			return invalid("Invalid parameter: Parameter name is missing or empty")
		}
		if p.Type == "text" && (p.Text == "" || strings.ContainsAny(p.Text, "\n\t") || strings.Contains(p.Text, "     ")) {
			return errorOf(132018, "Param text cannot be empty, or have new-line/tab characters or more than 4 consecutive spaces")
		}
	}
	return nil
}

// ofTemplates is a refusal of the templates' edge, which has its own words in fields of
// its own.
func ofTemplates(subcode int, title, text string) *graphError {
	return &graphError{status: http.StatusBadRequest, code: 100, subcode: subcode, message: "Invalid parameter", title: title, user: text}
}
