package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wabridge/wabridge/core/app/rig"
)

// TestMain makes the test binary all the programs of the scripts: wabridge (and
// so its plugins and workers, which it starts from itself) and http, a small
// client.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == workerCommand || os.Args[1] == "plugin") {
		main()
		return
	}
	testscript.Main(m, programs())
}

func TestScripts(t *testing.T) {
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir, files := "testdata/script", []string(nil)
	for _, name := range raced {
		files = append(files, filepath.Join(dir, name+".txtar"))
	}
	if len(files) > 0 {
		dir = ""
	}
	testscript.Run(t, testscript.Params{
		Dir: dir, Files: files, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("REPOSITORY", repository)
			e.Setenv("TOOLS", tools())
			e.Setenv("GORACE", "atexit_sleep_ms=0") // a program with the race detector in it would sleep for a second before it ends
			return errors.Join(ownTmp(e), goEnv(e))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"address": cmdAddress, "exits": cmdExits, "untilmade": cmdUntilMade, "nothingleft": cmdNothingLeft, "setfield": cmdSetField,
			"until": cmdUntil, "story": cmdStory, "examples": cmdExamples, "needs": cmdNeeds,
		},
	})
}

// ownTmp gives a script a temporary folder of its own, with a short path: sockets
// are made in it.
func ownTmp(e *testscript.Env) error {
	dir, err := os.MkdirTemp("", "wb")
	e.Defer(func() { _ = os.RemoveAll(dir) })
	e.Setenv("TMPDIR", dir)
	return err
}

// goEnv lets scripts build Go programs as this module is built: with its
// dependencies, from the machine's caches.
func goEnv(e *testscript.Env) error {
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			return fmt.Errorf("go env %s: %w", name, err)
		}
		e.Setenv(name, strings.TrimSpace(string(out)))
	}
	e.Setenv("GOPROXY", "off")
	e.Setenv("GOSUMDB", "off")
	e.Setenv("GOFLAGS", "-mod=mod -buildvcs=false")
	e.Setenv("GOTOOLCHAIN", "local")
	return nil
}

// cmdAddress sets variables to addresses that are free: address A B.
func cmdAddress(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		address, err := rig.Address()
		ts.Check(err)
		ts.Setenv(name, address)
	}
}

// cmdExits runs a program that must exit with a code: exits 3 wabridge check.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s exits with %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// patience is how long a script waits for what must happen.
const patience = 30 * time.Second

// until calls f until it returns nil, and fails the script with its last error
// when that takes too long.
func until(f func() error) error {
	end := time.Now().Add(patience)
	for {
		err := f()
		if err == nil || time.Now().After(end) {
			return err
		}
		<-time.After(20 * time.Millisecond)
	}
}

// cmdUntilMade waits until files are there: untilmade data/hot.db.
func cmdUntilMade(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		ts.Check(until(func() error {
			_, err := os.Stat(ts.MkAbs(name))
			return err
		}))
	}
}

// cmdUntil runs a program again and again until what it prints matches a regular
// expression, or with ! no longer does: until 'nothing waits' wabridge queue show
// demo decide.
func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: until REGEXP PROGRAM ARGS…")
	}
	pattern, err := regexp.Compile("(?s)" + args[0])
	ts.Check(err)
	ts.Check(until(func() error {
		err := ts.Exec(args[1], args[2:]...)
		if pattern.MatchString(ts.ReadFile("stdout")) != neg {
			return nil
		}
		<-time.After(100 * time.Millisecond) // each attempt is logged
		return errors.Join(fmt.Errorf("%s: not what the last output is", args[0]), err)
	}))
}

// needed are what plugins in other languages need of the machine: how to find out
// whether it is there, and the target of make that sees to it.
func needed(what string) (ask []string, target string) {
	switch what {
	case "curl":
		return []string{"curl", "--version"}, "tools"
	case "node":
		return []string{"test", "-f", filepath.Join(tools(), "plugin-node", "node_modules", ".package-lock.json")}, "node"
	default:
		return []string{"/usr/bin/python3", "-c", "import grpc, google.protobuf, cryptography"}, "python"
	}
}

// tools is where make puts what tests need; see the Makefile.
func tools() string {
	dir := os.Getenv("TOOLS")
	switch {
	case dir == "":
		dir = filepath.Join("..", "..", ".tools")
	case !filepath.IsAbs(dir):
		dir = filepath.Join("..", "..", dir)
	}
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

// checkNeeded says what is missing, after make could not see to it.
func checkNeeded(what string) error {
	ask, target := needed(what)
	if exec.Command(ask[0], ask[1:]...).Run() == nil {
		return nil
	}
	made, err := exec.Command("make", "-C", filepath.Join("..", ".."), target).CombinedOutput()
	if err != nil {
		return fmt.Errorf("plugins cannot be tested without %s: make %s: %w\n%s", what, target, err, made)
	}
	if out, err := exec.Command(ask[0], ask[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("plugins cannot be tested without %s: %w\n%s", what, err, out)
	}
	return nil
}

// cmdNeeds fails, with what to install, when the machine cannot run plugins in a
// language: needs python.
func cmdNeeds(ts *testscript.TestScript, _ bool, args []string) {
	for _, language := range args {
		ts.Check(checkNeeded(language))
	}
}

// cmdSetField sets a variable to the value of a key in the JSON that the last
// command printed, the first of that name: setfield ID id.
func cmdSetField(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: setfield VARIABLE KEY")
	}
	_, rest, ok := strings.Cut(ts.ReadFile("stdout"), strconv.Quote(args[1])+":")
	if !ok {
		ts.Fatalf("no %q in the output", args[1])
	}
	value, _, _ := strings.Cut(rest, "\n")
	if text, after, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(value), `"`), `"`); ok && strings.HasPrefix(after, ",") {
		value = text // and more on the line
	}
	ts.Setenv(args[0], strings.Trim(value, `", `))
}

// cmdNothingLeft checks that processes and temporary files are gone; with the
// argument processes, only these: what a killed bridge leaves in the temporary
// folder is removed by the next.
func cmdNothingLeft(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) > 0 && args[0] == "processes" {
		ts.Check(until(orphans))
		return
	}
	ts.Check(until(func() error {
		entries, err := os.ReadDir(ts.Getenv("TMPDIR"))
		if err != nil {
			return err
		}
		for _, e := range entries {
			return fmt.Errorf("left over in the temporary folder: %s", e.Name())
		}
		return orphans()
	}))
}

// orphans returns an error about a process of our program whose parent is gone.
func orphans() error {
	program, err := exec.LookPath("wabridge")
	if err != nil {
		return err
	}
	info, err := os.Stat(program)
	if err != nil {
		return err
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	self := strconv.Itoa(os.Getpid()) // may be the same file, by another name
	for _, dir := range dirs {
		if filepath.Base(dir) == self {
			continue
		}
		if exe, err := os.Stat(filepath.Join(dir, "exe")); err != nil || !os.SameFile(exe, info) {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		parent := fields[1]
		if parent == self {
			continue
		}
		if exe, err := os.Stat(filepath.Join("/proc", parent, "exe")); err == nil && os.SameFile(exe, info) {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		return fmt.Errorf("left over: process %s, %s", filepath.Base(dir), strings.ReplaceAll(string(line), "\x00", " "))
	}
	return nil
}
