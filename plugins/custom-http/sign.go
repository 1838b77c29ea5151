package customhttp

import (
	"cmp"
	"crypto/hmac"
	"encoding/base64"
	"encoding/hex"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// signingKey is the secret that requests are signed with.
const signingKey = "signing_key"

// signing is how requests are signed: with type = "hmac".
type signing struct {
	name      string // the header of the signature
	value     string // what is in it
	payload   string // what is signed
	algorithm string
	base64    bool
	timestamp string // the header of the time; "" is none
	format    string
}

// Words of payload and value. They are not templates: what is signed is to be, byte for
// byte, what is sent.
var (
	signingWord  = regexp.MustCompile(`\{[a-z_]+\}`)
	payloadWords = []string{"{method}", "{host}", "{path}", "{query}", "{url}", "{timestamp}", "{body}", "{body_hash}"}
	valueWords   = []string{"{signature}", "{timestamp}"}
)

func (c *planner) signing(p *plan) {
	const where = "settings.auth"
	a := &p.auth
	s := &signing{
		name: textproto.CanonicalMIMEHeaderKey(a.Name), value: cmp.Or(a.Value, "{signature}"), payload: a.Payload, algorithm: cmp.Or(a.Algorithm, "sha256"),
		base64: a.Encoding == "base64", timestamp: textproto.CanonicalMIMEHeaderKey(a.Timestamp), format: cmp.Or(a.TimestampFormat, "unix"),
	}
	if !headerName.MatchString(a.Name) {
		c.addf(where+".name", "want a header's name: that of the signature")
	}
	if a.Timestamp != "" && (!headerName.MatchString(a.Timestamp) || s.timestamp == s.name) {
		c.addf(where+".timestamp", "want another header's name")
	}
	if s.algorithm != "sha256" && s.algorithm != "sha512" {
		c.addf(where+".algorithm", "want sha256 or sha512")
	}
	if !slices.Contains([]string{"", "hex", "base64"}, a.Encoding) {
		c.addf(where+".encoding", "want hex or base64")
	}
	if !slices.Contains([]string{"unix", "unix_ms", "rfc3339"}, s.format) {
		c.addf(where+".timestamp_format", "want unix, unix_ms or rfc3339")
	}
	if s.payload == "" {
		c.addf(where+".payload", `missing: what is signed, such as "{timestamp}.{body}"`)
	}
	for _, word := range signingWord.FindAllString(s.payload, -1) {
		if !slices.Contains(payloadWords, word) {
			c.addf(where+".payload", "unknown word %s (want %s)", word, strings.Join(payloadWords, ", "))
		}
	}
	for _, word := range signingWord.FindAllString(s.value, -1) {
		if !slices.Contains(valueWords, word) {
			c.addf(where+".value", "unknown word %s (want %s)", word, strings.Join(valueWords, ", "))
		}
	}
	if !strings.Contains(s.value, "{signature}") || badHeaderValue(s.value) {
		c.addf(where+".value", "has no place for {signature}, or has control characters")
	}
	told := a.Timestamp != "" || strings.Contains(s.value, "{timestamp}")
	if signed := strings.Contains(s.payload, "{timestamp}"); signed != told {
		c.addf(where+".timestamp", "names the header of {timestamp} in payload: want both or neither")
	}
	p.signing = s
}

// sign adds the signature to a request that is otherwise ready to be sent at that time.
// With the key that is [masked], the signature is, too.
func (s *signing) sign(r *Request, key string, now time.Time) {
	at := strconv.FormatInt(now.Unix(), 10)
	switch s.format {
	case "unix_ms":
		at = strconv.FormatInt(now.UnixMilli(), 10)
	case "rfc3339":
		at = now.UTC().Format(time.RFC3339)
	}
	if s.timestamp != "" {
		r.Header.Set(s.timestamp, at)
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		return // it is not sent, either
	}
	hash := func(of []byte) string {
		h := algorithms[s.algorithm]()
		h.Write(of)
		return hex.EncodeToString(h.Sum(nil))
	}
	signed := signingWord.ReplaceAllStringFunc(s.payload, func(word string) string {
		switch word {
		case "{method}":
			return r.Method
		case "{host}":
			return u.Host
		case "{path}":
			return u.EscapedPath()
		case "{query}":
			return u.RawQuery
		case "{url}":
			return r.URL
		case "{timestamp}":
			return at
		case "{body}":
			return string(r.Body)
		}
		return hash(r.Body)
	})
	mac := hmac.New(algorithms[s.algorithm], []byte(key))
	mac.Write([]byte(signed))
	signature := hex.EncodeToString(mac.Sum(nil))
	if s.base64 {
		signature = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	if key == masked {
		signature = masked
	}
	r.Header.Set(s.name, strings.NewReplacer("{signature}", signature, "{timestamp}", at).Replace(s.value))
}
