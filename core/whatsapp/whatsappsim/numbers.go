package whatsappsim

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Line is a business number as Meta sees it.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/phone-numbers
type Line struct {
	Number string `json:"number"` // phone_number_id
	// Status is CONNECTED, PENDING (verified or not, but not registered), FLAGGED,
	// RESTRICTED, BANNED or DISCONNECTED (deregistered).
	Status string `json:"status"`
	// Verification is VERIFIED, NOT_VERIFIED or EXPIRED.
	Verification string `json:"verification"`
	Quality      string `json:"quality"`     // GREEN, YELLOW, RED or UNKNOWN
	NameStatus   string `json:"name_status"` // APPROVED, DECLINED …
	Limit        string `json:"limit"`       // TIER_250 … TIER_UNLIMITED
	Throughput   string `json:"throughput"`  // STANDARD or HIGH
	// Code is the one that was sent by SMS or told by voice, for whoever plays the
	// owner of the telephone; Method is which.
	Code   string `json:"code,omitempty"`
	Method string `json:"method,omitempty"`

	name     string
	pin      string
	codeAt   time.Time
	guesses  int // wrong PINs in a row
	guessed  time.Time
	attempts []time.Time // of registering and deregistering
	profile  map[string]any
	settings map[string]map[string]any // by object
}

// LineChange changes a number from Meta's side, and tells of it by the webhooks that
// Meta has for it. What is empty stays.
type LineChange struct {
	Number     string `json:"number,omitempty"` // "" is the first
	Status     string `json:"status,omitempty"`
	Quality    string `json:"quality,omitempty"`
	NameStatus string `json:"name_status,omitempty"`
	Limit      string `json:"limit,omitempty"`
	Throughput string `json:"throughput,omitempty"`
	// Silent sends no webhook.
	Silent bool `json:"silent,omitempty"`
}

// lines are the numbers' states.
type lines struct {
	mu sync.Mutex
	of map[string]*Line
}

func (l *lines) init(numbers []Number) {
	l.of = map[string]*Line{}
	for _, n := range numbers {
		line := &Line{
			Number: n.ID, Status: "CONNECTED", Verification: "VERIFIED", Quality: "GREEN", NameStatus: "APPROVED",
			Limit: cmp.Or(n.Limit, "TIER_UNLIMITED"), Throughput: "STANDARD", name: "Simulated Business", profile: map[string]any{},
			settings: map[string]map[string]any{"calling": {"status": "DISABLED"}, "storage_configuration": {"status": "DEFAULT"}},
		}
		if n.New {
			line.Status, line.Verification, line.Quality = "PENDING", "NOT_VERIFIED", "UNKNOWN"
		}
		l.of[n.ID] = line
	}
}

// Lines returns the numbers' states, in the order of Options.Numbers.
func (s *Sim) Lines() []Line {
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	out := make([]Line, 0, len(s.o.Numbers))
	for _, n := range s.o.Numbers {
		out = append(out, *s.lines.of[n.ID])
	}
	return out
}

// words that a LineChange may say.
var (
	lineStatuses = []string{"CONNECTED", "PENDING", "FLAGGED", "RESTRICTED", "BANNED", "DISCONNECTED"}
	qualities    = []string{"GREEN", "YELLOW", "RED", "UNKNOWN"}
	nameStatuses = []string{"APPROVED", "AVAILABLE_WITHOUT_REVIEW", "DECLINED", "EXPIRED", "PENDING_REVIEW", "NONE"}
	tiers        = []string{"TIER_250", "TIER_2K", "TIER_10K", "TIER_100K", "TIER_UNLIMITED"}
	levels       = []string{"STANDARD", "HIGH"}
)

// ChangeLine changes a number from Meta's side.
func (s *Sim) ChangeLine(c LineChange) (Line, error) {
	c.Number = cmp.Or(c.Number, s.o.Numbers[0].ID)
	for _, w := range []struct {
		name, word string
		of         []string
	}{
		{"status", c.Status, lineStatuses}, {"quality", c.Quality, qualities}, {"name_status", c.NameStatus, nameStatuses},
		{"limit", c.Limit, tiers}, {"throughput", c.Throughput, levels},
	} {
		if w.word != "" && !slices.Contains(w.of, w.word) {
			return Line{}, fmt.Errorf("%s %q: want one of %s", w.name, w.word, strings.Join(w.of, ", "))
		}
	}
	s.lines.mu.Lock()
	line := s.lines.of[c.Number]
	if line == nil {
		s.lines.mu.Unlock()
		return Line{}, fmt.Errorf("the business has no number %q", c.Number)
	}
	before := *line
	line.Status, line.Quality = cmp.Or(c.Status, line.Status), cmp.Or(c.Quality, line.Quality)
	line.NameStatus, line.Throughput = cmp.Or(c.NameStatus, line.NameStatus), cmp.Or(c.Throughput, line.Throughput)
	if c.Limit != "" { // the portfolio's: of all its numbers
		for _, l := range s.lines.of {
			l.Limit = c.Limit
		}
	}
	after := *line
	s.lines.mu.Unlock()
	if !c.Silent {
		s.tellLine(before, after)
	}
	return after, nil
}

// tellLine sends the webhooks that Meta has for what changed. Of a quality that falls
// there is none but what follows from it: a status, a restriction.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/account_update
func (s *Sim) tellLine(before, after Line) {
	n := s.numbers[after.Number]
	tell := func(field string, value map[string]any) { s.Notify(n.ID, field, marshal(value)) }
	if before.Limit != after.Limit {
		tell("business_capability_update", map[string]any{"max_daily_conversations_per_business": after.Limit, "max_phone_numbers_per_business": 20})
	}
	if before.Throughput != after.Throughput && after.Throughput == "HIGH" {
		tell("phone_number_quality_update", map[string]any{
			"display_phone_number": n.DisplayNumber, "event": "THROUGHPUT_UPGRADE", "max_daily_conversations_per_business": after.Limit,
		})
	}
	if before.NameStatus != after.NameStatus {
		tell("phone_number_name_update", map[string]any{
			"display_phone_number": n.DisplayNumber, "decision": after.NameStatus, "requested_verified_name": after.name, "rejection_reason": nil,
		})
	}
	if before.Status == after.Status {
		return
	}
	switch after.Status {
	case "BANNED":
		tell("account_update", map[string]any{
			"phone_number": n.DisplayNumber, "event": "DISABLED_UPDATE",
			"ban_info": map[string]any{"waba_ban_state": "DISABLE", "waba_ban_date": s.clock.now().UTC().Format("January 2, 2006")},
		})
	case "RESTRICTED":
		tell("account_update", map[string]any{
			"phone_number": n.DisplayNumber, "event": "ACCOUNT_RESTRICTION",
			"restriction_info": []map[string]any{{"restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING", "expiration": s.clock.now().Add(72 * time.Hour).Unix()}},
		})
	case "FLAGGED":
		tell("account_alerts", map[string]any{"entity_type": "PHONE_NUMBER", "entity_id": n.ID, "alert_info": map[string]any{
			"alert_severity": "WARNING", "alert_status": "ACTIVE", "alert_type": "QUALITY", "alert_description": "The quality of a phone number is low",
		}})
	case "CONNECTED":
		if before.Status == "BANNED" {
			tell("account_update", map[string]any{
				"phone_number": n.DisplayNumber, "event": "DISABLED_UPDATE", "ban_info": map[string]any{"waba_ban_state": "REINSTATE"},
			})
		}
	}
}

// cannotSend is why a number's status keeps it from sending.
func (s *Sim) cannotSend(n *Number, template bool) *graphError {
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	switch s.lines.of[n.ID].Status {
	case "PENDING", "DISCONNECTED":
		return errorOf(133010, "")
	case "BANNED":
		return errorOf(131031, "Business Account locked")
	case "RESTRICTED": // what the business begins
		if template {
			return errorOf(368, "")
		}
	}
	return nil
}

// manage answers what is about a number itself; false when it is something else.
func (s *Sim) manage(w http.ResponseWriter, r *http.Request, n *Number, edge string) bool {
	var err *graphError
	switch r.Method + " " + edge {
	case "GET ":
		s.showNumber(w, r, n)
		return true
	case "GET whatsapp_business_profile":
		s.showProfile(w, r, n)
		return true
	case "GET settings":
		s.showSettings(w, n)
		return true
	case "GET block_users":
		s.listBlocked(w, r, n)
		return true
	case "POST block_users", "DELETE block_users":
		s.blockUsers(w, r, n)
		return true
	case "POST settings":
		err = s.setSettings(r, n)
	case "POST ":
		err = s.setPIN(r, n)
	case "POST request_code":
		err = s.requestCode(r, n)
	case "POST verify_code":
		err = s.verifyCode(r, n)
	case "POST register":
		err = s.register(r, n)
	case "POST deregister":
		err = s.deregister(r, n)
	case "POST whatsapp_business_profile":
		err = s.setProfile(r, n)
	default:
		return false
	}
	if err != nil {
		s.refused(w, err)
		return true
	}
	reply(w, http.StatusOK, map[string]bool{"success": true})
	return true
}

// parameters reads a request's parameters, which Graph takes in the query, as a form
// and as JSON.
func parameters(r *http.Request) (map[string]any, *graphError) {
	out := map[string]any{}
	for k, v := range r.URL.Query() {
		out[k] = v[0]
	}
	r.Body = http.MaxBytesReader(nil, r.Body, maxBody)
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		_ = r.ParseMultipartForm(maxBody) //nolint:gosec // MaxBytesReader bounds it
		for k, v := range r.PostForm {
			out[k] = v[0]
		}
		return out, nil
	}
	dec := json.NewDecoder(r.Body)
	if err := dec.Decode(&out); err != nil && !errors.Is(err, io.EOF) {
		return nil, invalid("Invalid JSON: %v", err)
	}
	return out, nil
}

// text reads a parameter that is a text, or a number that was not quoted.
func text(p map[string]any, name string) string {
	switch v := p[name].(type) {
	case string:
		return v
	case float64:
		return fmt.Sprintf("%.0f", v)
	}
	return ""
}

const codeLives = 10 * time.Minute

func (s *Sim) requestCode(r *http.Request, n *Number) *graphError {
	p, err := parameters(r)
	if err != nil {
		return err
	}
	method := text(p, "code_method")
	switch {
	case method != "SMS" && method != "VOICE":
		return invalid("Param code_method must be one of {SMS, VOICE}")
	case !languagePattern.MatchString(text(p, "language")):
		return invalid("The parameter language is required.")
	}
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	line := s.lines.of[n.ID]
	if line.Verification == "VERIFIED" {
		return errorOf(136024, "The phone number is verified already.")
	}
	s.mu.Lock()
	line.Code = fmt.Sprintf("%06d", s.random.IntN(1_000_000))
	s.mu.Unlock()
	line.Method, line.codeAt = method, s.clock.now()
	return nil
}

var (
	languagePattern = regexp.MustCompile(`^[a-z]{2,3}(_[A-Z]{2})?$`)
	pinPattern      = regexp.MustCompile(`^[0-9]{6}$`)
)

func (s *Sim) verifyCode(r *http.Request, n *Number) *graphError {
	p, err := parameters(r)
	if err != nil {
		return err
	}
	code := strings.ReplaceAll(text(p, "code"), "-", "")
	if code == "" {
		return invalid("The parameter code is required.")
	}
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	line := s.lines.of[n.ID]
	if line.Code == "" || code != line.Code || s.clock.now().Sub(line.codeAt) > codeLives {
		return errorOf(136025, "Code couldn't be verified. Please try again or ask for a new code.")
	}
	line.Verification, line.Code, line.Method = "VERIFIED", "", ""
	return nil
}

// Bounds of registering, and of guessing PINs.
const (
	maxRegistrations = 10
	registrationSpan = 72 * time.Hour
	maxGuesses       = 5
	guessWait        = time.Hour
)

// attempt counts a registration or its end. The caller holds the lock.
func (l *Line) attempt(now time.Time) *graphError {
	l.attempts = slices.DeleteFunc(l.attempts, func(t time.Time) bool { return now.Sub(t) >= registrationSpan })
	if len(l.attempts) >= maxRegistrations {
		return errorOf(133016, "")
	}
	l.attempts = append(l.attempts, now)
	return nil
}

func (s *Sim) register(r *http.Request, n *Number) *graphError {
	p, err := parameters(r)
	if err != nil {
		return err
	}
	pin := text(p, "pin")
	switch {
	case text(p, "messaging_product") != "whatsapp":
		return invalid("The parameter messaging_product is required.")
	case !pinPattern.MatchString(pin):
		return invalid("Param pin must be 6 characters long.")
	}
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	line, now := s.lines.of[n.ID], s.clock.now()
	if err := line.attempt(now); err != nil {
		return err
	}
	switch {
	case line.Status == "BANNED":
		return errorOf(131031, "Business Account locked")
	case line.Verification != "VERIFIED":
		return errorOf(133006, "")
	case line.pin != "" && line.guesses >= maxGuesses && now.Sub(line.guessed) < guessWait:
		return errorOf(133008, fmt.Sprintf("Too many PIN guesses. Try again in %.0f seconds.", (guessWait-now.Sub(line.guessed)).Seconds()))
	case line.pin != "" && pin != line.pin:
		if line.guesses >= maxGuesses {
			line.guesses = 0
		}
		line.guesses++
		line.guessed = now
		return errorOf(133005, "")
	}
	line.pin, line.guesses = pin, 0
	if line.Status == "PENDING" || line.Status == "DISCONNECTED" {
		line.Status = "CONNECTED"
	}
	if line.Quality == "UNKNOWN" {
		line.Quality = "GREEN"
	}
	return nil
}

func (s *Sim) deregister(_ *http.Request, n *Number) *graphError {
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	line := s.lines.of[n.ID]
	if err := line.attempt(s.clock.now()); err != nil {
		return err
	}
	if line.Status == "PENDING" || line.Status == "DISCONNECTED" {
		return errorOf(133010, "")
	}
	line.Status = "DISCONNECTED"
	return nil
}

func (s *Sim) setPIN(r *http.Request, n *Number) *graphError {
	p, err := parameters(r)
	if err != nil {
		return err
	}
	pin := text(p, "pin")
	if !pinPattern.MatchString(pin) {
		return invalid("Param pin must be 6 characters long.")
	}
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	s.lines.of[n.ID].pin, s.lines.of[n.ID].guesses = pin, 0
	return nil
}

// hasAccount reports whether a business account has numbers here.
func (s *Sim) hasAccount(id string) bool {
	return id != "" && slices.ContainsFunc(s.o.Numbers, func(n Number) bool { return n.WABA == id })
}

// fields returns what a number says of itself.
func (s *Sim) fields(n *Number) map[string]any {
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	l := s.lines.of[n.ID]
	can := "AVAILABLE"
	switch l.Status {
	case "BANNED", "PENDING", "DISCONNECTED":
		can = "BLOCKED"
	case "RESTRICTED", "FLAGGED":
		can = "LIMITED"
	}
	return map[string]any{
		"id": n.ID, "display_phone_number": "+" + n.DisplayNumber, "verified_name": l.name, "quality_rating": l.Quality,
		"status": l.Status, "name_status": l.NameStatus, "code_verification_status": l.Verification,
		"platform_type": "CLOUD_API", "throughput": map[string]string{"level": l.Throughput},
		"whatsapp_business_manager_messaging_limit": l.Limit, "messaging_limit_tier": l.Limit, "is_pin_enabled": l.pin != "",
		"is_official_business_account": false, "account_mode": "LIVE", "webhook_configuration": map[string]string{"application": s.o.WebhookURL},
		"health_status": map[string]any{"can_send_message": can, "entities": []map[string]string{
			{"entity_type": "PHONE_NUMBER", "id": n.ID, "can_send_message": can},
			{"entity_type": "WABA", "id": n.WABA, "can_send_message": "AVAILABLE"},
		}},
	}
}

// selected takes the fields out that were asked for.
func selected(all map[string]any, fields string) (map[string]any, *graphError) {
	answer := map[string]any{"id": all["id"]}
	for f := range strings.SplitSeq(fields, ",") {
		v, ok := all[strings.TrimSpace(f)]
		if !ok {
			return nil, invalid("Tried accessing nonexisting field (%s)", f)
		}
		answer[strings.TrimSpace(f)] = v
	}
	return answer, nil
}

const defaultFields = "verified_name,code_verification_status,display_phone_number,quality_rating,platform_type,throughput,id"

// showNumber answers GET /{phone_number_id}.
func (s *Sim) showNumber(w http.ResponseWriter, r *http.Request, n *Number) {
	answer, err := selected(s.fields(n), cmp.Or(r.URL.Query().Get("fields"), defaultFields))
	if err != nil {
		s.refused(w, err)
		return
	}
	reply(w, http.StatusOK, answer)
}

// listNumbers answers GET /{account_id}/phone_numbers.
func (s *Sim) listNumbers(w http.ResponseWriter, r *http.Request, waba string) {
	data := []map[string]any{}
	for _, n := range s.o.Numbers {
		if n.WABA != waba {
			continue
		}
		one, err := selected(s.fields(&n), cmp.Or(r.URL.Query().Get("fields"), defaultFields))
		if err != nil {
			s.refused(w, err)
			return
		}
		data = append(data, one)
	}
	reply(w, http.StatusOK, map[string]any{"data": data, "paging": map[string]any{"cursors": map[string]string{"before": "MAZDZD", "after": "MQZDZD"}}})
}
