package customhttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
)

// settings are the lane's settings table, as written. [compile] checks them
// and makes a plan of them.
type settings struct {
	// BaseURL is the API's: scheme, host and a path that all paths begin with.
	BaseURL string `json:"base_url"`
	// AllowedHosts names hosts (host or host:port) that may be reached by plain
	// http and at private addresses.
	AllowedHosts []string    `json:"allowed_hosts"`
	TLS          tlsSettings `json:"tls"`
	// Proxy is what all requests go through: scheme, host and port. None unless set.
	Proxy string `json:"proxy"`
	// Timeout bounds each request, answer included; 10 s unless set.
	Timeout string `json:"timeout"`
	// Parallel is how many requests of one batch run at once; 8 unless set.
	Parallel *int `json:"parallel"`
	// Headers are sent with every request, as they are.
	Headers map[string]string `json:"headers"`
	Auth    authSettings      `json:"auth"`
	// Idempotency says what the API does with the same event twice. Required.
	Idempotency idempotencySettings `json:"idempotency"`
	// Response, RetryAfter and Errors are for all operations; an operation may
	// have its own response, and error rules that go before these.
	Response   *responseSettings  `json:"response"`
	RetryAfter retryAfterSettings `json:"retry_after"`
	Errors     []errorSettings    `json:"errors"`
	// Left names the headers that say how many requests are left.
	Left leftSettings `json:"left"`
	// Health is what Check asks to prove that the credentials work.
	Health *healthSettings `json:"health"`
	// Operations are by the kind of event that they are for; "*" is for all
	// kinds without one. A kind without an operation is done at once.
	Operations map[string]operationSettings `json:"operations"`
	// Find are searches for the record of a contact of whom none is known.
	Find []findSettings `json:"find"`
	// Pull asks the API what happened there, Webhook reads what it calls the
	// bridge with.
	Pull    []pullSettings   `json:"pull"`
	Webhook *webhookSettings `json:"webhook"`
	// Segments are its lists of contacts, for campaigns.
	Segments *segmentsSettings `json:"segments"`
}

type tlsSettings struct {
	// MinVersion is the oldest version that is spoken, "1.2" (unless set) or "1.3".
	MinVersion string `json:"min_version"`
}

type authSettings struct {
	// Type is "none", "bearer" (secret token), "basic" (secrets username and
	// password), "api_key" (secret api_key), "oauth2" (secrets client_secret
	// and refresh_token), "session" (secrets username and password) or "hmac" (secret
	// signing_key).
	Type string `json:"type"`
	// In is where an API key or the token of a session goes, "header", "query" or
	// "cookie", and Name under which name. Prefix is written before it, or before the
	// token of oauth2, in a header.
	In     string `json:"in"`
	Name   string `json:"name"`
	Prefix string `json:"prefix"`

	// For oauth2. Grant is "client_credentials", "refresh_token" or "jwt_bearer"; TokenURL is
	// where a token is asked for, ClientID what the API calls the app. Client is
	// where the app says who it is, "form" or "basic". Scope and Params are sent
	// along. Token is the path to the token in the answer, access_token unless set.
	Grant    string            `json:"grant"`
	TokenURL string            `json:"token_url"`
	ClientID string            `json:"client_id"`
	Client   string            `json:"client"`
	Scope    string            `json:"scope"`
	Params   map[string]string `json:"params"`
	Token    string            `json:"token"`

	// For jwt_bearer: Algorithm is RS256 (unless set), ES256 (both sign with the secret
	// private_key) or HS256 (with client_secret), KeyID the key's name. Claims are added to,
	// or instead of, iss (ClientID) and aud (TokenURL).
	Algorithm string         `json:"algorithm"`
	KeyID     string         `json:"key_id"`
	Claims    map[string]any `json:"claims"`

	// For session. TokenURL is asked with Body, a template over {{.username}} and
	// {{.password}}, sent as Format, "json" or "form". Token is the path to the token in
	// the answer, token unless set; with In = "cookie" and without Token it is the cookie
	// called Name. Expires is the path to when it ends, Lifetime how long it counts.
	Body     string `json:"body"`
	Format   string `json:"format"`
	Expires  string `json:"expires"`
	Lifetime string `json:"lifetime"`

	// For hmac: Payload is signed with the secret signing_key by Algorithm, "sha256" (unless
	// set) or "sha512", written as Encoding, "hex" (unless set) or "base64", into the header
	// Name as Value, "{signature}" unless set. Timestamp is the header of the time, in
	// TimestampFormat. See [signing] for their words.
	Payload         string `json:"payload"`
	Encoding        string `json:"encoding"`
	Value           string `json:"value"`
	Timestamp       string `json:"timestamp"`
	TimestampFormat string `json:"timestamp_format"`
}

// idempotencySettings may be written as just the mode.
type idempotencySettings struct {
	// Mode is "key": the API drops a request whose key it has seen; "upsert":
	// what is written is keyed by an id in the request; "search": operations with find are
	// looked for before they are done, others bear it; or "none".
	Mode string `json:"mode"`
	// Header carries the key, Idempotency-Key unless set, and Key is the
	// template of it, {{.id}} unless set.
	Header string `json:"header"`
	Key    string `json:"key"`
}

func (s *idempotencySettings) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &s.Mode)
	}
	type plain idempotencySettings
	return json.Unmarshal(b, (*plain)(s))
}

type healthSettings struct {
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Query   map[string]string `json:"query"`
	Headers map[string]string `json:"headers"`
	// Response is not taken from the settings for all operations.
	Response *responseSettings `json:"response"`
}

type operationSettings struct {
	// Skip has the kind done at once although there is an operation "*".
	Skip bool `json:"skip"`
	// Method is POST unless set.
	Method string `json:"method"`
	// Path, the values of Query and Headers, and Body are templates.
	Path    string            `json:"path"`
	Query   map[string]string `json:"query"`
	Headers map[string]string `json:"headers"`
	// Body is JSON; the event itself unless set, nothing when "".
	Body     *string           `json:"body"`
	Batch    *batchSettings    `json:"batch"`
	Response *responseSettings `json:"response"`
	Errors   []errorSettings   `json:"errors"`
	// Find asks whether the record is there already, before it is made.
	Find *readBackSettings `json:"find"`
	// Upload gives the file of message.media to the API before.
	Upload *uploadSettings `json:"upload"`
}

// batchSettings puts several events into one request: the bodies of the
// operation become the items of an array.
type batchSettings struct {
	MaxItems int `json:"max_items"`
	// MaxBytes is the most that a body may have; 1 MiB unless set.
	MaxBytes *int `json:"max_bytes"`
	// Wrap is the path at which the array goes: "events" makes
	// {"events":[…]}, "" the array itself.
	Wrap string `json:"wrap"`
	// Body is a template instead of Wrap, over {{.items}} and {{.count}}.
	Body    string           `json:"body"`
	Results *resultsSettings `json:"results"`
}

// resultsSettings find the result of each event in the answer to a batch.
type resultsSettings struct {
	// Path leads to the array of results; "" is the answer itself.
	Path string `json:"path"`
	// Match is "index", the same order, or "key": the value at KeyPath in a
	// row is what the template Key says of the event ({{.id}} unless set).
	Match   string `json:"match"`
	KeyPath string `json:"key_path"`
	Key     string `json:"key"`
	// Status leads to a status in a row that is judged like an HTTP status.
	Status string `json:"status"`
	// Success says which rows are good.
	Success *conditionSettings `json:"success"`
	// ID leads to the record's id in a row.
	ID string `json:"id"`
	// Contact leads to the id of the contact's record in a row.
	Contact string `json:"contact"`
	// ErrorCode and ErrorMessage lead to the reasons in a bad row. When there
	// is neither Status nor Success, a row is bad if it has an ErrorCode.
	ErrorCode    string `json:"error_code"`
	ErrorMessage string `json:"error_message"`
	// Errors are rules over the row, where those for answers are over the body.
	Errors []errorSettings `json:"errors"`
}

type responseSettings struct {
	// Success are the statuses of success; 2xx unless set.
	Success []any `json:"success"`
	// OK must hold as well: for APIs that answer 200 with {"ok":false}.
	OK *conditionSettings `json:"ok"`
	// ID leads to the record's id. When set, an answer without one does not
	// prove that anything was written.
	ID string `json:"id"`
	// Contact leads to the id of the contact's record, which the bridge then knows.
	Contact string `json:"contact"`
	// ErrorCode and ErrorMessage lead to the reasons in other answers.
	ErrorCode    string `json:"error_code"`
	ErrorMessage string `json:"error_message"`
}

// conditionSettings is a condition on a JSON value. One of Equals, In, Matches
// and Exists is set.
type conditionSettings struct {
	Path    string `json:"path"`
	Equals  any    `json:"equals"`
	In      []any  `json:"in"`
	Matches string `json:"matches"`
	Exists  *bool  `json:"exists"`
}

// errorSettings is a rule: when all of its conditions hold, Then happens.
type errorSettings struct {
	Status []any `json:"status"`
	// Contains is a text in the body.
	Contains string `json:"contains"`
	conditionSettings
	Then string `json:"then"`
	// Hint is shown to the person who gets to see the error.
	Hint string `json:"hint"`
}

type retryAfterSettings struct {
	// Header is Retry-After unless set.
	Header string `json:"header"`
	// Format is "auto" (seconds or an HTTP date), "seconds", "milliseconds" or
	// "epoch" (seconds since 1970).
	Format string `json:"format"`
}

// problems gathers what is wrong with the settings, so that all of it is
// reported at once.
type problems []string

func (p *problems) addf(path, format string, args ...any) {
	// What is for all operations is compiled for each.
	if text := path + ": " + fmt.Sprintf(format, args...); !slices.Contains(*p, text) {
		*p = append(*p, text)
	}
}

// maxProblems is how many are named.
const maxProblems = 5

// err returns the problems as one error; nil when there are none.
func (p *problems) err() *core.Error {
	all := *p
	if len(all) == 0 {
		return nil
	}
	text := strings.Join(all[:min(len(all), maxProblems)], "; ")
	if n := len(all) - maxProblems; n > 0 {
		text += fmt.Sprintf("; and %d more", n)
	}
	hint, _, _ := strings.Cut(all[0], ":")
	return &core.Error{
		Code: core.CodeInvalid, Op: "settings", Source: core.SourcePlugin,
		Message: clip(text, 1000), Hint: "look at " + hint + " in the lane's settings",
	}
}

// parseSettings decodes the settings table. Unknown keys are problems.
func parseSettings(raw json.RawMessage, p *problems) *settings {
	s := new(settings)
	if len(bytes.TrimSpace(raw)) == 0 {
		return s
	}
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		p.addf("settings", "%v", err)
		return s
	}
	findUnknown("settings", tree, reflect.TypeFor[settings](), p)
	if len(*p) > 0 {
		return s
	}
	if err := json.Unmarshal(raw, s); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			p.addf("settings."+embedded.ReplaceAllString(wrong.Field, ""), "want %s, not %s", wordFor(wrong.Type), wrong.Value)
		} else {
			p.addf("settings", "%v", err)
		}
	}
	return s
}

// embedded is the name of a type in the path to a setting, which nobody has written.
var embedded = regexp.MustCompile(`\b[a-z]+Settings\.`)

// wordFor is what people call a type.
func wordFor(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "a table"
	}
	return "a number"
}

// findUnknown reports the keys of value, the JSON of a t, that t does not have.
func findUnknown(path string, value any, t reflect.Type, p *problems) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch value := value.(type) {
	case map[string]any:
		for _, key := range sortedKeys(value) {
			switch t.Kind() {
			case reflect.Map:
				findUnknown(path+"."+quoteKey(key), value[key], t.Elem(), p)
			case reflect.Struct:
				known := jsonFields(t)
				if field, ok := known[key]; ok {
					findUnknown(path+"."+key, value[key], field, p)
				} else {
					p.addf(path+"."+quoteKey(key), "unknown setting%s", suggest(key, sortedKeys(known)))
				}
			}
		}
	case []any:
		if t.Kind() == reflect.Slice {
			for i, v := range value {
				findUnknown(fmt.Sprintf("%s[%d]", path, i), v, t.Elem(), p)
			}
		}
	}
}

// jsonFields returns the types of a struct's fields by their JSON keys, those
// of embedded structs included.
func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type)
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			maps.Copy(fields, jsonFields(f.Type))
		case f.IsExported() && name != "" && name != "-":
			fields[name] = f.Type
		}
	}
	return fields
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// quoteKey writes a key as TOML does.
func quoteKey(key string) string {
	if strings.IndexFunc(key, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	}) < 0 && key != "" {
		return key
	}
	return `"` + clip(key, 60) + `"`
}

// suggest returns ", did you mean x?" when a known name is near.
func suggest(name string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if d := distance(strings.ToLower(name), k); d < least && d < len(k) {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + best + "?"
}

// distance is how many letters to add, drop, change or swap to get from a to b.
func distance(a, b string) int {
	if len(a) > 60 || len(b) > 60 {
		return 60
	}
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j]+cost, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
