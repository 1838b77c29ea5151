package whatsappsim_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

func TestClock_MovesEverythingThatHasATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begins := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		b := &bridge{}
		s := start(t, b, whatsappsim.Options{Start: begins, StatusDelay: time.Hour, EnforceWindow: true})
		began := time.Now()
		if got := s.Now(); !got.Equal(begins) {
			t.Fatalf("it begins at %v", got)
		}
		s.StopClock()
		s.Receive(whatsappsim.Inbound{From: "+34600111222", Text: "hi"})
		read(t, send(s, text("")))
		time.Sleep(5 * time.Hour) // of the machine's: the sim's stands
		synctest.Wait()
		if got := b.told(t); len(got) != 1 {
			t.Fatalf("while the clock stands, it told %v", got)
		}
		s.Advance(2 * time.Hour)
		synctest.Wait()
		if got := b.told(t); len(got) != 3 || !strings.HasPrefix(got[2], "delivered") {
			t.Fatalf("two hours on, it told %v", got)
		}
		s.Advance(22*time.Hour - time.Second)
		if w := send(s, text("")); w.Code != http.StatusOK {
			t.Errorf("a second before the window closes: %s", w.Body)
		}
		if w := ask(s, "POST", "/_sim/clock", `{"advance":"1s","stop":false}`); !strings.Contains(w.Body.String(), `"now":"2026-03-02T12:00:00Z","stopped":false`) {
			t.Errorf("the clock says %s", w.Body)
		}
		if w := send(s, text("")); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "131047") {
			t.Errorf("when it has closed: %s", w.Body)
		}
		time.Sleep(time.Hour)
		if got := s.Now(); !got.Equal(begins.Add(25 * time.Hour)) {
			t.Errorf("the clock runs again, and says %v after %v", got, time.Since(began))
		}
		for _, body := range []string{`{"advance":"-1s"}`, `{"advance":"9000h"}`, `{"advance":"soon"}`, `{"back":true}`} {
			if w := ask(s, "POST", "/_sim/clock", body); w.Code != http.StatusBadRequest {
				t.Errorf("%s: %d", body, w.Code)
			}
		}
	})
}

func TestRedelivery_EndsAsMetasPagesSay(t *testing.T) {
	for how, want := range map[whatsappsim.Redelivery]struct {
		posts int
		last  time.Duration
	}{
		whatsappsim.Redeliver36h:  {8, 36 * time.Hour},
		whatsappsim.RedeliverWeek: {31, 569535 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &bridge{answer: func(int) int { return http.StatusServiceUnavailable }}
			s := start(t, b, whatsappsim.Options{Redelivery: how, RetryMax: 10 * time.Hour})
			began := time.Now()
			s.Receive(whatsappsim.Inbound{From: "+34600111222", Text: "hi"})
			if err := s.Wait(t.Context()); err != nil { // until it gives up
				t.Fatal(err)
			}
			if n, last := len(b.posts), b.posts[len(b.posts)-1].at.Sub(began); n != want.posts || last != want.last {
				t.Errorf("%s: %d posts, the last after %v; want %d, %v", how, n, last, want.posts, want.last)
			}
			if st := s.Stats(); st.GivenUp != 1 || st.Acked != 0 {
				t.Errorf("%s: %+v", how, st)
			}
		})
	}
}
