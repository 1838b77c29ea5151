package app

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"

	"github.com/wabridge/wabridge/core/broker"
)

// sealer keeps secrets in the store: who has a copy of the store but not of the key
// beside it cannot read them.
type sealer struct{ aead cipher.AEAD }

var _ broker.Sealer = sealer{}

// newSealer returns a sealer with a key of 32 bytes.
func newSealer(key []byte) (sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, err
	}
	aead, err := cipher.NewGCM(block)
	return sealer{aead}, err
}

// Seal implements [broker.Sealer].
func (s sealer) Seal(plain, belong []byte) ([]byte, error) {
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return s.aead.Seal(nonce, nonce, plain, belong), nil
}

// Open implements [broker.Sealer].
func (s sealer) Open(sealed, belong []byte) ([]byte, error) {
	n := s.aead.NonceSize()
	if len(sealed) < n {
		return nil, fmt.Errorf("%d bytes", len(sealed))
	}
	return s.aead.Open(nil, sealed[:n], sealed[n:], belong)
}
