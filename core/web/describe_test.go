package web

import (
	"encoding"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/access"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/hook"
	"github.com/wabridge/wabridge/core/template"
)

// object is a JSON object.
type object = map[string]any

// describer makes the description of the API from the routes, the types that they
// read and answer, and the comments on those.
type describer struct {
	schemas object
	names   map[reflect.Type]string
	// docs are the comments of types ("broker.Story") and fields ("broker.Story.Root").
	docs map[string]string
	// read are the types that requests have: a name in them that is not known is a
	// mistake.
	read map[reflect.Type]bool
}

// needed are the fields that a request must have, where that cannot be seen from
// the type.
var needed = map[string][]string{
	"Message": {"type"}, "EraseRequest": {"contact"}, "ReleaseRequest": {"conversation"},
}

// isEvent are the fields that hold an event as it was stored.
var isEvent = []string{"DeadLetter.event", "QueueItem.event", "MailboxPage.events"}

var commentLink = regexp.MustCompile(`\[([A-Za-z.]+)\]`)

func newDescriber(t *testing.T) *describer {
	t.Helper()
	d := &describer{schemas: object{}, names: map[reflect.Type]string{}, docs: map[string]string{}, read: map[reflect.Type]bool{}}
	for _, dir := range []string{"..", "../access", "../broker", "../campaign", "../consent", "../hook", "../roster", "../script", "../template", "."} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", dir, err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				d.comments(t, file)
			}
		}
	}
	return d
}

// comments takes note of what a file says of its types.
func (d *describer) comments(t *testing.T, file string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	clean := func(groups ...*ast.CommentGroup) string {
		for _, g := range groups {
			if text := strings.Join(strings.Fields(g.Text()), " "); text != "" {
				return commentLink.ReplaceAllString(text, "$1")
			}
		}
		return ""
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		decl, ok := n.(*ast.GenDecl)
		if !ok || decl.Tok != token.TYPE {
			return true
		}
		for _, spec := range decl.Specs {
			typ := spec.(*ast.TypeSpec) //nolint:forcetypeassert // of token.TYPE
			name := parsed.Name.Name + "." + typ.Name.Name
			d.docs[name] = clean(typ.Doc, decl.Doc)
			if s, ok := typ.Type.(*ast.StructType); ok {
				for _, f := range s.Fields.List {
					for _, n := range f.Names {
						d.docs[name+"."+n.Name] = clean(f.Doc, f.Comment)
					}
				}
			}
		}
		return false
	})
}

func docName(t reflect.Type) string {
	return t.PkgPath()[strings.LastIndex(t.PkgPath(), "/")+1:] + "." + t.Name()
}

var (
	timeType = reflect.TypeFor[time.Time]()
	rawType  = reflect.TypeFor[json.RawMessage]()
	textType = reflect.TypeFor[encoding.TextMarshaler]()
)

// schema returns the schema of what a type is in JSON.
func (d *describer) schema(t reflect.Type) object {
	switch {
	case t == timeType:
		return object{"type": "string", "format": "date-time"}
	case t == rawType, t.Kind() == reflect.Interface:
		return object{}
	case t == reflect.TypeFor[time.Duration]():
		return object{"type": "integer", "description": "Nanoseconds."}
	case t == reflect.TypeFor[template.Examples]():
		texts := object{"type": "string"}
		return object{"oneOf": []any{object{"type": "array", "items": texts}, object{"type": "object", "additionalProperties": texts}}}
	case t == reflect.TypeFor[template.DraftHeader](), t == reflect.TypeFor[template.DraftButton](): // a text alone, or more
		return object{"oneOf": []any{object{"type": "string"}, d.ref(t)}}
	case t == reflect.TypeFor[access.Scope]():
		return object{"type": "string", "enum": access.Scopes()}
	case t == reflect.TypeFor[core.Code]():
		return object{"type": "string", "enum": core.Codes()}
	case t.Implements(textType) && t.Kind() != reflect.Pointer:
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.schema(t.Elem())
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 && t.Kind() == reflect.Slice {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		return d.ref(t)
	default:
		return object{"type": "integer"}
	}
}

// ref returns a reference to the schema of a struct.
func (d *describer) ref(t reflect.Type) object {
	name, ok := d.names[t]
	if !ok {
		name = strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
		if d.schemas[name] != nil {
			p := docName(t)
			name = strings.ToUpper(p[:1]) + p[1:strings.Index(p, ".")] + name
		}
		d.names[t] = name
		s := object{"type": "object"}
		d.schemas[name] = s
		properties, required := object{}, []string{}
		d.fields(t, name, properties, &required)
		s["properties"] = properties
		if n, ok := needed[name]; ok {
			required = n
		}
		if len(required) > 0 {
			slices.Sort(required)
			s["required"] = required
		}
		if text := d.docs[docName(t)]; text != "" {
			s["description"] = text
		}
		if d.read[t] {
			s["additionalProperties"] = false
		}
	}
	return object{"$ref": "#/components/schemas/" + name}
}

func (d *describer) fields(t reflect.Type, name string, properties object, required *[]string) {
	for f := range t.Fields() {
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && tag == "":
			d.fields(f.Type, name, properties, required)
			continue
		case !f.IsExported() || tag == "-":
			continue
		case tag == "":
			tag = f.Name
		}
		s := d.schema(f.Type)
		may := options == ""
		if slices.Contains(isEvent, name+"."+tag) {
			s = object{"anyOf": []any{d.ref(reflect.TypeFor[core.Event]()), object{"type": "null"}}} // of one that cannot be read
			if f.Type.Kind() == reflect.Slice && f.Type != rawType {
				s = object{"type": "array", "items": s}
			}
		}
		if k := f.Type.Kind(); may && s["type"] != nil && (k == reflect.Slice || k == reflect.Map) {
			s["type"] = []any{s["type"], "null"}
		} else if may && k == reflect.Pointer {
			s = object{"anyOf": []any{s, object{"type": "null"}}}
		}
		if text := d.docs[docName(t)+"."+f.Name]; text != "" {
			s["description"] = text
		}
		properties[tag] = s
		if may && (!d.read[t] || tag != "tenant") {
			*required = append(*required, tag)
		}
	}
}

func content(schema object, example any) object {
	c := object{"schema": schema}
	if example != nil {
		c["example"] = example
	}
	return object{"application/json": c}
}

var pathParam = regexp.MustCompile(`\{(\w+)(\.\.\.)?\}`)

// operation describes a route.
func (d *describer) operation(r route) object {
	tag, _, _ := strings.Cut(strings.TrimPrefix(r.path, "/api/v1/"), "/")
	o := object{
		"operationId": r.id, "summary": firstSentence(r.says), "tags": []string{tag}, "x-scope": r.scope,
		"description": r.says + " Needs the scope `" + string(r.scope) + "`.",
	}
	params := []any{}
	for _, m := range pathParam.FindAllStringSubmatch(r.path, -1) {
		params = append(params, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, q := range r.query {
		s := object{"type": "string"}
		switch {
		case q.number:
			s = object{"type": "integer", "minimum": 1}
		case q.time:
			s["format"] = "date-time"
		}
		params = append(params, object{"name": q.name, "in": "query", "required": q.needed, "schema": s, "description": q.says})
	}
	if r.key != keyNone {
		params = append(params, object{
			"name": "Idempotency-Key", "in": "header", "required": r.key == keyNeeded, "schema": object{"type": "string", "minLength": 1, "maxLength": maxKey},
			"description": "The same key makes it happen once, however often it is asked for: remembered for store.seen_days, and for a subscription as long as there is one.",
		})
	}
	if len(params) > 0 {
		o["parameters"] = params
	}
	if r.body != nil {
		t := reflect.TypeOf(r.body)
		d.read[t] = true
		o["requestBody"] = object{"required": true, "content": content(d.schema(t), examples[r.id])}
	}
	if r.bytes {
		o["requestBody"] = object{"required": true, "content": object{"*/*": object{"schema": object{"type": "string", "format": "binary"}}}}
	}
	answers := object{"4XX": object{"$ref": "#/components/responses/Error"}, "5XX": object{"$ref": "#/components/responses/Error"}}
	for status, v := range r.answers {
		answers[fmt.Sprint(status)] = object{"description": "Done.", "content": content(d.schema(reflect.TypeOf(v)), nil)}
		if status == 202 {
			answers["202"].(object)["description"] = "Stored; the rest follows." //nolint:forcetypeassert // just put
		}
	}
	o["responses"] = answers
	if r.look {
		o["security"] = []any{object{"token": []string{}}, object{}}
	}
	return o
}

func firstSentence(s string) string {
	first, _, _ := strings.Cut(s, ". ")
	return strings.TrimSuffix(first, ".")
}

// describe makes the description.
func describe(t *testing.T, routes []route) []byte {
	t.Helper()
	d := newDescriber(t)
	d.ref(reflect.TypeFor[core.Event]()) // first, so that it has the short names
	paths, named := object{}, []any{}
	for _, r := range routes {
		path := pathParam.ReplaceAllString(r.path, "{$1}")
		if paths[path] == nil {
			paths[path] = object{}
		}
		paths[path].(object)[strings.ToLower(r.method)] = d.operation(r) //nolint:forcetypeassert // just put
		tag, _, _ := strings.Cut(strings.TrimPrefix(r.path, "/api/v1/"), "/")
		if t := (object{"name": tag, "description": tags[tag]}); !slices.ContainsFunc(named, func(o any) bool { return reflect.DeepEqual(o, t) }) {
			named = append(named, t)
		}
	}
	message := d.ref(reflect.TypeFor[hook.Message]())
	event := object{
		"allOf": []any{message}, "properties": object{"data": object{"oneOf": []any{
			object{"$ref": "#/components/schemas/Event"}, object{"type": "array", "items": object{"$ref": "#/components/schemas/Event"}},
		}}},
	}
	d.ref(reflect.TypeFor[errorAnswer]())
	doc := object{
		"openapi": "3.1.0",
		"info": object{
			"title": "wabridge", "version": "1", "license": object{"name": "Apache License 2.0", "identifier": "Apache-2.0"},
			"description": "The API of a bridge between WhatsApp and CRMs. Within version 1, fields, kinds, operations and codes may be added, and none goes or means something else: " +
				"ignore what you do not know. Bodies have at most 256 KiB; a name in a request that is not known is a mistake. Times are RFC 3339.",
		},
		"servers":  []any{object{"url": "http://127.0.0.1:8080", "description": "Where a bridge listens unless told otherwise (web.listen)."}},
		"security": []any{object{"token": []string{}}},
		"tags":     named,
		"paths":    paths,
		"webhooks": object{"event": object{"post": object{
			"operationId": "event", "summary": "What a subscription's url is called with", "tags": []string{"subscriptions"}, "security": []any{object{}},
			"description": "Signed as Standard Webhooks (https://www.standardwebhooks.com) prescribes. With batch above 1, type is \"batch\" and data a list. " +
				"Any 2xx within 15 seconds means that it was taken. 410 ends the subscription; 429 and 503 may say Retry-After; redirects are not followed.",
			"parameters": []any{
				object{"name": "webhook-id", "in": "header", "required": true, "schema": object{"type": "string"}, "description": "The same whenever the same is told again."},
				object{"name": "webhook-timestamp", "in": "header", "required": true, "schema": object{"type": "string"}, "description": "Seconds since 1970, of this attempt."},
				object{"name": "webhook-signature", "in": "header", "required": true, "schema": object{"type": "string"},
					"description": "\"v1,\" and the base64 of HMAC-SHA256 over \"<webhook-id>.<webhook-timestamp>.<body>\"; two of them, with a space between, while the secret changes."},
			},
			"requestBody": object{"required": true, "content": content(event, examples["event"])},
			"responses":   object{"2XX": object{"description": "Taken."}, "410": object{"description": "No more, ever."}},
		}}},
		"components": object{
			"schemas": d.schemas,
			"securitySchemes": object{"token": object{
				"type": "http", "scheme": "bearer", "description": "A token of web.api_tokens, or of `wabridge token new`.",
			}},
			"responses": object{"Error": object{
				"description": "What went wrong. 503 and 429 may have Retry-After, in seconds: then the same request may succeed later.",
				"content":     content(object{"$ref": "#/components/schemas/ErrorAnswer"}, examples["error"]),
			}},
		},
	}
	data, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

// tags say what the operations below a path are about.
var tags = map[string]string{
	"messages": "To people.", "contacts": "The people whom the bridge knows.", "contact-export": "All that is held of one person.",
	"contact-records": "People, as lists have them.", "erasures": "How far the erasing of people is.", "corrections": "What a version of a script wrote wrongly.",
	"consent": "Who agreed to what.", "escalations": "Who waits for a person.", "conversations": "Bot or person.", "why": "What happened, and why.",
	"templates": "What the business may begin with.", "template-sync": "Asking WhatsApp for them.", "template-lint": "What WhatsApp would refuse.",
	"decisions": "What scripts were asked and answered.", "queues": "What waits.", "dead": "What could not be delivered.",
	"subscriptions": "Who is told of what happens.", "tokens": "Who may ask for what.", "status": "How the bridge is.",
}

var exampleTemplate = object{
	"name": "order_shipped", "language": "en_US", "category": "utility", "body": "Hello {{name}}, your order {{order}} is on its way to you.",
	"examples": object{"name": "Ana", "order": "A-17"},
	"buttons":  []any{"Help", object{"text": "Track", "url": "https://example.com/o/{{1}}", "example": "https://example.com/o/7"}},
}

// examples are of bodies, by the id of the operation.
var examples = map[string]any{
	"error":             errorAnswer{apiError{Code: "invalid", Message: "send: no template \"welcome\" in es", Hint: "see the tenant's [[templates]]"}},
	"sendMessage":       object{"message": object{"to": "phone:+34600111222", "type": "text", "text": "Your order is on its way."}},
	"mergeContacts":     object{"with": "+34600111333", "by": "ana", "reason": "the same person, said so on the phone", "preview": true},
	"unmergeContact":    object{"by": "ana", "reason": "two people, one phone"},
	"eraseContact":      object{"contact": "+34600111222", "reason": "asked by mail", "by": "ana", "preview": true},
	"changeConsent":     object{"contact": "+34600111222", "level": "marketing", "state": "granted", "source": "api", "evidence": "newsletter form, 2026-11-27"},
	"takeEscalation":    object{"by": "ana"},
	"closeEscalation":   object{"by": "ana", "note": "called back"},
	"releaseEscalation": object{"by": "ana"},
	"releaseConversation": object{
		"conversation": "106540352242922:c01jdkz6q", "by": "ana",
	},
	"replayDeadLetters":  object{"ids": []string{"18e2b0a9c4f1d2e3-00000001"}, "note": "the CRM is mended"},
	"resolveDeadLetters": object{"ids": []string{"18e2b0a9c4f1d2e3-00000001"}, "note": "entered by hand"},
	"subscribe": object{
		"name": "orders", "url": "https://hooks.example.com/whatsapp", "kinds": []core.Kind{core.KindMessageReceived, core.KindMessageStatus},
		"filter": broker.SubscriptionFilter{Statuses: []core.StatusValue{core.StatusDelivered, core.StatusFailed}},
	},
	"createTemplate":     object{"template": exampleTemplate},
	"editTemplate":       object{"template": exampleTemplate},
	"lintTemplate":       object{"template": exampleTemplate},
	"changeSubscription": object{"state": broker.SubscriptionPaused},
	"rotateSubscription": object{"overlap": "24h"},
	"makeToken":          object{"name": "zapier", "scopes": []access.Scope{access.SendMessages, access.WriteSubscriptions}, "expires": "2027-11-27T00:00:00Z"},
	"event": hook.Message{Version: hook.Version, Type: string(core.KindMessageReceived), Timestamp: time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC), Data: json.RawMessage(
		`{"id":"wamid.HBgL","kind":"message.received","tenant":"demo","number":"106540352242922","conversation":"106540352242922:c01jdkz6q",` +
			`"time":"2026-11-27T09:00:00Z","accepted":"2026-11-27T09:00:01Z","source":"whatsapp","contact":{"id":"c01jdkz6q","name":"Ana","phone":"+34600111222"},` +
			`"message":{"id":"wamid.HBgL","direction":"in","type":"text","text":"Where is my order?"}}`)},
}
