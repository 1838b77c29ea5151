package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/wabridge/wabridge/core/roster"
)

// Whoever wrote before, and whatever a list says: nobody shares a key, nobody is
// made twice, and the same list again changes nothing.
func TestImport_AnyListTwiceIsOnce(t *testing.T) {
	numbers := []string{"+5531996883193", "+553196883193", "+34600111222", "+525512345678", "+5215512345678"}
	bsuids := []string{"", "", "BR.1", "ES.1"}
	row := rapid.Custom(func(rt *rapid.T) roster.Person {
		p := listed(rapid.SampledFrom([]string{"", "Ana", "Bo"}).Draw(rt, "name"),
			rapid.SliceOfNDistinct(rapid.SampledFrom(numbers), 0, 2, rapid.ID[string]).Draw(rt, "numbers")...)
		p.BSUID = rapid.SampledFrom(bsuids).Draw(rt, "bsuid")
		p.Tags = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b"}), 0, 2, rapid.ID[string]).Draw(rt, "tags")
		if rapid.Bool().Draw(rt, "agreed") {
			p.Consent = &roster.Consent{State: "granted", Source: "form", Evidence: "ticked"}
		}
		return p
	})
	rapid.Check(t, func(rt *rapid.T) {
		wrote := rapid.SliceOfN(rapid.SampledFrom([]string{"553196883193", "34600111222", "5215512345678", "BR.1", "ES.1", "34600111222 ES.1", "STOP 34600111222"}), 0, 4).Draw(rt, "wrote")
		list := slices.DeleteFunc(rapid.SliceOfN(row, 1, 8).Draw(rt, "list"), func(p roster.Person) bool { return len(p.Keys()) == 0 })
		failure := ""
		synctest.Test(t, func(t *testing.T) {
			b := newBridge(t)
			b.noSync = true
			b.withPolicy(Policy{})
			b.start()
			stopped := false
			for i, w := range wrote {
				from, text := who{}, "hi"
				for word := range strings.FieldsSeq(w) {
					switch {
					case word == "STOP":
						text, stopped = word, true
					case strings.Contains(word, "."):
						from.bsuid = word
					default:
						from.phone = word
					}
				}
				b.webhooks(from.wrote(fmt.Sprint("w", i), hour(i), text))
			}
			first := b.imports(true, slices.Clone(list)...)
			settled(time.Second)
			before := fmt.Sprint(keysOf(b.people()))
			b.crm.tries = nil
			for i, again := range b.imports(true, slices.Clone(list)...) {
				was, _, _ := strings.Cut(first[i], ":")
				is, _, _ := strings.Cut(again, ":")
				if is != ImportSame && is != ImportConflict || was == ImportConflict && is != ImportConflict {
					failure = fmt.Sprintf("row %d was %q, then %q", i, first[i], again)
				}
			}
			settled(time.Second)
			if after := fmt.Sprint(keysOf(b.people())); after != before || len(b.crm.taken()) > 0 {
				failure = fmt.Sprintf("the people were %s, then %s; the CRM was told %v", before, after, b.crm.kinds())
			}
			b.checkAliases()
			if st, err := b.Consent(context.Background(), "acme", "+34600111222"); stopped && (err != nil || st.MayMarket) {
				failure = fmt.Sprintf("who said STOP: %+v, %v", st, err)
			}
			b.stop()
		})
		if failure != "" {
			rt.Fatalf("%s", failure)
		}
	})
}
