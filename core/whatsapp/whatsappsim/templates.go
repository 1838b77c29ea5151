package whatsappsim

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The states of a template.
const (
	templateApproved = "APPROVED"
	templatePending  = "PENDING"
	templateRejected = "REJECTED"
	templatePaused   = "PAUSED"
	templateDisabled = "DISABLED"
)

const (
	defaultManagement = 5000 // calls per account and hour
	maxCreations      = 100  // per account and hour
	defaultTemplates  = 250  // per account
	editsPerDay       = 1    // of an approved one
	editsPerMonth     = 10
	nameBlocked       = 30 * 24 * time.Hour // after it was deleted
	maxTemplatePage   = 100
	manual            = time.Duration(-1)
)

// Review is what reviewers make of a new or edited template.
type Review struct {
	// Status is APPROVED or REJECTED, Reason Meta's word for the latter.
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
	// Category is the right one, when it is not what was asked for.
	Category string `json:"category,omitempty"`
}

// Reviewed is what they read.
type Reviewed struct {
	Name, Language, Category string
	Text                     string // all of its texts
}

// DefaultReview rejects what smells of fraud, and takes advertising for marketing.
func DefaultReview(t Reviewed) Review {
	text := strings.ToLower(t.Text)
	for _, word := range []string{"lottery", "casino", "free money"} {
		if strings.Contains(text, word) {
			return Review{Status: templateRejected, Reason: "SCAM"}
		}
	}
	if t.Category == "UTILITY" {
		for _, word := range []string{"% off", "discount", "sale", "half price"} {
			if strings.Contains(text, word) {
				return Review{Status: templateApproved, Category: "MARKETING"}
			}
		}
	}
	return Review{Status: templateApproved}
}

// TemplateChange is something that Meta does to a template. What is empty stays.
type TemplateChange struct {
	Name     string `json:"name"`
	Language string `json:"language,omitempty"` // "" is all
	// Status is the new one, Reason and Title why: Title is such as FIRST_PAUSE.
	Status string `json:"status,omitempty"`
	Reason string `json:"reason,omitempty"`
	Title  string `json:"title,omitempty"`
	// Quality is GREEN, YELLOW, RED or UNKNOWN. The first two times that it is RED the
	// template is paused, for three hours and for six; the third time it is disabled.
	Quality string `json:"quality,omitempty"`
	// Category is another one: at once, or announced and effective after Notice, as in
	// "24h".
	Category string `json:"category,omitempty"`
	Notice   string `json:"notice,omitempty"`
	// Silent: no webhook tells of it.
	Silent bool `json:"silent,omitempty"`
}

// storedTemplate is a template of one account.
type storedTemplate struct {
	id, waba       string
	name, language string
	category       string // in capitals
	format         string
	components     []json.RawMessage
	parts          []part
	loose          bool // was there from the beginning: nobody looks at its components
	parameters     int  // of a loose one's body; -1 takes any number
	ttl            int
	status, reason string
	quality        string
	pauses         int
	edits          []time.Time
	ahead          []ahead
}

// ahead is something that happens to a template by itself.
type ahead struct {
	at   time.Time
	what TemplateChange
}

// templateStore has the templates of all accounts.
type templateStore struct {
	mu      sync.Mutex
	all     []*storedTemplate
	next    int
	round   int                  // cursors of another are invalid
	blocked map[string]time.Time // waba/name → until when
	calls   map[string][]time.Time
	made    map[string][]time.Time
}

func (s *Sim) initTemplates() {
	st := &s.templates
	st.next, st.blocked, st.calls, st.made = 1000000, map[string]time.Time{}, map[string][]time.Time{}, map[string][]time.Time{}
	for _, waba := range s.accounts() {
		for _, t := range s.o.Templates {
			st.all = append(st.all, s.given(waba, t))
		}
	}
}

// accounts are the ids of the business accounts.
func (s *Sim) accounts() []string {
	var out []string
	for _, n := range s.o.Numbers {
		if n.WABA != "" && !slices.Contains(out, n.WABA) {
			out = append(out, n.WABA)
		}
	}
	if len(out) == 0 {
		out = []string{""}
	}
	return out
}

// given is a template that was there from the beginning, with a body of the right
// number of variables.
func (s *Sim) given(waba string, t Template) *storedTemplate {
	text := ""
	switch {
	case t.BodyParameters == 0:
		text = "Hello, this is " + t.Name + "."
	case t.BodyParameters > 0:
		text = "Hello"
		for i := range t.BodyParameters {
			text += fmt.Sprintf(", {{%d}} it is", i+1)
		}
		text += "."
	}
	body := map[string]any{"type": "BODY"}
	if text != "" {
		body["text"] = text
	}
	s.templates.next++
	return &storedTemplate{
		id: strconv.Itoa(s.templates.next), waba: waba, name: t.Name, language: t.Language, category: strings.ToUpper(cmp.Or(t.Category, "utility")),
		format: "POSITIONAL", components: []json.RawMessage{marshal(body)}, loose: true, parameters: t.BodyParameters,
		status: templateApproved, quality: "GREEN",
	}
}

// within drops the times that are older than a span, and returns the rest.
func within(times []time.Time, now time.Time, span time.Duration) []time.Time {
	return slices.DeleteFunc(times, func(t time.Time) bool { return now.Sub(t) >= span })
}

// manageTemplates answers what is asked about templates, and reports whether it was.
func (s *Sim) manageTemplates(w http.ResponseWriter, r *http.Request, id, edge string) bool {
	st := &s.templates
	if edge == "message_templates" && slices.Contains(s.accounts(), id) {
		s.answer(w, id, func(now time.Time) (any, *graphError) {
			switch r.Method {
			case http.MethodGet:
				return s.listTemplates(id, r.URL.Query())
			case http.MethodPost:
				return s.createTemplate(w, r, id, now)
			case http.MethodDelete:
				return s.deleteTemplates(id, r.URL.Query(), now)
			}
			return nil, invalid("Unsupported %s request", strings.ToLower(r.Method))
		})
		return true
	}
	st.mu.Lock()
	i := slices.IndexFunc(st.all, func(t *storedTemplate) bool { return t.id == id })
	var t *storedTemplate
	if i >= 0 {
		t = st.all[i]
	}
	st.mu.Unlock()
	if t == nil {
		return false
	}
	s.answer(w, t.waba, func(now time.Time) (any, *graphError) {
		switch r.Method + " " + edge {
		case "GET ":
			return t.show(r.URL.Query().Get("fields"))
		case "POST ":
			return s.editTemplate(w, r, t, now)
		case "POST unpause":
			if t.status != templatePaused {
				return nil, &graphError{status: http.StatusBadRequest, code: 100, message: "Invalid parameter", details: "The template is not paused."}
			}
			s.changeTemplate(t, TemplateChange{Status: templateApproved, Title: "UNPAUSE"}, now)
			return map[string]any{"success": true}, nil
		}
		return nil, invalid("Unsupported %s request", strings.ToLower(r.Method))
	})
	return true
}

// answer counts a call for an account, and answers it, unless there were too many.
func (s *Sim) answer(w http.ResponseWriter, waba string, do func(now time.Time) (any, *graphError)) {
	st := &s.templates
	st.mu.Lock()
	defer st.mu.Unlock()
	now := s.clock.now()
	s.templatesAt(now)
	most := cmp.Or(s.o.ManagementPerHour, defaultManagement)
	if st.calls[waba] = within(st.calls[waba], now, time.Hour); len(st.calls[waba]) >= most {
		s.refused(w, errorOf(80007, "There have been too many calls to this WhatsApp Business account. Wait a bit and try again."))
		return
	}
	st.calls[waba] = append(st.calls[waba], now)
	v, refusal := do(now)
	if refusal != nil {
		s.refused(w, refusal)
		return
	}
	reply(w, http.StatusOK, v)
}

// templatesAt does what has happened by itself up to now. The caller holds the lock.
func (s *Sim) templatesAt(now time.Time) {
	for _, t := range s.templates.all {
		for _, a := range slices.Clone(t.ahead) {
			if now.Before(a.at) {
				continue
			}
			t.ahead = slices.DeleteFunc(t.ahead, func(o ahead) bool { return o == a })
			s.changeTemplate(t, a.what, now)
		}
	}
}

// by arranges for something to happen to a template. The caller holds the lock.
func (s *Sim) by(t *storedTemplate, d time.Duration, c TemplateChange) {
	if d == manual {
		return
	}
	at := s.clock.now().Add(d)
	t.ahead = append(t.ahead, ahead{at, c})
	s.out.put(0, item{due: at, do: func() {
		s.templates.mu.Lock()
		defer s.templates.mu.Unlock()
		s.templatesAt(s.clock.now())
	}})
}

var templateFields = []string{
	"id", "name", "language", "status", "category", "parameter_format", "components", "quality_score", "rejected_reason", "message_send_ttl_seconds",
	"previous_category", "sub_category", "correct_category", "cta_url_link_tracking_opted_out", "library_template_name",
}

// show writes the fields of a template that were asked for.
func (t *storedTemplate) show(fields string) (any, *graphError) {
	all := map[string]any{
		"name": t.name, "language": t.language, "status": t.status, "category": t.category, "parameter_format": t.format, "components": t.components,
		"quality_score": map[string]any{"score": cmp.Or(t.quality, "UNKNOWN")}, "rejected_reason": cmp.Or(t.reason, "NONE"),
	}
	if t.ttl != 0 {
		all["message_send_ttl_seconds"] = t.ttl
	}
	out := map[string]any{"id": t.id}
	if fields == "" {
		fields = "name,language,status,category,parameter_format,components"
	}
	for f := range strings.SplitSeq(fields, ",") {
		f = strings.TrimSpace(f)
		if !slices.Contains(templateFields, f) {
			return nil, invalid("Tried accessing nonexisting field (%s) on node type (WhatsAppMessageTemplate)", f)
		}
		if v, ok := all[f]; ok {
			out[f] = v
		}
	}
	return out, nil
}

func (s *Sim) listTemplates(waba string, q url.Values) (any, *graphError) {
	st := &s.templates
	var found []*storedTemplate
	for _, t := range st.all {
		if t.waba == waba && strings.Contains(t.name, q.Get("name")) &&
			(q.Get("status") == "" || q.Get("status") == t.status) && (q.Get("language") == "" || q.Get("language") == t.language) {
			found = append(found, t)
		}
	}
	limit, err := strconv.Atoi(cmp.Or(q.Get("limit"), "25"))
	if err != nil || limit < 1 {
		return nil, invalid("Param limit must be a positive number")
	}
	limit = min(limit, cmp.Or(s.o.TemplatePage, maxTemplatePage))
	from := 0
	if after := q.Get("after"); after != "" {
		raw, _ := base64.RawURLEncoding.DecodeString(after)
		var round int
		if n, _ := fmt.Sscanf(string(raw), "%d:%d", &round, &from); n != 2 || round != st.round || from > len(found) {
			return nil, errorOf(131059, "The cursor is invalid or has expired.")
		}
	}
	data := []any{}
	to := min(from+limit, len(found))
	for _, t := range found[from:to] {
		v, refusal := t.show(q.Get("fields"))
		if refusal != nil {
			return nil, refusal
		}
		data = append(data, v)
	}
	cursor := func(n int) string {
		return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d:%d", st.round, n))
	}
	paging := map[string]any{"cursors": map[string]string{"before": cursor(from), "after": cursor(to)}}
	if to < len(found) {
		next := maps.Clone(q)
		next.Set("after", cursor(to))
		paging["next"] = "https://graph.facebook.com/v25.0/" + waba + "/message_templates?" + next.Encode()
	}
	return map[string]any{"data": data, "paging": paging}, nil
}

// ExpireCursors makes the cursors of all lists invalid.
func (s *Sim) ExpireCursors() {
	s.templates.mu.Lock()
	defer s.templates.mu.Unlock()
	s.templates.round++
}

// templateBody is what creating and editing take.
type templateBody struct {
	Name        string            `json:"name"`
	Language    string            `json:"language"`
	Category    string            `json:"category"`
	Format      string            `json:"parameter_format"`
	Components  []json.RawMessage `json:"components"`
	TTL         int               `json:"message_send_ttl_seconds"`
	AllowChange *bool             `json:"allow_category_change"` // is taken and has no effect
}

func readTemplate(w http.ResponseWriter, r *http.Request) (templateBody, *graphError) {
	var b templateBody
	raw, ok := readBody(w, r)
	if !ok {
		return b, invalid("The request is too large")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&b); err != nil {
		return b, invalid("%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return b, nil
}

func (s *Sim) createTemplate(w http.ResponseWriter, r *http.Request, waba string, now time.Time) (any, *graphError) {
	st := &s.templates
	b, refusal := readTemplate(w, r)
	if refusal != nil {
		return nil, refusal
	}
	parts, refusal := checkDefinition(&b, false)
	if refusal != nil {
		return nil, refusal
	}
	if st.made[waba] = within(st.made[waba], now, time.Hour); len(st.made[waba]) >= maxCreations {
		return nil, errorOf(80007, "Too many templates were created within an hour.")
	}
	count := 0
	for _, t := range st.all {
		if t.waba != waba {
			continue
		}
		count++
		if t.name == b.Name && t.language == b.Language {
			return nil, ofTemplates(2388024, "Content in this language already exists", "There is already content in this language for this template. You can create a new template and try again.")
		}
	}
	if now.Before(st.blocked[waba+"/"+b.Name]) {
		return nil, ofTemplates(2388023, "Message template language is being deleted", "New content cannot be added while the existing content is being deleted. Try again in 4 weeks or consider creating a new message template.")
	}
	if count >= cmp.Or(s.o.MaxTemplates, defaultTemplates) {
		return nil, ofTemplates(2388019, "Message template limit exceeded", "The account has as many templates as it may have.")
	}
	st.next++
	t := &storedTemplate{
		id: strconv.Itoa(st.next), waba: waba, name: b.Name, language: b.Language, category: b.Category, format: cmp.Or(b.Format, "POSITIONAL"),
		components: b.Components, parts: parts, ttl: b.TTL, status: templatePending, quality: "UNKNOWN",
	}
	st.all = append(st.all, t)
	st.made[waba] = append(st.made[waba], now)
	s.review(t)
	return map[string]string{"id": t.id, "status": t.status, "category": t.category}, nil
}

// review has somebody look at a template.
func (s *Sim) review(t *storedTemplate) {
	look := s.o.Review
	if look == nil {
		look = DefaultReview
	}
	v := look(Reviewed{Name: t.name, Language: t.language, Category: t.category, Text: allText(t.parts)})
	delay := s.o.ReviewDelay
	if delay < 0 {
		delay = manual
	}
	s.by(t, delay, TemplateChange{Status: v.Status, Reason: v.Reason, Category: v.Category})
}

func (s *Sim) editTemplate(w http.ResponseWriter, r *http.Request, t *storedTemplate, now time.Time) (any, *graphError) {
	b, refusal := readTemplate(w, r)
	if refusal != nil {
		return nil, refusal
	}
	switch {
	case b.Name != "" || b.Language != "" || b.Format != "":
		return nil, invalid("The name, language and parameter_format of a template cannot be changed.")
	case t.status != templateApproved && t.status != templateRejected && t.status != templatePaused:
		return nil, &graphError{status: http.StatusBadRequest, code: 100, message: "Invalid parameter", details: "Only approved, rejected and paused templates can be edited."}
	case t.status == templateApproved && b.Category != "" && b.Category != t.category:
		return nil, &graphError{status: http.StatusBadRequest, code: 100, message: "Invalid parameter", details: "The category of an approved template cannot be changed."}
	}
	b.Name, b.Language, b.Format, b.Category = t.name, t.language, t.format, cmp.Or(b.Category, t.category)
	parts, refusal := checkDefinition(&b, true)
	if refusal != nil {
		return nil, refusal
	}
	if t.status == templateApproved {
		t.edits = within(t.edits, now, nameBlocked)
		lately := 0
		for _, at := range t.edits {
			if now.Sub(at) < 24*time.Hour {
				lately++
			}
		}
		if lately >= editsPerDay || len(t.edits) >= editsPerMonth {
			return nil, &graphError{status: http.StatusBadRequest, code: 100, message: "Invalid parameter", details: "An approved template can be edited once a day, and ten times in 30 days."}
		}
		t.edits = append(t.edits, now)
	}
	t.components, t.parts, t.category, t.loose, t.status, t.reason = b.Components, parts, b.Category, false, templatePending, ""
	if b.TTL != 0 {
		t.ttl = b.TTL
	}
	s.review(t)
	return map[string]any{"success": true}, nil
}

func (s *Sim) deleteTemplates(waba string, q url.Values, now time.Time) (any, *graphError) {
	st := &s.templates
	name, id := q.Get("name"), q.Get("hsm_id")
	if name == "" {
		return nil, invalid("The parameter name is required.")
	}
	var gone []*storedTemplate
	for _, t := range st.all {
		if t.waba == waba && t.name == name && (id == "" || t.id == id) {
			gone = append(gone, t)
		}
	}
	if len(gone) == 0 {
		return nil, ofTemplates(2593002, "Message template not found", "The message template was not found.")
	}
	for _, t := range gone {
		if t.status == templateDisabled {
			return nil, &graphError{status: http.StatusBadRequest, code: 100, message: "Invalid parameter", details: "A disabled template cannot be deleted."}
		}
	}
	st.all = slices.DeleteFunc(st.all, func(t *storedTemplate) bool { return slices.Contains(gone, t) })
	st.round++
	if id == "" || !slices.ContainsFunc(st.all, func(t *storedTemplate) bool { return t.waba == waba && t.name == name }) {
		st.blocked[waba+"/"+name] = now.Add(nameBlocked)
	}
	for _, t := range gone {
		t.ahead = nil
		s.tellStatus(t, "DELETED", "", "")
	}
	return map[string]any{"success": true}, nil
}
