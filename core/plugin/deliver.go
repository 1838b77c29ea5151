package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin/internal/connectorpb"
)

// What the bridge itself puts into Error.Vendor about a call whose outcome is
// unknown.
const (
	// VendorCrashed: the process died or hung during the call. One of the
	// batch's events may be the cause: try them one by one.
	VendorCrashed = "crashed"
	// VendorTimeout: the call's deadline passed.
	VendorTimeout = "timeout"
	// VendorStopped: the bridge ended the process during the call.
	VendorStopped = "stopped"
)

// Info describes the connector, as the latest process did. Before the first
// start it waits for one.
func (h *Host) Info(ctx context.Context) (core.ConnectorInfo, error) {
	if i, ok := h.cachedInfo(); ok {
		return i, nil
	}
	in, err := h.acquire(ctx)
	if err != nil {
		return core.ConnectorInfo{}, err
	}
	in.calls.Done()
	return in.info, nil
}

func (h *Host) cachedInfo() (core.ConnectorInfo, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.info == nil {
		return core.ConnectorInfo{}, false
	}
	return *h.info, true
}

// Check asks the connector whether the account's settings and secrets work,
// getting a token for it first if it needs one.
func (h *Host) Check(ctx context.Context) error {
	_, err := withToken(ctx, h, func(a core.Account) (struct{}, *core.Error) { return struct{}{}, h.check(ctx, a) })
	return plain(err)
}

// Deliver implements [core.Sink]. Each event gets exactly one result, whatever
// the plugin does. When no process is ready within StartWait, nothing has
// happened: the results have CodeUnavailable with ScopeLane. When the process
// dies, hangs or answers nonsense, they have CodeUnknownOutcome with Op
// "plugin"; Vendor says more. A batch that is larger than the connector or a
// message can take is delivered in several calls, one after the other. What the
// CRM refuses because of the account's token is delivered once more with a new
// one.
func (h *Host) Deliver(ctx context.Context, batch []core.Delivery) []core.Result {
	account := h.account()
	token, err := h.keeper.current(ctx, nil)
	if err != nil {
		return failAll(batch, err)
	}
	account.Token = token
	results := h.deliver(ctx, account, batch)
	if token == nil {
		return results
	}
	places := map[string]int{} // of the results to replace
	for i, r := range results {
		if r.Err != nil && r.Err.Code == core.CodeUnauthenticated {
			places[r.ID] = i
		}
	}
	if len(places) == 0 {
		return results
	}
	fresh, err := h.keeper.current(ctx, token)
	switch {
	case err != nil:
		for id, i := range places {
			results[i] = core.Result{ID: id, Err: err}
		}
		return results
	case fresh == token:
		return results
	}
	var again []core.Delivery
	for _, d := range batch {
		if _, ok := places[d.Event.ID]; ok {
			again = append(again, d)
		}
	}
	account.Token = fresh
	for _, r := range h.deliver(ctx, account, again) {
		results[places[r.ID]] = r
	}
	return results
}

// Connector returns the plugin as a connector, with the account given in each
// call, for tests of plugins. Its Info is zero until a process was ready.
func (h *Host) Connector() core.Connector { return connector{h} }

type connector struct{ h *Host }

// IsPlugin reports whether a connector is one of [Host.Connector]: it has the
// methods of all optional interfaces, and its Info says which of them work.
func IsPlugin(c core.Connector) bool {
	_, ok := c.(connector)
	return ok
}

// Replace has a connector of [Host.Connector] go on in a new process, and returns when
// that is ready, or why it is not.
func Replace(ctx context.Context, c core.Connector) error {
	remote, ok := c.(connector)
	if !ok {
		return core.Errorf(core.CodeInvalid, "plugin", "this connector is not a plugin")
	}
	h := remote.h
	before := h.State()
	h.Restart()
	for {
		h.mu.Lock()
		state, changed := h.state, h.changed
		h.mu.Unlock()
		switch {
		case state.Starts > before.Starts && state.Phase == PhaseRunning:
			return nil
		case state.Refused != "" && state.Refused != before.Refused, state.Crashes > before.Crashes:
			return h.notReady(state)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var _ core.Authorizer = connector{}

// Authorize fails with CodeInternal for a plugin that has none: see
// [core.ConnectorInfo].Authorizes.
func (c connector) Authorize(ctx context.Context, a core.Account) (core.Token, error) {
	token, err := c.h.authorize(ctx, a)
	if err != nil {
		return core.Token{}, err
	}
	return *token, nil
}

func (c connector) Info() core.ConnectorInfo {
	i, _ := c.h.cachedInfo()
	return i
}

func (c connector) Check(ctx context.Context, a core.Account) error { return plain(c.h.check(ctx, a)) }

func (c connector) Deliver(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
	return c.h.deliver(ctx, a, batch)
}

func (h *Host) check(ctx context.Context, account core.Account) *core.Error {
	h.learn(account)
	res, err := askPlugin(ctx, h, "check", func(ctx context.Context, c connectorpb.Client) (*connectorpb.CheckResponse, error) {
		return c.Check(ctx, &connectorpb.CheckRequest{Account: accountToWire(account)})
	})
	if err != nil {
		return err
	}
	return h.redacted(cleanError(errorFromWire(res.GetError())))
}

// askPlugin makes a call that writes nothing: when it fails, nothing happened.
func askPlugin[Res any](ctx context.Context, h *Host, what string, call func(context.Context, connectorpb.Client) (*Res, error)) (*Res, *core.Error) {
	ctx, cancel := context.WithTimeout(ctx, h.o.CallTimeout)
	defer cancel()
	for range maxRefusals {
		in, notReady := h.acquire(ctx)
		if notReady != nil {
			return nil, notReady
		}
		res, err := call(ctx, in.client)
		in.calls.Done()
		switch {
		case h.refused(in, err):
			continue
		case err != nil:
			e := h.explainCall(ctx, in, err)
			e.Op = "plugin " + what
			if e.Code == core.CodeUnknownOutcome {
				e.Code = core.CodeUnavailable
			}
			return nil, e
		}
		return res, nil
	}
	return nil, h.notReady(h.State())
}

// maxRefusals is how often a call that was refused by a process about to stop is
// made again, on the next.
const maxRefusals = 3

// maxBody caps the events of one call: what is left of a message is for the
// account.
const maxBody = maxMessage - 1<<20

func (h *Host) deliver(ctx context.Context, account core.Account, batch []core.Delivery) []core.Result {
	if len(batch) == 0 {
		return nil
	}
	h.learn(account)
	h.metrics.inflight.Inc()
	defer h.metrics.inflight.Dec()
	wire := accountToWire(account)
	results := make([]core.Result, 0, len(batch))
	refusals := 0
	for len(batch) > 0 {
		in, notReady := h.acquire(ctx)
		if notReady != nil {
			return append(results, failAll(batch, notReady)...)
		}
		req, size := &connectorpb.DeliverRequest{Account: wire}, 0
		for i := range batch {
			d, err := deliveryToWire(&batch[i])
			if err == nil && len(d.Event) <= maxBody {
				if size += len(d.Event); i == in.info.MaxBatch || size > maxBody {
					break
				}
				req.Deliveries = append(req.Deliveries, d)
				continue
			}
			if i > 0 {
				break
			}
			if err == nil {
				err = fmt.Errorf("it is %d bytes, at most %d go to a plugin", len(d.Event), maxBody)
			}
			results = append(results, core.Result{ID: batch[0].Event.ID, Err: &core.Error{
				Code: core.CodeInvalid, Op: "plugin", Source: core.SourceBridge, Message: clean("the event cannot be sent: "+err.Error(), maxMessageText),
			}})
			batch = batch[1:]
			break
		}
		part := batch[:len(req.Deliveries)]
		if len(part) == 0 {
			in.calls.Done()
			continue
		}
		got, again := h.call(ctx, in, req, part)
		in.calls.Done()
		if again {
			if refusals++; refusals == maxRefusals {
				return append(results, failAll(batch, h.notReady(h.State()))...)
			}
			continue
		}
		results = append(results, got...)
		batch = batch[len(part):]
	}
	return results
}

func deliveryToWire(d *core.Delivery) (*connectorpb.Delivery, error) {
	data := d.Data
	if len(data) == 0 {
		var err error
		if data, err = json.Marshal(d.Event); err != nil {
			return nil, err
		}
	}
	return &connectorpb.Delivery{Id: d.Event.ID, Attempt: int32(d.Attempt), Event: data, ContactRef: d.ContactRef, ToldRef: d.ToldRef, MessageRef: d.MessageRef}, nil
}

// call makes one Deliver call. Again means that the process refused it, and
// nothing happened.
func (h *Host) call(ctx context.Context, in *instance, req *connectorpb.DeliverRequest, batch []core.Delivery) (_ []core.Result, again bool) {
	ctx, cancel := context.WithTimeout(ctx, h.o.CallTimeout)
	defer cancel()
	began := time.Now()
	res, err := in.client.Deliver(ctx, req)
	h.metrics.seconds.Observe(time.Since(began).Seconds())
	if h.refused(in, err) {
		return nil, true
	}
	if err != nil {
		return failAll(batch, h.explainCall(ctx, in, err)), false
	}
	meterFromWire(ctx, res.GetMeter())
	results, odd := settle(batch, resultsFromWire(res.GetResults()))
	if odd != "" {
		h.metrics.odd.Inc()
		h.log.Warn("plugin's results do not match its batch", "found", odd, "batch", len(batch))
	}
	for i := range results {
		results[i].Err = h.redacted(results[i].Err)
		results[i].Ref, results[i].ContactRef = h.redact.text(results[i].Ref), h.redact.text(results[i].ContactRef)
		results[i].MessageRef = h.redact.text(results[i].MessageRef)
	}
	return results, false
}

// refused reports whether the process did not begin a call because it is about
// to stop.
func (h *Host) refused(in *instance, err error) bool {
	if status.Code(err) != codes.Aborted {
		return false
	}
	h.mu.Lock()
	if h.current == in { // no more calls for it
		h.withoutLocked(PhaseBackoff)
	}
	h.mu.Unlock()
	select {
	case in.refuses <- struct{}{}:
	default:
	}
	return true
}

// redacted takes secrets out of an error of a plugin's.
func (h *Host) redacted(e *core.Error) *core.Error {
	if e != nil {
		e.Op, e.Message, e.Hint, e.Vendor = h.redact.words(e.Op), h.redact.words(e.Message), h.redact.words(e.Hint), h.redact.text(e.Vendor)
	}
	return e
}

// explainCall says what a call that failed means: mostly that nobody knows what
// happened.
func (h *Host) explainCall(ctx context.Context, in *instance, err error) *core.Error {
	unknown := func(vendor, format string, args ...any) *core.Error {
		e := core.Errorf(core.CodeUnknownOutcome, "plugin", format, args...)
		e.Source, e.Vendor = core.SourcePlugin, vendor
		e.Message = h.redact.words(clean(e.Message, maxMessageText))
		return e
	}
	said := status.Convert(err)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return unknown(VendorTimeout, "plugin %s did not answer in time", h.o.Name)
	case ctx.Err() != nil:
		return unknown(VendorStopped, "the call to plugin %s was given up", h.o.Name)
	case said.Code() == codes.Unavailable, said.Code() == codes.Canceled: // we have closed the connection of a dead process
		select {
		case <-in.process.ended:
			vendor := VendorCrashed
			if in.ending.Load() {
				vendor = VendorStopped
			}
			return unknown(vendor, "plugin %s ended during the call: %s", h.o.Name, in.process.obituary())
		case <-time.After(time.Second): // a process that died takes a moment to be seen off
			return unknown(VendorCrashed, "the connection to plugin %s broke: %s", h.o.Name, said.Message())
		}
	case said.Code() == codes.ResourceExhausted:
		return unknown("", "plugin %s: a message was too large (%d MiB are allowed): %s", h.o.Name, maxMessage>>20, said.Message())
	case said.Code() == codes.Unimplemented:
		e := unknown("", "plugin %s does not have this call", h.o.Name)
		e.Code, e.Hint = core.CodeInternal, "this is for the plugin's author to mend"
		return e
	case strings.Contains(said.Message(), "unmarshal"):
		return unknown("", "plugin %s: its answer cannot be read", h.o.Name)
	}
	return unknown("", "plugin %s failed: %s: %s", h.o.Name, said.Code(), said.Message())
}
