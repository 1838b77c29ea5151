package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

const (
	crmPath = "/webhooks/crm/"
	// maxCRMHooks is how many requests of CRMs are held at once, bodies included.
	maxCRMHooks = 64
)

// crmWebhook takes what a CRM calls, for /webhooks/crm/<tenant>/<lane>. Whoever
// calls: the lane's connector finds out whether it is the CRM.
func (s *Server) crmWebhook(w http.ResponseWriter, r *http.Request) {
	tenant, lane, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, crmPath), "/")
	if !ok || !core.TenantPattern.MatchString(tenant) || !core.TenantPattern.MatchString(lane) {
		writeError(w, http.StatusNotFound, "not_found", "no lane takes requests here", "see the lane's README for the address")
		return
	}
	select {
	case s.crmHooks <- struct{}{}:
		defer func() { <-s.crmHooks }()
	default:
		s.writeHookError(w, tenant, lane, &core.Error{Code: core.CodeRateLimited, Message: "too many requests at once"})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, core.MaxWebhookBody))
	if err != nil {
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			writeError(w, http.StatusRequestEntityTooLarge, "too_large", "the body is larger than 2 MiB", "")
		}
		return // or the caller is gone
	}
	header := r.Header.Clone()
	header.Del("Cookie")
	req := core.WebhookRequest{Method: r.Method, URL: s.publicURL(r), Header: header, Remote: s.remote(r), Body: body}
	answer, err := s.o.Bridge.CRMWebhook(r.Context(), tenant, lane, req)
	if err != nil {
		s.writeHookError(w, tenant, lane, core.AsError(err))
		return
	}
	// The CRM reads it, no browser does: what a plugin says must not become a page
	// of ours.
	kind := "text/plain; charset=utf-8"
	if strings.HasPrefix(answer.ContentType, "application/json") {
		kind = "application/json"
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(answer.Body)))
	w.WriteHeader(answer.Status)
	_, _ = w.Write(answer.Body)
}

// CRMWebhookURL is where the CRM of a lane may call a bridge that the world reaches
// at public; "" when that is not known.
func CRMWebhookURL(public, tenant, lane string) string {
	if public == "" {
		return ""
	}
	return strings.TrimSuffix(public, "/") + crmPath + tenant + "/" + lane
}

// publicURL is what a caller called, as the owner says that the bridge is
// reached.
func (s *Server) publicURL(r *http.Request) string {
	base := strings.TrimSuffix(s.o.PublicURL, "/")
	if base == "" {
		base = "http://" + s.address()
	}
	return base + r.URL.RequestURI()
}

// remote is the IP address of who called; "" where that is not known. Who connects from
// a trusted proxy is who that says, in the last of the addresses of X-Forwarded-For that
// is not a trusted proxy's: each proxy adds from where it was called, and what was there
// before anybody may have made up.
func (s *Server) remote(r *http.Request) string {
	trusted := func(ip netip.Addr) bool {
		return slices.ContainsFunc(s.o.Proxies, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	ip := addressOf(r.RemoteAddr)
	said := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(said) - 1; i >= 0 && trusted(ip); i-- {
		if text := strings.TrimSpace(said[i]); text != "" {
			ip = addressOf(text)
		}
	}
	if !ip.IsValid() {
		return ""
	}
	return ip.String()
}

// addressOf reads an address with or without a port.
func addressOf(text string) netip.Addr {
	ip, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		at, err := netip.ParseAddrPort(text)
		if err != nil {
			return netip.Addr{}
		}
		ip = at.Addr()
	}
	return ip.Unmap().WithZone("")
}

// writeHookError answers a CRM in a few words: who may not ask is told nothing.
func (s *Server) writeHookError(w http.ResponseWriter, tenant, lane string, e *core.Error) {
	status, text, level := http.StatusServiceUnavailable, "try again later", slog.LevelWarn
	switch {
	case errors.Is(e, store.ErrNotFound):
		status, text, level = http.StatusNotFound, "no lane takes requests here", slog.LevelDebug
	case e.Code == core.CodeUnauthenticated, e.Code == core.CodeForbidden:
		// Anybody can send such: the lane's last error tells of it, not the log.
		status, text, level = http.StatusUnauthorized, "the request is not signed as it must be", slog.LevelDebug
	case e.Code == core.CodeInvalid:
		status, text = http.StatusBadRequest, "the request cannot be used"
	case e.Code == core.CodeRateLimited:
		status, text, level = http.StatusTooManyRequests, "too many requests at once", slog.LevelDebug
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(e.RetryAfter.Seconds())))))
	case e.Code == core.CodeInternal:
		status, text = http.StatusInternalServerError, "the connector failed"
	}
	s.log.Log(context.Background(), level, "a CRM's request was refused", "tenant", tenant, "lane", lane, "status", status, "error", e)
	writeError(w, status, strings.ToLower(strings.ReplaceAll(http.StatusText(status), " ", "_")), text, "")
}
