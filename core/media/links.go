package media

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Path is where files are fetched, below the bridge's address.
const Path = "/media/"

// Links makes and checks addresses of files. Who has one may fetch the file until it
// expires; nobody can make one without the key. Its methods may be called concurrently.
type Links struct {
	key  []byte
	base func() string
}

// NewLinks returns links below what base returns, such as https://bridge.example.com; it
// is called for each. Their key is derived from secret.
func NewLinks(secret []byte, base func() string) *Links {
	h := hmac.New(sha256.New, secret)
	_, _ = h.Write([]byte("media links"))
	return &Links{key: h.Sum(nil), base: base}
}

// URL returns an address that is good until a time, to the second. The same file and time
// always have the same address.
func (l *Links) URL(tenant, hash string, until time.Time) string {
	exp := strconv.FormatInt(until.Unix(), 10)
	q := url.Values{"exp": {exp}, "sig": {l.sign(tenant, hash, exp)}}
	return strings.TrimRight(l.base(), "/") + Path + tenant + "/" + hash + "?" + q.Encode()
}

// Good reports whether an address's parts are those of one that was made here, and that
// has not expired.
func (l *Links) Good(tenant, hash, exp, sig string, now time.Time) bool {
	want := l.sign(tenant, hash, exp)
	if subtle.ConstantTimeCompare([]byte(want), []byte(sig)) != 1 {
		return false
	}
	until, err := strconv.ParseInt(exp, 10, 64)
	return err == nil && now.Unix() < until
}

func (l *Links) sign(tenant, hash, exp string) string {
	h := hmac.New(sha256.New, l.key)
	_, _ = h.Write([]byte(tenant + "\x00" + hash + "\x00" + exp))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
