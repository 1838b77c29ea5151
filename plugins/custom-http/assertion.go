package customhttp

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/wabridge/wabridge/core"
)

// jwtBearer is the grant for an assertion that the lane signs itself, and its name on the
// wire: https://www.rfc-editor.org/rfc/rfc7523#section-2.1.
const (
	jwtBearer     = "jwt_bearer"
	jwtBearerWire = "urn:ietf:params:oauth:grant-type:jwt-bearer" //nolint:gosec // a name
)

// privateKey is the secret that an assertion is signed with; with HS256 it is [clientSecret].
const privateKey = "private_key"

// assertionLife is how long one counts. Servers take minutes, some no more than 5.
const assertionLife = 3 * time.Minute

// assertion is a JWT to be signed.
type assertion struct {
	algorithm string
	keyID     string
	claims    map[string]any // but iat, exp and jti
}

func (c *planner) assertion(a *authSettings) *assertion {
	const where = "settings.auth"
	s := &assertion{algorithm: cmp.Or(a.Algorithm, "RS256"), keyID: a.KeyID, claims: map[string]any{"aud": a.TokenURL}}
	if !slices.Contains([]string{"RS256", "ES256", "HS256"}, s.algorithm) {
		c.addf(where+".algorithm", "want RS256, ES256 or HS256")
	}
	if a.ClientID != "" {
		s.claims["iss"] = a.ClientID
	}
	for _, name := range sortedKeys(a.Claims) {
		if slices.Contains([]string{"iat", "exp", "nbf", "jti"}, name) {
			c.addf(where+".claims."+name, "is set for each assertion")
		}
		s.claims[name] = a.Claims[name]
	}
	if s.claims["iss"] == nil {
		c.addf(where+".claims.iss", "missing: who asks; client_id unless set")
	}
	return s
}

// secret is the name of what it is signed with.
func (s *assertion) secret() string {
	if s.algorithm == "HS256" {
		return clientSecret
	}
	return privateKey
}

// sign makes an assertion: https://www.rfc-editor.org/rfc/rfc7515#section-7.1.
func (s *assertion) sign(secret core.Secret, now time.Time) (core.Secret, *core.Error) {
	if secret == "" {
		return "", missingSecret(s.secret(), "missing")
	}
	header := map[string]any{"alg": s.algorithm, "typ": "JWT"}
	if s.keyID != "" {
		header["kid"] = s.keyID
	}
	claims := map[string]any{"iat": now.Unix(), "exp": now.Add(assertionLife).Unix(), "jti": rand.Text()}
	maps.Copy(claims, s.claims)
	head, err := json.Marshal(header)
	if err != nil {
		return "", core.Errorf(core.CodeInvalid, "sign-in", "header: %w", err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", core.Errorf(core.CodeInvalid, "sign-in", "claims: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(body)
	signature, err := s.signature(secret, text)
	if err != nil {
		return "", missingSecret(s.secret(), err.Error())
	}
	return core.Secret(text + "." + base64.RawURLEncoding.EncodeToString(signature)), nil
}

// signature is that of https://www.rfc-editor.org/rfc/rfc7518#section-3.1. Its errors say
// what is wrong with the secret, and do not show it.
func (s *assertion) signature(secret core.Secret, text string) ([]byte, error) {
	if s.algorithm == "HS256" {
		mac := hmac.New(sha256.New, []byte(secret.Reveal()))
		mac.Write([]byte(text))
		return mac.Sum(nil), nil
	}
	key, err := parseKey([]byte(secret.Reveal()))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(text))
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if s.algorithm == "RS256" {
			return rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		}
	case *ecdsa.PrivateKey:
		if s.algorithm == "ES256" && key.Curve == elliptic.P256() {
			r, z, err := ecdsa.Sign(rand.Reader, key, sum[:])
			if err != nil {
				return nil, err
			}
			signature := make([]byte, 64) // both numbers, not ASN.1
			r.FillBytes(signature[:32])
			z.FillBytes(signature[32:])
			return signature, nil
		}
	}
	return nil, errors.New("is no key for " + s.algorithm + " (settings.auth.algorithm)")
}

func parseKey(text []byte) (any, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("is not PEM")
	}
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	return nil, errors.New("is no unencrypted private key")
}
