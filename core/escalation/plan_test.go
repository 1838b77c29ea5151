package escalation

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func settings() Settings {
	return Settings{
		Team: "desk",
		Teams: []Team{
			{ID: "desk", Calendar: "office", Next: "boss", Deadline: 10 * time.Minute, Targets: []string{Inbox, "pager"},
				Members: []Member{{ID: "ana", Email: "ana@example.com"}, {ID: "bo"}, {ID: "cy"}}},
			{ID: "boss", Deadline: time.Hour, Members: []Member{{ID: "zoe"}}},
		},
		Calendars: []CalendarSettings{{ID: "office", Zone: "UTC", Hours: []string{"mon-fri 09:00-17:00"}, Message: "We are back at nine."}},
		Rules: []Rule{
			{Topic: TopicComplaint, Keywords: []string{"lawyer", "denuncia", "投訴"}, Team: "boss", Deadline: time.Minute, AnyTime: true},
			{Keywords: []string{"invoice"}, Priority: Low},
			{Topic: TopicMessages, Priority: High},
		},
		Targets: []string{"pager"},
	}
}

func plan(t *testing.T, s Settings) *Plan {
	t.Helper()
	p, problems := NewPlan(s)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return p
}

func TestPlan_RoutesByTheFirstRuleThatFits(t *testing.T) {
	p := plan(t, settings())
	for _, tc := range []struct {
		topic, wanted, text string
		want                string
		anyTime             bool
	}{
		{TopicComplaint, "", "my lawyer will call", "team boss, priority high, to be answered within 1m0s", true},
		{TopicComplaint, "", "this is bad", "team desk, priority high, to be answered within 5m0s", false},
		{TopicMessages, "", "", "team desk, priority high, to be answered within 10m0s", false},
		{TopicKeyword, "", "the Invoice, please", "team desk, priority low, to be answered within 10m0s", false},
		{"returns", "boss", "", "team boss, priority normal, to be answered within 1h0m0s", false},
		{"returns", "nobody", "", "team desk, priority normal, to be answered within 10m0s", false},
	} {
		if r := p.Route(tc.topic, tc.wanted, tc.text); r.String() != tc.want || r.AnyTime != tc.anyTime {
			t.Errorf("%s, %q, %q: %s, any time %v", tc.topic, tc.wanted, tc.text, r, r.AnyTime)
		}
	}
}

func TestPlan_WithoutTeamsTakesAnyName(t *testing.T) {
	r := plan(t, Settings{Team: "support"}).Route(TopicRequest, "sales", "")
	if got := r.String(); got != "team sales, priority normal, to be answered within 15m0s" || len(r.Team.Targets) != 1 {
		t.Errorf("%s by %v", got, r.Team.Targets)
	}
}

func TestPlan_KeywordsAreWords(t *testing.T) {
	p := plan(t, settings())
	for text, want := range map[string]string{
		"I call my LAWYER!":     TopicComplaint + " lawyer",
		"lawyers everywhere":    " ",
		"outlawyer, lawyer":     TopicComplaint + " lawyer",
		"我要投訴你們":                TopicComplaint + " 投訴",
		"invoice":               TopicKeyword + " invoice",
		"nothing of the kind":   " ",
		"":                      " ",
		"denunciación":          " ",
		"pongo una denuncia ya": TopicComplaint + " denuncia",
	} {
		if topic, word := p.Triggered(text); topic+" "+word != want {
			t.Errorf("%q raises %s %s, want %s", text, topic, word, want)
		}
	}
}

func TestPlan_DeadlineWaitsForTheTeam(t *testing.T) {
	p := plan(t, settings())
	friday := time.Date(2026, 11, 27, 16, 55, 0, 0, time.UTC)
	if got, want := p.Due(p.Route("x", "", ""), friday), time.Date(2026, 11, 30, 9, 5, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("due %s, want %s", got, want)
	}
	if got := p.Due(p.Route(TopicComplaint, "", "lawyer"), friday.Add(time.Hour)); !got.Equal(friday.Add(61 * time.Minute)) {
		t.Errorf("what may not wait is due %s", got)
	}
	if p.Away("desk", "pt") == "" {
		t.Error("nothing is said to people outside the hours")
	}
}

func TestNewPlan_SaysWhatIsWrong(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Settings)
		want   string
	}{
		"unknown team of a rule": {func(s *Settings) { s.Rules[0].Team = "bos" }, `escalation.rules[0].team: there is no team "bos"; did you mean boss?`},
		"unknown default team":   {func(s *Settings) { s.Team = "x" }, `escalation.team: there is no team "x"; known are boss, desk`},
		"unknown next":           {func(s *Settings) { s.Teams[0].Next = "chief" }, `teams[0].next: there is no team "chief"; known are boss, desk`},
		"circle":                 {func(s *Settings) { s.Teams[1].Next = "desk" }, `teams[0].next: goes round in a circle: desk → boss → desk`},
		"itself":                 {func(s *Settings) { s.Teams[1].Next = "boss" }, `teams[1].next: goes round in a circle: boss → boss`},
		"unknown calendar":       {func(s *Settings) { s.Teams[0].Calendar = "ofice" }, `teams[0].calendar: there is no calendar "ofice"; did you mean office?`},
		"impossible hours":       {func(s *Settings) { s.Calendars[0].Hours = []string{"mon 9-17"} }, `calendars[0].hours: "mon 9-17": "9-17" are no hours: want 09:00-17:30`},
		"zone":                   {func(s *Settings) { s.Calendars[0].Zone = "Madrid" }, `calendars[0].zone: "Madrid" is no time zone, like Europe/Madrid or UTC`},
		"unknown target":         {func(s *Settings) { s.Teams[0].Targets = []string{"pagr"} }, `teams[0].targets[0]: there is no target "pagr"; did you mean pager?`},
		"two of one id":          {func(s *Settings) { s.Teams[1].ID = "desk" }, `teams[1].id: another has the id "desk": give each its own`},
		"no id":                  {func(s *Settings) { s.Teams[1].Members[0].ID = "" }, `teams[1].members[0].id: "" is no id: at most 40 of a-z, 0-9, - and _, like front-desk`},
		"e-mail":                 {func(s *Settings) { s.Teams[1].Members[0].Email = "Zoe <z@example.com>" }, `teams[1].members[0].email: "Zoe <z@example.com>" is no e-mail address, like ana@example.com`},
		"assign":                 {func(s *Settings) { s.Teams[1].Assign = "random" }, `teams[1].assign: "random" is none of round_robin, least_load`},
		"deadline":               {func(s *Settings) { s.Teams[1].Deadline = time.Millisecond }, `teams[1].deadline: 1ms is not between 1s and 720h`},
		"priority":               {func(s *Settings) { s.Rules[0].Priority = "urgent" }, `escalation.rules[0].priority: "urgent" is none of low, normal, high`},
		"topic":                  {func(s *Settings) { s.Rules[2].Topic = "message" }, `escalation.rules[2].topic: "message": did you mean messages?`},
		"keyword":                {func(s *Settings) { s.Rules[0].Keywords[0] = " " }, `escalation.rules[0].keywords[0]: " " has no letter or digit to look for`},
		"hand-over":              {func(s *Settings) { s.HandOver = 2 * time.Hour }, `escalation.hand_over: 2h0m0s is not between 0 and 1h`},
	} {
		t.Run(name, func(t *testing.T) {
			s := settings()
			tc.change(&s)
			_, problems := NewPlan(s)
			var got []string
			for _, p := range problems {
				got = append(got, p.Key+": "+p.Text)
			}
			if text := strings.Join(got, "\n"); !strings.Contains(text, tc.want) {
				t.Errorf("got  %s\nwant %s", text, tc.want)
			}
		})
	}
}

// Whatever comes and goes, a round robin gives nobody two more than another, and
// the least load never falls to somebody who has more than another.
func TestTeam_SharesFairly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		team := Team{Assign: rapid.SampledFrom([]string{RoundRobin, LeastLoad}).Draw(t, "assign")}
		for i := range rapid.IntRange(1, 6).Draw(t, "members") {
			team.Members = append(team.Members, Member{ID: fmt.Sprint(i)})
		}
		shares, total := map[string]Share{}, map[string]int{}
		n := uint64(0)
		for _, closes := range rapid.SliceOfN(rapid.IntRange(-1, 5), 1, 100).Draw(t, "closes") {
			m, ok := team.Pick(func(id string) Share { return shares[id] })
			if !ok {
				t.Fatal("nobody is picked")
			}
			for _, other := range team.Members {
				if team.Assign == LeastLoad && shares[other.ID].Open < shares[m.ID].Open {
					t.Fatalf("%s with %d, although %s has %d", m.ID, shares[m.ID].Open, other.ID, shares[other.ID].Open)
				}
				if team.Assign == RoundRobin && total[other.ID] < total[m.ID] {
					t.Fatalf("%s got %d, %s %d", m.ID, total[m.ID], other.ID, total[other.ID])
				}
			}
			n++
			total[m.ID]++
			shares[m.ID] = Share{n, shares[m.ID].Open + 1}
			if id := fmt.Sprint(closes); shares[id].Open > 0 {
				shares[id] = Share{shares[id].Last, shares[id].Open - 1}
			}
		}
	})
	if _, ok := (&Team{}).Pick(func(string) Share { return Share{} }); ok {
		t.Error("somebody is picked of nobody")
	}
}
