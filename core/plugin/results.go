package plugin

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wabridge/wabridge/core"
)

// Caps on what a plugin says, in bytes.
const (
	maxRef         = 512
	maxMessageText = 1024
	maxHint        = 512
	maxWord        = 128
)

// maxRetryAfter caps how long a plugin can make a lane wait.
const maxRetryAfter = 24 * time.Hour

// settle returns exactly one result for each delivery, in the order of batch,
// whatever answers are. Odd says what was wrong with them, "" when nothing was.
//
// A delivery without an answer has an unknown outcome. Answers that nobody asked
// for are dropped. Of two answers for one id, an error wins.
func settle(batch []core.Delivery, answers []core.Result) (results []core.Result, odd string) {
	results = make([]core.Result, len(batch))
	var foreign, doubled, missing int
	inOrder := len(answers) == len(batch)
	for i := 0; inOrder && i < len(batch); i++ {
		inOrder = answers[i].ID == batch[i].Event.ID
	}
	if inOrder {
		copy(results, answers)
	} else {
		place := make(map[string]int, len(batch))
		for i := range batch {
			place[batch[i].Event.ID] = i
		}
		for _, a := range answers {
			i, asked := place[a.ID]
			switch {
			case !asked:
				foreign++
			case results[i].ID == "":
				results[i] = a
			default:
				doubled++
				if results[i].Err == nil {
					results[i].Err = a.Err
				}
			}
		}
	}
	for i := range results {
		r := &results[i]
		if r.ID == "" {
			missing++
			r.ID = batch[i].Event.ID
			r.Err = &core.Error{
				Code: core.CodeUnknownOutcome, Op: "plugin", Source: core.SourcePlugin,
				Message: "the connector gave no result for this event",
			}
		}
		r.Ref, r.ContactRef, r.MessageRef = clean(r.Ref, maxRef), clean(r.ContactRef, maxRef), clean(r.MessageRef, maxRef)
		r.Err = cleanError(r.Err)
	}
	if foreign+doubled+missing > 0 {
		odd = fmt.Sprintf("%d results for ids not asked for, %d doubled, %d missing", foreign, doubled, missing)
	}
	return results, odd
}

// failAll gives every delivery the same error.
func failAll(batch []core.Delivery, err *core.Error) []core.Result {
	results := make([]core.Result, len(batch))
	for i := range batch {
		results[i] = core.Result{ID: batch[i].Event.ID, Err: err}
	}
	return results
}

// cleanError returns e with a code and scope that exist, and with texts that are
// short, valid UTF-8 and on one line.
func cleanError(e *core.Error) *core.Error {
	if e == nil {
		return nil
	}
	c := *e
	if !slices.Contains(core.Codes(), c.Code) {
		c.Message = fmt.Sprintf("error code %q does not exist: %s", clean(string(c.Code), 40), c.Message)
		c.Code = core.CodeInternal
	}
	switch c.Scope {
	case "", core.ScopeEvent, core.ScopeConversation, core.ScopeLane:
	default:
		c.Scope = ""
	}
	switch c.Source {
	case "", core.SourceBridge, core.SourcePlugin, core.SourceVendor:
	default:
		c.Source = core.SourcePlugin
	}
	c.Op = clean(c.Op, maxWord)
	c.Message = clean(c.Message, maxMessageText)
	c.Hint = clean(c.Hint, maxHint)
	c.Vendor = clean(c.Vendor, maxWord)
	c.RetryAfter = min(max(c.RetryAfter, 0), maxRetryAfter)
	return &c
}

// clean returns s as valid UTF-8 without control characters, in at most limit
// bytes.
func clean(s string, limit int) string {
	plain := len(s) <= limit
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] >= ' ' && s[i] < utf8.RuneSelf-1
	}
	if plain {
		return s
	}
	cut := len(s) > limit
	if cut {
		n := limit - len("…")
		for range utf8.UTFMax - 1 { // not through a character
			if utf8.RuneStart(s[n]) {
				break
			}
			n--
		}
		s = s[:n]
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if cut {
		s += "…"
	}
	return s
}

// Bounds on budgets.
const (
	maxBudgets      = 20
	maxBudgetCalls  = 1_000_000_000
	maxBudgetWindow = 31 * 24 * time.Hour
)

func badBudget(b core.Budget) bool {
	return !core.TenantPattern.MatchString(b.Name) || b.Calls < 1 || b.Calls > maxBudgetCalls || b.Per < 100*time.Millisecond || b.Per > maxBudgetWindow
}

// ValidateInfo reports whether a connector's description can be used; the error
// says what is wrong with it.
func ValidateInfo(i core.ConnectorInfo) error {
	var errs []error
	if !core.TenantPattern.MatchString(i.Name) {
		errs = append(errs, fmt.Errorf("name %q must be 1 to 40 of a-z, 0-9 and -", clean(i.Name, 60)))
	}
	if i.MaxBatch < 1 || i.MaxBatch > 1000 {
		errs = append(errs, fmt.Errorf("max_batch is %d, must be 1 to 1000", i.MaxBatch))
	}
	switch i.Idempotency {
	case core.IdempotencyUpsert, core.IdempotencyKey, core.IdempotencySearch, core.IdempotencyNone:
	default:
		errs = append(errs, fmt.Errorf("idempotency is %q, must be upsert, key, search or none", clean(string(i.Idempotency), 20)))
	}
	if i.CallsPerSecond < 0 || math.IsNaN(i.CallsPerSecond) || math.IsInf(i.CallsPerSecond, 0) {
		errs = append(errs, fmt.Errorf("calls_per_second is %v, must be 0 or more", i.CallsPerSecond))
	}
	if len(i.Budgets) > maxBudgets || slices.ContainsFunc(i.Budgets, badBudget) {
		errs = append(errs, fmt.Errorf("budgets must be at most %d, each with a name of [a-z0-9-], 1 to %d calls and a window of 100 ms to 31 days", maxBudgets, maxBudgetCalls))
	}
	if len(i.Kinds) > 100 || len(i.Secrets) > 100 || slices.Contains(i.Secrets, "") {
		errs = append(errs, errors.New("kinds and secrets must be at most 100 names each, none empty"))
	}
	if err := errors.Join(errs...); err != nil {
		return &core.Error{
			Code: core.CodeInvalid, Op: "plugin info", Source: core.SourcePlugin,
			Message: clean(strings.ReplaceAll(err.Error(), "\n", "; "), maxMessageText), Hint: "this is for the plugin's author to mend",
		}
	}
	return nil
}
