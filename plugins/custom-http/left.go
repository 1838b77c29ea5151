package customhttp

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
)

// leftSettings name the headers in which the API says how many requests are left, and until
// when that counts: when none is, no more are made until then.
type leftSettings struct {
	// Header is such as X-RateLimit-Remaining; unset, nothing is read.
	Header string `json:"header"`
	// Until is such as X-RateLimit-Reset. Its Format is as that of retry_after, and "auto"
	// also takes seconds since 1970 (a number of more than 15 years) and milliseconds.
	Until  string `json:"until"`
	Format string `json:"format"`
}

func (c *planner) left() leftSettings {
	const where = "settings.left"
	s := c.Left
	if s == (leftSettings{}) {
		return s
	}
	if !headerName.MatchString(s.Header) {
		c.addf(where+".header", "want the header's name, such as X-RateLimit-Remaining")
	}
	if !headerName.MatchString(s.Until) {
		c.addf(where+".until", "want the header's name, such as X-RateLimit-Reset")
	}
	if s.Format = cmp.Or(s.Format, "auto"); !slices.Contains(waitFormats, s.Format) {
		c.addf(where+".format", "want one of %s", strings.Join(waitFormats, ", "))
	}
	return s
}

// read returns what an answer says is left, and for how long; false when it does not say.
func (s leftSettings) read(h http.Header) (n int, wait time.Duration, ok bool) {
	if s.Header == "" {
		return 0, 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(h.Get(s.Header)))
	if err != nil {
		return 0, 0, false
	}
	text, format := strings.TrimSpace(h.Get(s.Until)), s.Format
	if at, err := strconv.ParseFloat(text, 64); err == nil && format == "auto" && at > 5e8 {
		if format = "epoch"; at > 1e11 {
			text = strconv.FormatFloat(at/1000, 'f', 3, 64)
		}
	}
	return max(0, n), waitFor(text, format, h), true
}

// maxPauses is how many accounts are remembered that have no requests left.
const maxPauses = 10_000

// pauses are until when no requests are made, by account. The zero value is ready.
type pauses struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func accountKey(a *core.Account) string { return a.Tenant + "\x00" + a.Lane }

// begin has an account make no requests for a time.
func (p *pauses) begin(key string, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if len(p.until) >= maxPauses {
		for other, until := range p.until {
			if len(p.until) >= maxPauses || !until.After(now) {
				delete(p.until, other)
			}
		}
	}
	if p.until == nil {
		p.until = make(map[string]time.Time)
	}
	if until := now.Add(wait); until.After(p.until[key]) {
		p.until[key] = until
	}
}

// left returns how long the account is to wait yet.
func (p *pauses) left(key string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := time.Until(p.until[key])
	if wait <= 0 {
		delete(p.until, key)
		return 0
	}
	return wait
}

// mayAsk says when the API has no requests left for the account.
func (x *session) mayAsk(op *operation) *core.Error {
	if x.pauses == nil {
		return nil
	}
	wait := x.pauses.left(x.account)
	if wait == 0 {
		return nil
	}
	return &core.Error{
		Code: core.CodeRateLimited, Op: op.kind, Source: core.SourceVendor, Scope: core.ScopeLane, RetryAfter: wait,
		Message: fmt.Sprintf("the API said that no requests are left for %v", wait.Round(time.Second)),
	}
}

// heed takes note of what an answer says is left.
func (x *session) heed(ctx context.Context, h http.Header) {
	n, wait, ok := x.left.read(h)
	if !ok || x.pauses == nil {
		return
	}
	core.Left(ctx, budgetRequests, n)
	if n == 0 && wait > 0 {
		x.pauses.begin(x.account, wait)
	}
}
