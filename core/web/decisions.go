package web

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/wabridge/wabridge/core/access"
	"github.com/wabridge/wabridge/core/broker"
)

// maxDecisions bounds a page of recorded decisions, of some 2 KiB each.
const maxDecisions = 2000

// decisions answers with a page of recorded decisions. It can be long, and is
// for programs: it is not indented.
func (s *Server) decisions(w http.ResponseWriter, r *http.Request, t access.Token) {
	v := r.URL.Query()
	q := broker.DecisionQuery{Limit: maxDecisions}
	var ok bool
	if q.Tenant, ok = scope(w, v.Get("tenant"), t); !ok {
		return
	}
	for name, at := range map[string]*time.Time{"from": &q.From, "to": &q.To} {
		text := v.Get(name)
		if text == "" {
			continue
		}
		var err error
		if *at, err = time.Parse(time.RFC3339Nano, text); err != nil {
			writeError(w, http.StatusBadRequest, "invalid", name+": want a time like 2026-11-23T09:30:00Z", "")
			return
		}
	}
	q.After, _ = strconv.ParseUint(v.Get("after"), 10, 64)
	if n, err := strconv.Atoi(v.Get("limit")); err == nil && n > 0 {
		q.Limit = min(n, maxDecisions)
	}
	page, err := s.o.Bridge.Decisions(r.Context(), q)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(page) //nolint:errchkjson // what was stored is JSON; pages are large, so not indented
}
