// Command wabridge connects WhatsApp with CRMs. It is one program in several
// roles: the bridge (`wabridge run`), the commands that talk to a running one,
// imitations of the vendors (`wabridge sim`, `wabridge demo`), and, started by
// the bridge itself, its plugins and script workers.
package main

import (
	"os"

	"github.com/wabridge/wabridge/core/script"
)

// version is set when releases are built.
var version = "dev"

func main() {
	// Before anything else: workers start often, and must be quick.
	if len(os.Args) == 2 && os.Args[1] == workerCommand {
		script.WorkerMain()
		return
	}
	os.Exit(program(os.Args, os.Stdout, os.Stderr))
}
