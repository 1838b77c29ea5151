package zoho

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// In mode "notes" a message is a note of its contact. Zoho has no upsert for notes
// and no key on them, so a field on the contact remembers the last notes that may
// have been made: it is written, with what else changed, before them. A message that
// is not in it is new, and its note is made without looking. One that is there, or
// that was tried before, is looked for among the contact's notes first. So is the
// note of a status: it is in the title, which ends in WhatsApp's id.

const (
	maxNote    = 65_000 // bytes; Zoho takes 65,535 characters
	maxContent = 60_000 // bytes of a message
	// notLogged stands for what a message said of which only a status came yet.
	notLogged = "(not logged yet)"
	// noteMarks is how many notes a contact's field remembers, markSize how long each
	// mark is: together they fit a field of one line.
	noteMarks = 18
	markSize  = 12
	// notePages is how many pages of 200 notes are looked through.
	notePages = 5
	// noteLookups is how many contacts' notes are looked through at once.
	noteLookups = 4
)

// noteID is how the title of a message's note ends.
func noteID(wamid string) string {
	if len(wamid) > 80 {
		return mark(wamid)
	}
	return wamid
}

func mark(wamid string) string {
	sum := sha256.Sum256([]byte(wamid))
	return hex.EncodeToString(sum[:])[:markSize]
}

func noteTitle(arrow, status, wamid string) string {
	if status != "" {
		status = " " + status
	}
	return "WhatsApp " + strings.TrimSpace(arrow) + status + " · " + noteID(wamid)
}

// deliverNotes writes contacts and notes. Calls take turns: what two at once could
// not see of each other, they would make twice.
func (x *session) deliverNotes(ctx context.Context, p *plan) {
	select {
	case x.known.notes <- struct{}{}:
		defer func() { <-x.known.notes }()
	case <-ctx.Done():
		for _, st := range p.steps {
			if st.err == nil {
				st.err = crm.Failure(core.CodeUnavailable, "note", "no turn to write notes: %v", ctx.Err())
			}
		}
		return
	}
	x.writeContacts(ctx, p)
	x.findNotes(ctx, p)
	x.putNotes(ctx, p)
	for _, st := range p.steps {
		if st.err == nil && st.message != nil {
			st.err = st.message.err
		}
	}
}

// rememberNotes adds the marks of new messages to their contacts, and says of which
// messages a note may be there.
func (x *session) rememberNotes(p *plan) {
	for _, st := range p.steps {
		if st.err != nil || st.message == nil || st.contact == nil {
			continue
		}
		text, _ := st.contact.get(x.NotesField).(string)
		if text == "" {
			text = st.contact.have.text(x.NotesField)
		}
		marks := strings.Fields(text)
		if slices.Contains(marks, mark(st.message.key)) {
			st.repeated = true
			continue
		}
		if st.event.Kind == core.KindMessageStatus || amended(st.event) {
			st.repeated = true // the message was there before, as a rule
		}
		marks = append(marks, mark(st.message.key))
		st.contact.set(x.NotesField, strings.Join(marks[max(0, len(marks)-noteMarks):], " "))
	}
}

// findNotes looks for the notes that may be there.
func (x *session) findNotes(ctx context.Context, p *plan) {
	wantedOf := map[*row][]*row{}
	looked := map[*row]bool{}
	var contacts []*row
	for _, st := range p.steps {
		if st.err != nil || st.message == nil || st.contact == nil || !st.repeated || looked[st.message] {
			continue
		}
		looked[st.message] = true
		if wantedOf[st.contact] == nil {
			contacts = append(contacts, st.contact)
		}
		wantedOf[st.contact] = append(wantedOf[st.contact], st.message)
	}
	var calls sync.WaitGroup
	turns := make(chan struct{}, noteLookups)
	for _, c := range contacts {
		turns <- struct{}{}
		calls.Go(func() {
			defer func() { <-turns }()
			if err := x.notesOf(ctx, c.id, wantedOf[c]); err != nil {
				for _, r := range wantedOf[c] {
					r.err = err
				}
			}
		})
	}
	calls.Wait()
}

// notesOf finds the notes of messages among those of a contact, the newest first.
func (x *session) notesOf(ctx context.Context, contact string, messages []*row) *core.Error {
	for page := 1; page <= notePages; page++ {
		var a struct {
			Data []found `json:"data"`
			Info struct {
				More bool `json:"more_records"`
			} `json:"info"`
		}
		path := x.ContactModule + "/" + contact + "/Notes?fields=id,Note_Title&per_page=200&page=" + string(rune('0'+page))
		if r := x.call(ctx, "read notes", http.MethodGet, path, nil, func(b []byte) error { return crm.Decode(b, &a) }); r != nil {
			if r.Code == core.CodeInvalid { // the contact was deleted just now
				r.Code = core.CodeUnavailable
			}
			return r.Error
		}
		left := 0
		for _, m := range messages {
			for _, f := range a.Data {
				if m.have == nil && strings.HasSuffix(f.text("Note_Title"), " · "+noteID(m.key)) {
					m.have, m.id = f, f.id()
				}
			}
			if m.have == nil {
				left++
			}
		}
		if left == 0 || !a.Info.More {
			break
		}
	}
	return nil
}

// noteStatus reads the status out of a note's title.
func noteStatus(title string) core.StatusValue {
	words := strings.Fields(title) // WhatsApp → [status] · id
	if len(words) == 5 {
		return core.StatusValue(words[2])
	}
	return ""
}

// noteContent reads what a note says.
func (x *session) noteContent(ctx context.Context, id string) (string, *core.Error) {
	var a struct {
		Data []found `json:"data"`
	}
	r := x.call(ctx, "read note", http.MethodGet, "Notes/"+id+"?fields=Note_Content", nil, func(b []byte) error { return crm.Decode(b, &a) })
	switch {
	case r != nil:
		return "", r.Error
	case len(a.Data) != 1:
		return "", crm.Failure(core.CodeUnavailable, "read note", "it is not there any more")
	}
	return a.Data[0].text("Note_Content"), nil
}

// withWhy is what a note says of a message that failed.
func withWhy(text, why string) string {
	return crm.Clip(printable(text), maxContent) + "\n" + why
}

// whyIn is why a message failed, which its note says after one of some texts.
func whyIn(said string, texts ...string) string {
	for _, text := range texts {
		if why, ok := strings.CutPrefix(said, text+"\n"); ok {
			return why
		}
	}
	return ""
}

// putNotes makes the notes that are not there, and writes newer statuses into the
// titles of those that are.
func (x *session) putNotes(ctx context.Context, p *plan) {
	values := map[*row][]value{}
	var fresh, known []*row
	for _, st := range p.steps {
		r := st.message
		if st.err != nil || r == nil || r.err != nil || values[r] != nil {
			continue
		}
		if st.contact == nil || st.contact.id == "" {
			st.err = crm.Failure(core.CodeInvalid, "note", "the event has no contact, and a note must have one")
			continue
		}
		status, _ := r.get(x.StatusField).(string)
		if r.have == nil {
			arrow := outbound
			if r.get(x.DirectionField) == string(core.Inbound) {
				arrow = inbound
			}
			content, _ := r.get(x.BodyField).(string)
			if strings.TrimSpace(content) == "" {
				content = "(no text)"
			}
			if r.get(x.MessageName) == nil {
				content = notLogged
			}
			if why, _ := r.get(x.StatusErrorField).(string); why != "" {
				content = withWhy(content, why)
			}
			values[r] = []value{{"Note_Title", noteTitle(arrow, status, r.key)}, {"Note_Content", crm.Clip(printable(content), maxNote)},
				{"Parent_Id", map[string]any{"module": map[string]string{"api_name": x.ContactModule}, "id": st.contact.id}}}
			fresh = append(fresh, r)
			continue
		}
		list := []value{}
		content, _ := r.get(x.BodyField).(string)
		if r.get(x.MessageName) == nil {
			content = ""
		}
		was := noteStatus(r.have.text("Note_Title"))
		why, said := "", ""
		if status != "" && was.Advances(core.StatusValue(status)) {
			list = append(list, value{"Note_Title", noteTitle(outbound, status, r.key)})
			why, _ = r.get(x.StatusErrorField).(string)
		}
		if content != "" && (r.late || was == core.StatusFailed) || content == "" && why != "" {
			if said, r.err = x.noteContent(ctx, r.id); r.err != nil {
				continue
			}
			switch {
			case content == "", r.late && !strings.HasPrefix(said, notLogged):
				content = said
			case why == "": // what it was about comes after its failure, or once more
				why = whyIn(said, notLogged, crm.Clip(printable(content), maxContent))
			}
		}
		if why != "" {
			content = withWhy(content, why)
		}
		if content != said {
			list = append(list, value{"Note_Content", crm.Clip(printable(content), maxNote)})
		}
		if values[r] = list; len(list) > 0 {
			known = append(known, r)
		}
	}
	x.write(ctx, writing{op: "note create", method: http.MethodPost, path: "Notes", once: true}, fresh, values)
	x.write(ctx, writing{op: "note update", method: http.MethodPut, path: "Notes"}, known, values)
}
