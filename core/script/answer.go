package script

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// decodeChanges reads what mapFromCRM returned: {fields, tags, untags}.
func decodeChanges(data string) ([]Action, error) {
	var w struct {
		Fields map[string]json.RawMessage `json:"fields"`
		Tags   []string                   `json:"tags"`
		Untags []string                   `json:"untags"`
	}
	if err := decodeStrictly(data, &w); err != nil {
		return nil, fmt.Errorf("mapFromCRM returns {fields, tags, untags}: %w", err)
	}
	if n := len(w.Fields) + len(w.Tags) + len(w.Untags); n > MaxFields {
		return nil, fmt.Errorf("mapFromCRM returned %d changes, at most %d are allowed", n, MaxFields)
	}
	var actions []Action
	var err error
	for _, k := range slices.Sorted(maps.Keys(w.Fields)) {
		a := Action{Type: ActionSetField}
		if a.Name, err = name("a field's name", k); err == nil {
			a.Value, err = fieldText(w.Fields[k])
		}
		if err != nil {
			return nil, fmt.Errorf("mapFromCRM: field %s: %w", quote(k), err)
		}
		actions = append(actions, a)
	}
	add := func(typ string, tags []string) {
		for _, tag := range tags {
			if _, e := name("tag", tag); e != nil && err == nil {
				err = fmt.Errorf("mapFromCRM: %w", e)
			}
			actions = append(actions, Action{Type: typ, Tag: tag})
		}
	}
	add(ActionUntag, w.Untags)
	add(ActionTag, w.Tags)
	if err != nil {
		return nil, err
	}
	return actions, nil
}

// decodeRoute reads what route returned: a team, or {team, owner, priority,
// deadline}.
func decodeRoute(data string) (*Routing, error) {
	var w struct {
		Team     string          `json:"team"`
		Owner    string          `json:"owner"`
		Priority string          `json:"priority"`
		Deadline json.RawMessage `json:"deadline"`
	}
	into := any(&w)
	if strings.HasPrefix(data, `"`) {
		into = &w.Team
	}
	err := decodeStrictly(data, into)
	if err == nil {
		err = bound("team", w.Team, MaxName)
	}
	if err == nil {
		err = bound("owner", w.Owner, MaxName)
	}
	if err == nil {
		err = checkPriority(w.Priority)
	}
	r := &Routing{Team: w.Team, Owner: w.Owner, Priority: w.Priority}
	if err == nil && len(w.Deadline) > 0 && string(w.Deadline) != "null" {
		if r.Deadline, err = after(w.Deadline); err != nil {
			err = fmt.Errorf("deadline: %w", err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("route returns a team or {team, owner, priority, deadline}: %w", err)
	}
	return r, nil
}

// decodeVeto reads what beforeSend returned: true allows, false and a reason do
// not.
func decodeVeto(data string) (string, error) {
	var v any
	if err := json.Unmarshal([]byte(data), &v); err != nil {
		return "", fmt.Errorf("beforeSend: %w", plain(err))
	}
	switch v := v.(type) {
	case bool:
		if v {
			return "", nil
		}
		return "no reason given", nil
	case string:
		if v = strings.TrimSpace(v); v != "" {
			return clip(v, 500), nil
		}
	}
	return "", fmt.Errorf("beforeSend returns nothing or true to let the message go, false or the reason to stop it, and no %s", kindOf(v))
}

func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "empty text"
	case float64:
		return "number"
	case []any:
		return "list"
	}
	return "object"
}

// decodeStrictly refuses what is not known.
func decodeStrictly(data string, v any) error {
	dec := json.NewDecoder(strings.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return plain(err)
	}
	return nil
}
