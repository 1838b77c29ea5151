package whatsappsim

import (
	"regexp"
	"sync"
	"time"
)

var bsuidPattern = regexp.MustCompile(`^[A-Z]{2}(\.ENT)?\.[A-Za-z0-9]{1,128}$`)

// person is a simulated customer. Those with a phone number that Meta tells have a
// WaID; those who adopted a username may have none.
type person struct {
	WaID, BSUID, ParentBSUID, Name, Username string
	noID                                     bool // of whom Meta tells no user id
}

// people is who is known, and when they last wrote.
type people struct {
	mu      sync.Mutex
	phones  map[string]person
	bsuids  map[string]person
	written map[string]time.Time // by number and BSUID
	known   map[string]*Person   // by phone number
	blocked map[string]bool      // by number and BSUID
}

func (p *people) init() {
	p.phones, p.bsuids, p.written, p.known, p.blocked = map[string]person{}, map[string]person{}, map[string]time.Time{}, map[string]*Person{}, map[string]bool{}
}

// byPhone returns who has a phone number: whoever wrote from it, or somebody of
// whom only the number is known.
func (p *people) byPhone(digits string) person {
	p.mu.Lock()
	defer p.mu.Unlock()
	if who, ok := p.phones[digits]; ok {
		return who
	}
	if known := p.known[digits]; known != nil {
		return person{WaID: digits, BSUID: known.BSUID, Name: known.Name, noID: known.Scenario == ScenarioPhone}
	}
	return person{WaID: digits, BSUID: "US.1" + digits, Name: "Customer " + digits}
}

// byBSUID returns who has a BSUID.
func (p *people) byBSUID(id string) person {
	p.mu.Lock()
	defer p.mu.Unlock()
	if who, ok := p.bsuids[id]; ok {
		return who
	}
	return person{BSUID: id, Name: "Customer " + id}
}

// name is what somebody who wrote calls themselves, "" for others.
func (p *people) name(bsuid string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bsuids[bsuid].Name
}

// wrote notes that somebody wrote to a number. Also is another form of theirs.
func (p *people) wrote(number string, who person, also string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if who.WaID != "" {
		p.phones[who.WaID] = who
	}
	if also != "" {
		p.phones[also] = who
	}
	p.bsuids[who.BSUID] = who
	if key := number + ":" + who.BSUID; at.After(p.written[key]) {
		p.written[key] = at
	}
}

// windowOpen reports whether somebody wrote to a number in the last 24 hours.
func (p *people) windowOpen(number string, who person, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.written[number+":"+who.BSUID]
	return ok && now.Sub(at) < 24*time.Hour
}
