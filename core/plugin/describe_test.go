//go:build linux

package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
)

var _ core.Describer = poller{}

// Describe does what the account's only property says.
func (p poller) Describe(_ context.Context, a core.Account) (core.Schema, error) {
	if a.Token == nil {
		return core.Schema{}, errors.New("described without a token")
	}
	switch a.Properties[0] {
	case "all":
		return described, nil
	case "nothing":
		return core.Schema{}, nil
	case "too much":
		return core.Schema{Objects: []core.Object{{Properties: make([]core.Property, core.MaxProperties+1)}}}, nil
	case "panic":
		panic("no")
	}
	return core.Schema{}, core.Errorf(core.CodeRateLimited, "describe", "not with %s", a.Secrets["token"].Reveal())
}

var described = core.Schema{
	Objects: []core.Object{{Name: "contacts", Properties: []core.Property{
		{Name: "city", Label: "City", Type: core.PropertyText, Length: 40},
		{Name: "stage", Type: core.PropertyChoice, Required: true, ReadOnly: true, Unique: true, Values: []string{"new", "old"}},
	}}},
	Mapping: []core.MapRule{{Field: "city", Property: "city", Transform: []string{"trim"}, Values: map[string]string{"a": "b"}}},
}

func TestHost_Describes(t *testing.T) {
	d := newDesk(t)
	ask := func(do string) (core.Schema, error) {
		a := core.Account{Settings: json.RawMessage(`{"url":"` + d.URL + `"}`), Secrets: account.Secrets, Properties: []string{do}}
		h, _ := run(t, HostOptions{Launch: child("poller"), Account: func() core.Account { return a }})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if info, err := h.Info(ctx); err != nil || !info.Describes {
			t.Fatalf("%+v, %v", info, err)
		}
		return h.Describe(ctx)
	}
	got, err := ask("all")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(described, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for do, code := range map[string]core.Code{
		"nothing": core.CodeInternal, "too much": core.CodeInternal, "panic": core.CodeInternal, "slow": core.CodeRateLimited,
	} {
		if got, err := ask(do); core.CodeOf(err) != code || len(got.Objects) > 0 || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: got %+v, %v", do, got, err)
		}
	}
}
