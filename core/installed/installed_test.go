package installed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func sha(n int) string { return fmt.Sprintf("%064x", n) }

func version(n int) Version { return Version{SHA256: sha(n), Version: fmt.Sprint(n)} }

func TestPlugin_KeepsTheLastVersionsAndTheOneBefore(t *testing.T) {
	var p Plugin
	for n := range keep {
		if gone := p.Use(version(n)); len(gone) > 0 {
			t.Fatalf("%v is gone", gone)
		}
	}
	p.Use(version(0)) // back to the oldest
	gone := p.Use(version(9))
	if len(gone) != 1 || gone[0].SHA256 != sha(1) {
		t.Errorf("gone is %v, want the oldest that neither runs nor ran before", gone)
	}
	if p.SHA256 != sha(9) || p.Before != sha(0) || len(p.Versions) != keep {
		t.Errorf("got %+v", p)
	}
	if _, ok := p.Version(sha(0)); !ok {
		t.Error("what ran before is gone")
	}
	anew := version(9)
	anew.Time = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	p.Use(anew) // it runs already, and was put there once more
	if v, _ := p.Version(sha(9)); !v.Time.Equal(anew.Time) || len(p.Versions) != keep {
		t.Errorf("put there anew, it is %v of %d", v, len(p.Versions))
	}
	if p.Before != sha(0) {
		t.Errorf("before is %s, want what it was", p.Before)
	}
}

func TestChange_IsDoneOneAtATimeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	if l, err := Read(dir); err != nil || len(l.Plugins) != 0 {
		t.Fatalf("nothing installed: %v, %v", l, err)
	}
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			err := Change(dir, func(l *Lock) error {
				var p Plugin
				p.Use(version(n))
				l.Plugins[fmt.Sprint("p", n)] = p
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	broken := errors.New("changed my mind")
	if err := Change(dir, func(l *Lock) error { clear(l.Plugins); return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if err := Change(dir, func(l *Lock) error { l.Plugins["p1"] = Plugin{SHA256: sha(99)}; return nil }); err == nil {
		t.Error("a version that is not there was made the one that runs")
	}
	l, err := Read(dir)
	if err != nil || len(l.Plugins) != 20 {
		t.Errorf("%d plugins are installed (%v), want 20", len(l.Plugins), err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, folder, ".*"))
	if len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestHold_IsForOneAtATime(t *testing.T) {
	dir := t.TempDir()
	release, err := Hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Hold(dir); !errors.Is(err, ErrHeld) {
		t.Errorf("a second one: %v, want ErrHeld", err)
	}
	if err := Change(dir, func(*Lock) error { return nil }); err != nil {
		t.Errorf("who holds cannot change it: %v", err)
	}
	release()
	release, err = Hold(dir)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	release()
}

func TestRead_RefusesALockThatLeavesTheFolder(t *testing.T) {
	for _, text := range []string{
		`{"plugins":{"../x":{"sha256":"` + sha(1) + `","versions":[{"sha256":"` + sha(1) + `"}]}}}`,
		`{"plugins":{"x":{"sha256":"../../etc","versions":[{"sha256":"../../etc"}]}}}`,
		`{"plugins":{"x":{"sha256":"` + sha(1) + `"}}}`,
		`{"plugins":`,
		strings.Repeat(" ", maxLock+1),
	} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Dir(File(dir)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(File(dir), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if l, err := Read(dir); err == nil || len(l.Plugins) > 0 {
			t.Errorf("%.60s: got %v, %v", text, l, err)
		}
	}
}
