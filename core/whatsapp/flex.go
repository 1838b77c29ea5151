package whatsapp

import (
	"bytes"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"time"
)

// Meta writes some numbers as strings and some strings as numbers, and has changed
// its mind on both. These types take either, and nothing for what is neither.

// flexID is an id: a string, or a number that should have been one.
type flexID string

// UnmarshalJSON implements [encoding/json.Unmarshaler]. It never fails.
func (s *flexID) UnmarshalJSON(b []byte) error {
	switch {
	case b[0] == '"' && bytes.IndexByte(b, '\\') < 0:
		*s = flexID(unquoted(b))
	case b[0] == '"':
		var text string
		_ = json.Unmarshal(b, &text)
		*s = flexID(text)
	case b[0] >= '0' && b[0] <= '9':
		*s = flexID(b)
	}
	return nil
}

// flexInt is an integer, or a string of digits.
type flexInt int

// UnmarshalJSON implements [encoding/json.Unmarshaler]. It never fails.
func (n *flexInt) UnmarshalJSON(b []byte) error {
	if v, err := strconv.ParseInt(string(unquoted(b)), 10, 64); err == nil && v >= math.MinInt32 && v <= math.MaxInt32 {
		*n = flexInt(v)
	}
	return nil
}

// flexNumber is the text of a number, or of a string of one: prices are not to be
// rounded.
type flexNumber string

// maxNumber bounds the digits of a number.
const maxNumber = 24

// UnmarshalJSON implements [encoding/json.Unmarshaler]. It never fails.
func (n *flexNumber) UnmarshalJSON(b []byte) error {
	b = unquoted(b)
	if len(b) > maxNumber || len(bytes.Trim(b, "0123456789.-")) > 0 {
		return nil // nor 1e999, which is long
	}
	if _, ok := new(big.Rat).SetString(string(b)); ok {
		*n = flexNumber(b)
	}
	return nil
}

// flexDegrees is a number, or a string of one, that a map can show.
type flexDegrees struct {
	value float64
	ok    bool
}

// UnmarshalJSON implements [encoding/json.Unmarshaler]. It never fails.
func (d *flexDegrees) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseFloat(string(unquoted(b)), 64)
	if err == nil && math.Abs(v) <= 180 { // nor NaN
		*d = flexDegrees{v, true}
	}
	return nil
}

// flexTime is a moment in Unix seconds, or, when that would be past the year 5000,
// milliseconds.
type flexTime struct{ time.Time }

// UnmarshalJSON implements [encoding/json.Unmarshaler]. It never fails.
func (t *flexTime) UnmarshalJSON(b []byte) error {
	const tooLate = 1e11
	v, err := strconv.ParseInt(string(unquoted(b)), 10, 64)
	switch {
	case err != nil || v <= 0 || v >= tooLate*1000:
	case v < tooLate:
		t.Time = time.Unix(v, 0).UTC()
	default:
		t.Time = time.UnixMilli(v).UTC()
	}
	return nil //nolint:nilerr // what is no time stays the zero time
}

// unquoted returns what is between the quotes, if there are any.
func unquoted(b []byte) []byte {
	if len(b) >= 2 && b[0] == '"' && b[len(b)-1] == '"' {
		return b[1 : len(b)-1]
	}
	return b
}
