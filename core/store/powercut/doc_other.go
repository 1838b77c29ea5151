//go:build !linux

// Package powercut makes disks whose power can be cut, on Linux.
package powercut
