package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/store/boltstore"
	"github.com/wabridge/wabridge/core/web"
)

// Exit codes: scripts and service managers rely on them.
const (
	exitDone = iota
	exitFailed
	exitUsage
	exitConfig
	exitLocked
	exitDamaged
	exitDisk
	exitInUse
	exitUnreachable
	exitNotFound
	exitRefused
)

// exits is what the codes mean, for `wabridge help` and the README.
var exits = []struct {
	code  int
	means string
}{
	{exitDone, "done"},
	{exitFailed, "it failed; the message says why"},
	{exitUsage, "the command was used wrongly"},
	{exitConfig, "the configuration or a script is wrong, or a secret is missing"},
	{exitLocked, "another wabridge runs on the data folder"},
	{exitDamaged, "the data or a consent ledger is damaged, or a newer wabridge wrote it"},
	{exitDisk, "the data folder is not writable, or the disk is full"},
	{exitInUse, "the address to listen on is taken"},
	{exitUnreachable, "the running bridge, or a vendor, cannot be reached"},
	{exitNotFound, "there is no such event, queue or dead letter"},
	{exitRefused, "the bridge or a vendor refused"},
}

// exitError is an error that knows its exit code.
type exitError struct {
	code    int
	message string
	// hint says what to do about it; may be empty.
	hint string
	err  error // the cause, if any; it is part of message already
}

func (f *exitError) Error() string { return f.message }
func (f *exitError) Unwrap() error { return f.err }

// fail makes an exitError. A %w verb sets its cause.
func fail(code int, format string, args ...any) *exitError {
	err := fmt.Errorf(format, args...)
	return &exitError{code: code, message: err.Error(), err: errors.Unwrap(err)}
}

// misused is a mistake in how a command was called.
func misused(format string, args ...any) error { return fail(exitUsage, format, args...) }

// exitCode returns the code that an error ends the program with.
func exitCode(err error) int {
	if f, ok := errors.AsType[*exitError](err); ok {
		return f.code
	}
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, config.ErrInvalid):
		return exitConfig
	case errors.Is(err, boltstore.ErrLocked):
		return exitLocked
	case errors.Is(err, boltstore.ErrDamaged), errors.Is(err, boltstore.ErrNewer):
		return exitDamaged
	case errors.Is(err, boltstore.ErrUnwritable), errors.Is(err, fs.ErrPermission):
		return exitDisk
	case errors.Is(err, web.ErrInUse):
		return exitInUse
	}
	return exitFailed
}

// hintOf returns what to do about an error, or "".
func hintOf(err error) string {
	if f, ok := errors.AsType[*exitError](err); ok && f.hint != "" {
		return f.hint
	}
	if e, ok := errors.AsType[*core.Error](err); ok {
		return e.Hint
	}
	return ""
}

// vendorCode is the exit code for what a vendor, or a connector, said.
func vendorCode(err error) int {
	switch core.CodeOf(err) {
	case core.CodeUnavailable, core.CodeUnknownOutcome, core.CodeRateLimited:
		return exitUnreachable
	case core.CodeInvalid:
		return exitConfig
	}
	return exitRefused
}

// exitTable is the codes for the help.
func exitTable() string {
	var b strings.Builder
	for _, e := range exits {
		fmt.Fprintf(&b, "\n%4d  %s", e.code, e.means)
	}
	return b.String()
}
