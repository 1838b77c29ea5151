package script

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/dop251/goja"
	"github.com/evanw/esbuild/pkg/api"

	"github.com/wabridge/wabridge/core/table"
)

// tableModule is a decision table, as a script of its own or as a function that
// a script imports. Rows are looked for natively.
type tableModule struct {
	*table.Table
	// actions are what the rows do, as JSON; quiet without what a person who has
	// the conversation does instead.
	actions, quiet []string
}

func newTableModule(name string, data []byte) (*tableModule, error) {
	t, err := table.Parse(name, data)
	if err != nil {
		return nil, err
	}
	m := &tableModule{Table: t}
	for i := range t.Rows {
		r := &t.Rows[i]
		var loud, quiet []map[string]any
		add := func(typ string, more map[string]any) map[string]any {
			a := map[string]any{"type": typ, "line": r.Line}
			for k, v := range more {
				if v != "" {
					a[k] = v
				}
			}
			return a
		}
		if r.Reply != "" {
			loud = append(loud, add(ActionReply, map[string]any{"text": r.Reply}))
		}
		for _, tag := range r.Tags {
			quiet = append(quiet, add(ActionTag, map[string]any{"tag": tag}))
		}
		for _, f := range r.Fields {
			quiet = append(quiet, add(ActionSetField, map[string]any{"name": f.Name, "value": f.Value}))
		}
		loud = append(loud, quiet...)
		if r.HandsOver() {
			loud = append(loud, add(ActionEscalate, map[string]any{
				"reason": r.Reason(), "team": r.Team, "topic": r.Topic, "priority": r.Priority,
			}))
		}
		m.actions, m.quiet = append(m.actions, asJSON(loud)), append(m.quiet, asJSON(quiet))
	}
	return m, nil
}

func asJSON(actions []map[string]any) string {
	if len(actions) == 0 {
		return ""
	}
	data, err := json.Marshal(actions)
	if err != nil {
		return "" // texts can always be written
	}
	return string(data)
}

// decide is a call of a table that is a script of its own.
func (m *tableModule) decide(call *call, res *result) {
	if !call.hooks.Has(OnMessage) {
		return
	}
	var event struct {
		Message struct{ Text string }
	}
	var context struct {
		Language, Hours, Local string
		Conversation           struct {
			New  bool
			Mode string
		}
	}
	if err := errors.Join(json.Unmarshal([]byte(call.event), &event), json.Unmarshal([]byte(call.context), &context)); err != nil {
		res.failure, res.message = failureScript, "event: "+err.Error()
		return
	}
	row := m.match(event.Message.Text, call.now, context.Language, context.Hours, context.Local, context.Conversation.New)
	if row < 0 {
		return
	}
	if res.answer = m.actions[row]; context.Conversation.Mode == "human" {
		res.answer = m.quiet[row]
	}
}

// match returns the first row that fits, or -1.
func (m *tableModule) match(text string, now time.Time, language, hours, local string, first bool) int {
	at, err := time.Parse(time.RFC3339, local)
	if err != nil {
		at = now
	}
	return m.Index(&table.Message{Text: table.Read(text), Language: language, Closed: hours == "closed", Local: at, First: first})
}

// table calls an imported table: host(hostTable, n, event, context).
func (r *run) table(call goja.FunctionCall) goja.Value {
	n := call.Argument(1).ToInteger()
	if n < 0 || n >= int64(len(r.c.tables)) {
		panic(r.vm.NewTypeError("there is no such table"))
	}
	m := r.c.tables[n]
	text := func(v goja.Value, path ...string) string {
		for _, key := range path {
			o, ok := v.(*goja.Object)
			if !ok {
				return ""
			}
			v = o.Get(key)
		}
		if v == nil || goja.IsUndefined(v) || goja.IsNull(v) {
			return ""
		}
		return v.String()
	}
	event, context := call.Argument(2), call.Argument(3)
	row := m.match(text(event, "message", "text"), r.call.now, text(context, "language"), text(context, "hours"),
		text(context, "local"), text(context, "conversation", "new") == "true")
	if row < 0 {
		return goja.Undefined()
	}
	return parseValue(r.vm, m.actions[row], 0)
}

// add keeps a table for the program and returns its number.
func (b *bundler) add(t *tableModule) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tables = append(b.tables, t)
	return len(b.tables) - 1
}

// tableErrors are a table's mistakes as the bundler takes them.
func tableErrors(err error) (all []api.Message) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		all = append(all, api.Message{Text: line})
	}
	return all
}
