package web

import (
	"context"
	"net/http"
	"time"

	"github.com/wabridge/wabridge/core/access"
	"github.com/wabridge/wabridge/core/broker"
)

// Subscriptions is what the API asks about who is told of what happens.
type Subscriptions interface {
	Subscribe(ctx context.Context, r broker.SubscriptionRequest) (broker.NewSubscription, error)
	Subscriptions(tenant string) []broker.Subscription
	Subscription(tenant, id string) (broker.Subscription, error)
	ChangeSubscription(ctx context.Context, tenant, id string, c broker.SubscriptionChange) (broker.Subscription, error)
	Unsubscribe(ctx context.Context, tenant, id string) error
	RotateSubscription(ctx context.Context, tenant, id string, overlap time.Duration) (broker.NewSubscription, error)
	TestSubscription(ctx context.Context, tenant, id string) (broker.SubscriptionTest, error)
	Mailbox(ctx context.Context, tenant, id, after string, limit int) (broker.MailboxPage, error)
}

// answerWith answers with what was asked for, or with what went wrong.
func answerWith(w http.ResponseWriter, status int, v any, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, status, v)
}

func (s *Server) subscribe(w http.ResponseWriter, r *http.Request, t access.Token) {
	var req broker.SubscriptionRequest
	if !read(w, r, &req) {
		return
	}
	req.Key, req.By = r.Header.Get("Idempotency-Key"), "token "+t.Name
	if len(req.Key) > maxKey {
		writeError(w, http.StatusBadRequest, "invalid", "the header Idempotency-Key is too long", "")
		return
	}
	var ok bool
	if req.Tenant, ok = s.tenantOf(w, req.Tenant, t); !ok {
		return
	}
	n, err := s.o.Bridge.Subscribe(r.Context(), req)
	status := http.StatusCreated
	if n.Duplicate {
		status = http.StatusOK
	}
	answerWith(w, status, n, err)
}

func (s *Server) subscriptions(w http.ResponseWriter, r *http.Request, t access.Token) {
	if tenant, ok := scope(w, r.URL.Query().Get("tenant"), t); ok {
		writeJSON(w, http.StatusOK, s.o.Bridge.Subscriptions(tenant))
	}
}

func (s *Server) subscription(w http.ResponseWriter, r *http.Request, t access.Token) {
	if tenant, ok := scope(w, r.URL.Query().Get("tenant"), t); ok {
		found, err := s.o.Bridge.Subscription(tenant, r.PathValue("id"))
		answerWith(w, http.StatusOK, found, err)
	}
}

func (s *Server) changeSubscription(w http.ResponseWriter, r *http.Request, t access.Token) {
	var change broker.SubscriptionChange
	if !read(w, r, &change) {
		return
	}
	if tenant, ok := scope(w, r.URL.Query().Get("tenant"), t); ok {
		changed, err := s.o.Bridge.ChangeSubscription(r.Context(), tenant, r.PathValue("id"), change)
		answerWith(w, http.StatusOK, changed, err)
	}
}

// removedAnswer names what is gone.
type removedAnswer struct {
	Removed string `json:"removed"`
}

func (s *Server) unsubscribe(w http.ResponseWriter, r *http.Request, t access.Token) {
	if tenant, ok := scope(w, r.URL.Query().Get("tenant"), t); ok {
		id := r.PathValue("id")
		answerWith(w, http.StatusOK, removedAnswer{id}, s.o.Bridge.Unsubscribe(r.Context(), tenant, id))
	}
}

// rotateRequest asks for another secret.
type rotateRequest struct {
	// Overlap is how long the old secret signs, too, such as "24h" (which it is unless
	// given), at most a week; "0s" is not at all.
	Overlap string `json:"overlap,omitempty"`
}

func (s *Server) rotateSubscription(w http.ResponseWriter, r *http.Request, t access.Token) {
	var req rotateRequest
	if !read(w, r, &req) {
		return
	}
	var overlap time.Duration
	if req.Overlap != "" {
		var err error
		if overlap, err = time.ParseDuration(req.Overlap); err != nil || overlap < 0 {
			writeError(w, http.StatusBadRequest, "invalid", `overlap: want a time such as "24h"`, "")
			return
		}
		if overlap == 0 {
			overlap = -1
		}
	}
	if tenant, ok := scope(w, r.URL.Query().Get("tenant"), t); ok {
		n, err := s.o.Bridge.RotateSubscription(r.Context(), tenant, r.PathValue("id"), overlap)
		answerWith(w, http.StatusOK, n, err)
	}
}

func (s *Server) testSubscription(w http.ResponseWriter, r *http.Request, t access.Token) {
	if tenant, ok := scope(w, r.URL.Query().Get("tenant"), t); ok {
		came, err := s.o.Bridge.TestSubscription(r.Context(), tenant, r.PathValue("id"))
		answerWith(w, http.StatusOK, came, err)
	}
}

func (s *Server) mailbox(w http.ResponseWriter, r *http.Request, t access.Token) {
	q := r.URL.Query()
	if tenant, ok := scope(w, q.Get("tenant"), t); ok {
		page, err := s.o.Bridge.Mailbox(r.Context(), tenant, r.PathValue("id"), q.Get("after"), limit(r))
		answerWith(w, http.StatusOK, page, err)
	}
}
