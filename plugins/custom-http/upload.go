package customhttp

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
)

// The bridge tells CRMs of a file by its own link (message.media). An operation with
// upload gives the file itself to the API first, and sees as {{.upload.id}} and
// {{.upload.url}} what the API calls it. Where it was not uploaded there is no .upload,
// and the link is what there is.

// uploadSettings say how a file is uploaded.
type uploadSettings struct {
	// Method is POST unless set. Path, the values of Query, Headers and Form, and
	// Filename are templates over the event.
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Query   map[string]string `json:"query"`
	Headers map[string]string `json:"headers"`
	// As is "form" (multipart/form-data, unless set) or "body". Field is the name of the
	// file's part in the form, file unless set, and Form what else is in it. Filename is
	// what the file is called; what the bridge calls it unless set.
	As       string            `json:"as"`
	Field    string            `json:"field"`
	Form     map[string]string `json:"form"`
	Filename string            `json:"filename"`
	// MaxSize is the largest file that is uploaded, in bytes; 16 MiB unless set.
	MaxSize *int64 `json:"max_size"`
	// ID and URL lead to what the answer calls the file; one of them must be in it.
	ID       string            `json:"id"`
	URL      string            `json:"url"`
	Response *responseSettings `json:"response"`
	Errors   []errorSettings   `json:"errors"`
}

// upload is a compiled [uploadSettings].
type upload struct {
	op       *operation
	field    string // "" is the file as the body
	form     []named
	filename *tmpl // nil is the bridge's
	max      int64
	id, url  path
}

const (
	maxUpload     = 100 << 20 // bytes of a file: the most that WhatsApp takes, and so gives
	defaultUpload = 16 << 20
	maxFormValue  = 64 << 10
	anyType       = "application/octet-stream"
	// waitsForFile is how old an event is at most that waits for its upload: attempts of a
	// lane that is down do not count, and its messages are not to wait for files.
	waitsForFile = 5 * time.Minute
)

// uploadWords are what an operation with upload can say of the event.
func uploadWords() *word {
	w := &word{fields: maps.Clone(vocabulary().fields)}
	w.fields["upload"] = &word{fields: map[string]*word{"id": {zero: ""}, "url": {zero: ""}}}
	return w
}

func (c *planner) upload(where, kind string, s *uploadSettings) *upload {
	u := &upload{field: cmp.Or(s.Field, "file"), max: defaultUpload, id: c.path(where+".id", s.ID), url: c.path(where+".url", s.URL)}
	u.op = c.request(where, kind, operationSettings{Method: s.Method, Path: s.Path, Query: s.Query, Headers: s.Headers}, vocabulary())
	u.op.response = compileResponse(cmp.Or(s.Response, c.settings.Response, new(responseSettings)), where+".response", c.problems)
	u.op.response.id, u.op.response.contact = nil, nil // of records
	u.op.errors = append(c.rules(where+".errors", s.Errors), c.rules("settings.errors", c.settings.Errors)...)
	if s.Filename != "" {
		u.filename = compileTemplate(s.Filename, inText, where+".filename", vocabulary(), c.problems)
	}
	for _, name := range sortedKeys(s.Form) {
		u.form = append(u.form, named{name, compileTemplate(s.Form[name], inText, where+".form."+quoteKey(name), vocabulary(), c.problems)})
	}
	if shared := c.shared; shared.value != nil { // of the file, not of the message
		shared.value = compileTemplate(shared.value.text+"-file", inText, "settings.idempotency.key", vocabulary(), c.problems)
		u.op.headers = append(u.op.headers, shared)
	}
	switch s.As {
	case "", "form":
	case "body":
		u.field = ""
		if s.Field != "" || s.Filename != "" || len(s.Form) > 0 {
			c.addf(where, `field, filename and form are for as = "form"`)
		}
	default:
		c.addf(where+".as", `want "form" or "body"`)
	}
	if kind != string(core.KindMessageMedia) {
		c.addf(where, `is for "message.media": the bridge has the file then`)
	}
	if s.MaxSize != nil {
		if u.max = *s.MaxSize; u.max < 1 || u.max > maxUpload {
			c.addf(where+".max_size", "want 1 to %d", maxUpload)
		}
	}
	if u.op.method == http.MethodGet || u.op.method == http.MethodDelete {
		c.addf(where+".method", "%s takes no file", u.op.method)
	}
	if s.ID == "" && s.URL == "" {
		c.addf(where, "does not say where the answer has the file's name: set id or url")
	}
	if c.Auth.Type == "hmac" && strings.Contains(c.Auth.Payload, "{body") {
		c.addf(where, "a file is not read twice: settings.auth.payload cannot have its body")
	}
	return u
}

// upload gives an event's file to the API. The error is for the event; where it is nil and
// nothing was uploaded, the link is written.
func (x *session) upload(ctx context.Context, u *upload, it *item) *core.Error {
	event, ok := it.fields().(map[string]any)
	if !ok {
		return nil
	}
	link := path{"message", "media", "link"}.text(event)
	if link == "" {
		return nil
	}
	table, err := x.uploaded(ctx, u, it, link)
	switch {
	case err == nil:
		event["upload"] = table
		return nil
	case err.Code == core.CodeUnauthenticated, err.Code == core.CodeRateLimited:
		return err
	case it.attempt <= 1 && it.since(time.Now()) < waitsForFile && (err.Code == core.CodeUnavailable || err.Code == core.CodeUnknownOutcome):
		err.Code = core.CodeUnavailable // nothing was written that says so
		return err
	}
	x.log.WarnContext(ctx, "a file was not uploaded; its link is written instead", "event", it.id, "error", err.Message, "hint", err.Hint)
	return nil
}

// since returns how long ago the bridge accepted an event; 0 when it does not say.
func (it *item) since(now time.Time) time.Duration {
	at := timeOf(path{"accepted"}.text(it.fields()))
	if at.IsZero() {
		return 0
	}
	return now.Sub(at)
}

// uploaded fetches a file from the bridge and gives it to the API as it comes.
func (x *session) uploaded(ctx context.Context, u *upload, it *item, link string) (table map[string]any, _ *core.Error) {
	if !x.isBridges(link) {
		return nil, core.Errorf(core.CodeUndeliverable, "upload", "the file is not at the bridge: web.public_url says where that is")
	}
	r, err := x.requestFor(u.op, it, nil, x.cred)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*x.timeout) // of fetching it, too
	defer cancel()
	file, err := x.fetch(ctx, u, link)
	if err != nil {
		return nil, err
	}
	defer file.Body.Close()
	size := file.ContentLength
	body := io.LimitReader(file.Body, size)
	if u.field == "" {
		if r.Header.Get("Content-Type") == "" {
			r.Header.Set("Content-Type", mediaType(it))
		}
	} else {
		head, tail, kind, err := u.around(it, nameOf(file.Header))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", kind)
		body, size = io.MultiReader(bytes.NewReader(head), body, bytes.NewReader(tail)), size+int64(len(head)+len(tail))
	}
	a, err := x.send(ctx, u.op, r, body, size)
	if err != nil {
		return nil, err
	}
	if v := x.judge(u.op, a); v.err != nil {
		return nil, v.err
	}
	table = map[string]any{"id": a.text(u.id), "url": a.text(u.url)}
	if table["id"] == "" && table["url"] == "" {
		return nil, x.unknown(u.op, fmt.Sprintf("answered %d without a name of the file: %s", a.status, x.quote(a)))
	}
	return table, nil
}

// isBridges reports whether an address is of a file at this bridge: others a stranger may
// have named.
func (x *session) isBridges(link string) bool {
	base, _, ok := strings.Cut(x.webhookURL, "/webhooks/crm/")
	u, err := url.Parse(link)
	return ok && err == nil && strings.HasPrefix(link, base+"/media/") && !climbs(u.EscapedPath())
}

// fetch begins to read a file from the bridge, whose size is known then.
func (x *session) fetch(ctx context.Context, u *upload, link string) (*http.Response, *core.Error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return nil, core.Errorf(core.CodeUndeliverable, "upload", "the file's address is none")
	}
	req.Header.Set("Accept-Encoding", "identity") // its size is told
	resp, err := x.bridge.Do(req)
	if err != nil {
		if outer, ok := errors.AsType[*url.Error](err); ok {
			err = outer.Err // the address lets whoever has it in
		}
		return nil, core.Errorf(core.CodeUnavailable, "upload", "the file cannot be read from the bridge: %s", clip(x.hide(err.Error()), maxQuote))
	}
	var why string
	switch {
	case resp.StatusCode >= 500:
		_ = resp.Body.Close()
		return nil, core.Errorf(core.CodeUnavailable, "upload", "the bridge answered %d for the file", resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		why = fmt.Sprintf("the bridge answered %d for it", resp.StatusCode)
	case resp.ContentLength < 0:
		why = "its size is not told"
	case resp.ContentLength > u.max:
		why = fmt.Sprintf("it has %d bytes, and %s.max_size is %d", resp.ContentLength, u.op.name, u.max)
	default:
		return resp, nil
	}
	_ = resp.Body.Close()
	return nil, core.Errorf(core.CodeUndeliverable, "upload", "the file: %s", why)
}

// nameOf is what the bridge calls a file: as its sender did, or with an ending at least.
func nameOf(h http.Header) string {
	_, params, err := mime.ParseMediaType(h.Get("Content-Disposition"))
	if err != nil {
		return ""
	}
	return params["filename"]
}

// around returns what goes before and after the file in a form. Name is what the bridge
// calls it.
func (u *upload) around(it *item, name string) (head, tail []byte, contentType string, _ *core.Error) {
	if u.filename != nil {
		var err *core.Error
		if name, err = u.filename.render(it, maxHeaderValue); err != nil {
			return nil, nil, "", err
		}
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b) // writes to memory do not fail
	// The same each time, or an API that knows the key finds another request. Who sends the
	// file does not know the event's id yet.
	sum := sha256.Sum256([]byte(it.id))
	_ = w.SetBoundary(hex.EncodeToString(sum[:30]))
	for _, f := range u.form {
		value, err := f.value.render(it, maxFormValue)
		if err != nil {
			return nil, nil, "", err
		}
		_ = w.WriteField(f.name, value)
	}
	_, _ = w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {multipart.FileContentDisposition(u.field, cmp.Or(name, "file"))}, "Content-Type": {mediaType(it)},
	})
	head = bytes.Clone(b.Bytes())
	b.Reset()
	_ = w.Close()
	return head, b.Bytes(), w.FormDataContentType(), nil
}

// mediaType is what a file is said to be.
func mediaType(it *item) string {
	kind := path{"message", "media", "mime_type"}.text(it.fields())
	if kind == "" || badHeaderValue(kind) {
		return anyType
	}
	return kind
}

// RenderUpload returns the request that uploads an event's file, as [Render] does; its
// Body is what stands around the file. Method is empty where none is uploaded.
func RenderUpload(settings json.RawMessage, event *core.Event) (Request, error) {
	p, err := compile(settings)
	if err != nil {
		return Request{}, err
	}
	op, it := p.operationFor(event.Kind), newItem(&core.Delivery{Event: event})
	if op == nil || op.upload == nil || it.data == nil {
		return Request{}, nil
	}
	r, err := p.requestFor(op.upload.op, it, nil, credentialsOf(&p.auth, func(string) string { return masked }))
	if err != nil {
		return Request{}, err
	}
	const file = "[the file]"
	if r.Body = []byte(file); op.upload.field == "" {
		r.Header.Set("Content-Type", cmp.Or(r.Header.Get("Content-Type"), mediaType(it)))
		return p.shown(r), nil
	}
	head, tail, kind, err := op.upload.around(it, path{"message", "media", "filename"}.text(it.fields()))
	if err != nil {
		return Request{}, err
	}
	r.Header.Set("Content-Type", kind)
	r.Body = []byte(string(head) + file + string(tail))
	return p.shown(r), nil
}
