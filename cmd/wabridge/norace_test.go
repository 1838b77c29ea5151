//go:build !race

package main

// raced is nil where the race detector is not in the processes: all scripts run.
var raced []string
