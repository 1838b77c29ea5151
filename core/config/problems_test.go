package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core/config"
)

func TestLoad_SaysWhatIsWrong(t *testing.T) {
	const main, tenant = "wabridge.toml", "tenants/a/tenant.toml"
	lane := "[[lanes]]\nconnector = \"hubspot\"\n"
	token := "[[web.api_tokens]]\nname = \"n\"\ntoken = \"0123456789abcdef\"\n"
	tests := []struct {
		name string
		// main and tenant are added to the smallest configuration.
		main, tenant string
		env          []string
		want         string // each line
	}{
		{name: "unknown key", main: "[web]\nlisen = 1\n",
			want: "wabridge.toml: web.lisen: unknown key; did you mean listen?"},
		{name: "unknown key with other separators", main: "[web]\npublic-url = \"\"\n",
			want: "wabridge.toml: web.public-url: unknown key; did you mean public_url?"},
		{name: "unknown key in another case", main: "[web]\nListen = \"127.0.0.1:1\"\n",
			want: "wabridge.toml: web.Listen: unknown key; did you mean listen?"},
		{name: "swapped letters", tenant: "[escalation]\ntaem = \"x\"\n",
			want: "tenants/a/tenant.toml: escalation.taem: unknown key; did you mean team?"},
		{name: "key of another table", main: "[log]\nlisten = \"x\"\n",
			want: "wabridge.toml: log.listen: unknown key; did you mean web.listen?"},
		{name: "key like no other", main: "[log]\nzzzzzz = \"x\"\n",
			want: "wabridge.toml: log.zzzzzz: unknown key; known are format, level"},
		{name: "rates", tenant: "[[rates]]\neffective_from = \"soon\"\ncard = \"tenant.toml\"\nauthentication_international = [\"XX\"]\n" +
			"[[rates]]\neffective_from = \"2026-10-01\"\ncard = \"no.csv\"\n[[rates]]\neffective_from = \"2026-10-01\"\n",
			want: "tenants/a/tenant.toml: rates[0].authentication_international: \"XX\" is no country: want two letters of ISO 3166\n" +
				"tenants/a/tenant.toml: rates[0].card: tenant.toml: rates: no line is the header: want the columns market, currency\n" +
				"tenants/a/tenant.toml: rates[0].effective_from: \"soon\" is no day: write it like \"2026-10-01\"\n" +
				"tenants/a/tenant.toml: rates[1].card: there is no file no.csv\n" +
				"tenants/a/tenant.toml: rates[2].card: is missing: the rate card that Meta publishes for the account's currency (CSV)\n" +
				"tenants/a/tenant.toml: rates[2].effective_from: another card begins on 2026-10-01"},
		{name: "unknown table", main: "[wab]\nx = 1\n",
			want: "wabridge.toml: wab: unknown key; did you mean web?"},
		{name: "unknown key in a list", tenant: lane + "conector = 1\n",
			want: "tenants/a/tenant.toml: lanes[0].conector: unknown key; did you mean connector?"},
		{name: "unknown key in a map", main: "[plugins.x]\npaht = \"\"\n", want: "wabridge.toml: plugins.x.paht: unknown key; did you mean path?\n" +
			"wabridge.toml: plugins.x.path: is missing\n" +
			"wabridge.toml: plugins.x.sha256: is not 64 lower-case hexadecimal digits: sha256sum shows them"},
		{name: "unknown variable", env: []string{"WABRIDGE_WEB__LISEN=x"},
			want: "WABRIDGE_WEB__LISEN: unknown setting; did you mean WABRIDGE_WEB__LISTEN?"},
		{name: "variable with one underscore", env: []string{"WABRIDGE_WEB_LISTEN=x"},
			want: "WABRIDGE_WEB_LISTEN: unknown setting; did you mean WABRIDGE_WEB__LISTEN?"},
		{name: "variable like no other", env: []string{"WABRIDGE_FOO__BAR=x"},
			want: "WABRIDGE_FOO__BAR: unknown setting; the names are WABRIDGE_<GROUP>__<KEY>, like WABRIDGE_WEB__LISTEN"},

		{name: "value of another type", main: "[web]\nlisten = 8080\n",
			want: "wabridge.toml: web.listen: write this as text, in quotes"},
		{name: "value where a table belongs", main: "[web]\napi_tokens = \"x\"\n[script]\nsoft = 5\n",
			want: "wabridge.toml: script.soft: write a duration in quotes, like \"30s\" or \"1m30s\"\n" +
				"wabridge.toml: web.api_tokens: this is a list of tables: write it in the file as [[…]]"},
		{name: "table where a value belongs", main: "[script.soft]\nx = 1\n",
			want: "wabridge.toml: script.soft: write a duration in quotes, like \"30s\" or \"1m30s\""},
		{name: "duration", main: "[script]\nsoft = \"5 parsecs\"\nhard = \"-1s\"\n",
			want: "wabridge.toml: script.hard: \"-1s\" is negative\n" +
				"wabridge.toml: script.soft: \"5 parsecs\" is not a duration: write it like \"50ms\", \"30s\" or \"2h\""},
		{name: "size", main: "[store]\nmax_size = \"4 gigs\"\nmin_free = -1\nballast_size = \"9999999TiB\"\n",
			want: "wabridge.toml: store.ballast_size: \"9999999TiB\" is too large\n" +
				"wabridge.toml: store.max_size: \"4 gigs\" is not a size: write it like 64MiB or 4GiB\n" +
				"wabridge.toml: store.min_free: write a size like \"64MiB\" or \"4GiB\""},
		{name: "unknown key beside a wrong value", main: "[store]\nseen_dais = 9\nhistory_days = \"x\"\n",
			want: "wabridge.toml: store.history_days: write a whole number\n" +
				"wabridge.toml: store.seen_dais: unknown key; did you mean seen_days?"},
		{name: "whole number", main: "[store]\nseen_days = 8.5\n", want: "wabridge.toml: store.seen_days: write a whole number"},
		{name: "mapping", tenant: lane + "mapping = \"all\"\n[[lanes.map]]\nfield = \"emial\"\nproperty = \"email\"\n[[lanes.map]]\nfield = \"city\"\nproperty = \"city\"\nvaluess = \"crm\"\n",
			want: "tenants/a/tenant.toml: lanes[0].map[0].field: there is no field \"emial\"; did you mean email?\n" +
				"tenants/a/tenant.toml: lanes[0].map[1].valuess: unknown key; did you mean values?\n" +
				"tenants/a/tenant.toml: lanes[0].mapping: \"all\" is not \"default\", the connector's own mapping; rules of your own are [[lanes.map]]"},
		{name: "number", tenant: lane + "rate = nan\n", want: "tenants/a/tenant.toml: lanes[0].rate: write a finite number"},
		{name: "variable of another type", env: []string{"WABRIDGE_STORE__SEEN_DAYS=many"},
			want: "WABRIDGE_STORE__SEEN_DAYS: write a whole number"},
		{name: "settings that JSON cannot hold", tenant: lane + "settings = { x = inf }\n",
			want: "tenants/a/tenant.toml: lanes[0].settings: has a number that JSON cannot hold (nan or inf)"},
		{name: "TOML", main: "[web\n", want: "wabridge.toml: line 5, column 5: expected character ]"},

		{name: "number in TOML", main: "[store]\nseen_days = 99999999999999999999\n",
			want: "wabridge.toml: line 6, column 13: couldn't parse decimal number"},
		{name: "proxies by name", main: "[web]\ntrusted_proxies = [\"10.0.0.0/8\", \"nginx\"]\n",
			want: "wabridge.toml: web.trusted_proxies[1]: \"nginx\" is no address and no network, such as 10.0.0.0/8"},
		{name: "listen without port", main: "[web]\nlisten = \"localhost\"\n",
			want: "wabridge.toml: web.listen: \"localhost\" is not host:port, like 127.0.0.1:8080"},
		{name: "listen with a port too large", main: "[web]\nlisten = \"127.0.0.1:65536\"\n",
			want: "wabridge.toml: web.listen: \"127.0.0.1:65536\" is not host:port, like 127.0.0.1:8080"},
		{name: "open to others without tokens", env: []string{"WABRIDGE_WEB__LISTEN=:8080"},
			want: "WABRIDGE_WEB__LISTEN: :8080 can be reached from other machines: that needs at least one of [[web.api_tokens]]"},
		{name: "http to another machine", main: "[web]\npublic_url = \"http://bridge.example\"\n",
			want: "wabridge.toml: web.public_url: http://bridge.example is not https: tokens would cross the network unprotected"},
		{name: "no URL", main: "[web]\npublic_url = \"bridge.example\"\n",
			want: "wabridge.toml: web.public_url: is not a URL, like https://example.com"},
		{name: "URL with a password", main: "[web]\npublic_url = \"https://u:p@bridge.example\"\n",
			want: "wabridge.toml: web.public_url: has a user, query or fragment: only https://host/path fits here"},
		{name: "log", main: "[log]\nlevel = \"loud\"\n", want: "wabridge.toml: log.level: \"loud\" is none of debug, info, warn, error"},
		{name: "too few days", main: "[store]\nseen_days = 7\n", want: "wabridge.toml: store.seen_days: 7 is not between 8 and 366"},
		{name: "ballast", main: "[store]\nballast_size = \"8GiB\"\n",
			want: "wabridge.toml: store.ballast_size: 8GiB is not less than store.max_size, 8GiB"},
		{name: "script limits", main: "[script]\nhard = \"50ms\"\nmemory = 1\n",
			want: "wabridge.toml: script.hard: 50ms is not more than script.soft, 50ms\n" +
				"wabridge.toml: script.memory: 1B is too little: at least 16MiB"},
		{name: "short token", main: strings.Replace(token, "def", "", 1),
			want: "wabridge.toml: web.api_tokens[0].token: is too short: take at least 16 random characters"},
		{name: "tokens alike", main: token + token,
			want: "wabridge.toml: web.api_tokens[1].name: another token has the name \"n\"\n" +
				"wabridge.toml: web.api_tokens[1].token: another token is the same"},
		{name: "token for nobody", main: token + "tenant = \"b\"\n",
			want: "wabridge.toml: web.api_tokens[0].tenant: there is no tenant \"b\""},
		{name: "plugin with a built-in's name", main: "[plugins.hubspot]\npath = \"wabridge.toml\"\nsha256 = \"" + strings.Repeat("0", 64) + "\"\n",
			want: "wabridge.toml: plugins.hubspot: a connector of this name is built in: take another"},

		{name: "unknown connector", tenant: "[[lanes]]\nconnector = \"hubspt\"\n",
			want: "tenants/a/tenant.toml: lanes[0].connector: unknown connector \"hubspt\"; did you mean hubspot?"},
		{name: "connector like no other", tenant: "[[lanes]]\nconnector = \"siebel\"\n",
			want: "tenants/a/tenant.toml: lanes[0].connector: unknown connector \"siebel\"; known are custom-http, hubspot, those in [plugins] and those that `wabridge plugin install` installed"},
		{name: "no connector", tenant: "[[lanes]]\n", want: "tenants/a/tenant.toml: lanes[0].connector: is missing"},
		{name: "two lanes of a name", tenant: lane + lane,
			want: "tenants/a/tenant.toml: lanes[1].name: another lane has the name \"hubspot\": give each its own"},
		{name: "budgets of two lanes at one account", tenant: lane + "account = \"org\"\nbudgets = [{ name = \"api\", calls = 1, per = \"1s\" }]\n" +
			lane + "name = \"b\"\naccount = \"org\"\nbudgets = [{ name = \"api\", calls = 2, per = \"1s\" }]\n" +
			"[[lanes]]\nconnector = \"hubspot\"\nname = \"c\"\naccount = \"Our Org\"\n",
			want: "tenants/a/tenant.toml: lanes[1].budgets: another lane comes before it at the account org: its budgets are those of both\n" +
				"tenants/a/tenant.toml: lanes[2].account: want a name: at most 40 of a-z, 0-9 and -, the first not a -"},
		{name: "a name for people", tenant: lane + "name = \"My CRM\"\n",
			want: "tenants/a/tenant.toml: lanes[0].name: a lane's name is at most 40 of a-z, 0-9 and -, the first not a -"},
		{name: "figures of a lane", tenant: lane + "rate = -1\nmax_in_flight = -1\nmax_batch = 1001\nlinger = \"2m\"\npull = \"5s\"\nretry = [\"0s\", \"x\"]\nidempotency = \"yes\"\nsearch_delay = \"2h\"\n",
			want: "tenants/a/tenant.toml: lanes[0].idempotency: \"yes\" is none of upsert, key, search, none\n" +
				"tenants/a/tenant.toml: lanes[0].linger: 2m0s is too long: at most 1m\n" +
				"tenants/a/tenant.toml: lanes[0].max_batch: 1001 is not between 0 and 1000\n" +
				"tenants/a/tenant.toml: lanes[0].max_in_flight: -1 is not between 0 and 4096\n" +
				"tenants/a/tenant.toml: lanes[0].pull: 5s is not between 1m and 24h, nor 0, which is never\n" +
				"tenants/a/tenant.toml: lanes[0].rate: -1 is negative\n" +
				"tenants/a/tenant.toml: lanes[0].retry[0]: 0s is not between 0 and 24h0m0s\n" +
				"tenants/a/tenant.toml: lanes[0].retry[1]: \"x\" is not a duration: write it like \"50ms\", \"30s\" or \"2h\"\n" +
				"tenants/a/tenant.toml: lanes[0].search_delay: 2h0m0s is not between 0 and 1h"},
		{name: "budgets", tenant: lane + "[[lanes.budgets]]\nname = \"A P I\"\ncalls = 0\nper = \"1ms\"\n",
			want: "tenants/a/tenant.toml: lanes[0].budgets[0].calls: 0 is not between 1 and 1000000000\n" +
				"tenants/a/tenant.toml: lanes[0].budgets[0].name: want a name of a connector's budgets, such as api: a-z, 0-9 and -\n" +
				"tenants/a/tenant.toml: lanes[0].budgets[0].per: 1ms is not between 100ms and 744h"},
		{name: "empty secret", tenant: lane + "secrets = { token = \"\" }\n",
			want: "tenants/a/tenant.toml: lanes[0].secrets.token: is empty"},
		{name: "number twice", tenant: smallTenant,
			want: "tenants/a/tenant.toml: numbers[1].id: 106540352242922 is also in tenants/a/tenant.toml"},
		{name: "fallback", tenant: "[[numbers]]\nid = \"7\"\naccess_token = \"x\"\nfallback = \"8\"\nfallback_when = [\"sleepy\"]\nfallback_back_after = \"1s\"\n" +
			"[[numbers]]\nid = \"9\"\naccess_token = \"x\"\nfallback = \"9\"\n[[numbers]]\nid = \"10\"\naccess_token = \"x\"\nfallback_when = [\"banned\"]\n",
			want: "tenants/a/tenant.toml: numbers[1].fallback: the tenant has no number with the id \"8\"\n" +
				"tenants/a/tenant.toml: numbers[1].fallback_back_after: 1s is not between 1m and 720h\n" +
				"tenants/a/tenant.toml: numbers[1].fallback_when[0]: \"sleepy\" is none of banned, unregistered, restricted, flagged\n" +
				"tenants/a/tenant.toml: numbers[2].fallback: is the number itself: name another of the tenant's numbers\n" +
				"tenants/a/tenant.toml: numbers[3].fallback: is missing: fallback_when and fallback_back_after say when, but not by which number"},
		{name: "where files are", env: []string{"WABRIDGE_WHATSAPP__MEDIA_HOSTS=https://x.example"}, want: "WABRIDGE_WHATSAPP__MEDIA_HOSTS: \"https://x.example\" is no name of a host, such as media.example.com"},
		{name: "how often a number is asked about", env: []string{"WABRIDGE_WHATSAPP__HEALTH_EVERY=1s"}, want: "WABRIDGE_WHATSAPP__HEALTH_EVERY: 1s is not between 1m and 24h"},
		{name: "number as people write it", tenant: "[[numbers]]\nid = \"+49 30 1\"\naccess_token = \"x\"\nwaba = \"x\"\nrate = 0\n",
			want: "tenants/a/tenant.toml: numbers[1].id: is not a phone_number_id: Meta shows it beside the number, digits only\n" +
				"tenants/a/tenant.toml: numbers[1].rate: 0 is not between 0 and 10000 messages per second\n" +
				"tenants/a/tenant.toml: numbers[1].waba: is not a WhatsApp Business Account id: digits only"},
		{name: "number without token", tenant: "[[numbers]]\nid = \"1\"\n",
			want: "tenants/a/tenant.toml: numbers[1].access_token: is missing: the token of a system user of Meta's business portfolio"},
		{name: "no script", tenant: "", want: ""},
		{name: "prices that were settings", tenant: "[policy]\nmessage_cost = 0.1\ncurrency = \"EUR\"\n",
			want: "tenants/a/tenant.toml: policy.currency: is no setting any more: what messages cost is in rate cards, see [[rates]]\n" +
				"tenants/a/tenant.toml: policy.message_cost: is no setting any more: what messages cost is in rate cards, see [[rates]]"},
		{name: "policy", tenant: "[policy]\nquiet_hours = \"21-8\"\nzone = \"Madrid\"\nstop = \"some\"\nmin_confidence = 2.0\nopt_out_words = [\"!\"]\n",
			want: "tenants/a/tenant.toml: policy.min_confidence: 2 is not between 0 and 1\n" +
				"tenants/a/tenant.toml: policy.opt_out_words[0]: \"!\" is no whole message of 1 to 64 letters\n" +
				"tenants/a/tenant.toml: policy.quiet_hours: \"21-8\" is no part of a day, like 21:00-08:00\n" +
				"tenants/a/tenant.toml: policy.stop: \"some\" is none of all, marketing\n" +
				"tenants/a/tenant.toml: policy.zone: \"Madrid\" is no time zone, like Europe/Madrid"},
		{name: "templates", tenant: "[[templates]]\nname = \"a\"\ncategory = \"ads\"\nparams = \"x\"\n[[templates]]\nname = \"a\"\ntopics = [\"Loans!\"]\n",
			want: "tenants/a/tenant.toml: templates[0].category: \"ads\" is none of marketing, utility, authentication\n" +
				"tenants/a/tenant.toml: templates[0].params: is how many parameters there are, or a list of their names\n" +
				"tenants/a/tenant.toml: templates[1].category: is missing: marketing, utility or authentication\n" +
				"tenants/a/tenant.toml: templates[1].name: the template a/ is here twice\n" +
				"tenants/a/tenant.toml: templates[1].topics[0]: a topic is at most 40 of a-z, 0-9 and -, the first not a -"},

		{name: "missing variable", tenant: lane + "secrets = { token = \"env:CRM_TOKEN\" }\n",
			want: "tenants/a/tenant.toml: lanes[0].secrets.token: env:CRM_TOKEN: the environment variable is not set"},
		{name: "empty variable", tenant: lane + "secrets = { token = \"env:CRM_TOKEN\" }\n", env: []string{"CRM_TOKEN="},
			want: "tenants/a/tenant.toml: lanes[0].secrets.token: env:CRM_TOKEN: the environment variable is not set"},
		{name: "missing file, by a variable", env: []string{"WABRIDGE_WHATSAPP__VERIFY_TOKEN=file:secrets/verify"},
			want: "WABRIDGE_WHATSAPP__VERIFY_TOKEN: file:secrets/verify: no such file; put the secret there, readable only by the bridge (chmod 600)"},
		{name: "folder as a secret", tenant: lane + "secrets = { token = \"file:.\" }\n",
			want: "tenants/a/tenant.toml: lanes[0].secrets.token: file:.: is not a file"},
		{name: "secret without quotes", tenant: lane + "secrets = { token = 12345 }\n",
			want: "tenants/a/tenant.toml: lanes[0].secrets.token: write the secret in quotes, or \"env:NAME\" or \"file:PATH\""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// Tables of the smallest file come last, so that main may hold keys
			// of the top level.
			files := map[string]string{main: smallMain + test.main, tenant: test.tenant}
			if !strings.HasPrefix(test.tenant, "[[numbers]]") {
				files[tenant] = strings.TrimSuffix(smallTenant, "\n") + "\n" + test.tenant
			} else {
				files[tenant] = smallTenant + test.tenant
			}
			if test.want == "" {
				load(t, files, options(test.env...))
				return
			}
			if got := problems(t, files, options(test.env...)); got != test.want {
				t.Errorf("problems:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

func TestLoad_ReportsTheFilesThatAreMissing(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"everything", nil, "wabridge.toml: no such file; `wabridge init` makes one"},
		{"tenants", map[string]string{"wabridge.toml": smallMain},
			"wabridge.toml: there are no tenants: a tenant is a folder tenants/<id> with a tenant.toml"},
		{"a tenant's file", map[string]string{"wabridge.toml": smallMain, "tenants/a/script.js": ""},
			"tenants/a/tenant.toml: no such file; the folder of each tenant has one"},
		{"numbers", map[string]string{"wabridge.toml": smallMain, "tenants/a/tenant.toml": ""},
			"tenants/a/tenant.toml: numbers: is missing: a tenant has at least one of [[numbers]]"},
		{"Meta's secrets", map[string]string{"wabridge.toml": "", "tenants/a/tenant.toml": smallTenant},
			"wabridge.toml: whatsapp.app_secrets: is missing: Meta's app dashboard shows it under App settings, Basic\n" +
				"wabridge.toml: whatsapp.verify_token: is missing: take any random text, and enter the same when setting up the webhook at Meta"},
		{"the script", map[string]string{"wabridge.toml": smallMain, "tenants/a/tenant.toml": "script = \"x.js\"\n" + smallTenant},
			"tenants/a/tenant.toml: script: there is no file x.js"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := problems(t, test.files, options()); got != test.want {
				t.Errorf("problems:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

func TestLoad_ReportsEverythingAtOnce(t *testing.T) {
	got := problems(t, map[string]string{
		"wabridge.toml":            "[web]\nlisen = 1\n" + smallMain,
		"tenants/a/tenant.toml":    smallTenant,
		"tenants/b/tenant.toml":    smallTenant + "[[lanes]]\nconnector = \"hubspot\"\nretry = \"soon\"\n",
		"tenants/b/script.js":      "",
		"tenants/b/script.ts":      "",
		"tenants/c/tenant.toml":    "= 3\n",
		"tenants/Big!/tenant.toml": strings.ReplaceAll(smallTenant, "106540352242922", "7"),
	}, options("WABRIDGE_WEB__MAX_INFLIGHT=1"))
	want := `wabridge.toml: web.lisen: unknown key; did you mean listen?
WABRIDGE_WEB__MAX_INFLIGHT: unknown setting; did you mean WABRIDGE_WEB__MAX_IN_FLIGHT?
tenants/Big!/tenant.toml: the folder's name is the tenant's id: at most 40 of a-z, 0-9 and -, the first not a -
tenants/b/tenant.toml: lanes[0].retry[0]: "soon" is not a duration: write it like "50ms", "30s" or "2h"
tenants/b/tenant.toml: numbers[0].id: 106540352242922 is also in tenants/a/tenant.toml
tenants/b/tenant.toml: script: there are both script.ts and script.js: say which with script = "script.js"
tenants/c/tenant.toml: line 1, column 1: invalid character at start of key: =`
	if got != want {
		t.Errorf("problems:\n%s\nwant:\n%s", got, want)
	}
}

func TestLoad_NamesUnknownFlags(t *testing.T) {
	opts := options()
	opts.Flags = map[string]any{"web.lisen": "x", "log.level": "loud"}
	got := problems(t, map[string]string{"wabridge.toml": smallMain, "tenants/a/tenant.toml": smallTenant}, opts)
	want := "flag: log.level: \"loud\" is none of debug, info, warn, error\n" +
		"flag: web.lisen: unknown key; did you mean listen?"
	if got != want {
		t.Errorf("problems:\n%s\nwant:\n%s", got, want)
	}
}

func TestLoad_RefusesSecretsThatEveryoneCanRead(t *testing.T) {
	path := folder(t, map[string]string{
		"wabridge.toml":         smallMain,
		"tenants/a/tenant.toml": strings.Replace(smallTenant, "an access token", "file:token", 1),
		"tenants/a/token":       "canary",
	})
	token := filepath.Join(filepath.Dir(path), "tenants/a/token")
	for _, test := range []struct {
		mode os.FileMode
		ok   bool
	}{{0o600, true}, {0o640, true}, {0o644, false}, {0o604, false}} {
		if err := os.Chmod(token, test.mode); err != nil {
			t.Fatal(err)
		}
		_, err := config.Load(path, options())
		if ok := err == nil; ok != test.ok {
			t.Errorf("mode %o: Load: %v, want it to succeed: %t", test.mode, err, test.ok)
		}
		if err != nil && !strings.Contains(err.Error(), "numbers[0].access_token: file:token: is readable by everyone") {
			t.Errorf("mode %o: Load: %v", test.mode, err)
		}
	}
}

// Whatever is wrong around a secret, the secret itself is not repeated.
func TestLoad_RepeatsNoSecrets(t *testing.T) {
	const canary = "99999999999999999999canary"
	for name, files := range map[string]map[string]string{
		"unquoted":         {"wabridge.toml": "[whatsapp]\nverify_token = " + canary + "\n"},
		"unquoted digits":  {"wabridge.toml": "[whatsapp]\nverify_token = 99999999999999999999\n"},
		"unquoted letters": {"wabridge.toml": "[whatsapp]\nverify_token = canary\n"},
		"half a string":    {"wabridge.toml": "[whatsapp]\nverify_token = \"" + canary + "\n"},
		"wrong place":      {"wabridge.toml": "[whatsapp]\nverify_tokn = \"" + canary + "\"\n"},
		"wrong type":       {"wabridge.toml": "[whatsapp]\nverify_token = [\"" + canary + "\"]\n"},
		"in a URL":         {"wabridge.toml": "[web]\npublic_url = \"https://u:" + canary + "@x\"\n"},
		"in a broken URL":  {"wabridge.toml": "[web]\npublic_url = \"https://u:" + canary + "@x:%zz\"\n"},
		"short token":      {"wabridge.toml": "[[web.api_tokens]]\nname = \"x\"\ntoken = \"canary\"\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := problems(t, files, options("WABRIDGE_WHATSAPP__APP_SECRET="+canary))
			if strings.Contains(got, "canary") || strings.Contains(got, "9999") {
				t.Errorf("the secret is in the problems:\n%s", got)
			}
		})
	}
	cfg := load(t, map[string]string{"wabridge.toml": smallMain, "tenants/a/tenant.toml": smallTenant}, options())
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if got := fmt.Sprintf(verb, *cfg); strings.Contains(got, "an access token") || strings.Contains(got, "a verify token") {
			t.Errorf("%s prints secrets: %s", verb, got)
		}
	}
}

func TestLoad_RefusesFilesTooLarge(t *testing.T) {
	got := problems(t, map[string]string{"wabridge.toml": strings.Repeat("#", 1<<20) + "\n",
		"tenants/a/tenant.toml": smallTenant}, options())
	if want := "wabridge.toml: is larger than 1MiB: this is no configuration"; got != want {
		t.Errorf("problems:\n%s\nwant:\n%s", got, want)
	}
}

// FuzzLoad looks for files that panic, or that are refused without a reason.
func FuzzLoad(f *testing.F) {
	f.Add(smallMain, smallTenant)
	f.Add("[web]\nlisten = 1\n[[web.api_tokens]]\n[plugins.x]\n", "[[lanes]]\nretry = [1]\nsettings = 3\n")
	f.Add("a.b.c = [[1], {x = 1979-05-27}]\n\"a.b\" = 1\nweb = 3", "numbers = [1, [2]]\nsettings = { a = [nan] }")
	dir := f.TempDir()
	tenant := filepath.Join(dir, "tenants", "a")
	if err := os.MkdirAll(tenant, 0o700); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, main, file string) {
		for path, content := range map[string]string{filepath.Join(dir, config.FileName): main,
			filepath.Join(tenant, config.TenantFile): file} {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cfg, err := config.Load(filepath.Join(dir, config.FileName), options())
		var e *config.Error
		switch {
		case err == nil && (cfg == nil || len(cfg.Tenants) != 1):
			t.Fatalf("Load gave %+v and no error", cfg)
		case err != nil && (!errors.As(err, &e) || len(e.Problems) == 0 || cfg != nil):
			t.Fatalf("Load gave %v and %v", cfg, err)
		}
	})
}
