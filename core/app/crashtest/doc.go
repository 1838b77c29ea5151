// Package crashtest kills the whole bridge, the real program under load, again
// and again, and counts what is lost or doubled: see its tests, and `make crash`.
package crashtest
