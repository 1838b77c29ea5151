package boltstore

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core/store"
)

// The history is moved soon, also what was left of before when nothing comes after it, and
// what could not be moved at first.
func TestHistory_IsMovedSoon(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		note := func(s *Store, id string) {
			t.Helper()
			r := store.Record{Tenant: "acme", IDs: []string{id}, Time: time.Now(), Data: []byte(`{}`)}
			if _, err := s.Settle(t.Context(), store.Settlement{Record: []store.Record{r}}); err != nil {
				t.Fatal(err)
			}
		}
		lag := func(s *Store, want int) {
			t.Helper()
			synctest.Wait()
			if got := s.Stats().HistoryLag; got != want {
				t.Errorf("%d records are to be moved, want %d", got, want)
			}
		}
		s, stop := running(t, dir, small())
		note(s, "wamid.1")
		lag(s, 1)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		s, stop = running(t, dir, small())
		lag(s, 1)
		time.Sleep(moveEvery + time.Millisecond)
		lag(s, 0)

		// The month after, in the place of whose file is something else for now.
		time.Sleep(31 * 24 * time.Hour)
		inTheWay := filepath.Join(dir, "history", time.Now().UTC().Format("2006-01")+".db")
		if err := os.Mkdir(inTheWay, 0o700); err != nil {
			t.Fatal(err)
		}
		note(s, "wamid.2")
		time.Sleep(time.Minute)
		lag(s, 1)
		if err := os.Remove(inTheWay); err != nil {
			t.Fatal(err)
		}
		time.Sleep(moveEvery + time.Millisecond)
		lag(s, 0)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
