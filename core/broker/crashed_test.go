package broker

import (
	"os"
	"path/filepath"
)

// crashed returns a copy of the data as it is on disk now: what a process that
// is killed at this moment leaves behind. The bridge must be at rest.
func (b *bridge) crashed() string {
	b.Helper()
	to := b.TempDir()
	if err := os.CopyFS(filepath.Join(to, "data"), os.DirFS(b.dir)); err != nil {
		b.Fatal(err)
	}
	return filepath.Join(to, "data")
}
