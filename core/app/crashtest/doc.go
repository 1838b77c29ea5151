// Package crashtest kills the whole bridge, the real program under load, again
// and again: by SIGKILL at random moments, at each named step, and by cutting
// the power of its disk. Then it asks the imitated vendors what they have, and
// counts what was lost or doubled. It counts the processes that outlive a bridge that
// was killed, and what is lost or doubled when a plugin is replaced under load, too.
// It has tests only: see `make crash`, `make orphans` and `make swaps`. The race
// detector is not in the program that is killed, so the tests do not run with it.
package crashtest
