package whatsappsim

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"strconv"
	"sync"
)

// file is something that was uploaded, or that a customer sent.
type file struct {
	id, mimeType, sha256 string
	data                 []byte
}

// mediaStore holds the latest files.
type mediaStore struct {
	mu    sync.Mutex
	files map[string]file
	order []string
	next  uint64
	size  int
}

// Bounds of what is kept, and of one upload.
const (
	maxFiles     = 10_000
	maxFilesSize = 64 << 20
	maxUpload    = 16 << 20
)

// mediaPath is where files are downloaded.
const mediaPath = "/_media/"

func (m *mediaStore) init() { m.files = map[string]file{} }

// put keeps a file; "" makes an id.
func (m *mediaStore) put(id, mimeType string, data []byte) file {
	sum := sha256.Sum256(data)
	m.mu.Lock()
	defer m.mu.Unlock()
	if id == "" {
		m.next++
		id = strconv.FormatUint(1_000_000_000_000_000+m.next, 10)
	}
	f := file{id: id, mimeType: mimeType, sha256: base64.StdEncoding.EncodeToString(sum[:]), data: data}
	if old, ok := m.files[id]; ok {
		m.size -= len(old.data)
	} else {
		m.order = append(m.order, id)
	}
	m.files[id] = f
	m.size += len(data)
	for len(m.order) > 1 && (len(m.order) > maxFiles || m.size > maxFilesSize) {
		m.size -= len(m.files[m.order[0]].data)
		delete(m.files, m.order[0])
		m.order = m.order[1:]
	}
	return f
}

func (m *mediaStore) get(id string) (file, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.files[id]
	return f, ok
}

func (m *mediaStore) has(id string) bool {
	_, ok := m.get(id)
	return ok
}

func (m *mediaStore) remove(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.size -= len(m.files[id].data)
	delete(m.files, id)
	for i, other := range m.order {
		if other == id {
			m.order = append(m.order[:i:i], m.order[i+1:]...)
			return
		}
	}
}

// upload answers POST /{phone_number_id}/media.
func (s *Sim) upload(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxUpload)
	if err := r.ParseMultipartForm(maxUpload); err != nil { //nolint:gosec // MaxBytesReader bounds it
		s.refused(w, invalid("The parameter file is required."))
		return
	}
	defer func() { _ = r.MultipartForm.RemoveAll() }()
	if r.FormValue("messaging_product") != "whatsapp" { // in the form or the query
		s.refused(w, invalid("The parameter messaging_product is required."))
		return
	}
	part, header, err := r.FormFile("file")
	if err != nil {
		s.refused(w, invalid("The parameter file is required."))
		return
	}
	defer func() { _ = part.Close() }()
	data, err := io.ReadAll(part)
	if err != nil {
		s.refused(w, errorOf(131053, "The file could not be read"))
		return
	}
	mimeType := r.FormValue("type")
	if mimeType == "" {
		mimeType = header.Header.Get("Content-Type")
	}
	reply(w, http.StatusOK, map[string]string{"id": s.media.put("", mimeType, data).id})
}

// serveMedia answers GET and DELETE /{media_id}.
func (s *Sim) serveMedia(w http.ResponseWriter, r *http.Request, id string) {
	f, _ := s.media.get(id)
	switch r.Method {
	case http.MethodGet:
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		reply(w, http.StatusOK, map[string]any{
			"messaging_product": "whatsapp", "url": scheme + "://" + r.Host + mediaPath + f.id, "mime_type": f.mimeType,
			"sha256": f.sha256, "file_size": len(f.data), "id": f.id,
		})
	case http.MethodDelete:
		s.media.remove(id)
		reply(w, http.StatusOK, map[string]bool{"success": true})
	default:
		s.refused(w, invalid("Unsupported %s request.", r.Method))
	}
}

// serveFile answers a download.
func (s *Sim) serveFile(w http.ResponseWriter, r *http.Request, id string) {
	f, ok := s.media.get(id)
	if s.authorize(r) != nil || !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", f.mimeType)
	_, _ = w.Write(f.data)
}
