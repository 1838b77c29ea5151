package core_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
)

func TestStatus_OnlyMovesForward(t *testing.T) {
	order := []core.StatusValue{core.StatusAccepted, core.StatusSent, core.StatusFailed, core.StatusDelivered, core.StatusRead, core.StatusPlayed}
	for i, from := range order {
		for j, to := range order {
			if got, want := from.Advances(to), j > i; got != want {
				t.Errorf("%s → %s: advances = %v, want %v", from, to, got, want)
			}
		}
		if from.Advances("deleted") {
			t.Errorf("%s → an unknown status: advances", from)
		}
	}
	if !core.StatusValue("").Advances(core.StatusSent) {
		t.Error("nothing → sent: does not advance")
	}
}

func TestStatus_EndsTheSameWhateverTheOrder(t *testing.T) {
	all := []core.StatusValue{core.StatusSent, core.StatusDelivered, core.StatusRead}
	for _, p := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}, {0, 0, 2, 1, 1}} {
		var s core.StatusValue
		for _, i := range p {
			if s.Advances(all[i]) {
				s = all[i]
			}
		}
		if s != core.StatusRead {
			t.Errorf("order %v ends in %s, want read", p, s)
		}
	}
}

func TestAddress_IsNeverMixedUp(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want core.Address
		bad  bool
	}{
		{in: "+886912345678", want: core.Address{Kind: core.AddressPhone, Value: "+886912345678"}},
		{in: "phone:+14155550100", want: core.Address{Kind: core.AddressPhone, Value: "+14155550100"}},
		{in: "US.13491208655302741918", want: core.Address{Kind: core.AddressBSUID, Value: "US.13491208655302741918"}},
		{in: "bsuid:US.ENT.11815799212886844830", want: core.Address{Kind: core.AddressBSUID, Value: "US.ENT.11815799212886844830"}},
		{in: "phone:US.13491208655302741918", bad: true},
		{in: "bsuid:+14155550100", bad: true},
		{in: "14155550100", bad: true},
		{in: "+0123456789", bad: true},
		{in: "+1 415 555 0100", bad: true},
		{in: "mail:someone", bad: true},
		{in: "", bad: true},
	} {
		got, err := core.ParseAddress(tc.in)
		if tc.bad {
			if err == nil {
				t.Errorf("%q: got %v, want an error", tc.in, got)
			}
			continue
		}
		if err != nil || got != tc.want {
			t.Errorf("%q: got %v, %v", tc.in, got, err)
		}
		var back core.Address
		if err := back.UnmarshalText([]byte(got.String())); err != nil || back != got {
			t.Errorf("%q: read back as %v, %v", tc.in, back, err)
		}
	}
}

func TestSecret_IsNotSeen(t *testing.T) {
	const text = "EAAG-very-secret"
	s := core.Secret(text)
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", s, "account", core.Account{Secrets: map[string]core.Secret{"token": s}})
	data, err := json.Marshal(struct{ T core.Secret }{s})
	if err != nil {
		t.Fatal(err)
	}
	seen := fmt.Sprintf("%v %s %q %+v %#v %s %s", s, s, s, []core.Secret{s}, s, data, log.String())
	if strings.Contains(seen, "very-secret") {
		t.Errorf("the secret is seen: %s", seen)
	}
	if s.Reveal() != text {
		t.Error("Reveal does not give the text")
	}
}

func TestError_KeepsItsCauseAndItsCode(t *testing.T) {
	err := fmt.Errorf("outer: %w", core.Errorf(core.CodeUnavailable, "send", "no answer: %w", io.ErrUnexpectedEOF))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
	if got := core.CodeOf(err); got != core.CodeUnavailable {
		t.Errorf("code = %s", got)
	}
	if got, want := err.Error(), "outer: send: no answer: unexpected EOF: unexpected EOF"; got == want {
		t.Error("the cause is written twice")
	}
	if got := core.CodeOf(io.EOF); got != core.CodeInternal {
		t.Errorf("code of a foreign error = %s", got)
	}
	if core.AsError(nil) != nil || core.CodeOf(nil) != "" {
		t.Error("nil is an error")
	}
}

func TestError_SurvivesAProcessBoundary(t *testing.T) {
	in := &core.Error{Code: core.CodeRateLimited, Op: "contact upsert", Message: "too fast", Hint: "lower rate",
		Source: core.SourceVendor, Vendor: "TEN_SECONDLY_ROLLING", RetryAfter: 10e9, Scope: core.ScopeLane}
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out core.Error
	if err := json.Unmarshal(data, &out); err != nil || out != *in {
		t.Errorf("got %+v, %v", out, err)
	}
}

func TestMaskAddress_ShowsTheEndOnly(t *testing.T) {
	for _, s := range []string{"+886912345678", "phone:+886912345678", "US.13491208655302741918", "12", ""} {
		if got := core.MaskAddress(s); len(s) > 4 && (strings.Contains(got, s[:len(s)-2]) || len(got) > 5) || len(s) <= 4 && got != "…" {
			t.Errorf("%q is masked as %q", s, got)
		}
	}
}
