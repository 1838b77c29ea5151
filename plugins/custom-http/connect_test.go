package customhttp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	customhttp "github.com/wabridge/wabridge/plugins/custom-http"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  core.Secret
}

// ours signs what the servers of these tests show, others does not.
var ours, others = sync.OnceValue(newAuthority), sync.OnceValue(newAuthority)

func newAuthority() *authority {
	a := new(authority)
	a.cert, a.key = certify(nil, "a CA of one's own")
	a.pem = core.Secret(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
	return a
}

// certify makes a certificate; without an authority, one.
func certify(by *authority, name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	is := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: by == nil,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"crm.example.com"},
	}
	parent, parentKey := is, key
	if by != nil {
		parent, parentKey = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, is, parent, &key.PublicKey, parentKey)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert, key
}

// shows returns a certificate and its key, in PEM.
func (a *authority) shows(t testing.TB, name string) (cert, key core.Secret) {
	t.Helper()
	c, k := certify(a, name)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return core.Secret(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})),
		core.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// secure is an API of one's own, by TLS, with an account that goes there by the real
// network.
func secure(t testing.TB, o customhttpsim.Options, more func(*tls.Config)) *bench {
	t.Helper()
	cert, key := certify(ours(), "the server")
	b := &bench{t: t, sim: customhttpsim.New(o), connector: new(customhttp.Connector)}
	server := httptest.NewUnstartedServer(b.sim)
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	if more != nil {
		more(server.TLS)
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	t.Cleanup(b.connector.CloseIdleConnections)
	b.account = core.Account{Tenant: "acme", Lane: "crm", Secrets: secrets()}
	b.set(notes("none", table{"base_url": server.URL + "/v1", "allowed_hosts": []string{server.Listener.Addr().String()}}), nil)
	b.account.Secrets["ca"] = ours().pem
	return b
}

// set changes the account's settings.
func (b *bench) set(settings, more table) {
	s := maps.Clone(settings)
	maps.Copy(s, more)
	b.account.Settings = toJSON(b.t, s)
}

func TestTLS_TrustsTheOwnersCABesideTheSystems(t *testing.T) {
	b := secure(t, customhttpsim.Options{}, nil)
	if err := b.one(received(1)); err != nil {
		t.Error(err)
	}
	b.account.Secrets["ca"] = others().pem
	err := b.one(received(2))
	if codeOf(err) != core.CodeUnavailable || err.Scope != core.ScopeLane || !strings.Contains(err.Hint, "secret ca") {
		t.Errorf("signed by somebody else: %+v", err)
	}
	b.account.Secrets["ca"] = "MIIB"
	if err := b.one(received(3)); codeOf(err) != core.CodeUnauthenticated || !strings.Contains(err.Error(), "secrets.ca: has no certificate") {
		t.Errorf("no PEM: %+v", err)
	}
	if n := len(b.sim.Requests()); n != 1 {
		t.Errorf("%d requests came through", n)
	}
}

func TestTLS_ShowsTheClientsCertificate(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			b := secure(t, customhttpsim.Options{CommonName: "bridge"}, func(c *tls.Config) {
				c.MaxVersion, c.ClientAuth = version, tls.RequireAndVerifyClientCert
				c.ClientCAs = x509.NewCertPool()
				c.ClientCAs.AddCert(ours().cert)
			})
			show := func(cert, key core.Secret) {
				b.account.Secrets["client_cert"], b.account.Secrets["client_key"] = cert, key
			}
			show(ours().shows(t, "bridge"))
			if err := b.one(received(1)); err != nil {
				t.Error(err)
			}
			show(ours().shows(t, "somebody else"))
			if err := b.one(received(2)); codeOf(err) != core.CodeUnauthenticated {
				t.Errorf("with another's: %+v", err)
			}
			// The server ends the handshake. With TLS 1.3 the request was written by then,
			// and it is not always seen why the connection ended.
			show(others().shows(t, "bridge"))
			for range 2 {
				err := b.one(received(3))
				codes := []core.Code{core.CodeForbidden}
				if version == tls.VersionTLS13 {
					codes = append(codes, core.CodeUnknownOutcome, core.CodeUnavailable)
				}
				if !slices.Contains(codes, codeOf(err)) {
					t.Errorf("signed by somebody else: %+v", err)
				} else if !strings.Contains(err.Hint, "client_cert") {
					t.Errorf("the hint is %q", err.Hint)
				}
				show("", "")
			}
			if n := len(b.sim.Requests()); n != 2 {
				t.Errorf("%d requests came through", n)
			}
		})
	}
}

func TestTLS_SaysWhatIsWrongWithACertificate(t *testing.T) {
	b := secure(t, customhttpsim.Options{}, nil)
	cert, key := ours().shows(t, "bridge")
	_, another := ours().shows(t, "bridge")
	for _, c := range []struct {
		cert, key core.Secret
		want      string
	}{
		{cert, "", "secrets.client_key: missing"},
		{"", key, "secrets.client_cert: missing"},
		{cert, another, "secrets.client_key: tls: private key does not match public key"},
		{"x", key, "secrets.client_key: tls: failed to find any PEM data"},
	} {
		b.account.Secrets["client_cert"], b.account.Secrets["client_key"] = c.cert, c.key
		err := b.one(received(1))
		if codeOf(err) != core.CodeUnauthenticated || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestTLS_SpeaksNoVersionBelowTheLeast(t *testing.T) {
	b := secure(t, customhttpsim.Options{}, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
	if err := b.one(received(1)); err != nil {
		t.Error(err)
	}
	b.account.Settings = []byte(strings.Replace(string(b.account.Settings), "{", `{"tls":{"min_version":"1.3"},`, 1))
	if err := b.one(received(2)); codeOf(err) != core.CodeUnavailable || !strings.Contains(err.Hint, "settings.tls.min_version") {
		t.Errorf("%+v", err)
	}
}

// through puts a proxy before the bench, which dials where it is told.
func (b *bench) through(settings table, proxy *customhttpsim.Proxy) {
	b.t.Helper()
	server := httptest.NewServer(proxy)
	b.t.Cleanup(server.Close)
	settings = maps.Clone(settings)
	settings["proxy"] = server.URL
	settings["allowed_hosts"] = append([]string{server.Listener.Addr().String()}, settings["allowed_hosts"].([]string)...)
	b.account.Settings = toJSON(b.t, settings)
}

func TestProxy_LeadsToTheAPI(t *testing.T) {
	b := secure(t, customhttpsim.Options{Token: token}, nil)
	plain := httptest.NewServer(b.sim)
	t.Cleanup(plain.Close)
	target := ""
	proxy := &customhttpsim.Proxy{User: "lane", Password: "proxy-password-1", Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, target)
	}}
	auth := table{"auth": table{"type": "bearer"}}
	for _, c := range []struct {
		base, target, asked string
		allowed             []string
	}{
		// Only the proxy knows the name.
		{"https://crm.example.com/v1", baseOf(t, b), "CONNECT crm.example.com:443", nil},
		{"http://crm.example.com/v1", plain.Listener.Addr().String(), "POST http://crm.example.com/v1/notes", []string{"crm.example.com"}},
	} {
		before := len(b.sim.Requests())
		target = c.target
		s := notes("none", auth)
		s["base_url"], s["allowed_hosts"] = c.base, c.allowed
		b.through(s, proxy)
		for _, given := range []core.Secret{"", "lane:wrong-password-2"} {
			b.account.Secrets["proxy"] = given
			err := b.one(received(1))
			if codeOf(err) != core.CodeForbidden || !strings.Contains(err.Hint, "secret proxy") || strings.Contains(err.Error(), "password") {
				t.Errorf("%s, with %q: %+v", c.base, given.Reveal(), err)
			}
		}
		b.account.Secrets["proxy"] = "lane:proxy-password-1"
		if err := b.one(received(1)); err != nil {
			t.Errorf("%s: %v", c.base, err)
		}
		asked := proxy.Asked()
		if len(asked) == 0 || asked[len(asked)-1] != c.asked {
			t.Errorf("%s: the proxy was asked for %q, want %q", c.base, asked, c.asked)
		}
		if got := b.sim.Requests(); len(got) != before+1 {
			t.Errorf("%s: %d requests came through", c.base, len(got)-before)
		} else if got[before].Header.Get("Proxy-Authorization") != "" {
			t.Error("the API was told the proxy's password")
		}
	}
}

// baseOf returns the host and port of the bench's server.
func baseOf(t testing.TB, b *bench) string {
	t.Helper()
	_, rest, _ := strings.Cut(string(b.account.Settings), `"base_url":"https://`)
	address, _, ok := strings.Cut(rest, "/v1")
	if !ok {
		t.Fatal(string(b.account.Settings))
	}
	return address
}

func TestProxy_SaysWhyItDoesNotLeadThere(t *testing.T) {
	b := secure(t, customhttpsim.Options{}, nil)
	s := notes("none", table{"base_url": "https://crm.example.com/v1", "allowed_hosts": []string{}})
	b.through(s, &customhttpsim.Proxy{Lets: func(string) bool { return false }})
	if err := b.one(received(1)); codeOf(err) != core.CodeForbidden || !strings.Contains(err.Hint, "have the proxy let") {
		t.Errorf("not let through: %+v", err)
	}
	b.through(s, &customhttpsim.Proxy{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errNobody }})
	if err := b.one(received(1)); codeOf(err) != core.CodeUnavailable || err.Scope != core.ScopeLane || !strings.Contains(err.Hint, "settings.proxy") {
		t.Errorf("nobody behind it: %+v", err)
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	b.set(s, table{"proxy": gone.URL, "allowed_hosts": []string{gone.Listener.Addr().String()}})
	if err := b.one(received(1)); codeOf(err) != core.CodeUnavailable || err.Scope != core.ScopeLane || !strings.Contains(err.Hint, "settings.proxy") {
		t.Errorf("no proxy: %+v", err)
	}
	// A proxy at a private address is one that allowed_hosts names, whatever is behind it.
	b.set(s, table{"proxy": "https://localhost:1"})
	if err := b.one(received(1)); codeOf(err) != core.CodeForbidden || !strings.Contains(err.Error(), "private") {
		t.Errorf("a proxy that is not named: %+v", err)
	}
	b.account.Secrets["proxy"] = "lane"
	if err := b.one(received(1)); codeOf(err) != core.CodeUnauthenticated || !strings.Contains(err.Error(), "secrets.proxy: want user:password") {
		t.Errorf("%+v", err)
	}
}

func TestProxy_IsNoneThatTheEnvironmentNames(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	b := secure(t, customhttpsim.Options{}, nil)
	// Loopback is no host that net/http asks a proxy for: a name is.
	at := baseOf(t, b)
	b.connector.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != "crm.example.com:443" {
			t.Errorf("connected to %s", address)
		}
		return new(net.Dialer).DialContext(ctx, network, at)
	}
	b.set(notes("none", nil), table{"base_url": "https://crm.example.com/v1"})
	if err := b.one(received(1)); err != nil {
		t.Error(err)
	}
}
