package config

import (
	"errors"
	"strings"
)

// ErrInvalid is what every [*Error] is, for errors.Is.
var ErrInvalid = errors.New("config: invalid")

// Problem is one thing that is wrong.
type Problem struct {
	// File is where: a path as given by the owner, the name of an environment
	// variable, or a flag.
	File string `json:"file"`
	// Key is the path of the key within File: "web.listen",
	// "lanes[0].retry[1]"; empty when it concerns the whole file.
	Key string `json:"key,omitempty"`
	// Message says what is wrong and what to write instead. It holds no
	// secrets.
	Message string `json:"message"`
}

// String returns the problem as one line: "wabridge.toml: web.lisen: unknown
// key; did you mean listen?".
func (p Problem) String() string {
	s := p.Message
	if p.Key != "" {
		s = p.Key + ": " + s
	}
	if p.File != "" {
		s = p.File + ": " + s
	}
	return s
}

// Error is everything that is wrong with a configuration, in the order of the
// files.
type Error struct {
	Problems []Problem
}

// Error implements error: one line for each problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Is reports whether target is [ErrInvalid].
func (e *Error) Is(target error) bool { return target == ErrInvalid }
