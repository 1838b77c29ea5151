package whatsapp_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/whatsapp"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

func (r *rig) manager() *whatsapp.Manager {
	return r.client.Manager(whatsapp.Number{Tenant: "acme", ID: numberID, AccessToken: func() core.Secret { return token }})
}

// newLine is a number that was added to an account and not verified.
func newLine() *whatsappsim.Sim {
	return whatsappsim.New(whatsappsim.Options{Numbers: []whatsappsim.Number{{ID: numberID, DisplayNumber: "15550783881", WABA: "1", New: true}}})
}

func TestManager_TakesANewNumberToService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newLine()
		r := newRig(t, sim)
		m, ctx := r.manager(), t.Context()
		trouble := func(want whatsapp.Trouble) {
			t.Helper()
			h, err := r.sink.Health(ctx)
			if err != nil || h.Trouble() != want {
				t.Fatalf("health %+v, %v; want trouble %q", h, err, want)
			}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		refused := func(err error, vendor string, says ...string) {
			t.Helper()
			e := core.AsError(err)
			if err == nil || e.Vendor != vendor {
				t.Fatalf("refused with %v, want %s", err, vendor)
			}
			for _, s := range says {
				if !strings.Contains(e.Error()+" "+e.Hint, s) {
					t.Errorf("%s: %q, hint %q: nothing of %q", vendor, e.Error(), e.Hint, s)
				}
			}
		}
		trouble(whatsapp.TroubleUnregistered)
		refused(m.Register(ctx, "123456", ""), "133006", "request-code")
		must(m.RequestCode(ctx, whatsapp.CodeByVoice, "pt_BR"))
		line := sim.Lines()[0]
		if line.Method != "VOICE" || len(line.Code) != 6 {
			t.Fatalf("the telephone got %+v", line)
		}
		wrong := "000000"
		if line.Code == wrong {
			wrong = "000001"
		}
		refused(m.Verify(ctx, wrong), "136025", "new one")
		must(m.Verify(ctx, line.Code[:3]+"-"+line.Code[3:]))
		refused(m.RequestCode(ctx, whatsapp.CodeBySMS, "en"), "136024", "register")
		must(m.Register(ctx, "123456", "DE"))
		trouble("")
		refused(m.Register(ctx, "654321", ""), "133005", "number pin")
		must(m.SetPIN(ctx, "654321"))
		must(m.Register(ctx, "654321", ""))
		must(m.Deregister(ctx))
		trouble(whatsapp.TroubleUnregistered)
		if strings.Contains(r.log.String(), "654321") || strings.Contains(r.log.String(), "123456") {
			t.Error("a PIN was logged")
		}
	})
}

func TestManager_SaysHowLongMetaWantsItToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := whatsappsim.New(whatsappsim.Options{})
		m, ctx := newRig(t, sim).manager(), t.Context()
		if err := m.Register(ctx, "111111", ""); err != nil {
			t.Fatal(err)
		}
		var last error
		for range 6 {
			last = m.Register(ctx, "222222", "")
		}
		if e := core.AsError(last); e.Vendor != "133008" || e.Code != core.CodeRateLimited || !strings.Contains(e.Error(), "3600 seconds") {
			t.Errorf("after six guesses: %v", last)
		}
		for range 3 {
			last = m.Register(ctx, "111111", "")
		}
		if e := core.AsError(m.Register(ctx, "111111", "")); e.Vendor != "133016" || e.RetryAfter != 72*time.Hour || !strings.Contains(e.Hint, "72h") {
			t.Errorf("the eleventh registration: %v, hint %q, before that %v", e, e.Hint, last)
		}
		time.Sleep(72 * time.Hour) // virtual
		if err := m.Register(ctx, "111111", ""); err != nil {
			t.Errorf("72 hours later: %v", err)
		}
	})
}

func TestManager_RefusesWhatMetaWouldWithoutAsking(t *testing.T) {
	m, ctx := newRig(t, newLine()).manager(), t.Context()
	for _, err := range []error{
		m.RequestCode(ctx, "fax", "en"), m.RequestCode(ctx, whatsapp.CodeBySMS, "english"), m.Verify(ctx, "12345"), m.Register(ctx, "12345", ""),
		m.Register(ctx, "123456", "Germany"), m.SetPIN(ctx, "abcdef"), m.SetBusinessProfile(ctx, nil),
		m.SetBusinessProfile(ctx, map[string]string{"colour": "red"}), m.SetBusinessProfile(ctx, map[string]string{"about": strings.Repeat("é", 140)}),
		m.SetBusinessProfile(ctx, map[string]string{"websites": "ftp://example.com"}),
	} {
		if e := new(core.Error); !errors.As(err, &e) || e.Code != core.CodeInvalid || e.Vendor != "" {
			t.Errorf("got %v", err)
		}
	}
}

func TestManager_SetsTheProfileThatPeopleSee(t *testing.T) {
	m, ctx := newRig(t, newLine()).manager(), t.Context()
	if err := m.SetBusinessProfile(ctx, map[string]string{"about": "Niños & más", "websites": "https://example.com https://example.org", "vertical": "RETAIL"}); err != nil {
		t.Fatal(err)
	}
	if err := m.SetBusinessProfile(ctx, map[string]string{"vertical": "", "email": "a@example.com"}); err != nil {
		t.Fatal(err)
	}
	got, err := m.BusinessProfile(ctx)
	want := whatsapp.BusinessProfile{About: "Niños & más", Email: "a@example.com", Websites: []string{"https://example.com", "https://example.org"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if err := m.SetBusinessProfile(ctx, map[string]string{"vertical": "SPACE"}); core.AsError(err).Vendor != "100" {
		t.Errorf("a line of business that there is not: %v", err)
	}
}

func TestHealth_TellsTroubles(t *testing.T) {
	sim := whatsappsim.New(whatsappsim.Options{})
	r := newRig(t, sim)
	for change, want := range map[whatsappsim.LineChange]whatsapp.Trouble{
		{Status: "BANNED"}: whatsapp.TroubleBanned, {Status: "RESTRICTED"}: whatsapp.TroubleRestricted, {Status: "FLAGGED"}: whatsapp.TroubleFlagged,
		{Status: "CONNECTED", Quality: "RED"}: whatsapp.TroubleFlagged, {Status: "CONNECTED", Quality: "YELLOW", Limit: "TIER_UNLIMITED", Throughput: "HIGH"}: "",
	} {
		if _, err := sim.ChangeLine(change); err != nil {
			t.Fatal(err)
		}
		h, err := r.sink.Health(t.Context())
		if err != nil || h.Trouble() != want {
			t.Errorf("%+v: %+v, %v", change, h, err)
		}
		if change.Limit != "" && (h.PeoplePerDay != -1 || h.MessagesPerSecond != 1000 || h.NameStatus != "APPROVED") {
			t.Errorf("limits: %+v", h)
		}
	}
	if got := whatsapp.TroubleOf(whatsapp.ErrorFor(400, whatsapp.GraphError{Code: 133010})); got != whatsapp.TroubleUnregistered {
		t.Errorf("133010 is %q", got)
	}
	if got := whatsapp.TroubleOf(whatsapp.ErrorFor(401, whatsapp.GraphError{Code: 190})); got != "" {
		t.Errorf("190 is %q", got)
	}
}
