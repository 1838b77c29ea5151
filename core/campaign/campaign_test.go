package campaign

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wabridge/wabridge/core"
)

func TestTemplate_FillsSlotsWithWhatIsThere(t *testing.T) {
	tpl := Template{Name: "offer", Language: "es", Components: json.RawMessage(
		`[{"type":"body","parameters":[{"type":"text","text":"{{first_name|amiga}} de {{field.city}}"},{"text":"{{column.Código}}"},{"text":"{{first_name|amiga}}!"}]}]`)}
	if err := tpl.FindSlots(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"first_name|amiga", "field.city", "column.Código"}; !slices.Equal(tpl.Slots, want) {
		t.Fatalf("slots %q, want %q", tpl.Slots, want)
	}
	if got := tpl.Columns(); !slices.Equal(got, []string{"Código"}) {
		t.Errorf("columns %q", got)
	}
	values, missing := tpl.Freeze(&core.Contact{Fields: map[string]string{"city": "San\n  Sebastián"}}, map[string]string{"Código": `A"1`})
	if missing != "" {
		t.Fatalf("missing %s", missing)
	}
	got, err := tpl.Render(values)
	const want = `[{"parameters":[{"text":"amiga de San Sebastián","type":"text"},{"text":"A\"1"},{"text":"amiga!"}],"type":"body"}]`
	if err != nil || string(got.Components) != want {
		t.Errorf("%s, %v\nwant %s", got.Components, err, want)
	}
	if _, missing := tpl.Freeze(&core.Contact{Name: "Ana García", Fields: map[string]string{"city": "Lugo"}}, nil); missing != "{{column.Código}}" {
		t.Errorf("missing %q", missing)
	}
	if values, _ := tpl.Freeze(&core.Contact{Name: "Ana García", Fields: map[string]string{"city": "Lugo"}}, map[string]string{"Código": strings.Repeat("x", 5000)}); values[0] != "Ana" || len(values[2]) != maxValue {
		t.Errorf("%.20q", values)
	}
	for _, bad := range []string{`{}`, `["{{secret}}"]`, `["{{field.}}"]`, `["{{name.first}}"]`, `[`, `["` + strings.Repeat("x", maxComponents) + `"]`} {
		tpl := Template{Components: json.RawMessage(bad)}
		if err := tpl.FindSlots(); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("%.30s: %v", bad, err)
		}
	}
}

// What a person is called cannot become a slot, nor JSON.
func TestTemplate_ValuesStayValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"{{column.x}}", `"},{"x":"`, "{{name}}"})).Draw(t, "name")
		tpl := Template{Name: "a", Language: "en", Components: json.RawMessage(`[{"text":"{{name|you}} {{column.x|nothing}}"}]`)}
		if err := tpl.FindSlots(); err != nil {
			t.Fatal(err)
		}
		values, _ := tpl.Freeze(&core.Contact{Name: name}, nil)
		got, err := tpl.Render(values)
		if err != nil {
			t.Fatal(err)
		}
		var back []map[string]string
		if err := json.Unmarshal(got.Components, &back); err != nil || len(back) != 1 || len(back[0]) != 1 || back[0]["text"] != strings.ToValidUTF8(values[0], "\ufffd")+" nothing" {
			t.Fatalf("%q became %s: %v", name, got.Components, err)
		}
	})
}

func TestGoesFirst_IsAsManyAsAsked_SpreadOverTheList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		planned := rapid.IntRange(1, 2000).Draw(t, "planned")
		f := First{Percent: rapid.Float64Range(0, 100).Draw(t, "percent")}
		n := f.Count(planned)
		got, last, gap := 0, -1, 0
		for i := range planned {
			if GoesFirst(i, n, planned) {
				got++
				gap, last = max(gap, i-last), i
			}
		}
		if got != n || n > 0 && gap > (planned+n-1)/n {
			t.Fatalf("%d of %d go first, want %d; the widest gap is %d", got, planned, n, gap)
		}
	})
	if n := (&First{Rows: 50}).Count(20); n != 20 {
		t.Errorf("50 of 20 are %d", n)
	}
}

func TestRowState_GoesForwardOnly(t *testing.T) {
	for _, c := range []struct {
		from, to RowState
		want     bool
	}{
		{RowQueued, RowSent, true}, {RowSent, RowQueued, false}, {RowDelivered, RowSent, false}, {RowDelivered, RowFailed, false}, {RowRead, RowDelivered, false},
		{RowSent, RowFailed, true}, {RowFailed, RowSent, true}, {RowFailed, RowFailed, false}, {RowPlanned, RowSent, false}, {RowUnknown, RowDelivered, true},
	} {
		if got := c.from.Advances(c.to); got != c.want {
			t.Errorf("%s → %s: %v", c.from, c.to, got)
		}
	}
	for _, s := range RowStates() {
		if ended := s.Ended(); ended == slices.Contains([]RowState{RowListed, RowPlanned, RowQueued}, s) {
			t.Errorf("%s has ended: %v", s, ended)
		}
	}
}

func TestStops_LookAtWhatWasSentLately(t *testing.T) {
	var l Lately
	s := &Stops{Failed: 10}
	for range 100_000 { // all went well, for long
		l.Saw(RowQueued, RowSent, 0)
	}
	n := 0
	for ; s.Trouble(l) == "" && n < 1000; n++ {
		l.Saw(RowQueued, RowSent, 0)
		l.Saw(RowSent, RowFailed, 131026)
	}
	if n == 0 || n > 150 {
		t.Errorf("trouble is seen after %d failures", n)
	}
	few := Lately{}
	for range 19 {
		few.Saw(RowQueued, RowFailed, 131049)
	}
	if s.Trouble(few) != "" || s.Judge(few) == "" {
		t.Errorf("of 19: %q, judged %q", s.Trouble(few), s.Judge(few))
	}
	few.Saw(RowQueued, RowFailed, 131049)
	if why := s.Trouble(few); !strings.Contains(why, "100.0 %, more than 5 %") {
		t.Errorf("of 20: %q", why)
	}
	if (&Stops{}).Judge(Lately{}) != "" {
		t.Error("nothing sent is trouble")
	}
}

func TestPace_SaysWhenItWouldBeDone(t *testing.T) {
	now := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		pace Pace
		plan Plan
		want time.Duration
	}{
		"the rate":      {Pace{PerSecond: 80}, Plan{Planned: 8000}, 100 * time.Second},
		"a day's limit": {Pace{PerSecond: 80, PeoplePerDay: 1000, Free: 200}, Plan{Planned: 3000, Begins: 2300}, 72 * time.Hour},
		"enough left":   {Pace{PerSecond: 80, PeoplePerDay: 1000, Free: 1000}, Plan{Planned: 1000, Begins: 1000}, 13 * time.Second},
		"night now":     {Pace{PerSecond: 10}, Plan{Planned: 20, Night: 10, NightEnds: now.Add(3 * time.Hour)}, 3*time.Hour + time.Second},
		"nights":        {Pace{PerSecond: 1, Night: 12 * time.Hour}, Plan{Planned: 100_000}, 100_000*time.Second + 24*time.Hour},
		"the first":     {Pace{PerSecond: 1, Wait: time.Hour}, Plan{Planned: 10}, time.Hour + 10*time.Second},
	} {
		if got, why := c.pace.Finish(&c.plan, now); got.Sub(now) != c.want || len(why) == 0 {
			t.Errorf("%s: after %v, want %v: %q", name, got.Sub(now), c.want, why)
		}
	}
}
