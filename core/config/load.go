package config

// Options are what Load needs to know beyond the files.
type Options struct {
	// Connectors are the names of the built-in ones. A lane's connector is one
	// of them or one of Config.Plugins. Nil checks no names.
	Connectors []string
	// Flags are settings by key path ("web.listen"); they win over everything.
	// Values are text as in the environment, or of the setting's own type.
	Flags map[string]any
	// Environ is the environment as "NAME=value"; nil is the process's own.
	Environ []string
}
