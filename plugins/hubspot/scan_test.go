package hubspot

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// scan returns what scanResults told, a text for each result.
func scan(b []byte) (got []string, ok bool) {
	ok = scanResults(b, func(id, trace []byte, isNew bool) {
		got = append(got, fmt.Sprintf("%s %s %v", id, trace, isNew))
	})
	return got, ok
}

func TestScanResults_ReadsThePlainFormOnly(t *testing.T) {
	for _, c := range []struct {
		body string
		want string // "-" is: left to encoding/json
	}{
		{`{"results":[]}`, ""},
		{` {"status":"COMPLETE", "results" : [ {"id":"7","new":true,"objectWriteTraceId":"t#1"} , {"objectWriteTraceId":"u","id":"8","new":false} ] } `, "7 t#1 true,8 u false"},
		{`{"results":[{"id":"7","properties":{"a":"\"}]\\","b":null,"c":[1,{"d":[]}],"e":-1.5e3},"objectWriteTraceId":"t","archived":false}],"links":{"x":"y"}}`, "7 t false"},
		{`{"results":[{"id":"7","objectWriteTraceId":"t"}],"numErrors":0}`, "-"},
		{`{"results":[{"id":"7","objectWriteTraceId":"t"}],"errors":[]}`, "-"},
		{`{"results":[{"id":"7"}]}`, "-"},
		{`{"results":[{"id":7,"objectWriteTraceId":"t"}]}`, "-"},
		{`{"results":[{"id":"7","objectWriteTraceId":"\u0074"}]}`, "-"},
		{`{"results":[{"id":"7","objectWriteTraceId":"t"}`, "-"},
		{`{"results":[{"id":"7","objectWriteTraceId":"t"}]} x`, "-"},
		{`{"results":{}}`, "-"},
		{`{}`, "-"},
		{`[]`, "-"},
		{``, "-"},
		{`<html>`, "-"},
		{`{"results":[{"id":"7","properties":}]}`, "-"},
	} {
		got, ok := scan([]byte(c.body))
		text := strings.Join(got, ",")
		if !ok {
			text = "-"
		}
		if text != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.body, text, c.want)
		}
	}
}

// FuzzScanResults compares with encoding/json: whatever is JSON and taken is read
// alike, and nothing makes the scanner panic or run on.
func FuzzScanResults(f *testing.F) {
	f.Add([]byte(`{"status":"COMPLETE","results":[{"id":"7","properties":{"a":"b\"c"},"new":true,"objectWriteTraceId":"t"}],"startedAt":"x"}`))
	f.Add([]byte(`{"results":[{"id":"7","x":[[1,2],{"y":"\\"}],"objectWriteTraceId":"t"},{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := scan(b)
		var fields map[string]json.RawMessage
		if !ok || json.Unmarshal(b, &fields) != nil || strings.Count(string(b), `"results"`) != 1 {
			return
		}
		var rows []map[string]json.RawMessage
		if err := json.Unmarshal(fields["results"], &rows); err != nil {
			t.Fatalf("taken: %s", b)
		}
		var want []string
		for _, r := range rows {
			var id, trace string
			if json.Unmarshal(r["id"], &id) != nil || json.Unmarshal(r["objectWriteTraceId"], &trace) != nil {
				t.Fatalf("taken: %s", b)
			}
			want = append(want, fmt.Sprintf("%s %s %v", id, trace, string(r["new"]) == "true"))
		}
		for _, key := range []string{`"id"`, `"new"`, `"objectWriteTraceId"`} {
			if strings.Count(string(b), key) > len(rows) {
				return // keys twice: which one counts is nobody's promise
			}
		}
		if !slices.Equal(got, want) && !strings.ContainsRune(strings.Join(want, ""), '\ufffd') {
			t.Errorf("%s\n got %q\nwant %q", b, got, want)
		}
	})
}
