package contact_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
)

func TestWritten_IsHowNumbersEnd(t *testing.T) {
	for number, want := range map[string][]string{
		"+34600123456":  {"600123456", "600 12 34 56"},
		"+12025550123":  {"2025550123", "202-555-0123", "(202) 555-0123"},
		"+33612345678":  {"612345678", "6 12 34 56 78"},
		"+551187654321": {"11987654321", "11 98765-4321", "(11) 98765-4321", "1187654321"},
	} {
		if diff := cmp.Diff(want, contact.Written(core.Address{Kind: core.AddressPhone, Value: number})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", number, diff)
		}
	}
	if got := contact.Written(core.Address{Kind: core.AddressBSUID, Value: "US.13491208655302741918"}); got != nil {
		t.Errorf("got %q for somebody without a number", got)
	}
}
