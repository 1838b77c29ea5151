//go:build !race

package script_test

// slower is how many times slower scripts may run.
const slower = 1
