package customhttp

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/guard"
)

// The secrets of a connection. All are optional. They are PEM, but that of the proxy,
// which is user:password.
const (
	caSecret    = "ca"          // who else may sign a server's certificate
	certSecret  = "client_cert" // what the lane shows a server that asks who it is, with those who signed it
	keySecret   = "client_key"
	proxySecret = "proxy"
)

// connectSecrets in their order; certificates are no secrets.
var connectSecrets = []string{caSecret, certSecret, keySecret, proxySecret}

// line says how to connect: what is the same for all hosts of a lane.
type line struct {
	minTLS   uint16
	proxy    *url.URL // nil is none: what the environment says is not asked
	proxyOwn bool     // the proxy may be at a private address
}

// versions of TLS that may be the least: https://www.rfc-editor.org/rfc/rfc9325#section-3.1.1.
var versions = map[string]uint16{"": tls.VersionTLS12, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

func (c *planner) line() line {
	l := line{minTLS: versions[c.TLS.MinVersion]}
	if l.minTLS == 0 {
		c.addf("settings.tls.min_version", `want "1.2" or "1.3"`)
	}
	if c.Proxy == "" {
		return l
	}
	l.proxy, l.proxyOwn = c.address("settings.proxy", c.Proxy, "https://proxy.example.com:3128")
	if l.proxy != nil && (strings.Trim(l.proxy.Path, "/") != "" || l.proxy.RawQuery != "") {
		c.addf("settings.proxy", "want scheme, host and port only")
	}
	return l
}

// wire is a line with its secrets.
type wire struct {
	line
	tls   *tls.Config
	user  *url.Userinfo // at the proxy
	asked atomic.Bool   // a server asked for a client's certificate
}

// open reads the secrets of a connection.
func (l line) open(secrets map[string]core.Secret) (*wire, *core.Error) {
	w := &wire{line: l, tls: &tls.Config{MinVersion: l.minTLS}}
	if ca := secrets[caSecret]; ca != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool() // a system without is no reason not to trust the owner's
		}
		if !pool.AppendCertsFromPEM([]byte(ca.Reveal())) {
			return nil, badSecret(caSecret, "has no certificate in PEM", "give the file of the CA's certificate, as in ca = \"file:PATH\"")
		}
		w.tls.RootCAs = pool
	}
	shown := new(tls.Certificate) // none
	w.tls.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		w.asked.Store(true)
		return shown, nil
	}
	cert, key := secrets[certSecret], secrets[keySecret]
	switch {
	case cert != "" && key != "":
		pair, err := tls.X509KeyPair([]byte(cert.Reveal()), []byte(key.Reveal()))
		if err != nil {
			return nil, badSecret(keySecret, err.Error(), "client_cert and client_key are a certificate and its key, unencrypted, both in PEM")
		}
		shown = &pair
	case cert != "":
		return nil, badSecret(keySecret, "missing", "client_cert wants its key")
	case key != "":
		return nil, badSecret(certSecret, "missing", "client_key wants its certificate")
	}
	if pass := secrets[proxySecret].Reveal(); pass != "" {
		user, password, ok := strings.Cut(pass, ":")
		if !ok || user == "" || badHeaderValue(pass) {
			return nil, badSecret(proxySecret, "want user:password", "it is what settings.proxy is told of who asks")
		}
		if l.proxy == nil {
			return nil, badSecret(proxySecret, "there is no proxy", "set settings.proxy, or leave the secret out")
		}
		w.user = url.UserPassword(user, password)
	}
	return w, nil
}

func badSecret(name, why, hint string) *core.Error {
	return &core.Error{Code: core.CodeUnauthenticated, Op: "settings", Source: core.SourcePlugin, Message: "secrets." + name + ": " + clip(why, maxQuote), Hint: hint}
}

// sameWire is equal for secrets that connect the same way. It does not show them.
func sameWire(secrets map[string]core.Secret) string {
	h := sha256.New()
	for _, name := range connectSecrets {
		one := sha256.Sum256([]byte(secrets[name].Reveal()))
		h.Write(one[:])
	}
	return string(h.Sum(nil))
}

// client returns the client for one plan: connections to a host that one
// lane may reach are not lent to a lane that may not. Private addresses are for a
// host that allowed_hosts names. With a proxy the address that is looked at is the
// proxy's, which then decides where names lead.
func (w *wire) client(dial dialFunc, private bool) *http.Client {
	if w.proxy != nil {
		private = w.proxyOwn
	}
	if dial == nil {
		dial = guard.Dial(private, privateHint)
	}
	transport := &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        w.tls.Clone(),
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxIdleConnsPerHost:    maxParallel,
		MaxResponseHeaderBytes: 64 << 10,
		// Servers close what is idle, some after 5 seconds. A request that
		// crosses with that has an unknown outcome, so we close first.
		IdleConnTimeout: 4 * time.Second,
	}
	if w.proxy != nil {
		at := *w.proxy
		at.User = w.user
		transport.Proxy = http.ProxyURL(&at)
		transport.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, r *http.Response) error {
			if r.StatusCode != http.StatusOK {
				return &proxyError{r.StatusCode}
			}
			return nil
		}
	}
	return &http.Client{
		Transport: transport,
		// A redirect would take the credentials to wherever an answer points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// proxyError is a proxy that does not let a request through: it did not happen.
type proxyError struct{ status int }

func (e *proxyError) Error() string {
	return "the proxy answered " + strings.TrimSpace(http.StatusText(e.status))
}

// unconnected says of an error that the request cannot have happened because of how
// the lane connects, and what a person can do about it; else it returns nil.
func (w *wire) unconnected(err error) *core.Error {
	e := &core.Error{Code: core.CodeUnavailable, Scope: core.ScopeLane, Source: core.SourceVendor}
	var proxy *proxyError
	var cert *tls.CertificateVerificationError
	var dial *net.OpError
	switch {
	case errors.As(err, &proxy):
		switch proxy.status {
		case http.StatusProxyAuthRequired:
			e.Code, e.Hint = core.CodeForbidden, "set the secret proxy, user:password, to what settings.proxy wants"
		case http.StatusForbidden, http.StatusMethodNotAllowed:
			e.Code, e.Hint = core.CodeForbidden, "have the proxy let the lane through to settings.base_url"
		default:
			e.Hint = "look at settings.proxy, and whether it gets to settings.base_url"
		}
	case errors.As(err, &cert):
		e.Hint = "if the server's certificate is signed by a CA of your own, give that as the secret ca"
	case errors.As(err, &dial) && dial.Op == "proxyconnect":
		e.Hint = "look at settings.proxy and the network"
	case w.asked.Load() && errors.As(err, &dial) && dial.Op == "remote error" && aboutCertificate(dial.Err.Error()):
		e.Code, e.Hint = core.CodeForbidden, certHint
	case errors.As(err, &dial) && dial.Op == "remote error" && strings.Contains(dial.Err.Error(), "protocol version"):
		e.Hint = "look at settings.tls.min_version, and which versions of TLS the server speaks"
	default:
		return nil
	}
	return e
}

// certHint is for the error of a server that asked for a client's certificate. With TLS
// 1.3 it looks at that after the first request was written: when the connection is closed
// before its alert is read, nobody knows that it was about the certificate, and the
// outcome is unknown.
const certHint = "the server asks for a client certificate, and may want another one: look at the secrets client_cert and client_key"

// aboutCertificate reports whether an alert of TLS refuses ours, or misses it.
func aboutCertificate(alert string) bool {
	return strings.Contains(alert, "certificate") || strings.Contains(alert, "access denied") || strings.Contains(alert, "handshake failure")
}
