//go:build linux

package powercut_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/wabridge/wabridge/core/store/powercut"
)

func TestDisk_KeepsWhatWasSyncedAndLosesWhatWasNot(t *testing.T) {
	for _, fs := range []string{"ext4", "xfs"} {
		t.Run(fs, func(t *testing.T) {
			if err := powercut.Available(fs); err != nil {
				t.Skipf("NOT TESTED HERE: %v", err)
			}
			d, err := powercut.New(t.TempDir(), fs)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}()
			write := func(name string, sync bool) {
				f, err := os.Create(filepath.Join(d.Path(), name))
				if err != nil {
					t.Fatal(err)
				}
				_, err = f.WriteString("data")
				if sync {
					err = errors.Join(err, f.Sync())
				}
				if err = errors.Join(err, f.Close()); err != nil {
					t.Fatal(err)
				}
			}
			write("synced", true)
			write("unsynced", false)
			if err := d.Cut(); err != nil {
				t.Fatal(err)
			}
			if err := d.Mount(); err != nil {
				t.Fatal(err)
			}
			if data, err := os.ReadFile(filepath.Join(d.Path(), "synced")); err != nil || string(data) != "data" {
				t.Errorf("synced: %q, %v", data, err)
			}
			if data, _ := os.ReadFile(filepath.Join(d.Path(), "unsynced")); len(data) > 0 {
				t.Errorf("unsynced: %q is still there: this is no power cut", data)
			}
		})
	}
}
