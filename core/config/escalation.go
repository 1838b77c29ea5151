package config

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/escalation"
)

// Escalation says who takes over from the bot.
type Escalation struct {
	// Team gets what names no team.
	Team string `koanf:"team"`
	// HandOver is how soon one of a team's targets must have an escalation,
	// before the next team gets it.
	HandOver time.Duration `koanf:"hand_over"`
	// AfterMessages is after how many messages of a conversation that no person
	// looked at one is asked; 0 is never.
	AfterMessages int               `koanf:"after_messages"`
	Rules         []escalation.Rule `koanf:"rules"`
}

// The kinds of targets.
const (
	TargetWebhook = "webhook"
	TargetEmail   = "email"
)

// Target is where a team is told of escalations, beside the inbox.
type Target struct {
	Name string `koanf:"name"`
	// Kind is "webhook" or "email".
	Kind string `koanf:"kind"`
	// Retry are the waits before further attempts; nil are those of its kind: a
	// webhook is tried for some twenty minutes, a mail for more than an hour.
	Retry []time.Duration `koanf:"retry"`

	// URL gets a POST, signed with Secret.
	URL    string      `koanf:"url"`
	Secret core.Secret `koanf:"secret"`
	// AllowPrivate lets URL and Server be in a private network.
	AllowPrivate bool `koanf:"allow_private"`

	// Server is the mail server, host:port.
	Server   string      `koanf:"server"`
	User     string      `koanf:"user"`
	Password core.Secret `koanf:"password"`
	From     string      `koanf:"from"`
	// To are who gets the mail beside the person it is assigned to.
	To []string `koanf:"to"`
	// Message puts what the person wrote into the notice.
	Message bool `koanf:"message"`
	// Phone puts the whole number there, which is masked otherwise.
	Phone bool `koanf:"phone"`
	// Plaintext lets mail go without TLS, to a server on this machine.
	Plaintext bool `koanf:"plaintext"`
}

// Plan returns what the tenant's settings say about escalations. fold brings
// texts into the form in which keywords are compared; nil is lower case.
func (t *Tenant) Plan(fold func(string) string) (*escalation.Plan, []escalation.Problem) {
	s := escalation.Settings{
		Team: t.Escalation.Team, HandOver: t.Escalation.HandOver, Rules: t.Escalation.Rules,
		Teams: t.Teams, Calendars: t.Calendars, Fold: fold,
	}
	for _, target := range t.Targets {
		s.Targets = append(s.Targets, target.Name)
	}
	for _, l := range t.Lanes {
		s.Targets = append(s.Targets, l.Name)
	}
	return escalation.NewPlan(s)
}

// escalations fills in what follows from other settings of the tenant.
func (d *document) escalations(t *Tenant) {
	if len(t.Teams) > 0 && !d.ko.Exists("escalation.team") {
		t.Escalation.Team = t.Teams[0].ID
	}
	for i := range t.Calendars {
		t.Calendars[i].Holidays = d.holidays(fmt.Sprintf("calendars[%d].holidays", i), t.Calendars[i].Holidays)
	}
}

// holidays replaces each file:PATH by the dates in that file.
func (d *document) holidays(key string, list []string) []string {
	var dates []string
	for _, h := range list {
		name, isFile := strings.CutPrefix(h, "file:")
		if !isFile {
			dates = append(dates, h)
			continue
		}
		path := d.path(name)
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxFile {
			d.problem(key, "there is no file %s, or it is too large: it has a date on each line", name)
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			d.problem(key, "%s cannot be read", name)
		}
		for line := range strings.Lines(string(data)) {
			line, _, _ = strings.Cut(line, "#")
			if line = strings.TrimSpace(line); line != "" {
				dates = append(dates, line)
			}
		}
	}
	return dates
}

// checkEscalations checks who answers, and where they are told.
func (d *document) checkEscalations(t *Tenant) {
	d.between("escalation.after_messages", t.Escalation.AfterMessages, 0, 1000)
	names := map[string]bool{escalation.Inbox: true}
	for _, l := range t.Lanes {
		names[l.Name] = true
	}
	for i := range t.Targets {
		target, key := &t.Targets[i], fmt.Sprintf("targets[%d]", i)
		switch {
		case !core.TenantPattern.MatchString(target.Name):
			d.problem(key+".name", "a target's name is at most 40 of a-z, 0-9 and -, the first not a -")
		case names[target.Name]:
			d.problem(key+".name", "%q is the name of another target or lane: give each its own", target.Name)
		}
		names[target.Name] = true
		d.checkRetry(key+".retry", target.Retry)
		switch target.Kind {
		case TargetWebhook:
			d.checkWebhookTarget(key, target)
		case TargetEmail:
			d.checkEmailTarget(key, target)
		default:
			d.oneOf(key+".kind", target.Kind, TargetWebhook, TargetEmail)
		}
	}
	_, problems := t.Plan(nil)
	for _, p := range problems {
		d.problem(p.Key, "%s", p.Text)
	}
}

func (d *document) checkWebhookTarget(key string, target *Target) {
	if target.URL == "" {
		d.problem(key+".url", "is missing")
	}
	d.checkURL(key+".url", &target.URL)
	if u, err := url.Parse(target.URL); err == nil && loopback(u.Hostname()) && !target.AllowPrivate {
		d.problem(key+".url", "%s is on this machine: that needs allow_private = true", u.Hostname())
	}
	if len(target.Secret) < minToken {
		d.problem(key+".secret", "is missing or too short: the notices are signed with it; take at least %d random characters", minToken)
	}
}

func (d *document) checkEmailTarget(key string, target *Target) {
	host, port, err := net.SplitHostPort(target.Server)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 || host == "" {
		d.problem(key+".server", "%q is not host:port, like smtp.example.com:587", target.Server)
	} else if target.Plaintext && !loopback(host) {
		d.problem(key+".plaintext", "%s is another machine: mail would cross the network unprotected", host)
	}
	if !escalation.IsEmail(target.From) {
		d.problem(key+".from", "%q is no e-mail address, like bridge@example.com", target.From)
	}
	if i := slices.IndexFunc(target.To, func(to string) bool { return !escalation.IsEmail(to) }); i >= 0 {
		d.problem(fmt.Sprintf("%s.to[%d]", key, i), "%q is no e-mail address, like team@example.com", target.To[i])
	}
	if len(target.To) > 50 {
		d.problem(key+".to", "%d addresses are too many: at most 50", len(target.To))
	}
	if (target.User == "") != (target.Password == "") {
		d.problem(key+".user", "user and password go together")
	}
}
