package customhttp_test

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	customhttp "github.com/wabridge/wabridge/plugins/custom-http"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

const aKey = "key-that-signs-1"

// lines is what the sim wants signed.
var lines = table{"type": "hmac", "name": "X-Signature", "value": "v1={signature}", "timestamp": "X-Timestamp",
	"payload": "{method}\n{path}\n{query}\n{timestamp}\n{body}"}

func TestSigning_IsTakenForEachRequest(t *testing.T) {
	settings := notes("none", table{"auth": lines, "health": table{"path": "/me", "query": table{"a": "b c", "_": "1"}}})
	b := start(t, customhttpsim.Options{SigningKey: aKey}, settings, nil)
	b.account.Secrets["signing_key"] = aKey
	if err := b.connector.Check(t.Context(), b.account); err != nil {
		t.Error(err)
	}
	for i := range 2 {
		if err := b.one(received(i)); err != nil {
			t.Error(err)
		}
	}
	b.account.Secrets["signing_key"] = "key-of-another-2"
	if err := b.one(received(3)); codeOf(err) != core.CodeUnauthenticated || !strings.Contains(err.Hint, "signing_key") {
		t.Errorf("%+v", err)
	}
	delete(b.account.Secrets, "signing_key")
	if err := b.one(received(4)); codeOf(err) != core.CodeUnauthenticated || !strings.Contains(err.Error(), "secrets.signing_key: missing") {
		t.Errorf("%+v", err)
	}
	r, err := customhttp.Render(b.account.Settings, received(1))
	if err != nil || r.Header.Get("X-Signature") != "v1=[secret]" || r.Header.Get("X-Timestamp") == "" {
		t.Errorf("it is shown as %v, %v", r.Header, err)
	}
}

func TestSigning_OfOtherKinds(t *testing.T) {
	auth := table{"type": "hmac", "name": "Authorization", "algorithm": "sha512", "encoding": "base64", "timestamp_format": "rfc3339",
		"value": "HMAC {timestamp};{signature}", "payload": "{host} {url} {body_hash} {timestamp}"}
	b := start(t, customhttpsim.Options{}, notes("none", table{"auth": auth}), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "HMAC ")
		at, signature, both := strings.Cut(rest, ";")
		if _, err := time.Parse(time.RFC3339, at); !ok || !both || err != nil {
			t.Errorf("signed with %q", r.Header.Get("Authorization"))
		}
		hash := sha512.Sum512(body)
		mac := hmac.New(sha512.New, []byte(aKey))
		mac.Write([]byte("crm.test http://crm.test/v1/notes " + hex.EncodeToString(hash[:]) + " " + at))
		if want := base64.StdEncoding.EncodeToString(mac.Sum(nil)); signature != want {
			t.Errorf("the signature is %q, want %q", signature, want)
		}
	}))
	b.account.Secrets["signing_key"] = aKey
	if err := b.one(received(1)); err != nil {
		t.Error(err)
	}
}
