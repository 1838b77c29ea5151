package table_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core/table"
)

func parse(t testing.TB, name, text string) *table.Table {
	t.Helper()
	tab, err := table.Parse(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// in is a message in the open hours of a Monday.
func in(text string) table.Message {
	return table.Message{Text: table.Read(text), Local: time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)}
}

func name(r *table.Row) string {
	if r == nil {
		return ""
	}
	return r.Name
}

const shop = `name,keywords,whole,language,hours,first,reply,tag,field.topic,team,topic,priority
night,refund; money back,,,closed,,We are closed.,late,,,,
refund,refund; money back; Rückgabe; 退款,,,,,,complaint; refund,,care,complaint,high
fr,remboursement,,fr,,,Bientôt.,,,,,
price,price list; price,,,,,"From 5 to 20, see the list.",,prices,,,
yes,ok; 👍; yes,yes,,,,Noted.,,,,,
hello,,,,,yes,Welcome!,,,,,
`

func TestTable_FirstFittingRowWins(t *testing.T) {
	for _, form := range []struct{ name, text string }{
		{"shop.csv", shop},
		{"excel.csv", "\ufeff" + strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(shop, ", see", "§ see"), ",", "\t"), "§", ",")},
		{"shop.toml", `
[[row]]
name = "night"
keywords = ["refund", "money back"]
hours = "closed"
reply = "We are closed."
tag = "late"

[[row]]
name = "refund"
keywords = "refund; money back; Rückgabe; 退款"
tag = ["complaint", "refund"]
team = "care"
topic = "complaint"
priority = "high"

[[row]]
name = "fr"
keywords = ["remboursement"]
language = ["fr"]
reply = "Bientôt."

[[row]]
name = "price"
keywords = ["price list", "price"]
reply = "From 5 to 20, see the list."
field.topic = "prices"

[[row]]
name = "yes"
keywords = ["ok", "👍", "yes"]
whole = true
reply = "Noted."

[[row]]
name = "hello"
first = true
reply = "Welcome!"
`},
	} {
		tab := parse(t, form.name, form.text)
		closed, french, first := in("I want my MONEY\n back"), in("un remboursement ?"), in("hi")
		closed.Closed, french.Language, first.First = true, "fr", true
		for _, test := range []struct {
			m    table.Message
			want string
		}{
			{in("I want a refund!"), "refund"}, {in("REFUND"), "refund"}, {in("my money  back, please"), "refund"},
			{in("die rückgabe"), "refund"}, {in("Die RUCKGABE"), "refund"}, {in("我要退款。"), "refund"}, {in("我要退 款"), "refund"},
			{in("refunding is hard"), ""}, {in("money, money; back"), "refund"}, {in("back money"), ""},
			{closed, "night"}, {french, "fr"}, {in("un remboursement"), ""},
			{in("Your price-list?"), "price"}, {in("prices"), ""},
			{in("Ok!"), "yes"}, {in(" ok... "), "yes"}, {in("ok then"), ""}, {in("👍🏽"), "yes"}, {in("👍 thanks"), ""},
			{first, "hello"}, {in("hi"), ""}, {in(""), ""},
		} {
			if got := name(tab.Match(&test.m)); got != test.want {
				t.Errorf("%s: %q fits %q, want %q", form.name, fmt.Sprint(*test.m.Text), got, test.want)
			}
		}
	}
}

func TestTable_HoldsWhatARowSays(t *testing.T) {
	r := parse(t, "shop.csv", shop).Rows[1]
	want := table.Row{N: 3, Line: "shop.csv:3", Name: "refund", Keywords: []string{"refund", "money back", "Rückgabe", "退款"},
		Tags: []string{"complaint", "refund"}, Team: "care", Topic: "complaint", Priority: "high"}
	if diff := cmp.Diff(want, r, cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "hours" }, cmp.Ignore())); diff != "" {
		t.Error(diff)
	}
	if f := parse(t, "shop.csv", shop).Rows[3].Fields; len(f) != 1 || f[0] != (table.Field{Name: "topic", Value: "prices"}) {
		t.Errorf("fields %v", f)
	}
}

func TestTable_HoursAreOfTheBusiness(t *testing.T) {
	tab := parse(t, "h.csv", `name,hours,reply
early,mon-fri 06:00-09:00,x
work,"mon-fri 09-12, 13:30-18; sat 10-13",x
night,fri 22:00-02:00,x
weekend,sat-sun 0-24,x
`)
	for at, want := range map[string]string{
		"Mon 05:59": "", "Mon 06:00": "early", "Mon 08:59": "early", "Mon 09:00": "work", "Mon 12:00": "", "Mon 13:30": "work",
		"Mon 18:00": "", "Sat 10:00": "work", "Sat 13:00": "weekend", "Fri 22:00": "night", "Sat 01:59": "night",
		"Sat 02:00": "weekend", "Sun 23:59": "weekend", "Mon 01:00": "",
	} {
		day, clock, _ := strings.Cut(at, " ")
		m := in("hi")
		hm, err := time.Parse("15:04", clock)
		if err != nil {
			t.Fatal(err)
		}
		m.Local = time.Date(2026, 11, 22, hm.Hour(), hm.Minute(), 0, 0, time.FixedZone("here", 8*3600)) // a Sunday
		for m.Local.Weekday().String()[:3] != day {
			m.Local = m.Local.AddDate(0, 0, 1)
		}
		if got := name(tab.Match(&m)); got != want {
			t.Errorf("%s: %q, want %q", at, got, want)
		}
	}
}

func TestTable_NamesEveryMistakeSoThatAnAnalystFindsIt(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"t.csv", "keyword,reply\na,b\n", `t.csv, row 1: there is no column "keyword"; did you mean keywords?`},
		{"t.csv", "keywords,answer\na,b\n", `t.csv, row 1: there is no column "answer"; there are name, keywords,`},
		{"t.csv", "keywords,fields.x\na,b\n", `a contact's field is written field.NAME`},
		{"t.csv", "keywords,reply,Reply\na,b,c\n", `t.csv, row 1, column reply: is there twice`},
		{"t.csv", "hello,there\n", "t.csv, row 1: there is no column"},
		{"t.csv", "\n\n", "t.csv: there are no rows"},
		{"t.csv", "keywords,reply\n", "t.csv: there are no rows"},
		{"t.csv", "keywords,reply\na,b\n\n# remark\nb,\n", `t.csv, row 5: does nothing: give it a reply`},
		{"t.csv", "keywords,reply\na,\"two\nlines\"\nb,\n", `t.csv, row 3: does nothing`},
		{"t.csv", "keywords,reply\na,b,c\n", `t.csv, row 2: has more cells than there are columns`},
		{"t.csv", "keywords,reply\na,\"b\n", `t.csv, row 2: a quote " is not closed`},
		{"t.csv", "keywords,reply\na,say \"hi\"\n", `t.csv, row 2: a quote " stands within a cell`},
		{"t.csv", "keywords,reply\na,\xff\xfe\n", `t.csv, row 2: is no text in UTF-8: save the file as "CSV UTF-8"`},
		{"t.csv", "\xff\xfek\x00", `t.csv: is no text in UTF-8`},
		{"t.csv", "keywords,whole,reply\na,maybe,b\n", `t.csv, row 2, column whole: is yes or no, not "maybe"`},
		{"t.csv", "keywords,whole,reply\n,yes,b\n", `column whole: says that a keyword is the whole message`},
		{"t.csv", "keywords,language,reply\na,de,b\n", `t.csv, row 2, column language: "de" cannot be told from others; there are en, es`},
		{"t.csv", "keywords,hours,reply\na,9 to 5,b\n", `t.csv, row 2, column hours: "9 to 5" is not understood: write open, closed, or times such as mon-fri 09:00-18:00`},
		{"t.csv", "keywords,hours,reply\na,lun-vie 9-18,b\n", `days are sun, mon`},
		{"t.csv", "keywords,hours,reply\na,9-25,b\n", `no time of the day`},
		{"t.csv", "keywords,hours,reply\na,open; closed,b\n", `not several of these`},
		{"t.csv", "keywords,reply,priority\na,b,high\n", `column priority: is a hand-over's, and the row hands nothing over`},
		{"t.csv", "keywords,team,priority\na,b,urgent\n", `column priority: is low, normal or high, not "urgent"`},
		{"t.csv", "keywords,reply\n...,b\n", `column keywords: "..." has neither letters nor digits`},
		{"t.csv", "keywords,reply\n;,b\n", `column keywords: there is nothing but separators`},
		{"t.csv", "keywords,reply\na b c d e f g h i,b\n", `is too long: at most 8 words`},
		{"t.csv", "keywords,reply\na," + strings.Repeat("é", 4097) + "\n", `column reply: has 4097 characters, at most 4096`},
		{"t.csv", "keywords,tag\na,\"x\ny\"\n", `column tag: has control characters or a line break`},
		{"t.csv", "keywords,reply\na,b\n,c\nd,e\n", `t.csv, row 4: is never reached: row 3 fits every message`},
		{"t.csv", "keywords,reply\na;b,x\nc,y\nB;Á,z\n", `t.csv, row 4, column keywords: is never reached: rows before it, such as row 2, have all`},
		{"t.csv", "keywords,reply\n" + strings.Repeat("a,\n", 40), "row 21: does nothing: give it a reply, a tag, a field, a team or a topic\nand 20 more"},
		{"t.toml", "[[rows]]\nreply = \"a\"\n", `t.toml: there is no "rows": each row begins with [[row]]`},
		{"t.toml", "[row]\nreply = \"a\"\n", `t.toml: each row begins with [[row]], in two brackets`},
		{"t.toml", "[[row]]\nreplay = \"a\"\n", `t.toml, row 1: there is no column "replay"; did you mean reply?`},
		{"t.toml", "[[row]]\nreply = [\"a\"]\n", `t.toml, row 1, column reply: is one text, and no list`},
		{"t.toml", "[[row]]\nkeywords = [1]\n", `column keywords: is a list of texts`},
		{"t.toml", "[[row]]\nreply = 2026-01-01\n", `column reply: is a text`},
		{"t.toml", "[[row]]\nreply = \"a\n", `t.toml:2: `},
		{"t.txt", "", "t.txt: a table's name ends in .csv or .toml"},
		{"t.csv", strings.Repeat("x", table.MaxSize+1), "256 KiB are too large"},
		{"t.csv", "keywords,reply\n" + strings.Repeat("a,b\n", table.MaxRows+1), "a table has at most 5000 rows"},
	} {
		_, err := table.Parse(test.name, []byte(test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.60q\n got  %v\n want %s", test.text, err, test.want)
		}
	}
}

func TestTable_ALaterRowMayNarrowWhatAnEarlierOneLeavesOver(t *testing.T) {
	parse(t, "t.csv", "keywords,language,hours,whole,first,reply\na,fr,,,,1\na,,closed,,,2\na,,,yes,,3\na,,,,yes,4\na,,,,,5\n")
}

func TestTable_IsFastHoweverLargeItIs(t *testing.T) {
	var b strings.Builder
	b.WriteString("keywords,whole,reply\n")
	for i := range table.MaxRows {
		fmt.Fprintf(&b, "a b a b a b a %d; 退退退退退退%d,,x\n", i, i)
	}
	tab := parse(t, "big.csv", b.String())
	m := in(strings.Repeat("a ", 8000) + strings.Repeat("退", 3000))
	began := time.Now()
	if r := tab.Match(&m); r != nil {
		t.Errorf("fits %s", r.Line)
	}
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("took %v", took)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("t.csv", shop, "refund")
	f.Add("t.toml", "[[row]]\nkeywords = [\"a\"]\nreply = \"b\"\n", "a")
	f.Add("t.csv", "a;b\n\"x\ny\";\n", "")
	f.Fuzz(func(t *testing.T, name, text, message string) {
		tab, err := table.Parse(name, []byte(text))
		if (err == nil) != (tab != nil) {
			t.Fatalf("table %v, error %v", tab, err)
		}
		if err != nil {
			if err.Error() == "" {
				t.Error("no words")
			}
			return
		}
		m := in(message)
		r := tab.Match(&m)
		if r != nil && len(r.Keywords) == 0 && r.First {
			t.Errorf("%s fits a message that is not the first", r.Line)
		}
		for _, k := range tab.Rows[0].Keywords {
			whole := in(k)
			whole.First, whole.Language = true, "en"
			if len(tab.Rows[0].Languages) == 0 && tab.Match(&whole) == nil && !strings.Contains(text, "hours") {
				t.Errorf("%q does not fit its own row", k)
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	tab := parse(b, "shop.csv", shop)
	for b.Loop() {
		m := in("Hello, I would like to know whether you can give me my money back, please")
		if r := tab.Match(&m); r == nil || r.Name != "refund" {
			b.Fatal(r)
		}
	}
}
