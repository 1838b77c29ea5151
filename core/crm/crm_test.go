package crm_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

func TestReadSettings_NamesWhatIsWrong(t *testing.T) {
	type timing struct {
		Timeout crm.Duration `json:"timeout"`
	}
	type table struct {
		BaseURL string `json:"base_url"`
		timing
	}
	for _, c := range []struct{ raw, wants string }{
		{`{"base_ulr":"x"}`, "did you mean base_url?"},
		{`{"nothing_like_it":1}`, "settings are base_url, timeout"},
		{`{"base_url":7}`, "settings.base_url"},
		{`{"timeout":"soon"}`, "timeout"},
		{`[]`, "want an object"},
	} {
		s := table{BaseURL: "kept"}
		err := crm.ReadSettings("acme settings", []byte(c.raw), &s)
		if err == nil || err.Code != core.CodeInvalid || !strings.Contains(err.Message+" "+err.Hint, c.wants) {
			t.Errorf("%s: got %+v, want invalid and %q", c.raw, err, c.wants)
		}
	}
	s := table{BaseURL: "kept"}
	if err := crm.ReadSettings("acme settings", []byte(`{"timeout":"3s"}`), &s); err != nil || s.BaseURL != "kept" || time.Duration(s.Timeout) != 3*time.Second {
		t.Errorf("got %+v, %v", s, err)
	}
	if err := crm.ReadSettings("acme settings", nil, &s); err != nil {
		t.Errorf("no settings: %v", err)
	}
}

func TestBaseURL_IsHTTPSButOnLoopback(t *testing.T) {
	for value, good := range map[string]bool{
		"https://api.example.com/": true, "http://127.0.0.1:8091": true, "http://localhost": true, "http://[::1]:1": true,
		"http://api.example.com": false, "http://127.0.0.1.example.com": false, "https://user:pw@api.example.com": false,
		"api.example.com": false, "ftp://127.0.0.1": false, "https://a/?q=1": false, "": false,
	} {
		got, err := crm.BaseURL("acme", "base_url", value, "https://api.example.com")
		if (err == nil) != good || good && strings.HasSuffix(got, "/") {
			t.Errorf("%q: got %q, %v", value, got, err)
		}
	}
}

func TestCut_FitsWithItsMark(t *testing.T) {
	for _, c := range []struct {
		text       string
		size       int
		mark, want string
	}{
		{"", 0, "…", ""},
		{"abcd", 4, "…", "abcd"},
		{"abcde", 4, "…", "abc…"},
		{"abcde", 4, "", "abcd"},
		{"äöüß", 4, "…", "äöüß"}, // eight bytes, four characters
		{"ab😀", 4, "…", "ab😀"},
		{"ab😀c", 4, "…", "ab…"}, // an emoji is two, and is not cut in half
		{"a😀bc", 4, "…", "a😀…"},
		{"😀😀😀", 3, "", "😀"},
		{"a\xff\xffbc", 4, "…", "a\xff\xff…"}, // what is not UTF-8 counts, too
	} {
		got := crm.Cut(c.text, c.size, c.mark)
		if got != c.want {
			t.Errorf("%q in %d: %q, want %q", c.text, c.size, got, c.want)
		}
		if n := len(utf16.Encode([]rune(got))); n > c.size || n != crm.Length(got) {
			t.Errorf("%q in %d: %q has %d, of which Length says %d", c.text, c.size, got, n, crm.Length(got))
		}
	}
}

func TestVendorText_HidesPeople(t *testing.T) {
	got := crm.VendorText("Contact +34600123456 <ana@example.com>\nexists\r\n" + strings.Repeat("é", 400))
	if strings.Contains(got, "600123456") || strings.Contains(got, "ana@") || strings.ContainsAny(got, "\r\n") {
		t.Errorf("got %q", got)
	}
	for _, number := range []string{"+34 600 123 456", "+1 (555) 123-4567", "+34.600.12.34.56", "+44-20-7946-0958", "0034600123456"} {
		if got := crm.VendorText("too long: " + number + "."); strings.Contains(got, number[len(number)-5:]) || strings.Contains(got, number[:6]) {
			t.Errorf("%s: got %q", number, got)
		}
	}
	if got := crm.VendorText("at 2026-11-27T10:00:00Z, 5 of 12"); got != "at 2026-11-27T10:00:00Z, 5 of 12" {
		t.Errorf("got %q", got)
	}
	if len(got) > 310 || !utf8.ValidString(got) {
		t.Errorf("%d bytes, valid %v", len(got), utf8.ValidString(got))
	}
}

// TestCaller_TellsWhatCanHaveHappened breaks a call in every way: only what was not
// sent is known not to have happened.
func TestCaller_TellsWhatCanHaveHappened(t *testing.T) {
	answer := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only after it does the server notice that a client left
		switch r.URL.Path {
		case "/drop":
			panic(http.ErrAbortHandler)
		case "/hang":
			<-r.Context().Done()
		case "/large":
			page := []byte(strings.Repeat(" ", 1<<20))
			for range 17 {
				_, _ = w.Write(page)
			}
		case "/redirect":
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(answer))
	defer server.Close()
	caller := &crm.Caller{Client: crm.NewClient(nil), Timeout: 300 * time.Millisecond, Setting: "base_url"}
	do := func(url string) (status int, err *core.Error) {
		err = caller.Do(t.Context(), crm.Call{Op: "write", Method: http.MethodPost, URL: url, Header: http.Header{}, Body: []byte("{}")},
			func(resp *http.Response, _ []byte) *core.Error { status = resp.StatusCode; return nil })
		return status, err
	}
	for path, want := range map[string]core.Code{"/drop": core.CodeUnknownOutcome, "/hang": core.CodeUnknownOutcome, "/large": core.CodeUnknownOutcome} {
		if _, err := do(server.URL + path); err == nil || err.Code != want {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
	}
	if _, err := do("http://127.0.0.1:1/"); err == nil || err.Code != core.CodeUnavailable || !strings.Contains(err.Hint, "base_url") || err.Holds() != core.ScopeLane {
		t.Errorf("nobody listens: got %+v, want unavailable, for the whole lane, with a hint at base_url", err)
	}
	if status, err := do(server.URL + "/redirect"); err != nil || status != http.StatusTemporaryRedirect {
		t.Errorf("a redirect: got %d, %v, want it handed over", status, err)
	}
}
