package plugin

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin/internal/connectorpb"
)

func infoToWire(i core.ConnectorInfo) *connectorpb.InfoResponse {
	w := &connectorpb.InfoResponse{
		Name: i.Name, Version: clean(i.Version, 100), MaxBatch: int32(i.MaxBatch), Idempotency: string(i.Idempotency),
		CallsPerSecond: i.CallsPerSecond, SearchDelayMs: i.SearchDelay.Milliseconds(), Secrets: i.Secrets,
		Authorizes: i.Authorizes, Polls: i.Polls, Receives: i.Receives, Describes: i.Describes, Segments: i.Segments,
	}
	for _, k := range i.Kinds {
		w.Kinds = append(w.Kinds, string(k))
	}
	for _, b := range i.Budgets {
		w.Budgets = append(w.Budgets, &connectorpb.Budget{Name: b.Name, Calls: int64(b.Calls), PerMs: b.Per.Milliseconds()})
	}
	return w
}

func infoFromWire(w *connectorpb.InfoResponse) core.ConnectorInfo {
	i := core.ConnectorInfo{
		Name: w.GetName(), Version: clean(w.GetVersion(), 100), MaxBatch: int(w.GetMaxBatch()),
		Idempotency: core.Idempotency(w.GetIdempotency()), CallsPerSecond: w.GetCallsPerSecond(),
		SearchDelay: time.Duration(min(max(w.GetSearchDelayMs(), 0), 3_600_000)) * time.Millisecond, Secrets: w.GetSecrets(),
		Authorizes: w.GetAuthorizes(), Polls: w.GetPolls(), Receives: w.GetReceives(), Describes: w.GetDescribes(), Segments: w.GetSegments(),
	}
	for _, k := range w.GetKinds() {
		i.Kinds = append(i.Kinds, core.Kind(k))
	}
	for _, b := range w.GetBudgets() {
		i.Budgets = append(i.Budgets, core.Budget{
			Name: b.GetName(), Calls: int(b.GetCalls()), Per: time.Duration(min(b.GetPerMs(), maxBudgetWindow.Milliseconds()+1)) * time.Millisecond,
		})
	}
	return i
}

func accountToWire(a core.Account) *connectorpb.Account {
	return &connectorpb.Account{
		Tenant: a.Tenant, Lane: a.Lane, Settings: a.Settings, Secrets: secretsToWire(a.Secrets), Token: tokenToWire(a.Token),
		Properties: a.Properties, WebhookUrl: a.WebhookURL, Idempotency: string(a.Idempotency),
	}
}

func accountFromWire(w *connectorpb.Account) core.Account {
	return core.Account{
		Tenant: w.GetTenant(), Lane: w.GetLane(), Settings: json.RawMessage(w.GetSettings()),
		Secrets: secretsFromWire(w.GetSecrets()), Token: tokenFromWire(w.GetToken()), Properties: w.GetProperties(),
		WebhookURL: w.GetWebhookUrl(), Idempotency: core.Idempotency(w.GetIdempotency()),
	}
}

func secretsToWire(secrets map[string]core.Secret) map[string]string {
	if len(secrets) == 0 {
		return nil
	}
	w := make(map[string]string, len(secrets))
	for name, s := range secrets {
		w[name] = s.Reveal()
	}
	return w
}

func secretsFromWire(w map[string]string) map[string]core.Secret {
	if len(w) == 0 {
		return nil
	}
	secrets := make(map[string]core.Secret, len(w))
	for name, s := range w {
		secrets[name] = core.Secret(s)
	}
	return secrets
}

func tokenToWire(t *core.Token) *connectorpb.Token {
	if t == nil {
		return nil
	}
	w := &connectorpb.Token{Secrets: secretsToWire(t.Secrets), Values: t.Values}
	if !t.Expires.IsZero() {
		w.ExpiresMs = t.Expires.UnixMilli()
	}
	return w
}

func tokenFromWire(w *connectorpb.Token) *core.Token {
	if w == nil {
		return nil
	}
	t := &core.Token{Secrets: secretsFromWire(w.GetSecrets()), Values: w.GetValues()}
	if ms := w.GetExpiresMs(); ms > 0 {
		t.Expires = time.UnixMilli(ms).UTC()
	}
	return t
}

// eachAsJSON writes what travels as a list of JSON texts: events, segments, members.
func eachAsJSON[T any](values []T) ([][]byte, error) {
	out := make([][]byte, len(values))
	for i := range values {
		data, err := json.Marshal(&values[i])
		if err != nil {
			return nil, err
		}
		out[i] = data
	}
	return out, nil
}

func webhookToWire(r core.WebhookRequest) *connectorpb.WebhookRequest {
	w := &connectorpb.WebhookRequest{Method: r.Method, Url: r.URL, Remote: r.Remote, Body: r.Body}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, v := range r.Header[name] {
			w.Header = append(w.Header, &connectorpb.Header{Name: name, Value: strings.ToValidUTF8(v, "�")})
		}
	}
	return w
}

func webhookFromWire(w *connectorpb.WebhookRequest) core.WebhookRequest {
	r := core.WebhookRequest{Method: w.GetMethod(), URL: w.GetUrl(), Remote: w.GetRemote(), Body: w.GetBody(), Header: map[string][]string{}}
	for _, h := range w.GetHeader() {
		r.Header[h.GetName()] = append(r.Header[h.GetName()], h.GetValue())
	}
	return r
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
		wire[i] = &connectorpb.Result{Id: r.ID, Ref: r.Ref, ContactRef: r.ContactRef, MessageRef: r.MessageRef, Error: errorToWire(r.Err)}
	}
	return wire
}

func resultsFromWire(wire []*connectorpb.Result) []core.Result {
	results := make([]core.Result, len(wire))
	for i, w := range wire {
		results[i] = core.Result{ID: w.GetId(), Ref: w.GetRef(), ContactRef: w.GetContactRef(), MessageRef: w.GetMessageRef(), Err: errorFromWire(w.GetError())}
	}
	return results
}

func meterToWire(m *core.Meter) *connectorpb.Meter {
	spent, left := m.Spent()
	if len(spent)+len(left) == 0 {
		return nil
	}
	w := &connectorpb.Meter{Spent: map[string]int64{}, Left: map[string]int64{}}
	for name, n := range spent {
		w.Spent[name] = int64(n)
	}
	for name, n := range left {
		w.Left[name] = int64(n)
	}
	return w
}

// meterFromWire counts what a plugin says that it spent.
func meterFromWire(ctx context.Context, w *connectorpb.Meter) {
	if len(w.GetSpent())+len(w.GetLeft()) > 2*maxBudgets {
		return
	}
	for name, n := range w.GetSpent() {
		core.Spend(ctx, name, int(min(n, maxBudgetCalls)))
	}
	for name, n := range w.GetLeft() {
		core.Left(ctx, name, int(min(n, maxBudgetCalls)))
	}
}
