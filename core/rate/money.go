package rate

import (
	"fmt"
	"math"
	"strings"

	"github.com/wabridge/wabridge/core"
)

// Amount is money: millionths of a currency's unit. It is exact; there is no
// rounding anywhere. Its text form is a decimal: "0.0501".
type Amount int64

const (
	unit     = 1_000_000
	decimals = 6
)

// ParseAmount reads a decimal that is not negative, as rate cards have them: "0.0501",
// "1,234.50", with a currency's sign before it or not.
func ParseAmount(s string) (Amount, error) {
	s = strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(s), "$€£₹"))
	whole, part, point := strings.Cut(s, ".")
	if strings.Contains(whole, ",") {
		groups := strings.Split(whole, ",")
		for i, g := range groups {
			if i > 0 && len(g) != 3 || i == 0 && (g == "" || len(g) > 3) {
				return 0, wrongAmount(s)
			}
		}
		whole = strings.Join(groups, "")
	}
	part = strings.TrimRight(part, "0")
	if whole == "" || point && len(part) > decimals || len(whole) > 12 {
		return 0, wrongAmount(s)
	}
	var n Amount
	for _, c := range whole + part + strings.Repeat("0", decimals-len(part)) {
		if c < '0' || c > '9' {
			return 0, wrongAmount(s)
		}
		n = n*10 + Amount(c-'0')
	}
	return n, nil
}

func wrongAmount(s string) error {
	return core.Errorf(core.CodeInvalid, "rate", "%.40q is no amount, like 0.0501 (at most %d decimals)", s, decimals)
}

// Times is the amount n times; it stops at the largest amount there is.
func (a Amount) Times(n int) Amount {
	if a > 0 && n > 0 && int64(a) > math.MaxInt64/int64(n) {
		return math.MaxInt64
	}
	return a * Amount(n)
}

// Plus adds; it stops at the largest amount there is.
func (a Amount) Plus(b Amount) Amount {
	if b > 0 && a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// String returns the decimal, with two decimals at least.
func (a Amount) String() string {
	sign := ""
	if a < 0 {
		sign, a = "-", -a
	}
	part := fmt.Sprintf("%06d", a%unit)
	for len(part) > 2 && part[len(part)-1] == '0' {
		part = part[:len(part)-1]
	}
	return fmt.Sprintf("%s%d.%s", sign, a/unit, part)
}

// MarshalText implements encoding.TextMarshaler.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Amount) UnmarshalText(b []byte) error {
	rest, negative := strings.CutPrefix(string(b), "-")
	n, err := ParseAmount(rest)
	if negative {
		n = -n
	}
	*a = n
	return err
}
