package crm

import (
	"encoding/json"

	"github.com/wabridge/wabridge/core"
)

// ReadEvent returns the event of a delivery, which comes as it is or as data.
func ReadEvent(d core.Delivery) (*core.Event, *core.Error) {
	if d.Event != nil {
		return d.Event, nil
	}
	e := new(core.Event)
	if err := json.Unmarshal(d.Data, e); err != nil {
		e = &core.Event{ID: EventID(d)}
		return e, Failure(core.CodeInvalid, "read event", "not an event: %v", err)
	}
	return e, nil
}

// EventID returns the ID of a delivery's event, "" when it cannot be read.
func EventID(d core.Delivery) string {
	if d.Event != nil {
		return d.Event.ID
	}
	var e struct {
		ID string `json:"id"`
	}
	_ = Decode(d.Data, &e)
	return e.ID
}

// FailAll ends a batch with an error about the account: it pauses the lane rather
// than lose the events, which a wrong setting is no fault of.
func FailAll(batch []core.Delivery, err *core.Error) []core.Result {
	results := make([]core.Result, len(batch))
	for i, d := range batch {
		failed := *err
		failed.Scope = core.ScopeLane
		if failed.Code == core.CodeInvalid {
			failed.Code = core.CodeForbidden
		}
		results[i] = core.Result{ID: EventID(d), Err: &failed}
	}
	return results
}
