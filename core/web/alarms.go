package web

import (
	"fmt"
	"net/http"

	"github.com/wabridge/wabridge/core/access"
)

// alarms lists what somebody should look at.
func (s *Server) alarms(w http.ResponseWriter, r *http.Request, t access.Token) {
	if tenant, ok := scope(w, r.URL.Query().Get("tenant"), t); ok {
		writeJSON(w, http.StatusOK, s.o.Bridge.Alarms(tenant))
	}
}

// alarmRequest says which alarm was dealt with, and by whom.
type alarmRequest struct {
	Tenant string `json:"tenant,omitempty"`
	ID     string `json:"id"`
	By     string `json:"by"`
}

// settleAlarm ends an alarm.
func (s *Server) settleAlarm(w http.ResponseWriter, r *http.Request, t access.Token) {
	var req alarmRequest
	if !read(w, r, &req) {
		return
	}
	if req.ID == "" || req.By == "" || len(req.By) > maxBy {
		writeError(w, http.StatusBadRequest, "invalid", fmt.Sprintf("id, and by: who does it, at most %d bytes, are needed", maxBy), "")
		return
	}
	tenant, ok := scope(w, req.Tenant, t)
	if !ok {
		return
	}
	if tenant == "" {
		if all := s.o.Bridge.Snapshot().Tenants; len(all) == 1 {
			tenant = all[0].ID
		}
	}
	if err := s.o.Bridge.SettleAlarm(r.Context(), tenant, req.ID, req.By); err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, settledAnswer{req.ID})
}

// settledAnswer names the alarm that was settled.
type settledAnswer struct {
	Settled string `json:"settled"`
}
