//go:build race

package broker

import "flag"

// fewer is how many times fewer random histories there are. What holds in all of them
// is shown without the race detector, with which they take five times as long; races
// are found in few.
const fewer = 4

func init() {
	if err := flag.Set("rapid.checks", "25"); err != nil {
		panic(err)
	}
}
