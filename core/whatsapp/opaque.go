package whatsapp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// Intent names one attempt to send one message, as it comes back with each
// status of that message.
type Intent struct {
	// Hash is the [IntentHash] of the message.send event's ID.
	Hash [16]byte
	// Attempt is the delivery's; those beyond 255 are 255.
	Attempt int
}

// opaqueForm is the form of an opaque text: w1.<hash, attempt, MAC>.
const (
	opaquePrefix = "w1."
	opaqueMAC    = 8
	opaqueLength = 16 + 1 + opaqueMAC
)

// opaqueText is strict: there is one text for each intent.
var opaqueText = base64.RawURLEncoding.Strict()

// IntentHash shortens an event's ID to what an opaque text has room for.
func IntentHash(eventID string) [16]byte {
	sum := sha256.Sum256([]byte(eventID))
	return [16]byte(sum[:16])
}

// Opaque returns the biz_opaque_callback_data of an attempt to deliver the event.
// Every app that is subscribed to the business account sees it, so it tells
// nothing about anybody; the key, which only the bridge has, proves that it is
// ours.
func Opaque(key []byte, eventID string, attempt int) string {
	var b [opaqueLength]byte
	hash := IntentHash(eventID)
	copy(b[:], hash[:])
	b[16] = byte(min(max(attempt, 0), 255))
	copy(b[17:], opaqueSum(key, b[:17]))
	return opaquePrefix + opaqueText.EncodeToString(b[:])
}

// ParseOpaque reads what Opaque made with the same key. It is false for anything
// else: the text comes from outside.
func ParseOpaque(key []byte, s string) (Intent, bool) {
	text, ok := strings.CutPrefix(s, opaquePrefix)
	if !ok || len(text) != opaqueText.EncodedLen(opaqueLength) {
		return Intent{}, false
	}
	b, err := opaqueText.DecodeString(text)
	// Decoding skips line breaks, so that there can be less in it than its length says.
	if err != nil || len(b) != opaqueLength || !hmac.Equal(b[17:], opaqueSum(key, b[:17])) {
		return Intent{}, false
	}
	return Intent{Hash: [16]byte(b[:16]), Attempt: int(b[16])}, true
}

func opaqueSum(key, data []byte) []byte {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(opaquePrefix))
	_, _ = mac.Write(data)
	return mac.Sum(nil)[:opaqueMAC]
}
