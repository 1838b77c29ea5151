// Package plugin is the boundary between the bridge and the process in which a
// connector runs.
//
// # For authors of connectors
//
// A third-party plugin is a program of its own whose main calls [Serve]:
//
//	func main() {
//		plugin.Serve(acme.New())
//	}
//
// Log with log/slog or to standard error; what is printed to standard output is
// logged too. The environment is empty and the working directory is private to
// the process and goes away with it. The process may be killed at any moment.
// Package connectortest says whether the connector does what it must. Authors in
// other languages read connector.proto, and docs/plugins where to begin. What is
// warned of while Check runs (slog.Warn, with an attribute "hint") is shown by
// wabridge check --online: it is where to say that something soon will be wrong.
//
// # For the bridge
//
// A [Launcher] says how to start a plugin: the bridge's own program again for
// one that is built in, or a path with the SHA-256 of what must be there: a program,
// or a folder whose [Manifest] has the sums of its files. A
// [Host] keeps one process alive for one lane, starts it again when it dies,
// stops trying when it keeps dying, and is the lane's [core.Sink].
//
// # What a plugin cannot do
//
// It cannot outlive the bridge (what it started itself ends with it too, or, where the
// bridge was killed, when the next one starts a plugin), block it (each call has a deadline), fill its
// memory or logs (both are capped), see its environment, answer for events that
// it was not asked about, or run with other bytes than those whose SHA-256 is
// configured. It runs as the bridge's user, though: what that user may read and
// connect to, a plugin may too.
package plugin
