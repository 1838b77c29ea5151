package broker

import (
	"slices"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/store"
)

// When two are taken apart, what was said meanwhile is in the ledger under the
// survivor's name alone, whoever said it. So that each one's entries add up to
// where they stand, entries are added: for the other, what forbids and holds for
// them too; for the survivor, that what allows does not hold.

// carry adds these entries, and puts them into what both stand by. one is where
// both stood when they were merged, now where they stood before they were parted.
func (r *reunion) carry(s, l *person, l0, one, now consent.Summary) {
	for level, st := range now.Levels {
		if st == one.Levels[level] {
			continue
		}
		if is := l.Consent.Levels[level]; is == st && l0.Levels[level] != st {
			is.Entry = r.enter(l.ID, consent.Entry{At: st.Since, Source: st.Source, Level: level, State: st.State})
			l.Consent.Levels[level] = is
		}
		is, found := s.Consent.Levels[level]
		if st.State == consent.Withdrawn || is.State == st.State || !found && level == consent.Transactional {
			continue
		}
		no := consent.Entry{At: r.at, Source: consent.Person, Level: level, State: consent.Withdrawn}
		if s.Consent.Levels == nil {
			s.Consent.Levels = map[consent.Level]consent.Standing{}
		}
		s.Consent.Levels[level] = consent.Standing{State: no.State, Since: r.at, Source: no.Source, Entry: r.enter(s.ID, no)}
	}
	if m := now.MetaStop; m != nil && m.State == consent.Withdrawn && l.Consent.MetaStop != nil && *l.Consent.MetaStop == *m &&
		(l0.MetaStop == nil || *l0.MetaStop != *m) {
		own := *m
		own.Entry = r.enter(l.ID, consent.Entry{At: m.Since, Source: consent.Meta, Level: consent.Marketing, State: m.State})
		l.Consent.MetaStop = &own
	}
	for _, p := range now.Suppressed {
		if slices.Contains(one.Suppressed, p) {
			continue
		}
		for i, is := range l.Consent.Suppressed {
			if is == p && !slices.Contains(l0.Suppressed, p) {
				l.Consent.Suppressed[i].Entry = r.enter(l.ID, consent.Entry{At: p.Since, Source: p.Source, Reason: p.Reason, Scope: p.Scope})
			}
		}
		for i, is := range s.Consent.Suppressed {
			if p.Lifted && !is.Lifted && is.Reason == p.Reason && is.Scope == p.Scope {
				again := consent.Entry{At: r.at, Source: consent.Person, Reason: p.Reason, Scope: p.Scope}
				s.Consent.Suppressed[i] = consent.Suppression{Reason: p.Reason, Scope: p.Scope, Since: r.at, Source: again.Source, Entry: r.enter(s.ID, again)}
			}
		}
	}
}

// enter adds an entry to a contact's ledger, and returns its ID.
func (r *reunion) enter(contact string, e consent.Entry) string {
	key := r.t.consentKey()
	d := consent.Details{Event: r.cause, Evidence: "two contacts were taken apart, and nobody knows who of them said it: what forbids holds for both", By: r.by}
	e.ID, e.Subject = key.EntryID(r.cause+contact, &e), key.Subject(contact)
	e.Details = key.DetailsHash(e.ID, d)
	log := logConsent
	if e.Reason != "" {
		log = logSuppression
	}
	r.s.Append = append(r.s.Append, store.Append{Log: store.LogID{Tenant: r.t.ID, Name: log}, Data: mustJSON(e)})
	r.s.Put = append(r.s.Put, store.Put{Key: detailsKey(r.t.ID, contact, e.ID), Value: mustJSON(d)})
	return e.ID
}

// consentOf is what CRMs are told of where a person stands, nil when they know.
func (r *reunion) consentOf(p *person, knew consent.Summary) *core.Consent {
	c := &core.Consent{Source: string(consent.Person), By: r.by, Evidence: "two contacts were found to be one"}
	if r.parts {
		c.Evidence = "two contacts were taken apart"
	}
	changed := false
	if c.Marketing = string(p.Consent.State(consent.Marketing)); c.Marketing != string(knew.State(consent.Marketing)) {
		c.Level, c.State, changed = string(consent.Marketing), c.Marketing, true
	}
	was := knew.Live()
	for _, s := range p.Consent.Live() {
		c.Suppressed = append(c.Suppressed, string(s.Reason))
		if slices.ContainsFunc(was, func(w consent.Suppression) bool { return w.Reason == s.Reason && w.Scope == s.Scope }) {
			continue
		}
		if changed = true; c.Level == "" {
			c.Suppression, c.Scope = string(s.Reason), s.Scope
		}
	}
	if !changed && len(was) == len(c.Suppressed) {
		return nil
	}
	return c
}
