package hubspotsim

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// appendBatch appends the answer to a batch. The caller holds the lock.
func appendBatch(b []byte, c *call, verb string, inputs []input, out []outcome, now time.Time, properties []string) []byte {
	at := now.UTC().Format("2006-01-02T15:04:05.000Z")
	b = append(b, `{"status":"COMPLETE","results":[`...)
	first := true
	var errs []vendorError
	for i, o := range out {
		switch {
		case o.err != nil:
			e := *o.err
			if in := inputs[i]; in.Trace != "" && c.rows.of(FaultUnnamed, in.ID) == nil {
				e.Context = cloneContext(e.Context)
				e.Context["objectWriteTraceId"] = []string{in.Trace}
			}
			errs = append(errs, e)
			continue
		case o.mute:
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = o.r.append(b, properties)
		if len(o.history) > 0 {
			b = o.r.appendHistory(b, o.history)
		}
		if inputs[i].Properties != nil {
			if verb == "upsert" {
				b = append(b, `,"new":`...)
				b = strconv.AppendBool(b, o.isNew)
			}
			if inputs[i].Trace != "" && c.rows.of(FaultNoTrace, inputs[i].ID) == nil {
				b = append(b, `,"objectWriteTraceId":`...)
				b = appendString(b, inputs[i].Trace)
			}
		}
		b = append(b, '}')
	}
	b = append(b, ']')
	if len(errs) > 0 {
		b = append(b, `,"numErrors":`...)
		b = strconv.AppendInt(b, int64(len(errs)), 10)
		b = append(b, `,"errors":`...)
		text, err := json.Marshal(errs)
		if err != nil {
			panic(err)
		}
		b = append(b, text...)
	}
	b = append(b, `,"startedAt":"`+at+`","completedAt":"`+at+`"}`...)
	return b
}

func cloneContext(m map[string][]string) map[string][]string {
	c := make(map[string][]string, len(m)+1)
	maps.Copy(c, m)
	return c
}

// defaultShown are the properties that reads show of themselves, by object: those on
// https://developers.hubspot.com/docs/api-reference/2026-03/crm/search-the-crm.
var defaultShown = map[string][]string{
	"contacts":  {"createdate", "email", "firstname", "lastmodifieddate", "lastname"},
	"companies": {"name", "domain"},
	"tickets":   {"content", "hs_pipeline", "hs_pipeline_stage", "hs_ticket_priority", "subject"},
}

// asked returns the properties that a read shows: those of the names that exist, or
// the object's default ones where there are no names. The caller holds the lock.
func (t *table) asked(names []string) []string {
	if len(names) == 0 {
		names = defaultShown[t.name]
	}
	known := make([]string, 0, len(names))
	for _, name := range names {
		if t.properties[name] != nil && !slices.Contains(known, name) {
			known = append(known, name)
		}
	}
	return known
}

// append appends a record without its closing brace, with the properties named, null
// where it has no value (nil: those that have one). The caller holds the lock.
func (r *record) append(b []byte, properties []string) []byte {
	created := r.created.UTC().Format("2006-01-02T15:04:05.000Z")
	updated := r.updated.UTC().Format("2006-01-02T15:04:05.000Z")
	b = append(b, `{"id":"`+r.id+`","properties":{"hs_object_id":"`+r.id+`","hs_lastmodifieddate":"`+updated+`","hs_createdate":"`+created+`"`...)
	show := func(name, v string) {
		b = append(b, ',')
		b = appendString(b, name)
		b = append(b, ':')
		b = appendString(b, v)
	}
	if properties == nil {
		for _, v := range r.values {
			show(v.p.Name, v.v)
		}
	}
	for _, name := range properties {
		i := slices.IndexFunc(r.values, func(v value) bool { return v.p.Name == name })
		switch {
		case name == "hs_object_id", name == "hs_lastmodifieddate", name == "hs_createdate":
		case name == "createdate":
			show(name, created)
		case name == "lastmodifieddate":
			show(name, updated)
		case i < 0 || r.values[i].v == "":
			b = append(b, ',')
			b = appendString(b, name)
			b = append(b, ":null"...)
		default:
			show(name, r.values[i].v)
		}
	}
	b = append(b, `},"createdAt":"`+created+`","updatedAt":"`+updated+`","archived":`...)
	b = strconv.AppendBool(b, r.archived)
	if r.archived {
		b = append(b, `,"archivedAt":"`+updated+`"`...)
	}
	return b
}

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	plain := utf8.ValidString(s)
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] >= 0x20 && s[i] != '"' && s[i] != '\\'
	}
	if !plain {
		quoted, err := json.Marshal(s)
		if err != nil {
			panic(err)
		}
		return append(b, quoted...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
