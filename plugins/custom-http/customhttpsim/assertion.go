package customhttpsim

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

const jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer" //nolint:gosec // a name

// assertion checks a JWT as https://www.rfc-editor.org/rfc/rfc7523#section-3 says. Each is
// good once, and for 5 minutes at most.
func (s *Sim) assertion(text string, now time.Time) error {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return errors.New("not a JWT")
	}
	var raw [3][]byte
	for i, part := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			return errors.New("not base64url")
		}
	}
	var header struct{ Alg, Typ, Kid string }
	var claims struct {
		Iss, Sub, Aud, Jti string
		Iat, Exp           int64
	}
	if json.Unmarshal(raw[0], &header) != nil || json.Unmarshal(raw[1], &claims) != nil {
		return errors.New("not JSON")
	}
	if !s.verifies(header.Alg, []byte(parts[0]+"."+parts[1]), raw[2]) {
		return errors.New("the signature is wrong")
	}
	ends := time.Unix(claims.Exp, 0)
	switch {
	case claims.Iss != s.opts.ClientID:
		return fmt.Errorf("iss is %q", claims.Iss)
	case claims.Sub == "":
		return errors.New("no sub")
	case !strings.HasSuffix(claims.Aud, "/oauth/token"):
		return fmt.Errorf("aud is %q", claims.Aud)
	case !now.Before(ends) || ends.Sub(now) > 5*time.Minute || time.Unix(claims.Iat, 0).After(now):
		return errors.New("not now")
	case claims.Jti == "":
		return errors.New("no jti")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.assertions[claims.Jti] {
		return errors.New("known already")
	}
	if s.assertions == nil {
		s.assertions = make(map[string]bool)
	}
	s.assertions[claims.Jti] = true
	return nil
}

func (s *Sim) verifies(alg string, text, signature []byte) bool {
	sum := sha256.Sum256(text)
	switch key := s.opts.PublicKey.(type) {
	case *rsa.PublicKey:
		return alg == "RS256" && rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
	case *ecdsa.PublicKey:
		if alg != "ES256" || len(signature) != 64 {
			return false
		}
		return ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	}
	mac := hmac.New(sha256.New, []byte(s.opts.ClientSecret))
	mac.Write(text)
	return alg == "HS256" && s.opts.ClientSecret != "" && bytes.Equal(mac.Sum(nil), signature)
}
