package whatsapp

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
)

// TestParse_TheDigitsOfAUserIDAreNoPhoneNumber has a user id, and its digits with
// other marks, stand wherever Meta has a phone number: no address of kind phone comes
// of it.
func TestParse_TheDigitsOfAUserIDAreNoPhoneNumber(t *testing.T) {
	const digits = "13491208655302741918"
	replaced := 0
	for file, a := range goldenBodies(t) {
		for _, id := range []string{"US." + digits, "US.ENT." + digits, "US" + digits, "+US." + digits, digits} {
			body := strings.ReplaceAll(string(a.Files[0].Data), `"34600111222"`, `34600111222`)
			if !strings.Contains(body, "34600111222") {
				continue
			}
			replaced++
			body = strings.ReplaceAll(body, ": 34600111222", ":34600111222")
			body = strings.ReplaceAll(body, ":34600111222", `:"`+id+`"`)
			updates, err := Parse([]byte(body))
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			for _, u := range updates {
				for _, phone := range phonesOf(&u.Event) {
					if strings.Contains(phone, digits) || strings.Contains(digits, strings.Trim(phone, "+")) {
						t.Errorf("%s: %s became the phone number %s", file, id, phone)
					}
				}
			}
		}
	}
	if replaced < 50 {
		t.Errorf("%d bodies have the number: does the pattern still match?", replaced)
	}
}

// phonesOf returns everything in an event that is a phone number.
func phonesOf(e *core.Event) (out []string) {
	if e.Contact != nil {
		out = append(out, e.Contact.Phone)
	}
	if e.Change != nil {
		out = append(out, e.Change.Phone)
	}
	if e.Message != nil && e.Message.To.Kind == core.AddressPhone {
		out = append(out, e.Message.To.Value)
	}
	if e.GroupChange != nil {
		for _, a := range append(e.GroupChange.Joined, e.GroupChange.Left...) {
			if a.Kind == core.AddressPhone {
				out = append(out, a.Value)
			}
		}
	}
	var kept []string
	for _, p := range out {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return kept
}

// What Meta sends as a user id stays one, whole, in every field that has one.
func TestParse_AUserIDStaysWhole(t *testing.T) {
	for _, id := range []string{"US.13491208655302741918", "ES.7001", "TW.aB9"} {
		for file, a := range goldenBodies(t) {
			body := strings.ReplaceAll(string(a.Files[0].Data), `"ES.7001"`, `"`+id+`"`)
			updates, err := Parse([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range updates {
				c := u.Event.Contact
				if c == nil || c.BSUID == "" {
					continue
				}
				if !strings.Contains(body, `"`+c.BSUID+`"`) {
					t.Errorf("%s: the user id is %s", file, c.BSUID)
				}
				data, err := json.Marshal(c)
				if err != nil || strings.Contains(string(data), `"phone":"+`+strings.TrimPrefix(id, id[:3])) {
					t.Errorf("%s: %s, %v", file, data, err)
				}
			}
		}
	}
}
