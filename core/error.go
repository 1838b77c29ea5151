package core

import (
	"errors"
	"fmt"
	"time"
)

// Code says what happens next to something that failed. The set is closed:
// every vendor's error is mapped to one of these where it enters the bridge.
type Code string

// The codes, and what the bridge does with a delivery that ends in one.
const (
	// CodeInvalid: this event can never be delivered as it is. Dead letter at
	// once; neighbours are not affected.
	CodeInvalid Code = "invalid"
	// CodeUndeliverable: the recipient cannot be written to (not on WhatsApp,
	// window closed, opted out). Reported to the CRM as a failed status, and a
	// dead letter; never retried.
	CodeUndeliverable Code = "undeliverable"
	// CodeRateLimited: too fast. The scope waits for RetryAfter (or a backoff);
	// it does not count as an attempt.
	CodeRateLimited Code = "rate_limited"
	// CodeUnavailable: it did not happen, a later attempt may succeed. Retried
	// by the lane's schedule; many in a row pause the lane.
	CodeUnavailable Code = "unavailable"
	// CodeUnknownOutcome: it may or may not have happened. Retried where the
	// sink is idempotent; otherwise held until the outcome is known, or a
	// person decides.
	CodeUnknownOutcome Code = "unknown_outcome"
	// CodeUnauthenticated: the sink refused our credentials. The lane pauses
	// and keeps its queue until they are renewed; it does not count as an
	// attempt.
	CodeUnauthenticated Code = "unauthenticated"
	// CodeForbidden: the credentials are good but do not allow this, or the
	// account is restricted. The lane pauses like for CodeUnauthenticated.
	CodeForbidden Code = "forbidden"
	// CodeInternal: a bug of ours or of a plugin. Retried, then a dead letter.
	CodeInternal Code = "internal"
)

// Codes lists every code.
func Codes() []Code {
	return []Code{CodeInvalid, CodeUndeliverable, CodeRateLimited, CodeUnavailable, CodeUnknownOutcome,
		CodeUnauthenticated, CodeForbidden, CodeInternal}
}

// Scope says how much an error holds up.
type Scope string

// The scopes. The zero Scope is the code's own: the lane for
// CodeUnauthenticated, CodeForbidden and CodeRateLimited, the event for others.
const (
	ScopeEvent        Scope = "event"
	ScopeConversation Scope = "conversation"
	ScopeLane         Scope = "lane"
	// ScopeAccount: the numbers of one business account at WhatsApp.
	ScopeAccount Scope = "account"
)

// Source says whose error it is.
type Source string

// The sources of errors.
const (
	SourceBridge Source = "bridge"
	SourcePlugin Source = "plugin"
	SourceVendor Source = "vendor"
)

// Error is an error as data. It crosses process boundaries unchanged, except
// for Err.
type Error struct {
	Code Code `json:"code"`
	// Op is what was being done, in a word or two: "send", "contact upsert".
	Op string `json:"op,omitempty"`
	// Message is one line for a person. It holds no secrets and no phone
	// numbers.
	Message string `json:"message"`
	// Hint says what a person can do, naming the setting to change.
	Hint   string `json:"hint,omitempty"`
	Source Source `json:"source,omitempty"`
	// Vendor is the vendor's own code: "131047", "VALIDATION_ERROR".
	Vendor string `json:"vendor,omitempty"`
	// RetryAfter is how long the sink asked us to wait; 0 when it did not say.
	// In JSON it is in nanoseconds.
	RetryAfter time.Duration `json:"retry_after,omitempty"`
	Scope      Scope         `json:"scope,omitempty"`
	// Err is the cause, if any.
	Err error `json:"-"`
}

// Error implements error: "op: message: cause".
func (e *Error) Error() string {
	s := e.Message
	if e.Op != "" {
		s = e.Op + ": " + s
	}
	if e.Vendor != "" {
		s += " (" + e.Vendor + ")"
	}
	if _, told := e.Err.(quiet); e.Err != nil && !told { //nolint:errorlint // deeper down, it is told by another
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Holds returns how much the error holds up, with the zero Scope resolved.
func (e *Error) Holds() Scope {
	if e.Scope != "" {
		return e.Scope
	}
	switch e.Code {
	case CodeUnauthenticated, CodeForbidden, CodeRateLimited:
		return ScopeLane
	}
	return ScopeEvent
}

// Errorf makes an Error. A %w verb sets its cause.
func Errorf(code Code, op, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	e := &Error{Code: code, Op: op, Message: err.Error()}
	if cause := errors.Unwrap(err); cause != nil {
		e.Err = quiet{cause}
	}
	return e
}

// quiet keeps a cause for errors.Is and errors.As when its text is already
// part of the message.
type quiet struct{ error }

func (q quiet) Unwrap() error { return q.error }

// AsError returns err as an *Error: itself, the first in its chain, or a new
// one with CodeInternal. It returns nil for nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeInternal, Message: err.Error(), Source: SourceBridge, Err: quiet{err}}
}

// CodeOf returns the code of err, CodeInternal for errors without one and ""
// for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	return AsError(err).Code
}
