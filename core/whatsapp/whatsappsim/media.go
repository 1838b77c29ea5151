package whatsappsim

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How long files and their addresses live, on the sim's clock: an uploaded file, one that a
// customer sent, and where it can be downloaded.
//
// https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/media
const (
	uploadLife  = 30 * 24 * time.Hour
	inboundLife = 7 * 24 * time.Hour
	addressLife = 5 * time.Minute
)

// What an [InboundMedia] does when it is downloaded.
const (
	MediaOther = "other" // it is another file than its hash says
	MediaCut   = "cut"   // the connection ends half-way
	MediaDead  = "dead"  // its address is dead as soon as it was told
)

// file is something that was uploaded, or that a customer sent.
type file struct {
	id, number, mimeType, sha256 string
	data                         []byte
	expires                      time.Time
	do                           string
	times                        int // how often it still does so; -1 is always
	downloads                    int
}

// mediaStore holds the latest files.
type mediaStore struct {
	mu      sync.Mutex
	key     []byte // signs addresses
	files   map[string]*file
	order   []string
	next    uint64
	size    int
	uploads uint64
}

// Bounds of what is kept, and of one upload with what is around it.
const (
	maxFiles     = 10_000
	maxFilesSize = 256 << 20
	maxUpload    = 101 << 20
)

// firstFile is before the ids that the sim gives.
const firstFile = 1_000_000_000_000_000

// mediaPath is where files are downloaded.
const mediaPath = "/_media/"

func (m *mediaStore) init(key []byte) { m.files, m.key = map[string]*file{}, key }

// put keeps a file; one without an id gets one.
func (m *mediaStore) put(f *file) {
	sum := sha256.Sum256(f.data)
	f.sha256 = base64.StdEncoding.EncodeToString(sum[:])
	m.mu.Lock()
	defer m.mu.Unlock()
	if f.id == "" {
		m.next++
		f.id = strconv.FormatUint(firstFile+m.next, 10)
	}
	if old, ok := m.files[f.id]; ok {
		m.size -= len(old.data)
	} else {
		m.order = append(m.order, f.id)
	}
	m.files[f.id] = f
	m.size += len(f.data)
	for len(m.order) > 1 && (len(m.order) > maxFiles || m.size > maxFilesSize) {
		m.size -= len(m.files[m.order[0]].data)
		delete(m.files, m.order[0])
		m.order = m.order[1:]
	}
}

// get returns a file that lives.
func (m *mediaStore) get(id string, now time.Time) (file, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.files[id]
	if !ok || !now.Before(f.expires) {
		return file{}, false
	}
	return *f, true
}

// gave reports whether an id is one that the sim gave, whatever became of the file.
func (m *mediaStore) gave(id string) bool {
	n, err := strconv.ParseUint(id, 10, 64)
	m.mu.Lock()
	defer m.mu.Unlock()
	return err == nil && n > firstFile && n <= firstFile+m.next
}

// downloaded takes note of a download, and returns what it is to do.
func (m *mediaStore) downloaded(id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[id]
	if f == nil {
		return ""
	}
	f.downloads++
	if f.times == 0 {
		return ""
	}
	f.times--
	return f.do
}

func (m *mediaStore) remove(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[id]
	if f == nil {
		return
	}
	m.size -= len(f.data)
	delete(m.files, id)
	for i, other := range m.order {
		if other == id {
			m.order = append(m.order[:i:i], m.order[i+1:]...)
			return
		}
	}
}

// Uploads is how many files were uploaded, and Downloads how often a file was.
func (s *Sim) Uploads() uint64 {
	s.media.mu.Lock()
	defer s.media.mu.Unlock()
	return s.media.uploads
}

// Downloads is how often a file was downloaded.
func (s *Sim) Downloads(id string) int {
	s.media.mu.Lock()
	defer s.media.mu.Unlock()
	if f := s.media.files[id]; f != nil {
		return f.downloads
	}
	return 0
}

// DropFile deletes a file, as Meta does one day.
func (s *Sim) DropFile(id string) { s.media.remove(id) }

// taken are the types that Meta takes, with the most bytes of each.
var taken = map[string]int{
	"audio/aac": 16 << 20, "audio/amr": 16 << 20, "audio/mpeg": 16 << 20, "audio/mp4": 16 << 20, "audio/ogg": 16 << 20,
	"text/plain": 100 << 20, "application/pdf": 100 << 20, "application/msword": 100 << 20, "application/vnd.ms-excel": 100 << 20,
	"application/vnd.ms-powerpoint":                                             100 << 20,
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document":   100 << 20,
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet":         100 << 20,
	"application/vnd.openxmlformats-officedocument.presentationml.presentation": 100 << 20,
	"image/jpeg": 5 << 20, "image/png": 5 << 20, "image/webp": 500 << 10, "video/3gpp": 16 << 20, "video/mp4": 16 << 20,
}

// checkFile says why Meta does not take a file: its type, its size, or that it is another
// than its type says. Only of pictures and PDF it is looked at what they are.
func checkFile(mimeType string, data []byte) *graphError {
	base, _, err := mime.ParseMediaType(mimeType)
	most, ok := taken[base]
	if err != nil || !ok {
		return invalid("Param file must be a file with one of the following types: …; received file of type %q.", mimeType)
	}
	if len(data) > most {
		return errorOf(131053, fmt.Sprintf("The file has %d bytes; at most %d for %s", len(data), most, base))
	}
	looks, _, _ := strings.Cut(http.DetectContentType(data), ";")
	if (strings.HasPrefix(base, "image/") || base == "application/pdf") && looks != base {
		return errorOf(131053, "The file is said to be "+base+", and is "+looks)
	}
	return nil
}

// upload answers POST /{phone_number_id}/media.
func (s *Sim) upload(w http.ResponseWriter, r *http.Request, n *Number) {
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
	if !strings.Contains(mimeType, "/") { // clients say "image", too
		mimeType = header.Header.Get("Content-Type")
	}
	if refusal := checkFile(mimeType, data); refusal != nil {
		s.refused(w, refusal)
		return
	}
	f := &file{number: n.ID, mimeType: mimeType, data: data, expires: s.clock.now().Add(uploadLife)}
	s.media.put(f)
	s.media.mu.Lock()
	s.media.uploads++
	s.media.mu.Unlock()
	reply(w, http.StatusOK, map[string]string{"id": f.id})
}

// serveMedia answers GET and DELETE /{media_id}.
func (s *Sim) serveMedia(w http.ResponseWriter, r *http.Request, f file) {
	if number := r.URL.Query().Get("phone_number_id"); number != "" && number != f.number {
		s.refused(w, &graphError{status: http.StatusBadRequest, code: 100, subcode: 33, message: "The media was not uploaded for the phone number " + number})
		return
	}
	switch r.Method {
	case http.MethodGet:
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		until := strconv.FormatInt(s.clock.now().Add(addressLife).Unix(), 10)
		if f.do == MediaDead && s.media.downloaded(f.id) == MediaDead {
			until = "0"
		}
		reply(w, http.StatusOK, map[string]any{
			"messaging_product": "whatsapp", "mime_type": f.mimeType, "sha256": f.sha256, "file_size": strconv.Itoa(len(f.data)), "id": f.id,
			"url": scheme + "://" + r.Host + mediaPath + f.id + "?ext=" + until + "&hash=" + s.media.sign(f.id, until),
		})
	case http.MethodDelete:
		s.media.remove(f.id)
		reply(w, http.StatusOK, map[string]bool{"success": true})
	default:
		s.refused(w, invalid("Unsupported %s request.", r.Method))
	}
}

func (m *mediaStore) sign(id, until string) string {
	h := hmac.New(sha256.New, m.key)
	_, _ = h.Write([]byte(id + "?" + until))
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// serveFile answers a download: with 404 where the address is not good, whatever the cause.
func (s *Sim) serveFile(w http.ResponseWriter, r *http.Request, id string) {
	now := s.clock.now()
	f, ok := s.media.get(id, now)
	q := r.URL.Query()
	until, err := strconv.ParseInt(q.Get("ext"), 10, 64)
	if s.authorize(r) != nil || !ok || err != nil || now.Unix() >= until || q.Get("hash") != s.media.sign(id, q.Get("ext")) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	do := ""
	if f.do != MediaDead {
		do = s.media.downloaded(id)
	}
	w.Header().Set("Content-Type", f.mimeType)
	w.Header().Set("Content-Length", strconv.Itoa(len(f.data)))
	switch do {
	case MediaOther:
		other := append([]byte(nil), f.data...)
		other[len(other)/2] ^= 1
		_, _ = w.Write(other)
	case MediaCut:
		_, _ = w.Write(f.data[:len(f.data)/2])
		panic(http.ErrAbortHandler)
	default:
		_, _ = w.Write(f.data)
	}
}

// sample makes a file of a type, of so many bytes, that looks like what it is.
func sample(mimeType string, size int) []byte {
	base, _, _ := mime.ParseMediaType(mimeType)
	head := map[string]string{
		"image/jpeg": "\xff\xd8\xff\xe0\x00\x10JFIF\x00", "image/png": "\x89PNG\r\n\x1a\n", "image/webp": "RIFF\x00\x00\x00\x00WEBPVP8 ",
		"audio/ogg": "OggS\x00", "video/mp4": "\x00\x00\x00\x18ftypmp42", "application/pdf": "%PDF-1.7\n",
	}[base]
	data := []byte(head + "a simulated file")
	for len(data) < size {
		data = append(data, data...)
	}
	return data[:max(size, len(head))]
}
