package zoho_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wabridge/wabridge/core"
)

// Connections that end in the middle of an answer, at any of the calls: nothing is lost
// and nothing is there twice once they do no more.
func TestDeliver_SurvivesAnswersThatEndInTheMiddle(t *testing.T) {
	for _, settings := range []string{"", `{"mode":"notes"}`, `{"escalations":"cases"}`} {
		for nth := range 9 {
			t.Run(fmt.Sprint(settings, nth), func(t *testing.T) {
				b := startOdd(t, settings)
				by := b.sim.AddRecord("Contacts", map[string]any{"Last_Name": "By Hand", "Phone": person(1).Phone})
				var calls atomic.Int32
				var cut atomic.Bool
				b.match, b.answer = "/crm/v8/", func(w http.ResponseWriter, r *http.Request) {
					if int(calls.Add(1))-1 != nth {
						b.sim.ServeHTTP(w, r)
						return
					}
					w.Header().Set("Content-Length", "100000")
					b.sim.ServeHTTP(half{w, &cut}, r)
					if cut.Load() {
						panic(http.ErrAbortHandler)
					}
				}
				tagged := received(1)
				tagged.Contact.Tags = []string{"vip"}
				events := []*core.Event{tagged, sent(2), status(2, core.StatusRead), escalated(3, core.KindEscalation)}
				failed := false
				for id, r := range b.deliver(events...) {
					if failed = failed || r.Err != nil; r.Err != nil && r.Err.Code != core.CodeUnknownOutcome {
						t.Errorf("%s: %v", id, r.Err)
					}
				}
				if cut.Load() != failed {
					t.Errorf("of %d calls one was cut: %v, and something failed: %v", calls.Load(), cut.Load(), failed)
				}
				b.done(events...)
				c := b.contacts()
				if len(c) != 3 || c["c001"].ID != by || strings.Join(c["c001"].Tags, "") != "vip" || c["c001"].Values["WA_Tags"] != "vip" {
					t.Errorf("contacts %v", c)
				}
				if n := len(b.sim.Records("Notes")) + len(b.messages()); n != 2 {
					t.Errorf("%d messages", n)
				}
				if n := len(b.sim.Records("Tasks")) + len(b.sim.Records("Cases")); n != 1 {
					t.Errorf("%d escalations", n)
				}
			})
		}
	}
}

// half sends half of what it is given, under a length that is not that.
type half struct {
	http.ResponseWriter
	cut *atomic.Bool
}

func (h half) Header() http.Header { return http.Header{} }

func (h half) WriteHeader(status int) {
	if status == http.StatusNoContent {
		h.ResponseWriter.Header().Del("Content-Length")
	}
	h.ResponseWriter.WriteHeader(status)
}

func (h half) Write(b []byte) (int, error) {
	h.cut.Store(true)
	if _, err := h.ResponseWriter.Write(b[:len(b)/2]); err != nil {
		return 0, err
	}
	return len(b), http.NewResponseController(h.ResponseWriter).Flush()
}
