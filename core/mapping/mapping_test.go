package mapping

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// ana is all that can be known of a person.
func ana() *Known {
	return &Known{
		Contact: &core.Contact{
			ID: "cana", Name: "Ana María Ruiz", Username: "ana", Phone: "+34600111222", BSUID: "ES.123", Tags: []string{"late", "vip"},
			Fields: map[string]string{"city": "Sevilla", "birthday": "1990-05-01", "plan": "gold"},
		},
		Number: "106540352242922", LastIn: noon, LastOut: noon.Add(time.Minute), In: 7, Out: 3, Human: true, Language: "es",
		Assignee: "Mia", Escalation: "a complaint", Since: noon.Add(-48 * time.Hour), Marketing: "granted", MarketingSince: noon.Add(-time.Hour),
		Suppressed: []string{"request"}, Referral: &core.Referral{URL: "https://fb.me/1", ID: "120", Type: "ad", Headline: "Sale", Click: "ARx"},
		Set: map[string]Mark{"city": {At: noon, By: "script"}, "birthday": {At: noon}, "plan": {At: noon}, "email": {At: noon}},
	}
}

func table(t *testing.T, s *core.Schema, rules ...core.MapRule) *Table {
	t.Helper()
	tab, problems := New(rules, s != nil && len(s.Mapping) > 0)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	tab.Learn(s)
	return tab
}

func TestTable_WritesAllThatIsKnown(t *testing.T) {
	var rules []core.MapRule
	for _, f := range Fields() {
		rules = append(rules, core.MapRule{Field: f.Name, Property: "p_" + f.Name, Direction: To})
	}
	rules = append(rules, core.MapRule{Field: "fields.plan", Property: "p_plan", Direction: To})
	got := table(t, nil, rules...).To(ana(), map[string]Agreed{}, nil)
	want := map[string]any{
		"p_first_name": "Ana", "p_last_name": "María Ruiz", "p_city": "Sevilla", "p_country": "ES", "p_language": "es", "p_birthday": "1990-05-01",
		"p_email": nil, "p_tags": "late;vip", "p_marketing_consent": "granted", "p_contact_id": "cana", "p_name": "Ana María Ruiz", "p_username": "ana",
		"p_phone": "+34600111222", "p_phone_digits": "34600111222", "p_phone_national": "600 11 12 22", "p_phone_country": "ES", "p_bsuid": "ES.123",
		"p_whatsapp_link": "https://wa.me/34600111222", "p_detected_language": "es", "p_number": "106540352242922", "p_mode": "human",
		"p_assignee": "Mia", "p_escalation": "a complaint", "p_suppressed": "request", "p_may_be_written": false,
		"p_marketing_consent_since": "2026-11-27T11:00:00Z", "p_first_seen": "2026-11-25T12:00:00Z", "p_last_inbound": "2026-11-27T12:00:00Z",
		"p_last_outbound": "2026-11-27T12:01:00Z", "p_window_until": "2026-11-28T12:00:00Z", "p_messages_in": 7, "p_messages_out": 3,
		"p_ad_source": "https://fb.me/1", "p_ad_id": "120", "p_ad_headline": "Sale", "p_ad_type": "ad", "p_ad_click": "ARx", "p_plan": "gold",
	}
	delete(got.Properties, "p_time_zone") // as many as the number's country has
	if diff := cmp.Diff(want, got.Properties); diff != "" || got.Changed || len(got.Notes) > 0 {
		t.Errorf("%+v (-want +got):\n%s", got.Notes, diff)
	}
}

func TestTable_SaysNothingOfWhatItDoesNotKnow(t *testing.T) {
	var rules []core.MapRule
	for _, f := range Fields() {
		rules = append(rules, core.MapRule{Field: f.Name, Property: "p_" + f.Name, Direction: To})
	}
	rules = append(rules, core.MapRule{Field: "mode", Property: "p_default", Default: "nobody"})
	got := table(t, nil, rules...).To(&Known{Contact: &core.Contact{ID: "c1"}}, map[string]Agreed{}, nil)
	want := map[string]any{"p_contact_id": "c1", "p_tags": nil, "p_suppressed": nil, "p_may_be_written": true, "p_default": "nobody"}
	if diff := cmp.Diff(want, got.Properties); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTable_FitsWhatItWritesToTheProperty(t *testing.T) {
	schema := func(p core.Property) *core.Schema {
		p.Name = "x"
		return &core.Schema{Objects: []core.Object{{Name: "contacts", Properties: []core.Property{p}}}}
	}
	rule := func(field string, more ...func(*core.MapRule)) core.MapRule {
		r := core.MapRule{Field: field, Property: "x", Direction: To}
		for _, f := range more {
			f(&r)
		}
		return r
	}
	steps := func(s ...string) func(*core.MapRule) { return func(r *core.MapRule) { r.Transform = s } }
	typed := func(s string) func(*core.MapRule) { return func(r *core.MapRule) { r.Type = s } }
	format := func(s string) func(*core.MapRule) { return func(r *core.MapRule) { r.Format = s } }
	values := func(kv ...string) func(*core.MapRule) {
		return func(r *core.MapRule) { r.Values = map[string]string{kv[0]: kv[1], kv[2]: kv[3]} }
	}
	k := ana()
	k.Contact.Fields = map[string]string{
		"city": "  San   Sebastián ", "price": "1.234,50 €", "n": "12", "word": "gold", "thousands": "1,234", "long": "año nuevo", "no": "none", "birthday": "1990-05-01",
		"day": "2026-12-24", "at": "2026-12-24T19:30:00+01:00", "yes": "yes",
	}
	for name, tc := range map[string]struct {
		rule core.MapRule
		p    core.Property
		want any
		note string
	}{
		"trim and upper":       {rule("city", steps("trim", "upper")), core.Property{Type: core.PropertyText}, "SAN SEBASTIÁN", ""},
		"lower":                {rule("fields.word", steps("lower")), core.Property{Type: core.PropertyText}, "gold", ""},
		"digits":               {rule("phone", steps("digits")), core.Property{Type: core.PropertyText}, "34600111222", ""},
		"a number of a text":   {rule("fields.price", steps("number")), core.Property{Type: core.PropertyNumber}, 1234.5, ""},
		"thousands":            {rule("fields.thousands", steps("number")), core.Property{Type: core.PropertyNumber}, 1234.0, ""},
		"no number":            {rule("fields.no", steps("number")), core.Property{Type: core.PropertyNumber}, nil, ""},
		"characters":           {rule("fields.long"), core.Property{Type: core.PropertyText, Length: 3}, "año", ""},
		"the shorter":          {rule("fields.long", func(r *core.MapRule) { r.Length = 2 }), core.Property{Type: core.PropertyText, Length: 3}, "añ", ""},
		"whole tags":           {rule("tags"), core.Property{Type: core.PropertyText, Length: 6}, "late", "tags → x: not all of it fits"},
		"another separator":    {rule("tags", func(r *core.MapRule) { r.Separator = ", " }), core.Property{Type: core.PropertyText}, "late, vip", ""},
		"tags among choices":   {rule("tags"), core.Property{Type: core.PropertyChoices, Values: []string{"VIP"}}, "VIP", `tags → x: the CRM has no value "late"`},
		"a choice in its case": {rule("fields.word"), core.Property{Type: core.PropertyChoice, Values: []string{"Gold"}}, "Gold", ""},
		"no such choice":       {rule("fields.word"), core.Property{Type: core.PropertyChoice, Values: []string{"silver"}}, nil, "fields.word → x: the CRM has no such value: silver"},
		"values":               {rule("mode", values("human", "Person", "bot", "Machine")), core.Property{Type: core.PropertyText}, "Person", ""},
		"words for yes and no": {rule("may_be_written", values("true", "ja", "false", "nein")), core.Property{Type: core.PropertyText}, "nein", ""},
		"no as a number":       {rule("may_be_written"), core.Property{Type: core.PropertyNumber}, 0, ""},
		"no as a text":         {rule("may_be_written"), core.Property{Type: core.PropertyText}, "false", ""},
		"a bool of values":     {rule("mode", values("human", "true", "bot", "false")), core.Property{Type: core.PropertyBool}, true, ""},
		"a day":                {rule("last_inbound"), core.Property{Type: core.PropertyDate}, "2026-11-27", ""},
		"seconds":              {rule("last_inbound", format("seconds")), core.Property{Type: core.PropertyNumber}, noon.Unix(), ""},
		"milliseconds":         {rule("last_inbound", format("milliseconds")), core.Property{Type: core.PropertyTime}, noon.UnixMilli(), ""},
		"a pattern":            {rule("birthday", format("DD.MM.YYYY")), core.Property{Type: core.PropertyText}, "01.05.1990", ""},
		"a count as text":      {rule("messages_in"), core.Property{Type: core.PropertyText}, "7", ""},
		"no among choices":     {rule("may_be_written"), core.Property{Type: core.PropertyChoice, Values: []string{"Yes", "No"}}, nil, "may_be_written → x: the CRM has no such value: Yes, No"},
		"a day of scripts":     {rule("fields.day", typed("date")), core.Property{Type: core.PropertyDate}, "2026-12-24", ""},
		"a time of scripts":    {rule("fields.at", typed("time")), core.Property{Type: core.PropertyTime}, "2026-12-24T18:30:00Z", ""},
		"a yes of scripts":     {rule("fields.yes", typed("bool")), core.Property{Type: core.PropertyBool}, true, ""},
		"a number of scripts":  {rule("fields.price", typed("number")), core.Property{Type: core.PropertyNumber}, 1234.5, ""},
		"a word for a number":  {rule("fields.word", typed("number")), core.Property{Type: core.PropertyNumber}, nil, "fields.word → x: it is no number"},
	} {
		t.Run(name, func(t *testing.T) {
			got := table(t, schema(tc.p), tc.rule).To(k, nil, nil)
			if diff := cmp.Diff(tc.want, got.Properties["x"]); diff != "" || strings.Join(got.Notes, "; ") != tc.note {
				t.Errorf("notes %q (-want +got):\n%s", got.Notes, diff)
			}
		})
	}
}

func TestNew_SaysWhatIsWrongWithARule(t *testing.T) {
	good := core.MapRule{Field: "city", Property: "City"}
	for name, tc := range map[string]struct {
		rules []core.MapRule
		key   string
		text  string
	}{
		"a misspelt field":      {[]core.MapRule{{Field: "fist_name", Property: "x"}}, "field", "did you mean first_name?"},
		"a field of scripts":    {[]core.MapRule{{Field: "shoe", Property: "x"}}, "field", "fields.shoe"},
		"no property":           {[]core.MapRule{{Field: "city"}}, "property", "is missing"},
		"a direction":           {[]core.MapRule{{Field: "city", Property: "x", Direction: "form"}}, "direction", "did you mean from?"},
		"the phone number":      {[]core.MapRule{{Field: "phone", Property: "x", Direction: "both"}}, "direction", `direction = "to" only`},
		"the user id":           {[]core.MapRule{{Field: "bsuid", Property: "x", Direction: "from"}}, "direction", `direction = "to" only`},
		"a conflict":            {[]core.MapRule{{Field: "city", Property: "x", Conflict: "oldest"}}, "conflict", "newest"},
		"a conflict of tags":    {[]core.MapRule{{Field: "tags", Property: "x", Conflict: "crm"}}, "conflict", "has none"},
		"a conflict of consent": {[]core.MapRule{{Field: "marketing_consent", Property: "x", Conflict: "crm"}}, "conflict", "has none"},
		"a conflict one way":    {[]core.MapRule{{Field: "city", Property: "x", Direction: "to", Conflict: "crm"}}, "conflict", "does not change"},
		"a type":                {[]core.MapRule{{Field: "fields.x", Property: "x", Type: "nummer"}}, "type", "did you mean number?"},
		"a type of ours":        {[]core.MapRule{{Field: "email", Property: "x", Type: "text"}}, "type", "has its own"},
		"a step":                {[]core.MapRule{{Field: "city", Property: "x", Transform: []string{"uper"}}}, "transform", "did you mean upper?"},
		"a format of a text":    {[]core.MapRule{{Field: "city", Property: "x", Format: "date"}}, "format", "is none"},
		"a pattern":             {[]core.MapRule{{Field: "last_inbound", Property: "x", Format: "2006-01-02"}}, "format", "DD.MM.YYYY"},
		"a separator":           {[]core.MapRule{{Field: "city", Property: "x", Separator: ","}}, "separator", "for lists"},
		"words for a bool":      {[]core.MapRule{{Field: "may_be_written", Property: "x", Values: map[string]string{"yes": "y"}}}, "values", "true or false"},
		"words for consent":     {[]core.MapRule{{Field: "marketing_consent", Property: "x", Values: map[string]string{"yes": "y"}}}, "values", "granted"},
		"a property twice":      {[]core.MapRule{good, {Field: "state", Property: "city"}}, "property", "writes city already"},
		"a field twice":         {[]core.MapRule{good, {Field: "city", Property: "Town"}}, "field", "reads city already"},
	} {
		t.Run(name, func(t *testing.T) {
			tab, problems := New(tc.rules, false)
			if tab != nil || len(problems) != 1 || problems[0].Key != tc.key || problems[0].Rule != len(tc.rules)-1 || !strings.Contains(problems[0].Text, tc.text) {
				t.Errorf("problems are %+v", problems)
			}
		})
	}
}

func TestTable_SaysWhyARuleCannotBeWithTheCRM(t *testing.T) {
	schema := &core.Schema{Objects: []core.Object{{Name: "contacts", Properties: []core.Property{
		{Name: "City", Type: core.PropertyText}, {Name: "made", Type: core.PropertyTime, ReadOnly: true}, {Name: "score", Type: core.PropertyNumber}, {Name: "rank", Type: core.PropertyNumber},
		{Name: "ok", Type: core.PropertyBool}, {Name: "stage", Type: core.PropertyChoice, Values: []string{"new", "old"}},
	}}}, Mapping: []core.MapRule{
		{Field: "city", Property: "town"}, {Field: "state", Property: "gone"}, {Field: "country", Property: "rank"}, {Field: "nonsense", Property: "x"},
		{Field: "street", Property: "CITY"}, {Field: "mode", Property: "stage"},
	}}
	tab := table(t, schema, core.MapRule{Field: "city", Property: "city"}, core.MapRule{Field: "first_seen", Property: "made"},
		core.MapRule{Field: "company", Property: "compny"}, core.MapRule{Field: "fields.points", Property: "Score"}, core.MapRule{Field: "name", Property: "ok"},
		core.MapRule{Field: "lifecycle", Property: "stage", Values: map[string]string{"a": "new", "b": "ancient"}})
	want := map[string]string{
		"city": "", "first_seen": "read-only", "company": "no property compny", "fields.points": "takes a number", "name": "takes a bool",
		"lifecycle": `no value "ancient"`, "state": "no property gone", "country": "takes a number",
	}
	got := map[string]string{}
	for _, l := range tab.Lines() {
		got[l.Field] = l.Off
		if l.Suggested != (l.Field == "state" || l.Field == "country") {
			t.Errorf("%s: suggested is %v", l.Field, l.Suggested)
		}
	}
	for field, why := range want {
		if off, ok := got[field]; !ok || (why == "") != (off == "") || !strings.Contains(off, why) {
			t.Errorf("%s: %q, want %q", field, off, why)
		}
	}
	if len(got) != len(want) {
		t.Errorf("there are rules for %v", slices.Sorted(maps.Keys(got)))
	}
	if reads := tab.Reads(); !slices.Equal(reads, []string{"City"}) {
		t.Errorf("it reads %q", reads)
	}
	if w := tab.To(ana(), map[string]Agreed{}, nil); !cmp.Equal(w.Properties, map[string]any{"City": "Sevilla"}) {
		t.Errorf("it writes %v: want the CRM's own name, and nothing by a rule that is off", w.Properties)
	}
	needs := tab.Needs(*schema)
	again := table(t, &needs, core.MapRule{Field: "city", Property: "city"})
	if w := again.To(ana(), map[string]Agreed{}, nil); !cmp.Equal(w.Properties, map[string]any{"City": "Sevilla"}) {
		t.Errorf("with what is kept of the schema it writes %v", w.Properties)
	}
}

func TestTable_WritesNothingBeforeItKnowsTheCRM(t *testing.T) {
	tab, _ := New([]core.MapRule{{Field: "city", Property: "City"}}, true)
	if w := tab.To(ana(), map[string]Agreed{}, nil); len(w.Properties) > 0 || len(tab.Reads()) > 0 {
		t.Errorf("it writes %v", w.Properties)
	}
	var none *Table
	none.Learn(nil)
	if w := none.To(ana(), nil, nil); len(w.Properties)+len(none.Reads())+len(none.Lines()) > 0 || none.Says("city", nil) {
		t.Error("no mapping maps")
	}
}

func TestTable_DecidesWhoseValueCounts(t *testing.T) {
	hour := time.Hour
	for name, tc := range map[string]struct {
		conflict, direction string
		ours                string        // since noon, when there is any
		agreed              string        // what both had, "-" for nothing known
		told                any           // at noon and:
		after               time.Duration //
		want                string        // of the field
		back                any           // written back
	}{
		"newer there":                     {Newest, Both, "Sevilla", "Cádiz", "Jaén", hour, "Jaén", nil},
		"newer here":                      {Newest, Both, "Sevilla", "Cádiz", "Jaén", -hour, "Sevilla", "Sevilla"},
		"only here, and it is not read":   {Newest, From, "Sevilla", "Cádiz", "Jaén", -hour, "Sevilla", nil},
		"unknown here":                    {Newest, Both, "", "-", "Jaén", -hour, "Jaén", nil},
		"never had there":                 {Newest, Both, "Sevilla", "-", "", hour, "Sevilla", "Sevilla"},
		"taken away there":                {Newest, Both, "Sevilla", "Sevilla", "", hour, "", nil},
		"as it was":                       {Newest, Both, "Sevilla", "Jaén", "Jaén", hour, "Sevilla", nil},
		"alike":                           {Newest, Both, "Sevilla", "Cádiz", " Sevilla ", hour, "Sevilla", nil},
		"the CRM's, though older":         {CRM, Both, "Sevilla", "Cádiz", "Jaén", -hour, "Jaén", nil},
		"the CRM's, which it never had":   {CRM, Both, "Sevilla", "-", nil, hour, "Sevilla", "Sevilla"},
		"the CRM's, which took it away":   {CRM, Both, "Sevilla", "Sevilla", nil, hour, "", nil},
		"the bridge's, though older":      {WhatsApp, Both, "Sevilla", "Cádiz", "Jaén", hour, "Sevilla", "Sevilla"},
		"the bridge's, which has none":    {WhatsApp, Both, "", "-", "Jaén", -hour, "Jaén", nil},
		"the bridge's, taken away there":  {WhatsApp, Both, "Sevilla", "Sevilla", "", hour, "Sevilla", "Sevilla"},
		"what is no text changes nothing": {Newest, Both, "Sevilla", "Cádiz", "a\x00b", hour, "Sevilla", nil},
	} {
		t.Run(name, func(t *testing.T) {
			tab := table(t, nil, core.MapRule{Field: "city", Property: "City", Conflict: tc.conflict, Direction: tc.direction})
			k := &Known{Contact: &core.Contact{ID: "c1", Fields: map[string]string{}}, Set: map[string]Mark{}}
			if tc.ours != "" {
				k.Contact.Fields["city"], k.Set["city"] = tc.ours, Mark{At: noon}
			}
			agreed := map[string]Agreed{}
			if tc.agreed != "-" {
				agreed["City"] = Agreed{Sum: tab.rules()[0].sum(tc.agreed)}
			}
			out := tab.From(k, Told{Lane: "crm", Properties: map[string]any{"City": tc.told, "Other": "x"}, At: noon.Add(tc.after)}, agreed, nil)
			got, changed := out.Fields["city"]
			if !changed {
				got = tc.ours
			}
			if got != tc.want || out.Back["City"] != tc.back {
				t.Errorf("the city is %q, %v is written back (%v)", got, out.Back["City"], out.Notes)
			}
		})
	}
}

func TestTable_KnowsWhenEachPropertyWasChanged(t *testing.T) {
	tab := table(t, nil, core.MapRule{Field: "city", Property: "City"}, core.MapRule{Field: "state", Property: "State"})
	k := &Known{Contact: &core.Contact{ID: "c1", Fields: map[string]string{"city": "Sevilla", "state": "Andalucía"}}, Set: map[string]Mark{"city": {At: noon}, "state": {At: noon}}}
	out := tab.From(k, Told{
		Properties: map[string]any{"City": "Vic", "State": "Catalunya"}, At: noon.Add(time.Hour),
		Changed: map[string]time.Time{"City": noon.Add(time.Minute), "State": noon.Add(-time.Minute)},
	}, map[string]Agreed{}, nil)
	if !cmp.Equal(out.Fields, map[string]string{"city": "Vic"}) || !cmp.Equal(out.Back, map[string]any{"State": "Andalucía"}) || !out.At["city"].Equal(noon.Add(time.Minute)) {
		t.Errorf("%+v", out)
	}
}

func TestTable_LeavesAFieldToTheCRMThatHasTheSay(t *testing.T) {
	tab := table(t, nil, core.MapRule{Field: "city", Property: "City", Conflict: CRM})
	k, agreed := ana(), map[string]Agreed{}
	if w := tab.To(k, agreed, nil); len(w.Properties) > 0 || tab.Says("city", agreed) {
		t.Errorf("before the CRM said anything it writes %v", w.Properties)
	}
	tab.From(k, Told{Properties: map[string]any{"City": "Jaén"}, At: noon}, agreed, nil)
	if !tab.Says("city", agreed) || tab.Says("state", agreed) {
		t.Error("the CRM has no say")
	}
	locked := func(field string) bool { return field == "city" }
	other := table(t, nil, core.MapRule{Field: "city", Property: "Town"})
	if out := other.From(k, Told{Properties: map[string]any{"Town": "Vic"}, At: noon.Add(time.Hour)}, map[string]Agreed{}, locked); len(out.Fields) > 0 || out.Back["Town"] != "Sevilla" {
		t.Errorf("another CRM changes it: %+v", out)
	}
}

func TestTable_TakesTagsAwayThatTheCRMTookAway(t *testing.T) {
	tab := table(t, nil, core.MapRule{Field: "tags", Property: "Labels"})
	k, agreed := ana(), map[string]Agreed{}
	out := tab.From(k, Told{Properties: map[string]any{"Labels": "vip; new"}}, agreed, nil)
	if !slices.Equal(out.Tags, []string{"new"}) || len(out.Untags) > 0 {
		t.Errorf("told for the first time: %+v", out)
	}
	out = tab.From(k, Told{Properties: map[string]any{"Labels": []any{"new"}}}, agreed, nil)
	if len(out.Tags) != 0 || !slices.Equal(out.Untags, []string{"vip"}) {
		t.Errorf("told that one is gone: %+v", out)
	}
}

func TestTable_TakesConsentAsTheCRMSaysItOnce(t *testing.T) {
	tab := table(t, nil, core.MapRule{Field: "marketing_consent", Property: "OptIn"})
	ask := func(marketing string, agreed map[string]Agreed, v any) Taken {
		k := ana()
		k.Marketing = marketing
		return tab.From(k, Told{Lane: "hub", Properties: map[string]any{"OptIn": v}, At: noon}, agreed, nil)
	}
	if out := ask("", map[string]Agreed{}, true); out.Consent != "granted" || !strings.Contains(out.Evidence, `hub: OptIn is "true" since 2026-11-27`) {
		t.Errorf("a yes: %+v", out)
	}
	if out := ask("withdrawn", map[string]Agreed{}, "Yes"); out.Consent != "" || len(out.Notes) != 1 {
		t.Errorf("a yes of unknown age: %+v", out)
	}
	if out := ask("granted", map[string]Agreed{}, "No"); out.Consent != "withdrawn" {
		t.Errorf("a no: %+v", out)
	}
	agreed := map[string]Agreed{}
	ask("", agreed, "No")
	if out := ask("withdrawn", agreed, "Yes"); out.Consent != "granted" {
		t.Errorf("a no that became a yes: %+v", out)
	}
	if out := ask("", map[string]Agreed{}, "perhaps"); out.Consent != "" || len(out.Notes) != 1 {
		t.Errorf("neither: %+v", out)
	}
}

func TestTable_ChecksWhatComesFromACRM(t *testing.T) {
	var rules []core.MapRule
	for field, property := range map[string]string{"email": "Email", "language": "Lang", "time_zone": "Zone", "birthday": "Born", "fields.plan": "Plan", "company": "Firm"} {
		r := core.MapRule{Field: field, Property: property}
		if field == "fields.plan" {
			r.Values = map[string]string{"gold": "Gold Plan"}
		}
		rules = append(rules, r)
	}
	tab := table(t, nil, rules...)
	told := map[string]any{"Email": "ana@example.com", "Lang": "zh_TW", "Zone": "Europe/Madrid", "Born": "1990-05-01T00:00:00Z", "Plan": "Gold Plan", "Firm": map[string]any{"id": "7"}}
	k := func() *Known { return &Known{Contact: &core.Contact{ID: "c1"}} }
	got := tab.From(k(), Told{Properties: told}, map[string]Agreed{}, nil)
	want := map[string]string{"email": "ana@example.com", "language": "zh-tw", "time_zone": "Europe/Madrid", "birthday": "1990-05-01", "plan": "gold", "company": "7"}
	if diff := cmp.Diff(want, got.Fields); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	bad := map[string]any{"Email": "ana at home", "Lang": "Spanish!", "Zone": "Madrid", "Born": "May", "Plan": strings.Repeat("x", maxText+1), "Firm": "a\x1bb"}
	if got := tab.From(k(), Told{Properties: bad}, map[string]Agreed{}, nil); len(got.Fields) > 0 || len(got.Notes) != len(bad) {
		t.Errorf("it takes %v, and says %q", got.Fields, got.Notes)
	}
}

func TestFields_AreEnoughBothWays(t *testing.T) {
	from := 0
	for _, f := range Fields() {
		if f.FromCRM {
			from++
		}
		if f.FromCRM && slices.Contains([]string{"phone", "bsuid", "name", "username", "contact_id"}, f.Name) {
			t.Errorf("a CRM may change %s", f.Name)
		}
	}
	if from < 15 || len(Fields()) < 30 {
		t.Errorf("%d fields, %d from a CRM", len(Fields()), from)
	}
}

func TestTable_GuessesOnlyWhereNobodyKnowsBetter(t *testing.T) {
	tab := table(t, nil, core.MapRule{Field: "country", Property: "Country", Default: "somewhere"}, core.MapRule{Field: "state", Property: "State", Default: "somewhere"})
	k, agreed := ana(), map[string]Agreed{}
	if w := tab.To(k, agreed, nil); len(w.Properties) > 0 {
		t.Errorf("before the CRM said anything it writes %v", w.Properties)
	}
	tab.From(k, Told{Properties: map[string]any{"Country": "", "State": nil}}, agreed, nil)
	if w := tab.To(k, agreed, nil); !cmp.Equal(w.Properties, map[string]any{"Country": "ES", "State": "somewhere"}) {
		t.Errorf("where the CRM has nothing it writes %v", w.Properties)
	}
	if w := tab.To(k, agreed, nil); len(w.Properties) > 0 {
		t.Errorf("and again %v", w.Properties)
	}
}

func TestNames_AreThoseThatScriptsSee(t *testing.T) {
	got := Names([]core.MapRule{{Field: "city"}, {Field: "fields.plan"}, {Field: "phone"}, {Field: "tags"}, {Field: "nonsense"}}, false)
	if !slices.Equal(got, []string{"city", "plan"}) {
		t.Errorf("got %q", got)
	}
	if all := Names(nil, true); len(all) < 15 || !slices.Contains(all, "email") {
		t.Errorf("suggested: %q", all)
	}
}

func BenchmarkTable_To(b *testing.B) {
	var rules []core.MapRule
	for _, f := range Fields() {
		rules = append(rules, core.MapRule{Field: f.Name, Property: "p_" + f.Name})
	}
	tab, _ := New(rules, false)
	tab.Learn(nil)
	k, agreed := ana(), map[string]Agreed{}
	b.ReportAllocs()
	for b.Loop() {
		tab.To(k, agreed, nil)
	}
}

func TestTable_TakesWhatAFieldOfScriptsHolds(t *testing.T) {
	var rules []core.MapRule
	for _, name := range []string{"number", "bool", "date", "time"} {
		rules = append(rules, core.MapRule{Field: "fields." + name, Property: name, Type: name})
	}
	tab := table(t, nil, rules...)
	k, agreed := &Known{Contact: &core.Contact{ID: "c1"}, Set: map[string]Mark{}}, map[string]Agreed{}
	told := map[string]any{"number": 12.50, "bool": "Yes", "date": "2026-12-24T00:00:00Z", "time": "2026-12-24T19:30:00.000+0100"}
	got := tab.From(k, Told{Properties: told}, agreed, nil)
	want := map[string]string{"number": "12.5", "bool": "true", "date": "2026-12-24", "time": "2026-12-24T18:30:00Z"}
	if diff := cmp.Diff(want, got.Fields); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	k.Contact.Fields = got.Fields
	if w := tab.To(k, agreed, nil); len(w.Properties) > 0 {
		t.Errorf("what the CRM said is written again: %v", w.Properties)
	}
	for property, v := range map[string]any{"number": "a lot", "bool": "perhaps", "date": "soon", "time": "later"} {
		if got := tab.From(k, Told{Properties: map[string]any{property: v}}, agreed, nil); len(got.Fields) > 0 || len(got.Notes) != 1 {
			t.Errorf("%v is taken: %+v", v, got)
		}
	}
}
