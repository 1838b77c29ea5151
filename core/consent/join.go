package consent

import (
	"maps"
	"slices"
)

// Join returns what two persons' entries add up to once they turn out to be one:
// what was said last counts, and a reason to send nothing stays one.
func (s *Summary) Join(o Summary) Summary {
	out := Summary{Levels: maps.Clone(s.Levels), MetaStop: s.MetaStop, Suppressed: slices.Clone(s.Suppressed)}
	for level, st := range o.Levels {
		if now, found := out.Levels[level]; !found || st.wins(now) {
			if out.Levels == nil {
				out.Levels = map[Level]Standing{}
			}
			out.Levels[level] = st
		}
	}
	if o.MetaStop != nil && (out.MetaStop == nil || o.MetaStop.wins(*out.MetaStop)) {
		out.MetaStop = o.MetaStop
	}
	for _, p := range o.Suppressed {
		i := slices.IndexFunc(out.Suppressed, p.same)
		switch {
		case i < 0:
			out.Suppressed = append(out.Suppressed, p)
		case out.Suppressed[i].Lifted && !p.Lifted:
			out.Suppressed[i] = p
		}
	}
	slices.SortFunc(out.Suppressed, Suppression.compare)
	out.Seen = slices.Clone(s.Seen)
	for _, id := range o.Seen {
		if !slices.Contains(out.Seen, id) {
			out.Seen = append(out.Seen, id)
		}
	}
	if n := len(out.Seen) - maxSeen; n > 0 {
		out.Seen = out.Seen[n:]
	}
	return out
}

// Part returns where one of two persons stands who were taken for one: s is where
// they stood before, joined where both did then, now where both do by now. What
// was said meanwhile, one of them said, and nobody knows which: what forbids holds
// for both, and what allows for neither.
func (s *Summary) Part(joined, now Summary) Summary {
	out := Summary{Levels: maps.Clone(s.Levels), MetaStop: s.MetaStop, Suppressed: slices.Clone(s.Suppressed), Seen: slices.Clone(s.Seen)}
	for level, st := range now.Levels {
		if st != joined.Levels[level] && st.State == Withdrawn {
			if out.Levels == nil {
				out.Levels = map[Level]Standing{}
			}
			out.Levels[level] = st
		}
	}
	if m, was := now.MetaStop, joined.MetaStop; m != nil && m.State == Withdrawn && (was == nil || *m != *was) {
		out.MetaStop = m
	}
	for _, p := range now.Suppressed {
		if p.Lifted || slices.Contains(joined.Suppressed, p) {
			continue
		}
		if i := slices.IndexFunc(out.Suppressed, p.same); i >= 0 {
			out.Suppressed[i] = p
		} else {
			out.Suppressed = append(out.Suppressed, p)
		}
	}
	slices.SortFunc(out.Suppressed, Suppression.compare)
	for _, id := range now.Seen {
		if !slices.Contains(joined.Seen, id) && !slices.Contains(out.Seen, id) {
			out.Seen = append(out.Seen, id)
		}
	}
	if n := len(out.Seen) - maxSeen; n > 0 {
		out.Seen = out.Seen[n:]
	}
	return out
}

// Stops returns what of the summary keeps messages from being sent: the rest may
// be forgotten with the person, this must outlast them.
func (s *Summary) Stops() Summary {
	out := Summary{Suppressed: s.Live()}
	for level, st := range s.Levels {
		if st.State == Withdrawn {
			if out.Levels == nil {
				out.Levels = map[Level]Standing{}
			}
			out.Levels[level] = st
		}
	}
	if s.metaStopped() {
		out.MetaStop = s.MetaStop
	}
	return out
}

// Silent reports whether nothing was ever said.
func (s *Summary) Silent() bool {
	return len(s.Levels)+len(s.Suppressed)+len(s.Seen) == 0 && s.MetaStop == nil
}
