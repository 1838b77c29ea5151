package connectortest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin"
)

// Target is the connector to look at, and what the rules need to know.
type Target struct {
	// Connector may be a [core.Authorizer]: the rules then get a token for each set
	// of secrets, once, as the bridge does.
	Connector core.Connector
	// Account works: the CRM behind it is a sim, or a real account for tests.
	// Records are written there, with ids and texts that say so.
	Account core.Account
	// BadSettings has, by the name of a setting, settings in which that one is
	// wrong or missing.
	BadSettings map[string]json.RawMessage
	// BadSecrets replace Account.Secrets: secrets that the CRM refuses. They are
	// told apart by their text, so they must differ from those of Account.
	BadSecrets map[string]core.Secret
	// Records returns how often each event is in the CRM, by event ID. Optional.
	Records func() map[string]int
	// Stall makes the CRM take requests and not answer them, until called with
	// false. Optional.
	Stall func(stalled bool)
	// Fail makes the CRM answer every request with an HTTP status and do nothing: with
	// 429 and Retry-After: 7, too. 0 ends that. Optional.
	Fail func(status int)
	// Texts returns what the CRM has of each event's text, by event ID. Optional.
	Texts func() map[string]string
}

// Outcome is how a rule was found to be kept.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped" // the Target lacks what the rule needs
)

// Finding is what was found about one rule.
type Finding struct {
	// Rule is the rule's id, such as "deliver/one-result"; Text says it in a
	// sentence.
	Rule string `json:"rule"`
	Text string `json:"text"`
	// Seen is what was seen, a line for each failure; what differs in the event's id
	// only is one line, with how often.
	Outcome Outcome       `json:"outcome"`
	Seen    string        `json:"seen,omitempty"`
	Took    time.Duration `json:"took"`
}

// String is the finding in words.
func (f Finding) String() string {
	s := fmt.Sprintf("%s: %s: %s", f.Rule, f.Outcome, f.Text)
	if f.Seen != "" {
		s += "\n\t" + strings.ReplaceAll(f.Seen, "\n", "\n\t")
	}
	return s
}

// ruleTimeout bounds one rule; a connector that does not return is left behind.
const ruleTimeout = 60 * time.Second

// Suite checks all rules, one after the other, and reports each when it is done.
// It returns whether none failed.
func Suite(ctx context.Context, target Target, report func(Finding)) bool {
	s := newSession(target)
	ok := true
	for _, r := range rules {
		f := s.check(ctx, r)
		ok = ok && f.Outcome != Failed
		report(f)
	}
	return ok
}

// T is what Run needs of a *testing.T.
type T[S any] interface {
	Context() context.Context
	Run(name string, f func(S)) bool
	Helper()
	Errorf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Run checks all rules as subtests of t, a *testing.T.
func Run[S T[S]](t S, target Target) {
	t.Helper()
	s := newSession(target)
	for _, r := range rules {
		t.Run(r.id, func(t S) {
			t.Helper()
			switch f := s.check(t.Context(), r); f.Outcome {
			case Failed:
				t.Errorf("%s", f)
			case Skipped:
				t.Skipf("%s", f)
			}
		})
	}
}

// rule is one thing that every connector must do.
type rule struct {
	id, text string
	check    func(ctx context.Context, p *probe)
}

// session is one run of the rules on a target.
type session struct {
	Target
	remote   core.Connector // Target.Connector, without a bridge before it
	poller   core.Poller    // nil for connectors that are none
	receiver core.Receiver  // likewise
	// describer and segmenter are nil, likewise.
	describer core.Describer
	segmenter core.Segmenter
	signedIn  *signedIn // likewise
	id        string    // makes the events' ids new in each run

	mu     sync.Mutex
	serial int
	errs   []*core.Error            // every error seen, of all rules
	texts  []string                 // every text seen
	tokens []map[string]core.Secret // the secrets of tokens that were got
}

func newSession(target Target) *session {
	s := &session{Target: target, remote: target.Connector, id: rand.Text()[:8]}
	// A plugin has all methods: what it can do is in its Info.
	info, remote := target.Connector.Info(), plugin.IsPlugin(target.Connector)
	if p, ok := target.Connector.(core.Poller); ok && (info.Polls || !remote) {
		s.poller = p
	}
	if r, ok := target.Connector.(core.Receiver); ok && (info.Receives || !remote) {
		s.receiver = r
	}
	if d, ok := target.Connector.(core.Describer); ok && (info.Describes || !remote) {
		s.describer = d
	}
	if g, ok := target.Connector.(core.Segmenter); ok && (info.Segments || !remote) {
		s.segmenter = g
	}
	if a, ok := target.Connector.(core.Authorizer); ok && (info.Authorizes || !remote) {
		s.signedIn = &signedIn{Authorizer: a, tokens: map[string]*core.Token{}, learn: func(secrets map[string]core.Secret) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.tokens = append(s.tokens, secrets)
		}}
		s.Connector = s.signedIn
	}
	return s
}

func (s *session) check(ctx context.Context, r rule) Finding {
	ctx, cancel := context.WithTimeout(ctx, ruleTimeout)
	defer cancel()
	began := time.Now()
	p := &probe{session: s}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				p.failf("panic: %v", v)
			}
		}()
		r.check(ctx, p)
	}()
	select {
	case <-done:
	case <-time.After(ruleTimeout + 5*time.Second):
		p.failf("a call did not return within %v", ruleTimeout)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f := Finding{Rule: r.id, Text: r.text, Outcome: Passed, Took: time.Since(began)}
	switch {
	case len(p.failures) > 0:
		f.Outcome, f.Seen = Failed, p.seen()
	case p.skipped != "":
		f.Outcome, f.Seen = Skipped, p.skipped
	}
	return f
}

// probe is a session in the hands of one rule.
type probe struct {
	*session
	mu       sync.Mutex
	failures []failure
	skipped  string
}

// failure is what was seen first of something, and how often the like of it was.
type failure struct {
	text, like string
	times      int
}

// eventID is the id of an event of a session: what is alike but for that is told
// once.
var eventID = regexp.MustCompile(`wamid\.CT[A-Z2-7]{8}\d{4,}`)

// maxFailures bounds what a rule tells that is not alike.
const maxFailures = 20

func (p *probe) failf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	like := eventID.ReplaceAllString(text, "")
	if i := slices.IndexFunc(p.failures, func(f failure) bool { return f.like == like }); i >= 0 {
		p.failures[i].times++
		return
	}
	if len(p.failures) == maxFailures {
		text, like = "…", ""
	} else if len(p.failures) > maxFailures {
		return
	}
	p.failures = append(p.failures, failure{text: text, like: like, times: 1})
}

// seen is a line for each failure. The lock is held.
func (p *probe) seen() string {
	lines := make([]string, len(p.failures))
	for i, f := range p.failures {
		lines[i] = f.text
		if f.times > 1 && f.like != "" {
			lines[i] += fmt.Sprintf(" (%d times)", f.times)
		}
	}
	return strings.Join(lines, "\n")
}

// skip says what the target lacks. What a rule has found so far stays.
func (p *probe) skip(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.skipped = what
}

// deliver calls Deliver and checks that the results are those of the batch. It
// returns them by event ID, one for each.
func (p *probe) deliver(ctx context.Context, account core.Account, batch []core.Delivery) map[string]core.Result {
	before := make([]string, len(batch))
	for i, d := range batch {
		before[i] = asJSON(d.Event)
	}
	ctx, meter := core.WithMeter(ctx)
	results := p.Connector.Deliver(ctx, account, batch)
	p.wantDeclared(meter)
	byID := make(map[string]core.Result, len(results))
	for _, r := range results {
		if _, twice := byID[r.ID]; twice {
			p.failf("two results for %s", r.ID)
		}
		byID[r.ID] = r
		p.see(asError(r.Err), r.Ref)
	}
	for i, d := range batch {
		if _, ok := byID[d.Event.ID]; !ok {
			p.failf("no result for %s (a %s event)", d.Event.ID, d.Event.Kind)
			byID[d.Event.ID] = core.Result{ID: d.Event.ID, Err: core.Errorf(core.CodeUnknownOutcome, "deliver", "no result")}
		}
		if after := asJSON(d.Event); after != before[i] {
			p.failf("Deliver changed the event %s, which it must not", d.Event.ID)
		}
	}
	if len(byID) > len(batch) {
		p.failf("%d results for ids that were not in the batch", len(byID)-len(batch))
	}
	return byID
}

// wantDeclared wants each budget that was spent of to be declared: of others the
// bridge keeps no account.
func (p *probe) wantDeclared(m *core.Meter) {
	declared := p.Connector.Info().Budgets
	spent, left := m.Spent()
	for _, of := range []map[string]int{spent, left} {
		for _, name := range slices.Sorted(maps.Keys(of)) {
			if !slices.ContainsFunc(declared, func(b core.Budget) bool { return b.Name == name }) {
				p.failf("it counts calls to the budget %q, which its Info does not declare", name)
			}
		}
	}
}

// mustDeliver delivers with the good account, and wants every event done.
func (p *probe) mustDeliver(ctx context.Context, batch []core.Delivery) {
	results := p.deliver(ctx, p.Account, batch)
	for _, d := range batch {
		if err := results[d.Event.ID].Err; err != nil {
			p.failf("%s (%s): want done, got %s: %v", d.Event.ID, d.Event.Kind, err.Code, err)
		}
	}
}

// see remembers an error and texts, for the rules that look at all of them.
func (s *session) see(err error, texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		e := core.AsError(err)
		s.errs = append(s.errs, e)
		texts = append(texts, e.Error(), e.Hint, e.Op, e.Vendor)
	}
	s.texts = append(s.texts, texts...)
}

func asJSON(e *core.Event) string {
	b, err := json.Marshal(e)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// TB is what Plugin needs of a *testing.T, *testing.B or *testing.F.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
	Output() io.Writer
}
