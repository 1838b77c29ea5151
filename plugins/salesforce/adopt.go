package salesforce

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
)

// Who has no record by our key may have one that was made by hand, or by an import: the
// one that Salesforce told of, else one that has the number. Numbers stand as they were
// typed. A query looks at the records as they are, where Salesforce's search lags, and LIKE
// finds digits with anything between them: see
// https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select_comparisonoperators.htm.

// maxFound is how many records a query of numbers returns.
const maxFound = 2000

// adopt gives rows that have no record by their key the id of one that is theirs all the
// same. Of several with the number the oldest counts; one that is another contact's is left
// alone.
func (x *session) adopt(ctx context.Context, rs []*row) *core.Error {
	countries := countriesOf(rs)
	if err := x.adoptTold(ctx, rs, countries); err != nil {
		return err
	}
	return x.adoptNumbered(ctx, slices.DeleteFunc(slices.Clone(rs), func(r *row) bool { return r.id != "" }), countries)
}

// number is the address that a row's number is; the zero one when it has none.
func (r *row) number() core.Address { return contact.Number(r.phone) }

// countriesOf are those of the rows' numbers: one that stands without a country's code
// is read as one of them.
func countriesOf(rs []*row) []string {
	numbers := make([]core.Address, len(rs))
	for i, r := range rs {
		numbers[i] = r.number()
	}
	return contact.Countries(numbers)
}

// adoptTold adopts the records that Salesforce told of, where they are there and their
// people's still.
func (x *session) adoptTold(ctx context.Context, rs []*row, countries []string) *core.Error {
	names := append([]string{"Id", x.ContactKey}, x.AdoptBy...)
	told := map[string]*row{}
	var ids []string
	for _, r := range rs {
		if !recordID.MatchString(r.told) || told[r.told[:15]] != nil {
			continue
		}
		told[r.told[:15]], ids = r, append(ids, quoted(r.told))
		if r.phone != "" {
			names = append(names, x.PhoneField)
		}
		if r.bsuid != "" {
			names = append(names, x.BSUIDField)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	var fields []string
	for _, name := range names {
		if name != "" && !slices.ContainsFunc(fields, func(f string) bool { return strings.EqualFold(f, name) }) {
			fields = append(fields, name)
		}
	}
	records, err := x.query(ctx, "contact read", "SELECT "+strings.Join(fields, ", ")+" FROM "+x.ContactObject+" WHERE Id IN (", ids, ", ", ")")
	if err != nil {
		if err.Vendor == "INVALID_QUERY_FILTER_OPERATOR" { // one of them is no id
			return nil
		}
		return err
	}
	for _, f := range records {
		id := f.text("Id")
		if !recordID.MatchString(id) || f.text(x.ContactKey) != "" {
			continue
		}
		if r := told[id[:15]]; r != nil && x.isOf(r, f, countries) {
			r.id = id
		}
	}
	return nil
}

// isOf reports whether a record has the number or the user id of a row's contact.
func (x *session) isOf(r *row, f found, countries []string) bool {
	if r.bsuid != "" && x.BSUIDField != "" && f.text(x.BSUIDField) == r.bsuid {
		return true
	}
	key := contact.KeyOf(r.number())
	return !key.IsZero() && slices.ContainsFunc(append([]string{x.PhoneField}, x.AdoptBy...), func(name string) bool {
		return name != "" && slices.Contains(contact.Readings(f.text(name), countries), key)
	})
}

// sought is somebody whose number is looked for, and the condition that finds it.
type sought struct {
	key       contact.Key
	condition string
}

// adoptNumbered adopts records by the numbers that they have. Where a query finds more
// than it returns, it is asked of half of the people at a time.
func (x *session) adoptNumbered(ctx context.Context, rs []*row, countries []string) *core.Error {
	byNumber := map[contact.Key]*row{}
	var people []sought
	for _, r := range rs {
		digits := contact.Digits(r.number())
		if digits == "" || len(x.AdoptBy) == 0 {
			continue
		}
		likes := make([]string, len(x.AdoptBy))
		for i, field := range x.AdoptBy {
			likes[i] = field + " LIKE " + between(digits)
		}
		key := contact.KeyOf(r.number())
		byNumber[key], people = r, append(people, sought{key, strings.Join(likes, " OR ")})
	}
	taken := map[string]bool{}
	for _, r := range rs {
		taken[r.id] = true
	}
	queue := inQueries(people)
	for len(queue) > 0 {
		now := queue[:min(len(queue), maxQueries)]
		queue = queue[len(now):]
		queries := make([]string, len(now))
		for i, some := range now {
			queries[i] = x.numberQuery(some)
		}
		pages, err := x.pages(ctx, "contact search", queries)
		if err != nil {
			return unread(err)
		}
		for i, p := range pages {
			if p.err != nil {
				return unread(p.err)
			}
			if half := len(now[i]) / 2; (!p.whole || len(p.records) >= maxFound) && half > 0 {
				queue = append(queue, now[i][:half], now[i][half:])
				continue
			}
			records, err := x.toEnd(ctx, "contact search", p) // one number that very many have
			if err != nil {
				return err
			}
			for _, record := range records {
				x.take(record, byNumber, countries, taken)
			}
		}
	}
	return nil
}

// take gives a record to the person who has its number, if there is one without.
func (x *session) take(record found, byNumber map[contact.Key]*row, countries []string, taken map[string]bool) {
	id := record.text("Id")
	for _, field := range x.AdoptBy {
		for _, key := range contact.Readings(record.text(field), countries) {
			if r := byNumber[key]; r != nil && r.id == "" && id != "" && !taken[id] {
				r.id, taken[id] = id, true
			}
		}
	}
}

// inQueries divides people so that what is asked of each part fits into a query.
func inQueries(people []sought) (parts [][]sought) {
	size := maxQuery
	for i, s := range people {
		n := len(url.QueryEscape(s.condition + " OR "))
		if size += n; size > maxQuery-maxQuery/10 { // the rest is for what stands around it
			parts, size = append(parts, nil), n
		}
		last := len(parts) - 1
		parts[last] = append(parts[last], people[i])
	}
	return parts
}

func (x *session) numberQuery(some []sought) string {
	conditions := make([]string, len(some))
	for i, s := range some {
		conditions[i] = s.condition
	}
	return fmt.Sprintf("SELECT Id, %s FROM %s WHERE %s = null AND (%s) ORDER BY CreatedDate, Id LIMIT %d",
		strings.Join(x.AdoptBy, ", "), x.ContactObject, x.ContactKey, strings.Join(conditions, " OR "), maxFound)
}

// between makes a SOQL pattern for texts that have these digits in their order, whatever
// stands between them.
func between(digits string) string {
	return "'%" + strings.Join(strings.Split(digits, ""), "%") + "%'"
}
