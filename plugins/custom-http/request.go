package customhttp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
)

// Request is a request as it would be made.
type Request struct {
	// Method is empty when the kind of event has no operation: then no request
	// is made.
	Method string
	URL    string
	Header http.Header
	Body   []byte
}

// masked stands for a secret where people look.
const masked = "[secret]"

// Render returns the request that the settings make for an event, with secrets
// masked: what `wabridge` shows before anything is sent. An operation with a
// batch is shown with a batch of one. The error is a [core.Error].
func Render(settings json.RawMessage, event *core.Event) (Request, error) {
	p, err := compile(settings)
	if err != nil {
		return Request{}, err
	}
	data, jsonErr := json.Marshal(event)
	if jsonErr != nil {
		return Request{}, core.Errorf(core.CodeInvalid, "render", "event: %w", jsonErr)
	}
	op := p.operationFor(event.Kind)
	if op == nil {
		return Request{}, nil
	}
	it := &item{id: event.ID, kind: event.Kind, data: data}
	if err := it.render(op); err != nil {
		return Request{}, err
	}
	body := it.body
	if op.batch != nil {
		if body, err = op.batch.assemble([]*item{it}); err != nil {
			return Request{}, err
		}
	}
	r, err := p.request(op, it, 1, body, credentialsOf(&p.auth, func(string) string { return masked }))
	if err != nil {
		return Request{}, err
	}
	return p.shown(r), nil
}

// RenderSegments returns the request that the settings make for the first page of the
// segments that a name is looked for in, as [Render] does. Its Method is empty when all
// segments are fixed.
func RenderSegments(settings json.RawMessage, name string) (Request, error) {
	return renderPage(settings, map[string]any{"name": name}, func(q *segments) *listing {
		if q.list == nil {
			return nil
		}
		return &q.list.listing
	})
}

// RenderMembers returns the request that the settings make for the first members of a
// segment, as [Render] does.
func RenderMembers(settings json.RawMessage, segment string) (Request, error) {
	return renderPage(settings, ofSegment(segment), func(q *segments) *listing { return &q.members.listing })
}

func renderPage(settings json.RawMessage, data map[string]any, of func(*segments) *listing) (Request, error) {
	p, err := compile(settings)
	if err != nil {
		return Request{}, err
	}
	if p.segments == nil || of(p.segments) == nil {
		return Request{}, nil
	}
	r, err := p.askFor(of(p.segments), data, pageAt{}, credentialsOf(&p.auth, func(string) string { return masked }))
	if err != nil {
		return Request{}, err
	}
	return p.shown(r), nil
}

// shown signs a request as one that is shown.
func (p *plan) shown(r Request) Request {
	if p.signing != nil {
		p.signing.sign(&r, masked, time.Now())
	}
	return r
}

// credentials are what shows the API who asks.
type credentials struct{ header, query parameter }

// parameter is a name and its value; unused when it has no name.
type parameter struct{ name, value string }

// credentialsOf puts secrets where the settings want them. For a secret that is
// masked, Basic shows it as it is.
func credentialsOf(a *authSettings, secret func(name string) string) credentials {
	switch a.Type {
	case "bearer":
		return credentials{header: parameter{"Authorization", "Bearer " + secret("token")}}
	case "oauth2":
		return credentials{header: parameter{"Authorization", a.Prefix + secret(accessToken)}}
	case "basic":
		value := secret("username") + ":" + secret("password")
		if value == masked+":"+masked {
			return credentials{header: parameter{"Authorization", "Basic " + masked}}
		}
		return credentials{header: parameter{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(value))}}
	case "api_key":
		return placed(a, secret("api_key"))
	case "session":
		return placed(a, secret(accessToken))
	}
	return credentials{}
}

// placed puts a secret where the settings say.
func placed(a *authSettings, secret string) credentials {
	switch a.In {
	case "query":
		return credentials{query: parameter{a.Name, secret}}
	case "cookie":
		return credentials{header: parameter{"Cookie", a.Name + "=" + secret}}
	}
	return credentials{header: parameter{a.Name, a.Prefix + secret}}
}

// secretNames returns the secrets that a kind of authentication needs.
func secretNames(authType string) []string {
	switch authType {
	case "bearer":
		return []string{"token"}
	case "basic", "session":
		return []string{"username", "password"}
	case "api_key":
		return []string{"api_key"}
	case "hmac":
		return []string{signingKey}
	}
	return nil
}

// request puts a request together. It is for one event, or for a batch of
// count, whose path, query and headers know nothing of its events.
func (p *plan) request(op *operation, it *item, count int, body []byte, cred credentials) (Request, *core.Error) {
	data := any(map[string]any{"count": count})
	if op.batch == nil && it != nil {
		data = it
	}
	return p.requestFor(op, data, body, cred)
}

// requestFor puts a request together whose templates see data.
func (p *plan) requestFor(op *operation, data any, body []byte, cred credentials) (Request, *core.Error) {
	r := Request{Method: op.method, Header: make(http.Header, len(op.headers)+4), Body: body}
	at, err := op.path.render(data, maxURL)
	if err != nil {
		return r, err
	}
	if climbs(at) {
		return r, refuse(op.path, "a path cannot have the segments . and ..")
	}
	query := make(url.Values, len(op.query)+1)
	for _, q := range op.query {
		value, err := q.value.render(data, maxURL)
		if err != nil {
			return r, err
		}
		if value != "" {
			query.Set(q.name, value)
		}
	}
	if cred.query.name != "" {
		query.Set(cred.query.name, cred.query.value)
	}
	r.URL = p.base.Scheme + "://" + p.base.Host + p.base.EscapedPath() + at
	if len(query) > 0 {
		r.URL += "?" + query.Encode()
	}
	if len(r.URL) > maxURL {
		return r, refuse(op.path, "the address is too long")
	}

	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "wabridge")
	for _, h := range op.headers {
		value, err := h.value.render(data, maxHeaderValue)
		if err != nil {
			return r, err
		}
		if badHeaderValue(value) {
			return r, refuse(h.value, "a header cannot have line breaks or control characters")
		}
		if value != "" {
			r.Header.Set(h.name, value)
		}
	}
	if cred.header.name != "" {
		r.Header.Set(cred.header.name, cred.header.value)
	}
	return r, nil
}

func refuse(t *tmpl, why string) *core.Error {
	return &core.Error{
		Code: core.CodeInvalid, Op: "request", Source: core.SourcePlugin,
		Message: t.where + ": " + why, Hint: "look at " + t.where + " in the lane's settings",
	}
}

// climbs reports whether a path has segments that servers resolve.
func climbs(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if plain, err := url.PathUnescape(segment); err == nil && (plain == "." || plain == "..") {
			return true
		}
	}
	return false
}

func badHeaderValue(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// item is one event of a batch.
type item struct {
	id   string
	kind core.Kind
	data []byte // the event's JSON

	decoded any // data, once a template looked at it
	attempt int // 1 for the first
	// contactRef is the contact's record, as far as anybody has said which it is.
	contactRef string
	lookedFor  bool   // it was found just now
	body       []byte // what goes into the request; nil is nothing
	key        string // what its result is found by

	result core.Result
}

// settle ends the delivery.
func (it *item) settle(v verdict) {
	it.result = core.Result{ID: it.id, Err: v.err, Ref: v.ref}
	switch {
	case v.err != nil, it.kind == core.KindContactErased:
	case isRef(v.contact):
		it.result.ContactRef = v.contact
	case it.kind == core.KindContactChanged && v.ref != "":
		it.result.ContactRef = v.ref // the API may tell that it is gone
	case it.lookedFor:
		it.result.ContactRef = it.contactRef
	}
}

// found tells an event of the record of its contact that a search gave, if any.
func (it *item) found(ref string) {
	it.contactRef, it.lookedFor = ref, ref != ""
	if event, ok := it.decoded.(map[string]any); ok {
		event["contact_ref"] = ref
	}
}

func failAll(items []*item, err *core.Error) {
	for _, it := range items {
		it.settle(verdict{err: err})
	}
}

// fields returns the event as templates see it.
func (it *item) fields() any {
	if it.decoded == nil {
		v, err := decodeJSON(it.data)
		if err != nil {
			return nil // newItem has seen that it is JSON
		}
		vocabulary().complete(v)
		if event, ok := v.(map[string]any); ok {
			event["contact_ref"] = it.contactRef
		}
		it.decoded = v
	}
	return it.decoded
}

// render makes the event's body and key.
func (it *item) render(op *operation) *core.Error {
	switch {
	case op.noBody:
	case op.body == nil:
		it.body = it.data
	case op.body.fixed():
		it.body = []byte(op.body.text)
	default:
		b := bytes.NewBuffer(make([]byte, 0, len(it.data)))
		if err := op.body.execute(b, it, maxRequestBody); err != nil {
			return err
		}
		if err := op.body.validJSON(b.Bytes()); err != nil {
			return err
		}
		it.body = b.Bytes()
	}
	if op.batch == nil {
		return nil
	}
	if len(it.body) > op.batch.maxBytes {
		return &core.Error{
			Code: core.CodeInvalid, Op: "request", Source: core.SourcePlugin,
			Message: "the event is larger than a request may be", Hint: "raise max_bytes in " + op.name + ".batch",
		}
	}
	if r := op.batch.results; r != nil && r.key != nil {
		var err *core.Error
		if it.key, err = r.key.render(it, maxHeaderValue); err != nil {
			return err
		}
	}
	return nil
}

// fit returns how many of the items go into one request; at least one.
func (b *batch) fit(items []*item) int {
	size, n := 0, 0
	for n < len(items) && n < b.maxItems {
		if size += len(items[n].body) + 1; n > 0 && size > b.maxBytes {
			break
		}
		n++
	}
	return n
}

// assemble puts the items' bodies into one.
func (b *batch) assemble(items []*item) ([]byte, *core.Error) {
	size := len(b.before) + len(b.after)
	for _, it := range items {
		size += len(it.body) + 1
	}
	buf := bytes.NewBuffer(make([]byte, 0, size))
	if b.body != nil {
		buf.WriteByte('[')
	}
	buf.WriteString(b.before)
	for i, it := range items {
		if i > 0 {
			buf.WriteByte(',')
		}
		buf.Write(it.body)
	}
	buf.WriteString(b.after)
	if b.body == nil {
		return buf.Bytes(), nil
	}
	buf.WriteByte(']')
	data := map[string]any{"items": rawJSON(buf.Bytes()), "count": len(items)}
	out := bytes.NewBuffer(make([]byte, 0, size+len(b.body.text)))
	if err := b.body.execute(out, data, maxRequestBody+len(b.body.text)); err != nil {
		return nil, err
	}
	if err := b.body.validJSON(out.Bytes()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
