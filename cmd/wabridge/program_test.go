package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
)

func TestCommands_ShowAnExampleAndTakeJSON(t *testing.T) {
	n := 0
	each(newApp(nil, nil).Commands, func(c *cli.Command) {
		if c.Hidden || c.Name == "serve" {
			return
		}
		n++
		if !strings.Contains(c.Description, "Example") {
			t.Errorf("%s: its help has no example", c.Name)
		}
		if len(c.Subcommands) > 0 {
			return
		}
		for _, f := range c.Flags {
			if f == jsonFlag {
				return
			}
		}
		t.Errorf("%s: takes no --json", c.Name)
	})
	if n < 17 {
		t.Errorf("found %d commands", n)
	}
}

func TestProgram_TakesFlagsAfterArguments(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"why ID --json", "why --json ID"},
		{"why --tenant a ID --json", "why --tenant a --json ID"},
		{"why ID --tenant=a", "why --tenant=a ID"},
		{"dead resolve 1 2 --note gone --json", "dead resolve --note gone --json 1 2"},
		{"dead --json resolve 1 --note list", "dead --json resolve --note list 1"},
		{"queue show demo list", "queue show demo list"},
		{"queue show demo -- --json", "queue show demo -- --json"},
		{"send --unknown x", "send --unknown x"},
		{"--help", "--help"},
	} {
		got := flagsFirst(newApp(nil, nil), append([]string{"wabridge"}, strings.Fields(tc.args)...))
		if diff := cmp.Diff("wabridge "+tc.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tc.args, diff)
		}
	}
}

func TestProgram_PrintsNothingThatMovesATerminal(t *testing.T) {
	evil := "\x1b]0;title\x07 \x1b[31mred\r\u202Eover\u009b2J\nline"
	var out bytes.Buffer
	tell(&out, broker.Story{ID: evil, Root: evil, Waiting: []string{evil}, Steps: []broker.Step{{
		Event: evil + "#1", Kind: core.KindMessageSend, Tenant: evil, Conversation: evil, Step: "dead", Lane: evil, Script: evil, Line: evil,
		Ref: evil, Notes: []string{evil}, Error: &core.Error{Message: evil, Hint: evil}, Time: time.Now(),
	}}})
	tab := newTable(&out, "A")
	tab.row(evil)
	tab.flush()
	report(&out, fmt.Errorf("%s", evil), false)
	if i := strings.IndexAny(out.String(), "\x1b\x07\r\u202e\u009b"); i >= 0 {
		t.Errorf("printed %q", out.String()[i:min(i+20, out.Len())])
	}
	if !strings.Contains(out.String(), "red") {
		t.Error("the text itself is gone")
	}
}

func TestReadme_HasTheExitCodes(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range exits {
		if e.code != i {
			t.Errorf("code %d is in place %d", e.code, i)
		}
		if row := fmt.Sprintf("| %d | %s |", e.code, e.means); !strings.Contains(string(readme), row) {
			t.Errorf("README.md lacks the row %s", row)
		}
	}
}

func TestElapsed_IsShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		12 * time.Millisecond: "12 ms", 1650 * time.Millisecond: "1.65 s", 75 * time.Second: "75 s", 10 * time.Minute: "10 min",
		5 * time.Hour: "5 h", 72 * time.Hour: "3 d",
	} {
		if got := elapsed(d); got != want {
			t.Errorf("elapsed(%v) = %s, want %s", d, got, want)
		}
	}
}
