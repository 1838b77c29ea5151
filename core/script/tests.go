package script

import (
	"context"
	"encoding/json"
	"time"

	"github.com/wabridge/wabridge/core"
)

// testTimeout bounds a run of all tests of a script.
const testTimeout = 60 * time.Second

// TestReport is what running a script's tests showed.
type TestReport struct {
	Tests []TestResult `json:"tests"`
	// Coverage says which lines of the script ran, file by file.
	Coverage []Coverage `json:"coverage"`
}

// TestResult is one test. It passed when nothing failed.
type TestResult struct {
	File string `json:"file"`
	Name string `json:"name"`
	// Line is where it is: "script.test.js:3".
	Line     string        `json:"line"`
	Failures []TestFailure `json:"failures,omitempty"`
	Took     time.Duration `json:"took"`
}

// TestFailure is one thing that was not as the test wants it.
type TestFailure struct {
	// Line is where in the test it is said.
	Line string `json:"line,omitempty"`
	// What differs, from what was wanted to what the script decided.
	What string `json:"what,omitempty"`
	Want string `json:"want,omitempty"`
	Got  string `json:"got,omitempty"`
	// Decided is everything that the script decided.
	Decided []string `json:"decided,omitempty"`
	// Text is there instead when the test itself went wrong.
	Text string `json:"text,omitempty"`
}

// Test runs the tests of a script, all in one worker, where they have no more
// than the script has. base is the JSON of the context that tests begin with.
// The error is CodeInvalid when the script or a test file cannot be used; a test
// that fails is in the report. It needs no Run.
func (e *Engine) Test(ctx context.Context, src Source, tests []Source, base []byte) (TestReport, error) {
	p, err := newProgram(src)
	if err != nil {
		return TestReport{}, err
	}
	for i := range tests {
		t, err := newProgram(tests[i])
		if err != nil {
			return TestReport{}, err
		}
		tests[i] = t.Source
	}
	o := e.o
	o.tests = &testRequest{Files: tests, Base: string(base)}
	gone := make(chan struct{})
	w, reply, err := o.startWorker(ctx, p, false, func() { close(gone) })
	if err == nil {
		e.report(reply)
		w.kill()
	}
	<-gone
	if err != nil {
		return TestReport{}, err
	}
	if reply.Tests == nil {
		return TestReport{}, core.Errorf(core.CodeInternal, "script", "test: %w", errFrame)
	}
	return *reply.Tests, nil
}

// testRequest asks a worker to run tests instead of taking calls.
type testRequest struct {
	Files []Source `json:"files"`
	Base  string   `json:"base"`
}

// runTests runs the tests of a script in a worker.
func runTests(load *loadRequest, c *compiled, src Source, clock *clock) (*TestReport, error) {
	s := &suite{script: c, source: src, clock: clock, own: newClock(testTimeout/2, testTimeout), base: load.Tests.Base}
	if !json.Valid([]byte(s.base)) {
		s.base = "{}"
	}
	for _, f := range load.Tests.Files {
		if err := s.file(f); err != nil {
			return nil, err
		}
	}
	s.report.Coverage = c.cover.report()
	return &s.report, nil
}
