package access

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/store/boltstore"
)

const configured = "a-token-of-the-configuration"

// with runs f with the tokens of a folder, as a bridge does between two restarts.
func with(t *testing.T, dir string, f func(*Tokens)) {
	t.Helper()
	st, err := boltstore.Open(dir, boltstore.Options{MinFree: -1, BallastSize: -1, UnsafeNoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- st.Run(ctx) }()
	a, err := New(t.Context(), st, []Configured{{Name: "owner", Secret: configured}, {Name: "none"}})
	if err != nil {
		t.Fatal(err)
	}
	f(a)
	cancel()
	if err := errors.Join(<-done, st.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestTokens_AreKnownByTheirHashUntilTheyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var short, long NewToken
		with(t, dir, func(a *Tokens) {
			var err error
			if short, err = a.Make(t.Context(), Request{Name: "zap", Tenant: "acme", Scopes: []Scope{SendMessages}, Expires: time.Now().Add(time.Hour), By: "owner"}); err != nil {
				t.Fatal(err)
			}
			if long, err = a.Make(t.Context(), Request{Name: "tool", Scopes: []Scope{Admin}}); err != nil {
				t.Fatal(err)
			}
		})
		err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(name)
			for _, secret := range []string{short.Secret, long.Secret} {
				if _, random, _ := strings.Cut(strings.TrimPrefix(secret, "wab_"), "_"); strings.Contains(string(data), random) {
					t.Errorf("%s shows a token", d.Name())
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}

		with(t, dir, func(a *Tokens) {
			time.Sleep(time.Hour - time.Nanosecond)
			found, ok := a.Find(t.Context(), short.Secret)
			if !ok || found.ID != short.ID || found.Tenant != "acme" || !found.May(SendMessages) || found.May(ReadContacts) || found.May(Admin) {
				t.Errorf("found %+v, %v", found, ok)
			}
			if used := a.List("acme")[0].LastUsed; time.Since(used) > time.Minute {
				t.Errorf("last used %v", used)
			}
			time.Sleep(time.Nanosecond)
			if found, ok := a.Find(t.Context(), short.Secret); ok {
				t.Errorf("over, and found: %+v", found)
			}
			if found, ok := a.Find(t.Context(), long.Secret); !ok || !found.May(EraseContacts) {
				t.Errorf("found %+v, %v", found, ok)
			}
			if all := a.List(""); len(all) != 1 {
				t.Errorf("there are %+v", all)
			}
			for _, wrong := range []string{"", "wab_", "wab_" + long.ID + "_", long.Secret + "x", long.Secret[:len(long.Secret)-1], strings.ToUpper(long.Secret)} {
				if found, ok := a.Find(t.Context(), wrong); ok {
					t.Errorf("%q is taken for %+v", wrong, found)
				}
			}
			if err := a.Revoke(t.Context(), "acme", long.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("a tenant revokes what is not theirs: %v", err)
			}
			if err := a.Revoke(t.Context(), "", long.ID); err != nil {
				t.Error(err)
			}
			if _, ok := a.Find(t.Context(), long.Secret); ok {
				t.Error("revoked, and found")
			}
		})
		with(t, dir, func(a *Tokens) {
			if _, ok := a.Find(t.Context(), long.Secret); ok {
				t.Error("revoked, and found after a restart")
			}
			if owner, ok := a.Find(t.Context(), configured); !ok || !owner.May(Admin) || owner.Name != "owner" {
				t.Errorf("the configuration's is %+v, %v", owner, ok)
			}
		})
	})
}

func TestMake_TakesOnlyWhatMakesSense(t *testing.T) {
	with(t, t.TempDir(), func(a *Tokens) {
		for name, r := range map[string]Request{
			"no name":       {Scopes: []Scope{Admin}},
			"two lines":     {Name: "a\nb", Scopes: []Scope{Admin}},
			"no scopes":     {Name: "a"},
			"unknown scope": {Name: "a", Scopes: []Scope{SendMessages, "everything"}},
			"over already":  {Name: "a", Scopes: []Scope{Admin}, Expires: time.Now().Add(-time.Second)},
		} {
			if made, err := a.Make(t.Context(), r); core.CodeOf(err) != core.CodeInvalid {
				t.Errorf("%s: %+v, %v", name, made, err)
			}
		}
	})
}
