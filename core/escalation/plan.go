package escalation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The topics that the bridge raises. Scripts have words of their own.
const (
	TopicComplaint     = "complaint"
	TopicRequest       = "request" // the person asks for a person
	TopicKeyword       = "keyword"
	TopicMessages      = "messages" // many messages, and no person yet
	TopicLowConfidence = "low_confidence"
	TopicLoop          = "loop"   // a machine answers
	TopicScript        = "script" // the script asks, or failed
)

// Topics lists those that the bridge raises.
func Topics() []string {
	return []string{TopicComplaint, TopicRequest, TopicKeyword, TopicMessages, TopicLowConfidence, TopicLoop, TopicScript}
}

// The priorities, in their order. The empty one is normal.
const (
	Low    = "low"
	Normal = "normal"
	High   = "high"
)

// Higher returns the higher of two priorities.
func Higher(a, b string) string {
	rank := func(p string) int { return slices.Index([]string{Low, Normal, High}, p) }
	if a == "" {
		a = Normal
	}
	if b != "" && rank(b) > rank(a) {
		return b
	}
	return a
}

// How a team shares out what comes.
const (
	RoundRobin = "round_robin"
	LeastLoad  = "least_load"
)

// Inbox is the target that every bridge has: its own list of who waits.
const Inbox = "inbox"

// Settings are what a tenant's file says about escalations.
type Settings struct {
	// Team gets what names no team.
	Team string
	// HandOver is how soon a target of the team must have an escalation, before
	// the next level gets it.
	HandOver  time.Duration
	Rules     []Rule
	Teams     []Team
	Calendars []CalendarSettings
	// Targets are the names of what teams may be told by, beside [Inbox].
	Targets []string
	// Fold brings texts into the form in which keywords are compared; nil is
	// lower case.
	Fold func(string) string
}

// Team is people who answer.
type Team struct {
	// ID is how rules and scripts call it, Name what people read.
	ID      string   `koanf:"id"`
	Name    string   `koanf:"name"`
	Members []Member `koanf:"members"`
	// Calendar is the id of the calendar with the team's hours; empty is always.
	Calendar string `koanf:"calendar"`
	// Assign is RoundRobin or LeastLoad.
	Assign string `koanf:"assign"`
	// Next is the team that gets what this one does not answer within Deadline.
	Next     string        `koanf:"next"`
	Deadline time.Duration `koanf:"deadline"`
	// Targets are where the team is told: "inbox", and names of [[targets]].
	Targets []string `koanf:"targets"`
}

// Member is a person of a team.
type Member struct {
	ID    string `koanf:"id"`
	Name  string `koanf:"name"`
	Email string `koanf:"email"`
	// CRMOwner is the person's id as an owner of records in the CRM.
	CRMOwner string `koanf:"crm_owner"`
}

// Rule says who gets what. The first rule that fits decides.
type Rule struct {
	// Topic is what it is about; empty fits all.
	Topic string `koanf:"topic"`
	// Keywords raise the topic by themselves ("keyword" without one) when a
	// message has one of them, and the rule then is for those messages only.
	Keywords []string `koanf:"keywords"`
	Team     string   `koanf:"team"`
	Priority string   `koanf:"priority"`
	// Deadline is by when a person must have answered; 0 is the team's.
	Deadline time.Duration `koanf:"deadline"`
	// AnyTime lets the deadline run also while the team's calendar is closed.
	AnyTime bool `koanf:"any_time"`
}

// CalendarSettings make a calendar.
type CalendarSettings struct {
	ID       string   `koanf:"id"`
	Zone     string   `koanf:"zone"`
	Hours    []string `koanf:"hours"`
	Holidays []string `koanf:"holidays"`
	// Message is what a person is told, once, who is handed over while nobody
	// is there; empty is nothing. Messages are the same by language, for
	// conversations that are held in one.
	Message  string            `koanf:"message"`
	Messages map[string]string `koanf:"messages"`
}

// Problem is something wrong with settings: the key and a line about it.
type Problem struct{ Key, Text string }

// Plan is settings that were checked. It is not changed.
type Plan struct {
	s         Settings
	teams     map[string]*Team
	calendars map[string]*Calendar
	messages  map[string]map[string]string // of calendars, by language; "" is any
	keywords  [][]string                   // folded, by rule
}

// Defaults of what settings leave out.
const (
	DefaultDeadline  = 15 * time.Minute
	DefaultHandOver  = 20 * time.Second
	maxDeadline      = 30 * 24 * time.Hour
	maxTeams         = 200
	maxMembers       = 200
	maxRules         = 200
	maxRuleKeywords  = 500
	maxMessage       = 1000 // bytes
	complaintAnswers = 5 * time.Minute
)

// NewPlan checks settings. With problems, the plan is of no use.
func NewPlan(s Settings) (*Plan, []Problem) {
	p := &Plan{s: s, teams: map[string]*Team{}, calendars: map[string]*Calendar{}, messages: map[string]map[string]string{}}
	if p.s.Fold == nil {
		p.s.Fold = strings.ToLower
	}
	if p.s.HandOver == 0 {
		p.s.HandOver = DefaultHandOver
	}
	c := &checker{plan: p}
	c.calendars()
	c.teams()
	c.rules()
	if s.HandOver < 0 || s.HandOver > time.Hour {
		c.problem("escalation.hand_over", "%v is not between 0 and 1h", s.HandOver)
	}
	return p, c.problems
}

// Team returns a team by its id. Where no teams are declared, every team is
// one, without members.
func (p *Plan) Team(id string) (Team, bool) {
	if t, ok := p.teams[id]; ok {
		return *t, true
	}
	if len(p.s.Teams) > 0 {
		return Team{}, false
	}
	return Team{ID: id, Deadline: DefaultDeadline, Assign: RoundRobin, Targets: []string{Inbox}}, true
}

// Teams returns the ids of the declared teams, sorted.
func (p *Plan) Teams() []string { return slices.Sorted(maps.Keys(p.teams)) }

// HandOver is how soon a target must have an escalation.
func (p *Plan) HandOver() time.Duration { return p.s.HandOver }

// Calendar returns a team's calendar (nil: always open).
func (p *Plan) Calendar(team string) *Calendar {
	t := p.teams[team]
	if t == nil || t.Calendar == "" {
		return nil
	}
	return p.calendars[t.Calendar]
}

// Away returns what is said, in a language if possible, to who is handed over to
// a team outside its hours; "" is nothing.
func (p *Plan) Away(team, language string) string {
	t := p.teams[team]
	if t == nil {
		return ""
	}
	messages := p.messages[t.Calendar]
	return cmp.Or(messages[language], messages[""])
}

// Route is where an escalation goes.
type Route struct {
	Team     Team
	Priority string
	// Deadline is how long the team has to answer; AnyTime when it runs also
	// outside its hours.
	Deadline time.Duration
	AnyTime  bool
}

// Route finds where a topic goes: by the first rule that fits, where wanted, a
// team that a script names, has the last word on the team. text is what the
// person wrote.
func (p *Plan) Route(topic, wanted, text string) Route {
	r := Route{Priority: Normal}
	var rule Rule
	folded := p.s.Fold(text)
	for i, candidate := range p.s.Rules {
		if (candidate.Topic == "" || candidate.Topic == topic) &&
			(len(candidate.Keywords) == 0 || has(folded, p.keywords[i]) != "") {
			rule = candidate
			break
		}
	}
	if topic == TopicComplaint {
		r.Priority, r.Deadline = High, complaintAnswers
	}
	for _, id := range []string{wanted, rule.Team, p.s.Team} {
		if t, ok := p.Team(id); ok && id != "" {
			r.Team = t
			break
		}
	}
	if rule.Priority != "" {
		r.Priority = rule.Priority
	}
	r.AnyTime = rule.AnyTime
	switch {
	case rule.Deadline > 0:
		r.Deadline = rule.Deadline
	case r.Deadline == 0 || r.Team.Deadline < r.Deadline:
		r.Deadline = r.Team.Deadline
	}
	return r
}

// Due returns by when a team must have answered what was escalated at t.
func (p *Plan) Due(r Route, t time.Time) time.Time {
	cal := p.Calendar(r.Team.ID)
	if r.AnyTime || cal == nil {
		return t.Add(r.Deadline)
	}
	if due := cal.Add(t, r.Deadline); !due.IsZero() {
		return due
	}
	return t.Add(maxDeadline) // a calendar that never opens again
}

// Triggered returns the topic that a message raises by a keyword of the rules,
// and the keyword; empty for none.
func (p *Plan) Triggered(text string) (topic, keyword string) {
	folded := ""
	for i, r := range p.s.Rules {
		if len(r.Keywords) == 0 {
			continue
		}
		if folded == "" {
			folded = p.s.Fold(text)
		}
		if w := has(folded, p.keywords[i]); w != "" {
			if r.Topic == "" {
				return TopicKeyword, w
			}
			return r.Topic, w
		}
	}
	return "", ""
}

// has returns the first of the words that a folded text has, as whole words;
// those in a script without spaces are found anywhere.
func has(folded string, words []string) string {
	for _, w := range words {
		for rest, from := folded, 0; ; {
			i := strings.Index(rest, w)
			if i < 0 {
				break
			}
			if dense(w) || edge(folded, from+i, from+i+len(w)) {
				return w
			}
			from += i + 1
			rest = folded[from:]
		}
	}
	return ""
}

// Pick chooses who gets the next escalation of a team: of those with the least
// load, when that is how the team shares, the one whose last is longest ago.
func (t *Team) Pick(of func(member string) Share) (Member, bool) {
	best := -1
	var least Share
	for i := range t.Members {
		s := of(t.Members[i].ID)
		if t.Assign != LeastLoad {
			s.Open = 0
		}
		if best < 0 || s.Open < least.Open || s.Open == least.Open && s.Last < least.Last {
			best, least = i, s
		}
	}
	if best < 0 {
		return Member{}, false
	}
	return t.Members[best], true
}

// Share is what a member got so far.
type Share struct {
	// Last numbers the member's last assignment among the team's; 0 is none.
	Last uint64
	// Open is how many escalations the member has now.
	Open int
}

// String describes a member for people.
func (m Member) String() string {
	if m.Name != "" {
		return m.Name
	}
	return m.ID
}

func (r Route) String() string {
	return fmt.Sprintf("team %s, priority %s, to be answered within %s", r.Team.ID, r.Priority, r.Deadline)
}
