package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/campaign"
	"github.com/wabridge/wabridge/core/roster"
	"github.com/wabridge/wabridge/core/store"
)

// CampaignEntry is a row of a list for a campaign.
type CampaignEntry struct {
	roster.Person
	// Columns are the list's, by their headers; those that the template does not name
	// are not kept.
	Columns map[string]string `json:"columns,omitempty"`
	// Bad is what is wrong with the row: it is kept as excluded.
	Bad string `json:"bad,omitempty"`
}

// CampaignEntries adds rows to a campaign that is a draft.
type CampaignEntries struct {
	Tenant string `json:"tenant"`
	// People are at most CampaignBatch, with their lines as the rows' numbers; a line
	// again takes the place of the one before.
	People []CampaignEntry `json:"people"`
}

// CampaignListed says how many rows a campaign has now.
type CampaignListed struct {
	Rows int `json:"rows"`
}

// AddToCampaign adds rows. Who is not known becomes a contact, without having agreed to
// anything by it; tags, fields and consent of the list are not taken over: for that,
// import it.
func (b *Broker) AddToCampaign(ctx context.Context, name string, r CampaignEntries) (CampaignListed, error) {
	t := b.tenants[r.Tenant]
	if t == nil {
		return CampaignListed{}, noCampaign(name)
	}
	c := t.campaign(name)
	if c == nil {
		return CampaignListed{}, noCampaign(name)
	}
	if len(r.People) > CampaignBatch {
		return CampaignListed{}, core.Errorf(core.CodeInvalid, "campaign", "%d people are too many: at most %d at once", len(r.People), CampaignBatch)
	}
	if c.State != campaign.Draft || c.hasAudience() {
		return CampaignListed{}, core.Errorf(core.CodeUndeliverable, "campaign", "%s takes no rows: only a draft without a tag, field or segment does", name)
	}
	rows, err := t.listed(ctx, c, r.People)
	if err != nil {
		return CampaignListed{}, err
	}
	if err := t.campaigns.take(ctx); err != nil {
		return CampaignListed{}, err
	}
	defer t.campaigns.give()
	if c = t.campaign(name); c == nil { // deleted meanwhile
		return CampaignListed{}, noCampaign(name)
	}
	if c = c.copyOf(); c.State != campaign.Draft {
		return CampaignListed{}, core.Errorf(core.CodeUndeliverable, "campaign", "%s is being planned", name)
	}
	s := store.Settlement{Ingest: true}
	if err := t.list(ctx, c, rows, &s); err != nil {
		return CampaignListed{}, err
	}
	if err := t.keepCampaign(ctx, c, s); err != nil {
		return CampaignListed{}, err
	}
	return CampaignListed{Rows: c.rows()}, nil
}

// listed finds or makes the contacts of a list's rows.
func (t *tenant) listed(ctx context.Context, c *campaignRecord, people []CampaignEntry) ([]*campaign.Row, error) {
	sum := sha256.Sum256([]byte(c.Name))
	im := ImportRequest{Tenant: t.ID, Run: hex.EncodeToString(sum[:6]), File: "campaign " + c.Name, By: c.By, Apply: true, Quiet: true}
	rows := make([]*campaign.Row, len(people))
	byLine := map[int]*campaign.Row{}
	wanted := c.Template.Columns()
	for i := range people {
		p := &people[i]
		if p.Line < 1 || p.Line > roster.MaxRows || byLine[p.Line] != nil || len(p.Bad) > 500 || len(p.Columns) > 200 {
			return nil, core.Errorf(core.CodeInvalid, "campaign", "line %d: want lines from 1, each once", p.Line)
		}
		row := &campaign.Row{N: p.Line, State: campaign.RowListed, Bad: p.Bad}
		for _, name := range wanted {
			if v := p.Columns[name]; v != "" && len(v) <= 4096 {
				if row.Columns == nil {
					row.Columns = map[string]string{}
				}
				row.Columns[name] = v
			}
		}
		for _, tag := range p.Tags {
			if tag == roster.DisabledTag && row.Bad == "" {
				row.Bad = "the number is a landline's"
			}
		}
		rows[i], byLine[p.Line] = row, row
		if row.Bad != "" {
			row.Reason, row.Columns = campaign.Invalid, nil
			continue
		}
		if len(p.Phones) > 0 {
			row.To = core.Address{Kind: core.AddressPhone, Value: p.Phones[0].Number}.String()
		}
		im.People = append(im.People, roster.Person{Line: p.Line, Name: p.Name, Phones: p.Phones, BSUID: p.BSUID})
	}
	if len(im.People) == 0 {
		return rows, nil
	}
	report, err := t.b.ImportContacts(ctx, im)
	if err != nil {
		return nil, err
	}
	if report.Wait != "" {
		return nil, core.Errorf(core.CodeUnavailable, "campaign", "%s", report.Wait)
	}
	for _, res := range report.People {
		row := byLine[res.Line]
		if row.Contact = res.Contact; res.Outcome == ImportConflict || res.Contact == "" {
			row.Contact, row.To, row.Reason, row.Bad = "", "", campaign.Invalid, "contradicts what is known: "+strings.Join(res.Notes, "; ")
		}
	}
	return rows, nil
}

// list adds rows to a campaign, and sees who has one already. The caller has the turn.
func (t *tenant) list(ctx context.Context, c *campaignRecord, rows []*campaign.Row, s *store.Settlement) error {
	keys := make([]store.Key, 0, 3*len(rows))
	for _, r := range rows {
		keys = append(keys, rowKey(t.ID, c.Name, r.N), rowOfKey(t.ID, r.Contact, c.Name), contactKey(t.ID, r.Contact))
	}
	values, err := t.b.o.Store.Get(ctx, keys...)
	if err != nil {
		return err
	}
	taken := map[string]int{}
	for i, r := range rows {
		before, known := decode[campaign.Row](values[3*i])
		if known {
			c.Counts.Move(before.State, "")
			if before.Contact != "" && before.Contact != r.Contact {
				s.Put = append(s.Put, store.Put{Key: rowOfKey(t.ID, before.Contact, c.Name)})
			}
		}
		if r.Contact != "" {
			if n, err := strconv.Atoi(string(values[3*i+1])); err == nil && taken[r.Contact] == 0 {
				taken[r.Contact] = n
			}
			switch n := taken[r.Contact]; {
			case values[3*i+2] == nil: // erased since
				*r = campaign.Row{N: r.N, State: r.State, Reason: campaign.Erased, Bad: "the person was erased"}
			case r.Bad != "": // a record of theirs
				s.Put = append(s.Put, putRowToo(t.ID, r.Contact, c.Name, r.N))
			case n != 0 && n != r.N:
				again := campaign.Row{N: r.N, State: r.State, Reason: campaign.Duplicate, Bad: "the same person as row " + strconv.Itoa(n)}
				if r.Ref != "" {
					again.Contact, again.Ref = r.Contact, r.Ref
					s.Put = append(s.Put, putRowToo(t.ID, r.Contact, c.Name, r.N))
				}
				*r = again
			default:
				taken[r.Contact] = r.N
				s.Put = append(s.Put, putRowOf(t.ID, r.Contact, c.Name, r.N))
			}
		}
		if r.Bad != "" {
			r.State, r.Why = campaign.RowExcluded, r.Bad
		}
		c.Counts.Move("", r.State)
		s.Put = append(s.Put, putRow(t.ID, c.Name, r))
	}
	return nil
}

// listAudience adds the next contacts that have the campaign's tag or field, and reports
// whether there may be more. The caller has the turn.
func (t *tenant) listAudience(ctx context.Context, c *campaignRecord) error {
	const page = 500
	entries, err := t.b.o.Store.Range(ctx, t.ID, bucketPeople, c.Cursor, page)
	if err != nil {
		return err
	}
	n := c.rows()
	var rows []*campaign.Row
	for i, e := range entries {
		if len(rows) == CampaignBatch || n+len(rows) >= roster.MaxRows {
			break
		}
		c.Cursor = e.Key
		c.Listed = i == len(entries)-1 && len(entries) < page
		if strings.Contains(e.Key, "/") { // a conversation
			continue
		}
		if p, ok := decode[person](e.Value); ok && p.MergedInto == "" && c.isFor(p) {
			rows = append(rows, &campaign.Row{N: n + len(rows) + 1, Contact: p.ID, State: campaign.RowListed})
		}
	}
	if len(entries) == 0 || n+len(rows) >= roster.MaxRows {
		c.Listed = true
	}
	if c.Listed {
		c.Cursor = ""
	}
	s := store.Settlement{}
	if err := t.list(ctx, c, rows, &s); err != nil {
		return err
	}
	return t.keepCampaign(ctx, c, s)
}

// isFor reports whether a campaign's audience has a person.
func (c *campaignRecord) isFor(p *person) bool {
	if c.Tag != "" {
		found := false
		for _, tag := range p.Tags {
			found = found || tag == c.Tag
		}
		if !found {
			return false
		}
	}
	if c.Field == "" {
		return true
	}
	v := p.Fields[c.Field]
	return v != "" && (c.Value == "" || v == c.Value)
}
