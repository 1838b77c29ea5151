//go:build race

package main

// raced are the scripts that run with the race detector in every process: those in
// which most happens at once. All of them run without it, in `make test`.
var raced = []string{"road", "stop", "off", "escalation", "api", "plugin-install"}
