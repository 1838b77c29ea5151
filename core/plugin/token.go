package plugin

import (
	"context"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin/internal/connectorpb"
)

// TokenStore keeps the token of one lane over restarts, in a form that nobody
// else can read. Its methods are called one at a time.
type TokenStore interface {
	// Load returns the token kept last and when it was got; nil when there is
	// none.
	Load(ctx context.Context) (*core.Token, time.Time, error)
	Save(ctx context.Context, token *core.Token, got time.Time) error
}

const (
	// renewBefore is how long before its end a token is renewed, or a tenth of
	// its life where that is less.
	renewBefore = 5 * time.Minute
	// tokenSettles is how long a token that was refused right after it was got is
	// kept all the same: another would fare no better, and vendors count them.
	tokenSettles = 30 * time.Second
	// authorizeAgain is how soon a plugin is asked again after it got no token and
	// did not say how long to wait.
	authorizeAgain = time.Second
	// What a token may hold.
	maxTokenParts = 16
	maxTokenSize  = 64 << 10
)

// keeper keeps a lane signed in.
type keeper struct {
	h    *Host
	turn chan struct{} // held by who loads or renews the token

	mu     sync.Mutex
	loaded bool
	token  *core.Token // replaced, never changed
	got    time.Time
	failed *core.Error // why there was no token last time
	until  time.Time   // when to ask again after that
}

func newKeeper(h *Host) *keeper { return &keeper{h: h, turn: make(chan struct{}, 1)} }

// current returns a token to make a call with, nil when the connector needs
// none. Refused is the token that the CRM did not take, if any. Of callers that
// need a new one, one asks for it and the others wait.
func (k *keeper) current(ctx context.Context, refused *core.Token) (*core.Token, *core.Error) {
	info, err := k.h.Info(ctx)
	if err != nil {
		return nil, core.AsError(err)
	}
	if !info.Authorizes {
		return nil, nil
	}
	for {
		if token, err, known := k.have(refused); known {
			return token, err
		}
		select {
		case k.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, k.failure(core.Errorf(core.CodeUnavailable, "authorize", "wait for a token: %w", ctx.Err()))
		}
		token, err, known := k.have(refused)
		if !known {
			token, err = k.renew(ctx, refused)
		}
		<-k.turn
		if token != nil || err != nil {
			return token, err
		}
	}
}

// have returns what is known without asking anybody.
func (k *keeper) have(refused *core.Token) (*core.Token, *core.Error, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	switch {
	case !k.loaded:
		return nil, nil, false
	case k.usable(now, refused) && (k.fresh(now) || k.failed != nil && now.Before(k.until)):
		return k.token, nil, true
	case k.failed != nil && now.Before(k.until):
		return nil, k.failed, true
	}
	return nil, nil, false
}

// usable reports whether the token may still work. The caller holds k.mu.
func (k *keeper) usable(now time.Time, refused *core.Token) bool {
	return k.token != nil && (k.token.Expires.IsZero() || now.Before(k.token.Expires)) &&
		(k.token != refused || now.Sub(k.got) < tokenSettles)
}

// fresh reports whether it is too early to renew the token. The caller holds
// k.mu.
func (k *keeper) fresh(now time.Time) bool {
	if k.token.Expires.IsZero() {
		return true
	}
	return now.Before(k.token.Expires.Add(-min(renewBefore, k.token.Expires.Sub(k.got)/10)))
}

// renew loads the token that was kept, or gets another. Neither token nor error
// means that the caller must look again. The caller has the turn.
func (k *keeper) renew(ctx context.Context, refused *core.Token) (*core.Token, *core.Error) {
	if !k.loaded {
		var token *core.Token
		var got time.Time
		if k.h.o.Tokens != nil {
			var err error
			if token, got, err = k.h.o.Tokens.Load(ctx); err != nil {
				return nil, k.failure(core.AsError(err))
			}
		}
		k.mu.Lock()
		k.loaded, k.token, k.got = true, token, got
		k.mu.Unlock()
		return nil, nil
	}
	account := k.h.account()
	account.Token = k.token
	began := time.Now()
	token, err := k.h.authorize(ctx, account)
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if err != nil {
		k.h.metrics.tokens.WithLabelValues(string(err.Code)).Inc()
		k.failed, k.until = k.failure(err), now.Add(max(err.RetryAfter, authorizeAgain))
		if k.usable(now, refused) { // it is good for a while yet
			k.h.log.Warn("the token cannot be renewed yet", "error", err)
			return k.token, nil
		}
		return nil, k.failed
	}
	k.h.metrics.tokens.WithLabelValues("ok").Inc()
	k.token, k.got, k.failed = token, began, nil
	if k.h.o.Tokens != nil {
		if err := k.h.o.Tokens.Save(context.WithoutCancel(ctx), token, began); err != nil {
			k.h.log.Error("a token could not be kept: after a restart another is needed", "error", err)
		}
	}
	return token, nil
}

// failure makes an error that is the whole lane's. What is wrong with the settings
// is no event's fault, which must not be given up for it.
func (k *keeper) failure(err *core.Error) *core.Error {
	e := *err
	e.Scope = core.ScopeLane
	if e.Code == core.CodeInvalid {
		e.Code = core.CodeForbidden
	}
	return &e
}

// withToken makes a call with the account's token, if it needs one, and once
// more with a new one when the CRM refuses it.
func withToken[T any](ctx context.Context, h *Host, call func(core.Account) (T, *core.Error)) (none T, _ *core.Error) {
	account := h.account()
	token, err := h.keeper.current(ctx, nil)
	if err != nil {
		return none, err
	}
	account.Token = token
	answer, failed := call(account)
	if token == nil || failed == nil || failed.Code != core.CodeUnauthenticated {
		return answer, failed
	}
	fresh, err := h.keeper.current(ctx, token)
	switch {
	case err != nil:
		return none, err
	case fresh == token:
		return none, failed
	}
	account.Token = fresh
	return call(account)
}

// plain keeps a nil *core.Error from becoming an error that is not nil.
func plain(e *core.Error) error {
	if e == nil {
		return nil
	}
	return e
}

// authorize asks the plugin for a token.
func (h *Host) authorize(ctx context.Context, account core.Account) (*core.Token, *core.Error) {
	h.learn(account)
	res, err := askPlugin(ctx, h, "authorize", func(ctx context.Context, c connectorpb.Client) (*connectorpb.AuthorizeResponse, error) {
		return c.Authorize(ctx, &connectorpb.AuthorizeRequest{Account: accountToWire(account)})
	})
	if err != nil {
		return nil, err
	}
	token := tokenFromWire(res.GetToken())
	h.learn(core.Account{Token: token})
	if err := h.redacted(cleanError(errorFromWire(res.GetError()))); err != nil {
		return nil, err
	}
	if why := oddToken(token); why != "" {
		return nil, h.odd("authorize", why)
	}
	return token, nil
}

// odd is the error of a plugin that does not keep to the contract. Why may quote it.
func (h *Host) odd(call, why string) *core.Error {
	return &core.Error{
		Code: core.CodeInternal, Op: "plugin " + call, Source: core.SourcePlugin,
		Message: "plugin " + h.o.Name + ": " + h.redact.words(why), Hint: "this is for the plugin's author to mend",
	}
}

// oddToken says what is wrong with a token that a plugin made.
func oddToken(t *core.Token) string {
	if t == nil || len(t.Secrets) == 0 {
		return "Authorize gave neither a token nor an error"
	}
	size := 0
	for name, s := range t.Secrets {
		size += len(name) + len(s)
	}
	for name, v := range t.Values {
		size += len(name) + len(v)
	}
	if len(t.Secrets)+len(t.Values) > maxTokenParts || size > maxTokenSize {
		return "the token of Authorize is too large"
	}
	return ""
}

// learn takes note of the secrets that no error may tell.
func (h *Host) learn(a core.Account) {
	h.redact.learn(a.Secrets)
	if a.Token != nil {
		h.redact.learn(a.Token.Secrets)
	}
}
