package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/script"
)

// maxTestFile bounds a test file; the engine has its own bound and says so.
const maxTestFile = 1 << 20

func scriptTestCommand() *cli.Command {
	return &cli.Command{
		Name: "test", Usage: "run the tests beside a script", ArgsUsage: "[FILE]", Flags: scriptFlags,
		Description: "Tests are in files beside the script, *.test.js or *.test.ts; wabridge.d.ts says what they can ask:\n\n" +
			"   test(\"notes an order\", t => {\n" +
			"     t.message(\"I confirm order 4711\").expect({ reply: /noted/i, tags: [\"order\"] });\n   });\n\n" +
			"They run in a worker process, as scripts do. Lines that no test reaches are named.\n\n" +
			"Examples:\n   wabridge script test\n   wabridge script test drafts/demo",
		Action: func(c *cli.Context) error {
			t, err := targetOf(c)
			if err != nil {
				return err
			}
			src, err := t.source()
			if err != nil {
				return err
			}
			report, err := t.test(c, src)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				printJSON(c.App.Writer, report)
			} else {
				printTests(c.App.Writer, report)
			}
			return failedTests(report)
		},
	}
}

// failedTests is the error about tests that failed, or nil.
func failedTests(report *script.TestReport) error {
	failed := 0
	for _, r := range report.Tests {
		if len(r.Failures) > 0 {
			failed++
		}
	}
	if failed == 0 {
		return nil
	}
	return fail(exitFailed, "%d of %d tests failed", failed, len(report.Tests))
}

// test runs the tests beside the script.
func (t *target) test(c *cli.Context, src script.Source) (*script.TestReport, error) {
	tests, err := testFiles(filepath.Dir(t.file))
	if err != nil {
		return nil, err
	}
	if len(tests) == 0 {
		return nil, &exitError{
			code: exitNotFound, message: "there are no tests beside " + show(t.file),
			hint: "write them in a file like " + strings.TrimSuffix(filepath.Base(t.file), filepath.Ext(t.file)) + ".test.js; wabridge script test --help shows one",
		}
	}
	report, err := t.engine().Test(c.Context, src, tests, baseContext(&t.tenant))
	if err != nil {
		all := script.Source{Name: src.Name, Code: src.Code, Files: map[string][]byte{}}
		maps.Copy(all.Files, src.Files)
		for _, f := range tests {
			all.Files[f.Name] = f.Code
		}
		return nil, badScript(all, err)
	}
	return &report, nil
}

// testFiles reads the tests of a folder.
func testFiles(dir string) ([]script.Source, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []script.Source
	for _, e := range entries {
		if !isTest(e.Name()) {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxTestFile {
			return nil, fail(exitConfig, "%s: no file of at most %d bytes", filepath.Join(dir, e.Name()), maxTestFile)
		}
		code, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		out = append(out, script.Source{Name: e.Name(), Code: code})
	}
	return out, nil
}

func isTest(name string) bool {
	return strings.HasSuffix(name, ".test.js") || strings.HasSuffix(name, ".test.ts")
}

// baseContext is what a script's context begins with when nobody has written
// yet.
func baseContext(t *config.Tenant) []byte {
	settings := t.Settings
	if settings == nil {
		settings = map[string]any{}
	}
	data, err := json.Marshal(map[string]any{
		"contact":      map[string]any{"id": "ctest", "name": "Ana Test", "phone": "+15550100100"},
		"conversation": map[string]any{"id": "100000000000000:ctest", "new": true, "mode": "bot", "started": "2026-01-05T10:00:00Z", "messages": 0, "replies": 0},
		"tenant":       map[string]any{"id": t.ID, "name": t.Name},
		"settings":     settings, "language": "", "hours": "open",
	})
	if err != nil {
		return []byte("{}") // settings come from TOML, which has nothing that JSON lacks
	}
	return data
}

func printTests(w io.Writer, report *script.TestReport) {
	var took time.Duration
	failed := 0
	for _, r := range report.Tests {
		took += r.Took
		if len(r.Failures) == 0 {
			fmt.Fprintf(w, "ok    %s  %s\n", printable(r.Line), printable(r.Name))
			continue
		}
		failed++
		fmt.Fprintf(w, "FAIL  %s  %s\n", printable(r.Line), printable(r.Name))
		for i, f := range r.Failures {
			if f.Text != "" {
				fmt.Fprintf(w, "        %s\n", printable(f.Text))
				continue
			}
			fmt.Fprintf(w, "      %s: %s\n", printable(f.Line), printable(f.What))
			fmt.Fprintf(w, "        - want %s\n", printable(f.Want))
			fmt.Fprintf(w, "        + got  %s\n", printable(f.Got))
			if i+1 < len(r.Failures) && r.Failures[i+1].Line == f.Line {
				continue // said once, below the last of this place
			}
			for _, d := range f.Decided {
				fmt.Fprintf(w, "        decided: %s\n", printable(d))
			}
		}
	}
	fmt.Fprintf(w, "\n%d tests, %d failed, %s\n", len(report.Tests), failed, took.Round(time.Millisecond))
	for _, cov := range report.Coverage {
		if ext := path.Ext(cov.File); cov.Lines == 0 || ext == ".csv" || ext == ".json" || ext == ".toml" {
			continue // a table or data is one line that runs
		}
		fmt.Fprintf(w, "%s: %d of %d lines ran (%d %%)", printable(cov.File), cov.Lines-len(cov.Missed), cov.Lines, 100*(cov.Lines-len(cov.Missed))/cov.Lines)
		if len(cov.Missed) > 0 {
			fmt.Fprintf(w, "; not %s", ranges(cov.Missed))
		}
		fmt.Fprintln(w)
	}
}

// ranges writes sorted numbers as 3–5, 9.
func ranges(n []int) string {
	var parts []string
	for i := 0; i < len(n); {
		j := i
		for j+1 < len(n) && n[j+1] == n[j]+1 {
			j++
		}
		if i == j {
			parts = append(parts, fmt.Sprint(n[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d–%d", n[i], n[j]))
		}
		i = j + 1
	}
	return strings.Join(slices.Clip(parts), ", ")
}
