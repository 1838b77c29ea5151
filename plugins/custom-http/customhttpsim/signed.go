package customhttpsim

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"
)

// signed reports whether a request has the one signature that is good for it now.
func signed(r *http.Request, body []byte, key string, now time.Time) bool {
	at := r.Header.Values("X-Timestamp")
	given := r.Header.Values("X-Signature")
	if len(at) != 1 || len(given) != 1 {
		return false
	}
	seconds, err := strconv.ParseInt(at[0], 10, 64)
	if off := now.Sub(time.Unix(seconds, 0)); err != nil || off.Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(r.Method + "\n" + r.URL.EscapedPath() + "\n" + r.URL.RawQuery + "\n" + at[0] + "\n"))
	mac.Write(body)
	return same(given[0], "v1="+hex.EncodeToString(mac.Sum(nil)))
}
