package whatsapp

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
)

// MediaTimeout is how long a file may take to be fetched or uploaded.
const MediaTimeout = 5 * time.Minute

// MaxMedia is the largest file that WhatsApp carries, in bytes.
//
// https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/media
const MaxMedia = 100 << 20

// MediaLife is how long WhatsApp keeps a file that a person sent, UploadLife one that was
// uploaded. The source is that of [MaxMedia].
const (
	MediaLife  = 7 * 24 * time.Hour
	UploadLife = 30 * 24 * time.Hour
)

// Media fetches and uploads the files of one business number. Its methods may be called
// concurrently. Errors are *core.Error.
type Media struct {
	c *Client
	n Number
}

// Media returns the number's files.
func (c *Client) Media(n Number) *Media { return &Media{c, n} }

// File is a file at WhatsApp. Body must be closed, and read within [MediaTimeout].
type File struct {
	MIMEType string
	Size     int64  // as WhatsApp says; -1 when it does not
	SHA256   []byte // as WhatsApp says; nil when it does not
	Body     io.ReadCloser
}

// DefaultMediaHosts are where Meta was seen to have files. No page of its says where they
// are, so that it may have others tomorrow.
func DefaultMediaHosts() []string {
	return []string{"lookaside.fbsbx.com", "fbcdn.net", "whatsapp.net", "graph.facebook.com"}
}

// Fetch opens a file by its id. Its address lives for five minutes, so that a new one is
// asked for each time, and once more when it is gone already. CodeUndeliverable says that
// WhatsApp does not have the file, or not for this number.
func (m *Media) Fetch(ctx context.Context, id string) (File, error) {
	for again := true; ; again = false {
		f, address, err := m.describe(ctx, id)
		if err != nil {
			return File{}, err
		}
		err = m.open(ctx, address, &f)
		if err == nil {
			return f, nil
		}
		if err.Code != core.CodeUndeliverable || !again {
			return File{}, err
		}
	}
}

const opFetch = "fetch file"

// describe asks Graph where a file is.
func (m *Media) describe(ctx context.Context, id string) (File, *url.URL, *core.Error) {
	k := call{op: opFetch, method: http.MethodGet, token: m.n.AccessToken(), twice: true,
		path: url.PathEscape(id) + "?phone_number_id=" + url.QueryEscape(m.n.ID)}
	body, err := m.c.do(ctx, k)
	if err != nil {
		if err.Code == core.CodeInvalid { // of the id: there is no other parameter
			err.Code, err.Hint = core.CodeUndeliverable, "WhatsApp keeps a file for 7 days; a token that may not see it gets the same answer"
		}
		return File{}, nil, err
	}
	var a struct {
		URL    string     `json:"url"`
		Type   string     `json:"mime_type"`
		SHA256 string     `json:"sha256"`
		Size   flexNumber `json:"file_size"`
	}
	if json.Unmarshal(body, &a) != nil || a.URL == "" {
		return File{}, nil, m.c.unknown(k, "the answer does not say where the file is")
	}
	f := File{MIMEType: a.Type, Size: -1, SHA256: ReadSHA256(a.SHA256)}
	if n, err := strconv.ParseInt(string(a.Size), 10, 64); err == nil {
		f.Size = n
	}
	address, perr := url.Parse(a.URL)
	if perr != nil || !m.c.isMediaHost(address) {
		e := core.Errorf(core.CodeInvalid, opFetch, "WhatsApp says that the file is at %.100q, which is no place of Meta's", hostOf(address))
		e.Source, e.Hint = core.SourceVendor, "the number's token goes there, too: if you are sure that it is Meta's, add its host to whatsapp.media_hosts"
		return File{}, nil, e
	}
	return f, address, nil
}

func hostOf(u *url.URL) string {
	if u == nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// isMediaHost reports whether a file may be fetched at an address: it is Meta's, or where
// whatsapp.base_url is.
func (c *Client) isMediaHost(u *url.URL) bool {
	base, err := url.Parse(c.o.BaseURL)
	if err == nil && u.Scheme == base.Scheme && u.Host == base.Host {
		return true
	}
	host := strings.ToLower(u.Hostname())
	for _, h := range c.o.MediaHosts {
		if u.Scheme == "https" && (u.Port() == "" || u.Port() == "443") && (host == h || strings.HasSuffix(host, "."+h)) {
			return true
		}
	}
	return false
}

// ReadSHA256 reads a hash as WhatsApp writes it, in base64 or, at times, in hexadecimal;
// nil when it is none.
func ReadSHA256(s string) []byte {
	if b, err := base64.StdEncoding.DecodeString(s); err == nil && len(b) == 32 {
		return b
	}
	if b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "=")); err == nil && len(b) == 32 {
		return b
	}
	var b []byte
	if _, err := fmt.Sscanf(s, "%x", &b); err == nil && len(b) == 32 {
		return b
	}
	return nil
}

// open begins to download.
func (m *Media) open(ctx context.Context, address *url.URL, f *File) *core.Error {
	ctx, cancel := context.WithTimeout(ctx, MediaTimeout)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		cancel()
		return core.Errorf(core.CodeInternal, opFetch, "request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+m.n.AccessToken().Reveal())
	req.Header.Set("User-Agent", "wabridge")
	resp, err := m.c.files.Do(req)
	if err != nil {
		cancel()
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // the address has a signature
		}
		return core.Errorf(core.CodeUnavailable, opFetch, "%w", err)
	}
	if resp.StatusCode == http.StatusOK {
		if f.Size < 0 {
			f.Size = resp.ContentLength
		}
		f.Body = &body{resp.Body, cancel}
		return nil
	}
	_ = resp.Body.Close()
	cancel()
	e := core.Errorf(core.CodeUnavailable, opFetch, "the answer is HTTP status %d", resp.StatusCode)
	e.Source = core.SourceVendor
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		e.Code = core.CodeUndeliverable
	case http.StatusUnauthorized, http.StatusForbidden:
		e.Code, e.Hint = core.CodeUnauthenticated, hintToken
	case http.StatusTooManyRequests:
		e.Code, e.RetryAfter = core.CodeRateLimited, retryAfter(resp.Header)
	}
	return e
}

// body is one of a download, whose context ends with it.
type body struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.cancel()
	return err
}

// Upload puts a file of so many bytes to WhatsApp, and returns the id that messages from
// this number name it by for [UploadLife]. To upload twice does no harm. CodeInvalid says
// that WhatsApp does not take the file.
func (m *Media) Upload(ctx context.Context, name, mimeType string, size int64, r io.Reader) (string, error) {
	const op = "upload file"
	ctx, cancel := context.WithTimeout(ctx, MediaTimeout)
	defer cancel()
	var head, tail bytes.Buffer
	w := multipart.NewWriter(&head)
	_ = w.WriteField("messaging_product", "whatsapp")
	_ = w.WriteField("type", mimeType)
	h := textproto.MIMEHeader{}
	h.Set("Content-Disposition", fmt.Sprintf(`form-data; name="file"; filename="%s"`, strings.NewReplacer("\\", "_", `"`, "_", "\r", "_", "\n", "_").Replace(name)))
	h.Set("Content-Type", mimeType)
	_, _ = w.CreatePart(h)
	tail.WriteString("\r\n--" + w.Boundary() + "--\r\n")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.c.o.BaseURL+"/"+m.c.o.APIVersion+"/"+url.PathEscape(m.n.ID)+"/media", nil)
	if err != nil {
		return "", core.Errorf(core.CodeInternal, op, "request: %w", err)
	}
	req.ContentLength = int64(head.Len()) + size + int64(tail.Len())
	req.Body = io.NopCloser(io.MultiReader(&head, io.LimitReader(r, size), &tail))
	req.Header.Set("Content-Type", w.FormDataContentType())
	token := m.n.AccessToken()
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	req.Header.Set("User-Agent", "wabridge")
	k := call{op: op, token: token, twice: true}
	resp, err := m.c.http.Do(req)
	if err != nil {
		return "", m.c.lost(k, err, true)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", m.c.lost(k, err, true)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return "", m.c.refused(k, resp, answer)
	}
	var a struct {
		ID flexID `json:"id"`
	}
	if json.Unmarshal(answer, &a) != nil || a.ID == "" {
		return "", m.c.unknown(k, "the answer names no file")
	}
	return string(a.ID), nil
}
