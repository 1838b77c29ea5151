package core_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/wabridge/wabridge"

// room is a place in the house: packages that may import those of the rooms
// above, and not each other.
type room struct {
	// packages are path patterns within the module (see [path.Match]).
	packages []string
	// why the room is where it is.
	why string
	// only, unless nil, are the packages of ours that the room may import.
	only []string
	// std allows nothing but the standard library.
	std bool
	// tests allows importing package testing: the room is for tests.
	tests bool
}

// rooms are the layers, the lowest first, as docs/ARCHITECTURE.md draws them.
var rooms = []room{
	{packages: []string{"core"}, std: true,
		why: "the words; a plugin author imports them and nothing else of ours"},
	{packages: []string{"core/memnet"}, std: true, only: []string{},
		why: "connections in memory: knows nothing of bridges"},
	{packages: []string{"core/limit"}, std: true, only: []string{},
		why: "arithmetic of rates: knows nothing of what it limits"},
	{packages: []string{"core/rate"}, only: []string{"core"},
		why: "prices as arithmetic: which country and category a message is of, others tell it"},
	{packages: []string{"core/spelling"}, std: true, only: []string{},
		why: "letters: knows no words of ours but those it is given"},
	{packages: []string{"scripts"}, std: true, only: []string{},
		why: "files that are embedded, no code that runs"},
	{packages: []string{"core/plugin/internal/connectorpb"}, only: []string{},
		why: "generated; the wire is private to core/plugin"},
	{packages: []string{"core/plugin/internal/connectorpb/generate"}, only: []string{},
		why: "the command that writes the row above; no part of the bridge"},
	{packages: []string{"core/fault"}, std: true, only: []string{},
		why: "when an imitation misbehaves: knows no vendor, and nothing that is tested with it"},
	{packages: []string{"plugins/salesforce/pubsubpb"}, only: []string{},
		why: "generated; a vendor's wire, which the connector and the imitation speak"},
	{packages: []string{"core/whatsapp/whatsappsim", "plugins/*/*sim"}, only: []string{"core/fault", "plugins/salesforce/pubsubpb"},
		why: "a sim that shared code with us would share our mistakes; and it runs outside tests"},
	{packages: []string{"core/durable"}, std: true, only: []string{},
		why: "files that survive a power cut: for whoever keeps some"},
	{packages: []string{"core/media"}, std: true, only: []string{"core/durable"},
		why: "files by what is in them, and their addresses: it does not know whose they are"},
	{packages: []string{"core/store"}, only: []string{},
		why: "what is asked of a store, without words of messaging: bytes, ids, times"},
	{packages: []string{"core/template"}, only: []string{"core"},
		why: "what templates ask for, as arithmetic: it knows neither who sends them nor where they are kept"},
	{packages: []string{"core/whatsapp"},
		why: "one sink: knows the words and its vendor, not who calls it"},
	{packages: []string{"core/contact"}, only: []string{"core"},
		why: "who an address belongs to, and the parts of a name: arithmetic of phone numbers, knows no store and no bridge"},
	{packages: []string{"core/campaign"}, only: []string{"core", "core/contact", "core/rate"},
		why: "how far a campaign has come, and when it must stop, as arithmetic: it stores nothing and sends nothing"},
	{packages: []string{"core/roster"}, only: []string{"core", "core/contact"},
		why: "lists of people as spreadsheets save them: it knows nobody yet, and changes nothing"},
	{packages: []string{"core/consent"}, only: []string{"core"},
		why: "what a person agreed to, as arithmetic: it stores nothing and sends nothing"},
	{packages: []string{"core/escalation"}, only: []string{"core"},
		why: "who should answer and by when, as arithmetic: it reads no clock"},
	{packages: []string{"core/mapping"}, only: []string{"core", "core/contact", "core/spelling"},
		why: "whose value of a property counts, as arithmetic: it asks no CRM and stores nothing"},
	{packages: []string{"core/table"}, only: []string{"core/spelling"},
		why: "rows and messages: knows neither scripts nor who asks, so that anything can look into a table"},
	{packages: []string{"core/phrase"}, only: []string{},
		why: "words in texts: knows neither messages nor scripts"},
	{packages: []string{"core/script"},
		why: "decisions of a tenant: knows the words, not what becomes of them"},
	{packages: []string{"core/versions"}, only: []string{"core", "core/durable"},
		why: "files of scripts by their hash: for the bridge that runs them and for commands without one"},
	{packages: []string{"core/declare"}, only: []string{"core/script", "core/table", "scripts"},
		why: "names as types, for editors: whoever has the names passes them"},
	{packages: []string{"core/plugin"},
		why: "the process boundary: carries the words over it, knows no CRM"},
	{packages: []string{"core/installed"}, only: []string{"core", "core/durable"},
		why: "which versions of plugins are in a data folder: for the bridge, its configuration and commands"},
	{packages: []string{"core/config"}, only: []string{"core", "core/installed", "core/consent", "core/contact", "core/escalation", "core/mapping", "core/rate", "core/spelling"},
		why: "reads settings; whoever needs them gets them passed, so that nobody else imports it but app"},
	{packages: []string{"core/crm"}, only: []string{"core", "core/spelling"},
		why: "settings, HTTP and texts that connectors need all alike; knows no CRM, and a third party may use it"},
	{packages: []string{"core/guard"}, only: []string{},
		why: "where may be connected to: for whoever connects to an address that somebody else chose"},
	{packages: []string{"core/notify"}, only: []string{"core", "core/guard"},
		why: "escalations on their way to people, as sinks: when and whom to tell is the broker's"},
	{packages: []string{"core/hook"}, only: []string{"core", "core/guard"},
		why: "events on their way to an endpoint, as a sink: who is told of what is the broker's"},
	{packages: []string{"plugins/*"}, only: []string{"core", "core/crm", "core/contact", "core/guard", "plugins/salesforce/pubsubpb"},
		why: "what a third party's connector can use is what ours use"},
	{packages: []string{"core/store/boltstore"},
		why: "a store; replaceable, so only app knows which"},
	{packages: []string{"core/store/storetest"}, only: []string{"core/store"}, tests: true,
		why: "what every store must do, whichever it is"},
	{packages: []string{"core/store/powercut"}, tests: true,
		why: "cuts the power under a store"},
	{packages: []string{"core/connectortest"}, tests: true,
		why: "what every connector must do; also behind a command, on a plugin's binary"},
	{packages: []string{"core/connectortest/golden"}, only: []string{"core"}, tests: true,
		why: "what a connector asks its CRM for, held still: for tests only, which the room above is not"},
	{packages: []string{"core/broker"},
		why: "accept, decide, deliver, settle, over interfaces: which store, plugins or HTTP server is not its business"},
	{packages: []string{"core/access"}, only: []string{"core", "core/store"},
		why: "who may ask for what: knows no HTTP, and not what is asked for"},
	{packages: []string{"core/redecide"}, only: []string{"core", "core/script", "core/broker", "core/rate", "core/contact"},
		why: "asks scripts again about what the broker recorded; has no part in what happens"},
	{packages: []string{"core/web"},
		why: "HTTP in front of the broker"},
	{packages: []string{"core/app"},
		why: "puts a bridge together of all the above"},
	{packages: []string{"cmd/*"},
		why: "flags, files, signals and exit codes around app"},
	{packages: []string{"core/app/rig"}, only: []string{},
		why: "load, and what processes use: for the two below"},
	{packages: []string{"core/app/crashtest", "core/app/bench"}, tests: true,
		why: "treat the whole bridge as a user would: as a process"},
	{packages: []string{"core/app/scenario"}, tests: true,
		why: "the whole bridge between imitations of all vendors, which it compares with its record"},
	{packages: []string{"core/app/sdk"}, only: []string{}, tests: true,
		why: "imitations of vendors before the vendors' own clients; the bridge has no part in it"},
}

// homes are the dependencies that only some packages may know, so that each
// can be replaced.
var homes = map[string][]string{
	"go.etcd.io/bbolt":                    {"core/store/boltstore", "core/store/powercut", "core/app/crashtest"},
	"github.com/dop251/goja":              {"core/script"},
	"github.com/evanw/esbuild":            {"core/script"},
	"github.com/hashicorp/go-plugin":      {"core/plugin"},
	"google.golang.org/grpc":              {"core/plugin", "core/plugin/internal/connectorpb", "plugins/salesforce", "plugins/salesforce/salesforcesim"},
	"github.com/twmb/avro":                {"plugins/salesforce", "plugins/salesforce/salesforcesim"},
	"github.com/knadh/koanf":              {"core/config"},
	"github.com/go-viper/mapstructure":    {"core/config"},
	"github.com/pelletier/go-toml":        {"core/config", "core/table", "cmd/wabridge"},
	"github.com/nyaruka/phonenumbers":     {"core/contact", "plugins/hubspot/hubspotsim"}, // the sim knows numbers as HubSpot does
	"github.com/urfave/cli":               {"cmd/wabridge"},
	"github.com/landlock-lsm/go-landlock": {"core/script", "core/plugin"},
	"github.com/elastic/go-seccomp-bpf":   {"core/script", "core/plugin"},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

// listPackages returns all packages of the module.
func listPackages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
}

// roomOf returns the index of the room that a package of ours is in, or -1.
func roomOf(t *testing.T, pkg string) int {
	t.Helper()
	return slices.IndexFunc(rooms, func(r room) bool {
		return slices.ContainsFunc(r.packages, func(pattern string) bool {
			ok, err := path.Match(pattern, pkg)
			if err != nil {
				t.Fatal(err)
			}
			return ok
		})
	})
}

func TestPackages_ImportOnlyFromRoomsAbove(t *testing.T) {
	packages := listPackages(t)
	if len(packages) < 2 {
		t.Fatalf("go list found %d packages", len(packages))
	}
	for _, p := range packages {
		for _, complaint := range complaints(t, p) {
			t.Error(complaint)
		}
	}
}

// complaints says what is wrong with a package's imports.
func complaints(t *testing.T, p pkg) []string {
	t.Helper()
	var all []string
	complain := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }

	name := within(p.ImportPath)
	at := roomOf(t, name)
	if at < 0 {
		return []string{name + " is in no room: give it a row in rooms, with the reason for its place"}
	}
	r := rooms[at]
	for _, imp := range p.Imports {
		ours := strings.HasPrefix(imp, module+"/")
		first, _, _ := strings.Cut(imp, "/")
		standard := !strings.Contains(first, ".")
		imported := within(imp)
		switch {
		case imp == "testing" && !r.tests:
			complain("%s imports testing outside its tests", name)
		case standard:
		case r.std && !ours:
			complain("%s imports %s, but may use the standard library only: %s", name, imp, r.why)
		case ours && r.only != nil && !slices.Contains(r.only, imported):
			complain("%s imports %s, but of ours may import only %v: %s", name, imported, r.only, r.why)
		case ours && roomOf(t, imported) >= at:
			complain("%s imports %s, which is not in a room above: %s", name, imported, r.why)
		}
		for dependency, users := range homes {
			if (imp == dependency || strings.HasPrefix(imp, dependency+"/")) && !slices.Contains(users, name) {
				complain("%s imports %s, which only %v may", name, imp, users)
			}
		}
	}
	return all
}

// within returns a package's path within the module.
func within(importPath string) string { return strings.TrimPrefix(importPath, module+"/") }

// The test above is worth something only if it complains.
func TestPackages_AreComplainedAbout(t *testing.T) {
	for _, test := range []struct {
		name    string
		pkg     string
		imports []string
		want    string
	}{
		{"no room", "core/util", nil, "in no room"},
		{"lower room", "core/store", []string{module + "/core/broker"}, "may import only []"},
		{"own room", "plugins/hubspot", []string{module + "/plugins/zoho"}, "may import only [core core/crm core/contact core/guard plugins/salesforce/pubsubpb]"},
		{"room below", "core/broker", []string{module + "/core/web"}, "not in a room above"},
		{"sim of ours", "plugins/hubspot/hubspotsim", []string{module + "/core"}, "may import only [core/fault plugins/salesforce/pubsubpb]"},
		{"sim with testing", "core/whatsapp/whatsappsim", []string{"testing"}, "testing outside its tests"},
		{"core with a dependency", "core", []string{"github.com/google/go-cmp/cmp"}, "standard library only"},
		{"dependency away from home", "core/broker", []string{"go.etcd.io/bbolt/errors"}, "which only"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := complaints(t, pkg{ImportPath: module + "/" + test.pkg, Imports: test.imports})
			if len(got) != 1 || !strings.Contains(got[0], test.want) {
				t.Errorf("complaints = %q, want one with %q", got, test.want)
			}
		})
	}
	fine := pkg{ImportPath: module + "/core/broker", Imports: []string{"context", module + "/core",
		module + "/core/store", "github.com/prometheus/client_golang/prometheus"}}
	if got := complaints(t, fine); len(got) != 0 {
		t.Errorf("complaints about nothing: %q", got)
	}
}
