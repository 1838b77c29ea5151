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

// A crowd keeps how many there are of each kind, and roughly where in the list.
func TestCrowd_KeepsKindsInTheOrderOfTheList(t *testing.T) {
	c := &Crowd{}
	const n = 10_000
	for i := range n {
		c = c.Clone()
		c.Add(Kind{New: i >= n/2})
	}
	if len(c.Parts) > maxParts || len(c.Parts) < maxParts/2 {
		t.Errorf("%d parts", len(c.Parts))
	}
	known, begun := 0, 0
	for i, p := range c.Parts {
		known += p[0]
		if len(p) > 1 {
			begun += p[1]
		}
		if i < len(c.Parts)/2-1 && len(p) > 1 && p[1] > 0 {
			t.Errorf("part %d of %d has %v", i, len(c.Parts), p)
		}
	}
	first, rest := c.apart(100)
	went := 0
	for i := range first {
		went += sum(first[i])
		if sum(first[i])+sum(rest[i]) != sum(c.Parts[i]) {
			t.Errorf("part %d comes apart as %v and %v", i, first[i], rest[i])
		}
	}
	if known != n/2 || begun != n/2 || went != 100 {
		t.Errorf("%d and %d, of whom %d go first", known, begun, went)
	}
}

func TestPace_SaysWhenItWouldBeDone(t *testing.T) {
	now := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	crowd := func(n, begun int, rest ...Kind) *Crowd {
		c := &Crowd{}
		for i := range n {
			switch {
			case i < begun:
				c.Add(Kind{New: true})
			case len(rest) > 0:
				c.Add(rest[0])
			default:
				c.Add(Kind{})
			}
		}
		return c
	}
	nights := func(at time.Time, _ string) time.Time { // 21:00 to 9:00
		if h := at.Hour(); h >= 9 && h < 21 {
			return time.Time{}
		}
		return at.Add(3 * time.Hour).Truncate(24 * time.Hour).Add(9 * time.Hour)
	}
	evening := now.Add(11 * time.Hour)
	for name, c := range map[string]struct {
		pace  Pace
		crowd *Crowd
		want  time.Duration
		says  string
	}{
		"the rate":        {Pace{PerSecond: 80}, crowd(8000, 0), 100 * time.Second, "80 messages a second"},
		"the plan":        {Pace{PerSecond: 80, Plan: 4.5, Burst: 30}, crowd(480, 0), 100 * time.Second, "4.5 messages a second"},
		"a day's limit":   {Pace{PerSecond: 80, PeoplePerDay: 1000, Campaigns: 900, Out: 175}, crowd(3000, 2300), 48*time.Hour + 15*time.Second, "1000 new people a day, of whom campaigns begin with 900 (900 left now)"},
		"others' people":  {Pace{PerSecond: 80, PeoplePerDay: 1000, Campaigns: 900, Out: 175, Reached: []Reached{{now.Add(-time.Hour), 700, false}}}, crowd(400, 400), 23*time.Hour + 3*time.Second, "300 left now"},
		"enough left":     {Pace{PerSecond: 80, PeoplePerDay: 2000, Campaigns: 1800}, crowd(1000, 1000), 13 * time.Second, ""},
		"who is withheld": {Pace{PerSecond: 10}, crowd(20, 0, Kind{After: now.Add(3 * time.Hour)}), 3*time.Hour + 2*time.Second, ""},
		"nights":          {Pace{PerSecond: 1, Quiet: nights}, crowd(100_000, 0, Kind{Zones: "UTC"}), 100_000*time.Second + 24*time.Hour, "quiet hours"},
		"the first":       {Pace{PerSecond: 1, First: 10, Wait: time.Hour}, crowd(100, 0), time.Hour + 100*time.Second, "after the first ones"},
	} {
		got, why := c.pace.Finish(c.crowd, now)
		if d := got.Sub(now) - c.want; d < -c.want/100 || d > c.want/100+time.Second || !strings.Contains(strings.Join(why, "; "), c.says) {
			t.Errorf("%s: after %v, want %v: %q", name, got.Sub(now), c.want, why)
		}
	}
	if got, _ := (Pace{PerSecond: 1, Quiet: nights}).Finish(crowd(7200, 0, Kind{Zones: "UTC"}), evening); 14*time.Hour-got.Sub(evening) > 2*time.Second || got.Sub(evening) > 14*time.Hour {
		t.Errorf("an hour before the night, what takes two is done after %v, want 14 h", got.Sub(evening))
	}
	if _, why := (Pace{PerSecond: 1e-9}).Finish(crowd(1_000, 0), now); len(why) == 0 {
		t.Error("what never ends has no bounds")
	}
}
