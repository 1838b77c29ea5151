package app

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin"
	"github.com/wabridge/wabridge/core/store"
)

const (
	bucketTokens  = "tokens"     // <lane> → a token, sealed
	tokensKeyFile = "tokens.key" // what seals them
)

// tokens keeps the token of one lane in the store, sealed.
type tokens struct {
	store  store.Store
	sealer sealer
	key    store.Key
	belong []byte // what the token belongs to
	log    *slog.Logger
}

var _ plugin.TokenStore = (*tokens)(nil)

// newTokens returns the place for the token of an account. A token that was got
// with other secrets is none of this account's: when the owner changes one, the
// next token is got with it.
func newTokens(st store.Store, key []byte, a core.Account, log *slog.Logger) (*tokens, error) {
	seal, err := newSealer(key)
	if err != nil {
		return nil, err
	}
	belong := sha256.New()
	fmt.Fprintf(belong, "%q %q", a.Tenant, a.Lane)
	for _, name := range slices.Sorted(maps.Keys(a.Secrets)) {
		fmt.Fprintf(belong, " %q %q", name, a.Secrets[name].Reveal())
	}
	return &tokens{
		store: st, sealer: seal, belong: belong.Sum(nil), log: log,
		key: store.Key{Tenant: a.Tenant, Bucket: bucketTokens, Key: a.Lane},
	}, nil
}

// keptToken is a token in its stored form, before it is sealed.
type keptToken struct {
	Secrets map[string]string `json:"secrets"`
	Values  map[string]string `json:"values,omitempty"`
	Expires time.Time         `json:"expires,omitzero"`
	Got     time.Time         `json:"got"`
}

// Load implements [plugin.TokenStore]. A token that cannot be read is none.
func (t *tokens) Load(ctx context.Context) (*core.Token, time.Time, error) {
	values, err := t.store.Get(ctx, t.key)
	if err != nil || values[0] == nil {
		return nil, time.Time{}, err
	}
	var kept keptToken
	plain, err := t.sealer.Open(values[0], t.belong)
	if err == nil {
		err = json.Unmarshal(plain, &kept)
	}
	if err != nil {
		t.log.Info("the token that was kept is of other secrets: another is asked for", "tenant", t.key.Tenant, "lane", t.key.Key)
		return nil, time.Time{}, nil //nolint:nilerr // as if there were none
	}
	token := &core.Token{Secrets: map[string]core.Secret{}, Values: kept.Values, Expires: kept.Expires}
	for name, s := range kept.Secrets {
		token.Secrets[name] = core.Secret(s)
	}
	return token, kept.Got, nil
}

// Save implements [plugin.TokenStore].
func (t *tokens) Save(ctx context.Context, token *core.Token, got time.Time) error {
	kept := keptToken{Secrets: map[string]string{}, Values: token.Values, Expires: token.Expires, Got: got.UTC()}
	for name, s := range token.Secrets {
		kept.Secrets[name] = s.Reveal()
	}
	plain, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	sealed, err := t.sealer.Seal(plain, t.belong)
	if err != nil {
		return err
	}
	_, err = t.store.Settle(ctx, store.Settlement{Put: []store.Put{{Key: t.key, Value: sealed}}})
	return err
}
