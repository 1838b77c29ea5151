package whatsappsim

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// verticals are the lines of business that a profile may name.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/business-profiles
var verticals = strings.Fields(`OTHER AUTO BEAUTY APPAREL EDU ENTERTAIN EVENT_PLAN FINANCE GROCERY GOVT HOTEL HEALTH
	NONPROFIT PROF_SERVICES RETAIL TRAVEL RESTAURANT ALCOHOL ONLINE_GAMBLING PHYSICAL_GAMBLING OTC_DRUGS MATRIMONY_SERVICE UNDEFINED`)

// profileTexts are a profile's texts, and how long they may be.
var profileTexts = map[string]int{"about": 139, "address": 256, "description": 512, "email": 128, "vertical": 64, "profile_picture_handle": 4096}

// setProfile answers POST /{phone_number_id}/whatsapp_business_profile.
func (s *Sim) setProfile(r *http.Request, n *Number) *graphError {
	p, err := parameters(r)
	if err != nil {
		return err
	}
	if text(p, "messaging_product") != "whatsapp" {
		return invalid("The parameter messaging_product is required.")
	}
	delete(p, "messaging_product")
	change := map[string]any{}
	for name, v := range p {
		if name == "websites" {
			sites, err := websites(v)
			if err != nil {
				return err
			}
			change[name] = sites
			continue
		}
		most, known := profileTexts[name]
		value, isText := v.(string)
		switch {
		case !known:
			return invalid("Unexpected key %q on param", name)
		case !isText:
			return invalid("Param %s must be a string", name)
		case name == "about" && value == "":
			return invalid("Param about cannot be empty.")
		case name == "vertical" && value != "" && !slices.Contains(verticals, value):
			return invalid("Param vertical must be one of {%s}", strings.Join(verticals, ", "))
		}
		if err := atMost(name, value, most); err != nil {
			return err
		}
		change[name] = value
	}
	if _, ok := change["profile_picture_handle"]; ok {
		delete(change, "profile_picture_handle")
		change["profile_picture_url"] = "https://pps.whatsapp.net/simulated.jpg"
	}
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	maps.Copy(s.lines.of[n.ID].profile, change)
	return nil
}

func websites(v any) ([]string, *graphError) {
	list, ok := v.([]any)
	if !ok || len(list) > 2 {
		return nil, invalid("Param websites must be an array of at most 2 elements")
	}
	out := make([]string, 0, 2)
	for _, one := range list {
		site, _ := one.(string)
		u, err := url.Parse(site)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || len(site) > 256 {
			return nil, invalid("Param websites must be URLs of at most 256 characters")
		}
		out = append(out, site)
	}
	return out, nil
}

// showProfile answers GET /{phone_number_id}/whatsapp_business_profile.
func (s *Sim) showProfile(w http.ResponseWriter, r *http.Request, n *Number) {
	s.lines.mu.Lock()
	has := maps.Clone(s.lines.of[n.ID].profile)
	s.lines.mu.Unlock()
	answer := map[string]any{"messaging_product": "whatsapp"}
	for f := range strings.SplitSeq(cmp.Or(r.URL.Query().Get("fields"), "about,messaging_product"), ",") {
		f = strings.TrimSpace(f)
		if _, known := profileTexts[f]; !known && f != "websites" && f != "profile_picture_url" && f != "messaging_product" {
			s.refused(w, invalid("Tried accessing nonexisting field (%s)", f))
			return
		}
		if v, ok := has[f]; ok && v != "" {
			answer[f] = v
		}
	}
	reply(w, http.StatusOK, map[string]any{"data": []map[string]any{answer}})
}
