//go:build linux

package boltstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/store/powercut"
)

// smallDisk makes one of 8 MiB, of which the ballast takes 2.
func smallDisk(t *testing.T) (dir string, o Options) {
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m,mode=0700"); err != nil {
		t.Skipf("NOT TESTED HERE: a small disk needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	o = small()
	o.BallastSize = 2 << 20
	return dir, o
}

// A full disk: what is new is refused, what is inside is finished, and when there
// is room again everything goes on by itself.
func TestStore_OnAFullDiskRefusesWhatIsNewAndFinishesTheRest(t *testing.T) {
	for _, c := range []struct {
		name   string
		disk   func(t *testing.T) (dir string, o Options)
		others int // bytes that others write when it is full
	}{
		{name: "at its own largest size", disk: func(t *testing.T) (string, Options) {
			o := small()
			o.MaxSize = 2 << 20
			return t.TempDir(), o
		}},
		{name: "a disk without room", disk: smallDisk},
		{name: "a disk without room for the ballast, either", disk: smallDisk, others: 1 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, o := c.disk(t)
			s, stop := running(t, dir, o)
			taken := map[string]bool{}
			data := strings.Repeat("x", 4000)
			var full error
			for i := 0; full == nil; i++ {
				id := fmt.Sprintf("wamid.%06d", i)
				switch err := add(t, s, id, data); {
				case errors.Is(err, store.ErrFull):
					full = err
				case err != nil:
					t.Fatalf("after %d items: %v", i, err)
				case i > 5000:
					t.Fatal("the disk never gets full")
				default:
					taken[id] = true
				}
			}
			t.Logf("full after %d items", len(taken))
			// It says so until it has looked again, which is soon, and when the next is refused.
			said := s.Stats().Full
			for i := 0; !said && i < 100; i++ {
				id := fmt.Sprintf("wamid.more%06d", i)
				switch err := add(t, s, id, data); {
				case err == nil:
					taken[id] = true
				case !errors.Is(err, store.ErrFull):
					t.Fatal(err)
				}
				said = s.Stats().Full
			}
			if !said {
				t.Error("the store does not say that it is full")
			}

			for c.others > 0 {
				_ = os.Remove(filepath.Join(dir, "ballast")) // whichever is there first
				if err := os.WriteFile(filepath.Join(dir, "others"), make([]byte, c.others), 0o600); err == nil {
					break
				} else if !errors.Is(err, unix.ENOSPC) {
					t.Fatal(err)
				}
			}

			// What is inside is finished: half of it now.
			half, done := len(taken)/2, 0
			for done < half {
				ds, err := s.Fetch(t.Context(), inbox, 20, time.Minute)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Settle(t.Context(), store.Settlement{Ack: ds}); err != nil {
					t.Fatalf("ack after %d: %v", done, err)
				}
				for _, d := range ds {
					if !taken[d.ID] {
						t.Errorf("%s was handed out, but never taken", d.ID)
					}
					delete(taken, d.ID)
				}
				done += len(ds)
			}
			if err := stop(); err != nil {
				t.Fatal(err)
			}

			// Nothing that was taken is lost, and there is room again.
			s, _ = running(t, dir, o)
			got := peeked(t, s)
			for id := range taken {
				if got[id] != data {
					t.Errorf("%s was taken, and is lost", id)
				}
			}
			if len(got) != len(taken) {
				t.Errorf("%d items are there, want %d", len(got), len(taken))
			}
			room := time.After(10 * time.Second)
			for {
				err := add(t, s, "wamid.again", data)
				if err == nil {
					break
				}
				if !errors.Is(err, store.ErrFull) {
					t.Fatal(err)
				}
				select {
				case <-room:
					t.Fatalf("refused 10 s after there was room again: %v", err)
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
	}
}

// Without room for the ballast, and nothing free within the file, nothing new is taken: it
// could not be finished.
func TestStore_TakesNothingThatItCouldNotFinish(t *testing.T) {
	dir, o := smallDisk(t)
	others := filepath.Join(dir, "others")
	if err := os.WriteFile(others, make([]byte, 13<<19), 0o600); err != nil { // 1.5 MiB are left
		t.Fatal(err)
	}
	s, stop := running(t, dir, o)
	if err := add(t, s, "wamid.1", "hello"); !errors.Is(err, store.ErrFull) {
		t.Errorf("got %v, want that it is full", err)
	}
	if err := errors.Join(stop(), os.Remove(others)); err != nil {
		t.Fatal(err)
	}
	s, _ = running(t, dir, o)
	if err := add(t, s, "wamid.2", "hello"); err != nil {
		t.Error(err)
	}
}

// A store that had rested looks every second again when it is full.
func TestStore_TakesAgainSoonAfterThereIsRoom(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o := small()
		o.MaxSize = 2 << 20
		s, stop := running(t, dir, o)
		time.Sleep(5 * time.Second) // nothing is written
		data := strings.Repeat("x", 4000)
		var full error
		for i := 0; full == nil; i++ {
			if full = add(t, s, fmt.Sprintf("wamid.%06d", i), data); i > 5000 {
				t.Fatal("it never gets full")
			}
		}
		if !errors.Is(full, store.ErrFull) {
			t.Fatal(full)
		}
		for range 20 {
			ds, err := s.Fetch(t.Context(), inbox, 10, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Settle(t.Context(), store.Settlement{Ack: ds}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Second) // one look says that it was refused something, the next that there is room
		if err := add(t, s, "wamid.again", data); err != nil {
			t.Errorf("three seconds after there was room: %v", err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// After a commit that failed nobody knows what is in the file: the store must
// not go on.
func TestStore_GivesUpWhenTheDiskFails(t *testing.T) {
	disk := cuttable(t)
	dir := disk.Path() + "/data"
	s, err := Open(dir, small())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	if err := add(t, s, "wamid.1", "kept"); err != nil {
		t.Fatal(err)
	}
	if err := disk.Fail(); err != nil {
		t.Fatal(err)
	}
	if err := add(t, s, "wamid.2", "?"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("got %v, want that the store gave up", err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "not known") {
		t.Errorf("Run returned %v", err)
	}
	if err := add(t, s, "wamid.3", "?"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("got %v, want that the store stays closed", err)
	}
	_ = s.Close()
	if err := errors.Join(disk.Unmount(), disk.Mount()); err != nil {
		t.Fatal(err)
	}
	s, _ = running(t, dir, small())
	got := peeked(t, s)
	if got["wamid.1"] != "kept" || got["wamid.3"] != "" {
		t.Errorf("after the disk came back: %v", got)
	}
}

// A power cut while a store is made leaves one that can be opened.
func TestOpen_SurvivesAPowerCutWhileItMakesTheStore(t *testing.T) {
	disk := cuttable(t)
	for i := range 12 {
		dir := fmt.Sprintf("%s/data-%d", disk.Path(), i)
		opened := make(chan error, 1)
		go func() {
			s, err := Open(dir, small())
			if err == nil {
				_ = s.Close()
			}
			opened <- err
		}()
		<-time.After(time.Duration(i) * 400 * time.Microsecond)
		if err := disk.Fail(); err != nil {
			t.Fatal(err)
		}
		<-opened // whatever came of it
		if err := errors.Join(disk.Unmount(), disk.Mount()); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir, small())
		if err != nil {
			_, stat := os.Stat(dir)
			t.Fatalf("cut %d: %v (%v)", i, err, stat)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func cuttable(t *testing.T) *powercut.Disk {
	t.Helper()
	if err := powercut.Available("ext4"); err != nil {
		t.Skipf("NOT TESTED HERE: power cuts: %v", err)
	}
	disk, err := powercut.New(t.TempDir(), "ext4")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := disk.Close(); err != nil {
			t.Error(err)
		}
	})
	return disk
}
