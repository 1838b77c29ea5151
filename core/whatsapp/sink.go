package whatsapp

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
)

// Number is one business phone number.
type Number struct {
	// Tenant owns the number; for metrics and logs.
	Tenant string
	// ID is the phone_number_id.
	ID string
	// AccessToken returns the token to use now. It is called for each call.
	AccessToken func() core.Secret
}

// Sink sends messages from one business number. It implements [core.Sink]: a
// result's Ref is the message's wamid, empty for messages marked as read. A send
// whose outcome cannot be known ends in core.CodeUnknownOutcome, and must not be
// made again before it is known.
type Sink struct {
	c       *Client
	n       Number
	path    string
	metrics sinkMetrics
	pairs   pairs
}

// Sink returns the number's sink.
func (c *Client) Sink(n Number) *Sink {
	return &Sink{c: c, n: n, path: numberPath(n.ID), metrics: c.m.of(n), pairs: newPairs()}
}

// Deliver implements [core.Sink]: it sends all of the batch at once.
func (s *Sink) Deliver(ctx context.Context, batch []core.Delivery) []core.Result {
	results := make([]core.Result, len(batch))
	if len(batch) == 1 {
		results[0] = s.deliver(ctx, batch[0])
		return results
	}
	var wg sync.WaitGroup
	for i, d := range batch {
		wg.Go(func() { results[i] = s.deliver(ctx, d) })
	}
	wg.Wait()
	return results
}

func (s *Sink) deliver(ctx context.Context, d core.Delivery) core.Result {
	began := time.Now()
	wamid, err := s.send(ctx, d)
	s.metrics.sent(err, time.Since(began))
	if err != nil {
		s.c.o.Log.Debug("not sent, or not known to be", "tenant", s.n.Tenant, "number", s.n.ID, "event", d.Event.ID,
			"attempt", d.Attempt, "code", err.Code, "vendor", err.Vendor, "error", err.Error())
	}
	return core.Result{ID: d.Event.ID, Ref: wamid, Err: err}
}

// send makes one attempt and returns the message's id.
func (s *Sink) send(ctx context.Context, d core.Delivery) (string, *core.Error) {
	const op = "send"
	m := d.Event.Message
	if d.Event.Kind != core.KindMessageSend {
		return "", core.Errorf(core.CodeInvalid, op, "a WhatsApp number sends messages; it has no use for %s", d.Event.Kind)
	}
	if err := check(m); err != nil {
		return "", err
	}
	token := s.n.AccessToken()
	if token == "" {
		return "", s.noToken(op)
	}
	body, err := json.Marshal(newRequest(m, Opaque(s.c.o.OpaqueKey, d.Event.ID, d.Attempt)))
	if err != nil {
		return "", core.Errorf(core.CodeInvalid, op, "message: %w", err)
	}
	k := call{op: op, method: http.MethodPost, path: s.path, body: body, token: token, twice: m.Type == core.TypeRead}
	answer, refused := s.c.do(ctx, k)
	if refused != nil {
		if refused.Vendor == codePairRate {
			refused.RetryAfter = max(refused.RetryAfter, s.pairs.limited(m.To))
		}
		return "", refused
	}
	if m.Type == core.TypeRead {
		return "", s.marked(k, answer)
	}
	s.pairs.passed(m.To)
	wamid := accepted(answer)
	if wamid == "" {
		return "", s.c.unknown(k, "the answer names no message")
	}
	return wamid, nil
}

// marked reads the answer to marking a message as read.
func (s *Sink) marked(k call, answer []byte) *core.Error {
	var a struct {
		Success bool `json:"success"`
	}
	if json.Unmarshal(answer, &a) != nil || !a.Success {
		return s.c.unknown(k, "the answer does not say that the message was marked as read")
	}
	return nil
}

func (s *Sink) noToken(op string) *core.Error {
	e := core.Errorf(core.CodeUnauthenticated, op, "the number has no access token")
	e.Hint, e.Source, e.Scope = hintToken, core.SourceBridge, core.ScopeLane
	return e
}

// Check proves that the token may use the number, without sending anything. The
// error names the setting to change. It is called before sends go on after a
// pause.
func (s *Sink) Check(ctx context.Context) error {
	_, err := s.Profile(ctx)
	return err
}

// Profile asks Meta about the number.
func (s *Sink) Profile(ctx context.Context) (Profile, error) {
	token := s.n.AccessToken()
	if token == "" {
		return Profile{}, s.noToken("check")
	}
	p, err := s.c.profile(ctx, s.n.ID, token)
	if err != nil {
		if err.Code == core.CodeInvalid { // of the number, not of a message
			err.Code, err.Scope, err.Hint = core.CodeForbidden, core.ScopeLane, hintNumber
		}
		return Profile{}, err
	}
	return p, nil
}

// codePairRate is the code of too many messages to one person.
const codePairRate = "131056"

// pairs remembers who got too many messages, so that each refusal in a row means
// a longer wait: Meta counts what it refuses as well.
type pairs struct {
	mu      *sync.Mutex
	refused map[string]int // by address; small, as only those are here that wait
}

// Bounds of pairs: the longest wait, and how many people it remembers.
const (
	maxPairDoublings = 4 // 6 s, then 12, 24, 48, 96
	maxPairs         = 4096
)

func newPairs() pairs { return pairs{mu: new(sync.Mutex), refused: map[string]int{}} }

// limited returns how long to wait after another refusal.
func (p *pairs) limited(to core.Address) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.refused) >= maxPairs {
		clear(p.refused)
	}
	n := p.refused[to.Value]
	p.refused[to.Value] = min(n+1, maxPairDoublings)
	return pairRate << n
}

// passed forgets a refusal: a message got through.
func (p *pairs) passed(to core.Address) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.refused) > 0 {
		delete(p.refused, to.Value)
	}
}
