package web

import (
	"context"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core/broker"
)

func (b *bridge) ListMedia(_ context.Context, tenant, contact, after string, _ int) (broker.MediaPage, error) {
	return broker.MediaPage{Media: []broker.MediaFile{{Tenant: tenant, Contact: contact}}, Next: after}, nil
}

func (b *bridge) Media(_ context.Context, tenant, message string) (broker.MediaFile, error) {
	return broker.MediaFile{Tenant: tenant, Message: message, State: broker.MediaStored}, nil
}

func (b *bridge) OpenMedia(_ context.Context, tenant, hash, exp, sig string) (broker.MediaContent, error) {
	if tenant != "acme" || exp != "9" || sig != "good" {
		return broker.MediaContent{}, fs.ErrNotExist
	}
	f, err := os.Open(filepath.Join(b.files, hash))
	c := map[string]broker.MediaContent{
		"picture": {Type: "image/png", Looks: "image/png", Name: "a.png"},
		"page":    {Type: "image/png", Looks: "text/html; charset=utf-8", Name: "../é\r\n.html"},
		"html":    {Type: "text/html", Looks: "text/plain; charset=utf-8"},
	}[hash]
	c.File, c.Modified = f, time.Unix(1_800_000_000, 0)
	return c, err
}

func (b *bridge) PutMedia(_ context.Context, u broker.MediaUpload) (broker.MediaFile, error) {
	data, err := io.ReadAll(u.Body)
	return broker.MediaFile{Tenant: u.Tenant, Type: u.Type, Filename: u.Filename, Size: int64(len(data))}, err
}

func (b *bridge) SweepMedia(_ context.Context, tenant string) (broker.MediaSweep, error) {
	return broker.MediaSweep{Tenant: tenant}, nil
}

func TestMedia_IsServedToWhoHasItsAddressAndNeverAsAPageOfOurs(t *testing.T) {
	b := &bridge{files: t.TempDir()}
	for _, name := range []string{"picture", "page", "html"} {
		if err := os.WriteFile(filepath.Join(b.files, name), []byte("0123456789"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := New(options(b, "127.0.0.1:8080")).Handler()
	for _, test := range []struct {
		target, header   string
		code             int
		kind, given, has string
	}{
		{target: "picture?exp=9&sig=good", code: 200, kind: "image/png", given: `inline; filename=a.png`, has: "0123456789"},
		{target: "picture?exp=9&sig=good", header: "bytes=2-4", code: 206, kind: "image/png", given: `inline; filename=a.png`, has: "234"},
		{target: "page?exp=9&sig=good", code: 200, kind: "image/png", given: `attachment; filename*=utf-8''.._%C3%A9__.html`, has: "0123456789"},
		{target: "html?exp=9&sig=good", code: 200, kind: "application/octet-stream", given: `attachment; filename=html.bin`, has: "0123456789"},
		{target: "picture?exp=9&sig=bad", code: 404, kind: "application/json; charset=utf-8"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/media/acme/"+test.target, nil)
		r.Host = "bridge.example" // through a proxy, by any name
		if test.header != "" {
			r.Header.Set("Range", test.header)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		got := w.Header()
		if w.Code != test.code || got.Get("Content-Type") != test.kind || got.Get("Content-Disposition") != test.given || test.has != "" && w.Body.String() != test.has {
			t.Errorf("%s: %d %q %v", test.target, w.Code, w.Body, got)
		}
		if got.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(got.Get("Content-Security-Policy"), "sandbox;") {
			t.Errorf("%s: %v", test.target, got)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/media/acme/picture?exp=9&sig=good", nil))
	if w.Code != 405 {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestMedia_IsAskedForByMessageAndPut(t *testing.T) {
	h := New(options(&bridge{}, "127.0.0.1:8080")).Handler()
	for _, test := range []struct {
		call
		code int
		want string
	}{
		{call{method: "GET", path: "/api/v1/media/wamid.a/b=="}, 401, "unauthenticated"},
		{call{method: "GET", path: "/api/v1/media/wamid.a/b==", token: tenantToken}, 200, `"message": "wamid.a/b=="`},
		{call{method: "GET", path: "/api/v1/media?contact=c1&after=x", token: tenantToken}, 200, `"next": "x"`},
		{call{method: "POST", path: "/api/v1/media?filename=a.pdf", token: tenantToken, body: "%PDF"}, 201, `"size": 4`},
		{call{method: "POST", path: "/api/v1/media-sweep", token: ownerToken}, 200, `"tenant": "acme"`},
	} {
		if got := test.do(t, h); got.Code != test.code || !strings.Contains(got.Body.String(), test.want) {
			t.Errorf("%s %s: %d %s", test.method, test.path, got.Code, got.Body)
		}
	}
}
