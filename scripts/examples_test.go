package scripts_test

import (
	"bytes"
	"encoding/csv"
	"flag"
	"os"
	"testing"

	"github.com/wabridge/wabridge/core/phrase"
	"github.com/wabridge/wabridge/scripts"
)

var update = flag.Bool("update", false, "write tables/examples.csv")

// The examples that ship are the messages of the corpus that everything is tuned
// on, and no others: go test ./scripts -run ExamplesAre -update writes them.
func TestTables_ExamplesAreTheTuningCorpus(t *testing.T) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	rows := [][]string{{"name", "example"}}
	for _, language := range phrase.Languages {
		for _, l := range corpus(t, "tuning", language) {
			name := l.topic
			switch name {
			case "opt-out", "media": // the bridge knows these
				continue
			case "unclear":
				name = "other"
			}
			if l.typ == "text" && l.text != "" {
				rows = append(rows, []string{name, l.text})
			}
		}
	}
	if err := w.WriteAll(rows); err != nil {
		t.Fatal(err)
	}
	const file = "tables/examples.csv"
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(b.Bytes(), scripts.Tables()[file]) {
		t.Errorf("%s is not what the corpus says: go test ./scripts -run ExamplesAre -update", file)
	}
}
