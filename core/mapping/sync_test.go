package mapping

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wabridge/wabridge/core"
)

// world is a bridge and a CRM that know the same person, with a queue between them.
type world struct {
	table  *Table
	now    time.Time
	known  Known
	agreed map[string]Agreed
	queue  []map[string]any // on their way to the CRM

	crm     map[string]any
	changed map[string]time.Time
	record  time.Time
	times   bool // the CRM says when each property was changed
	short   int  // what the CRM keeps of a text, 0 is all
	writes  int
}

// event is what the broker does with any event about the person.
func (w *world) event() {
	if out := w.table.To(&w.known, w.agreed, nil).Properties; len(out) > 0 {
		w.queue = append(w.queue, out)
	}
}

func (w *world) here(field, v string) {
	if w.table.Says(field, w.agreed) || w.known.Contact.Fields[field] == v {
		return
	}
	w.known.Contact.Fields[field], w.known.Set[field] = v, Mark{w.now, "script"}
	w.event()
}

func (w *world) there(property string, v any) {
	if textOf(w.crm[property]) != textOf(v) {
		w.crm[property], w.changed[property], w.record = v, w.now, w.now
	}
}

// deliver writes what waits.
func (w *world) deliver() {
	for _, properties := range w.queue {
		for p, v := range properties {
			w.writes++
			if text, ok := v.(string); ok {
				v = cut(text, w.short)
			}
			w.there(p, v)
		}
	}
	w.queue = nil
}

// tell is what the broker does with what the CRM tells: all that the record has.
func (w *world) tell() {
	told := Told{Lane: "crm", Properties: w.crm, At: w.record}
	if w.times {
		told.Changed = w.changed
	}
	out := w.table.From(&w.known, told, w.agreed, nil)
	for name, v := range out.Fields {
		w.known.Contact.Fields[name], w.known.Set[name] = v, Mark{out.At[name], "crm"}
	}
	c := w.known.Contact
	c.Tags = slices.DeleteFunc(c.Tags, func(tag string) bool { return slices.Contains(out.Untags, tag) })
	c.Tags = append(c.Tags, out.Tags...)
	slices.Sort(c.Tags)
	if len(out.Back) > 0 {
		w.queue = append(w.queue, out.Back)
	}
}

// Whatever both sides do, in whatever order it is told and delivered: once they
// stop, they have the same, and nothing is written any more.
func TestTable_BothSidesEndAlikeAndKeepQuiet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := rapid.SampledFrom(conflicts).Draw(t, "conflict")
		table, problems := New([]core.MapRule{
			{Field: "city", Property: "City", Conflict: rule, Transform: []string{"trim", "upper"}},
			{Field: "fields.plan", Property: "Plan", Conflict: rule, Values: map[string]string{"a": "Alpha", "b": "Beta"}},
			{Field: "tags", Property: "Labels"},
		}, false)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		table.Learn(nil)
		w := &world{
			table: table, now: time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC), agreed: map[string]Agreed{}, crm: map[string]any{}, changed: map[string]time.Time{},
			known: Known{Contact: &core.Contact{ID: "c1", Fields: map[string]string{}}, Set: map[string]Mark{}},
			times: rapid.Bool().Draw(t, "times"), short: rapid.SampledFrom([]int{0, 0, 4}).Draw(t, "short"),
		}
		values := rapid.SampledFrom([]string{"", "Tainan", "taipei", " taipei ", "a", "b", "Alpha"})
		tag := rapid.SampledFrom([]string{"vip", "late", "new"})
		n := rapid.IntRange(1, 15).Draw(t, "n")
		for range n {
			w.now = w.now.Add(time.Minute)
			switch rapid.SampledFrom([]string{"here", "there", "tag", "label", "deliver", "deliver", "tell", "tell", "event"}).Draw(t, "do") {
			case "here":
				w.here(rapid.SampledFrom([]string{"city", "plan"}).Draw(t, "field"), values.Draw(t, "v"))
			case "there":
				w.there(rapid.SampledFrom([]string{"City", "Plan"}).Draw(t, "property"), values.Draw(t, "v"))
			case "tag":
				one := tag.Draw(t, "tag")
				if i := slices.Index(w.known.Contact.Tags, one); i >= 0 {
					w.known.Contact.Tags = slices.Delete(w.known.Contact.Tags, i, i+1)
				} else {
					w.known.Contact.Tags = append(w.known.Contact.Tags, one)
					slices.Sort(w.known.Contact.Tags)
				}
				w.event()
			case "label":
				one, have := tag.Draw(t, "label"), textOf(w.crm["Labels"])
				if strings.Contains(have, one) {
					w.there("Labels", strings.Trim(strings.ReplaceAll(strings.ReplaceAll(have, one, ""), ";;", ";"), ";"))
				} else {
					w.there("Labels", strings.Trim(have+";"+one, ";"))
				}
			case "deliver":
				w.deliver()
			case "tell":
				w.tell()
			case "event":
				w.event()
			}
		}
		rounds := 0
		for ; rounds < 3*maxAgain; rounds++ {
			w.now = w.now.Add(time.Minute)
			before := fmt.Sprint(w.crm, w.known.Contact.Fields, w.known.Contact.Tags, w.agreed)
			w.deliver()
			w.tell()
			w.event()
			if len(w.queue) == 0 && before == fmt.Sprint(w.crm, w.known.Contact.Fields, w.known.Contact.Tags, w.agreed) {
				break
			}
		}
		if rounds == 3*maxAgain {
			t.Fatalf("they never end: the CRM has %v, the bridge %v", w.crm, w.known.Contact.Fields)
		}
		writes := w.writes
		for range 3 * maxAgain { // told again, and written about something else
			w.record = w.record.Add(time.Hour)
			w.tell()
			w.event()
			w.deliver()
		}
		most := 0
		if w.short > 0 { // the CRM makes something else of what is written: that is given up
			most = maxAgain * len(table.rules())
		}
		if w.writes > writes+most {
			t.Fatalf("%d further writes although nobody changed anything", w.writes-writes)
		}
		if w.short > 0 {
			return // what the CRM cuts is never quite alike
		}
		for _, r := range table.rules() {
			v := w.known.value(r.field)
			want, _ := r.to(v.v)
			if _, told := w.crm[r.Property]; !told && rule == CRM && r.field.Type != List {
				continue // nobody knows yet what the CRM has
			}
			// What a person wrote at the CRM stays as they wrote it.
			if got, _ := r.from(w.crm[r.Property]); got == v.v {
				continue
			}
			if r.sum(want) != r.sum(w.crm[r.Property]) {
				t.Fatalf("%s: the bridge would have %q, the CRM has %q", r.Property, textOf(want), textOf(w.crm[r.Property]))
			}
		}
	})
}
