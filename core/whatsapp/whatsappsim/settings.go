package whatsappsim

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// settingNames are the objects of a number's settings, and what each may say.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/calling/call-settings
// https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/identity-change
var settingNames = map[string][]string{
	"calling": {"status", "call_icon_visibility", "call_icons", "call_hours", "callback_permission_status", "ip_addresses",
		"sip", "srtp_key_exchange_protocol", "video", "audio"},
	"user_identity_change":  {"enable_identity_key_check", "enabled"},
	"payload_encryption":    {"status", "client_encryption_key"},
	"storage_configuration": {"status", "enabled", "region", "data_localization_region"},
}

// setSettings answers POST /{phone_number_id}/settings.
func (s *Sim) setSettings(r *http.Request, n *Number) *graphError {
	p, err := parameters(r)
	if err != nil {
		return err
	}
	if len(p) == 0 {
		return invalid("At least one setting is required.")
	}
	for name, v := range p {
		known, ok := settingNames[name]
		object, isObject := v.(map[string]any)
		switch {
		case !ok:
			return invalid("Unexpected key %q on param", name)
		case !isObject:
			return invalid("Param %s must be a JSON object.", name)
		}
		for key, value := range object {
			if !slices.Contains(known, key) {
				return invalid("Unexpected key %q on param %q.", key, name)
			}
			if text, isText := value.(string); key == "status" && name == "calling" && (!isText || !strings.EqualFold(text, "ENABLED") && !strings.EqualFold(text, "DISABLED")) {
				return invalid("Param calling['status'] must be one of {ENABLED, DISABLED}")
			}
		}
	}
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	has := s.lines.of[n.ID].settings
	for name, v := range p {
		object := maps.Clone(has[name])
		if object == nil {
			object = map[string]any{}
		}
		maps.Copy(object, v.(map[string]any))
		has[name] = object
	}
	return nil
}

// showSettings answers GET /{phone_number_id}/settings.
func (s *Sim) showSettings(w http.ResponseWriter, n *Number) {
	s.lines.mu.Lock()
	answer := maps.Clone(s.lines.of[n.ID].settings)
	s.lines.mu.Unlock()
	reply(w, http.StatusOK, answer)
}
