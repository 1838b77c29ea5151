package web

import (
	"context"
	"net/http"
	"strconv"

	"github.com/wabridge/wabridge/core/access"
	"github.com/wabridge/wabridge/core/broker"
)

// Campaigns is what the API asks about campaigns.
type Campaigns interface {
	NewCampaign(ctx context.Context, r broker.CampaignRequest) (broker.Campaign, error)
	Campaigns(tenant string) []broker.Campaign
	Campaign(tenant, name string) (broker.Campaign, error)
	AddToCampaign(ctx context.Context, name string, r broker.CampaignEntries) (broker.CampaignListed, error)
	CampaignRows(ctx context.Context, q broker.CampaignRows) (broker.CampaignRowPage, error)
	SetCampaign(ctx context.Context, tenant, name, what, by, why string) (broker.Campaign, error)
	Segments(ctx context.Context, q broker.SegmentQuery) (broker.SegmentList, error)
}

// campaignSet says who does something with a campaign, and why.
type campaignSet struct {
	// By is who asks for it, kept in the campaign's history; the token's name unless
	// given.
	By  string `json:"by,omitempty"`
	Why string `json:"why,omitempty"`
}

func (s *Server) newCampaign(w http.ResponseWriter, r *http.Request, t access.Token) {
	var req broker.CampaignRequest
	if !read(w, r, &req) {
		return
	}
	var ok bool
	if req.Tenant, ok = s.tenantOf(w, req.Tenant, t); !ok {
		return
	}
	if req.By == "" {
		req.By = "token " + t.Name
	}
	c, err := s.o.Bridge.NewCampaign(r.Context(), req)
	answerWith(w, http.StatusCreated, c, err)
}

func (s *Server) campaigns(w http.ResponseWriter, r *http.Request, t access.Token) {
	if tenant, ok := scope(w, r.URL.Query().Get("tenant"), t); ok {
		writeJSON(w, http.StatusOK, s.o.Bridge.Campaigns(tenant))
	}
}

func (s *Server) campaign(w http.ResponseWriter, r *http.Request, t access.Token) {
	if tenant, ok := s.tenantOf(w, r.URL.Query().Get("tenant"), t); ok {
		c, err := s.o.Bridge.Campaign(tenant, r.PathValue("name"))
		answerWith(w, http.StatusOK, c, err)
	}
}

func (s *Server) addToCampaign(w http.ResponseWriter, r *http.Request, t access.Token) {
	var req broker.CampaignEntries
	if !read(w, r, &req) {
		return
	}
	var ok bool
	if req.Tenant, ok = s.tenantOf(w, req.Tenant, t); !ok {
		return
	}
	added, err := s.o.Bridge.AddToCampaign(r.Context(), r.PathValue("name"), req)
	answerWith(w, http.StatusOK, added, err)
}

func (s *Server) campaignRows(w http.ResponseWriter, r *http.Request, t access.Token) {
	q := r.URL.Query()
	tenant, ok := s.tenantOf(w, q.Get("tenant"), t)
	if !ok {
		return
	}
	after, _ := strconv.Atoi(q.Get("after"))
	page, err := s.o.Bridge.CampaignRows(r.Context(), broker.CampaignRows{
		Tenant: tenant, Name: r.PathValue("name"), State: q.Get("state"), After: max(0, after), Limit: limit(r),
	})
	answerWith(w, http.StatusOK, page, err)
}

func (s *Server) segments(w http.ResponseWriter, r *http.Request, t access.Token) {
	q := r.URL.Query()
	if tenant, ok := s.tenantOf(w, q.Get("tenant"), t); ok {
		list, err := s.o.Bridge.Segments(r.Context(), broker.SegmentQuery{Tenant: tenant, Lane: q.Get("lane"), Name: q.Get("name")})
		answerWith(w, http.StatusOK, list, err)
	}
}

func (s *Server) setCampaign(what string) func(http.ResponseWriter, *http.Request, access.Token) {
	return func(w http.ResponseWriter, r *http.Request, t access.Token) {
		var req campaignSet
		if !read(w, r, &req) {
			return
		}
		if req.By == "" {
			req.By = "token " + t.Name
		}
		if tenant, ok := s.tenantOf(w, r.URL.Query().Get("tenant"), t); ok {
			c, err := s.o.Bridge.SetCampaign(r.Context(), tenant, r.PathValue("name"), what, req.By, req.Why)
			answerWith(w, http.StatusOK, c, err)
		}
	}
}
