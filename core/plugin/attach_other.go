//go:build !linux

package plugin

import "time"

// watchSocket cannot tell here who listens: the bridge notices by its calls.
func watchSocket([]byte) (gone func(), err error) {
	return func() { <-time.After(attachTimeout) }, nil
}
