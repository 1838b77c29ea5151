package fault_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core/fault"
)

// plain is a fault that is nothing but its When.
type plain fault.When

func (p plain) When() fault.When { return fault.When(p) }

func TestList_StrikesWhomItIsToldTo(t *testing.T) {
	l := fault.New[plain](1)
	l.Inject(plain{Kind: "a", Match: "/x", Count: 2, Skip: 1}, plain{Kind: "b", Match: "/y"})
	var got []string
	for _, path := range []string{"/x", "/y", "/x", "/x", "/x", "/z"} {
		text := path
		for _, f := range l.Take(path) {
			text += " " + f.Kind
		}
		got = append(got, text)
	}
	if want := "[/x /y b /x a /x a /x /z]"; fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if left := l.InForce(); len(left) != 1 || left[0].Kind != "b" {
		t.Errorf("in force are %+v", left)
	}
	l.Heal()
	if len(l.InForce()) != 0 || len(l.Take("/y")) != 0 {
		t.Error("it is not healed")
	}
}

func TestList_KeepsToItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := fault.New[plain](1)
		l.Inject(plain{After: time.Minute, For: time.Hour})
		strikes := func(want bool) {
			t.Helper()
			if got := len(l.Take("")) == 1; got != want {
				t.Errorf("strikes: %v, want %v", got, want)
			}
		}
		time.Sleep(time.Minute - 1)
		strikes(false)
		time.Sleep(time.Nanosecond)
		strikes(true)
		time.Sleep(time.Hour - 1)
		strikes(true)
		time.Sleep(time.Nanosecond)
		if len(l.InForce()) != 0 {
			t.Error("it is still in force")
		}
		strikes(false)
	})
}

func TestList_StrikesByLot(t *testing.T) {
	l := fault.New[plain](1)
	l.Inject(plain{Chance: 0.3})
	n := 0
	for range 1000 {
		n += len(l.Take(""))
	}
	if n < 250 || n > 350 {
		t.Errorf("of 1,000 it struck %d, with a chance of 0.3", n)
	}
}

func TestStrike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
		w := httptest.NewRecorder()
		began := time.Now()
		if fault.Strike(w, r, fault.When{Kind: fault.Slow, Delay: time.Minute}) || time.Since(began) != time.Minute {
			t.Errorf("a slow answer took %v", time.Since(began))
		}
		if fault.Strike(w, r, fault.When{Kind: "other"}) {
			t.Error("a kind of the imitation's own was answered")
		}
		if !fault.Strike(w, r, fault.When{Kind: fault.Garbage}) || !strings.Contains(w.Body.String(), "<html>") {
			t.Errorf("garbage: %s", w.Body)
		}
		for kind, after := range map[string]time.Duration{fault.Drop: 0, fault.Hang: time.Hour - time.Minute} {
			began := time.Now()
			func() {
				defer func() {
					if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) || kind == fault.Drop && time.Since(began) != after {
						t.Errorf("%s: after %v", kind, time.Since(began))
					}
				}()
				fault.Strike(w, r, fault.When{Kind: kind})
			}()
		}
	})
}

func TestList_IsSteeredByHTTP(t *testing.T) {
	l := fault.New[plain](1)
	for _, c := range []struct {
		method, body string
		status       int
		want         string
	}{
		{"POST", `{"Kind":"hang","Count":1}`, 200, `"Kind":"hang"`},
		{"POST", `[{"Kind":"drop"},{"Kind":"slow"}]`, 200, `"Kind":"slow"`},
		{"POST", `{"Kind":"hangs"}`, 400, `no kind of fault is called "hangs"`},
		{"POST", `{"Kynd":"hang"}`, 400, "unknown field"},
		{"POST", `{`, 400, "invalid"},
		{"GET", "", 200, `"Kind":"drop"`},
		{"PATCH", "", 405, "want GET"},
		{"DELETE", "", 200, "[]"},
	} {
		w := httptest.NewRecorder()
		l.Control(w, httptest.NewRequestWithContext(t.Context(), c.method, "/", strings.NewReader(c.body)), []string{"hang", "drop", "slow"})
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s: %d %s", c.method, c.body, w.Code, w.Body)
		}
	}
}
