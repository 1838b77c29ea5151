package customhttp_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	customhttp "github.com/wabridge/wabridge/plugins/custom-http"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

const aFile = "what a person photographed, in bytes"

// uploading are settings that upload files before their notes are made.
func uploading(idempotency string, change table) table {
	u := table{"path": "/files", "id": "file.id", "url": "file.url", "form": table{"contact": "{{.contact.id}}"}}
	maps.Copy(u, change)
	s := notes(idempotency, nil)
	s["operations"] = table{"message.media": table{"path": "/notes", "upload": u,
		"body": `{"ref": {{.id}}, "text": "{{with .upload}}{{.id}} {{.url}}{{else}}{{.message.media.link}}{{end}}"}`}}
	return s
}

// beside serves files as the bridge does, and else the sim.
type beside struct {
	b     *bench
	serve http.HandlerFunc
}

func (h *beside) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Host == "bridge.test" {
		h.serve(w, r)
		return
	}
	h.b.sim.ServeHTTP(w, r)
}

func startUploading(t *testing.T, settings table, serve http.HandlerFunc) *bench {
	t.Helper()
	h := &beside{serve: serve}
	if serve == nil {
		h.serve = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Disposition", mime.FormatMediaType("inline", map[string]string{"filename": `ü "a".jpg`}))
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(aFile))
		}
	}
	h.b = start(t, customhttpsim.Options{}, settings, h)
	h.b.account.WebhookURL = "http://bridge.test/wa/webhooks/crm/acme/crm"
	return h.b
}

func withFile(n int) *core.Event {
	e := received(n)
	e.ID, e.Kind, e.Message.Type, e.Message.Text, e.Accepted = e.ID+"#media", core.KindMessageMedia, core.TypeImage, "", time.Now()
	e.Message.Media = &core.Media{Link: "http://bridge.test/wa/media/acme/abc?exp=1&sig=s", MIMEType: "image/jpeg", Filename: "ü \"a\".jpg\r\nX-Evil: 1"}
	return e
}

// noted is what the only note says.
func (b *bench) noted() string {
	b.t.Helper()
	all := b.sim.Records("note")
	if len(all) != 1 {
		b.t.Fatalf("%d notes", len(all))
	}
	return fmt.Sprint(all[0].Fields["text"])
}

func TestUpload_GivesTheAPIAFileBeforeItsMessage(t *testing.T) {
	sum := sha256.Sum256([]byte(aFile))
	for name, c := range map[string]struct {
		change table
		want   map[string]any
	}{
		"in a form":                              {nil, map[string]any{"contact": "c001", "name": `ü "a".jpg`, "type": "image/jpeg"}},
		"named otherwise":                        {table{"filename": "{{.message.id}}.jpg", "form": table{}}, map[string]any{"name": "wamid.IN001.jpg", "type": "image/jpeg"}},
		"named by a stranger":                    {table{"filename": "{{.message.media.filename}}", "form": table{}}, map[string]any{"name": `ü "a".jpg%0D%0AX-Evil: 1`}},
		"as the body":                            {table{"as": "body", "form": table{}}, map[string]any{"type": "image/jpeg"}},
		"as a body that is said to be something": {table{"as": "body", "form": table{}, "headers": table{"Content-Type": "application/x-file"}}, map[string]any{"type": "application/x-file"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := startUploading(t, uploading("none", c.change), nil)
			if err := b.one(withFile(1)); err != nil {
				t.Fatal(err)
			}
			files := b.sim.Records("file")
			if len(files) != 1 {
				t.Fatalf("%d files", len(files))
			}
			c.want["size"], c.want["sha256"] = len(aFile), hex.EncodeToString(sum[:])
			for key, want := range c.want {
				if got := files[0].Fields[key]; got != want {
					t.Errorf("%s is %q, want %q", key, got, want)
				}
			}
			if got, want := b.noted(), files[0].ID+" https://files.crm.test/"+files[0].ID; got != want {
				t.Errorf("the note says %q, want %q", got, want)
			}
		})
	}
}

// Many that store files take no body whose length is not told.
func TestUpload_TellsHowLongAFileIs(t *testing.T) {
	for _, file := range []string{aFile, ""} {
		h := &beside{serve: func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(file))
		}}
		var told []int64 // -1 where it is not
		h.b = start(t, customhttpsim.Options{}, uploading("none", table{"as": "body", "form": table{}}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/files") {
				told = append(told, r.ContentLength)
			}
			h.ServeHTTP(w, r)
		}))
		h.b.account.WebhookURL = "http://bridge.test/wa/webhooks/crm/acme/crm"
		if err := h.b.one(withFile(1)); err != nil {
			t.Fatal(err)
		}
		if want := []int64{int64(len(file))}; !slices.Equal(told, want) {
			t.Errorf("a file of %d bytes: told %d", len(file), told)
		}
	}
}

func TestUpload_WritesTheLinkWhereTheFileCannotBeUploaded(t *testing.T) {
	answers := func(f customhttpsim.Fault) func(*bench) {
		return func(b *bench) { f.Match = "/files"; b.sim.Inject(f) }
	}
	nothing := func(*bench) {}
	for name, c := range map[string]struct {
		change  table
		serve   http.HandlerFunc
		spoil   func(*bench)
		link    string
		attempt int
		age     time.Duration
		want    core.Code
	}{
		"the API refuses it":          {spoil: answers(customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 415})},
		"it is too large for the API": {spoil: answers(customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 413})},
		"the API forbids it":          {spoil: answers(customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 403})},
		"the API leads elsewhere":     {spoil: answers(customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 302, Header: map[string]string{"Location": "http://evil.test/"}})},
		"it is larger than max_size":  {change: table{"max_size": 10}},
		"it is gone":                  {serve: http.NotFound},
		"its size is not told": {serve: func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write([]byte(aFile))
		}},
		"the bridge leads elsewhere": {serve: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://evil.test/", http.StatusFound)
		}},
		"it is not the bridge's":       {link: "http://evil.test/wa/media/acme/abc"},
		"it is beside the files":       {link: "http://bridge.test/wa/api/v1/tokens"},
		"it climbs out of the files":   {link: "http://bridge.test/wa/media/../api/v1/tokens"},
		"it climbs, escaped":           {link: "http://bridge.test/wa/media/%2e%2e/api/v1/tokens"},
		"nobody knows the bridge":      {spoil: func(b *bench) { b.account.WebhookURL = "" }},
		"an answer without a name":     {spoil: answers(customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 200, Body: `{"file":{}}`}), attempt: 2},
		"an answer of HTML":            {spoil: answers(customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 200, Body: `<html>`}), attempt: 2},
		"the API is away, again":       {spoil: answers(customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 500}), attempt: 2},
		"the file breaks off, again":   {serve: half, attempt: 2},
		"the API is away for long":     {spoil: answers(customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 500}), age: 6 * time.Minute},
		"the API is away for a while":  {spoil: answers(customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 500}), age: 4 * time.Minute, want: core.CodeUnavailable},
		"the API is away":              {spoil: answers(customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 500}), want: core.CodeUnavailable},
		"an answer that is lost":       {spoil: answers(customhttpsim.Fault{Kind: customhttpsim.FaultLost}), want: core.CodeUnavailable},
		"the file breaks off":          {serve: half, want: core.CodeUnavailable},
		"the API has enough":           {spoil: answers(customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 429}), attempt: 2, want: core.CodeRateLimited},
		"the credentials do not count": {spoil: answers(customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 401}), attempt: 2, want: core.CodeUnauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			b := startUploading(t, uploading("none", c.change), c.serve)
			if c.spoil == nil {
				c.spoil = nothing
			}
			c.spoil(b)
			e := withFile(1)
			e.Accepted = time.Now().Add(-c.age)
			if c.link != "" {
				e.Message.Media.Link = c.link
			}
			r := b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Event: e, Data: toJSON(t, e), Attempt: max(1, c.attempt)}})[0]
			if codeOf(r.Err) != c.want {
				t.Fatalf("got %v, want %q", r.Err, c.want)
			}
			if c.want != "" {
				if n := len(b.sim.Records("note")); n != 0 {
					t.Errorf("%d notes", n)
				}
			} else if got := b.noted(); got != e.Message.Media.Link {
				t.Errorf("the note says %q", got)
			}
			if r.Err != nil && strings.Contains(r.Err.Error(), "sig=") {
				t.Errorf("the error tells how to get the file: %v", r.Err)
			}
		})
	}
}

// half serves a file that ends too early.
func half(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", fmt.Sprint(len(aFile)))
	_, _ = w.Write([]byte(aFile[:10]))
	panic(http.ErrAbortHandler)
}

func TestUpload_IsMadeOnceWhereTheAPIKnowsKeys(t *testing.T) {
	b := startUploading(t, uploading("key", nil), nil)
	b.sim.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultLost, Match: "/files", Count: 1})
	if err := b.one(withFile(1)); codeOf(err) != core.CodeUnavailable {
		t.Errorf("got %v", err)
	}
	if err := b.one(withFile(1)); err != nil {
		t.Fatal(err)
	}
	if files := b.sim.Records("file"); len(files) != 1 || !strings.HasPrefix(b.noted(), files[0].ID) {
		t.Errorf("%d files, and the note says %q", len(files), b.noted())
	}
	for _, r := range b.sim.Requests() {
		if r.Path != "/v1/files" {
			continue
		}
		if want := withFile(1).ID + "-file"; r.Header.Get("Idempotency-Key") != want {
			t.Errorf("%s has the key %q, want %q", r.Path, r.Header.Get("Idempotency-Key"), want)
		}
	}
}

func TestUpload_SettingsThatCannotWorkAreRefused(t *testing.T) {
	with := func(change func(s, op table)) table {
		s := uploading("none", nil)
		change(s, s["operations"].(table)["message.media"].(table))
		return s
	}
	for want, s := range map[string]table{
		`upload: is for "message.media"`:              with(func(s, op table) { s["operations"] = table{"message.received": op} }),
		`upload: is for an operation without batch`:   with(func(_, op table) { op["batch"] = table{"max_items": 5} }),
		`upload: is of no use`:                        with(func(_, op table) { op["body"] = `{"ref": {{.id}}}` }),
		`upload: does not say where the answer`:       uploading("none", table{"id": "", "url": ""}),
		`upload.as: want "form" or "body"`:            uploading("none", table{"as": "json"}),
		`upload: field, filename and form are for as`: uploading("none", table{"as": "body"}),
		`upload.max_size: want 1 to`:                  uploading("none", table{"max_size": 0}),
		`upload.method: GET takes no file`:            uploading("none", table{"method": "GET"}),
		`upload.form.a: unknown field .messages`:      uploading("none", table{"form": table{"a": "{{.messages}}"}}),
		`upload: a file is not read twice`: with(func(s, _ table) {
			s["auth"] = table{"type": "hmac", "name": "X-Signature", "payload": "{method}{body_hash}"}
		}),
		`unknown field .upload`: with(func(_, op table) { delete(op, "upload") }),
	} {
		b := start(t, customhttpsim.Options{}, s, nil)
		if err := b.connector.Check(t.Context(), b.account); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestRenderUpload_ShowsWhatStandsAroundTheFile(t *testing.T) {
	s := uploading("none", nil)
	s["auth"] = table{"type": "bearer"}
	b := start(t, customhttpsim.Options{}, s, nil)
	r, err := customhttp.RenderUpload(b.account.Settings, withFile(1))
	if err != nil || r.Method != http.MethodPost || r.URL != "http://crm.test/v1/files" || !strings.Contains(string(r.Body), "[the file]") ||
		!strings.Contains(string(r.Body), "c001") || r.Header.Get("Authorization") != "Bearer [secret]" {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err := customhttp.RenderUpload(b.account.Settings, received(1)); err != nil || r.Method != "" {
		t.Errorf("without a file: %+v, %v", r, err)
	}
}
