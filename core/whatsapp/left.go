package whatsapp

import "encoding/json"

// left makes an update of what of a value is not understood while the rest is: the
// elements of the array name that are odd, and whatever else is beside the array. It has
// the form that Meta gave it, without what was understood. There is none when nothing
// is left.
func (o *origin) left(field string, fields map[string]json.RawMessage, name string, odd []json.RawMessage) []Update {
	value := map[string]json.RawMessage{}
	if len(odd) > 0 {
		value[name] = again(odd)
	}
	for k, raw := range fields {
		if k != name && k != "messaging_product" && k != "metadata" && k != "contacts" && happens(raw) {
			value[k] = raw
		}
	}
	if len(value) == 0 {
		return nil
	}
	for _, k := range []string{"messaging_product", "metadata", "contacts"} {
		if raw, ok := fields[k]; ok {
			value[k] = raw
		}
	}
	of := again(value)
	change := again(struct {
		Field string          `json:"field"`
		Value json.RawMessage `json:"value"`
	}{field, of})
	return []Update{o.unknown(field, of, again(rawEntry{o.entry.ID, o.entry.Time, []json.RawMessage{change}}))}
}

// again writes as JSON what was read from JSON.
func again(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil { // cannot be
		return json.RawMessage("null")
	}
	return b
}

// happens reports whether something of a value may be what happened. That comes in arrays
// and objects; a mere word or number is a detail.
func happens(raw json.RawMessage) bool {
	return len(raw) > 0 && (raw[0] == '[' || raw[0] == '{') && !isEmpty(raw)
}
