package script

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wabridge/wabridge/core"
)

// wireAction is an action as a script returns it; scripts/wabridge.d.ts
// describes it for authors.
type wireAction struct {
	Type string `json:"type"`
	Line string `json:"line"`

	Confidence  *float64        `json:"confidence"`
	Text        *string         `json:"text"`
	PreviewURL  bool            `json:"preview_url"`
	Template    json.RawMessage `json:"template"`
	Interactive json.RawMessage `json:"interactive"`
	Media       *wireMedia      `json:"media"`

	Tag string `json:"tag"`

	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`

	After json.RawMessage `json:"after"`
	Data  json.RawMessage `json:"data"`

	Level    string `json:"level"`
	State    string `json:"state"`
	Evidence string `json:"evidence"`

	Topic    string `json:"topic"`
	Team     string `json:"team"`
	Reason   string `json:"reason"`
	Note     string `json:"note"`
	Priority string `json:"priority"`
}

// wireMedia is a file that a script replies with.
type wireMedia struct {
	Type     core.MessageType `json:"type"`
	Link     string           `json:"link"`
	Hash     string           `json:"hash"`
	Caption  string           `json:"caption"`
	Filename string           `json:"filename"`
	Voice    bool             `json:"voice"`
}

// decodeActions reads what a hook returned: a JSON array. The error is a sentence
// for the script's author.
func decodeActions(hook, data string) ([]Action, error) {
	dec := json.NewDecoder(strings.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, fmt.Errorf("%s returned what is no list of actions", hook)
	}
	dec.DisallowUnknownFields()
	var actions []Action
	for i := 0; dec.More(); i++ {
		if i == MaxActions {
			return nil, fmt.Errorf("%s returned more than %d actions", hook, MaxActions)
		}
		var w wireAction
		err := dec.Decode(&w)
		if err != nil {
			err = plain(err)
		}
		var a Action
		if err == nil {
			a, err = w.action()
		}
		if err != nil {
			return nil, &actionError{n: i + 1, line: clip(w.Line, 200), err: err}
		}
		actions = append(actions, a)
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("%s returned what is no list of actions", hook)
	}
	return actions, nil
}

// actionError says what is wrong with an action, and where the script says that
// it was made.
type actionError struct {
	n    int
	line string
	err  error
}

func (e *actionError) Error() string { return fmt.Sprintf("action %d: %v", e.n, e.err) }

func (e *actionError) Unwrap() error { return e.err }

// action checks what a script returned.
func (w *wireAction) action() (Action, error) {
	a := Action{Type: w.Type, Line: clip(w.Line, 200)}
	var err error
	switch w.Type {
	case ActionReply:
		err = w.reply(&a)
	case ActionTag, ActionUntag:
		a.Tag, err = name("tag", w.Tag)
	case ActionSetField:
		if a.Name, err = name("name", w.Name); err == nil {
			a.Value, err = fieldText(w.Value)
		}
	case ActionEscalate:
		err = w.escalate(&a)
	case ActionTimer:
		err = w.timer(&a)
	case ActionCancelTimer:
		a.Name, err = name("name", w.Name)
	case ActionConsent:
		err = w.consent(&a)
	case "":
		return Action{}, fmt.Errorf("not an action: use reply(), tag() and the other functions to make one")
	default:
		return Action{}, fmt.Errorf("%s is not an action: there are reply, tag, untag, setField, escalate, timer, cancelTimer and consent", quote(w.Type))
	}
	if err != nil {
		return Action{}, fmt.Errorf("%s: %w", w.Type, err)
	}
	return a, nil
}

func (w *wireAction) reply(a *Action) error {
	n := 0
	if w.Text != nil {
		n++
		if strings.TrimSpace(*w.Text) == "" {
			return fmt.Errorf("the text is empty")
		}
		if err := bound("text", *w.Text, MaxText); err != nil {
			return err
		}
		if w.PreviewURL {
			a.Message = &core.Message{Type: core.TypeText, Text: *w.Text, PreviewURL: true}
		} else {
			a.Text = *w.Text
		}
	}
	if len(w.Template) > 0 && !bytes.Equal(w.Template, []byte("null")) {
		n++
		template, err := w.template()
		if err != nil {
			return err
		}
		a.Message = &core.Message{Type: core.TypeTemplate, Template: template}
	}
	if len(w.Interactive) > 0 && !bytes.Equal(w.Interactive, []byte("null")) {
		n++
		if w.Interactive[0] != '{' {
			return fmt.Errorf("interactive is an object")
		}
		a.Message = &core.Message{Type: core.TypeInteractive, Interactive: w.Interactive}
	}
	if w.Media != nil {
		n++
		m, err := w.Media.message()
		if err != nil {
			return err
		}
		a.Message = m
	}
	if n != 1 {
		return fmt.Errorf("needs one of text, template, interactive and media")
	}
	if c := w.Confidence; c != nil && (*c < 0 || *c > 1) {
		return fmt.Errorf("confidence is a number from 0 to 1, not %v", *c)
	}
	a.Confidence = w.Confidence
	return nil
}

var fileHash = regexp.MustCompile(`^[0-9a-f]{64}$`)

// message checks a file as far as a script alone says; whether it is there, and what it is,
// is looked at when the reply is decided.
func (m *wireMedia) message() (*core.Message, error) {
	switch m.Type {
	case core.TypeImage, core.TypeVideo, core.TypeAudio, core.TypeDocument, core.TypeSticker:
	default:
		return nil, fmt.Errorf("media.type is image, video, audio, document or sticker, not %s", quote(string(m.Type)))
	}
	switch {
	case (m.Link == "") == (m.Hash == ""):
		return nil, fmt.Errorf("media needs a link or a hash, and not both")
	case m.Hash != "" && !fileHash.MatchString(m.Hash):
		return nil, fmt.Errorf("media.hash is what POST /api/v1/media answered: 64 digits and letters from a to f")
	case m.Caption != "" && (m.Type == core.TypeAudio || m.Type == core.TypeSticker):
		return nil, fmt.Errorf("media of type %s has no caption", m.Type)
	}
	if err := bound("media.caption", m.Caption, MaxCaption); err != nil {
		return nil, err
	}
	if err := bound("media.filename", m.Filename, 240); err != nil {
		return nil, err
	}
	return &core.Message{
		Type: m.Type, Text: m.Caption, Media: &core.Media{Link: m.Link, Hash: m.Hash, Filename: m.Filename, Voice: m.Voice},
	}, nil
}

// template reads a template; its values in short become components on the way.
func (w *wireAction) template() (*core.Template, error) {
	var t core.Template
	if err := json.Unmarshal(w.Template, &t); err != nil {
		if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return nil, fmt.Errorf("template: %w", plain(kind))
		}
		return nil, err
	}
	if t.Name == "" || t.Language == "" {
		return nil, fmt.Errorf("a template needs name and language")
	}
	if c := bytes.TrimSpace(t.Components); len(c) > 0 && c[0] != '[' {
		return nil, fmt.Errorf("a template's components are an array")
	}
	return &t, nil
}

func (w *wireAction) timer(a *Action) (err error) {
	if a.Name, err = name("name", w.Name); err != nil {
		return err
	}
	if a.After, err = after(w.After); err != nil {
		return err
	}
	if len(w.Data) > MaxData {
		return fmt.Errorf("data has %d bytes as JSON, at most %d are allowed", len(w.Data), MaxData)
	}
	if !bytes.Equal(w.Data, []byte("null")) {
		a.Data = w.Data
	}
	return nil
}

var (
	durationText = regexp.MustCompile(`^([0-9]{1,9}(ms|s|m|h|d))+$`)
	durationPart = regexp.MustCompile(`([0-9]+)(ms|s|m|h|d)`)
	durationUnit = map[string]time.Duration{
		"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
	}
)

// after reads when a timer is due: milliseconds, or a text such as "2h" or
// "1d12h".
func after(data json.RawMessage) (time.Duration, error) {
	var v any
	if len(data) > 0 {
		if err := json.Unmarshal(data, &v); err != nil {
			return 0, fmt.Errorf("after: %w", plain(err))
		}
	}
	ms := -1.0
	switch v := v.(type) {
	case float64:
		ms = v
	case string:
		if durationText.MatchString(v) {
			ms = 0
			for _, m := range durationPart.FindAllStringSubmatch(v, -1) {
				n, _ := strconv.ParseFloat(m[1], 64)
				ms += n * float64(durationUnit[m[2]].Milliseconds())
			}
		}
	}
	switch {
	case len(data) == 0:
		return 0, fmt.Errorf(`after is missing: a time such as "30m", "2h" or "1d", or milliseconds`)
	case ms < 0:
		return 0, fmt.Errorf(`after is a time such as "30m", "2h" or "1d", or milliseconds, and no %s`, clip(string(data), 40))
	case ms > float64(MaxAfter.Milliseconds()):
		return 0, fmt.Errorf("after is more than a year")
	}
	return time.Duration(ms * float64(time.Millisecond)), nil
}

func (w *wireAction) consent(a *Action) error {
	a.Level, a.State, a.Evidence = w.Level, w.State, w.Evidence
	if a.Level == "" {
		a.Level = "marketing"
	}
	if a.Level != "marketing" {
		return fmt.Errorf("level is marketing, not %s: what is transactional needs no consent", quote(a.Level))
	}
	if a.State != "granted" && a.State != "withdrawn" {
		return fmt.Errorf("state is granted or withdrawn, not %s", quote(a.State))
	}
	return bound("evidence", a.Evidence, MaxText)
}

func (w *wireAction) escalate(a *Action) error {
	a.Topic, a.Team, a.Reason, a.Note, a.Priority = w.Topic, w.Team, w.Reason, w.Note, w.Priority
	if a.Reason == "" {
		a.Reason = "the script hands over"
	}
	if err := bound("topic", a.Topic, MaxName); err != nil {
		return err
	}
	if err := bound("team", a.Team, MaxName); err != nil {
		return err
	}
	if err := bound("reason", a.Reason, MaxText); err != nil {
		return err
	}
	if err := bound("note", a.Note, MaxText); err != nil {
		return err
	}
	return checkPriority(a.Priority)
}

func checkPriority(p string) error {
	switch p {
	case "", "low", "normal", "high":
		return nil
	}
	return fmt.Errorf("priority is low, normal or high, not %s", quote(p))
}

// fieldText is a contact field's value as text: fields of contacts are texts.
func fieldText(data json.RawMessage) (string, error) {
	var v any
	if len(data) > 0 {
		if err := json.Unmarshal(data, &v); err != nil {
			return "", fmt.Errorf("value: %w", plain(err))
		}
	}
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, bound("value", v, MaxText)
	case float64, bool:
		return string(bytes.TrimSpace(data)), nil
	}
	return "", fmt.Errorf("value is a string, a number, a boolean or null")
}

// decodeFields checks what mapToCRM returned.
func decodeFields(fields []field) (map[string]any, error) {
	if fields == nil {
		return nil, nil
	}
	m := make(map[string]any, len(fields))
	for _, f := range fields {
		if _, err := name("a field's name", f.name); err != nil {
			return nil, fmt.Errorf("mapToCRM: %w", err)
		}
		m[f.name] = f.value
	}
	return m, nil
}

// name checks a short, single-line text.
func name(what, s string) (string, error) {
	if s == "" {
		return "", fmt.Errorf("%s is missing", what)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }) {
		return "", fmt.Errorf("%s has control characters", what)
	}
	return s, bound(what, s, MaxName)
}

func bound(what, s string, limit int) error {
	if len(s) <= limit {
		return nil
	}
	if n := utf8.RuneCountInString(s); n > limit {
		return fmt.Errorf("%s has %d characters, at most %d are allowed", what, n, limit)
	}
	return nil
}

func quote(s string) string { return fmt.Sprintf("%q", clip(s, 40)) }

// clip cuts a text to at most n bytes, at a character's end.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// oneOf puts the article before what package json calls a kind of value.
func oneOf(kind string) string {
	if kind == "array" || kind == "object" {
		return "an " + kind
	}
	return "a " + kind
}

// plain rewords the errors of package json for people who do not write Go.
func plain(err error) error {
	if e, ok := err.(*json.UnmarshalTypeError); ok { //nolint:errorlint // package json returns it as it is
		if e.Field == "" {
			return fmt.Errorf("not an object but %s", oneOf(e.Value))
		}
		return fmt.Errorf("%s cannot be %s", e.Field, oneOf(e.Value))
	}
	s := strings.TrimPrefix(err.Error(), "json: ")
	if rest, ok := strings.CutPrefix(s, "unknown field "); ok {
		return fmt.Errorf("there is no property %s", clip(rest, 60))
	}
	return fmt.Errorf("%s", clip(s, 100))
}
