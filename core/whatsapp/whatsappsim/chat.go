package whatsappsim

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

// Bounds of what the page shows.
const (
	maxChats  = 500 // the oldest people go first
	maxLines  = 100 // of each, the latest
	maxShown  = 32 << 10
	pagePath  = "/_sim/page/"
	pageRules = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// chats are the latest conversations, for the page.
type chats struct {
	mu    sync.Mutex
	of    map[string][]chatLine // by BSUID
	order []string              // who came first
}

// chatLine is a message as the person sees it.
type chatLine struct {
	ID      string          `json:"id"`
	Number  string          `json:"number"`
	Out     bool            `json:"out"` // by the business
	At      time.Time       `json:"at"`
	Type    string          `json:"type"`
	Object  json.RawMessage `json:"object,omitempty"` // the type's object, as it was sent
	Context string          `json:"context,omitempty"`
	Status  string          `json:"status,omitempty"`
	// Template is what becomes of a template.
	Template *shownTemplate `json:"template,omitempty"`

	index int // in the ledger, of the business's
}

// shownTemplate is a template as it is shown.
type shownTemplate struct {
	Header  string        `json:"header,omitempty"`
	Body    string        `json:"body"`
	Footer  string        `json:"footer,omitempty"`
	Buttons []shownButton `json:"buttons,omitempty"`
}

// shownButton is one of its buttons; Payload is what a quick reply brings back.
type shownButton struct {
	Type    string `json:"type"`
	Text    string `json:"text"`
	Payload string `json:"payload,omitempty"`
	URL     string `json:"url,omitempty"`
}

func (c *chats) init() { c.of = map[string][]chatLine{} }

func (c *chats) put(who string, l chatLine) {
	if len(l.Object) > maxShown {
		l.Object = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	lines, known := c.of[who]
	if !known {
		c.order = append(c.order, who)
		if len(c.order) > maxChats {
			delete(c.of, c.order[0])
			c.order = c.order[1:]
		}
	}
	if lines = append(lines, l); len(lines) > maxLines {
		lines = append(lines[:0:0], lines[1:]...)
	}
	c.of[who] = lines
}

// sentTo shows a person what the business sent.
func (s *Sim) sentTo(m *message) {
	l := chatLine{ID: m.ID, Number: m.Number, Out: true, At: m.At, Type: m.Type, Object: m.object, Context: m.Context, index: m.index}
	if m.Type == "template" {
		l.Template = s.shown(m)
	}
	s.chats.put(m.person.BSUID, l)
}

// shown fills a template's texts in. Of one whose texts nobody told the sim, its name and
// parameters are shown.
func (s *Sim) shown(m *message) *shownTemplate {
	var sent struct {
		Name       string                       `json:"name"`
		Language   struct{ Code string }        `json:"language"`
		Components []map[string]json.RawMessage `json:"components"`
	}
	if json.Unmarshal(m.object, &sent) != nil {
		return nil
	}
	type parameter struct {
		Text    string `json:"text"`
		Payload string `json:"payload"`
		Name    string `json:"parameter_name"`
	}
	given, payloads := map[string][]parameter{}, map[string]string{}
	for _, c := range sent.Components {
		var typ string
		var ps []parameter
		_ = json.Unmarshal(c["type"], &typ)
		_ = json.Unmarshal(c["parameters"], &ps)
		index := strings.Trim(string(c["index"]), `"`)
		given[strings.ToLower(typ)] = ps
		if strings.EqualFold(typ, "button") && len(ps) > 0 {
			payloads[index] = ps[0].Payload
		}
	}
	fill := func(text string, ps []parameter) string {
		for i, p := range ps {
			text = strings.ReplaceAll(text, fmt.Sprintf("{{%d}}", i+1), p.Text)
			if p.Name != "" {
				text = strings.ReplaceAll(text, "{{"+p.Name+"}}", p.Text)
			}
		}
		return text
	}
	t, refusal := s.sends(s.number(m.Number).WABA, sent.Name, sent.Language.Code)
	if refusal != nil || len(t.components) == 0 {
		texts := []string{sent.Name}
		for _, p := range given["body"] {
			texts = append(texts, p.Text)
		}
		return &shownTemplate{Body: strings.Join(texts, " · ")}
	}
	out := &shownTemplate{}
	for _, raw := range t.components {
		var c struct {
			Type, Text, Format string
			Buttons            []struct{ Type, Text, URL string }
		}
		_ = json.Unmarshal(raw, &c)
		switch strings.ToUpper(c.Type) {
		case "HEADER":
			if out.Header = fill(c.Text, given["header"]); out.Header == "" {
				out.Header = "[" + strings.ToLower(c.Format) + "]"
			}
		case "BODY":
			out.Body = fill(c.Text, given["body"])
		case "FOOTER":
			out.Footer = c.Text
		case "BUTTONS":
			for i, b := range c.Buttons {
				shown := shownButton{Type: strings.ToLower(b.Type), Text: b.Text, URL: b.URL}
				if shown.Payload = payloads[fmt.Sprint(i)]; shown.Payload == "" {
					shown.Payload = b.Text
				}
				out.Buttons = append(out.Buttons, shown)
			}
		}
	}
	return out
}

// chat is what the page shows of a person.
func (s *Sim) chat(phone string) (any, error) {
	who := s.people.byKnown(digitsOf(phone))
	if who == nil {
		return nil, fmt.Errorf("nobody with the phone number %q was added", phone)
	}
	s.chats.mu.Lock()
	lines := append([]chatLine{}, s.chats.of[who.BSUID]...)
	s.chats.mu.Unlock()
	s.ledger.mu.Lock()
	for i := range lines {
		if l := &lines[i]; l.Out {
			l.Status = s.ledger.sends[l.index].Status
		}
	}
	s.ledger.mu.Unlock()
	return map[string]any{"person": who, "lines": lines, "blocked": s.people.blockedAt(who.BSUID), "now": s.clock.now()}, nil
}

// controlBlock has a person block or report a number, or end that.
func (s *Sim) controlBlock(body []byte) (any, error) {
	var in struct {
		Phone  string `json:"phone"`
		Number string `json:"number"`
		Block  bool   `json:"block"`
		Report bool   `json:"report"`
	}
	if err := strictly(body, &in); err != nil {
		return nil, err
	}
	if in.Number != "" && s.numbers[in.Number] == nil {
		return nil, fmt.Errorf("the business has no number %q", in.Number)
	}
	who := s.people.byKnown(digitsOf(in.Phone))
	if who == nil {
		return nil, fmt.Errorf("nobody with the phone number %q was added", in.Phone)
	}
	n := s.number(in.Number)
	s.people.block(n.ID, who.BSUID, in.Block)
	if in.Report {
		s.reported(n)
	}
	return s.chat(in.Phone)
}

// reported lowers a number's quality by a step; below RED it is flagged.
func (s *Sim) reported(n *Number) {
	s.lines.mu.Lock()
	quality := s.lines.of[n.ID].Quality
	s.lines.mu.Unlock()
	change := LineChange{Number: n.ID}
	switch quality {
	case "GREEN", "UNKNOWN":
		change.Quality = "YELLOW"
	case "YELLOW":
		change.Quality = "RED"
	default:
		change.Status = "FLAGGED"
	}
	_, _ = s.ChangeLine(change) // of words that it knows
}

func (p *people) byKnown(phone string) *Person {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.known[phone]; known != nil {
		found := *known
		return &found
	}
	return nil
}

func (p *people) block(number, bsuid string, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on {
		p.blocked[number+":"+bsuid] = true
	} else {
		delete(p.blocked, number+":"+bsuid)
	}
}

// blocks reports whether a person blocked a number.
func (p *people) blocks(number, bsuid string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blocked[number+":"+bsuid]
}

// blockedAt returns the numbers that a person blocked.
func (p *people) blockedAt(bsuid string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := []string{}
	for key := range p.blocked {
		if number, who, _ := strings.Cut(key, ":"); who == bsuid {
			out = append(out, number)
		}
	}
	return out
}

// page is a page to chat as a customer. Everything that it shows is set as text.
//
//go:embed page
var page embed.FS

// servePage serves the page, and what belongs to it.
func servePage(w http.ResponseWriter, name string) {
	data, err := page.ReadFile("page/" + name)
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	types := map[string]string{".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
	h := w.Header()
	h.Set("Content-Type", types[path.Ext(name)]+"; charset=utf-8")
	h.Set("Content-Security-Policy", pageRules)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(data) //nolint:gosec // a file that is built in
}
