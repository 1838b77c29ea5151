package app

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store/boltstore"
)

func TestTokens_AreKeptWhereNobodyElseReadsThem(t *testing.T) {
	dir := t.TempDir()
	account := core.Account{Tenant: "shop", Lane: "crm", Secrets: map[string]core.Secret{"key": "lasting", "id": "client"}}
	key := bytes.Repeat([]byte{7}, 32)
	token := &core.Token{
		Secrets: map[string]core.Secret{"access": "very-secret-access", "refresh": "very-secret-refresh"},
		Values:  map[string]string{"instance": "https://crm.example"},
		Expires: time.Date(2026, 11, 27, 13, 0, 0, 0, time.UTC),
	}
	got := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

	// with opens the store anew each time, as a restart does.
	with := func(key []byte, a core.Account, f func(*tokens)) {
		t.Helper()
		st, err := boltstore.Open(dir, boltstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- st.Run(ctx) }()
		kept, err := newTokens(st, key, a, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		f(kept)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	load := func(key []byte, a core.Account) (token *core.Token, at time.Time) {
		t.Helper()
		with(key, a, func(kept *tokens) {
			var err error
			if token, at, err = kept.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
		return token, at
	}

	if token, _ := load(key, account); token != nil {
		t.Errorf("there is a token before one was kept: %+v", token)
	}
	with(key, account, func(kept *tokens) {
		if err := kept.Save(t.Context(), token, got); err != nil {
			t.Fatal(err)
		}
	})
	back, at := load(key, account)
	if diff := cmp.Diff(token, back); diff != "" || !at.Equal(got) {
		t.Errorf("got at %v (-kept +loaded):\n%s", at, diff)
	}
	files := 0
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if files++; bytes.Contains(data, []byte("very-secret")) {
			t.Errorf("%s shows the token", d.Name())
		}
		return err
	})
	if err != nil || files == 0 {
		t.Fatal(files, err)
	}

	changed := account
	changed.Secrets = map[string]core.Secret{"key": "another", "id": "client"}
	other := account
	other.Lane = "crm2"
	for what, c := range map[string]struct {
		key     []byte
		account core.Account
	}{
		"another secret": {key, changed},
		"another key":    {bytes.Repeat([]byte{8}, 32), account},
		"another lane":   {key, other},
	} {
		if token, _ := load(c.key, c.account); token != nil {
			t.Errorf("%s opens it: %+v", what, token)
		}
	}
}
