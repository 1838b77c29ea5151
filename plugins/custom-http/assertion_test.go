package customhttp_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

func TestAssertion_IsTakenForAToken(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ecKey := certify(nil, "a key")
	ecDER, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	inPEM := func(kind string, der []byte) core.Secret {
		return core.Secret(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	rsaPEM, ecPEM := inPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), inPEM("EC PRIVATE KEY", ecDER)
	_, otherPEM := ours().shows(t, "another key")
	for algorithm, c := range map[string]struct {
		public     crypto.PublicKey
		name       string
		key, wrong core.Secret
	}{
		"RS256": {&rsaKey.PublicKey, "private_key", rsaPEM, ""},
		"ES256": {&ecKey.PublicKey, "private_key", ecPEM, otherPEM},
		"HS256": {nil, "client_secret", appSecret, "another-secret-2"},
	} {
		t.Run(algorithm, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				auth := table{"type": "oauth2", "grant": "jwt_bearer", "client_id": "app 1", "token_url": "http://crm.test/oauth/token", "algorithm": algorithm,
					"key_id": "key-1", "claims": table{"sub": "bridge@example.com"}}
				b := start(t, customhttpsim.Options{ClientID: "app 1", ClientSecret: appSecret, PublicKey: c.public, TokenLife: time.Hour}, notes("none", table{"auth": auth}), nil)
				b.account.Secrets = map[string]core.Secret{c.name: c.key}
				for i := range 2 { // no assertion twice
					if err := b.signIn(); err != nil {
						t.Fatal(err)
					}
					if err := b.one(received(i)); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Hour)
				}
				if asked := b.sim.Requests()[0].Body; strings.Contains(asked, "client_secret") {
					t.Errorf("asked with %s", asked)
				}
				b.account.Secrets[c.name] = ""
				if err := core.AsError(b.signIn()); err == nil || err.Code != core.CodeUnauthenticated || !strings.Contains(err.Error(), "secrets."+c.name) {
					t.Errorf("without: %v", err)
				}
				if b.account.Secrets[c.name] = c.wrong; c.wrong == "" {
					b.account.Secrets[c.name] = ecPEM
					if err := core.AsError(b.signIn()); err == nil || !strings.Contains(err.Error(), "secrets.private_key: is no key for RS256") {
						t.Errorf("of another kind: %v", err)
					}
					return
				}
				// The sim quotes the assertion, which counts for a while.
				err := core.AsError(b.signIn())
				if err == nil || err.Code != core.CodeUnauthenticated || !strings.Contains(err.Hint, c.name) || strings.Contains(err.Error(), "eyJ") {
					t.Errorf("another's: %+v", err)
				}
			})
		})
	}
}
