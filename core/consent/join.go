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
		i := slices.IndexFunc(out.Suppressed, func(q Suppression) bool { return q.Reason == p.Reason && q.Scope == p.Scope })
		switch {
		case i < 0:
			out.Suppressed = append(out.Suppressed, p)
		case out.Suppressed[i].Lifted && !p.Lifted:
			out.Suppressed[i] = p
		}
	}
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
