package connectortest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/wabridge/wabridge/core"
)

// signedIn is a [core.Authorizer] with a bridge before it that keeps its tokens:
// one for each set of secrets.
type signedIn struct {
	core.Authorizer

	mu     sync.Mutex
	tokens map[string]*core.Token
	// learn is told of secrets that no error may tell.
	learn func(map[string]core.Secret)
}

// token gets the token of an account; once.
func (s *signedIn) token(ctx context.Context, a core.Account) (*core.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var key strings.Builder
	for _, name := range slices.Sorted(maps.Keys(a.Secrets)) {
		fmt.Fprintf(&key, "%q %q ", name, a.Secrets[name].Reveal())
	}
	if t := s.tokens[key.String()]; t != nil {
		return t, nil
	}
	t, err := s.Authorize(ctx, a)
	if err != nil {
		return nil, err
	}
	s.learn(t.Secrets)
	s.tokens[key.String()] = &t
	return &t, nil
}

func (s *signedIn) Check(ctx context.Context, a core.Account) error {
	t, err := s.token(ctx, a)
	if err != nil {
		return err
	}
	a.Token = t
	return s.Authorizer.Check(ctx, a)
}

func (s *signedIn) Deliver(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
	if len(batch) > 0 {
		t, err := s.token(ctx, a)
		if err != nil {
			results := make([]core.Result, len(batch))
			for i, d := range batch {
				results[i] = core.Result{ID: d.Event.ID, Err: core.AsError(err)}
			}
			return results
		}
		a.Token = t
	}
	return s.Authorizer.Deliver(ctx, a, batch)
}
