package customhttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	customhttp "github.com/wabridge/wabridge/plugins/custom-http"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

// good are the least settings.
func good() table {
	return table{
		"base_url": "https://crm.example.com", "idempotency": "upsert",
		"operations": table{"*": table{"path": "/events"}},
	}
}

func check(settings json.RawMessage, s map[string]core.Secret) error {
	return checkAccount(core.Account{Tenant: "acme", Lane: "crm", Settings: settings, Secrets: s})
}

var errNobody = errors.New("nobody is at this address")

// checkAccount says what is wrong with an account's settings. There is nobody to ask.
func checkAccount(account core.Account) error {
	c := &customhttp.Connector{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errNobody }}
	if err := c.Check(context.Background(), account); err != nil && !strings.Contains(err.Error(), errNobody.Error()) {
		return err
	}
	return nil
}

func TestCheck_NamesWhatIsWrongInTheSettings(t *testing.T) {
	op := func(more table) table {
		o := table{"path": "/x"}
		maps.Copy(o, more)
		return table{"operations": table{"message.received": o}}
	}
	results := func(more table) table {
		r := table{"match": "index", "status": "status"}
		maps.Copy(r, more)
		return op(table{"batch": table{"max_items": 10, "results": r}})
	}
	oauth := func(more table) table {
		a := table{"type": "oauth2", "grant": "client_credentials", "client_id": "app", "token_url": "https://login.example.com/token"}
		maps.Copy(a, more)
		return table{"auth": a}
	}
	hmac := func(more table) table {
		a := table{"type": "hmac", "name": "X-Signature", "payload": "{body}"}
		maps.Copy(a, more)
		return table{"auth": a}
	}
	session := func(more table) table {
		a := table{"type": "session", "token_url": "https://crm.example.com/login"}
		maps.Copy(a, more)
		return table{"auth": a}
	}
	for _, c := range []struct {
		change table
		want   string // in the message
	}{
		{table{"base_url": nil}, "settings.base_url: missing"},
		{table{"base_url": "crm.example.com"}, "settings.base_url: want an address"},
		{table{"base_url": "ftp://crm.example.com"}, "settings.base_url: want https"},
		{table{"base_url": "https://u:p@crm.example.com"}, "settings.base_url: credentials do not belong here"},
		{table{"base_url": "https://crm.example.com?a=1"}, "settings.base_url: a query belongs"},
		{table{"base_url": "http://crm.example.com"}, "settings.base_url: plain http"},
		{table{"base_url": "http://localhost:9000", "allowed_hosts": []any{"localhost:9001"}}, "settings.base_url: plain http"},
		{table{"base_url": "https://10.0.0.7"}, "settings.base_url: the address is a private one: name the host in settings.allowed_hosts"},
		{table{"base_url": "https://169.254.169.254", "allowed_hosts": []any{"169.254.169.254"}}, "never allowed"},
		{table{"allowed_hosts": []any{"*.example.com"}}, "settings.allowed_hosts[0]: want a host"},
		{table{"tls": table{"min_version": "1.1"}}, `settings.tls.min_version: want "1.2" or "1.3"`},
		{table{"proxy": "proxy.example.com:3128"}, "settings.proxy: want an address such as https://proxy.example.com:3128"},
		{table{"proxy": "https://u:p@proxy.example.com"}, "settings.proxy: want an address"},
		{table{"proxy": "https://proxy.example.com/a"}, "settings.proxy: want scheme, host and port only"},
		{table{"proxy": "socks5://proxy.example.com"}, "settings.proxy: want https"},
		{table{"proxy": "http://proxy.example.com:3128"}, "settings.proxy: plain http"},
		{table{"proxy": "https://10.0.0.7"}, "settings.proxy: the address is a private one"},
		{table{"proxy": "https://169.254.169.254", "allowed_hosts": []any{"169.254.169.254"}}, "never allowed"},
		{table{"timeout": "soon"}, "settings.timeout: want a duration"},
		{table{"timeout": "1h"}, "settings.timeout: want a duration"},
		{table{"timeout": 10}, "settings.timeout: want a text, not number"},
		{table{"parallel": 0}, "settings.parallel: want 1 to 64"},
		{table{"paralle": 4}, "settings.paralle: unknown setting, did you mean parallel?"},
		{table{"zzz": 4}, "settings.zzz: unknown setting"},
		{table{"headers": table{"Host": "x"}}, "settings.headers.Host: cannot be set"},
		{table{"headers": table{"a b": "x"}}, `settings.headers."a b": not a header's name`},
		{table{"headers": table{"X-A": "{{.id}}"}}, "settings.headers.X-A: is for all requests"},
		{table{"headers": table{"idempotency-key": "x"}}, "settings.headers.idempotency-key: say settings.idempotency"},
		{table{"headers": table{"Authorization": "x"}, "auth": table{"type": "bearer"}}, "settings.headers.Authorization: is set by settings.auth"},
		{table{"auth": table{"type": "magic"}}, "settings.auth.type: want none, bearer, basic, api_key, oauth2, session or hmac"},
		{table{"auth": table{"type": "bearer", "name": "X"}}, `settings.auth.name: is for type = "api_key", "session", "hmac"`},
		{table{"auth": table{"type": "api_key"}}, "settings.auth.name: missing"},
		{table{"auth": table{"type": "api_key", "in": "body", "name": "x"}}, `settings.auth.in: want "header", "query" or "cookie"`},
		{table{"auth": table{"type": "bearer", "prefix": "X"}}, `settings.auth.prefix: is for type = "api_key", "oauth2", "session"`},
		{table{"auth": table{"type": "bearer", "grant": "refresh_token"}}, `settings.auth.grant: is for type = "oauth2"`},
		{oauth(table{"name": "X"}), `settings.auth.name: is for type = "api_key", "session", "hmac"`},
		{table{"auth": table{"type": "api_key", "in": "cookie", "name": "a b"}}, "settings.auth.name: not a cookie's name"},
		{table{"auth": table{"type": "api_key", "in": "cookie", "name": "sid"}, "headers": table{"cookie": "x"}}, "settings.headers.cookie: is set by settings.auth"},
		{session(table{"token_url": ""}), "settings.auth.token_url: want an address"},
		{session(table{"token_url": "http://crm.example.com/login"}), "settings.auth.token_url: plain http"},
		{session(table{"client_id": "x"}), `settings.auth.client_id: is for type = "oauth2"`},
		{session(table{"in": "cookie"}), "settings.auth.name: missing"},
		{session(table{"body": "{{.user}}"}), "settings.auth.body: unknown field .user"},
		{session(table{"format": "xml"}), `settings.auth.format: want "json" or "form"`},
		{session(table{"lifetime": "1s"}), "settings.auth.lifetime: want a duration"},
		{session(table{"expires": "a..b"}), "settings.auth.expires: want names separated"},
		{oauth(table{"claims": table{"sub": "x"}}), `algorithm, key_id and claims are for "jwt_bearer"`},
		{oauth(table{"grant": "jwt_bearer", "algorithm": "none"}), "settings.auth.algorithm: want RS256, ES256 or HS256"},
		{oauth(table{"grant": "jwt_bearer", "claims": table{"exp": 1}}), "settings.auth.claims.exp: is set for each assertion"},
		{oauth(table{"grant": "jwt_bearer", "client_id": ""}), "settings.auth.claims.iss: missing"},
		{hmac(table{"payload": ""}), "settings.auth.payload: missing"},
		{hmac(table{"payload": "{bdoy}"}), "settings.auth.payload: unknown word {bdoy}"},
		{hmac(table{"payload": "{timestamp}{body}"}), "settings.auth.timestamp: names the header"},
		{hmac(table{"timestamp": "x-signature"}), "settings.auth.timestamp: want another"},
		{hmac(table{"value": "v1"}), "settings.auth.value: has no place"},
		{hmac(table{"name": ""}), "settings.auth.name: want a header's name"},
		{hmac(table{"algorithm": "sha1"}), "settings.auth.algorithm: want sha256 or sha512"},
		{hmac(table{"encoding": "hax"}), "settings.auth.encoding: want hex or base64"},
		{hmac(table{"timestamp_format": "x"}), "settings.auth.timestamp_format: want unix"},
		{oauth(table{"grant": "password"}), "settings.auth.grant: want"},
		{oauth(table{"client_id": ""}), "settings.auth.client_id: missing"},
		{oauth(table{"client": "cookie"}), `settings.auth.client: want "form" or "basic"`},
		{oauth(table{"params": table{"client_secret": "x"}}), "settings.auth.params.client_secret: is set by settings.auth"},
		{oauth(table{"token_url": ""}), "settings.auth.token_url: want an address"},
		{oauth(table{"token_url": "https://u:p@login.example.com/token"}), "settings.auth.token_url: want an address"},
		{oauth(table{"token_url": "http://login.example.com/token"}), "settings.auth.token_url: plain http"},
		{oauth(table{"token_url": "https://10.0.0.7/token"}), "settings.auth.token_url: the address is a private one"},
		{oauth(table{"token_url": "https://169.254.169.254/token"}), "never allowed"},
		{oauth(table{"token": "a..b"}), "settings.auth.token: want names separated by single dots"},
		{table{"auth": table{"tpye": "bearer"}}, "settings.auth.tpye: unknown setting, did you mean type?"},
		{table{"idempotency": nil}, "settings.idempotency: missing"},
		{table{"idempotency": "maybe"}, "settings.idempotency: want"},
		{table{"idempotency": table{"mode": "upsert", "header": "X"}}, "settings.idempotency: header and key are for"},
		{table{"idempotency": table{"mode": "key", "key": "{{.idd}}"}}, "settings.idempotency.key: unknown field .idd, did you mean id?"},
		{table{"retry_after": table{"format": "weeks"}}, "settings.retry_after.format: want one of"},
		{table{"operations": nil}, "settings.operations: missing"},
		{table{"operations": table{"message.recieved": table{}}}, `settings.operations."message.recieved": unknown kind of event, did you mean message.received?`},
		{op(table{"path": "x"}), `settings.operations."message.received".path: want a path that begins with /`},
		{op(table{"path": "/a/../b"}), "path: cannot have the segments . and .."},
		{op(table{"path": "/a/%2e%2E/b"}), "path: cannot have the segments . and .."},
		{op(table{"method": "FETCH"}), "method: want one of GET, POST"},
		{op(table{"method": "GET", "body": "{}"}), "body: GET has no body"},
		{op(table{"body": "{"}), "body: not JSON"},
		{op(table{"body": `{{.message.txt}}`}), "body: unknown field .message.txt, did you mean text?"},
		{op(table{"query": table{"q": "{{.idd}}"}}), "query.q: unknown field .idd"},
		{op(table{"skip": true}), "skip: leaves nothing to do"},
		{op(table{"batch": table{"max_items": 0}}), "batch.max_items: want 1 to 200"},
		{op(table{"batch": table{"max_items": 201}}), "batch.max_items: want 1 to 200"},
		{op(table{"batch": table{"max_items": 9, "max_bytes": 0}}), "batch.max_bytes: want 1 to"},
		{op(table{"batch": table{"max_items": 9, "wrap": "a..b"}}), "batch.wrap: want names separated by single dots"},
		{op(table{"batch": table{"max_items": 9, "wrap": "a", "body": "{{.items}}"}}), "batch: want one of wrap and body"},
		{op(table{"batch": table{"max_items": 9, "body": "[]"}}), "batch.body: has no place for the events"},
		{op(table{"batch": table{"max_items": 9}, "path": "/{{.id}}"}), "path: unknown field .id (one request for many events knows .count only)"},
		{op(table{"batch": table{"max_items": 9}, "body": ""}), "batch: needs a body"},
		{results(table{"match": "luck"}), `results.match: want "index"`},
		{results(table{"match": "key"}), "results.key_path: missing"},
		{results(table{"key": "{{.id}}"}), `results: key and key_path are for match = "key"`},
		{results(table{"status": nil}), "results: say how a good row shows"},
		{results(table{"success": table{"path": "ok"}}), "results.success: path needs one of equals"},
		{table{"response": table{"success": []any{}}}, "settings.response.success: without a status"},
		{table{"response": table{"success": []any{"2x"}}}, "settings.response.success: want statuses such as"},
		{table{"response": table{"success": []any{700}}}, "settings.response.success: want statuses such as"},
		{table{"response": table{"success": []any{"299-200"}}}, "settings.response.success: 299-200 begins after its end"},
		{table{"response": table{"ok": table{}}}, "settings.response.ok: want a path"},
		{table{"response": table{"ok": table{"path": "a", "equals": 1, "exists": true}}}, "settings.response.ok: want one of equals"},
		{table{"response": table{"ok": table{"path": "a", "matches": "("}}}, "settings.response.ok.matches: error parsing regexp"},
		{table{"response": table{"ok": table{"path": "a", "equals": []any{1}}}}, "settings.response.ok.equals: want a text, a number"},
		{table{"errors": []any{table{"then": "retry"}}}, "settings.errors[0]: without status, contains or path"},
		{table{"errors": []any{table{"status": []any{409}, "then": "retyr"}}}, "settings.errors[0].then: want one of"},
		{table{"errors": []any{table{"status": []any{409}, "then": "ok", "stauts": 1}}}, "settings.errors[0].stauts: unknown setting, did you mean status?"},
		{table{"health": table{"path": "/{{.id}}"}}, "settings.health.path: unknown field .id (this request is for no event)"},
	} {
		s := good()
		maps.Copy(s, c.change)
		for k, v := range s {
			if v == nil {
				delete(s, k)
			}
		}
		err := check(toJSON(t, s), secrets())
		if core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want %q", c.change, err, c.want)
			continue
		}
		if e := core.AsError(err); !strings.Contains(e.Hint, "settings") || strings.Contains(e.Message, "\n") {
			t.Errorf("%v: the hint %q names no setting, or the message %q has more than a line", c.change, e.Hint, e.Message)
		}
	}
}

func TestCheck_TakesGoodSettings(t *testing.T) {
	for name, change := range map[string]table{
		"the least":           {},
		"a host by its name":  {"base_url": "http://LOCALHOST:9000/api/", "allowed_hosts": []any{"localhost"}},
		"a host and port":     {"base_url": "http://localhost:9000", "allowed_hosts": []any{"localhost:9000"}},
		"the usual port":      {"base_url": "http://10.1.2.3", "allowed_hosts": []any{"10.1.2.3:80"}},
		"IPv6":                {"base_url": "http://[::1]:9000", "allowed_hosts": []any{"[::1]:9000"}},
		"IPv6 without a port": {"base_url": "http://[::1]:9000", "allowed_hosts": []any{"::1"}},
		"a private key name":  {"auth": table{"type": "api_key", "in": "query", "name": "key"}},
		"a key in a header":   {"auth": table{"type": "api_key", "name": "Authorization", "prefix": "Token "}},
		"key by its mode":     {"idempotency": table{"mode": "key", "header": "X-Request-Id", "key": "acme-{{.id}}"}},
		"statuses":            {"response": table{"success": []any{200, "201", "4xx", "500-504"}}},
	} {
		s := good()
		maps.Copy(s, change)
		if err := check(toJSON(t, s), secrets()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheck_NamesSeveralProblemsAtOnce(t *testing.T) {
	err := check(json.RawMessage(`{"base_url":"x","timeout":"x","parallel":99}`), nil)
	for _, want := range []string{"base_url", "timeout", "parallel", "idempotency", "operations"} {
		if err == nil || !strings.Contains(err.Error(), "settings."+want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	for _, bad := range []string{`[]`, `{`, `"x"`, `{"operations":[]}`, ``, `null`} {
		if err := check(json.RawMessage(bad), nil); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}

func TestCheck_NamesTheSecretThatIsMissing(t *testing.T) {
	for _, c := range []struct {
		auth    table
		secrets map[string]core.Secret
		want    string
	}{
		{table{"type": "bearer"}, nil, "secrets.token: missing"},
		{table{"type": "bearer"}, map[string]core.Secret{"token": "a\nb"}, "secrets.token: has line breaks"},
		{table{"type": "basic"}, map[string]core.Secret{"username": "u"}, "secrets.password: missing"},
		{table{"type": "basic"}, map[string]core.Secret{"username": "u:v", "password": "p"}, "secrets.username: cannot have a colon"},
		{table{"type": "api_key", "name": "X-Key"}, map[string]core.Secret{"token": "x"}, "secrets.api_key: missing"},
	} {
		s := good()
		s["auth"] = c.auth
		err := check(toJSON(t, s), c.secrets)
		if core.CodeOf(err) != core.CodeUnauthenticated || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestCheck_AsksWhatHealthSays(t *testing.T) {
	for _, c := range []struct {
		name   string
		health table
		fault  customhttpsim.Fault
		key    core.Secret
		want   core.Code
	}{
		{name: "all is well", health: table{"path": "/me"}, key: apiKey},
		{name: "a wrong key", health: table{"path": "/me"}, key: "wrong-key", want: core.CodeUnauthenticated},
		{name: "a wrong path", health: table{"path": "/you"}, key: apiKey, want: core.CodeInvalid},
		{name: "a body that says no", health: table{"path": "/me", "response": table{"ok": table{"path": "account", "equals": "other"}}}, key: apiKey, want: core.CodeInvalid},
		{name: "an outage", health: table{"path": "/me"}, fault: customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 500}, key: apiKey, want: core.CodeUnavailable},
		{name: "no answer", health: table{"path": "/me"}, fault: customhttpsim.Fault{Kind: customhttpsim.FaultDrop}, key: apiKey, want: core.CodeUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, customhttpsim.Options{Key: apiKey}, notes("none", table{
				"auth": table{"type": "api_key", "name": "X-Api-Key"}, "health": c.health,
			}), nil)
			if c.fault.Kind != "" {
				b.sim.Inject(c.fault)
			}
			b.account.Secrets["api_key"] = c.key
			err := b.connector.Check(t.Context(), b.account)
			if core.CodeOf(err) != c.want {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if err != nil && core.AsError(err).Hint == "" {
				t.Errorf("%v has no hint", err)
			}
		})
	}
}

// Without health it is asked whether anybody is at the address; what they answer to that
// does not matter.
func TestCheck_AsksWhetherAnybodyIsThere(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault customhttpsim.Fault
		want  core.Code
	}{
		{name: "not found, it says"},
		{name: "it fails at that", fault: customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 500}},
		{name: "it wants a key", fault: customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 401}},
		{name: "what is before it says that it is not there", fault: customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 503}, want: core.CodeUnavailable},
		{name: "no answer", fault: customhttpsim.Fault{Kind: customhttpsim.FaultDrop}, want: core.CodeUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, customhttpsim.Options{}, notes("none", nil), nil)
			if c.fault.Kind != "" {
				b.sim.Inject(c.fault)
			}
			err := b.connector.Check(t.Context(), b.account)
			if core.CodeOf(err) != c.want {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if err != nil && core.AsError(err).Hint == "" {
				t.Errorf("%v has no hint", err)
			}
		})
	}
}

// TestConnector_ReachesPrivateAddressesOnlyByName uses real addresses: the name
// localhost resolves to one that must be refused when nobody allowed it.
func TestConnector_ReachesPrivateAddressesOnlyByName(t *testing.T) {
	server := httptest.NewTLSServer(customhttpsim.New(customhttpsim.Options{}))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s := good()
	s["base_url"], s["health"] = "https://localhost:"+port+"/v1", table{"path": "/me"}
	account := core.Account{Settings: toJSON(t, s)}
	e := core.AsError(customhttp.New().Check(t.Context(), account))
	if e == nil || e.Code != core.CodeForbidden || !strings.Contains(e.Hint, "settings.allowed_hosts") {
		t.Errorf("got %v, want a refusal that names allowed_hosts", e)
	}
	// Allowed, it gets as far as the certificate.
	s["allowed_hosts"] = []string{"localhost:" + port}
	account.Settings = toJSON(t, s)
	e = core.AsError(customhttp.New().Check(t.Context(), account))
	if e == nil || e.Code != core.CodeUnavailable || !strings.Contains(e.Message, "certificate") {
		t.Errorf("got %v, want the certificate refused", e)
	}
}

// TestReadme_ShowsSettingsThatWork takes the README's own examples: those that are no
// lane go on from the one before.
func TestReadme_ShowsSettingsThatWork(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := strings.Split(string(text), "```toml\n")[1:]
	if len(examples) < 4 {
		t.Fatalf("there are %d examples", len(examples))
	}
	whole := ""
	for _, example := range examples {
		block, _, _ := strings.Cut(example, "```")
		if strings.HasPrefix(block, "[[lanes]]") {
			whole = ""
		}
		whole += block
		given := secrets()
		given["client_secret"], given["refresh_token"] = appSecret, firstRefresh
		err := checkAccount(core.Account{Tenant: "acme", Lane: "crm", Settings: toJSON(t, lane(t, []byte(whole))), Secrets: given,
			Token: &core.Token{Secrets: map[string]core.Secret{"access": "eyJ.1"}}})
		if err != nil {
			t.Error(err)
		}
	}
}
