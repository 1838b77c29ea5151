package whatsapp

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/limit"
	templates "github.com/wabridge/wabridge/core/template"
)

// Account is a WhatsApp business account (WABA).
type Account struct {
	ID string
	// Tenant is for whom it is asked: what the account may is shared among its tenants, and
	// none can use up the others' part.
	Tenant string
	// AccessToken returns the token to use now; its user needs
	// whatsapp_business_management.
	AccessToken func() core.Secret
	// CallsPerHour is how many calls Meta takes for the account, CreationsPerHour how
	// many new templates; 0 is 200 and 100, the least that its page names.
	CallsPerHour     int
	CreationsPerHour int
}

// Templates asks about the templates of one account, and changes them. Its methods may
// be called concurrently. What would be more than the account may is refused with
// core.CodeRateLimited before it is asked, and RetryAfter says until when.
//
// https://developers.facebook.com/docs/whatsapp/business-management-api/message-templates
type Templates struct {
	c *Client
	a Account
	*hourly
}

// hourly counts what an account may do in an hour, whoever does it.
type hourly struct {
	calls     *limit.Shared
	creations *limit.Shared
}

// The defaults of Account.
// https://developers.facebook.com/docs/whatsapp/overview/business-management-api
const (
	DefaultCallsPerHour     = 200
	DefaultCreationsPerHour = 100
)

// Templates returns an account's templates. What the account may ask is counted for all
// that have the same ID; the first says how much that is.
func (c *Client) Templates(a Account) *Templates {
	if a.CallsPerHour <= 0 {
		a.CallsPerHour = DefaultCallsPerHour
	}
	if a.CreationsPerHour <= 0 {
		a.CreationsPerHour = DefaultCreationsPerHour
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hourly == nil {
		c.hourly = map[string]*hourly{}
	}
	if c.hourly[a.ID] == nil {
		c.hourly[a.ID] = &hourly{calls: perHour(a.CallsPerHour), creations: perHour(a.CreationsPerHour)}
	}
	c.hourly[a.ID].calls.Join(a.Tenant)
	c.hourly[a.ID].creations.Join(a.Tenant)
	return &Templates{c: c, a: a, hourly: c.hourly[a.ID]}
}

// perHour lets n through in any hour: half of them at once after a rest, and the other
// half one by one.
func perHour(n int) *limit.Shared {
	burst := max(1, n/2)
	return limit.NewShared(time.Hour/time.Duration(max(1, n-burst)), burst)
}

const (
	templateFields = "id,name,language,status,category,parameter_format,components,quality_score,rejected_reason,message_send_ttl_seconds"
	templatePage   = 50  // carousels are large, and answers bounded
	templatePages  = 400 // 20,000 templates
	cursorRestarts = 3

	codeCursor = "131059"

	hintManagement = "give the number's access_token the permission whatsapp_business_management, and its system user the WhatsApp account; check waba"
	hintDefinition = "correct what Meta names, and try again: `wabridge template lint FILE` finds most of it before"
)

// wireTemplate is a template as Meta writes it.
type wireTemplate struct {
	templates.Definition
	Status         string `json:"status"`
	RejectedReason string `json:"rejected_reason"`
	Quality        struct {
		Score string `json:"score"`
	} `json:"quality_score"`
}

func (w *wireTemplate) told() templates.Told {
	d := w.Definition
	d.Category = strings.ToLower(d.Category)
	t := templates.Told{Definition: d, Status: w.Status, Quality: w.Quality.Score}
	if w.RejectedReason != "NONE" {
		t.Reason = clean(w.RejectedReason)
	}
	return t
}

// do makes a call that counts to what the account may ask.
func (t *Templates) do(ctx context.Context, k call) ([]byte, *core.Error) {
	k.token = t.a.AccessToken()
	if k.token == "" {
		e := core.Errorf(core.CodeUnauthenticated, k.op, "the account's numbers have no access token")
		e.Hint, e.Source = hintToken, core.SourceBridge
		return nil, e
	}
	if e := t.spend(t.calls, k.op, "calls", "whatsapp.management_calls_per_hour"); e != nil {
		return nil, e
	}
	body, e := t.c.do(ctx, k)
	if e == nil {
		return body, nil
	}
	switch e.Code {
	case core.CodeForbidden:
		e.Hint = hintManagement
	case core.CodeRateLimited:
		e.RetryAfter = max(e.RetryAfter, aWhile)
		e.Hint = "lower whatsapp.management_calls_per_hour"
	case core.CodeInvalid:
		e.Hint = hintDefinition
	case core.CodeUnavailable:
		if e.Hint == "" {
			e.Hint = "try again later"
		}
	}
	return nil, e
}

// spend takes one of what the account may do in an hour.
func (t *Templates) spend(from *limit.Shared, op, what, setting string) *core.Error {
	wait := from.Take(time.Now(), t.a.Tenant)
	if wait <= 0 {
		return nil
	}
	e := core.Errorf(core.CodeRateLimited, op, "the account's %s of this hour are used up, or the tenant's part of them: again in %s", what, wait.Round(time.Second))
	e.Hint, e.Source, e.RetryAfter = "wait, or raise "+setting+" if Meta allows the account more", core.SourceBridge, wait
	return e
}

// List returns all templates of the account.
func (t *Templates) List(ctx context.Context) ([]templates.Told, error) {
	return t.list(ctx, "")
}

// Find returns the templates of a name, in all languages.
func (t *Templates) Find(ctx context.Context, name string) ([]templates.Told, error) {
	all, err := t.list(ctx, name)
	if err != nil {
		return nil, err
	}
	var out []templates.Told
	for _, told := range all {
		if told.Name == name { // Meta finds parts of names, too
			out = append(out, told)
		}
	}
	return out, nil
}

func (t *Templates) list(ctx context.Context, name string) ([]templates.Told, error) {
	var out []templates.Told
	after, restarts := "", 0
	for range templatePages {
		q := url.Values{"fields": {templateFields}, "limit": {strconv.Itoa(templatePage)}}
		if name != "" {
			q.Set("name", name)
		}
		if after != "" {
			q.Set("after", after)
		}
		k := call{op: "templates", method: http.MethodGet, path: t.path() + "?" + q.Encode(), twice: true}
		body, e := t.do(ctx, k)
		for e != nil && after != "" && e.Source == core.SourceBridge && e.Code == core.CodeRateLimited {
			// Of a long list the rest comes when the account may ask again, and it is its turn.
			if !rest(ctx, e.RetryAfter) {
				return nil, e
			}
			body, e = t.do(ctx, k)
		}
		if e != nil && after != "" && vendorIs(e, codeCursor) && restarts < cursorRestarts {
			out, after, restarts = nil, "", restarts+1 // the cursor is out of date: from the beginning
			continue
		}
		if e != nil {
			return nil, e
		}
		var page struct {
			Data   []wireTemplate `json:"data"`
			Paging struct {
				Cursors struct {
					After string `json:"after"`
				} `json:"cursors"`
				Next string `json:"next"`
			} `json:"paging"`
		}
		if err := json.Unmarshal(body, &page); err != nil || page.Data == nil {
			e := t.c.unknown(k, "the answer is no list of templates")
			e.Hint = "check whatsapp.base_url"
			return nil, e
		}
		for i := range page.Data {
			out = append(out, page.Data[i].told())
		}
		if page.Paging.Next == "" || page.Paging.Cursors.After == "" {
			return out, nil
		}
		after = page.Paging.Cursors.After
	}
	return nil, core.Errorf(core.CodeInvalid, "templates", "the list has more than %d pages", templatePages)
}

// rest waits; false when ctx ends before.
func rest(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func vendorIs(e *core.Error, code string) bool {
	c, _, _ := strings.Cut(e.Vendor, "/")
	return c == code
}

func (t *Templates) path() string { return url.PathEscape(t.a.ID) + "/message_templates" }

// Create makes a template. Where it is not known whether it was made, the code is
// core.CodeUnknownOutcome: look before it is made again.
func (t *Templates) Create(ctx context.Context, d templates.Definition) (templates.Told, error) {
	const op = "template create"
	if e := t.spend(t.creations, op, "new templates", "whatsapp.template_creations_per_hour"); e != nil {
		return templates.Told{}, e
	}
	d.ID, d.Category = "", strings.ToUpper(d.Category)
	k := call{op: op, method: http.MethodPost, path: t.path(), body: inWire(d)}
	body, e := t.do(ctx, k)
	if e != nil {
		return templates.Told{}, e
	}
	var made struct {
		ID       flexID `json:"id"`
		Status   string `json:"status"`
		Category string `json:"category"`
	}
	if json.Unmarshal(body, &made) != nil || made.ID == "" {
		return templates.Told{}, t.c.unknown(k, "the answer names no template")
	}
	d.ID, d.Category = string(made.ID), strings.ToLower(made.Category)
	return templates.Told{Definition: d, Status: made.Status}, nil
}

// Edit replaces a template's components, and its category unless that is "".
func (t *Templates) Edit(ctx context.Context, id, category string, d templates.Definition) error {
	body := map[string]any{"components": d.Components}
	if category != "" {
		body["category"] = strings.ToUpper(category)
	}
	if d.TTL != 0 {
		body["message_send_ttl_seconds"] = d.TTL
	}
	return t.succeeds(ctx, call{op: "template edit", method: http.MethodPost, path: url.PathEscape(id), body: inWire(body), twice: true})
}

// Delete deletes a template, or with an empty id all languages of a name.
func (t *Templates) Delete(ctx context.Context, name, id string) error {
	q := url.Values{"name": {name}}
	if id != "" {
		q.Set("hsm_id", id)
	}
	return t.succeeds(ctx, call{op: "template delete", method: http.MethodDelete, path: t.path() + "?" + q.Encode(), twice: true})
}

// Unpause enables a template again that WhatsApp paused for its pace.
func (t *Templates) Unpause(ctx context.Context, id string) error {
	return t.succeeds(ctx, call{op: "template unpause", method: http.MethodPost, path: url.PathEscape(id) + "/unpause", body: []byte("{}"), twice: true})
}

func (t *Templates) succeeds(ctx context.Context, k call) error {
	body, e := t.do(ctx, k)
	if e != nil {
		return e
	}
	var a struct {
		Success bool `json:"success"`
	}
	if json.Unmarshal(body, &a) != nil || !a.Success {
		return t.c.unknown(k, "the answer does not say that it was done")
	}
	return nil
}

// inWire writes what is sent, with & and < as they are.
func inWire(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("whatsapp: " + err.Error()) // texts and numbers always can be written
	}
	return bytes.TrimSpace(b.Bytes())
}
