//go:build race

package script_test

// slower is how many times slower scripts may run: the worker is this binary,
// with the race detector in it.
const slower = 6
