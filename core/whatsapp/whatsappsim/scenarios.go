package whatsappsim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Scenario is what Meta tells of a person's addresses.
type Scenario string

// The scenarios.
const (
	ScenarioPhone    Scenario = "phone"    // the phone number alone, as before there were user ids
	ScenarioBoth     Scenario = "both"     // phone number and user id
	ScenarioUsername Scenario = "username" // user id and username, no phone number
	ScenarioParent   Scenario = "parent"   // as username, with the user id across portfolios
)

// Person is somebody whom the sim knows by a phone number, whatever Meta tells of it.
type Person struct {
	Phone    string   `json:"phone"`
	Name     string   `json:"name,omitempty"`
	Scenario Scenario `json:"scenario,omitempty"` // "" is both
	Username string   `json:"username,omitempty"` // "" makes one where the scenario has one
	BSUID    string   `json:"bsuid,omitempty"`    // "" makes one
}

// maxPeople bounds those who are known by a scenario.
const maxPeople = 10_000

// AddPerson makes somebody known, so that what they write by their phone number
// ([Inbound].From) tells of them what the scenario says.
func (s *Sim) AddPerson(p Person) (Person, error) {
	p.Phone = digitsOf(p.Phone)
	if len(p.Phone) < 6 {
		return Person{}, fmt.Errorf("phone: want a phone number")
	}
	p.Scenario = cmp.Or(p.Scenario, ScenarioBoth)
	if !slices.Contains([]Scenario{ScenarioPhone, ScenarioBoth, ScenarioUsername, ScenarioParent}, p.Scenario) {
		return Person{}, fmt.Errorf("scenario %q: want one of phone, both, username, parent", p.Scenario)
	}
	p.Name = cmp.Or(p.Name, "Customer "+p.Phone)
	p.BSUID = cmp.Or(p.BSUID, "US.1"+p.Phone)
	if !bsuidPattern.MatchString(p.BSUID) {
		return Person{}, fmt.Errorf("bsuid: want a business-scoped user id")
	}
	if p.Scenario == ScenarioUsername || p.Scenario == ScenarioParent {
		p.Username = cmp.Or(p.Username, "@user"+p.Phone)
	}
	s.people.mu.Lock()
	defer s.people.mu.Unlock()
	if len(s.people.known) >= maxPeople && s.people.known[p.Phone] == nil {
		return Person{}, fmt.Errorf("there are %d people already", maxPeople)
	}
	s.people.known[p.Phone] = &p
	return p, nil
}

// People returns who is known by a scenario, by phone number.
func (s *Sim) People() []Person {
	s.people.mu.Lock()
	defer s.people.mu.Unlock()
	out := make([]Person, 0, len(s.people.known))
	for _, p := range s.people.known {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Person) int { return cmp.Compare(a.Phone, b.Phone) })
	return out
}

// as gives somebody what their scenario tells of them.
func (p *people) as(who person) person {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.known[who.WaID]
	if known == nil {
		return who
	}
	who.BSUID, who.Name = cmp.Or(who.BSUID, known.BSUID), cmp.Or(who.Name, known.Name)
	switch known.Scenario {
	case ScenarioPhone:
		who.noID = true
	case ScenarioParent:
		who.ParentBSUID = cmp.Or(who.ParentBSUID, strings.Replace(known.BSUID, ".", ".ENT.", 1))
		fallthrough
	case ScenarioUsername:
		who.WaID, who.Username = "", cmp.Or(who.Username, known.Username)
	}
	return who
}

// ChangePhone has a person change their phone number. Meta makes them another user id,
// and tells each number that they wrote to by a system message, which names the phone
// numbers where the scenario tells them.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/business-scoped-user-ids
func (s *Sim) ChangePhone(from, to string) (Person, error) {
	from, to = digitsOf(from), digitsOf(to)
	s.people.mu.Lock()
	old := s.people.known[from]
	s.people.mu.Unlock()
	if old == nil {
		return Person{}, fmt.Errorf("nobody with the phone number %s was added: POST /_sim/people first", from)
	}
	next := *old
	next.Phone, next.BSUID = to, strings.SplitN(old.BSUID, ".", 2)[0]+".9"+to
	next, err := s.AddPerson(next)
	if err != nil {
		return Person{}, err
	}
	var told []Inbound
	s.people.mu.Lock()
	delete(s.people.known, from)
	for _, n := range s.o.Numbers {
		at, wrote := s.people.written[n.ID+":"+old.BSUID]
		if !wrote {
			continue
		}
		s.people.written[n.ID+":"+next.BSUID] = at
		in := Inbound{Number: n.ID, Type: "system", BSUID: old.BSUID, Name: old.Name}
		system := map[string]any{"type": "user_changed_user_id", "user_id": next.BSUID, "previous_user_id": old.BSUID,
			"body": fmt.Sprintf("User %s changed from %s to %s", old.Name, old.BSUID, next.BSUID)}
		if old.Scenario == ScenarioPhone || old.Scenario == ScenarioBoth {
			in.From = old.Phone
			system["type"], system["wa_id"] = "user_changed_number", to
			system["body"] = fmt.Sprintf("User %s changed from %s to %s", old.Name, from, to)
		}
		if old.Scenario == ScenarioPhone {
			delete(system, "user_id")
			delete(system, "previous_user_id")
		}
		in.Object = marshal(system)
		told = append(told, in)
	}
	s.people.mu.Unlock()
	s.Receive(told...)
	return next, nil
}
