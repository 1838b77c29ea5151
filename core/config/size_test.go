package config_test

import (
	"testing"

	"github.com/wabridge/wabridge/core/config"
)

func TestParseSize_ReadsWhatStringWrites(t *testing.T) {
	for text, want := range map[string]config.Size{
		"0B": 0, "1B": 1, "1000B": 1000, "1KiB": 1 << 10, "64MiB": 64 << 20, "4GiB": 4 << 30, "2TiB": 2 << 40, "1025KiB": 1025 << 10,
	} {
		got, err := config.ParseSize(text)
		if err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", text, int64(got), err, int64(want))
		}
		if got := want.String(); got != text {
			t.Errorf("Size(%d).String() = %q, want %q", int64(want), got, text)
		}
	}
}

func TestParseSize_ReadsOtherForms(t *testing.T) {
	for text, want := range map[string]config.Size{
		"17": 17, " 4 GiB ": 4 << 30, "1gib": 1 << 30, "5kB": 5000, "5MB": 5e6, "1GB": 1e9, "1TB": 1e12, "8388607TiB": 8388607 << 40,
	} {
		if got, err := config.ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", text, int64(got), err, int64(want))
		}
	}
	for _, text := range []string{"", "B", "GiB", "1.5GiB", "-1", "-1MiB", "8388608TiB", "1XB", "ten"} {
		if got, err := config.ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, int64(got))
		}
	}
}
