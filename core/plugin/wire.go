package plugin

import (
	"encoding/json"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin/internal/connectorpb"
)

func infoToWire(i core.ConnectorInfo) *connectorpb.InfoResponse {
	w := &connectorpb.InfoResponse{
		Name: i.Name, Version: clean(i.Version, 100), MaxBatch: int32(i.MaxBatch), Idempotency: string(i.Idempotency),
		CallsPerSecond: i.CallsPerSecond, Secrets: i.Secrets,
	}
	for _, k := range i.Kinds {
		w.Kinds = append(w.Kinds, string(k))
	}
	return w
}

func infoFromWire(w *connectorpb.InfoResponse) core.ConnectorInfo {
	i := core.ConnectorInfo{
		Name: w.GetName(), Version: clean(w.GetVersion(), 100), MaxBatch: int(w.GetMaxBatch()),
		Idempotency: core.Idempotency(w.GetIdempotency()), CallsPerSecond: w.GetCallsPerSecond(), Secrets: w.GetSecrets(),
	}
	for _, k := range w.GetKinds() {
		i.Kinds = append(i.Kinds, core.Kind(k))
	}
	return i
}

func accountToWire(a core.Account) *connectorpb.Account {
	w := &connectorpb.Account{Tenant: a.Tenant, Lane: a.Lane, Settings: a.Settings}
	if len(a.Secrets) > 0 {
		w.Secrets = make(map[string]string, len(a.Secrets))
		for name, s := range a.Secrets {
			w.Secrets[name] = s.Reveal()
		}
	}
	return w
}

func accountFromWire(w *connectorpb.Account) core.Account {
	a := core.Account{Tenant: w.GetTenant(), Lane: w.GetLane(), Settings: json.RawMessage(w.GetSettings())}
	if len(w.GetSecrets()) > 0 {
		a.Secrets = make(map[string]core.Secret, len(w.GetSecrets()))
		for name, s := range w.GetSecrets() {
			a.Secrets[name] = core.Secret(s)
		}
	}
	return a
}

func errorToWire(e *core.Error) *connectorpb.Error {
	if e == nil {
		return nil
	}
	return &connectorpb.Error{
		Code: string(e.Code), Op: e.Op, Message: e.Message, Hint: e.Hint, Source: string(e.Source), Vendor: e.Vendor,
		// Rounded up: a short wait does not become none.
		RetryAfterMs: int64((e.RetryAfter + time.Millisecond - 1) / time.Millisecond), Scope: string(e.Scope),
	}
}

func errorFromWire(w *connectorpb.Error) *core.Error {
	if w == nil {
		return nil
	}
	return &core.Error{
		Code: core.Code(w.GetCode()), Op: w.GetOp(), Message: w.GetMessage(), Hint: w.GetHint(),
		Source: core.Source(w.GetSource()), Vendor: w.GetVendor(),
		RetryAfter: time.Duration(min(w.GetRetryAfterMs(), int64(maxRetryAfter/time.Millisecond))) * time.Millisecond,
		Scope:      core.Scope(w.GetScope()),
	}
}

func resultsToWire(results []core.Result) []*connectorpb.Result {
	wire := make([]*connectorpb.Result, len(results))
	for i, r := range results {
		wire[i] = &connectorpb.Result{Id: r.ID, Ref: r.Ref, Error: errorToWire(r.Err)}
	}
	return wire
}

func resultsFromWire(wire []*connectorpb.Result) []core.Result {
	results := make([]core.Result, len(wire))
	for i, w := range wire {
		results[i] = core.Result{ID: w.GetId(), Ref: w.GetRef(), Err: errorFromWire(w.GetError())}
	}
	return results
}
