package whatsappsim

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
)

// Bounds of blocking, from Meta's page:
// https://developers.facebook.com/documentation/business-messaging/whatsapp/block-users
const (
	maxBlocked   = 64_000 // of a number
	maxBlocking  = 1_000  // in one request
	maxBlockPage = 100
)

// blocklists are whom the business has blocked, by number, in their order.
type blocklists struct {
	mu sync.Mutex
	of map[string][]blockedUser
}

// blockedUser is somebody by what the business named them by.
type blockedUser struct {
	Product string `json:"messaging_product,omitempty"`
	Input   string `json:"input,omitempty"`
	WaID    string `json:"wa_id,omitempty"`
	UserID  string `json:"user_id,omitempty"`
	Errors  []any  `json:"errors,omitempty"`

	bsuid string
}

func (b *blocklists) init() { b.of = map[string][]blockedUser{} }

// has reports whether a number has blocked somebody.
func (b *blocklists) has(number, bsuid string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.of[number], func(u blockedUser) bool { return u.bsuid == bsuid })
}

// set blocks somebody, or ends that; false when the list is full.
func (b *blocklists) set(number string, u blockedUser, on bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := slices.DeleteFunc(b.of[number], func(o blockedUser) bool { return o.bsuid == u.bsuid })
	if on && len(list) >= maxBlocked {
		b.of[number] = list
		return false
	}
	if on {
		list = append(list, u)
	}
	b.of[number] = list
	return true
}

// blockUsers answers POST and DELETE /{phone_number_id}/block_users: each of the people is
// an outcome of its own.
func (s *Sim) blockUsers(w http.ResponseWriter, r *http.Request, n *Number) {
	raw, ok := readBody(w, r)
	if !ok {
		s.refused(w, invalid("The request is too large"))
		return
	}
	var in struct {
		Product string `json:"messaging_product"`
		Users   []struct {
			User   string `json:"user"`
			UserID string `json:"user_id"`
		} `json:"block_users"`
	}
	if err := decode("block_users", raw, &in); err != nil {
		s.refused(w, err)
		return
	}
	switch {
	case in.Product != "whatsapp":
		s.refused(w, invalid("The parameter messaging_product is required."))
		return
	case len(in.Users) == 0 || len(in.Users) > maxBlocking:
		s.refused(w, invalid("Param block_users must have 1 to %d elements", maxBlocking))
		return
	}
	on := r.Method == http.MethodPost
	done, failed := []blockedUser{}, []blockedUser{}
	for _, one := range in.Users {
		var u blockedUser
		var who person
		digits := digitsOf(one.User)
		switch {
		case one.User == "" && bsuidPattern.MatchString(one.UserID):
			who = s.people.byBSUID(one.UserID)
			u = blockedUser{Input: one.UserID, UserID: one.UserID}
		default:
			who = s.people.byPhone(digits)
			u = blockedUser{Input: one.User, WaID: who.WaID}
		}
		u.bsuid = who.BSUID
		var why *graphError
		switch {
		case one.User == "" && u.UserID == "" || one.User != "" && len(digits) < 6:
			why = wrongValue("The parameter user is not a phone number")
		case on && !s.people.windowOpen(n.ID, who, s.clock.now()):
			why = errorOf(131047, "Only users who wrote to the business in the last 24 hours can be blocked.")
		case !s.blocked.set(n.ID, u, on):
			why = errorOf(139101, "")
		}
		if why == nil {
			done = append(done, u)
			continue
		}
		u.Errors = []any{map[string]any{"message": why.message, "code": why.code, "error_data": map[string]string{"details": why.details}}}
		failed = append(failed, u)
	}
	users, verb := map[string]any{"added_users": done}, "block"
	if !on {
		users, verb = map[string]any{"removed_users": done}, "unblock"
	}
	answer := map[string]any{"messaging_product": "whatsapp", "block_users": users}
	if len(failed) == 0 {
		reply(w, http.StatusOK, answer)
		return
	}
	users["failed_users"] = failed
	e := errorOf(139100, "Failed to "+verb+" some users, see the block_users response list for details")
	s.ledger.refusal(e.code)
	answer["error"] = e.body()
	reply(w, e.status, answer)
}

// listBlocked answers GET /{phone_number_id}/block_users.
func (s *Sim) listBlocked(w http.ResponseWriter, r *http.Request, n *Number) {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit < 1 || limit > maxBlockPage {
		limit = maxBlockPage
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("after"))
	s.blocked.mu.Lock()
	all := slices.Clone(s.blocked.of[n.ID])
	s.blocked.mu.Unlock()
	from = min(max(from, 0), len(all))
	to := min(from+limit, len(all))
	data := []blockedUser{}
	for _, u := range all[from:to] {
		data = append(data, blockedUser{Product: "whatsapp", WaID: u.WaID, UserID: u.UserID})
	}
	reply(w, http.StatusOK, map[string]any{"data": data,
		"paging": map[string]any{"cursors": map[string]string{"before": strconv.Itoa(from), "after": strconv.Itoa(to)}}})
}
