//go:build !race

package broker

// fewer is how many times fewer random histories there are.
const fewer = 1
