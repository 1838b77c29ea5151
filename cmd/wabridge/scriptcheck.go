package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
)

func scriptCheckCommand() *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "say what is wrong with a script, and where", ArgsUsage: "[FILE]", Flags: scriptFlags,
		Description: "Reads the script in a worker process, as the bridge does when it loads it.\n\n" +
			"Examples:\n   wabridge script check\n   wabridge script check tenants/demo/script.ts",
		Action: func(c *cli.Context) error {
			t, err := targetOf(c)
			if err != nil {
				return err
			}
			t.refreshTypes(c, filepath.Dir(t.file))
			src, err := t.check(c)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				printJSON(c.App.Writer, map[string]any{"ok": true, "file": t.file, "version": src.Hash()})
				return nil
			}
			fmt.Fprintf(c.App.Writer, "%s: nothing is wrong (version %s)\n", printable(show(t.file)), src.Hash())
			return nil
		},
	}
}

// check reads the script and has it read by a worker.
func (t *target) check(c *cli.Context) (script.Source, error) {
	src, err := t.source()
	if err != nil {
		return src, err
	}
	if err := t.engine().Check(c.Context, src); err != nil {
		return src, badScript(src, err)
	}
	return src, nil
}

// place is how an error says where: file, line and perhaps column.
var place = regexp.MustCompile(`([\w./-]+\.(?:[jt]s|json|csv|toml)):(\d+)(?::(\d+))?`)

// badScript is an error about a script, with the line that it points at.
func badScript(src script.Source, err error) error {
	if core.CodeOf(err) != core.CodeInvalid {
		return fail(exitFailed, "%w", err)
	}
	message := strings.TrimPrefix(err.Error(), "script: ")
	if shown := quoteLine(src, message); shown != "" {
		message += "\n" + shown
	}
	return &exitError{code: exitConfig, message: message, err: err, hint: hintOf(err)}
}

// quoteLine returns the line of the source that a message points at, with a mark
// below its column; "" when it points at none.
func quoteLine(src script.Source, message string) string {
	m := place.FindStringSubmatch(message)
	if m == nil {
		return ""
	}
	text, ok := src.Files[m[1]]
	if m[1] == filepath.Base(src.Name) {
		text, ok = src.Code, true
	}
	n, err := strconv.Atoi(m[2])
	lines := strings.Split(string(text), "\n")
	if !ok || err != nil || n < 1 || n > len(lines) {
		return ""
	}
	head := fmt.Sprintf("%5d | ", n)
	line := strings.ReplaceAll(strings.TrimRight(lines[n-1], "\r"), "\t", " ")
	out := head + clip(line, 160)
	if column, err := strconv.Atoi(m[3]); err == nil && column >= 1 && column <= min(len(line)+1, 160) {
		out += "\n" + strings.Repeat(" ", len(head)-2) + "| " + strings.Repeat(" ", len([]rune(line[:column-1]))) + "^"
	}
	return out
}
