package whatsapp_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core/whatsapp"
)

var opaqueKey = bytes.Repeat([]byte("k"), 32)

func TestOpaque_ComesBackAsTheIntent(t *testing.T) {
	for attempt, want := range map[int]int{1: 1, 2: 2, 255: 255, 256: 255, 100000: 255, 0: 0, -1: 0} {
		s := whatsapp.Opaque(opaqueKey, "wamid.X#2", attempt)
		got, ok := whatsapp.ParseOpaque(opaqueKey, s)
		if !ok || got.Hash != whatsapp.IntentHash("wamid.X#2") || got.Attempt != want {
			t.Errorf("attempt %d: %+v, %v", attempt, got, ok)
		}
	}
	if whatsapp.IntentHash("a") == whatsapp.IntentHash("b") {
		t.Error("two events, one hash")
	}
}

func TestOpaque_TellsNothingAndFits(t *testing.T) {
	s := whatsapp.Opaque(opaqueKey, "api-acme-+34600111222", 1)
	if len(s) > 64 || !strings.HasPrefix(s, "w1.") {
		t.Errorf("%q has %d characters; Meta takes 512, and we want few", s, len(s))
	}
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
		t.Errorf("%q has characters that somebody may escape", s)
	}
	if s == whatsapp.Opaque(opaqueKey, "api-acme-+34600111222", 2) {
		t.Error("two attempts share a text")
	}
}

func TestParseOpaque_RefusesWhatIsNotOurs(t *testing.T) {
	good := whatsapp.Opaque(opaqueKey, "e1", 1)
	bad := map[string]string{
		"empty": "", "prefix": "w1.", "other form": "w2" + good[2:], "shorter": good[:len(good)-1], "longer": good + "A",
		"padded": good + "=", "somebody's own": "order-4711", "another key": whatsapp.Opaque([]byte("another key of 24 bytes.."), "e1", 1),
		"line break": good[:10] + "\n" + good[10:], "line breaks in place of some": good[:10] + "\n\n\n\n" + good[14:], "standard alphabet": strings.Replace(good, good[5:6], "+", 1),
	}
	for i := range good {
		flipped := []byte(good)
		if flipped[i] == 'A' {
			flipped[i] = 'B'
		} else {
			flipped[i] = 'A'
		}
		bad["flipped "+string(rune('a'+i))] = string(flipped)
	}
	for name, s := range bad {
		if in, ok := whatsapp.ParseOpaque(opaqueKey, s); ok {
			t.Errorf("%s: %q is taken for %+v", name, s, in)
		}
	}
}

func FuzzParseOpaque(f *testing.F) {
	f.Add(whatsapp.Opaque(opaqueKey, "e1", 1), "e1", 1)
	f.Add("w1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "", 255)
	f.Fuzz(func(t *testing.T, s, event string, attempt int) {
		if in, ok := whatsapp.ParseOpaque(opaqueKey, s); ok {
			// Whoever has no key can only repeat what we wrote.
			if s != whatsapp.Opaque(opaqueKey, "e1", in.Attempt) && s != whatsapp.Opaque(opaqueKey, event, in.Attempt) {
				t.Errorf("%q is taken for %+v", s, in)
			}
		}
		in, ok := whatsapp.ParseOpaque(opaqueKey, whatsapp.Opaque(opaqueKey, event, attempt))
		if !ok || in.Hash != whatsapp.IntentHash(event) || in.Attempt != min(max(attempt, 0), 255) {
			t.Errorf("%q, %d came back as %+v, %v", event, attempt, in, ok)
		}
	})
}
