package zoho

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
)

// work is how the module looks in which escalations are kept.
type work struct {
	module, op   string
	contact      string
	open, closed string
	priorities   map[string]string
	due          string
	upsert       bool
	fresh        []value
}

// work returns the module of escalations. Cases can be upserted; Tasks cannot, so a
// task is looked for by its key in the table as it is, and made when it is not
// there. The bridge never has two calls about one escalation at work; one that was
// given up and is still at work may make a second task, unless the key field does
// not allow doubles: then Zoho refuses it, and the next attempt finds the first.
func (s *settings) work() work {
	w := work{module: "Tasks", op: "task", contact: "Who_Id", open: "Not Started", closed: "Completed", due: "Due_Date",
		priorities: map[string]string{"low": "Low", "normal": "Normal", "high": "High"}}
	if s.Escalations == "cases" {
		w = work{module: "Cases", op: "case", contact: "Related_To", open: "New", closed: "Closed", upsert: true,
			priorities: map[string]string{"low": "Low", "normal": "Medium", "high": "High"}, fresh: []value{{"Case_Origin", "WhatsApp"}}}
	}
	if s.OpenStatus != "" {
		w.open = s.OpenStatus
	}
	if s.ClosedStatus != "" {
		w.closed = s.ClosedStatus
	}
	return w
}

// layEscalation lays out the task or case of an escalation: who, how urgent, by when.
func (s *settings) layEscalation(p *plan, st *step) {
	e, x, w := st.event, st.event.Escalation, s.work()
	key := x.ID
	if key == "" {
		key = e.Root()
	}
	r := p.escalations.of(key)
	st.escalation = r
	subject := title("WhatsApp", x.Reason, x.Team)
	if e.Kind == core.KindEscalationClosed {
		r.fresh = append([]value{{"Subject", subject}}, w.fresh...)
		r.set("Status", w.closed)
		return
	}
	r.fresh = append([]value{{"Status", w.open}}, w.fresh...)
	if e.Kind == core.KindEscalationMoved {
		r.fresh = append(r.fresh, value{"Subject", subject})
	} else {
		r.set("Subject", subject)
	}
	if priority := w.priorities[x.Priority]; priority != "" || x.Priority == "" {
		if priority == "" {
			priority = w.priorities["normal"]
		}
		r.set("Priority", priority)
	}
	if !x.Deadline.IsZero() {
		r.set(w.due, x.Deadline.UTC().Format(time.DateOnly))
	}
	owner := s.Owners[x.Team]
	if x.Assignee != nil && recordID.MatchString(x.Assignee.CRMOwner) {
		owner = x.Assignee.CRMOwner
	}
	if owner != "" {
		r.set("Owner", owner)
	}
	r.set("Description", describe(x))
}

func describe(x *core.Escalation) string {
	var lines []string
	for _, part := range []struct{ label, text string }{
		{"", x.Note}, {"Reason: ", x.Reason}, {"Topic: ", x.Topic}, {"Team: ", x.Team}, {"Priority: ", x.Priority},
	} {
		if part.text != "" {
			lines = append(lines, part.label+part.text)
		}
	}
	if x.Assignee != nil {
		lines = append(lines, "Given to: "+strings.TrimSpace(x.Assignee.Name+" "+x.Assignee.ID))
	}
	if !x.Deadline.IsZero() {
		lines = append(lines, "Answer by: "+x.Deadline.UTC().Format("2006-01-02 15:04 MST"))
	}
	if x.Level > 0 {
		lines = append(lines, fmt.Sprintf("Level: %d", x.Level))
	}
	if x.Overdue {
		lines = append(lines, "Nobody answered in time.")
	}
	return strings.Join(lines, "\n")
}

// writeEscalations makes, moves and closes tasks or cases. One that is closed stays
// so.
func (x *session) writeEscalations(ctx context.Context, p *plan) {
	list := pick(p.escalations.list, func(r *row) bool { return wanted(p, r) })
	if len(list) == 0 {
		return
	}
	w := x.work()
	fs, err := x.fieldsOf(ctx, w.module, x.EscalationKey)
	var have map[string]found
	if err == nil {
		err = fs.lacking(named{"escalation_key", x.EscalationKey})
	}
	if err == nil {
		have, err = x.byKey(ctx, fs, x.EscalationKey, keys(list), "Status", "Subject", "Priority", "Owner", w.due, w.contact)
	}
	if err != nil {
		for _, r := range list {
			r.err = err
		}
	} else {
		for _, st := range p.steps {
			if st.err == nil && st.escalation != nil && st.contact != nil {
				st.escalation.set(w.contact, st.contact.id)
			}
		}
		values := map[*row][]value{}
		var fresh, known []*row
		for _, r := range list {
			if f := have[r.key]; f != nil {
				r.have, r.id = f, f.id()
				if values[r] = valuesFor(fs, r, true); f.text("Status") != w.closed && len(values[r]) > 0 {
					known = append(known, r)
				}
				continue
			}
			values[r], fresh = withName(fs, r, "", valuesFor(fs, r, false)), append(fresh, r)
		}
		create := writing{op: w.op + " create", method: http.MethodPost, path: w.module, key: x.EscalationKey, once: true}
		if w.upsert {
			create.path, create.upsert, create.once = w.module+"/upsert", true, false
		}
		x.write(ctx, create, fresh, values)
		x.write(ctx, writing{op: w.op + " update", method: http.MethodPut, path: w.module}, known, values)
	}
	for _, st := range p.steps {
		if st.err == nil && st.escalation != nil {
			st.err = st.escalation.err
		}
	}
}
