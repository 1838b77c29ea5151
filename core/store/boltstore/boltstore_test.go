package boltstore

import (
	"testing"

	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/store/storetest"
)

func TestStore_DoesWhatEveryStoreMust(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		dir := t.TempDir()
		return func(t *testing.T) (store.Store, func() error) {
			s, err := Open(dir, Options{MinFree: -1, BallastSize: -1})
			if err != nil {
				t.Fatal(err)
			}
			return s, s.Close
		}
	})
}
