package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core/escalation"
)

const teams = `
[escalation]
after_messages = 4
[[escalation.rules]]
topic = "complaint"
keywords = ["lawyer"]
team = "boss"
deadline = "1m"
any_time = true

[[calendars]]
id = "office"
zone = "Europe/Madrid"
hours = ["mon-fri 09:00-13:00 15:00-19:00"]
holidays = ["12-25", "file:holidays.txt"]

[[teams]]
id = "desk"
calendar = "office"
next = "boss"
targets = ["inbox", "pager", "mail"]
[[teams.members]]
id = "ana"
email = "ana@example.com"

[[teams]]
id = "boss"
deadline = "1h"

[[targets]]
name = "pager"
kind = "webhook"
url = "https://pager.example.com/in"
secret = "0123456789abcdef"

[[targets]]
name = "mail"
kind = "email"
server = "smtp.example.com:587"
from = "bridge@example.com"
to = ["team@example.com"]
`

func TestLoad_ReadsWhoAnswers(t *testing.T) {
	cfg := load(t, map[string]string{"wabridge.toml": smallMain, "tenants/a/tenant.toml": smallTenant + teams,
		"tenants/a/holidays.txt": "# ours\n2026-11-30  # St Andrew\n\n"}, options())
	a := cfg.Tenants[0]
	if a.Escalation.Team != "desk" || a.Escalation.AfterMessages != 4 || len(a.Targets) != 2 || a.Targets[0].Retry != nil {
		t.Errorf("got %+v, %+v", a.Escalation, a.Targets)
	}
	p, problems := a.Plan(nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	madrid, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		t.Fatal(err)
	}
	// Friday evening, the Monday is a holiday.
	due := p.Due(p.Route(escalation.TopicRequest, "", ""), time.Date(2026, 11, 27, 18, 50, 0, 0, madrid))
	if want := time.Date(2026, 12, 1, 9, 5, 0, 0, madrid); !due.Equal(want) {
		t.Errorf("due %s, want %s", due, want)
	}
}

func TestLoad_SaysWhatIsWrongWithWhoAnswers(t *testing.T) {
	for _, tc := range []struct{ name, old, new, want string }{
		{"unknown team", `team = "boss"`, `team = "bos"`, `escalation.rules[0].team: there is no team "bos"; did you mean boss?`},
		{"circle", `deadline = "1h"`, `next = "desk"`, `teams[0].next: goes round in a circle: desk → boss → desk`},
		{"hours", "mon-fri 09:00", "mon-fry 09:00", `calendars[0].hours: "mon-fry 09:00-13:00 15:00-19:00": "mon-fry" are no days`},
		{"no file", "file:holidays.txt", "file:holiday.txt", "calendars[0].holidays: there is no file holiday.txt"},
		{"unknown target", `"inbox", "pager"`, `"inbox", "pagr"`, `teams[0].targets[1]: there is no target "pagr"; did you mean pager?`},
		{"unknown key", "any_time", "anytime", "escalation.rules[0].anytime: unknown key; did you mean any_time?"},
		{"kind", `kind = "email"`, `kind = "mail"`, `targets[1].kind: "mail" is none of webhook, email`},
		{"secret", "0123456789abcdef", "short", "targets[0].secret: is missing or too short"},
		{"http", "https://pager", "http://pager", "targets[0].url: http://pager.example.com/in is not https"},
		{"this machine", "https://pager.example.com", "http://127.0.0.1:9", "targets[0].url: 127.0.0.1 is on this machine: that needs allow_private = true"},
		{"plain text", `from = "bridge`, "plaintext = true\n" + `from = "bridge`, "targets[1].plaintext: smtp.example.com is another machine"},
		{"from", "bridge@example.com", `bridge@example.com\r\nBcc: x@example.com`, "targets[1].from:"},
		{"server", "smtp.example.com:587", "smtp.example.com", `targets[1].server: "smtp.example.com" is not host:port`},
		{"user alone", `from = "bridge`, "user = \"x\"\n" + `from = "bridge`, "targets[1].user: user and password go together"},
		{"taken name", `name = "mail"`, `name = "pager"`, `targets[1].name: "pager" is the name of another target or lane`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := problems(t, map[string]string{"wabridge.toml": smallMain, "tenants/a/holidays.txt": "",
				"tenants/a/tenant.toml": smallTenant + strings.Replace(teams, tc.old, tc.new, 1)}, options())
			if !strings.Contains(got, tc.want) {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}
