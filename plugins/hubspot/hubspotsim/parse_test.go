package hubspotsim

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzParseInputs compares with encoding/json.
func FuzzParseInputs(f *testing.F) {
	f.Add([]byte(`{"inputs":[{"idProperty":"k","id":"1","objectWriteTraceId":"t","properties":{"a":"b","c":"é\n\"\\\u00e9"}},{"id":"2","properties":{}}]}`))
	f.Add([]byte(` { "inputs" : [ ] } `))
	f.Add([]byte(`{"inputs":[{"id":1}]}`))
	f.Add([]byte(`{"inputs":[{"id":"1",}],}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := parseInputs(b)
		if !ok {
			return
		}
		var want struct{ Inputs []input }
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatalf("%s was taken, but is wrong: %v", b, err)
		}
		if len(got) != len(want.Inputs) {
			t.Fatalf("%s: %d inputs, want %d", b, len(got), len(want.Inputs))
		}
		for i := range got {
			if diff := cmp.Diff(plain(want.Inputs[i]), plain(got[i])); diff != "" {
				t.Errorf("%s: input %d (-want +got):\n%s", b, i, diff)
			}
		}
	})
}

// plain is an input as a map: the last of a property that is there twice counts.
func plain(in input) map[string]string {
	m := map[string]string{"id:": in.ID, "idProperty:": in.IDProperty, "trace:": in.Trace}
	for _, p := range in.Properties {
		m[p.name] = p.value
	}
	return m
}
