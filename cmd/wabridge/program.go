package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/spelling"
)

// program runs one command and returns the exit code.
func program(args []string, stdout, stderr io.Writer) int {
	app := newApp(stdout, stderr)
	args = flagsFirst(app, args)
	err := app.Run(args)
	report(stderr, err, slices.Contains(args, "--json"))
	return exitCode(err)
}

func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		DisableSliceFlagSeparator: true, // texts have commas
		Name:                      "wabridge", Usage: "connects WhatsApp with CRMs, and loses nothing on the way",
		Writer: stdout, ErrWriter: stderr, Version: version, HideVersion: true,
		Description: "Begin with: wabridge demo\nor with:    wabridge init, then check, then run\n\nExit codes:" + exitTable(),
		Commands: []*cli.Command{
			initCommand(), checkCommand(), runCommand(), demoCommand(), simCommand(), sendCommand(),
			whyCommand(), scriptCommand(), queueCommand(), limitsCommand(), deadCommand(), alarmCommand(), escalationCommand(), subscriptionCommand(), campaignCommand(), costCommand(), mediaCommand(), tokenCommand(), contactCommand(), mappingCommand(), requestCommand(), numberCommand(), consentCommand(), conversationCommand(), templateCommand(), versionCommand(), pluginCommand(), workerHelp(),
		},
		Action:         group(""),
		OnUsageError:   usageOf("wabridge", nil),
		ExitErrHandler: func(*cli.Context, error) {}, // the program reports and exits
	}
	each(app.Commands, func(c *cli.Command) {
		c.OnUsageError = usageOf(c.Name, c.Flags)
		c.HideHelpCommand = true
	})
	return app
}

// usageOf says what is wrong with a command's flags, and which one was probably meant.
func usageOf(command string, flags []cli.Flag) cli.OnUsageErrorFunc {
	var names []string
	for _, f := range flags {
		names = append(names, f.Names()...)
	}
	return func(_ *cli.Context, err error, _ bool) error {
		word, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
		if !unknown {
			return misused("%w", err)
		}
		e := fail(exitUsage, "%s: there is no flag --%s", command, strings.TrimLeft(word, "-"))
		if near := spelling.Nearest(word, names); near != "" {
			e.hint = "did you mean --" + near + "?"
		}
		return e
	}
}

// each calls f for the commands and those below them.
func each(commands []*cli.Command, f func(*cli.Command)) {
	for _, c := range commands {
		f(c)
		each(c.Subcommands, f)
	}
}

// group is the action of a command that only has commands below it.
func group(name string) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.Args().Present() {
			commands, path := c.App.Commands, ""
			if name != "" {
				commands, path = c.Command.Subcommands, name+" "
			}
			var names []string
			for _, one := range commands {
				names = append(names, one.Name)
			}
			e := fail(exitUsage, "there is no command %q", path+c.Args().First())
			e.hint = "see wabridge " + path + "--help"
			if near := spelling.Nearest(c.Args().First(), names); near != "" {
				e.hint = "did you mean wabridge " + path + near + "?"
			}
			return e
		}
		if name == "" {
			return cli.ShowAppHelp(c)
		}
		return cli.ShowSubcommandHelp(c)
	}
}

// flagsFirst puts the flags of each command before its arguments, so that both
// `why ID --json` and `why --json ID` work.
func flagsFirst(app *cli.App, args []string) []string {
	out := args[:1:1]
	commands, known := app.Commands, app.Flags
	var flags, rest []string
	for args := args[1:]; len(args) > 0; args = args[1:] {
		a := args[0]
		if a == "--" {
			rest = append(rest, args...)
			break
		}
		if strings.HasPrefix(a, "-") && a != "-" {
			flags = append(flags, a)
			if takesValue(known, a) && len(args) > 1 {
				flags = append(flags, args[1])
				args = args[1:]
			}
			continue
		}
		if i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(a) }); i >= 0 && len(rest) == 0 {
			out = append(append(out, flags...), a)
			commands, known, flags = commands[i].Subcommands, commands[i].Flags, nil
			continue
		}
		rest = append(rest, a)
	}
	return append(append(out, flags...), rest...)
}

// takesValue reports whether the argument after a flag is its value.
func takesValue(known []cli.Flag, flag string) bool {
	if strings.Contains(flag, "=") {
		return false
	}
	for _, f := range known {
		if slices.Contains(f.Names(), strings.TrimLeft(flag, "-")) {
			_, isBool := f.(*cli.BoolFlag)
			return !isBool
		}
	}
	return false
}

// report tells a person, or with --json a program, what went wrong. It is the
// only place where errors are printed.
func report(w io.Writer, err error, asJSON bool) {
	if err == nil {
		return
	}
	if asJSON {
		type told struct {
			Message  string           `json:"message"`
			Hint     string           `json:"hint,omitempty"`
			ExitCode int              `json:"exit_code"`
			Problems []config.Problem `json:"problems,omitempty"`
		}
		t := told{Message: err.Error(), Hint: hintOf(err), ExitCode: exitCode(err)}
		if e, ok := errors.AsType[*config.Error](err); ok {
			t.Problems = e.Problems
		}
		printJSON(w, map[string]told{"error": t})
		return
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(w, "wabridge:", printable(strings.TrimSuffix(line, "\n")))
	}
	if hint := hintOf(err); hint != "" {
		fmt.Fprintln(w, "  →", printable(hint))
	}
}
