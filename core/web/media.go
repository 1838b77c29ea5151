package web

import (
	"context"
	"errors"
	"io/fs"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core/access"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/media"
)

// Media is what the API asks about the files of messages.
type Media interface {
	ListMedia(ctx context.Context, tenant, contact, after string, limit int) (broker.MediaPage, error)
	Media(ctx context.Context, tenant, message string) (broker.MediaFile, error)
	OpenMedia(ctx context.Context, tenant, hash, exp, sig string) (broker.MediaContent, error)
	PutMedia(ctx context.Context, u broker.MediaUpload) (broker.MediaFile, error)
	SweepMedia(ctx context.Context, tenant string) (broker.MediaSweep, error)
}

// fileTimeout is how long a file may take on its way to, or from, whoever asks.
const fileTimeout = 10 * time.Minute

// shown are the types that a browser shows, as far as a file looks like one: pictures in
// which no script can be. All others are downloaded.
var shown = map[string]bool{"image/jpeg": true, "image/png": true, "image/webp": true, "image/gif": true}

// serveMedia serves a file to whoever has an address that was signed here. What is in it a
// stranger wrote: it must not become a page of ours.
func (s *Server) serveMedia(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin") // a CRM's page may show a picture
	h.Set("Cache-Control", "private, max-age=3600")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		writeError(w, http.StatusMethodNotAllowed, "invalid", "files are fetched by GET", "")
		return
	}
	tenant, hash, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, media.Path), "/")
	q := r.URL.Query()
	c, err := s.o.Bridge.OpenMedia(r.Context(), tenant, hash, q.Get("exp"), q.Get("sig"))
	if errors.Is(err, fs.ErrNotExist) {
		writeError(w, http.StatusNotFound, "not_found", "there is no such file, or the address is not good any more", "ask for a new one: GET /api/v1/media/{message}")
		return
	}
	if err != nil {
		s.log.Error("a file cannot be read", "tenant", tenant, "error", err)
		writeError(w, http.StatusServiceUnavailable, "unavailable", "the file cannot be read now", "")
		return
	}
	defer func() { _ = c.File.Close() }()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(fileTimeout))
	kind, disposition := c.Looks, "inline"
	if !shown[kind] {
		kind, disposition = c.Type, "attachment"
		if base, _, err := mime.ParseMediaType(kind); err != nil || strings.HasPrefix(base, "text/html") {
			kind = "application/octet-stream"
		}
	}
	h.Set("Content-Type", kind)
	if value := mime.FormatMediaType(disposition, map[string]string{"filename": filename(c.Name, hash, kind)}); value != "" {
		disposition = value
	}
	h.Set("Content-Disposition", disposition)
	http.ServeContent(w, r, "", c.Modified, c.File)
}

// filename is what a downloaded file is called: as its sender did, without folders.
func filename(name, hash, kind string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`/\:`, r) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	if strings.Trim(name, "._ ") != "" {
		return name
	}
	name = hash[:min(16, len(hash))]
	if ext, err := mime.ExtensionsByType(kind); err == nil && len(ext) > 0 {
		name += ext[0]
	}
	return name
}

func (s *Server) listMedia(w http.ResponseWriter, r *http.Request, t access.Token) {
	q := r.URL.Query()
	if tenant, ok := s.tenantOf(w, q.Get("tenant"), t); ok {
		page, err := s.o.Bridge.ListMedia(r.Context(), tenant, q.Get("contact"), q.Get("after"), limit(r))
		answerWith(w, http.StatusOK, page, err)
	}
}

func (s *Server) mediaFile(w http.ResponseWriter, r *http.Request, t access.Token) {
	if tenant, ok := s.tenantOf(w, r.URL.Query().Get("tenant"), t); ok {
		f, err := s.o.Bridge.Media(r.Context(), tenant, r.PathValue("message"))
		answerWith(w, http.StatusOK, f, err)
	}
}

func (s *Server) putMedia(w http.ResponseWriter, r *http.Request, t access.Token) {
	tenant, ok := s.tenantOf(w, r.URL.Query().Get("tenant"), t)
	if !ok {
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(fileTimeout))
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(fileTimeout))
	kind := r.Header.Get("Content-Type")
	if kind == "application/x-www-form-urlencoded" { // curl's word for anything
		kind = ""
	}
	// PutMedia bounds the body.
	f, err := s.o.Bridge.PutMedia(r.Context(), broker.MediaUpload{
		Tenant: tenant, Filename: r.URL.Query().Get("filename"), Type: kind, Body: r.Body,
	})
	answerWith(w, http.StatusCreated, f, err)
}

func (s *Server) sweepMedia(w http.ResponseWriter, r *http.Request, t access.Token) {
	if tenant, ok := s.tenantOf(w, r.URL.Query().Get("tenant"), t); ok {
		swept, err := s.o.Bridge.SweepMedia(r.Context(), tenant)
		answerWith(w, http.StatusOK, swept, err)
	}
}

// mediaRoutes are the operations about files.
func (s *Server) mediaRoutes() []route {
	const path = "/api/v1/media"
	tenant := []param{ofTenant()}
	return []route{
		{
			method: "GET", path: path, scope: access.ReadMedia, serve: s.listMedia, id: "listMedia", answers: ok(broker.MediaPage{}),
			says: "The files of messages, in the order of the messages' ids, with links to those that are stored.",
			query: append(append(tenant, param{name: "contact", says: "Of this contact only: an ID, or an address such as +34600111222."}),
				pageParams("The next of the page before.", "500")...),
		},
		{
			method: "GET", path: path + "/{message...}", scope: access.ReadMedia, serve: s.mediaFile, id: "getMedia", query: tenant, answers: ok(broker.MediaFile{}),
			says: "The file of a message, by WhatsApp's id of the message (wamid): its state, and a link by which whoever has the link can fetch it.",
		},
		{
			method: "POST", path: path, scope: access.WriteMedia, serve: s.putMedia, id: "putMedia", bytes: true,
			answers: map[int]any{http.StatusCreated: broker.MediaFile{}},
			says:    "Keeps a file to be sent: a message names it by its hash (media.hash). The body is the file, of a type and size that WhatsApp takes; its type is that of its first bytes, or else Content-Type, or else by its filename.",
			query:   append(tenant, param{name: "filename", says: "What the recipient sees it called."}),
		},
		{
			method: "POST", path: "/api/v1/media-sweep", scope: access.Admin, serve: s.sweepMedia, id: "sweepMedia", query: tenant, answers: ok(broker.MediaSweep{}),
			says: "Removes files that nobody has to do with any more. It is done by itself, too.",
		},
	}
}
