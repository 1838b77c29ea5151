// Package scripts holds the scripts that ship with wabridge: the default one,
// examples, and what their authors need. They are files; nothing here runs.
package scripts

import (
	"embed"
	"io/fs"
)

//go:embed default.js tables wabridge.d.ts README.md examples
var files embed.FS

// DefaultName is the file name of the default script.
const DefaultName = "default.js"

// Default returns the script that a new tenant starts with.
func Default() []byte { return read(DefaultName) }

// Tables returns what the default script imports, by their paths beside it:
// tables/complaints.csv and the others.
func Tables() map[string][]byte {
	names, err := fs.Glob(files, "tables/*.csv")
	if err != nil || len(names) == 0 {
		panic("the tables are embedded")
	}
	tables := make(map[string][]byte, len(names))
	for _, name := range names {
		tables[name] = read(name)
	}
	return tables
}

// Types returns wabridge.d.ts: the types of what a script sees and returns, for
// editors.
func Types() []byte { return read("wabridge.d.ts") }

// Files returns all of it: default.js, tables/, wabridge.d.ts, README.md and examples/.
func Files() fs.FS { return files }

func read(name string) []byte {
	data, err := files.ReadFile(name)
	if err != nil {
		panic(err) // embedded: the build has it
	}
	return data
}
