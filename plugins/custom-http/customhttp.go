// Package customhttp is the connector for any HTTP API: the lane's settings say
// which request each kind of event becomes and what the answers mean.
//
// # Requests
//
// Each kind of event has an operation; "*" is for all others. Path, query,
// headers and body are templates (text/template) over the event's JSON, with
// the keys that scripts see: {{.message.text}}. Values are escaped by where they
// stand: in a body they are written as JSON (between quotes, as the inside of a
// string), in a path as part of one segment. A person's text can therefore
// never change the shape of a request. Without a body template the event itself
// is sent.
//
// A field that no event has is an error of the settings. One that this event
// lacks is "" where the value is merely empty, and otherwise an error that makes
// the event a dead letter, unless absence is asked for: {{.x | default ""}},
// {{if .x}}, {{with .x}}. See functions for what templates may call.
//
// An operation for contact.erased is how `wabridge contact erase` reaches the API.
// Without it the event becomes a dead letter, for a person to erase by hand.
//
// # Who is there already
//
// Of whom no record is known one is looked for by settings.find before an operation
// that says {{.contact_ref}}, which is that record then. It is taken only where it has
// their number, however it is written, or their user id.
//
// # Batches
//
// With a batch, the bodies of up to max_items events become an array in one
// request, and results say how each event's result is found in the answer.
// Without results the answer is for all; a refusal (400, 413, 422 or a rule that
// says permanent) is then narrowed down by halving the batch, so that one bad
// event does not take its neighbours along.
//
// # Files
//
// An operation for message.media with upload gives the API the file before the message. It
// is fetched from the bridge only, below [core.Account].WebhookURL. Where that cannot be,
// the message has the link.
//
// # What answers mean
//
// Rules in errors come first, the operation's before those for all; then the
// status: 2xx (and the condition ok) is success, 401 and 403 pause the lane,
// as do redirects and 405, which are mistakes in the settings; 429 waits, 408,
// 425 and 503 did not happen, other 4xx never will. All else that ends a request
// after it was sent (5xx, no answer, an answer without the proof that the
// settings ask for) has an unknown outcome.
//
// # What happens there
//
// settings.pull asks the API for what changed, a page at a time; settings.webhook
// reads what it calls the bridge with. Both make events of rows: see
// eventSettings. A row without an id of its own is one by its contents, so that
// what is told again counts once.
//
// settings.segments asks which lists of contacts there are and who is in one, for
// campaigns; who is in one only when it is sure that there is one.
//
// # Twice
//
// The settings must say what the API does with the same event twice. With "key"
// each request has a header Idempotency-Key (in a batch the rows carry their
// ids), with "upsert" what is written is keyed by an id in the request: both can
// be repeated without harm, so an unknown outcome is reported as one that did not
// happen. With "search" an operation's record is looked for, each time, before it is
// made. With that and "none" an unknown outcome is reported as unknown, and the bridge
// repeats it when a search would see it, or not at all. [Connector.Info] says "none", the weakest, because it is the same for all
// accounts; with the others the owner says the same of the lane, so that
// the bridge also repeats what it was sending when it was killed.
//
// # Where it connects to
//
// Only to base_url and, for a token, settings.auth.token_url, over https, at a public address; redirects are not followed,
// and a proxy is asked only when settings.proxy names one. A host named in allowed_hosts may be private
// (loopback, a private network) and plain http, for tests and APIs of one's own
// network. Link-local addresses, where clouds keep their credentials, are never
// connected to. The address is looked at when it is connected to, after the name
// was resolved. With a proxy that is the proxy's address, to which the same rules apply:
// the proxy resolves the names of the others.
package customhttp

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
)

// Connector implements [core.Connector]. The zero value is ready. Between calls
// it keeps compiled settings and idle connections.
type Connector struct {
	// DialContext connects to the API instead of a dialer that refuses private
	// addresses; for tests. Set it before the first call.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Log gets what is no error, such as that a file's link was written in its place; nil is
	// the default of log/slog, which is the bridge's log where this is a plugin.
	Log *slog.Logger

	mu    sync.Mutex
	plans map[string]*plan // by settings and how to connect

	pauses pauses
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

var _ core.Connector = (*Connector)(nil)

// New returns the connector.
func New() core.Connector { return &Connector{} }

// Info implements [core.Connector].
func (c *Connector) Info() core.ConnectorInfo {
	return core.ConnectorInfo{
		Name:        "custom-http",
		Version:     "0.1.0",
		MaxBatch:    maxBatch,
		Idempotency: core.IdempotencyNone, // see the package's documentation
		// Named one by one, so that the bridge knows that it may ask for erasures.
		Kinds: slices.Clone(kinds),
		// What an API bears is for the owner to say: [[lanes.budgets]].
		Budgets: []core.Budget{{Name: budgetRequests, Calls: 50, Per: time.Second}},
	}
}

// Check implements [core.Connector]: it checks the settings, and asks what
// settings.health says, or else whether there is anybody at settings.base_url.
func (c *Connector) Check(ctx context.Context, account core.Account) error {
	x, err := c.open(account)
	if err != nil {
		return err
	}
	if x.health == nil {
		if err := x.reach(ctx); err != nil {
			return err
		}
		return nil
	}
	r, err := x.request(x.health, nil, 0, nil, x.cred)
	if err != nil {
		return err
	}
	a, err := x.do(ctx, x.health, r)
	if err == nil {
		err = x.judge(x.health, a).err
	}
	if err == nil {
		return nil
	}
	if err.Code == core.CodeUnknownOutcome {
		err.Code = core.CodeUnavailable // it was only a question
	}
	if err.Hint == "" {
		err.Hint = "look at settings.health and settings.base_url"
	}
	return err
}

// reach asks for the API's base address, without credentials: whatever it answers, it is
// there, unless what stands before it says that it is not.
func (x *session) reach(ctx context.Context) *core.Error {
	op := &operation{name: "settings.base_url", kind: "health"}
	a, err := x.do(ctx, op, Request{Method: http.MethodGet, URL: x.base.String(), Header: http.Header{"Accept": {"*/*"}}})
	if err == nil && slices.Contains([]int{http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}, a.status) {
		err = &core.Error{Code: core.CodeUnavailable, Op: op.kind, Source: core.SourceVendor, Vendor: strconv.Itoa(a.status),
			Message: "the API is not there: its base address answers " + strconv.Itoa(a.status), Hint: "if it does so always, say in settings.health what to ask instead"}
	}
	if err == nil {
		return nil
	}
	if err.Code == core.CodeUnknownOutcome {
		err.Code = core.CodeUnavailable // it was only a question
	}
	if err.Hint == "" {
		err.Hint = "look at settings.base_url"
	}
	return err
}

// maxPlans is how many settings are kept compiled.
const maxPlans = 64

// budgetRequests are the requests to the API.
const budgetRequests = "requests"

// plan returns the compiled settings, from the last time if they and how to connect are
// the same.
func (c *Connector) plan(account core.Account) (*plan, *core.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	same := string(account.Settings) + sameWire(account.Secrets)
	if p, ok := c.plans[same]; ok {
		return p, nil
	}
	p, err := compile(account.Settings)
	if err != nil {
		return nil, err
	}
	if p.wire, err = p.line.open(account.Secrets); err != nil {
		return nil, err
	}
	if p.log = c.Log; p.log == nil {
		p.log = slog.Default() //nolint:forbidigo // a plugin's, which goes to the bridge's log
	}
	p.client = p.wire.client(c.DialContext, p.private)
	p.bridge = p.wire.client(c.DialContext, true) // where that is, its owner says
	if p.signIn != nil {
		p.signIn.client = p.wire.client(c.DialContext, p.signIn.own)
	}
	if c.plans == nil {
		c.plans = make(map[string]*plan)
	}
	for key, old := range c.plans {
		if len(c.plans) < maxPlans {
			break
		}
		old.closeIdle()
		delete(c.plans, key)
	}
	c.plans[same] = p
	return p, nil
}

// CloseIdleConnections closes connections that wait for a next request. They
// close by themselves after some seconds.
func (c *Connector) CloseIdleConnections() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.plans {
		p.closeIdle()
	}
}

func (p *plan) closeIdle() {
	p.client.CloseIdleConnections()
	p.bridge.CloseIdleConnections()
	if p.signIn != nil {
		p.signIn.client.CloseIdleConnections()
	}
}
