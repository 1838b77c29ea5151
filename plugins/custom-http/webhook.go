package customhttp

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // some APIs sign with it; HMAC does not need what it lacks
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	gohash "hash"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
)

// webhookSettings read what the API calls the bridge with.
type webhookSettings struct {
	Verify verifySettings `json:"verify"`
	// Rows leads to the array of rows, or to the one row; "" is the body itself.
	Rows   string          `json:"rows"`
	Events []eventSettings `json:"events"`
	// Challenge is the parameter of the query that is answered as it came, for
	// APIs that try an address before they use it.
	Challenge string `json:"challenge"`
	// Status and Body are the answer; 200 and nothing unless set.
	Status int    `json:"status"`
	Body   string `json:"body"`
}

// verifySettings say how a request shows that it is the API's. The secret is the
// lane's "webhook".
type verifySettings struct {
	// Type is "hmac", "token", "basic" (the secret is user:password) or "ip" (no secret:
	// who calls from IPs is let in).
	Type string `json:"type"`
	// IPs are the addresses and networks that alone may call, whatever the type.
	IPs []string `json:"ips"`
	// In is where a token is, "header", "query" or "body", Name under which name (in a
	// body the path to it), and Prefix what stands before it or before a signature.
	In     string `json:"in"`
	Name   string `json:"name"`
	Prefix string `json:"prefix"`
	// Algorithm is sha256 unless set, sha1 or sha512; Encoding hex unless set, or
	// base64. Payload is what is signed: "{body}" unless set, with {timestamp},
	// {method} and {url}. Timestamp is the header that holds it, and Tolerance how
	// old a request may be; 5m unless set.
	Algorithm string `json:"algorithm"`
	Encoding  string `json:"encoding"`
	Payload   string `json:"payload"`
	Timestamp string `json:"timestamp"`
	Tolerance string `json:"tolerance"`
}

// webhook is a compiled [webhookSettings].
type webhook struct {
	webhookSettings
	rows      path
	tellers   []teller
	tolerance time.Duration
	networks  []netip.Prefix
	token     path // to a token in the body
}

// webhookSecret is the name of the lane's secret.
const webhookSecret = "webhook"

var algorithms = map[string]func() gohash.Hash{"sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}

func (c *planner) webhook() *webhook {
	const where = "settings.webhook"
	s := c.settings.Webhook
	if s == nil {
		return nil
	}
	w := &webhook{webhookSettings: *s, rows: parsePath(s.Rows), tolerance: 5 * time.Minute}
	w.rows.check(where+".rows", c.problems)
	if w.Status = cmp.Or(s.Status, http.StatusOK); w.Status < 200 || w.Status > 299 {
		c.addf(where+".status", "want 200 to 299: others would have the API call again")
	}
	if len(s.Body) > 4096 {
		c.addf(where+".body", "want 4096 bytes at most")
	}
	v, at := &w.Verify, where+".verify"
	header := func(key, name string) {
		if !headerName.MatchString(name) {
			c.addf(at+"."+key, "want a header's name")
		}
	}
	unused := func(names map[string]string) {
		for _, name := range sortedKeys(names) {
			if names[name] != "" {
				c.addf(at+"."+name, "is not for type = %q", v.Type)
			}
		}
	}
	w.networks = c.networks(at+".ips", v.IPs)
	signing := map[string]string{"algorithm": v.Algorithm, "encoding": v.Encoding, "payload": v.Payload, "timestamp": v.Timestamp, "tolerance": v.Tolerance}
	switch v.Type {
	case "hmac":
		unused(map[string]string{"in": v.In})
		header("name", v.Name)
		v.Algorithm, v.Encoding, v.Payload = cmp.Or(v.Algorithm, "sha256"), cmp.Or(v.Encoding, "hex"), cmp.Or(v.Payload, "{body}")
		if algorithms[v.Algorithm] == nil {
			c.addf(at+".algorithm", "want sha256, sha1 or sha512")
		}
		if v.Encoding != "hex" && v.Encoding != "base64" {
			c.addf(at+".encoding", "want hex or base64")
		}
		if !strings.Contains(v.Payload, "{body}") {
			c.addf(at+".payload", "without {body} anybody could change it")
		}
		if strings.Contains(v.Payload, "{timestamp}") != (v.Timestamp != "") {
			c.addf(at+".timestamp", "names the header of {timestamp} in payload: want both or neither")
		}
		if v.Timestamp != "" {
			header("timestamp", v.Timestamp)
		}
		if v.Tolerance != "" {
			d, err := time.ParseDuration(v.Tolerance)
			if err != nil || d < time.Second || d > 24*time.Hour || v.Timestamp == "" {
				c.addf(at+".tolerance", `want a duration from "1s" to "24h", for requests with a timestamp`)
			}
			w.tolerance = d
		}
	case "token":
		unused(signing)
		switch v.In = cmp.Or(v.In, "header"); {
		case v.In == "header":
			header("name", v.Name)
		case v.In == "body":
			if w.token = c.path(at+".name", v.Name); w.token == nil {
				c.addf(at+".name", "missing: the path to the token in the body")
			}
		case v.In != "query":
			c.addf(at+".in", `want "header", "query" or "body"`)
		case v.Name == "":
			c.addf(at+".name", "missing: the query's parameter")
		}
	case "basic", "ip":
		unused(signing)
		unused(map[string]string{"in": v.In, "name": v.Name, "prefix": v.Prefix})
		if v.Type == "ip" && len(v.IPs) == 0 {
			c.addf(at+".ips", `missing: the addresses that may call, such as ["203.0.113.7", "198.51.100.0/24"]`)
		}
	default:
		c.addf(at+".type", "want hmac, token, basic or ip: anybody can call a public address")
	}
	w.tellers = c.tellers(where+".events", s.Events)
	return w
}

// networks reads addresses, and networks such as 10.0.0.0/8.
func (c *planner) networks(where string, list []string) []netip.Prefix {
	all := make([]netip.Prefix, len(list))
	for i, text := range list {
		ip, err := netip.ParseAddr(text)
		if all[i] = netip.PrefixFrom(ip, ip.BitLen()); err != nil {
			all[i], err = netip.ParsePrefix(text)
		}
		if err != nil {
			c.addf(fmt.Sprintf("%s[%d]", where, i), "want an address, or a network such as 198.51.100.0/24")
		}
	}
	return all
}

var _ core.Receiver = (*Connector)(nil)

// Webhook implements [core.Receiver].
func (c *Connector) Webhook(_ context.Context, account core.Account, r core.WebhookRequest) (core.WebhookAnswer, error) {
	p, err := c.plan(account)
	if err != nil {
		err.Code = core.CodeUnavailable // the request is as good as before
		return core.WebhookAnswer{}, err
	}
	w := p.webhook
	if w == nil {
		return core.WebhookAnswer{}, core.Errorf(core.CodeUnauthenticated, "webhook", "settings.webhook says nothing of who may call")
	}
	secret := account.Secrets[webhookSecret].Reveal()
	if secret == "" && w.Verify.Type != "ip" {
		return core.WebhookAnswer{}, &core.Error{Code: core.CodeUnauthenticated, Op: "webhook", Source: core.SourcePlugin,
			Message: "secrets." + webhookSecret + ": missing", Hint: "set " + webhookSecret + " under the lane's secrets"}
	}
	body := sync.OnceValues(func() (any, *core.Error) { return bodyOf(r) })
	why := w.refusesFrom(r.Remote)
	if why == "" {
		why = w.refuses(r, body, secret, time.Now())
	}
	if why != "" {
		return core.WebhookAnswer{}, core.Errorf(core.CodeUnauthenticated, "webhook", "%s", why)
	}
	answer := core.WebhookAnswer{Status: w.Status, ContentType: "text/plain", Body: []byte(w.Body)}
	if w.Challenge != "" {
		if said := queryOf(r.URL).Get(w.Challenge); said != "" {
			answer.Body = []byte(said[:min(len(said), 4096)])
			if r.Method == http.MethodGet {
				return answer, nil
			}
		}
	}
	value, err := body()
	if err != nil {
		return core.WebhookAnswer{}, err
	}
	rows, err := w.rowsOf(value)
	if err != nil {
		return core.WebhookAnswer{}, err
	}
	answer.Events = p.tell(w.tellers, rows)
	return answer, nil
}

// refusesFrom says why who calls from an address may not, or "".
func (w *webhook) refusesFrom(remote string) string {
	if len(w.networks) == 0 {
		return ""
	}
	ip, err := netip.ParseAddr(remote)
	if err != nil {
		return "it is not known from where it came, and settings.webhook.verify.ips says from where it must: look at web.trusted_proxies"
	}
	if !slices.ContainsFunc(w.networks, func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return remote + " is not in settings.webhook.verify.ips; if that is a proxy before the bridge, name it in web.trusted_proxies"
	}
	return ""
}

// takeToken returns the token in a body and takes it out, so that no event has it.
func (w *webhook) takeToken(body any) string {
	said := w.token.text(body)
	last := len(w.token) - 1
	if within, _ := w.token[:last].find(body); said != "" {
		if table, ok := within.(map[string]any); ok {
			delete(table, w.token[last])
		}
	}
	return said
}

// refuses says why a request is not the API's, or "".
func (w *webhook) refuses(r core.WebhookRequest, body func() (any, *core.Error), secret string, now time.Time) string {
	v := &w.Verify
	switch v.Type {
	case "ip":
		return "" // see refusesFrom
	case "token":
		var said string
		switch v.In {
		case "header":
			said = r.Get(textproto.CanonicalMIMEHeaderKey(v.Name))
		case "query":
			said = queryOf(r.URL).Get(v.Name)
		case "body":
			value, err := body()
			if err != nil {
				return "there is no token: " + err.Message
			}
			said = w.takeToken(value)
		}
		token, ok := strings.CutPrefix(said, v.Prefix)
		if !ok || !same(token, secret) {
			return "the token is not the lane's secret " + webhookSecret
		}
		return ""
	case "basic":
		pass, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(r.Get("Authorization"), "Basic "))
		if err != nil || !same(string(pass), secret) {
			return "user and password are not the lane's secret " + webhookSecret
		}
		return ""
	}
	at := r.Get(textproto.CanonicalMIMEHeaderKey(v.Timestamp))
	if v.Timestamp != "" {
		switch sent := timeOf(at); {
		case sent.IsZero():
			return "the header " + v.Timestamp + " is no time"
		case now.Sub(sent) > w.tolerance:
			return "the request is older than settings.webhook.verify.tolerance"
		case sent.Sub(now) > w.tolerance:
			return "the request is of the future: one of the clocks is wrong"
		}
	}
	said, ok := strings.CutPrefix(r.Get(textproto.CanonicalMIMEHeaderKey(v.Name)), v.Prefix)
	if !ok || said == "" {
		return "there is no signature in the header " + v.Name
	}
	decode := hex.DecodeString
	if v.Encoding == "base64" {
		decode = base64.StdEncoding.DecodeString
	}
	signature, err := decode(said)
	if err != nil {
		return "the signature is not in " + v.Encoding
	}
	mac := hmac.New(algorithms[v.Algorithm], []byte(secret))
	// Written piece by piece: what is within the body must not be taken for a
	// place of the payload.
	for rest := v.Payload; rest != ""; {
		i := strings.IndexByte(rest, '{')
		j := strings.IndexByte(rest[max(i, 0):], '}') + max(i, 0)
		if i < 0 || j < i {
			_, _ = mac.Write([]byte(rest))
			break
		}
		_, _ = mac.Write([]byte(rest[:i]))
		switch rest[i : j+1] {
		case "{body}":
			_, _ = mac.Write(r.Body)
		case "{timestamp}":
			_, _ = mac.Write([]byte(at))
		case "{method}":
			_, _ = mac.Write([]byte(r.Method))
		case "{url}":
			_, _ = mac.Write([]byte(r.URL))
		default:
			_, _ = mac.Write([]byte(rest[i : j+1]))
		}
		rest = rest[j+1:]
	}
	if !hmac.Equal(mac.Sum(nil), signature) {
		return "the signature is not of the lane's secret " + webhookSecret + " and this body"
	}
	return ""
}

// same compares in a time that says nothing of where two differ.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func queryOf(address string) url.Values {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	return u.Query()
}

// bodyOf reads the body of a request.
func bodyOf(r core.WebhookRequest) (any, *core.Error) {
	if strings.HasPrefix(r.Get("Content-Type"), "application/x-www-form-urlencoded") {
		form, err := url.ParseQuery(string(r.Body))
		if err != nil {
			return nil, core.Errorf(core.CodeInvalid, "webhook", "the form cannot be read")
		}
		table := map[string]any{}
		for name := range form {
			table[name] = form.Get(name)
		}
		return table, nil
	}
	v, err := decodeJSON(r.Body)
	if err != nil {
		return nil, core.Errorf(core.CodeInvalid, "webhook", "the body is not JSON")
	}
	return v, nil
}

// rowsOf returns the rows of a body.
func (w *webhook) rowsOf(body any) ([]any, *core.Error) {
	v, ok := w.rows.find(body)
	if !ok {
		return nil, nil // about something else
	}
	rows, ok := v.([]any)
	if !ok {
		rows = []any{v}
	}
	if len(rows) > maxRows {
		return nil, core.Errorf(core.CodeInvalid, "webhook", "%d rows, at most %d are read", len(rows), maxRows)
	}
	return slices.Clone(rows), nil
}
